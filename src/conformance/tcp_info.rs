//! The names of TCP_INFO in a script's code, and their values.

use super::machine::Machine;
use crate::model::tcp::{Owner, State};
use crate::units::{FourTuple, SimDuration};

/// States by their number, from 1 on (include/net/tcp_states.h).
const STATES: [(&str, Option<State>); 11] = [
    ("TCP_ESTABLISHED", Some(State::Established)),
    ("TCP_SYN_SENT", Some(State::SynSent)),
    ("TCP_SYN_RECV", Some(State::SynReceived)),
    ("TCP_FIN_WAIT1", Some(State::FinWait1)),
    ("TCP_FIN_WAIT2", Some(State::FinWait2)),
    ("TCP_TIME_WAIT", None),
    ("TCP_CLOSE", Some(State::Closed)),
    ("TCP_CLOSE_WAIT", Some(State::CloseWait)),
    ("TCP_LAST_ACK", Some(State::LastAck)),
    ("TCP_LISTEN", None),
    ("TCP_CLOSING", Some(State::Closing)),
];

/// Other names that packetdrill defines (`code.c`), with their values in include/uapi/linux/tcp.h.
const CONSTANTS: [(&str, i64); 4] = [
    ("TCPI_OPT_TIMESTAMPS", 1),
    ("TCPI_OPT_SACK", 2),
    ("TCPI_OPT_WSCALE", 4),
    // Fast Open is not modelled, and a script cannot ask for it.
    ("TCPI_OPT_SYN_DATA", 32),
];

/// The value of a name for the connection with that tuple; `None`: not modelled.
pub fn value(machine: &Machine, tuple: FourTuple, name: &str) -> Option<i64> {
    let number = |index: usize| i64::try_from(index + 1).expect("there are eleven");
    if let Some(index) = STATES.iter().position(|(known, _)| *known == name) {
        return Some(number(index));
    }
    if let Some((_, value)) = CONSTANTS.iter().find(|(known, _)| *known == name) {
        return Some(*value);
    }
    let socket = match machine.stack.owner(tuple) {
        Some(Owner::Socket(handle)) => machine.stack.sock(handle).map(|sock| &sock.socket),
        _ => None,
    };
    let state = socket.map_or(State::Closed, |socket| socket.state);
    if name == "tcpi_state" {
        return STATES
            .iter()
            .position(|(_, known)| *known == Some(state))
            .map(number);
    }
    let info = socket?.info(machine.now());
    let units = |time: SimDuration, nanos: u64| (time.as_nanos() / nanos).cast_signed();
    Some(match name {
        "tcpi_unacked" => i64::from(info.unacked),
        "tcpi_snd_cwnd" => i64::from(info.snd_cwnd),
        "tcpi_snd_ssthresh" => i64::from(info.snd_ssthresh.min(0x7fff_ffff)),
        "tcpi_snd_mss" => i64::from(info.snd_mss),
        "tcpi_advmss" => i64::from(info.advmss),
        "tcpi_rto" => units(info.rto, 1_000),
        "tcpi_rtt" => units(info.rtt, 1_000),
        "tcpi_retransmits" | "tcpi_backoff" => i64::from(info.retransmits),
        "tcpi_probes" => i64::from(info.probes),
        "tcpi_last_data_recv" => units(info.last_data_recv, 1_000_000),
        "tcpi_snd_wscale" => i64::from(info.scales.0),
        "tcpi_rcv_wscale" => i64::from(info.scales.1),
        "tcpi_options" => {
            let bits = info.options.iter().enumerate();
            bits.map(|(bit, on)| i64::from(*on) << bit).sum()
        }
        _ => return None,
    })
}
