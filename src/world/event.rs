//! What can happen, and to whom.

use crate::model::node::NodeTimer;

/// A host: its role above, its position within the role below. Names never matter, and a host added behind the
/// others of its role changes no other's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(u32);

/// Role of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A client population.
    Client,
    /// A host of the SLB.
    Slb,
    /// A node.
    Node,
    /// A pod.
    Pod,
}

const POSITION_BITS: u32 = 20;

impl HostId {
    /// The host of a role at a position.
    pub const fn new(role: Role, position: usize) -> Self {
        assert!(position < 1 << POSITION_BITS);
        Self(((role as u32) << POSITION_BITS) | position as u32)
    }
    /// Its role.
    pub const fn role(self) -> Role {
        match self.0 >> POSITION_BITS {
            0 => Role::Client,
            1 => Role::Slb,
            2 => Role::Node,
            _ => Role::Pod,
        }
    }
    /// Its position within the role.
    pub const fn position(self) -> usize {
        (self.0 & ((1 << POSITION_BITS) - 1)) as usize
    }
    /// Both in 22 bits, for the order of simultaneous events.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

/// A reference to something that may be gone when it is used: a slot and the generation that lived there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    /// Slot.
    pub slot: u32,
    /// Generation.
    pub generation: u32,
}

impl Handle {
    /// Refers to nothing.
    pub const NONE: Self = Self { slot: u32::MAX, generation: u32::MAX };
}

/// An event; the pending set orders them by time, class, host and that host's counter.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// A request of a population arrives (of one virtual user, in a closed loop).
    Arrival {
        /// Population.
        population: u32,
    },
    /// A packet reaches a host.
    Deliver {
        /// Where.
        to: HostId,
        /// Slot in the packet pool.
        packet: u32,
    },
    /// A socket's timer.
    Socket {
        /// Whose.
        host: HostId,
        /// Which.
        handle: Handle,
    },
    /// A timewait socket's timer.
    TimeWait {
        /// Whose.
        host: HostId,
        /// Which.
        handle: Handle,
    },
    /// The idle timer of a kept-alive connection.
    Idle {
        /// Whose.
        host: HostId,
        /// Which.
        handle: Handle,
    },
    /// A node's timer.
    Node {
        /// Which node.
        node: u16,
        /// Its timer.
        timer: NodeTimer,
    },
    /// The earliest of a request's limits: the client's patience, the SLB's timeouts.
    Limit {
        /// Which request.
        request: Handle,
    },
    /// A pod has worked out its response.
    Served {
        /// Which pod.
        pod: u32,
        /// On which connection.
        handle: Handle,
    },
    /// The SLB sends an RST after the close.
    StrayRst {
        /// From which host.
        host: HostId,
        /// Slot in the packet pool.
        packet: u32,
    },
    /// A second is over.
    Second,
}

const _: () = assert!(size_of::<Event>() <= 16);
