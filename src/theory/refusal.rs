//! q: how often a pod refuses a SYN that meets TIME_WAIT.
//!
//! The rule is `tcp_timewait_state_process()`: with timestamps on both sides PAWS decides, otherwise the sequence
//! number (measured alike on 4.19, 5.10, 6.1 and 6.18).

/// What decides whether the new SYN looks newer than the old flow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decider {
    /// No timestamps on one side: unrelated initial sequence numbers.
    Sequence,
    /// Timestamps with an offset per 4-tuple (6.1.192, 6.12.117, 6.18).
    OffsetPerFourTuple,
    /// Timestamps with one offset per address pair (4.11 to early 2026), `n` equally used SLB addresses. An average over
    /// fixed outcomes: an ordered pair of addresses is refused always or never while both hosts stay up.
    OffsetPerAddressPair {
        /// SLB addresses.
        addresses: f64,
    },
    /// Timestamps without offset (`tcp_timestamps` = 2), `n` hosts with unrelated clocks.
    ClockPerHost {
        /// SLB hosts.
        hosts: f64,
    },
}

/// q across unrelated tuples. The same 4-tuple again is practically never refused, whatever decides.
pub fn share(decider: Decider) -> f64 {
    let between = |n: f64| (1.0 - 1.0 / n.max(1.0)) / 2.0;
    match decider {
        Decider::Sequence | Decider::OffsetPerFourTuple => 0.5,
        Decider::OffsetPerAddressPair { addresses } => between(addresses),
        Decider::ClockPerHost { hosts } => between(hosts),
    }
}
