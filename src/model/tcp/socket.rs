//! A TCP connection from SYN to the timewait socket or the end: RFC 9293 as Linux does it.
//!
//! The socket is plain data. [`Socket::on_segment`] and [`Socket::on_timer`] say what happened; what is to be sent is
//! then drawn with [`Socket::next_segment`] until it has nothing more. `net/ipv4/tcp_input.c`
//! (`tcp_rcv_synsent_state_process()`, `tcp_rcv_state_process()`, `tcp_validate_incoming()`), `tcp_minisocks.c`
//! (`tcp_check_req()`), `tcp_timer.c`, `tcp_output.c`.
//!
//! Simplified, with the effect in `docs/models/tcp.md`: no SACK, no fast retransmit and no tail-loss probe (lost data is
//! sent again from `snd_una` when the timer fires); segments out of order are dropped; the congestion window only
//! starts at ten segments and grows by what is acknowledged.

use super::time_wait::{Substate, TimeWait, TsRecent};
use super::{CallerReaction, HostClock, TcpConfig, TimestampMode};
use crate::engine::KernelTimers;
use crate::units::{FourTuple, SeqNum, SimDuration, SimTime};
use crate::wire::{Flags, Packet, Timestamps};

/// Octets of payload in a full segment: Ethernet's 1500 less IP and TCP headers with timestamps.
pub const MSS: u32 = 1448;
/// Window that a SYN offers (`tcp_select_initial_window()` on Ethernet, as in the captures).
const SYN_WINDOW: u32 = 64240;
/// Receive window of an open connection.
const WINDOW: u32 = 65160;
/// Initial congestion window in segments (RFC 6928).
const INITIAL_CWND: u32 = 10;
/// `TCP_TIMEOUT_INIT`.
const RTO_INITIAL: SimDuration = SimDuration::from_secs(1);
/// `TCP_TIMEOUT_FALLBACK`: for data after a repeated SYN that gave no round-trip sample.
const RTO_FALLBACK: SimDuration = SimDuration::from_secs(3);
/// `TCP_RTO_MIN`.
const RTO_MIN: SimDuration = SimDuration::from_millis(200);
/// `TCP_RTO_MAX`.
const RTO_MAX: SimDuration = SimDuration::from_secs(120);
/// `TCP_DELACK_MIN`.
const DELAYED_ACK: SimDuration = SimDuration::from_millis(40);
/// Data segments acknowledged at once at the start of a connection (`TCP_MAX_QUICKACKS`).
const QUICK_ACKS: u8 = 16;

/// State of a connection (RFC 9293 section 3.3.2); TIME-WAIT and an orphan's FIN-WAIT-2 live in [`TimeWait`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// SYN-SENT.
    SynSent,
    /// SYN-RECEIVED.
    SynReceived,
    /// ESTABLISHED.
    Established,
    /// FIN-WAIT-1.
    FinWait1,
    /// FIN-WAIT-2, held open by the application.
    FinWait2,
    /// CLOSE-WAIT.
    CloseWait,
    /// CLOSING.
    Closing,
    /// LAST-ACK.
    LastAck,
    /// CLOSED.
    Closed,
}

/// The host that a socket lives on.
#[derive(Debug, Clone, Copy)]
pub struct Host<'a> {
    /// Switches and sysctls.
    pub config: &'a TcpConfig,
    /// Timer wheel.
    pub timers: &'a KernelTimers,
    /// Clocks and secrets.
    pub clock: &'a HostClock,
}

/// What a segment or a timer brought about, for the application and for whoever keeps the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reaction {
    /// The handshake completed.
    pub connected: bool,
    /// Octets of new data in order.
    pub data_len: u32,
    /// What they are about.
    pub data_tag: u32,
    /// The peer closed its side.
    pub peer_closed: bool,
    /// The peer reset the connection.
    pub reset: bool,
    /// The kernel gave up (ETIMEDOUT).
    pub timed_out: bool,
    /// The final ACK of a handshake met a full accept queue and was dropped.
    pub listen_overflow: bool,
    /// A bare ACK came in SYN_SENT.
    pub bad_ack: bool,
    /// The retransmission timer fired.
    pub retransmitted: bool,
    /// A segment to send as it is: RST mostly.
    pub reply: Option<Packet>,
    /// The socket is done.
    pub end: Option<End>,
}

/// How a socket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing is left.
    Closed,
    /// A timewait socket takes its place for so long.
    TimeWait(TimeWait, SimDuration),
}

