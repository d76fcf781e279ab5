//! `fivetuple topology SCENARIO`: the network of a scenario in Graphviz' language.

use std::path::Path;
use std::process::ExitCode;

use super::BAD_INPUT;
use super::output::{complain, print, remark};
use crate::scenario::{self, Limits};
use crate::topology::Topology;

/// Prints the graph of the scenario at `path`.
pub(super) fn topology(path: &Path, sets: &[String], limits: Limits) -> ExitCode {
    let plan = match scenario::load_with(path, sets, limits) {
        Ok(scenario) => scenario.plan,
        Err(diagnostics) => {
            complain(&diagnostics.render(true));
            return ExitCode::from(BAD_INPUT);
        }
    };
    match print(&Topology::of(&plan).to_dot()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            remark(&format!("error: cannot write to stdout: {error}"));
            ExitCode::from(BAD_INPUT)
        }
    }
}
