//! The connections of ipvs, found by the client's tuple or by the pod's.
//!
//! `net/netfilter/ipvs/ip_vs_conn.c`. Every packet sets the timer anew; it fires as the host's timer wheel does, which
//! is worked out from the last packet and the state only when it matters.

use super::{IpvsConfig, IpvsState, Side};
use crate::engine::KernelTimers;
use crate::model::agenda::{self, Agenda, Ticket};
use crate::units::{Endpoint, FourTuple, SimDuration, SimTime};
use crate::wire::Flags;

/// No connection.
const NIL: u32 = u32::MAX;
/// Buckets of a young table; they double with the connections.
const FIRST_BUCKETS: usize = 64;
/// Mark of a connection that the agenda does not know.
const UNARMED: u32 = agenda::LAST_SLOT;
/// Mark: the place is free.
const FREE: u32 = agenda::LAST_SLOT + 1;

/// Names a connection for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    /// Place in the table.
    pub index: u32,
    /// Counts the connections that had this place.
    pub generation: u32,
}

/// One ipvs connection, together with its place in the chains of its two buckets: one cache line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// Client to virtual server, here SLB to NodePort.
    pub tuple: FourTuple,
    /// The pod's address and port.
    pub pod: Endpoint,
    /// The pod's index in the plan.
    pub pod_index: u32,
    /// The service and the place of the pod among its servers.
    pub server: (u32, u32),
    /// State.
    pub state: IpvsState,
    /// It went to CLOSE by an RST that conntrack called INVALID.
    pub closed_by_stray_rst: bool,
    /// How many SYNs began a new connection on this entry after the first one (`conn_reuse_mode` 0).
    pub reuses: u32,
    /// The last packet: it set the timer.
    touched: SimTime,
    /// What follows in the bucket of the client's tuple, and of the pod's.
    next: [u32; 2],
    generation: u32,
    /// The slot of the agenda in which it is looked at, or a mark.
    armed: u32,
}

const _: () = assert!(size_of::<Connection>() <= 64);

impl Connection {
    /// The tuple by which a chain knows it: 0, the client's; 1, the pod's answers before they are translated.
    fn key(&self, chain: u32) -> FourTuple {
        if chain == 0 {
            self.tuple
        } else {
            FourTuple::new(self.pod, self.tuple.src)
        }
    }
}

/// All connections of a node.
#[derive(Debug, Clone)]
pub struct Table {
    timers: KernelTimers,
    /// By [`IpvsState`].
    timeouts: [SimDuration; 11],
    connections: Vec<Connection>,
    free: Vec<u32>,
    /// The first of each bucket's chain: twice a connection's place, plus 1 if the pod's tuple is meant.
    buckets: Vec<u32>,
    agenda: Agenda,
    count: u32,
}

impl Table {
    /// An empty table of a host with these timers; it stays empty without a configuration.
    pub fn new(config: Option<&IpvsConfig>, timers: KernelTimers) -> Self {
        let timeout = |state: IpvsState| config.map_or(SimDuration::ZERO, |config| state.timeout(config));
        Self {
            timers,
            timeouts: IpvsState::ALL.map(timeout),
            connections: Vec::new(),
            free: Vec::new(),
            buckets: vec![NIL; FIRST_BUCKETS],
            agenda: Agenda::new(),
            count: 0,
        }
    }

    /// Connections, however stale.
    pub fn count(&self) -> u64 {
        u64::from(self.count)
    }

    /// The connection that `handle` names, if it still lives.
    pub fn get(&self, handle: Handle) -> Option<&Connection> {
        let connection = self.connections.get(handle.index as usize)?;
        (connection.generation == handle.generation && connection.armed != FREE).then_some(connection)
    }

    /// The connection of a packet from the client, or of an untranslated one from the pod. One client address and port
    /// may use two services of one pod: the pod's side then names the younger.
    pub fn find(&self, tuple: &FourTuple) -> Option<Handle> {
        let mut node = self.buckets[self.locate(tuple)];
        while node != NIL {
            let connection = &self.connections[(node >> 1) as usize];
            if connection.key(node & 1) == *tuple {
                return Some(self.handle(node >> 1));
            }
            node = connection.next[(node & 1) as usize];
        }
        None
    }

    /// The connections of a server, in order of place.
    pub fn of_server(&self, server: (u32, u32)) -> Vec<Handle> {
        let live = |&index: &u32| {
            let connection = &self.connections[index as usize];
            connection.armed != FREE && connection.server == server
        };
        let all = 0..self.connections.len() as u32;
        all.filter(live).map(|index| self.handle(index)).collect()
    }

    /// When the timer of a connection fires.
    pub fn expires(&self, connection: &Connection) -> SimTime {
        self.timers
            .expiry(connection.touched, self.timeouts[connection.state as usize])
    }

    /// When it was meant to, before the wheel rounded up: what `ipvsadm -Lnc` counts down to.
    pub fn due(&self, connection: &Connection) -> SimTime {
        connection.touched + self.timeouts[connection.state as usize]
    }

    /// Makes a connection in state NONE; its first packet must follow.
    pub fn insert(&mut self, tuple: FourTuple, pod: Endpoint, pod_index: u32, server: (u32, u32)) -> Handle {
        let mut connection = Connection {
            tuple,
            pod,
            pod_index,
            server,
            state: IpvsState::None,
            closed_by_stray_rst: false,
            reuses: 0,
            touched: SimTime::NEVER,
            next: [NIL; 2],
            generation: 0,
            armed: UNARMED,
        };
        let index = if let Some(index) = self.free.pop() {
            let place = &mut self.connections[index as usize];
            connection.generation = place.generation.wrapping_add(1);
            *place = connection;
            index
        } else {
            self.connections.push(connection);
            (self.connections.len() - 1) as u32
        };
        self.count += 1;
        if self.count as usize > self.buckets.len() {
            self.grow();
        }
        self.link(index * 2);
        self.link(index * 2 + 1);
        self.handle(index)
    }