/// A TCP connection. Its tuple is kept by its owner: source is this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// State.
    pub state: State,
    /// Initial sequence number of this side.
    pub iss: SeqNum,
    /// Initial sequence number of the peer.
    pub irs: SeqNum,
    /// First octet not acknowledged.
    snd_una: SeqNum,
    /// Next octet to send; goes back to `snd_una` when the timer fires.
    snd_nxt: SeqNum,
    /// Next octet never sent.
    snd_max: SeqNum,
    /// Octet after the last one that the application wrote.
    write_end: SeqNum,
    /// Next octet expected.
    rcv_nxt: SeqNum,
    peer_window: u32,
    cwnd: u32,
    /// The peer's last timestamp; `None`: the option is not in use (or not yet known, in SYN_SENT).
    ts_recent: Option<TsRecent>,
    ts_offset: u32,
    rto: SimDuration,
    srtt: SimDuration,
    /// When the retransmission timer fires.
    rto_deadline: SimTime,
    /// When a delayed ACK is due.
    ack_deadline: SimTime,
    /// When the first SYN or SYN-ACK went out, or the octet at `rtt_seq`.
    sample_at: SimTime,
    /// An ACK beyond this is a round-trip sample.
    sample_seq: SeqNum,
    last_oow_ack: Option<SimTime>,
    /// Timeouts in a row.
    retries: u8,
    quick_acks: u8,
    fin_wanted: bool,
    /// The application closed: nobody reads any more.
    orphan: bool,
    sampling: bool,
    ack_now: bool,
    /// A SYN or SYN-ACK is to be sent.
    handshake_due: bool,
    /// What outgoing data is about.
    pub tag: u32,
}

impl Socket {
    fn new(state: State, iss: SeqNum, ts_offset: u32, now: SimTime) -> Self {
        Self {
            state,
            iss,
            irs: SeqNum(0),
            snd_una: iss,
            snd_nxt: iss + 1,
            snd_max: iss + 1,
            write_end: iss + 1,
            rcv_nxt: SeqNum(0),
            peer_window: 0,
            cwnd: INITIAL_CWND,
            ts_recent: None,
            ts_offset,
            rto: RTO_INITIAL,
            srtt: SimDuration::ZERO,
            rto_deadline: SimTime::NEVER,
            ack_deadline: SimTime::NEVER,
            sample_at: now,
            sample_seq: iss,
            last_oow_ack: None,
            retries: 0,
            quick_acks: QUICK_ACKS,
            fin_wanted: false,
            orphan: false,
            sampling: true,
            ack_now: false,
            handshake_due: true,
            tag: u32::MAX,
        }
    }

    /// Opens a connection from `tuple.src` to `tuple.dst`; the SYN is the first segment to draw.
    pub fn connect(tuple: FourTuple, host: &Host<'_>, now: SimTime) -> Self {
        let ts_offset = host.clock.timestamp_offset(tuple, host.config);
        Self::new(State::SynSent, host.clock.isn(tuple, now), ts_offset, now)
    }

    /// Answers a listener's SYN; `tuple` is this side's. `recycled_isn` is the sequence number that a recycled
    /// TIME_WAIT hands on, on kernels where it takes effect.
    pub fn accept(
        syn: &Packet,
        tuple: FourTuple,
        recycled_isn: Option<SeqNum>,
        host: &Host<'_>,
        now: SimTime,
    ) -> Self {
        let iss = recycled_isn.unwrap_or_else(|| host.clock.isn(tuple, now));
        let mut socket = Self::new(
            State::SynReceived,
            iss,
            host.clock.timestamp_offset(tuple, host.config),
            now,
        );
        socket.irs = syn.seq;
        socket.rcv_nxt = syn.seq + 1;
        socket.peer_window = syn.window;
        if host.config.timestamps != TimestampMode::Off {
            socket.ts_recent = syn.timestamps.map(|ts| TsRecent { val: ts.val, at: now });
        }
        socket
    }

    /// The next sequence number that this side would send.
    pub const fn snd_nxt(&self) -> SeqNum {
        self.snd_max
    }

    /// The application has closed it: what is left is the kernel's.
    pub const fn is_closed_by_application(&self) -> bool {
        self.orphan
    }

    /// When [`Socket::on_timer`] wants to be called.
    pub fn deadline(&self) -> SimTime {
        self.rto_deadline.min(self.ack_deadline)
    }

