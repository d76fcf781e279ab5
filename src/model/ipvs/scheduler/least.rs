//! `lc` and `wlc`: the server with the fewest connections, or the fewest per weight (`net/netfilter/ipvs/ip_vs_lc.c`,
//! `ip_vs_wlc.c`). Of several the first one.

use super::Servers;

/// The connections of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// In ESTABLISHED or in the handshake.
    pub active: u32,
    /// The others: closing, TIME_WAIT, CLOSE.
    pub inactive: u32,
}

impl Load {
    /// An active connection weighs 256 inactive ones (`ip_vs_dest_conn_overhead()`).
    pub const fn overhead(self) -> u64 {
        256 * self.active as u64 + self.inactive as u64
    }
}

pub(super) fn pick(weighted: bool, servers: &impl Servers, load: impl Fn(usize) -> Load) -> Option<usize> {
    let mut least: Option<(usize, u64, u64)> = None;
    for place in 0..servers.count() {
        let state = servers.state(place);
        if !state.is_eligible() {
            continue;
        }
        let weight = if weighted { u64::from(state.weight) } else { 1 };
        let overhead = load(place).overhead();
        // a / b < c / d without a division; overheads have 41 bits at most, weights as ipvs takes them 16.
        if least.is_none_or(|(_, of_least, its)| overhead * its < of_least * weight) {
            least = Some((place, overhead, weight));
        }
    }
    least.map(|(place, ..)| place)
}
