//! The kernel half of one host's TCP: listeners with their SYN and accept queues, sockets, timewait sockets, who owns
//! which tuple, and what each does with a segment, a timer or a system call. No application, no event queue, no I/O.
//!
//! Whoever keeps a stack hands it packets, timers and calls, sends the one reply that an [`Outcome`] may carry, draws
//! what the socket has to send with [`Stack::next_segment`] until there is nothing more, and then reads its
//! [`Stack::deadline`]. Timewait sockets have no timers to keep: [`Stack::advance`] ends those whose time is over, and is
//! called before anybody asks who has a tuple or how many there are.
//!
//! | file | concern | Linux |
//! |---|---|---|
//! | `input` | segments | `tcp_v4_rcv()`, `tcp_v4_do_rcv()` |
//! | `listener` | SYN queue, accept queue | `tcp_conn_request()`, `inet_csk_accept()` |
//! | `cookies` | SYN cookies | `syncookies.c` |
//! | `time_waits` | timewait sockets and when they end | `inet_timewait_sock.c` |
//! | `index` | who has a tuple | `inet_hashtables.c` |
//! | `loss` | the end of a network namespace | `inet_twsk_purge()` |
//! | `calls` | system calls | `tcp_close()`, `tcp_shutdown()`, `tcp_sendmsg()`, `tcp_recvmsg()`, `tcp_setsockopt()` |

mod calls;
mod cookies;
mod index;
mod input;
mod listener;
mod loss;
mod time_waits;

use std::sync::Arc;

use super::socket::{End, Host, Reaction, Socket, SocketOptions, State};
use super::time_wait::{Substate, TimeWait, Verdict, time_wait_expiry};
use super::{HostClock, TcpConfig};
use crate::engine::{Handle, KernelTimers, Slots, keyed_hash, mix64};
use crate::units::{Endpoint, FourTuple, SimDuration, SimTime};
use crate::wire::Packet;

use index::{Index, Place};
use listener::Listener;
pub use listener::{ListenOptions, ListenerId};
use time_waits::TimeWaits;
pub use time_waits::Tw;

/// A socket with what its application keeps about it.
#[derive(Debug)]
pub struct Sock<A> {
    /// The connection.
    pub socket: Socket,
    /// Its tuple, this side first.
    pub tuple: FourTuple,
    /// The application's.
    pub app: A,
    /// The listener that it came from. In SYN_RECEIVED this tells a request from a simultaneous open.
    pub(super) listener: Option<ListenerId>,
}

/// What a tuple belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A socket or a request for one.
    Socket(Handle),
    /// A timewait socket.
    TimeWait(Handle),
}

/// Whom an input concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Concerned {
    /// Nobody: no socket, or one that is gone.
    #[default]
    Nobody,
    /// A listener that has made no request of it.
    Listener(ListenerId),
    /// A socket, or a request that is new.
    Socket(Handle),
    /// A timewait socket, perhaps gone by now.
    TimeWait(Handle),
}

/// How a socket ended. It is off its tuple, but keeps its slot until [`Stack::forget`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Nothing is left.
    Closed,
    /// A timewait socket has its tuple.
    TimeWait {
        /// Which.
        handle: Handle,
        /// When its timer fires.
        expires: SimTime,
    },
    /// There should be a timewait socket, but `tcp_max_tw_buckets` is reached.
    Overflow,
}

/// What an input brought about. At most one reply; what else is to be sent comes from [`Stack::next_segment`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Whom it concerned.
    pub to: Concerned,
    /// What the socket says, with the reply.
    pub reaction: Reaction,
    /// The socket's end.
    pub ended: Option<Ended>,
    /// The timewait socket's verdict; already carried out.
    pub verdict: Option<Verdict>,
    /// The socket has nothing to send after the segment, and its timer is not due earlier than before: whoever has
    /// drawn its segments and set its timer after every input need not do so now.
    pub idle: bool,
}

impl Outcome {
    fn to(to: Concerned) -> Self {
        Self {
            to,
            ..Self::default()
        }
    }

    fn reply(to: Concerned, reply: Option<Packet>) -> Self {
        let mut outcome = Self::to(to);
        outcome.reaction.reply = reply;
        outcome
    }
}

