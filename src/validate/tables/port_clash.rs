//! `c2_single_port_clash` and its short form `c2q_*`: a SYN needs the only port of the range, which an entry in a given
//! state holds.

use super::super::bench::{self, Bench, Flow};
use super::super::read::{self, CsvRow};
use super::super::{Fault, File, Judgement, Kernel, Table};
use super::cases;
use super::cells::{Cells, bit, has_error};
use crate::model::nat::{PortChoice, SnatMode};
use crate::profile::Profile;
use crate::units::{PortRange, SeqNum, SimDuration};

/// The range's only port, unless the row names it.
const PORT: u16 = 45_000;
/// The short form counts from the end of a request of 19 octets, also where none was sent: the long form has -981 and
/// 1019 in those states where the other states have -1000 and 1000.
const REQUEST: i64 = 19;

/// Judges the file.
pub fn judge(file: &File) -> Result<Judgement, Fault> {
    let mut table = Table::new("c2_single_port_clash");
    for row in read::csv(file)? {
        if has_error(&row) {
            table.skip();
            continue;
        }
        let kernel = Kernel::of(row.find("kernel"), file.path())?;
        judge_row(&row, kernel.profile)?.count(&mut table, file, &row);
    }
    Ok(Judgement::of_table(table))
}

/// The flags of the MASQUERADE rule.
pub fn port_choice(row: &CsvRow<'_>) -> Result<PortChoice, Fault> {
    match row.get("mode")? {
        "default" => Ok(PortChoice::Keep),
        "--random" => Ok(PortChoice::Random),
        "--random-fully" => Ok(PortChoice::RandomFully),
        _ => Err(row.fault("mode", "default, --random or --random-fully")),
    }
}

/// The new SYN's sequence number, from the end of what the old caller has sent.
fn distance(row: &CsvRow<'_>, steps: &[&str]) -> Result<i64, Fault> {
    if row.find("new_seq_minus_old_client_end").is_some() {
        return row.number("new_seq_minus_old_client_end");
    }
    let from_request: i64 = row.number("seq_off")?;
    let unsent = if steps.contains(&"SLB request") {
        0
    } else {
        REQUEST
    };
    Ok(from_request + unsent)
}

fn judge_row(row: &CsvRow<'_>, profile: &Profile) -> Result<Cells, Fault> {
    let steps = cases::steps(row.get("made")?).ok_or_else(|| row.fault("made", cases::EXPECTED))?;
    let named = row.find("snat_port").and_then(|port| port.parse().ok());
    let port = named.unwrap_or(PORT);
    let range = PortRange::new(port, port);
    let node = bench::node_config(profile, SnatMode::Masquerade(port_choice(row)?), range);
    let mut bench = Bench::new(node, 1);
    let mut old = Flow::new(1, 33_000, 3_000_000_000);
    let mut cells = Cells::default();
    let made = old.run(&mut bench, &steps);
    let Some(tracker) = bench.conntrack(&old).map(|entry| entry.tracker).filter(|_| made) else {
        cells.check(false, "made", row.get("made")?, "never reached");
        return Ok(cells);
    };
    if let Some(state) = row.find("conntrack_state") {
        cells.same("conntrack_state", state, tracker.state.name());
    }
    let isn = SeqNum(
        tracker
            .original_end()
            .0
            .wrapping_add(distance(row, &steps)? as u32),
    );
    let mut new = Flow::new(2, 34_000, isn.0);
    bench.wait(SimDuration::from_millis(50));
    let before = *bench.node.stats();
    new.run(&mut bench, &["SLB SYN"]);
    let stats = bench.node.stats();
    cells.same("forwarded", row.get("forwarded")?, bit(new.seen.is_some()));
    if let Some(measured) = row.find("snat_port") {
        let ours = new.port().map_or(String::new(), |port| port.to_string());
        cells.same("snat_port", measured, ours);
    }
    let stands = bench.conntrack(&old).is_some();
    cells.same(
        "old_entry_still_there",
        row.get("old_entry_still_there")?,
        bit(stands),
    );
    let failed = stats.insert_failed - before.insert_failed;
    cells.same("d_insert_failed", row.get("d_insert_failed")?, failed);
    if let Some(measured) = row.find("d_drop") {
        // conntrack counts a drop with each entry that it does not insert.
        let full = stats.conntrack_full_drops - before.conntrack_full_drops;
        cells.same("d_drop", measured, failed + full);
    }
    Ok(cells)
}
