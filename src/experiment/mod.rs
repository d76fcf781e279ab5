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
pub use scorecard::ITEMS as SCORECARD_ITEMS;
pub use summary::*;

use rayon::prelude::*;

use crate::observe::{Observations, RecordOptions};
use crate::spec::Plan;
use crate::units::SimDuration;
use crate::world;

/// What a run leaves: its figures and the records behind them.
#[derive(Debug)]
pub struct Outcome {
    /// Figures over all replications.
    pub summary: Summary,
    /// Observations by replication.
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
    let all = || (0..replications).into_par_iter().map(simulate).collect();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0))
        .build();
    // Without threads of its own the run still works, on those that there are.
    let observations: Vec<Observations> = match pool {
        Ok(pool) => pool.install(all),
        Err(_) => (0..replications).map(simulate).collect(),
    };
    let summary = summarize(plan, &observations);
    Outcome {
        summary,
        observations,
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
