//! Why a request failed or was slow: one primary cause each, and what contributed.

/// What made a request fail or late. How one is chosen among several: `model::blame`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// The SYN met a pod socket in TIME_WAIT and was refused.
    TimeWaitCollision,
    /// The SYN met a pod socket in FIN_WAIT2.
    FinWait2Collision,
    /// The node found no free SNAT port.
    SnatExhaustion,
    /// The node's conntrack entry clashed when it was confirmed.
    InsertFailed,
    /// The node's conntrack table was full.
    ConntrackFull,
    /// The connection's conntrack entry had ended, and a packet with data met none.
    ConntrackEntryGone,
    /// The SNAT port was a NodePort of another program on the node, which took the answer.
    NodePortClash,
    /// ipvs dropped the SYN of a reused tuple.
    IpvsSynDrop,
    /// ipvs knew the tuple, and its pod was no server of the service any more.
    IpvsNoDestination,
    /// The pod had ended, or was about to.
    PodGone,
    /// The pod's SYN queue was full.
    SynQueue,
    /// The pod's accept queue was full.
    ListenOverflow,
    /// A link lost a packet.
    LinkLoss,
    /// The queue in front of a link had no room for a packet.
    QueueOverflow,
    /// The SLB had no free source port.
    SlbPortExhaustion,
    /// The pod, or the SLB towards its clients, closed an idle connection while the request was on its way.
    KeepaliveRace,
    /// The pod or the node answered with RST, or the pod closed before its response was complete.
    Reset,
    /// The pod answered with an error.
    ErrorAnswer,
    /// No pod behind the service.
    NoBackend,
    /// Every backend that was left had failed, was full or was taken out by checks.
    NoLiveUpstream,
    /// The SLB's `worker_connections` were used up.
    WorkerConnections,
    /// The request waited for a worker.
    WorkerQueue,
    /// The pod worked that long.
    SlowService,
    /// Nothing went wrong: the path's delays alone took that long.
    SlowPath,
}

/// What is known of a cause, for reports and their readers.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Name in JSON and CSV.
    pub name: &'static str,
    /// One line that tells it from all others.
    pub definition: &'static str,
    /// Counters that it moves, as `summary.json` names them under `counters`, each with the host that has it.
    pub counters: &'static [(&'static str, &'static str)],
    /// Where it shows on real hosts besides.
    pub look: &'static str,
}

/// The counters of a SYN that was not answered by a SYN-ACK and sent again.
const SYN_AGAIN: &[(&str, &str)] = &[("SLB", "TcpExtTCPSynRetrans"), ("SLB", "TcpExtTCPTimeouts")];

impl Cause {
    /// Every cause, in the order of reports.
    pub const ALL: [Self; 24] = [
        Self::TimeWaitCollision,
        Self::FinWait2Collision,
        Self::SnatExhaustion,
        Self::InsertFailed,
        Self::ConntrackFull,
        Self::ConntrackEntryGone,
        Self::NodePortClash,
        Self::IpvsSynDrop,
        Self::IpvsNoDestination,
        Self::PodGone,
        Self::SynQueue,
        Self::ListenOverflow,
        Self::LinkLoss,
        Self::QueueOverflow,
        Self::SlbPortExhaustion,
        Self::KeepaliveRace,
        Self::Reset,
        Self::ErrorAnswer,
        Self::NoBackend,
        Self::NoLiveUpstream,
        Self::WorkerConnections,
        Self::WorkerQueue,
        Self::SlowService,
        Self::SlowPath,
    ];

