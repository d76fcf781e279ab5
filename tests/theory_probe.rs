//! Why a uniform draw among the free SNAT ports is not good enough for a closed form: the kernel probes upward from a
//! random start, so a port that is freed inside a run of held ones is found sooner. A model of draws alone, without
//! packets, with both rules, beside the closed form, which corrects for it. `docs/models/theory.md` quotes it.

use std::collections::VecDeque;

use fivetuple::theory::renewal::{RefusalEffect, Reopening};
use fivetuple::theory::{Inputs, predict};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use rustc_hash::FxHashMap;

/// Nanoseconds per second: times are whole nanoseconds.
const SECOND: u64 = 1_000_000_000;
/// The pod's TIME_WAIT, the middle of 60 to 64.1 s at HZ 1000.
const MEMORY: u64 = 62 * SECOND;
/// conntrack's hold of a refused attempt: CLOSE.
const CLOSE_HOLD: u64 = 10 * SECOND;

/// How a port is chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Draw {
    /// Any free port, each equally likely.
    Uniform,
    /// The first free port from a random start upward, as 4.19 does with `--random-fully`.
    Probe,
}

/// A load under which the SLB reopens its tuples.
#[derive(Clone, Copy)]
struct Load {
    per_second: u64,
    ports: usize,
    tuples: u32,
    /// conntrack's TIME_WAIT.
    hold: u64,
    duration: u64,
}

/// The default incident: 350/s, 64 SLB addresses with 64,512 source ports each, stock timers, 320 s from empty tables.
const INCIDENT: Load = Load {
    per_second: 350,
    ports: 64_512,
    tuples: 64 * 64_512,
    hold: 120 * SECOND,
    duration: 320 * SECOND,
};

/// What conntrack and the pod know of one port.
#[derive(Clone, Copy, Default)]
struct Port {
    held: bool,
    /// Counts the uses, so that the end of an earlier one is told from that of a later one.
    uses: u32,
    /// When the pod forgets; 0: nothing to forget.
    remembered_until: u64,
}

/// Hits of one run.
fn hits(load: Load, draw: Draw, seed: u64) -> u32 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut ports = vec![Port::default(); load.ports];
    let (mut holds, mut closes) = (VecDeque::<(u64, usize, u32)>::new(), VecDeque::new());
    let mut port_of_tuple: FxHashMap<u32, (usize, u32)> = FxHashMap::default();
    let mut hits = 0;
    for number in 0..load.duration / SECOND * load.per_second {
        let now = number * SECOND / load.per_second;
        for ends in [&mut holds, &mut closes] {
            while let Some(&(at, port, uses)) = ends.front()
                && at <= now
            {
                free(&mut ports, port, uses);
                ends.pop_front();
            }
        }
        // The SLB's own port is drawn at random; a SYN on a tuple that conntrack still holds frees its port.
        let tuple = rng.random_range(0..load.tuples);
        if let Some((port, uses)) = port_of_tuple.remove(&tuple) {
            free(&mut ports, port, uses);
        }
        let chosen = choose(&ports, draw, &mut rng);
        let port = &mut ports[chosen];
        let hit = now < port.remembered_until;
        let refused = hit && rng.random::<bool>();
        hits += u32::from(hit);
        port.held = true;
        port.uses += 1;
        // A refusal ends with the caller's RST, which kills the TIME_WAIT, and the client leaves.
        let (ends, hold, remembered_until) = if refused {
            (&mut closes, CLOSE_HOLD, 0)
        } else {
            (&mut holds, load.hold, now + MEMORY)
        };
        port.remembered_until = remembered_until;
        ends.push_back((now + hold, chosen, port.uses));
        port_of_tuple.insert(tuple, (chosen, port.uses));
    }
    hits
}

/// Ends a hold, unless the port has been used again since.
fn free(ports: &mut [Port], port: usize, uses: u32) {
    if ports[port].uses == uses {
        ports[port].held = false;
    }
}

fn choose(ports: &[Port], draw: Draw, rng: &mut impl Rng) -> usize {
    loop {
        let start = rng.random_range(0..ports.len());
        match draw {
            Draw::Uniform if !ports[start].held => return start,
            Draw::Uniform => {}
            Draw::Probe => {
                let upward = (start..ports.len()).chain(0..start);
                return { upward }.find(|&port| !ports[port].held).expect("a free port");
            }
        }
    }
}

