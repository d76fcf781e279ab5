//! The TCP states of ipvs: transition tables of NAT mode and timeouts.
//!
//! `net/netfilter/ipvs/ip_vs_proto_tcp.c`, the same in 4.19.124 and 6.18.35. ipvs looks at flags only, never at
//! sequence numbers, so an RST far outside the window closes its entry like any other. The "secure_tcp" tables and
//! the one-way tables of DR and TUN are left out.

use super::IpvsConfig;
use crate::units::SimDuration;
use crate::wire::Flags;

/// State of an ipvs connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum IpvsState {
    /// No packet yet.
    None,
    /// Handshake done, as far as flags tell.
    Established,
    /// SYN from the pod.
    SynSent,
    /// SYN from the client.
    SynRecv,
    /// FIN from the pod.
    FinWait,
    /// FINs from both.
    TimeWait,
    /// RST.
    Close,
    /// FIN from the client.
    CloseWait,
    /// Last ACK awaited.
    LastAck,
    /// Listening.
    Listen,
    /// SYN-ACK sent on behalf of the pod (`secure_tcp` only).
    SynAck,
}

use IpvsState as S;

impl IpvsState {
    /// Every state, in the kernel's order.
    pub const ALL: [Self; 11] = [
        S::None,
        S::Established,
        S::SynSent,
        S::SynRecv,
        S::FinWait,
        S::TimeWait,
        S::Close,
        S::CloseWait,
        S::LastAck,
        S::Listen,
        S::SynAck,
    ];

    /// The name that `ipvsadm -Lnc` prints.
    pub const fn name(self) -> &'static str {
        match self {
            S::None => "NONE",
            S::Established => "ESTABLISHED",
            S::SynSent => "SYN_SENT",
            S::SynRecv => "SYN_RECV",
            S::FinWait => "FIN_WAIT",
            S::TimeWait => "TIME_WAIT",
            S::Close => "CLOSE",
            S::CloseWait => "CLOSE_WAIT",
            S::LastAck => "LAST_ACK",
            S::Listen => "LISTEN",
            S::SynAck => "SYNACK",
        }
    }

    /// The state after a packet with these flags: RST before SYN before FIN before ACK, none of them closes.
    #[must_use]
    pub const fn next(self, side: Side, flags: Flags) -> Self {
        let table = match side {
            Side::Client => &INPUT,
            Side::Pod => &OUTPUT,
        };
        let row = if flags.rst() {
            3
        } else if flags.syn() {
            0
        } else if flags.fin() {
            1
        } else if flags.ack() {
            2
        } else {
            return S::Close;
        };
        table[row][self as usize]
    }

    /// How long an entry in this state lives without a packet. `ipvsadm --set` changes ESTABLISHED and FIN_WAIT only.
    pub const fn timeout(self, config: &IpvsConfig) -> SimDuration {
        SimDuration::from_secs(match self {
            S::Established => return config.timeout_established,
            S::FinWait => return config.timeout_fin_wait,
            S::None => 2,
            S::SynRecv | S::CloseWait => 60,
            S::SynSent | S::TimeWait | S::Listen | S::SynAck => 120,
            S::Close => 10,
            S::LastAck => 30,
        })
    }

    /// A connection in this state is an active one of its server (`tcp_state_active_table`): in the handshake or open.
    pub const fn is_active(self) -> bool {
        matches!(self, S::Established | S::SynSent | S::SynRecv | S::SynAck)
    }

    /// A SYN in this state is taken for a new connection on an old tuple (`is_new_conn_expected()`); bit 1 of the
    /// mode adds FIN_WAIT in DR mode only, which NAT never is.
    pub const fn expects_new_connection(self) -> bool {
        matches!(self, S::TimeWait | S::Close)
    }
}

/// Who sent the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client of the service, here the SLB.
    Client,
    /// The real server.
    Pod,
}

/// Rows SYN, FIN, ACK, RST; columns in the order of [`IpvsState::ALL`].
#[rustfmt::skip]
const INPUT: [[S; 11]; 4] = [
    [S::SynRecv, S::Established, S::Established, S::SynRecv, S::SynRecv, S::SynRecv, S::SynRecv, S::SynRecv, S::SynRecv, S::SynRecv, S::SynRecv],
    [S::Close, S::CloseWait, S::SynSent, S::TimeWait, S::TimeWait, S::TimeWait, S::Close, S::CloseWait, S::LastAck, S::Listen, S::TimeWait],
    [S::Established, S::Established, S::SynSent, S::Established, S::FinWait, S::TimeWait, S::Close, S::CloseWait, S::Close, S::Listen, S::Established],
    [S::Close, S::Close, S::Close, S::SynRecv, S::Close, S::Close, S::Close, S::Close, S::LastAck, S::Listen, S::SynRecv],
];
#[rustfmt::skip]
const OUTPUT: [[S; 11]; 4] = [
    [S::SynSent, S::Established, S::SynSent, S::SynRecv, S::SynSent, S::SynSent, S::SynSent, S::SynSent, S::SynSent, S::Listen, S::SynRecv],
    [S::TimeWait, S::FinWait, S::SynSent, S::TimeWait, S::FinWait, S::TimeWait, S::Close, S::TimeWait, S::LastAck, S::Listen, S::TimeWait],
    [S::Established, S::Established, S::SynSent, S::Established, S::FinWait, S::TimeWait, S::Close, S::CloseWait, S::LastAck, S::Established, S::Established],
    [S::Close, S::Close, S::SynSent, S::Close, S::Close, S::TimeWait, S::Close, S::Close, S::Close, S::Close, S::Close],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_follow_the_measured_ones() {
        use Side::{Client, Pod};
        let walk = |steps: &[(Side, Flags)]| {
            steps
                .iter()
                .fold(S::None, |state, &(side, flags)| state.next(side, flags))
                .name()
        };
        let open = [(Client, Flags::SYN), (Pod, Flags::SYN_ACK), (Client, Flags::ACK)];
        let with = |more: &[(Side, Flags)]| walk(&[&open[..], more].concat());
        assert_eq!(with(&[]), "ESTABLISHED");
        assert_eq!(with(&[(Pod, Flags::FIN_ACK), (Client, Flags::ACK)]), "FIN_WAIT");
        assert_eq!(
            with(&[(Pod, Flags::FIN_ACK), (Client, Flags::FIN_ACK)]),
            "TIME_WAIT"
        );
        assert_eq!(with(&[(Client, Flags::FIN_ACK)]), "CLOSE_WAIT");
        assert_eq!(
            with(&[(Client, Flags::FIN_ACK), (Pod, Flags::FIN_ACK)]),
            "TIME_WAIT"
        );
        assert_eq!(with(&[(Pod, Flags::RST)]), "CLOSE");
        // The refused SYN: the bare ACK looks like the end of a handshake.
        assert_eq!(walk(&[(Client, Flags::SYN), (Pod, Flags::ACK)]), "ESTABLISHED");
        assert_eq!(
            walk(&[(Client, Flags::SYN), (Pod, Flags::ACK), (Client, Flags::RST)]),
            "CLOSE"
        );
        assert_eq!(walk(&[(Client, Flags::SYN), (Client, Flags::NONE)]), "CLOSE");
    }
}
