//! Runs the replications of a plan in parallel and merges what they observed into a [`Summary`].
//!
//! Results are collected by the replication's number: they do not depend on how many threads worked.

mod closed_form;
mod expect;
mod merge;
mod scorecard;
mod summary;

pub use closed_form::closed_form;
pub use expect::{ExpectError, Verdict, evaluate};
pub use merge::summarize;
pub use scorecard::{HITS as SCORECARD_HITS, ITEMS as SCORECARD_ITEMS};
pub use summary::*;

use std::sync::{Mutex, PoisonError};

use hdrhistogram::Histogram;
use rayon::prelude::*;

use crate::observe::{Observations, RecordOptions, latency_histogram};
use crate::spec::Plan;
use crate::units::SimDuration;
use crate::world;

/// Up to so many replications keep latency histograms of their own. Those of a run with more are poured together, for a
/// histogram takes a quarter of a megabyte.
const KEPT_APART: u32 = 64;

/// What a run leaves: its figures and the records behind them.
#[derive(Debug)]
pub struct Outcome {
    /// Figures over all replications.
    pub summary: Summary,
    /// Observations by replication. With more than 64 of them the first holds the latencies of all.
    pub observations: Vec<Observations>,
}

/// Called about once per simulated second with the replication and the time reached; `false` stops it early.
pub type Progress<'a> = &'a (dyn Fn(u32, SimDuration) -> bool + Sync);

/// Simulates every replication of `plan` on `threads` threads (`None`: one per processor) and merges them.
pub fn run(plan: &Plan, options: RecordOptions, threads: Option<usize>, progress: Progress) -> Outcome {
    run_with(plan, threads, &|replication| {
        world::simulate(plan, replication, options, &|reached| {
            progress(replication, reached)
        })
    })
}

/// As [`run`], with whatever makes the observations of a replication.
fn run_with(plan: &Plan, threads: Option<usize>, simulate: &(dyn Fn(u32) -> Observations + Sync)) -> Outcome {
    let replications = plan.replications.max(1);
    let latencies = Mutex::new((latency_histogram(), latency_histogram(), latency_histogram()));
    let simulate = |replication: u32| {
        let mut observations = simulate(replication);
        if replications > KEPT_APART {
            let mut sums = latencies.lock().unwrap_or_else(PoisonError::into_inner);
            pour(&mut observations.connect_latency, &mut sums.0);
            pour(&mut observations.request_latency, &mut sums.1);
            if let Some(operations) = &mut observations.operation_latency {
                pour(operations, &mut sums.2);
            }
        }
        observations
    };
    let all = || (0..replications).into_par_iter().map(simulate).collect();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0))
        .build();
    // Without threads of its own the run still works, on those that there are.
    let mut observations: Vec<Observations> = match pool {
        Ok(pool) => pool.install(all),
        Err(_) => (0..replications).map(simulate).collect(),
    };
    if replications > KEPT_APART {
        let (connect, request, operations) = latencies.into_inner().unwrap_or_else(PoisonError::into_inner);
        observations[0].connect_latency = connect;
        observations[0].request_latency = request;
        observations[0].operation_latency = plan.has_operations().then_some(operations);
    }
    let summary = summarize(plan, &observations);
    Outcome {
        summary,
        observations,
    }
}

/// Moves all of `from` into `into`. Counts add up, so the order of the replications does not matter.
fn pour(from: &mut Histogram<u64>, into: &mut Histogram<u64>) {
    let empty = Histogram::new_with_bounds(1, 2, 0).expect("constant bounds are valid");
    into.add(std::mem::replace(from, empty))
        .expect("every latency histogram has the same bounds");
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
