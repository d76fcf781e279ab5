//! The table of docs/models/tcp.md: what each state does with each segment. A stack is driven into the state by segments
//! and calls, then gets the one segment; what it sends and where it stands is the cell.

use std::net::Ipv4Addr;

use fivetuple::engine::Handle;
use fivetuple::model::tcp::{How, ListenOptions, Owner, Stack};
use fivetuple::profile;
use fivetuple::units::{Endpoint, FourTuple, SeqNum, SimDuration, SimTime};
use fivetuple::wire::{Flags, Options, Packet};

use super::{check, table};

const US: Endpoint = Endpoint::new(Ipv4Addr::new(192, 0, 2, 1), 80);
const PEER: Endpoint = Endpoint::new(Ipv4Addr::new(192, 0, 2, 2), 40_000);
const PEER_ISN: SeqNum = SeqNum(1_000_000);
/// Between two segments: longer than the rate limit of ACKs, shorter than any retransmission timeout.
const PAUSE: SimDuration = SimDuration::from_millis(600);

/// A stack and the peer that plays with it.
struct Play {
    stack: Stack<()>,
    now: SimTime,
    /// The socket, once there is one.
    handle: Handle,
    /// The peer's next sequence number, and what it acknowledges.
    seq: SeqNum,
    ack: SeqNum,
}

impl Play {
    fn new() -> Self {
        let kernel = profile::find("6.18").expect("a profile of this name");
        let mut stack = Stack::new(kernel.tcp, 1);
        let options = ListenOptions {
            backlog: 8,
            ..ListenOptions::default()
        };
        stack.listen(US, options, ());
        Self {
            stack,
            now: SimTime::ZERO + PAUSE,
            handle: Handle::NONE,
            seq: PEER_ISN,
            ack: SeqNum(0),
        }
    }

    /// The peer sends a segment; returns what comes back.
    fn segment(&mut self, flags: Flags, seq: SeqNum, ack: SeqNum) -> Vec<Packet> {
        self.now += PAUSE;
        let packet = Packet {
            tuple: FourTuple::new(PEER, US),
            seq,
            ack: if flags.ack() { ack } else { SeqNum(0) },
            payload_len: 0,
            window: 65_535,
            timestamps: None,
            flags,
            options: Options::NONE,
            tag: 0,
        };
        let outcome = self.stack.on_packet(&packet, self.now);
        let mut sent: Vec<Packet> = outcome.reaction.reply.into_iter().collect();
        if let Some(Owner::Socket(handle)) = self.owner() {
            self.handle = handle;
        }
        sent.extend(self.drain());
        sent
    }

    /// The peer goes on in order.
    fn peer(&mut self, flags: Flags) {
        for packet in self.segment(flags, self.seq, self.ack) {
            self.ack = packet.end_seq();
        }
        self.seq = self.seq + u32::from(flags.syn()) + u32::from(flags.fin());
    }

    /// What the socket has to send, now or by its delayed ACK.
    fn drain(&mut self) -> Vec<Packet> {
        let mut sent = Vec::new();
        while let Some(packet) = self.stack.next_segment(self.handle, self.now) {
            sent.push(packet);
        }
        let soon = self.stack.deadline(self.handle);
        if sent.is_empty() && soon.since(self.now) < SimDuration::from_millis(100) {
            self.stack.on_timer(self.handle, soon);
            while let Some(packet) = self.stack.next_segment(self.handle, soon) {
                sent.push(packet);
            }
        }
        sent
    }

    /// What a call of the application makes this side send.
    fn ours(&mut self) {
        for packet in self.drain() {
            self.ack = packet.end_seq();
        }
    }

    fn owner(&self) -> Option<Owner> {
        self.stack.owner(FourTuple::new(US, PEER))
    }

    fn state(&self) -> String {
        let listed = self.stack.list().find(|(_, other, _)| *other == Some(PEER));
        listed.map_or("LISTEN".to_owned(), |(_, _, state)| state.name().to_owned())
    }

