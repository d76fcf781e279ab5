//! C1: which port MASQUERADE gives to a SYN: the share that keep theirs, how the others spread
//! (nf_nat_core.c, `get_unique_tuple()`, `nf_nat_l4proto_unique_tuple()`).

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::super::bench::{Bench, Flow};
use super::super::read::{self, CsvRow};
use super::super::{Fault, Figure, File, Judgement, Kernel, Options};
use super::{choice_in, choice_of, forget, push, replicate, small_node, syn};
use crate::engine::keyed_hash;
use crate::model::nat::{PortChoice, SnatConfig, SnatMode};
use crate::profile::Profile;
use crate::units::PortRange;

/// The laboratory flushed the table of a bounded range after so many SYNs: of 1000 SYNs 672 to 707 ports are distinct.
const FLUSHED_EVERY: usize = 300;
/// And in runs of up to 1000 SYNs over the whole distribution, as 4.19's walk shows.
const FLUSHED_EVERY_SHORT: usize = 100;

/// SYNs of one rule, with what must be flushed.
struct Rule {
    bench: Bench,
    snat: SnatConfig,
    open: Vec<Flow>,
}

impl Rule {
    fn new(profile: &Profile, choice: PortChoice, to_ports: Option<PortRange>, seed: u64) -> Self {
        let config = small_node(profile, choice, to_ports);
        Self {
            snat: config.snat,
            bench: Bench::new(config, seed),
            open: Vec::new(),
        }
    }

    /// The port that a SYN of 10.10.0.`host`:`source` gets.
    fn port(&mut self, host: u8, source: u16, isn: u32) -> Option<u16> {
        let mut flow = Flow::new(host, source, isn);
        let port = syn(&mut self.bench, &mut flow);
        self.open.extend(port.map(|_| flow));
        port
    }

    /// The rule is replaced.
    fn change(&mut self, choice: PortChoice, to_ports: Option<PortRange>) {
        self.snat = SnatConfig {
            mode: SnatMode::Masquerade(choice),
            to_ports,
            ..self.snat
        };
        self.bench.node.replace_snat(self.snat);
    }

    /// `conntrack -F`.
    fn flush(&mut self) {
        for mut flow in self.open.drain(..) {
            forget(&mut self.bench, &mut flow);
        }
    }
}

/// Picks a count out of a spread.
type Count = fn(&Spread) -> u32;

/// What a set of SYNs got.
#[derive(Debug, Clone, Copy)]
struct Spread {
    kept: u32,
    distinct: u32,
    span: u32,
    dropped: u32,
}

impl Spread {
    /// Of (source port, port it got).
    fn of(ports: &[(u16, Option<u16>)]) -> Self {
        let distinct: BTreeSet<u16> = ports.iter().filter_map(|&(_, port)| port).collect();
        let ends = distinct.first().zip(distinct.last());
        Self {
            kept: ports
                .iter()
                .filter(|(source, port)| *port == Some(*source))
                .count() as u32,
            distinct: distinct.len() as u32,
            span: ends.map_or(0, |(first, last)| u32::from(last - first)),
            dropped: ports.iter().filter(|(_, port)| port.is_none()).count() as u32,
        }
    }

    const FIGURES: [(&'static str, Count); 4] = [
        ("kept", |it| it.kept),
        ("distinct", |it| it.distinct),
        ("span of ports", |it| it.span),
        ("dropped", |it| it.dropped),
    ];
}

/// `1024-65535`, `<512`, `in_range_40000-40999`. A class without a lower end began at 100: a port below 42 was kept on no
/// kernel, and as many as were kept come from so many ports.
fn range(text: &str) -> Option<PortRange> {
    if let Some(below) = text.strip_prefix('<') {
        return PortRange::new(100, below.parse::<u16>().ok()?.checked_sub(1)?);
    }
    let text = text.strip_prefix("in_range_").unwrap_or(text);
    let (first, last) = text.split_once('-')?;
    PortRange::new(first.parse().ok()?, last.parse().ok()?)
}

/// Distinct random sources of a class, each with one SYN.
fn random_sources(rule: &mut Rule, sources: PortRange, n: usize, flush: bool, seed: u64) -> Spread {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut ports, mut seen) = (Vec::with_capacity(n), BTreeSet::new());
    while ports.len() < n {
        let (host, source) = (rng.random_range(1..200), sources.nth(rng.random()));
        if !seen.insert((host, source)) {
            continue;
        }
        if flush && !ports.is_empty() && ports.len().is_multiple_of(FLUSHED_EVERY) {
            rule.flush();
        }
        ports.push((source, rule.port(host, source, rng.random())));
    }
    Spread::of(&ports)
}

