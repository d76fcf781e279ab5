//! Rows, summary and the rules of passing, under the names of the `validate` contract.

use std::collections::BTreeMap;

use rand::RngExt;
use serde::Serialize;

use super::{Fault, Figure, Judgement, Miss, NotJudged, Options, Table};
use crate::engine::SplitMix64;
use crate::stats::{mean_and_deviation, prediction_interval_99, uniformity_p};

/// Share of the figures that may lie outside: three times what is expected of a true prediction.
const OUTSIDE_SHARE: f64 = 0.03;
/// So many may lie outside however few there are.
const OUTSIDE_ALWAYS: usize = 2;
/// Relative bias that is allowed of a pooled figure.
const BIAS: f64 = 0.03;
/// Or so many standard deviations of it over the replications.
const BIAS_DEVIATIONS: f64 = 2.6;
/// Chance below which ranks are not taken for uniform.
const UNIFORMITY: f64 = 0.01;
/// Fewer runs say nothing of uniformity.
const MIN_RUNS: usize = 8;

/// Name of the figure whose rank counts, and which is pooled: attempts of a run that met TIME_WAIT.
pub const HITS: &str = "hits";
/// Names of the figures that are pooled as bare ACKs.
pub const BARE_ACKS: [&str; 2] = ["bare_acks", "refused"];

/// Where a measured figure lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// In the central 99 % of the replications.
    Inside,
    /// Below or above it.
    Outside,
}

/// One figure, judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Run or variant.
    pub case: String,
    /// Kernel release.
    pub kernel: String,
    /// Name of the figure.
    pub figure: &'static str,
    /// What was measured.
    pub measured: f64,
    /// Mean of the replications.
    pub predicted: f64,
    /// Lower end of the central 99 %.
    pub lo99: f64,
    /// Upper end.
    pub hi99: f64,
    /// Distance in standard deviations of the replications; `null` where all of them agree.
    pub z: Option<f64>,
    /// Verdict.
    pub verdict: Verdict,
}

/// Relative deviation of the measured sums over all runs from the predicted ones; `null` without such figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PooledBias {
    /// Of the hits.
    pub hits: Option<f64>,
    /// Of the bare ACKs.
    pub bare_acks: Option<f64>,
}

/// How many rows of a decision table agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Rows judged.
    pub rows: u32,
    /// Rows that agree.
    pub agree: u32,
    /// Rows left out.
    pub skipped: u32,
}

/// Sums over all rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Figures judged.
    pub figures: usize,
    /// Of those, inside.
    pub inside: usize,
    /// Rule 3.
    pub pooled_bias: PooledBias,
    /// Rule 4: chance of ranks as uneven as these; `null` under 8 runs.
    pub ks_p: Option<f64>,
    /// Rule 1, by name.
    pub tables: BTreeMap<&'static str, Tally>,
    /// Files, or parts of files, that are not judged.
    pub not_judged: Vec<NotJudged>,
    /// Files that are wrong in themselves.
    pub faults: Vec<Fault>,
    /// Rows of tables that do not agree.
    pub misses: Vec<Miss>,
    /// What does not hold that must.
    pub reasons: Vec<String>,
    /// Whether everything that must hold does.
    pub passed: bool,
}

/// The whole outcome.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Figures.
    pub rows: Vec<Row>,
    /// Sums.
    pub summary: Summary,
}

impl Report {
    /// Nothing that was found is of a kind that is judged.
    pub fn is_empty(&self) -> bool {
        let summary = &self.summary;
        let rows: u32 = summary
            .tables
            .values()
            .map(|table| table.rows + table.skipped)
            .sum();
        summary.figures == 0 && rows == 0 && summary.faults.is_empty()
    }
}

/// Judges all figures and sums up.
pub fn report(all: Judgement, options: &Options) -> Report {
    let rows: Vec<Row> = all.figures.iter().map(judge).collect();
    let inside = rows.iter().filter(|row| row.verdict == Verdict::Inside).count();
    let hits = Pooled::of(&all.figures, &[HITS]);
    let bare_acks = Pooled::of(&all.figures, &BARE_ACKS);
    let ks_p = uniformity(&all.figures, options.seed);
    let mut reasons = broken_tables(&all.tables);
    reasons.extend(all.faults.iter().map(|fault| format!("fault in {fault}")));
    reasons.extend(too_many_outside(rows.len(), rows.len() - inside));
    reasons.extend(hits.and_then(|pooled| pooled.too_far("hits")));
    reasons.extend(bare_acks.and_then(|pooled| pooled.too_far("bare ACKs")));
    reasons.extend(ks_p.filter(|&p| p <= UNIFORMITY).map(|p| {
        format!("the measured hits do not lie among the replications' as one of them: Kolmogorov-Smirnov p = {p:.4}")
    }));
    if rows.is_empty() && all.tables.is_empty() && all.faults.is_empty() {
        reasons.push("nothing that was found is of a kind that is judged".to_owned());
    }
    let tally = |table: &Table| Tally {
        rows: table.rows,
        agree: table.agree,
        skipped: table.skipped,
    };
    Report {
        summary: Summary {
            figures: rows.len(),
            inside,
            pooled_bias: PooledBias {
                hits: hits.and_then(|pooled| pooled.bias()),
                bare_acks: bare_acks.and_then(|pooled| pooled.bias()),
            },
            ks_p,
            tables: all
                .tables
                .iter()
                .map(|table| (table.name, tally(table)))
                .collect(),
            not_judged: all.not_judged,
            faults: all.faults,
            misses: all.tables.into_iter().flat_map(|table| table.misses).collect(),
            passed: reasons.is_empty(),
            reasons,
        },
        rows,
    }
}

