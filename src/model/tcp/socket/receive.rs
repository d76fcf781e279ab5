//! Segments in the synchronized states: what is acceptable, what it carries, and what a FIN does.

use super::ack::AckVerdict;
use super::{
    Due, End, Fragment, Host, Linger2, Packet, Reaction, SeqNum, SimDuration, SimTime, Socket, SocketError,
    State, Substate, TIME_WAIT_LEN,
};
use crate::wire::Flags;

/// What the header alone decides (`tcp_validate_incoming()`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Incoming {
    /// Go on.
    Acceptable,
    /// Drop it.
    Drop,
    /// Drop it and answer with an ACK; within the rate limit unless it carries data.
    DupAck,
    /// Drop it and answer with a challenge ACK, always within the rate limits (RFC 5961).
    Challenge,
    /// It resets the connection.
    Reset,
}

/// What is to be done with a segment that has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Its ACK counts, and then what it carries.
    Ack,
    /// Its ACK is an old one: only what it carries.
    Payload,
    /// It goes no further.
    Nothing,
}

impl Socket {
    /// PAWS (RFC 7323 section 5); a remembered value of zero protects nothing, as some stacks send it in the SYN.
    pub(super) fn paws_rejects(&self, seg: &Packet) -> bool {
        self.timestamp_deficit(seg).is_some_and(|deficit| deficit > 0)
    }

    /// By how much the segment's timestamp is older than the remembered one.
    fn timestamp_deficit(&self, seg: &Packet) -> Option<i32> {
        let (recent, seen) = (self.ts_recent?, seg.timestamps?);
        (recent.val != 0).then(|| recent.val.wrapping_sub(seen.val).cast_signed())
    }

    /// A pure ACK that PAWS would reject may have been overtaken: it passes if it is a duplicate of the last one and
    /// only a little older (`tcp_disordered_ack_check()`).
    fn is_disordered_ack(&self, seg: &Packet) -> bool {
        // Ticks of 1200 Hz in one retransmission timeout (`tcp_tsval_replay()`).
        let replay = self.rto.as_nanos() / 1_000_000 * 12 / 10;
        seg.flags.ack()
            && seg.sequence_space() == 0
            && seg.seq == self.rcv_nxt
            && seg.ack == self.snd_una
            && !self.may_update_window(seg)
            && self
                .timestamp_deficit(seg)
                .is_some_and(|deficit| i64::from(deficit) <= replay.cast_signed())
    }

    /// `tcp_sequence()`: the segment touches the receive window. It begins at what we acknowledged last, not at what
    /// we received last.
    fn in_window(&self, seg: &Packet, host: &Host<'_>) -> bool {
        let limit = self.window_end();
        if seg.end_seq().is_before(self.rcv_wup) || seg.seq.is_after(limit) {
            return false;
        }
        let beyond = (seg.end_seq() - u32::from(seg.flags.fin())).is_after(limit);
        !(beyond && host.config.rules.beyond_window_dropped && self.has_unread())
    }

    /// Rate limit of ACKs that answer unacceptable segments (`tcp_oow_rate_limited()`); data is always answered.
    pub(super) fn may_answer(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime) -> bool {
        let limited = seg.flags.syn() || seg.sequence_space() == 0;
        !limited || self.may_challenge(host, now)
    }

    /// The limit that even data does not escape (`__tcp_oow_rate_limited()`).
    pub(super) fn may_challenge(&mut self, host: &Host<'_>, now: SimTime) -> bool {
        let limit = host.config.invalid_ratelimit;
        if self.last_oow_ack.is_some_and(|last| now.since(last) < limit) {
            return false;
        }
        self.last_oow_ack = Some(now);
        true
    }

    /// `tcp_send_challenge_ack()`; the host's own limit is up to the stack.
    fn challenge(&mut self, reaction: &mut Reaction, host: &Host<'_>, now: SimTime) {
        if self.may_challenge(host, now) {
            self.due.add(Due::ACK);
            reaction.challenged = true;
        }
    }

    /// The host's limit does not let the challenge ACK go.
    pub fn drop_challenge(&mut self) {
        self.due.remove(Due::ACK);
    }

    /// An RST with the sequence number before a FIN that we have: macOS sends them (`tcp_reset_check()`).
    fn is_reset_before_fin(&self, seg: &Packet) -> bool {
        let peer_closed = matches!(self.state, State::CloseWait | State::LastAck | State::Closing);
        peer_closed && seg.seq + 1 == self.rcv_nxt
    }

