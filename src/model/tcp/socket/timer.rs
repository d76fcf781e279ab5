//! Timers of a socket: retransmission with its schedules and limits, delayed ACKs, and the round-trip time.

use super::{Host, Packet, Reaction, SimDuration, SimTime, Socket, State, TcpConfig};

/// `TCP_TIMEOUT_INIT`.
pub(super) const RTO_INITIAL: SimDuration = SimDuration::from_secs(1);
/// `TCP_TIMEOUT_FALLBACK`: for data after a repeated SYN that gave no round-trip sample (RFC 6298 section 5.7).
const RTO_FALLBACK: SimDuration = SimDuration::from_secs(3);
/// `TCP_RTO_MIN`.
const RTO_MIN: SimDuration = SimDuration::from_millis(200);
/// `TCP_RTO_MAX`.
const RTO_MAX: SimDuration = SimDuration::from_secs(120);
/// `TCP_DELACK_MIN`.
const DELAYED_ACK: SimDuration = SimDuration::from_millis(40);
/// The limit of 4.19.108: the caller fails when the timer of its fifth SYN fires (measured).
const EARLY_RETRIES: u8 = 4;
/// Resolution of the timestamps option.
const TIMESTAMP_TICK: SimDuration = SimDuration::from_millis(1);

impl Socket {
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
            reaction.timed_out = true;
            reaction.end = Some(self.gone());
            return reaction;
        }
        reaction.retransmitted = true;
        self.retries += 1;
        // Karn: what is sent twice gives no sample.
        self.sampling = false;
        if matches!(self.state, State::SynSent | State::SynReceived) {
            self.handshake_due = true;
        } else {
            self.snd_nxt = self.snd_una;
            self.cwnd = 1;
        }
        reaction
    }

    /// `tcp_write_timeout()`, `reqsk_timer_handler()`. The kernel's limits for data are times that correspond to
    /// these counts at the smallest timeout.
    fn retry_limit(&self, config: &TcpConfig) -> u8 {
        let syn = config.syn_retry;
        match self.state {
            State::SynSent if syn.gives_up_early => syn.retries.min(EARLY_RETRIES),
            State::SynSent => syn.retries.saturating_add(syn.linear_timeouts),
            State::SynReceived => config.synack_retries,
            _ if self.orphan => config.orphan_retries,
            _ => config.retries2,
        }
    }

    /// Sets the retransmission timer.
    pub(super) fn arm_rto(&mut self, host: &Host<'_>, now: SimTime) {
        let (base, doublings) = match self.state {
            // Linear at first on newer kernels: the interval doubles only after `linear_timeouts` of them.
            State::SynSent => (
                RTO_INITIAL,
                self.retries.saturating_sub(host.config.syn_retry.linear_timeouts),
            ),
            _ => (self.rto, self.retries),
        };
        let timeout = base.saturating_mul(1 << doublings.min(20)).min(RTO_MAX);
        self.rto_deadline = host.timers.expiry(now, timeout);
    }

    /// Sets the timer of a delayed ACK, unless an earlier one is due already.
    pub(super) fn delay_ack(&mut self, host: &Host<'_>, now: SimTime) {
        self.ack_deadline = self.ack_deadline.min(host.timers.expiry(now, DELAYED_ACK));
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
