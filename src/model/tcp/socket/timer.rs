//! Timers of a socket: retransmission with its schedules and limits, window probes, and the round-trip time.

use super::{
    Due, End, Gate, Host, Packet, Reaction, SimDuration, SimTime, Socket, SocketError, State, TcpConfig,
};

/// `TCP_TIMEOUT_INIT`.
pub(super) const RTO_INITIAL: SimDuration = SimDuration::from_secs(1);
/// `TCP_TIMEOUT_FALLBACK`: for data after a repeated SYN that gave no round-trip sample (RFC 6298 section 5.7).
const RTO_FALLBACK: SimDuration = SimDuration::from_secs(3);
/// `TCP_RTO_MIN`.
const RTO_MIN: SimDuration = SimDuration::from_millis(200);
/// What a tail-loss probe waits beyond two round trips: `TCP_TIMEOUT_MIN_US`, 2 ms in 6.18; two jiffies on older kernels,
/// which makes no difference but to captures.
const TIMEOUT_MIN: SimDuration = SimDuration::from_millis(2);
/// `TCP_RTO_MAX`.
const RTO_MAX: SimDuration = SimDuration::from_secs(120);
/// The limit of 4.19.108: the caller fails when the timer of its fifth SYN fires (measured).
const EARLY_RETRIES: u8 = 4;
/// Resolution of the timestamps option.
const TIMESTAMP_TICK: SimDuration = SimDuration::from_millis(1);

impl Socket {
    /// Called at or after [`Socket::deadline`]. `gate` is what the listener says, if this is a request.
    pub fn on_timer(&mut self, gate: Option<Gate>, host: &Host<'_>, now: SimTime) -> Reaction {
        let mut reaction = Reaction::default();
        if self.ack_deadline <= now {
            self.on_ack_timer();
        }
        if self.rto_deadline > now {
            return reaction;
        }
        self.rto_deadline = SimTime::NEVER;
        if self.state == State::FinWait2 {
            reaction.end = self.on_orphan_timer(host);
            if reaction.end.is_none() {
                reaction.end = Some(self.gone());
            }
            return reaction;
        }
        if self.probing {
            return self.on_probe_timer(host, now);
        }
        if std::mem::take(&mut self.loss_probe_armed) {
            self.due.add(Due::LOSS_PROBE);
            return reaction;
        }
        if let (State::SynReceived, Some(gate)) = (self.state, gate) {
            return self.on_request_timer(gate, host, now);
        }
        if self.retries >= self.retry_limit(host.config) || self.user_timed_out(now) {
            reaction.timed_out = true;
            reaction.end = Some(self.give_up());
            return reaction;
        }
        reaction.retransmitted = true;
        self.retries += 1;
        // Karn: what is sent twice gives no sample.
        self.sampling = false;
        if matches!(self.state, State::SynSent | State::SynReceived) {
            self.due.add(Due::HANDSHAKE);
        } else {
            self.snd_nxt = self.snd_una;
            self.ssthresh = (self.cwnd / 2).max(2);
            self.cwnd = 1;
            self.due.remove(Due::RETRANSMIT);
            (self.in_recovery, self.recover) = (false, self.snd_max);
            self.loss_probe_sent = false;
        }
        reaction
    }

    /// A request's timer (`reqsk_timer_handler()`, `syn_ack_recalc()`): while `TCP_DEFER_ACCEPT` waits for data after
    /// an ACK the timeouts count, but nothing is sent until the last but one.
    fn on_request_timer(&mut self, gate: Gate, host: &Host<'_>, now: SimTime) -> Reaction {
        let mut reaction = Reaction::default();
        let (count, defer) = (self.retries, gate.defer_accept);
        let over = count >= host.config.synack_retries && (defer == 0 || !self.acked || count >= defer);
        if over {
            reaction.timed_out = true;
            reaction.end = Some(self.gone());
            return reaction;
        }
        self.retries += 1;
        self.sampling = false;
        if defer == 0 || !self.acked || count + 1 >= defer {
            reaction.retransmitted = true;
            self.due.add(Due::HANDSHAKE);
        } else {
            self.arm_rto(host, now);
        }
        reaction
    }

    /// The connection times out, for the reason that ICMP told, if any (`tcp_write_err()`).
    fn give_up(&mut self) -> End {
        let told = self.extra.as_ref().and_then(|extra| extra.soft_error);
        self.fail(told.unwrap_or(SocketError::TimedOut))
    }

