use serde_json::Value;

use super::testing::{observations_for_tests, plan_for_tests};
use super::*;
use crate::spec::Expectation;
use crate::units::SimDuration;

fn outcome(plan: &Plan, threads: usize) -> Outcome {
    run_with(plan, Some(threads), &|replication| {
        observations_for_tests(plan, replication)
    })
}

fn json(plan: &Plan) -> Value {
    serde_json::to_value(&outcome(plan, 2).summary).unwrap()
}

fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    value
        .pointer(&format!("/{}", path.replace('.', "/")))
        .unwrap_or_else(|| panic!("{path} is missing"))
}

fn count(value: &Value, path: &str) -> u64 {
    at(value, path)
        .as_u64()
        .unwrap_or_else(|| panic!("{path} is no integer"))
}

const COUNTS: &str = "meta.schema_version meta.seed meta.replications meta.events requests.total requests.in_flight \
    requests.by_status.200 requests.by_status.499 requests.by_status.500 requests.by_status.502 \
    requests.by_status.503 requests.by_status.504 connections.total connections.established connections.timed_out \
    connections.refused connections.abandoned connections.in_flight connections.slow attempts.total \
    attempts.time_wait_hits attempts.recycled attempts.bare_acks attempts.no_answer attempts.fin_wait2_hits \
    attempts.rst_kills attempts.syn_retransmits snat.search_failures snat.evictions snat.insert_failed \
    snat.ports_in_use_max ipvs.syn_drops release_paths.unknown after_120s.requests.total after_120s.attempts.total \
    counters.TcpExtPAWSEstab counters.TcpExtTCPACKSkippedTimeWait counters.TcpExtTW \
    counters.TcpExtTCPTimeWaitOverflow counters.TcpExtListenOverflows counters.TcpExtListenDrops \
    counters.TcpExtTCPReqQFullDrop counters.TcpExtTCPReqQFullDoCookies counters.TcpExtSyncookiesSent \
    counters.TcpExtSyncookiesRecv counters.TcpExtTCPTimeouts \
    counters.TcpExtTCPSynRetrans counters.TcpOutRsts counters.insert_failed counters.drop counters.early_drop \
    counters.invalid";

const RATES: &str = "requests.rate_499 requests.rate_failed attempts.p_hit attempts.p_bare_ack \
    after_120s.requests.rate_499 after_120s.requests.rate_failed after_120s.attempts.p_hit \
    after_120s.attempts.p_bare_ack scorecard.1 scorecard.2 scorecard.3 scorecard.4 scorecard.5 scorecard.6 \
    scorecard.7 scorecard.8";

const OTHERS: &str = "meta.version meta.scenario meta.scenario_hash meta.simulated_seconds meta.warm_up_seconds \
    reuse_gap_seconds.histogram latency_seconds.connect.p50 latency_seconds.connect.p90 latency_seconds.connect.p99 \
    latency_seconds.connect.p999 latency_seconds.connect.max latency_seconds.request.p50 \
    latency_seconds.request.p90 latency_seconds.request.p99 latency_seconds.request.p999 latency_seconds.request.max \
    theory.h theory.p theory.residual theory.valid theory.why_not causes.time-wait-collision causes.slow-path";

#[test]
fn every_name_of_the_contract_exists_with_its_type() {
    let summary = json(&plan_for_tests());
    for path in COUNTS.split_whitespace() {
        count(&summary, path);
    }
    for number in 1..=22 {
        count(&summary, &format!("release_paths.M{number}"));
    }
    for path in RATES.split_whitespace() {
        let rate = at(&summary, path);
        for end in ["value", "lo95", "hi95"] {
            assert!(rate[end].is_f64(), "{path}.{end}");
        }
        let method = rate["method"].as_str().unwrap();
        assert!(
            ["replications", "batch-means", "wilson", "clopper-pearson"].contains(&method),
            "{path}"
        );
        assert!(
            rate["lo95"].as_f64() < rate["hi95"].as_f64(),
            "{path} is of zero width"
        );
    }
    for path in OTHERS.split_whitespace() {
        at(&summary, path);
    }
    for number in 1..=8 {
        assert!(at(&summary, &format!("scorecard.{number}.holds")).is_boolean());
    }
}

