//! The choice of a SNAT port for one new connection, as netfilter makes it.
//!
//! `get_unique_tuple()` and `nf_nat_l4proto_unique_tuple()`: `net/netfilter/nf_nat_core.c` (5.10 and later),
//! `nf_nat_proto_common.c` (4.19); the eviction test of 6.6 and later is `nf_nat_used_tuple_harder()`.
//! Left out: the reuse of a mapping that the same client address and port already has towards another destination.
//! Here an SLB tuple has one destination, and MASQUERADE without `--random` would keep the port anyway.

use rand::{Rng, RngExt};

use super::{Allocator, PortChoice, SearchEra, allocators};
use crate::units::PortRange;

/// Tests in the first round of a bounded search.
const MAX_ATTEMPTS: u32 = 128;
/// A round shorter than this is the last one.
const LAST_ROUND_BELOW: u32 = 16;
/// With so many tests or fewer left in the round, a closing entry may be evicted.
const HARDER_BELOW: u32 = 32;
/// Offsets are 16-bit numbers in every kernel read; one past the largest.
const OFFSETS: u32 = 1 << 16;

/// What the search asks of the pool. A test may take dead entries away, so it is no mere look.
pub trait PortUse {
    /// Some live entry holds the reply tuple with this port.
    fn is_used(&mut self, port: u16) -> bool;
    /// The lowest port of `first..=last` that is not in use; all below it are tested.
    fn first_free(&mut self, first: u16, last: u16) -> Option<u16> {
        (first..=last).find(|&port| !self.is_used(port))
    }
    /// The entry that holds this port may be thrown out in favour of the new connection.
    fn may_evict(&mut self, port: u16) -> bool;
}

/// The new connection and the rule that applies to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// Source port before translation.
    pub source_port: u16,
    /// Flags of the rule.
    pub choice: PortChoice,
    /// `--to-ports`.
    pub to_ports: Option<PortRange>,
    /// Era of the search.
    pub search: SearchEra,
    /// A search that is not netfilter's.
    pub allocator: Option<Allocator>,
    /// Closing entries may be evicted late in the search.
    pub evicts: bool,
    /// The keyed start of the search: on 4.19 with `--random` that of this (node address, pod address, pod port), with
    /// [`Allocator::Hashed`] that of the whole tuple.
    pub keyed_start: u16,
}

/// What the search came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A port that no live entry holds.
    Free(u16),
    /// A port whose entry must be removed first.
    Evict(u16),
    /// A port that was not tested: whether it is free shows when the entry is confirmed.
    Unchecked(u16),
    /// No port; the entry will clash when it is confirmed.
    Exhausted,
}

/// The range that MASQUERADE searches: `--to-ports`, or the class of the source port.
pub fn search_range(source_port: u16, to_ports: Option<PortRange>) -> PortRange {
    let (first, last) = match source_port {
        0..512 => (1, 511),
        512..1024 => (600, 1023),
        _ => (1024, 65535),
    };
    to_ports.unwrap_or_else(|| PortRange::new(first, last).expect("constant ranges are in order"))
}

/// Chooses a port. `rover` is 4.19's and the sequential NAT's, shared by all pods of the host; others leave it alone.
pub fn choose(query: &Query, ports: &mut impl PortUse, rover: &mut u16, rng: &mut impl Rng) -> Found {
    if let Some(kept) = keep(query, ports) {
        return kept;
    }
    let range = search_range(query.source_port, query.to_ports);
    if let Some(allocator) = query.allocator {
        return allocators::choose(allocator, query, range, ports, rover, rng);
    }
    match query.search {
        SearchEra::Bounded => bounded(range, query.evicts, ports, rng),
        SearchEra::WholeRange => {
            let start = match query.choice {
                PortChoice::Keep => *rover,
                PortChoice::Random => query.keyed_start,
                PortChoice::RandomFully => rng.random(),
            };
            let (offset, found) = whole_range(range, start, ports);
            if query.choice == PortChoice::Keep {
                *rover = offset;
            }
            found
        }
    }
}

/// Without a flag the source port is kept if it is allowed and free; the only port of a range is not even tested.
fn keep(query: &Query, ports: &mut impl PortUse) -> Option<Found> {
    let port = query.source_port;
    if query.choice != PortChoice::Keep {
        return None;
    }
    if let Some(range) = query.to_ports
        && !query.allocator.is_some_and(Allocator::keeps_outside)
    {
        if !range.contains(port) {
            return None;
        }
        if range.count() == 1 && query.allocator.is_none() {
            return Some(Found::Unchecked(port));
        }
    }
    (!ports.is_used(port)).then_some(Found::Free(port))
}

/// 5.10 and later: runs of 128, 64, 32, 16 and 8 tests, each from a new random start; a range of up to 128 ports is
/// scanned once.
fn bounded(range: PortRange, evicts: bool, ports: &mut impl PortUse, rng: &mut impl Rng) -> Found {
    let mut attempts = range.count().min(MAX_ATTEMPTS);
    loop {
        let start = rng.random::<u16>();
        for i in 0..attempts {
            let port = range.nth(u32::from(start.wrapping_add(i as u16)));
            if !ports.is_used(port) {
                return Found::Free(port);
            }
            if evicts && attempts - i <= HARDER_BELOW && ports.may_evict(port) {
                return Found::Evict(port);
            }
        }
        if attempts >= range.count() || attempts < LAST_ROUND_BELOW {
            return Found::Exhausted;
        }
        attempts /= 2;
    }
}

/// 4.19: upward from `start` until a port is free; as many tries as the range has ports, the last one untested.
///
/// Returns the 16-bit offset at which it stopped, too. Where that offset wraps at 65,536 the walk jumps, because the
/// wrap is no multiple of the range: some ports are then tried twice and others never.
fn whole_range(range: PortRange, start: u16, ports: &mut impl PortUse) -> (u16, Found) {
    let mut offset = u32::from(start);
    let mut tests = range.count() - 1;
    while tests > 0 {
        let place = offset % range.count();
        let run = (range.count() - place).min(OFFSETS - offset).min(tests);
        let (first, last) = (range.nth(place), range.nth(place + run - 1));
        if let Some(port) = ports.first_free(first, last) {
            return ((offset + u32::from(port - first)) as u16, Found::Free(port));
        }
        tests -= run;
        offset = (offset + run) % OFFSETS;
    }
    (offset as u16, Found::Unchecked(range.nth(offset)))
}

#[cfg(test)]
mod tests;
