//! The kernels, oldest first. "Measured" means run in the laboratory (its data are under `tests/lab`), "read" means read
//! in that version's source.
//!
//! Where each switch comes from (file and function in the kernel's tree):
//!
//! | switch | source |
//! |---|---|
//! | `timestamp_offset` | net/core/secure_seq.c; measured on 4.19.108, 5.10.223, 6.1.192, 6.18.44; read in 6.6.63, 6.12.117 |
//! | `recycled_isn_continues` | net/ipv4/tcp_minisocks.c `tcp_timewait_state_process()`; measured: 6.18.44 and 6.12.117 yes, 4.19, 5.10, 6.1 no |
//! | `syn_retry` | net/ipv4/tcp_timer.c `tcp_write_timeout()`; measured on 4.19.108 (gives up at 31 s), 5.10, 6.1, 6.18; linear timeouts read from 6.6 on |
//! | `caller_reaction` | net/ipv4/tcp_input.c `tcp_rcv_synsent_state_process()`, commit 9603d47bad46 (5.6); measured on both sides of it |
//! | `port_selection` | net/ipv4/inet_hashtables.c `__inet_hash_connect()`; measured on 4.19.108, 5.10.223, 6.1, 6.18 |
//! | `syn_repeat_refreshes` | net/netfilter/nf_conntrack_proto_tcp.c `nf_conntrack_tcp_packet()`; read: 4.19.124, 5.10.44 yes, 5.10.185 and later no |
//! | `rst_in_closing_believed`, `rst_after_ignored_ack_passes` | same function; commit c410cb974f2b; read in 6.1.192 and later; measured on 6.1, 6.18 |
//! | `any_segment_reinits_window` | same file, `tcp_in_window()`; read in 4.19, 5.10 |
//! | `old_segments_ignored` | same function; read in 6.1 and later |
//! | `gc_in_slices` | net/netfilter/nf_conntrack_core.c `gc_worker()`; read in 4.19.124, 5.10.44; whole-table cycles from about 5.16 |
//! | `nat_search` | net/netfilter/nf_nat_core.c `nf_nat_l4proto_unique_tuple()`; measured on 4.19.108, 5.10, 6.1, 6.18 |
//! | `nat_evicts` | same file, `nf_nat_used_tuple_harder()`, commit 4589725502871e77; measured: 6.18 yes, 5.10, 6.1 no; read in 6.6.63, 6.12.117 |
//! | `reuse_drop` | net/netfilter/ipvs/ip_vs_core.c `ip_vs_in()`; measured on 4.19.108, 5.10.223, 6.1.192 |
//! | `somaxconn` | include/linux/socket.h `SOMAXCONN`: 128, from 5.4 on 4096 |

use super::Profile;
use crate::model::conntrack::{ConntrackConfig, Timeouts};
use crate::model::ipvs::{IpvsConfig, ReuseDrop};
use crate::model::nat::SearchEra;
use crate::model::tcp::{
    CallerReaction, ListenConfig, PortSelection, ReceiveBuffer, SegmentRules, SynCookies, SynRetry,
    TcpConfig, TimestampMode, TimestampOffset,
};
use crate::units::SimDuration;

/// Debian's build option, and the laboratory's.
const HZ: u32 = 250;

const TCP_4_19: TcpConfig = TcpConfig {
    hz: HZ,
    timestamps: TimestampMode::RandomOffset,
    timestamp_offset: TimestampOffset::PerAddressPair,
    recycled_isn_continues: false,
    counts_paws_time_wait: false,
    syn_retry: SynRetry {
        retries: 6,
        linear_timeouts: 0,
        gives_up_early: true,
    },
    synack_retries: 5,
    caller_reaction: CallerReaction::Rst,
    port_selection: PortSelection::Sequential,
    rfc1337: false,
    invalid_ratelimit: SimDuration::from_millis(500),
    time_wait: SimDuration::from_secs(60),
    fin_timeout: SimDuration::from_secs(60),
    max_tw_buckets: 131_072,
    tw_reuse: false,
    somaxconn: 128,
    retries2: 15,
    orphan_retries: 8,
    receive_buffer: ReceiveBuffer {
        default: 87_380,
        max: 6_291_456,
        initial_segments: Some(20),
        clamped: true,
    },
    window_scaling: true,
    sack: true,
    listen: ListenConfig {
        syn_cookies: SynCookies::WhenFull,
        max_syn_backlog: 4096,
        abort_on_overflow: false,
        syn_queue_full_at_backlog: true,
    },
    challenge_ack_limit: Some(1000),
    rules: SegmentRules::OLD,
};

const CONNTRACK_4_19: ConntrackConfig = ConntrackConfig {
    timeouts: Timeouts::KERNEL,
    hz: HZ,
    be_liberal: false,
    loose: true,
    max_retrans: 3,
    max_entries: 262_144,
    background_entries: 0,
    syn_repeat_refreshes: true,
    rst_in_closing_believed: false,
    rst_after_ignored_ack_passes: false,
    any_segment_reinits_window: true,
    old_segments_ignored: false,
    gc_in_slices: true,
    drop_invalid: false,
};

const IPVS_4_19: IpvsConfig = IpvsConfig {
    hz: HZ,
    conn_reuse_mode: 1,
    reuse_drop: ReuseDrop::Always,
    expire_nodest_conn: false,
    timeout_established: SimDuration::from_secs(900),
    timeout_fin_wait: SimDuration::from_secs(120),
};

