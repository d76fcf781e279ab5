//! The kernels, oldest first. "Measured" means run in the laboratory (its data are under `tests/lab`), "read" means read
//! in that version's source.
//!
//! Where each switch comes from stands beside it in `switches`; what is neither read nor measured for a kernel stands in its
//! profile's `unverified`.

use super::{Profile, Scope, Unverified};
use crate::model::conntrack::{ChainLimit, Collection, ConntrackConfig, Timeouts};
use crate::model::ipvs::{IpvsConfig, NodestExpiry, ReuseDrop, Scheduler};
use crate::model::nat::SearchEra;
use crate::model::tcp::{
    CallerReaction, PortSelection, SegmentRules, SynRetry, TcpConfig, TimeWaitTimer, TimestampOffset,
    TwReuse, TwReuseAge,
};
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
    initial_window_segments: Some(20),
    initial_window_clamped: true,
    rules: SegmentRules::OLD,
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
    scheduler: Scheduler::Rr,
    conntrack: false,
    conn_reuse_mode: 1,
    reuse_drop: ReuseDrop::Always,
    expire_nodest_conn: false,
    nodest_expiry: NodestExpiry::NextPacket,
    weight_zero_needs_reuse_mode: true,
    timeout_established: SimDuration::from_secs(900),
    timeout_fin_wait: SimDuration::from_secs(120),
};

/// Which of the stricter checks came when.
const CHECKS_READ_IN_6_18: Unverified = Unverified {
    scope: Scope::Only(&[
        "initial_window_clamped",
        "request_rst_challenged",
        "request_echo_checked",
        "unsent_ack_challenged",
        "old_paws_ack_silent",
        "beyond_window_dropped",
    ]),
    why: "read in 6.18.35 only; the first release is not known",
};

