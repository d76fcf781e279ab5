//! The worker that collects dead entries, and under pressure closing ones.
//!
//! `gc_worker()`, `net/netfilter/nf_conntrack_core.c`; two generations: 4.19.124 and 5.10.44 scan a 128th of the
//! buckets at a time, 6.1 to 6.18 the whole table in a cycle that follows the average remaining timeout.
//! A run takes no time here: the newer one's limit of 10 ms per run is left out.

use super::ConntrackConfig;
use super::table::{Ended, Entry, Table};
use crate::units::{SimDuration, SimTime};

/// A run scans this fraction of the buckets (`GC_MAX_BUCKETS_DIV`, 4.19).
const SLICES: u32 = 128;
/// The whole table is scanned within this many seconds (`GC_MAX_SCAN_JIFFIES`, 4.19).
const WHOLE_SCAN_SECONDS: u32 = 16;
/// Percentage of dead entries above which the worker hurries (`GC_EVICT_RATIO`, 4.19).
const HURRY_PERCENT: u32 = 50;
/// The average starts as if this many entries had the longest interval left (`GC_SCAN_INITIAL_COUNT`).
const INITIAL_COUNT: i64 = 100;
/// Longest interval and start of the average, seconds (`GC_SCAN_INTERVAL_MAX`).
const LONGEST_SECONDS: i64 = 60;
/// A remaining timeout counts at most so many seconds (`GC_SCAN_INTERVAL_CLAMP`).
const CLAMP_SECONDS: i64 = 300;
/// Collected entries per run times HZ, after which the worker pauses for a jiffy (`GC_SCAN_EXPIRED_MAX`).
const EXPIRED_TIMES_HZ: u32 = 64_000;

/// The worker between two runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gc {
    /// Next bucket.
    bucket: u32,
    /// An allocation failed since the last run: kill closing entries, too.
    pub pressure: bool,
    /// 4.19: last interval, jiffies.
    interval: u32,
    /// Newer: running average of the remaining timeouts, jiffies, and how many it is of.
    average: i64,
    averaged: i64,
    /// Newer: when this cycle began.
    cycle_start: SimTime,
}

impl Gc {
    /// Before the first run, which is due a second after the start.
    pub fn new(config: &ConntrackConfig) -> Self {
        Self {
            bucket: 0,
            pressure: false,
            interval: config.hz,
            average: 0,
            averaged: 0,
            cycle_start: SimTime::ZERO,
        }
    }

    /// One run. Returns the interval to the next one in jiffies.
    pub fn run(
        &mut self,
        table: &mut Table,
        config: &ConntrackConfig,
        now: SimTime,
        ended: &mut impl FnMut(&Entry, Ended),
    ) -> u32 {
        if config.gc_in_slices {
            self.run_slice(table, config, now, ended)
        } else {
            self.run_cycle(table, config, now, ended)
        }
    }

    fn run_slice(
        &mut self,
        table: &mut Table,
        config: &ConntrackConfig,
        now: SimTime,
        ended: &mut impl FnMut(&Entry, Ended),
    ) -> u32 {
        let buckets = (table.size() / SLICES).max(1);
        // Both tuples of an entry of the background, spread evenly.
        let background =
            u64::from(config.background_entries) * 2 * u64::from(buckets) / u64::from(table.size());
        let (mut scanned, mut expired) = (background as u32, 0_u32);
        for _ in 0..buckets {
            self.bucket = (self.bucket + 1) % table.size();
            let mut count = table.full_count();
            let limit = self.pressure_limit(table);
            table.scan(
                self.bucket,
                |entry| {
                    scanned += 1;
                    let end = judge(entry, now, count, limit);
                    count -= u32::from(end.is_some());
                    expired += u32::from(end == Some(Ended::Expired));
                    end
                },
                ended,
            );
        }
        self.pressure = false;
        let shortest = (config.hz / SLICES).max(1);
        let longest = WHOLE_SCAN_SECONDS * config.hz / SLICES;
        self.interval = if expired * 100 / scanned.max(1) > HURRY_PERCENT {
            shortest
        } else {
            (self.interval + shortest).min(longest)
        };
        self.interval
    }

    fn run_cycle(
        &mut self,
        table: &mut Table,
        config: &ConntrackConfig,
        now: SimTime,
        ended: &mut impl FnMut(&Entry, Ended),
    ) -> u32 {
        let hz = i64::from(config.hz);
        if self.bucket == 0 {
            // The background is met on the way; here all of it comes first.
            let background = i64::from(config.background_entries) * 2;
            self.averaged = INITIAL_COUNT + background;
            self.average =
                (LONGEST_SECONDS * INITIAL_COUNT + CLAMP_SECONDS * background) * hz / self.averaged;
            self.cycle_start = now;
        }
        let (mut average, mut averaged, mut collected) = (self.average, self.averaged, 0_u32);
        while self.bucket < table.size() {
            if collected > EXPIRED_TIMES_HZ / config.hz {
                (self.average, self.averaged) = (average, averaged);
                self.pressure = false;
                return 1;
            }
            let mut count = table.full_count();
            let limit = self.pressure_limit(table);
            table.scan(
                self.bucket,
                |entry| {
                    let end = judge(entry, now, count, limit);
                    if end != Some(Ended::Expired) {
                        let left = jiffies(entry.tracker.expires.since(now), config.hz);
                        averaged += 1;
                        average += (left.clamp(hz, CLAMP_SECONDS * hz) - average) / averaged;
                    }
                    count -= u32::from(end.is_some());
                    collected += u32::from(end.is_some());
                    end
                },
                ended,
            );
            self.bucket += 1;
        }
        self.bucket = 0;
        self.pressure = false;
        let passed = jiffies(now.since(self.cycle_start), config.hz).max(1);
        (average.clamp(hz, LONGEST_SECONDS * hz) - passed).max(1) as u32
    }

    /// Under pressure, the count from which closing entries are killed: 95 % of the maximum.
    fn pressure_limit(&self, table: &Table) -> Option<u32> {
        self.pressure.then(|| table.max() / 100 * 95)
    }
}

/// What gc does with one entry while the table holds `count`.
fn judge(entry: &Entry, now: SimTime, count: u32, limit: Option<u32>) -> Option<Ended> {
    if entry.is_expired(now) {
        return Some(Ended::Expired);
    }
    let closing = entry.tracker.state.can_early_drop();
    // A limit of 0, in a table for fewer than 100 entries, means no pressure, as in the kernel.
    let pressed = limit.is_some_and(|limit| limit > 0 && count >= limit);
    (pressed && (closing || !entry.tracker.assured)).then_some(Ended::GcPressure)
}

/// Whole jiffies in `duration`.
fn jiffies(duration: SimDuration, hz: u32) -> i64 {
    i64::try_from(u128::from(duration.as_nanos()) * u128::from(hz) / 1_000_000_000).unwrap_or(i64::MAX)
}