#[test]
fn the_stated_sums_hold() {
    for warm_up in [0, 30] {
        let mut plan = plan_for_tests();
        plan.warm_up = SimDuration::from_secs(warm_up);
        let summary = json(&plan);
        let sum = |paths: &[&str]| paths.iter().map(|path| count(&summary, path)).sum::<u64>();
        assert_eq!(
            count(&summary, "connections.total"),
            sum(&[
                "connections.established",
                "connections.timed_out",
                "connections.refused",
                "connections.abandoned",
                "connections.in_flight"
            ])
        );
        let hits = count(&summary, "attempts.time_wait_hits");
        assert!(hits > 0);
        assert_eq!(
            hits,
            sum(&["attempts.recycled", "attempts.bare_acks", "attempts.no_answer"])
        );
        let paths = summary["release_paths"].as_object().unwrap();
        let by_path: u64 = paths
            .iter()
            .filter(|(name, _)| *name != "M8")
            .map(|(_, n)| n.as_u64().unwrap())
            .sum();
        assert_eq!(hits, by_path);
        assert_eq!(count(&summary, "release_paths.unknown"), 0);
        let causes: u64 = summary["causes"]
            .as_object()
            .unwrap()
            .values()
            .map(|n| n.as_u64().unwrap())
            .sum();
        assert_eq!(
            causes,
            count(&summary, "requests.total") - count(&summary, "requests.by_status.200")
        );
        let bins = at(&summary, "reuse_gap_seconds.histogram").as_array().unwrap();
        assert_eq!(
            hits,
            bins.iter().map(|bin| bin[1].as_u64().unwrap()).sum::<u64>(),
            "warm-up {warm_up}"
        );
        assert!(
            bins.iter()
                .enumerate()
                .all(|(i, bin)| bin[0].as_u64() == Some(i as u64)),
            "1 s bins from 0"
        );
        assert_ne!(bins.last().unwrap()[1], 0, "up to the largest hit");
    }
}

#[test]
fn the_result_does_not_depend_on_the_number_of_threads() {
    let plan = plan_for_tests();
    let text = |threads| serde_json::to_string(&outcome(&plan, threads).summary).unwrap();
    assert_eq!(text(1), text(2));
    assert_eq!(text(1), text(7));
}

#[test]
fn the_warm_up_and_the_first_120_seconds_are_left_out() {
    let mut plan = plan_for_tests();
    let all = outcome(&plan, 1).summary;
    plan.warm_up = SimDuration::from_millis(119_500);
    let late = outcome(&plan, 1).summary;
    assert!(late.attempts.total < all.attempts.total);
    let settled = all.after_120s.unwrap();
    assert_eq!(
        late.attempts, settled.attempts,
        "a started second is left out entirely"
    );
    assert_eq!(late.requests, settled.requests);
    plan.duration = SimDuration::from_secs(120);
    plan.warm_up = SimDuration::ZERO;
    assert_eq!(outcome(&plan, 1).summary.after_120s, None, "no longer than 120 s");
}

#[test]
fn one_replication_takes_batches_and_ten_take_replications() {
    let mut plan = plan_for_tests();
    let method = |plan: &Plan| outcome(plan, 1).summary.attempts.p_hit.method;
    assert_eq!(method(&plan), crate::stats::Method::Replications);
    plan.replications = 1;
    assert_eq!(method(&plan), crate::stats::Method::BatchMeans);
}

#[test]
fn the_scorecard_is_there_only_where_asked_for_and_reads_the_records() {
    let mut plan = plan_for_tests();
    let card = outcome(&plan, 1).summary.scorecard.unwrap();
    let holds: Vec<bool> = card.0.iter().map(|(_, item)| item.holds).collect();
    // A reopening restarts the old ipvs entry: item 3 is what rules this path out for the published event.
    assert_eq!(holds, [true, true, false, true, true, true, true, true]);
    assert_eq!(SCORECARD_ITEMS.len(), card.0.len());
    plan.scorecard = false;
    assert!(json(&plan).get("scorecard").is_none());
}

#[test]
fn expectations_are_judged_over_the_summary() {
    let mut plan = plan_for_tests();
    plan.expectations = [
        "attempts.bare_acks / attempts.total < 0.01",
        "requests.total == 0",
        "no.such < 1",
    ]
    .map(|that| Expectation {
        that: that.into(),
        why: None,
        location: "x.toml:1".into(),
    })
    .to_vec();
    let verdicts = outcome(&plan, 1).summary.expectations;
    assert_eq!(
        verdicts.iter().map(|v| v.passed).collect::<Vec<_>>(),
        [true, false, false]
    );
    assert!(verdicts[2].error.as_ref().unwrap().contains("no.such"));
}

#[test]
fn a_run_without_events_still_has_every_figure() {
    let mut plan = plan_for_tests();
    plan.duration = SimDuration::ZERO;
    let summary = json(&plan);
    assert_eq!(count(&summary, "attempts.total"), 0);
    assert!(at(&summary, "latency_seconds.connect.p50").is_null());
    assert!(at(&summary, "after_120s").is_null());
    assert_eq!(at(&summary, "attempts.p_hit.hi95").as_f64(), Some(1.0));
}
