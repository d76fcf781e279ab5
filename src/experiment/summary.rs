//! The summary of a run: every figure with its name. The names are fixed (`docs/results-reference.md`); they change only
//! with [`SCHEMA_VERSION`] and a line in the change log. No wall clock, host name or path ever enters it.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::stats::{Estimate, MeanTime, Method};

/// Version of the names and meanings below.
pub const SCHEMA_VERSION: u32 = 1;

/// Name-value pairs that keep their order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Named<T>(pub Vec<(String, T)>);

impl<T: Copy> Named<T> {
    /// The value called `name`.
    pub fn get(&self, name: &str) -> Option<T> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| *value)
    }
}

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Everything that a run says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// What was run.
    pub meta: Meta,
    /// Requests of the clients.
    pub requests: Requests,
    /// What the 499s come to if one does nothing.
    pub outlook: Outlook,
    /// What clients wanted done, over all their tries; only where some may try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations: Option<Operations>,
    /// Connections from clients to the SLB; only where some keep theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_connections: Option<ClientConnections>,
    /// Upstream connects of the SLB.
    pub connections: Connections,
    /// SYN attempts as the pods saw them.
    pub attempts: Attempts,
    /// The nodes' SNAT.
    pub snat: Snat,
    /// The nodes' ipvs.
    pub ipvs: Ipvs,
    /// Hits by release path, `M1` to `M22` and `unknown`. M8's are the `fin_wait2_hits` and not among the hits.
    pub release_paths: Named<u64>,
    /// Failed requests by primary cause.
    pub causes: Named<u64>,
    /// Failed requests to which a cause contributed without being the primary one.
    pub contributing: Named<u64>,
    /// Failed requests whose primary cause is a collision, by release path.
    pub failed_by_release_path: Named<u64>,
    /// Answered requests that took long.
    pub slow_requests: SlowRequests,
    /// Seconds between a hit and the last segment of the port's previous flow.
    pub reuse_gap_seconds: ReuseGap,
    /// Latency quantiles.
    pub latency_seconds: Latencies,
    /// Counters under the names of `nstat` and `conntrack -S`.
    pub counters: Named<u64>,
    /// Largest levels.
    pub levels: Levels,
    /// The closed form beside the measured figures.
    pub theory: Theory,
    /// The incident's scorecard, `1` to `8`; only for scenarios that ask for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scorecard: Option<Named<ScorecardItem>>,
    /// Health checks of the SLB; only for scenarios that have them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_checks: Option<HealthChecks>,
    /// Probes of the kubelets; only for scenarios that have them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,
    /// Requests and attempts without the first 120 s; `null` if the run is no longer than that.
    pub after_120s: Option<After120s>,
    /// The scenario's expectations of its own result.
    pub expectations: Vec<super::expect::Verdict>,
}

/// What was run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Meta {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of the program.
    pub version: String,
    /// File stem of the scenario.
    pub scenario: String,
    /// Hash of the resolved scenario.
    pub scenario_hash: String,
    /// Root seed.
    pub seed: u64,
    /// Replications; all counts are sums over them.
    pub replications: u32,
    /// Simulated time of one replication, the warm-up included.
    pub simulated_seconds: f64,
    /// Left out of every figure, from the start of each replication.
    pub warm_up_seconds: f64,
    /// Events processed.
    pub events: u64,
    /// Whether the run was stopped before its end.
    pub interrupted: bool,
}

/// Requests of the clients.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Requests {
    /// Ended requests.
    pub total: u64,
    /// Not ended when the run stopped.
    pub in_flight: u64,
    /// Ended requests by status.
    pub by_status: Named<u64>,
    /// Status 499 per ended request.
    pub rate_499: Estimate,
    /// Any status but 200 per ended request.
    pub rate_failed: Estimate,
}

/// The 499s in the units of somebody who thinks about living with them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outlook {
    /// Per million ended requests.
    pub status_499_per_million: Estimate,
    /// Per day at the rate of this run.
    pub status_499_per_day: Estimate,
    /// From the end of the warm-up to the first one, over the replications, to the second.
    pub seconds_to_first_499: MeanTime,
}

/// What clients wanted done, over all their tries: populations with `retry` only.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Operations {
    /// Ended operations: the sum of `succeeded` and `failed`.
    pub total: u64,
    /// Not ended when the run stopped; those that wait for their next try are among them.
    pub in_flight: u64,
    /// Ended with a whole answer of status 200.
    pub succeeded: u64,
    /// Of these, after more than one try.
    pub succeeded_after_retry: u64,
    /// The last try failed.
    pub failed: u64,
    /// Requests that were another try.
    pub retries: u64,
    /// Failed per ended operation.
    pub rate_failed: Estimate,
    /// Seconds from the first try to the end of those that succeeded.
    pub latency_seconds: Quantiles,
}

/// Connections from clients to the SLB.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClientConnections {
    /// Opened by clients.
    pub total: u64,
    /// Requests that went out on a connection that had served others.
    pub reused: u64,
    /// Of these, sent again because the SLB had closed it meanwhile.
    pub keepalive_races: u64,
}

/// Upstream connects of the SLB.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Connections {
    /// Sum of the five below.
    pub total: u64,
    /// Handshake completed.
    pub established: u64,
    /// Connect timeout, or the kernel gave up.
    pub timed_out: u64,
    /// Answered by RST.
    pub refused: u64,
    /// The client left first.
    pub abandoned: u64,
    /// Not ended when the run stopped.
    pub in_flight: u64,
    /// Of the established ones, after 0.9 s or more.
    pub slow: u64,
}

