//! conntrack's states, timeouts and the switches in which kernels differ.

use crate::units::SimDuration;

/// State of a tracked TCP connection, in the kernel's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// No packet yet.
    None,
    /// SYN seen.
    SynSent,
    /// SYN-ACK seen.
    SynRecv,
    /// Handshake done.
    Established,
    /// First FIN seen.
    FinWait,
    /// First FIN acknowledged.
    CloseWait,
    /// Both FINs seen.
    LastAck,
    /// Last ACK seen.
    TimeWait,
    /// RST seen.
    Close,
    /// SYN seen from both sides.
    SynSent2,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::None,
        Self::SynSent,
        Self::SynRecv,
        Self::Established,
        Self::FinWait,
        Self::CloseWait,
        Self::LastAck,
        Self::TimeWait,
        Self::Close,
        Self::SynSent2,
    ];

    /// The kernel's `tcp_can_early_drop()`: both what gc may evict under pressure and, in newer kernels, where any RST
    /// is believed.
    pub const fn can_early_drop(self) -> bool {
        matches!(
            self,
            Self::FinWait | Self::CloseWait | Self::LastAck | Self::TimeWait | Self::Close
        )
    }

    /// The name in `/proc/net/nf_conntrack`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::FinWait => "FIN_WAIT",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::SynSent2 => "SYN_SENT2",
        }
    }
}

/// `net.netfilter.nf_conntrack_tcp_timeout_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Indexed by [`State`]; the entry of [`State::None`] is never used.
    pub by_state: [SimDuration; 10],
    /// `..._max_retrans`.
    pub max_retrans: SimDuration,
    /// `..._unacknowledged`.
    pub unacknowledged: SimDuration,
}

impl Timeouts {
    /// The kernel's defaults, the same from 4.19 to 6.18 (`nf_conntrack_proto_tcp.c`, `tcp_timeouts`).
    pub const KERNEL: Self = {
        const fn s(secs: u64) -> SimDuration {
            SimDuration::from_secs(secs)
        }
        Self {
            by_state: [
                s(0),
                s(120),
                s(60),
                s(432_000),
                s(120),
                s(60),
                s(30),
                s(120),
                s(10),
                s(120),
            ],
            max_retrans: s(300),
            unacknowledged: s(300),
        }
    };

    /// Timeout of `state`.
    pub const fn of(&self, state: State) -> SimDuration {
        self.by_state[state as usize]
    }
}

/// What takes dead entries out of the table beside the lookups that meet them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collection {
    /// A timer of each entry, so that none outlives its timeout: before 4.9.
    Timers,
    /// A worker that scans a 128th of the buckets at a time: read in 4.19.124 and 5.10.44.
    Slices,
    /// A worker that scans the whole table in cycles: read in 5.15.y and 6.1 to 6.18.
    Cycles,
}

/// A new entry is refused if one of its two buckets holds too many tuples already (`__nf_conntrack_confirm()`,
/// `nf_conntrack_core.c`, from about 5.16 on and in 5.15.y). The limit is drawn anew for each entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainLimit {
    /// `MIN_CHAINLEN`: the least limit.
    pub least: u32,
    /// `MAX_CHAINLEN`: the draw adds less than this.
    pub span: u32,
}

impl ChainLimit {
    /// 50 to 79 (50 and 80 are commits of 2023; the first versions had 8 and 32): read in 5.15.y, 6.1 and later.
    pub const KERNEL: Self = Self { least: 50, span: 30 };
}

/// The node's conntrack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConntrackConfig {
    /// Timeouts.
    pub timeouts: Timeouts,
    /// Timer interrupts per second of the node: conntrack compares whole jiffies.
    pub hz: u32,
    /// `nf_conntrack_tcp_be_liberal`.
    pub be_liberal: bool,
    /// `nf_conntrack_tcp_loose`.
    pub loose: bool,
    /// `nf_conntrack_tcp_ignore_invalid_rst` (5.14 and later): an RST below the peer's highest ACK is not INVALID for
    /// that; the window check comes still.
    pub ignore_invalid_rst: bool,
    /// `nf_conntrack_tcp_max_retrans`.
    pub max_retrans: u8,
    /// `nf_conntrack_max`.
    pub max_entries: u32,
    /// `nf_conntrack_buckets`: which dead entries a lookup meets and collects, and what early drop can reach.
    pub buckets: u32,
    /// Entries of other traffic on the node: always there, ASSURED, never closing.
    pub background_entries: u32,
    /// A SYN repeated in SYN_SENT before any reply refreshes the 120 s: 4.19, 5.10.44; not 5.10.185 and later.
    pub syn_repeat_refreshes: bool,
    /// An RST closes an ASSURED ESTABLISHED entry only with the exact sequence number: 5.1 and later, 4.19 by backport.
    pub rst_must_be_exact: bool,
    /// An RST that leaves the entry in ESTABLISHED leaves it 300 s (`..._unacknowledged`), not the 10 s of CLOSE: read
    /// in 6.12.117 only.
    pub inexact_rst_is_unacknowledged: bool,
    /// Any RST in FIN_WAIT or later is believed without a sequence check: 6.1.192 and later.
    pub rst_in_closing_believed: bool,
    /// An RST that answers an ignored ACK in SYN_SENT passes by rule (commit c410cb974f2b): 6.1.192 and later.
    pub rst_after_ignored_ack_passes: bool,
    /// In SYN_SENT any segment of the original direction beyond the known end re-initialises the window: 4.19, 5.10.
    pub any_segment_reinits_window: bool,
    /// Old data outside the window is ignored, not INVALID: 6.1 and later.
    pub old_segments_ignored: bool,
    /// What collects dead entries.
    pub collection: Collection,
    /// Longest chain; `None`: any.
    pub chain_limit: Option<ChainLimit>,
    /// A `FORWARD` rule drops packets in state INVALID (kube-proxy iptables and nftables modes).
    pub drop_invalid: bool,
}
