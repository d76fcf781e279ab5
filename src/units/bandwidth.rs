//! Bandwidths, in whole bits per second.

use std::fmt;
use std::str::FromStr;

use super::{ParseUnitError, split_number};

/// Bits per second, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bandwidth {
    bits_per_second: u64,
}

/// Units with what they stand for, the largest first.
const UNITS: [(&str, u64); 5] = [
    ("Tbit/s", 1_000_000_000_000),
    ("Gbit/s", 1_000_000_000),
    ("Mbit/s", 1_000_000),
    ("kbit/s", 1_000),
    ("bit/s", 1),
];

impl Bandwidth {
    /// So many bits per second; `None` for none at all.
    pub const fn bits_per_second(bits_per_second: u64) -> Option<Self> {
        if bits_per_second == 0 {
            return None;
        }
        Some(Self { bits_per_second })
    }
    /// Bits per second.
    pub const fn as_bits_per_second(self) -> u64 {
        self.bits_per_second
    }
}

impl FromStr for Bandwidth {
    type Err = ParseUnitError;

    /// Accepts `"1Gbit/s"`, `"100Mbit/s"`, `"2.5Gbit/s"`, `"64kbit/s"`, `"9600bit/s"`.
    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let error = ParseUnitError {
            expected: "a bandwidth such as \"1Gbit/s\" or \"100Mbit/s\"",
        };
        let (scaled, unit) = split_number(text).ok_or_else(|| error.clone())?;
        let factor = UNITS.iter().find(|(name, _)| *name == unit);
        let bits = factor
            .and_then(|(_, factor)| scaled.checked_mul(u128::from(*factor)))
            .and_then(|bits| u64::try_from(bits / 1_000_000_000).ok());
        bits.and_then(Self::bits_per_second).ok_or(error)
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.iter().find(|(_, factor)| self.bits_per_second >= *factor);
        let (unit, factor) = whole.unwrap_or(&UNITS[4]);
        let number = self.bits_per_second as f64 / *factor as f64;
        write!(f, "{number} {unit}")
    }
}
