//! Group P: which source ports connect() takes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::after;
use crate::common::{Row, lab_rows};
use fivetuple::engine::mix64;
use fivetuple::model::tcp::{PortSelection, PortSelector};
use fivetuple::units::{Endpoint, PortRange};

/// Steps 2, 4, ... 16 counted.
type Steps = [u32; 8];

/// One connect() of the laboratory.
struct Connect {
    src: Ipv4Addr,
    dst: Endpoint,
    port: u16,
    at: f64,
}

/// The connects without bind() to a port, in the order of their times.
fn connects(file: &str, mode: &str) -> Vec<Connect> {
    let rows = lab_rows(file);
    let mut connects: Vec<_> = rows
        .iter()
        .filter(|row| mode.is_empty() || row.get("mode") == mode)
        .filter(|row| row.get("mode") != "bind0")
        .map(|row| {
            let (ip, port) = row.get("dest").split_once(':').expect("address and port");
            Connect {
                src: row.get("src_ip").parse().expect("an address"),
                dst: Endpoint::new(ip.parse().expect("an address"), port.parse().expect("a port")),
                port: row.int("src_port") as u16,
                at: row.float("t"),
            }
        })
        .collect();
    connects.sort_by(|a, b| a.at.total_cmp(&b.at));
    connects
}

/// For each connect after the first of its (source, destination): the step, and the times of both.
fn steps(connects: &[Connect]) -> Vec<(i32, f64, f64)> {
    let mut last = BTreeMap::new();
    let mut steps = Vec::new();
    for connect in connects {
        let now = (connect.port, connect.at);
        if let Some((port, at)) = last.insert((connect.src, connect.dst), now) {
            steps.push((i32::from(connect.port) - i32::from(port), at, connect.at));
        }
    }
    steps
}

/// The same connects with the model's ports.
fn modelled(connects: &[Connect], selection: PortSelection, secret: u64) -> Vec<Connect> {
    let mut selector = PortSelector::new(selection, PortRange::LINUX_EPHEMERAL, secret);
    let start = connects[0].at;
    let take = |(n, connect): (usize, &Connect)| {
        let random = mix64(secret.wrapping_add(n as u64));
        let port = selector.take(
            connect.src,
            connect.dst,
            after(connect.at - start),
            random,
            |_| false,
        );
        Connect {
            port: port.expect("none is in use"),
            ..*connect
        }
    };
    connects.iter().enumerate().map(take).collect()
}

#[test]
fn ports_of_4_19_follow_one_counter_exactly() {
    let measured = connects("4.19/P/p_ports_4.19.108.csv", "");
    assert_eq!(measured.len(), 6400);
    // Every connect advances the one counter by 2, so each pair's port differs from the model's by a constant,
    // the pair's own start: through both modes, open and closed connections and two destinations in turn.
    let mut start = BTreeMap::new();
    for (real, model) in measured
        .iter()
        .zip(modelled(&measured, PortSelection::Sequential, 5))
    {
        assert_eq!(real.port % 2, 0);
        let shift = (i32::from(real.port) - i32::from(model.port)).rem_euclid(28_232);
        assert_eq!(
            *start.entry((real.src, real.dst)).or_insert(shift),
            shift,
            "at {}",
            real.at
        );
    }
    assert_eq!(start.len(), 4);
}

/// Counts of the steps; `None` if one is neither 2..=16 and even nor across a multiple of ten seconds.
fn within_periods(steps: &[(i32, f64, f64)], phase: f64) -> Option<Steps> {
    let mut counts = Steps::default();
    let period = |at: f64| ((at - phase) / 10.0).floor();
    for &(step, before, now) in steps {
        // The counter passes the end of the range.
        let step = if step < -28_000 { step + 28_232 } else { step };
        if period(before) == period(now) {
            let index = usize::try_from(step / 2 - 1)
                .ok()
                .filter(|&i| i < 8 && step % 2 == 0)?;
            counts[index] += 1;
        } else if (2..=16).contains(&step) {
            return None;
        }
    }
    Some(counts)
}

