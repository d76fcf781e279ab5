//! Reads distributions of durations and sizes: `"5ms"` or `{ lognormal = { median = "5ms", sigma = 0.5 } }` and the like.

use csv::StringRecord;

use super::diagnostic::Diagnostic;
use super::document::{Entry, Kind, Value};
use super::reader::Reader;
use super::words::{nearest, parse_seconds, parse_size, shorten};
use crate::model::distribution::Distribution;
use crate::model::empirical::Empirical;
use crate::model::sizes::{MAX_SIZE, Sizes};
use crate::units::SimDuration;

/// The longest delay, service time or pause.
const MAX_DELAY: SimDuration = SimDuration::from_secs(86_400);
/// Sigma of a lognormal beyond which its tail is longer than any run.
const MAX_SIGMA: f64 = 4.0;
/// Shapes of a Pareto: below, half of what is drawn is beyond any run; above, it is all but constant.
const SHAPES: (f64, f64) = (0.1, 100.0);
/// Values of a list at most.
const MAX_VALUES: usize = 1_000_000;
/// The distributions.
const NAMES: [&str; 6] = [
    "constant",
    "uniform",
    "exponential",
    "lognormal",
    "pareto",
    "empirical",
];

/// What is distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// Durations, in nanoseconds.
    Time,
    /// Sizes, in octets.
    Octets,
}

/// A distribution over whole units.
enum Shape {
    Constant(u64),
    Uniform(u64, u64),
    Exponential(u64),
    Lognormal(u64, f64),
    Pareto(u64, f64),
    Empirical(Empirical),
}

impl Unit {
    const fn expected(self) -> &'static str {
        match self {
            Self::Time => "a duration such as \"5ms\"",
            Self::Octets => "a size such as \"200B\" or \"2kB\", 1 to 100 MB",
        }
    }

    const fn example(self) -> &'static str {
        match self {
            Self::Time => "such as { lognormal = { median = \"5ms\", sigma = 0.5 } }, or simply \"5ms\"",
            Self::Octets => "such as { lognormal = { median = \"2kB\", sigma = 1.5 } }, or simply \"2kB\"",
        }
    }

    /// What a row of a file says: seconds, or octets, if it says no unit.
    fn parse(self, text: &str) -> Option<u64> {
        match self {
            Self::Time => parse_seconds(text)
                .filter(|duration| *duration <= MAX_DELAY)
                .map(SimDuration::as_nanos),
            Self::Octets => text
                .parse()
                .ok()
                .or_else(|| parse_size(text))
                .filter(|octets| (1..=u64::from(MAX_SIZE)).contains(octets)),
        }
    }
}

