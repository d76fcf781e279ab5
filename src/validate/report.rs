//! Rows, summary and the rules of passing, under the names of the `validate` contract.

use serde::Serialize;

use super::{Fault, Figure, Judgement, NotJudged, Options, Table};

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

/// Sums over all rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Figures judged.
    pub figures: u32,
    /// Of those, inside.
    pub inside: u32,
    /// Files that are not judged.
    pub not_judged: Vec<NotJudged>,
    /// Whether everything that must hold does.
    pub passed: bool,
}

/// The whole outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Figures.
    pub rows: Vec<Row>,
    /// Decision tables.
    pub tables: Vec<Table>,
    /// Files that are wrong in themselves.
    pub faults: Vec<Fault>,
    /// Sums.
    pub summary: Summary,
}

/// Judges all figures and sums up.
pub fn report(all: Judgement, _options: &Options) -> Report {
    let rows: Vec<Row> = all.figures.iter().map(judge).collect();
    let inside = rows.iter().filter(|row| row.verdict == Verdict::Inside).count() as u32;
    let tables_agree = all.tables.iter().all(|table| table.agree == table.rows);
    Report {
        summary: Summary {
            figures: rows.len() as u32,
            inside,
            not_judged: all.not_judged,
            passed: tables_agree && all.faults.is_empty(),
        },
        rows,
        tables: all.tables,
        faults: all.faults,
    }
}

fn judge(figure: &Figure) -> Row {
    let mean = figure.predicted.iter().sum::<f64>() / figure.predicted.len() as f64;
    Row {
        case: figure.case.clone(),
        kernel: figure.kernel.release.clone(),
        figure: figure.figure,
        measured: figure.measured,
        predicted: mean,
        lo99: mean,
        hi99: mean,
        z: None,
        verdict: Verdict::Outside,
    }
}
