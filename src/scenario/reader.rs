//! Reads typed values out of the document. Every method answers what the key holds, `None` if it is absent or wrong; what
//! is wrong goes to the sink, so that one pass finds all errors.

use std::cell::RefCell;
use std::fmt::Display;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ipnet::Ipv4Net;

use super::diagnostic::{Diagnostic, Span};
use super::document::{Kind, Table, Value};
use super::keys;
use super::link::share_of;
use super::sysctl;
use super::words::{nearest, parse_ports, parse_size, shorten};
use crate::profile::{self, Profile};
use crate::units::{Endpoint, ParseUnitError, PortRange, Rate, SimDuration};

/// The longest run.
pub(super) const MAX_RUN: SimDuration = SimDuration::from_secs(30 * 86_400);
/// The longest timeout.
pub(super) const MAX_TIMEOUT: SimDuration = SimDuration::from_secs(365 * 86_400);
/// The shortest time that is not zero.
const TICK: SimDuration = SimDuration::from_nanos(1);

/// Where errors go, and where the files are that a scenario names.
#[derive(Debug, Default)]
pub(super) struct Sink {
    base: PathBuf,
    diagnostics: RefCell<Vec<Diagnostic>>,
    /// Keys asked for, with their full paths.
    #[cfg(test)]
    pub asked: RefCell<std::collections::BTreeSet<String>>,
}

impl Sink {
    /// For a scenario in the file `name`; for text without a file the working directory is the base.
    pub fn beside(name: &str) -> Self {
        Self {
            base: Path::new(name).parent().map(Path::to_owned).unwrap_or_default(),
            ..Self::default()
        }
    }

    pub fn push(&self, diagnostic: Diagnostic) {
        self.diagnostics.borrow_mut().push(diagnostic);
    }

    pub fn is_empty(&self) -> bool {
        self.diagnostics.borrow().is_empty()
    }

    pub fn into_list(self) -> Vec<Diagnostic> {
        self.diagnostics.into_inner()
    }
}

/// One table of the document, present or not.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    path: String,
    table: Option<&'a Table>,
    at: Span,
    sink: &'a Sink,
}

impl<'a> Reader<'a> {
    /// The top of the file.
    pub fn root(table: &'a Table, sink: &'a Sink) -> Self {
        let reader = Self {
            path: String::new(),
            table: Some(table),
            at: Span::new(0, 0..0),
            sink,
        };
        reader.refuse_unknown_keys();
        reader
    }

    fn over(&self, path: String, at: Span, table: &'a Table) -> Self {
        let reader = Self {
            path,
            table: Some(table),
            at,
            sink: self.sink,
        };
        reader.refuse_unknown_keys();
        reader
    }

    fn absent(&self, path: String) -> Self {
        Self {
            path,
            table: None,
            at: self.at.clone(),
            sink: self.sink,
        }
    }

