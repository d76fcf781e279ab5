//! Group D: conntrack's state and remaining time after every packet, and when entries vanish.

use std::collections::BTreeMap;

use super::super::bench::{self, Bench, Flow, Step, segment};
use super::super::read::{self, CsvRow};
use super::super::{Fault, File, Judgement, Kernel, Table};
use super::cases;
use super::cells::{Cells, READ_AFTER, conntrack_listed, has_error};
use crate::model::nat::{PortChoice, SnatMode};
use crate::model::node::NodeVerdict;
use crate::profile::Profile;
use crate::units::{SeqNum, SimDuration};
use crate::wire::{Flags, Packet};

/// Seconds by which the time of vanishing may differ: it was polled twice a second.
const VANISHED_WITHIN: f64 = 1.5;

/// One connection through the node, and what it has sent, for duplicates.
struct Connection {
    bench: Bench,
    flow: Flow,
    sent: BTreeMap<String, Packet>,
}

impl Connection {
    fn new(profile: &Profile) -> Self {
        // The measured ports were not kept.
        let node = bench::node_config(profile, SnatMode::Masquerade(PortChoice::RandomFully), None);
        Self {
            bench: Bench::new(node, 1),
            flow: Flow::new(1, 33_000, 0xffff_ff00),
            sent: BTreeMap::new(),
        }
    }

    /// Sends what a step's name says; `None`: no such step, or not possible now.
    fn step(&mut self, name: &str) -> Option<NodeVerdict> {
        let step = Step::parse(name)?;
        self.sent.insert(name.to_owned(), self.flow.packet(step)?);
        self.flow.send(&mut self.bench, step)
    }

    /// Sends a duplicate, or a SYN of the same tuple, when TIME_WAIT has so many seconds left.
    fn late(&mut self, what: &str, left: u64) -> Option<NodeVerdict> {
        let listed = conntrack_listed(&self.bench, &self.flow)?;
        self.bench
            .wait(SimDuration::from_secs(listed.left.as_secs().saturating_sub(left)));
        if let Some(duplicate) = what.strip_prefix("dup_") {
            let (side, rest) = duplicate.split_once('_')?;
            let side = if side == "slb" { "SLB" } else { side };
            let packet = *self.sent.get(&format!("{side} {}", rest.to_uppercase()))?;
            return Some(self.bench.send(&packet));
        }
        let next = self.flow.slb_next;
        let seq = match what {
            "new_syn_same_tuple_seq_after" => next + 100_000,
            "new_syn_same_tuple_seq_before" => next - 100_000,
            _ => return None,
        };
        let syn = segment(self.flow.tuple(), Flags::SYN, seq, SeqNum(0));
        let verdict = self.bench.send(&syn);
        if let NodeVerdict::Forward { packet, .. } = verdict {
            self.flow.seen = Some(packet.tuple);
        }
        Some(verdict)
    }

    /// `ASSURED`, `UNREPLIED` or nothing.
    fn flag(&self) -> &'static str {
        match self.bench.conntrack(&self.flow).map(|entry| &entry.tracker) {
            Some(tracker) if tracker.assured => "ASSURED",
            Some(tracker) if !tracker.seen_reply => "UNREPLIED",
            _ => "",
        }
    }
}

/// `d_states_timeouts`: the rows of a case are one connection, in order.
pub fn states_timeouts(file: &File) -> Result<Judgement, Fault> {
    let mut table = Table::new("d_states_timeouts");
    let mut cases: BTreeMap<String, Connection> = BTreeMap::new();
    for row in read::csv(file)? {
        if has_error(&row) {
            table.skip();
            continue;
        }
        let kernel = Kernel::of(row.find("kernel"), file.path())?;
        let case = row.get("case")?;
        let connection = cases
            .entry(case.to_owned())
            .or_insert_with(|| Connection::new(kernel.profile));
        state_row(&row, case, connection)?.count(&mut table, file, &row);
    }
    Ok(Judgement::of_table(table))
}

