//! A measured run beside the simulator's replications of it: what the laboratory's sniffer, client and 5 s series would
//! have said of each.

use rayon::prelude::*;
use serde_json::Value;

use super::capture::{Classes, classes};
use crate::observe::{Counts, HitRecord, Observations, RecordOptions, Second};
use crate::spec::Plan;
use crate::units::{FourTuple, SimDuration};
use crate::validate::read;
use crate::validate::{Fault, Figure, File, Judgement, Kernel, NotJudged, Options};
use crate::vocab::HitAnswer;
use crate::world;

/// How long the sniffer takes a TIME_WAIT to live from the client's FIN on (`tests/lab/README.md`, E): the kernel's own
/// are up to 2 s older when the timer wheel gets to them.
const SNIFFER_TIME_WAIT: SimDuration = SimDuration::from_secs(60);

/// So many runs at most went on beside another one.
const MOST_NEIGHBOURS: u32 = 7;

/// What a series counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// `nf_conntrack_count`, dead entries that nothing has collected included.
    Conntrack,
    /// Without those.
    ConntrackAlive,
    /// ipvs connections.
    Ipvs,
    /// TIME_WAITs of the pods.
    TimeWait,
}
/// What the laboratory calls a slow answer.
const SLOW: SimDuration = SimDuration::from_millis(900);

/// A TIME_WAIT that an attempt met.
#[derive(Debug, Clone, Copy)]
pub struct Hit {
    /// What the ledger says.
    pub record: HitRecord,
    /// The tuple that met it.
    pub tuple: FourTuple,
}

impl Hit {
    /// The sniffer believes in the TIME_WAIT: it is under 60.0 s old, and no RST with its exact sequence number has
    /// come. With `tcp_rfc1337` such an RST ends nothing, but who sees only the wire does not know: e20 has 10841 of
    /// these among 21077 hits.
    pub fn in_time_wait(&self) -> bool {
        self.record.reuse_gap < SNIFFER_TIME_WAIT && !self.record.exact_rst_seen
    }

    /// The laboratory can tell that the attempt met TIME_WAIT: by the bare ACK whatever it believes; by the SYN-ACK only
    /// where that comes with the ISN of the old connection, which not all kernels continue, or while it believes in it.
    pub fn is_seen(&self, isn_continues: bool) -> bool {
        match self.record.answer {
            HitAnswer::BareAck => true,
            HitAnswer::Recycled => isn_continues || self.in_time_wait(),
            HitAnswer::Silence => self.in_time_wait(),
        }
    }
}

/// What one replication left.
#[derive(Debug, Clone)]
pub struct Replication {
    /// Sums over the run.
    pub counts: Counts,
    /// Every hit.
    pub hits: Vec<Hit>,
    /// Levels at the times of the measured series, by [`Level`].
    pub levels: Vec<[f64; 4]>,
    /// Repeated SYNs by the time since the first one, to the nearest second.
    pub syn_repeats: Vec<u64>,
    /// Responses that took more than 0.9 s.
    pub slow_answers: u64,
    /// Connections by their sequence of packets at the node, if asked for.
    pub sequences: Classes,
}

impl Replication {
    fn of(observed: Observations, instants: &[f64]) -> Self {
        assert_eq!(observed.attempts_left_out, 0, "every hit is recorded");
        let seconds: Vec<Second> = observed.seconds.iter().collect();
        let levels = instants.iter().map(|&at| level(&seconds, at));
        Self {
            counts: seconds.iter().map(|second| second.counts).sum(),
            levels: levels.collect(),
            hits: observed
                .attempts
                .iter()
                .filter_map(|attempt| {
                    Some(Hit {
                        record: attempt.hit?,
                        tuple: attempt.slb_tuple,
                    })
                })
                .collect(),
            syn_repeats: observed.syn_repeats,
            slow_answers: observed
                .request_latency
                .count_between(SLOW.as_nanos(), observed.request_latency.high()),
            sequences: classes(&observed.node_packets),
        }
    }

    /// Hits for which `counts` holds.
    pub fn hits(&self, counts: impl Fn(&Hit) -> bool) -> f64 {
        self.hits.iter().filter(|hit| counts(hit)).count() as f64
    }

