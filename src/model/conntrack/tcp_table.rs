//! Packet classes and the transition tables of the TCP tracker.
//!
//! The tables are the same in 4.19.124, 5.10.44, 6.1.192, 6.6.63, 6.12.117 and 6.18.35
//! (`net/netfilter/nf_conntrack_proto_tcp.c`, `tcp_conntracks`). What the other checks make of a cell is decided in
//! `tracker.rs`.

use super::State;
use super::tracker::Direction;
use crate::wire::Flags;

/// What the tracker takes a segment for. PSH, URG, ECE and CWR are not modelled; the kernel allows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PacketClass {
    /// SYN alone.
    Syn,
    /// SYN and ACK.
    SynAck,
    /// FIN and ACK; a FIN without ACK is no legal segment.
    Fin,
    /// ACK alone, with or without payload.
    Ack,
    /// RST, with or without ACK.
    Rst,
    /// Nothing: only as "no packet remembered yet".
    None,
}

impl PacketClass {
    /// Classifies a segment; `None` means that its combination of flags is INVALID before any lookup
    /// (`tcp_error()`, `tcp_valid_flags`).
    pub const fn of(flags: Flags) -> Option<Self> {
        Some(match (flags.rst(), flags.syn(), flags.fin(), flags.ack()) {
            (true, false, false, _) => Self::Rst,
            (false, true, false, true) => Self::SynAck,
            (false, true, false, false) => Self::Syn,
            (false, false, true, true) => Self::Fin,
            (false, false, false, true) => Self::Ack,
            _ => return None,
        })
    }
}

/// One cell of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// To this state.
    To(State),
    /// INVALID (IV).
    Invalid,
    /// Let through, unless another rule knows better (IG).
    Ignore,
}

/// The cell for a segment of `class` in `direction` in `state`.
pub const fn transition(direction: Direction, class: PacketClass, state: State) -> Transition {
    TABLE[direction as usize][class as usize][state as usize]
}

const IV: Transition = Transition::Invalid;
const IG: Transition = Transition::Ignore;
const SS: Transition = Transition::To(State::SynSent);
const SR: Transition = Transition::To(State::SynRecv);
const ES: Transition = Transition::To(State::Established);
const FW: Transition = Transition::To(State::FinWait);
const CW: Transition = Transition::To(State::CloseWait);
const LA: Transition = Transition::To(State::LastAck);
const TW: Transition = Transition::To(State::TimeWait);
const CL: Transition = Transition::To(State::Close);
const S2: Transition = Transition::To(State::SynSent2);

/// Indexed by direction, packet class, state.
#[rustfmt::skip]
const TABLE: [[[Transition; 10]; 6]; 2] = [
    [ // original direction
        //          none SS  SR  ES  FW  CW  LA  TW  CL  S2
        /* SYN */     [SS, SS, IG, IG, IG, IG, IG, SS, SS, S2],
        /* SYN-ACK */ [IV, IV, SR, IV, IV, IV, IV, IV, IV, SR],
        /* FIN */     [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV],
        /* ACK */     [ES, IV, ES, ES, CW, CW, TW, TW, CL, IV],
        /* RST */     [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL],
        /* none */    [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV],
    ],
    [ // reply direction
        //          none SS  SR  ES  FW  CW  LA  TW  CL  S2
        /* SYN */     [IV, S2, IV, IV, IV, IV, IV, SS, IV, S2],
        /* SYN-ACK */ [IV, SR, IG, IG, IG, IG, IG, IG, IG, SR],
        /* FIN */     [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV],
        /* ACK */     [IV, IG, SR, ES, CW, CW, TW, TW, CL, IG],
        /* RST */     [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL],
        /* none */    [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV],
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_six_flag_combinations_are_legal_and_each_has_its_class() {
        let (fin, syn, rst, ack) = (Flags::FIN, Flags::SYN, Flags::RST, Flags::ACK);
        for bits in 0..16_u8 {
            let mut flags = Flags::NONE;
            for (bit, flag) in [fin, syn, rst, ack].into_iter().enumerate() {
                if bits & (1 << bit) != 0 {
                    flags = flags.with(flag);
                }
            }
            let want = match bits {
                0b0010 => Some(PacketClass::Syn),
                0b1010 => Some(PacketClass::SynAck),
                0b1001 => Some(PacketClass::Fin),
                0b1000 => Some(PacketClass::Ack),
                0b0100 | 0b1100 => Some(PacketClass::Rst),
                _ => None,
            };
            assert_eq!(PacketClass::of(flags), want, "{flags:?}");
        }
    }

    #[test]
    fn a_cell_is_found_by_direction_class_and_state() {
        use Direction::{Original, Reply};
        use PacketClass::{Ack, Fin, Rst, Syn, SynAck};
        let table = [
            (Original, Syn, State::None, SS),
            (Original, Syn, State::TimeWait, SS),
            (Reply, Syn, State::TimeWait, SS),
            (Reply, Syn, State::Close, IV),
            (Reply, Ack, State::SynSent, IG),
            (Original, Ack, State::SynSent, IV),
            (Reply, SynAck, State::SynSent, SR),
            (Original, Fin, State::CloseWait, LA),
            (Reply, Ack, State::LastAck, TW),
            (Original, Ack, State::None, ES),
            (Original, Rst, State::None, IV),
        ];
        for (direction, class, state, want) in table {
            assert_eq!(
                transition(direction, class, state),
                want,
                "{direction:?} {class:?} {state:?}"
            );
        }
    }
}