    fn connect(mut self) -> Self {
        self.handle = self.stack.connect(FourTuple::new(US, PEER), (), self.now);
        self.ours();
        self
    }

    fn then(mut self, flags: Flags) -> Self {
        self.peer(flags);
        self
    }

    fn shut(mut self) -> Self {
        self.stack
            .shutdown(self.handle, How::Write, self.now)
            .expect("there is a connection");
        self.ours();
        self
    }

    fn close(mut self) -> Self {
        self.stack.close(self.handle, self.now);
        self.ours();
        self
    }

    /// The peer's FIN crosses ours: it acknowledges nothing of it.
    fn crossing_fin(mut self) -> Self {
        self.ack = self.ack - 1;
        self.peer(Flags::FIN_ACK);
        self
    }
}

/// A state in the first column, and the way there.
type Row = (&'static str, fn() -> Play);

fn established() -> Play {
    Play::new().then(Flags::SYN).then(Flags::ACK)
}

const ROWS: [Row; 12] = [
    ("LISTEN", Play::new),
    ("SYN-SENT", || Play::new().connect()),
    ("SYN-RECV, request", || Play::new().then(Flags::SYN)),
    ("SYN-RECV, simultaneous open", || {
        Play::new().connect().then(Flags::SYN)
    }),
    ("ESTAB", established),
    ("FIN-WAIT-1", || established().shut()),
    ("FIN-WAIT-2", || established().shut().then(Flags::ACK)),
    ("FIN-WAIT-2, orphan", || established().close().then(Flags::ACK)),
    ("CLOSE-WAIT", || established().then(Flags::FIN_ACK)),
    ("CLOSING", || established().shut().crossing_fin()),
    ("LAST-ACK", || established().then(Flags::FIN_ACK).close()),
    ("TIME-WAIT", || {
        established().shut().then(Flags::ACK).then(Flags::FIN_ACK)
    }),
];

/// A segment in the head: flags, octets beyond what is expected next, octets beyond what was sent.
const SEGMENTS: [(&str, Flags, u32, u32); 8] = [
    ("SYN", Flags::SYN, 1000, 0),
    ("SYN+ACK", Flags::SYN_ACK, 0, 0),
    ("ACK", Flags::ACK, 0, 0),
    ("ACK of what was not sent", Flags::ACK, 0, 1000),
    ("FIN+ACK", Flags::FIN_ACK, 0, 0),
    ("FIN", Flags::FIN, 0, 0),
    ("RST, exact", Flags::RST, 0, 0),
    ("RST in the window", Flags::RST, 1000, 0),
];

fn cell(row: &Row, (_, flags, beyond, unsent): (&str, Flags, u32, u32)) -> String {
    let mut play = (row.1)();
    let before = play.state();
    let (seq, ack) = (play.seq + beyond, play.ack + unsent);
    let sent = play.segment(flags, seq, ack);
    let mut words: Vec<String> = sent.iter().map(|packet| format!("{:?}", packet.flags)).collect();
    let after = play.state();
    if after != before {
        words.push(match (after.as_str(), before.as_str()) {
            ("LISTEN", _) => "→ gone".to_owned(),
            _ => format!("→ {after}"),
        });
    }
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(" ")
    }
}

#[test]
fn tcp_states() {
    let mut head = vec!["state".to_owned()];
    head.extend(SEGMENTS.map(|(name, ..)| name.to_owned()));
    let mut rows = vec![head];
    for row in &ROWS {
        let (name, way) = row;
        let begins = name.split(',').next().expect("a first part");
        assert_eq!(way().state(), begins, "the way to {name}");
        let mut line = vec![(*name).to_owned()];
        line.extend(SEGMENTS.map(|segment| cell(row, segment)));
        rows.push(line);
    }
    check("tcp", "states", &table(&rows));
}
