//! What judging one file brings: tables, figures, faults, or the reason why it is not judged.

use super::Kernel;

/// A decision table: rows in which measured and simulated must be the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Name in the report; tables of one name from several files and kernels are added up.
    pub name: &'static str,
    /// Rows that were judged.
    pub rows: u32,
    /// Rows that agree.
    pub agree: u32,
    /// Rows left out: those with an `error`, and those that the laboratory itself names as misses.
    pub skipped: u32,
    /// The rows that do not agree.
    pub misses: Vec<Miss>,
}

impl Table {
    /// A table without rows yet.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            rows: 0,
            agree: 0,
            skipped: 0,
            misses: Vec::new(),
        }
    }

    /// Counts a row: measured and predicted as they are shown if they differ.
    pub fn row(&mut self, file: &str, row: impl Into<String>, measured: &str, predicted: &str) {
        self.judged(measured == predicted, file, row, measured, predicted);
    }

    /// Counts a row that was compared by another rule than equality.
    pub fn judged(
        &mut self,
        agrees: bool,
        file: &str,
        row: impl Into<String>,
        measured: &str,
        predicted: &str,
    ) {
        self.rows += 1;
        if agrees {
            self.agree += 1;
            return;
        }
        self.misses.push(Miss {
            table: self.name,
            file: file.to_owned(),
            row: row.into(),
            measured: measured.to_owned(),
            predicted: predicted.to_owned(),
        });
    }

    /// Counts a row that is left out.
    pub fn skip(&mut self) {
        self.skipped += 1;
    }
}

/// A row of a table in which the simulator says something else than the kernel did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Miss {
    /// Name of the table.
    pub table: &'static str,
    /// File in the laboratory's layout.
    pub file: String,
    /// Which row: its line or its keys.
    pub row: String,
    /// What the kernel did.
    pub measured: String,
    /// What the simulator says.
    pub predicted: String,
}

/// A measured number, and what the simulator's replications say of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Run or variant.
    pub case: String,
    /// Kernel that was measured.
    pub kernel: Kernel,
    /// Name of the figure.
    pub figure: &'static str,
    /// What was measured.
    pub measured: f64,
    /// The same figure of each replication, or of each simulated set of trials.
    pub predicted: Vec<f64>,
}

/// A file that could not be read as what its name says it is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, thiserror::Error)]
#[error("{file}: {what}")]
pub struct Fault {
    /// File in the laboratory's layout.
    pub file: String,
    /// Where and what: line or key, what was expected, how to mend it.
    pub what: String,
}

impl Fault {
    /// A fault of a file.
    pub fn new(file: &str, what: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            what: what.into(),
        }
    }
}

/// A file that is not judged, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NotJudged {
    /// File in the laboratory's layout.
    pub file: String,
    /// Reason.
    pub why: String,
}

/// What judging brought.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Judgement {
    /// Decision tables.
    pub tables: Vec<Table>,
    /// Figures.
    pub figures: Vec<Figure>,
    /// Files that are wrong in themselves: each is a failure.
    pub faults: Vec<Fault>,
    /// Files that are not judged.
    pub not_judged: Vec<NotJudged>,
}

impl Judgement {
    /// One table.
    pub fn of_table(table: Table) -> Self {
        Self {
            tables: vec![table],
            ..Self::default()
        }
    }

    /// Figures.
    pub fn of_figures(figures: Vec<Figure>) -> Self {
        Self {
            figures,
            ..Self::default()
        }
    }

    /// A file that is wrong in itself; that is a failure, and it is not judged either.
    pub fn of_fault(fault: Fault) -> Self {
        let mut judgement = Self::not_judged(&fault.file, &fault.what);
        judgement.faults.push(fault);
        judgement
    }

    /// A file that is not judged.
    pub fn not_judged(file: &str, why: &str) -> Self {
        Self {
            not_judged: vec![NotJudged {
                file: file.to_owned(),
                why: why.to_owned(),
            }],
            ..Self::default()
        }
    }

    /// Adds another judgement to this one; tables of the same name become one.
    pub fn append(&mut self, other: Self) {
        let tables = other.tables.into_iter();
        for table in tables.filter(|table| table.rows + table.skipped > 0) {
            match self.tables.iter_mut().find(|known| known.name == table.name) {
                Some(known) => {
                    known.rows += table.rows;
                    known.agree += table.agree;
                    known.skipped += table.skipped;
                    known.misses.extend(table.misses);
                }
                None => self.tables.push(table),
            }
        }
        self.figures.extend(other.figures);
        self.faults.extend(other.faults);
        self.not_judged.extend(other.not_judged);
    }
}