    fn validate(&self, seg: &Packet, host: &Host<'_>) -> Incoming {
        let (flags, rules) = (seg.flags, &host.config.rules);
        if self.paws_rejects(seg) && !flags.rst() && !self.is_disordered_ack(seg) {
            let is_old_ack = flags.ack() && seg.sequence_space() == 0 && seg.seq.is_before(self.rcv_nxt);
            return if flags.syn() {
                Incoming::Challenge
            } else if is_old_ack && rules.old_paws_ack_silent {
                Incoming::Drop
            } else {
                Incoming::DupAck
            };
        }
        let in_window = self.in_window(seg, host);
        if flags.rst() {
            // RFC 5961 section 3.2: only the exact sequence number resets, others are challenged. PAWS lets it pass.
            let exact = seg.seq == self.rcv_nxt || self.gaps_end() == Some(seg.seq);
            return if self.is_reset_before_fin(seg) || (in_window && exact) {
                Incoming::Reset
            } else if in_window {
                Incoming::Challenge
            } else {
                Incoming::Drop
            };
        }
        // RFC 5961 section 4: a SYN is challenged wherever it lies.
        if flags.syn() {
            let crossing = self.state == State::SynReceived
                && !self.orphan
                && flags.ack()
                && in_window
                && seg.end_seq() == seg.seq + 1
                && seg.end_seq() == self.rcv_nxt
                && seg.ack == self.snd_max;
            return if crossing && rules.crossing_syn_ack_accepted {
                Incoming::Acceptable
            } else {
                Incoming::Challenge
            };
        }
        if in_window {
            Incoming::Acceptable
        } else {
            Incoming::DupAck
        }
    }

    /// Whether the segment is the next one in order, and acknowledges nothing strange: then the checks would find it
    /// acceptable. Linux' header prediction is the same thought (`tcp_rcv_established()`, since ever).
    #[inline]
    pub(super) fn is_predicted(&self, seg: &Packet) -> bool {
        let judged = Flags::SYN.with(Flags::RST).with(Flags::ACK).bits();
        let acked = seg.ack.0.wrapping_sub(self.snd_una.0);
        seg.flags.bits() & judged == Flags::ACK.bits()
            && seg.seq == self.rcv_nxt
            && acked <= self.snd_max.0.wrapping_sub(self.snd_una.0)
            && self.state != State::SynReceived
            && (seg.payload_len == 0 || !self.has_unread())
            && !self.paws_rejects(seg)
    }

    /// `tcp_rcv_established()`, `tcp_rcv_state_process()`.
    #[inline(never)]
    pub(super) fn in_synchronized(
        &mut self,
        seg: &Packet,
        host: &Host<'_>,
        now: SimTime,
        reaction: &mut Reaction,
    ) {
        let next = if self.is_predicted(seg) {
            self.take_timestamp(seg, now);
            Next::Ack
        } else {
            self.check(seg, host, now, reaction)
        };
        self.follow(next, seg, host, now, reaction);
    }

    /// What follows the checks: the ACK, then the rest.
    #[inline]
    pub(super) fn follow(
        &mut self,
        next: Next,
        seg: &Packet,
        host: &Host<'_>,
        now: SimTime,
        reaction: &mut Reaction,
    ) {
        match next {
            Next::Nothing => return,
            Next::Ack => self.on_ack(seg, host, now),
            Next::Payload => {}
        }
        if self.fin_wanted && self.snd_una == self.write_end + 1 {
            self.after_our_fin(seg, host, now, reaction);
            if reaction.end.is_some() {
                return;
            }
        }
        if seg.sequence_space() > 0 {
            self.on_payload(seg, host, now, reaction);
        }
        self.check_ack(host, now);
    }

    /// Every check of a segment.
    #[inline(never)]
    pub(super) fn check(
        &mut self,
        seg: &Packet,
        host: &Host<'_>,
        now: SimTime,
        reaction: &mut Reaction,
    ) -> Next {
        if !seg.flags.ack() && !seg.flags.rst() && !seg.flags.syn() {
            return Next::Nothing;
        }
        match self.validate(seg, host) {
            Incoming::Acceptable => return self.check_ack_of(seg, host, now, reaction),
            Incoming::Drop => {}
            Incoming::DupAck => {
                if self.may_answer(seg, host, now) {
                    if seg.sequence_space() > 0 && seg.seq.is_before(self.rcv_nxt) {
                        self.enter_quick_acks();
                    }
                    self.due.add(Due::ACK);
                }
            }
            Incoming::Challenge => self.challenge(reaction, host, now),
            Incoming::Reset => {
                reaction.reset = true;
                reaction.end = Some(self.on_reset());
            }
        }
        Next::Nothing
    }

