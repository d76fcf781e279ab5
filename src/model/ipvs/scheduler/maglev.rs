//! `mh`: Maglev's table (Eisenbud and others, NSDI 2016, section 3.4), of 4093 places, and a hash of the source into it
//! (`net/netfilter/ipvs/ip_vs_mh.c`). When a server comes or goes, few sources change theirs.
//!
//! Places are given by the last weight that was not 0, so that a server which is drained keeps its own. Who hashes there
//! gets nobody, unless the service has the flag `mh-fallback`.

use super::{HashFlags, Servers, gcd, key};
use crate::engine::keyed_hash;
use crate::units::Endpoint;

/// The kernel's default size, a prime.
const PLACES: usize = 4_093;
/// Bits beyond which turns are shifted away: half of the table's index (`IP_VS_MH_TAB_BITS`).
const TURN_BITS: u32 = 6;
/// The kernel has two fixed keys of its hsiphash in their places: any two do that are not the same.
const FIRST_KEY: u64 = 1;
const SECOND_KEY: u64 = 2;

/// The table.
#[derive(Debug, Clone)]
pub struct Maglev {
    flags: HashFlags,
    /// Empty without a server of weight.
    table: Vec<u32>,
    /// The last weight of each place that was not 0.
    last_weights: Vec<u32>,
}

/// A server's order of preference, and how far it has got.
struct Preference {
    place: u32,
    next: usize,
    skip: usize,
    turns: u32,
}

fn hash(of: u32, offset: usize, secret: u64) -> usize {
    let word = of.wrapping_add(offset as u32);
    (keyed_hash(secret, &[u64::from(word)]) & u64::from(u32::MAX)) as usize
}

impl Maglev {
    pub(super) const fn new(flags: HashFlags) -> Self {
        Self {
            flags,
            table: Vec::new(),
            last_weights: Vec::new(),
        }
    }

    pub(super) fn changed(&mut self, servers: &impl Servers) {
        let count = servers.count();
        self.last_weights.resize(count, 0);
        for (place, last) in self.last_weights.iter_mut().enumerate() {
            let state = servers.state(place);
            *last = match (state.available, state.weight) {
                (false, _) => 0,
                (true, 0) => *last,
                (true, weight) => weight,
            };
        }
        self.table.clear();
        let divisor = self.last_weights.iter().copied().fold(0, gcd);
        if divisor == 0 {
            return;
        }
        let most = self.last_weights.iter().copied().max().unwrap_or(0) / divisor;
        let shift = (u32::BITS - most.leading_zeros()).saturating_sub(TURN_BITS);
        let mut preferences: Vec<_> = (0..count)
            .filter(|&place| self.last_weights[place] > 0)
            .map(|place| {
                let endpoint = servers.endpoint(place);
                let of = endpoint.ip.to_bits().wrapping_add(u32::from(endpoint.port));
                Preference {
                    place: place as u32,
                    next: hash(of, 0, FIRST_KEY) % PLACES,
                    skip: hash(of, 0, SECOND_KEY) % (PLACES - 1) + 1,
                    turns: ((self.last_weights[place] / divisor) >> shift).max(1),
                }
            })
            .collect();
        self.table = populate(&mut preferences);
    }

    pub(super) fn pick(&self, servers: &impl Servers, source: Endpoint) -> Option<usize> {
        let of = key(source, self.flags);
        let first = hash(of, 0, FIRST_KEY) % PLACES;
        let eligible = |place: usize| {
            let server = *self.table.get(place)? as usize;
            servers.state(server).is_eligible().then_some(server)
        };
        if let Some(server) = eligible(first) {
            return Some(server);
        }
        let tries = if self.flags.fallback { PLACES } else { 0 };
        (0..tries).find_map(|offset| eligible(hash(of, (offset + first) % PLACES, FIRST_KEY) % PLACES))
    }
}

/// The servers take places in turn, each the first free one in its own order, until none is left.
fn populate(preferences: &mut [Preference]) -> Vec<u32> {
    const FREE: u32 = u32::MAX;
    let mut table = vec![FREE; PLACES];
    let mut left = PLACES;
    while left > 0 {
        for preference in preferences.iter_mut() {
            for _ in 0..preference.turns {
                while table[preference.next] != FREE {
                    preference.next = (preference.next + preference.skip) % PLACES;
                }
                table[preference.next] = preference.place;
                left -= 1;
                if left == 0 {
                    return table;
                }
            }
        }
    }
    table
}
