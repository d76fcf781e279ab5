//! `hash $remote_addr`: the client decides (`src/http/modules/ngx_http_upstream_hash_module.c`).
//!
//! The hash walks through the weights; a server that is out is replaced by hashing again, twenty times, and then by round
//! robin. nginx' CRC-32 is replaced by this program's own hash: only that it is even and the same for the same client
//! matters, and single clients meet other servers than in nginx.

use super::{Upstream, round_robin};
use crate::engine::keyed_hash;

/// Hashes after the first one before round robin takes over.
const MOST_HASHES: u64 = 20;

/// The server of a client.
pub(super) fn choose(upstream: &mut Upstream, tried: &[u32], client: u64, second: u64) -> Option<usize> {
    for rehash in 0..=MOST_HASHES {
        let hash = keyed_hash(client, &[rehash]);
        let place = ((u128::from(hash) * u128::from(upstream.total_weight)) >> 64) as u64;
        let peer = at_weight(upstream, place);
        if upstream.is_eligible(peer, tried, second) {
            return Some(peer);
        }
    }
    round_robin::choose(upstream, tried, second)
}

/// The server at a place of the line on which each takes up its weight.
pub(super) fn at_weight(upstream: &Upstream, mut place: u64) -> usize {
    for (peer, its) in upstream.peers.iter().enumerate() {
        let weight = its.weight.cast_unsigned();
        if place < weight {
            return peer;
        }
        place -= weight;
    }
    upstream.peers.len() - 1
}
