//! `fivetuple check FILE...`: reads scenarios and says what is wrong with them, without a run.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::BAD_INPUT;
use super::output::{complain, print, remark};
use crate::scenario::{self, Limits};

/// Checks each file with the `--set` arguments applied; exit code 2 if any is wrong.
pub fn check(paths: &[PathBuf], sets: &[String], limits: Limits) -> ExitCode {
    let mut good = true;
    for path in paths {
        match check_one(path, sets, limits) {
            Ok(report) => {
                if let Err(error) = print(&report) {
                    remark(&format!("error: cannot write to stdout: {error}"));
                    return ExitCode::from(BAD_INPUT);
                }
            }
            Err(problems) => {
                good = false;
                complain(&problems);
            }
        }
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(BAD_INPUT)
    }
}

/// What there is to say about a good file, or what is wrong with a bad one.
fn check_one(path: &Path, sets: &[String], limits: Limits) -> Result<String, String> {
    let scenario = scenario::load_with(path, sets, limits).map_err(|diagnostics| diagnostics.render(true))?;
    let mut report = format!("{}: fine, {}\n", path.display(), scenario.plan.hash);
    for note in scenario.notes {
        writeln!(report, "  note: {note}").expect("a string takes any text");
    }
    Ok(report)
}
