//! From observations to the summary: sums over replications, intervals over seconds and replications.

use hdrhistogram::Histogram;

use super::closed_form::closed_form;
use super::scorecard;
use super::summary::{
    After120s, Attempts, ClientConnections, Connections, HealthChecks, Ipvs, Latencies, Levels, Meta, Named,
    Operations, Outlook, Probes, Quantiles, Requests, ReuseGap, SCHEMA_VERSION, SlowRequests, Snat, Summary,
    Theory,
};
use crate::observe::{Counts, Gauges, Observations, Second, latency_histogram};
use crate::spec::Plan;
use crate::stats::{Estimate, Sample, mean_time_to_first, rate};
use crate::units::{SimDuration, SimTime};
use crate::vocab::{Cause, ReleasePath, Status};

/// A stock conntrack needs this long until its entries come and go at the same rate.
const SETTLED: SimDuration = SimDuration::from_secs(120);

/// The figures of all replications of `plan`.
pub fn summarize(plan: &Plan, observations: &[Observations]) -> Summary {
    let window = Window {
        observations,
        from: whole_seconds(plan.warm_up),
    };
    let total = window.total();
    assert_causes_sum_up(&total);
    let attempts = attempts(&window);
    let simulated = observations.iter().map(|o| o.simulated).max().unwrap_or_default();
    let mut summary = Summary {
        meta: Meta {
            schema_version: SCHEMA_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: plan.name.clone(),
            scenario_hash: plan.hash.clone(),
            seed: plan.seed,
            replications: observations.len() as u32,
            simulated_seconds: simulated.as_secs_f64(),
            warm_up_seconds: plan.warm_up.as_secs_f64(),
            events: observations.iter().map(|o| o.events).sum(),
            interrupted: observations.iter().any(|o| o.simulated < plan.duration),
        },
        requests: requests(&window),
        outlook: outlook(&window),
        operations: plan.has_operations().then(|| operations(&window)),
        client_connections: plan.has_kept_clients().then_some(ClientConnections {
            total: total.client_connects,
            reused: total.client_connection_reuses,
            keepalive_races: total.client_keepalive_races,
        }),
        connections: connections(&window),
        snat: Snat {
            search_failures: total.snat_search_failures,
            evictions: total.snat_evictions,
            insert_failed: total.insert_failed,
            ports_in_use_max: window.level(|gauges| gauges.snat_ports_in_use),
        },
        ipvs: Ipvs {
            syn_drops: total.ipvs_syn_drops,
        },
        release_paths: release_paths(&total),
        causes: by_cause(&total.causes),
        contributing: by_cause(&total.contributing),
        failed_by_release_path: by_path(&total.failed_by_path),
        slow_requests: slow_requests(plan, &window),
        reuse_gap_seconds: reuse_gap(&window),
        latency_seconds: Latencies {
            connect: quantiles(observations.iter().map(|o| &o.connect_latency)),
            request: quantiles(observations.iter().map(|o| &o.request_latency)),
        },
        counters: counters(plan, &total),
        levels: Levels {
            conntrack_entries_max: window.level(|gauges| gauges.conntrack_entries),
            ipvs_entries_max: window.level(|gauges| gauges.ipvs_entries),
            pod_time_wait_max: window.level(|gauges| gauges.pod_time_wait),
        },
        theory: theory(plan, attempts.p_hit.value),
        attempts,
        scorecard: None,
        health_checks: plan.slb.health_check.map(|_| health_checks(&total)),
        probes: plan
            .pods
            .iter()
            .any(|pod| pod.probe.is_some())
            .then(|| probes(&total)),
        after_120s: after_120s(plan, observations),
        expectations: Vec::new(),
    };
    if plan.scorecard {
        let rate_499 = summary.requests.rate_499;
        summary.scorecard = Some(scorecard::score(
            observations,
            SimTime::ZERO + plan.warm_up,
            rate_499,
        ));
    }
    summary.expectations = super::expect::judge(plan, &summary);
    summary
}

/// The counted part of the replications: whole seconds from `from` on.
struct Window<'a> {
    observations: &'a [Observations],
    from: usize,
}

