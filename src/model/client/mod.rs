//! Clients: when requests arrive and how long a client waits.

use super::distribution::Distribution;
use crate::units::Rate;

/// When a population sends its requests.
#[derive(Debug, Clone, Copy, PartialEq)]
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
    /// `users` virtual users; each sends its next request a think time after the last one ended.
    ClosedLoop {
        /// Virtual users.
        users: u32,
        /// Pause between the end of a request and the next one.
        think_time: Distribution,
    },
}