/// Health checks of the SLB. They are no requests and no upstream connects, but pods count their SYNs as attempts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HealthChecks {
    /// Ended checks: the sum of the two below.
    pub total: u64,
    /// The backend was found well.
    pub passed: u64,
    /// It was not: refused, reset, no answer in time, no source port.
    pub failed: u64,
    /// Times that a host took a backend out.
    pub falls: u64,
    /// Times that a host put one back.
    pub rises: u64,
}

/// Probes of the kubelets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Probes {
    /// Ended probes: the sum of the two below.
    pub total: u64,
    /// The pod was found well.
    pub passed: u64,
    /// It was not.
    pub failed: u64,
}

/// SYN attempts as the pods saw them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attempts {
    /// Distinct (pod, source address, source port, ISN).
    pub total: u64,
    /// Met TIME_WAIT: the sum of the three below.
    pub time_wait_hits: u64,
    /// Accepted by the TIME_WAIT rule.
    pub recycled: u64,
    /// First answered by a bare ACK.
    pub bare_acks: u64,
    /// Refused, and the ACK fell to the rate limit.
    pub no_answer: u64,
    /// Met a FIN_WAIT2 timewait; not among the hits.
    pub fin_wait2_hits: u64,
    /// TIME_WAITs killed by the caller's RST.
    pub rst_kills: u64,
    /// SYNs repeated on the same mapping.
    pub syn_retransmits: u64,
    /// SNAT ports used again for the same pod.
    pub port_reuses: u64,
    /// SLB tuples reopened.
    pub tuple_reopens: u64,
    /// Hits per attempt.
    pub p_hit: Estimate,
    /// Bare ACKs per attempt.
    pub p_bare_ack: Estimate,
}

/// The nodes' SNAT.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snat {
    /// SYNs for which no port was found.
    pub search_failures: u64,
    /// Conntrack entries evicted by the search.
    pub evictions: u64,
    /// Entries that clashed when confirmed.
    pub insert_failed: u64,
    /// Most ports of one (node, pod endpoint) in use at the end of a second.
    pub ports_in_use_max: u64,
}

/// The nodes' ipvs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ipvs {
    /// SYNs of reused tuples that ipvs dropped.
    pub syn_drops: u64,
}

/// Requests with status 200 that took the client long.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlowRequests {
    /// From when on one counts as slow.
    pub threshold_seconds: f64,
    /// How many there are.
    pub total: u64,
    /// Per ended request.
    pub rate: Estimate,
    /// By primary cause.
    pub causes: Named<u64>,
    /// Those to which a cause contributed without being the primary one.
    pub contributing: Named<u64>,
    /// Those whose primary cause is a collision, by release path.
    pub by_release_path: Named<u64>,
}

/// The reuse gap.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReuseGap {
    /// `[lower edge, hits]` in bins of one second from 0 to the largest hit.
    pub histogram: Vec<(u64, u64)>,
}

/// Latency quantiles in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Latencies {
    /// Established upstream connects.
    pub connect: Quantiles,
    /// Requests with status 200.
    pub request: Quantiles,
}

/// Quantiles; `null` without a sample.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Quantiles {
    /// Median.
    pub p50: Option<f64>,
    /// 90 %.
    pub p90: Option<f64>,
    /// 99 %.
    pub p99: Option<f64>,
    /// 99.9 %.
    pub p999: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
}

/// Largest levels at the end of a second, over all replications.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Levels {
    /// Conntrack entries, the background left out.
    pub conntrack_entries_max: u64,
    /// ipvs connections.
    pub ipvs_entries_max: u64,
    /// Pod sockets in TIME_WAIT.
    pub pod_time_wait_max: u64,
}

/// The closed form beside the measured figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Theory {
    /// Predicted hits per attempt.
    pub h: Option<f64>,
    /// Predicted refusals per attempt.
    pub p: Option<f64>,
    /// Measured `attempts.p_hit` minus `h`.
    pub residual: Option<f64>,
    /// Whether the form applies.
    pub valid: bool,
    /// Why it does not.
    pub why_not: Option<String>,
    /// Predicted share of the fresh connects that are refused until the client leaves.
    pub rate_499: Option<f64>,
    /// Fresh connects per second and (node, pod endpoint); `null` under a closed loop.
    pub fresh_per_second: Option<f64>,
    /// Connects per second and (node, pod endpoint) at which the ports run out; `null` without SNAT.
    pub ceiling_per_second: Option<f64>,
    /// The textbook's birthday figure per connection; `null` without SNAT or under a closed loop.
    pub naive_birthday: Option<f64>,
}

/// One item of the incident's scorecard.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ScorecardItem {
    /// The share that the item is about.
    pub value: f64,
    /// Lower end of its 95 % interval.
    pub lo95: f64,
    /// Upper end.
    pub hi95: f64,
    /// Whether the run shows what the incident showed.
    pub holds: bool,
    /// How the interval was made.
    pub method: Method,
}

/// Blocks without the first 120 s.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct After120s {
    /// Requests.
    pub requests: Requests,
    /// Attempts.
    pub attempts: Attempts,
}
