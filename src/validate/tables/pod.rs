//! A pod's TCP as the laboratory's raw packets met it: a listener, and whatever holds the one tuple in question.

use crate::engine::{Handle, mix64};
use crate::model::tcp::{
    HostClock, ListenOptions, Owner, Stack, Substate, TcpConfig, TimeWait, TsRecent, Verdict,
};
use crate::units::{FourTuple, SeqNum, SimDuration, SimTime};
use crate::wire::{Flags, Packet, Timestamps};

use super::super::bench::segment;

/// What the TIME_WAIT of a row expects next.
pub const RCV_NXT: SeqNum = SeqNum(3_000_000_000);
/// What it would send next.
pub const SND_NXT: SeqNum = SeqNum(4_294_900_000);
/// The timestamp that it recorded, if it has one.
pub const TS_RECENT: u32 = 2_147_000_000;

/// A pod that listens where the first segment goes, and the one tuple in question.
pub struct Pod {
    stack: Stack<()>,
    /// A TIME_WAIT of earlier: it takes the tuple of the first segment that comes.
    earlier: Option<TimeWait>,
    /// This side first; `None` before the first segment.
    tuple: Option<FourTuple>,
    /// The last segment restarted the timer of a timewait socket.
    pub restarted: bool,
}

impl Pod {
    /// Nothing but the listener.
    pub fn listening(config: TcpConfig) -> Self {
        let mut stack = Stack::new(config, 7);
        stack.clock = clock();
        stack.timers.phase = SimDuration::ZERO;
        Self {
            stack,
            earlier: None,
            tuple: None,
            restarted: false,
        }
    }

    /// A TIME_WAIT between [`RCV_NXT`] and [`SND_NXT`] that recorded [`TS_RECENT`] at time zero, or no timestamp.
    pub fn in_time_wait(config: TcpConfig, has_ts: bool) -> Self {
        let mut pod = Self::time_wait_between(config, RCV_NXT, SND_NXT);
        if let Some(time_wait) = &mut pod.earlier {
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
            earlier: Some(time_wait),
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
        let Some(Owner::Socket(handle)) = self.owner() else {
            return None;
        };
        self.stack.close(handle, at(2));
        let fin = self.stack.next_segment(handle, at(2))?;
        self.deliver(&segment(tuple, Flags::ACK, rcv_nxt, fin.end_seq()), at(3));
        let substate = self.time_wait().map(|tw| tw.substate);
        (substate == Some(Substate::FinWait2)).then(|| fin.end_seq())
    }

    /// Takes a segment and returns what the pod sends: at most one segment in all that the laboratory did.
    pub fn deliver(&mut self, seg: &Packet, now: SimTime) -> Option<Packet> {
        let tuple = seg.tuple.reversed();
        if self.tuple.replace(tuple).is_none() {
            // Nobody accepts: the queue holds all that a row opens.
            let options = ListenOptions {
                backlog: 16,
                ..ListenOptions::default()
            };
            self.stack.listen(tuple.src, options, ());
        }
        if let Some(earlier) = self.earlier.take() {
            self.stack.inherit_time_wait(tuple, earlier, SimTime::ZERO);
        }
        let outcome = self.stack.on_packet(seg, now);
        self.restarted = matches!(
            outcome.verdict,
            Some(Verdict::Swallow { restart: true } | Verdict::Ack { restart: true, .. })
        );
        let socket = match self.owner() {
            Some(Owner::Socket(handle)) => handle,
            _ => Handle::NONE,
        };
        outcome
            .reaction
            .reply
            .or_else(|| self.stack.next_segment(socket, now))
    }

    fn owner(&self) -> Option<Owner> {
        self.stack.owner(self.tuple?)
    }

    fn time_wait(&self) -> Option<TimeWait> {
        match self.owner()? {
            Owner::TimeWait(handle) => self.stack.time_wait(handle).map(|entry| entry.socket),
            Owner::Socket(_) => None,
        }
    }

    /// Nothing holds the tuple.
    pub fn is_free(&self) -> bool {
        self.owner().is_none()
    }

    /// A timewait socket holds it.
    pub fn holds_time_wait(&self) -> bool {
        self.earlier.is_some() || self.time_wait().is_some()
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