impl Window<'_> {
    fn seconds<'s>(&self, observations: &'s Observations) -> impl Iterator<Item = Second> + use<'s> {
        observations.seconds.iter().skip(self.from)
    }

    /// Simulated seconds that are counted, of each replication.
    fn observed_seconds(&self) -> impl Iterator<Item = f64> {
        let of = |o: &Observations| (o.simulated.as_secs_f64() - self.from as f64).max(0.0);
        self.observations.iter().map(of)
    }

    fn total(&self) -> Counts {
        self.observations
            .iter()
            .flat_map(|o| self.seconds(o))
            .map(|second| second.counts)
            .sum()
    }

    fn level(&self, of: impl Fn(&Gauges) -> u64) -> u64 {
        self.observations
            .iter()
            .flat_map(|o| self.seconds(o))
            .map(|second| of(&second.gauges))
            .max()
            .unwrap_or(0)
    }

    /// Events per trial, both counted second by second.
    fn rate(&self, events: impl Fn(&Counts) -> u64, trials: impl Fn(&Counts) -> u64) -> Estimate {
        let samples: Vec<Vec<Sample>> = self
            .observations
            .iter()
            .map(|o| {
                self.seconds(o)
                    .map(|second| Sample::new(events(&second.counts), trials(&second.counts)))
                    .collect()
            })
            .collect();
        rate(&samples)
    }
}

/// Whole seconds, a fraction counted as one more: the warm-up is left out entirely.
fn whole_seconds(duration: SimDuration) -> usize {
    duration.as_nanos().div_ceil(1_000_000_000) as usize
}

fn ended(counts: &Counts) -> u64 {
    counts.by_status.iter().sum()
}

/// Position of `status` in [`Counts::by_status`].
fn row(status: Status) -> usize {
    Status::ALL
        .iter()
        .position(|&s| s == status)
        .expect("ALL holds every status")
}

fn requests(window: &Window) -> Requests {
    let total = window.total();
    Requests {
        total: ended(&total),
        in_flight: window.observations.iter().map(|o| o.requests_in_flight).sum(),
        by_status: Named(
            Status::ALL
                .iter()
                .zip(total.by_status)
                .map(|(status, count)| (status.code().to_string(), count))
                .collect(),
        ),
        rate_499: window.rate(|counts| counts.by_status[row(Status::ClientClosed)], ended),
        rate_failed: window.rate(|counts| ended(counts) - counts.by_status[row(Status::Ok)], ended),
    }
}

/// Seconds of a day.
const DAY: f64 = 86_400.0;

fn outlook(window: &Window) -> Outlook {
    let status_499 = |counts: &Counts| counts.by_status[row(Status::ClientClosed)];
    let rate_499 = window.rate(status_499, ended);
    let seconds: f64 = window.observed_seconds().sum();
    // A run too short for any request stands for one.
    let requests = ended(&window.total()).max(1) as f64;
    let per_day = requests / seconds.max(1.0) * DAY;
    let times = |factor: f64| Estimate {
        value: rate_499.value * factor,
        lo95: rate_499.lo95 * factor,
        hi95: rate_499.hi95 * factor,
        method: rate_499.method,
    };
    let first: Vec<(f64, bool)> = window
        .observations
        .iter()
        .zip(window.observed_seconds())
        .map(|(observations, watched)| {
            // Somewhere in its second.
            let first = window
                .seconds(observations)
                .position(|second| status_499(&second.counts) > 0);
            first.map_or((watched, false), |second| {
                ((second as f64 + 0.5).min(watched), true)
            })
        })
        .collect();
    Outlook {
        status_499_per_million: times(1e6),
        status_499_per_day: times(per_day),
        seconds_to_first_499: mean_time_to_first(&first),
    }
}

fn operations(window: &Window) -> Operations {
    let total = window.total();
    let ended = |counts: &Counts| counts.operations_succeeded + counts.operations_failed;
    let observations = window.observations.iter();
    Operations {
        total: ended(&total),
        in_flight: observations.clone().map(|o| o.operations_in_flight).sum(),
        succeeded: total.operations_succeeded,
        succeeded_after_retry: total.operations_succeeded_after_retry,
        failed: total.operations_failed,
        retries: total.retries,
        rate_failed: window.rate(|counts| counts.operations_failed, ended),
        latency_seconds: quantiles(observations.filter_map(|o| o.operation_latency.as_ref())),
    }
}