    /// Removes a live connection.
    pub fn remove(&mut self, handle: Handle) {
        debug_assert!(self.get(handle).is_some());
        self.unlink(handle.index * 2);
        self.unlink(handle.index * 2 + 1);
        self.connections[handle.index as usize].armed = FREE;
        self.free.push(handle.index);
        self.count -= 1;
    }

    /// Takes a packet into account; returns the connection.
    pub fn on_packet(&mut self, handle: Handle, packet: PacketView, now: SimTime) -> &Connection {
        let connection = &mut self.connections[handle.index as usize];
        let old = connection.state;
        connection.state = old.next(packet.side, packet.flags);
        if old.expects_new_connection() && packet.flags.syn() && packet.side == Side::Client {
            connection.reuses += 1;
        }
        if connection.state != IpvsState::Close {
            connection.closed_by_stray_rst = false;
        } else if old != IpvsState::Close || !packet.invalid {
            connection.closed_by_stray_rst = packet.invalid && packet.flags.rst();
        }
        connection.touched = now;
        // The wheel never fires before the timeout, so this is early enough for a look.
        let at = now + self.timeouts[connection.state as usize];
        if self.agenda.is_before(at, connection.armed) {
            let ticket = Ticket {
                index: handle.index,
                generation: handle.generation,
            };
            connection.armed = self.agenda.put(ticket, at);
        }
        connection
    }

    /// No connection expires before this moment.
    pub fn next_end(&self) -> SimTime {
        self.agenda.next()
    }

    /// The connection whose timer has fired by `until`, and when, the earliest first; it must be removed.
    pub fn next_expired(&mut self, until: SimTime) -> Option<(SimTime, Handle)> {
        while self.agenda.next() <= until {
            let Some((at, ticket)) = self.agenda.pop() else {
                self.begin_slot();
                continue;
            };
            let handle = Handle {
                index: ticket.index,
                generation: ticket.generation,
            };
            let Some(connection) = self.get(handle) else {
                continue;
            };
            let expires = self.expires(connection);
            if expires <= at {
                return Some((at, handle));
            }
            self.connections[ticket.index as usize].armed = self.agenda.put(ticket, expires);
        }
        None
    }

    /// The connection still stands in TIME_WAIT as it was left by the flow that had `reuses` when it used it.
    pub fn is_undisturbed(&self, handle: Handle, reuses: u16, now: SimTime) -> bool {
        self.get(handle).is_some_and(|connection| {
            connection.state == IpvsState::TimeWait
                && connection.reuses as u16 == reuses
                && now < self.expires(connection)
        })
    }

    fn handle(&self, index: u32) -> Handle {
        Handle {
            index,
            generation: self.connections[index as usize].generation,
        }
    }

    fn begin_slot(&mut self) {
        let begun = self.agenda.begin();
        for &ticket in &begun.tickets {
            let connection = &self.connections[ticket.index as usize];
            if connection.generation == ticket.generation && connection.armed == begun.slot {
                let expires = self.expires(connection);
                self.connections[ticket.index as usize].armed = self.agenda.put_again(ticket, expires);
            }
        }
        self.agenda.settle(begun.tickets);
    }

    /// Puts one of the two tuples of a connection at the head of its bucket.
    fn link(&mut self, node: u32) {
        let (index, chain) = ((node >> 1) as usize, node & 1);
        let bucket = self.locate(&self.connections[index].key(chain));
        let first = std::mem::replace(&mut self.buckets[bucket], node);
        self.connections[index].next[chain as usize] = first;
    }

    fn unlink(&mut self, node: u32) {
        let connection = &self.connections[(node >> 1) as usize];
        let next = connection.next[(node & 1) as usize];
        let bucket = self.locate(&connection.key(node & 1));
        let mut at = self.buckets[bucket];
        if at == node {
            self.buckets[bucket] = next;
            return;
        }
        loop {
            let link = &mut self.connections[(at >> 1) as usize].next[(at & 1) as usize];
            if *link == node {
                *link = next;
                return;
            }
            at = *link;
        }
    }

    /// Doubles the buckets; within each the younger stay ahead.
    fn grow(&mut self) {
        let size = self.buckets.len() * 2;
        let old = std::mem::replace(&mut self.buckets, vec![NIL; size]);
        let mut chain = Vec::new();
        for first in old {
            let mut node = first;
            while node != NIL {
                chain.push(node);
                node = self.connections[(node >> 1) as usize].next[(node & 1) as usize];
            }
            while let Some(node) = chain.pop() {
                self.link(node);
            }
        }
    }

    /// Bucket of a tuple.
    fn locate(&self, tuple: &FourTuple) -> usize {
        let product = u128::from(tuple.src.to_u64() ^ 0x9e37_79b9_7f4a_7c15)
            * u128::from(tuple.dst.to_u64() ^ 0xe703_7ed1_a0b4_28db);
        let mixed = (product >> 64) as u64 ^ product as u64;
        (mixed ^ mixed >> 32) as usize & (self.buckets.len() - 1)
    }
}

/// What ipvs sees of a packet, and what it does not: whether conntrack called it INVALID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketView {
    /// Sender.
    pub side: Side,
    /// Flags.
    pub flags: Flags,
    /// No conntrack entry is attached.
    pub invalid: bool,
}
