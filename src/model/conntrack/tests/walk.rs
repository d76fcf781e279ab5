//! Every sequence of up to six segments, against an independent walk of the published tables and timeouts.
//!
//! A segment carries the sequence number that an endpoint in that position would use, or one far beyond any window. The
//! walk knows no window but that: the latter fail wherever the window is asked.

use super::*;

const STATES: [(&str, State); 9] = [
    ("SS", State::SynSent),
    ("SR", State::SynRecv),
    ("ES", State::Established),
    ("FW", State::FinWait),
    ("CW", State::CloseWait),
    ("LA", State::LastAck),
    ("TW", State::TimeWait),
    ("CL", State::Close),
    ("S2", State::SynSent2),
];

/// Columns: NONE SS SR ES FW CW LA TW CL S2.
const ORIGINAL: [(Flags, &str); 5] = [
    (Flags::SYN, "SS SS IG IG IG IG IG SS SS S2"),
    (Flags::SYN_ACK, "IV IV SR IV IV IV IV IV IV SR"),
    (Flags::FIN_ACK, "IV IV FW FW LA LA LA TW CL IV"),
    (Flags::ACK, "ES IV ES ES CW CW TW TW CL IV"),
    (Flags::RST, "IV CL CL CL CL CL CL CL CL CL"),
];
const REPLY: [(Flags, &str); 5] = [
    (Flags::SYN, "IV S2 IV IV IV IV IV SS IV S2"),
    (Flags::SYN_ACK, "IV SR IG IG IG IG IG IG IG SR"),
    (Flags::FIN_ACK, "IV IV FW FW LA LA LA TW CL IV"),
    (Flags::ACK, "IV IG SR ES CW CW TW TW CL IG"),
    (Flags::RST, "IV CL CL CL CL CL CL CL CL CL"),
];

fn cell(direction: Direction, flags: Flags, state: State) -> &'static str {
    let table = if direction == Original { &ORIGINAL } else { &REPLY };
    let row = table
        .iter()
        .find(|(f, _)| *f == flags)
        .expect("every class has a row")
        .1;
    row.split(' ')
        .nth(state as usize)
        .expect("every state has a column")
}

/// A segment to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    flags: Flags,
    payload: u32,
    /// Its sequence number lies far beyond the window.
    beyond: bool,
}

fn kinds() -> Vec<Kind> {
    let classes = ORIGINAL.map(|(flags, _)| (flags, 0)).into_iter();
    let with_data = classes.chain([(Flags::ACK, 10)]);
    with_data
        .flat_map(|(flags, payload)| {
            [false, true].map(|beyond| Kind {
                flags,
                payload,
                beyond,
            })
        })
        .collect()
}

/// The switches of the kernel, as far as sequences of this length meet them.
#[derive(Clone, Copy)]
struct Rules {
    refreshes: bool,
    /// Newer kernels: any RST in a closing state is believed, an answered invalid close shortens the entry.
    newer: bool,
    /// Windows begin again with any segment of the side that is awaited.
    begins_again: bool,
}

/// The walk's own idea of an entry.
#[derive(Clone, Copy)]
struct Walk {
    rules: Rules,
    state: State,
    seen_reply: bool,
    assured: bool,
    fin_wait_seen: bool,
    /// Class, direction and end of the last segment that was taken or let through.
    last: (Flags, Direction, u32),
    both_sent_syn: bool,
    challenge: bool,
    /// An ACK of this direction was taken, so that its numbers and its window are known.
    heard: [bool; 2],
    /// The end of what this side sent, and whether that was acknowledged.
    sent: [Option<u32>; 2],
    unacknowledged: [bool; 2],
    /// The highest number that this side acknowledged.
    acked: [Option<u32>; 2],
    /// Picked up in mid-connection: what the window does not allow is let through.
    liberal: [bool; 2],
    /// The last ACK and how often it was repeated in a row.
    repeated: (Option<(Direction, Packet)>, u32),
    /// Seconds at which the entry ends.
    expires: u64,
}

impl Walk {
    fn open(rules: Rules, entry: &Tracker, flags: Flags, packet: &Packet) -> Self {
        Self {
            rules,
            state: entry.state,
            seen_reply: false,
            assured: false,
            fin_wait_seen: false,
            last: (flags, Original, packet.end_seq().0),
            both_sent_syn: false,
            challenge: false,
            heard: [false; 2],
            sent: [Some(packet.end_seq().0), None],
            unacknowledged: [false; 2],
            acked: [None; 2],
            liberal: [flags == Flags::ACK; 2],
            repeated: (None, 0),
            expires: if flags == Flags::SYN { 120 } else { 300 },
        }
    }