    /// Name in JSON and CSV.
    pub const fn name(self) -> &'static str {
        self.about().name
    }

    /// On an open connection: however long one waits, no response comes.
    pub const fn leaves_no_answer(self) -> bool {
        matches!(
            self,
            Self::PodGone | Self::IpvsNoDestination | Self::ConntrackEntryGone
        )
    }

    /// What is known of it.
    pub const fn about(self) -> About {
        match self {
            Self::TimeWaitCollision => About {
                name: "time-wait-collision",
                definition: "the SYN met a pod socket in TIME_WAIT and was refused with a bare ACK, or in silence",
                counters: &[("SLB", "TcpExtTCPSynRetrans"), ("SLB", "TcpOutRsts")],
                look: "on the pod's interface: SYN, ACK that acknowledges no SYN, RST; PAWSEstab or PAWSTimewait of the \
                       pod if timestamps decided",
            },
            Self::FinWait2Collision => About {
                name: "fin-wait2-collision",
                definition: "the SYN met a pod socket in FIN_WAIT2: the SLB had not closed its half",
                counters: &[],
                look: "`ss -tan state fin-wait-2` in the pod lists the port of the SYN",
            },
            Self::SnatExhaustion => About {
                name: "snat-exhaustion",
                definition: "the node's port search found no free SNAT port towards the pod, and the SYN was dropped",
                counters: &[
                    ("node", "insert_failed"),
                    ("node", "drop"),
                    ("SLB", "TcpExtTCPSynRetrans"),
                ],
                look: "`conntrack -L -r POD -p tcp --dport PORT | wc -l` near the number of ports in the range",
            },
            Self::InsertFailed => About {
                name: "insert-failed",
                definition: "the connection's conntrack entry clashed with another when it was confirmed, and the SYN was dropped",
                counters: &[
                    ("node", "insert_failed"),
                    ("node", "drop"),
                    ("SLB", "TcpExtTCPSynRetrans"),
                ],
                look: "insert_failed of `conntrack -S` grows while ports are far from exhausted",
            },
            Self::ConntrackFull => About {
                name: "conntrack-full",
                definition: "the node's conntrack table was full and nothing in it could be dropped early",
                counters: &[("node", "drop"), ("SLB", "TcpExtTCPSynRetrans")],
                look: "`nf_conntrack: table full, dropping packet` in the node's kernel log",
            },
            Self::ConntrackEntryGone => About {
                name: "conntrack-entry-gone",
                definition: "the connection's conntrack entry had ended, and the request or its response met none",
                counters: &[],
                look: "an RST of the node in answer to data; a timeout of conntrack shorter than a pause of the connection, \
                       or an entry that was deleted",
            },
            Self::NodePortClash => About {
                name: "node-port-clash",
                definition: "the SNAT port was a NodePort of another program on the node, which took the answer",
                counters: &[],
                look: "the SYN-ACK enters the node at that port and does not leave it; the port is listed by \
                       `iptables-save -t nat`, `ipvsadm -Ln` or `ss -lnt` of the node",
            },
            Self::IpvsSynDrop => About {
                name: "ipvs-syn-drop",
                definition: "ipvs knew the SLB's tuple from before and dropped its SYN, to schedule the next one afresh",
                counters: SYN_AGAIN,
                look: "the SYN enters the node and does not leave it; `ipvsadm -Lnc` shows its tuple in TIME_WAIT or CLOSE; \
                       no bare ACK",
            },
            Self::IpvsNoDestination => About {
                name: "ipvs-no-destination",
                definition: "ipvs knew the SLB's tuple, and its pod was no server of the service any more",
                counters: &[],
                look: "`ipvsadm -Lnc` shows the tuple towards an address that `ipvsadm -Ln` lists no more",
            },
            Self::PodGone => About {
                name: "pod-gone",
                definition: "the pod had ended or was about to: its address answered nothing, or with an RST",
                counters: &[],
                look: "the address behind the connection is in no endpoint slice any more, or its pod is Terminating",
            },
            Self::SynQueue => About {
                name: "syn-queue",
                definition: "the pod's SYN queue was full, and no SYN cookie was sent",
                counters: &[("pod", "TcpExtListenDrops"), ("pod", "TcpExtTCPReqQFullDrop")],
                look: "ListenDrops and TCPReqQFullDrop of the pod grow, ListenOverflows does not",
            },
            Self::ListenOverflow => About {
                name: "listen-overflow",
                definition: "the pod's accept queue was full: its application accepts too slowly",
                counters: &[("pod", "TcpExtListenOverflows"), ("pod", "TcpExtListenDrops")],
                look: "Recv-Q of `ss -lnt` in the pod above its Send-Q",
            },
            Self::LinkLoss => About {
                name: "link-loss",
                definition: "a link lost a packet of the request",
                counters: &[("links", "link_losses")],
                look: "a packet that leaves one host and does not reach the next; TCPTimeouts, TCPLossProbes",
            },
            Self::QueueOverflow => About {
                name: "queue-overflow",
                definition: "the queue in front of a link had no room for a packet of the request",
                counters: &[("links", "queue_overflows")],
                look: "dropped of `tc -s qdisc` at the sending interface",
            },
            Self::SlbPortExhaustion => About {
                name: "slb-port-exhaustion",
                definition: "the SLB had no free source port towards the backend",
                counters: &[],
                look: "`Cannot assign requested address` (EADDRNOTAVAIL) in nginx' error log",
            },
            Self::KeepaliveRace => About {
                name: "keepalive-race",
                definition: "an idle connection was closed while the request was on its way: by the pod, or by the SLB towards its client",
                counters: &[],
                look: "`upstream prematurely closed connection` in nginx' error log, at the pod's idle timeout",
            },
            Self::Reset => About {
                name: "reset",
                definition: "an RST answered the SYN or the request, or the pod closed before its response was complete",
                counters: &[],
                look: "`Connection refused`, `Connection reset by peer` or, on a fresh connection, `upstream prematurely closed \
                       connection` in nginx' error log",
            },
            Self::ErrorAnswer => About {
                name: "error-answer",
                definition: "the pod answered with an error status",
                counters: &[],
                look: "upstream_status in the access log",
            },
            Self::NoBackend => About {
                name: "no-backend",
                definition: "no pod stood behind the service",
                counters: &[],
                look: "`kubectl get endpointslices` shows no ready endpoint",
            },
            Self::NoLiveUpstream => About {
                name: "no-live-upstream",
                definition: "every backend that was left had failed, was full or was taken out by checks",
                counters: &[],
                look: "`no live upstreams while connecting to upstream` in nginx' error log",
            },
            Self::WorkerConnections => About {
                name: "worker-connections",
                definition: "the SLB's worker_connections were used up",
                counters: &[],
                look: "`worker_connections are not enough` in nginx' error log",
            },
            Self::WorkerQueue => About {
                name: "worker-queue",
                definition: "the request waited for a free worker of the pod, longer than it was worked on",
                counters: &[],
                look: "Recv-Q of `ss -lnt` in the pod above 0; all workers busy",
            },
            Self::SlowService => About {
                name: "slow-service",
                definition: "the pod worked on the request for that long",
                counters: &[],
                look: "upstream_response_time in the access log, while upstream_connect_time is short",
            },
            Self::SlowPath => About {
                name: "slow-path",
                definition: "nothing went wrong: the path's delays alone took that long",
                counters: &[],
                look: "upstream_connect_time of all requests near the round trip",
            },
        }
    }
}

