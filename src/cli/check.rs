//! `fivetuple check FILE...`: reads scenarios and says what is wrong with them, without a run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::scenario::{self, Limits};

/// Bad input, as for every command.
const BAD_INPUT: u8 = 2;

/// Checks each file with the `--set` arguments applied; exit code 2 if any is wrong.
pub fn check(paths: &[PathBuf], sets: &[String], limits: Limits) -> ExitCode {
    let fine = paths.iter().filter(|path| check_one(path, sets, limits)).count();
    if fine == paths.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(BAD_INPUT)
    }
}

fn check_one(path: &Path, sets: &[String], limits: Limits) -> bool {
    match scenario::load_with(path, sets, limits) {
        Ok(scenario) => {
            anstream::println!("{}: fine, {}", path.display(), scenario.plan.hash);
            for note in scenario.notes {
                anstream::println!("  note: {note}");
            }
            true
        }
        Err(diagnostics) => {
            // anstream takes the colours out where the terminal has none.
            anstream::eprint!("{}", diagnostics.render(true));
            false
        }
    }
}
