//! One tracked TCP connection: state, windows, expiry, and the order in which a segment is checked.
//!
//! Follows `nf_conntrack_tcp_packet()` and `tcp_new()`, `net/netfilter/nf_conntrack_proto_tcp.c`, 4.19 to 6.18; where
//! kernels differ, a switch of [`ConntrackConfig`] decides. Left out: SYN proxy, checksums, fixed timeouts, sequence
//! mangling by helpers. See `docs/models/conntrack.md`.

use super::tcp_table::{PacketClass, Transition, transition};
use super::timeout;
use super::window::{self, Last, Side, WindowVerdict, header_ack};
use super::{ConntrackConfig, State};
use crate::units::{SeqNum, SimDuration, SimTime};
use crate::wire::Packet;

/// Direction of a packet relative to the connection's first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// As the first packet.
    Original,
    /// Against it.
    Reply,
}

impl Direction {
    /// The other one.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// What the tracker says of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackVerdict {
    /// Part of the connection; state and expiry are updated.
    Accept,
    /// Let through with the connection's mapping; nothing is refreshed.
    Ignore,
    /// Not part of any connection: no mapping applies, it goes on untranslated unless a rule drops it.
    Invalid,
    /// A new connection on an old tuple: the entry must be removed and the packet looked up again.
    Reopen,
    /// Let through with the mapping, and the entry removed (an RST before any reply).
    AcceptAndDelete,
}

/// One tracked connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracker {
    /// Current state.
    pub state: State,
    /// The entry is dead from this moment on.
    pub expires: SimTime,
    /// A reply was seen (no `[UNREPLIED]`).
    pub seen_reply: bool,
    /// `[ASSURED]`.
    pub assured: bool,
    /// Both sides sent a SYN.
    simultaneous_open: bool,
    /// What is known of each side, by direction.
    sides: [Side; 2],
    last: Last,
}

const _: () = assert!(size_of::<Tracker>() <= 72);

/// An entry with less left than this is not shortened.
const LEAST_LIFE_TO_SHORTEN: SimDuration = SimDuration::from_secs(120);

/// A segment on its way through the checks.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    class: PacketClass,
    direction: Direction,
    packet: &'a Packet,
    now: SimTime,
}

/// What is to be done with a segment, before the window check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// INVALID at once.
    Reject,
    /// Remove the entry and look the segment up again.
    Reopen,
    /// Let through, remember it: the endpoints may know better.
    Remember,
    /// Let through the challenge ACK (RFC 5961) that an ignored SYN provoked.
    PassChallengeAck,
    /// A SYN-ACK answers the remembered SYN: take over what the endpoints agreed on, then as [`Step::Check`] in SYN_RECV.
    Resync,
    /// Check the window, then go to this state.
    Check(State),
    /// Go to this state without a check.
    Trust(State),
}

impl Tracker {
    /// Starts to track with the first packet of a connection; `None`: the packet is INVALID.
    ///
    /// An ACK without an entry is picked up in mid-connection if `nf_conntrack_tcp_loose` is on; its windows are
    /// unknown, so both sides are then checked liberally.
    pub fn open(config: &ConntrackConfig, packet: &Packet, now: SimTime) -> Option<Self> {
        let class = PacketClass::of(packet.flags)?;
        let picked_up = match transition(Direction::Original, class, State::None) {
            Transition::To(State::SynSent) => false,
            Transition::To(_) if config.loose => true,
            _ => return None,
        };
        let mut original = Side {
            be_liberal: picked_up,
            ..Side::default()
        };
        original.start_over(packet.end_seq(), packet.window);
        if picked_up {
            original.max_end = original.end + original.max_window;
        }
        let reply = Side {
            be_liberal: picked_up,
            ..Side::default()
        };
        let mut tracker = Self {
            state: State::None,
            expires: now,
            seen_reply: false,
            assured: false,
            simultaneous_open: false,
            sides: [original, reply],
            last: Last::NONE,
        };
        // The first segment then takes the same way as every other one.
        match tracker.on_packet(config, Direction::Original, packet, now) {
            TrackVerdict::Accept => Some(tracker),
            _ => None,
        }
    }

