//! What the user sees: a client that leaves before the SLB's next SYN makes a 499 of a refusal.

/// How the SLB's kernel goes on after a refusal, and how long the client waits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Patience {
    /// Seconds that the client waits from the first SYN on.
    pub seconds: f64,
    /// When the SYNs leave.
    pub retry: Retry,
}

/// SYN times after a refusal; each is rounded *up* by the timer wheel, so that a patience of exactly 1.0 s does not see
/// the retry at 1 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// 0, 1, 3, 7 s: Linux before 5.6.
    Doubling,
    /// 0, 0.01, 2, 6 s: Linux 5.6 to 6.4.
    FastThenDoubling,
    /// 0, 0.01, 1, 2, 3, 4 s: Linux 6.5 and later (`tcp_syn_linear_timeouts`).
    FastThenLinear,
}

impl Retry {
    /// The times, seconds after the first SYN.
    pub const fn times(self) -> &'static [f64] {
        match self {
            Self::Doubling => &[0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0],
            Self::FastThenDoubling => &[0.0, 0.01, 2.0, 6.0, 14.0, 30.0, 62.0],
            Self::FastThenLinear => &[0.0, 0.01, 1.0, 2.0, 3.0, 4.0, 6.0, 10.0, 18.0, 34.0, 66.0],
        }
    }
}

impl Patience {
    /// SYNs that leave strictly before the client does, at least one.
    pub fn syns(self) -> i32 {
        let before = self.retry.times().iter().filter(|&&t| t < self.seconds).count();
        i32::try_from(before.max(1)).expect("a dozen times at most")
    }
}