fn judge(figure: &Figure) -> Row {
    let (mean, deviation) = mean_and_deviation(&figure.predicted);
    let (lo99, hi99) = prediction_interval_99(&figure.predicted);
    let inside = (lo99..=hi99).contains(&figure.measured);
    Row {
        case: figure.case.clone(),
        kernel: figure.kernel.release.clone(),
        figure: figure.figure,
        measured: figure.measured,
        predicted: mean,
        lo99,
        hi99,
        z: (deviation > 0.0).then(|| (figure.measured - mean) / deviation),
        verdict: if inside { Verdict::Inside } else { Verdict::Outside },
    }
}

/// Rule 1.
fn broken_tables(tables: &[Table]) -> Vec<String> {
    let broken = tables.iter().filter(|table| table.agree < table.rows);
    broken
        .map(|table| {
            format!(
                "{}: {} of {} rows do not agree",
                table.name,
                table.rows - table.agree,
                table.rows
            )
        })
        .collect()
}

/// Rule 2.
fn too_many_outside(figures: usize, outside: usize) -> Option<String> {
    let allowed = OUTSIDE_ALWAYS.max((OUTSIDE_SHARE * figures as f64) as usize);
    (outside > allowed).then(|| format!("{outside} of {figures} figures lie outside, {allowed} are allowed"))
}

/// Rule 3: a figure summed over the runs. Runs are independent, so the variances of the sum's parts add up.
#[derive(Debug, Clone, Copy)]
struct Pooled {
    measured: f64,
    predicted: f64,
    deviation: f64,
}

impl Pooled {
    fn of(figures: &[Figure], names: &[&str]) -> Option<Self> {
        let pooled: Vec<&Figure> = figures
            .iter()
            .filter(|figure| names.contains(&figure.figure))
            .collect();
        if pooled.is_empty() {
            return None;
        }
        let moments = || pooled.iter().map(|figure| mean_and_deviation(&figure.predicted));
        Some(Self {
            measured: pooled.iter().map(|figure| figure.measured).sum(),
            predicted: moments().map(|(mean, _)| mean).sum(),
            deviation: moments()
                .map(|(_, deviation)| deviation * deviation)
                .sum::<f64>()
                .sqrt(),
        })
    }

    /// `None` where nothing was predicted: nothing is a share of it.
    fn bias(&self) -> Option<f64> {
        (self.predicted > 0.0).then(|| self.measured / self.predicted - 1.0)
    }

    fn too_far(&self, what: &str) -> Option<String> {
        let allowed = (BIAS * self.predicted).max(BIAS_DEVIATIONS * self.deviation);
        ((self.measured - self.predicted).abs() > allowed).then(|| {
            format!(
                "pooled {what}: {} measured, {:.1} predicted, a difference of {allowed:.1} is allowed",
                self.measured, self.predicted
            )
        })
    }
}

/// Rule 4: the rank of each run's hits among its replications.
fn uniformity(figures: &[Figure], seed: u64) -> Option<f64> {
    let mut ties = SplitMix64(seed);
    let runs = figures.iter().filter(|figure| figure.figure == HITS);
    let undecided = |figure: &&Figure| figure.predicted.iter().any(|&hits| hits != figure.predicted[0]);
    let ranks: Vec<f64> = runs
        .filter(undecided)
        .map(|figure| rank(figure, ties.random::<f64>()))
        .collect();
    (ranks.len() >= MIN_RUNS).then(|| uniformity_p(&ranks))
}

/// Where the measurement stands among its replications, as a share of the n + 1 places; `tie` within 0 to 1 decides
/// among those places that replications with the same value leave open.
fn rank(figure: &Figure, tie: f64) -> f64 {
    let count =
        |counts: &dyn Fn(f64) -> bool| figure.predicted.iter().filter(|&&value| counts(value)).count() as f64;
    let (below, equal) = (
        count(&|value| value < figure.measured),
        count(&|value| value == figure.measured),
    );
    (below + tie * (equal + 1.0)) / (figure.predicted.len() + 1) as f64
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
