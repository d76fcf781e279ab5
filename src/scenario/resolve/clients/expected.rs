//! How many requests a population sends, roughly: what is too much is refused before it runs.

use crate::model::client::Arrivals;
use crate::model::distribution::Distribution;
use crate::model::link::LinkConfig;
use crate::spec::{Backends, ClientPlan, Plan};
use crate::units::SimDuration;

/// Requests of one population in one replication at most: the tag has 27 bits for the number, and a Poisson process may
/// send a few more than its mean.
pub(in super::super) const MAX_REQUESTS: f64 = 1.3e8;

/// Requests of a population in one replication.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Requests {
    /// About.
    pub mean: f64,
    /// If every try fails and every burst lasts.
    pub most: f64,
}

/// About how many requests `client` sends in one replication; `None` if a closed loop need not take any time at all.
pub(in super::super) fn expected_requests(plan: &Plan, client: &ClientPlan) -> Option<Requests> {
    let tries = client.retry.map_or(1.0, |retry| f64::from(retry.max_attempts));
    let arrivals = &client.arrivals;
    if let (Some(mean), Some(most)) = (
        arrivals.mean_count(plan.duration),
        arrivals.highest_mean_count(plan.duration),
    ) {
        return Some(Requests {
            mean,
            most: most * tries,
        });
    }
    let cycle = closed_loop_cycle(plan, client)?;
    let Arrivals::ClosedLoop { users, .. } = *arrivals else {
        return None;
    };
    let seconds = plan.duration.as_secs_f64();
    let mean = f64::from(users) * seconds / cycle.as_secs_f64();
    Some(Requests {
        mean,
        most: mean * tries,
    })
}

/// Mean time from one request of a user to its next one; `None` if it need not be any.
fn closed_loop_cycle(plan: &Plan, client: &ClientPlan) -> Option<SimDuration> {
    let Arrivals::ClosedLoop {
        think_time, pacing, ..
    } = &client.arrivals
    else {
        return None;
    };
    // A pause as long as the run is the longest that counts.
    let think_time = think_time.mean_within(plan.duration);
    let pacing = pacing.unwrap_or_default();
    let links = &plan.links;
    // Two round trips over each link: handshake, then request and response. On a kept connection it is one.
    let round_trips = |link: &LinkConfig| {
        let mean = |part: &Distribution| part.mean_within(plan.duration);
        (mean(&link.delay) + mean(&link.jitter)).saturating_mul(4)
    };
    let client_leg = match (plan.slb.l7, client.keepalive) {
        (false, _) => SimDuration::ZERO,
        (true, None) => round_trips(&links.client_slb),
        (true, Some(_)) => SimDuration::from_nanos(round_trips(&links.client_slb).as_nanos() / 2),
    };
    let patience = client.timeout.unwrap_or(SimDuration::MAX);
    // What needs no free port, no backend and no patience: even a request that fails takes so long.
    let shortest = (think_time + client_leg.min(patience)).max(pacing);
    if shortest == SimDuration::ZERO {
        return None;
    }
    let upstream = match plan.slb.backends {
        Backends::Pod => round_trips(&links.slb_pod),
        Backends::NodePort => round_trips(&links.slb_node) + round_trips(&links.node_pod),
    };
    let service = plan
        .pods
        .iter()
        .map(|pod| pod.service_time.mean_within(plan.duration))
        .min();
    let answered = client_leg + upstream + service.unwrap_or_default();
    Some((think_time + answered.min(patience)).max(pacing))
}
