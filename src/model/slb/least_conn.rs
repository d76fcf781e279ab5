//! `least_conn`: the fewest requests by weight, ties in turn (`src/http/modules/ngx_http_upstream_least_conn_module.c`).

use super::{Upstream, round_robin};

/// The server with the fewest requests of this host for its weight.
pub(super) fn choose(upstream: &mut Upstream, tried: &[u32], second: u64) -> Option<usize> {
    let mut best: Option<usize> = None;
    let mut many = false;
    for place in upstream.in_order() {
        if !upstream.is_eligible(place, tried, second) {
            continue;
        }
        match best.map(|best| load_against(upstream, place, best)) {
            None | Some(std::cmp::Ordering::Less) => (best, many) = (Some(place), false),
            Some(std::cmp::Ordering::Equal) => many = true,
            Some(std::cmp::Ordering::Greater) => {}
        }
    }
    let mut best = best?;
    let least = best;
    let mut total = 0;
    if many {
        for place in upstream.in_order().skip_while(|&place| place != least) {
            let is_tie = load_against(upstream, place, least).is_eq();
            if !is_tie || !upstream.is_eligible(place, tried, second) {
                continue;
            }
            total += round_robin::raise(upstream, place);
            if upstream.peers[place].current_weight > upstream.peers[best].current_weight {
                best = place;
            }
        }
    }
    upstream.peers[best].current_weight -= total;
    Some(best)
}

/// Requests for its weight of one server against another's.
pub(super) fn load_against(upstream: &Upstream, one: usize, other: usize) -> std::cmp::Ordering {
    let (one, other) = (&upstream.peers[one], &upstream.peers[other]);
    (i64::from(one.conns) * other.weight).cmp(&(i64::from(other.conns) * one.weight))
}
