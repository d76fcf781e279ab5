//! The TCP of one host: its sockets, its timewait sockets, and who owns which tuple.

use rustc_hash::FxHashMap;

use super::event::Handle;
use super::slots::Slots;
use crate::engine::{KernelTimers, mix64};
use crate::model::tcp::{Host, HostClock, Inherited, Socket, TcpConfig, TimeWait, time_wait_expiry};
use crate::units::{FourTuple, SeqNum, SimDuration, SimTime};

/// What a connection is to the application that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leg {
    /// A client's connection to the SLB.
    Client,
    /// The SLB's side of it.
    Downstream,
    /// The SLB's connection to a backend.
    Upstream,
    /// The pod's side of it.
    Server,
}

/// A socket with what its host and its application keep about it.
#[derive(Debug)]
pub struct Sock {
    /// The connection.
    pub socket: Socket,
    /// Its tuple, this side first.
    pub tuple: FourTuple,
    /// Application.
    pub leg: Leg,
    /// The request that it serves now.
    pub request: Handle,
    /// Octets received of the current message.
    pub received: u32,
    /// Requests that it has served.
    pub served: u32,
    /// When the application will close it for idleness.
    pub idle_deadline: SimTime,
    /// When its pending timer event fires, if any is pending.
    armed_at: SimTime,
    /// When its pending idle event fires, if any is pending.
    pub idle_armed_at: SimTime,
    /// Index of the SLB's backend, for the keepalive pool.
    pub backend: u32,
    /// The application has accepted it.
    pub accepted: bool,
    /// What the request that waits for a worker is about.
    pub waiting_tag: Option<u32>,
}

impl Sock {
    /// A socket that nothing is known of yet.
    pub fn new(socket: Socket, tuple: FourTuple, leg: Leg, request: Handle) -> Self {
        Self {
            socket,
            tuple,
            leg,
            request,
            received: 0,
            served: 0,
            idle_deadline: SimTime::NEVER,
            armed_at: SimTime::NEVER,
            idle_armed_at: SimTime::NEVER,
            backend: 0,
            accepted: false,
            waiting_tag: None,
        }
    }

    /// When a timer event must be scheduled, if the pending one would come too late; notes it as pending.
    pub fn arm(&mut self) -> Option<SimTime> {
        let deadline = self.socket.deadline();
        if deadline >= self.armed_at {
            return None;
        }
        self.armed_at = deadline;
        Some(deadline)
    }

    /// A timer event fired: none is pending any more unless a later one superseded it. False: superseded.
    pub fn fired(&mut self, now: SimTime) -> bool {
        if self.armed_at != now {
            return false;
        }
        self.armed_at = SimTime::NEVER;
        true
    }
}

/// A timewait socket with what the ledger keeps about it.
#[derive(Debug)]
pub struct Tw {
    /// The socket.
    pub socket: TimeWait,
    /// Its tuple, this side first.
    pub tuple: FourTuple,
    /// When it ends.
    pub expires: SimTime,
    /// When it would have ended had nothing re-armed it.
    pub first_expiry: SimTime,
    /// When it began: the last segment of the flow.
    pub since: SimTime,
    /// An RST with its exact sequence number has come.
    pub exact_rst_seen: bool,
    /// The ISN that it refused last: the same again is a repetition, not an attempt.
    pub refused_isn: Option<SeqNum>,
}

/// What a tuple belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A socket.
    Socket(Handle),
    /// A timewait socket.
    TimeWait(Handle),
}

/// The TCP of one host.
#[derive(Debug)]
pub struct Stack {
    /// Switches and sysctls.
    pub config: TcpConfig,
    /// Timer wheel.
    pub timers: KernelTimers,
    /// Clocks and secrets.
    pub clock: HostClock,
    /// Sockets.
    pub sockets: Slots<Sock>,
    /// Timewait sockets.
    pub time_waits: Slots<Tw>,
    tuples: FxHashMap<FourTuple, Owner>,
}

