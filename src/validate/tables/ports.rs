//! `p_ports`: every source port of a caller, in order, towards two destinations one after the other and in turn.
//!
//! The model plays the same calls under many secrets. What it does under all of them alike, the kernel must have done;
//! what depends on the secret must be of the same kind.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::super::read::{self, CsvRow};
use super::super::{Fault, File, Judgement, Kernel, Table};
use super::cells::{Cells, flag, has_error};
use crate::engine::mix64;
use crate::model::tcp::{PortSelector, TcpConfig};
use crate::units::{Endpoint, PortRange, SimTime};

/// Secrets under which the model plays: steps of the perturbed walk agree in all of them once in 8^15.
const SECRETS: u64 = 16;
/// Steps of the perturbed walk: even, up to this.
const LARGEST_STEP: i32 = 16;
/// Seconds after which the perturbed walk begins elsewhere; of the host's clock, whose phase is not known.
const PERIOD: f64 = 10.0;
/// One call of connect() or bind().
struct Call<'a> {
    group: Group<'a>,
    source: Ipv4Addr,
    destination: Endpoint,
    port: u16,
    at: f64,
}

/// Calls that were made in the same way, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Group<'a> {
    mode: &'a str,
    keep_open: bool,
    rep: &'a str,
    phase: &'a str,
}

/// Judges the file.
pub fn judge(file: &File) -> Result<Judgement, Fault> {
    let rows = read::csv(file)?;
    let mut table = Table::new("p_ports");
    let mut kernels: Vec<(Kernel, Vec<Call<'_>>)> = Vec::new();
    for row in &rows {
        if has_error(row) {
            table.skip();
            continue;
        }
        let kernel = Kernel::of(row.find("kernel"), file.path())?;
        let call = call(row)?;
        match kernels.iter_mut().find(|(known, _)| *known == kernel) {
            Some((_, calls)) => calls.push(call),
            None => kernels.push((kernel, vec![call])),
        }
    }
    for (kernel, mut calls) in kernels {
        calls.sort_by(|a, b| a.at.total_cmp(&b.at));
        judge_calls(&mut table, file, &kernel.profile.tcp, &calls);
    }
    Ok(Judgement::of_table(table))
}

fn call<'a>(row: &'a CsvRow<'_>) -> Result<Call<'a>, Fault> {
    let destination = row
        .get("dest")?
        .split_once(':')
        .and_then(|(ip, port)| Some(Endpoint::new(ip.parse().ok()?, port.parse().ok()?)));
    let mode = row.get("mode")?;
    if !matches!(mode, "auto" | "no_port" | "bind0") {
        return Err(row.fault("mode", "auto, no_port or bind0"));
    }
    Ok(Call {
        group: Group {
            mode,
            keep_open: flag(row, "keep_open")?,
            rep: row.get("rep")?,
            phase: row.get("phase")?,
        },
        source: row.number("src_ip")?,
        destination: destination.ok_or_else(|| row.fault("dest", "ADDRESS:PORT"))?,
        port: row.number("src_port")?,
        at: row.number("t")?,
    })
}

/// The ports that the model gives to the same calls, in one period; `None`: there was none left.
fn modelled(calls: &[Call<'_>], tcp: &TcpConfig, secret: u64) -> Vec<Option<u16>> {
    let mut selector = PortSelector::new(tcp.port_selection, tcp.local_port_range, secret);
    let mut open: BTreeSet<(Ipv4Addr, Option<Endpoint>, u16)> = BTreeSet::new();
    let mut now: Option<(&str, bool, &str)> = None;
    let mut ports = Vec::with_capacity(calls.len());
    for (n, call) in calls.iter().enumerate() {
        let (group, source) = (call.group, call.source);
        let repetition = (group.mode, group.keep_open, group.rep);
        if now != Some(repetition) {
            now = Some(repetition);
            open.clear();
        }
        let random = mix64(mix64(secret).wrapping_add(n as u64));
        // A bound port belongs to its address alone, a connected one to the destination as well.
        let (key, port) = if group.mode == "bind0" {
            (
                None,
                selector.bind(random, |port| open.contains(&(source, None, port))),
            )
        } else {
            let key = Some(call.destination);
            let is_used = |port| open.contains(&(source, key, port));
            (
                key,
                selector.take(source, call.destination, SimTime::ZERO, random, is_used),
            )
        };
        if let Some(port) = port.filter(|_| group.keep_open) {
            open.insert((source, key, port));
        }
        ports.push(port);
    }
    ports
}

/// Of each call: the previous one of the same source, destination and kind, if there is one.
fn predecessors(calls: &[Call<'_>]) -> Vec<Option<usize>> {
    let mut last = BTreeMap::new();
    let pair = |call: &Call<'_>| (call.source, call.destination, call.group.mode == "bind0");
    let all = calls.iter().enumerate();
    all.map(|(i, call)| last.insert(pair(call), i)).collect()
}

/// From one port to the next, around the range.
fn step(range: PortRange, from: u16, to: u16) -> i32 {
    (i32::from(to) - i32::from(from)).rem_euclid(range.count().cast_signed())
}

fn is_small(step: i32) -> bool {
    step % 2 == 0 && (2..=LARGEST_STEP).contains(&step)
}

/// The file's calls, and what is known of them.
struct Play<'a> {
    calls: &'a [Call<'a>],
    range: PortRange,
    before: Vec<Option<usize>>,
    /// Ports under each secret.
    runs: Vec<Vec<Option<u16>>>,
}

impl Play<'_> {
    /// The measured step from the call `from` to the call `to`.
    fn measured(&self, from: usize, to: usize) -> i32 {
        step(self.range, self.calls[from].port, self.calls[to].port)
    }

    /// The model's steps under each secret.
    fn steps(&self, from: usize, to: usize) -> Vec<i32> {
        let run = |run: &Vec<Option<u16>>| Some(step(self.range, run[from]?, run[to]?));
        self.runs.iter().filter_map(run).collect()
    }

    /// Whether the measured step can be the model's, and what the model says.
    fn agrees(&self, from: usize, to: usize, jumps: &Jumps) -> (bool, String) {
        let (measured, steps) = (self.measured(from, to), self.steps(from, to));
        match steps.first() {
            None => (false, "no port left".to_owned()),
            Some(&first) if steps.iter().all(|&step| step == first) => (measured == first, first.to_string()),
            Some(_) if steps.iter().all(|&step| is_small(step)) => {
                let jumps = jumps.may(self.calls[from].at, self.calls[to].at);
                (is_small(measured) || jumps, "2 to 16, even".to_owned())
            }
            Some(_) => (true, "anywhere".to_owned()),
        }
    }

    /// Steps that are small under every secret: those of the perturbed walk.
    fn is_perturbed(&self, from: usize, to: usize) -> bool {
        let steps = self.steps(from, to);
        steps.iter().all(|&step| is_small(step)) && steps.iter().any(|&step| step != steps[0])
    }
}

