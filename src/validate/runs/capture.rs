//! Packets at a node, from a capture or from the simulator, as one sequence per connection of the SLB.
//!
//! A step is an interface, a direction, flags and numbers relative to the connection's own. Numbers of an older connection
//! (the bare ACK of a TIME_WAIT and the RST that it draws) are `old`.

use std::collections::BTreeMap;
use std::fmt::Write;

use etherparse::{Ipv4HeaderSlice, TcpHeaderSlice};
use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use rustc_hash::FxHashMap;

use crate::observe::NodePacket;
use crate::units::{Endpoint, FourTuple, SeqNum, SimTime};
use crate::validate::{Fault, File};
use crate::wire::{Flags, Options, Packet};

/// Header of LINUX_SLL2: protocol, reserved, interface, hardware type, packet type, address
/// (<https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html>).
const SLL2: usize = 20;
/// Packet type of what the host itself sends.
const OUTGOING: u8 = 4;
/// EtherType of IPv4.
const IPV4: [u8; 2] = [0x08, 0x00];
/// Numbers further from the start of a connection than this are not its own.
const NEAR: u32 = 1 << 16;

/// The TCP segments of a capture on all interfaces of a node. The interface on which the first SYN comes in is the one
/// towards the SLB.
pub fn read(file: &File) -> Result<Vec<NodePacket>, Fault> {
    let fault = |what: String| Fault::new(file.path(), what);
    let mut reader =
        PcapReader::new(file.bytes()).map_err(|error| fault(format!("no pcap file: {error}")))?;
    let link = reader.header().datalink;
    if link != DataLink::LINUX_SLL2 {
        return Err(fault(format!(
            "expected link type LINUX_SLL2 (tcpdump -i any), not {link:?}"
        )));
    }
    let (mut packets, mut slb_side) = (Vec::new(), None);
    while let Some(packet) = reader.next_packet() {
        let number = packets.len() + 1;
        let packet = packet.map_err(|error| fault(format!("packet {number}: {error}")))?;
        let Some((interface, sent, segment)) = segment(packet.data()) else {
            continue;
        };
        if segment.flags == Flags::SYN && !sent {
            slb_side.get_or_insert(interface);
        }
        let nanos = u64::try_from(packet.timestamp().as_nanos())
            .map_err(|_| fault(format!("packet {number}: a time beyond the year 2500")))?;
        packets.push(NodePacket {
            at: SimTime::from_nanos(nanos),
            node: 0,
            pod_side: slb_side != Some(interface),
            sent,
            packet: segment,
        });
    }
    if packets.is_empty() {
        return Err(fault("expected TCP segments, found none".to_owned()));
    }
    Ok(packets)
}

/// Interface, whether the host sends it, and the segment; `None`: no TCP over IPv4.
fn segment(frame: &[u8]) -> Option<(u32, bool, Packet)> {
    let (header, ip) = frame.split_at_checked(SLL2)?;
    if header[..2] != IPV4 {
        return None;
    }
    let interface = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let v4 = Ipv4HeaderSlice::from_slice(ip).ok()?;
    let tcp = TcpHeaderSlice::from_slice(ip.get(v4.slice().len()..)?).ok()?;
    let headers = v4.slice().len() + tcp.slice().len();
    let flag = |on: bool, flag: Flags| if on { flag } else { Flags::NONE };
    let flags = flag(tcp.syn(), Flags::SYN)
        .with(flag(tcp.fin(), Flags::FIN))
        .with(flag(tcp.rst(), Flags::RST))
        .with(flag(tcp.psh(), Flags::PSH))
        .with(flag(tcp.ack(), Flags::ACK));
    let packet = Packet {
        tuple: FourTuple::new(
            Endpoint::new(v4.source_addr(), tcp.source_port()),
            Endpoint::new(v4.destination_addr(), tcp.destination_port()),
        ),
        seq: SeqNum(tcp.sequence_number()),
        ack: SeqNum(tcp.acknowledgment_number()),
        payload_len: u32::from(v4.total_len()).saturating_sub(headers as u32),
        window: u32::from(tcp.window_size()),
        timestamps: None,
        flags,
        options: Options::NONE,
        tag: 0,
    };
    (v4.protocol().0 == 6).then_some((interface, header[10] == OUTGOING, packet))
}

/// A connection of the SLB: one initial sequence number, whatever SNAT ports it is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Connection {
    /// Its packets, in order.
    steps: String,
    /// SYNs that reached the pod.
    syns: u32,
    /// Bare ACKs of a TIME_WAIT.
    refusals: u32,
    /// The pod accepted it.
    accepted: bool,
    /// The SYN-ACK came straight out of a TIME_WAIT: its number continues that one's.
    recycled: bool,
    isn: SeqNum,
    pod_isn: Option<SeqNum>,
}

