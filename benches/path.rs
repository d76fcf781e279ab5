//! How fast whole runs are: microseconds per connection, nanoseconds per event, memory per live entry, beside the floor.
//!
//! `cargo bench --bench path` prints all of it; `cargo bench --bench path -- MODE ...` a part:
//!
//! | mode | what |
//! |---|---|
//! | `rates` | the incident's path by rate: one pod, several node-pod pairs, one pod whose SNAT ports are exhausted |
//! | `live [--runs N] [ENTRIES ...]` | by live entries (TIME_WAIT and conntrack), each run in a process of its own, beside `benches/floor.rs` in turn; medians |
//! | `cores [--runs N]` | replications on one thread and on two |
//! | `churn TIME_WAIT CONNECTIONS` | one run of `benches/churn.toml`, for `benches/compare-ns3` |
//! | `row ENTRIES [CONNECTIONS]` | one run of `live`, which may be told how many connections to measure |
//! | `start ENTRIES`, `floor RATE SECONDS` | what else `live` starts |
//!
//! Wall time is noisy on a shared machine: compare rows of one run, or count instructions
//! (`valgrind --tool=callgrind`). The method: `docs/performance.md`.

#[path = "floor.rs"]
mod floor;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use fivetuple::observe::{Counts, Observations, RecordOptions};
use fivetuple::spec::Plan;
use fivetuple::units::SimDuration;
use fivetuple::{experiment, scenario, world};

/// Live entries per connection per second: 60 s of TIME_WAIT and 120 s of conntrack.
const LIVE_SECONDS: f64 = 180.0;
/// A node-pod pair carries no more, or its SNAT ports run out.
const PAIR_RATE: f64 = 350.0;
/// A measured stretch has at least so many connections, unless told otherwise, and so many simulated seconds.
const LEAST_CONNECTIONS: f64 = 400_000.0;
const LEAST_SECONDS: f64 = 20.0;
/// What `run` without `--out` keeps.
const RECORDS: RecordOptions = RecordOptions {
    all: false,
    cap: 10_000,
    node_packets: false,
};
/// Runs of each row, unless `--runs` says otherwise.
const RUNS: usize = 5;

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    // `cargo test --benches` only asks whether it starts.
    if words.iter().any(|word| word == "--test") {
        return;
    }
    let mode = words.first().map_or("", String::as_str);
    let numbers: Vec<u64> = words.iter().filter_map(|word| word.parse().ok()).collect();
    match (mode, numbers.as_slice()) {
        ("", _) => {
            rates();
            live(&LIVE, RUNS);
            cores(RUNS);
        }
        ("rates", _) => rates(),
        ("live", _) => {
            let (runs, rows) = runs(&words, &numbers);
            live(if rows.is_empty() { &LIVE } else { rows }, runs);
        }
        ("cores", _) => cores(runs(&words, &numbers).0),
        ("churn", &[time_wait, connections]) => churn(time_wait, connections),
        ("row", &[entries]) => row(entries, LEAST_CONNECTIONS),
        ("row", &[entries, connections]) => row(entries, connections as f64),
        ("start", &[entries]) => start(entries),
        ("floor", _) => floor::main(),
        _ => {
            eprintln!("modes: rates, live, cores, churn, floor; see the head of benches/path.rs");
            std::process::exit(2);
        }
    }
}

/// `--runs N` comes first, what remains are rows.
fn runs<'a>(words: &[String], numbers: &'a [u64]) -> (usize, &'a [u64]) {
    match numbers.split_first() {
        Some((&first, rest)) if words.iter().any(|word| word == "--runs") => (first.max(1) as usize, rest),
        _ => (RUNS, numbers),
    }
}

fn plan(file: &str, sets: &[String]) -> Plan {
    let path = Path::new(file);
    // A long run is meant.
    let limits = scenario::Limits { yes: true };
    let scenario = scenario::load_with(path, sets, limits);
    scenario.unwrap_or_else(|errors| panic!("{errors}")).plan
}

fn counts(observed: &Observations, from_second: usize) -> Counts {
    let seconds = observed.seconds.iter().skip(from_second);
    seconds.map(|second| second.counts).sum()
}

/// One run of a plan, timed from a simulated second on.
struct Timed {
    observed: Observations,
    /// Since that second.
    counts: Counts,
    nanos: f64,
}

impl Timed {
    /// `from` is 0 for the whole run, its start-up included.
    fn run(plan: &Plan, from: u64) -> Self {
        let begin = OnceLock::new();
        if from == 0 {
            begin.get_or_init(Instant::now);
        }
        let observed = world::simulate(plan, 0, RECORDS, &|reached| {
            if reached >= SimDuration::from_secs(from) {
                begin.get_or_init(Instant::now);
            }
            true
        });
        let begin = begin.get().expect("the run is longer than its warm-up");
        Self {
            nanos: begin.elapsed().as_secs_f64() * 1e9,
            counts: counts(&observed, from as usize),
            observed,
        }
    }

