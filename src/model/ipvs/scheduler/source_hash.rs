//! `sh`: a table of 256 places that the servers fill in turn, each as often as its weight says, and a hash of the source
//! into it (`net/netfilter/ipvs/ip_vs_sh.c`).
//!
//! A server of weight 0 keeps a place in each turn. Who hashes there gets nobody, unless the service has the flag
//! `sh-fallback`: then other places are tried.

use super::{HashFlags, Servers, key};
use crate::units::Endpoint;

const BITS: u32 = 8;
const PLACES: usize = 1 << BITS;
/// Multiplicative hashing by the golden ratio (Knuth, The Art of Computer Programming, section 6.4), as the kernels have it
/// in two variants: consecutive addresses are spread evenly, more so than by chance.
const GOLDEN_RATIO: u32 = 0x9e37_79b9;

/// The table.
#[derive(Debug, Clone)]
pub struct SourceHash {
    flags: HashFlags,
    /// Empty without a server.
    table: Vec<u32>,
}

impl SourceHash {
    pub(super) const fn new(flags: HashFlags) -> Self {
        Self {
            flags,
            table: Vec::new(),
        }
    }

    pub(super) fn changed(&mut self, servers: &impl Servers) {
        self.table.clear();
        let present: Vec<(u32, u32)> = (0..servers.count())
            .map(|place| (place as u32, servers.state(place)))
            .filter(|(_, state)| state.available)
            .map(|(place, state)| (place, state.weight.max(1)))
            .collect();
        let turns = present.iter().cycle();
        let filled = turns.flat_map(|&(place, times)| std::iter::repeat_n(place, times as usize));
        self.table.extend(filled.take(PLACES));
    }

    pub(super) fn pick(&self, servers: &impl Servers, source: Endpoint) -> Option<usize> {
        let hash = (key(source, self.flags).wrapping_mul(GOLDEN_RATIO) >> (u32::BITS - BITS)) as usize;
        let eligible = |place: usize| {
            let server = *self.table.get(place % PLACES)? as usize;
            servers.state(server).is_eligible().then_some(server)
        };
        let tries = if self.flags.fallback { PLACES } else { 0 };
        eligible(hash).or_else(|| (0..tries).find_map(|offset| eligible(2 * hash + offset)))
    }
}
