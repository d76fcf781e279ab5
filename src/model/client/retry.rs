//! What a client does when a try fails: whether it asks again, and when.

use crate::units::SimDuration;
use crate::vocab::Status;

/// Pauses between the tries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// Before the second try.
    pub initial: SimDuration,
    /// Factor from one pause to the next.
    pub multiplier: f64,
    /// The longest one.
    pub max: SimDuration,
}

/// What of a pause is drawn (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// Nothing.
    None,
    /// All of it: uniform from nothing to the whole pause.
    Full,
    /// Half of it: uniform from half of the pause to the whole.
    Equal,
}

/// Tokens that all clients of a population share; who has none does not try again (gRPC proposal A6, "Throttling
/// Retry Attempts and Hedged RPCs").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttling {
    /// Tokens at the start and at most. Nobody tries again while half of them or fewer are left.
    pub max_tokens: u32,
    /// Thousandths of a token that a success gives back; a failure takes a whole one.
    pub token_ratio_millis: u32,
}

/// The rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Tries in all, the first one included.
    pub max_attempts: u32,
    /// Statuses after which another try makes sense, in the order of [`Status::ALL`].
    pub on: [bool; Status::ALL.len()],
    /// Pauses.
    pub backoff: Backoff,
    /// What of them is drawn.
    pub jitter: Jitter,
    /// What bounds them in number; `None`: nothing.
    pub throttling: Option<Throttling>,
}

/// The tokens that are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tokens {
    millis: u64,
}

impl Retry {
    /// Whether another try makes sense after this status.
    pub fn is_on(&self, status: Status) -> bool {
        Status::ALL
            .iter()
            .zip(self.on)
            .any(|(&it, on)| on && it == status)
    }

    /// Tokens at the start.
    pub fn tokens(&self) -> Tokens {
        Tokens {
            millis: self.throttling.map_or(0, Throttling::most),
        }
    }

    /// Pause before the next try when `tries` have been made and the last one ended in `status`; `None`: the client gives
    /// up, or is content. `random` are 64 random bits.
    pub fn next(&self, tries: u32, status: Status, tokens: &mut Tokens, random: u64) -> Option<SimDuration> {
        let failed = self.is_on(status);
        if let Some(throttling) = self.throttling {
            tokens.count(throttling, status, failed);
        }
        let throttled = self
            .throttling
            .is_some_and(|throttling| tokens.millis <= throttling.most() / 2);
        (failed && tries < self.max_attempts && !throttled).then(|| self.pause(tries, random))
    }

    /// The pause after so many tries.
    fn pause(&self, tries: u32, random: u64) -> SimDuration {
        let Backoff {
            initial,
            multiplier,
            max,
        } = self.backoff;
        let grown = initial.as_secs_f64() * libm::pow(multiplier, f64::from(tries.saturating_sub(1)));
        let whole = SimDuration::from_secs_f64(grown).min(max);
        let part = |of: SimDuration| {
            let drawn = (u128::from(of.as_nanos()) * u128::from(random)) >> 64;
            SimDuration::from_nanos(drawn as u64)
        };
        match self.jitter {
            Jitter::None => whole,
            Jitter::Full => part(whole),
            Jitter::Equal => {
                let half = SimDuration::from_nanos(whole.as_nanos() / 2);
                half + part(whole.saturating_sub(half))
            }
        }
    }
}

impl Throttling {
    const fn most(self) -> u64 {
        self.max_tokens as u64 * 1_000
    }
}

impl Tokens {
    /// Takes a token for a failure, gives some back for a success; another status is neither.
    fn count(&mut self, throttling: Throttling, status: Status, failed: bool) {
        if failed {
            self.millis = self.millis.saturating_sub(1_000);
        } else if status == Status::Ok {
            let more = self.millis + u64::from(throttling.token_ratio_millis);
            self.millis = more.min(throttling.most());
        }
    }
}
