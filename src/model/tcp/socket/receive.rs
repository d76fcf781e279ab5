//! Segments in the synchronized states: what is acceptable, what it acknowledges, what it carries.

use super::{Host, MSS, Packet, Reaction, SimTime, Socket, State, Substate, TsRecent, WINDOW};

/// What the header alone decides (`tcp_validate_incoming()`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Incoming {
    /// Go on.
    Acceptable,
    /// Drop it.
    Drop,
    /// Drop it and answer with an ACK, within the rate limit.
    Answer,
    /// It resets the connection.
    Reset,
}

impl Socket {
    /// PAWS (RFC 7323 section 5); a remembered value of zero protects nothing, as some stacks send it in the SYN.
    pub(super) fn paws_rejects(&self, seg: &Packet) -> bool {
        match (self.ts_recent, seg.timestamps) {
            (Some(recent), Some(seen)) => {
                recent.val != 0 && recent.val.wrapping_sub(seen.val).cast_signed() > 0
            }
            _ => false,
        }
    }

    /// `tcp_sequence()`: the segment touches the receive window. It begins at what we acknowledged last, not at what
    /// we received last.
    fn in_window(&self, seg: &Packet) -> bool {
        !seg.end_seq().is_before(self.rcv_wup) && !seg.seq.is_after(self.rcv_wup + WINDOW)
    }

    /// Rate limit of ACKs that answer unacceptable segments (`tcp_oow_rate_limited()`).
    pub(super) fn may_answer(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime) -> bool {
        let limited = seg.flags.syn() || seg.sequence_space() == 0;
        if limited
            && self
                .last_oow_ack
                .is_some_and(|last| now.since(last) < host.config.invalid_ratelimit)
        {
            return false;
        }
        if limited {
            self.last_oow_ack = Some(now);
        }
        true
    }

    /// An RST with the sequence number before a FIN that we have: macOS sends them (`tcp_reset_check()`).
    fn is_reset_before_fin(&self, seg: &Packet) -> bool {
        let peer_closed = matches!(self.state, State::CloseWait | State::LastAck | State::Closing);
        peer_closed && seg.seq + 1 == self.rcv_nxt
    }

    fn validate(&self, seg: &Packet) -> Incoming {
        let flags = seg.flags;
        if flags.rst() {
            // RFC 5961 section 3.2: only the exact sequence number resets, others are challenged. PAWS lets it pass.
            return if seg.seq == self.rcv_nxt || self.is_reset_before_fin(seg) {
                Incoming::Reset
            } else if self.in_window(seg) {
                Incoming::Answer
            } else {
                Incoming::Drop
            };
        }
        // A SYN is always challenged (RFC 5961 section 4).
        if self.paws_rejects(seg) || !self.in_window(seg) || flags.syn() {
            return Incoming::Answer;
        }
        if !flags.ack() {
            return Incoming::Drop;
        }
        // An ACK for what was never sent (RFC 9293 section 3.10.7.4; measured on 6.18).
        if seg.ack.is_after(self.snd_max) {
            Incoming::Answer
        } else {
            Incoming::Acceptable
        }
    }

    pub(super) fn in_synchronized(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime) -> Reaction {
        let mut reaction = Reaction::default();
        match self.validate(seg) {
            Incoming::Acceptable => {}
            Incoming::Drop => return reaction,
            Incoming::Answer => {
                self.ack_now |= self.may_answer(seg, host, now);
                return reaction;
            }
            Incoming::Reset => {
                reaction.reset = true;
                reaction.end = Some(self.gone());
                return reaction;
            }
        }
        if let (Some(recent), Some(seen)) = (self.ts_recent.as_mut(), seg.timestamps)
            && !seg.seq.is_after(self.rcv_wup)
        {
            *recent = TsRecent {
                val: seen.val,
                at: now,
            };
        }
        self.peer_window = seg.window;
        self.on_ack(seg, host, now);
        self.after_our_fin(seg, host, &mut reaction);
        if reaction.end.is_none() {
            self.on_payload(seg, host, now, &mut reaction);
        }
        reaction
    }

