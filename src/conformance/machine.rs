//! The machine under test: the TCP stack behind its netfilter, virtual time, and what it has sent and nobody has looked
//! at yet. It starts where packetdrill starts, a quarter of a millisecond into a tick of 10 ms (`run.c`,
//! `schedule_start_time_usecs()`), so that no event of a script lies on the edge of a jiffy.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use super::netfilter::{Chain, Netfilter};
use super::symbols::{MSG_EOR, MSG_MORE};
use crate::engine::Handle;
use crate::model::tcp::{
    Concerned, How, ListenOptions, ListenerId, Outcome, Owner, Read, Readiness, SocketError, SocketOptions,
    Stack, State,
};
use crate::profile::Profile;
use crate::scenario;
use crate::units::{Endpoint, FourTuple, PortRange, SeqNum, SimDuration, SimTime};
use crate::wire::Packet;

/// Seed of what the machine's boot makes random. One is enough: a script speaks of relative numbers only.
const SECRET: u64 = 0x6669_7665_7475_706c;
/// packetdrill aligns its start to the clock ticks that `times()` counts.
const START_TICK: u64 = 10_000_000;
/// And waits this long after one.
const START_OFFSET: u64 = 250_000;

/// Who holds a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Nobody yet: it waits for `accept()`, or is not even established.
    Kernel,
    /// A descriptor.
    Process,
    /// Nobody any more: the descriptor was closed.
    Orphan,
}

/// A segment that has left the machine.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// The segment.
    pub packet: Packet,
    /// When.
    pub at: SimTime,
}

/// The machine.
#[derive(Debug)]
pub struct Machine {
    /// Its TCP.
    pub stack: Stack<Holder>,
    /// Its netfilter.
    pub netfilter: Netfilter,
    /// Its kernel.
    pub profile: Profile,
    /// What it has sent, oldest first.
    pub sent: VecDeque<Sent>,
    now: SimTime,
}

impl Machine {
    /// A machine that has just booted with that kernel.
    pub fn new(profile: &Profile) -> Self {
        let stack = Stack::new(profile.tcp, SECRET);
        // The clocks count from the machine's own zero: what is missing until the next tick is waited for.
        let into_tick = stack.clock.uptime.as_nanos() % START_TICK;
        let wait = START_TICK - into_tick + START_OFFSET;
        Self {
            stack,
            netfilter: Netfilter::new(profile.conntrack),
            profile: *profile,
            sent: VecDeque::new(),
            now: SimTime::ZERO + SimDuration::from_nanos(wait),
        }
    }

    /// The present.
    pub const fn now(&self) -> SimTime {
        self.now
    }

    /// Lets the next timer fire if it is due by `limit`; otherwise it is `limit` now, and false.
    pub fn step(&mut self, limit: SimTime) -> bool {
        match self.stack.next_timer() {
            Some((at, owner)) if at <= limit => {
                self.now = self.now.max(at);
                match owner {
                    Owner::Socket(handle) => {
                        let outcome = self.stack.on_timer(handle, self.now);
                        self.settle(Some(handle), &outcome);
                    }
                    Owner::TimeWait(_) => self.stack.advance(self.now),
                }
                true
            }
            _ => {
                self.now = self.now.max(limit);
                false
            }
        }
    }

    /// A packet arrives.
    pub fn receive(&mut self, packet: &Packet) {
        if self.netfilter.pass(Chain::Input, packet, self.now) {
            let outcome = self.stack.on_packet(packet, self.now);
            let handle = match outcome.to {
                Concerned::Socket(handle) => Some(handle),
                _ => None,
            };
            self.settle(handle, &outcome);
        }
    }

    /// An ICMP message arrives about the segment of `tuple` that begins at `seq`.
    pub fn receive_icmp(&mut self, tuple: FourTuple, seq: SeqNum, error: SocketError) {
        let outcome = self.stack.on_icmp(tuple, seq, error, self.now);
        self.settle(None, &outcome);
    }

    /// Sends what `outcome` holds and what the socket has to send after it.
    fn settle(&mut self, handle: Option<Handle>, outcome: &Outcome) {
        if let Some(reply) = outcome.reaction.reply {
            self.send(reply);
        }
        let Some(handle) = handle else { return };
        self.flush(handle);
        let orphan = self
            .stack
            .sock(handle)
            .is_some_and(|sock| sock.app == Holder::Orphan);
        if orphan && outcome.ended.is_some() {
            self.stack.forget(handle);
        }
    }

    /// Sends what a socket has to send.
    pub fn flush(&mut self, handle: Handle) {
        while let Some(packet) = self.stack.next_segment(handle, self.now) {
            self.send(packet);
        }
    }

    fn send(&mut self, packet: Packet) {
        if self.netfilter.pass(Chain::Output, &packet, self.now) {
            self.sent.push_back(Sent { packet, at: self.now });
        }
    }

