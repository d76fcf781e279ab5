//! Packets and events under way: links, the pool of packets, the pending set, and the order of what shares an instant.
//!
//! It knows nothing of sockets, so that whoever holds one can send what it has to send.

use super::event::Event;
use super::links::{Link, Passage, Route, Uplink};
use crate::engine::{Class, PendingSet, Tie};
use crate::model::link::LinkConfig;
use crate::spec::Plan;
use crate::topology::{HostId, Role};
use crate::units::{SimDuration, SimTime};
use crate::vocab::Cause;
use crate::wire::Packet;
use rand_chacha::ChaCha8Rng;

/// Where the hosts of each role begin in tables of all hosts: clients, SLB, pods, nodes. The first three have a TCP.
#[derive(Debug, Clone, Copy)]
pub struct Places([u32; 4]);

impl Places {
    /// Of a plan's hosts.
    pub fn of_plan(plan: &Plan) -> Self {
        let mut first = [0; 4];
        let slb = plan.clients.len();
        let pods = slb + plan.slb.hosts.len();
        let nodes = pods + plan.pods.len();
        for (role, place) in [(Role::Slb, slb), (Role::Pod, pods), (Role::Node, nodes)] {
            first[role as usize] = place as u32;
        }
        Self(first)
    }

    /// A host's place among all.
    #[inline]
    pub const fn of(&self, host: HostId) -> usize {
        self.0[host.role() as usize] as usize + host.position()
    }

    /// How many hosts have a TCP: their places are the first ones.
    pub const fn with_tcp(&self) -> usize {
        self.0[Role::Node as usize] as usize
    }
}

/// What became of packets since it was asked last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Put on a link.
    pub sent: u64,
    /// Lost there.
    pub lost: u64,
    /// Without room in the queue in front of one.
    pub overflowed: u64,
    /// Arrived.
    pub delivered: u64,
}

/// The slots of the sockets at both ends of a connection, as far as they are known: a guess that saves a search. It
/// decides nothing, for the receiver compares the tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The sender's.
    pub own: u32,
    /// The receiver's.
    pub peer: u32,
}

impl Ends {
    /// A slot that nobody has.
    pub const NOBODY: u32 = u32::MAX;
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        own: Self::NOBODY,
        peer: Self::NOBODY,
    };
}

/// A packet under way.
#[derive(Debug, Clone, Copy)]
pub struct Carried {
    /// As it is on the link.
    pub packet: Packet,
    /// Whose it is.
    pub ends: Ends,
}

/// One cache line.
const _: () = assert!(size_of::<Carried>() <= 64);

/// Everything that is under way. See the [module](self).
pub struct Network {
    /// Current time.
    pub now: SimTime,
    /// What is to happen.
    pub queue: PendingSet<Event>,
    /// Where each host is in the tables of all.
    pub places: Places,
    /// Packets, counted.
    pub traffic: Traffic,
    /// Events scheduled so far, by place: ties in time are broken by it.
    counters: Vec<u64>,
    links: Vec<Uplink>,
    packets: Vec<Carried>,
    /// Free slots of `packets`.
    free: Vec<u32>,
}

impl Network {
    /// Nothing under way, no links.
    pub fn new(plan: &Plan) -> Self {
        let places = Places::of_plan(plan);
        Self {
            now: SimTime::ZERO,
            queue: PendingSet::new(),
            places,
            traffic: Traffic::default(),
            counters: vec![0; places.with_tcp() + plan.nodes.len()],
            links: Vec::new(),
            packets: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Adds a host's end of a link.
    pub fn link(&mut self, config: &LinkConfig, stream: ChaCha8Rng) -> Link {
        let plain = config.fixed_delay().and_then(|delay| self.queue.lane(delay));
        self.links.push(Uplink::new(config.clone(), stream));
        let place = self.links.len() as u32 - 1;
        Link { place, plain }
    }

    /// Schedules an event on behalf of a host.
    pub fn schedule(&mut self, at: SimTime, class: Class, host: HostId, event: Event) {
        let tie = self.tie(class, host);
        self.queue.schedule(at, tie, event);
    }

    /// Schedules a timer of a host. Out of line: whoever sends mostly needs no timer, and is not to prepare for one.
    #[inline(never)]
    pub fn schedule_timer(&mut self, at: SimTime, host: HostId, event: Event) {
        self.schedule(at, Class::Timer, host, event);
    }

    /// Schedules the end of the current second.
    pub fn schedule_second(&mut self) {
        let at = self.now + SimDuration::from_secs(1);
        let tie = Tie::new(Class::Observe, 0, at.as_secs());
        self.queue.schedule(at, tie, Event::Second);
    }

    /// The place of a host's next event among those of its instant.
    #[inline]
    fn tie(&mut self, class: Class, host: HostId) -> Tie {
        let counter = &mut self.counters[self.places.of(host)];
        *counter += 1;
        Tie::new(class, host.bits(), *counter)
    }

    /// Puts a packet on a link. `Some`: why it never arrives.
    #[inline]
    pub fn transmit(&mut self, from: HostId, route: Route, packet: &Packet, ends: Ends) -> Option<Cause> {
        self.traffic.sent += 1;
        let slot = self.store(packet, ends);
        self.start(from, route, slot)
    }

    /// Puts the packet of a slot on a link, after it was delivered there. `Some`: why it never arrives; the slot is free.
    #[inline]
    pub fn forward(&mut self, from: HostId, route: Route, slot: u32) -> Option<Cause> {
        self.traffic.sent += 1;
        self.start(from, route, slot)
    }

    /// Nearly every link does nothing but wait, and its packets need nothing but its lane.
    #[inline]
    fn start(&mut self, from: HostId, route: Route, slot: u32) -> Option<Cause> {
        let Some(lane) = route.link.plain else {
            return self.start_on_line(from, route, slot);
        };
        let tie = self.tie(Class::Packet, from);
        let event = Event::Deliver {
            to: route.to,
            packet: slot,
        };
        self.queue.schedule_on(lane, tie, event);
        None
    }

    #[inline(never)]
    fn start_on_line(&mut self, from: HostId, route: Route, slot: u32) -> Option<Cause> {
        let octets = self.packets[slot as usize].packet.wire_octets();
        let gone = match self.links[route.link.place as usize].send(octets, self.now) {
            Passage::At(arrival) => {
                let tie = self.tie(Class::Packet, from);
                let event = Event::Deliver {
                    to: route.to,
                    packet: slot,
                };
                self.queue.schedule(arrival, tie, event);
                return None;
            }
            Passage::Lost => {
                self.traffic.lost += 1;
                Cause::LinkLoss
            }
            Passage::Overflow => {
                self.traffic.overflowed += 1;
                Cause::QueueOverflow
            }
        };
        self.free.push(slot);
        Some(gone)
    }

    /// Puts a packet into the pool.
    #[inline]
    pub fn store(&mut self, packet: &Packet, ends: Ends) -> u32 {
        let carried = Carried {
            packet: *packet,
            ends,
        };
        if let Some(slot) = self.free.pop() {
            self.packets[slot as usize] = carried;
            return slot;
        }
        self.packets.push(carried);
        self.packets.len() as u32 - 1
    }

    /// The packet of a slot.
    #[inline]
    pub fn packet_mut(&mut self, slot: u32) -> &mut Packet {
        &mut self.packets[slot as usize].packet
    }

    /// Takes a packet out of the pool.
    #[inline]
    pub fn take(&mut self, slot: u32) -> Carried {
        self.free.push(slot);
        self.packets[slot as usize]
    }
}