/// When the host's clock passed a multiple of the period, if some phase explains every measured jump.
struct Jumps {
    phase: Option<f64>,
}

impl Jumps {
    fn find(play: &Play<'_>) -> Self {
        let mut jumps = Vec::new();
        for (to, from) in play.before.iter().enumerate() {
            let Some(from) = *from else { continue };
            if play.is_perturbed(from, to) && !is_small(play.measured(from, to)) {
                jumps.push((play.calls[from].at, play.calls[to].at));
            }
        }
        let mut phases = (0..100_000).map(|tick| f64::from(tick) * PERIOD / 1e5);
        Self {
            phase: phases.find(|&phase| jumps.iter().all(|&(from, to)| crosses(phase, from, to))),
        }
    }

    fn may(&self, from: f64, to: f64) -> bool {
        self.phase.is_some_and(|phase| crosses(phase, from, to))
    }
}

fn crosses(phase: f64, from: f64, to: f64) -> bool {
    let period = |at: f64| ((at - phase) / PERIOD).floor();
    period(from) < period(to)
}

fn judge_calls(table: &mut Table, file: &File, tcp: &TcpConfig, calls: &[Call<'_>]) {
    let play = Play {
        calls,
        range: tcp.local_port_range,
        before: predecessors(calls),
        runs: (0..SECRETS).map(|secret| modelled(calls, tcp, secret)).collect(),
    };
    let jumps = Jumps::find(&play);
    let mut cells = Cells::default();
    let explained = jumps.phase.is_some();
    cells.check(explained, "jumps", "at other times", "every 10 s of some phase");
    cells.count_as(table, file, "jumps".to_owned());
    let mut groups: BTreeMap<(Group<'_>, Ipv4Addr, Endpoint), Vec<usize>> = BTreeMap::new();
    for (i, call) in calls.iter().enumerate() {
        let key = (call.group, call.source, call.destination);
        groups.entry(key).or_default().push(i);
    }
    for ((group, source, destination), members) in &groups {
        let name = format!(
            "{}, keep_open {}, rep {}, {}: {source} to {destination}",
            group.mode,
            u8::from(group.keep_open),
            group.rep,
            group.phase
        );
        judge_group(&play, &jumps, members).count_as(table, file, name);
    }
    if let Some(cells) = bound_ports(&play) {
        cells.count_as(table, file, "bind0: where the ports lie".to_owned());
    }
    for mode in ["auto", "no_port"] {
        if let Some(cells) = steps_distribution(&play, mode) {
            cells.count_as(table, file, format!("{mode}: distribution of the steps"));
        }
    }
}

fn judge_group(play: &Play<'_>, jumps: &Jumps, members: &[usize]) -> Cells {
    let mut cells = Cells::default();
    let measured: Vec<u16> = members.iter().map(|&i| play.calls[i].port).collect();
    let ours = |run: &Vec<Option<u16>>| members.iter().filter_map(|&i| run[i]).collect::<Vec<u16>>();
    let runs: Vec<Vec<u16>> = play.runs.iter().map(ours).collect();
    cells.same("parity", parity(&measured), parity(&runs[0]));
    let inside = measured.iter().all(|&port| play.range.contains(port));
    cells.check(inside, "range", "left", format!("{:?}", play.range));
    // Where chance decides whether a port comes again there is nothing to compare.
    if !runs.iter().any(|ports| repeats(ports)) {
        let shown = if repeats(&measured) { "some" } else { "none" };
        cells.same("ports that come again", shown, "none");
    }
    // The first step leads here from the pair's last group: the walk goes on where it was.
    for &to in members {
        if let Some(from) = play.before[to] {
            let (agrees, shown) = play.agrees(from, to, jumps);
            cells.check(agrees, "step", play.measured(from, to), shown);
        }
    }
    let first = members[0];
    if play.before[first].is_none() && first > 0 {
        // A new destination: does its walk go on where the one before it was?
        let continues: BTreeSet<bool> = play.steps(first - 1, first).into_iter().map(is_small).collect();
        if let [ours] = continues.into_iter().collect::<Vec<_>>()[..] {
            let shown = |goes_on| if goes_on { "goes on" } else { "starts anew" };
            let measured = is_small(play.measured(first - 1, first));
            cells.same("second destination", shown(measured), shown(ours));
        }
    }
    let far = |steps: &[u16]| {
        let far = steps
            .windows(2)
            .filter(|pair| !is_small(step(play.range, pair[0], pair[1])));
        far.count() * 2 > steps.len()
    };
    let shown = |far| if far { "most are far" } else { "most are near" };
    cells.same("steps", shown(far(&measured)), shown(far(&runs[0])));
    cells
}

fn parity(ports: &[u16]) -> &'static str {
    let odd = ports.iter().filter(|port| *port % 2 == 1).count();
    match odd {
        0 => "even",
        all if all == ports.len() => "odd",
        _ => "mixed",
    }
}

fn repeats(ports: &[u16]) -> bool {
    ports.iter().collect::<BTreeSet<_>>().len() < ports.len()
}

/// Whether measured and modelled ports of bind() lie alike in ten parts of the range; `None`: there are none.
fn bound_ports(play: &Play<'_>) -> Option<Cells> {
    let (mut measured, mut ours) = ([0.0_f64; 10], [0.0_f64; 10]);
    let (first, count) = (i32::from(play.range.first()), play.range.count().cast_signed());
    let part = |port: u16| ((i32::from(port) - first) * 10 / count).clamp(0, 9) as usize;
    for (i, call) in play.calls.iter().enumerate() {
        if let (true, Some(port)) = (call.group.mode == "bind0", play.runs[0][i]) {
            measured[part(call.port)] += 1.0;
            ours[part(port)] += 1.0;
        }
    }
    let mut cells = Cells::default();
    alike(
        &mut cells,
        "ports by tenths of the range",
        &measured,
        &ours,
        33.72,
    );
    (measured.iter().sum::<f64>() > 0.0).then_some(cells)
}

/// Whether two samples of one size are drawn from one distribution: chi-square below its 0.9999 quantile, `limit`.
fn alike(cells: &mut Cells, what: &str, measured: &[f64], ours: &[f64], limit: f64) {
    let terms = measured.iter().zip(ours).filter(|(a, b)| *a + *b > 0.0);
    let chi_square: f64 = terms.map(|(a, b)| (a - b).powi(2) / (a + b)).sum();
    cells.check(
        chi_square < limit,
        what,
        format!("{measured:?}"),
        format!("{ours:?}"),
    );
}

/// Whether measured and modelled small steps are drawn from one distribution; `None`: the model draws none.
fn steps_distribution(play: &Play<'_>, mode: &str) -> Option<Cells> {
    let (mut measured, mut ours) = ([0.0_f64; 8], [0.0_f64; 8]);
    let index = |step: i32| (step / 2 - 1) as usize;
    for (to, from) in play.before.iter().enumerate() {
        let Some(from) = *from else { continue };
        if play.calls[to].group.mode != mode || !play.is_perturbed(from, to) {
            continue;
        }
        let step = play.measured(from, to);
        if is_small(step) {
            measured[index(step)] += 1.0;
            ours[index(play.steps(from, to)[0])] += 1.0;
        }
    }
    if measured.iter().sum::<f64>() == 0.0 {
        return None;
    }
    let mut cells = Cells::default();
    alike(&mut cells, "steps 2, 4, ... 16", &measured, &ours, 29.88);
    Some(cells)
}
