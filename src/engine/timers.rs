//! When a kernel timer really fires.

use crate::units::{SimDuration, SimTime};

/// The timer wheel of one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelTimers {
    /// Timer interrupts per second.
    pub hz: u32,
    /// The host's jiffies at the start of the run, as a time since its wheel's zero: hosts do not boot together.
    pub phase: SimDuration,
}

impl KernelTimers {
    /// When a timer armed at `now` for `timeout` fires.
    pub fn expiry(&self, now: SimTime, timeout: SimDuration) -> SimTime {
        now + timeout
    }
}
