//! The connection under test, and the translation between its numbers in the script and on the wire.
//!
//! As packetdrill does it (`run_packet.c`, `socket.h`): a script names its own initial sequence numbers; in SYNs numbers
//! are absolute, elsewhere they count from the ISN. Ports, the kernel's ISN and its timestamps are learnt from what it
//! sends.

use std::net::Ipv4Addr;

use rustc_hash::FxHashMap;

use super::ast::{FlagSet, Segment, TcpOption};
use crate::units::{Endpoint, FourTuple, SeqNum};
use crate::wire::{Flags, Options, Packet, Timestamps};

/// How far the connection under test has come, as far as the script tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// After `socket()`.
    New,
    /// After `listen()`: the next segment to the kernel begins a connection.
    Listening,
    /// A first segment went to the kernel.
    Received,
    /// Its SYN-ACK was seen.
    SynAckSent,
    /// After `connect()`: the next SYN tells ports and ISN.
    Connecting,
    /// Its SYN was seen.
    SynSent,
    /// Both ISNs are known.
    Open,
}

/// The connection under test.
#[derive(Debug)]
pub struct Flow {
    /// How far it is.
    pub progress: Progress,
    /// The kernel's side; port 0: not known yet.
    pub local: Endpoint,
    /// The script's side.
    pub remote: Endpoint,
    script_local_isn: u32,
    live_local_isn: SeqNum,
    remote_isn: u32,
    /// Window scale in the last SYN of each side: the script's, the kernel's.
    scales: [Option<u8>; 2],
    /// Timestamp in the script to timestamp on the wire.
    timestamps: FxHashMap<u32, u32>,
    /// The first such pair.
    first_timestamp: Option<(u32, u32)>,
}

impl Flow {
    /// After `socket()`.
    pub fn new(local: Ipv4Addr, remote: Endpoint) -> Self {
        Self {
            progress: Progress::New,
            local: Endpoint::new(local, 0),
            remote,
            script_local_isn: 0,
            live_local_isn: SeqNum(0),
            remote_isn: 0,
            scales: [None, None],
            timestamps: FxHashMap::default(),
            first_timestamp: None,
        }
    }

    /// The connection that a first segment from `remote` begins.
    pub fn begun_by(segment: &Segment, local: Endpoint, remote: Endpoint) -> Self {
        Self {
            progress: Progress::Received,
            local,
            remote_isn: segment.seq,
            ..Self::new(local.ip, remote)
        }
    }

    /// The script is about to expect `segment`: what it tells of the connection.
    pub fn announce(&mut self, segment: &Segment) {
        let (syn, ack) = (segment.flags.has('S'), segment.flags.has('.'));
        match self.progress {
            Progress::Connecting if syn && !ack => {
                self.progress = Progress::SynSent;
                self.script_local_isn = segment.seq;
            }
            Progress::Received if syn && ack => self.script_local_isn = segment.seq,
            _ => {}
        }
    }

    /// Whether a segment that the kernel has sent belongs to the connection; learns its ports from a first SYN.
    pub fn owns(&mut self, packet: &Packet) -> bool {
        if packet.tuple == FourTuple::new(self.local, self.remote) {
            return true;
        }
        let first_syn = self.progress == Progress::SynSent
            && packet.flags.syn()
            && !packet.flags.ack()
            && packet.tuple.dst == self.remote;
        if first_syn {
            self.local = packet.tuple.src;
            self.live_local_isn = packet.seq;
        }
        first_syn
    }

    /// A segment of the connection as the script would write it, for comparison with `expected`.
    pub fn read_sent(&mut self, packet: &Packet, expected: &Segment) -> Segment {
        let flags = packet.flags;
        if self.progress == Progress::Received && expected.flags.has('S') && expected.flags.has('.') {
            self.progress = Progress::SynAckSent;
            self.live_local_isn = packet.seq;
        }
        if flags.syn() {
            self.scales[1] = packet.options.window_scale;
        }
        let isn = if flags.syn() {
            self.live_local_isn - self.script_local_isn
        } else {
            self.live_local_isn
        };
        let remote_isn = if flags.syn() { 0 } else { self.remote_isn };
        let ack = if flags.ack() {
            packet.ack - remote_isn
        } else {
            SeqNum(0)
        };
        Segment {
            ports: None,
            flags: FlagSet(flags.bits()),
            seq: (packet.seq - isn.0).0,
            len: packet.payload_len,
            ack: ack.0,
            window: Some(packet.raw_window() as u16),
            options: Some(self.options_to_script(packet, expected)),
        }
    }

    /// The options in the order in which Linux writes them (`tcp_options_write()`, net/ipv4/tcp_output.c).
    fn options_to_script(&mut self, packet: &Packet, expected: &Segment) -> Vec<TcpOption> {
        let mut options = Vec::new();
        let Options {
            mss,
            window_scale,
            sack_permitted,
            ..
        } = packet.options;
        if mss > 0 {
            options.push(TcpOption::Mss(mss));
        }
        let nops = |options: &mut Vec<TcpOption>| options.extend([TcpOption::Nop, TcpOption::Nop]);
        if let Some(stamps) = packet.timestamps {
            if sack_permitted {
                options.push(TcpOption::SackOk);
            } else {
                nops(&mut options);
            }
            let val = self.timestamp_to_script(stamps.val, expected);
            options.push(TcpOption::Timestamps { val, ecr: stamps.ecr });
        } else if sack_permitted {
            nops(&mut options);
            options.push(TcpOption::SackOk);
        }
        if let Some(shift) = window_scale {
            options.extend([TcpOption::Nop, TcpOption::Wscale(shift)]);
        }
        options
    }

