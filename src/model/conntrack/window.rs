//! The window check of the TCP tracker: is a segment plausible for what was seen of both sides?
//!
//! `tcp_in_window()`, `net/netfilter/nf_conntrack_proto_tcp.c`, after van Rooij's "Real Stateful TCP Packet Filtering".
//! Two eras: up to 5.10 every failure is INVALID; from 6.1 on old data and old ACKs are let through without a refresh,
//! and only a segment or an ACK from beyond what can exist is INVALID
//! ([`ConntrackConfig::old_segments_ignored`]).
//!
//! The wire gives windows in octets, so there is no scale to track; there is no SACK, so the highest acknowledged octet
//! is the ACK's.

use super::tcp_table::PacketClass;
use super::tracker::Direction;
use super::{ConntrackConfig, State};
use crate::units::SeqNum;
use crate::wire::Packet;

/// The least span below the highest sent octet in which an ACK is believed (`MAXACKWINCONST`).
const ACK_SPAN: u32 = 66_000;

/// What is known of one side of the connection (`ip_ct_tcp_state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Side {
    /// Sequence number after the highest octet that it sent.
    pub end: SeqNum,
    /// The highest sequence number that its peer's window allows.
    pub max_end: SeqNum,
    /// The largest window that it announced; 0: nothing is known of this side.
    pub max_window: u32,
    /// Its highest ACK; see [`Self::max_ack`].
    pub max_ack: SeqNum,
    /// It has sent one.
    pub has_acknowledged: bool,
    /// Its FIN led to FIN_WAIT.
    pub close_init: bool,
    /// Picked up in mid-connection: what fails the check is let through.
    pub be_liberal: bool,
    /// It sent something that was not acknowledged yet.
    pub unacknowledged: bool,
}

impl Side {
    /// Its highest ACK.
    pub(super) fn max_ack(&self) -> Option<SeqNum> {
        self.has_acknowledged.then_some(self.max_ack)
    }

    /// Everything known of the side follows from its SYN or SYN-ACK.
    pub(super) fn start_over(&mut self, end: SeqNum, window: u32) {
        self.end = end;
        self.max_end = end;
        // 0 stands for "unknown", so a closed window counts as one octet.
        self.max_window = window.max(1);
    }
}

/// What is remembered of the last segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Last {
    /// Sequence number.
    pub seq: SeqNum,
    /// ACK number.
    pub ack: SeqNum,
    /// Sequence number after it.
    pub end: SeqNum,
    /// Window.
    pub window: u32,
    /// Class.
    pub class: PacketClass,
    /// Direction.
    pub direction: Direction,
    /// Identical ACKs in a row.
    pub retransmissions: u8,
    /// An ignored SYN met LAST_ACK: the next ACK may be the challenge, and not the ACK of the last FIN.
    pub challenge_ack_expected: bool,
}

impl Last {
    /// Nothing seen yet.
    pub(super) const NONE: Self = Self {
        seq: SeqNum(0),
        ack: SeqNum(0),
        end: SeqNum(0),
        window: 0,
        class: PacketClass::None,
        direction: Direction::Original,
        retransmissions: 0,
        challenge_ack_expected: false,
    };
}

/// What the check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WindowVerdict {
    /// Plausible.
    InWindow,
    /// Old, or beyond the window by little: let it through, believe nothing.
    Ignore,
    /// Implausible.
    Invalid,
}

/// The ACK number as it stands in the header: 0 without the flag.
pub(super) const fn header_ack(packet: &Packet) -> SeqNum {
    if packet.flags.ack() { packet.ack } else { SeqNum(0) }
}

