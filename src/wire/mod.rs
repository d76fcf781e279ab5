//! The TCP segment as it travels: the fields that some decision on the path reads, and nothing else.

use std::fmt;

use crate::units::{FourTuple, SeqNum};

/// TCP flags as in the header (RFC 9293 section 3.1); PSH, URG, ECE and CWR decide nothing here and are left out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// FIN.
    pub const FIN: Self = Self(1);
    /// SYN.
    pub const SYN: Self = Self(2);
    /// RST.
    pub const RST: Self = Self(4);
    /// ACK.
    pub const ACK: Self = Self(16);
    /// SYN and ACK.
    pub const SYN_ACK: Self = Self(18);
    /// FIN and ACK.
    pub const FIN_ACK: Self = Self(17);
    /// RST and ACK.
    pub const RST_ACK: Self = Self(20);

    /// Every flag of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// FIN is set.
    pub const fn fin(self) -> bool {
        self.0 & Self::FIN.0 != 0
    }
    /// SYN is set.
    pub const fn syn(self) -> bool {
        self.0 & Self::SYN.0 != 0
    }
    /// RST is set.
    pub const fn rst(self) -> bool {
        self.0 & Self::RST.0 != 0
    }
    /// ACK is set.
    pub const fn ack(self) -> bool {
        self.0 & Self::ACK.0 != 0
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.syn(), "SYN"),
            (self.fin(), "FIN"),
            (self.rst(), "RST"),
            (self.ack(), "ACK"),
        ];
        let set: Vec<_> = names
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, name)| *name)
            .collect();
        f.write_str(
            if set.is_empty() {
                "-".to_owned()
            } else {
                set.join("+")
            }
            .as_str(),
        )
    }
}

/// The timestamps option (RFC 7323 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamps {
    /// Sender's clock, milliseconds plus its offset.
    pub val: u32,
    /// Echo of the other side's last value.
    pub ecr: u32,
}

/// One TCP segment on a link.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Addresses and ports as on the wire at this point of the path.
    pub tuple: FourTuple,
    /// Sequence number of the first octet.
    pub seq: SeqNum,
    /// Acknowledgment number; meaningful with ACK only.
    pub ack: SeqNum,
    /// Octets of payload.
    pub payload_len: u32,
    /// Window as the receiver reads it, that is after scaling; octets.
    pub window: u32,
    /// Timestamps option, if present.
    pub timestamps: Option<Timestamps>,
    /// Flags.
    pub flags: Flags,
    /// What the payload is about: an index that only applications and observers read, never a protocol.
    pub tag: u32,
}

impl Packet {
    /// Sequence number after the segment: payload, SYN and FIN each count (RFC 9293 section 3.4).
    pub fn end_seq(&self) -> SeqNum {
        self.seq + self.sequence_space()
    }

    /// Octets of sequence space that the segment occupies.
    pub fn sequence_space(&self) -> u32 {
        self.payload_len + u32::from(self.flags.syn()) + u32::from(self.flags.fin())
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:?} seq {} ack {} len {}",
            self.tuple, self.flags, self.seq, self.ack, self.payload_len
        )
    }
}

const _: () = assert!(size_of::<Packet>() <= 64);