    /// `listen()`.
    pub fn listen(&mut self, endpoint: Endpoint, options: ListenOptions) -> ListenerId {
        self.stack.listen(endpoint, options, Holder::Kernel)
    }

    /// `connect()`; the SYN goes out.
    pub fn connect(&mut self, tuple: FourTuple, options: SocketOptions) -> Handle {
        let handle = self.stack.connect(tuple, Holder::Process, self.now);
        self.set_options(handle, options);
        handle
    }

    /// `setsockopt()`; what it lets go goes out.
    pub fn set_options(&mut self, handle: Handle, options: SocketOptions) {
        self.stack.set_options(handle, |own| *own = options);
        self.flush(handle);
    }

    /// Octets that wait to be read.
    pub fn unread(&self, handle: Handle) -> u32 {
        self.stack.sock(handle).map_or(0, |sock| sock.socket.unread())
    }

    /// Payload of a full segment, as `TCP_MAXSEG` gives it.
    pub fn mss(&self, handle: Handle) -> i64 {
        let info = self.stack.sock(handle).map(|sock| sock.socket.info(self.now));
        info.map_or(0, |info| i64::from(info.snd_mss))
    }

    /// `read()`.
    ///
    /// # Errors
    /// The socket's.
    pub fn read(&mut self, handle: Handle, octets: u32) -> Result<Read, SocketError> {
        let read = self.stack.read(handle, octets);
        self.flush(handle);
        read
    }

    /// `write()` with `flags`, of which `MSG_MORE` and `MSG_EOR` count: octets taken. Packets go out as they are filled.
    ///
    /// # Errors
    /// The socket's, if nothing was taken.
    pub fn write(&mut self, handle: Handle, octets: u32, flags: i64) -> Result<u32, SocketError> {
        let mut written = 0;
        loop {
            let taken = self.stack.send(handle, octets - written, flags & MSG_MORE != 0);
            let ends = taken.is_ok_and(|taken| taken > 0 && written + taken == octets);
            if ends && flags & MSG_EOR != 0 {
                self.stack.end_record(handle);
            }
            self.flush(handle);
            match taken {
                Ok(taken) if taken > 0 && written + taken < octets => written += taken,
                Ok(taken) => return Ok(written + taken),
                Err(_) if written > 0 => return Ok(written),
                Err(error) => return Err(error),
            }
        }
    }

    /// `TCP_NODELAY`: what is held back goes out.
    pub fn push_pending(&mut self, handle: Handle) {
        self.stack.push_pending(handle);
        self.flush(handle);
    }

    /// `shutdown()`.
    ///
    /// # Errors
    /// The socket's.
    pub fn shutdown(&mut self, handle: Handle, how: How) -> Result<(), SocketError> {
        let outcome = self.stack.shutdown(handle, how, self.now)?;
        self.settle(Some(handle), &outcome);
        Ok(())
    }

    /// What poll() sees of a connection.
    pub fn readiness(&mut self, handle: Handle) -> Option<Readiness> {
        self.stack.readiness(handle)
    }

    /// Sets a sysctl. `None`: the machine has no such thing; `Some(Err)`: what value it takes.
    pub fn set_sysctl(&mut self, name: &str, value: &str) -> Option<Result<(), String>> {
        let said = scenario::set_sysctl(&mut self.profile, name, value);
        self.stack.config = self.profile.tcp.into();
        said
    }

    /// `accept()`.
    pub fn accept(&mut self, listener: ListenerId) -> Option<Handle> {
        let handle = self.stack.accept(listener)?;
        if let Some(sock) = self.stack.sock_mut(handle) {
            sock.app = Holder::Process;
        }
        Some(handle)
    }

    /// `close()` of a connection.
    pub fn close(&mut self, handle: Handle) {
        let ended = self
            .stack
            .state(handle)
            .is_none_or(|state| state == State::Closed);
        if ended {
            self.stack.forget(handle);
            return;
        }
        if let Some(sock) = self.stack.sock_mut(handle) {
            sock.app = Holder::Orphan;
        }
        let outcome = self.stack.close(handle, self.now);
        self.settle(Some(handle), &outcome);
    }

    /// `close()` of a listener.
    pub fn close_listener(&mut self, listener: ListenerId) {
        for reset in self.stack.close_listener(listener, self.now) {
            self.send(reset);
        }
    }

    /// A local port that nothing towards `remote` uses (`inet_hash_connect()`: even ports first; where the search begins
    /// is random in Linux and the bottom of the range here).
    pub fn free_port(&self, local: Ipv4Addr, remote: Endpoint) -> u16 {
        let range = PortRange::LINUX_EPHEMERAL;
        (0..range.count())
            .step_by(2)
            .map(|offset| range.nth(offset))
            .find(|port| {
                let tuple = FourTuple::new(Endpoint::new(local, *port), remote);
                self.stack.owner(tuple).is_none()
            })
            .unwrap_or(range.first())
    }
}
