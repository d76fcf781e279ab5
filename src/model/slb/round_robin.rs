//! Smooth weighted round robin (`ngx_http_upstream_get_peer()`, `src/http/ngx_http_upstream_round_robin.c`).
//!
//! Each choice raises everybody by its weight, takes the largest and lowers that one by the sum: weights 5, 1, 1 give
//! a a b a c a a and not a a a a a b c. Equal weights give plain turns.

use super::Upstream;

/// The server whose turn it is.
pub(super) fn choose(upstream: &mut Upstream, tried: &[u32], second: u64) -> Option<usize> {
    let mut best: Option<usize> = None;
    let mut total = 0;
    for place in upstream.in_order() {
        if !upstream.is_eligible(place, tried, second) {
            continue;
        }
        total += raise(upstream, place);
        let current = upstream.peers[place].current_weight;
        if best.is_none_or(|best| current > upstream.peers[best].current_weight) {
            best = Some(place);
        }
    }
    let best = best?;
    upstream.peers[best].current_weight -= total;
    Some(best)
}

/// A server moves on by its effective weight, which recovers by one; answers by how much it moved.
pub(super) fn raise(upstream: &mut Upstream, place: usize) -> i64 {
    let peer = &mut upstream.peers[place];
    let step = peer.effective_weight;
    peer.current_weight += step;
    if peer.effective_weight < peer.weight {
        peer.effective_weight += 1;
    }
    step
}