    /// The application writes so many octets.
    pub fn write(&mut self, len: u32) {
        self.write_end = self.write_end + len;
    }

    /// The application closes its sending side only (`shutdown(SHUT_WR)`).
    pub fn shutdown_write(&mut self) {
        self.state = match self.state {
            State::Established => State::FinWait1,
            State::CloseWait => State::LastAck,
            other => other,
        };
        self.fin_wanted = matches!(self.state, State::FinWait1 | State::LastAck);
    }

    /// The application closes. In SYN_SENT nothing is sent and the socket is gone at once.
    #[must_use]
    pub fn close(&mut self, config: &TcpConfig) -> Option<End> {
        self.orphan = true;
        match self.state {
            State::SynSent | State::SynReceived | State::Closed => {
                self.state = State::Closed;
                Some(End::Closed)
            }
            // An open FIN_WAIT2 becomes an orphan's: a timewait socket.
            State::FinWait2 => Some(self.time_wait(Substate::FinWait2, config.fin_timeout)),
            _ => {
                self.shutdown_write();
                None
            }
        }
    }

    fn time_wait(&mut self, substate: Substate, lifetime: SimDuration) -> End {
        self.state = State::Closed;
        let tw = TimeWait {
            substate,
            rcv_nxt: self.rcv_nxt,
            snd_nxt: self.snd_max,
            rcv_wnd: WINDOW,
            ts_recent: self.ts_recent,
            ts_offset: self.ts_offset,
            last_oow_ack: None,
        };
        End::TimeWait(tw, lifetime)
    }

    // ---- sending ----

    /// The next segment to send, if any.
    pub fn next_segment(&mut self, tuple: FourTuple, host: &Host<'_>, now: SimTime) -> Option<Packet> {
        match self.state {
            State::Closed => None,
            State::SynSent | State::SynReceived => {
                if !std::mem::take(&mut self.handshake_due) {
                    return None;
                }
                self.arm_rto(host, now);
                let flags = if self.state == State::SynSent {
                    Flags::SYN
                } else {
                    Flags::SYN_ACK
                };
                Some(self.segment(tuple, flags, self.iss, 0, host, now))
            }
            _ => self.next_synchronized(tuple, host, now),
        }
    }

    fn next_synchronized(&mut self, tuple: FourTuple, host: &Host<'_>, now: SimTime) -> Option<Packet> {
        let in_flight = self.snd_nxt.distance_from(self.snd_una).cast_unsigned();
        let window = (self.cwnd * MSS).min(self.peer_window);
        let waiting = self.write_end.distance_from(self.snd_nxt).max(0).cast_unsigned();
        let len = waiting.min(MSS).min(window.saturating_sub(in_flight));
        let seq = self.snd_nxt;
        let flags = if len > 0 {
            Flags::ACK
        } else if self.fin_wanted && self.snd_nxt == self.write_end {
            Flags::FIN_ACK
        } else if std::mem::take(&mut self.ack_now) {
            return Some(self.segment(tuple, Flags::ACK, self.snd_max, 0, host, now));
        } else {
            return None;
        };
        self.snd_nxt = seq + len + u32::from(flags.fin());
        if self.snd_nxt.is_after(self.snd_max) {
            self.snd_max = self.snd_nxt;
            if !self.sampling {
                (self.sampling, self.sample_at, self.sample_seq) = (true, now, seq);
            }
        }
        if self.rto_deadline == SimTime::NEVER {
            self.arm_rto(host, now);
        }
        Some(self.segment(tuple, flags, seq, len, host, now))
    }

    /// Builds a segment; every one with ACK settles what there was to acknowledge.
    fn segment(
        &mut self,
        tuple: FourTuple,
        flags: Flags,
        seq: SeqNum,
        payload_len: u32,
        host: &Host<'_>,
        now: SimTime,
    ) -> Packet {
        if flags.ack() {
            self.ack_now = false;
            self.ack_deadline = SimTime::NEVER;
        }
        let offers = self.state == State::SynSent && host.config.timestamps != TimestampMode::Off;
        let timestamps = (offers || self.ts_recent.is_some()).then(|| Timestamps {
            val: host.clock.timestamp(now, self.ts_offset),
            ecr: self.ts_recent.map_or(0, |recent| recent.val),
        });
        Packet {
            tuple,
            seq,
            ack: if flags.ack() { self.rcv_nxt } else { SeqNum(0) },
            payload_len,
            window: if flags.syn() { SYN_WINDOW } else { WINDOW },
            timestamps,
            flags,
            tag: self.tag,
        }
    }