    fn step(&mut self, direction: Direction, kind: Kind, packet: &Packet, now: u64) -> TrackVerdict {
        let flags = kind.flags;
        let from = self.state;
        let verdict = self.verdict(direction, kind, packet, now);
        match verdict {
            Accept => self.taken(direction, flags, packet, from, now),
            Ignore if self.challenge_answered(direction, flags) => self.challenge = false,
            Ignore => {
                if flags == Flags::SYN && direction == Original {
                    self.both_sent_syn = false;
                    self.challenge = from == State::LastAck;
                }
                self.last = (flags, direction, packet.end_seq().0);
                self.repeated = (None, 0);
            }
            _ => {}
        }
        self.seen_reply |= direction == Reply && matches!(verdict, Accept | Ignore);
        verdict
    }

    /// Numbers, flags and timeout after an accepted segment (rules of the timeout, first match).
    fn taken(&mut self, direction: Direction, flags: Flags, packet: &Packet, from: State, now: u64) {
        self.last = (flags, direction, packet.end_seq().0);
        self.repeated = match self.repeated {
            _ if flags != Flags::ACK => (None, 0),
            (last, count) if last == Some((direction, *packet)) => (last, count + 1),
            _ => (Some((direction, *packet)), 0),
        };
        if !(flags == Flags::RST && self.rules.newer && from.can_early_drop()) {
            self.learn(direction, flags, packet, from);
        }
        if !self.seen_reply && flags == Flags::SYN && from == State::SynSent && !self.rules.refreshes {
            return;
        }
        self.assured |= self.seen_reply
            && matches!(from, State::SynRecv | State::Established)
            && self.state == State::Established;
        let by_state = [0, 120, 60, 432_000, 120, 60, 30, 120, 10, 120][self.state as usize];
        let short = self.repeated.1 >= 3 || self.unacknowledged != [false; 2] || !self.seen_reply;
        let timeout = if flags == Flags::RST {
            10
        } else if self.state == State::Established && short {
            300
        } else {
            by_state
        };
        self.expires = now + timeout;
    }

    /// Numbers and windows, of a segment that the window was asked about.
    fn learn(&mut self, direction: Direction, flags: Flags, packet: &Packet, from: State) {
        let (me, peer, end) = (
            direction as usize,
            direction.reversed() as usize,
            packet.end_seq().0,
        );
        self.heard[me] |= packet.flags.ack();
        // How far a window reaches that begins again, the other side has yet to say.
        self.heard[peer] &= !self.begins_again(direction, flags, from);
        match self.sent[me] {
            Some(known) if end > known && !self.begins_again(direction, flags, from) => {
                self.sent[me] = Some(end);
                self.unacknowledged[me] = true;
            }
            // A window that begins here has nothing outstanding.
            Some(_) | None => self.sent[me] = self.sent[me].max(Some(end)),
        }
        if packet.flags.ack() {
            self.acked[me] = self.acked[me].max(Some(packet.ack.0));
        }
        if packet.flags.ack() && self.sent[peer] == Some(packet.ack.0) {
            self.unacknowledged[peer] = false;
        }
    }

    fn challenge_answered(&self, direction: Direction, flags: Flags) -> bool {
        self.challenge
            && self.state == State::LastAck
            && flags == Flags::ACK
            && (self.last.0, self.last.1) == (Flags::SYN, direction.reversed())
    }

