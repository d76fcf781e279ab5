//! A pod's TCP as the laboratory's raw packets met it: a listener, and whatever holds the one tuple in question.

use crate::engine::{KernelTimers, mix64};
use crate::model::tcp::{End, Host, HostClock, Socket, Substate, TcpConfig, TimeWait, TsRecent, Verdict};
use crate::units::{FourTuple, SeqNum, SimDuration, SimTime};
use crate::wire::{Flags, Packet, Timestamps};

use super::super::bench::segment;

/// What the TIME_WAIT of a row expects next.
pub const RCV_NXT: SeqNum = SeqNum(3_000_000_000);
/// What it would send next.
pub const SND_NXT: SeqNum = SeqNum(4_294_900_000);
/// The timestamp that it recorded, if it has one.
pub const TS_RECENT: u32 = 2_147_000_000;

/// What holds the tuple.
enum Holder {
    Nothing,
    Socket(Socket),
    TimeWait(TimeWait),
}

/// A pod with a listener.
pub struct Pod {
    config: TcpConfig,
    clock: HostClock,
    holder: Holder,
    /// The last segment restarted the timer of a timewait socket.
    pub restarted: bool,
}

impl Pod {
    /// Nothing but the listener.
    pub fn listening(config: TcpConfig) -> Self {
        Self {
            config,
            clock: clock(),
            holder: Holder::Nothing,
            restarted: false,
        }
    }

    /// A TIME_WAIT between [`RCV_NXT`] and [`SND_NXT`] that recorded [`TS_RECENT`] at time zero, or no timestamp.
    pub fn in_time_wait(config: TcpConfig, has_ts: bool) -> Self {
        let mut pod = Self::time_wait_between(config, RCV_NXT, SND_NXT);
        if let Holder::TimeWait(time_wait) = &mut pod.holder {
            time_wait.ts_recent = has_ts.then_some(TsRecent {
                val: TS_RECENT,
                at: SimTime::ZERO,
            });
        }
        pod
    }

    /// A TIME_WAIT between these numbers, without a timestamp.
    pub fn time_wait_between(config: TcpConfig, rcv_nxt: SeqNum, snd_nxt: SeqNum) -> Self {
        let time_wait = TimeWait {
            substate: Substate::TimeWait,
            rcv_nxt,
            snd_nxt,
            rcv_wnd: 65_160,
            ts_recent: None,
            ts_offset: 0,
            last_oow_ack: None,
        };
        Self {
            holder: Holder::TimeWait(time_wait),
            ..Self::listening(config)
        }
    }

    /// A connection whose SYN has the sequence number before `rcv_nxt`, without timestamps; returns the pod's next
    /// sequence number as well. `None`: the model does not open it.
    pub fn established(config: TcpConfig, tuple: FourTuple, rcv_nxt: SeqNum) -> Option<(Self, SeqNum)> {
        let mut pod = Self::listening(config);
        let syn = segment(tuple, Flags::SYN, rcv_nxt - 1, SeqNum(0));
        let syn_ack = pod.deliver(&syn, SimTime::ZERO)?;
        let ack = segment(tuple, Flags::ACK, rcv_nxt, syn_ack.seq + 1);
        let none = pod.deliver(&ack, at(1)).is_none();
        none.then_some((pod, syn_ack.seq + 1))
    }

    /// The application closes an established connection and the caller acknowledges the FIN; returns the pod's next
    /// sequence number. `None`: the model makes no FIN_WAIT2 timewait socket of it.
    pub fn orphan(&mut self, tuple: FourTuple, rcv_nxt: SeqNum) -> Option<SeqNum> {
        let Holder::Socket(socket) = &mut self.holder else {
            return None;
        };
        let _ = socket.close(&self.config);
        let timers = timers(&self.config);
        let host = Host {
            config: &self.config,
            timers: &timers,
            clock: &self.clock,
        };
        let fin = socket.next_segment(tuple.reversed(), &host, at(2))?;
        self.deliver(&segment(tuple, Flags::ACK, rcv_nxt, fin.end_seq()), at(3));
        match &self.holder {
            Holder::TimeWait(tw) if tw.substate == Substate::FinWait2 => Some(fin.end_seq()),
            _ => None,
        }
    }

