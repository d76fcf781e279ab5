//! C2b and C3: a SYN towards a range of SNAT ports that is nearly or wholly in use. Odds of a free port, of an eviction and
//! of a drop (nf_nat_core.c, `nf_nat_l4proto_unique_tuple()`, `nf_nat_used_tuple_harder()`).

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::super::bench::{Bench, Flow, POD_CLOSES_FIRST};
use super::super::read::{self, CsvRow};
use super::super::{Fault, Figure, File, Judgement, Kernel, Options, Table};
use super::{choice_in, forget, push, replicate, small_node, syn};
use crate::model::nat::{PortChoice, SnatConfig, SnatMode};
use crate::profile::Profile;
use crate::units::PortRange;

/// First port of every range.
const FIRST: u16 = 40_000;
/// First sequence number of the connections that hold ports.
const ISN: u32 = 0x7000_0000;
/// Distance of a SYN from those, well beyond what they sent.
const AHEAD: u32 = 5_000;
/// The search tries so many ports from one start, so a range of up to as many is searched whole.
const FIRST_ROUND: u16 = 128;

/// A range whose ports are all held but for some.
struct Filled {
    bench: Bench,
    keep: SnatConfig,
    tested: SnatConfig,
    steps: &'static [&'static str],
}

impl Filled {
    /// Connections that went through `steps` hold the ports `held`; the rule then changes to `choice`.
    fn new(
        profile: &Profile,
        range: PortRange,
        held: impl Iterator<Item = u16>,
        steps: &'static [&'static str],
        choice: PortChoice,
        seed: u64,
    ) -> Self {
        let config = small_node(profile, PortChoice::Keep, Some(range));
        let keep = config.snat;
        let mut filled = Self {
            tested: SnatConfig {
                mode: SnatMode::Masquerade(choice),
                ..keep
            },
            bench: Bench::new(config, seed),
            keep,
            steps,
        };
        for port in held {
            filled.hold(port);
        }
        filled.bench.node.replace_snat(filled.tested);
        filled
    }

    /// A connection that keeps its own port takes it.
    fn hold(&mut self, port: u16) {
        self.bench.node.replace_snat(self.keep);
        Flow::new(1, port, ISN).run(&mut self.bench, self.steps);
        self.bench.node.replace_snat(self.tested);
    }
}

/// What became of the SYNs of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Odds {
    free: u32,
    evict: u32,
    drop: u32,
}

impl Odds {
    /// In words, for a row of a table.
    fn words(self) -> String {
        format!(
            "{} free, {} evicted, {} dropped",
            self.free, self.evict, self.drop
        )
    }
}

/// One row of C2b.
struct Trials {
    profile: &'static Profile,
    choice: PortChoice,
    size: u16,
    free: u16,
    /// SYNs ahead of what the holders sent, and behind it.
    counts: [u32; 2],
}

impl Trials {
    fn of(row: &CsvRow<'_>, kernel: &Kernel) -> Result<Self, Fault> {
        Ok(Self {
            profile: kernel.profile,
            choice: choice_in(row, "mode")?,
            size: row.number("range_size")?,
            free: row.number("free_ports")?,
            counts: [row.number("trials_adv")?, row.number("trials_old")?],
        })
    }

    fn simulate(&self, seed: u64) -> [Odds; 2] {
        let range = range_of(self.size);
        let free = free_ports(self.size, self.free, true, seed);
        let held = (range.first()..=range.last()).filter(|port| !free.contains(port));
        let mut filled = Filled::new(self.profile, range, held, &POD_CLOSES_FIRST, self.choice, seed);
        let mut sport = 2_000;
        [(ISN + AHEAD, self.counts[0]), (ISN - AHEAD, self.counts[1])].map(|(isn, trials)| {
            let mut odds = Odds::default();
            for _ in 0..trials {
                sport += 1;
                let mut flow = Flow::new(2, sport, isn);
                match syn(&mut filled.bench, &mut flow) {
                    None => odds.drop += 1,
                    Some(port) => {
                        forget(&mut filled.bench, &mut flow);
                        if free.contains(&port) {
                            odds.free += 1;
                        } else {
                            odds.evict += 1;
                            filled.hold(port);
                        }
                    }
                }
            }
            odds
        })
    }

