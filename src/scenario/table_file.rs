//! CSV files that a scenario names: found beside it, read up to a limit, told by file and line when something is wrong.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::diagnostic::{Diagnostic, Span};
use super::reader::Reader;
use super::words::shorten;

/// Longest file, in octets.
const MAX_OCTETS: u64 = 256 << 20;

/// What is wrong with a file, and where in it.
struct Trouble {
    line: Option<u64>,
    what: String,
}

impl Trouble {
    fn of_file(what: impl Into<String>) -> Self {
        Self {
            line: None,
            what: what.into(),
        }
    }
}

impl Reader<'_> {
    /// The rows of the CSV file `name`, which is named at `span` under the key `path`. `row` reads one, or says what it
    /// expected. A first row that begins with no number is taken for a header; blank lines and lines from `#` on are left
    /// out. `None`: it was told what is wrong.
    pub fn table_file<T>(
        &self,
        path: &str,
        span: &Span,
        name: &str,
        max_rows: usize,
        row: impl FnMut(&StringRecord) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let place = self.base().join(name);
        let trouble = match octets_of(&place).and_then(|octets| rows_of(&octets, max_rows, row)) {
            Ok(rows) => return Some(rows),
            Err(trouble) => trouble,
        };
        let name = shorten(name);
        let message = match trouble.line {
            Some(line) => format!("`{name}` line {line} is not what `{path}` needs"),
            None => format!("`{path}` cannot be read from `{name}`"),
        };
        let help = "a CSV file, beside the scenario or with its whole path; a header and lines from # on are left out";
        self.push(Diagnostic::new(span, message, trouble.what).help(help));
        None
    }
}

fn octets_of(place: &Path) -> Result<Vec<u8>, Trouble> {
    let wrong = |error: std::io::Error| Trouble::of_file(error.to_string());
    let file = File::open(place).map_err(wrong)?;
    // A device or a pipe might never end, or never begin.
    if !file.metadata().map_err(wrong)?.is_file() {
        return Err(Trouble::of_file("this is no file"));
    }
    let mut octets = Vec::new();
    file.take(MAX_OCTETS + 1)
        .read_to_end(&mut octets)
        .map_err(wrong)?;
    if octets.len() as u64 > MAX_OCTETS {
        return Err(Trouble::of_file("longer than 256 MiB"));
    }
    Ok(octets)
}

fn rows_of<T>(
    octets: &[u8],
    max_rows: usize,
    mut row: impl FnMut(&StringRecord) -> Result<T, String>,
) -> Result<Vec<T>, Trouble> {
    // What spreadsheets put in front of UTF-8.
    let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .trim(Trim::All)
        .from_reader(octets);
    let mut rows = Vec::new();
    let mut record = StringRecord::new();
    let mut is_first = true;
    loop {
        let line_before = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {}
            Err(error) => {
                let line = error
                    .position()
                    .map_or(line_before, |position| line_of(octets, position));
                let what = if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) {
                    "expected UTF-8 text".to_owned()
                } else {
                    error.to_string()
                };
                return Err(Trouble {
                    line: Some(line),
                    what,
                });
            }
        }
        let header = is_first && is_header(&record);
        is_first = false;
        if header {
            continue;
        }
        if rows.len() >= max_rows {
            return Err(Trouble::of_file(format!("more than {max_rows} rows")));
        }
        match row(&record) {
            Ok(value) => rows.push(value),
            Err(expected) => {
                let found = shorten(record.iter().collect::<Vec<_>>().join(",").trim());
                return Err(Trouble {
                    line: record.position().map(|position| line_of(octets, position)),
                    what: format!("expected {expected}, found `{found}`"),
                });
            }
        }
    }
    if rows.is_empty() {
        return Err(Trouble::of_file("there is no row in it"));
    }
    Ok(rows)
}

/// The line on which a row stands whose reading began at `position`: blank lines and comments come first.
fn line_of(octets: &[u8], position: &csv::Position) -> u64 {
    let rest = octets.get(position.byte() as usize..).unwrap_or_default();
    let skipped = rest
        .split(|octet| *octet == b'\n')
        .take_while(|line| matches!(line, [] | [b'\r'] | [b'#', ..]));
    position.line() + skipped.count() as u64
}

/// Whether the first column holds a name.
fn is_header(record: &StringRecord) -> bool {
    let first = record.get(0).unwrap_or_default();
    first.starts_with(|c: char| c.is_alphabetic() || c == '_') && first.parse::<f64>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &[u8]) -> Result<Vec<u32>, String> {
        let row = |record: &StringRecord| record[0].parse().map_err(|_| "a number".to_owned());
        rows_of(text, 3, row).map_err(|trouble| {
            let line = trouble.line.map_or_else(String::new, |line| format!("{line}: "));
            line + &trouble.what
        })
    }

    #[test]
    fn headers_comments_blanks_and_more_columns_are_no_trouble() {
        for text in [
            &b"1\n2\n"[..],
            b"time_s\n1\n2",
            b"# of a capture\n\n 1 ,x,y\r\n\r\n2\r\n",
            b"\xef\xbb\xbftime\n\"1\"\n2\n",
        ] {
            assert_eq!(
                numbers(text),
                Ok(vec![1, 2]),
                "{:?}",
                String::from_utf8_lossy(text)
            );
        }
    }

    #[test]
    fn trouble_is_told_with_its_line() {
        for (text, told) in [
            (&b"1\n2\nx\n"[..], "3: expected a number, found `x`"),
            (b"time\n1\n\n#\n1.5,9\n", "5: expected a number, found `1.5,9`"),
            (b"1\n\xff\xfe\n", "2: expected UTF-8 text"),
            (b"", "there is no row in it"),
            (b"time\n", "there is no row in it"),
            (b"1\n2\n3\n4\n", "more than 3 rows"),
            (b"nan\n", "1: expected a number, found `nan`"),
        ] {
            assert_eq!(
                numbers(text),
                Err(told.to_owned()),
                "{:?}",
                String::from_utf8_lossy(text)
            );
        }
    }
}
