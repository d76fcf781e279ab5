//! The connections of ipvs, found by the client's tuple. The kernel's table has the pod's tuple, too; that one follows
//! from the client's and the server.
//!
//! `net/netfilter/ipvs/ip_vs_conn.c`. Every packet sets the timer anew; it fires as the host's timer wheel does, which
//! is worked out from the last packet and the state only when it matters.

use hashbrown::HashTable;

use super::loads::Loads;
use super::{IpvsConfig, IpvsState, Load, Side};
use crate::engine::KernelTimers;
use crate::model::agenda::{self, Agenda, Ticket};
use crate::model::growth;
use crate::units::{FourTuple, SimDuration, SimTime};
use crate::wire::Flags;

/// Connections by which the memory of a small table grows.
const GROWTH: usize = 64;
/// Mark of a connection that the agenda does not know.
const UNARMED: u32 = agenda::LAST_SLOT;
/// Mark: the place is free.
const FREE: u32 = agenda::LAST_SLOT + 1;

/// Names a connection for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    /// Place in the table.
    pub index: u32,
    /// How many connections the table had seen before it.
    pub generation: u32,
}

/// One ipvs connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// Client to virtual server, here SLB to NodePort.
    pub tuple: FourTuple,
    /// State.
    pub state: IpvsState,
    /// It went to CLOSE by an RST that conntrack called INVALID.
    pub closed_by_stray_rst: bool,
    /// How many SYNs began a new connection on this entry after the first one (`conn_reuse_mode` 0); it wraps.
    pub reuses: u16,
    /// The service and the place of the pod among its servers.
    pub server: (u32, u32),
    /// The last packet: it set the timer.
    touched: SimTime,
    generation: u32,
    /// The slot of the agenda in which it is looked at, or a mark.
    armed: u32,
}

const _: () = assert!(size_of::<Connection>() <= 40);

/// All connections of a node.
#[derive(Debug, Clone)]
pub struct Table {
    timers: KernelTimers,
    /// By [`IpvsState`].
    timeouts: [SimDuration; 11],
    connections: Vec<Connection>,
    free: Vec<u32>,
    /// Places by the client's tuple.
    index: HashTable<u32>,
    agenda: Agenda,
    /// Connections that were made so far; it wraps.
    made: u32,
    loads: Loads,
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
            index: HashTable::new(),
            agenda: Agenda::new(),
            made: 0,
            loads: Loads::new(config.map(|config| config.scheduler)),
        }
    }

    /// Connections, however stale.
    pub fn count(&self) -> u64 {
        self.index.len() as u64
    }

    /// The connection that `handle` names, if it still lives.
    pub fn get(&self, handle: Handle) -> Option<&Connection> {
        let connection = self.connections.get(handle.index as usize)?;
        (connection.generation == handle.generation && connection.armed != FREE).then_some(connection)
    }

    /// The connection of a client's tuple.
    pub fn find(&self, tuple: &FourTuple) -> Option<Handle> {
        let is_it = |&place: &u32| self.connections[place as usize].tuple == *tuple;
        let &place = self.index.find(hash(tuple), is_it)?;
        Some(self.handle(place))
    }

    /// How many connections were made since, this one included.
    pub fn age(&self, handle: Handle) -> u32 {
        self.made.wrapping_sub(handle.generation)
    }

    /// How many connections a server has; nothing is counted unless the scheduler asks.
    pub fn load(&self, server: (u32, u32)) -> Load {
        self.loads.of(server)
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

    /// Makes a connection of a tuple that has none, in state NONE; its first packet must follow.
    pub fn insert(&mut self, tuple: FourTuple, server: (u32, u32)) -> Handle {
        let connection = Connection {
            tuple,
            state: IpvsState::None,
            closed_by_stray_rst: false,
            reuses: 0,
            server,
            touched: SimTime::NEVER,
            generation: self.made,
            armed: UNARMED,
        };
        self.made = self.made.wrapping_add(1);
        self.loads.note(server, None, Some(IpvsState::None));
        let place = if let Some(place) = self.free.pop() {
            self.connections[place as usize] = connection;
            place
        } else {
            growth::make_room(&mut self.connections, 1, GROWTH);
            self.connections.push(connection);
            (self.connections.len() - 1) as u32
        };
        let connections = &self.connections;
        let hash_of = |&place: &u32| hash(&connections[place as usize].tuple);
        self.index.insert_unique(hash(&tuple), place, hash_of);
        self.handle(place)
    }

    /// Removes a live connection.
    pub fn remove(&mut self, handle: Handle) {
        debug_assert!(self.get(handle).is_some());
        let connection = &mut self.connections[handle.index as usize];
        connection.armed = FREE;
        self.loads.note(connection.server, Some(connection.state), None);
        let is_it = |&place: &u32| place == handle.index;
        if let Ok(found) = self.index.find_entry(hash(&connection.tuple), is_it) {
            found.remove();
        }
        self.free.push(handle.index);
    }

    /// Takes a packet into account; returns the connection.
    pub fn on_packet(&mut self, handle: Handle, packet: PacketView, now: SimTime) -> &Connection {
        let connection = &mut self.connections[handle.index as usize];
        let old = connection.state;
        connection.state = old.next(packet.side, packet.flags);
        self.loads
            .note(connection.server, Some(old), Some(connection.state));
        if old.expects_new_connection() && packet.flags.syn() && packet.side == Side::Client {
            connection.reuses = connection.reuses.wrapping_add(1);
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
                && connection.reuses == reuses
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
        for &place in &begun.places {
            let connection = &self.connections[place as usize];
            if connection.armed == begun.slot {
                let ticket = Ticket {
                    index: place,
                    generation: connection.generation,
                };
                let expires = self.expires(connection);
                self.connections[place as usize].armed = self.agenda.put_again(ticket, expires);
            }
        }
        self.agenda.settle(begun.places);
    }
}

fn hash(tuple: &FourTuple) -> u64 {
    let product = u128::from(tuple.src.to_u64() ^ 0x9e37_79b9_7f4a_7c15)
        * u128::from(tuple.dst.to_u64() ^ 0xe703_7ed1_a0b4_28db);
    let mixed = (product >> 64) as u64 ^ product as u64;
    mixed ^ mixed >> 32
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
