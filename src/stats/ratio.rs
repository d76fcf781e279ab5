//! Ratios of sums over groups (replications, or batches of seconds), with Student's t on the linearised variance.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::{Estimate, Method, overdispersed_exact};

/// Below so many events (or non-events) a spread over groups says too little: the exact interval is used.
pub const MIN_EVENTS: u64 = 20;
/// From so many replications on, their spread gives the interval.
const MIN_REPLICATIONS: usize = 5;
/// Batches that all replications together are cut into, if there are few replications.
const BATCHES: usize = 20;
/// Fewer groups than this give no usable spread.
const MIN_GROUPS: usize = 5;

/// Events and trials of one group: a replication, a batch or a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// What is counted.
    pub events: u64,
    /// Of so many.
    pub trials: u64,
}

impl Sample {
    /// `events` of `trials`.
    pub const fn new(events: u64, trials: u64) -> Self {
        Self { events, trials }
    }
}

impl std::iter::Sum for Sample {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), |a, b| {
            Self::new(a.events + b.events, a.trials + b.trials)
        })
    }
}

/// The ratio of the sums over `groups` with the interval that the groups' spread gives: the ratio estimator's
/// linearised variance (Cochran, Sampling Techniques, 6.4) and Student's t with one degree of freedom less than groups.
/// `None` under two groups, without trials, or if the groups do not differ at all.
pub fn ratio_of_sums(groups: &[Sample], method: Method) -> Option<Estimate> {
    let total: Sample = groups.iter().copied().sum();
    if groups.len() < 2 || total.trials == 0 {
        return None;
    }
    let n = groups.len() as f64;
    let ratio = total.events as f64 / total.trials as f64;
    let squares: f64 = groups
        .iter()
        .map(|group| (group.events as f64 - ratio * group.trials as f64).powi(2))
        .sum();
    let mean_trials = total.trials as f64 / n;
    let standard_error = (squares / (n * (n - 1.0))).sqrt() / mean_trials;
    if standard_error <= 0.0 {
        return None;
    }
    let t = StudentsT::new(0.0, 1.0, n - 1.0)
        .expect("two groups give one degree of freedom")
        .inverse_cdf(0.975);
    let half = t * standard_error;
    Some(Estimate::proportion(ratio, ratio - half, ratio + half, method))
}

/// The rate of events per trial over all replications, each given second by second.
///
/// Five replications and more: their spread. Fewer: contiguous batches of seconds. Under [`MIN_EVENTS`] events, or as
/// many non-events, or where the groups give no spread: the over-dispersed exact interval.
pub fn rate(replications: &[Vec<Sample>]) -> Estimate {
    let total: Sample = replications.iter().flatten().copied().sum();
    let exact = overdispersed_exact(total.events, total.trials);
    let rare = total.events < MIN_EVENTS || total.trials.saturating_sub(total.events) < MIN_EVENTS;
    if rare {
        return exact;
    }
    if replications.len() >= MIN_REPLICATIONS {
        let groups: Vec<Sample> = replications
            .iter()
            .map(|seconds| seconds.iter().copied().sum())
            .collect();
        return ratio_of_sums(&groups, Method::Replications).unwrap_or(exact);
    }
    let groups = batches(replications);
    if groups.len() < MIN_GROUPS {
        return exact;
    }
    ratio_of_sums(&groups, Method::BatchMeans).unwrap_or(exact)
}

/// Cuts the replications into [`BATCHES`] contiguous batches in all, of lengths that differ by one second at most.
fn batches(replications: &[Vec<Sample>]) -> Vec<Sample> {
    let each = BATCHES.div_ceil(replications.len().max(1));
    let mut groups = Vec::with_capacity(BATCHES);
    for seconds in replications {
        let count = each.min(seconds.len());
        groups.extend((0..count).map(|batch| {
            let (from, to) = (batch * seconds.len() / count, (batch + 1) * seconds.len() / count);
            seconds[from..to].iter().copied().sum::<Sample>()
        }));
    }
    groups
}