/// Plain 4.19.108, measured.
const LINUX_4_19: Profile = Profile {
    name: "4.19",
    about: "plain 4.19.108, measured; 4.19.124 read",
    ran: true,
    unverified: &[CHECKS_READ_IN_6_18],
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
    ran: false,
    unverified: &[
        Unverified {
            scope: Scope::Only(&["hz"]),
            why: "recalled, not measured",
        },
        Unverified {
            scope: Scope::AllBut(&[
                "hz",
                "reuse_drop",
                "conn_reuse_old_conntrack",
                "tcp_tw_timeout",
                "vendor_sysctls",
                "kube_proxy_conn_reuse_mode",
            ]),
            why: "plain 4.19's; the vendor's own tree was not read and never ran",
        },
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
    initial_window_segments: None,
    ..TCP_4_19
};

const IPVS_5_10: IpvsConfig = IpvsConfig {
    reuse_drop: ReuseDrop::IfConfirmed,
    nodest_expiry: NodestExpiry::Removal,
    weight_zero_needs_reuse_mode: false,
    ..IPVS_4_19
};

const READ_IN_5_10_44: Unverified = Unverified {
    scope: Scope::Only(&["collection", "tw_reuse_in_fin_wait2", "syn_queue_takes_one_more"]),
    why: "read in 5.10.44 only",
};

/// 5.10.223, measured.
const LINUX_5_10: Profile = Profile {
    name: "5.10",
    about: "Debian's 5.10.223, measured",
    ran: true,
    unverified: &[READ_IN_5_10_44, CHECKS_READ_IN_6_18],
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
    ran: false,
    ..LINUX_5_10
};

const TCP_5_15: TcpConfig = TcpConfig {
    tw_reuse_in_fin_wait2: false,
    syn_queue_takes_one_more: true,
    ..TCP_5_10
};

/// 5.15.215, read.
const LINUX_5_15: Profile = Profile {
    name: "5.15",
    about: "5.15.215, read",
    ran: false,
    unverified: &[
        Unverified {
            scope: Scope::Only(&["syn_gives_up_early"]),
            why: "not read; as measured on 5.10.223",
        },
        CHECKS_READ_IN_6_18,
    ],
    tcp: TCP_5_15,
    conntrack: CONNTRACK_5_15,
    ..LINUX_5_10
};

/// The kernels between two changes of conntrack's windows.
const LINUX_6_0: Profile = Profile {
    name: "6.0",
    about: "about 5.18 to 6.2-rc4 and early RHEL 9: conntrack holds a refused caller's RST for INVALID",
    ran: false,
    unverified: &[Unverified {
        scope: Scope::AllBut(&[]),
        why: "from the text of commit c410cb974f2b and 5.15.215, no tree of that age was read",
    }],
    conntrack: CONNTRACK_6_0,
    ..LINUX_5_15
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
    ..TCP_5_15
};

/// Debian's 6.1.192, measured.
const LINUX_6_1: Profile = Profile {
    name: "6.1",
    about: "Debian's 6.1.192, measured",
    ran: true,
    unverified: &[
        Unverified {
            scope: Scope::Only(&["syn_queue_takes_one_more", "tcp_challenge_ack_limit"]),
            why: "read in 6.1.166 only",
        },
        CHECKS_READ_IN_6_18,
    ],
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
    syn_queue_takes_one_more: false,
    ..TCP_6_1
};

/// 6.6.63, read.
const LINUX_6_6: Profile = Profile {
    name: "6.6",
    about: "6.6.63, read",
    ran: false,
    unverified: &[CHECKS_READ_IN_6_18],
    tcp: TCP_6_6,
    nat_evicts: true,
    ..LINUX_6_1
};

/// 6.12.117, read and partly run.
pub(super) const LINUX_6_12: Profile = Profile {
    name: "6.12",
    about: "6.12.117, read; run in part and in agreement",
    ran: true,
    unverified: &[CHECKS_READ_IN_6_18],
    tcp: TcpConfig {
        timestamp_offset: TimestampOffset::PerFourTuple,
        recycled_isn_continues: true,
        paws_memory: TcpConfig::NEWEST.paws_memory,
        syn_queue_takes_one_more: true,
        rules: SegmentRules {
            crossing_syn_ack_accepted: true,
            ..SegmentRules::OLD
        },
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
    about: "6.18.44, measured but for ipvs, which was read in 6.18.35",
    ran: true,
    unverified: &[],
    tcp: TcpConfig::NEWEST,
    conntrack: CONNTRACK_6_1,
    ..LINUX_6_12
};

/// Read in 5.15.215: windows begin again with any segment, as in 5.10, but a closing entry takes any RST, as in 6.1.
const CONNTRACK_5_15: ConntrackConfig = ConntrackConfig {
    syn_repeat_refreshes: false,
    rst_in_closing_believed: true,
    collection: Collection::Cycles,
    chain_limit: Some(ChainLimit::KERNEL),
    buckets: 262_144,
    ..CONNTRACK_4_19
};

/// About 5.18 to 6.2-rc4, 6.1.y before the backport of c410cb974f2b, early RHEL 9: windows begin again with a SYN only,
/// and nothing lets the caller's RST against a bare ACK pass yet, so that it is INVALID. From that commit's text, not from
/// a tree: unverified, as is which of 6.1's other switches these kernels had already (none of them here).
const CONNTRACK_6_0: ConntrackConfig = ConntrackConfig {
    any_segment_reinits_window: false,
    ..CONNTRACK_5_15
};

/// Entries have timers of their own before 4.9; the exact RST is of 5.1.
const CONNTRACK_3_10: ConntrackConfig = ConntrackConfig {
    rst_must_be_exact: false,
    collection: Collection::Timers,
    hz: 1000,
    ..CONNTRACK_4_19
};

/// RHEL and CentOS 7, read in 3.10.0-1160.el7: its port search is bounded as in 5.10, its ipvs is 4.19's. kube-proxy
/// leaves `conn_reuse_mode` alone below 4.1, so a reused tuple's SYN is dropped (`pkg/proxy/ipvs/proxier.go`).
const EL7: Profile = Profile {
    name: "el7-3.10",
    about: "RHEL and CentOS 7: 3.10.0-1160.el7, read",
    ran: false,
    unverified: &[
        Unverified {
            scope: Scope::Only(&["hz", "syn_queue_takes_one_more"]),
            why: "recalled, not read",
        },
        Unverified {
            scope: Scope::Only(&["nat_search"]),
            why: "in that tree --random starts at a fixed hash, here at a random port",
        },
        Unverified {
            scope: Scope::Only(&["time_wait_timer"]),
            why: "a slot of more than 100 sockets takes longer in that tree",
        },
    ],
    tcp: TcpConfig {
        hz: 1000,
        timestamp_offset: TimestampOffset::None,
        port_selection: PortSelection::Consecutive,
        recycled_isn_continues: true,
        time_wait_timer: TimeWaitTimer::Calendar,
        syn_retry: TCP_5_10.syn_retry,
        tw_reuse: TwReuse::Off,
        tw_reuse_age: TwReuseAge::TwoSeconds,
        rmem: [4_096, 87_380, 6_291_456],
        ..TCP_4_19
    },
    conntrack: CONNTRACK_3_10,
    nat_search: SearchEra::Bounded,
    ipvs: IpvsConfig {
        hz: 1000,
        ..IPVS_4_19
    },
    kube_proxy_conn_reuse_mode: 1,
    ..LINUX_4_19
};

/// Every profile, oldest kernel first.
pub(super) const ALL: [Profile; 11] = [
    EL7,
    ALINUX2,
    LINUX_4_19,
    LINUX_5_10_185,
    LINUX_5_10,
    LINUX_5_15,
    LINUX_6_0,
    LINUX_6_1,
    LINUX_6_6,
    LINUX_6_12,
    LINUX_6_18,
];
