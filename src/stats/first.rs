//! How long until something rare happens for the first time, from observations that may end before it does.

use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF};

/// A mean time with its 95 % interval; an end that nothing is known of is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MeanTime {
    /// Best estimate, s; `None`: it never happened.
    pub value: Option<f64>,
    /// Lower end, s.
    pub lo95: f64,
    /// Upper end, s; `None`: it never happened.
    pub hi95: Option<f64>,
}

/// The mean time to the first event, if waiting is exponential. Each observation is (seconds watched, whether the event
/// came then); one in which it did not come ends at its own end (type I censoring).
///
/// Estimate: total time by number of events. Interval: chi-square with 2r degrees of freedom for the upper end and 2r + 2
/// for the lower one, as events that may yet come are censored by time (Meeker and Escobar, Statistical Methods for
/// Reliability Data, 7.3). Without an event the lower end is one-sided: total time by -ln 0.05, the rule of three.
pub fn mean_time_to_first(observations: &[(f64, bool)]) -> MeanTime {
    let total: f64 = observations.iter().map(|(seconds, _)| seconds).sum();
    let events = observations.iter().filter(|(_, came)| *came).count() as f64;
    if events == 0.0 {
        return MeanTime {
            value: None,
            lo95: total / 20f64.ln(),
            hi95: None,
        };
    }
    let chi_square = |probability: f64, degrees: f64| {
        ChiSquared::new(degrees)
            .expect("degrees of freedom are positive")
            .inverse_cdf(probability)
    };
    MeanTime {
        value: Some(total / events),
        lo95: 2.0 * total / chi_square(0.975, 2.0 * events + 2.0),
        hi95: Some(2.0 * total / chi_square(0.025, 2.0 * events)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_the_textbooks() {
        // 10 events in 1,000 s: chi-square 0.975 with 22 degrees 36.781, 0.025 with 20 degrees 9.591.
        let mean = mean_time_to_first(&[(100.0, true); 10]);
        assert_eq!(mean.value, Some(100.0));
        assert!((mean.lo95 - 2_000.0 / 36.781).abs() < 0.01, "{mean:?}");
        assert!((mean.hi95.unwrap() - 2_000.0 / 9.591).abs() < 0.05, "{mean:?}");
    }

    #[test]
    fn what_never_came_takes_a_third_of_the_time_or_longer() {
        let mean = mean_time_to_first(&[(300.0, false); 10]);
        assert_eq!((mean.value, mean.hi95), (None, None));
        assert!((mean.lo95 - 3_000.0 / 2.9957).abs() < 0.1, "{mean:?}");
    }

    #[test]
    fn time_without_the_event_counts() {
        let mean = mean_time_to_first(&[(50.0, true), (100.0, false)]);
        assert_eq!(mean.value, Some(150.0));
    }
}
