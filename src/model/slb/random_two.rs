//! `random two least_conn`: of two random servers the one with fewer requests for its weight
//! (`src/http/modules/ngx_http_upstream_random_module.c`).

use rand::{Rng, RngExt};

use super::{Upstream, hash, least_conn, round_robin};

/// Draws that may miss before round robin takes over.
const MOST_MISSES: u32 = 20;

/// The better one of two, drawn by weight.
pub(super) fn choose(
    upstream: &mut Upstream,
    tried: &[u32],
    random: &mut impl Rng,
    second: u64,
) -> Option<usize> {
    let mut first: Option<usize> = None;
    let mut misses = 0;
    while misses <= MOST_MISSES {
        let drawn = hash::at_weight(upstream, random.random_range(0..upstream.total_weight));
        if first == Some(drawn) || !upstream.is_eligible(drawn, tried, second) {
            misses += 1;
            continue;
        }
        let Some(one) = first else {
            first = Some(drawn);
            continue;
        };
        let is_worse = least_conn::load_against(upstream, drawn, one).is_gt();
        return Some(if is_worse { one } else { drawn });
    }
    round_robin::choose(upstream, tried, second)
}
