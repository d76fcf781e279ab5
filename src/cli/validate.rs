//! `fivetuple validate`: measured kernels against the simulator.

use std::io::IsTerminal;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

use super::output::{print, remark};
use super::progress::quit_on_interrupt;
use super::{BAD_INPUT, EXPECTATION_FAILED, ValidateArguments};
use crate::validate::{self, Options, Report, Source};

/// Judges the packaged measurements, or those of a folder.
pub(super) fn validate(arguments: &ValidateArguments) -> ExitCode {
    let source = match &arguments.data {
        None => Source::packaged(),
        Some(folder) => match Source::folder(folder) {
            Ok(source) => source,
            Err(error) => return fail(&error.to_string()),
        },
    };
    let options = Options {
        replications: arguments.replications,
        ..Options::default()
    };
    quit_on_interrupt();
    let bar = bar(source.files().len());
    let report = validate::validate(&source, &options, &|path| {
        bar.set_message(path.to_owned());
        bar.inc(1);
    });
    bar.finish_and_clear();
    finish(&report, arguments)
}

/// Files judged so far; hidden unless stderr is a terminal.
fn bar(files: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(files as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} files, {elapsed}, {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(std::time::Duration::from_secs(1));
    bar
}

fn finish(report: &Report, arguments: &ValidateArguments) -> ExitCode {
    let text = if arguments.json {
        serde_json::to_string_pretty(report).expect("a report has only string keys") + "\n"
    } else {
        validate::screen(report)
    };
    if let Err(error) = print(&text) {
        return fail(&format!("cannot write to stdout: {error}"));
    }
    if report.is_empty() {
        return fail("nothing in the folder can be judged; docs/validation.md says how it must be laid out");
    }
    if report.summary.passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXPECTATION_FAILED)
    }
}

fn fail(message: &str) -> ExitCode {
    remark(&format!("error: {message}"));
    ExitCode::from(BAD_INPUT)
}
