//! SYN_SENT, requests and simultaneous open: what opens a connection, and the bare ACK that does not.

use super::send::Outgoing;
use super::{
    Due, FourTuple, Gate, Host, Packet, Reaction, SeqNum, SimDuration, SimTime, Socket, SocketOptions, State,
    TIMESTAMPS_LEN, TimestampMode, TsRecent,
};
use crate::model::tcp::CallerReaction;
use crate::model::tcp::time_wait::touches_window;
use crate::wire::Flags;

impl Socket {
    /// Answers a listener's SYN; `tuple` is this side's. `recycled_isn` is the sequence number that a recycled
    /// TIME_WAIT hands on, on kernels where it takes effect.
    pub fn accept(
        syn: &Packet,
        tuple: FourTuple,
        recycled_isn: Option<SeqNum>,
        options: &SocketOptions,
        host: &Host<'_>,
        now: SimTime,
    ) -> Self {
        let iss = recycled_isn.unwrap_or_else(|| host.clock.isn(tuple, now));
        let ts_offset = host.clock.timestamp_offset(tuple, host.config);
        let mut socket = Self::new(State::SynReceived, iss, ts_offset, options, now);
        socket.wscale_ok = host.config.window_scaling;
        socket.sack_ok = host.config.sack;
        socket.take_syn(syn, host, now);
        // `tcp_openreq_init_rwin()`.
        let headers = if socket.ts_recent.is_some() {
            TIMESTAMPS_LEN
        } else {
            0
        };
        socket.init_receive_window(socket.offered_mss() - headers, host.config);
        socket.take_mss(syn.options.mss);
        socket
    }

    /// Takes the peer's numbers and options from its SYN; what it does not offer is off.
    fn take_syn(&mut self, syn: &Packet, host: &Host<'_>, now: SimTime) {
        self.irs = syn.seq;
        self.rcv_nxt = syn.seq + 1;
        (self.rcv_wup, self.copied) = (self.rcv_nxt, self.rcv_nxt);
        self.init_peer_window(syn);
        self.wscale_ok &= syn.options.window_scale.is_some();
        if self.wscale_ok {
            self.snd_wscale = syn.options.window_scale.unwrap_or(0).min(14);
        } else {
            self.rcv_wscale = 0;
        }
        self.sack_ok &= syn.options.sack_permitted;
        self.ts_recent = syn
            .timestamps
            .filter(|_| host.config.timestamps != TimestampMode::Off)
            .map(|ts| TsRecent { val: ts.val, at: now });
    }

    /// `tcp_rcv_synsent_state_process()`, in its order. Payload and FIN of the segment are ignored.
    pub(super) fn in_syn_sent(
        &mut self,
        seg: &Packet,
        host: &Host<'_>,
        now: SimTime,
        reaction: &mut Reaction,
    ) {
        let flags = seg.flags;
        if flags.ack() && seg.ack != self.iss + 1 {
            self.on_bad_ack(seg, host, now, reaction);
            return;
        }
        if flags.ack() && self.echo_is_foreign(seg, host, now) {
            // TCPPAWSActiveRejected: an RST, but no early retry.
            reaction.reply = seg.reset();
            return;
        }
        if flags.rst() {
            if flags.ack() {
                reaction.reset = true;
                reaction.end = Some(self.on_reset());
            }
            return;
        }
        if !flags.syn() || (!flags.ack() && self.paws_rejects(seg)) {
            return;
        }
        self.take_syn(seg, host, now);
        self.take_mss(seg.options.mss);
        if flags.ack() {
            self.establish(seg, host, now);
            self.due.add(Due::ACK);
            reaction.connected = true;
        } else {
            // Simultaneous open.
            self.state = State::SynReceived;
            self.due.add(Due::HANDSHAKE);
        }
    }