    /// Which error an RST leaves (`tcp_reset()`).
    pub(super) fn on_reset(&mut self) -> End {
        self.fail(match self.state {
            State::SynSent => SocketError::ConnRefused,
            State::CloseWait => SocketError::Pipe,
            _ => SocketError::ConnReset,
        })
    }

    /// Step 5, whether the ACK is one to follow.
    fn check_ack_of(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime, reaction: &mut Reaction) -> Next {
        let verdict = self.judge_ack(seg);
        if self.state == State::SynReceived {
            if verdict != AckVerdict::Good || seg.ack == self.snd_una {
                reaction.reply = seg.reset();
                return Next::Nothing;
            }
            self.establish(seg, host, now);
            reaction.connected = true;
            if self.fin_wanted {
                self.state = State::FinWait1;
            }
        }
        match verdict {
            AckVerdict::Good => {
                self.record_timestamp(seg, now);
                Next::Ack
            }
            AckVerdict::Old => Next::Payload,
            AckVerdict::TooOld | AckVerdict::Unsent => {
                let silent = verdict == AckVerdict::Unsent
                    && self.state == State::Established
                    && !host.config.rules.unsent_ack_challenged;
                if !silent {
                    self.challenge(reaction, host, now);
                }
                Next::Nothing
            }
        }
    }

    /// `tcp_replace_ts_recent()`: only from segments up to what we acknowledged last, and never backwards.
    fn record_timestamp(&mut self, seg: &Packet, now: SimTime) {
        if !self.paws_rejects(seg) {
            self.take_timestamp(seg, now);
        }
    }

    #[inline]
    fn take_timestamp(&mut self, seg: &Packet, now: SimTime) {
        if seg.seq.is_after(self.rcv_wup) {
            return;
        }
        if let (Some(recent), Some(seen)) = (self.ts_recent.as_mut(), seg.timestamps) {
            (recent.val, recent.at) = (seen.val, now);
        }
    }

    /// What follows when our FIN is acknowledged (`tcp_rcv_state_process()`, step 5).
    #[inline(never)]
    fn after_our_fin(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime, reaction: &mut Reaction) {
        match self.state {
            State::FinWait1 => {
                self.state = State::FinWait2;
                if !self.orphan {
                    return;
                }
                if self.options().linger2 == Linger2::Never {
                    reaction.reply = seg.reset();
                    reaction.end = Some(self.gone());
                } else if !self.abort_on_data(seg, reaction) {
                    self.orphan_waits(seg, host, now, reaction);
                }
            }
            State::Closing => reaction.end = Some(self.time_wait(Substate::TimeWait, host.config.time_wait)),
            State::LastAck => reaction.end = Some(self.gone()),
            _ => {}
        }
    }

    /// A FIN in this very segment is seen to next; else a timewait socket waits for it.
    fn orphan_waits(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime, reaction: &mut Reaction) {
        let time = self.fin_time(host.config);
        if seg.flags.fin() && time <= TIME_WAIT_LEN {
            self.rto_deadline = host.timers.expiry(now, time);
        } else {
            reaction.end = self.fin_wait2_orphan(host, now);
        }
    }

    /// An orphan's FIN_WAIT2 ends: after what exceeds 60 s a timewait socket takes over; without that time, RST
    /// (`tcp_keepalive_timer()`).
    pub(super) fn on_orphan_timer(&mut self, host: &Host<'_>) -> Option<End> {
        self.rto_deadline = SimTime::NEVER;
        let rest = self.fin_time(host.config).saturating_sub(TIME_WAIT_LEN);
        let waits = self.options().linger2 != Linger2::Never && rest > SimDuration::ZERO;
        waits.then(|| self.time_wait(Substate::FinWait2, rest))
    }

    /// New data, or a FIN beyond a gap, that nobody will ever read: RST (`TCPAbortOnData`).
    #[inline(never)]
    fn abort_on_data(&mut self, seg: &Packet, reaction: &mut Reaction) -> bool {
        let data_end = seg.end_seq() - u32::from(seg.flags.fin());
        let lost = seg.sequence_space() > 0 && data_end.is_after(self.rcv_nxt);
        if lost {
            reaction.reply = seg.reset();
            reaction.reset = !self.orphan;
            reaction.end = Some(self.on_reset());
        }
        lost
    }

