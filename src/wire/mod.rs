//! The TCP segment as it travels: the fields that some decision on the path reads, and nothing else.

mod length;

use std::fmt;

use crate::units::{FourTuple, SeqNum};

/// TCP flags as in the header (RFC 9293 section 3.1); URG decides nothing here and is left out.
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
    /// PSH: decides nothing, but captures and scripts show it.
    pub const PSH: Self = Self(8);
    /// ACK.
    pub const ACK: Self = Self(16);
    /// ECE (RFC 3168).
    pub const ECE: Self = Self(64);
    /// CWR (RFC 3168).
    pub const CWR: Self = Self(128);
    /// SYN and ACK.
    pub const SYN_ACK: Self = Self(18);
    /// FIN and ACK.
    pub const FIN_ACK: Self = Self(17);
    /// RST and ACK.
    pub const RST_ACK: Self = Self(20);

    /// The flags of an octet of the header.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
    /// As the octet of the header.
    pub const fn bits(self) -> u8 {
        self.0
    }
    /// Every flag of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// These without `other`'s.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
    /// PSH is set.
    pub const fn psh(self) -> bool {
        self.0 & Self::PSH.0 != 0
    }
    /// Every flag of `other` is set here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
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
    /// ACK is set, and neither SYN nor RST.
    pub const fn is_of_connection(self) -> bool {
        self.0 & (Self::SYN.0 | Self::RST.0 | Self::ACK.0) == Self::ACK.0
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
            (self.psh(), "PSH"),
            (self.ack(), "ACK"),
            (self.contains(Self::ECE), "ECE"),
            (self.contains(Self::CWR), "CWR"),
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

/// What a header says besides numbers, flags and timestamps: the options of a SYN, and how the window is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Maximum segment size option (RFC 9293 section 3.7.1), octets; 0: absent.
    pub mss: u16,
    /// Window scale option (RFC 7323 section 2).
    pub window_scale: Option<u8>,
    /// SACK-permitted option (RFC 2018 section 2).
    pub sack_permitted: bool,
    /// How far the window was shifted to fit into the header: 0 on a SYN, else the sender's scale if both offered one.
    pub window_shift: u8,
}

impl Options {
    /// No option, and a window that is written as it is.
    pub const NONE: Self = Self {
        mss: 0,
        window_scale: None,
        sack_permitted: false,
        window_shift: 0,
    };
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
    /// Options of a SYN, scale of the window.
    pub options: Options,
    /// What the payload is about: an index that only applications and observers read, never a protocol.
    pub tag: u32,
}

impl Packet {
    /// Sequence number after the segment: payload, SYN and FIN each count (RFC 9293 section 3.4).
    pub fn end_seq(&self) -> SeqNum {
        self.seq + self.sequence_space()
    }

    /// The RST that answers this segment (RFC 9293 section 3.10.7.1, `tcp_v4_send_reset()`); `None` if it is one itself.
    pub fn reset(&self) -> Option<Self> {
        if self.flags.rst() {
            return None;
        }
        let (seq, ack, flags) = if self.flags.ack() {
            (self.ack, SeqNum(0), Flags::RST)
        } else {
            (SeqNum(0), self.end_seq(), Flags::RST_ACK)
        };
        Some(Self {
            tuple: self.tuple.reversed(),
            seq,
            ack,
            payload_len: 0,
            window: 0,
            timestamps: None,
            flags,
            options: Options::NONE,
            tag: self.tag,
        })
    }

    /// The window as the header has it.
    pub fn raw_window(&self) -> u32 {
        self.window >> self.options.window_shift
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
