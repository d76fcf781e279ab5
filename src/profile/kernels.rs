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
//! | `collection` | net/netfilter/nf_conntrack_core.c `gc_worker()`; slices read in 4.19.124, 5.10.44; whole-table cycles from about 5.16, read in 5.15.y, 6.1 and later |
//! | `buckets` | same file, `nf_conntrack_init_start()`, more than 4 GB: 65,536 up to 5.10, 262,144 from 6.1 on; measured as such on 6.18.44, and 16,384 on a 4.19.108 of less memory |
//! | `chain_limit` | same file, `__nf_conntrack_confirm()`; read in 5.15.y, 6.1 and later |
//! | `rst_must_be_exact` | nf_conntrack_proto_tcp.c `nf_conntrack_tcp_packet()`, commit be0502a3f2e9 (5.1); read in 4.19.124 and later |
//! | `inexact_rst_is_unacknowledged` | same function; read in 6.12.117, absent in 6.18.35 and before 6.12 |
//! | `nat_search` | net/netfilter/nf_nat_core.c `nf_nat_l4proto_unique_tuple()`; measured on 4.19.108, 5.10, 6.1, 6.18 |
//! | `nat_evicts` | same file, `nf_nat_used_tuple_harder()`, commit 4589725502871e77; measured: 6.18 yes, 5.10, 6.1 no; read in 6.6.63, 6.12.117 |
//! | `reuse_drop` | net/netfilter/ipvs/ip_vs_core.c `ip_vs_in()`; measured on 4.19.108, 5.10.223, 6.1.192 |
//! | `nodest_expiry` | same file and ip_vs_ctl.c `__ip_vs_del_dest()`, commit 04231e52d355 (5.9); measured on 4.19.108, 5.10.223 |
//! | `weight_zero_needs_reuse_mode` | ip_vs_core.c `ip_vs_in()`; read: 4.19.124, 5.10.44 yes, 6.1.192 no; measured: 4.19.108 yes, 5.10.223 no |
//! | `somaxconn` | include/linux/socket.h `SOMAXCONN`: 128, from 5.4 on 4096 |

use super::Profile;
use crate::model::conntrack::{ChainLimit, Collection, ConntrackConfig, Timeouts};
use crate::model::ipvs::{IpvsConfig, NodestExpiry, ReuseDrop};
use crate::model::nat::SearchEra;
use crate::model::tcp::{CallerReaction, PortSelection, SynRetry, TcpConfig, TimestampOffset, TwReuseAge};
use crate::units::SimDuration;

/// Debian's build option, and the laboratory's.
const HZ: u32 = 250;

/// `TCP_PAWS_24DAYS`.
const PAWS_24_DAYS: SimDuration = SimDuration::from_secs(24 * 86_400);

const TCP_4_19: TcpConfig = TcpConfig {
    hz: HZ,
    timestamp_offset: TimestampOffset::PerAddressPair,
    recycled_isn_continues: false,
    counts_paws_time_wait: false,
    syn_retry: SynRetry {
        retries: 6,
        linear_timeouts: 0,
        gives_up_early: true,
    },
    caller_reaction: CallerReaction::Rst,
    port_selection: PortSelection::Sequential,
    somaxconn: 128,
    paws_memory: PAWS_24_DAYS,
    tw_reuse_age: TwReuseAge::EarlierSecond,
    tw_reuse_in_fin_wait2: true,
    max_syn_backlog: 1024,
    syn_queue_takes_one_more: false,
    challenge_ack_limit: 1_000,
    ..TcpConfig::NEWEST
};

const CONNTRACK_4_19: ConntrackConfig = ConntrackConfig {
    timeouts: Timeouts::KERNEL,
    hz: HZ,
    be_liberal: false,
    loose: true,
    max_retrans: 3,
    ignore_invalid_rst: false,
    max_entries: 262_144,
    buckets: 65_536,
    background_entries: 0,
    syn_repeat_refreshes: true,
    rst_must_be_exact: true,
    inexact_rst_is_unacknowledged: false,
    rst_in_closing_believed: false,
    rst_after_ignored_ack_passes: false,
    any_segment_reinits_window: true,
    old_segments_ignored: false,
    collection: Collection::Slices,
    chain_limit: None,
    drop_invalid: false,
};

const IPVS_4_19: IpvsConfig = IpvsConfig {
    hz: HZ,
    conntrack: false,
    conn_reuse_mode: 1,
    reuse_drop: ReuseDrop::Always,
    expire_nodest_conn: false,
    nodest_expiry: NodestExpiry::NextPacket,
    weight_zero_needs_reuse_mode: true,
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
    max_syn_backlog: 2048,
    ..TCP_4_19
};

