//! The worker that collects dead entries, and under pressure closing ones.
//!
//! `gc_worker()`, `net/netfilter/nf_conntrack_core.c`; two generations: 4.19.124 and 5.10.44 scan a 128th of the
//! buckets at a time, 5.15.y and 6.1 to 6.18 the whole table in a cycle that follows the average remaining timeout.
//! A run takes no time here: the newer one's limit of 10 ms per run, after which it goes on at once, is left out.
//!
//! The worker runs from boot on, and a node has been up for long when the first connection comes: where in its round
//! the worker is then is drawn. It decides how high `nf_conntrack_count` gets, most of all on newer kernels, where up
//! to a minute's dead entries wait for it.

use rand::{Rng, RngExt};

use super::table::{Ended, Entry, Table};
use super::{Collection, ConntrackConfig};
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
    /// Slices: last interval; before the first run, the time until that; jiffies.
    interval: u32,
    /// Newer: running average of the remaining timeouts, jiffies, and how many it is of.
    average: i64,
    averaged: i64,
    /// Newer: when this cycle began.
    cycle_start: SimTime,
}

impl Gc {
    /// The worker of an idle node, somewhere in its round.
    pub fn new(config: &ConntrackConfig, table: &Table, rng: &mut impl Rng) -> Self {
        let (bucket, longest) = match config.collection {
            Collection::Slices => (rng.random_range(0..table.size()), longest_slice(config.hz)),
            // An empty table is scanned once a minute.
            Collection::Timers | Collection::Cycles => (0, LONGEST_SECONDS as u32 * config.hz),
        };
        Self {
            bucket,
            pressure: false,
            interval: rng.random_range(1..=longest),
            average: 0,
            averaged: 0,
            cycle_start: SimTime::ZERO,
        }
    }

    /// Jiffies until the first run.
    pub fn first(&self) -> u32 {
        self.interval
    }

    /// One run; [`Table::next_ended`] has named all that is dead by `now`. Returns the interval to the next one in jiffies.
    pub fn run(
        &mut self,
        table: &mut Table,
        config: &ConntrackConfig,
        now: SimTime,
        ended: &mut impl FnMut(&Entry, Ended),
    ) -> u32 {
        match config.collection {
            Collection::Slices => self.run_slice(table, config, now, ended),
            // Without a worker nothing is dead, and nobody kills under pressure.
            Collection::Timers => LONGEST_SECONDS as u32 * config.hz,
            Collection::Cycles => self.run_cycle(table, config, now, ended),
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
        let background = background as u32;
        let (scanned, expired) = if self.pressure {
            self.scan_slice(table, (buckets, background), now, ended)
        } else {
            self.collect_slice(table, buckets, background)
        };
        self.pressure = false;
        let shortest = (config.hz / SLICES).max(1);
        self.interval = if expired * 100 / scanned.max(1) > HURRY_PERCENT {
            shortest
        } else {
            (self.interval + shortest).min(longest_slice(config.hz))
        };
        self.interval
    }

    /// Without pressure only entries whose end was reported go. Returns what was scanned, as far as it matters, and what
    /// had expired.
    fn collect_slice(&mut self, table: &mut Table, buckets: u32, background: u32) -> (u32, u32) {
        let first = self.bucket + 1;
        self.bucket = (self.bucket + buckets) % table.size();
        // At most once around: all up to the table's end, and the rest from its beginning.
        let parts = [
            (first, (first + buckets).min(table.size())),
            (0, (first + buckets).saturating_sub(table.size())),
        ];
        let expired: u32 = parts
            .iter()
            .map(|&(from, to)| table.collect_buckets(from, to))
            .sum();
        // More than this does not change whether the worker hurries.
        let enough = expired * 100 / HURRY_PERCENT;
        let mut scanned = background + expired;
        for (from, to) in parts {
            if scanned < enough {
                scanned += table.tuples_in(from, to, enough - scanned);
            }
        }
        (scanned, expired)
    }

    /// Each entry of the slice is looked at, whether it can be killed. Returns what was scanned and what had expired.
    fn scan_slice(
        &mut self,
        table: &mut Table,
        (buckets, background): (u32, u32),
        now: SimTime,
        ended: &mut impl FnMut(&Entry, Ended),
    ) -> (u32, u32) {
        let (mut scanned, mut expired) = (background, 0_u32);
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
        (scanned, expired)
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
                // A cycle that has taken too long goes on without a pause, and remembers the pressure.
                let pause = now.since(self.cycle_start).as_secs() < LONGEST_SECONDS.cast_unsigned();
                self.pressure &= !pause;
                return u32::from(pause);
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

/// The longest interval between two slices, jiffies.
const fn longest_slice(hz: u32) -> u32 {
    WHOLE_SCAN_SECONDS * hz / SLICES
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
