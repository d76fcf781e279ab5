//! A timewait socket: what it remembers and what it does with a segment that reaches it.
//!
//! Follows `tcp_timewait_state_process()` and the `do_time_wait` part of `tcp_v4_rcv()`, the same from 4.19 to 6.18
//! (measured on 4.19.108, 5.10.223, 6.1.192 and 6.18.44: 2160 combinations, no difference) and in 3.10.0-1160.el7.
//! Both substates are here: TIME_WAIT itself, and FIN_WAIT2 of a socket that its application has closed. Two other rules
//! for TIME_WAIT stand beside Linux' for contrast.

use super::{HostClock, TcpConfig, TimeWaitStack, TimeWaitTimer, TwReuse, TwReuseAge};
use crate::engine::KernelTimers;
use crate::units::{SeqNum, SimDuration, SimTime};
use crate::vocab::TimeWaitRule;
use crate::wire::{Flags, Packet};

/// Which of the two states the timewait socket stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Substate {
    /// Our FIN is acknowledged, the peer's is still to come, nobody holds the socket open.
    FinWait2,
    /// Both FINs are done.
    TimeWait,
}

/// The last timestamp of the peer, and when it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TsRecent {
    /// Value.
    pub val: u32,
    /// When it was recorded.
    pub at: SimTime,
}

/// What a timewait socket remembers of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWait {
    /// Substate.
    pub substate: Substate,
    /// Next sequence number expected from the peer.
    pub rcv_nxt: SeqNum,
    /// Our next sequence number.
    pub snd_nxt: SeqNum,
    /// Receive window in octets.
    pub rcv_wnd: u32,
    /// The peer's last timestamp; `None`: the connection had none.
    pub ts_recent: Option<TsRecent>,
    /// Offset of our own timestamps.
    pub ts_offset: u32,
    /// When the last rate-limited ACK went out.
    pub last_oow_ack: Option<SimTime>,
}

/// What to do with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The socket goes away, no answer: RFC 1337's assassination, and a SYN with FIN that would have been accepted, since
    /// a listener drops it (`tcp_rcv_state_process()`; measured on 6.18.44).
    Kill,
    /// No answer; `restart` begins the 60 s anew.
    Swallow {
        /// Whether the timer starts again.
        restart: bool,
    },
    /// A SYN that opens a new connection: the socket goes away and the listener gets the SYN.
    AcceptSyn(TimeWaitRule),
    /// An ACK of the old connection, unless the rate limit holds it back.
    Ack {
        /// Whether the timer starts again.
        restart: bool,
        /// Why, if the segment was a SYN that was refused.
        refused: Option<TimeWaitRule>,
    },
    /// RST, and the socket goes away (FIN_WAIT2, and RFC 793 to the letter).
    Reset,
    /// The peer's FIN arrived in FIN_WAIT2: TIME_WAIT begins, ACK it.
    EnterTimeWait,
}

/// A remembered timestamp protects against an older RST only this long (`TCP_PAWS_MSL`).
const PAWS_MSL: SimDuration = SimDuration::from_secs(60);

/// Slots of the calendar of 3.10, and the time of one: `TCP_TIMEWAIT_LEN / INET_TWDR_TWKILL_SLOTS`.
const CALENDAR_SLOTS: u64 = 8;
const CALENDAR_PERIOD: SimDuration = SimDuration::from_millis(7_500);

/// `tcp_in_window()`: the segment begins where the window does, overlaps it, or is empty at its right edge.
pub(super) fn touches_window(seg: &Packet, start: SeqNum, window: u32) -> bool {
    let end = start + window;
    seg.seq == start
        || (seg.end_seq().is_after(start) && seg.seq.is_before(end))
        || (seg.seq == end && seg.sequence_space() == 0)
}

impl TimeWait {
    /// Whether PAWS (RFC 7323 section 5) rejects the segment.
    /// `ts_recent - tsval <= 0` passes; at a distance of exactly 2^31 that holds, so newer wins, as measured.
    fn paws_rejects(&self, seg: &Packet, config: &TcpConfig, now: SimTime) -> bool {
        let memory = if seg.flags.rst() {
            PAWS_MSL.min(config.paws_memory)
        } else {
            config.paws_memory
        };
        self.is_older(seg, memory, now)
    }

    /// Whether the segment's timestamp is before the recorded one, and that not older than `memory`.
    fn is_older(&self, seg: &Packet, memory: SimDuration, now: SimTime) -> bool {
        let (Some(recent), Some(seen)) = (self.ts_recent, seg.timestamps) else {
            return false;
        };
        let older = recent.val.wrapping_sub(seen.val).cast_signed() > 0 && recent.val != 0;
        older && now.since(recent.at) < memory
    }

    /// Decides what the segment does.
    pub fn on_segment(&self, seg: &Packet, config: &TcpConfig, now: SimTime) -> Verdict {
        let paws_reject = self.paws_rejects(seg, config, now);
        match (self.substate, config.time_wait_stack) {
            (Substate::FinWait2, _) => self.in_fin_wait2(seg, paws_reject),
            (Substate::TimeWait, TimeWaitStack::Linux) => self.in_time_wait(seg, config, paws_reject),
            (Substate::TimeWait, TimeWaitStack::Rfc793) => self.by_rfc793(seg),
            (Substate::TimeWait, TimeWaitStack::FreeBsd) => self.by_freebsd(seg),
        }
    }

