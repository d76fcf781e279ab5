//! ICMP messages of a script: which error each stands for.

use super::ast::Icmp;
use crate::model::tcp::SocketError;

/// The error that a message means to a connection (`icmp_err_convert`, net/ipv4/icmp.c; `tcp_v4_err()`,
/// net/ipv4/tcp_ipv4.c); `Ok(None)`: TCP ignores it.
///
/// # Errors
/// What is not modelled.
pub fn error_of(message: &Icmp) -> Result<Option<SocketError>, String> {
    use SocketError::{
        ConnRefused, HostDown, HostUnreachable, NetUnreachable, NoNet, NoProtocol, NotSupported, Protocol,
    };
    Ok(Some(match (message.kind.as_str(), message.code.as_str()) {
        ("redirect" | "source_quench", _) => return Ok(None),
        ("parameter_problem", _) => Protocol,
        ("unreachable", "net_unreachable" | "net_unknown" | "net_prohibited" | "net_unreachable_for_tos") => {
            NetUnreachable
        }
        ("time_exceeded", _)
        | (
            "unreachable",
            "host_unreachable"
            | "host_prohibited"
            | "host_unreachable_for_tos"
            | "packet_filtered"
            | "precedence_violation"
            | "precedence_cutoff",
        ) => HostUnreachable,
        ("unreachable", "protocol_unreachable") => NoProtocol,
        ("unreachable", "port_unreachable") => ConnRefused,
        ("unreachable", "source_route_failed") => NotSupported,
        ("unreachable", "host_unknown") => HostDown,
        ("unreachable", "source_host_isolated") => NoNet,
        (kind, code) => return Err(format!("ICMP message {kind} {code}")),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_mean_errors() {
        let table = [
            ("unreachable", "port_unreachable", Ok(Some("ECONNREFUSED"))),
            ("unreachable", "net_unknown", Ok(Some("ENETUNREACH"))),
            ("unreachable", "host_unknown", Ok(Some("EHOSTDOWN"))),
            (
                "time_exceeded",
                "ttl_exceeded_in_transit",
                Ok(Some("EHOSTUNREACH")),
            ),
            ("redirect", "", Ok(None)),
            ("unreachable", "frag_needed", Err(())),
            ("echo_request", "", Err(())),
        ];
        for (kind, code, expected) in table {
            let (kind, code) = (kind.to_owned(), code.to_owned());
            let message = Icmp { kind, code, seq: 0 };
            let got = error_of(&message).map(|error| error.map(SocketError::name));
            assert_eq!(got.map_err(drop), expected, "{message:?}");
        }
    }
}
