//! Reading measurement files: CSV by column name and JSON by key, with faults that say where.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Fault, File};

/// A row of a CSV file, by column name.
#[derive(Debug, Clone)]
pub struct CsvRow<'a> {
    file: &'a str,
    /// Line in the file, from 1.
    pub line: u64,
    cells: BTreeMap<String, String>,
}

impl CsvRow<'_> {
    /// A cell; empty cells are empty strings, a missing column is a fault.
    pub fn get(&self, column: &str) -> Result<&str, Fault> {
        self.cells
            .get(column)
            .map(String::as_str)
            .ok_or_else(|| Fault::new(self.file, format!("line {}: no column {column:?}", self.line)))
    }

    /// A cell of a column that may not exist.
    pub fn find(&self, column: &str) -> Option<&str> {
        self.cells.get(column).map(String::as_str)
    }

    /// The names of the columns, in alphabetical order.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.cells.keys().map(String::as_str)
    }

    /// A number.
    pub fn number<T: std::str::FromStr>(&self, column: &str) -> Result<T, Fault> {
        let cell = self.get(column)?;
        cell.trim()
            .parse()
            .map_err(|_| self.fault(column, &format!("a number, not {cell:?}")))
    }

    /// A fault in a cell: what was expected.
    pub fn fault(&self, column: &str, expected: &str) -> Fault {
        Fault::new(
            self.file,
            format!("line {}: {column}: expected {expected}", self.line),
        )
    }
}

/// The rows of a CSV file.
pub fn csv(file: &File) -> Result<Vec<CsvRow<'_>>, Fault> {
    let fault = |error: csv::Error| Fault::new(file.path(), error.to_string());
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file.bytes());
    let columns = reader.headers().map_err(fault)?.clone();
    let mut rows = Vec::new();
    // The reader's own count is one too small where lines end in CR and LF; no cell contains a line's end.
    for (record, line) in reader.records().zip(2..) {
        let record = record.map_err(fault)?;
        rows.push(CsvRow {
            file: file.path(),
            line,
            cells: columns
                .iter()
                .zip(&record)
                .map(|(column, cell)| (column.to_owned(), cell.to_owned()))
                .collect(),
        });
    }
    if rows.is_empty() {
        return Err(Fault::new(file.path(), "no rows below the line of column names"));
    }
    Ok(rows)
}

/// The contents of a JSON file.
pub fn json(file: &File) -> Result<Value, Fault> {
    serde_json::from_slice(file.bytes()).map_err(|error| Fault::new(file.path(), error.to_string()))
}

/// A number under a JSON pointer (`/pod_sniffer/attempts`).
pub fn number(file: &File, value: &Value, pointer: &str) -> Result<f64, Fault> {
    value
        .pointer(pointer)
        .and_then(Value::as_f64)
        .ok_or_else(|| Fault::new(file.path(), format!("{pointer}: expected a number")))
}