    /// Ages of those hits in whole seconds as the laboratory writes them: in the bin of 60 s stand those in whose
    /// TIME_WAIT it does not believe.
    pub fn ages(&self, bins: usize, counts: impl Fn(&Hit) -> bool) -> Vec<f64> {
        let mut ages = vec![0.0; bins];
        for hit in self.hits.iter().filter(|hit| counts(hit)) {
            let age = if hit.in_time_wait() {
                hit.record.reuse_gap
            } else {
                SNIFFER_TIME_WAIT
            };
            ages[(age.as_secs() as usize).min(bins - 1)] += 1.0;
        }
        ages
    }

    /// Largest level of a series.
    pub fn maximum(&self, level: Level) -> f64 {
        self.series(level).fold(0.0, f64::max)
    }

    /// Mean level of a series.
    pub fn mean(&self, level: Level) -> f64 {
        self.series(level).sum::<f64>() / self.levels.len().max(1) as f64
    }

    fn series(&self, level: Level) -> impl Iterator<Item = f64> {
        self.levels.iter().map(move |levels| levels[level as usize])
    }
}

/// Levels at a time in seconds, between those of the whole seconds around it.
fn level(seconds: &[Second], at: f64) -> [f64; 4] {
    let of = |second: usize| {
        let gauges = match second.checked_sub(1) {
            None => return [0.0; 4],
            Some(index) => seconds[index.min(seconds.len() - 1)].gauges,
        };
        [
            gauges.conntrack_entries as f64,
            gauges.conntrack_alive as f64,
            gauges.ipvs_entries as f64,
            gauges.pod_time_wait as f64,
        ]
    };
    let (before, after) = (of(at.floor() as usize), of(at.floor() as usize + 1));
    std::array::from_fn(|n| before[n] + (after[n] - before[n]) * at.fract())
}

/// A measured run.
pub struct Run<'a> {
    /// Its file.
    pub file: &'a File,
    /// Contents.
    pub value: Value,
    /// Kernel of all its hosts.
    pub kernel: Kernel,
}

/// What both sides say of one figure.
pub struct Comparison {
    /// Name of the figure.
    pub figure: &'static str,
    /// What was measured.
    pub measured: Result<f64, Fault>,
    /// What each replication says.
    pub predicted: Vec<f64>,
}

impl Comparison {
    /// Neither side counted anything.
    pub fn is_empty(&self) -> bool {
        self.measured == Ok(0.0) && self.predicted.iter().all(|&count| count == 0.0)
    }
}

impl<'a> Run<'a> {
    /// Reads a run; a `kernel` key wins over the folder.
    pub fn read(file: &'a File) -> Result<Self, Fault> {
        Self::of(file, read::json(file)?)
    }

    /// A run whose contents are at hand.
    pub fn of(file: &'a File, value: Value) -> Result<Self, Fault> {
        let named = value["kernel"]
            .as_str()
            .or_else(|| value["config"]["kernel"].as_str());
        let kernel = Kernel::of(named, file.path())?;
        Ok(Self { file, value, kernel })
    }

    /// A number under a JSON pointer.
    pub fn number(&self, pointer: &str) -> Result<f64, Fault> {
        read::number(self.file, &self.value, pointer)
    }

    /// The sum of numbers.
    pub fn sum(&self, pointers: &[String]) -> Result<f64, Fault> {
        pointers.iter().map(|pointer| self.number(pointer)).sum()
    }

    /// Rows of numbers under a key, each of at least `columns`.
    pub fn series(&self, key: &str, columns: usize) -> Result<Vec<Vec<f64>>, Fault> {
        let fault = || {
            Fault::new(
                self.file.path(),
                format!("{key}: expected rows of {columns} numbers"),
            )
        };
        let rows = self.value[key].as_array().ok_or_else(fault)?;
        let row = |row: &Value| {
            row.as_array()?
                .iter()
                .map(Value::as_f64)
                .collect::<Option<Vec<_>>>()
        };
        rows.iter()
            .map(|values| {
                row(values)
                    .filter(|row| row.len() >= columns && row[0] >= 0.0)
                    .ok_or_else(fault)
            })
            .collect()
    }

    /// Connects that took 0.9 s or more, from the client's histogram.
    pub fn slow_connects(&self) -> Result<f64, Fault> {
        let numbers = |key: &str| self.value["client"][key].as_array();
        let (Some(edges), Some(counts)) = (numbers("hist_upper_edges_s"), numbers("connect_hist")) else {
            return Err(Fault::new(
                self.file.path(),
                "client: expected hist_upper_edges_s and connect_hist",
            ));
        };
        let slow = edges
            .iter()
            .zip(counts)
            .filter(|(edge, _)| edge.as_f64().is_some_and(|edge| edge > 0.9));
        Ok(slow.filter_map(|(_, count)| count.as_f64()).sum())
    }

