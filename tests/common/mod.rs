//! What several test programs share: the laboratory's measurements under `tests/lab`, row by row.
#![allow(
    dead_code,
    reason = "every test program includes this file and uses a part of it"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A file of the laboratory; `name` is its path below `tests/lab`.
pub fn lab_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/lab")
        .join(name)
}

/// Its text.
pub fn lab_text(name: &str) -> String {
    let path = lab_path(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One row of a CSV file, by column name.
#[derive(Debug, Clone)]
pub struct Row {
    /// `file:line`, for messages.
    pub at: String,
    columns: BTreeMap<String, String>,
}

impl Row {
    /// A column as it stands; the column must exist.
    pub fn get(&self, column: &str) -> &str {
        self.columns
            .get(column)
            .unwrap_or_else(|| panic!("{}: no column {column}", self.at))
    }
    /// A column, or nothing if it is empty or not there.
    pub fn opt(&self, column: &str) -> Option<&str> {
        self.columns
            .get(column)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }
    /// A whole number.
    pub fn int(&self, column: &str) -> i64 {
        let text = self.get(column);
        text.parse()
            .unwrap_or_else(|_| panic!("{}: {column} is {text:?}, no whole number", self.at))
    }
    /// A number.
    pub fn float(&self, column: &str) -> f64 {
        let text = self.get(column);
        text.parse()
            .unwrap_or_else(|_| panic!("{}: {column} is {text:?}, no number", self.at))
    }
    /// 0 or 1.
    pub fn flag(&self, column: &str) -> bool {
        self.int(column) != 0
    }
}

/// All rows of a CSV file with a header line.
pub fn lab_rows(name: &str) -> Vec<Row> {
    let text = lab_text(name);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().expect("a header line").clone();
    let rows = reader.records().enumerate().map(|(index, record)| {
        let at = format!("{name}:{}", index + 2);
        let record = record.unwrap_or_else(|error| panic!("{at}: {error}"));
        let pairs = header.iter().zip(record.iter());
        Row {
            at,
            columns: pairs
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        }
    });
    rows.collect()
}