    /// `tcp_write_timeout()`. The kernel's limits for data are times that correspond to these counts at the smallest
    /// timeout.
    fn retry_limit(&self, config: &TcpConfig) -> u8 {
        let syn = config.syn_retry;
        let retries = match self.options().syn_retries {
            0 => syn.retries,
            asked => asked,
        };
        match self.state {
            State::SynSent if syn.gives_up_early => retries.min(EARLY_RETRIES),
            State::SynSent => retries.saturating_add(syn.linear_timeouts),
            State::SynReceived => retries,
            _ if self.orphan => config.orphan_retries,
            _ => config.retries2,
        }
    }

    /// `TCP_USER_TIMEOUT` is over since what is unacknowledged was sent first (`retransmits_timed_out()`); judged from
    /// the second timeout on.
    fn user_timed_out(&mut self, now: SimTime) -> bool {
        let limit = self.options().user_timeout;
        if limit == SimDuration::ZERO {
            return false;
        }
        let (rto, retries) = (self.rto, self.retries);
        let since = *self
            .extra_mut()
            .stalled_since
            .get_or_insert_with(|| SimTime::from_nanos(now.as_nanos().saturating_sub(rto.as_nanos())));
        retries > 0 && now.since(since) >= limit
    }

    /// No timeout reaches beyond `TCP_USER_TIMEOUT` (`tcp_clamp_rto_to_user_timeout()`).
    fn clamp_to_user_timeout(&self, timeout: SimDuration, now: SimTime) -> SimDuration {
        let Some(extra) = &self.extra else { return timeout };
        match extra.stalled_since {
            Some(since) if extra.options.user_timeout > SimDuration::ZERO => {
                let left = extra.options.user_timeout.saturating_sub(now.since(since));
                timeout.min(left.max(SimDuration::from_millis(1)))
            }
            _ => timeout,
        }
    }

    /// Sets the retransmission timer.
    pub(super) fn arm_rto(&mut self, host: &Host<'_>, now: SimTime) {
        self.loss_probe_armed = false;
        let (base, doublings) = match self.state {
            // Linear at first on newer kernels: the interval doubles only after `linear_timeouts` of them.
            State::SynSent => (
                RTO_INITIAL,
                self.retries.saturating_sub(host.config.syn_retry.linear_timeouts),
            ),
            _ => (self.rto, self.retries),
        };
        let timeout = base.saturating_mul(1 << doublings.min(20)).min(RTO_MAX);
        let timeout = self.clamp_to_user_timeout(timeout, now);
        self.rto_deadline = host.timers.expiry(now, timeout);
    }

    // ---- tail-loss probes (RFC 8985 section 7) ----

    /// Segments in flight, as far as octets tell.
    #[inline]
    pub(super) fn segments_out(&self) -> u32 {
        let fin_out = self.snd_max.is_after(self.write_end);
        let octets = self.snd_max.octets_since(self.snd_una);
        self.segments_of(octets - u32::from(fin_out)) + u32::from(fin_out)
    }

    /// How many segments so many octets are; mostly one or none, for which nothing need be divided.
    #[inline]
    pub(super) fn segments_of(&self, octets: u32) -> u32 {
        let mss = u32::from(self.snd_mss);
        if octets <= mss {
            u32::from(octets > 0)
        } else {
            octets.div_ceil(mss)
        }
    }