    /// Whether the outcome depends on where the search begins.
    fn is_chance(&self, ahead: bool) -> bool {
        self.free > 0 && self.free < self.size && (ahead || self.size > FIRST_ROUND)
    }
}

/// C2b: free port, eviction or drop, for SYNs ahead of (`adv`) and behind (`old`) what the holders sent. Where the outcome
/// is certain it is a row of a table.
pub(super) fn evict_vs_free(file: &File, options: &Options) -> Result<Judgement, Fault> {
    let mut judgement = Judgement::default();
    let mut table = Table::new("c2b_evict_vs_free");
    for row in read::csv(file)? {
        let kernel = Kernel::of(row.find("kernel"), file.path())?;
        let trials = Trials::of(&row, &kernel)?;
        if trials.free > trials.size {
            return Err(row.fault("free_ports", "no more than range_size"));
        }
        let words = [u64::from(trials.size), u64::from(trials.free), row.line];
        let sets = replicate(options, &words, |seed| trials.simulate(seed));
        for (index, kind) in ["adv", "old"].into_iter().enumerate() {
            let count = |outcome: &str| row.number::<u32>(&format!("{kind}_{outcome}"));
            let measured = Odds {
                free: count("free")?,
                evict: count("evict")?,
                drop: count("drop")?,
            };
            let case = format!("C2b {} {}/{} {kind}", row.get("mode")?, trials.free, trials.size);
            if !trials.is_chance(index == 0) {
                let predicted = sets[0][index].words();
                table.row(file.path(), case, &measured.words(), &predicted);
                continue;
            }
            for (figure, of) in [
                ("free", (|odds| odds.free) as fn(Odds) -> u32),
                ("dropped", |odds| odds.drop),
            ] {
                let figure = Figure {
                    case: case.clone(),
                    kernel: kernel.clone(),
                    figure,
                    measured: f64::from(of(measured)),
                    predicted: sets.iter().map(|set| f64::from(of(set[index]))).collect(),
                };
                push(&mut judgement, figure);
            }
        }
    }
    judgement.tables.push(table);
    Ok(judgement)
}

/// C3 and its short form: SYNs that find a port of a range whose other ports are held by established connections.
pub(super) fn fill_vs_failure(file: &File, options: &Options) -> Result<Judgement, Fault> {
    let mut judgement = Judgement::default();
    let mut table = Table::new("c3_fill_vs_failure");
    for row in read::csv(file)? {
        let Some(fill) = Fill::of(&row)? else {
            let why = "its columns do not say range_size, free_ports (or fill_pct), trials and forwarded";
            return Ok(Judgement::not_judged(file.path(), why));
        };
        let kernel = Kernel::of(row.find("kernel"), file.path())?;
        if fill.free > fill.size {
            return Err(row.fault("free_ports", "no more than range_size"));
        }
        let words = [u64::from(fill.size), u64::from(fill.free), row.line];
        let sets = replicate(options, &words, |seed| fill.simulate(kernel.profile, seed));
        let pattern = if fill.scattered { "random" } else { "contiguous" };
        let case = format!("C3 {pattern} {}/{} free", fill.free, fill.size);
        // Each SYN that finds no port counts once in `insert_failed` and once in `drop` of `conntrack -S`.
        for counter in ["d_insert_failed", "d_drop"] {
            if row.find(counter).is_some() {
                let counted: u32 = row.number(counter)?;
                let per_drop = |counted: u32, forwarded: u32| {
                    if counted == fill.trials - forwarded.min(fill.trials) {
                        "one per drop".to_owned()
                    } else {
                        format!("{counted} for {} drops", fill.trials - forwarded.min(fill.trials))
                    }
                };
                let (forwarded, failed) = sets[0];
                table.row(
                    file.path(),
                    format!("{case}, {counter}"),
                    &per_drop(counted, fill.forwarded),
                    &per_drop(failed, forwarded),
                );
            }
        }
        if fill.free == 0 || fill.free == fill.size {
            let words = |forwarded: u32| format!("{forwarded} forwarded");
            table.row(file.path(), case, &words(fill.forwarded), &words(sets[0].0));
            continue;
        }
        judgement.figures.push(Figure {
            case,
            kernel,
            figure: "forwarded",
            measured: f64::from(fill.forwarded),
            predicted: sets.iter().map(|set| f64::from(set.0)).collect(),
        });
    }
    judgement.tables.push(table);
    Ok(judgement)
}

