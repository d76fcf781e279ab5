//! When a kernel timer really fires: the timer wheel, and the exact jiffies that conntrack compares.

use crate::units::{SimDuration, SimTime};

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// Every level of the wheel is eight times as coarse as the one below it.
const LEVEL_SHIFT: u32 = 3;

/// Timers closer than this many of its granules go into a level, the others above it.
const LEVEL_REACH: u64 = 63;

/// The coarsest level: granule 8^8 jiffies, 18 hours at 250 Hz.
const TOP_LEVEL: u32 = 8;

/// The timer wheel of one host.
///
/// Since Linux 4.8 (`kernel/time/timer.c`, `calc_wheel_index`) a timer is not fired at its jiffy but at the end of
/// the wheel bucket that holds it; the coarser the bucket, the farther away the timer is when it is armed:
///
/// | distance in jiffies | < 63 | < 504 | < 4,032 | < 32,256 | < 258,048 | ... |
/// |---|---|---|---|---|---|---|
/// | granule in jiffies | 1 | 8 | 64 | 512 | 4,096 | x 8 |
///
/// Buckets begin at multiples of the granule in absolute jiffies, so all timers of a host share the phase and fire
/// in bunches. Holds for the timers of sockets (TIME_WAIT, retransmission, delayed ACK, keepalive) and of ipvs
/// entries; TIME_WAIT confirmed by measurement at 250 Hz, the other rates follow from the source. conntrack has
/// used no timers since 4.9: it compares jiffies, see [`Self::jiffy_deadline`].
///
/// Jiffy `n` begins at the first nanosecond that is not before `n / hz` seconds, so that a rate such as 300, which
/// does not divide a second, does not drift. Not modelled: the cap of about twelve days, past which the kernel
/// fires early; the coarsest level reaches arbitrarily far here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelTimers {
    /// Timer interrupts per second, the kernel's `CONFIG_HZ`; not zero.
    pub hz: u32,
    /// The host's jiffies at the start of the run, as a time since its wheel's zero: hosts do not boot together.
    pub phase: SimDuration,
}

impl KernelTimers {
    /// When a timer armed at `now` for `timeout` fires: always later than `now + timeout`.
    ///
    /// The jiffy is (`expires` div granule + 1) x granule, where `expires` is the current jiffy plus the timeout.
    pub fn expiry(&self, now: SimTime, timeout: SimDuration) -> SimTime {
        // The usual rates as constants: divisions by them are multiplications. Every timer comes through here.
        match self.hz {
            100 => self.expiry_at(100, now, timeout),
            250 => self.expiry_at(250, now, timeout),
            1000 => self.expiry_at(1000, now, timeout),
            hz => self.expiry_at(u64::from(hz), now, timeout),
        }
    }

    #[allow(clippy::inline_always, reason = "only inlined is `hz` a constant")]
    #[inline(always)]
    fn expiry_at(&self, hz: u64, now: SimTime, timeout: SimDuration) -> SimTime {
        let distance = jiffies_in(timeout, hz);
        let shift = level_shift(distance);
        let expires = self.jiffies_at(hz, now).saturating_add(distance);
        self.start_of(((expires >> shift) + 1) << shift, hz)
    }

    /// The moment from which a deadline kept in jiffies has passed: the current jiffy plus `timeout`, no wheel.
    ///
    /// This is how conntrack keeps its timeouts (`include/net/netfilter/nf_conntrack.h`, `nf_ct_is_expired`; since
    /// 4.9). As the current jiffy has begun already, it may be up to one tick before `now + timeout`.
    pub fn jiffy_deadline(&self, now: SimTime, timeout: SimDuration) -> SimTime {
        let hz = u64::from(self.hz);
        self.start_of(
            self.jiffies_at(hz, now).saturating_add(jiffies_in(timeout, hz)),
            hz,
        )
    }

    /// The host's jiffies counter at `now`, without the kernel's offset at boot: whole ticks since its wheel's zero.
    pub fn jiffies(&self, now: SimTime) -> u64 {
        self.jiffies_at(u64::from(self.hz), now)
    }

    fn jiffies_at(&self, hz: u64, now: SimTime) -> u64 {
        let uptime = self.phase.as_nanos().saturating_add(now.as_nanos());
        if SECOND.is_multiple_of(hz) {
            return uptime / (SECOND / hz);
        }
        // Seconds apart from their fraction, so that 64 bits do.
        uptime / SECOND * hz + uptime % SECOND * hz / SECOND
    }

