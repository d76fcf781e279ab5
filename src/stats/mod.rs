//! Intervals for what a simulation counts: proportions, ratios over replications or batches, quantiles.
//!
//! Counts of hits are clustered: a hit leads to more hits on the same few ports, and orphans come in runs. Over seeds
//! their standard deviation was 1.3 to 2.4 times Poisson's, so a binomial interval of one run is too narrow. Rates
//! therefore take their spread from replications, or from contiguous batches of seconds where there are few
//! replications; rare events get an exact interval on counts divided by [`OVERDISPERSION`].

mod first;
mod prediction;
mod proportion;
mod ratio;

pub use first::{MeanTime, mean_time_to_first};
pub use prediction::{mean_and_deviation, prediction_interval_99, uniformity_p};
pub use proportion::{OVERDISPERSION, clopper_pearson, overdispersed_exact, wilson};
pub use ratio::{MIN_EVENTS, Sample, rate, ratio_of_sums};

use serde::Serialize;

/// How an interval was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Spread over independent replications, Student's t.
    Replications,
    /// Spread over contiguous batches of seconds, Student's t.
    BatchMeans,
    /// Wilson's score interval.
    Wilson,
    /// Clopper's and Pearson's exact interval.
    ClopperPearson,
}

/// A rate with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// Best estimate.
    pub value: f64,
    /// Lower end.
    pub lo95: f64,
    /// Upper end.
    pub hi95: f64,
    /// How the interval was made.
    pub method: Method,
}

impl Estimate {
    /// The estimate with both ends inside `[0, 1]` and around the value.
    fn proportion(value: f64, lo95: f64, hi95: f64, method: Method) -> Self {
        Self {
            value,
            lo95: lo95.clamp(0.0, 1.0).min(value),
            hi95: hi95.clamp(0.0, 1.0).max(value),
            method,
        }
    }
}

#[cfg(test)]
mod tests;
