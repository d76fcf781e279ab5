//! Reads what only links have: loss in bursts, bandwidth, the queue in front of it.

use super::diagnostic::Diagnostic;
use super::document::{Kind, Value};
use super::reader::Reader;
use super::words::parse_size;
use crate::model::link::{Burst, QueueLimit};
use crate::units::Bandwidth;

/// Packets of a burst at most, on average.
const MAX_LENGTH: f64 = 1e6;
/// Below this a packet takes seconds, above it less than a nanosecond.
const BANDWIDTHS: std::ops::RangeInclusive<u64> = 1_000..=10_000_000_000_000;
/// The longest queue, packets or octets.
const MAX_QUEUE: u64 = 1_000_000_000;

/// A share as a number or in percent; `None`: it is none.
pub(super) fn share_of(value: &Value) -> Option<f64> {
    let share = match &value.kind {
        Kind::Float(number, _) => *number,
        Kind::Integer(number) => *number as f64,
        Kind::Text(text) => text.trim().strip_suffix('%')?.trim().parse::<f64>().ok()? / 100.0,
        _ => return None,
    };
    (0.0..=1.0).contains(&share).then_some(share)
}

impl Reader<'_> {
    /// The chance that a packet is lost, outside bursts if there are any.
    pub fn loss(&self, key: &str) -> Option<(f64, Option<Burst>)> {
        let value = self.get(key)?;
        let Kind::Table(table) = &value.kind else {
            return self.share(key).map(|share| (share, None));
        };
        let path = self.path(key);
        self.only(&path, value, &["burst"]);
        let burst = self.parameter(&path, value, "burst")?;
        if table.entries.len() > 1 {
            return None; // `only` has said so.
        }
        let path = format!("{path}.burst");
        self.only(&path, &burst, &["mean", "length", "inside", "outside"]);
        let share = |value: Option<Value>| self.burst_share(&path, &value?);
        let mean = share(self.parameter(&path, &burst, "mean"));
        let length = self.parameter(&path, &burst, "length");
        let length = length.and_then(|value| self.burst_length(&path, &value));
        let Kind::Table(inner) = &burst.kind else {
            return None;
        };
        let or = |name: &str, default: f64| match inner.get(name) {
            None => Some(default),
            Some(entry) => self.burst_share(&path, &entry.value),
        };
        let (inside, outside) = (or("inside", 1.0), or("outside", 0.0));
        let (mean, length, inside, outside) = (mean?, length?, inside?, outside?);
        if mean == 0.0 && outside == 0.0 {
            return Some((0.0, None));
        }
        let found = Burst::of(mean, length, inside, outside);
        if found.is_none() {
            self.push(
                Diagnostic::new(
                    &burst.span,
                    format!("`{path}` cannot be"),
                    "no such bursts lose this share",
                )
                .help("`outside` < `mean` < `inside`, and `length` longer the larger `mean` is: at a mean of 60 % bursts of 2 packets"),
            );
        }
        found.map(|burst| (outside, Some(burst)))
    }

    fn burst_share(&self, path: &str, value: &Value) -> Option<f64> {
        let share = share_of(value);
        if share.is_none() {
            self.wrong_value(path, value, "a share from 0 to 1, such as 0.001 or \"0.1%\"");
        }
        share
    }

    fn burst_length(&self, path: &str, value: &Value) -> Option<f64> {
        let length = match &value.kind {
            Kind::Float(number, _) => *number,
            Kind::Integer(number) => *number as f64,
            _ => f64::NAN,
        };
        if (1.0..=MAX_LENGTH).contains(&length) {
            return Some(length);
        }
        self.wrong_value(
            path,
            value,
            "a mean number of packets from 1 to 1000000, such as 5",
        );
        None
    }

    fn wrong_value(&self, path: &str, value: &Value, expected: &str) {
        let message = format!("`{path}` is not what it should be");
        self.push(Diagnostic::new(
            &value.span,
            message,
            format!("expected {expected}"),
        ));
    }

    /// A bandwidth.
    pub fn bandwidth(&self, key: &str) -> Option<Bandwidth> {
        let value = self.get(key)?;
        let expected = "a bandwidth such as \"1Gbit/s\", from 1kbit/s to 10Tbit/s, or \"none\"";
        let Kind::Text(text) = &value.kind else {
            self.expected(key, expected);
            return None;
        };
        let parsed: Option<Bandwidth> = text.parse().ok();
        let parsed = parsed.filter(|bandwidth| BANDWIDTHS.contains(&bandwidth.as_bits_per_second()));
        if parsed.is_none() {
            self.expected(key, expected);
        }
        parsed
    }

    /// What may wait: packets or octets.
    pub fn queue(&self, key: &str) -> Option<QueueLimit> {
        let value = self.get(key)?;
        let within = |number: u64| (number <= MAX_QUEUE).then_some(number as u32);
        let limit = match &value.kind {
            Kind::Text(text) => parse_size(text).and_then(within).map(QueueLimit::Octets),
            Kind::Integer(number) => u64::try_from(*number)
                .ok()
                .and_then(within)
                .map(QueueLimit::Packets),
            _ => None,
        };
        if limit.is_none() {
            self.expected(
                key,
                "packets such as 100, or octets such as \"64kB\", up to 1000000000, or \"none\"",
            );
        }
        limit
    }
}