/// What both rules give under one load.
struct Comparison {
    /// Mean hits per run with the upward probe.
    probe: f64,
    /// The one divided by the other, and its standard error.
    ratio: f64,
    error: f64,
}

fn compare(name: &str, load: Load, seeds: u64) -> Comparison {
    // Mean, and standard error as a share of it.
    let moments = |draw| {
        let runs: Vec<f64> = (0..seeds)
            .into_par_iter()
            .map(|seed| f64::from(hits(load, draw, seed)))
            .collect();
        let mean = runs.iter().sum::<f64>() / seeds as f64;
        let variance = runs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (seeds - 1) as f64;
        (mean, (variance / seeds as f64).sqrt() / mean)
    };
    let ((uniform, uniform_error), (probe, probe_error)) = (moments(Draw::Uniform), moments(Draw::Probe));
    let ratio = probe / uniform;
    let error = ratio * uniform_error.hypot(probe_error);
    println!("{name}: uniform {uniform:.1}, probe {probe:.1} hits per run, ratio {ratio:.3} +- {error:.3}");
    Comparison { probe, ratio, error }
}

/// Hits per run as the closed form has them.
fn closed_form(load: Load) -> f64 {
    let seconds = (load.duration / SECOND) as f64;
    let prediction = predict(&Inputs {
        fresh_rate: load.per_second as f64,
        direct: false,
        same_pod: 1.0,
        ports: load.ports as f64,
        hold: (load.hold / SECOND) as f64,
        memory: (62.0, 62.0),
        refused: 0.5,
        refusal_effect: RefusalEffect::Kills,
        retry_after: None,
        reopening: Reopening::Random {
            tuples: f64::from(load.tuples),
            connects: load.per_second as f64,
        },
        stray_rst: None,
        patience: None,
        from: 0.0,
        until: seconds,
        obstacles: Vec::new(),
    });
    prediction.h.expect("the form applies") * load.per_second as f64 * seconds
}

#[test]
fn at_the_incidents_load_probing_finds_a_quarter_more_reopened_ports_than_uniform_draws() {
    let incident = compare("350/s, 65 % held", INCIDENT, 24);
    assert!((1.1..1.35).contains(&incident.ratio), "{:.3}", incident.ratio);
    // The packet simulator finds 211 per run.
    assert!(
        (incident.probe / 210.6 - 1.0).abs() < 0.08,
        "{:.1}",
        incident.probe
    );
    let form = closed_form(INCIDENT);
    assert!(
        (incident.probe / form - 1.0).abs() < 0.08,
        "{:.1}, closed form {form:.1}",
        incident.probe
    );
}

#[test]
fn with_few_ports_held_probing_and_uniform_draws_agree_within_the_noise() {
    // Few tuples, so that they are reopened often enough to count.
    let low = Load {
        per_second: 50,
        tuples: 64_512,
        ..INCIDENT
    };
    let low = compare("50/s, 9 % held", low, 24);
    assert!((low.ratio - 1.0).abs() < 3.0 * low.error, "{:.3}", low.ratio);
}

#[test]
fn ports_that_conntracks_own_timer_frees_are_found_alike() {
    // Held ports leave in the order in which they came, so a run loses its lower end first.
    for (hold, within) in [(10, 0.02), (30, 0.04)] {
        let load = Load {
            per_second: 20,
            ports: 1000,
            tuples: u32::MAX,
            hold: hold * SECOND,
            duration: 240 * SECOND,
        };
        let short = compare(&format!("hold {hold} s"), load, 12);
        assert!((short.ratio - 1.0).abs() < within, "{:.3}", short.ratio);
    }
}

/// The figures of `docs/models/theory.md`: `cargo test --release --test theory_probe -- --ignored --nocapture`.
#[test]
#[ignore = "half a minute: cargo test --release --test theory_probe -- --ignored --nocapture"]
fn ratio_over_occupancy() {
    for (per_second, fewer) in [(50, 64), (100, 64), (200, 16), (350, 1), (450, 1)] {
        let load = Load {
            per_second,
            tuples: INCIDENT.tuples / fewer,
            ..INCIDENT
        };
        let held = 100 * per_second * 120 / load.ports as u64;
        let form = closed_form(load);
        println!("closed form {form:.1} hits per run");
        let drawn = compare(&format!("{per_second}/s, {held} % held at most"), load, 200);
        assert!((form / drawn.probe - 1.0).abs() < 0.06);
    }
}
