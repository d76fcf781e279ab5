//! When to acknowledge data: at once at the start, together with an answer when request and response take turns, else
//! after a while.

use super::{Due, Host, SimDuration, SimTime, Socket};

/// `TCP_ATO_MIN` and `TCP_DELACK_MIN`.
const ATO_MIN: SimDuration = SimDuration::from_millis(40);
/// `TCP_DELACK_MAX`.
const DELACK_MAX: SimDuration = SimDuration::from_millis(200);
/// `TCP_MAX_QUICKACKS`.
const QUICK_ACKS: u32 = 16;
/// A segment shorter than this says nothing about the peer's maximum segment size (`TCP_MSS_DEFAULT`).
const SMALL: u32 = super::DEFAULT_MSS;

const fn half(time: SimDuration) -> SimDuration {
    SimDuration::from_nanos(time.as_nanos() / 2)
}

impl Socket {
    /// Data arrived (`tcp_event_data_recv()`, `tcp_measure_rcv_mss()`).
    pub(super) fn note_data(&mut self, len: u32, host: &Host<'_>, now: SimTime) {
        self.ack_scheduled = true;
        if len >= u32::from(self.rcv_mss) {
            self.rcv_mss = len.min(self.offered_mss()) as u16;
        } else if len < SMALL {
            self.pushed = (self.pushed + 1).min(2);
        }
        let gap = now.since(self.received_at);
        if self.ato == SimDuration::ZERO {
            self.enlarge_quick_acks();
            self.ato = ATO_MIN;
        } else if gap <= half(ATO_MIN) {
            self.ato = half(self.ato) + half(ATO_MIN);
        } else if gap < self.ato {
            self.ato = (half(self.ato) + gap).min(self.rto);
        } else if gap > self.rto {
            // Too long a gap: the sender restarts slowly, help it.
            self.enlarge_quick_acks();
        }
        self.received_at = now;
        if len >= 128 {
            self.grow_window(len, host.config);
        }
    }

    /// `tcp_incr_quickack()`.
    fn enlarge_quick_acks(&mut self) {
        let by_window = (self.rcv_wnd / (2 * u32::from(self.rcv_mss))).max(2);
        self.quick_acks = self.quick_acks.max(by_window.min(QUICK_ACKS) as u8);
    }

    /// `tcp_enter_quickack_mode()`.
    pub(super) fn enter_quick_acks(&mut self) {
        self.enlarge_quick_acks();
        self.pingpong = false;
        self.ato = ATO_MIN;
        self.ack_scheduled = true;
    }

    /// Decides about an ACK that is owed (`__tcp_ack_snd_check()`).
    #[inline]
    pub(super) fn check_ack(&mut self, host: &Host<'_>, now: SimTime) {
        if self.ack_scheduled && !self.due.has(Due::ACK) {
            self.ack_or_wait(host, now);
        }
    }

    #[inline(never)]
    fn ack_or_wait(&mut self, host: &Host<'_>, now: SimTime) {
        let waiting = self.rcv_nxt.distance_from(self.rcv_wup).cast_unsigned();
        let full = waiting > u32::from(self.rcv_mss) && self.window_to_offer(host.config) >= self.rcv_wnd;
        if full || (self.quick_acks > 0 && !self.pingpong) || self.has_gaps() {
            self.due.add(Due::ACK);
        } else {
            self.delay_ack(host, now);
        }
    }

    /// `tcp_send_delayed_ack()`.
    fn delay_ack(&mut self, host: &Host<'_>, now: SimTime) {
        let mut ato = self.ato;
        if ato > ATO_MIN {
            let mut most = if self.pingpong || self.pushed > 0 {
                DELACK_MAX
            } else {
                SimDuration::from_millis(500)
            };
            if self.srtt > SimDuration::ZERO {
                most = most.min(self.srtt.max(ATO_MIN));
            }
            ato = ato.min(most);
        }
        self.ack_deadline = self
            .ack_deadline
            .min(host.timers.expiry(now, ato.min(DELACK_MAX)));
    }

    /// The delayed ACK's timer fired (`tcp_delack_timer_handler()`).
    pub(super) fn on_ack_timer(&mut self) {
        self.ack_deadline = SimTime::NEVER;
        if !self.ack_scheduled {
            return;
        }
        if self.pingpong {
            self.pingpong = false;
            self.ato = ATO_MIN;
        } else {
            self.ato = self.ato.saturating_mul(2).min(self.rto);
        }
        self.due.add(Due::ACK);
    }

    /// A segment with ACK goes out: nothing is owed any more (`tcp_event_ack_sent()`).
    pub(super) fn ack_sent(&mut self) {
        if self.ack_scheduled && self.quick_acks > 0 {
            self.quick_acks -= 1;
            if self.quick_acks == 0 {
                self.ato = ATO_MIN;
            }
        }
        self.due.remove(Due::ACK);
        (self.ack_scheduled, self.pushed) = (false, 0);
        self.ack_deadline = SimTime::NEVER;
    }

    /// Data goes out: an answer soon after the last data means that both take turns (`tcp_event_data_sent()`).
    pub(super) fn data_sent(&mut self, now: SimTime) {
        self.sent_at = now;
        self.pingpong |= now.since(self.received_at) < self.ato;
    }

    /// The application has read (`tcp_cleanup_rbuf()`): a small segment is acknowledged if nothing else will, and a
    /// window that has opened is told.
    pub(super) fn after_read(&mut self, copied: u32, host: &Host<'_>) {
        let waiting = self.rcv_nxt.distance_from(self.rcv_wup).cast_unsigned();
        let drained = self.unread() == 0 && (self.pushed > 1 || (self.pushed > 0 && !self.pingpong));
        if self.ack_scheduled && (waiting > u32::from(self.rcv_mss) || (copied > 0 && drained)) {
            self.due.add(Due::ACK);
        } else if copied > 0 && !self.rcv_shutdown {
            let left = self.receive_window();
            if left <= self.rcv_ssthresh / 2 {
                let window = self.window_to_offer(host.config);
                if window > 0 && window >= 2 * left {
                    self.due.add(Due::ACK);
                }
            }
        }
    }
}
