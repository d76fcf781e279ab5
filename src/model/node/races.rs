//! Two CPUs at once: a port that one has chosen and not yet confirmed is free to the others' searches.
//!
//! `nf_nat_used_tuple()` looks for confirmed entries only; a new one goes into the table in `__nf_conntrack_confirm()`, at
//! the end of POSTROUTING, and there the later of two with the same reply tuple is dropped (`insert_failed`, `drop`). One
//! CPU handles one packet after the other, so each has at most one entry that is not confirmed.

use crate::engine::keyed_hash;
use crate::model::nat::InsertRace;
use crate::units::{FourTuple, SimTime};

/// What each CPU has chosen last.
#[derive(Debug, Clone)]
pub(super) struct Races {
    race: InsertRace,
    /// Key of the hash that spreads tuples over CPUs (RSS, RPS).
    key: u64,
    by_cpu: Vec<Choice>,
}

/// A port that is not confirmed before `until`.
#[derive(Debug, Clone, Copy)]
struct Choice {
    until: SimTime,
    pool: u32,
    port: u16,
}

/// What a search on one CPU does not see.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unseen<'a> {
    races: &'a Races,
    cpu: usize,
    pool: u32,
    now: SimTime,
}

impl Races {
    pub(super) fn new(race: InsertRace, key: u64) -> Self {
        let nothing = Choice {
            until: SimTime::ZERO,
            pool: 0,
            port: 0,
        };
        Self {
            race,
            key,
            by_cpu: vec![nothing; race.cpus.max(1) as usize],
        }
    }

    /// The CPU that handles packets of a tuple.
    fn cpu_of(&self, tuple: &FourTuple) -> usize {
        let hash = keyed_hash(self.key, &[tuple.src.to_u64(), tuple.dst.to_u64()]);
        (((hash >> 32) * self.by_cpu.len() as u64) >> 32) as usize
    }

    /// What the search for a packet of this tuple does not see.
    pub(super) fn unseen(&self, tuple: &FourTuple, pool: u32, now: SimTime) -> Unseen<'_> {
        Unseen {
            races: self,
            cpu: self.cpu_of(tuple),
            pool,
            now,
        }
    }

    /// The search for a packet of this tuple has come to a port.
    pub(super) fn chosen(&mut self, tuple: &FourTuple, pool: u32, port: u16, now: SimTime) {
        let cpu = self.cpu_of(tuple);
        let until = now + self.race.window;
        self.by_cpu[cpu] = Choice { until, pool, port };
    }
}

impl Unseen<'_> {
    fn ports(self) -> impl Iterator<Item = u16> {
        let others = self.races.by_cpu.iter().enumerate();
        others
            .filter(move |(cpu, choice)| {
                *cpu != self.cpu && choice.pool == self.pool && self.now < choice.until
            })
            .map(|(_, choice)| choice.port)
    }

    /// Another CPU has chosen this port just now.
    pub(super) fn contains(self, port: u16) -> bool {
        self.ports().any(|unseen| unseen == port)
    }

    /// The lowest such port of a range.
    pub(super) fn lowest(self, first: u16, last: u16) -> Option<u16> {
        self.ports().filter(|port| (first..=last).contains(port)).min()
    }
}
