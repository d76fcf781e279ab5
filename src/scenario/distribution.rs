//! Reads distributions of durations: `"5ms"` or `{ lognormal = { median = "5ms", sigma = 0.5 } }` and the like.

use super::diagnostic::Diagnostic;
use super::document::{Kind, Value};
use super::reader::Reader;
use super::words::{nearest, shorten};
use crate::model::distribution::Distribution;
use crate::units::SimDuration;

/// The longest delay, service time or pause.
const MAX_DELAY: SimDuration = SimDuration::from_secs(86_400);
/// Sigma of a lognormal beyond which its tail is longer than any run.
const MAX_SIGMA: f64 = 4.0;

impl Reader<'_> {
    /// A distribution of durations, or one duration.
    pub fn distribution(&self, key: &str) -> Option<Distribution> {
        let value = self.get(key)?;
        let path = self.path(key);
        let Kind::Table(table) = &value.kind else {
            return self
                .duration(key, SimDuration::ZERO, MAX_DELAY)
                .map(Distribution::Constant);
        };
        let names = ["constant", "uniform", "exponential", "lognormal"];
        let [entry] = table.entries.as_slice() else {
            let message = format!("`{path}` is no distribution");
            self.push(
                Diagnostic::new(
                    &value.span,
                    message,
                    format!("expected one of {}", names.join(", ")),
                )
                .help("such as { lognormal = { median = \"5ms\", sigma = 0.5 } }, or simply \"5ms\""),
            );
            return None;
        };
        let inner = |key: &'static str| self.parameter(&path, &entry.value, key);
        let time = |key: &'static str| self.parameter_duration(&path, &inner(key)?);
        match entry.key.as_str() {
            "constant" => self
                .parameter_duration(&path, &entry.value)
                .map(Distribution::Constant),
            "uniform" => {
                self.only(&path, &entry.value, &["min", "max"]);
                let (min, max) = (time("min"), time("max"));
                let (min, max) = (min?, max?);
                if min > max {
                    self.push(Diagnostic::new(
                        &entry.value.span,
                        format!("`{path}` is upside down"),
                        "`min` is above `max`",
                    ));
                    return None;
                }
                Some(Distribution::Uniform { min, max })
            }
            "exponential" => {
                self.only(&path, &entry.value, &["mean"]);
                time("mean").map(|mean| Distribution::Exponential { mean })
            }
            "lognormal" => {
                self.only(&path, &entry.value, &["median", "sigma"]);
                let median = time("median");
                let sigma = inner("sigma").and_then(|value| self.sigma(&path, &value));
                Some(Distribution::Lognormal {
                    median: median?,
                    sigma: sigma?,
                })
            }
            other => {
                let message = format!("there is no distribution `{}`", shorten(other));
                let mut diagnostic = Diagnostic::new(
                    &entry.key_span,
                    message,
                    format!("expected one of {}", names.join(", ")),
                );
                diagnostic.help = nearest(other, names).map(|name| format!("did you mean `{name}`?"));
                self.push(diagnostic);
                None
            }
        }
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

    fn parameter_duration(&self, path: &str, value: &Value) -> Option<SimDuration> {
        let expected = "a duration such as \"5ms\"";
        let Kind::Text(text) = &value.kind else {
            self.wrong_at(path, value, expected, None);
            return None;
        };
        let Ok(duration) = text.parse() else {
            let message = format!("`{path}` is not what it should be");
            self.push(Diagnostic::new(
                &value.span,
                message,
                format!("expected {expected}"),
            ));
            return None;
        };
        self.bounded(path, &value.span, duration, SimDuration::ZERO, MAX_DELAY)
    }

    fn sigma(&self, path: &str, value: &Value) -> Option<f64> {
        let sigma = match value.kind {
            Kind::Float(number, _) => number,
            Kind::Integer(number) => number as f64,
            _ => f64::NAN,
        };
        if (0.0..=MAX_SIGMA).contains(&sigma) {
            return Some(sigma);
        }
        self.push(Diagnostic::new(
            &value.span,
            format!("`{path}` has no such sigma"),
            format!("expected a number from 0 to {MAX_SIGMA}"),
        ));
        None
    }
}