    fn arm_rto(&mut self, host: &Host<'_>, now: SimTime) {
        let timeout = match self.state {
            State::SynSent => {
                // Linear at first on newer kernels: the interval doubles only after `linear_timeouts` of them.
                let doublings = self.retries.saturating_sub(host.config.syn_retry.linear_timeouts);
                RTO_INITIAL.saturating_mul(1 << doublings.min(20)).min(RTO_MAX)
            }
            _ => self.rto.saturating_mul(1 << self.retries.min(20)).min(RTO_MAX),
        };
        self.rto_deadline = host.timers.expiry(now, timeout);
    }

    /// An RST that answers `segment` (RFC 9293 section 3.10.7.1); `None` if that is an RST itself.
    pub fn reset_for(segment: &Packet) -> Option<Packet> {
        if segment.flags.rst() {
            return None;
        }
        let (seq, ack, flags) = if segment.flags.ack() {
            (segment.ack, SeqNum(0), Flags::RST)
        } else {
            (SeqNum(0), segment.end_seq(), Flags::RST_ACK)
        };
        Some(Packet {
            tuple: segment.tuple.reversed(),
            seq,
            ack,
            payload_len: 0,
            window: 0,
            timestamps: None,
            flags,
            tag: segment.tag,
        })
    }

    /// An RST that the application's abort sends (`tcp_send_active_reset()`).
    pub fn abort(&mut self, tuple: FourTuple) -> Option<Packet> {
        let silent = matches!(self.state, State::SynSent | State::Closed);
        self.state = State::Closed;
        (!silent).then_some(Packet {
            tuple,
            seq: self.snd_max,
            ack: self.rcv_nxt,
            payload_len: 0,
            window: 0,
            timestamps: None,
            flags: Flags::RST_ACK,
            tag: self.tag,
        })
    }

    // ---- timers ----

    /// Called at or after [`Socket::deadline`].
    pub fn on_timer(&mut self, host: &Host<'_>, now: SimTime) -> Reaction {
        let mut reaction = Reaction::default();
        if self.ack_deadline <= now {
            self.ack_deadline = SimTime::NEVER;
            self.ack_now = true;
        }
        if self.rto_deadline > now {
            return reaction;
        }
        self.rto_deadline = SimTime::NEVER;
        if self.retries >= self.retry_limit(host.config) {
            self.state = State::Closed;
            reaction.timed_out = true;
            reaction.end = Some(End::Closed);
            return reaction;
        }
        reaction.retransmitted = true;
        self.retries += 1;
        self.sampling = false;
        if matches!(self.state, State::SynSent | State::SynReceived) {
            self.handshake_due = true;
        } else {
            self.snd_nxt = self.snd_una;
            self.cwnd = 1;
        }
        reaction
    }

    fn retry_limit(&self, config: &TcpConfig) -> u8 {
        match self.state {
            State::SynSent if config.syn_retry.gives_up_early => config.syn_retry.retries.min(4),
            State::SynSent => config.syn_retry.retries + config.syn_retry.linear_timeouts,
            State::SynReceived => config.synack_retries,
            _ if self.orphan => config.orphan_retries,
            _ => config.retries2,
        }
    }

    // ---- receiving ----

    /// Takes a segment of this connection. `accept_queue_full` matters to the last ACK of a handshake only.
    pub fn on_segment(
        &mut self,
        seg: &Packet,
        accept_queue_full: bool,
        host: &Host<'_>,
        now: SimTime,
    ) -> Reaction {
        match self.state {
            State::Closed => Reaction::default(),
            State::SynSent => self.in_syn_sent(seg, host, now),
            State::SynReceived => self.in_syn_received(seg, accept_queue_full, host, now),
            _ => self.in_synchronized(seg, host, now),
        }
    }