fn state_row(row: &CsvRow<'_>, case: &str, connection: &mut Connection) -> Result<Cells, Fault> {
    let mut cells = Cells::default();
    let step = row.get("step")?;
    let before = connection.flow.port();
    let verdict = if let Some(left) = step.strip_prefix("before: TIME_WAIT ") {
        let left = left
            .parse()
            .map_err(|_| row.fault("step", "`before: TIME_WAIT` and whole seconds"))?;
        let what = case.strip_prefix("tw_refresh_").unwrap_or(case);
        connection.late(what, left)
    } else {
        connection.step(step)
    };
    let Some(verdict) = verdict else {
        return Err(row.fault("step", "a packet that this case can send"));
    };
    let result = row.get("packet_result")?;
    let forwarded = matches!(verdict, NodeVerdict::Forward { .. });
    cells.check(
        result.starts_with("forwarded") == forwarded,
        "packet_result",
        result,
        if forwarded { "forwarded" } else { "not forwarded" },
    );
    let replaced = before.is_some() && connection.flow.port() != before;
    let said = if replaced {
        "a new SNAT port"
    } else {
        "the same SNAT port"
    };
    cells.check(new_port(result) == replaced, "packet_result", result, said);
    connection.bench.wait(READ_AFTER);
    let measured = format!("{}/{}", row.get("state")?, row.get("timeout_left_s")?);
    let measured = if measured == "-/0" { "-" } else { &measured };
    let listed = conntrack_listed(&connection.bench, &connection.flow);
    cells.listed("state and timeout_left_s", measured, listed);
    cells.same("flag", row.get("flag")?, connection.flag());
    Ok(cells)
}

/// `forwarded old_snat_port=19260 new=19264` says that the port changed.
fn new_port(result: &str) -> bool {
    let value = |key| result.split(' ').find_map(|word| word.strip_prefix(key));
    value("new=").is_some_and(|new| value("old_snat_port=") != Some(new))
}

/// `d_vanish`: when the entry was no longer listed. The poll began late: what had vanished by then was first seen gone,
/// and the entry that a closed port's RST deletes at once says when that was, at the earliest.
pub fn vanish(file: &File) -> Result<Judgement, Fault> {
    let rows = read::csv(file)?;
    let mut first_poll = 0.0_f64;
    for row in rows.iter().filter(|row| row.find("last_state") == Some("-")) {
        first_poll = first_poll.max(row.number("vanished_after_s")?);
    }
    let mut table = Table::new("d_vanish");
    for row in &rows {
        let kernel = Kernel::of(row.find("kernel"), file.path())?;
        // On the emulated 6.1 CLOSE was polled long after its end.
        let late = kernel.profile.name == "6.1" && row.get("last_state")? == "CLOSE";
        if has_error(row) || late {
            table.skip();
            continue;
        }
        vanish_row(row, kernel.profile, first_poll)?.count(&mut table, file, row);
    }
    Ok(Judgement::of_table(table))
}

fn vanish_row(row: &CsvRow<'_>, profile: &Profile, first_poll: f64) -> Result<Cells, Fault> {
    let mut cells = Cells::default();
    let steps = cases::steps(row.get("case")?).ok_or_else(|| row.fault("case", cases::EXPECTED))?;
    let mut connection = Connection::new(profile);
    for step in steps {
        connection.bench.wait(SimDuration::from_millis(100));
        if connection.step(step).is_none() {
            cells.check(false, "case", row.get("case")?, format!("{step} is not possible"));
            return Ok(cells);
        }
    }
    let mut listing = connection.bench.clone();
    listing.wait(READ_AFTER);
    let measured = match row.get("last_state")? {
        "-" => "-".to_owned(),
        state => format!("{state}/{}", row.get("timeout_at_last_packet_s")?),
    };
    let listed = conntrack_listed(&listing, &connection.flow);
    cells.listed("last_state and timeout_at_last_packet_s", &measured, listed);
    let life = conntrack_listed(&connection.bench, &connection.flow);
    let life = life.map_or(0.0, |listed| listed.left.as_secs_f64());
    let vanished: f64 = row.number("vanished_after_s")?;
    let agrees = if life > first_poll {
        (vanished - life).abs() <= VANISHED_WITHIN
    } else {
        vanished >= life
    };
    cells.check(agrees, "vanished_after_s", vanished, life);
    Ok(cells)
}