/// The counts in some phase of the ten seconds, to a tenth of a millisecond.
fn some_phase(connects: &[Connect]) -> Option<Steps> {
    let steps = steps(connects);
    (0..100_000).find_map(|tick| within_periods(&steps, f64::from(tick) / 1e4))
}

/// Chi-square of two samples being drawn from one distribution; 7 degrees of freedom.
fn chi_square(a: Steps, b: Steps) -> f64 {
    let (total_a, total_b) = (f64::from(a.iter().sum::<u32>()), f64::from(b.iter().sum::<u32>()));
    let term = |x: u32, y: u32| {
        let (x, y) = (f64::from(x), f64::from(y));
        let (fair_x, fair_y) = (
            (x + y) * total_a / (total_a + total_b),
            (x + y) * total_b / (total_a + total_b),
        );
        (x - fair_x).powi(2) / fair_x + (y - fair_y).powi(2) / fair_y
    };
    a.iter().zip(b).map(|(&x, y)| term(x, y)).sum()
}

/// 0.9999 quantile of the chi-square distribution with 7 degrees of freedom.
const CHI_SQUARE_LIMIT: f64 = 29.88;

#[test]
fn ports_of_newer_kernels_step_by_2_to_16_and_jump_only_every_ten_seconds() {
    for file in [
        "5.10/P/p_ports_5.10.0-32-amd64.csv",
        "6.18/p_ports_6.18.44-fc-v669.csv",
    ] {
        let measured = connects(file, "");
        assert_eq!(measured.len(), 6400);
        assert!(
            measured.iter().all(|connect| connect.port % 2 == 0),
            "{file}: even ports only"
        );
        // The wall clock of the host's multiples of ten seconds is not known: one phase must explain every step.
        let counts = some_phase(&measured).unwrap_or_else(|| panic!("{file}: no phase explains the jumps"));
        // The model re-keys by its host's uptime; without jumps its steps are those of one period.
        let frozen: Vec<_> = measured
            .iter()
            .map(|connect| Connect { at: 0.0, ..*connect })
            .collect();
        let model = steps(&modelled(&frozen, PortSelection::Perturbed, 9));
        let model = within_periods(&model, -5.0).expect("one period");
        let chi = chi_square(counts, model);
        assert!(
            chi < CHI_SQUARE_LIMIT,
            "{file}: measured {counts:?}, modelled {model:?}, chi-square {chi:.1}"
        );
    }
}

#[test]
fn modelled_ports_jump_at_one_phase_of_ten_seconds_too() {
    let measured = connects("5.10/P/p_ports_5.10.0-32-amd64.csv", "");
    for secret in 0..3 {
        let model = modelled(&measured, PortSelection::Perturbed, secret);
        assert!(some_phase(&model).is_some(), "secret {secret}");
    }
}

#[test]
fn ports_are_chosen_alike_with_ip_bind_address_no_port() {
    for file in [
        "5.10/P/p_ports_5.10.0-32-amd64.csv",
        "6.18/p_ports_6.18.44-fc-v669.csv",
    ] {
        let count = |mode| {
            let connects = connects(file, mode);
            assert_eq!(connects.len(), 3200);
            let mut counts = Steps::default();
            for (step, ..) in steps(&connects)
                .into_iter()
                .filter(|(step, ..)| (2..=16).contains(step))
            {
                counts[(step / 2 - 1) as usize] += 1;
            }
            counts
        };
        let chi = chi_square(count("auto"), count("no_port"));
        assert!(chi < CHI_SQUARE_LIMIT, "{file}: chi-square {chi:.1}");
    }
}

