//! Writes down what happens. Nothing in the simulation reads it back.

use hdrhistogram::Histogram;
use rustc_hash::FxHashMap;

use crate::observe::{
    AttemptRecord, Counts, Gauges, NodePacket, Observations, RecordOptions, RequestRecord, Second, Seconds,
    latency_histogram,
};
use crate::units::{SimDuration, SimTime};
use crate::vocab::Status;

/// What had not ended when a run stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InFlightAtEnd {
    /// Requests.
    pub requests: u64,
    /// Upstream connects.
    pub connects: u64,
    /// Operations of clients that may try again.
    pub operations: u64,
}

/// Collects one replication.
pub struct Recorder {
    options: RecordOptions,
    /// Seconds from the start that latencies and gaps leave out.
    warm_up_seconds: usize,
    /// Counts of the current second.
    pub now: Counts,
    seconds: Seconds,
    connect_latency: Histogram<u64>,
    request_latency: Histogram<u64>,
    operation_latency: Option<Histogram<u64>>,
    attempts: Vec<AttemptRecord>,
    attempts_left_out: u64,
    /// Rows of hits among `attempts`. Other rows have a cap of their own: the scorecard reads the hits, and what a user
    /// wants to see of the rest must not change it.
    hits_recorded: usize,
    requests: Vec<RequestRecord>,
    requests_left_out: u64,
    reuse_gap: Vec<u64>,
    syn_repeats: Vec<u64>,
    node_packets: Vec<NodePacket>,
    /// Attempt records whose request has not ended, by the request's tag.
    open: FxHashMap<u32, Vec<usize>>,
}

impl Recorder {
    /// Starts to record.
    pub fn new(options: RecordOptions, warm_up: SimDuration, has_operations: bool) -> Self {
        Self {
            options,
            warm_up_seconds: warm_up.as_nanos().div_ceil(1_000_000_000) as usize,
            now: Counts::default(),
            seconds: Seconds::default(),
            connect_latency: latency_histogram(),
            request_latency: latency_histogram(),
            operation_latency: has_operations.then(latency_histogram),
            attempts: Vec::new(),
            attempts_left_out: 0,
            hits_recorded: 0,
            requests: Vec::new(),
            requests_left_out: 0,
            reuse_gap: Vec::new(),
            syn_repeats: Vec::new(),
            node_packets: Vec::new(),
            open: FxHashMap::default(),
        }
    }

    /// The warm-up is over. What happens at the very end of a second still belongs to it.
    fn is_warm(&self) -> bool {
        self.seconds.len() >= self.warm_up_seconds
    }

    /// Closes a second.
    pub fn second(&mut self, gauges: Gauges) {
        self.seconds.push(Second {
            counts: std::mem::take(&mut self.now),
            gauges,
        });
    }

    /// The SLB repeated a SYN, so long after the first one.
    pub fn syn_repeated(&mut self, after: SimDuration) {
        self.now.slb_syn_retrans += 1;
        count_in_bin(&mut self.syn_repeats, after + SimDuration::from_millis(500));
    }

    /// Whether packets at nodes are asked for.
    #[inline]
    pub const fn records_node_packets(&self) -> bool {
        self.options.node_packets
    }

    /// A packet is at an interface of a node.
    pub fn node_packet(&mut self, packet: NodePacket) {
        self.node_packets.push(packet);
    }

    /// An upstream connect was established.
    pub fn connected(&mut self, took: SimDuration) {
        const SLOW: SimDuration = SimDuration::from_millis(900);
        self.now.established += 1;
        self.now.slow += u64::from(took >= SLOW);
        if self.is_warm() {
            self.connect_latency.saturating_record(took.as_nanos());
        }
    }

    /// A client has its whole response.
    pub fn answered(&mut self, took: SimDuration) {
        if self.is_warm() {
            self.request_latency.saturating_record(took.as_nanos());
        }
    }

    /// A client has what it wanted, after one try or several.
    pub fn operation_succeeded(&mut self, took: SimDuration) {
        if self.is_warm()
            && let Some(histogram) = &mut self.operation_latency
        {
            histogram.saturating_record(took.as_nanos());
        }
    }

    /// Whether attempts without a hit are recorded too.
    pub const fn records_all(&self) -> bool {
        self.options.all
    }

