//! How long a segment is on an Ethernet link.

use super::Packet;

/// Preamble and start of frame 8, header 14, checksum 4, gap between frames 12 (IEEE 802.3, clauses 3 and 4).
const FRAMING: u32 = 38;
/// The least that a frame carries; shorter ones are padded.
const LEAST_PAYLOAD: u32 = 46;
/// IPv4 header without options (RFC 791).
const IP_HEADER: u32 = 20;
/// TCP header without options (RFC 9293 section 3.1).
const TCP_HEADER: u32 = 20;

impl Packet {
    /// Octets of the TCP header. Options are laid out as Linux does it, each padded to a multiple of four: MSS 4; timestamps
    /// 12, which leave room for SACK-permitted; that alone 4; window scale 4 (`tcp_options_write()` in
    /// `net/ipv4/tcp_output.c`, 4.19 to 6.18).
    pub fn tcp_header_octets(&self) -> u32 {
        let options = &self.options;
        let mss = if options.mss == 0 { 0 } else { 4 };
        let timestamps = match self.timestamps {
            Some(_) => 12,
            None if options.sack_permitted => 4,
            None => 0,
        };
        let scale = if options.window_scale.is_some() { 4 } else { 0 };
        TCP_HEADER + mss + timestamps + scale
    }

    /// Octets of time that the segment takes on an Ethernet link: payload, TCP, IPv4 and Ethernet headers, and what lies
    /// between two frames. 84 at least; 1538 with an MSS of 1460.
    pub fn wire_octets(&self) -> u32 {
        let ip = IP_HEADER + self.tcp_header_octets() + self.payload_len;
        ip.max(LEAST_PAYLOAD) + FRAMING
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Flags, Options, Timestamps};
    use super::*;
    use crate::units::{Endpoint, FourTuple, SeqNum};

    fn segment(payload_len: u32, stamped: bool, options: Options) -> Packet {
        let end = |port| Endpoint::new([10, 0, 0, 1].into(), port);
        Packet {
            tuple: FourTuple::new(end(1), end(2)),
            seq: SeqNum(0),
            ack: SeqNum(0),
            payload_len,
            window: 0,
            timestamps: stamped.then_some(Timestamps { val: 1, ecr: 0 }),
            flags: Flags::ACK,
            options,
            tag: 0,
        }
    }

    #[test]
    fn lengths_are_those_of_captured_segments() {
        let syn = Options {
            mss: 1460,
            window_scale: Some(7),
            sack_permitted: true,
            window_shift: 0,
        };
        // (segment, TCP header as a capture shows it, octets on the wire)
        let rows = [
            (segment(0, true, syn), 40, 20 + 40 + 38),
            (segment(0, false, syn), 32, 20 + 32 + 38),
            (segment(0, true, Options::NONE), 32, 20 + 32 + 38),
            (segment(0, false, Options::NONE), 20, 84),
            (segment(6, false, Options::NONE), 20, 84),
            (segment(7, false, Options::NONE), 20, 85),
            (segment(1448, true, Options::NONE), 32, 1538),
            (segment(1460, false, Options::NONE), 20, 1538),
        ];
        for (packet, header, wire) in rows {
            assert_eq!(
                (packet.tcp_header_octets(), packet.wire_octets()),
                (header, wire),
                "{packet:?}"
            );
        }
    }
}