/// A row of `c1_port_keep.csv`.
struct Class {
    name: String,
    choice: PortChoice,
    to_ports: Option<PortRange>,
    sources: PortRange,
    n: usize,
    measured: Spread,
}

impl Class {
    fn of(row: &CsvRow<'_>) -> Result<Self, Fault> {
        let class = row.get("orig_sport_class")?;
        let sources =
            range(class).ok_or_else(|| row.fault("orig_sport_class", "ports such as 1024-32767"))?;
        let to_ports = match row.get("to_ports")? {
            "" => None,
            text => Some(range(text).ok_or_else(|| row.fault("to_ports", "ports such as 40000-40999"))?),
        };
        let n: u32 = row.number("n")?;
        if u64::from(n) > 100 * u64::from(sources.count()) {
            return Err(row.fault("n", "no more SYNs than a hundred per source port"));
        }
        Ok(Self {
            name: format!("C1 {} {} {class}", row.get("mode")?, row.get("to_ports")?),
            choice: choice_in(row, "mode")?,
            to_ports,
            sources,
            n: n as usize,
            measured: Spread {
                kept: row.number("kept_original_port")?,
                distinct: row.number("distinct")?,
                span: row
                    .number::<u32>("max_port")?
                    .saturating_sub(row.number("min_port")?),
                dropped: row.number("dropped")?,
            },
        })
    }

    /// Its SYNs at a host that has just done those of the classes before.
    fn simulate(&self, rule: &mut Rule, seed: u64) -> Spread {
        rule.change(self.choice, self.to_ports);
        let spread = random_sources(rule, self.sources, self.n, self.to_ports.is_some(), seed);
        rule.flush();
        spread
    }
}

/// `c1_port_keep.csv`: kept, distinct, spread and dropped per rule and class of source ports. One host went through all
/// rows: 4.19's rover goes on from one to the next.
pub(super) fn port_keep(file: &File, options: &Options) -> Result<Judgement, Fault> {
    let rows = read::csv(file)?;
    let kernel = Kernel::of(rows[0].find("kernel"), file.path())?;
    let classes = rows.iter().map(Class::of).collect::<Result<Vec<_>, Fault>>()?;
    let sets = replicate(options, &[], |seed| {
        let mut rule = Rule::new(kernel.profile, PortChoice::Keep, None, seed);
        let seeds = (0..).map(|n| keyed_hash(seed, &[n]));
        let spreads = classes.iter().zip(seeds);
        spreads
            .map(|(class, seed)| class.simulate(&mut rule, seed))
            .collect::<Vec<_>>()
    });
    let mut judgement = Judgement::default();
    for (index, class) in classes.iter().enumerate() {
        for (figure, of) in Spread::FIGURES {
            // Unless the table was flushed, each port that passed is distinct.
            if figure == "distinct" && (class.to_ports.is_none() || class.n <= FLUSHED_EVERY) {
                continue;
            }
            let figure = Figure {
                case: class.name.clone(),
                kernel: kernel.clone(),
                figure,
                measured: f64::from(of(&class.measured)),
                predicted: sets.iter().map(|set| f64::from(of(&set[index]))).collect(),
            };
            push(&mut judgement, figure);
        }
    }
    Ok(judgement)
}

/// What `c1_distribution.json` says of one rule.
struct Draws {
    /// Distinct ports of ten SYNs of one tuple, each gone before the next.
    same_tuple: usize,
    /// Steps of one port between ten SYNs of consecutive source ports.
    steps_of_one: usize,
    /// Chi-square of many draws against equal bins.
    chi_square: f64,
}

/// A range of 1000 ports in bins.
const BINNED: PortRange = match PortRange::new(40_000, 40_999) {
    Some(range) => range,
    None => panic!("in order"),
};

