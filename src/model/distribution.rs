//! Distributions of durations (service time, delay, think time), sampled by inverse transform: one uniform number
//! per draw, so that a changed distribution leaves every other draw as it was.

use statrs::distribution::{ContinuousCDF, Normal};

use crate::units::SimDuration;

/// A distribution over durations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Always the same.
    Constant(SimDuration),
    /// Uniform between both ends.
    Uniform {
        /// Shortest.
        min: SimDuration,
        /// Longest.
        max: SimDuration,
    },
    /// Exponential.
    Exponential {
        /// Mean.
        mean: SimDuration,
    },
    /// Lognormal: `median * exp(sigma * z)`.
    Lognormal {
        /// Median.
        median: SimDuration,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
}

impl Distribution {
    /// The quantile at `u`, a uniform number in `[0, 1)`.
    pub fn quantile(&self, u: f64) -> SimDuration {
        match *self {
            Self::Constant(value) => value,
            Self::Uniform { min, max } => {
                min + SimDuration::from_secs_f64(max.saturating_sub(min).as_secs_f64() * u)
            }
            Self::Exponential { mean } => SimDuration::from_secs_f64(-mean.as_secs_f64() * (1.0 - u).ln()),
            Self::Lognormal { median, sigma } => {
                let z = Normal::standard().inverse_cdf(u.max(1e-16));
                SimDuration::from_secs_f64(median.as_secs_f64() * (sigma * z).exp())
            }
        }
    }

    /// Whether every draw is the same.
    pub const fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(_))
    }

    /// Mean of the distribution.
    pub fn mean(&self) -> SimDuration {
        match *self {
            Self::Constant(value) => value,
            Self::Uniform { min, max } => SimDuration::from_secs_f64((min + max).as_secs_f64() / 2.0),
            Self::Exponential { mean } => mean,
            Self::Lognormal { median, sigma } => {
                SimDuration::from_secs_f64(median.as_secs_f64() * (sigma * sigma / 2.0).exp())
            }
        }
    }
}