fn connections(window: &Window) -> Connections {
    let total = window.total();
    let in_flight = window.observations.iter().map(|o| o.connects_in_flight).sum();
    Connections {
        total: total.established + total.timed_out + total.refused + total.abandoned + in_flight,
        established: total.established,
        timed_out: total.timed_out,
        refused: total.refused,
        abandoned: total.abandoned,
        in_flight,
        slow: total.slow,
    }
}

fn attempts(window: &Window) -> Attempts {
    let total = window.total();
    Attempts {
        total: total.attempts,
        time_wait_hits: total.time_wait_hits,
        recycled: total.recycled,
        bare_acks: total.bare_acks,
        no_answer: total.no_answer,
        fin_wait2_hits: total.fin_wait2_hits,
        rst_kills: total.rst_kills,
        syn_retransmits: total.syn_retransmits,
        port_reuses: total.port_reuses,
        tuple_reopens: total.tuple_reopens,
        p_hit: window.rate(|counts| counts.time_wait_hits, |counts| counts.attempts),
        p_bare_ack: window.rate(|counts| counts.bare_acks, |counts| counts.attempts),
    }
}

fn health_checks(total: &Counts) -> HealthChecks {
    HealthChecks {
        total: total.checks_passed + total.checks_failed,
        passed: total.checks_passed,
        failed: total.checks_failed,
        falls: total.check_falls,
        rises: total.check_rises,
    }
}

fn probes(total: &Counts) -> Probes {
    Probes {
        total: total.probes_passed + total.probes_failed,
        passed: total.probes_passed,
        failed: total.probes_failed,
    }
}

fn after_120s(plan: &Plan, observations: &[Observations]) -> Option<After120s> {
    let from = whole_seconds(SETTLED.max(plan.warm_up));
    let window = Window { observations, from };
    let longer = observations
        .iter()
        .any(|o| o.simulated > SETTLED && o.seconds.len() > from);
    longer.then(|| After120s {
        requests: requests(&window),
        attempts: attempts(&window),
    })
}

fn by_cause(counts: &[u64; Cause::ALL.len()]) -> Named<u64> {
    let names = Cause::ALL.iter().map(|cause| cause.name().to_owned());
    Named(names.zip(counts.iter().copied()).collect())
}

fn by_path(counts: &[u64; ReleasePath::COUNT]) -> Named<u64> {
    Named(
        ReleasePath::all()
            .map(|path| (path.name(), counts[path.index()]))
            .collect(),
    )
}

fn slow_requests(plan: &Plan, window: &Window) -> SlowRequests {
    let total = window.total();
    let slow = |counts: &Counts| counts.slow_causes.iter().sum();
    SlowRequests {
        threshold_seconds: plan.slow_after.as_secs_f64(),
        total: slow(&total),
        rate: window.rate(slow, ended),
        causes: by_cause(&total.slow_causes),
        contributing: by_cause(&total.slow_contributing),
        by_release_path: by_path(&total.slow_by_path),
    }
}

/// Each failed request has one primary cause, and each collision among them its release path: a sum that does not come
/// out is a bug of the simulator.
fn assert_causes_sum_up(total: &Counts) {
    let failed = ended(total) - total.by_status[row(Status::Ok)];
    assert_eq!(total.causes.iter().sum::<u64>(), failed, "causes sum to failures");
    for (causes, paths) in [
        (&total.causes, &total.failed_by_path),
        (&total.slow_causes, &total.slow_by_path),
    ] {
        let collisions =
            causes[Cause::TimeWaitCollision as usize] + causes[Cause::FinWait2Collision as usize];
        assert_eq!(
            paths.iter().sum::<u64>(),
            collisions,
            "each collision has its release path"
        );
    }
}

fn release_paths(total: &Counts) -> Named<u64> {
    let mut rows: Vec<(String, u64)> = ReleasePath::all()
        .map(|path| {
            let hits = if path == ReleasePath::FIN_WAIT2 {
                total.fin_wait2_hits
            } else {
                total.release_paths[path.index()]
            };
            (path.name(), hits)
        })
        .collect();
    let named: u64 = ReleasePath::all()
        .filter(|&path| path != ReleasePath::FIN_WAIT2)
        .map(|path| total.release_paths[path.index()])
        .sum();
    // A hit without a path is a bug of the simulator; the figure makes it visible.
    rows.push(("unknown".to_owned(), total.time_wait_hits.saturating_sub(named)));
    Named(rows)
}

