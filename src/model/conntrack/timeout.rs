//! How long an entry lives after an accepted segment, in whole jiffies.
//!
//! `nf_conntrack_tcp_packet()` (the choice) and `nf_ct_refresh()`, `nf_ct_is_expired()` (the arithmetic). There is no
//! timer: an entry is dead once the tick counter has reached the deadline, so unlike the pod's TIME_WAIT nothing is
//! rounded up by a timer wheel. Left out: the hosts' boot phase; ticks are counted from the start of the run.

use super::tcp_table::PacketClass;
use super::window::{Last, Side};
use super::{ConntrackConfig, State};
use crate::units::{SimDuration, SimTime};

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// Whole ticks of a clock of `hz` in so many nanoseconds; seconds apart from their fraction, so that 64 bits do.
fn ticks(nanos: u64, hz: u32) -> u64 {
    let hz = u64::from(hz);
    nanos / NANOS_PER_SEC * hz + nanos % NANOS_PER_SEC * hz / NANOS_PER_SEC
}

/// The moment from which the tick counter is at least `now`'s plus `timeout`.
pub(super) fn deadline(now: SimTime, timeout: SimDuration, hz: u32) -> SimTime {
    // Divisions by constants are multiplications, and every accepted packet comes through here.
    let nanos = match hz {
        100 => whole_ticks::<10_000_000>(now, timeout),
        250 => whole_ticks::<4_000_000>(now, timeout),
        1000 => whole_ticks::<1_000_000>(now, timeout),
        _ => {
            let tick = ticks(now.as_nanos(), hz) + ticks(timeout.as_nanos(), hz);
            let hz = u64::from(hz);
            let whole = (tick / hz).checked_mul(NANOS_PER_SEC);
            whole.and_then(|whole| whole.checked_add((tick % hz * NANOS_PER_SEC).div_ceil(hz)))
        }
    };
    nanos.map_or(SimTime::NEVER, SimTime::from_nanos)
}

/// [`deadline`] of a clock whose tick is so many nanoseconds.
fn whole_ticks<const TICK: u64>(now: SimTime, timeout: SimDuration) -> Option<u64> {
    (now.as_nanos() / TICK + timeout.as_nanos() / TICK).checked_mul(TICK)
}

/// What `expires`, made by [`deadline`], has left at `now`, in whole ticks.
pub(super) fn remaining(expires: SimTime, now: SimTime, hz: u32) -> SimDuration {
    expires.since(deadline(now, SimDuration::ZERO, hz))
}

/// The timeout after a segment of `class` that led to `state`; the first rule that fits wins.
pub(super) fn choose(
    config: &ConntrackConfig,
    class: PacketClass,
    state: State,
    sides: &[Side; 2],
    last: &Last,
) -> SimDuration {
    let timeouts = &config.timeouts;
    let by_state = timeouts.of(state);
    let unacknowledged = sides.iter().any(|side| side.unacknowledged);
    if last.retransmissions >= config.max_retrans && by_state > timeouts.max_retrans {
        timeouts.max_retrans
    } else if class == PacketClass::Rst {
        // Whatever the new state: on most kernels an inexact RST leaves ESTABLISHED with ten seconds to live.
        if state == State::Established && config.inexact_rst_is_unacknowledged {
            timeouts.unacknowledged
        } else {
            timeouts.of(State::Close)
        }
    } else if unacknowledged && by_state > timeouts.unacknowledged {
        timeouts.unacknowledged
    } else if last.window == 0 && by_state > timeouts.max_retrans {
        timeouts.max_retrans
    } else {
        by_state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_counts_from_the_tick_that_has_begun() {
        let ms = |ms: u64| SimTime::from_nanos(ms * 1_000_000);
        let table = [
            // hz   now ns      timeout s  deadline
            (250, 0, 10, ms(10_000)),
            (250, 3_999_999, 10, ms(10_000)),
            (250, 4_000_000, 10, ms(10_004)),
            (1000, 3_999_999, 10, ms(10_003)),
            (100, 19_999_999, 120, ms(120_010)),
            (300, 3_333_333, 1, SimTime::from_nanos(1_000_000_000)),
            (300, 3_333_334, 1, SimTime::from_nanos(1_003_333_334)),
        ];
        for (hz, now, secs, want) in table {
            let now = SimTime::from_nanos(now);
            let timeout = SimDuration::from_secs(secs);
            let got = deadline(now, timeout, hz);
            assert_eq!(got, want, "hz {hz} now {now}");
            assert!(remaining(got, now, hz) >= timeout.saturating_sub(SimDuration::from_nanos(1)));
        }
    }

    #[test]
    fn a_deadline_beyond_the_clock_never_comes() {
        let now = SimTime::from_nanos(u64::MAX - 5);
        assert_eq!(deadline(now, SimDuration::MAX, 250), SimTime::NEVER);
    }
}