    /// Where the files are that the scenario names.
    pub fn base(&self) -> &'a Path {
        &self.sink.base
    }

    /// Whether the table stands in the document.
    pub const fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// The table's entries.
    pub fn entries(&self) -> &'a [super::document::Entry] {
        self.table.map_or(&[], |table| &table.entries)
    }

    /// The table as written.
    pub const fn written(&self) -> Option<&'a Table> {
        self.table
    }

    /// Full path of a key, for messages.
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Where the value of `key` stands; the table's own place if it is absent.
    pub fn span(&self, key: &str) -> Span {
        self.table
            .and_then(|table| table.get(key))
            .map_or_else(|| self.at.clone(), |entry| entry.value.span.clone())
    }

    /// Path of the table itself.
    pub fn own_path(&self) -> &str {
        &self.path
    }

    /// Where the table stands.
    pub fn at(&self) -> Span {
        self.at.clone()
    }

    /// Records an error.
    pub fn push(&self, diagnostic: Diagnostic) {
        self.sink.push(diagnostic);
    }

    /// Whether the key stands in the document, right or wrong.
    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.get(key).is_some())
    }

    /// The raw value.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        let path = self.path(key);
        debug_assert!(
            keys::find(&path).is_some(),
            "`{path}` is missing in the table of keys"
        );
        #[cfg(test)]
        self.sink.asked.borrow_mut().insert(path);
        self.table?.get(key).map(|entry| &entry.value)
    }

    /// Records that a key must be there.
    pub fn missing(&self, key: &str, example: &str) {
        let message = format!("`{}` is missing", self.path(key));
        self.push(
            Diagnostic::new(&self.at, message, format!("needs `{key}`")).help(format!("such as {example}")),
        );
    }

    /// Records that a value is of the wrong kind.
    fn wrong(&self, key: &str, value: &Value, expected: &str) {
        self.wrong_at(&self.path(key), value, expected, None);
    }

    pub fn wrong_at(&self, path: &str, value: &Value, expected: &str, help: Option<String>) {
        let mut diagnostic = Diagnostic::new(
            &value.span,
            format!("`{path}` cannot be {}", value.describe()),
            format!("expected {expected}"),
        );
        diagnostic.help = help;
        self.push(diagnostic);
    }

    fn refuse(&self, key: &str, expected: impl Display) {
        let message = format!("`{}` is not what it should be", self.path(key));
        self.push(Diagnostic::new(
            &self.span(key),
            message,
            format!("expected {expected}"),
        ));
    }

    /// The table under `key`.
    pub fn table(&self, key: &str) -> Self {
        let path = self.path(key);
        let Some(value) = self.get(key) else {
            return self.absent(path);
        };
        if let Kind::Table(table) = &value.kind {
            return self.over(path, self.key_span(key), table);
        }
        self.wrong(key, value, &format!("a table, written as [{path}]"));
        self.absent(path)
    }

    /// The tables under `key`: one or several. Empty if the key is absent.
    pub fn tables(&self, key: &str) -> Vec<Self> {
        let path = self.path(key);
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        match &value.kind {
            Kind::Table(table) => vec![self.over(path, self.key_span(key), table)],
            Kind::Array(items) => {
                if items.is_empty() {
                    let message = format!("there is no `{key}`");
                    self.push(Diagnostic::new(
                        &value.span,
                        message,
                        "expected at least one table",
                    ));
                }
                items
                    .iter()
                    .filter_map(|item| {
                        if let Kind::Table(table) = &item.kind {
                            return Some(self.over(path.clone(), item.span.clone(), table));
                        }
                        self.wrong(key, item, &format!("a table, written as [[{path}]]"));
                        None
                    })
                    .collect()
            }
            _ => {
                self.wrong(key, value, &format!("a table, written as [{path}]"));
                Vec::new()
            }
        }
    }

    /// A table that no one wrote.
    pub fn default_table(&self, key: &str) -> Self {
        self.absent(self.path(key))
    }

    fn key_span(&self, key: &str) -> Span {
        self.table
            .and_then(|table| table.get(key))
            .map_or_else(|| self.at.clone(), |entry| entry.key_span.clone())
    }

    /// A string.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        let value = self.get(key)?;
        if let Kind::Text(text) = &value.kind {
            return Some(text);
        }
        self.wrong(key, value, "a string");
        None
    }

    /// A name: a letter, then letters, digits, `-` and `_`; at most 63 of them, as Kubernetes has it.
    pub fn name(&self, key: &str) -> Option<&'a str> {
        let name = self.text(key)?;
        let good = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.len() <= 63
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if !good {
            self.refuse(
                key,
                "a name: a letter, then letters, digits, - and _, at most 63 in all",
            );
            return None;
        }
        Some(name)
    }

    /// One of several words.
    pub fn choice<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let value = self.get(key)?;
        let list = words
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect::<Vec<_>>()
            .join(", ");
        let expected = if words.len() == 1 {
            list
        } else {
            format!("one of {list}")
        };
        let Kind::Text(text) = &value.kind else {
            self.wrong(key, value, &expected);
            return None;
        };
        let found = words.iter().find(|(word, _)| word == text);
        if found.is_none() {
            let message = format!("`{}` knows no `{}`", self.path(key), shorten(text));
            let mut diagnostic = Diagnostic::new(&value.span, message, format!("expected {expected}"));
            diagnostic.help = nearest(text, words.iter().map(|(word, _)| *word))
                .map(|word| format!("did you mean \"{word}\"?"));
            self.push(diagnostic);
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// true or false.
    pub fn switch(&self, key: &str) -> Option<bool> {
        let value = self.get(key)?;
        if let Kind::Boolean(on) = value.kind {
            return Some(on);
        }
        self.wrong(key, value, "true or false");
        None
    }

    /// A whole number inside `range`.
    pub fn integer(&self, key: &str, range: RangeInclusive<i128>) -> Option<i128> {
        let value = self.get(key)?;
        let expected = format!("a whole number, {} to {}", range.start(), range.end());
        match value.kind {
            Kind::Integer(number) if range.contains(&number) => Some(number),
            Kind::Integer(_) => {
                let message = format!("`{}` is out of range", self.path(key));
                self.push(Diagnostic::new(
                    &value.span,
                    message,
                    format!("expected {expected}"),
                ));
                None
            }
            _ => {
                self.wrong(key, value, &expected);
                None
            }
        }
    }

    /// A count inside `range`.
    pub fn count(&self, key: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let range = i128::from(*range.start())..=i128::from(*range.end());
        self.integer(key, range).map(|number| number as u32)
    }

    /// A port, 1 to 65535.
    pub fn port(&self, key: &str) -> Option<u16> {
        self.count(key, 1..=65535).map(|port| port as u16)
    }

    fn unit<T: FromStr<Err = ParseUnitError>>(&self, key: &str, value: &Value, expected: &str) -> Option<T> {
        match &value.kind {
            Kind::Text(text) => match text.parse() {
                Ok(parsed) => Some(parsed),
                Err(error) => {
                    self.refuse(key, error.expected);
                    None
                }
            },
            Kind::Integer(number) => {
                let unit = if expected.contains("rate") { "/s" } else { "s" };
                let help =
                    Some("the unit is part of the value".to_owned() + &format!(": \"{number}{unit}\""));
                self.wrong_at(&self.path(key), value, expected, help);
                None
            }
            _ => {
                self.wrong(key, value, expected);
                None
            }
        }
    }

    /// A duration from `min` to `max`.
    pub fn duration(&self, key: &str, min: SimDuration, max: SimDuration) -> Option<SimDuration> {
        let value = self.get(key)?;
        let duration = self.unit(key, value, "a duration such as \"60s\"")?;
        self.bounded(&self.path(key), &value.span, duration, min, max)
    }

    /// A duration that is not zero, up to a year.
    pub fn timeout(&self, key: &str) -> Option<SimDuration> {
        self.duration(key, TICK, MAX_TIMEOUT)
    }

    /// Refuses what lies outside `min..=max`.
    pub fn bounded(
        &self,
        path: &str,
        span: &Span,
        duration: SimDuration,
        min: SimDuration,
        max: SimDuration,
    ) -> Option<SimDuration> {
        if duration < min {
            let label = if duration == SimDuration::ZERO {
                "no time at all".to_owned()
            } else {
                format!("shorter than {min}")
            };
            self.push(Diagnostic::new(span, format!("`{path}` is too short"), label));
            return None;
        }
        if duration > max {
            let days = max.as_secs() / 86_400;
            let message = format!("`{path}` is too long");
            self.push(
                Diagnostic::new(span, message, format!("longer than {days} days"))
                    .help("is the unit right? ns, us, ms, s, m, h, d"),
            );
            return None;
        }
        Some(duration)
    }

    /// A rate, not zero.
    pub fn rate(&self, key: &str) -> Option<Rate> {
        let rate = self.rate_or_zero(key)?;
        if rate.is_zero() {
            let message = format!("`{}` is zero", self.path(key));
            self.push(
                Diagnostic::new(&self.span(key), message, "nothing would ever arrive")
                    .help("the lowest rate is 0.000001/s"),
            );
            return None;
        }
        Some(rate)
    }

    /// A rate, which may be zero.
    pub fn rate_or_zero(&self, key: &str) -> Option<Rate> {
        let value = self.get(key)?;
        let rate: Rate = self.unit(key, value, "a rate such as \"350/s\"")?;
        // Beyond this two arrivals fall into one nanosecond.
        if rate.as_per_second() > 1e8 {
            let message = format!("`{}` is too high", self.path(key));
            self.push(Diagnostic::new(
                &value.span,
                message,
                "expected at most 100000000/s",
            ));
            return None;
        }
        Some(rate)
    }

    /// Octets, 1 to 100 MB.
    pub fn size(&self, key: &str) -> Option<u32> {
        let value = self.get(key)?;
        let expected = "a size such as \"200B\" or \"2kB\", 1 to 100 MB";
        let octets = match &value.kind {
            Kind::Integer(number) => u64::try_from(*number).ok(),
            Kind::Text(text) => parse_size(text),
            _ => {
                self.wrong(key, value, expected);
                return None;
            }
        };
        let octets = octets.filter(|octets| (1..=100_000_000).contains(octets));
        if octets.is_none() {
            self.refuse(key, expected);
        }
        octets.map(|octets| octets as u32)
    }

    /// A number inside `range`.
    pub fn number(&self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let value = self.get(key)?;
        let number = match &value.kind {
            Kind::Float(number, _) => *number,
            Kind::Integer(number) => *number as f64,
            _ => f64::NAN,
        };
        let expected = format!("a number from {} to {}", range.start(), range.end());
        if range.contains(&number) {
            return Some(number);
        }
        if matches!(value.kind, Kind::Float(..) | Kind::Integer(_)) {
            let message = format!("`{}` is out of range", self.path(key));
            self.push(Diagnostic::new(
                &value.span,
                message,
                format!("expected {expected}"),
            ));
        } else {
            self.wrong(key, value, &expected);
        }
        None
    }

    /// 0 to 1, as a number or in percent.
    pub fn share(&self, key: &str) -> Option<f64> {
        let value = self.get(key)?;
        let expected = "a share from 0 to 1, such as 0.001 or \"0.1%\"";
        if !matches!(value.kind, Kind::Float(..) | Kind::Integer(_) | Kind::Text(_)) {
            self.wrong(key, value, expected);
            return None;
        }
        let share = share_of(value);
        if share.is_none() {
            self.refuse(key, expected);
        }
        share
    }

    /// A port range without port 0.
    pub fn ports(&self, key: &str) -> Option<PortRange> {
        let value = self.get(key)?;
        let expected = "a port range such as \"32768-60999\"";
        let Kind::Text(text) = &value.kind else {
            self.wrong(key, value, expected);
            return None;
        };
        parse_ports(text)
            .map_err(|problem| {
                let message = format!("`{}` is no port range", self.path(key));
                self.push(
                    Diagnostic::new(&value.span, message, problem)
                        .help("write \"first-last\", each 1 to 65535, the lower one first"),
                );
            })
            .ok()
    }

    /// An IPv4 address.
    pub fn address(&self, key: &str) -> Option<Ipv4Addr> {
        self.parsed(key, "an IPv4 address such as \"10.0.1.1\"")
    }

    /// An IPv4 network.
    pub fn network(&self, key: &str) -> Option<Ipv4Net> {
        self.parsed(key, "an IPv4 network such as \"100.64.0.0/10\"")
    }

    /// An IPv4 address and a port.
    pub fn endpoint(&self, key: &str) -> Option<Endpoint> {
        let address: std::net::SocketAddrV4 =
            self.parsed(key, "an address and a port such as \"203.0.113.10:80\"")?;
        if address.port() == 0 {
            self.refuse(key, "a port from 1 to 65535");
            return None;
        }
        Some(Endpoint::new(*address.ip(), address.port()))
    }

    fn parsed<T: FromStr>(&self, key: &str, expected: &str) -> Option<T> {
        let value = self.get(key)?;
        let Kind::Text(text) = &value.kind else {
            self.wrong(key, value, expected);
            return None;
        };
        let parsed = text.trim().parse().ok();
        if parsed.is_none() {
            self.refuse(key, expected);
        }
        parsed
    }

    /// Timer interrupts per second.
    pub fn hz(&self, key: &str) -> Option<u32> {
        let hz = self.integer(key, 1..=1_000_000)?;
        if [100, 250, 300, 1000].contains(&hz) {
            return Some(hz as u32);
        }
        self.refuse(key, "100, 250, 300 or 1000: the kernel's build options");
        None
    }

    /// A kernel profile.
    pub fn profile(&self, key: &str) -> Option<&'static Profile> {
        let name = match self.get(key).map(|value| &value.kind) {
            // `--set node.profile=4.19` is a float to TOML.
            Some(Kind::Float(_, text)) => text.as_str(),
            _ => self.text(key)?,
        };
        let found = profile::find(name);
        if found.is_none() {
            let message = format!("there is no kernel profile `{}`", shorten(name));
            let names: Vec<_> = Profile::ALL.iter().map(|profile| profile.name).collect();
            let mut diagnostic = Diagnostic::new(
                &self.span(key),
                message,
                format!("expected one of {}", names.join(", ")),
            );
            diagnostic.help =
                nearest(name, names.iter().copied()).map(|name| format!("did you mean \"{name}\"?"));
            self.push(diagnostic);
        }
        found
    }

    /// The word `none`, which some keys take for "not at all".
    pub fn is_none_word(&self, key: &str) -> bool {
        matches!(self.get(key).map(|value| &value.kind), Some(Kind::Text(text)) if text == "none")
    }

    /// Says that a value of several shapes has none of them.
    pub fn expected(&self, key: &str, expected: &str) {
        if let Some(value) = self.get(key) {
            if matches!(value.kind, Kind::Text(_)) {
                self.refuse(key, expected);
            } else {
                self.wrong(key, value, expected);
            }
        }
    }

    fn refuse_unknown_keys(&self) {
        // The keys of a table of switches are not in the table of keys.
        if self.path.ends_with(".sysctl") || self.path.ends_with(".kernel") {
            return;
        }
        let known: Vec<_> = keys::inside(&self.path).collect();
        for entry in self.entries() {
            if !known.contains(&entry.key.as_str()) {
                self.unknown(&self.path, &entry.key, &entry.key_span, &known);
            }
        }
    }

    /// Records an unknown key with the nearest known one.
    pub fn unknown(&self, path: &str, key: &str, span: &Span, known: &[&str]) {
        let place = if path.is_empty() {
            "at the top".to_owned()
        } else {
            format!("in `{path}`")
        };
        let message = format!("there is no key `{}` {place}", shorten(key));
        let help = nearest(key, known.iter().copied()).map_or_else(
            || elsewhere(key).unwrap_or_else(|| format!("known here: {}", known.join(", "))),
            |near| format!("did you mean `{near}`?"),
        );
        self.push(Diagnostic::new(span, message, "unknown key").help(help));
    }
}

/// A key or sysctl of that name in another table.
fn elsewhere(name: &str) -> Option<String> {
    let same = |full: &str| full == name || full.rsplit('.').next() == Some(name);
    if let Some(key) = keys::KEYS.iter().find(|key| same(key.path)) {
        return Some(format!("there is a key `{}`", key.path));
    }
    sysctl::tables_of(name).map(|tables| format!("it belongs under {tables}"))
}
