//! Measured kernels against the simulator: reads a folder laid out as the laboratory's, works out what the simulator says
//! of each file, and judges the agreement.
//!
//! ```text
//! Source -files-> Kind::of(path) -judge-> Judgement (tables, figures, faults) -report-> rows, summary, passed
//! ```
//!
//! | room | judges |
//! |---|---|
//! | `tables` | decision tables, row by row: A, C2, D, ipvs, S, P |
//! | `probabilities` | proportions measured in independent trials: B, C1, C2b, C3 |
//! | `runs` | counts of whole runs against the spread of the simulator's own replications: E, F, G, I |

mod bench;
mod judgement;
mod kernel;
mod kind;
mod probabilities;
mod read;
mod report;
mod runs;
mod screen;
mod source;
mod tables;

pub use judgement::{Fault, Figure, Judgement, Miss, NotJudged, Table};
pub use kernel::Kernel;
pub use kind::Kind;
pub use report::{PooledBias, Report, Row, Summary, Tally, Verdict};
pub use screen::screen;
pub use source::{File, Source, SourceError};

use rayon::prelude::*;

/// How to judge.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Replications of each measured run; the intervals are widened for fewer than 200.
    pub replications: u32,
    /// Root seed of the replications, of simulated trials and of ties.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            replications: 200,
            seed: 1,
        }
    }
}

/// Judges every file of `source`; `progress` hears the path of each when it is done. The result does not depend on how
/// many threads there are. Needs two replications at least.
pub fn validate(source: &Source, options: &Options, progress: &(dyn Fn(&str) + Sync)) -> Report {
    assert!(options.replications >= 2, "one replication has no spread");
    let judgements: Vec<Judgement> = source
        .files()
        .par_iter()
        .map(|file| {
            let judgement = judge(file, source, options);
            progress(file.path());
            judgement
        })
        .collect();
    let mut all = Judgement::default();
    for judgement in judgements {
        all.append(judgement);
    }
    report::report(all, options)
}

/// Judges one file.
fn judge(file: &File, source: &Source, options: &Options) -> Judgement {
    match Kind::of(file.path()) {
        Kind::Table(judge) => judge(file).unwrap_or_else(Judgement::of_fault),
        Kind::Probability(judge) | Kind::Run(judge) => {
            judge(file, options).unwrap_or_else(Judgement::of_fault)
        }
        Kind::Folder(judge) => judge(file, source, options).unwrap_or_else(Judgement::of_fault),
        Kind::NotJudged(why) => Judgement::not_judged(file.path(), why),
    }
}
