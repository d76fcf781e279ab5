//! Records of single attempts and requests: the ledger behind every count.

use crate::units::{Endpoint, FourTuple, SeqNum, SimDuration, SimTime};
use crate::vocab::{Cause, Causes, HitAnswer, ReleasePath, Status, TimeWaitRule};
use crate::wire::Packet;

/// One attempt as the pod saw it, with what became of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttemptRecord {
    /// When the SYN reached the pod.
    pub at: SimTime,
    /// Index of the pod in the plan.
    pub pod: u32,
    /// Source as the pod saw it: the node's address and SNAT port, or the SLB's own.
    pub source: Endpoint,
    /// ISN of the SYN.
    pub isn: SeqNum,
    /// The SLB's tuple behind it: source and destination of the SYN as the SLB sent it.
    pub slb_tuple: FourTuple,
    /// `None`: no TIME_WAIT was met.
    pub hit: Option<HitRecord>,
    /// Number of the request in this replication; [`Self::CHECK`]: none, but a health check or a probe.
    pub request: u32,
    /// SYNs that the SLB had sent for this connection until it ended.
    pub syns_sent: u32,
    /// How the request ended; `None`: in flight when the run stopped.
    pub status: Option<Status>,
    /// When the SLB sent the first SYN of this connection.
    pub connect_started: SimTime,
    /// When the request ended.
    pub request_ended: Option<SimTime>,
}

impl AttemptRecord {
    /// The number that stands for a health check or a probe.
    pub const CHECK: u32 = u32::MAX;
}

/// What was met in the pod, and why the port was free.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HitRecord {
    /// First answer.
    pub answer: HitAnswer,
    /// The rule that decided.
    pub rule: TimeWaitRule,
    /// Time since the pod received the last segment of the port's previous flow.
    pub reuse_gap: SimDuration,
    /// An RST with the TIME_WAIT's exact sequence number had come, and had not ended it.
    pub exact_rst_seen: bool,
    /// Why the port was free.
    pub path: ReleasePath,
    /// The SLB's tuple that used the port before.
    pub previous_tuple: FourTuple,
    /// When the conntrack entry of the previous flow went away; `None` on paths without SNAT.
    pub released_at: Option<SimTime>,
    /// The previous flow's ipvs entry still stands, untouched since that flow closed.
    pub old_ipvs_undisturbed: bool,
    /// The previous flow's SNAT port differed from its source port.
    pub previous_rewritten: bool,
}

/// A packet at an interface of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodePacket {
    /// When.
    pub at: SimTime,
    /// Index of the node in the plan.
    pub node: u32,
    /// The interface is the one towards pods, else the one towards the SLB.
    pub pod_side: bool,
    /// The node sends it; else it receives it, whatever becomes of it then.
    pub sent: bool,
    /// As it is on the wire there.
    pub packet: Packet,
}

/// One ended request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RequestRecord {
    /// Number in this replication, in order of arrival.
    pub request: u32,
    /// Client population.
    pub population: u32,
    /// Arrival.
    pub started: SimTime,
    /// When the SLB logged it; of a slow one, when the client had its response.
    pub ended: SimTime,
    /// Status.
    pub status: Status,
    /// Primary cause, if failed or slow.
    pub cause: Option<Cause>,
    /// What else had a part in it.
    pub contributing: Causes,
    /// If the primary cause is a collision: why the port was free.
    pub release_path: Option<ReleasePath>,
    /// Time from the first upstream SYN to the established connection, if that came about.
    pub connect_time: Option<SimDuration>,
    /// SYNs sent upstream.
    pub syns_sent: u32,
    /// The SLB's upstream tuple, if it got as far.
    pub slb_tuple: Option<FourTuple>,
}