    fn in_time_wait(&self, seg: &Packet, config: &TcpConfig, paws_reject: bool) -> Verdict {
        let flags = seg.flags;
        let exact = !paws_reject && seg.seq == self.rcv_nxt;
        if exact && flags.rst() {
            // With tcp_rfc1337 the RST is ignored and, since 4.19, does not restart the timer either.
            return if config.rfc1337 {
                Verdict::Swallow { restart: false }
            } else {
                Verdict::Kill
            };
        }
        if exact && seg.sequence_space() == 0 {
            return Verdict::Swallow { restart: true };
        }
        let newer_seq = seg.seq.is_after(self.rcv_nxt);
        let newer_ts = match (self.ts_recent, seg.timestamps) {
            (Some(recent), Some(seen)) => recent.val.wrapping_sub(seen.val).cast_signed() < 0,
            _ => false,
        };
        let pure_syn = flags.syn() && !flags.rst() && !flags.ack();
        if pure_syn && !paws_reject && (newer_seq || newer_ts) {
            if flags.fin() {
                return Verdict::Kill;
            }
            let rule = if newer_ts {
                TimeWaitRule::NewerTimestamp
            } else {
                TimeWaitRule::NewerSequence
            };
            return Verdict::AcceptSyn(rule);
        }
        if flags.rst() {
            return Verdict::Swallow { restart: false };
        }
        let rule = if paws_reject {
            TimeWaitRule::OlderTimestamp
        } else {
            TimeWaitRule::OldSequence
        };
        Verdict::Ack {
            restart: paws_reject || flags.ack(),
            refused: pure_syn.then_some(rule),
        }
    }

    /// RFC 793 section 3.9, SEGMENT ARRIVES in TIME-WAIT: sequence number, RST, SYN, ACK, FIN.
    fn by_rfc793(&self, seg: &Packet) -> Verdict {
        let flags = seg.flags;
        let refused = (flags == Flags::SYN).then_some(TimeWaitRule::OldSequence);
        if !acceptable(seg, self.rcv_nxt, self.rcv_wnd) {
            return if flags.rst() {
                Verdict::Swallow { restart: false }
            } else {
                Verdict::Ack {
                    restart: false,
                    refused,
                }
            };
        }
        if flags.rst() {
            return Verdict::Kill;
        }
        if flags.syn() {
            return Verdict::Reset;
        }
        if flags.ack() && flags.fin() {
            return Verdict::Ack {
                restart: true,
                refused: None,
            };
        }
        Verdict::Swallow { restart: false }
    }

    /// FreeBSD's `tcp_twcheck()`.
    fn by_freebsd(&self, seg: &Packet) -> Verdict {
        let flags = seg.flags;
        if flags.rst() {
            return Verdict::Swallow { restart: false };
        }
        if flags.syn() && !flags.ack() && seg.seq.is_after(self.rcv_nxt) {
            return Verdict::AcceptSyn(TimeWaitRule::NewerSequence);
        }
        if !flags.ack() {
            return Verdict::Swallow { restart: false };
        }
        let duplicate =
            flags == Flags::ACK && seg.payload_len == 0 && seg.seq == self.rcv_nxt && seg.ack == self.snd_nxt;
        if duplicate {
            return Verdict::Swallow { restart: false };
        }
        Verdict::Ack {
            restart: flags.fin() && seg.end_seq() == self.rcv_nxt,
            refused: None,
        }
    }

    fn in_fin_wait2(&self, seg: &Packet, paws_reject: bool) -> Verdict {
        let flags = seg.flags;
        if paws_reject || !touches_window(seg, self.rcv_nxt, self.rcv_wnd) {
            let rule = if paws_reject {
                TimeWaitRule::OlderTimestamp
            } else {
                TimeWaitRule::OldSequence
            };
            let pure_syn = flags.syn() && !flags.rst() && !flags.ack();
            return Verdict::Ack {
                restart: false,
                refused: pure_syn.then_some(rule),
            };
        }
        if flags.rst() {
            // tcp_rfc1337 is about TIME_WAIT only.
            return Verdict::Kill;
        }
        if flags.syn() && !seg.seq.is_before(self.rcv_nxt) {
            return Verdict::Reset;
        }
        if !flags.ack() || !seg.end_seq().is_after(self.rcv_nxt) || seg.sequence_space() == 0 {
            return Verdict::Swallow { restart: false };
        }
        if !flags.fin() || seg.end_seq() != self.rcv_nxt + 1 {
            return Verdict::Reset;
        }
        Verdict::EnterTimeWait
    }

