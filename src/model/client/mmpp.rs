//! Markov-modulated Poisson process: the rate jumps between states that last for exponential times (Fischer and
//! Meier-Hellstern, "The Markov-modulated Poisson process (MMPP) cookbook", Performance Evaluation 18, 1993).

use std::sync::Arc;

use rand::Rng;
use rand_distr::{Distribution as _, Exp1};

use crate::units::{Rate, SimDuration, SimTime};

/// One state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MmppState {
    /// Rate in it; may be zero.
    pub rate: Rate,
    /// Mean time in it.
    pub mean_dwell: SimDuration,
}

/// Which state follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextState {
    /// The next one of the list, after the last one the first.
    Cyclic,
    /// Each of the others with the same chance.
    EqualChance,
}

/// The process.
#[derive(Debug, Clone, PartialEq)]
pub struct Mmpp {
    /// Two or more.
    pub states: Arc<[MmppState]>,
    /// What follows on a state.
    pub next: NextState,
}

/// The state that a process is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    state: usize,
    until: SimTime,
}

impl Mmpp {
    /// Share of the time that each state takes: both orders visit all states equally often.
    fn shares(&self) -> impl Iterator<Item = f64> {
        let dwell = |state: &MmppState| state.mean_dwell.as_secs_f64();
        let total: f64 = self.states.iter().map(dwell).sum();
        self.states.iter().map(move |state| dwell(state) / total)
    }

    /// Mean rate per second in the long run.
    pub fn mean_rate(&self) -> f64 {
        let rates = self.states.iter().map(|state| state.rate.as_per_second());
        rates.zip(self.shares()).map(|(rate, share)| rate * share).sum()
    }

    /// Rate per second of the busiest state.
    pub fn highest_rate(&self) -> f64 {
        let rates = self.states.iter().map(|state| state.rate.as_per_second());
        rates.fold(0.0, f64::max)
    }

    /// Begins in a state with the chance of its share of the time, as if the process had always run; what is left of an
    /// exponential time is one as well.
    pub fn begin(&self, rng: &mut impl Rng) -> Phase {
        let mut left = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let mut state = 0;
        for (place, share) in self.shares().enumerate() {
            state = place;
            if left < share {
                break;
            }
            left -= share;
        }
        Phase {
            state,
            until: SimTime::ZERO + self.dwell(state, rng),
        }
    }

    fn dwell(&self, state: usize, rng: &mut impl Rng) -> SimDuration {
        let standard: f64 = Exp1.sample(rng);
        SimDuration::from_secs_f64(self.states[state].mean_dwell.as_secs_f64() * standard)
    }

    /// The next state and when it ends.
    fn follow(&self, phase: &mut Phase, rng: &mut impl Rng) {
        let count = self.states.len();
        phase.state = match self.next {
            NextState::Cyclic => (phase.state + 1) % count,
            NextState::EqualChance => {
                let others = count as u128 - 1;
                let step = ((u128::from(rng.next_u64()) * others) >> 64) as usize + 1;
                (phase.state + step) % count
            }
        };
        phase.until += self.dwell(phase.state, rng);
    }

    /// When the integral of the rate from `from` on reaches `area`; `None`: not before `end`.
    pub fn after(
        &self,
        from: SimTime,
        area: f64,
        end: SimTime,
        phase: &mut Phase,
        rng: &mut impl Rng,
    ) -> Option<SimTime> {
        let (mut at, mut area) = (from, area);
        loop {
            let rate = self.states[phase.state].rate.as_per_second();
            let inside = rate * phase.until.since(at).as_secs_f64();
            if area < inside {
                return Some(at + SimDuration::from_secs_f64(area / rate));
            }
            if phase.until > end {
                return None;
            }
            area -= inside;
            at = phase.until;
            self.follow(phase, rng);
        }
    }
}
