//! Why a request failed: the primary cause, one per failed request.

/// Primary cause of a failed request: the first trouble on its path that alone explains the failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// The SYN met a pod socket in TIME_WAIT and was refused with a bare ACK.
    TimeWaitCollision,
    /// The SYN met a pod socket in FIN_WAIT2.
    FinWait2Collision,
    /// The node found no free SNAT port.
    SnatExhaustion,
    /// The node's conntrack entry clashed when it was confirmed.
    InsertFailed,
    /// The node's conntrack table was full.
    ConntrackFull,
    /// ipvs dropped the SYN of a reused tuple.
    IpvsSynDrop,
    /// The pod's accept queue was full, or without SYN cookies its SYN queue.
    ListenOverflow,
    /// A link lost a packet.
    LinkLoss,
    /// The SLB had no free source port.
    SlbPortExhaustion,
    /// The pod closed an idle connection while the request was on its way.
    KeepaliveRace,
    /// The pod or the node answered with RST.
    Reset,
    /// No pod behind the service.
    NoBackend,
    /// The pod took longer than the client or the SLB would wait.
    SlowService,
    /// Nothing went wrong on the path: its delays alone were longer than the patience.
    SlowPath,
}

impl Cause {
    /// Every cause, in the order of reports.
    pub const ALL: [Self; 14] = [
        Self::TimeWaitCollision,
        Self::FinWait2Collision,
        Self::SnatExhaustion,
        Self::InsertFailed,
        Self::ConntrackFull,
        Self::IpvsSynDrop,
        Self::ListenOverflow,
        Self::LinkLoss,
        Self::SlbPortExhaustion,
        Self::KeepaliveRace,
        Self::Reset,
        Self::NoBackend,
        Self::SlowService,
        Self::SlowPath,
    ];

    /// Name in JSON and CSV.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TimeWaitCollision => "time-wait-collision",
            Self::FinWait2Collision => "fin-wait2-collision",
            Self::SnatExhaustion => "snat-exhaustion",
            Self::InsertFailed => "insert-failed",
            Self::ConntrackFull => "conntrack-full",
            Self::IpvsSynDrop => "ipvs-syn-drop",
            Self::ListenOverflow => "listen-overflow",
            Self::LinkLoss => "link-loss",
            Self::SlbPortExhaustion => "slb-port-exhaustion",
            Self::KeepaliveRace => "keepalive-race",
            Self::Reset => "reset",
            Self::NoBackend => "no-backend",
            Self::SlowService => "slow-service",
            Self::SlowPath => "slow-path",
        }
    }
}
