//! Clients: when requests arrive, how long a client waits, when it asks again, and how long it keeps its connection.

mod diurnal;
mod mmpp;
mod profile;
mod retry;
mod trace;

pub use diurnal::Diurnal;
pub use mmpp::{Mmpp, MmppState, NextState, Phase};
pub use profile::{RatePoint, RateProfile};
pub use retry::{Backoff, Jitter, Retry, Throttling, Tokens};
pub use trace::Trace;

use rand::Rng;
use rand_distr::{Distribution as _, Exp1};

use super::distribution::Distribution;
use crate::units::{Rate, SimDuration, SimTime};

/// When a population sends its requests.
#[derive(Debug, Clone, PartialEq)]
pub enum Arrivals {
    /// Independent arrivals: exponential gaps.
    Poisson {
        /// Mean rate.
        rate: Rate,
    },
    /// Evenly spaced arrivals.
    Constant {
        /// Rate.
        rate: Rate,
    },
    /// Poisson at a rate that jumps between states at random.
    Mmpp(Mmpp),
    /// Poisson at a rate that is drawn by points: ramps and steps.
    Profile(RateProfile),
    /// Poisson at a rate that goes up and down with the time of day.
    Diurnal(Diurnal),
    /// Arrivals at times that are written down.
    Trace(Trace),
    /// `users` virtual users; each sends its next request when the last one has ended and its pause is over.
    ClosedLoop {
        /// Virtual users.
        users: u32,
        /// Pause between the end of a request and the next one.
        think_time: Distribution,
        /// Time from one request's start to the next one's, at least.
        pacing: Option<SimDuration>,
        /// The users begin one by one, evenly over this time.
        ramp_up: SimDuration,
    },
}

/// How far an open loop has got with its arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Progress {
    /// The last arrival that was worked out.
    pub last: SimTime,
    /// How many were.
    pub count: u64,
    /// The state that an MMPP is in, once it has begun.
    pub phase: Option<Phase>,
}

/// Mean gap between the arrivals of a rate.
fn gap(rate: Rate) -> SimDuration {
    SimDuration::from_nanos((1e9 / rate.as_per_second()).round() as u64)
}

impl Arrivals {
    /// When the next request of an open loop arrives; `None`: not before `end`, or it is a closed loop. `gaps` and `states`
    /// are two streams, so that the states of an MMPP do not depend on its rates.
    pub fn next(
        &self,
        progress: &mut Progress,
        end: SimTime,
        gaps: &mut impl Rng,
        states: &mut impl Rng,
    ) -> Option<SimTime> {
        let from = progress.last;
        // The integral of the rate from one arrival to the next is a unit exponential, whatever the rate does.
        let mut area = || -> f64 { Exp1.sample(gaps) };
        let at = match self {
            Self::Poisson { rate } => from + Distribution::Exponential { mean: gap(*rate) }.sample(gaps),
            Self::Constant { rate } => from + gap(*rate),
            Self::Mmpp(mmpp) => {
                let phase = progress.phase.get_or_insert_with(|| mmpp.begin(states));
                mmpp.after(from, area(), end, phase, states)?
            }
            Self::Profile(profile) => profile.after(from, area())?,
            Self::Diurnal(diurnal) => diurnal.after(from, area()),
            Self::Trace(trace) => trace.get(progress.count)?,
            Self::ClosedLoop { .. } => return None,
        };
        progress.last = at;
        progress.count += 1;
        Some(at)
    }

    /// Mean number of requests of an open loop in a run of this length; `None`: a closed loop.
    pub fn mean_count(&self, length: SimDuration) -> Option<f64> {
        let seconds = length.as_secs_f64();
        Some(match self {
            Self::Poisson { rate } | Self::Constant { rate } => rate.as_per_second() * seconds,
            Self::Mmpp(mmpp) => mmpp.mean_rate() * seconds,
            Self::Profile(profile) => profile.integral(length),
            Self::Diurnal(diurnal) => diurnal.integral(length),
            Self::Trace(trace) => trace.count_within(length) as f64,
            Self::ClosedLoop { .. } => return None,
        })
    }

    /// As [`Self::mean_count`], but what an MMPP may reach that never leaves its busiest state.
    pub fn highest_mean_count(&self, length: SimDuration) -> Option<f64> {
        match self {
            Self::Mmpp(mmpp) => Some(mmpp.highest_rate() * length.as_secs_f64()),
            _ => self.mean_count(length),
        }
    }

    /// The rate of a load that stays as it is.
    pub const fn steady_rate(&self) -> Option<Rate> {
        match self {
            Self::Poisson { rate } | Self::Constant { rate } => Some(*rate),
            _ => None,
        }
    }
}

/// A client keeps its connection to the SLB for further requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientKeepalive {
    /// The client closes a connection that was idle for so long; `None`: never.
    pub idle_timeout: Option<SimDuration>,
    /// The client closes a connection after so many requests; `None`: never.
    pub requests: Option<u32>,
}

#[cfg(test)]
mod tests;
