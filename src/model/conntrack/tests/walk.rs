//! Every sequence of up to five segments, against an independent walk of the published tables.
//!
//! The walk knows no window: it holds for connections whose segments carry the sequence numbers that an endpoint in
//! that position would use, which is what the generator makes.

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

/// The walk's own idea of an entry.
#[derive(Clone, Copy)]
struct Walk {
    state: State,
    seen_reply: bool,
    fin_wait_seen: bool,
    /// Class, direction and end of the last segment that was taken or let through.
    last: (Flags, Direction, u32),
    both_sent_syn: bool,
    challenge: bool,
    /// An ACK of this direction was taken, so that its numbers and its window are known.
    heard: [bool; 2],
}

impl Walk {
    fn step(&mut self, direction: Direction, flags: Flags, packet: &Packet) -> TrackVerdict {
        let verdict = self.verdict(direction, flags, packet);
        if matches!(verdict, Accept | Ignore)
            && !(verdict == Ignore && self.challenge_answered(direction, flags))
        {
            self.last = (flags, direction, packet.end_seq().0);
        }
        if verdict == Ignore {
            if self.challenge_answered(direction, flags) {
                self.challenge = false;
            } else if flags == Flags::SYN && direction == Original {
                self.both_sent_syn = false;
                self.challenge = self.state == State::LastAck;
            }
        }
        self.heard[direction as usize] |= verdict == Accept && packet.flags.ack();
        self.seen_reply |= direction == Reply && matches!(verdict, Accept | Ignore);
        verdict
    }

    fn challenge_answered(&self, direction: Direction, flags: Flags) -> bool {
        self.challenge
            && self.state == State::LastAck
            && flags == Flags::ACK
            && (self.last.0, self.last.1) == (Flags::SYN, direction.reversed())
    }

    fn verdict(&mut self, direction: Direction, flags: Flags, packet: &Packet) -> TrackVerdict {
        let closing = matches!(self.state, State::TimeWait | State::Close);
        let mut to = cell(direction, flags, self.state);
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
            to = "SR";
            self.fin_wait_seen = false;
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
        self.both_sent_syn |= to == "S2";
        if flags == Flags::RST && !self.seen_reply {
            return AcceptAndDelete;
        }
        let to = STATES.iter().find(|(name, _)| *name == to).expect("a state").1;
        self.fin_wait_seen |= to == State::FinWait && self.state != State::FinWait;
        self.state = to;
        Accept
    }
}

/// Next sequence number of both ends, as the endpoints would count.
#[derive(Clone, Copy)]
struct Numbers([u32; 2]);

impl Numbers {
    const ISN: [u32; 2] = [C, S];

    fn make(&mut self, direction: Direction, flags: Flags) -> Packet {
        let (me, peer) = (direction as usize, direction.reversed() as usize);
        // A SYN, or a FIN, that was sent already is repeated with its number; both begin at once otherwise.
        let seq = match flags {
            Flags::SYN | Flags::SYN_ACK => Self::ISN[me],
            Flags::FIN_ACK => Self::ISN[me] + 1,
            _ => self.0[me],
        };
        let packet = packet(flags, seq, self.0[peer], 0);
        let end = packet.end_seq().0;
        self.0[me] = self.0[me].max(end);
        Packet {
            ack: if flags.ack() { packet.ack } else { SeqNum(0) },
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

fn explore(
    config: &ConntrackConfig,
    depth: usize,
    path: &mut Vec<String>,
    at: (Tracker, Walk, Numbers),
    tally: &mut Tally,
) {
    if depth == 0 {
        return;
    }
    for direction in [Original, Reply] {
        for (flags, _) in ORIGINAL {
            let (mut entry, mut walk, mut numbers) = at;
            let packet = numbers.make(direction, flags);
            path.push(format!("{direction:?} {flags:?}"));
            let got = entry.on_packet(config, direction, &packet, SimTime::ZERO);
            let want = walk.step(direction, flags, &packet);
            if got != want && !walk.heard[direction.reversed() as usize] {
                // It acknowledges what was only let through, or goes beyond a window that nobody announced: that is
                // no matter of the tables.
                assert!(
                    want == Accept && matches!(got, Invalid | Ignore),
                    "after {path:?}"
                );
                tally.left_out += 1;
                path.pop();
                continue;
            }
            assert_eq!(got, want, "after {path:?}");
            if got == Invalid {
                // It goes on untranslated and never arrives: the other end cannot acknowledge it.
                numbers = at.2;
            }
            if got == Accept && flags == Flags::SYN_ACK {
                // A new incarnation: what the old one sent no longer counts.
                numbers.0[direction as usize] = packet.end_seq().0;
            }
            tally.seen += 1;
            // After the other two the entry is gone.
            if !matches!(got, Reopen | AcceptAndDelete) {
                let state = (entry.state, entry.seen_reply);
                assert_eq!(state, (walk.state, walk.seen_reply), "after {path:?}");
                explore(config, depth - 1, path, (entry, walk, numbers), tally);
            }
            path.pop();
        }
    }
}

#[test]
fn every_sequence_of_up_to_five_segments_follows_the_published_tables() {
    for config in [OLD, NEW] {
        for first in [Flags::SYN, Flags::ACK] {
            let mut numbers = Numbers([C, S + 1]);
            if first == Flags::ACK {
                numbers.0[0] = C + 1;
            }
            let opening = numbers.make(Original, first);
            let entry = Tracker::open(&config, &opening, SimTime::ZERO).expect("opens");
            let walk = Walk {
                state: entry.state,
                seen_reply: false,
                fin_wait_seen: false,
                last: (first, Original, opening.end_seq().0),
                both_sent_syn: false,
                challenge: false,
                heard: [false, false],
            };
            let mut path = vec![format!("{first:?}")];
            let mut tally = Tally::default();
            explore(&config, 4, &mut path, (entry, walk, numbers), &mut tally);
            assert!(tally.seen > 5_000, "{} steps", tally.seen);
            assert!(
                tally.left_out * 20 < tally.seen,
                "{} of {}",
                tally.left_out,
                tally.seen
            );
            println!("{first:?}: {} left out of {}", tally.left_out, tally.seen);
        }
    }
}