    /// The nominal length of a jiffy, rounded up to whole nanoseconds.
    pub fn tick(&self) -> SimDuration {
        SimDuration::from_nanos(SECOND.div_ceil(u64::from(self.hz)))
    }

    /// The first moment of a jiffy; the start of the run if that is later, [`SimTime::NEVER`] if out of range.
    fn start_of(&self, jiffy: u64, hz: u64) -> SimTime {
        let uptime = if SECOND.is_multiple_of(hz) {
            jiffy.checked_mul(SECOND / hz)
        } else {
            let whole = (jiffy / hz).checked_mul(SECOND);
            whole.and_then(|whole| whole.checked_add((jiffy % hz * SECOND).div_ceil(hz)))
        };
        uptime.map_or(SimTime::NEVER, |uptime| {
            SimTime::from_nanos(uptime.saturating_sub(self.phase.as_nanos()))
        })
    }
}

/// A timeout in jiffies, rounded up as `msecs_to_jiffies` does (`include/linux/jiffies.h`).
const fn jiffies_in(timeout: SimDuration, hz: u64) -> u64 {
    let nanos = timeout.as_nanos();
    if SECOND.is_multiple_of(hz) {
        return nanos.div_ceil(SECOND / hz);
    }
    nanos / SECOND * hz + (nanos % SECOND * hz).div_ceil(SECOND)
}

