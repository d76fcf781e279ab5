//! A rate that goes up and down with the time of day: a sine around its mean. Arrivals are Poisson at that rate, by
//! inversion of its integral, which takes one draw.

use crate::units::{Rate, SimDuration, SimTime};

/// `rate * (1 + (peak_to_mean - 1) * cos(2 pi (t - peak_at) / period))`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Diurnal {
    /// Mean rate.
    pub rate: Rate,
    /// Highest rate divided by the mean, 1 to 2; at 2 nobody comes at the lowest point.
    pub peak_to_mean: f64,
    /// Length of a day.
    pub period: SimDuration,
    /// When in it the rate is highest.
    pub peak_at: SimDuration,
}

impl Diurnal {
    /// Angle of a time since the start, and how much a second adds to it.
    fn angle(&self, at: SimDuration) -> (f64, f64) {
        let turn = 2.0 * std::f64::consts::PI;
        let period = self.period.as_nanos();
        // Whole days are taken off before anything becomes a float.
        let inside = at.as_nanos() % period;
        let since_peak = inside as f64 - (self.peak_at.as_nanos() % period) as f64;
        (
            turn * since_peak / period as f64,
            turn / self.period.as_secs_f64(),
        )
    }

    /// Integral of the rate over `seconds` that begin at an angle.
    fn area(&self, angle: f64, speed: f64, seconds: f64) -> f64 {
        let swing = self.peak_to_mean - 1.0;
        // sin(x + y) - sin(x) as a product, for a short time is a small difference of large numbers.
        let half = speed * seconds / 2.0;
        let sines = 2.0 * libm::cos(angle + half) * libm::sin(half);
        self.rate.as_per_second() * (seconds + swing * sines / speed)
    }

    /// When the integral of the rate from `from` on reaches `area`.
    pub fn after(&self, from: SimTime, area: f64) -> SimTime {
        let (angle, speed) = self.angle(from.since(SimTime::ZERO));
        let (mean, swing) = (self.rate.as_per_second(), self.peak_to_mean - 1.0);
        // The sine adds or takes at most twice its amplitude.
        let (flat, most) = (area / mean, 2.0 * swing / speed);
        let (mut low, mut high) = ((flat - most).max(0.0), flat + most);
        let mut guess = flat;
        // Newton's steps, halving the bracket where one would leave it; the integral only rises.
        for _ in 0..200 {
            let excess = self.area(angle, speed, guess) - area;
            if excess > 0.0 {
                high = guess;
            } else {
                low = guess;
            }
            let rate = mean * (1.0 + swing * libm::cos(angle + speed * guess));
            let step = guess - excess / rate;
            let next = if step > low && step < high {
                step
            } else {
                f64::midpoint(low, high)
            };
            // A tenth of a nanosecond: less than a time can say.
            if (next - guess).abs() < 1e-10 || high - low < 1e-10 {
                guess = next;
                break;
            }
            guess = next;
        }
        from + SimDuration::from_secs_f64(guess)
    }

    /// Mean number of requests in this time from the start.
    pub fn integral(&self, length: SimDuration) -> f64 {
        let (angle, speed) = self.angle(SimDuration::ZERO);
        self.area(angle, speed, length.as_secs_f64())
    }
}