    /// Simulates the run so many times, each run with seeds of its own.
    ///
    /// The laboratory ran up to eight runs side by side in the network namespaces of one kernel, with the same addresses,
    /// and a run's file does not say which. The selection of source ports is the kernel's, so that neighbours move it on:
    /// in i27 (two at once) the ports of one connection and the next lie twice as far apart as those of a caller alone, in
    /// i20 (six) six and a half times. Replications have none to seven neighbours of their own size in turn.
    pub fn replicate(&self, plan: Plan, instants: &[f64], options: &Options) -> Vec<Replication> {
        self.replicate_with(plan, instants, false, options)
    }

    /// The same, with every packet at the node on request.
    pub fn replicate_with(
        &self,
        mut plan: Plan,
        instants: &[f64],
        node_packets: bool,
        options: &Options,
    ) -> Vec<Replication> {
        let bytes = self.file.path().bytes();
        plan.seed = bytes.fold(options.seed, |seed, byte| {
            crate::engine::mix64(seed ^ u64::from(byte))
        });
        let record = RecordOptions {
            cap: usize::MAX,
            node_packets,
            ..RecordOptions::default()
        };
        (0..options.replications)
            .into_par_iter()
            .map(|replication| {
                let mut plan = plan.clone();
                plan.slb.strangers = replication % (MOST_NEIGHBOURS + 1);
                Replication::of(world::simulate(&plan, replication, record, &|_| true), instants)
            })
            .collect()
    }

    /// The figures that the file has; those that it lacks are named as not judged.
    pub fn judgement(&self, comparisons: Vec<Comparison>) -> Judgement {
        let mut judgement = Judgement::default();
        let stem = self.file.path().rsplit('/').next().unwrap_or_default();
        for comparison in comparisons {
            match comparison.measured {
                Ok(measured) => judgement.figures.push(Figure {
                    case: stem.trim_end_matches(".json").to_owned(),
                    kernel: self.kernel.clone(),
                    figure: comparison.figure,
                    measured,
                    predicted: comparison.predicted,
                }),
                Err(fault) => judgement.not_judged.push(NotJudged {
                    file: fault.file,
                    why: format!("{} left out: {}", comparison.figure, fault.what),
                }),
            }
        }
        judgement
    }
}

/// How far histograms lie from the mean of the replications': the chi-square of the measured one, and of each replication
/// against the mean of the others, so that both are judged alike. Neighbouring bins are put together until five are
/// expected in each; `None` if there are not two such.
pub fn chi_squares(measured: &[f64], replications: &[Vec<f64>]) -> Option<(f64, Vec<f64>)> {
    let n = replications.len() as f64;
    let total: Vec<f64> = (0..measured.len())
        .map(|bin| replications.iter().map(|counts| counts[bin]).sum())
        .collect();
    let groups = groups(&total, 5.0 * n);
    if groups.len() < 2 || replications.len() < 2 {
        return None;
    }
    let sums = |counts: &[f64]| -> Vec<f64> {
        groups
            .iter()
            .map(|group| counts[group.clone()].iter().sum())
            .collect()
    };
    let totals = sums(&total);
    let statistic = |counts: &[f64], expected: &dyn Fn(usize) -> f64| -> f64 {
        let counts = sums(counts);
        (0..counts.len())
            .map(|g| (counts[g] - expected(g)).powi(2) / expected(g))
            .sum()
    };
    let of_replication = |counts: &Vec<f64>| {
        let own = sums(counts);
        statistic(counts, &|g| {
            ((totals[g] - own[g]) / (n - 1.0)).max(f64::MIN_POSITIVE)
        })
    };
    Some((
        statistic(measured, &|g| totals[g] / n),
        replications.iter().map(of_replication).collect(),
    ))
}

/// Ranges of bins that hold at least `least` each; what is left at the end goes to the last.
fn groups(totals: &[f64], least: f64) -> Vec<std::ops::Range<usize>> {
    let mut groups: Vec<std::ops::Range<usize>> = Vec::new();
    let (mut start, mut sum) = (0, 0.0);
    for (bin, count) in totals.iter().enumerate() {
        sum += count;
        if sum >= least {
            groups.push(start..bin + 1);
            (start, sum) = (bin + 1, 0.0);
        }
    }
    if let Some(last) = groups.last_mut() {
        last.end = totals.len();
    }
    groups
}