/// What `nstat` counts about listeners and timewait sockets, by its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// `TcpExtListenOverflows`: a SYN or a last ACK met a full accept queue.
    pub listen_overflows: u64,
    /// `TcpExtListenDrops`: SYNs and last ACKs dropped by a listener for whatever reason.
    pub listen_drops: u64,
    /// `TcpExtTCPReqQFullDoCookies`.
    pub req_q_full_do_cookies: u64,
    /// `TcpExtTCPReqQFullDrop`.
    pub req_q_full_drop: u64,
    /// `TcpExtSyncookiesSent`.
    pub syncookies_sent: u64,
    /// `TcpExtSyncookiesRecv`.
    pub syncookies_recv: u64,
    /// `TcpExtSyncookiesFailed`.
    pub syncookies_failed: u64,
    /// `TcpExtTCPDeferAcceptDrop`.
    pub defer_accept_drop: u64,
    /// `TcpExtTCPACKSkippedTimeWait` and `TcpExtTCPACKSkippedFinWait2`.
    pub acks_skipped_time_wait: u64,
    /// `TcpExtTCPTimeWaitOverflow`.
    pub time_wait_overflow: u64,
    /// `TcpExtTCPAbortOnClose`: close() with unread data.
    pub abort_on_close: u64,
    /// `TcpExtTCPChallengeACK`.
    pub challenge_acks: u64,
}

/// Challenge ACKs that the host may still send in this second (`tcp_challenge_ack_allowed()`).
#[derive(Debug, Clone, Copy, Default)]
struct ChallengeQuota {
    second: u64,
    left: u32,
}

/// A socket as `ss` lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListedState {
    /// LISTEN.
    Listen,
    /// A socket or a request; requests are SYN-RECV.
    Connection(State),
    /// FIN-WAIT-2 of an orphan.
    OrphanFinWait2,
    /// TIME-WAIT.
    TimeWait,
}

impl ListedState {
    /// The name that `ss` prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Listen => "LISTEN",
            Self::TimeWait => "TIME-WAIT",
            Self::OrphanFinWait2 | Self::Connection(State::FinWait2) => "FIN-WAIT-2",
            Self::Connection(State::SynSent) => "SYN-SENT",
            Self::Connection(State::SynReceived) => "SYN-RECV",
            Self::Connection(State::Established) => "ESTAB",
            Self::Connection(State::FinWait1) => "FIN-WAIT-1",
            Self::Connection(State::CloseWait) => "CLOSE-WAIT",
            Self::Connection(State::Closing) => "CLOSING",
            Self::Connection(State::LastAck) => "LAST-ACK",
            Self::Connection(State::Closed) => "UNCONN",
        }
    }
}

/// The TCP of one host; `A` is what an application keeps per socket.
#[derive(Debug)]
pub struct Stack<A> {
    /// Switches and sysctls. Hosts that are alike share them: every segment asks, and a hundred copies would not stay in
    /// the cache.
    pub config: Arc<TcpConfig>,
    /// Timer wheel.
    pub timers: KernelTimers,
    /// Clocks and secrets.
    pub clock: HostClock,
    /// Options that connect() starts with.
    pub defaults: SocketOptions,
    /// Events counted so far.
    pub counters: Counters,
    challenges: ChallengeQuota,
    sockets: Slots<Sock<A>>,
    time_waits: TimeWaits,
    owners: Index,
    listeners: Vec<Listener<A>>,
}

