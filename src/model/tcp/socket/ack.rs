//! What an ACK acknowledges: the window, the round-trip time, the congestion window, and what is to be sent again
//! (`tcp_ack()`; loss recovery as RFC 6582 has it).

use super::{Due, Host, Packet, SimTime, Socket};

/// Duplicate ACKs that mean a loss (`tcp_reordering`).
const DUP_ACKS: u8 = 3;

/// Where an ACK lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AckVerdict {
    /// Between what is acknowledged and what was sent.
    Good,
    /// A little older than what is acknowledged: it counts for nothing, its payload is taken.
    Old,
    /// Older than the largest window, or than anything sent (RFC 5961 section 5.2).
    TooOld,
    /// Of what was never sent.
    Unsent,
}

impl Socket {
    pub(super) fn judge_ack(&self, seg: &Packet) -> AckVerdict {
        if seg.ack.is_before(self.snd_una) {
            let acked = self.snd_una.distance_from(self.iss).max(0).cast_unsigned();
            let reach = self.max_window.min(acked);
            if seg.ack.is_before(self.snd_una - reach) {
                AckVerdict::TooOld
            } else {
                AckVerdict::Old
            }
        } else if seg.ack.is_after(self.snd_max) {
            AckVerdict::Unsent
        } else {
            AckVerdict::Good
        }
    }

    /// `tcp_may_update_window()`.
    pub(super) fn may_update_window(&self, seg: &Packet) -> bool {
        seg.ack.is_after(self.snd_una)
            || seg.seq.is_after(self.snd_wl1)
            || (seg.seq == self.snd_wl1 && (seg.window > self.peer_window || seg.window == 0))
    }

    /// The first ACK of a handshake sets the window whatever it is.
    pub(super) fn init_peer_window(&mut self, seg: &Packet) {
        self.snd_wl1 = seg.seq;
        self.peer_window = seg.window;
        self.max_window = self.max_window.max(seg.window);
    }

    #[inline]
    pub(super) fn on_ack(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime) {
        let before = self.peer_window;
        if self.may_update_window(seg) {
            self.init_peer_window(seg);
        }
        self.probes = 0;
        self.held_for_more = false;
        let in_flight = self.snd_una != self.snd_max;
        if !in_flight {
            self.on_probe_answer(host, now);
        } else if seg.ack.is_after(self.snd_una) {
            self.advance(seg, host, now);
        } else if seg.sequence_space() == 0 && self.peer_window == before {
            self.on_dup_ack(host, now);
        }
    }

    #[inline]
    fn advance(&mut self, seg: &Packet, host: &Host<'_>, now: SimTime) {
        let acked = seg.ack.distance_from(self.snd_una).cast_unsigned();
        self.snd_una = seg.ack;
        if seg.ack.is_after(self.snd_nxt) {
            self.snd_nxt = seg.ack;
        }
        if !self.in_recovery {
            if self.is_cwnd_limited() {
                // What duplicate ACKs told of is not new (`tcp_remove_reno_sacks()`).
                let told = u32::from(self.dup_acks);
                let new = self.segments_of(acked).saturating_sub(told).max(1);
                self.cwnd = self.cwnd.saturating_add(new).min(1 << 16);
            }
            self.dup_acks = 0;
        } else if seg.ack.is_before(self.recover) {
            // A partial ACK: the next segment is lost too.
            self.due.add(Due::RETRANSMIT);
        } else {
            (self.in_recovery, self.dup_acks, self.cwnd) = (false, 0, self.ssthresh);
        }
        self.sample_rtt(seg, host, now);
        self.retries = 0;
        self.rto_deadline = SimTime::NEVER;
        if let Some(extra) = &mut self.extra {
            extra.stalled_since = None;
            extra.records.retain(|end| end.is_after(self.snd_una));
        }
        (self.rto_from, self.loss_probe_sent, self.loss_probe_armed) = (now, false, false);
        if self.snd_una != self.snd_max {
            self.arm_rest(host, now);
        }
    }

    #[inline(never)]
    fn on_dup_ack(&mut self, host: &Host<'_>, now: SimTime) {
        if std::mem::take(&mut self.loss_probe_sent) {
            // Both the segment and its probe have arrived: nothing is lost (`tcp_process_tlp_ack()`).
            return;
        }
        self.dup_acks = self.dup_acks.saturating_add(1);
        if self.in_recovery {
            self.cwnd = self.cwnd.saturating_add(1).min(1 << 16);
        } else if self.dup_acks == DUP_ACKS && self.retries == 0 && self.snd_una.is_after(self.recover) {
            self.in_recovery = true;
            self.recover = self.snd_max;
            self.ssthresh = (self.cwnd / 2).max(2);
            self.cwnd = self.ssthresh + u32::from(DUP_ACKS);
            self.due.add(Due::RETRANSMIT);
            // Karn: what is sent twice gives no sample.
            self.sampling = false;
            self.arm_rto(host, now);
        }
    }
}
