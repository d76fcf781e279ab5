//! What a socket sends: SYNs, data, FIN, ACKs, window probes (`tcp_output.c`).

use super::{Due, FourTuple, Host, Packet, SeqNum, SimTime, Socket, State, TcpConfig, TimestampMode};
use crate::wire::{Flags, Options, Timestamps};

/// `GSO_LEGACY_MAX_SIZE`.
pub(super) const GSO_MAX_SIZE: u32 = 65_536;

/// What makes one segment of an open connection differ from the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing {
    flags: Flags,
    seq: SeqNum,
    len: u32,
}

impl Outgoing {
    /// A segment without payload.
    pub(super) const fn bare(flags: Flags, seq: SeqNum) -> Self {
        Self { flags, seq, len: 0 }
    }
}

impl Socket {
    /// The next segment to send, if any.
    #[inline]
    pub fn next_segment(&mut self, tuple: &FourTuple, host: &Host<'_>, now: SimTime) -> Option<Packet> {
        if self.is_quiet() {
            return None;
        }
        self.next_due(tuple, host, now)
    }

    #[inline(never)]
    fn next_due(&mut self, tuple: &FourTuple, host: &Host<'_>, now: SimTime) -> Option<Packet> {
        match self.state {
            State::Closed => None,
            State::SynSent | State::SynReceived => self.next_handshake(*tuple, host, now),
            _ => self.next_synchronized(tuple, host, now),
        }
    }

    #[inline(never)]
    fn next_handshake(&mut self, tuple: FourTuple, host: &Host<'_>, now: SimTime) -> Option<Packet> {
        if self.due.take(Due::HANDSHAKE) {
            self.arm_rto(host, now);
            return Some(self.syn(tuple, host, now));
        }
        // A challenge ACK of a simultaneous open.
        self.final_ack(tuple, host, now)
    }

    #[inline]
    fn next_synchronized(&mut self, tuple: &FourTuple, host: &Host<'_>, now: SimTime) -> Option<Packet> {
        if self.due.has(Due::AGAIN)
            && let Some(again) = self.next_again(*tuple, host, now)
        {
            return Some(again);
        }
        let next = match self.next_unsent(host, now) {
            Some(data) => data,
            None => self.next_ack()?,
        };
        Some(self.build(*tuple, next, host, now))
    }

    /// New data, or a FIN.
    #[inline]
    fn next_unsent(&mut self, host: &Host<'_>, now: SimTime) -> Option<Outgoing> {
        if !self.has_unsent() {
            return None;
        }
        self.restart_after_idle(host, now);
        if let Some((len, fin)) = self.next_data(false) {
            return Some(self.new_data(len, fin, host, now));
        }
        if self.rto_deadline == SimTime::NEVER && self.snd_una == self.snd_max {
            self.arm_probe(host, now);
        }
        None
    }

    /// An ACK, after all data that could go.
    #[inline]
    fn next_ack(&mut self) -> Option<Outgoing> {
        self.gso_segments = 0;
        let due = self.due.take(Due::ACK);
        due.then_some(Outgoing::bare(Flags::ACK, self.snd_max))
    }

    /// What a loss or a closed window makes due.
    #[inline(never)]
    fn next_again(&mut self, tuple: FourTuple, host: &Host<'_>, now: SimTime) -> Option<Packet> {
        if self.due.take(Due::RETRANSMIT) {
            let first = self.first_unacknowledged(now);
            return Some(self.segment(tuple, first, host, now));
        }
        if self.due.take(Due::LOSS_PROBE)
            && let Some(probe) = self.loss_probe(tuple, host, now)
        {
            return Some(probe);
        }
        self.due
            .take(Due::WINDOW_PROBE)
            .then(|| self.window_probe(tuple, host, now))
    }

