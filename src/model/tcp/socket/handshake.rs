//! SYN_SENT and SYN_RECEIVED: what opens a connection, and the bare ACK that does not.

use super::{
    Gate, Host, Packet, Reaction, SeqNum, SimDuration, SimTime, Socket, State, TimestampMode, TsRecent,
    WINDOW,
};
use crate::model::tcp::CallerReaction;
use crate::model::tcp::time_wait::touches_window;
use crate::wire::Flags;

impl Socket {
    /// Takes the peer's numbers and options from its SYN.
    pub(super) fn take_syn(&mut self, syn: &Packet, host: &Host<'_>, now: SimTime) {
        self.irs = syn.seq;
        self.rcv_nxt = syn.seq + 1;
        self.rcv_wup = self.rcv_nxt;
        self.peer_window = syn.window;
        if host.config.timestamps != TimestampMode::Off {
            self.ts_recent = syn.timestamps.map(|ts| TsRecent { val: ts.val, at: now });
        }
    }

    /// `tcp_rcv_synsent_state_process()`, in its order.
    pub(super) fn in_syn_sent(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime) -> Reaction {
        let mut reaction = Reaction::default();
        let flags = seg.flags;
        if flags.ack() && seg.ack != self.iss + 1 {
            return self.on_bad_ack(seg, host, now);
        }
        if flags.ack() && self.echo_is_foreign(seg, host, now) {
            // TCPPAWSActiveRejected: an RST, but no early retry.
            reaction.reply = seg.reset();
            return reaction;
        }
        if flags.rst() {
            if flags.ack() {
                reaction.reset = true;
                reaction.end = Some(self.gone());
            }
            return reaction;
        }
        if !flags.syn() {
            return reaction;
        }
        self.take_syn(seg, host, now);
        if flags.ack() {
            self.establish(seg, host, now);
            self.ack_now = true;
            reaction.connected = true;
        } else {
            // Simultaneous open.
            self.state = State::SynReceived;
            self.handshake_due = true;
        }
        reaction
    }

    /// A SYN_SENT socket meets an ACK that acknowledges none of its SYNs: the bare ACK of a TIME_WAIT. The socket stays
    /// as it is; since 5.6 (commit 9603d47bad46) the first retry comes after two jiffies, once.
    fn on_bad_ack(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime) -> Reaction {
        let mut reaction = Reaction {
            bad_ack: !seg.flags.rst() && !seg.flags.syn(),
            ..Reaction::default()
        };
        if host.config.caller_reaction == CallerReaction::Ignore {
            return reaction;
        }
        if host.config.caller_reaction == CallerReaction::RstFastResend && self.retries == 0 {
            let two_jiffies = SimDuration::from_nanos(2_000_000_000 / u64::from(host.config.hz));
            self.rto_deadline = host.timers.expiry(now, two_jiffies);
        }
        reaction.reply = seg.reset();
        reaction
    }

    /// Whether the timestamps echo lies outside the time since our first SYN; zero is taken as no echo.
    fn echo_is_foreign(&self, seg: &Packet, host: &Host<'_>, now: SimTime) -> bool {
        let echo = seg.timestamps.map_or(0, |ts| ts.ecr);
        if echo == 0 || host.config.timestamps == TimestampMode::Off {
            return false;
        }
        let first = host.clock.timestamp(self.sample_at, self.ts_offset);
        let last = host.clock.timestamp(now, self.ts_offset);
        echo.wrapping_sub(first) > last.wrapping_sub(first)
    }

    fn establish(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime) {
        self.state = State::Established;
        self.snd_una = self.iss + 1;
        self.rto_after_handshake(seg, host, now);
        self.retries = 0;
        self.rto_deadline = SimTime::NEVER;
    }

    /// `tcp_check_req()`, in its order. An RST that lies in the window but is not exact draws a challenge ACK
    /// (RFC 5961 section 3.2; measured on 6.18).
    pub(super) fn in_syn_received(
        &mut self,
        seg: &Packet,
        gate: Gate,
        host: &Host<'_>,
        now: SimTime,
    ) -> Reaction {
        let mut reaction = Reaction::default();
        let flags = seg.flags;
        let paws_reject = self.paws_rejects(seg);
        if flags == Flags::SYN && seg.seq == self.irs && !paws_reject {
            // The SYN again: answer it again, at most once in the rate limit. That counts as a retransmission.
            if self.may_answer(seg, host, now) {
                self.handshake_due = true;
                self.sampling = false;
            }
            return reaction;
        }
        if flags.ack() && seg.ack != self.iss + 1 {
            reaction.reply = seg.reset();
            return reaction;
        }
        if paws_reject || !touches_window(seg, self.rcv_nxt, WINDOW) {
            if !flags.rst() {
                reaction.reply = self.challenge(seg, self.iss + 1, host, now);
            }
            return reaction;
        }
        if flags.rst() && seg.seq != self.rcv_nxt {
            reaction.reply = self.challenge(seg, self.iss + 1, host, now);
            return reaction;
        }
        if flags.rst() || flags.syn() {
            reaction.reply = seg.reset();
            reaction.reset = true;
            reaction.end = Some(self.gone());
            return reaction;
        }
        if !flags.ack() {
            return reaction;
        }
        if gate.accept_queue_full {
            // tcp_abort_on_overflow = 0: the request stays, the SYN-ACK comes again.
            reaction.listen_overflow = true;
            return reaction;
        }
        self.establish(seg, host, now);
        let mut rest = self.in_synchronized(seg, host, now);
        rest.connected = true;
        rest
    }

    /// An ACK for a segment that is not acceptable, if the rate limit lets it pass.
    fn challenge(&mut self, seg: &Packet, seq: SeqNum, host: &Host<'_>, now: SimTime) -> Option<Packet> {
        self.may_answer(seg, host, now)
            .then(|| self.segment(seg.tuple.reversed(), Flags::ACK, seq, 0, host, now))
    }
}
