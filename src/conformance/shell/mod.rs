//! The shell of a script: a small interpreter over the simulated machine. Nothing runs outside of it.
//!
//! A command that is not known, or an option of one, ends the script as unsupported: a check that is not understood must
//! not count as passed.

mod network;
mod pattern;
mod syntax;
mod sysctl;
mod tools;

use std::collections::BTreeMap;

use self::syntax::{Connector, Piece, Pipeline, Word};
pub use self::tools::Outcome;
use super::machine::Machine;

/// Deepest nesting of substitutions and of files that name files.
const MAX_DEPTH: u32 = 8;

/// Commands that cannot change anything here: a machine without files, qdiscs, routes that matter or modules.
const NO_EFFECT: &[&[&str]] = &[
    &["modprobe"],
    &["ip", "tcp_metrics", "flush"],
    &["ip", "link", "set"],
    &["tc", "qdisc", "add", "dev", "tun0", "root", "pfifo"],
    &["tc", "qdisc", "add", "dev", "tun0", "root", "fq"],
    &["tc", "qdisc", "replace", "dev", "tun0", "root", "pfifo"],
    &["tc", "qdisc", "replace", "dev", "tun0", "root", "fq"],
    &["tc", "qdisc", "delete", "dev", "tun0", "root"],
];

/// What the well-known shell libraries of the public suites do as far as it matters here: google/packetdrill's and the
/// kernel selftests' `defaults.sh`, the netfilter selftests' `common.sh`. Used when the file is not beside the script.
const LIBRARIES: &[(&str, &str)] = &[
    (
        "defaults.sh",
        "sysctl -q net.ipv4.tcp_rmem='4096 540000 15728640' net.ipv4.tcp_wmem='4096 262144 4194304' \
         net.ipv4.tcp_timestamps=1 net.ipv4.tcp_syn_retries=5 net.ipv4.tcp_synack_retries=5 net.ipv4.tcp_ecn=0",
    ),
    (
        "common.sh",
        "sysctl -q net.ipv4.tcp_rmem='4096 540000 15728640' net.ipv4.tcp_wmem='4096 262144 4194304' \
         net.ipv4.tcp_ecn=0; $xtables -A INPUT -m conntrack --ctstate NEW -p tcp --syn",
    ),
];

/// The shell: variables, and where script files are found.
pub struct Shell<'a> {
    variables: BTreeMap<String, String>,
    files: &'a dyn Fn(&str) -> Option<String>,
    depth: u32,
}

impl<'a> Shell<'a> {
    /// A shell that finds script files through `files`. The variables are those that the suites' own runners set.
    pub fn new(files: &'a dyn Fn(&str) -> Option<String>) -> Self {
        let variables = [
            ("xtables", "iptables"),
            ("NFCT_IP_VERSION", "ipv4"),
            ("PPID", "1"),
        ];
        Self {
            variables: variables
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            files,
            depth: 0,
        }
    }

