//! How fast whole runs are: simulated seconds per wall second, events and microseconds per connection.
//!
//! `cargo bench --bench path`: the incident's path at 100 and 350 connections/s on one pod, at 1,000 and 10,000 over as
//! many node-pod pairs as keep each at or below 350/s, and, apart, one pod at 1,000/s, which exhausts its SNAT ports.
//! One thread. Wall time is noisy on a shared machine: compare rows of one run, or count instructions
//! (`valgrind --tool=callgrind`).

use std::time::Instant;

use fivetuple::observe::{Counts, RecordOptions};
use fivetuple::{scenario, world};

struct Row {
    name: &'static str,
    rate: u32,
    clusters: u32,
    seconds: u32,
}

const ROWS: [Row; 5] = [
    Row {
        name: "100/s, one pod",
        rate: 100,
        clusters: 1,
        seconds: 320,
    },
    Row {
        name: "350/s, one pod",
        rate: 350,
        clusters: 1,
        seconds: 320,
    },
    Row {
        name: "1,000/s, 3 node-pod pairs",
        rate: 1_000,
        clusters: 3,
        seconds: 200,
    },
    Row {
        name: "10,000/s, 29 node-pod pairs",
        rate: 10_000,
        clusters: 29,
        seconds: 130,
    },
    Row {
        name: "1,000/s, one pod (exhausted)",
        rate: 1_000,
        clusters: 1,
        seconds: 130,
    },
];

fn main() {
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!(
        "{:30} {:>12} {:>12} {:>10} {:>10} {:>10} {:>9}",
        "", "connections", "events/conn", "us/conn", "ns/event", "sim s/s", "dropped"
    );
    for row in ROWS {
        let text =
            std::fs::read_to_string("scenarios/incident-499.toml").expect("run from the package's root");
        let sets = [
            format!("clients.rate=\"{}/s\"", row.rate),
            format!("clusters={}", row.clusters),
            format!("duration=\"{}s\"", row.seconds),
        ];
        let plan = scenario::parse(row.name, &text, &sets).unwrap_or_else(|errors| panic!("{errors}"));
        let started = Instant::now();
        let observed = world::simulate(&plan, 0, RecordOptions::default(), &|_| true);
        let wall = started.elapsed().as_secs_f64();
        let counts: Counts = observed.seconds.iter().map(|second| second.counts).sum();
        let connections = counts.connects_started as f64;
        println!(
            "{:30} {:12.0} {:12.1} {:10.2} {:10.0} {:10.0} {:9}",
            row.name,
            connections,
            observed.events as f64 / connections,
            wall * 1e6 / connections,
            wall * 1e9 / observed.events as f64,
            f64::from(row.seconds) / wall,
            counts.insert_failed,
        );
    }
}
