//! The congestion window: it grows only if it was the limit, and shrinks while nothing is sent.

use super::{Host, INITIAL_CWND, SimDuration, SimTime, Socket};

impl Socket {
    /// Notes how much of the congestion window is used after something was sent (`tcp_cwnd_validate()`,
    /// net/ipv4/tcp_output.c 6.1 and later; RFC 7661 has the reason).
    #[inline]
    pub(super) fn validate_cwnd(&mut self) {
        let out = self.segments_out();
        let limited = out >= self.cwnd;
        let new_flight = !self.snd_una.is_before(self.cwnd_usage_seq);
        if new_flight || limited || (!self.cwnd_limited && out > self.max_packets_out) {
            (self.cwnd_limited, self.max_packets_out) = (limited, out);
            self.cwnd_usage_seq = self.snd_max;
        }
    }

    /// The congestion window lets another segment go (`tcp_cwnd_test()`).
    #[inline]
    pub(super) fn cwnd_has_room(&self) -> bool {
        let mss = u32::from(self.snd_mss);
        let in_flight = self.snd_nxt.octets_since(self.snd_una);
        if in_flight < self.cwnd.saturating_mul(mss) {
            return true;
        }
        // RFC 3042: before they are taken for a loss, duplicate ACKs say that as many segments have left.
        let left = u32::from(self.dup_acks.min(2));
        !self.in_recovery && in_flight < (self.cwnd + left).saturating_mul(mss)
    }

    /// The window may grow: it was the limit, or in slow start less than twice what was in flight (`tcp_is_cwnd_limited()`,
    /// include/net/tcp.h).
    pub(super) fn is_cwnd_limited(&self) -> bool {
        let in_slow_start = self.cwnd < self.ssthresh;
        self.cwnd_limited || (in_slow_start && self.cwnd < self.max_packets_out.saturating_mul(2))
    }

    /// There is something to send after a pause longer than the retransmission timeout: the window halves with each
    /// timeout in it, down to the initial one (`tcp_slow_start_after_idle_check()`, `tcp_cwnd_restart()`).
    #[inline]
    pub(super) fn restart_after_idle(&mut self, host: &Host<'_>, now: SimTime) {
        let idle = now.since(self.sent_at);
        if self.snd_una == self.snd_max && idle > self.rto && host.config.slow_start_after_idle {
            self.shrink_for_idleness(idle);
        }
    }

    #[inline(never)]
    fn shrink_for_idleness(&mut self, mut idle: SimDuration) {
        if self.next_data_whatever_cwnd().is_none() {
            return;
        }
        self.ssthresh = self.ssthresh.max(self.cwnd / 2 + self.cwnd / 4);
        let least = INITIAL_CWND.min(self.cwnd);
        while idle > self.rto && self.cwnd > least {
            idle = idle.saturating_sub(self.rto);
            self.cwnd /= 2;
        }
        self.cwnd = self.cwnd.max(least);
    }
}
