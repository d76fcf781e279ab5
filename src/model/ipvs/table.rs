//! The connections of ipvs, found by the client's tuple or by the pod's.
//!
//! `net/netfilter/ipvs/ip_vs_conn.c`. Every packet sets the timer anew; it fires as the host's timer wheel does.

use rustc_hash::FxHashMap;

use super::{IpvsConfig, IpvsState, Side};
use crate::engine::KernelTimers;
use crate::units::{Endpoint, FourTuple, SimTime};
use crate::wire::Flags;

/// Names a connection for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    /// Place in the table.
    pub index: u32,
    /// Counts the connections that had this place.
    pub generation: u32,
}

/// One ipvs connection.
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
    /// When the timer fires.
    pub expires: SimTime,
    /// When it was meant to, before the wheel rounded up: what `ipvsadm -Lnc` counts down to.
    pub due: SimTime,
    /// It went to CLOSE by an RST that conntrack called INVALID.
    pub closed_by_stray_rst: bool,
    /// How many SYNs began a new connection on this entry after the first one (`conn_reuse_mode` 0).
    pub reuses: u32,
    generation: u32,
    armed_at: SimTime,
    live: bool,
}

/// All connections of a node.
#[derive(Debug, Clone, Default)]
pub struct Table {
    connections: Vec<Connection>,
    free: Vec<u32>,
    /// Both tuples of each connection: client to virtual server, and pod to client.
    by_tuple: FxHashMap<FourTuple, u32>,
    count: u64,
}

impl Table {
    /// Connections, however stale.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The connection that `handle` names, if it still lives.
    pub fn get(&self, handle: Handle) -> Option<&Connection> {
        let connection = self.connections.get(handle.index as usize)?;
        (connection.live && connection.generation == handle.generation).then_some(connection)
    }

    /// The connection of a packet from the client, or of an untranslated one from the pod.
    pub fn find(&self, tuple: &FourTuple) -> Option<Handle> {
        self.by_tuple.get(tuple).map(|&index| self.handle(index))
    }

    /// The connections of a server, in order of place.
    pub fn of_server(&self, server: (u32, u32)) -> Vec<Handle> {
        let live = |&index: &u32| {
            let connection = &self.connections[index as usize];
            connection.live && connection.server == server
        };
        let all = 0..self.connections.len() as u32;
        all.filter(live).map(|index| self.handle(index)).collect()
    }

    /// Makes a connection in state NONE; its first packet must follow.
    pub fn insert(&mut self, tuple: FourTuple, pod: Endpoint, pod_index: u32, server: (u32, u32)) -> Handle {
        let mut connection = Connection {
            tuple,
            pod,
            pod_index,
            server,
            state: IpvsState::None,
            expires: SimTime::NEVER,
            due: SimTime::NEVER,
            closed_by_stray_rst: false,
            reuses: 0,
            generation: 0,
            armed_at: SimTime::NEVER,
            live: true,
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
        self.by_tuple.insert(tuple, index);
        self.by_tuple.insert(FourTuple::new(pod, tuple.src), index);
        self.count += 1;
        self.handle(index)
    }

    /// Removes a live connection.
    pub fn remove(&mut self, handle: Handle) {
        let connection = &mut self.connections[handle.index as usize];
        debug_assert!(connection.live && connection.generation == handle.generation);
        connection.live = false;
        let keys = [
            connection.tuple,
            FourTuple::new(connection.pod, connection.tuple.src),
        ];
        for key in keys {
            // One client address and port may use two services of one pod: the pod's side then names the younger.
            if self.by_tuple.get(&key) == Some(&handle.index) {
                self.by_tuple.remove(&key);
            }
        }
        self.free.push(handle.index);
        self.count -= 1;
    }

    /// Takes a packet into account; returns when to call [`Self::on_timer`], if no call is pending that early.
    pub fn on_packet(
        &mut self,
        handle: Handle,
        config: &IpvsConfig,
        timers: &KernelTimers,
        packet: PacketView,
        now: SimTime,
    ) -> Option<SimTime> {
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
        let timeout = connection.state.timeout(config);
        connection.due = now + timeout;
        connection.expires = timers.expiry(now, timeout);
        if connection.expires >= connection.armed_at {
            return None;
        }
        connection.armed_at = connection.expires;
        Some(connection.expires)
    }

    /// A timer of [`Self::on_packet`] fires.
    pub fn on_timer(&mut self, handle: Handle, now: SimTime) -> TimerVerdict {
        if self.get(handle).is_none() {
            return TimerVerdict::Stale;
        }
        let connection = &mut self.connections[handle.index as usize];
        if now < connection.armed_at {
            return TimerVerdict::Stale;
        }
        if now >= connection.expires {
            return TimerVerdict::Expired;
        }
        connection.armed_at = connection.expires;
        TimerVerdict::Again(connection.expires)
    }

    /// The connection still stands in TIME_WAIT as it was left by the flow that had `reuses` when it used it.
    pub fn is_undisturbed(&self, handle: Handle, reuses: u32, now: SimTime) -> bool {
        self.get(handle).is_some_and(|connection| {
            connection.state == IpvsState::TimeWait && connection.reuses == reuses && now < connection.expires
        })
    }

    fn handle(&self, index: u32) -> Handle {
        Handle {
            index,
            generation: self.connections[index as usize].generation,
        }
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

/// What a timer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerVerdict {
    /// Superseded, or the connection is gone.
    Stale,
    /// The connection lives on: call again then.
    Again(SimTime),
    /// The connection must be removed.
    Expired,
}