    /// Sets the timer of what is in flight: the tail-loss probe's if there may be one (`tcp_schedule_loss_probe()`),
    /// else the retransmission's.
    #[allow(
        clippy::inline_always,
        reason = "whoever sends has counted already what is in flight"
    )]
    #[inline(always)]
    pub(super) fn arm_in_flight(&mut self, host: &Host<'_>, now: SimTime) {
        let open = self.retries == 0 && !self.in_recovery && self.dup_acks == 0;
        if !self.sack_ok || !open || self.loss_probe_sent {
            self.arm_rto(host, now);
            return;
        }
        let wait = if self.srtt == SimDuration::ZERO {
            RTO_INITIAL
        } else if self.segments_out() == 1 {
            // The peer may delay its ACK of a single segment.
            self.srtt.saturating_mul(2) + RTO_MIN
        } else {
            self.srtt.saturating_mul(2) + TIMEOUT_MIN
        };
        let left = (self.rto_from + self.rto).since(now);
        let wait = if left > SimDuration::ZERO {
            wait.min(left)
        } else {
            wait
        };
        self.rto_deadline = host.timers.expiry(now, wait);
        self.loss_probe_armed = true;
    }

    /// The same out of line, for when something is still in flight after an ACK.
    #[inline(never)]
    pub(super) fn arm_rest(&mut self, host: &Host<'_>, now: SimTime) {
        self.arm_in_flight(host, now);
    }

    /// A tail-loss probe went out. The retransmission timeout goes on from where it was, unless the probe was all that
    /// is in flight (`tcp_rearm_rto()`).
    pub(super) fn after_loss_probe(&mut self, host: &Host<'_>, now: SimTime) {
        self.loss_probe_sent = true;
        self.loss_probe_armed = false;
        if self.segments_out() == 1 {
            self.rto_from = now;
        }
        let left = (self.rto_from + self.rto).since(now).max(host.timers.tick());
        self.rto_deadline = host.timers.expiry(now, self.clamp_to_user_timeout(left, now));
    }

    // ---- window probes ----

    /// Sets the window probe's timer (`tcp_probe0_when()`).
    #[inline(never)]
    pub(super) fn arm_probe(&mut self, host: &Host<'_>, now: SimTime) {
        self.probing = true;
        let base = self.rto.max(RTO_MIN);
        let timeout = base.saturating_mul(1 << self.retries.min(20)).min(RTO_MAX);
        self.rto_deadline = host.timers.expiry(now, timeout);
    }

    /// `tcp_probe_timer()`, `tcp_send_probe0()`.
    fn on_probe_timer(&mut self, host: &Host<'_>, now: SimTime) -> Reaction {
        let mut reaction = Reaction::default();
        if !self.has_unsent() {
            self.probing = false;
            return reaction;
        }
        let limit = if self.orphan {
            host.config.orphan_retries
        } else {
            host.config.retries2
        };
        if self.probes >= limit || self.user_timed_out(now) {
            reaction.timed_out = true;
            reaction.end = Some(self.give_up());
            return reaction;
        }
        self.due.add(Due::WINDOW_PROBE);
        self.probes += 1;
        self.retries = (self.retries + 1).min(host.config.retries2);
        self.arm_probe(host, now);
        reaction
    }

    /// An ACK came while nothing was in flight (`tcp_ack_probe()`): a window that has opened ends the probes, one that
    /// is still closed sets their timer anew.
    #[inline]
    pub(super) fn on_probe_answer(&mut self, host: &Host<'_>, now: SimTime) {
        if self.has_unsent() {
            self.judge_probe_answer(host, now);
        }
    }

    #[inline(never)]
    fn judge_probe_answer(&mut self, host: &Host<'_>, now: SimTime) {
        let mss = u32::from(self.snd_mss);
        let waiting = self.write_end.distance_from(self.snd_nxt).max(0).cast_unsigned();
        let fin = u32::from(self.fin_wanted && waiting <= mss);
        if (self.snd_nxt + waiting.min(mss) + fin).is_after(self.peer_window_end()) {
            self.arm_probe(host, now);
        } else {
            (self.probing, self.retries, self.rto_deadline) = (false, 0, SimTime::NEVER);
        }
    }

    /// The retransmission timeout when the handshake is done.
    pub(super) fn rto_after_handshake(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime) {
        self.sample_rtt(seg, host, now);
        if self.srtt == SimDuration::ZERO {
            self.rto = RTO_FALLBACK;
        }
        self.sampling = false;
    }

    /// Takes a round-trip sample from an ACK: the exact one if nothing was sent twice, else what the timestamps
    /// echo says (`tcp_ack_update_rtt()`).
    #[inline]
    pub(super) fn sample_rtt(&mut self, ack: &Packet, host: &Host<'_>, now: SimTime) {
        if self.sampling {
            if ack.ack.is_after(self.sample_seq) {
                self.sampling = false;
                self.update_rtt(now.since(self.sample_at));
            }
            return;
        }
        let echo = ack.timestamps.map_or(0, |ts| ts.ecr);
        if self.ts_recent.is_none() || echo == 0 {
            return;
        }
        let ticks = host
            .clock
            .timestamp(now, self.ts_offset)
            .wrapping_sub(echo)
            .cast_signed();
        if let Ok(ticks) = u64::try_from(ticks) {
            self.update_rtt(TIMESTAMP_TICK.saturating_mul(ticks.max(1)));
        }
    }

    /// RFC 6298 section 2, with Linux's floor: the deviation term is no less than `TCP_RTO_MIN`, so on a short path
    /// the timeout is srtt + 200 ms.
    #[inline]
    fn update_rtt(&mut self, rtt: SimDuration) {
        let rtt = rtt.as_nanos().max(1);
        let srtt = self.srtt.as_nanos();
        let (srtt, rttvar4) = if srtt == 0 {
            (rtt, rtt * 2)
        } else {
            (
                (srtt * 7 + rtt) / 8,
                self.rttvar4.as_nanos() / 4 * 3 + srtt.abs_diff(rtt),
            )
        };
        self.srtt = SimDuration::from_nanos(srtt);
        self.rttvar4 = SimDuration::from_nanos(rttvar4);
        self.rto = (self.srtt + self.rttvar4.max(RTO_MIN)).min(RTO_MAX);
    }
}
