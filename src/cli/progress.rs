//! How far a run is: a bar on stderr if that is a terminal, and the speed when it is over.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::spec::Plan;
use crate::units::SimDuration;

/// Ctrl-C was pressed.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on the first Ctrl-C ends the run at the next simulated second, with what is finished kept; a second one
/// ends the program at once.
pub(super) fn stop_on_interrupt() {
    // Without a handler Ctrl-C ends the program, as it would anyway.
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(super::INTERRUPTED));
        }
    });
}

/// From now on Ctrl-C ends the program at once: a judgement in parts is none.
pub(super) fn quit_on_interrupt() {
    let _ = ctrlc::set_handler(|| std::process::exit(i32::from(super::INTERRUPTED)));
}

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

    /// Replication `replication` has reached `time`. False once the user has asked to stop.
    pub fn reached(&self, replication: u32, time: SimDuration) -> bool {
        let seconds = time.as_secs();
        let before = self
            .reached
            .get(replication as usize)
            .map_or(seconds, |reached| reached.swap(seconds, Ordering::Relaxed));
        self.bar.inc(seconds.saturating_sub(before));
        !INTERRUPTED.load(Ordering::Relaxed)
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
