//! What a socket sends: SYNs, data, FIN, ACKs and resets.

use super::{FourTuple, Host, MSS, Packet, Reaction, SeqNum, SimTime, Socket, State, TimestampMode, WINDOW};
use crate::wire::{Flags, Options, Timestamps};

/// Window that a SYN offers (`tcp_select_initial_window()` on Ethernet, as in the captures).
const SYN_WINDOW: u32 = 64240;

impl Socket {
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
    pub(super) fn segment(
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
            self.rcv_wup = self.rcv_nxt;
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
            options: Options::NONE,
            tag: self.tag,
        }
    }

    /// The application aborts, as close() with `SO_LINGER` 0 does: no timewait socket, and an RST unless both sides
    /// have closed already or nothing was opened yet (`tcp_disconnect()`, `tcp_send_active_reset()`).
    pub fn abort(&mut self, tuple: FourTuple) -> Reaction {
        let fin_sent = self.fin_wanted && self.snd_max == self.write_end + 1;
        let silent = match self.state {
            State::SynSent | State::Closed => true,
            State::Closing | State::LastAck => fin_sent,
            _ => false,
        };
        let reset = Packet {
            tuple,
            seq: self.snd_max,
            ack: self.rcv_nxt,
            payload_len: 0,
            window: 0,
            timestamps: None,
            flags: Flags::RST_ACK,
            options: Options::NONE,
            tag: self.tag,
        };
        self.orphan = true;
        Reaction {
            reply: (!silent).then_some(reset),
            end: Some(self.gone()),
            ..Reaction::default()
        }
    }

    /// The ACK that a socket still owes when it turns into a timewait socket.
    pub fn final_ack(&mut self, tuple: FourTuple, host: &Host<'_>, now: SimTime) -> Option<Packet> {
        std::mem::take(&mut self.ack_now).then(|| self.segment(tuple, Flags::ACK, self.snd_max, 0, host, now))
    }
}
