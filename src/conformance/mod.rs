//! Packetdrill scripts against the simulated kernel: the conformance runner.
//!
//! A script plays the network and the application; the kernel under test is the simulator's own TCP stack with its
//! connection tracking in front of it. What is compared, and with what tolerance, follows packetdrill (google/packetdrill,
//! `gtests/net/packetdrill/{run.c,run_packet.c,run_system_call.c}`): scripts written for it run unchanged. What this
//! runner does not know is reported as such and never passed over; `docs/packetdrill.md` lists it.
//!
//! ```text
//! text -lexer-> tokens -parser-> Script -runner-> Verdict
//!                                         |- machine: stack, conntrack, virtual time, the queue of sent segments
//!                                         |- calls: descriptors and system calls
//!                                         |- expect: a sent segment against the script's
//!                                         '- shell: ss, conntrack, iptables, sysctl, grep, test
//! ```

mod ast;
mod calls;
mod code;
mod expect;
mod icmp;
mod lexer;
mod machine;
mod netfilter;
mod options;
mod parser;
mod poll;
mod runner;
mod shell;
mod symbols;
mod tcp_info;

use std::fmt;

use self::options::RunOptions;
use self::runner::Runner;
use crate::profile::Profile;

/// Runs a script on a machine with that kernel. `files` finds the shell libraries that scripts name. Gives what differed
/// where the script allows it: remarks, no failures.
///
/// # Errors
/// The first thing that was not as expected, or that the runner does not know.
pub fn run(
    text: &str,
    profile: &Profile,
    files: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Problem>, Problem> {
    let script = parser::parse(text)?;
    let options = RunOptions::of(&script)?;
    Runner::new(profile, options, files).run(&script)
}

/// Why a script did not pass, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line in the script, from 1.
    pub line: usize,
    /// What happened there.
    pub kind: ProblemKind,
}

/// What happened at the line of a [`Problem`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProblemKind {
    /// The kernel, or the script itself, was not as expected.
    Failed {
        /// What the script says.
        expected: String,
        /// What was there instead.
        got: String,
    },
    /// The runner does not know this.
    Unsupported(String),
}

impl Problem {
    fn fail(line: usize, expected: impl fmt::Display, got: impl fmt::Display) -> Self {
        let (expected, got) = (expected.to_string(), got.to_string());
        Self {
            line,
            kind: ProblemKind::Failed { expected, got },
        }
    }

    fn skip(line: usize, what: impl fmt::Display) -> Self {
        Self {
            line,
            kind: ProblemKind::Unsupported(what.to_string()),
        }
    }

    fn unsupported(&self) -> Option<String> {
        match &self.kind {
            ProblemKind::Unsupported(what) => Some(what.clone()),
            ProblemKind::Failed { .. } => None,
        }
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { expected, got } => write!(f, "expected {expected} got {got}"),
            Self::Unsupported(what) => write!(f, "unsupported {what}"),
        }
    }
}
