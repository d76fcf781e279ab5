//! SYN cookies: a SYN-ACK whose sequence number lets the last ACK be recognized without a request
//! (`net/ipv4/syncookies.c`). The kernel's hash is replaced by another keyed one.

use super::{Concerned, ListenerId, Outcome, Socket, Stack};
use crate::engine::keyed_hash;
use crate::units::{FourTuple, SeqNum, SimDuration, SimTime};
use crate::wire::{Flags, Options, Packet};

/// The four segment sizes that a cookie can say (`msstab`).
const SIZES: [u16; 4] = [536, 1300, 1440, 1460];
/// How long a cookie of one minute counts: that minute and the next (`MAX_SYNCOOKIE_AGE`).
const PERIOD: u64 = 60_000_000_000;
const AGE: u64 = 2;
/// Bits of the timestamp that say window scale (four, 15 for none) and SACK (`TSBITS`).
const OPTION_BITS: u32 = 0x3f;
const NO_SCALE: u32 = 0xf;
const SACK_BIT: u32 = 0x10;

impl<A: Copy> Stack<A> {
    fn cookie(&self, tuple: FourTuple, irs: SeqNum, period: u64) -> u32 {
        let words = [tuple.src.to_u64(), tuple.dst.to_u64(), u64::from(irs.0), period];
        keyed_hash(!self.clock.isn_secret, &words) as u32 & !0b11
    }

    fn cookie_period(&self, now: SimTime) -> u64 {
        (self.clock.uptime.as_nanos() + now.as_nanos()) / PERIOD
    }

    /// Answers a SYN with a cookie. Without timestamps the connection has neither window scale nor SACK.
    #[inline(never)]
    pub(super) fn answer_with_cookie(&mut self, id: ListenerId, syn: &Packet, now: SimTime) -> Outcome {
        let tuple = syn.tuple.reversed();
        let size = SIZES
            .iter()
            .rposition(|&size| size <= syn.options.mss)
            .unwrap_or(0);
        let isn = SeqNum(self.cookie(tuple, syn.seq, self.cookie_period(now)) | size as u32);
        let mut told = *syn;
        if syn.timestamps.is_none() {
            told.options = Options {
                mss: syn.options.mss,
                ..Options::NONE
            };
        }
        let host = self.host();
        let mut socket = Socket::accept(&told, tuple, Some(isn), self.options_of(id), &host, now);
        socket.tag = syn.tag;
        let mut reply = socket.next_segment(&tuple, &host, now);
        if let Some(ours) = reply.as_mut().and_then(|packet| packet.timestamps.as_mut()) {
            let offset = self.clock.timestamp_offset(tuple, &self.config);
            let clock = ours.val.wrapping_sub(offset);
            let bits = told.options.window_scale.map_or(NO_SCALE, u32::from)
                | if told.options.sack_permitted { SACK_BIT } else { 0 };
            let mut value = (clock & !OPTION_BITS) | bits;
            if value > clock {
                value = value.wrapping_sub(OPTION_BITS + 1);
            }
            ours.val = value.wrapping_add(offset);
        }
        self.counters.syncookies_sent += 1;
        Outcome::reply(Concerned::Listener(id), reply)
    }

    /// An ACK that no socket and no request wants: the last one of a handshake with a cookie, or to be reset
    /// (`cookie_v4_check()`). Cookies are looked for only for two minutes after the SYN queue was full.
    pub(super) fn check_cookie(&mut self, id: ListenerId, ack: &Packet, now: SimTime) -> Outcome {
        let refused = Outcome::reply(Concerned::Nobody, ack.reset());
        let recent = SimDuration::from_nanos(AGE * PERIOD);
        let overflow = self.last_overflow(id);
        if ack.flags.syn() || overflow.is_none_or(|at| now.since(at) > recent) {
            return refused;
        }
        let (tuple, isn, irs) = (ack.tuple.reversed(), ack.ack - 1, ack.seq - 1);
        let period = self.cookie_period(now);
        let valid = (0..AGE).any(|age| self.cookie(tuple, irs, period.saturating_sub(age)) == isn.0 & !0b11);
        if !valid {
            self.counters.syncookies_failed += 1;
            return refused;
        }
        self.counters.syncookies_recv += 1;
        let offset = self.clock.timestamp_offset(tuple, &self.config);
        let bits = ack
            .timestamps
            .map_or(NO_SCALE, |ts| ts.ecr.wrapping_sub(offset) & OPTION_BITS);
        let scale = bits & NO_SCALE;
        let syn = Packet {
            seq: irs,
            flags: Flags::SYN,
            payload_len: 0,
            options: Options {
                mss: SIZES[(isn.0 & 0b11) as usize],
                window_scale: (scale != NO_SCALE).then_some(scale as u8),
                sack_permitted: bits & SACK_BIT != 0,
                window_shift: 0,
            },
            ..*ack
        };
        self.open_from_cookie(id, &syn, isn, ack, now)
    }
}