/// One row of C3.
struct Fill {
    choice: PortChoice,
    size: u16,
    free: u16,
    /// The free ports lie anywhere; else in one run.
    scattered: bool,
    trials: u32,
    forwarded: u32,
}

impl Fill {
    /// `None`: the columns are other ones.
    fn of(row: &CsvRow<'_>) -> Result<Option<Self>, Fault> {
        let first_of = |names: &[&'static str]| names.iter().find(|name| row.find(name).is_some()).copied();
        let columns = (
            first_of(&["range_size", "range", "size"]),
            first_of(&["free_ports", "free"]),
            first_of(&["trials", "n", "syns"]),
            first_of(&["forwarded", "ok", "success"]),
        );
        let (Some(size), free, Some(trials), Some(forwarded)) = columns else {
            return Ok(None);
        };
        let size: u16 = row.number(size)?;
        let free = match free {
            Some(free) => row.number(free)?,
            None if row.find("fill_pct").is_some() => {
                let held = row.number::<f64>("fill_pct")? / 100.0;
                (f64::from(size) * (1.0 - held)).round() as u16
            }
            None => return Ok(None),
        };
        let choice = match row.find("mode") {
            Some(_) => choice_in(row, "mode")?,
            None => PortChoice::RandomFully,
        };
        Ok(Some(Self {
            choice,
            size,
            free,
            scattered: match row.find("fill_pattern").unwrap_or("random") {
                "random" => true,
                "contiguous" => false,
                _ => return Err(row.fault("fill_pattern", "random or contiguous")),
            },
            trials: row.number(trials)?,
            forwarded: row.number(forwarded)?,
        }))
    }

    /// SYNs forwarded, and `insert_failed`.
    fn simulate(&self, profile: &Profile, seed: u64) -> (u32, u32) {
        let range = range_of(self.size);
        let free = free_ports(self.size, self.free, self.scattered, seed);
        let held = (range.first()..=range.last()).filter(|port| !free.contains(port));
        let mut filled = Filled::new(profile, range, held, &POD_CLOSES_FIRST[..3], self.choice, seed);
        let mut forwarded = 0;
        for trial in 0..self.trials {
            let mut flow = Flow::new(2, 2_000 + (trial % 30_000) as u16, ISN);
            if syn(&mut filled.bench, &mut flow).is_some() {
                forwarded += 1;
                forget(&mut filled.bench, &mut flow);
            }
        }
        (forwarded, filled.bench.node.stats().insert_failed as u32)
    }
}

fn range_of(size: u16) -> PortRange {
    PortRange::new(FIRST, FIRST + size.max(1) - 1).expect("in order")
}

/// Which ports of a range are free.
fn free_ports(size: u16, free: u16, scattered: bool, seed: u64) -> BTreeSet<u16> {
    let mut ports: Vec<u16> = (FIRST..FIRST + size).collect();
    if scattered {
        ports.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    }
    ports.into_iter().take(usize::from(free)).collect()
}
