//! `fivetuple run SCENARIO`: simulate, print, store.

use std::process::ExitCode;

use super::output::{complain, print, remark};
use super::progress::{Progress, stop_on_interrupt};
use super::{BAD_INPUT, EXPECTATION_FAILED, INTERRUPTED, Records, RunArguments};
use crate::experiment::{self, Outcome};
use crate::observe::RecordOptions;
use crate::report;
use crate::scenario;
use crate::spec::Plan;

/// Runs the scenario that `arguments` name.
pub(super) fn run(arguments: &RunArguments) -> ExitCode {
    let sets = sets(arguments);
    let plan = match scenario::load_with(&arguments.scenario, &sets, arguments.overrides.limits()) {
        Ok(scenario) => {
            for note in &scenario.notes {
                remark(&format!("note: {note}"));
            }
            scenario.plan
        }
        Err(diagnostics) => {
            complain(&diagnostics.render(true));
            return ExitCode::from(BAD_INPUT);
        }
    };
    // Before the run: nobody wants to learn it afterwards.
    if let Some(folder) = &arguments.out
        && let Err(error) = report::check_writable(folder)
    {
        return fail(&error.to_string());
    }
    let outcome = simulate(&plan, arguments);
    finish(&plan, &outcome, arguments)
}

/// The overrides in their order; flags come last, so they win.
fn sets(arguments: &RunArguments) -> Vec<String> {
    let mut sets = arguments.overrides.sets.clone();
    sets.extend(arguments.seed.map(|seed| format!("seed={seed}")));
    sets.extend(arguments.replications.map(|n| format!("replications={n}")));
    sets
}

fn simulate(plan: &Plan, arguments: &RunArguments) -> Outcome {
    let mut options = RecordOptions {
        all: arguments.records == Records::All,
        ..RecordOptions::default()
    };
    if arguments.out.is_none() {
        // Nobody will read more, and a long run is to take no more memory than a short one.
        options.cap = experiment::SCORECARD_HITS;
    }
    stop_on_interrupt();
    let progress = Progress::new(plan);
    let outcome = experiment::run(
        plan,
        options,
        arguments.threads.map(usize::from),
        &|replication, time| progress.reached(replication, time),
    );
    let meta = &outcome.summary.meta;
    let simulated = meta.simulated_seconds * f64::from(meta.replications);
    remark(&progress.finish(meta.events, simulated));
    outcome
}

/// Stores and prints; the exit code says what the figures say.
fn finish(plan: &Plan, outcome: &Outcome, arguments: &RunArguments) -> ExitCode {
    let summary = &outcome.summary;
    if let Some(folder) = &arguments.out {
        if let Err(error) = report::write_folder(folder, plan, outcome) {
            return fail(&error.to_string());
        }
        remark(&format!("results in {} (seed {})", folder.display(), plan.seed));
    }
    let text = if arguments.json {
        report::json(summary)
    } else {
        report::screen(plan, summary)
    };
    if let Err(error) = print(&text) {
        return fail(&format!("cannot write to stdout: {error}"));
    }
    let mut failed = false;
    for (expectation, verdict) in plan.expectations.iter().zip(&summary.expectations) {
        if !verdict.passed {
            failed = true;
            remark(&format!(
                "{}: expectation failed: {}",
                expectation.location, verdict.that
            ));
        }
    }
    if summary.meta.interrupted {
        ExitCode::from(INTERRUPTED)
    } else if failed {
        ExitCode::from(EXPECTATION_FAILED)
    } else {
        ExitCode::SUCCESS
    }
}

fn fail(message: &str) -> ExitCode {
    remark(&format!("error: {message}"));
    ExitCode::from(BAD_INPUT)
}