fn steps_of_one(ports: &[u16]) -> usize {
    ports
        .windows(2)
        .filter(|pair| pair[1] == pair[0].wrapping_add(1))
        .count()
}

fn chi_square(bins: &[f64]) -> f64 {
    let expected = bins.iter().sum::<f64>() / bins.len() as f64;
    bins.iter().map(|n| (n - expected).powi(2) / expected).sum()
}

impl Draws {
    /// The laboratory's three steps, one after the other at one node. Source ports lie outside the range.
    fn simulate(profile: &Profile, choice: PortChoice, bins: usize, draws: usize, seed: u64) -> Self {
        let mut rule = Rule::new(profile, choice, Some(BINNED), seed);
        // The host has done other things before: 4.19's rover stands anywhere.
        let before = ChaCha8Rng::seed_from_u64(keyed_hash(seed, &[0])).random_range(0..1_000);
        for source in 0..before {
            rule.port(200, 1_000 + source, 1);
        }
        rule.flush();
        let mut same = BTreeSet::new();
        for _ in 0..10 {
            same.extend(rule.port(1, 2_000, 1));
            rule.flush();
        }
        let consecutive: Vec<u16> = (0..10).filter_map(|i| rule.port(1, 3_000 + i, 1)).collect();
        let mut counts = vec![0.0; bins];
        let width = BINNED.count() as usize / bins;
        let flushed_every = if draws > 1_000 {
            FLUSHED_EVERY
        } else {
            FLUSHED_EVERY_SHORT
        };
        for i in 0..draws {
            if let Some(port) = rule.port(2, 10_000 + (i % 20_000) as u16, 1) {
                counts[(usize::from(port - BINNED.first()) / width).min(bins - 1)] += 1.0;
            }
            if (i + 1).is_multiple_of(flushed_every) {
                rule.flush();
            }
        }
        Self {
            same_tuple: same.len(),
            steps_of_one: steps_of_one(&consecutive),
            chi_square: chi_square(&counts),
        }
    }
}

fn port_list(file: &File, value: &Value, key: &str) -> Result<Vec<u16>, Fault> {
    let list = value[key].as_array().map(|list| {
        let ports = list
            .iter()
            .map(|port| port.as_u64().and_then(|port| u16::try_from(port).ok()));
        ports.collect::<Option<Vec<u16>>>()
    });
    list.flatten()
        .ok_or_else(|| Fault::new(file.path(), format!("{key}: expected a list of ports")))
}

fn mode_of(file: &File, value: &Value) -> Result<(String, PortChoice), Fault> {
    let mode = value["mode"].as_str().unwrap_or_default();
    let choice = choice_of(mode).ok_or_else(|| {
        Fault::new(
            file.path(),
            format!("mode: expected default, --random or --random-fully, not {mode:?}"),
        )
    })?;
    Ok((mode.to_owned(), choice))
}

fn rules(file: &File, value: Option<&Value>, what: &str) -> Result<Vec<Value>, Fault> {
    let list = value.and_then(Value::as_array).filter(|list| !list.is_empty());
    list.cloned()
        .ok_or_else(|| Fault::new(file.path(), format!("{what}: expected a list of rules")))
}

/// `c1_distribution.json`: uniform or not, random or fixed, per rule.
pub(super) fn distribution(file: &File, options: &Options) -> Result<Judgement, Fault> {
    let kernel = Kernel::of(None, file.path())?;
    let mut judgement = Judgement::default();
    let value = read::json(file)?;
    for (index, rule) in rules(file, Some(&value), "the file")?.iter().enumerate() {
        let (mode, choice) = mode_of(file, rule)?;
        let bins = rule["bins"]
            .as_array()
            .map(|bins| bins.iter().map(Value::as_f64).collect::<Option<Vec<_>>>());
        let bins = bins
            .flatten()
            .filter(|bins| (2..=1000).contains(&bins.len()) && bins.iter().sum::<f64>() > 0.0)
            .ok_or_else(|| Fault::new(file.path(), "bins: expected a list of 2 to 1000 counts"))?;
        let same: BTreeSet<u16> = port_list(file, rule, "ports_for_same_tuple_10_times")?
            .into_iter()
            .collect();
        let measured = Draws {
            same_tuple: same.len(),
            steps_of_one: steps_of_one(&port_list(file, rule, "ports_for_consecutive_sports")?),
            chi_square: chi_square(&bins),
        };
        let draws = bins.iter().sum::<f64>() as usize;
        let sets = replicate(options, &[index as u64], |seed| {
            Draws::simulate(kernel.profile, choice, bins.len(), draws, seed)
        });
        for (figure, of) in [
            (
                "ports of one tuple",
                (|it| it.same_tuple as f64) as fn(&Draws) -> f64,
            ),
            ("steps of one port", |it| it.steps_of_one as f64),
            ("chi-square", |it| it.chi_square),
        ] {
            let figure = Figure {
                case: format!("C1 {mode}"),
                kernel: kernel.clone(),
                figure,
                measured: of(&measured),
                predicted: sets.iter().map(of).collect(),
            };
            push(&mut judgement, figure);
        }
    }
    Ok(judgement)
}