impl<A: Copy> Stack<A> {
    /// A host's TCP; `secret` is the seed of everything that its boot made random.
    pub fn new(config: impl Into<Arc<TcpConfig>>, secret: u64) -> Self {
        let config = config.into();
        let word = |n: u64| mix64(secret.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        // Up for one to a hundred days; the wheel's phase follows from that.
        let uptime = SimDuration::from_nanos(86_400_000_000_000 + word(1) % (99 * 86_400_000_000_000));
        Self {
            timers: KernelTimers {
                hz: config.hz,
                phase: uptime,
            },
            config,
            clock: HostClock {
                isn_secret: word(2),
                ts_secret: word(3),
                uptime,
                wall_ticks: word(4) as u32,
            },
            defaults: SocketOptions::NONE,
            counters: Counters::default(),
            challenges: ChallengeQuota::default(),
            sockets: Slots::default(),
            time_waits: TimeWaits::default(),
            owners: Index::default(),
            listeners: Vec::new(),
        }
    }

    /// Who owns a tuple (this side first). What [`Stack::advance`] has not been told to end is still there.
    #[inline]
    pub fn owner(&self, tuple: FourTuple) -> Option<Owner> {
        let Self {
            owners,
            sockets,
            time_waits,
            ..
        } = self;
        let place = owners.find(tuple, |place| tuple_at(sockets, time_waits, place))?;
        Some(if place.is_time_wait() {
            Owner::TimeWait(time_waits.handle_of(place.slot()))
        } else {
            Owner::Socket(sockets.handle_of(place.slot()))
        })
    }

    /// Gives a tuple to a socket, whoever had it; the socket is in its slot already.
    fn own(&mut self, tuple: FourTuple, place: Place) {
        let Self {
            owners,
            sockets,
            time_waits,
            ..
        } = self;
        owners.put(tuple, place, |place| tuple_at(sockets, time_waits, place));
    }

    /// Nobody has the tuple any more; whoever had it is still in its slot.
    fn disown(&mut self, tuple: FourTuple) {
        let Self {
            owners,
            sockets,
            time_waits,
            ..
        } = self;
        owners.remove(tuple, |place| tuple_at(sockets, time_waits, place));
    }

    /// The socket in a slot, if it is the one that owns the tuple: for who has a guess, and would rather not search.
    #[inline]
    pub fn owner_in(&self, slot: u32, tuple: FourTuple) -> Option<Owner> {
        let (handle, sock) = self.sockets.at(slot)?;
        (sock.tuple == tuple && sock.socket.state != State::Closed).then_some(Owner::Socket(handle))
    }

    /// As [`Stack::owner_in`], for a connection that is no request, by the tuple of the peer's segments: itself and the host
    /// that it lives on. Who gives it a segment must call [`Stack::after_segment`] if that ends it or is challenged.
    #[inline]
    pub fn connection_in(
        &mut self,
        slot: u32,
        theirs: FourTuple,
    ) -> Option<(Handle, &mut Sock<A>, Host<'_>)> {
        let Self {
            config,
            timers,
            clock,
            sockets,
            ..
        } = self;
        let (handle, sock) = sockets.at_mut(slot)?;
        let is_it =
            sock.tuple.reversed() == theirs && sock.socket.state != State::Closed && !sock.is_request();
        let host = Host {
            config,
            timers,
            clock,
        };
        is_it.then_some((handle, sock, host))
    }

    /// A socket or a request.
    pub fn sock(&self, handle: Handle) -> Option<&Sock<A>> {
        self.sockets.get(handle)
    }

    /// A socket or a request, to write into what belongs to the application.
    pub fn sock_mut(&mut self, handle: Handle) -> Option<&mut Sock<A>> {
        self.sockets.get_mut(handle)
    }

    /// A timewait socket.
    pub fn time_wait(&self, handle: Handle) -> Option<Tw> {
        self.time_waits.get(handle)
    }

    /// How many timewait sockets there are, orphans' FIN_WAIT2 included; [`Stack::advance`] comes before it.
    pub fn time_wait_count(&self) -> usize {
        self.time_waits.len()
    }

    /// State of a socket that has not been forgotten; [`State::Closed`] when it has ended.
    pub fn state(&self, handle: Handle) -> Option<State> {
        self.sockets.get(handle).map(|sock| sock.socket.state)
    }

    /// Every socket as `ss` lists it: this side, the other side (`None` of a listener), state. In the order of slots.
    pub fn list(&self) -> impl Iterator<Item = (Endpoint, Option<Endpoint>, ListedState)> {
        let listeners = self.listeners.iter().filter(|listener| listener.open);
        let listeners = listeners.map(|listener| (listener.endpoint, None, ListedState::Listen));
        let sockets = self.sockets.iter().map(|(_, sock)| {
            let state = ListedState::Connection(sock.socket.state);
            (sock.tuple.src, Some(sock.tuple.dst), state)
        });
        let time_waits = self.time_waits.iter().map(|(_, tw)| {
            let state = match tw.socket.substate {
                Substate::TimeWait => ListedState::TimeWait,
                Substate::FinWait2 => ListedState::OrphanFinWait2,
            };
            (tw.tuple.src, Some(tw.tuple.dst), state)
        });
        listeners
            .chain(sockets.filter(|(.., state)| *state != ListedState::Connection(State::Closed)))
            .chain(time_waits)
    }

    /// A socket and the host that it lives on, for whoever has several things to ask of it.
    #[inline]
    pub fn split(&mut self, handle: Handle) -> Option<(&mut Sock<A>, Host<'_>)> {
        let Self {
            config,
            timers,
            clock,
            sockets,
            ..
        } = self;
        let host = Host {
            config,
            timers,
            clock,
        };
        sockets.get_mut(handle).map(|sock| (sock, host))
    }

    fn host(&self) -> Host<'_> {
        Host {
            config: &self.config,
            timers: &self.timers,
            clock: &self.clock,
        }
    }

