//! Writing results to stdout: a reader that went away ends the output quietly.

use std::io::{self, Write};

/// Writes `text` to stdout. A broken pipe is no error: who reads has seen enough.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Writes a line to stderr; nobody is left to tell if that fails.
pub(super) fn remark(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes styled text to stderr as it stands, without colours where stderr is no terminal or `NO_COLOR` is set.
pub(super) fn complain(styled: &str) {
    let _ = anstream::stderr().lock().write_all(styled.as_bytes());
}
