//! `fivetuple topology SCENARIO`: the network of a scenario, drawn or in Graphviz' language.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::output::{complain, print, remark};
use super::{BAD_INPUT, Overrides};
use crate::scenario;
use crate::topology::{self, Topology};

/// Arguments of `topology`.
#[derive(Debug, Args)]
pub(super) struct TopologyArguments {
    /// Scenario file
    scenario: PathBuf,
    /// A drawing, or a Graphviz graph [default: by the ending of --out, else dot]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// File to write, instead of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
}

/// How the network is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A drawing, equal hosts folded into one.
    Svg,
    /// Every host and link, in Graphviz' language.
    Dot,
}

/// Shows the network of a scenario.
pub(super) fn topology(arguments: &TopologyArguments) -> ExitCode {
    let overrides = &arguments.overrides;
    let plan = match scenario::load_with(&arguments.scenario, &overrides.sets, overrides.limits()) {
        Ok(scenario) => scenario.plan,
        Err(diagnostics) => {
            complain(&diagnostics.render(true));
            return ExitCode::from(BAD_INPUT);
        }
    };
    let out = arguments.out.as_deref();
    let text = match arguments.format.unwrap_or_else(|| format_of(out)) {
        Format::Svg => topology::svg(&plan),
        Format::Dot => Topology::of(&plan).to_dot(),
    };
    let written = match out {
        None => print(&text).map_err(|error| format!("cannot write to stdout: {error}")),
        Some(path) => {
            write(path, &text).map_err(|error| format!("cannot write `{}`: {error}", path.display()))
        }
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            remark(&format!("error: {message}"));
            ExitCode::from(BAD_INPUT)
        }
    }
}

fn format_of(out: Option<&Path>) -> Format {
    let ending = out.and_then(Path::extension);
    if ending.is_some_and(|ending| ending.eq_ignore_ascii_case("svg")) {
        Format::Svg
    } else {
        Format::Dot
    }
}

/// Writes the file beside its place and renames it, so that it is there whole or as it was. Behind a symbolic link the file
/// itself is replaced, not the link; what is no file, such as `/dev/stdout`, is simply written to.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let path = &if path.try_exists()? {
        fs_err::canonicalize(path)?
    } else {
        path.to_owned()
    };
    if path.try_exists()? && !path.is_file() {
        return fs_err::write(path, text);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    builder.prefix(".fivetuple-");
    // A temporary file is private to its owner; a drawing is made like any other file.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
