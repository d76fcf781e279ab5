//! Where one more draw lies, given replications of it; and whether ranks among replications are uniform.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// Chance of either tail of the central 99 %.
const TAIL: f64 = 0.005;

/// Below this mean a count is rare: its replications say little of its upper tail.
const RARE: f64 = 10.0;

/// Mean and standard deviation of at least two values.
pub fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0)).sqrt())
}

/// The central 99 % of what one more draw may be, given at least two independent draws that are not negative.
///
/// From 199 draws on: order statistics. A further draw falls between the k-th smallest and the k-th largest of n with
/// probability 1 - 2k/(n + 1) whatever the distribution is (Wilks 1941), so k = 1 at 199 and 200 gives 99 %, and nothing
/// need be assumed of counts that are clustered, bounded or nearly constant. The width is zero only if all draws agree,
/// and 199 of those do leave less than 0.5 % for another value.
///
/// Fewer draws cannot give 99 % that way: Student's t prediction interval, which widens as they get fewer, joined with
/// the range of the draws; for rare counts joined with the gamma-Poisson prediction under Jeffreys' prior as well, which
/// has a width even if all draws are zero.
pub fn prediction_interval_99(draws: &[f64]) -> (f64, f64) {
    let mut sorted = draws.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let rank = (TAIL * (n + 1) as f64).floor() as usize;
    if rank >= 1 {
        return (sorted[rank - 1], sorted[n - rank]);
    }
    let (mean, deviation) = mean_and_deviation(draws);
    let t = StudentsT::new(0.0, 1.0, n as f64 - 1.0)
        .expect("two draws give one degree of freedom")
        .inverse_cdf(1.0 - TAIL);
    let half = t * deviation * (1.0 + 1.0 / n as f64).sqrt();
    let mut interval = (
        (mean - half).max(0.0).min(sorted[0]),
        (mean + half).max(sorted[n - 1]),
    );
    if mean < RARE && draws.iter().all(|draw| draw.fract() == 0.0) {
        let (low, high) = gamma_poisson_99(draws.iter().sum(), n as f64);
        interval = (interval.0.min(low), interval.1.max(high));
    }
    interval
}

/// The central 99 % of a further Poisson count after `total` events in `n` counts, under Jeffreys' prior: a negative
/// binomial distribution with `total` + 1/2 successes and success probability n / (n + 1).
fn gamma_poisson_99(total: f64, n: f64) -> (f64, f64) {
    let shape = total + 0.5;
    let success = n / (n + 1.0);
    let mut probability = success.powf(shape);
    let (mut count, mut below) = (0.0, 0.0);
    let mut low = None;
    loop {
        below += probability;
        if low.is_none() && below > TAIL {
            low = Some(count);
        }
        if below >= 1.0 - TAIL {
            return (low.unwrap_or(count), count);
        }
        probability *= (count + shape) / (count + 1.0) * (1.0 - success);
        count += 1.0;
    }
}

/// Kolmogorov's and Smirnov's test that `values` within 0 to 1 are uniform: the p-value, by Stephens' formula (1970), good
/// to a few percent of itself from 8 values on.
pub fn uniformity_p(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let gap = |(index, value): (usize, &f64)| {
        let index = index as f64;
        (value - index / n).max((index + 1.0) / n - value)
    };
    let largest = sorted.iter().enumerate().map(gap).fold(0.0, f64::max);
    let lambda = (n.sqrt() + 0.12 + 0.11 / n.sqrt()) * largest;
    // The series does not converge towards 0, where the p-value is 1 to many digits.
    if lambda < 0.2 {
        return 1.0;
    }
    let term = |k: i32| f64::from(1 - 2 * ((k - 1) % 2)) * (-2.0 * f64::from(k * k) * lambda * lambda).exp();
    (2.0 * (1..=100).map(term).sum::<f64>()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::SplitMix64;
    use rand::RngExt;

    fn uniform(rng: &mut SplitMix64, n: usize) -> Vec<f64> {
        (0..n).map(|_| rng.random::<f64>()).collect()
    }

    /// Roughly normal counts around 100, clustered: sums of twelve uniforms, scaled.
    fn counts(rng: &mut SplitMix64, n: usize) -> Vec<f64> {
        let mut count = || (100.0 + 15.0 * (uniform(rng, 12).iter().sum::<f64>() - 6.0)).round();
        (0..n).map(|_| count()).collect()
    }

    #[test]
    fn one_draw_in_a_hundred_lies_outside_however_many_replications_there_are() {
        let mut rng = SplitMix64(7);
        for n in [4, 8, 40, 199, 200, 1000] {
            let trials = 4000;
            let outside = (0..trials)
                .filter(|_| {
                    let (low, high) = prediction_interval_99(&counts(&mut rng, n));
                    !(low..=high).contains(&counts(&mut rng, 1)[0])
                })
                .count();
            let share = outside as f64 / f64::from(trials);
            assert!((0.004..0.016).contains(&share), "{n}: {share}");
        }
    }

    #[test]
    fn few_draws_give_a_wider_interval_and_no_draw_lies_outside_it() {
        let mut rng = SplitMix64(3);
        let mut width = |n| -> f64 {
            let draws = counts(&mut rng, n);
            let (low, high) = prediction_interval_99(&draws);
            assert!(draws.iter().all(|draw| (low..=high).contains(draw)));
            high - low
        };
        let mut mean_width = |n| (0..200).map(|_| width(n)).sum::<f64>();
        assert!(mean_width(4) > 1.3 * mean_width(8) && mean_width(8) > 1.1 * mean_width(200));
    }

    #[test]
    fn zeros_allow_a_count_while_they_are_few_and_none_when_they_are_many() {
        for (n, high) in [(2, 3.0), (4, 2.0), (8, 1.0), (60, 1.0), (200, 0.0)] {
            assert_eq!(prediction_interval_99(&vec![0.0; n]), (0.0, high), "{n}");
        }
        let mut one_in_two_hundred = vec![0.0; 200];
        one_in_two_hundred[17] = 1.0;
        assert_eq!(prediction_interval_99(&one_in_two_hundred), (0.0, 1.0));
    }

    #[test]
    fn uniform_values_pass_and_shifted_or_crowded_ones_fail() {
        let mut rng = SplitMix64(11);
        let failed = (0..2000)
            .filter(|_| uniformity_p(&uniform(&mut rng, 32)) < 0.01)
            .count();
        assert!((8..40).contains(&failed), "{failed} of 2000");
        let spread: Vec<f64> = (0..40).map(|n| (f64::from(n) + 0.5) / 40.0).collect();
        assert!(uniformity_p(&spread) > 0.999);
        let shifted: Vec<f64> = spread.iter().map(|value| value.sqrt()).collect();
        assert!(uniformity_p(&shifted) < 0.01);
        // A prediction that is too wide puts every measurement into its middle.
        let crowded: Vec<f64> = spread.iter().map(|value| 0.5 + (value - 0.5) / 3.0).collect();
        assert!(uniformity_p(&crowded) < 0.01);
    }
}