    fn verdict(&mut self, direction: Direction, kind: Kind, packet: &Packet, now: u64) -> TrackVerdict {
        let flags = kind.flags;
        let closing = matches!(self.state, State::TimeWait | State::Close);
        let mut to = cell(direction, flags, self.state);
        let mut resynced = false;
        if to == "SS" && closing {
            if self.fin_wait_seen || (self.last.0, self.last.1) == (Flags::RST, direction) {
                return Reopen;
            }
            to = "IG";
        }
        if to == "IG" {
            let remembered = (Flags::SYN, direction.reversed(), packet.ack.0);
            if flags != Flags::SYN_ACK || self.last != remembered {
                return Ignore;
            }
            // The connection that the endpoints agreed on; of its server nothing is known yet.
            to = "SR";
            resynced = true;
            self.fin_wait_seen = false;
            self.sent[direction as usize] = None;
            self.sent[direction.reversed() as usize] = Some(self.last.2);
            self.unacknowledged = [false; 2];
            self.acked = [None; 2];
            self.liberal[direction.reversed() as usize] = false;
            self.liberal[direction as usize] &= self.rules.newer;
        }
        if to == "IV" {
            return Invalid;
        }
        if to == "TW" && self.challenge_answered(direction, flags) {
            return Ignore;
        }
        if to == "SR" && (direction, flags) == (Reply, Flags::ACK) && self.both_sent_syn {
            to = "ES";
        }
        if kind.beyond && !resynced && !self.window_unasked(direction, flags) {
            self.closes_beyond_window(direction, flags, now);
            return Invalid;
        }
        if flags == Flags::RST && self.leaves_established(direction, packet) {
            to = "ES";
        }
        self.both_sent_syn |= to == "S2";
        if flags == Flags::RST && !self.seen_reply {
            return AcceptAndDelete;
        }
        let to = STATES.iter().find(|(name, _)| *name == to).expect("a state").1;
        self.fin_wait_seen |= to == State::FinWait && self.state != State::FinWait;
        self.state = to;
        Accept
    }

    /// Newer kernels: FINs or RSTs of both sides that are INVALID one after the other end an ASSURED entry in 300 s.
    fn closes_beyond_window(&mut self, direction: Direction, flags: Flags, now: u64) {
        let closes = |flags| matches!(flags, Flags::FIN_ACK | Flags::RST);
        if !(self.rules.newer && self.assured && closes(flags)) {
            return;
        }
        if closes(self.last.0) && self.last.1 != direction {
            self.expires = if self.expires > now + 300 {
                now + 300
            } else {
                self.expires
            };
        } else {
            (self.last.0, self.last.1) = (flags, direction);
        }
    }

    /// An RST without the exact number is left to the endpoints: a challenge ACK may follow.
    fn leaves_established(&self, direction: Direction, packet: &Packet) -> bool {
        let Some(exact) = self.acked[direction.reversed() as usize] else {
            return false;
        };
        let unknown = self.rules.newer && self.last.0 == Flags::SYN;
        let continues = self.last == (Flags::ACK, direction, packet.seq.0);
        let established = self.state == State::Established && self.assured;
        established && !unknown && !continues && packet.seq.0 != exact
    }

    /// A segment from beyond the window is taken all the same.
    fn window_unasked(&self, direction: Direction, flags: Flags) -> bool {
        let believed = flags == Flags::RST && self.rules.newer && self.state.can_early_drop();
        let liberal = self.liberal[direction as usize];
        believed || liberal || self.begins_again(direction, flags, self.state)
    }

    /// The window of a side whose SYN or SYN-ACK is outstanding begins with this segment.
    fn begins_again(&self, direction: Direction, flags: Flags, state: State) -> bool {
        let awaited = match direction {
            Original => state == State::SynSent,
            Reply => state == State::SynRecv,
        };
        let either = matches!(state, State::SynSent | State::SynRecv);
        (awaited && self.rules.begins_again) || (either && flags.syn() && !self.rules.begins_again)
    }
}

/// Next sequence number of both ends, as the endpoints would count.
#[derive(Clone, Copy)]
struct Numbers([u32; 2]);

impl Numbers {
    const ISN: [u32; 2] = [C, S];
    /// Beyond all windows.
    const FAR: u32 = 10_000_000;

    fn make(&mut self, direction: Direction, kind: Kind) -> Packet {
        let (me, peer) = (direction as usize, direction.reversed() as usize);
        // A SYN, or a FIN, that was sent already is repeated with its number; both begin at once otherwise.
        let seq = match kind.flags {
            Flags::SYN | Flags::SYN_ACK => Self::ISN[me],
            Flags::FIN_ACK => Self::ISN[me] + 1,
            _ => self.0[me],
        };
        let far = if kind.beyond { Self::FAR } else { 0 };
        let packet = packet(kind.flags, seq + far, self.0[peer], kind.payload);
        if !kind.beyond {
            self.0[me] = self.0[me].max(packet.end_seq().0);
        }
        Packet {
            ack: if kind.flags.ack() { packet.ack } else { SeqNum(0) },
            ..packet
        }
    }
}

