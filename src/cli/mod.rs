//! The command line: arguments, one file per command, exit codes.
//!
//! stdout carries results, stderr progress, remarks and speed. Exit codes: 0 fine, 1 an expectation or a validation failed, 2 bad usage
//! or input, 130 interrupted. The wall clock is read here and nowhere else.

pub mod check;
mod output;
mod packetdrill;
mod plot;
mod profiles;
mod progress;
mod run;
mod topology;
mod validate;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::scenario::Limits;

/// Exit code: an expectation or a validation failed.
const EXPECTATION_FAILED: u8 = 1;
/// Exit code: bad usage or input; also results that cannot be written.
const BAD_INPUT: u8 = 2;
/// Exit code: the run was stopped before its end, as a shell reports SIGINT.
const INTERRUPTED: u8 = 130;

/// Predicts how often a new connection meets a pod socket in TIME_WAIT behind SNAT, what the user sees of it and why.
#[derive(Debug, Parser)]
#[command(name = "fivetuple", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Simulate a scenario: summary on the screen, files in --out
    Run(RunArguments),
    /// Read scenarios and say what is wrong with them
    Check {
        /// Scenario files
        #[arg(required = true, value_name = "SCENARIO")]
        scenarios: Vec<PathBuf>,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Draw the network of a scenario, or print it as a Graphviz graph
    Topology(topology::TopologyArguments),
    /// Print the kernel profiles, the switches of one, or the differences of two
    Profiles {
        /// Profiles; none: all of them in a line each
        #[arg(value_name = "PROFILE", num_args = 0..=2)]
        names: Vec<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Hold measured kernels against the simulator: figures, decision tables, verdict
    Validate(ValidateArguments),
    /// Play packetdrill scripts against the simulated kernel; exit code 1 if any fails
    Packetdrill(packetdrill::PacketdrillArguments),
    /// Draw a figure
    Plot {
        #[command(subcommand)]
        figure: plot::FigureCommand,
    },
}

/// What changes a scenario from outside.
#[derive(Debug, Args)]
struct Overrides {
    /// Set a key of the scenario, such as clients.rate=500/s; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Allow runs of more than 100 million connections
    #[arg(long)]
    yes: bool,
}

impl Overrides {
    const fn limits(&self) -> Limits {
        Limits { yes: self.yes }
    }
}

/// Arguments of `run`.
#[derive(Debug, Args)]
struct RunArguments {
    /// Scenario file
    scenario: PathBuf,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
    /// Write manifest, summary and tables into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    /// Root seed, instead of the scenario's
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<u64>,
    /// Independent repetitions, instead of the scenario's
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    replications: Option<u32>,
    /// Threads; the result does not depend on them [default: one per processor]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Rows of the tables: hits and failures only, or every attempt and request
    #[arg(long, value_enum, default_value_t = Records::Hits)]
    records: Records,
}

/// Arguments of `validate`.
#[derive(Debug, Args)]
struct ValidateArguments {
    /// Folder of measurements, instead of those that are built in
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Replications of each measured run; the intervals are wider with fewer
    #[arg(long, value_name = "N", default_value_t = 200, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    replications: u32,
    /// Print rows and summary as JSON
    #[arg(long)]
    json: bool,
}

/// What the tables hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Records {
    /// Attempts that met TIME_WAIT and requests that failed.
    Hits,
    /// Every attempt and every request.
    All,
}

/// Runs the program.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check { scenarios, overrides } => {
            check::check(&scenarios, &overrides.sets, overrides.limits())
        }
        Command::Topology(arguments) => topology::topology(&arguments),
        Command::Profiles { names, json } => profiles::profiles(&names, json),
        Command::Validate(arguments) => validate::validate(&arguments),
        Command::Packetdrill(arguments) => packetdrill::packetdrill(&arguments),
        Command::Plot { figure } => plot::plot(&figure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
