//! Port searches that are not netfilter's.
//!
//! [`tries`] is that of eBPF programs: Cilium's `snat_v4_new_mapping()` (`bpf/lib/nat.h`, read at 1.8 to 1.19: the source
//! port, a random one, then upward; 128 tests, 32 since change 37389) and Calico's `calico_ct_v4_create_tracking()`
//! (`felix/bpf-gpl/conntrack.h`: the source port, then `PSNAT_RETRIES` = 3 random ones). The others are the ways that
//! RFC 6056 section 3.3 describes for ports: in sequence, by a hash, at random.

use rand::{Rng, RngExt};

use super::search::{Found, PortUse};
use super::Tries;
use crate::units::PortRange;

/// Draws before a uniform choice goes upward instead. With 85 % of the ports in use all of them fail once in 30,000.
const DRAWS: u32 = 64;

/// The first free port from `place` on, once around.
pub(super) fn upward(range: PortRange, place: u32, ports: &mut impl PortUse) -> Found {
    let start = range.nth(place);
    let found = ports.first_free(start, range.last());
    let found = found.or_else(|| {
        let below = start.checked_sub(1).filter(|&last| last >= range.first())?;
        ports.first_free(range.first(), below)
    });
    found.map_or(Found::Exhausted, Found::Free)
}

/// Any of the free ports: draws until one is free, and upward from the last draw if hardly any is.
pub(super) fn uniform(range: PortRange, ports: &mut impl PortUse, rng: &mut impl Rng) -> Found {
    let mut place = 0;
    for _ in 0..DRAWS {
        place = rng.random_range(0..range.count());
        let port = range.nth(place);
        if !ports.is_used(port) {
            return Found::Free(port);
        }
    }
    upward(range, place, ports)
}

/// The tests that are left after the source port, which was `kept` if it could be: a random port, another one, and from
/// there on upward or at random.
pub(super) fn tries(
    range: PortRange,
    tries: Tries,
    kept: bool,
    ports: &mut impl PortUse,
    rng: &mut impl Rng,
) -> Found {
    let first = u16::from(kept || tries.keeps_outside);
    let mut place = 0;
    for test in first..tries.tests {
        place = if tries.upward && test >= 2 {
            place + 1
        } else {
            rng.random_range(0..range.count())
        };
        let port = range.nth(place);
        if !ports.is_used(port) {
            return Found::Free(port);
        }
    }
    Found::Exhausted
}

#[cfg(test)]
#[path = "allocator_tests.rs"]
mod tests;