/// How many connections took each sequence of packets; with the label in front, for the order.
pub type Classes = BTreeMap<(String, String), f64>;

/// Splits packets into connections and sorts those by their sequence. What belongs to none that began in the capture is
/// left out.
pub fn classes(packets: &[NodePacket]) -> Classes {
    let mut split = Split::default();
    for packet in packets {
        split.take(packet);
    }
    let mut classes = Classes::new();
    for connection in split.connections {
        *classes.entry((connection.label(), connection.steps)).or_default() += 1.0;
    }
    classes
}

#[derive(Default)]
struct Split {
    connections: Vec<Connection>,
    by_slb: FxHashMap<Endpoint, usize>,
    by_isn: FxHashMap<SeqNum, usize>,
    by_snat: FxHashMap<Endpoint, usize>,
    /// The pod's next sequence number towards a SNAT port.
    pod_next: FxHashMap<Endpoint, SeqNum>,
}

impl Split {
    fn take(&mut self, seen: &NodePacket) {
        let packet = &seen.packet;
        // Towards the pod: received on the SLB's side, or sent on the pod's.
        let to_pod = seen.pod_side == seen.sent;
        let caller = if to_pod {
            packet.tuple.src
        } else {
            packet.tuple.dst
        };
        if packet.flags == Flags::SYN && to_pod {
            self.on_syn(seen, caller);
        }
        let found = if seen.pod_side {
            &self.by_snat
        } else {
            &self.by_slb
        };
        let Some(&index) = found.get(&caller) else {
            return;
        };
        let connection = &mut self.connections[index];
        let from_pod = seen.pod_side && !seen.sent;
        if from_pod && packet.flags == Flags::SYN_ACK {
            let continues = self.pod_next.get(&caller).map(|next| *next + 65_537);
            connection.recycled |= continues == Some(packet.seq);
            connection.accepted = true;
            connection.pod_isn = Some(packet.seq);
        }
        if from_pod && packet.flags.ack() {
            self.pod_next.insert(caller, packet.end_seq());
        }
        connection.step(seen, to_pod);
    }

    fn on_syn(&mut self, seen: &NodePacket, caller: Endpoint) {
        let isn = seen.packet.seq;
        if seen.pod_side {
            if let Some(&index) = self.by_isn.get(&isn) {
                self.by_snat.insert(caller, index);
                self.connections[index].syns += 1;
            }
            return;
        }
        let known = self
            .by_slb
            .get(&caller)
            .is_some_and(|&index| self.connections[index].isn == isn);
        if !known {
            self.by_slb.insert(caller, self.connections.len());
            self.by_isn.insert(isn, self.connections.len());
            self.connections.push(Connection {
                isn,
                ..Connection::default()
            });
        }
    }
}

impl Connection {
    fn step(&mut self, seen: &NodePacket, to_pod: bool) {
        let packet = &seen.packet;
        let near = |number: SeqNum, start: Option<SeqNum>| {
            let distance = start.map(|start| number.0.wrapping_sub(start.0));
            distance.filter(|distance| *distance < NEAR)
        };
        let (own, other) = if to_pod {
            (Some(self.isn), self.pod_isn)
        } else {
            (self.pod_isn, Some(self.isn))
        };
        let (seq, ack) = (near(packet.seq, own), near(packet.ack, other));
        let is_old = packet.flags.ack() && ack.is_none();
        self.refusals += u32::from(is_old && seen.pod_side && !seen.sent);
        let text = |number: Option<u32>| number.map_or_else(|| "old".to_owned(), |number| number.to_string());
        let ack = if packet.flags.ack() {
            format!(" ack {}", text(ack))
        } else {
            String::new()
        };
        let side = if seen.pod_side { "pod side" } else { "SLB side" };
        let direction = if seen.sent { "out" } else { "in" };
        write!(
            self.steps,
            "{side} {direction} {:?} {}{ack} len {}; ",
            packet.flags,
            text(seq),
            packet.payload_len
        )
        .expect("a String takes all that is written");
    }

    /// What happened, in a few words.
    fn label(&self) -> String {
        let end = match (self.accepted, self.recycled) {
            (true, true) => "recycled",
            (true, false) => "accepted",
            (false, _) => "never accepted",
        };
        format!("{} SYN, {} refused, {end}", self.syns, self.refusals)
    }
}
