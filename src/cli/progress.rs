//! How far a run is: a bar on stderr if that is a terminal, and the speed when it is over.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::spec::Plan;
use crate::units::SimDuration;

/// The bar, counting simulated seconds over all replications.
pub(super) struct Progress {
    bar: ProgressBar,
    /// Seconds reached, by replication.
    reached: Vec<AtomicU64>,
    started: Instant,
}

impl Progress {
    /// A bar for the run of `plan`; hidden unless stderr is a terminal.
    pub fn new(plan: &Plan) -> Self {
        let replications = plan.replications.max(1);
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::new(plan.duration.as_secs() * u64::from(replications))
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} simulated s, {eta} left") {
            bar.set_style(style);
        }
        Self {
            bar,
            reached: (0..replications).map(|_| AtomicU64::new(0)).collect(),
            started: Instant::now(),
        }
    }

    /// Replication `replication` has reached `time`. Always goes on.
    pub fn reached(&self, replication: u32, time: SimDuration) -> bool {
        let seconds = time.as_secs();
        let before = self
            .reached
            .get(replication as usize)
            .map_or(seconds, |reached| reached.swap(seconds, Ordering::Relaxed));
        self.bar.inc(seconds.saturating_sub(before));
        true
    }

    /// Takes the bar away and says how fast it went.
    pub fn finish(self, events: u64, simulated: f64) -> String {
        self.bar.finish_and_clear();
        let wall = self.started.elapsed().as_secs_f64();
        let per_second = |amount: f64| if wall > 0.0 { amount / wall } else { 0.0 };
        format!(
            "{wall:.1} s: {:.2} million events/s, {:.0} simulated s per s",
            per_second(events as f64) / 1e6,
            per_second(simulated)
        )
    }
}