    /// Nothing is to be sent, as a look at the flags tells: [`Socket::next_segment`] would find nothing and do nothing.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.due == Due::NOTHING && self.gso_segments == 0 && !self.has_unsent()
    }

    /// There is data or a FIN that was never sent, or that is to be sent again after a timeout.
    pub(super) fn has_unsent(&self) -> bool {
        self.snd_nxt != self.write_end + u32::from(self.fin_wanted)
    }

    /// End of the peer's window.
    pub(super) fn peer_window_end(&self) -> SeqNum {
        self.snd_una + self.peer_window
    }

    /// Length of the next segment and whether it has a FIN, if the peer's window, the congestion window and Nagle let
    /// it go (`tcp_write_xmit()`); `any_cwnd`: whatever the congestion window is.
    #[allow(
        clippy::inline_always,
        reason = "every new segment asks once; out of line that is a third of the cost"
    )]
    #[inline(always)]
    pub(super) fn next_data(&self, any_cwnd: bool) -> Option<(u32, bool)> {
        if !self.has_unsent() {
            return None;
        }
        let rest = self.write_end.octets_since(self.snd_nxt);
        let in_one = rest <= u32::from(self.snd_mss) && self.extra.is_none() && !self.held_for_more;
        if in_one && self.snd_nxt == self.snd_una {
            // All in one segment and nothing in flight: only the peer's window could hold it back.
            let fin = self.fin_wanted;
            let fits = !(self.snd_nxt + rest + u32::from(fin)).is_after(self.peer_window_end());
            return fits.then_some((rest, fin));
        }
        self.next_data_checked(any_cwnd)
    }

    /// The same with every check, of something that was not sent.
    #[inline]
    pub(super) fn next_data_checked(&self, any_cwnd: bool) -> Option<(u32, bool)> {
        let mss = u32::from(self.snd_mss);
        let record_end = self.record_end(self.snd_nxt);
        let is_last = record_end == self.write_end;
        let waiting = record_end.octets_since(self.snd_nxt);
        let len = waiting.min(mss);
        let fin = self.fin_wanted && is_last && len == waiting;
        let fits = !(self.snd_nxt + len + u32::from(fin)).is_after(self.peer_window_end());
        // The last FIN does not wait for the congestion window.
        let room = any_cwnd || self.cwnd_has_room() || (fin && len == 0);
        (fits && room && !(is_last && self.nagle_holds(len, fin))).then_some((len, fin))
    }

    /// Where the record ends that begins at or goes on from `from`: at the end of a write with `MSG_EOR`, or of all.
    #[inline]
    fn record_end(&self, from: SeqNum) -> SeqNum {
        let Some(extra) = &self.extra else {
            return self.write_end;
        };
        let next = extra.records.iter().find(|end| end.is_after(from));
        next.copied().unwrap_or(self.write_end)
    }

    /// Minshall's variant of Nagle: a short segment waits while another short one is unacknowledged
    /// (`tcp_nagle_check()`); one that is sent again does not.
    fn nagle_holds(&self, len: u32, fin: bool) -> bool {
        let at_once = self.no_delay && !self.held_for_more && self.extra.is_none();
        if at_once || len >= u32::from(self.snd_mss) || fin || self.snd_nxt != self.snd_max {
            return false;
        }
        let short_in_flight = self.snd_sml.is_after(self.snd_una) && !self.snd_sml.is_after(self.snd_nxt);
        let corked = self.options().cork || self.held_for_more;
        !self.push_once && (corked || (!self.no_delay && short_in_flight))
    }

    /// Segments that leave in one packet and are cut only on their way out: as many as a millisecond holds at the pacing
    /// rate, at least `tcp_min_tso_segs`, and at most half of the peer's window (`tcp_tso_autosize()`, `tcp_bound_to_half_wnd()`).
    pub(super) fn gso_limit(&self, config: &TcpConfig) -> u32 {
        const LARGEST: u64 = GSO_MAX_SIZE as u64;
        let mss = u64::from(self.snd_mss);
        let micros = self.srtt.as_nanos() / 1_000;
        // 200 % of the rate in slow start, 120 % later (`tcp_update_pacing_rate()`); a rate of nothing measured is no limit.
        let percent = if self.cwnd < self.ssthresh / 2 { 200 } else { 120 };
        let per_second = (mss * u64::from(self.cwnd) * percent * 10_000).checked_div(micros);
        // On short paths packets may be larger (`tcp_tso_rtt_log` 9).
        let bonus = LARGEST.checked_shr((micros >> 9).min(64) as u32).unwrap_or(0);
        let paced = per_second.map_or(LARGEST, |rate| ((rate >> 10) + bonus).min(LARGEST));
        let half = u64::from(self.bound_to_half_window(u32::MAX));
        // Nor more than half of the congestion window (`tcp_cwnd_test()`).
        let by_cwnd = u64::from((self.cwnd / 2).max(1));
        (paced / mss)
            .max(u64::from(config.min_tso_segs))
            .min(half / mss)
            .min(by_cwnd) as u32
    }

    /// `tcp_bound_to_half_wnd()`.
    pub(super) fn bound_to_half_window(&self, size: u32) -> u32 {
        let parts = if self.max_window > super::DEFAULT_MSS {
            2
        } else {
            1
        };
        size.min(self.max_window / parts)
    }

    /// A packet of several segments ends with this full one. Its last segment has PSH (`__tcp_transmit_skb()`, 5.4 and
    /// later), so that the receiver does not wait to merge more.
    #[inline(never)]
    fn ends_gso_packet(&mut self, config: &TcpConfig) -> bool {
        self.gso_segments += 1;
        let ends = u32::from(self.gso_segments) >= self.gso_limit(config) || self.next_data(false).is_none();
        let several = self.gso_segments > 1;
        if ends {
            self.gso_segments = 0;
        }
        ends && several
    }

    /// Takes new data as sent.
    #[allow(clippy::inline_always, reason = "as `next_data()`, which it follows")]
    #[inline(always)]
    fn new_data(&mut self, len: u32, fin: bool, host: &Host<'_>, now: SimTime) -> Outgoing {
        let seq = self.snd_nxt;
        self.snd_nxt = seq + len + u32::from(fin);
        if self.snd_nxt.is_after(self.snd_max) {
            self.snd_max = self.snd_nxt;
            if !self.sampling {
                (self.sampling, self.sample_at, self.sample_seq) = (true, now, seq);
            }
        }
        if len < u32::from(self.snd_mss) {
            self.snd_sml = seq + len;
        }
        self.validate_cwnd();
        let no_timer = self.rto_deadline == SimTime::NEVER || self.probing;
        if no_timer {
            (self.probing, self.rto_from) = (false, now);
        }
        if no_timer || self.loss_probe_armed {
            self.arm_in_flight(host, now);
        }
        let full = len == u32::from(self.snd_mss) && seq + len != self.record_end(seq);
        let pushed = full && self.ends_gso_packet(host.config);
        let mut data = self.data(seq, len, fin, now);
        if pushed {
            data.flags = data.flags.with(Flags::PSH);
        }
        data
    }

    /// The same out of line, for probes.
    #[inline(never)]
    fn new_data_of_probe(&mut self, len: u32, fin: bool, host: &Host<'_>, now: SimTime) -> Outgoing {
        self.new_data(len, fin, host, now)
    }

    /// [`Socket::next_data`] whatever the congestion window is, out of line.
    #[inline(never)]
    pub(super) fn next_data_whatever_cwnd(&self) -> Option<(u32, bool)> {
        self.next_data(true)
    }

    /// A segment with data or FIN; the last one of what was written has PSH.
    #[inline]
    fn data(&mut self, seq: SeqNum, len: u32, fin: bool, now: SimTime) -> Outgoing {
        let mut flags = if fin { Flags::FIN_ACK } else { Flags::ACK };
        if len > 0 {
            self.data_sent(now);
            let end = self.record_end(seq);
            if seq + len == end && !(self.more && end == self.write_end) {
                flags = flags.with(Flags::PSH);
            }
        }
        Outgoing { flags, seq, len }
    }

    /// The first segment in flight once more.
    fn first_unacknowledged(&mut self, now: SimTime) -> Outgoing {
        let end = self.record_end(self.snd_una);
        let data = end.distance_from(self.snd_una).max(0).cast_unsigned();
        let len = data.min(u32::from(self.snd_mss));
        let fin =
            self.fin_wanted && end == self.write_end && len == data && self.snd_max.is_after(self.write_end);
        self.data(self.snd_una, len, fin, now)
    }

    /// A tail-loss probe (`tcp_send_loss_probe()`): new data if the window has room for it, else the last segment again.
    fn loss_probe(&mut self, tuple: FourTuple, host: &Host<'_>, now: SimTime) -> Option<Packet> {
        if self.snd_una == self.snd_max {
            return None;
        }
        let probe = if let Some((len, fin)) = self.next_data_whatever_cwnd() {
            self.new_data_of_probe(len, fin, host, now)
        } else {
            let fin = self.snd_max.is_after(self.write_end);
            let data_end = self.snd_max - u32::from(fin);
            let data = data_end.distance_from(self.snd_una).max(0).cast_unsigned();
            // A FIN is a segment of its own.
            let len = match data % u32::from(self.snd_mss) {
                _ if fin => 0,
                0 => u32::from(self.snd_mss),
                rest => rest,
            };
            self.sampling = false;
            self.data(data_end - len, len, fin, now)
        };
        let probe = self.segment(tuple, probe, host, now);
        self.after_loss_probe(host, now);
        Some(probe)
    }

    /// A window probe (`tcp_write_wakeup()`): what the window has room for, else an ACK of an old sequence number.
    fn window_probe(&mut self, tuple: FourTuple, host: &Host<'_>, now: SimTime) -> Packet {
        let room = self
            .peer_window_end()
            .distance_from(self.snd_nxt)
            .max(0)
            .cast_unsigned();
        let waiting = self.write_end.distance_from(self.snd_nxt).max(0).cast_unsigned();
        let len = room.min(waiting).min(u32::from(self.snd_mss));
        if len > 0 {
            self.rto_deadline = SimTime::NEVER;
            let mut probe = self.new_data_of_probe(len, false, host, now);
            probe.flags = probe.flags.with(Flags::PSH);
            return self.segment(tuple, probe, host, now);
        }
        self.segment(tuple, Outgoing::bare(Flags::ACK, self.snd_una - 1), host, now)
    }

    /// The sequence number of a segment without any of its own: beyond a window that has shrunk it is the window's end
    /// (`tcp_acceptable_seq()`).
    pub(super) fn acceptable_seq(&self) -> SeqNum {
        let end = self.peer_window_end();
        let over = self.snd_max.distance_from(end);
        if over < 1 << self.window_shift() {
            self.snd_max
        } else {
            end
        }
    }

    /// Builds a segment of an open connection: it has ACK, and settles what there was to acknowledge.
    #[allow(clippy::inline_always, reason = "hardly longer than the call")]
    #[inline(always)]
    fn build(&mut self, tuple: FourTuple, next: Outgoing, host: &Host<'_>, now: SimTime) -> Packet {
        let window = self.select_window(host.config);
        self.ack_sent();
        let timestamps = self.ts_recent.map(|recent| Timestamps {
            val: host.clock.timestamp(now, self.ts_offset),
            ecr: recent.val,
        });
        Packet {
            tuple,
            seq: next.seq,
            ack: self.rcv_nxt,
            payload_len: next.len,
            window,
            timestamps,
            flags: next.flags,
            options: Options {
                window_shift: self.window_shift(),
                ..Options::NONE
            },
            tag: self.tag,
        }
    }

    /// The same out of line, for what is sent rarely.
    #[inline(never)]
    pub(super) fn segment(
        &mut self,
        tuple: FourTuple,
        next: Outgoing,
        host: &Host<'_>,
        now: SimTime,
    ) -> Packet {
        self.build(tuple, next, host, now)
    }

    /// Our SYN or SYN-ACK.
    fn syn(&mut self, tuple: FourTuple, host: &Host<'_>, now: SimTime) -> Packet {
        let is_first = self.state == State::SynSent;
        let (mut flags, mut ack) = (Flags::SYN, SeqNum(0));
        if !is_first {
            (flags, ack) = (Flags::SYN_ACK, self.rcv_nxt);
            self.ack_sent();
            self.rcv_wup = self.rcv_nxt;
        }
        let echo = match self.ts_recent {
            Some(recent) => Some(recent.val),
            None if is_first && host.config.timestamps != TimestampMode::Off => Some(0),
            None => None,
        };
        let timestamps = echo.map(|ecr| Timestamps {
            val: host.clock.timestamp(now, self.ts_offset),
            ecr,
        });
        Packet {
            tuple,
            seq: self.iss,
            ack,
            payload_len: 0,
            window: self.syn_window(),
            timestamps,
            flags,
            options: self.syn_options(),
            tag: self.tag,
        }
    }

    /// Options of our SYN or SYN-ACK: a SYN-ACK repeats what the SYN offered.
    fn syn_options(&self) -> Options {
        Options {
            mss: self.offered_mss() as u16,
            window_scale: self.wscale_ok.then_some(self.rcv_wscale),
            sack_permitted: self.sack_ok,
            window_shift: 0,
        }
    }

    /// The ACK that a socket still owes when it turns into a timewait socket.
    pub fn final_ack(&mut self, tuple: FourTuple, host: &Host<'_>, now: SimTime) -> Option<Packet> {
        let ack = Outgoing::bare(Flags::ACK, self.snd_max);
        self.due
            .take(Due::ACK)
            .then(|| self.segment(tuple, ack, host, now))
    }
}