    fn timestamp_to_script(&mut self, live: u32, expected: &Segment) -> u32 {
        let script = expected.options.iter().flatten().find_map(|option| match option {
            TcpOption::Timestamps { val, .. } => Some(*val),
            _ => None,
        });
        let Some(script) = script else { return live };
        self.timestamps.insert(script, live);
        let (first_script, first_live) = *self.first_timestamp.get_or_insert((script, live));
        first_script.wrapping_add(live.wrapping_sub(first_live))
    }

    /// A segment of the script on the wire. `ecr_scaled`: an echo that was never sent is worked out from the first one.
    ///
    /// # Errors
    /// What is wrong with the script's numbers.
    pub fn inject(&mut self, segment: &Segment, ecr_scaled: bool) -> Result<Packet, String> {
        let (syn, ack) = (segment.flags.has('S'), segment.flags.has('.'));
        if self.progress == Progress::SynAckSent && ack {
            self.progress = Progress::Open;
        } else if self.progress == Progress::SynSent && syn && ack {
            self.progress = Progress::Open;
            self.remote_isn = segment.seq;
        }
        let isn = if syn { 0 } else { self.remote_isn };
        let local_isn = if syn {
            self.live_local_isn - self.script_local_isn
        } else {
            self.live_local_isn
        };
        let mut options = Options::NONE;
        let mut timestamps = None;
        for option in segment.options.iter().flatten() {
            match option {
                TcpOption::Mss(octets) => options.mss = *octets,
                TcpOption::Wscale(shift) => options.window_scale = Some(*shift),
                TcpOption::SackOk => options.sack_permitted = true,
                TcpOption::Timestamps { val, ecr } => {
                    let ecr = if ack {
                        self.timestamp_to_wire(*ecr, ecr_scaled)?
                    } else {
                        *ecr
                    };
                    timestamps = Some(Timestamps { val: *val, ecr });
                }
                TcpOption::Nop | TcpOption::Eol | TcpOption::Sack(_) => {}
            }
        }
        if syn {
            self.scales[0] = options.window_scale;
        }
        // RFC 7323 section 2.2: a scale counts if both SYNs offered one, and never in a SYN. Linux takes 14 for more.
        options.window_shift = match self.scales {
            [Some(script), Some(_)] if !syn => script.min(14),
            _ => 0,
        };
        let mut tuple = FourTuple::new(self.remote, self.local);
        if let Some((src, dst)) = segment.ports {
            tuple.src.port = src;
            tuple.dst.port = dst;
        }
        Ok(Packet {
            tuple,
            seq: SeqNum(segment.seq) + isn,
            ack: if ack {
                SeqNum(segment.ack) + local_isn.0
            } else {
                SeqNum(0)
            },
            payload_len: segment.len,
            window: u32::from(segment.window.unwrap_or(0)) << options.window_shift,
            timestamps,
            flags: Flags::from_bits(segment.flags.0),
            options,
            tag: 0,
        })
    }

    /// A sequence number of the kernel's, as an ICMP message quotes it, on the wire; in SYNs it is absolute.
    pub fn quoted_seq(&self, seq: u32) -> SeqNum {
        let base = match self.progress {
            Progress::Open | Progress::SynAckSent => 0,
            _ => self.script_local_isn,
        };
        self.live_local_isn + seq.wrapping_sub(base)
    }

    fn timestamp_to_wire(&self, ecr: u32, scaled: bool) -> Result<u32, String> {
        let exact = self.timestamps.get(&ecr).copied();
        let interpolated = self
            .first_timestamp
            .filter(|_| scaled)
            .map(|(script, live)| live.wrapping_add(ecr.wrapping_sub(script)));
        exact
            .or(interpolated)
            .ok_or_else(|| format!("TS ecr {ecr}, which no expected segment before it had as its TS val"))
    }
}

/// What is different, in packetdrill's order; `None`: the segment is as expected. Times are compared elsewhere.
pub fn difference(expected: &Segment, got: &Segment, tolerated_ticks: Option<u32>) -> Option<&'static str> {
    let octets = |segment: &Segment| {
        segment
            .options
            .iter()
            .flatten()
            .map(TcpOption::length)
            .sum::<usize>()
    };
    let options_count = expected.options.is_some();
    let checks = [
        (expected.len != got.len, "octets of payload"),
        (
            options_count && octets(expected) != octets(got),
            "length of the TCP options",
        ),
        (expected.flags != got.flags, "flags"),
        (expected.seq != got.seq, "sequence number"),
        (expected.ack != got.ack, "acknowledgment number"),
        (
            expected.window.is_some() && expected.window != got.window,
            "window",
        ),
        (
            options_count && !options_fit(expected, got, tolerated_ticks),
            "TCP options",
        ),
    ];
    checks
        .into_iter()
        .find(|(differs, _)| *differs)
        .map(|(_, what)| what)
}

/// Same options in the same order. Of timestamps the value is compared only if the script says how long a tick is, the
/// echo never (`verify_outbound_tcp_option()`).
fn options_fit(expected: &Segment, got: &Segment, tolerated_ticks: Option<u32>) -> bool {
    let (Some(expected), Some(got)) = (&expected.options, &got.options) else {
        return true;
    };
    expected.len() == got.len()
        && expected.iter().zip(got).all(|pair| match pair {
            (TcpOption::Timestamps { val: expected, .. }, TcpOption::Timestamps { val: got, .. }) => {
                let apart = SeqNum(*got).distance_from(SeqNum(*expected)).unsigned_abs();
                tolerated_ticks.is_none_or(|ticks| apart <= ticks)
            }
            (expected, got) => expected == got,
        })
}
