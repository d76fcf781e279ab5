//! Distributions of durations (service time, delay, think time). Transcendental functions come from a pure-Rust
//! library, so that the same draw is the same number on every machine.

use rand::Rng;
use rand_distr::{Distribution as _, Exp1, StandardNormal};

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
    /// Draws one duration.
    #[inline]
    pub fn sample(&self, rng: &mut impl Rng) -> SimDuration {
        // Every link asks for every packet, and most are constant.
        match *self {
            Self::Constant(value) => value,
            _ => self.draw(rng),
        }
    }

    #[inline(never)]
    fn draw(&self, rng: &mut impl Rng) -> SimDuration {
        match *self {
            Self::Constant(value) => value,
            Self::Uniform { min, max } => {
                let span = u128::from(max.saturating_sub(min).as_nanos()) + 1;
                min + SimDuration::from_nanos(((u128::from(rng.next_u64()) * span) >> 64) as u64)
            }
            Self::Exponential { mean } => {
                let standard: f64 = Exp1.sample(rng);
                SimDuration::from_secs_f64(mean.as_secs_f64() * standard)
            }
            Self::Lognormal { median, sigma } => {
                let z: f64 = StandardNormal.sample(rng);
                SimDuration::from_secs_f64(median.as_secs_f64() * libm::exp(sigma * z))
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
                SimDuration::from_secs_f64(median.as_secs_f64() * libm::exp(sigma * sigma / 2.0))
            }
        }
    }
}
