//! poll(): which events a descriptor has (`tcp_poll()`, net/ipv4/tcp.c).

use super::ast::Expr;
use super::symbols::evaluate;
use crate::model::tcp::Readiness;

/// Event bits (include/uapi/asm-generic/poll.h).
pub mod bits {
    /// Data or the end can be read, or a connection accepted.
    pub const IN: i64 = 1;
    /// Sending does not block.
    pub const OUT: i64 = 4;
    /// An error is pending.
    pub const ERR: i64 = 8;
    /// Both directions are closed.
    pub const HUP: i64 = 16;
    /// As IN and OUT, by their other names.
    pub const RDNORM: i64 = 64;
    /// As OUT.
    pub const WRNORM: i64 = 256;
    /// The peer has closed.
    pub const RDHUP: i64 = 0x2000;
}

/// Events of a connection.
pub fn events_of(readiness: Readiness) -> i64 {
    let Readiness {
        data,
        end,
        writable,
        write_closed,
        closed,
        error,
    } = readiness;
    let when = |on: bool, bits: i64| if on { bits } else { 0 };
    when(closed || (end && write_closed), bits::HUP)
        | when(end, bits::IN | bits::RDNORM | bits::RDHUP)
        | when(data, bits::IN | bits::RDNORM)
        | when(writable, bits::OUT | bits::WRNORM)
        | when(error, bits::ERR)
}

/// One entry of poll()'s array: descriptor, events asked for, events expected.
///
/// # Errors
/// What is not understood.
pub fn pollfd(expr: &Expr) -> Result<(i64, i64, i64), String> {
    let field = |name: &str| expr.field(name).map(evaluate);
    match (field("fd"), field("events"), field("revents")) {
        (Some(fd), Some(events), revents) => Ok((fd?, events?, revents.unwrap_or(Ok(0))?)),
        _ => Err(format!("poll of {expr}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Readiness = Readiness {
        data: false,
        end: false,
        writable: false,
        write_closed: false,
        closed: false,
        error: false,
    };

    #[test]
    fn events_follow_from_what_a_connection_is_ready_for() {
        let table = [
            (QUIET, 0),
            (
                Readiness {
                    writable: true,
                    ..QUIET
                },
                bits::OUT | bits::WRNORM,
            ),
            (Readiness { data: true, ..QUIET }, bits::IN | bits::RDNORM),
            (
                Readiness { end: true, ..QUIET },
                bits::IN | bits::RDNORM | bits::RDHUP,
            ),
            (Readiness { error: true, ..QUIET }, bits::ERR),
            (
                Readiness {
                    end: true,
                    write_closed: true,
                    ..QUIET
                },
                bits::HUP | bits::IN | bits::RDNORM | bits::RDHUP,
            ),
        ];
        for (readiness, events) in table {
            assert_eq!(events_of(readiness), events, "{readiness:?}");
        }
    }
}