/// log2 of the granule for a timer `distance` jiffies away.
fn level_shift(distance: u64) -> u32 {
    match distance / LEVEL_REACH {
        0 => 0,
        reaches => (reaches.ilog2() / LEVEL_SHIFT + 1).min(TOP_LEVEL) * LEVEL_SHIFT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const fn host(hz: u32, phase_nanos: u64) -> KernelTimers {
        KernelTimers {
            hz,
            phase: SimDuration::from_nanos(phase_nanos),
        }
    }

    fn at_ms(ms: u64) -> SimTime {
        SimTime::ZERO + SimDuration::from_millis(ms)
    }

    /// Least and greatest delay beyond the timeout over all phases of the wheel, in ns. Tried are both ends of
    /// every jiffy of two periods of the coarsest granule in question.
    fn slack(hz: u32, timeout: SimDuration) -> (u64, u64) {
        let timers = host(hz, 0);
        let period = 2_u64 << level_shift(jiffies_in(timeout, u64::from(timers.hz)));
        let ends = (0..period).flat_map(|jiffy| {
            let next = timers.start_of(jiffy + 1, u64::from(timers.hz)).as_nanos();
            [timers.start_of(jiffy, u64::from(timers.hz)).as_nanos(), next - 1]
        });
        let slack = ends.map(|phase| {
            let fired = host(hz, phase).expiry(SimTime::ZERO, timeout);
            fired.since(SimTime::ZERO + timeout).as_nanos()
        });
        slack.fold((u64::MAX, 0), |(low, high), s| (low.min(s), high.max(s)))
    }

    #[test]
    fn timers_are_late_by_up_to_the_granule_of_their_distance() {
        // (HZ, timeout in ms, greatest slack in ms)
        for (hz, timeout, most) in [
            (1000, 60_000, 4_096),
            (250, 60_000, 2_048),
            (100, 60_000, 5_120),
            (1000, 1_000, 64),
            (250, 1_000, 32),
            (100, 1_000, 80),
            (1000, 2_000, 64),
            (250, 2_000, 32),
            (100, 2_000, 80),
            (1000, 4_000, 64),
            (250, 4_000, 256),
            (100, 4_000, 80),
            (1000, 120_000, 4_096),
            (250, 120_000, 2_048),
            (100, 120_000, 5_120),
            (1000, 2, 1),
            (250, 8, 4),
            (100, 20, 10),
        ] {
            let (least, greatest) = slack(hz, SimDuration::from_millis(timeout));
            assert_eq!(greatest, most * 1_000_000, "HZ={hz}, {timeout} ms");
            assert_eq!(least, 1, "HZ={hz}, {timeout} ms: never early, never exact");
        }
    }

    #[test]
    fn the_granule_follows_the_distance() {
        for (distance, granule) in [
            (0, 1),
            (62, 1),
            (63, 8),
            (503, 8),
            (504, 64),
            (4_031, 64),
            (4_032, 512),
            (32_255, 512),
            (32_256, 4_096),
            (258_047, 4_096),
            (258_048, 32_768),
            (u64::MAX, 1 << 24),
        ] {
            assert_eq!(1 << level_shift(distance), granule, "distance {distance}");
        }
    }

    #[test]
    fn expiry_is_the_next_multiple_of_the_granule_also_from_an_exact_multiple() {
        let timers = host(250, 0);
        // 60 s are 15,000 jiffies: 29 granules of 512 end at jiffy 14,848, the next at 15,360 = 61.44 s.
        assert_eq!(
            timers.expiry(SimTime::ZERO, SimDuration::from_secs(60)),
            at_ms(61_440)
        );
        // Armed at jiffy 360 it is due at 15,360 sharp: a full granule more.
        assert_eq!(
            timers.expiry(at_ms(1_440), SimDuration::from_secs(60)),
            at_ms(63_488)
        );
        // All that are armed within one granule die together.
        assert_eq!(
            timers.expiry(at_ms(3_487), SimDuration::from_secs(60)),
            at_ms(63_488)
        );
        assert_eq!(
            timers.expiry(at_ms(3_488), SimDuration::from_secs(60)),
            at_ms(65_536)
        );
        // Two jiffies, armed in the middle of one: three boundaries on.
        assert_eq!(timers.expiry(at_ms(2), SimDuration::from_millis(8)), at_ms(12));
        // A timer for no time at all waits for the next jiffy.
        assert_eq!(timers.expiry(at_ms(4), SimDuration::ZERO), at_ms(8));
        // Less than a jiffy counts as one.
        assert_eq!(timers.expiry(at_ms(4), SimDuration::from_micros(1)), at_ms(12));
    }

    #[test]
    fn the_phase_moves_the_boundaries_of_one_host() {
        let timers = host(250, 1_000_000);
        assert_eq!(timers.jiffies(SimTime::ZERO), 0);
        assert_eq!(timers.jiffies(at_ms(3)), 1);
        assert_eq!(
            timers.expiry(SimTime::ZERO, SimDuration::from_millis(4)),
            at_ms(7)
        );
        assert_eq!(
            timers.expiry(SimTime::ZERO, SimDuration::from_secs(60)),
            at_ms(61_439)
        );
    }

    #[test]
    fn conntrack_deadlines_are_whole_jiffies_without_a_wheel() {
        let timers = host(250, 0);
        let hold = SimDuration::from_secs(120);
        assert_eq!(timers.jiffy_deadline(at_ms(0), hold), at_ms(120_000));
        assert_eq!(timers.jiffy_deadline(at_ms(3), hold), at_ms(120_000));
        assert_eq!(timers.jiffy_deadline(at_ms(4), hold), at_ms(120_004));
    }

    #[test]
    fn the_level_is_the_first_that_reaches_far_enough() {
        let first_that_reaches = |distance: u64| {
            (0..TOP_LEVEL)
                .map(|level| level * LEVEL_SHIFT)
                .find(|&shift| distance < LEVEL_REACH << shift)
                .unwrap_or(TOP_LEVEL * LEVEL_SHIFT)
        };
        let edges = (0..=TOP_LEVEL + 1).map(|level| LEVEL_REACH << (level * LEVEL_SHIFT));
        let around = edges.flat_map(|edge| edge - 2..edge + 3);
        for distance in around.chain(0..1_000).chain([u64::MAX]) {
            assert_eq!(level_shift(distance), first_that_reaches(distance), "{distance}");
        }
    }

    #[test]
    fn three_hundred_ticks_are_exactly_one_second() {
        let timers = host(300, 0);
        assert_eq!(timers.tick(), SimDuration::from_nanos(3_333_334));
        assert_eq!(timers.start_of(1, u64::from(timers.hz)).as_nanos(), 3_333_334);
        for days in [0, 1, 5_000] {
            let second = SimTime::from_nanos(days * 86_400_000_000_000);
            assert_eq!(timers.jiffies(second), days * 86_400 * 300);
            assert_eq!(timers.start_of(days * 86_400 * 300, u64::from(timers.hz)), second);
        }
        for (hz, tick) in [(100, 10_000_000), (250, 4_000_000), (1000, 1_000_000)] {
            assert_eq!(host(hz, 0).tick(), SimDuration::from_nanos(tick));
        }
    }

    #[test]
    fn what_lies_beyond_all_time_never_fires() {
        let timers = host(1000, u64::MAX);
        assert_eq!(timers.expiry(SimTime::NEVER, SimDuration::MAX), SimTime::NEVER);
        assert_eq!(
            host(100, 0).expiry(SimTime::ZERO, SimDuration::MAX),
            SimTime::NEVER
        );
        assert_eq!(
            host(100, 0).jiffy_deadline(SimTime::NEVER, SimDuration::MAX),
            SimTime::NEVER
        );
    }

    /// How many of 5 TIME_WAIT sockets were alive at t seconds, per stimulus at 40 s, on a host with HZ=250.
    #[derive(serde::Deserialize)]
    struct TimerRestart {
        alive: BTreeMap<String, BTreeMap<u64, u32>>,
    }

    #[test]
    fn measured_time_wait_lives_are_met_in_some_phase_for_every_stimulus() {
        let text = include_str!("../../tests/lab/A/a1_tw_timer_restart.json");
        let measured: TimerRestart = serde_json::from_str(text).unwrap();
        assert_eq!(measured.alive.len(), 5);
        for (stimulus, alive) in &measured.alive {
            // What the stimulus does is the TIME_WAIT state machine's to say; here only when the timer then fires.
            let armed_at = match stimulus.as_str() {
                "none" | "seq_refused_no_ts" => 0,
                _ => 40_000,
            };
            let phases = (0..512).map(|jiffy| host(250, jiffy * 4_000_000));
            let matching = phases.filter(|timers| {
                let dead = timers.expiry(at_ms(armed_at), SimDuration::from_secs(60));
                alive.iter().all(|(&t, &n)| (n == 5) == (dead > at_ms(t * 1_000)))
            });
            assert!(
                matching.count() > 0,
                "{stimulus}: no phase of the wheel explains it"
            );
        }
    }

    fn any_host() -> impl Strategy<Value = KernelTimers> {
        let hz = prop::sample::select(vec![100, 250, 300, 1000]);
        (hz, 0_u64..10_000_000_000_000).prop_map(|(hz, phase)| host(hz, phase))
    }

    proptest! {
        #[test]
        fn never_early_and_never_later_than_a_granule(
            timers in any_host(),
            now in 0_u64..1_000_000_000_000_000,
            timeout in prop_oneof![0_u64..1_000_000_000, 0_u64..200_000_000_000_000],
        ) {
            let now = SimTime::from_nanos(now);
            let timeout = SimDuration::from_nanos(timeout);
            let fired = timers.expiry(now, timeout);
            prop_assert!(fired > now + timeout);
            // One jiffy more, for a timeout that is not a whole number of them.
            let granules = (1_u64 << level_shift(jiffies_in(timeout, u64::from(timers.hz)))) + 1;
            prop_assert!(fired.since(now + timeout) <= timers.tick() * granules);
        }

        #[test]
        fn the_later_armed_the_later_fired(
            timers in any_host(),
            now in 0_u64..1_000_000_000_000_000,
            after in 0_u64..5_000_000_000,
            timeout in 0_u64..200_000_000_000,
        ) {
            let (first, timeout) = (SimTime::from_nanos(now), SimDuration::from_nanos(timeout));
            let second = first + SimDuration::from_nanos(after);
            prop_assert!(timers.expiry(first, timeout) <= timers.expiry(second, timeout));
            prop_assert!(timers.jiffy_deadline(first, timeout) <= timers.jiffy_deadline(second, timeout));
        }

        #[test]
        fn a_jiffy_begins_where_the_counter_steps(timers in any_host(), now in 0_u64..1_000_000_000_000_000) {
            let jiffy = timers.jiffies(SimTime::from_nanos(now));
            let next = timers.start_of((jiffy) + 1, u64::from(timers.hz));
            prop_assert_eq!(timers.jiffies(next), jiffy + 1);
            prop_assert_eq!(timers.jiffies(SimTime::from_nanos(next.as_nanos() - 1)), jiffy);
            let deadline = timers.jiffy_deadline(SimTime::from_nanos(now), SimDuration::ZERO);
            prop_assert!(deadline <= SimTime::from_nanos(now));
        }
    }
}