    /// Records what a verdict changes in the socket, except its end and its timer.
    pub fn apply(&mut self, verdict: Verdict, seg: &Packet, now: SimTime) {
        match verdict {
            Verdict::Swallow { .. } => {
                // Only an exact ACK or RST in TIME_WAIT leaves its timestamp, and never one that PAWS rejects. What PAWS
                // rejects is acknowledged, unless it is an RST.
                let exact = self.substate == Substate::TimeWait && seg.seq == self.rcv_nxt;
                let rejected = seg.flags.rst() && self.is_older(seg, PAWS_MSL, now);
                if exact && !rejected {
                    self.record_timestamp(seg, now);
                }
            }
            Verdict::EnterTimeWait => {
                self.substate = Substate::TimeWait;
                self.rcv_nxt = seg.end_seq();
                self.record_timestamp(seg, now);
            }
            _ => {}
        }
    }

    fn record_timestamp(&mut self, seg: &Packet, now: SimTime) {
        if let (Some(recent), Some(seen)) = (self.ts_recent.as_mut(), seg.timestamps) {
            *recent = TsRecent {
                val: seen.val,
                at: now,
            };
        }
    }

    /// The initial sequence number that a recycled socket hands on to the listener, on kernels where it takes effect
    /// (`tcp_timewait_state_process()`; in 4.19 to 6.6 it is lost on the way, see `tcp_v4_fill_cb()`).
    pub fn recycled_isn(&self, config: &TcpConfig) -> Option<SeqNum> {
        config.recycled_isn_continues.then(|| self.next_isn())
    }

    /// Whether an ACK may go out now, and if so notes it (`tcp_oow_rate_limited()`): SYNs and segments without
    /// sequence space are answered at most once in `tcp_invalid_ratelimit`, data always.
    pub fn may_ack(&mut self, seg: &Packet, config: &TcpConfig, now: SimTime) -> bool {
        let limited = seg.flags.syn() || seg.sequence_space() == 0;
        if limited
            && self
                .last_oow_ack
                .is_some_and(|last| now.since(last) < config.invalid_ratelimit)
        {
            return false;
        }
        if limited {
            self.last_oow_ack = Some(now);
        }
        true
    }
}

/// What connect() takes over from a timewait socket of its own (`tcp_twsk_unique()`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inherited {
    /// Initial sequence number: the old `snd_nxt` + 65537, never 0.
    pub isn: SeqNum,
    /// The peer's last timestamp, which the SYN echoes.
    pub ts_recent: TsRecent,
}

impl TimeWait {
    /// What connect() gets if `tcp_tw_reuse` lets it take the socket over; `since` is when TIME_WAIT began. Only with
    /// timestamps: they keep old segments out.
    pub fn reuse(
        &self,
        config: &TcpConfig,
        clock: &HostClock,
        since: SimTime,
        now: SimTime,
    ) -> Option<Inherited> {
        let ts_recent = self.ts_recent?;
        let barred = self.substate == Substate::FinWait2 && !config.tw_reuse_in_fin_wait2;
        if config.tw_reuse != TwReuse::Global || barred {
            return None;
        }
        let seconds = clock.seconds(now) - clock.seconds(ts_recent.at);
        let old_enough = match config.tw_reuse_age {
            TwReuseAge::TwoSeconds => seconds > 1,
            TwReuseAge::EarlierSecond => seconds > 0,
            TwReuseAge::Delay => now.since(since) > config.tw_reuse_delay,
        };
        old_enough.then(|| Inherited {
            isn: self.next_isn(),
            ts_recent,
        })
    }

    fn next_isn(&self) -> SeqNum {
        // Zero means "none" there.
        match self.snd_nxt + 65_537 {
            SeqNum(0) => SeqNum(1),
            isn => isn,
        }
    }
}

/// When a timewait socket ends that is armed at `now` for `lifetime`.
///
/// The calendar empties one of its eight slots at each tick of 7.5 s, and sixty seconds are the seventh slot from the
/// one that is next: the socket ends at the eighth tick, up to 7.5 s early. Shorter lifetimes take a slot that is not
/// early. A slot of more than 100 sockets takes a tick more in the kernel; that is left out.
pub fn time_wait_expiry(
    config: &TcpConfig,
    timers: &KernelTimers,
    now: SimTime,
    lifetime: SimDuration,
) -> SimTime {
    if config.time_wait_timer == TimeWaitTimer::Wheel {
        return timers.expiry(now, lifetime);
    }
    let period = CALENDAR_PERIOD.as_nanos();
    let slot = lifetime.as_nanos().div_ceil(period).min(CALENDAR_SLOTS - 1);
    let phase = timers.phase.as_nanos() % period;
    let ticks = (now.as_nanos() + phase) / period + 1 + slot;
    SimTime::from_nanos(ticks * period - phase)
}

/// RFC 793 section 3.3: some octet of the segment, or its place if it has none, lies in the window.
fn acceptable(seg: &Packet, start: SeqNum, window: u32) -> bool {
    let inside = |seq: SeqNum| !seq.is_before(start) && seq.is_before(start + window);
    match seg.sequence_space() {
        0 if window == 0 => seg.seq == start,
        0 => inside(seg.seq),
        len => window > 0 && (inside(seg.seq) || inside(seg.seq + (len - 1))),
    }
}

#[cfg(test)]
#[path = "time_wait_tests.rs"]
mod tests;
