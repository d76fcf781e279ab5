//! Proportions measured in independent trials, against as many simulated trials, many times over.
//!
//! | file | measured |
//! |---|---|
//! | `connects`, `lane` | B: connect() onto a pod's TIME_WAIT |
//! | `ports` | C1: which SNAT port a SYN gets |
//! | `fill` | C2b, C3: a SYN towards a range that is nearly or wholly in use |

mod connects;
mod fill;
mod lane;
mod ports;

use rayon::prelude::*;

use super::bench::{Bench, Flow, node_config};
use super::read::CsvRow;
use super::{Fault, Figure, Judgement, Kind, Options};
use crate::engine::keyed_hash;
use crate::model::nat::{PortChoice, SnatMode};
use crate::model::node::NodeConfig;
use crate::profile::Profile;
use crate::units::PortRange;

/// The judge of a file of this room; `None`: not of this room.
pub fn kind(path: &str, name: &str) -> Option<Kind> {
    let is_summary_of_b = path == "B/summary.csv" || path.ends_with("/B/summary.csv");
    Some(Kind::Probability(match name {
        _ if is_summary_of_b => connects::summary,
        "b_trials.csv" => connects::trials,
        "b_summary.json" => connects::sniffer,
        "c1_port_keep.csv" => ports::port_keep,
        "c1_distribution.json" => ports::distribution,
        "c2b_evict_vs_free.csv" => fill::evict_vs_free,
        "c3_fill_vs_failure.csv" => fill::fill_vs_failure,
        _ if name.starts_with("c1q_") => ports::short_form,
        _ if name.starts_with("c3q_") => fill::fill_vs_failure,
        _ => return None,
    }))
}

/// Simulates the same trials once per replication. Each gets a seed of its own, from what is measured (`words`) and its
/// number.
fn replicate<T: Send>(options: &Options, words: &[u64], simulate: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let key = keyed_hash(options.seed, words);
    (0..options.replications)
        .into_par_iter()
        .map(|replication| simulate(keyed_hash(key, &[u64::from(replication)])))
        .collect()
}

/// Adds a figure, unless it is nought in the measurement and in every replication: what can never happen is no figure.
fn push(judgement: &mut Judgement, figure: Figure) {
    if figure.measured != 0.0 || figure.predicted.iter().any(|&value| value != 0.0) {
        judgement.figures.push(figure);
    }
}

/// A `MASQUERADE` flag.
fn choice_of(flag: &str) -> Option<PortChoice> {
    match flag {
        "--random" => Some(PortChoice::Random),
        "--random-fully" => Some(PortChoice::RandomFully),
        _ => flag.starts_with("default").then_some(PortChoice::Keep),
    }
}

/// The flag in a column.
fn choice_in(row: &CsvRow<'_>, column: &str) -> Result<PortChoice, Fault> {
    choice_of(row.get(column)?).ok_or_else(|| row.fault(column, "default, --random or --random-fully"))
}

/// Entries that a table takes: far fewer are ever there, and a small table is quick to make and to sweep.
const SMALL_TABLE: u32 = 4_096;

/// The node of the bench with a small conntrack table.
fn small_node(profile: &Profile, choice: PortChoice, to_ports: Option<PortRange>) -> NodeConfig {
    let mut config = node_config(profile, SnatMode::Masquerade(choice), to_ports);
    config.conntrack.max_entries = SMALL_TABLE;
    config
}

/// A SYN of this flow towards the NodePort; the SNAT port it got.
fn syn(bench: &mut Bench, flow: &mut Flow) -> Option<u16> {
    flow.run(bench, &["SLB SYN"]);
    flow.port()
}

/// The flow's entry goes: the pod answers its SYN with an RST, as the laboratory deleted what a trial had made.
fn forget(bench: &mut Bench, flow: &mut Flow) {
    flow.run(bench, &["pod RST"]);
}

#[cfg(test)]
mod tests;