const IPVS_5_10: IpvsConfig = IpvsConfig {
    reuse_drop: ReuseDrop::IfConfirmed,
    nodest_expiry: NodestExpiry::Removal,
    weight_zero_needs_reuse_mode: false,
    ..IPVS_4_19
};

/// 5.10.223, measured.
const LINUX_5_10: Profile = Profile {
    name: "5.10",
    about: "Debian's 5.10.223, measured",
    unverified: &["collection: read in 5.10.44 only"],
    tcp: TCP_5_10,
    conntrack: ConntrackConfig {
        syn_repeat_refreshes: false,
        ..CONNTRACK_4_19
    },
    nat_search: SearchEra::Bounded,
    nat_evicts: false,
    ipvs: IPVS_5_10,
    kube_proxy_conn_reuse_mode: 1,
    vendor_sysctls: false,
};

/// 5.10.185, read.
const LINUX_5_10_185: Profile = Profile {
    name: "5.10.185",
    about: "5.10.185, read; the same switches as the measured 5.10.223",
    unverified: &["read in source, never run", "collection: read in 5.10.44 only"],
    ..LINUX_5_10
};

const CONNTRACK_6_1: ConntrackConfig = ConntrackConfig {
    syn_repeat_refreshes: false,
    rst_in_closing_believed: true,
    rst_after_ignored_ack_passes: true,
    any_segment_reinits_window: false,
    old_segments_ignored: true,
    collection: Collection::Cycles,
    chain_limit: Some(ChainLimit::KERNEL),
    buckets: 262_144,
    ..CONNTRACK_4_19
};

const TCP_6_1: TcpConfig = TcpConfig {
    challenge_ack_limit: u32::MAX,
    ..TCP_5_10
};

/// Debian's 6.1.192, measured.
const LINUX_6_1: Profile = Profile {
    name: "6.1",
    about: "Debian's 6.1.192, measured",
    unverified: &[],
    tcp: TcpConfig {
        timestamp_offset: TimestampOffset::PerFourTuple,
        ..TCP_6_1
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
    ..TCP_6_1
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
        ..TCP_6_6
    },
    conntrack: ConntrackConfig {
        inexact_rst_is_unacknowledged: true,
        ..CONNTRACK_6_1
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
        ..LINUX_6_12.tcp
    },
    conntrack: CONNTRACK_6_1,
    ..LINUX_6_12
};

/// 5.15.y. gc, chain limit and buckets read in a 5.15.y tree (buckets: as 5.10); `ignore_invalid_rst` and the end of
/// `syn_repeat_refreshes` are of 5.14. Unverified: that the tracker is otherwise 5.10's; in particular whether a stable
/// 5.15.y has taken over the restriction of the window's new beginning to SYNs, as [`CONNTRACK_6_0`] has.
#[allow(dead_code, reason = "stands ready for the profile of that kernel")]
pub(super) const CONNTRACK_5_15: ConntrackConfig = ConntrackConfig {
    syn_repeat_refreshes: false,
    collection: Collection::Cycles,
    chain_limit: Some(ChainLimit::KERNEL),
    buckets: 262_144,
    ..CONNTRACK_4_19
};

/// About 5.18 to 6.2-rc4, 6.1.y before the backport of c410cb974f2b, early RHEL 9: windows begin again with a SYN only,
/// and nothing lets the caller's RST against a bare ACK pass yet, so that it is INVALID. From that commit's text, not from
/// a tree: unverified, as is which of 6.1's other switches these kernels had already (none of them here).
#[allow(dead_code, reason = "stands ready for the profile of that kernel")]
pub(super) const CONNTRACK_6_0: ConntrackConfig = ConntrackConfig {
    any_segment_reinits_window: false,
    ..CONNTRACK_5_15
};

/// RHEL 7's 3.10. Entries have timers of their own before 4.9; the exact RST is of 5.1. Read in mainline of that age, not
/// in the vendor's tree: unverified throughout. `max_entries` is 4 times `buckets`, by memory as in 4.19.
#[allow(dead_code, reason = "stands ready for the profile of that kernel")]
pub(super) const CONNTRACK_3_10: ConntrackConfig = ConntrackConfig {
    rst_must_be_exact: false,
    collection: Collection::Timers,
    ..CONNTRACK_4_19
};

/// RHEL 7's 3.10: `conn_reuse_mode` came with 4.1, before it a known tuple kept its pod. Unverified.
#[allow(dead_code, reason = "stands ready for the profile of that kernel")]
pub(super) const IPVS_3_10: IpvsConfig = IpvsConfig {
    conn_reuse_mode: 0,
    ..IPVS_4_19
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
