//! Sizes of messages. A request draws its own from a number of its own, so that whoever holds it reads the same.

use rand::Rng;
use rand_distr::{Distribution as _, Exp1, StandardNormal};

use super::distribution::pareto;
use super::empirical::Empirical;
use crate::engine::SplitMix64;

/// Octets of the largest message.
pub const MAX_SIZE: u32 = 100_000_000;

/// A distribution over sizes in octets. What is drawn is rounded, at least 1 and at most [`MAX_SIZE`].
#[derive(Debug, Clone, PartialEq)]
pub enum Sizes {
    /// Always the same.
    Constant(u32),
    /// Uniform between both ends.
    Uniform {
        /// Smallest.
        min: u32,
        /// Largest.
        max: u32,
    },
    /// Exponential.
    Exponential {
        /// Mean.
        mean: u32,
    },
    /// Lognormal: `median * exp(sigma * z)`.
    Lognormal {
        /// Median.
        median: u32,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
    /// Pareto: `scale * u^(-1/shape)`.
    Pareto {
        /// Smallest.
        scale: u32,
        /// The smaller, the heavier the tail.
        shape: f64,
    },
    /// Measured ones.
    Empirical(Empirical),
}

impl Sizes {
    /// The size of whoever drew `own`.
    #[inline]
    pub fn of(&self, own: u64) -> u32 {
        match *self {
            Self::Constant(octets) => octets,
            _ => self.draw(own),
        }
    }

    #[inline(never)]
    fn draw(&self, own: u64) -> u32 {
        let mut rng = SplitMix64(own);
        let octets = match *self {
            Self::Constant(octets) => f64::from(octets),
            Self::Uniform { min, max } => {
                let span = u64::from(max.saturating_sub(min)) + 1;
                let above = (u128::from(rng.next_u64()) * u128::from(span)) >> 64;
                f64::from(min) + above as f64
            }
            Self::Exponential { mean } => {
                let standard: f64 = Exp1.sample(&mut rng);
                f64::from(mean) * standard
            }
            Self::Lognormal { median, sigma } => {
                let z: f64 = StandardNormal.sample(&mut rng);
                f64::from(median) * libm::exp(sigma * z)
            }
            Self::Pareto { scale, shape } => f64::from(scale) * pareto(shape, rng.next_u64()),
            Self::Empirical(ref list) => list.pick(rng.next_u64()) as f64,
        };
        octets.round().clamp(1.0, f64::from(MAX_SIZE)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(sizes: &Sizes) -> f64 {
        let draws = 40_000;
        let sum: u64 = (0..draws)
            .map(|number| u64::from(sizes.of(crate::engine::mix64(number + 1))))
            .sum();
        sum as f64 / draws as f64
    }

    #[test]
    fn means_are_those_of_the_distributions() {
        let list = Empirical::new(&[(100, 3.0), (10_000, 1.0)]).unwrap();
        for (sizes, expected) in [
            (Sizes::Constant(700), 700.0),
            (Sizes::Uniform { min: 100, max: 300 }, 200.0),
            (Sizes::Exponential { mean: 2_000 }, 2_000.0),
            (
                Sizes::Lognormal {
                    median: 1_000,
                    sigma: 0.5,
                },
                1_000.0 * libm::exp(0.125),
            ),
            (
                Sizes::Pareto {
                    scale: 1_000,
                    shape: 3.0,
                },
                1_500.0,
            ),
            (Sizes::Empirical(list), 2_575.0),
        ] {
            let found = mean(&sizes);
            assert!((found / expected - 1.0).abs() < 0.03, "{sizes:?}: {found}");
        }
    }

    #[test]
    fn a_size_is_never_empty_and_never_beyond_the_largest() {
        let tiny = Sizes::Exponential { mean: 1 };
        let huge = Sizes::Pareto {
            scale: 1,
            shape: 0.05,
        };
        let (mut smallest, mut largest) = (u32::MAX, 0);
        for number in 0..10_000 {
            let own = crate::engine::mix64(number);
            smallest = smallest.min(tiny.of(own));
            largest = largest.max(huge.of(own));
            assert_eq!(tiny.of(own), tiny.of(own), "the same number is the same size");
        }
        assert_eq!((smallest, largest), (1, MAX_SIZE));
    }
}