    /// Takes a segment and returns what the pod sends: at most one segment in all that the laboratory did.
    pub fn deliver(&mut self, seg: &Packet, now: SimTime) -> Option<Packet> {
        let tuple = seg.tuple.reversed();
        self.restarted = false;
        match &mut self.holder {
            Holder::Nothing => self.listen(seg, None, now),
            Holder::Socket(socket) => {
                let timers = timers(&self.config);
                let host = Host {
                    config: &self.config,
                    timers: &timers,
                    clock: &self.clock,
                };
                let reaction = socket.on_segment(seg, false, &host, now);
                let sent = reaction.reply.or_else(|| socket.next_segment(tuple, &host, now));
                match reaction.end {
                    Some(End::Closed) => self.holder = Holder::Nothing,
                    Some(End::TimeWait(tw, _)) => self.holder = Holder::TimeWait(tw),
                    None => {}
                }
                sent
            }
            Holder::TimeWait(tw) => {
                let verdict = tw.on_segment(seg, &self.config, now);
                tw.apply(verdict, seg, now);
                match verdict {
                    Verdict::Swallow { restart } => {
                        self.restarted = restart;
                        None
                    }
                    Verdict::Kill => {
                        self.holder = Holder::Nothing;
                        None
                    }
                    Verdict::AcceptSyn(_) => {
                        let isn = tw.recycled_isn(&self.config);
                        self.listen(seg, isn, now)
                    }
                    Verdict::Ack { restart, .. } => {
                        self.restarted = restart;
                        let ack = segment(tuple, Flags::ACK, tw.snd_nxt, tw.rcv_nxt);
                        tw.may_ack(seg, &self.config, now).then_some(ack)
                    }
                    Verdict::Reset => {
                        self.holder = Holder::Nothing;
                        Socket::reset_for(seg)
                    }
                    Verdict::EnterTimeWait => None,
                }
            }
        }
    }

    fn listen(&mut self, seg: &Packet, isn: Option<SeqNum>, now: SimTime) -> Option<Packet> {
        if seg.flags != Flags::SYN {
            return Socket::reset_for(seg);
        }
        let timers = timers(&self.config);
        let host = Host {
            config: &self.config,
            timers: &timers,
            clock: &self.clock,
        };
        let tuple = seg.tuple.reversed();
        let mut socket = Socket::accept(seg, tuple, isn, &host, now);
        let syn_ack = socket.next_segment(tuple, &host, now);
        self.holder = Holder::Socket(socket);
        syn_ack
    }

    /// Nothing holds the tuple.
    pub fn is_free(&self) -> bool {
        matches!(self.holder, Holder::Nothing)
    }

    /// A timewait socket holds it.
    pub fn holds_time_wait(&self) -> bool {
        matches!(self.holder, Holder::TimeWait(_))
    }
}

/// Clocks and secrets of a host that has been up for a day.
pub fn clock() -> HostClock {
    HostClock {
        isn_secret: mix64(7),
        ts_secret: mix64(8),
        uptime: SimDuration::from_secs(86_400),
        wall_ticks: 12_345,
    }
}

fn timers(config: &TcpConfig) -> KernelTimers {
    KernelTimers {
        hz: config.hz,
        phase: SimDuration::ZERO,
    }
}

/// So many milliseconds after the start.
pub fn at(millis: u64) -> SimTime {
    SimTime::ZERO + SimDuration::from_millis(millis)
}

/// The same segment with a timestamp, if there is one.
pub fn with_tsval(mut seg: Packet, tsval: Option<u32>) -> Packet {
    seg.timestamps = tsval.map(|val| Timestamps { val, ecr: 0 });
    seg
}

/// The laboratory's word for what a pod sends.
pub fn answer(sent: Option<&Packet>) -> &'static str {
    match sent.map(|packet| packet.flags) {
        None => "none",
        Some(Flags::SYN_ACK) => "SYNACK",
        Some(Flags::ACK) => "ACK",
        Some(flags) if flags.rst() => "RST",
        Some(_) => "other",
    }
}

/// The sequence number of a SYN-ACK relative to the recycled TIME_WAIT. An ordinary one comes from a clock and a
/// secret: all one can say is that it is not the continued one.
pub fn isn_kind(minus_snd_nxt: &str) -> &str {
    if minus_snd_nxt == "65537" {
        "65537"
    } else {
        "ordinary"
    }
}