/// Checks a segment against both sides and, if it is plausible, learns from it. `state` is the one before the segment.
///
/// What is learned of an unknown sender stays learned even if the segment then fails, as in the kernel.
pub(super) fn check(
    config: &ConntrackConfig,
    state: State,
    class: PacketClass,
    direction: Direction,
    packet: &Packet,
    sides: &mut [Side; 2],
    last: &mut Last,
) -> WindowVerdict {
    let [original, reply] = sides;
    let (sender, receiver) = match direction {
        Direction::Original => (original, reply),
        Direction::Reply => (reply, original),
    };
    if meet_sender(config, state, direction, packet, sender, receiver) {
        return WindowVerdict::InWindow;
    }
    let segment = Segment::of(state, packet, sender, receiver);
    let liberal = sender.be_liberal || config.be_liberal;
    let judgement = judge(config, &segment, sender, receiver);
    match judgement {
        Judgement::Plausible => learn(class, direction, packet, &segment, sender, receiver, last),
        Judgement::Overshoot => {
            // The peer may take it all the same, and then acknowledges it.
            sender.end = segment.end;
            sender.unacknowledged = true;
        }
        Judgement::Old | Judgement::Implausible => {}
    }
    match judgement {
        Judgement::Plausible => WindowVerdict::InWindow,
        _ if liberal => WindowVerdict::InWindow,
        Judgement::Old | Judgement::Overshoot => WindowVerdict::Ignore,
        Judgement::Implausible => WindowVerdict::Invalid,
    }
}

/// An ACK or FIN after the handshake, of sides that are both known: nearly every segment. If it is plausible, what
/// [`check`] learns of it is learned; `false`: nothing was touched, and [`check`] decides.
#[inline]
pub(super) fn follow(
    config: &ConntrackConfig,
    class: PacketClass,
    direction: Direction,
    packet: &Packet,
    sides: &mut [Side; 2],
    last: &mut Last,
) -> bool {
    let [original, reply] = sides;
    let (sender, receiver) = match direction {
        Direction::Original => (original, reply),
        Direction::Reply => (reply, original),
    };
    let segment = Segment {
        seq: packet.seq,
        end: packet.end_seq(),
        ack: packet.ack,
        window: packet.window,
    };
    let known = sender.max_window != 0 && receiver.max_window != 0;
    let plausible = known && judge(config, &segment, sender, receiver) == Judgement::Plausible;
    if plausible {
        learn(class, direction, packet, &segment, sender, receiver, last);
    }
    plausible
}

/// A segment as the check sees it.
struct Segment {
    seq: SeqNum,
    end: SeqNum,
    ack: SeqNum,
    window: u32,
}

impl Segment {
    fn of(state: State, packet: &Packet, sender: &Side, receiver: &Side) -> Self {
        let flags = packet.flags;
        // A segment that acknowledges nothing cannot acknowledge wrongly; some stacks send RST with ACK set and 0 in it.
        let ack = if !flags.ack() || (flags.rst() && packet.ack == SeqNum(0)) {
            receiver.end
        } else {
            packet.ack
        };
        // An RST that answers a SYN carries sequence number 0 (RFC 9293 section 3.10.7.1).
        let (seq, end) = if flags.rst() && packet.seq == SeqNum(0) && state == State::SynSent {
            (sender.end, sender.end)
        } else {
            (packet.seq, packet.end_seq())
        };
        Self {
            seq,
            end,
            ack,
            window: packet.window,
        }
    }
}

/// Learns what can be learned from a sender of which nothing is known, or that begins again. True: a lone SYN that opens
/// from the other side, of which there is nothing to check.
fn meet_sender(
    config: &ConntrackConfig,
    state: State,
    direction: Direction,
    packet: &Packet,
    sender: &mut Side,
    receiver: &mut Side,
) -> bool {
    let end = packet.end_seq();
    if sender.max_window == 0 {
        if packet.flags.syn() {
            sender.start_over(end, packet.window);
            return !packet.flags.ack();
        }
        // In the middle of a connection: the segment itself is all there is.
        sender.end = end;
        sender.max_window = packet.window.max(1);
        sender.max_end = end + sender.max_window;
        let ack = header_ack(packet);
        if receiver.max_window == 0 {
            receiver.end = ack;
            receiver.max_end = ack;
        } else if config.old_segments_ignored && ack == receiver.end + 1 {
            // The connection was picked up by a keep-alive, which repeats the octet before the next one.
            receiver.end = ack;
        }
        return false;
    }
    let begins_again = if config.any_segment_reinits_window {
        // Any segment of the side whose SYN or SYN-ACK is outstanding; this is what lets the RST against a bare ACK pass.
        (state == State::SynSent && direction == Direction::Original)
            || (state == State::SynRecv && direction == Direction::Reply)
    } else {
        packet.flags.syn() && matches!(state, State::SynSent | State::SynRecv)
    };
    if begins_again && end.is_after(sender.end) {
        sender.start_over(end, packet.window);
        return !config.any_segment_reinits_window && direction == Direction::Reply && !packet.flags.ack();
    }
    false
}

