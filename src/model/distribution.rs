//! Distributions of durations (service time, delay, think time). Transcendental functions come from a pure-Rust
//! library, so that the same draw is the same number on every machine.

use rand::Rng;
use rand_distr::{Distribution as _, Exp1, StandardNormal};

use super::empirical::Empirical;
use crate::units::SimDuration;

/// A distribution over durations.
#[derive(Debug, Clone, PartialEq)]
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
    /// Pareto: `scale * u^(-1/shape)`. With a shape up to 1 its mean is infinite.
    Pareto {
        /// Shortest.
        scale: SimDuration,
        /// The smaller, the heavier the tail.
        shape: f64,
    },
    /// Measured ones, in nanoseconds.
    Empirical(Empirical),
}

/// A Pareto variate of scale 1 from 64 random bits, by inversion; infinite where a float cannot hold it.
pub(super) fn pareto(shape: f64, bits: u64) -> f64 {
    // In (0, 1]: the tail is where it goes to zero, and zero itself would be no number.
    let u = ((bits >> 11) + 1) as f64 / (1u64 << 53) as f64;
    libm::pow(u, -1.0 / shape)
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
            Self::Pareto { scale, shape } => {
                SimDuration::from_secs_f64(scale.as_secs_f64() * pareto(shape, rng.next_u64()))
            }
            Self::Empirical(ref list) => SimDuration::from_nanos(list.pick(rng.next_u64())),
        }
    }

    /// Whether every draw is the same.
    pub const fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(_))
    }

    /// Mean of the distribution; [`SimDuration::MAX`] if it is infinite.
    pub fn mean(&self) -> SimDuration {
        match *self {
            Self::Constant(value) => value,
            Self::Uniform { min, max } => SimDuration::from_secs_f64((min + max).as_secs_f64() / 2.0),
            Self::Exponential { mean } => mean,
            Self::Lognormal { median, sigma } => {
                SimDuration::from_secs_f64(median.as_secs_f64() * libm::exp(sigma * sigma / 2.0))
            }
            Self::Pareto { shape, .. } if shape <= 1.0 => SimDuration::MAX,
            Self::Pareto { scale, shape } => {
                SimDuration::from_secs_f64(scale.as_secs_f64() * (shape / (shape - 1.0)))
            }
            Self::Empirical(ref list) => SimDuration::from_secs_f64(list.mean() / 1e9),
        }
    }

    /// Mean of what is drawn if nothing takes longer than `limit`: a heavy tail says little of a run that ends.
    pub fn mean_within(&self, limit: SimDuration) -> SimDuration {
        let Self::Pareto { scale, shape } = *self else {
            return self.mean().min(limit);
        };
        if limit <= scale {
            return limit;
        }
        // E[min(X, l)]: the scale, and the tail's probability (s/x)^shape from there to the limit.
        let (s, ratio) = (scale.as_secs_f64(), limit.as_secs_f64() / scale.as_secs_f64());
        let tail = if (shape - 1.0).abs() < 1e-9 {
            libm::log(ratio)
        } else {
            (1.0 - libm::pow(ratio, 1.0 - shape)) / (shape - 1.0)
        };
        SimDuration::from_secs_f64(s * (1.0 + tail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::SplitMix64;

    #[test]
    fn a_pareto_follows_its_survival_function_and_is_cut_where_it_is_said() {
        for shape in [0.8, 1.0, 1.5, 3.0] {
            let law = Distribution::Pareto {
                scale: SimDuration::from_millis(10),
                shape,
            };
            let limit = SimDuration::from_secs(1);
            let (mut rng, draws) = (SplitMix64(3), 100_000);
            let (mut above, mut sum) = (0, 0.0);
            for _ in 0..draws {
                let drawn = law.sample(&mut rng);
                assert!(drawn >= SimDuration::from_millis(10));
                above += u32::from(drawn > SimDuration::from_millis(40));
                sum += drawn.min(limit).as_secs_f64();
            }
            let expected = libm::pow(0.25, shape) * f64::from(draws);
            assert!(
                (f64::from(above) - expected).abs() < 5.0 * expected.sqrt(),
                "{shape}: {above}"
            );
            let mean = law.mean_within(limit).as_secs_f64();
            assert!(
                (sum / f64::from(draws) / mean - 1.0).abs() < 0.03,
                "{shape}: {mean}"
            );
            assert_eq!(law.mean() == SimDuration::MAX, shape <= 1.0, "{shape}");
        }
        let law = Distribution::Pareto {
            scale: SimDuration::from_millis(10),
            shape: 3.0,
        };
        assert_eq!(law.mean(), SimDuration::from_millis(15));
    }

    #[test]
    fn a_tail_beyond_all_time_is_the_longest_duration() {
        let law = Distribution::Pareto {
            scale: SimDuration::from_secs(86_400),
            shape: 0.05,
        };
        let mut rng = SplitMix64(1);
        let longest = (0..1_000).map(|_| law.sample(&mut rng)).max();
        assert_eq!(longest, Some(SimDuration::MAX));
    }

    #[test]
    fn measured_durations_are_drawn_as_they_are() {
        let list = Empirical::new(&[(5_000_000, 1.0), (9_000_000, 1.0)]).unwrap();
        let law = Distribution::Empirical(list);
        let mut rng = SplitMix64(1);
        let drawn: std::collections::BTreeSet<_> =
            (0..100).map(|_| law.sample(&mut rng).as_nanos()).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [5_000_000, 9_000_000]);
        assert_eq!(law.mean(), SimDuration::from_millis(7));
    }
}
