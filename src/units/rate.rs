//! Rates of events, kept in whole millionths of an event per second.

use std::fmt;
use std::str::FromStr;

use super::{ParseUnitError, split_number};

/// Events per second, exact to a millionth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Rate {
    micro_per_second: u64,
}

impl Rate {
    /// So many events per second.
    pub const fn per_second(n: u64) -> Self {
        Self {
            micro_per_second: n * 1_000_000,
        }
    }
    /// Events per second.
    pub fn as_per_second(self) -> f64 {
        self.micro_per_second as f64 / 1e6
    }
    /// Whether nothing ever happens.
    pub const fn is_zero(self) -> bool {
        self.micro_per_second == 0
    }
}

impl FromStr for Rate {
    type Err = ParseUnitError;

    /// Accepts `"350/s"`, `"1200/min"`, `"0.5/s"`, `"90/h"`.
    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let error = ParseUnitError {
            expected: "a rate such as \"350/s\" or \"1200/min\"",
        };
        let (scaled, unit) = split_number(text).ok_or_else(|| error.clone())?;
        let seconds: u128 = match unit.strip_prefix('/').map(str::trim) {
            Some("s") => 1,
            Some("min" | "m") => 60,
            Some("h") => 3_600,
            _ => return Err(error),
        };
        u64::try_from(scaled / 1_000 / seconds)
            .map(|micro_per_second| Self { micro_per_second })
            .map_err(|_| error)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.as_per_second())
    }
}