    /// Runs a command line or a script.
    ///
    /// # Errors
    /// What is not understood.
    pub fn run(&mut self, text: &str, machine: &mut Machine) -> Result<Outcome, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("shell commands nested more than {MAX_DEPTH} deep"));
        }
        let mut last = Outcome::default();
        let mut stdout = String::new();
        for pipeline in syntax::parse(text)? {
            let wanted = match pipeline.connector {
                Connector::Always => true,
                Connector::And => last.status == 0,
                Connector::Or => last.status != 0,
            };
            if wanted {
                last = self.pipeline(&pipeline, machine)?;
                stdout.push_str(&last.stdout);
            }
        }
        self.depth -= 1;
        Ok(Outcome { stdout, ..last })
    }

    fn pipeline(&mut self, pipeline: &Pipeline, machine: &mut Machine) -> Result<Outcome, String> {
        let mut outcome = Outcome::default();
        for command in &pipeline.commands {
            let mut words = Vec::new();
            for word in &command.words {
                self.expand(word, machine, &mut words)?;
            }
            outcome = self.command(&words, &outcome.stdout, machine)?;
            if command.silent {
                outcome.stdout.clear();
            }
        }
        if pipeline.negated {
            outcome.status = i32::from(outcome.status == 0);
        }
        Ok(outcome)
    }

    /// Expands a word; what comes of variables and commands outside of quotes is split at blanks.
    fn expand(&mut self, word: &Word, machine: &mut Machine, into: &mut Vec<String>) -> Result<(), String> {
        let mut current: Option<String> = None;
        for piece in word {
            let (text, split) = match piece {
                Piece::Literal(text) => (text.clone(), false),
                Piece::Variable(name, quoted) => {
                    (self.variables.get(name).cloned().unwrap_or_default(), !quoted)
                }
                Piece::Command(text, quoted) => {
                    let printed = self.run(text, machine)?.stdout;
                    (printed.trim_end_matches('\n').to_owned(), !quoted)
                }
                Piece::Arithmetic(text) => (arithmetic(text)?.to_string(), false),
            };
            if !split {
                current.get_or_insert_default().push_str(&text);
                continue;
            }
            for (index, part) in text.split_whitespace().enumerate() {
                if index > 0 {
                    into.extend(current.take());
                }
                current.get_or_insert_default().push_str(part);
            }
        }
        into.extend(current);
        Ok(())
    }

    fn command(&mut self, words: &[String], stdin: &str, machine: &mut Machine) -> Result<Outcome, String> {
        let Some((name, args)) = words.split_first() else {
            return Ok(Outcome::default());
        };
        if let Some((variable, value)) = name.split_once('=')
            && args.is_empty()
            && variable.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            self.variables.insert(variable.to_owned(), value.to_owned());
            return Ok(Outcome::default());
        }
        if let Some(outcome) = tools::run(name, args, stdin) {
            return outcome;
        }
        let file = name.rsplit('/').next().unwrap_or(name);
        if file == "set_sysctls.py" {
            return sysctl::set_files(args, machine);
        }
        // Restores what set_sysctls.py saved; the machine ends with the script.
        if file.starts_with("sysctl_restore_") {
            return Ok(Outcome::default());
        }
        if file.strip_suffix(".sh").is_some() {
            return self.library(name, file, args, machine);
        }
        let is = |known: &[&str]| known.len() <= words.len() && known.iter().zip(words).all(|(k, w)| k == w);
        let limits = words.iter().any(|word| word == "limit");
        if NO_EFFECT.iter().any(|known| is(known)) && !limits {
            return Ok(Outcome::default());
        }
        match name.as_str() {
            "ss" => network::ss(args, machine),
            "conntrack" => network::conntrack(args, machine),
            "iptables" => network::iptables(args, machine),
            "sysctl" => sysctl::sysctl(args, machine),
            _ => Err(format!("command {}", words.join(" "))),
        }
    }

    fn library(
        &mut self,
        path: &str,
        file: &str,
        args: &[String],
        machine: &mut Machine,
    ) -> Result<Outcome, String> {
        if !args.is_empty() {
            return Err(format!("arguments of {path}"));
        }
        let text = (self.files)(path).or_else(|| {
            let known = LIBRARIES.iter().find(|(name, _)| *name == file);
            known.map(|(_, text)| (*text).to_owned())
        });
        match text {
            Some(text) => self.run(&text, machine),
            None => Err(format!("script {path}: no such file")),
        }
    }
}

/// `1024*1024`: whole numbers, products and sums.
fn arithmetic(text: &str) -> Result<i64, String> {
    let unknown = || format!("arithmetic {text}");
    let product = |term: &str| {
        term.split('*').try_fold(1_i64, |product, factor| {
            let factor: i64 = factor.trim().parse().map_err(|_| unknown())?;
            product.checked_mul(factor).ok_or_else(unknown)
        })
    };
    text.split('+').try_fold(0_i64, |sum, term| {
        sum.checked_add(product(term)?).ok_or_else(unknown)
    })
}

#[cfg(test)]
mod tests;
