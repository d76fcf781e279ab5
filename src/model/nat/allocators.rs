//! Port searches that are not netfilter's.
//!
//! [`tries`] is that of eBPF programs: Cilium's `snat_v4_new_mapping()` (`bpf/lib/nat.h`, read at 1.8 to 1.19: the source
//! port, a random one, then upward; 128 tests, 32 since change 37389) and Calico's `calico_ct_v4_create_tracking()`
//! (`felix/bpf-gpl/conntrack.h`: the source port, then `PSNAT_RETRIES` = 3 random ones). The others are the ways that
//! RFC 6056 section 3.3 describes for ports: in sequence, by a hash, at random.

use rand::{Rng, RngExt};

use super::search::{Found, PortUse, Query};
use super::{Allocator, PortChoice, Tries};
use crate::units::PortRange;

/// Draws before a uniform choice goes upward instead. With 85 % of the ports in use all of them fail once in 30,000.
const DRAWS: u32 = 64;

/// Chooses a port of `range`; the source port was kept already if it could be. `rover` is the place after the port handed
/// out last.
pub(super) fn choose(
    allocator: Allocator,
    query: &Query,
    range: PortRange,
    ports: &mut impl PortUse,
    rover: &mut u16,
    rng: &mut impl Rng,
) -> Found {
    match allocator {
        Allocator::Sequential => {
            let found = upward(range, u32::from(*rover), ports);
            if let Found::Free(port) = found {
                *rover = (port - range.first()).wrapping_add(1);
            }
            found
        }
        Allocator::Hashed => upward(range, u32::from(query.keyed_start), ports),
        Allocator::Uniform => uniform(range, ports, rng),
        Allocator::Tries(of) => {
            let tested =
                query.choice == PortChoice::Keep && (of.keeps_outside || range.contains(query.source_port));
            tries(range, of, tested, ports, rng)
        }
    }
}

/// The first free port from `place` on, once around.
fn upward(range: PortRange, place: u32, ports: &mut impl PortUse) -> Found {
    let start = range.nth(place);
    let found = ports.first_free(start, range.last());
    let found = found.or_else(|| {
        let below = start.checked_sub(1).filter(|&last| last >= range.first())?;
        ports.first_free(range.first(), below)
    });
    found.map_or(Found::Exhausted, Found::Free)
}

/// Any of the free ports: draws until one is free, and upward from the last draw if hardly any is.
fn uniform(range: PortRange, ports: &mut impl PortUse, rng: &mut impl Rng) -> Found {
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

/// The tests that are left, of which the source port's is one if it was `tested`: a random port, another one, and from there
/// on upward or at random.
fn tries(
    range: PortRange,
    tries: Tries,
    tested: bool,
    ports: &mut impl PortUse,
    rng: &mut impl Rng,
) -> Found {
    let first = u16::from(tested);
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