    fn on_ack(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime) {
        if !seg.ack.is_after(self.snd_una) {
            return;
        }
        let acked = seg.ack.distance_from(self.snd_una).cast_unsigned();
        self.snd_una = seg.ack;
        if seg.ack.is_after(self.snd_nxt) {
            self.snd_nxt = seg.ack;
        }
        self.cwnd = self.cwnd.saturating_add(acked.div_ceil(MSS)).min(1 << 16);
        self.sample_rtt(seg, host, now);
        self.retries = 0;
        self.rto_deadline = SimTime::NEVER;
        if self.snd_una != self.snd_max {
            self.arm_rto(host, now);
        }
    }

    /// What follows when our FIN is acknowledged (`tcp_rcv_state_process()`, step 5).
    fn after_our_fin(&mut self, seg: &Packet, host: &Host<'_>, reaction: &mut Reaction) {
        if !self.fin_wanted || self.snd_una != self.write_end + 1 {
            return;
        }
        match self.state {
            State::FinWait1 => {
                self.state = State::FinWait2;
                if !self.orphan || self.abort_on_data(seg, reaction) {
                    return;
                }
                // A FIN in this very segment is seen to next; else a timewait socket waits for it.
                if !seg.flags.fin() || !seg.end_seq().is_after(self.rcv_nxt) {
                    reaction.end = Some(self.fin_wait2_orphan(host.config));
                }
            }
            State::Closing => reaction.end = Some(self.time_wait(Substate::TimeWait, host.config.time_wait)),
            State::LastAck => reaction.end = Some(self.gone()),
            _ => {}
        }
    }

    /// New data, or a FIN beyond a gap, that nobody will ever read: RST (`TCPAbortOnData`).
    fn abort_on_data(&mut self, seg: &Packet, reaction: &mut Reaction) -> bool {
        let lost = seg.sequence_space() > 0 && (seg.seq + seg.payload_len).is_after(self.rcv_nxt);
        if lost {
            reaction.reply = seg.reset();
            reaction.end = Some(self.gone());
        }
        lost
    }

    fn on_payload(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime, reaction: &mut Reaction) {
        if seg.sequence_space() == 0 {
            return;
        }
        let peer_closed = matches!(self.state, State::CloseWait | State::LastAck | State::Closing);
        if peer_closed && !seg.seq.is_before(self.rcv_nxt) {
            // Nothing can follow a FIN.
            return;
        }
        if self.orphan && self.abort_on_data(seg, reaction) {
            return;
        }
        if seg.seq.is_after(self.rcv_nxt) || !seg.end_seq().is_after(self.rcv_nxt) {
            // Out of order, or a repetition: acknowledge at once.
            self.ack_now = true;
            return;
        }
        let data_end = seg.seq + seg.payload_len;
        if data_end.is_after(self.rcv_nxt) {
            reaction.data_len = data_end.distance_from(self.rcv_nxt).cast_unsigned();
            reaction.data_tag = seg.tag;
            self.rcv_nxt = data_end;
            self.acknowledge_data(host, now);
        }
        if seg.flags.fin() {
            self.rcv_nxt = self.rcv_nxt + 1;
            self.on_peer_fin(host, now, reaction);
        }
    }

    /// At once at the start of a connection, later when more than one full segment waits or the timer fires
    /// (RFC 5681 section 4.2, `__tcp_ack_snd_check()`).
    fn acknowledge_data(&mut self, host: &Host<'_>, now: SimTime) {
        let waiting = self.rcv_nxt.distance_from(self.rcv_wup).cast_unsigned();
        if self.quick_acks > 0 {
            self.quick_acks -= 1;
            self.ack_now = true;
        } else if waiting > MSS {
            self.ack_now = true;
        } else {
            self.delay_ack(host, now);
        }
    }

    /// `tcp_fin()`.
    fn on_peer_fin(&mut self, host: &Host<'_>, now: SimTime, reaction: &mut Reaction) {
        reaction.peer_closed = true;
        match self.state {
            State::Established => {
                self.state = State::CloseWait;
                // The ACK may wait for the application's own FIN, as captured.
                self.delay_ack(host, now);
            }
            State::FinWait1 => {
                self.state = State::Closing;
                self.ack_now = true;
            }
            State::FinWait2 => {
                self.ack_now = true;
                reaction.end = Some(self.time_wait(Substate::TimeWait, host.config.time_wait));
            }
            _ => self.ack_now = true,
        }
    }
}