    /// An attempt at a pod; returns whether its request has records to complete.
    pub fn attempt(&mut self, record: AttemptRecord, tag: u32) -> bool {
        if let (Some(hit), true) = (record.hit, self.is_warm()) {
            count_in_bin(&mut self.reuse_gap, hit.reuse_gap);
        }
        let is_hit = record.hit.is_some();
        let recorded = if is_hit {
            self.hits_recorded
        } else {
            self.attempts.len() - self.hits_recorded
        };
        if recorded >= self.options.cap {
            self.attempts_left_out += 1;
            return false;
        }
        self.hits_recorded += usize::from(is_hit);
        // A check has no request that would end.
        let is_request = record.request != AttemptRecord::CHECK;
        if is_request {
            self.open.entry(tag).or_default().push(self.attempts.len());
        }
        self.attempts.push(record);
        is_request
    }

    /// A request ended: completes its attempt records and notes it. Answers its row among the requests.
    pub fn ended(&mut self, record: RequestRecord, tag: u32, recorded: bool) -> Option<u32> {
        let index = Status::ALL
            .iter()
            .position(|&status| status == record.status)
            .expect("ALL holds every status");
        self.now.by_status[index] += 1;
        if let Some(cause) = record.cause {
            self.now.causes[cause as usize] += 1;
            for other in record.contributing.iter() {
                self.now.contributing[other as usize] += 1;
            }
            if let Some(path) = record.release_path {
                self.now.failed_by_path[path.index()] += 1;
            }
        }
        if recorded {
            for index in self.open.remove(&tag).unwrap_or_default() {
                let attempt = &mut self.attempts[index];
                attempt.status = Some(record.status);
                attempt.request_ended = Some(record.ended);
                attempt.syns_sent = record.syns_sent;
            }
        }
        if record.status == Status::Ok && !self.options.all {
            return None;
        }
        self.row(record)
    }

    /// An answered request was slow. `row`: the one that it has already.
    pub fn slow(&mut self, record: RequestRecord, row: Option<u32>) {
        if let Some(cause) = record.cause {
            self.now.slow_causes[cause as usize] += 1;
        }
        for other in record.contributing.iter() {
            self.now.slow_contributing[other as usize] += 1;
        }
        if let Some(path) = record.release_path {
            self.now.slow_by_path[path.index()] += 1;
        }
        match row {
            Some(row) => self.requests[row as usize] = record,
            None => {
                self.row(record);
            }
        }
    }

    /// Adds a row of a request.
    fn row(&mut self, record: RequestRecord) -> Option<u32> {
        if self.requests.len() >= self.options.cap {
            self.requests_left_out += 1;
            return None;
        }
        self.requests.push(record);
        Some(self.requests.len() as u32 - 1)
    }

    /// Hands everything over. What happened since the last full second becomes one more row, if anything did.
    pub fn finish(
        mut self,
        replication: u32,
        ended: SimTime,
        (events, queue_operations): (u64, u64),
        gauges: Gauges,
        in_flight: InFlightAtEnd,
    ) -> Observations {
        let whole_seconds = ended.as_nanos().is_multiple_of(1_000_000_000);
        match self.seconds.last_mut() {
            Some(last) if whole_seconds => last.counts += self.now,
            _ => self.second(gauges),
        }
        Observations {
            replication,
            simulated: ended.since(SimTime::ZERO),
            events,
            queue_operations,
            seconds: self.seconds,
            requests_in_flight: in_flight.requests,
            connects_in_flight: in_flight.connects,
            operations_in_flight: in_flight.operations,
            connect_latency: self.connect_latency,
            request_latency: self.request_latency,
            operation_latency: self.operation_latency,
            attempts: self.attempts,
            attempts_left_out: self.attempts_left_out,
            requests: self.requests,
            requests_left_out: self.requests_left_out,
            reuse_gap: self.reuse_gap,
            syn_repeats: self.syn_repeats,
            node_packets: self.node_packets,
        }
    }
}

/// Counts a length of time in its whole second.
fn count_in_bin(bins: &mut Vec<u64>, length: SimDuration) {
    let bin = length.as_secs() as usize;
    if bins.len() <= bin {
        bins.resize(bin + 1, 0);
    }
    bins[bin] += 1;
}
