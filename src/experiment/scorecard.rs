//! The incident's scorecard: eight things that the published event showed, as shares over the pooled records.

use super::summary::{Named, ScorecardItem};
use crate::observe::{AttemptRecord, HitRecord, Observations};
use crate::stats::{Estimate, Method, Sample, overdispersed_exact, ratio_of_sums};
use crate::units::{SimDuration, SimTime};
use crate::vocab::{HitAnswer, Status};

/// What each item asks, in order.
pub const ITEMS: [&str; 8] = [
    "reuse gaps between 5 and 7.5 s occur (share of the hits)",
    "the collision comes from another SLB address (share of the collisions)",
    "the old ipvs entry is undisturbed at the collision (share)",
    "the old conntrack entry is gone (share)",
    "both flows' ports were rewritten (share)",
    "exactly one SYN before the client's end (share of the collisions with 499)",
    "499 within 2 s of the SYN (share of the collisions with 499)",
    "499s are sporadic: at most 0.5 % of the requests",
];

/// The published gap: 6 to 7.5 s by whole-second sampling, with a second's margin below.
const GAP: (SimDuration, SimDuration) = (SimDuration::from_secs(5), SimDuration::from_millis(7_500));
/// The published 499 was logged within about 2 s of the SYN.
const PROMPT: SimDuration = SimDuration::from_secs(2);
/// What "sporadic" may mean at most.
const SPORADIC: f64 = 0.005;

/// The eight items over the records from `from` on.
pub fn score(observations: &[Observations], from: SimTime, rate_499: Estimate) -> Named<ScorecardItem> {
    let pool = Pool { observations, from };
    let collision = |_: &AttemptRecord, hit: &HitRecord| hit.answer == HitAnswer::BareAck;
    let left = |record: &AttemptRecord, hit: &HitRecord| {
        hit.answer == HitAnswer::BareAck && record.status == Some(Status::ClientClosed)
    };
    let gap = pool.share(
        |_, _| true,
        |_, hit| GAP.0 <= hit.reuse_gap && hit.reuse_gap <= GAP.1,
    );
    let shares = [
        pool.share(collision, |record, hit| {
            hit.previous_tuple.src.ip != record.slb_tuple.src.ip
        }),
        pool.share(collision, |_, hit| hit.old_ipvs_undisturbed),
        pool.share(collision, |record, hit| {
            hit.released_at.is_some_and(|released| released <= record.at)
        }),
        pool.share(collision, |record, hit| {
            hit.previous_rewritten && record.source.port != record.slb_tuple.src.port
        }),
        pool.share(left, |record, _| record.syns_sent == 1),
        pool.share(left, |record, _| {
            record
                .request_ended
                .is_some_and(|ended| ended.since(record.at) <= PROMPT)
        }),
    ];
    let mut items = vec![item(gap, gap.value > 0.0)];
    // The event had each of these; it is typical of the run if most collisions have it.
    items.extend(shares.map(|share| item(share, share.value > 0.5)));
    items.push(item(rate_499, 0.0 < rate_499.value && rate_499.value <= SPORADIC));
    Named((1..).map(|number: u32| number.to_string()).zip(items).collect())
}

fn item(estimate: Estimate, holds: bool) -> ScorecardItem {
    ScorecardItem {
        value: estimate.value,
        lo95: estimate.lo95,
        hi95: estimate.hi95,
        holds,
        method: estimate.method,
    }
}

/// Hits of a replication that are looked at: the first ones, so that a run need not keep more than these.
pub const HITS: usize = 10_000;

/// The hits of all replications.
struct Pool<'a> {
    observations: &'a [Observations],
    from: SimTime,
}

impl Pool<'_> {
    /// The share of `events` among the hits that are `trials`, with the spread of the replications.
    fn share(
        &self,
        trials: impl Fn(&AttemptRecord, &HitRecord) -> bool,
        events: impl Fn(&AttemptRecord, &HitRecord) -> bool,
    ) -> Estimate {
        let groups: Vec<Sample> = self
            .observations
            .iter()
            .map(|observations| {
                observations
                    .attempts
                    .iter()
                    .filter(|record| record.request != AttemptRecord::CHECK)
                    .filter_map(|record| record.hit.map(|hit| (record, hit)))
                    .take(HITS)
                    .filter(|(record, _)| self.from == SimTime::ZERO || record.at > self.from)
                    .filter(|(record, hit)| trials(record, hit))
                    .map(|(record, hit)| Sample::new(u64::from(events(record, &hit)), 1))
                    .sum()
            })
            .collect();
        let total: Sample = groups.iter().copied().sum();
        let exact = overdispersed_exact(total.events, total.trials);
        let few = total.events < crate::stats::MIN_EVENTS
            || total.trials - total.events < crate::stats::MIN_EVENTS
            || groups.len() < 5;
        if few {
            return exact;
        }
        ratio_of_sums(&groups, Method::Replications).unwrap_or(exact)
    }
}