    fn us_per_connection(&self) -> f64 {
        self.nanos / 1e3 / self.counts.connects_started as f64
    }
}

// ---- rates ----

/// Name, connections per second, node-pod pairs, simulated seconds.
const RATES: [(&str, u32, u32, u32); 5] = [
    ("100/s, one pod", 100, 1, 320),
    ("350/s, one pod", 350, 1, 320),
    ("1,000/s, 3 node-pod pairs", 1_000, 3, 200),
    ("10,000/s, 29 node-pod pairs", 10_000, 29, 130),
    ("1,000/s, one pod (exhausted)", 1_000, 1, 130),
];

fn rates() {
    println!(
        "{:30} {:>12} {:>12} {:>10} {:>10} {:>10} {:>9}",
        "whole runs, cold start", "connections", "events/conn", "us/conn", "ns/event", "sim s/s", "dropped"
    );
    for (name, rate, clusters, seconds) in RATES {
        let plan = incident(f64::from(rate), clusters, f64::from(seconds));
        let timed = Timed::run(&plan, 0);
        let events = timed.observed.events as f64;
        println!(
            "{name:30} {:12} {:12.1} {:10.2} {:10.0} {:10.0} {:9}",
            timed.counts.connects_started,
            events / timed.counts.connects_started as f64,
            timed.us_per_connection(),
            timed.nanos / events,
            f64::from(seconds) * 1e9 / timed.nanos,
            timed.counts.insert_failed,
        );
    }
    println!();
}

fn incident(rate: f64, clusters: u32, seconds: f64) -> Plan {
    plan(
        "scenarios/incident-499.toml",
        &[
            format!("clients.rate=\"{rate}/s\""),
            format!("clusters={clusters}"),
            format!("duration=\"{seconds}s\""),
            "replications=1".to_owned(),
        ],
    )
}

// ---- live entries ----

/// The rows of `live`.
const LIVE: [u64; 4] = [100_000, 200_000, 1_000_000, 4_000_000];

/// What a child says: KEY=VALUE, separated by blanks.
type Figures = BTreeMap<String, f64>;

fn child(words: &[String]) -> Figures {
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program).args(words).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{words:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text.split_whitespace()
        .filter_map(|pair| pair.split_once('='))
        .filter_map(|(key, value)| Some((key.to_owned(), value.parse().ok()?)))
        .collect()
}

/// Rate, node-pod pairs and measured seconds of a number of live entries and so many connections or more.
fn shape(entries: u64, connections: f64) -> (f64, u32, f64) {
    let rate = (entries as f64 / LIVE_SECONDS).round().max(1.0);
    let seconds = (connections / rate).ceil().max(LEAST_SECONDS);
    (rate, (rate / PAIR_RATE).ceil() as u32, seconds)
}

fn live_plan(entries: u64, connections: f64) -> Plan {
    let (rate, pairs, seconds) = shape(entries, connections);
    incident(rate, pairs, floor::WARM_UP as f64 + seconds)
}

/// One run, timed after the warm-up. Memory is what the process takes more than before the run began.
fn row(entries: u64, connections: f64) {
    let plan = live_plan(entries, connections);
    let before = memory("VmRSS");
    let timed = Timed::run(&plan, floor::WARM_UP);
    let memory = memory("VmHWM")
        .zip(before)
        .map_or(f64::NAN, |(peak, before)| peak - before);
    let gauges = timed
        .observed
        .seconds
        .iter()
        .last()
        .expect("it has seconds")
        .gauges;
    let live = (gauges.conntrack_alive + gauges.pod_time_wait) as f64;
    println!(
        "us_per_connection={} nanos={} connections={} events={} live={live} bytes_per_live={}",
        timed.us_per_connection(),
        timed.nanos,
        timed.counts.connects_started,
        timed.observed.events,
        memory / live,
    );
}

/// The events of the warm-up alone, which are the same in every run.
fn start(entries: u64) {
    let warm_up = SimDuration::from_secs(floor::WARM_UP);
    let options = RecordOptions::default();
    let observed = world::simulate(&live_plan(entries, LEAST_CONNECTIONS), 0, options, &|reached| {
        reached < warm_up
    });
    println!("events={}", observed.events);
}

/// A line of /proc/self/status in bytes; `None` where there is no such file.
fn memory(name: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024.0)
}

