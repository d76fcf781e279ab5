//! The scenarios of the house say something true: each one's expectations hold, each incident variant is dominated by
//! the release path that it plays through, each fix does what its head says.
//!
//! Here with few replications, so that it stays quick. In full length, as the files stand (some minutes):
//!
//! ```text
//! cargo test --release --test scenarios -- --ignored
//! ```

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use fivetuple::experiment::{self, Outcome, Summary};
use fivetuple::observe::{Counts, RecordOptions};
use fivetuple::scenario;
use fivetuple::vocab::ReleasePath;

/// The explanations of the incident, each with the release path that it plays through.
const VARIANTS: [(&str, &str); 6] = [
    ("incident-499", "M2"),
    ("incident-499-short-conntrack", "M4"),
    ("incident-499-conntrack-pressure", "M6"),
    ("incident-499-equal-holds", "M21"),
    ("incident-499-stray-rst", "M22"),
    ("incident-499-rst-close", "M7"),
];

/// What one may do about it.
const FIXES: [&str; 3] = ["local-policy", "direct-to-pod", "tw-timeout"];

/// No incident: what stock timers guard against.
const CONTROL: &str = "stock-timers-safe";

/// Pods that come and go.
const LIFECYCLE: &str = "rolling-update";

/// Replications of a run here; the files ask for more.
const FEW: &str = "replications=2";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

fn run(name: &str, sets: &[&str]) -> Outcome {
    let sets: Vec<_> = sets.iter().map(|set| (*set).to_owned()).collect();
    let path = folder().join(format!("{name}.toml"));
    let plan = scenario::load(&path, &sets).unwrap_or_else(|errors| panic!("{errors}"));
    experiment::run(&plan, RecordOptions::default(), None, &|_, _| true)
}

fn assert_expectations_hold(name: &str, summary: &Summary) {
    assert!(!summary.expectations.is_empty(), "{name} expects nothing");
    for verdict in &summary.expectations {
        assert!(verdict.passed, "{name}: {verdict:?}");
        assert!(verdict.why.is_some(), "{name}: `{}` has no reason", verdict.that);
    }
}

/// Hits by release path, the commonest first.
fn paths(summary: &Summary) -> Vec<(String, u64)> {
    let mut paths: Vec<_> = ReleasePath::all()
        .map(ReleasePath::name)
        .filter_map(|name| Some((summary.release_paths.get(&name)?, name)))
        .filter(|(hits, _)| *hits > 0)
        .map(|(hits, name)| (name, hits))
        .collect();
    paths.sort_by_key(|(_, hits)| std::cmp::Reverse(*hits));
    paths
}

fn row(page: &mut String, name: &str, summary: &Summary) {
    let attempts = &summary.attempts;
    let of = |status| summary.requests.by_status.get(status).unwrap_or(0);
    let paths: Vec<_> = paths(summary)
        .iter()
        .map(|(name, hits)| format!("{name} {hits}"))
        .collect();
    let card: String =
        summary
            .scorecard
            .iter()
            .flat_map(|card| &card.0)
            .fold(String::new(), |mut text, (number, item)| {
                text.push_str(if item.holds { number } else { "-" });
                text
            });
    writeln!(
        page,
        "{name:32}{:>9}{:>8}{:>7}{:>10}{:>10}{:>6}  {card:8}  {}",
        attempts.total,
        attempts.tuple_reopens,
        attempts.time_wait_hits,
        attempts.recycled,
        attempts.bare_acks,
        of("499"),
        paths.join(", ")
    )
    .expect("a string takes any text");
}

/// The table of a family of scenarios.
fn table<'a>(title: &str, runs: impl Iterator<Item = (&'a str, &'a Outcome)>) -> String {
    let mut page = format!(
        "{title}\n{:32}{:>9}{:>8}{:>7}{:>10}{:>10}{:>6}  {:8}  {}\n",
        "", "attempts", "reopens", "hits", "recycled", "bare ACKs", "499s", "holds", "release paths"
    );
    for (name, outcome) in runs {
        row(&mut page, name, &outcome.summary);
    }
    page
}

fn assert_page(name: &str, page: &str) {
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, page);
    });
}

#[test]
fn every_scenario_is_tried_here() {
    let files: BTreeSet<String> = fs_err::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let tried: BTreeSet<String> = VARIANTS
        .iter()
        .map(|(name, _)| *name)
        .chain(FIXES)
        .chain([CONTROL, LIFECYCLE])
        .map(str::to_owned)
        .collect();
    assert_eq!(files, tried);
}

#[test]
fn a_rolling_update_in_ipvs_mode_loses_what_reuses_its_tuples_and_newer_kernels_lose_nothing() {
    let gone = |sets: &[&str]| {
        let outcome = run(LIFECYCLE, sets);
        assert_expectations_hold(LIFECYCLE, &outcome.summary);
        outcome.summary.causes.get("pod-gone")
    };
    assert!(gone(&["replications=1"]) > Some(3_000));
    assert_eq!(gone(&["replications=1", "node.profile=6.12"]), Some(0));
    // What it takes: tuples that come back, and a rolling update.
    for without in [
        "node.ipvs.conn_reuse_mode=1",
        "node.proxy=iptables",
        "rollout.at=290s",
    ] {
        let outcome = run(LIFECYCLE, &["replications=1", without]);
        let lost = outcome.summary.expectations.iter().any(|verdict| !verdict.passed);
        assert!(lost, "{without}");
    }
}