    /// The short way of nearly all segments after the handshake, an ACK or FIN that fits: what [`Self::on_packet`] comes to
    /// if it accepts them. `false`: nothing is touched.
    #[inline]
    pub fn follow(
        &mut self,
        config: &ConntrackConfig,
        direction: Direction,
        packet: &Packet,
        now: SimTime,
    ) -> bool {
        let from = self.state;
        let is_settled = match from {
            State::Established | State::FinWait | State::CloseWait | State::LastAck | State::TimeWait => true,
            State::SynRecv => direction == Direction::Original,
            _ => false,
        };
        if !(is_settled && self.seen_reply && packet.flags.is_of_connection())
            || self.last.challenge_ack_expected
        {
            return false;
        }
        let class = if packet.flags.fin() {
            PacketClass::Fin
        } else {
            PacketClass::Ack
        };
        let Transition::To(to) = transition(direction, class, from) else {
            return false;
        };
        if !window::follow(config, class, direction, packet, &mut self.sides, &mut self.last) {
            return false;
        }
        let arrival = Arrival {
            class,
            direction,
            packet,
            now,
        };
        self.refresh(config, arrival, from, to);
        true
    }

    /// Takes one packet of the connection, found not expired.
    pub fn on_packet(
        &mut self,
        config: &ConntrackConfig,
        direction: Direction,
        packet: &Packet,
        now: SimTime,
    ) -> TrackVerdict {
        let Some(class) = PacketClass::of(packet.flags) else {
            return TrackVerdict::Invalid;
        };
        let arrival = Arrival {
            class,
            direction,
            packet,
            now,
        };
        let verdict = match self.decide(config, arrival) {
            Step::Reject => TrackVerdict::Invalid,
            Step::Reopen => TrackVerdict::Reopen,
            Step::Remember => {
                self.remember(config, arrival);
                TrackVerdict::Ignore
            }
            Step::PassChallengeAck => {
                self.last.challenge_ack_expected = false;
                TrackVerdict::Ignore
            }
            Step::Resync => {
                self.resync(config, direction);
                // Counted as the handshake's second step, whatever the entry was in.
                self.check(config, arrival, State::SynSent, State::SynRecv)
            }
            Step::Check(to) => {
                self.simultaneous_open |= to == State::SynSent2;
                self.check(config, arrival, self.state, to)
            }
            Step::Trust(to) => self.accept(config, arrival, self.state, to),
        };
        // Set by the core after the tracker, so that the tracker itself never sees it in the first reply.
        if direction == Direction::Reply && matches!(verdict, TrackVerdict::Accept | TrackVerdict::Ignore) {
            self.seen_reply = true;
        }
        verdict
    }

    /// Sequence number after the highest octet that the client sent (`td_end` of the original direction): a new SYN
    /// beyond it may evict a closing entry in the port search of newer kernels.
    pub const fn original_end(&self) -> SeqNum {
        self.sides[Direction::Original as usize].end
    }

    /// Whether the entry is dead at `now`.
    pub fn is_expired(&self, now: SimTime) -> bool {
        now >= self.expires
    }

    /// The decision, without any effect.
    fn decide(&self, config: &ConntrackConfig, arrival: Arrival<'_>) -> Step {
        let Arrival {
            class,
            direction,
            packet,
            ..
        } = arrival;
        match transition(direction, class, self.state) {
            Transition::Invalid => Step::Reject,
            // A SYN on a closing entry. The conditions of RFC 9293 for a new incarnation are the pod's business.
            Transition::To(State::SynSent) if matches!(self.state, State::TimeWait | State::Close) => {
                let closed = self.sides.iter().any(|side| side.close_init);
                let aborted = self.last.class == PacketClass::Rst && self.last.direction == direction;
                if closed || aborted {
                    Step::Reopen
                } else {
                    Step::Remember
                }
            }
            Transition::Ignore => {
                let answers_remembered_syn = class == PacketClass::SynAck
                    && self.last.class == PacketClass::Syn
                    && self.last.direction != direction
                    && packet.ack == self.last.end;
                if answers_remembered_syn {
                    Step::Resync
                } else {
                    Step::Remember
                }
            }
            Transition::To(State::TimeWait) if self.is_challenge_ack(class, direction) => {
                Step::PassChallengeAck
            }
            Transition::To(State::SynRecv)
                if class == PacketClass::Ack && direction == Direction::Reply && self.simultaneous_open =>
            {
                Step::Check(State::Established)
            }
            Transition::To(State::Close) if class == PacketClass::Rst => {
                self.decide_rst(config, direction, packet)
            }
            Transition::To(to) => Step::Check(to),
        }
    }