    fn in_syn_sent(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime) -> Reaction {
        let mut reaction = Reaction::default();
        let flags = seg.flags;
        if flags.ack() && seg.ack != self.iss + 1 {
            return self.on_bad_ack(seg, host, now);
        }
        if flags.rst() {
            if flags.ack() {
                self.state = State::Closed;
                reaction.reset = true;
                reaction.end = Some(End::Closed);
            }
            return reaction;
        }
        if !flags.syn() {
            return reaction;
        }
        self.irs = seg.seq;
        self.rcv_nxt = seg.seq + 1;
        self.peer_window = seg.window;
        if host.config.timestamps != TimestampMode::Off {
            self.ts_recent = seg.timestamps.map(|ts| TsRecent { val: ts.val, at: now });
        }
        if !flags.ack() {
            // Simultaneous open.
            self.state = State::SynReceived;
            self.handshake_due = true;
            return reaction;
        }
        self.establish(now);
        self.ack_now = true;
        reaction.connected = true;
        reaction
    }

    /// A SYN_SENT socket meets an ACK that acknowledges none of its SYNs: the bare ACK of a TIME_WAIT.
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
        reaction.reply = Self::reset_for(seg);
        reaction
    }

    fn establish(&mut self, now: SimTime) {
        self.state = State::Established;
        self.snd_una = self.iss + 1;
        if self.sampling {
            self.sample_rtt(now.since(self.sample_at));
        } else if self.ts_recent.is_none() {
            self.rto = RTO_FALLBACK;
        }
        self.sampling = false;
        self.retries = 0;
        self.rto_deadline = SimTime::NEVER;
    }

    fn sample_rtt(&mut self, rtt: SimDuration) {
        self.srtt = if self.srtt == SimDuration::ZERO {
            rtt
        } else {
            SimDuration::from_nanos((self.srtt.as_nanos() * 7 + rtt.as_nanos()) / 8)
        };
        // Linux keeps the variance term at or above TCP_RTO_MIN, so on a short path RTO is srtt + 200 ms.
        self.rto = (self.srtt + RTO_MIN.max(self.srtt)).min(RTO_MAX);
    }

    fn in_syn_received(
        &mut self,
        seg: &Packet,
        accept_queue_full: bool,
        host: &Host<'_>,
        now: SimTime,
    ) -> Reaction {
        let mut reaction = Reaction::default();
        let flags = seg.flags;
        let paws_reject = self.paws_rejects(seg);
        if flags == Flags::SYN && seg.seq == self.irs && !paws_reject {
            // The SYN again: answer it again, at most once in the rate limit.
            self.handshake_due = self.may_answer(seg, host, now);
            return reaction;
        }
        if flags.ack() && seg.ack != self.iss + 1 {
            reaction.reply = Self::reset_for(seg);
            return reaction;
        }
        if paws_reject || !self.in_window(seg) {
            if !flags.rst() && self.may_answer(seg, host, now) {
                reaction.reply =
                    Some(self.segment(seg.tuple.reversed(), Flags::ACK, self.iss + 1, 0, host, now));
            }
            return reaction;
        }
        if flags.rst() || flags.syn() {
            reaction.reply = if flags.rst() { None } else { Self::reset_for(seg) };
            self.state = State::Closed;
            reaction.reset = true;
            reaction.end = Some(End::Closed);
            return reaction;
        }
        if !flags.ack() {
            return reaction;
        }
        if accept_queue_full {
            reaction.listen_overflow = true;
            return reaction;
        }
        self.establish(now);
        let mut rest = self.in_synchronized(seg, host, now);
        rest.connected = true;
        rest
    }

    fn paws_rejects(&self, seg: &Packet) -> bool {
        match (self.ts_recent, seg.timestamps) {
            (Some(recent), Some(seen)) => (recent.val.wrapping_sub(seen.val) as i32) > 0,
            _ => false,
        }
    }

    /// `tcp_sequence()`: the segment touches the receive window.
    fn in_window(&self, seg: &Packet) -> bool {
        !seg.end_seq().is_before(self.rcv_nxt) && !seg.seq.is_after(self.rcv_nxt + WINDOW)
    }

    /// Rate limit of ACKs that answer unacceptable segments (`tcp_oow_rate_limited()`).
    fn may_answer(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime) -> bool {
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

    fn in_synchronized(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime) -> Reaction {
        let mut reaction = Reaction::default();
        let flags = seg.flags;
        if self.paws_rejects(seg) && !flags.rst() || !self.in_window(seg) {
            if !flags.rst() {
                self.ack_now |= self.may_answer(seg, host, now);
            }
            return reaction;
        }
        if flags.rst() {
            // RFC 5961 section 3.2: only the exact sequence number resets, others are challenged.
            if seg.seq == self.rcv_nxt {
                self.state = State::Closed;
                reaction.reset = true;
                reaction.end = Some(End::Closed);
            } else {
                self.ack_now |= self.may_answer(seg, host, now);
            }
            return reaction;
        }
        if flags.syn() {
            // RFC 5961 section 4: a challenge ACK.
            self.ack_now |= self.may_answer(seg, host, now);
            return reaction;
        }
        if !flags.ack() || seg.ack.is_after(self.snd_max) {
            return reaction;
        }
        if let (Some(recent), Some(seen)) = (self.ts_recent.as_mut(), seg.timestamps)
            && !seg.seq.is_after(self.rcv_nxt)
        {
            *recent = TsRecent {
                val: seen.val,
                at: now,
            };
        }
        self.peer_window = seg.window;
        self.on_ack(seg, host, now);
        if let Some(end) = self.after_our_fin(seg, host) {
            reaction.end = Some(end);
            return reaction;
        }
        self.on_payload(seg, host, now, &mut reaction);
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
        if self.sampling && seg.ack.is_after(self.sample_seq) {
            self.sampling = false;
            self.sample_rtt(now.since(self.sample_at));
        }
        self.retries = 0;
        self.rto_deadline = SimTime::NEVER;
        if self.snd_una != self.snd_max {
            self.arm_rto(host, now);
        }
    }

    /// What follows when our FIN is acknowledged.
    fn after_our_fin(&mut self, seg: &Packet, host: &Host<'_>) -> Option<End> {
        let fin_acked = self.fin_wanted && self.snd_una == self.write_end + 1;
        if !fin_acked {
            return None;
        }
        match self.state {
            State::FinWait1 => {
                self.state = State::FinWait2;
                // An orphan waits for the peer's FIN as a timewait socket, unless that FIN is in this very segment.
                let lone_ack = seg.sequence_space() == 0;
                (self.orphan && lone_ack).then(|| self.time_wait(Substate::FinWait2, host.config.fin_timeout))
            }
            State::Closing => Some(self.time_wait(Substate::TimeWait, host.config.time_wait)),
            State::LastAck => {
                self.state = State::Closed;
                Some(End::Closed)
            }
            _ => None,
        }
    }

    fn on_payload(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime, reaction: &mut Reaction) {
        if seg.sequence_space() == 0 {
            return;
        }
        let data_end = seg.seq + seg.payload_len;
        if seg.seq.is_after(self.rcv_nxt) || !seg.end_seq().is_after(self.rcv_nxt) {
            // Out of order, or a repetition: acknowledge at once.
            self.ack_now = true;
            return;
        }
        let fresh = data_end.distance_from(self.rcv_nxt).max(0).cast_unsigned();
        if fresh > 0 {
            if self.orphan {
                // Data after a full close: RST (TCPAbortOnData).
                reaction.reply = Self::reset_for(seg);
                self.state = State::Closed;
                reaction.end = Some(End::Closed);
                return;
            }
            self.rcv_nxt = data_end;
            reaction.data_len = fresh;
            reaction.data_tag = seg.tag;
            self.acknowledge_data(host, now);
        }
        if seg.flags.fin() {
            self.rcv_nxt = self.rcv_nxt + 1;
            self.on_peer_fin(host, now, reaction);
        }
    }

    fn acknowledge_data(&mut self, host: &Host<'_>, now: SimTime) {
        if self.quick_acks > 0 {
            self.quick_acks -= 1;
            self.ack_now = true;
        } else if self.ack_deadline == SimTime::NEVER {
            self.ack_deadline = host.timers.expiry(now, DELAYED_ACK);
        } else {
            // Every second segment at the latest (RFC 5681 section 4.2).
            self.ack_now = true;
        }
    }

    /// `tcp_fin()`.
    fn on_peer_fin(&mut self, host: &Host<'_>, now: SimTime, reaction: &mut Reaction) {
        reaction.peer_closed = true;
        match self.state {
            State::Established => {
                self.state = State::CloseWait;
                // The ACK may wait for the application's own FIN, as captured.
                self.ack_deadline = host.timers.expiry(now, DELAYED_ACK);
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

    /// The ACK that a socket still owes when it turns into a timewait socket.
    pub fn final_ack(&mut self, tuple: FourTuple, host: &Host<'_>, now: SimTime) -> Option<Packet> {
        std::mem::take(&mut self.ack_now).then(|| self.segment(tuple, Flags::ACK, self.snd_max, 0, host, now))
    }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
