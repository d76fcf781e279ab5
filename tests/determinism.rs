//! The same scenario and seed give the same figures, to the last octet: in debug and release builds, on any number of
//! threads, and whatever else stands beside what is looked at.

use fivetuple::experiment::{self, Outcome};
use fivetuple::observe::RecordOptions;
use fivetuple::report;
use fivetuple::scenario::parse;

/// A bit of everything: two nodes and pods, loss, keepalive, stray RSTs, few ports and short timers, so that there are hits.
const SCENARIO: &str = r#"
duration = "140s"
warm_up = "2s"
replications = 3
seed = 42
[[service]]
name = "web"
[[clients]]
name = "people"
rate = "25/s"
timeout = "1.5s"
[slb]
hosts = 3
ports = "2000-2400"
timestamps = "off"
stray_rst = { share = 0.1 }
[[node]]
name = "first"
proxy = "ipvs"
[[node]]
name = "second"
profile = "4.19"
[node.snat]
to_ports = "3000-3900"
[node.sysctl]
nf_conntrack_tcp_timeout_time_wait = 20
[[pod]]
name = "one"
service_time = { lognormal = { median = "5ms", sigma = 1.5 } }
[[pod]]
name = "two"
service_time = { exponential = { mean = "8ms" } }
[links.client_slb]
delay = { uniform = { min = "0.1ms", max = "9ms" } }
[links.slb_node]
loss = 0.002
"#;

/// FNV-1a of the JSON of [`SCENARIO`], its `scenario_hash` left out. Debug and release builds both have to meet it: run the tests once each way
/// (`cargo test --test determinism` and the same with `--release`).
///
/// It changes when a prediction moves, which belongs under "Results change" in the change log, and with the version in
/// `Cargo.toml`. To renew it, take the number that the failing test prints, in both builds the same.
const GOLDEN: u64 = 0x080f_6c41_8631_b0ab;

fn fnv1a64(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn run(text: &str, threads: usize) -> Outcome {
    let plan = parse("determinism.toml", text, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let options = RecordOptions {
        all: true,
        ..RecordOptions::default()
    };
    experiment::run(&plan, options, Some(threads), &|_, _| true)
}

fn json(outcome: &Outcome) -> String {
    report::json(&outcome.summary)
}

/// The JSON without what the text of the scenario itself decides.
fn figures(text: &str) -> String {
    let mut summary = run(text, 2).summary;
    summary.meta.scenario_hash = String::new();
    report::json(&summary)
}

/// The scenario with `from` replaced, which must be there.
fn with(from: &str, to: &str) -> String {
    assert!(SCENARIO.contains(from), "{from}");
    SCENARIO.replace(from, to)
}

#[test]
fn debug_and_release_builds_meet_one_golden_hash() {
    let outcome = run(SCENARIO, 1);
    // Otherwise the hash would say little.
    let attempts = &outcome.summary.attempts;
    assert!(
        attempts.time_wait_hits > 100 && attempts.bare_acks > 0,
        "{attempts:?}"
    );
    // Without the scenario's own hash, which a new switch in a profile changes although no figure moves.
    let got = fnv1a64(&figures(SCENARIO));
    assert_eq!(
        got, GOLDEN,
        "the hash is {got:#018x} now; see GOLDEN for what that means"
    );
}

#[test]
fn two_runs_are_the_same_octet_for_octet_on_one_thread_and_on_two() {
    let first = run(SCENARIO, 1);
    for threads in [1, 2] {
        let again = run(SCENARIO, threads);
        assert_eq!(json(&first), json(&again), "{threads} threads");
        for (a, b) in first.observations.iter().zip(&again.observations) {
            assert_eq!((a.replication, a.events), (b.replication, b.events));
            assert!(a.attempts == b.attempts && a.requests == b.requests && a.seconds == b.seconds);
        }
    }
}

#[test]
fn what_is_recorded_does_not_change_the_figures() {
    let text = with("seed = 42", "seed = 42\nscorecard = true");
    let plan = parse("determinism.toml", &text, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let [hits, all] = [false, true].map(|all| {
        // More than the hits, less than the attempts of a replication.
        let options = RecordOptions {
            all,
            cap: 2_500,
            node_packets: false,
        };
        experiment::run(&plan, options, Some(2), &|_, _| true)
    });
    let left_out = |outcome: &Outcome| outcome.observations.iter().all(|o| o.attempts_left_out > 0);
    assert!(left_out(&all) && !left_out(&hits));
    assert_eq!(json(&hits), json(&all));
}

#[test]
fn another_seed_gives_other_figures() {
    assert_ne!(
        figures(SCENARIO),
        figures(&with("seed = 42", "seed = 43")).replace("\"seed\": 43", "\"seed\": 42")
    );
}

#[test]
fn new_names_change_no_figure() {
    let mut renamed = SCENARIO.to_owned();
    for (from, to) in [
        ("web", "api"),
        ("people", "robots"),
        ("first", "zebra"),
        ("second", "ant"),
        ("one", "z"),
        ("two", "a"),
    ] {
        renamed = renamed.replace(&format!("\"{from}\""), &format!("\"{to}\""));
    }
    assert_eq!(figures(SCENARIO), figures(&renamed));
}

#[test]
fn a_pod_of_another_service_behind_the_others_changes_no_figure() {
    let more = with(
        "[links.client_slb]",
        "[[pod]]\nname = \"three\"\nservice = \"idle\"\n[links.client_slb]",
    )
    .replace("[[clients]]", "[[service]]\nname = \"idle\"\n[[clients]]");
    assert_eq!(figures(SCENARIO), figures(&more));
}

#[test]
fn a_second_population_leaves_the_arrivals_of_the_first_alone() {
    let more = with("[slb]", "[[clients]]\nname = \"others\"\nrate = \"40/s\"\n[slb]");
    let arrivals = |text: &str| -> Vec<_> {
        let outcome = run(text, 2);
        let of = |observations: &fivetuple::observe::Observations| {
            let mut list: Vec<_> = observations
                .requests
                .iter()
                .filter(|request| request.population == 0)
                .map(|request| (request.request, request.started))
                .collect();
            list.sort_unstable();
            // What arrives at the very end may have ended in one run and not in the other.
            list.retain(|(_, started)| started.as_secs() < 130);
            list
        };
        outcome.observations.iter().map(of).collect()
    };
    let alone = arrivals(SCENARIO);
    assert!(
        alone.iter().all(|list| list.len() > 2_000),
        "the records hold every request"
    );
    assert_eq!(alone, arrivals(&more));
}