/// The ports of bind() to port 0, in the order of their times, with those that were still open before each.
fn bound(file: &str) -> Vec<(u16, bool, Ipv4Addr)> {
    let mut rows: Vec<_> = lab_rows(file)
        .into_iter()
        .filter(|row| row.get("mode") == "bind0")
        .collect();
    rows.sort_by(|a, b| a.float("t").total_cmp(&b.float("t")));
    let read = |row: &Row| {
        (
            row.int("src_port") as u16,
            row.get("keep_open") == "1",
            row.get("src_ip").parse().expect("an address"),
        )
    };
    rows.iter().map(read).collect()
}

/// Chi-square of ports against a uniform draw over ten equal parts of the odd ports; 9 degrees of freedom.
fn chi_square_of_parts(ports: &[u16]) -> f64 {
    let range = PortRange::LINUX_EPHEMERAL;
    let mut parts = [0_u32; 10];
    for port in ports {
        parts[(u32::from(port - range.first()) * 10 / range.count()) as usize] += 1;
    }
    let fair = ports.len() as f64 / 10.0;
    parts.iter().map(|&n| (f64::from(n) - fair).powi(2) / fair).sum()
}

/// 0.9999 quantile of the chi-square distribution with 9 degrees of freedom.
const CHI_SQUARE_OF_PARTS: f64 = 33.72;

#[test]
fn bind_to_port_zero_takes_odd_ports_at_random_and_none_twice_while_it_is_open() {
    for (file, selection) in [
        ("4.19/P/p_ports_4.19.108.csv", PortSelection::Sequential),
        ("5.10/P/p_ports_5.10.0-32-amd64.csv", PortSelection::Perturbed),
        ("6.18/p_ports_6.18.44-fc-v669.csv", PortSelection::Perturbed),
    ] {
        let measured = bound(file);
        assert_eq!(measured.len(), 3200, "{file}");
        let selector = PortSelector::new(selection, PortRange::LINUX_EPHEMERAL, 5);
        let mut modelled = Vec::new();
        let mut open = BTreeSet::new();
        for (n, &(port, kept, ip)) in measured.iter().enumerate() {
            // What is judged of a row: an odd port of the range that no open socket of the same address has.
            assert!(
                PortRange::LINUX_EPHEMERAL.contains(port) && port % 2 == 1,
                "{file}: {port}"
            );
            assert!(!kept || open.insert((ip, port)), "{file}: {port} given twice");
            // The model under the same circumstances.
            let used = |port| open.contains(&(ip, port));
            modelled.push(selector.bind(mix64(n as u64), used).expect("most are free"));
        }
        assert!(modelled.iter().all(|port| port % 2 == 1));
        // Both are uniform over the range, and the next port follows from none before it.
        let measured: Vec<_> = measured.iter().map(|row| row.0).collect();
        for (who, ports) in [("measured", &measured), ("modelled", &modelled)] {
            let chi = chi_square_of_parts(ports);
            assert!(chi < CHI_SQUARE_OF_PARTS, "{file}, {who}: chi-square {chi:.1}");
            let upward = ports.windows(2).filter(|pair| pair[1] > pair[0]).count();
            // Half of 3199 with a standard deviation of 16.3: neighbours of a sequence of draws anticorrelate.
            assert!(
                (1500..1700).contains(&upward),
                "{file}, {who}: {upward} steps upward"
            );
        }
    }
}

#[test]
fn bind_takes_even_ports_only_when_every_odd_one_is_in_use() {
    let range = PortRange::new(32768, 32867).expect("in order");
    let selector = PortSelector::new(PortSelection::Perturbed, range, 1);
    let mut used = BTreeSet::new();
    for n in 0..100 {
        let port = selector
            .bind(mix64(n), |port| used.contains(&port))
            .expect("one is free");
        assert_eq!(port % 2 == 1, n < 50, "port {n}");
        assert!(range.contains(port) && used.insert(port));
    }
    assert_eq!(selector.bind(0, |port| used.contains(&port)), None);
}
