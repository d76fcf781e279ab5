//! Binomial intervals: Wilson, Clopper-Pearson, and the exact interval for over-dispersed rare counts.

use statrs::function::beta::beta_reg;

use super::{Estimate, Method};

/// By how much the variance of a rare clustered count exceeds the binomial one: the standard deviation over seeds was
/// at most 2.4 times Poisson's, and about 2 at the counts where this is used.
pub const OVERDISPERSION: f64 = 4.0;

/// The normal quantile at 0.975.
const Z95: f64 = 1.959_963_984_540_054;

/// Wilson's score interval (Wilson 1927) for independent draws.
pub fn wilson(events: u64, trials: u64) -> Estimate {
    if trials == 0 {
        return Estimate::proportion(0.0, 0.0, 1.0, Method::Wilson);
    }
    let (k, n) = (events as f64, trials as f64);
    let p = k / n;
    let z2 = Z95 * Z95;
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z95 / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    Estimate::proportion(p, centre - half, centre + half, Method::Wilson)
}

/// Clopper's and Pearson's exact interval (1934) for independent draws.
pub fn clopper_pearson(events: u64, trials: u64) -> Estimate {
    exact(events as f64, trials as f64)
}

/// The exact interval on the count and the trials, both divided by [`OVERDISPERSION`]: for rare events whose draws are
/// clustered. The beta quantiles do not need whole numbers. Never of zero width.
pub fn overdispersed_exact(events: u64, trials: u64) -> Estimate {
    exact(events as f64 / OVERDISPERSION, trials as f64 / OVERDISPERSION)
}

/// The exact interval for `k` events of `n` trials, both real numbers.
fn exact(k: f64, n: f64) -> Estimate {
    if n <= 0.0 {
        return Estimate::proportion(0.0, 0.0, 1.0, Method::ClopperPearson);
    }
    let k = k.min(n);
    let lo = if k > 0.0 {
        beta_quantile(0.025, k, n - k + 1.0)
    } else {
        0.0
    };
    let hi = if k < n {
        beta_quantile(0.975, k + 1.0, n - k)
    } else {
        1.0
    };
    Estimate::proportion(k / n, lo, hi, Method::ClopperPearson)
}

/// The quantile of the beta distribution, by bisection of its distribution function: the same bits on every machine
/// that computes the function the same, and precise for probabilities far below one in a million.
fn beta_quantile(q: f64, a: f64, b: f64) -> f64 {
    let (mut lo, mut hi) = (0.0_f64, 1.0_f64);
    // Narrow the order of magnitude first, so that tiny quantiles are as precise as large ones.
    while hi > 1e-300 && beta_reg(a, b, hi / 16.0) > q {
        hi /= 16.0;
    }
    for _ in 0..100 {
        let mid = f64::midpoint(lo, hi);
        if beta_reg(a, b, mid) < q {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    f64::midpoint(lo, hi)
}
