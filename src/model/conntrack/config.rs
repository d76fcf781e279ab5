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
    /// `nf_conntrack_tcp_max_retrans`.
    pub max_retrans: u8,
    /// `nf_conntrack_max`.
    pub max_entries: u32,
    /// Entries of other traffic on the node: always there, ASSURED, never closing.
    pub background_entries: u32,
    /// A SYN repeated in SYN_SENT before any reply refreshes the 120 s: 4.19, 5.10.44; not 5.10.185 and later.
    pub syn_repeat_refreshes: bool,
    /// Any RST in FIN_WAIT or later is believed without a sequence check: 6.1.192 and later.
    pub rst_in_closing_believed: bool,
    /// An RST that answers an ignored ACK in SYN_SENT passes by rule (commit c410cb974f2b): 6.1.192 and later.
    pub rst_after_ignored_ack_passes: bool,
    /// In SYN_SENT any segment of the original direction beyond the known end re-initialises the window: 4.19, 5.10.
    pub any_segment_reinits_window: bool,
    /// Old data outside the window is ignored, not INVALID: 6.1 and later.
    pub old_segments_ignored: bool,
    /// The gc worker scans a 128th of the table at a time (4.19, 5.10.44) instead of the whole of it.
    pub gc_in_slices: bool,
    /// A `FORWARD` rule drops packets in state INVALID (kube-proxy iptables and nftables modes).
    pub drop_invalid: bool,
}