    /// Whether this is the answer to a SYN that met LAST_ACK, and so not the ACK of the last FIN.
    fn is_challenge_ack(&self, class: PacketClass, direction: Direction) -> bool {
        self.state == State::LastAck
            && class == PacketClass::Ack
            && self.last.class == PacketClass::Syn
            && self.last.direction != direction
            && self.last.challenge_ack_expected
    }

    /// The rules for an RST, in their order.
    fn decide_rst(&self, config: &ConntrackConfig, direction: Direction, packet: &Packet) -> Step {
        let newer = config.rst_in_closing_believed;
        let last = &self.last;
        // The tuple may be in use again already, and then everything remembered is out of date.
        if newer && self.state.can_early_drop() {
            return Step::Trust(State::Close);
        }
        let mut to = State::Close;
        let max_ack = self.sides[direction.reversed() as usize].max_ack();
        if let Some(max_ack) = max_ack.filter(|_| !(newer && last.class == PacketClass::Syn)) {
            let established = self.state == State::Established && self.assured;
            if newer && packet.seq == SeqNum(0) && !established {
                // Most likely the answer to a SYN.
                return Step::Check(to);
            }
            if packet.seq.is_before(max_ack) && !config.ignore_invalid_rst {
                return Step::Reject;
            }
            let continues_last_ack =
                last.class == PacketClass::Ack && last.direction == direction && packet.seq == last.end;
            let exact = packet.seq == max_ack || continues_last_ack;
            if !established || exact || !config.rst_must_be_exact {
                return Step::Check(to);
            }
            // In the window, but not exact: the receiver answers with a challenge ACK (RFC 5961 section 3.2).
            to = self.state;
        }
        let answers_ignored_syn =
            self.seen_reply && last.class == PacketClass::Syn && (!newer || last.direction != direction);
        let answers_ignored_ack = !self.assured && last.class == PacketClass::Ack;
        if (answers_ignored_syn || answers_ignored_ack) && header_ack(packet) == last.end {
            return Step::Trust(to);
        }
        // The caller's RST against the pod's bare ACK, which carries that ACK's number as its sequence number.
        if config.rst_after_ignored_ack_passes
            && self.state == State::SynSent
            && last.class == PacketClass::Ack
            && last.direction == Direction::Reply
            && packet.seq == last.ack
        {
            return Step::Trust(to);
        }
        Step::Check(to)
    }

    /// Keeps the data of a segment that was let through.
    fn remember(&mut self, config: &ConntrackConfig, arrival: Arrival<'_>) {
        let Arrival {
            class,
            direction,
            packet,
            ..
        } = arrival;
        let last = &mut self.last;
        last.class = class;
        last.direction = direction;
        last.seq = packet.seq;
        last.end = packet.end_seq();
        last.window = packet.window;
        if class == PacketClass::Syn && direction == Direction::Original {
            self.simultaneous_open = false;
            last.challenge_ack_expected = self.state == State::LastAck;
        }
        let bare_ack =
            self.state == State::SynSent && class == PacketClass::Ack && direction == Direction::Reply;
        // Came together with the rule that reads it.
        if bare_ack && config.rst_after_ignored_ack_passes {
            last.ack = packet.ack;
        }
    }

    /// Takes over the remembered SYN: both ends are in sync, only the entry was not.
    fn resync(&mut self, config: &ConntrackConfig, direction: Direction) {
        self.last.challenge_ack_expected = false;
        let mut syn_sender = Side::default();
        syn_sender.start_over(self.last.end, self.last.window);
        self.sides[self.last.direction as usize] = syn_sender;
        let sender = &mut self.sides[direction as usize];
        *sender = Side {
            be_liberal: sender.be_liberal && config.old_segments_ignored,
            ..Side::default()
        };
    }

