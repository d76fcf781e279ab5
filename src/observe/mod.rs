//! What a run is remembered by: counts per second, gauges, latency histograms, and a record of each TIME_WAIT hit and
//! each failed request. `world` fills it, `experiment` merges it, `report` prints it. Nothing here decides anything.

mod counts;
mod records;
mod seconds;

pub use counts::{Counts, Gauges, Second};
pub use records::{AttemptRecord, HitRecord, NodePacket, RequestRecord};
pub use seconds::Seconds;

use hdrhistogram::Histogram;

use crate::units::SimDuration;

/// Everything observed in one replication.
#[derive(Debug, Clone)]
pub struct Observations {
    /// Seed of this replication: the root seed and the replication's number key every stream.
    pub replication: u32,
    /// Simulated time covered.
    pub simulated: SimDuration,
    /// Events processed.
    pub events: u64,
    /// Operations of the pending set: an event that came in, or one that moved inside it.
    pub queue_operations: u64,
    /// One row per simulated second; the last one also holds what ended exactly at the end.
    pub seconds: Seconds,
    /// Requests and upstream connects that had not ended when the run stopped.
    pub requests_in_flight: u64,
    /// Upstream connects that had not ended when the run stopped.
    pub connects_in_flight: u64,
    /// Operations that had not ended when the run stopped.
    pub operations_in_flight: u64,
    /// Upstream connect latency of established connects, nanoseconds.
    pub connect_latency: Histogram<u64>,
    /// Latency of requests with status 200, nanoseconds.
    pub request_latency: Histogram<u64>,
    /// Latency of operations that succeeded, from the first try to the end, nanoseconds; `None`: nobody tries again.
    pub operation_latency: Option<Histogram<u64>>,
    /// SYN attempts that met TIME_WAIT (all attempts if asked for), in order of time, up to the cap.
    pub attempts: Vec<AttemptRecord>,
    /// Attempts beyond the cap.
    pub attempts_left_out: u64,
    /// Failed requests (all if asked for), in order of their end, up to the cap.
    pub requests: Vec<RequestRecord>,
    /// Requests beyond the cap.
    pub requests_left_out: u64,
    /// Repeated SYNs of upstream connects by the time since the first one, to the nearest second.
    pub syn_repeats: Vec<u64>,
    /// Packets at the nodes, if asked for, in order of time.
    pub node_packets: Vec<NodePacket>,
    /// Hits by whole seconds of reuse gap; complete whatever the cap of the records.
    pub reuse_gap: Vec<u64>,
}

/// What is recorded in full, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordOptions {
    /// Every attempt and every request, instead of hits and failures only.
    pub all: bool,
    /// Rows kept of each kind per replication.
    pub cap: usize,
    /// Every packet that a node receives or sends, as a capture on all of its interfaces would have it.
    pub node_packets: bool,
}

impl Default for RecordOptions {
    fn default() -> Self {
        Self {
            all: false,
            cap: 200_000,
            node_packets: false,
        }
    }
}

/// A latency histogram: 1 us to 1 h, three significant digits, in nanoseconds.
pub fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 3_600_000_000_000, 3).expect("constant bounds are valid")
}
