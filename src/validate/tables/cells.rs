//! One row of a table: each measured cell beside the predicted one.

use std::fmt::{self, Display};

use super::super::bench::{Bench, Flow};
use super::super::{Fault, File, Table, read::CsvRow};
use crate::units::{SimDuration, SimTime};

/// Seconds by which a remaining time may differ: the emulated kernels were listed up to two seconds late.
const REMAINING_WITHIN: f64 = 2.0;
/// From a packet to the reading of the listings.
pub const READ_AFTER: SimDuration = SimDuration::from_millis(500);

/// The cells of one row that differ.
#[derive(Default)]
pub struct Cells {
    compared: u32,
    measured: Vec<String>,
    predicted: Vec<String>,
}

impl Cells {
    /// A cell that must be the same.
    pub fn same(&mut self, column: &str, measured: &str, predicted: impl Display) {
        let predicted = predicted.to_string();
        self.check(measured == predicted, column, measured, predicted);
    }

    /// A cell that was compared by another rule than equality.
    pub fn check(&mut self, agrees: bool, column: &str, measured: impl Display, predicted: impl Display) {
        self.compared += 1;
        if !agrees {
            self.measured.push(format!("{column} {measured}"));
            self.predicted.push(format!("{column} {predicted}"));
        }
    }

    /// A `STATE/remaining` cell, `-` for no entry: the same state, remaining times within two seconds.
    pub fn listed(&mut self, column: &str, measured: &str, ours: Option<Listed>) {
        let Some(ours) = ours else {
            return self.same(column, measured, "-");
        };
        let predicted = ours.to_string();
        let mut parts = measured.split('/');
        let state = parts.next() == Some(ours.state);
        let left = parts.next().and_then(seconds).is_some_and(|left| {
            // Listings round down.
            (left - ours.left.as_secs() as f64).abs() <= REMAINING_WITHIN
        });
        self.check(state && left, column, measured, predicted);
    }

    /// Nothing differs.
    pub fn agrees(&self) -> bool {
        self.measured.is_empty()
    }

    /// Counts the row.
    pub fn count(self, table: &mut Table, file: &File, row: &CsvRow<'_>) {
        self.count_as(table, file, format!("line {}", row.line));
    }

    /// Counts the row under this name. One in which nothing was compared is left out, not agreed with.
    pub fn count_as(self, table: &mut Table, file: &File, row: String) {
        if self.compared == 0 {
            return table.skip();
        }
        let agrees = self.agrees();
        let (measured, predicted) = (self.measured.join(", "), self.predicted.join(", "));
        table.judged(agrees, file.path(), row, &measured, &predicted);
    }
}

/// An entry as a listing shows it.
#[derive(Debug, Clone, Copy)]
pub struct Listed {
    pub state: &'static str,
    pub left: SimDuration,
}

impl Listed {
    fn new(state: &'static str, expires: SimTime, now: SimTime) -> Self {
        Self {
            state,
            left: expires.since(now),
        }
    }
}

impl Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.state, self.left.as_secs())
    }
}

/// The flow's line in `conntrack -L`.
pub fn conntrack_listed(bench: &Bench, flow: &Flow) -> Option<Listed> {
    let tracker = &bench.conntrack(flow)?.tracker;
    Some(Listed::new(tracker.state.name(), tracker.expires, bench.now))
}

/// The flow's line in `ipvsadm -Lnc`.
pub fn ipvs_listed(bench: &Bench, flow: &Flow) -> Option<Listed> {
    let connection = bench.ipvs(flow)?;
    Some(Listed::new(connection.state.name(), connection.due, bench.now))
}

/// Seconds of `118` or `01:59`.
pub fn seconds(text: &str) -> Option<f64> {
    text.split(':').try_fold(0.0, |sum, part| {
        let part: u32 = part.parse().ok()?;
        Some(sum * 60.0 + f64::from(part))
    })
}

/// A column of 0 and 1.
pub fn flag(row: &CsvRow<'_>, column: &str) -> Result<bool, Fault> {
    match row.get(column)? {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(row.fault(column, "0 or 1")),
    }
}

/// 1 or 0, as the files write it.
pub fn bit(value: bool) -> &'static str {
    if value { "1" } else { "0" }
}

/// Whether the laboratory gave the row up.
pub fn has_error(row: &CsvRow<'_>) -> bool {
    row.find("error").is_some_and(|error| !error.trim().is_empty())
}