/// `c1q_*.json`: the short form. Sources are equally spaced, as those that were kept show.
pub(super) fn short_form(file: &File, options: &Options) -> Result<Judgement, Fault> {
    let value = read::json(file)?;
    let kernel = Kernel::of(value["kernel"].as_str(), file.path())?;
    let mut judgement = Judgement::default();
    let rows = rules(file, value.get("keep_port"), "keep_port")?;
    let number = |rule: &Value, key: &str| {
        let number = rule[key].as_u64().and_then(|n| u32::try_from(n).ok());
        number.ok_or_else(|| Fault::new(file.path(), format!("keep_port.{key}: expected a number")))
    };
    let kept = rows
        .iter()
        .find(|rule| rule["mode"].as_str().and_then(choice_of) == Some(PortChoice::Keep));
    let kept = kept.ok_or_else(|| Fault::new(file.path(), "keep_port: expected a row of mode default"))?;
    let (low, high, count) = (number(kept, "min")?, number(kept, "max")?, number(kept, "n")?);
    if low > high || high > 65_535 || count < 2 {
        return Err(Fault::new(
            file.path(),
            "keep_port: expected ports from min to max and n of 2 or more",
        ));
    }
    let source = |i: u32| (low + (high - low) * i / (count - 1)) as u16;
    for (index, rule) in rows.iter().enumerate() {
        let (mode, choice) = mode_of(file, rule)?;
        let n = number(rule, "n")?;
        let sets = replicate(options, &[index as u64], |seed| {
            let mut rule = Rule::new(kernel.profile, choice, None, seed);
            let ports: Vec<_> = (0..n)
                .map(|i| {
                    (
                        source(i % count),
                        rule.port((1 + i / count) as u8, source(i % count), 1),
                    )
                })
                .collect();
            Spread::of(&ports)
        });
        // How many were distinct is not in the file: as many as passed, which the others say.
        let measured = Spread {
            kept: number(rule, "kept")?,
            span: number(rule, "max")?.saturating_sub(number(rule, "min")?),
            distinct: 0,
            dropped: 0,
        };
        for (figure, of) in [Spread::FIGURES[0], Spread::FIGURES[2]] {
            let figure = Figure {
                case: format!("C1 {mode}, short form"),
                kernel: kernel.clone(),
                figure,
                measured: f64::from(of(&measured)),
                predicted: sets.iter().map(|set| f64::from(of(set))).collect(),
            };
            push(&mut judgement, figure);
        }
    }
    let key = "default_out_of_range_10_consecutive_sports";
    if value.get(key).is_some() {
        let ports = port_list(file, &value, key)?;
        let sets = replicate(options, &[u64::MAX], |seed| {
            let mut rule = Rule::new(kernel.profile, PortChoice::Keep, Some(BINNED), seed);
            let ports: Vec<u16> = (0..ports.len() as u16)
                .filter_map(|i| rule.port(1, 3_000 + i, 1))
                .collect();
            steps_of_one(&ports) as f64
        });
        let figure = Figure {
            case: "C1 default out of range, short form".to_owned(),
            kernel,
            figure: "steps of one port",
            measured: steps_of_one(&ports) as f64,
            predicted: sets,
        };
        push(&mut judgement, figure);
    }
    Ok(judgement)
}
