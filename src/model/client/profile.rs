//! A rate drawn by points: linear between two of them, a step where two share a time. Arrivals are Poisson at that rate, by
//! inversion of its integral, which is exact and takes one draw.

use std::sync::Arc;

use crate::units::{Rate, SimDuration, SimTime};

/// One point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RatePoint {
    /// Time since the start, or since the start of the period.
    pub at: SimDuration,
    /// Rate there.
    pub rate: Rate,
}

/// The rate over time. Before the first point and after the last one theirs holds.
#[derive(Debug, Clone, PartialEq)]
pub struct RateProfile {
    /// In order of time; at least one.
    points: Arc<[RatePoint]>,
    /// It begins anew after this time; no point lies beyond.
    period: Option<SimDuration>,
    /// Requests of a whole period; 0 without one.
    of_period: f64,
}

/// A piece of the profile on which the rate is a straight line, from a moment on.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// Rate per second at its beginning.
    first: f64,
    /// Rate per second at its end.
    last: f64,
    /// How long it takes; `None`: for ever.
    length: Option<SimDuration>,
}

impl Piece {
    /// Integral over the whole piece.
    fn area(&self, seconds: f64) -> f64 {
        f64::midpoint(self.first, self.last) * seconds
    }

    /// Seconds until the integral reaches `area`, which is inside.
    fn invert(&self, area: f64) -> f64 {
        let slope = match self.length.map(SimDuration::as_secs_f64) {
            Some(length) if length > 0.0 => (self.last - self.first) / length,
            _ => 0.0,
        };
        // The root of first*d + slope*d^2/2 = area, in the form that loses no digits when the slope is small.
        let root = (self.first * self.first + 2.0 * slope * area).max(0.0);
        2.0 * area / (self.first + root.sqrt())
    }
}

impl RateProfile {
    /// A profile of points in order of time, none of them after the period; `None` if there is no point.
    pub fn new(points: Vec<RatePoint>, period: Option<SimDuration>) -> Option<Self> {
        if points.is_empty() {
            return None;
        }
        let mut profile = Self {
            points: points.into(),
            period,
            of_period: 0.0,
        };
        if let Some(period) = period {
            profile.of_period = profile.integral_of_one(period);
        }
        Some(profile)
    }

    /// The piece from `at` on, counted inside the period if there is one.
    fn piece(&self, at: SimDuration) -> Piece {
        let points = &*self.points;
        let rate = |point: &RatePoint| point.rate.as_per_second();
        let next = points.partition_point(|point| point.at <= at);
        let to = |end: SimDuration| Some(end.saturating_sub(at));
        match (
            next.checked_sub(1).map(|before| &points[before]),
            points.get(next),
        ) {
            (Some(a), Some(b)) => {
                let share = at.saturating_sub(a.at).as_secs_f64() / b.at.saturating_sub(a.at).as_secs_f64();
                Piece {
                    first: rate(a) + (rate(b) - rate(a)) * share,
                    last: rate(b),
                    length: to(b.at),
                }
            }
            (None, Some(b)) => Piece {
                first: rate(b),
                last: rate(b),
                length: to(b.at),
            },
            (a, None) => {
                let rate = a.map_or(0.0, rate);
                Piece {
                    first: rate,
                    last: rate,
                    length: self.period.and_then(to),
                }
            }
        }
    }

    /// When the integral of the rate from `from` on reaches `area`; `None`: never.
    pub fn after(&self, from: SimTime, area: f64) -> Option<SimTime> {
        let mut area = area;
        let mut at = from;
        let mut inside = from.since(SimTime::ZERO);
        if let Some(period) = self.period {
            inside = SimDuration::from_nanos(inside.as_nanos() % period.as_nanos());
            if area >= self.of_period {
                // Whole periods at once: a low rate may need very many.
                let periods = (area / self.of_period).floor();
                if !periods.is_finite() || periods >= u64::MAX as f64 {
                    return None;
                }
                area -= periods * self.of_period;
                at += period.saturating_mul(periods as u64);
            }
        }
        loop {
            let piece = self.piece(inside);
            let Some(length) = piece.length else {
                let seconds = area / piece.first;
                return seconds
                    .is_finite()
                    .then(|| at + SimDuration::from_secs_f64(seconds));
            };
            let whole = piece.area(length.as_secs_f64());
            if area < whole {
                return Some(at + SimDuration::from_secs_f64(piece.invert(area)));
            }
            if at == SimTime::NEVER {
                return None;
            }
            area -= whole;
            at += length;
            inside = inside + length;
            if self.period.is_some_and(|period| inside >= period) {
                inside = SimDuration::ZERO;
            }
        }
    }

    /// Mean number of requests in this time from the start.
    pub fn integral(&self, length: SimDuration) -> f64 {
        match self.period {
            Some(period) => {
                let periods = length.as_nanos() / period.as_nanos();
                let rest = SimDuration::from_nanos(length.as_nanos() % period.as_nanos());
                periods as f64 * self.of_period + self.integral_of_one(rest)
            }
            None => self.integral_of_one(length),
        }
    }

    /// The same, up to one period.
    fn integral_of_one(&self, length: SimDuration) -> f64 {
        let (mut at, mut sum) = (SimDuration::ZERO, 0.0);
        while at < length {
            let piece = self.piece(at);
            let left = length.saturating_sub(at);
            let (part, last) = match piece.length {
                Some(whole) if whole <= left => (whole, piece.last),
                Some(whole) => {
                    let share = left.as_secs_f64() / whole.as_secs_f64();
                    (left, piece.first + (piece.last - piece.first) * share)
                }
                None => (left, piece.last),
            };
            sum += f64::midpoint(piece.first, last) * part.as_secs_f64();
            at = at + part;
        }
        sum
    }
}
