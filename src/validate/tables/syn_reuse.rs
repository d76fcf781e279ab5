//! `ipvs_syn_reuse_states`: what a SYN of the same tuple meets in each ipvs state: at once, and 1 s and 2 s later.
//!
//! The columns are found by what their names say, as several writings are in use; what cannot be understood is not
//! judged, with the reason.

use super::super::bench::{Bench, Flow, Step};
use super::super::read::{self, CsvRow};
use super::super::{Fault, File, Judgement, Kernel, Table};
use super::cells::{Cells, READ_AFTER, conntrack_listed, has_error, ipvs_listed};
use super::{cases, ipvs};
use crate::model::ipvs::IpvsState;
use crate::model::node::{Hop, NodeVerdict};
use crate::units::SimDuration;

/// A SYN: when it is sent, in seconds, and the columns that tell of it.
struct Probe {
    at: u64,
    outcome: String,
    port: Option<String>,
}

/// Names of the columns by their meaning.
struct Columns {
    /// What was done to the connection before: a state or a case.
    made: String,
    probes: Vec<Probe>,
}

/// Judges the file.
pub fn judge(file: &File) -> Result<Judgement, Fault> {
    let rows = read::csv(file)?;
    let columns = match columns(&rows).and_then(|columns| understood(&rows, columns)) {
        Ok(columns) => columns,
        Err(why) => return Ok(Judgement::not_judged(file.path(), &why)),
    };
    let mut table = Table::new("ipvs_syn_reuse_states");
    for row in &rows {
        if has_error(row) {
            table.skip();
            continue;
        }
        judge_row(file, row, &columns)?.count(&mut table, file, row);
    }
    Ok(Judgement::of_table(table))
}

/// The column whose cells all name a state or a case, and a column per SYN.
fn columns(rows: &[CsvRow<'_>]) -> Result<Columns, String> {
    let names: Vec<&str> = rows.first().map_or_else(Vec::new, |row| row.columns().collect());
    let is_made = |name: &&str| {
        rows.iter()
            .all(|row| row.find(name).is_some_and(|cell| steps(cell).is_some()))
    };
    // What was listed later, or by conntrack, is an outcome.
    let outcomes = ["after", "ct_", "conntrack"];
    let mut candidates: Vec<&str> = names.iter().copied().filter(is_made).collect();
    candidates.retain(|name| !outcomes.iter().any(|word| name.contains(word)));
    candidates.sort_by_key(|name| name.contains("before"));
    let made = *candidates
        .first()
        .ok_or("no column names a state or a case in each of its cells")?;
    let mut probes: Vec<Probe> = Vec::new();
    let is_port = |name: &str| name.contains("port");
    let of_syns = |name: &&str| name.contains("syn") || name.contains("retrans");
    for name in names.iter().copied().filter(of_syns).filter(|name| *name != made) {
        let Some(at) = seconds_of(name).filter(|_| !is_port(name) && !name.contains("state")) else {
            continue;
        };
        if probes.iter().all(|probe| probe.at != at) {
            let port = names
                .iter()
                .copied()
                .find(|other| is_port(other) && seconds_of(other) == Some(at));
            probes.push(Probe {
                at,
                outcome: name.to_owned(),
                port: port.map(str::to_owned),
            });
        }
    }
    if probes.is_empty() {
        return Err("no column says what became of the SYN at once, 1 s or 2 s later".to_owned());
    }
    probes.sort_by_key(|probe| probe.at);
    Ok(Columns {
        made: made.to_owned(),
        probes,
    })
}

/// When the SYN of a column was sent.
fn seconds_of(name: &str) -> Option<u64> {
    let words: Vec<&str> = name.split(['_', ' ', '(', ')']).collect();
    let has = |word: &str| words.contains(&word);
    if has("2s") {
        Some(2)
    } else if has("1s") || has("retrans") || has("retransmitted") {
        Some(1)
    } else if has("first") || has("once") || has("0s") || has("now") {
        Some(0)
    } else {
        None
    }
}

/// The packets before; a cell may be `STATE`, `STATE/00:59` or a case.
fn steps(cell: &str) -> Option<Vec<&'static str>> {
    let state = cell.split('/').next().unwrap_or(cell);
    if IpvsState::ALL.iter().any(|known| known.name() == state) {
        cases::steps_into_ipvs(state)
    } else {
        cases::steps(cell)
    }
}