    fn add(&mut self, socket: Socket, tuple: FourTuple, app: A, listener: Option<ListenerId>) -> Handle {
        let handle = self.sockets.insert(Sock {
            socket,
            tuple,
            app,
            listener,
        });
        self.own(tuple, Place::socket(handle.slot));
        handle
    }

    // ---- timers and output ----

    /// When [`Stack::on_timer`] wants to be called for a socket; never if it is gone.
    pub fn deadline(&self, handle: Handle) -> SimTime {
        self.sockets
            .get(handle)
            .map_or(SimTime::NEVER, |sock| sock.socket.deadline())
    }

    /// The earliest timer of the host and whose it is; for hosts of few sockets, it looks at all of them.
    pub fn next_timer(&self) -> Option<(SimTime, Owner)> {
        let sockets = self
            .sockets
            .iter()
            .map(|(handle, sock)| (sock.socket.deadline(), Owner::Socket(handle)));
        let time_waits = self
            .time_waits
            .iter()
            .map(|(handle, tw)| (tw.expires, Owner::TimeWait(handle)));
        sockets
            .chain(time_waits)
            .filter(|(at, _)| *at != SimTime::NEVER)
            .min_by_key(|(at, _)| *at)
    }

    /// A socket's timer fires; called at or after its deadline.
    pub fn on_timer(&mut self, handle: Handle, now: SimTime) -> Outcome {
        let Some(sock) = self.sockets.get(handle) else {
            return Outcome::default();
        };
        let was_request = sock.is_request();
        // A request whose listener is closed lives on until something reaches it.
        let gate = was_request.then(|| self.gate(sock.listener).unwrap_or_default());
        let Some((sock, host)) = self.split(handle) else {
            return Outcome::default();
        };
        let mut outcome = Outcome::to(Concerned::Socket(handle));
        outcome.reaction = sock.socket.on_timer(gate, &host, now);
        if was_request && outcome.reaction.end.is_some() {
            self.leave_syn_queue(handle);
        }
        self.conclude(handle, &mut outcome, now);
        outcome
    }

    /// Ends the timewait sockets whose time is over: expired means `now >= deadline`.
    #[inline]
    pub fn advance(&mut self, now: SimTime) {
        if self.time_waits.next_due() <= now {
            self.end_time_waits(now);
        }
    }

    #[inline(never)]
    fn end_time_waits(&mut self, now: SimTime) {
        while let Some(slots) = self.time_waits.take_due(now) {
            for &slot in &slots {
                if let Some(handle) = self.time_waits.ends_by(slot, now) {
                    self.remove_time_wait(handle);
                }
            }
            self.time_waits.give_back(slots);
        }
    }

    /// The next segment that a socket has to send, if any.
    pub fn next_segment(&mut self, handle: Handle, now: SimTime) -> Option<Packet> {
        let (sock, host) = self.split(handle)?;
        sock.socket.next_segment(&sock.tuple, &host, now)
    }