/// Medians of runs that take turns: every row of the simulator and of the floor once, then all again.
fn live(rows: &[u64], runs: usize) {
    let warm_up: Vec<f64> = rows
        .iter()
        .map(|&entries| child(&["start".to_owned(), entries.to_string()])["events"])
        .collect();
    let mut ours: Vec<Vec<Figures>> = vec![Vec::new(); rows.len()];
    let mut floors = ours.clone();
    for _ in 0..runs {
        for (index, &entries) in rows.iter().enumerate() {
            let (rate, _, seconds) = shape(entries, LEAST_CONNECTIONS);
            let mut figures = child(&["row".to_owned(), entries.to_string()]);
            let events = figures["events"] - warm_up[index];
            figures.insert("events_per_connection".into(), events / figures["connections"]);
            figures.insert("ns_per_event".into(), figures["nanos"] / events);
            ours[index].push(figures);
            floors[index].push(child(&[
                "floor".to_owned(),
                rate.to_string(),
                seconds.to_string(),
            ]));
        }
    }
    println!(
        "steady state, medians of {runs}; ratios are medians over pairs of runs that followed each other"
    );
    println!(
        "{:>10} {:>7} {:>6} {:>9} {:>10} {:>9} {:>9} {:>10} {:>10} {:>9} {:>10}",
        "live",
        "rate",
        "pairs",
        "events/c",
        "ns/event",
        "us/conn",
        "B/live",
        "floor ns/e",
        "floor us/c",
        "ns ratio",
        "us ratio"
    );
    for (index, &entries) in rows.iter().enumerate() {
        let (rate, pairs, _) = shape(entries, LEAST_CONNECTIONS);
        let (ours, floors) = (&ours[index], &floors[index]);
        println!(
            "{:10.0} {rate:7} {pairs:6} {:9.2} {:10.1} {:9.3} {:9.0} {:10.1} {:10.3} {:9.2} {:10.2}",
            median_of(ours, "live"),
            median_of(ours, "events_per_connection"),
            median_of(ours, "ns_per_event"),
            median_of(ours, "us_per_connection"),
            median_of(ours, "bytes_per_live"),
            median_of(floors, "ns_per_event"),
            median_of(floors, "us_per_connection"),
            ratio(ours, floors, "ns_per_event"),
            ratio(ours, floors, "us_per_connection"),
        );
    }
    if let [first, .., last] = ours.as_slice() {
        println!(
            "growth of us/conn from the first row to the last: {:.2} (of the floor: {:.2})",
            ratio(last, first, "us_per_connection"),
            ratio(&floors[rows.len() - 1], &floors[0], "us_per_connection"),
        );
    }
    println!();
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

fn median_of(runs: &[Figures], key: &str) -> f64 {
    median(runs.iter().map(|figures| figures[key]).collect())
}

fn ratio(above: &[Figures], below: &[Figures], key: &str) -> f64 {
    median(
        above
            .iter()
            .zip(below)
            .map(|(above, below)| above[key] / below[key])
            .collect(),
    )
}

// ---- cores ----

/// Eight replications of the incident on one thread and on two.
fn cores(runs: usize) {
    let mut plan = incident(PAIR_RATE, 1, 200.0);
    plan.replications = 8;
    let seconds = |threads| {
        let begin = Instant::now();
        let outcome = experiment::run(&plan, RecordOptions::default(), Some(threads), &|_, _| true);
        assert_eq!(outcome.observations.len(), 8);
        begin.elapsed().as_secs_f64()
    };
    seconds(2);
    let gains = (0..runs).map(|_| seconds(1) / seconds(2)).collect();
    println!(
        "8 replications: 2 threads are {:.2} times as fast as 1, median of {runs}\n",
        median(gains)
    );
}

// ---- ns-3's workload ----

/// One run at 1,000/s whose TIME_WAITs last so many seconds, so that there are a thousand times as many of them. Timed
/// when they end as fast as they begin.
fn churn(time_wait: u64, connections: u64) {
    let warm_up = 2 * time_wait + 5;
    let sets = [
        format!("duration=\"{}s\"", warm_up + connections / 1_000),
        format!("pod.sysctl.tcp_tw_timeout={time_wait}"),
    ];
    let timed = Timed::run(&plan("benches/churn.toml", &sets), warm_up);
    let whole = counts(&timed.observed, 0);
    let connections = whole.connects_started as f64;
    let ended: u64 = whole.by_status.iter().sum();
    let gauges = timed
        .observed
        .seconds
        .iter()
        .last()
        .expect("it has seconds")
        .gauges;
    println!(
        "connections={} done={} failed={} us_per_connection={:.4} events_per_connection={:.2} \
         packets_per_connection={:.3} time_wait={} time_wait_hits={}",
        timed.counts.connects_started,
        timed.counts.by_status[0],
        ended - whole.by_status[0] + whole.refused + whole.timed_out,
        timed.us_per_connection(),
        timed.observed.events as f64 / connections,
        whole.packets_sent as f64 / connections,
        gauges.pod_time_wait,
        whole.time_wait_hits,
    );
}
