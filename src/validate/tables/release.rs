//! `ipvs_release`: when the ipvs and the conntrack entry of a flow disappear, and in which state they were last seen.

use super::super::bench::{Bench, Flow, NODE_PORT, Step, pod};
use super::super::read::{self, CsvRow};
use super::super::{Fault, File, Judgement, Kernel, Table};
use super::cells::{Cells, Listed, conntrack_listed, has_error, ipvs_listed, seconds};
use super::{cases, ipvs};
use crate::model::node::NodeConfig;
use crate::profile::Profile;
use crate::units::SimDuration;

/// Seconds by which the time of disappearing may differ.
const WITHIN: f64 = 1.5;
/// Seconds between two looks at the tables, as meant, and at most: looking takes long on an emulated kernel.
const LOOK_EVERY: f64 = 1.0;
const LOOKS_APART: f64 = 2.0;
/// Seconds between two looks of the bench.
const TICK: f64 = 0.1;
/// Phases of the timer wheel that are tried: its granule for a minute or two is 512 jiffies.
const PHASES: u64 = 32;

/// Judges the file. The flows of a block (kernel and timeouts) share the host's wheel, whose phase is not known: the block
/// is judged in the phase that explains most of its rows.
pub fn judge(file: &File) -> Result<Judgement, Fault> {
    let rows = read::csv(file)?;
    let mut table = Table::new("ipvs_release");
    let mut blocks: Vec<(Kernel, &str, Vec<&CsvRow<'_>>)> = Vec::new();
    for row in &rows {
        if has_error(row) {
            table.skip();
            continue;
        }
        let kernel = Kernel::of(row.find("kernel"), file.path())?;
        let timeouts = row.get("ipvs_timeouts")?;
        match blocks.iter_mut().find(|(k, t, _)| *k == kernel && *t == timeouts) {
            Some((.., block)) => block.push(row),
            None => blocks.push((kernel, timeouts, vec![row])),
        }
    }
    for (kernel, _, block) in blocks {
        let looks = looks(&block);
        let mut best = Table::new(table.name);
        for step in 0..PHASES {
            let hz = u64::from(kernel.profile.ipvs.hz);
            let phase = SimDuration::from_nanos(step * (512 / PHASES) * 1_000_000_000 / hz);
            let mut attempt = Table::new(table.name);
            for row in &block {
                judge_row(row, kernel.profile, phase, &looks)?.count(&mut attempt, file, row);
            }
            if step == 0 || attempt.agree > best.agree {
                best = attempt;
            }
            if best.misses.is_empty() {
                break;
            }
        }
        table.rows += best.rows;
        table.agree += best.agree;
        table.misses.extend(best.misses);
    }
    Ok(Judgement::of_table(table))
}

const ENDS: [&str; 2] = ["ipvs_entry_gone_after_s", "conntrack_entry_gone_after_s"];

/// The looks of a block that are known: those at which some entry was found gone.
fn looks(block: &[&CsvRow<'_>]) -> Vec<f64> {
    let cells = block.iter().flat_map(|row| ENDS.map(|column| row.find(column)));
    cells.filter_map(|cell| cell?.parse().ok()).collect()
}

/// A case and what happens to it besides its packets.
struct Case<'a> {
    steps: Vec<&'static str>,
    /// At 30 s the SLB sends this again.
    duplicate: Option<(&'a str, f64)>,
    removed: bool,
}

fn case<'a>(row: &'a CsvRow<'_>) -> Result<Case<'a>, Fault> {
    let name = row.get("case")?;
    let unknown = || row.fault("case", cases::EXPECTED);
    if let Some((base, _)) = name.split_once(", then ipvsadm -") {
        return Ok(Case {
            steps: cases::steps(base).ok_or_else(unknown)?,
            duplicate: None,
            removed: true,
        });
    }
    let Some((base, duplicate)) = name.split_once("_then_dup_slb_") else {
        return Ok(Case {
            steps: cases::steps(name).ok_or_else(unknown)?,
            duplicate: None,
            removed: false,
        });
    };
    let (what, at) = duplicate.split_once("_at_").ok_or_else(unknown)?;
    let at = at.strip_suffix('s').and_then(seconds).ok_or_else(unknown)?;
    Ok(Case {
        steps: cases::steps(base).ok_or_else(unknown)?,
        duplicate: Some((what, at)),
        removed: false,
    })
}

/// `default 900 120 300`, `--set 15 10 300`; other blocks leave the timeouts alone.
fn node_of_row(row: &CsvRow<'_>, profile: &Profile) -> Result<NodeConfig, Fault> {
    let mut config = ipvs::ipvs_of_row(row, profile)?;
    let text = row.get("ipvs_timeouts")?;
    let numbers: Vec<u64> = text.split(' ').filter_map(|word| word.parse().ok()).collect();
    if let [tcp, tcp_fin, _] = numbers[..]
        && (text.starts_with("default") || text.starts_with("--set"))
    {
        config.timeout_established = SimDuration::from_secs(tcp);
        config.timeout_fin_wait = SimDuration::from_secs(tcp_fin);
    }
    if let Some((_, value)) = text.split_once("expire_nodest_conn=") {
        config.expire_nodest_conn = value.starts_with('1');
    }
    Ok(ipvs::node_config(profile, config, 1))
}

fn judge_row(row: &CsvRow<'_>, profile: &Profile, phase: SimDuration, looks: &[f64]) -> Result<Cells, Fault> {
    let case = case(row)?;
    let mut config = node_of_row(row, profile)?;
    config.timers.phase = phase;
    let (mut bench, mut flow) = (Bench::new(config, 1), Flow::new(1, 33_000, 1000));
    let mut cells = Cells::default();
    if !flow.run(&mut bench, &case.steps) {
        cells.check(false, "case", row.get("case")?, "never reached");
        return Ok(cells);
    }
    if case.removed {
        bench.node.remove_backend(NODE_PORT, pod(0).endpoint, bench.now);
    }
    age(row, &mut bench, &flow)?;
    let established = row.get("case")?.starts_with("established,");
    if established && row.get("ipvs_timeouts")?.contains("1 packet") {
        flow.run(&mut bench, &["SLB request"]);
    }
    let columns = ["ipvs_state_first", "conntrack_state_first"];
    ipvs::listings(&mut cells, row, columns, &bench, &flow)?;
    let mut limit = 0.0_f64;
    for column in ENDS {
        let cell = row.get(column)?;
        let at: f64 = cell
            .trim_start_matches('>')
            .parse()
            .map_err(|_| row.fault(column, "seconds, or > and seconds"))?;
        limit = limit.max(if cell.starts_with('>') {
            at
        } else {
            at + 2.0 * WITHIN
        });
    }
    let mut duplicate = case.duplicate;
    let gone = watch(&mut bench, &flow, limit, &mut |bench, passed| {
        // Sent after the first look that was due.
        if let Some((what, _)) = duplicate.filter(|(_, at)| passed >= at + LOOK_EVERY / 2.0) {
            duplicate = None;
            let step = Step::parse(&format!("SLB {}", what.to_uppercase()));
            if let Some(mut packet) = step.and_then(|step| flow.packet(step)) {
                packet.seq = packet.seq - u32::from(packet.flags.fin());
                bench.send(&packet);
            }
        }
    });
    compare_end(&mut cells, ENDS[0], row.get(ENDS[0])?, gone.ipvs, looks);
    compare_end(&mut cells, ENDS[1], row.get(ENDS[1])?, gone.conntrack, looks);
    let column = "conntrack_1s_before_ipvs_end";
    gone.compare_before_end(&mut cells, column, row.get(column)?, row.get(ENDS[0])?);
    let columns = ["ipvs_state_at_end", "conntrack_state_at_end"];
    ipvs::listings(&mut cells, row, columns, &bench, &flow)?;
    Ok(cells)
}

/// Flows were made one after the other and the clock started with the first look at the tables: what a flow had left
/// then says how long ago its last packet was. ipvs' was read first.
fn age(row: &CsvRow<'_>, bench: &mut Bench, flow: &Flow) -> Result<(), Fault> {
    for (column, listed) in [
        ("ipvs_state_first", ipvs_listed(bench, flow)),
        ("conntrack_state_first", conntrack_listed(bench, flow)),
    ] {
        let left = row.get(column)?.split('/').nth(1).and_then(seconds);
        if let (Some(listed), Some(left)) = (listed, left) {
            let passed = listed.left.as_secs_f64() - left - 0.5;
            bench.wait(SimDuration::from_secs_f64(passed.clamp(0.0, 60.0)));
            break;
        }
    }
    Ok(())
}

/// When both entries of a flow were gone, in seconds, and what conntrack listed at each tick.
pub struct Gone {
    pub ipvs: Option<f64>,
    pub conntrack: Option<f64>,
    listed: Vec<Option<Listed>>,
}

/// Lets `limit` seconds pass and looks at the tables all the time; `each` may act, and is told the seconds passed.
pub fn watch(bench: &mut Bench, flow: &Flow, limit: f64, each: &mut dyn FnMut(&mut Bench, f64)) -> Gone {
    let mut gone = Gone {
        ipvs: None,
        conntrack: None,
        listed: Vec::new(),
    };
    let ticks = (limit / TICK).round() as u32;
    for tick in 0..=ticks {
        let passed = f64::from(tick) * TICK;
        if tick > 0 {
            bench.wait(SimDuration::from_secs_f64(TICK));
        }
        each(bench, passed);
        let conntrack = conntrack_listed(bench, flow);
        gone.listed.push(conntrack);
        for (there, gone) in [
            (bench.ipvs(flow).is_some(), &mut gone.ipvs),
            (conntrack.is_some(), &mut gone.conntrack),
        ] {
            if !there {
                gone.get_or_insert(passed);
            }
        }
    }
    gone
}

impl Gone {
    /// What conntrack listed at the last look before the entry in question was found gone, at `end`.
    pub fn compare_before_end(&self, cells: &mut Cells, column: &str, measured: &str, end: &str) {
        let Ok(end) = end.parse::<f64>() else {
            return;
        };
        let tick = |at: f64| ((at / TICK).round().max(0.0) as usize).min(self.listed.len());
        let looks = &self.listed[tick(end - LOOKS_APART - WITHIN)..tick(end + LOOK_EVERY)];
        let agrees = |listed: &Option<Listed>| {
            let mut look = Cells::default();
            look.listed(column, measured, *listed);
            look.agrees()
        };
        let shown = looks.first().copied().flatten();
        let shown = shown.map_or("-".to_owned(), |listed| listed.to_string());
        cells.check(looks.iter().any(agrees), column, measured, shown);
    }
}

/// `118.4`: found gone then, so gone since the look before; `>165`: still there then.
pub fn compare_end(cells: &mut Cells, column: &str, measured: &str, ours: Option<f64>, looks: &[f64]) {
    let shown = ours.map_or("there".to_owned(), |ours| format!("{ours:.1}"));
    let agrees = match (measured.strip_prefix('>'), ours) {
        (Some(limit), Some(ours)) => limit.parse().is_ok_and(|limit: f64| ours > limit - WITHIN),
        (Some(_), None) => true,
        (None, None) => false,
        (None, Some(ours)) => measured.parse().is_ok_and(|found: f64| {
            let known = |&look: &f64| look < found && look >= found - LOOKS_APART;
            let before = looks.iter().copied().filter(known);
            let before = before.reduce(f64::max).unwrap_or(found - LOOK_EVERY);
            ours > before - WITHIN && ours < found + WITHIN
        }),
    };
    cells.check(agrees, column, measured, shown);
}
