//! `fivetuple packetdrill FILE...`: plays packetdrill scripts against the simulated kernel.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::output::{print, remark};
use super::{BAD_INPUT, EXPECTATION_FAILED};
use crate::conformance::{self, ProblemKind};
use crate::profile::{self, Profile};

/// Arguments of `packetdrill`.
#[derive(Debug, Args)]
pub struct PacketdrillArguments {
    /// Scripts
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Kernel under test
    #[arg(long, value_name = "NAME", default_value = "6.18")]
    profile: String,
}

/// Runs each script on a machine of its own; one line per script, then the counts.
pub fn packetdrill(arguments: &PacketdrillArguments) -> ExitCode {
    let Some(profile) = profile::find(&arguments.profile) else {
        let names: Vec<_> = Profile::ALL.iter().map(|profile| profile.name).collect();
        remark(&format!(
            "error: no kernel profile {:?}; there are {}",
            arguments.profile,
            names.join(", ")
        ));
        return ExitCode::from(BAD_INPUT);
    };
    let (mut passed, mut failed, mut skipped, mut unreadable) = (0, 0, 0, false);
    let mut report = String::new();
    for path in &arguments.files {
        let bytes = match fs_err::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                remark(&format!("error: {error}"));
                unreadable = true;
                continue;
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        let (verdict, rest) = match conformance::run(&text, profile, &|name| library(path, name)) {
            Ok(()) => {
                passed += 1;
                ("PASS", String::new())
            }
            Err(problem) => {
                let verdict = match problem.kind {
                    ProblemKind::Failed { .. } => {
                        failed += 1;
                        "FAIL"
                    }
                    ProblemKind::Unsupported(_) => {
                        skipped += 1;
                        "SKIP"
                    }
                };
                (
                    verdict,
                    format!(":{} {}", problem.line, one_line(&problem.kind.to_string())),
                )
            }
        };
        writeln!(report, "{verdict} {}{rest}", path.display()).expect("a string takes any text");
    }
    writeln!(report, "{passed} passed, {failed} failed, {skipped} skipped").expect("a string takes any text");
    if let Err(error) = print(&report) {
        remark(&format!("error: cannot write to stdout: {error}"));
        return ExitCode::from(BAD_INPUT);
    }
    match (unreadable, failed) {
        (true, _) => ExitCode::from(BAD_INPUT),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::from(EXPECTATION_FAILED),
    }
}

/// A shell library that a script names: beside the script, or beside its folder, from where some suites run theirs.
fn library(script: &Path, name: &str) -> Option<String> {
    let folder = script.parent()?;
    [folder.join(name), folder.join("..").join(name)]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
}

/// Control characters of a hostile script must not reach the terminal, nor may a verdict take two lines.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