/// Plain 4.19.108, measured.
const LINUX_4_19: Profile = Profile {
    name: "4.19",
    about: "plain 4.19.108, measured; 4.19.124 read",
    unverified: &[],
    tcp: TCP_4_19,
    conntrack: CONNTRACK_4_19,
    nat_search: SearchEra::WholeRange,
    nat_evicts: false,
    ipvs: IPVS_4_19,
    kube_proxy_conn_reuse_mode: 0,
    vendor_sysctls: false,
};

/// Alibaba Cloud Linux 2. Its `reuse_drop` was read in the vendor's patches; its own tree never ran here.
const ALINUX2: Profile = Profile {
    name: "alinux2-4.19",
    about: "Alibaba Cloud Linux 2: plain 4.19 with the vendor's ipvs patch and HZ 1000",
    unverified: &[
        "hz 1000 is recalled, not measured",
        "the vendor's own tree never ran: everything but ipvs' reuse rule is plain 4.19's",
    ],
    tcp: TcpConfig { hz: 1000, ..TCP_4_19 },
    conntrack: ConntrackConfig {
        hz: 1000,
        ..CONNTRACK_4_19
    },
    ipvs: IpvsConfig {
        hz: 1000,
        reuse_drop: ReuseDrop::Never,
        ..IPVS_4_19
    },
    vendor_sysctls: true,
    ..LINUX_4_19
};

const TCP_5_10: TcpConfig = TcpConfig {
    syn_retry: SynRetry {
        retries: 6,
        linear_timeouts: 0,
        gives_up_early: false,
    },
    caller_reaction: CallerReaction::RstFastResend,
    port_selection: PortSelection::Perturbed,
    somaxconn: 4096,
    receive_buffer: ReceiveBuffer {
        default: 131_072,
        max: 6_291_456,
        initial_segments: None,
        clamped: true,
    },
    ..TCP_4_19
};

/// 5.10.223, measured.
const LINUX_5_10: Profile = Profile {
    name: "5.10",
    about: "Debian's 5.10.223, measured",
    unverified: &["gc_in_slices: read in 5.10.44 only"],
    tcp: TCP_5_10,
    conntrack: ConntrackConfig {
        syn_repeat_refreshes: false,
        ..CONNTRACK_4_19
    },
    nat_search: SearchEra::Bounded,
    nat_evicts: false,
    ipvs: IpvsConfig {
        reuse_drop: ReuseDrop::IfConfirmed,
        ..IPVS_4_19
    },
    kube_proxy_conn_reuse_mode: 1,
    vendor_sysctls: false,
};

/// 5.10.185, read.
const LINUX_5_10_185: Profile = Profile {
    name: "5.10.185",
    about: "5.10.185, read; the same switches as the measured 5.10.223",
    unverified: &["read in source, never run", "gc_in_slices: read in 5.10.44 only"],
    ..LINUX_5_10
};

const CONNTRACK_6_1: ConntrackConfig = ConntrackConfig {
    syn_repeat_refreshes: false,
    rst_in_closing_believed: true,
    rst_after_ignored_ack_passes: true,
    any_segment_reinits_window: false,
    old_segments_ignored: true,
    gc_in_slices: false,
    ..CONNTRACK_4_19
};

/// Debian's 6.1.192, measured.
const LINUX_6_1: Profile = Profile {
    name: "6.1",
    about: "Debian's 6.1.192, measured",
    unverified: &[],
    tcp: TcpConfig {
        timestamp_offset: TimestampOffset::PerFourTuple,
        challenge_ack_limit: None,
        ..TCP_5_10
    },
    conntrack: CONNTRACK_6_1,
    ..LINUX_5_10
};

const TCP_6_6: TcpConfig = TcpConfig {
    syn_retry: SynRetry {
        retries: 6,
        linear_timeouts: 4,
        gives_up_early: false,
    },
    challenge_ack_limit: None,
    ..TCP_5_10
};

/// 6.6.63, read.
const LINUX_6_6: Profile = Profile {
    name: "6.6",
    about: "6.6.63, read",
    unverified: &["read in source, never run"],
    tcp: TCP_6_6,
    nat_evicts: true,
    ..LINUX_6_1
};

/// 6.12.117, read and partly run.
pub(super) const LINUX_6_12: Profile = Profile {
    name: "6.12",
    about: "6.12.117, read; run in part and in agreement",
    unverified: &[],
    tcp: TcpConfig {
        timestamp_offset: TimestampOffset::PerFourTuple,
        recycled_isn_continues: true,
        listen: ListenConfig {
            syn_queue_full_at_backlog: false,
            ..TCP_6_6.listen
        },
        rules: SegmentRules {
            crossing_syn_ack_accepted: true,
            ..SegmentRules::OLD
        },
        ..TCP_6_6
    },
    ..LINUX_6_6
};

/// 6.18.44, measured.
const LINUX_6_18: Profile = Profile {
    name: "6.18",
    about: "6.18.44, measured; its ipvs rules were read in 6.18.35",
    unverified: &["ipvs: read in source, never run"],
    tcp: TcpConfig {
        counts_paws_time_wait: true,
        receive_buffer: ReceiveBuffer {
            clamped: false,
            ..LINUX_6_12.tcp.receive_buffer
        },
        rules: SegmentRules::NEW,
        ..LINUX_6_12.tcp
    },
    ..LINUX_6_12
};

/// Every profile, oldest kernel first.
pub(super) const ALL: [Profile; 8] = [
    ALINUX2,
    LINUX_4_19,
    LINUX_5_10,
    LINUX_5_10_185,
    LINUX_6_1,
    LINUX_6_6,
    LINUX_6_12,
    LINUX_6_18,
];