/// The histogram of the counted hits: the world leaves out those of the warm-up itself.
fn reuse_gap(window: &Window) -> ReuseGap {
    let reach = |o: &Observations| {
        o.reuse_gap
            .iter()
            .rposition(|&count| count > 0)
            .map_or(0, |last| last + 1)
    };
    let longest = window.observations.iter().map(reach).max().unwrap_or(0);
    let count = |gap: usize| {
        window
            .observations
            .iter()
            .filter_map(|o| o.reuse_gap.get(gap))
            .sum()
    };
    ReuseGap {
        histogram: (0..longest).map(|gap| (gap as u64, count(gap))).collect(),
    }
}

fn quantiles<'a>(histograms: impl Iterator<Item = &'a Histogram<u64>>) -> Quantiles {
    let mut all = latency_histogram();
    for histogram in histograms {
        all.add(histogram)
            .expect("every latency histogram has the same bounds");
    }
    if all.is_empty() {
        return Quantiles::default();
    }
    let at = |quantile| Some(all.value_at_quantile(quantile) as f64 / 1e9);
    Quantiles {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: Some(all.max() as f64 / 1e9),
    }
}

/// Counters as a host shows them: `Tcp*` of the pods and the SLB from `nstat`, the others from the nodes' `conntrack -S`,
/// the last two from the links.
fn counters(plan: &Plan, total: &Counts) -> Named<u64> {
    // Refusals of TIME_WAIT by timestamp count as PAWSEstab up to 6.12 and as PAWSTimewait on 6.18 (measured).
    let newest = plan.pods.first().is_some_and(|pod| pod.tcp.counts_paws_time_wait);
    let paws = if newest {
        "TcpExtPAWSTimewait"
    } else {
        "TcpExtPAWSEstab"
    };
    // A failed port search and a clash at confirmation each add one to insert_failed and one to drop (measured, C).
    let lost = total.insert_failed;
    Named(
        [
            (paws, total.paws_rejected),
            ("TcpExtTCPACKSkippedTimeWait", total.acks_skipped_time_wait),
            ("TcpExtTW", total.time_waits),
            ("TcpExtTCPTimeWaitOverflow", total.time_wait_overflow),
            ("TcpExtListenOverflows", total.listen_overflows),
            ("TcpExtListenDrops", total.listen_drops),
            ("TcpExtTCPReqQFullDrop", total.req_q_full_drop),
            ("TcpExtTCPReqQFullDoCookies", total.req_q_full_do_cookies),
            ("TcpExtSyncookiesSent", total.syncookies_sent),
            ("TcpExtSyncookiesRecv", total.syncookies_recv),
            ("TcpExtTCPTimeouts", total.slb_timeouts),
            ("TcpExtTCPSynRetrans", total.slb_syn_retrans),
            ("TcpOutRsts", total.slb_out_rsts),
            ("insert_failed", lost),
            ("drop", total.conntrack_full_drops + lost),
            ("early_drop", total.early_drop),
            ("invalid", total.invalid),
            ("link_losses", total.link_losses),
            ("queue_overflows", total.queue_overflows),
        ]
        .map(|(name, count)| (name.to_owned(), count))
        .to_vec(),
    )
}

fn theory(plan: &Plan, p_hit: f64) -> Theory {
    let inputs = closed_form(plan);
    let prediction = crate::theory::predict(&inputs);
    let known = |value: f64| (value.is_finite() && value > 0.0).then_some(value);
    let snat = !inputs.direct;
    Theory {
        h: prediction.h,
        p: prediction.p,
        residual: prediction.h.map(|h| p_hit - h),
        valid: prediction.valid,
        why_not: prediction.why_not,
        rate_499: prediction.impatient,
        fresh_per_second: known(inputs.fresh_rate),
        ceiling_per_second: known(prediction.ceiling).filter(|_| snat),
        naive_birthday: known(prediction.naive_birthday).filter(|_| snat),
    }
}