#[test]
fn each_incident_variant_plays_its_own_release_path_and_claims_no_more() {
    let runs: Vec<_> = VARIANTS
        .iter()
        .map(|&(name, path)| (name, path, run(name, &[FEW])))
        .collect();
    let title = "The incident's variants, 2 replications each, seed 1";
    let page = table(title, runs.iter().map(|(name, _, outcome)| (*name, outcome)));
    assert_page("incident_variants", &page);
    for (name, path, outcome) in &runs {
        assert_expectations_hold(name, &outcome.summary);
        let card = outcome.summary.scorecard.as_ref().expect("asked for");
        assert_eq!(card.0.len(), 8, "{name}");
        let paths = paths(&outcome.summary);
        assert_eq!(paths[0].0, *path, "{name}: {paths:?}");
        let head = fs_err::read_to_string(folder().join(format!("{name}.toml"))).unwrap();
        let head = head.split("\nquestion").next().unwrap().replace("\n# ", " ");
        for words in [
            "Assumed, not published",
            "What it cannot explain",
            " claim to be the cause",
        ] {
            assert!(head.contains(words), "the head of {name} lacks `{words}`");
        }
    }
}

#[test]
fn each_fix_does_what_its_head_says() {
    let incident = run(VARIANTS[0].0, &[FEW]);
    let runs: Vec<_> = FIXES.iter().map(|&name| (name, run(name, &[FEW]))).collect();
    let all = std::iter::once((VARIANTS[0].0, &incident))
        .chain(runs.iter().map(|(name, outcome)| (*name, outcome)));
    assert_page("fixes", &table("The fixes, 2 replications each, seed 1", all));
    let before = &incident.summary;
    for (name, outcome) in &runs {
        assert_expectations_hold(name, &outcome.summary);
        let after = &outcome.summary;
        // Common random numbers: the fix sees the very requests of the incident.
        assert_eq!(
            before.requests.total + before.requests.in_flight,
            after.requests.total + after.requests.in_flight,
            "{name}"
        );
        assert!(
            10 * after.attempts.bare_acks < before.attempts.bare_acks,
            "{name}"
        );
    }
}

/// Seconds at whose end something had been counted, over all replications.
fn first_second(outcome: &Outcome, of: impl Fn(&Counts) -> u64) -> Option<usize> {
    let first = |seconds: &fivetuple::observe::Seconds| seconds.iter().position(|it| of(&it.counts) > 0);
    outcome
        .observations
        .iter()
        .filter_map(|o| first(&o.seconds))
        .min()
}

#[test]
fn stock_timers_hold_against_a_slow_walk_although_tuples_and_ports_come_back() {
    let outcome = run(CONTROL, &[FEW]);
    assert_expectations_hold(CONTROL, &outcome.summary);
    // 14,116 even ports at 200/s: 70.6 s, give or take the spread of the arrivals, 0.6 s.
    let reopened = first_second(&outcome, |counts| counts.tuple_reopens).expect("the walk comes round");
    assert!(
        (67..=73).contains(&reopened),
        "first reopening after {reopened} s"
    );
    let reused = first_second(&outcome, |counts| counts.port_reuses).expect("ports are used again");
    assert!(
        reused >= reopened,
        "nothing releases a port before a tuple is reopened"
    );
    assert!(outcome.summary.attempts.port_reuses > 10_000);
}

#[test]
fn stock_timers_do_not_hold_against_random_source_ports_or_a_fast_walk() {
    for set in ["slb.port_selection=random", "clients.rate=300/s"] {
        let summary = run(CONTROL, &["replications=1", "duration=160s", set]).summary;
        assert!(summary.attempts.time_wait_hits > 200, "{set}");
        assert!(summary.attempts.bare_acks > 100, "{set}");
        assert_eq!(paths(&summary)[0].0, "M2", "{set}");
    }
}

/// What the heads of the files tell the reader to try.
#[test]
fn the_settings_that_the_files_suggest_do_what_they_say() {
    let one = |name: &str, set: &str| run(name, &["replications=1", set]).summary;
    let safe = one(
        "incident-499-equal-holds",
        "node.sysctl.nf_conntrack_tcp_timeout_time_wait=65",
    );
    assert_eq!(
        safe.attempts.time_wait_hits, 0,
        "65 s outlast the wheel at HZ 1000"
    );
    let roomy = one(
        "incident-499-conntrack-pressure",
        "node.conntrack.background_entries=87500",
    );
    assert_eq!(roomy.attempts.time_wait_hits, 0, "the table never fills");
    let long = one("tw-timeout", "pod.sysctl.tcp_tw_timeout=180");
    assert_eq!(paths(&long)[0].0, "M20", "the pod outlives conntrack's 120 s");
}

#[test]
#[ignore = "full length: cargo test --release --test scenarios -- --ignored"]
fn every_scenario_holds_as_it_stands() {
    for (name, path) in VARIANTS {
        let summary = run(name, &[]).summary;
        assert_expectations_hold(name, &summary);
        assert_eq!(paths(&summary)[0].0, path, "{name}");
    }
    for name in FIXES.into_iter().chain([CONTROL, LIFECYCLE]) {
        assert_expectations_hold(name, &run(name, &[]).summary);
    }
}
