//! The binary: hands the arguments to [`fivetuple::cli`] and maps its answer to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    fivetuple::cli::main()
}