    /// The window check and what follows from it.
    fn check(
        &mut self,
        config: &ConntrackConfig,
        arrival: Arrival<'_>,
        from: State,
        to: State,
    ) -> TrackVerdict {
        let Arrival {
            class,
            direction,
            packet,
            ..
        } = arrival;
        let Self {
            state, sides, last, ..
        } = self;
        match window::check(config, *state, class, direction, packet, sides, last) {
            WindowVerdict::InWindow => self.accept(config, arrival, from, to),
            WindowVerdict::Ignore => TrackVerdict::Ignore,
            WindowVerdict::Invalid => {
                self.shorten_after_invalid_close(config, arrival);
                TrackVerdict::Invalid
            }
        }
    }

    /// The segment belongs to the connection: state, flags and expiry follow.
    fn accept(
        &mut self,
        config: &ConntrackConfig,
        arrival: Arrival<'_>,
        from: State,
        to: State,
    ) -> TrackVerdict {
        if !self.seen_reply {
            return self.accept_unanswered(config, arrival, from, to);
        }
        self.refresh(config, arrival, from, to);
        TrackVerdict::Accept
    }

    /// State, flags and expiry of a connection that has seen a reply.
    #[inline]
    fn refresh(&mut self, config: &ConntrackConfig, arrival: Arrival<'_>, from: State, to: State) {
        let timeout = self.enter(config, arrival, from, to);
        if matches!(from, State::SynRecv | State::Established) && to == State::Established {
            self.assured = true;
        }
        self.expires = timeout::deadline(arrival.now, timeout, config.hz);
    }

    fn accept_unanswered(
        &mut self,
        config: &ConntrackConfig,
        arrival: Arrival<'_>,
        from: State,
        to: State,
    ) -> TrackVerdict {
        let mut timeout = self.enter(config, arrival, from, to);
        if arrival.class == PacketClass::Rst {
            return TrackVerdict::AcceptAndDelete;
        }
        if arrival.class == PacketClass::Syn && from == State::SynSent && !config.syn_repeat_refreshes {
            return TrackVerdict::Accept;
        }
        // Picked up in mid-connection: five days are for connections that were heard from both sides.
        if to == State::Established {
            timeout = timeout.min(config.timeouts.unacknowledged);
        }
        self.expires = timeout::deadline(arrival.now, timeout, config.hz);
        TrackVerdict::Accept
    }

    /// The new state; returns its timeout.
    #[inline]
    fn enter(
        &mut self,
        config: &ConntrackConfig,
        arrival: Arrival<'_>,
        from: State,
        to: State,
    ) -> SimDuration {
        let Arrival { class, direction, .. } = arrival;
        self.last.class = class;
        self.last.direction = direction;
        self.state = to;
        if from != to && to == State::FinWait {
            self.sides[direction as usize].close_init = true;
        }
        timeout::choose(config, class, to, &self.sides, &self.last)
    }

    /// Newer kernels: a FIN or RST out of window, answered by another one, means that the entry is out of sync; it need
    /// not live for days (`nf_tcp_handle_invalid()`).
    fn shorten_after_invalid_close(&mut self, config: &ConntrackConfig, arrival: Arrival<'_>) {
        let Arrival {
            class,
            direction,
            now,
            ..
        } = arrival;
        let is_close = |class| matches!(class, PacketClass::Fin | PacketClass::Rst);
        if !config.old_segments_ignored || !self.assured || !is_close(class) {
            return;
        }
        if self.last.direction == direction || !is_close(self.last.class) {
            self.last.class = class;
            self.last.direction = direction;
            return;
        }
        let left = timeout::remaining(self.expires, now, config.hz);
        let shorter = config.timeouts.unacknowledged;
        if left >= LEAST_LIFE_TO_SHORTEN && left > shorter {
            self.expires = timeout::deadline(now, shorter, config.hz);
        }
    }
}