/// A set of causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Causes(u32);

const _: () = assert!(Cause::ALL.len() <= u32::BITS as usize);

impl Causes {
    /// No cause.
    pub const NONE: Self = Self(0);

    /// With one more.
    #[must_use]
    pub const fn with(self, cause: Cause) -> Self {
        Self(self.0 | 1 << cause as u32)
    }

    /// With one less.
    #[must_use]
    pub const fn without(self, cause: Cause) -> Self {
        Self(self.0 & !(1 << cause as u32))
    }

    /// Whether it is one of them.
    pub const fn contains(self, cause: Cause) -> bool {
        self.0 & 1 << cause as u32 != 0
    }

    /// All of them, in the order of reports.
    pub fn iter(self) -> impl Iterator<Item = Cause> {
        Cause::ALL.into_iter().filter(move |&cause| self.contains(cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_holds_every_cause_at_its_place() {
        for (index, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index, "{}", cause.name());
        }
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set = Causes::NONE
            .with(Cause::SlowPath)
            .with(Cause::LinkLoss)
            .with(Cause::SlowPath);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Cause::LinkLoss, Cause::SlowPath]);
        assert_eq!(
            set.without(Cause::LinkLoss).iter().collect::<Vec<_>>(),
            [Cause::SlowPath]
        );
        assert!(Causes::NONE.iter().next().is_none());
    }
}