/// Steps taken, and steps left out because the window decides them.
#[derive(Default)]
struct Tally {
    seen: u64,
    left_out: u64,
}

/// Where an exploration stands.
#[derive(Clone, Copy)]
struct At {
    entry: Tracker,
    walk: Walk,
    numbers: Numbers,
    now: u64,
}

fn explore(
    config: &ConntrackConfig,
    kinds: &[Kind],
    path: &mut Vec<(Direction, Kind)>,
    at: At,
    tally: &mut Tally,
) {
    for direction in [Original, Reply] {
        // Beyond what, nobody can say before both sides have announced a window.
        let known = at.walk.heard == [true; 2];
        for &kind in kinds.iter().filter(|kind| known || !kind.beyond) {
            path.push((direction, kind));
            step(config, kinds, path, at, tally);
            path.pop();
        }
    }
}

fn step(
    config: &ConntrackConfig,
    kinds: &[Kind],
    path: &mut Vec<(Direction, Kind)>,
    at: At,
    tally: &mut Tally,
) {
    let &(direction, kind) = path.last().expect("a step");
    let At {
        mut entry,
        mut walk,
        mut numbers,
        mut now,
    } = at;
    now += 1;
    let packet = numbers.make(direction, kind);
    let got = entry.on_packet(config, direction, &packet, super::at(now));
    let want = walk.step(direction, kind, &packet, now);
    let taken = at.walk.sent[direction.reversed() as usize];
    let unheard = packet.flags.ack() && taken.is_none_or(|end| packet.ack.0 > end);
    // Let through liberally, it teaches nothing.
    let untaught = unheard && at.walk.liberal[direction as usize];
    if untaught || got != want && (unheard || walk.heard != [true; 2]) {
        // It acknowledges what was only let through, or the window that it must keep was never announced: that is no
        // matter of the tables.
        tally.left_out += 1;
        return;
    }
    assert_eq!(got, want, "after {path:?}");
    tally.seen += 1;
    if kind.beyond && got == Accept {
        // The window begins again there, or the entry is closed: what follows would no longer be what endpoints send.
        return;
    }
    if got == Invalid {
        // It goes on untranslated and never arrives: the other end cannot acknowledge it.
        numbers = at.numbers;
    }
    if matches!(got, Reopen | AcceptAndDelete) {
        return;
    }
    if got == Accept && kind.flags == Flags::SYN_ACK {
        // A new incarnation: what the old one sent no longer counts.
        numbers.0[direction as usize] = packet.end_seq().0;
    }
    assert_eq!(
        (entry.state, entry.seen_reply, entry.assured),
        (walk.state, walk.seen_reply, walk.assured),
        "after {path:?}"
    );
    assert_eq!(entry.expires, super::at(walk.expires), "after {path:?}");
    if path.len() < DEPTH {
        explore(
            config,
            kinds,
            path,
            At {
                entry,
                walk,
                numbers,
                now,
            },
            tally,
        );
    }
}

/// Segments after the first.
const DEPTH: usize = 5;

#[test]
fn every_sequence_of_up_to_six_segments_follows_the_published_tables_and_timeouts() {
    for config in [OLD, NEW, BETWEEN] {
        let rules = Rules {
            refreshes: config.syn_repeat_refreshes,
            newer: config.rst_in_closing_believed,
            begins_again: config.any_segment_reinits_window,
        };
        for flags in [Flags::SYN, Flags::ACK] {
            let mut numbers = Numbers([C, S + 1]);
            if flags == Flags::ACK {
                numbers.0[0] = C + 1;
            }
            let kind = Kind {
                flags,
                payload: 0,
                beyond: false,
            };
            let opening = numbers.make(Original, kind);
            let entry = Tracker::open(&config, &opening, SimTime::ZERO).expect("opens");
            let walk = Walk::open(rules, &entry, flags, &opening);
            let mut tally = Tally::default();
            let at = At {
                entry,
                walk,
                numbers,
                now: 0,
            };
            explore(&config, &kinds(), &mut Vec::new(), at, &mut tally);
            println!("{flags:?}: {} left out of {}", tally.left_out, tally.seen);
            assert!(tally.seen > 100_000, "{} steps", tally.seen);
            assert!(
                tally.left_out * 20 < tally.seen,
                "{} of {}",
                tally.left_out,
                tally.seen
            );
        }
    }
}