/// How a segment fares against the four bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judgement {
    Plausible,
    /// Old data or an old ACK, in an era that tells them from impossible ones.
    Old,
    /// A little more than the window allows, likewise.
    Overshoot,
    Implausible,
}

/// The four bounds: (I) not beyond the window, (II) not below it, (III) acknowledges nothing unsent, (IV) nothing too old.
#[inline]
fn judge(config: &ConntrackConfig, segment: &Segment, sender: &Side, receiver: &Side) -> Judgement {
    let Segment { seq, end, ack, .. } = *segment;
    let within_window = seq.is_before(sender.max_end + 1);
    let not_old = end.is_after(sender.end - receiver.max_window - 1);
    let ack_of_something_sent = ack.is_before(receiver.end + 1);
    let ack_not_old = ack.is_after(receiver.end - ACK_SPAN.max(sender.max_window) - 1);
    let receiver_known = receiver.max_window != 0;

    if within_window && ack_of_something_sent && (not_old || !receiver_known) && ack_not_old {
        return Judgement::Plausible;
    }
    if !config.old_segments_ignored || !ack_of_something_sent {
        return Judgement::Implausible;
    }
    if within_window {
        return Judgement::Old;
    }
    let overshot = end.0.wrapping_sub(sender.max_end.0).wrapping_add(1);
    if receiver_known && not_old && ack_not_old && overshot <= receiver.max_window {
        Judgement::Overshoot
    } else {
        Judgement::Implausible
    }
}

/// Takes a plausible segment into account.
#[inline]
fn learn(
    class: PacketClass,
    direction: Direction,
    packet: &Packet,
    segment: &Segment,
    sender: &mut Side,
    receiver: &mut Side,
    last: &mut Last,
) {
    let Segment { end, ack, window, .. } = *segment;
    sender.max_window = sender.max_window.max(window);
    if end.is_after(sender.end) {
        sender.end = end;
        sender.unacknowledged = true;
    }
    if packet.flags.ack() {
        sender.max_ack = sender.max_ack().map_or(ack, |max| ack.later(max));
        sender.has_acknowledged = true;
    }
    if receiver.max_window != 0 && end.is_after(sender.max_end) {
        receiver.max_window = receiver
            .max_window
            .wrapping_add(end.0.wrapping_sub(sender.max_end.0));
    }
    if (ack + window).is_after(receiver.max_end - 1) {
        // A closed window still allows one octet: the probe.
        receiver.max_end = ack + window.max(1);
    }
    if ack == receiver.end {
        receiver.unacknowledged = false;
    }
    if class == PacketClass::Ack {
        count_retransmission(last, direction, segment);
    }
}

/// Counts identical ACKs in a row.
fn count_retransmission(last: &mut Last, direction: Direction, segment: &Segment) {
    let seen = Last {
        seq: segment.seq,
        ack: segment.ack,
        end: segment.end,
        window: segment.window,
        direction,
        ..*last
    };
    let same = seen == *last;
    *last = seen;
    // Wraps, as the kernel's octet does.
    last.retransmissions = if same {
        last.retransmissions.wrapping_add(1)
    } else {
        0
    };
}
