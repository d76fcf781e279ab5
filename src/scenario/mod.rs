//! Scenario files: TOML text -> document with places -> resolved [`Plan`].
//!
//! Errors are collected and point at the text. Keys are listed in one table, from which the reference page is made too.

mod diagnostic;
mod distribution;
mod document;
mod hash;
mod keys;
mod link;
mod reader;
mod reference;
mod resolve;
mod set;
mod sysctl;
mod table_file;
mod words;

use std::path::Path;

pub use diagnostic::{Diagnostic, Diagnostics};
pub use reference::reference_page;
pub use sysctl::set_sysctl;
pub(crate) use words::{nearest, shorten};

use crate::spec::Plan;
use document::Table;
use reader::{Reader, Sink};

/// What the user allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// `--yes`: also runs of more than 100 million connections.
    pub yes: bool,
}

/// A resolved scenario and what should be said beside its result.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// The plan.
    pub plan: Plan,
    /// Remarks that are no errors: unverified parts of profiles, keys without effect.
    pub notes: Vec<String>,
}

/// Longest scenario file, in octets.
const MAX_FILE: u64 = 4 << 20;

/// Reads and resolves the scenario file `path`, with `--set` arguments applied in their order.
pub fn load(path: &Path, sets: &[String]) -> Result<Plan, Diagnostics> {
    load_with(path, sets, Limits::default()).map(|scenario| scenario.plan)
}

/// As [`load`], with the user's limits and with remarks.
pub fn load_with(path: &Path, sets: &[String], limits: Limits) -> Result<Scenario, Diagnostics> {
    let name = path.display().to_string();
    let unreadable = |reason: String, help: &str| {
        Diagnostics::unreadable(&name, format!("cannot read `{name}`: {reason}"), help)
    };
    let octets = read_limited(path).map_err(|reason| {
        unreadable(
            reason,
            "the argument is a scenario file, such as scenarios/incident-499.toml",
        )
    })?;
    let text = String::from_utf8(octets).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        unreadable(format!("octet {at} is no UTF-8"), "scenario files are UTF-8 text")
    })?;
    parse_with(&name, &text, sets, limits)
}

fn read_limited(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut octets = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut octets)
        .map_err(|error| error.to_string())?;
    if octets.len() as u64 > MAX_FILE {
        return Err("longer than 4 MiB".to_owned());
    }
    Ok(octets)
}

/// Resolves the text of a scenario; `name` is the file's name for messages, its stem the plan's name.
pub fn parse(name: &str, text: &str, sets: &[String]) -> Result<Plan, Diagnostics> {
    parse_with(name, text, sets, Limits::default()).map(|scenario| scenario.plan)
}

/// As [`parse`], with the user's limits and with remarks.
pub fn parse_with(name: &str, text: &str, sets: &[String], limits: Limits) -> Result<Scenario, Diagnostics> {
    let sink = Sink::beside(name);
    let root = document(text, sets, &sink)
        .map_err(|diagnostic| Diagnostics::new(name, text, sets, vec![diagnostic]))?;
    let stem = Path::new(name)
        .file_stem()
        .map_or_else(|| name.to_owned(), |stem| stem.to_string_lossy().into_owned());
    let resolved = resolve::resolve(&Reader::root(&root, &sink), name, &stem, text, limits);
    if !sink.is_empty() {
        return Err(Diagnostics::new(name, text, sets, sink.into_list()));
    }
    let mut plan = resolved.plan;
    plan.hash = hash::of(&plan);
    Ok(Scenario {
        plan,
        notes: resolved.notes,
    })
}

/// Parses the text and merges the `--set` arguments in; a bad argument is left out and told.
fn document(text: &str, sets: &[String], sink: &Sink) -> Result<Table, Diagnostic> {
    let mut root = document::parse(text)?;
    for (index, argument) in sets.iter().enumerate() {
        if let Err(diagnostic) = set::apply(&mut root, argument, index + 1) {
            sink.push(diagnostic);
        }
    }
    Ok(root)
}

#[cfg(test)]
mod lifecycle_tests;
#[cfg(test)]
mod load_tests;
#[cfg(test)]
mod tests;