    /// A SYN_SENT socket meets an ACK that acknowledges none of its SYNs: the bare ACK of a TIME_WAIT. The socket stays
    /// as it is; since 5.6 (commit 9603d47bad46) the first retry comes after two jiffies, once.
    fn on_bad_ack(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime, reaction: &mut Reaction) {
        reaction.bad_ack = !seg.flags.rst() && !seg.flags.syn();
        if host.config.caller_reaction == CallerReaction::Ignore {
            return;
        }
        if host.config.caller_reaction == CallerReaction::RstFastResend && self.retries == 0 {
            let two_jiffies = SimDuration::from_nanos(2_000_000_000 / u64::from(host.config.hz));
            self.rto_deadline = host.timers.expiry(now, two_jiffies);
        }
        reaction.reply = seg.reset();
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

    pub(super) fn establish(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime) {
        self.state = State::Established;
        self.snd_una = self.iss + 1;
        self.recover = self.iss;
        self.init_peer_window(seg);
        self.received_at = now;
        self.rto_after_handshake(seg, host, now);
        self.retries = 0;
        self.rto_deadline = SimTime::NEVER;
    }

    /// A segment for a request of a listener: `tcp_check_req()`, in its order.
    pub(super) fn on_request(
        &mut self,
        seg: &Packet,
        gate: Gate,
        host: &Host<'_>,
        now: SimTime,
        reaction: &mut Reaction,
    ) {
        let (flags, rules) = (seg.flags, &host.config.rules);
        let paws_reject = self.paws_rejects(seg);
        let bare_syn = flags.syn() && !flags.ack() && !flags.rst();
        if bare_syn && seg.seq == self.irs && !paws_reject {
            // The SYN again: answer it again, at most once in the rate limit; the timer starts anew.
            if self.may_answer(seg, host, now) {
                self.due.add(Due::HANDSHAKE);
                self.sampling = false;
            }
            return;
        }
        if flags.ack() && seg.ack != self.iss + 1 {
            reaction.reply = seg.reset();
            return;
        }
        let echo_reject = rules.request_echo_checked && self.ts_recent.is_some() && {
            let mut probe = *seg;
            probe.timestamps = seg.timestamps.filter(|_| flags.ack());
            self.echo_is_foreign(&probe, host, now)
        };
        if paws_reject || echo_reject || !touches_window(seg, self.rcv_nxt, self.syn_window()) {
            if !flags.rst() && self.may_answer(seg, host, now) {
                reaction.reply = Some(self.request_ack(seg, host, now));
            }
            return;
        }
        if flags.rst() && seg.seq != self.rcv_nxt && rules.request_rst_challenged {
            if self.may_challenge(host, now) {
                reaction.reply = Some(self.request_ack(seg, host, now));
                reaction.challenged = true;
            }
            return;
        }
        // A SYN at our own initial number is cut off: it lies before the window.
        if flags.rst() || (flags.syn() && seg.seq != self.irs) {
            reaction.reply = seg.reset();
            reaction.reset = true;
            reaction.end = Some(self.gone());
            return;
        }
        if !flags.ack() {
            return;
        }
        if self.retries < gate.defer_accept && seg.end_seq() == self.irs + 1 {
            self.acked = true;
            reaction.deferred = true;
            return;
        }
        if gate.accept_queue_full {
            reaction.listen_overflow = true;
            if host.config.abort_on_overflow {
                reaction.reply = seg.reset();
                reaction.end = Some(self.gone());
            } else {
                // The request stays, the SYN-ACK comes again.
                self.acked = true;
            }
            return;
        }
        self.become_connection(seg, host, now, reaction);
    }

    /// The ACK of a SYN cookie opens the connection at once: the cookie was the check.
    pub(in crate::model::tcp) fn open_from_cookie(
        &mut self,
        ack: &Packet,
        host: &Host<'_>,
        now: SimTime,
    ) -> Reaction {
        self.due.remove(Due::HANDSHAKE);
        let mut reaction = Reaction::default();
        self.become_connection(ack, host, now, &mut reaction);
        reaction
    }

    /// The request becomes a socket, and the segment goes on to it (`tcp_v4_syn_recv_sock()`, `tcp_child_process()`).
    fn become_connection(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime, reaction: &mut Reaction) {
        let limited_at = self.last_oow_ack.take();
        self.in_synchronized(seg, host, now, reaction);
        if self.state == State::SynReceived {
            self.last_oow_ack = limited_at;
        }
        reaction.connected |= self.state != State::SynReceived;
    }

    /// An ACK from a request (`tcp_v4_reqsk_send_ack()`).
    fn request_ack(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime) -> Packet {
        let ack = Outgoing::bare(Flags::ACK, self.iss + 1);
        self.segment(seg.tuple.reversed(), ack, host, now)
    }
}