    /// Step 7, the payload (`tcp_data_queue()`).
    #[inline]
    fn on_payload(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime, reaction: &mut Reaction) {
        let peer_closed = matches!(self.state, State::CloseWait | State::LastAck | State::Closing);
        if peer_closed && !seg.seq.is_before(self.rcv_nxt) {
            // Nothing can follow a FIN.
            return;
        }
        if self.rcv_shutdown && self.state != State::Established && self.abort_on_data(seg, reaction) {
            return;
        }
        let window = self.receive_window();
        let in_order = seg.seq == self.rcv_nxt;
        let fits = if in_order {
            // A FIN alone needs no window.
            window > 0 || seg.payload_len == 0
        } else {
            let new = seg.end_seq().is_after(self.rcv_nxt);
            new && window > 0 && seg.seq.is_before(self.rcv_nxt + window)
        };
        if !fits {
            self.enter_quick_acks();
        } else if seg.seq.is_after(self.rcv_nxt) {
            self.queue_out_of_order(seg);
        } else {
            self.accept_data(seg, host, now, reaction);
        }
    }

    #[inline]
    fn accept_data(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime, reaction: &mut Reaction) {
        let from = self.rcv_nxt;
        self.rcv_nxt = seg.end_seq();
        let mut fin = seg.flags.fin();
        if seg.payload_len > 0 {
            self.note_data(seg.payload_len, host, now);
        }
        if !fin && self.extra.is_some() {
            fin = self.fill_gaps();
        }
        let data_end = self.rcv_nxt - u32::from(fin);
        reaction.data_len = data_end.distance_from(from).max(0).cast_unsigned();
        reaction.data_tag = seg.tag;
        if fin {
            self.on_peer_fin(host, reaction);
        }
        if self.reads_at_once {
            self.copied = data_end;
            if !self.orphan {
                self.after_read(reaction.data_len, host);
            }
        }
    }

    /// `tcp_fin()`.
    #[inline(never)]
    fn on_peer_fin(&mut self, host: &Host<'_>, reaction: &mut Reaction) {
        reaction.peer_closed = true;
        (self.ack_scheduled, self.rcv_shutdown, self.fin_received) = (true, true, true);
        if let Some(extra) = &mut self.extra {
            extra.out_of_order.clear();
        }
        match self.state {
            State::Established => {
                self.state = State::CloseWait;
                // The ACK may wait for the application's own FIN, as captured.
                self.pingpong = true;
            }
            State::FinWait1 => {
                // A plain ACK; our own FIN is on its way and not repeated.
                self.state = State::Closing;
                self.due.add(Due::ACK);
            }
            State::FinWait2 => {
                self.due.add(Due::ACK);
                reaction.end = Some(self.time_wait(Substate::TimeWait, host.config.time_wait));
            }
            _ => {}
        }
    }

    // ---- out of order ----

    pub(super) fn has_gaps(&self) -> bool {
        self.gaps_end().is_some()
    }

    /// Where the last fragment beyond a gap ends.
    fn gaps_end(&self) -> Option<SeqNum> {
        Some(self.extra.as_ref()?.out_of_order.last()?.end)
    }

    /// Keeps what came before what it follows (`tcp_data_queue_ofo()`), joined with what it touches.
    #[inline(never)]
    fn queue_out_of_order(&mut self, seg: &Packet) {
        self.ack_scheduled = true;
        let mut new = Fragment {
            start: seg.seq,
            end: seg.end_seq(),
            fin: seg.flags.fin(),
        };
        let queue = &mut self.extra_mut().out_of_order;
        let first = queue
            .iter()
            .take_while(|old| old.end.is_before(new.start))
            .count();
        let touching = queue[first..]
            .iter()
            .take_while(|old| !old.start.is_after(new.end))
            .count();
        for old in queue.drain(first..first + touching) {
            if old.start.is_before(new.start) {
                new.start = old.start;
            }
            new.end = new.end.later(old.end);
            new.fin |= old.fin;
        }
        queue.insert(first, new);
    }

    /// Takes from the queue what follows now. Returns whether a FIN was among it; a filled gap is acknowledged at once
    /// (RFC 5681 section 4.2).
    #[inline(never)]
    fn fill_gaps(&mut self) -> bool {
        let mut next = self.rcv_nxt;
        let queue = &mut self.extra_mut().out_of_order;
        let had = !queue.is_empty();
        let mut fin = false;
        while let Some(first) = queue.first().copied().filter(|first| !first.start.is_after(next)) {
            queue.remove(0);
            if first.end.is_after(next) {
                (next, fin) = (first.end, first.fin);
            }
        }
        let filled = had && queue.is_empty();
        self.rcv_nxt = next;
        if filled {
            self.due.add(Due::ACK);
        }
        fin
    }
}