/// Whether a cell says that the SYN was forwarded. To which pod is not judged: that depends on what the round robin gave
/// out before, of which the file says nothing.
fn outcome(cell: &str) -> Option<bool> {
    let lower = cell.trim().to_lowercase();
    if lower.starts_with("to_pod") {
        return Some(true);
    }
    match lower.as_str() {
        "forwarded" | "1" | "true" | "yes" => Some(true),
        "not forwarded" | "dropped" | "drop" | "0" | "false" | "no" | "none" => Some(false),
        _ => None,
    }
}

/// Whether a cell says that the SNAT port stayed, by its column's name.
fn port_kept(name: &str, cell: &str) -> Option<bool> {
    let yes = match cell.trim().to_lowercase().as_str() {
        "true" | "1" | "yes" => true,
        "false" | "0" | "no" => false,
        "same" => return Some(true),
        "new" | "changed" | "other" | "different" => return Some(false),
        _ => return None,
    };
    let changed = ["chang", "new", "differ", "other"]
        .iter()
        .any(|word| name.contains(word));
    Some(yes != changed)
}

/// The same columns if every cell of theirs means something.
fn understood(rows: &[CsvRow<'_>], columns: Columns) -> Result<Columns, String> {
    for row in rows.iter().filter(|row| !has_error(row)) {
        for probe in &columns.probes {
            let cell = row.find(&probe.outcome).unwrap_or("");
            if !cell.is_empty() && outcome(cell).is_none() {
                let name = &probe.outcome;
                return Err(format!(
                    "line {}: {name}: {cell:?} is no outcome of a SYN",
                    row.line
                ));
            }
            let Some(name) = &probe.port else { continue };
            let cell = row.find(name).unwrap_or("");
            if !cell.is_empty() && port_kept(name, cell).is_none() {
                return Err(format!(
                    "line {}: {name}: {cell:?} is neither yes nor no",
                    row.line
                ));
            }
        }
    }
    Ok(columns)
}

fn judge_row(file: &File, row: &CsvRow<'_>, columns: &Columns) -> Result<Cells, Fault> {
    let kernel = Kernel::of(row.find("kernel"), file.path())?;
    let mut cells = Cells::default();
    let steps = steps(row.get(&columns.made)?).ok_or_else(|| row.fault(&columns.made, cases::EXPECTED))?;
    let config = ipvs::node_config(kernel.profile, ipvs::ipvs_of_row(row, kernel.profile)?, 2);
    let (mut bench, mut first) = (Bench::new(config, 1), Flow::new(1, 33_000, 1000));
    first.run(&mut bench, &steps);
    bench.wait(READ_AFTER);
    listed(&mut cells, row, ["state_before", "ct_before"], &bench, &first);
    let mut second = first.again();
    let isn = second.slb_next;
    let mut passed = 0;
    for probe in &columns.probes {
        let cell = row.get(&probe.outcome)?;
        let Some(forwarded) = outcome(cell) else {
            continue;
        };
        bench.wait(SimDuration::from_secs(probe.at - passed));
        passed = probe.at;
        // Each is the same SYN, whatever became of those before.
        second.slb_next = isn;
        let verdict = Step::parse("SLB SYN").and_then(|syn| second.send(&mut bench, syn));
        let ours = match verdict {
            Some(NodeVerdict::Forward {
                to: Hop::Pod(pod), ..
            }) => Some(pod + 1),
            _ => None,
        };
        let shown = ours.map_or("NOT forwarded".to_owned(), |pod| format!("to_pod{pod}"));
        cells.check(forwarded == ours.is_some(), &probe.outcome, cell, shown);
        let Some(name) = probe.port.as_ref().filter(|_| ours.is_some()) else {
            continue;
        };
        if let Some(kept) = port_kept(name, row.get(name)?) {
            let same = second.port() == first.port();
            let shown = if same { "same port" } else { "another port" };
            cells.check(kept == same, name, row.get(name)?, shown);
        }
    }
    bench.wait(READ_AFTER);
    listed(&mut cells, row, ["state_after", "ct_after"], &bench, &second);
    Ok(cells)
}

/// The flow's lines in both listings, where the row has them.
fn listed(cells: &mut Cells, row: &CsvRow<'_>, columns: [&str; 2], bench: &Bench, flow: &Flow) {
    let ours = [ipvs_listed(bench, flow), conntrack_listed(bench, flow)];
    for (column, ours) in columns.into_iter().zip(ours) {
        if let Some(measured) = row.find(column).filter(|cell| !cell.is_empty()) {
            cells.listed(column, measured, ours);
        }
    }
}