impl Reader<'_> {
    /// A distribution of durations, or one duration.
    pub fn distribution(&self, key: &str) -> Option<Distribution> {
        let value = self.get(key)?;
        if !matches!(value.kind, Kind::Table(_)) {
            return self
                .duration(key, SimDuration::ZERO, MAX_DELAY)
                .map(Distribution::Constant);
        }
        let time = SimDuration::from_nanos;
        Some(match self.shape(key, value, Unit::Time)? {
            Shape::Constant(nanos) => Distribution::Constant(time(nanos)),
            Shape::Uniform(min, max) => Distribution::Uniform {
                min: time(min),
                max: time(max),
            },
            Shape::Exponential(mean) => Distribution::Exponential { mean: time(mean) },
            Shape::Lognormal(median, sigma) => Distribution::Lognormal {
                median: time(median),
                sigma,
            },
            Shape::Pareto(scale, shape) => Distribution::Pareto {
                scale: time(scale),
                shape,
            },
            Shape::Empirical(list) => Distribution::Empirical(list),
        })
    }

    /// A distribution of sizes, or one size.
    pub fn sizes(&self, key: &str) -> Option<Sizes> {
        let value = self.get(key)?;
        if !matches!(value.kind, Kind::Table(_)) {
            return self.size(key).map(Sizes::Constant);
        }
        // None is beyond the largest size.
        let octets = |octets: u64| octets as u32;
        Some(match self.shape(key, value, Unit::Octets)? {
            Shape::Constant(size) => Sizes::Constant(octets(size)),
            Shape::Uniform(min, max) => Sizes::Uniform {
                min: octets(min),
                max: octets(max),
            },
            Shape::Exponential(mean) => Sizes::Exponential { mean: octets(mean) },
            Shape::Lognormal(median, sigma) => Sizes::Lognormal {
                median: octets(median),
                sigma,
            },
            Shape::Pareto(scale, shape) => Sizes::Pareto {
                scale: octets(scale),
                shape,
            },
            Shape::Empirical(list) => Sizes::Empirical(list),
        })
    }

    fn shape(&self, key: &str, value: &Value, unit: Unit) -> Option<Shape> {
        let path = self.path(key);
        let entries: &[Entry] = match &value.kind {
            Kind::Table(table) => &table.entries,
            _ => &[],
        };
        let [entry] = entries else {
            let message = format!("`{path}` is no distribution");
            let label = format!("expected one of {}", NAMES.join(", "));
            self.push(Diagnostic::new(&value.span, message, label).help(unit.example()));
            return None;
        };
        let inner = |key: &'static str| self.parameter(&path, &entry.value, key);
        let quantity = |key: &'static str| self.quantity(&path, &inner(key)?, unit);
        match entry.key.as_str() {
            "constant" => self.quantity(&path, &entry.value, unit).map(Shape::Constant),
            "uniform" => {
                self.only(&path, &entry.value, &["min", "max"]);
                let (min, max) = (quantity("min"), quantity("max"));
                let (min, max) = (min?, max?);
                if min > max {
                    self.push(Diagnostic::new(
                        &entry.value.span,
                        format!("`{path}` is upside down"),
                        "`min` is above `max`",
                    ));
                    return None;
                }
                Some(Shape::Uniform(min, max))
            }
            "exponential" => {
                self.only(&path, &entry.value, &["mean"]);
                quantity("mean").map(Shape::Exponential)
            }
            "lognormal" => {
                self.only(&path, &entry.value, &["median", "sigma"]);
                let median = quantity("median");
                let sigma =
                    inner("sigma").and_then(|value| self.within(&path, &value, "sigma", (0.0, MAX_SIGMA)));
                Some(Shape::Lognormal(median?, sigma?))
            }
            "pareto" => {
                self.only(&path, &entry.value, &["scale", "shape"]);
                let scale = quantity("scale");
                let shape = inner("shape").and_then(|value| self.within(&path, &value, "shape", SHAPES));
                Some(Shape::Pareto(scale?, shape?))
            }
            "empirical" => self.empirical(&path, &entry.value, unit).map(Shape::Empirical),
            other => {
                let message = format!("there is no distribution `{}`", shorten(other));
                let mut diagnostic = Diagnostic::new(
                    &entry.key_span,
                    message,
                    format!("expected one of {}", NAMES.join(", ")),
                );
                diagnostic.help = nearest(other, NAMES).map(|name| format!("did you mean `{name}`?"));
                self.push(diagnostic);
                None
            }
        }
    }

    /// A list of values with or without weights, in the scenario or in a file.
    fn empirical(&self, path: &str, value: &Value, unit: Unit) -> Option<Empirical> {
        let rows = match &value.kind {
            Kind::Text(name) => {
                let row = |record: &StringRecord| weighted_row(record, unit);
                self.table_file(path, &value.span, name, MAX_VALUES, row)?
            }
            Kind::Array(items) => {
                let rows: Vec<_> = items
                    .iter()
                    .map(|item| self.weighted_item(path, item, unit))
                    .collect();
                // Every item says for itself what is wrong with it.
                rows.into_iter().collect::<Option<Vec<_>>>()?
            }
            _ => {
                let expected = "a list of values, or the name of a CSV file with values and weights";
                self.wrong_at(path, value, expected, None);
                return None;
            }
        };
        let list = Empirical::new(&rows);
        if list.is_none() {
            self.push(Diagnostic::new(
                &value.span,
                format!("`{path}` has nothing to draw from"),
                "expected a value whose weight is not zero",
            ));
        }
        list
    }

    fn weighted_item(&self, path: &str, item: &Value, unit: Unit) -> Option<(u64, f64)> {
        let Kind::Table(_) = item.kind else {
            return self.quantity(path, item, unit).map(|value| (value, 1.0));
        };
        self.only(path, item, &["value", "weight"]);
        let value = self
            .parameter(path, item, "value")
            .and_then(|value| self.quantity(path, &value, unit));
        let weight = self
            .parameter(path, item, "weight")
            .and_then(|value| self.within(path, &value, "weight", (0.0, 1e12)));
        value.zip(weight)
    }

    /// A parameter of a value that is a table of them.
    pub(super) fn parameter(&self, path: &str, value: &Value, key: &str) -> Option<Value> {
        let Kind::Table(table) = &value.kind else {
            return None; // `only` has said so.
        };
        let found = table.get(key).map(|entry| entry.value.clone());
        if found.is_none() {
            let message = format!("`{path}` lacks `{key}`");
            self.push(Diagnostic::new(&value.span, message, format!("needs `{key}`")));
        }
        found
    }

    /// Refuses what is no table, and keys that a table must not have.
    pub(super) fn only(&self, path: &str, value: &Value, keys: &[&str]) {
        let Kind::Table(table) = &value.kind else {
            let expected = format!("a table with {}", keys.join(" and "));
            self.wrong_at(path, value, &expected, None);
            return;
        };
        for entry in &table.entries {
            if !keys.contains(&entry.key.as_str()) {
                self.unknown(path, &entry.key, &entry.key_span, keys);
            }
        }
    }

    fn quantity(&self, path: &str, value: &Value, unit: Unit) -> Option<u64> {
        let expected = unit.expected();
        let refuse = || {
            let message = format!("`{path}` is not what it should be");
            self.push(Diagnostic::new(
                &value.span,
                message,
                format!("expected {expected}"),
            ));
        };
        match (&value.kind, unit) {
            (Kind::Text(text), Unit::Time) => {
                let Ok(duration) = text.parse() else {
                    refuse();
                    return None;
                };
                self.bounded(path, &value.span, duration, SimDuration::ZERO, MAX_DELAY)
                    .map(SimDuration::as_nanos)
            }
            (Kind::Text(_) | Kind::Integer(_), Unit::Octets) => {
                let octets = value.words().and_then(|words| unit.parse(words.trim()));
                if octets.is_none() {
                    refuse();
                }
                octets
            }
            _ => {
                self.wrong_at(path, value, expected, None);
                None
            }
        }
    }

    /// A number between two others, both included.
    fn within(&self, path: &str, value: &Value, name: &str, (least, most): (f64, f64)) -> Option<f64> {
        let number = match value.kind {
            Kind::Float(number, _) => number,
            Kind::Integer(number) => number as f64,
            _ => f64::NAN,
        };
        if (least..=most).contains(&number) {
            return Some(number);
        }
        self.push(Diagnostic::new(
            &value.span,
            format!("`{path}` has no such {name}"),
            format!("expected a number from {least} to {most}"),
        ));
        None
    }
}

/// A row of a file: a value, and its weight if there is a second column.
fn weighted_row(record: &StringRecord, unit: Unit) -> Result<(u64, f64), String> {
    let expected = || {
        let value = match unit {
            Unit::Time => "seconds or a duration, up to a day",
            Unit::Octets => "octets or a size, 1 to 100 MB",
        };
        format!("{value}, then perhaps a weight")
    };
    let value = record.get(0).and_then(|text| unit.parse(text));
    let weight = match record.get(1).filter(|text| !text.is_empty()) {
        None => Some(1.0),
        Some(text) => text.parse().ok(),
    };
    let weight = weight.filter(|weight: &f64| (0.0..=1e12).contains(weight));
    value.zip(weight).ok_or_else(expected)
}