impl Stack {
    /// A host's TCP; `secret` is the seed of everything that its boot made random.
    pub fn new(config: TcpConfig, secret: u64) -> Self {
        let word = |n: u64| mix64(secret.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        // Up for one to a hundred days; the wheel's phase follows from that.
        let uptime = SimDuration::from_nanos(86_400_000_000_000 + word(1) % (99 * 86_400_000_000_000));
        Self {
            config,
            timers: KernelTimers {
                hz: config.hz,
                phase: uptime,
            },
            clock: HostClock {
                isn_secret: word(2),
                ts_secret: word(3),
                uptime,
                wall_ticks: word(4) as u32,
            },
            sockets: Slots::default(),
            time_waits: Slots::default(),
            tuples: FxHashMap::default(),
        }
    }

    /// Switches, timers and clocks, as the models want them.
    pub fn host(&self) -> Host<'_> {
        Host {
            config: &self.config,
            timers: &self.timers,
            clock: &self.clock,
        }
    }

    /// A socket, and the host that it lives on.
    pub fn socket(&mut self, handle: Handle) -> Option<(&mut Sock, Host<'_>)> {
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

    /// A timewait socket, and the host that it lives on.
    pub fn time_wait(&mut self, handle: Handle) -> Option<(&mut Tw, Host<'_>)> {
        let Self {
            config,
            timers,
            clock,
            time_waits,
            ..
        } = self;
        let host = Host {
            config,
            timers,
            clock,
        };
        time_waits.get_mut(handle).map(|entry| (entry, host))
    }

    /// Who owns a tuple (this side first).
    pub fn owner(&self, tuple: FourTuple) -> Option<Owner> {
        self.tuples.get(&tuple).copied()
    }

    /// The timewait socket under a tuple that `tcp_tw_reuse` lets connect() take over, and what it hands on.
    pub fn time_wait_to_reuse(&self, tuple: FourTuple, now: SimTime) -> Option<(Handle, Inherited)> {
        let Some(Owner::TimeWait(handle)) = self.owner(tuple) else {
            return None;
        };
        let entry = self.time_waits.get(handle)?;
        let inherited = entry.socket.reuse(&self.config, &self.clock, entry.since, now)?;
        Some((handle, inherited))
    }

    /// Adds a socket.
    pub fn add(&mut self, sock: Sock) -> Handle {
        let tuple = sock.tuple;
        let handle = self.sockets.insert(sock);
        self.tuples.insert(tuple, Owner::Socket(handle));
        handle
    }

    /// Removes a socket.
    pub fn remove(&mut self, handle: Handle) {
        if let Some(sock) = self.sockets.remove(handle) {
            self.tuples.remove(&sock.tuple);
        }
    }

    /// Puts a timewait socket in the place of whatever had the tuple. `None`: `tcp_max_tw_buckets` is reached.
    pub fn add_time_wait(
        &mut self,
        tw: TimeWait,
        tuple: FourTuple,
        lifetime: SimDuration,
        now: SimTime,
    ) -> Option<(Handle, SimTime)> {
        if self.time_waits.len() >= self.config.max_tw_buckets as usize {
            return None;
        }
        let expires = time_wait_expiry(&self.config, &self.timers, now, lifetime);
        let entry = Tw {
            socket: tw,
            tuple,
            expires,
            first_expiry: expires,
            since: now,
            exact_rst_seen: false,
            refused_isn: None,
        };
        let handle = self.time_waits.insert(entry);
        self.tuples.insert(tuple, Owner::TimeWait(handle));
        Some((handle, expires))
    }

    /// Removes a timewait socket.
    pub fn remove_time_wait(&mut self, handle: Handle) -> Option<Tw> {
        let tw = self.time_waits.remove(handle)?;
        self.tuples.remove(&tw.tuple);
        Some(tw)
    }
}