    /// Whether the host's quota lets a challenge ACK go. A new second begins with half the limit and a random part of
    /// the whole, so that nobody can count what others were sent.
    fn challenge_allowed(&mut self, now: SimTime) -> bool {
        let limit = self.config.challenge_ack_limit;
        if limit == u32::MAX {
            return true;
        }
        let second = self.timers.jiffies(now) / u64::from(self.config.hz);
        if second != self.challenges.second {
            let random = keyed_hash(self.clock.isn_secret, &[second]) % u64::from(limit.max(1));
            self.challenges = ChallengeQuota {
                second,
                left: limit.div_ceil(2) + random as u32,
            };
        }
        let allowed = self.challenges.left > 0;
        self.challenges.left -= u32::from(allowed);
        allowed
    }

    // ---- ends ----

    /// Forgets a socket. One that has not ended is dropped without a word.
    pub fn forget(&mut self, handle: Handle) {
        let Some(sock) = self.sockets.get(handle) else {
            return;
        };
        if sock.socket.state != State::Closed {
            self.disown(sock.tuple);
        }
        self.sockets.discard(handle);
    }

    /// Carries out the end of a socket, if the reaction holds one.
    fn conclude(&mut self, handle: Handle, outcome: &mut Outcome, now: SimTime) {
        if let Some(end) = outcome.reaction.end {
            self.end(handle, end, outcome, now);
        }
    }

    #[inline(never)]
    fn end(&mut self, handle: Handle, end: End, outcome: &mut Outcome, now: SimTime) {
        let Some((sock, host)) = self.split(handle) else {
            return;
        };
        let (tuple, shift) = (sock.tuple, sock.socket.window_shift());
        let successor = match end {
            End::Closed => None,
            End::TimeWait(substate, lifetime) => Some((sock.socket.to_time_wait(substate), lifetime)),
        };
        if outcome.reaction.reply.is_none() {
            outcome.reaction.reply = sock.socket.final_ack(tuple, &host, now);
        }
        let ended = successor.map_or(Ended::Closed, |(tw, lifetime)| {
            self.add_time_wait(tw, tuple, lifetime, shift, now)
        });
        if !matches!(ended, Ended::TimeWait { .. }) {
            self.disown(tuple);
        }
        outcome.ended = Some(ended);
    }

    fn add_time_wait(
        &mut self,
        tw: TimeWait,
        tuple: FourTuple,
        lifetime: SimDuration,
        window_shift: u8,
        now: SimTime,
    ) -> Ended {
        let most = self.config.max_tw_buckets as usize;
        if self.time_waits.len() >= most {
            self.advance(now);
        }
        if self.time_waits.len() >= most {
            self.counters.time_wait_overflow += 1;
            return Ended::Overflow;
        }
        let expires = time_wait_expiry(&self.config, &self.timers, now, lifetime);
        let handle = self.time_waits.insert(&Tw {
            socket: tw,
            tuple,
            expires,
            first_expiry: expires,
            since: now,
            exact_rst_seen: false,
            refused_isn: None,
            window_shift,
        });
        self.own(tuple, Place::time_wait(handle.slot));
        Ended::TimeWait { handle, expires }
    }

    /// Gives the stack a timewait socket whose connection it has not seen; it begins now.
    pub fn inherit_time_wait(&mut self, tuple: FourTuple, tw: TimeWait, now: SimTime) -> Ended {
        self.add_time_wait(tw, tuple, self.config.time_wait, 0, now)
    }

    fn remove_time_wait(&mut self, handle: Handle) {
        if self.time_waits.holds(handle) {
            self.disown(self.time_waits.tuple_in(handle.slot));
            self.time_waits.remove(handle);
        }
    }
}

/// The tuple of a socket that is in the index.
#[inline]
fn tuple_at<A>(sockets: &Slots<Sock<A>>, time_waits: &TimeWaits, place: Place) -> FourTuple {
    if place.is_time_wait() {
        time_waits.tuple_in(place.slot())
    } else {
        sockets.in_slot(place.slot()).tuple
    }
}

impl<A> Sock<A> {
    /// A request of a listener: a minisock in SYN_RECEIVED, not a socket.
    pub fn is_request(&self) -> bool {
        self.socket.state == State::SynReceived && self.listener.is_some()
    }
}

#[cfg(test)]
mod tests;
