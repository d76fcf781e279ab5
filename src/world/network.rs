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
    pub fn link(&mut self, config: LinkConfig, stream: ChaCha8Rng) -> Link {
        let plain = config.fixed_delay().and_then(|delay| self.queue.lane(delay));
        self.links.push(Uplink::new(config, stream));
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
        let passage = match self.plain_passage(route) {
            Some(passage) => passage,
            None => self.passage(route, packet),
        };
        let gone = cause_of(passage);
        if gone.is_none() {
            let slot = self.store(packet, ends);
            self.deliver(from, route, passage, slot);
        }
        gone
    }

    /// Puts the packet of a slot on a link, after it was delivered there. `Some`: why it never arrives; the slot is free.
    #[inline]
    pub fn forward(&mut self, from: HostId, route: Route, slot: u32) -> Option<Cause> {
        let passage = if let Some(passage) = self.plain_passage(route) {
            passage
        } else {
            let packet = self.packets[slot as usize].packet;
            self.passage(route, &packet)
        };
        let gone = cause_of(passage);
        if gone.is_none() {
            self.deliver(from, route, passage, slot);
        } else {
            self.free.push(slot);
        }
        gone
    }

    /// Counts a packet; the way over a link that does nothing but wait.
    #[inline]
    fn plain_passage(&mut self, route: Route) -> Option<Passage> {
        self.traffic.sent += 1;
        route.link.plain.map(Passage::After)
    }

    #[inline(never)]
    fn passage(&mut self, route: Route, packet: &Packet) -> Passage {
        let passage = self.links[route.link.place as usize].send(packet.wire_octets(), self.now);
        self.traffic.lost += u64::from(passage == Passage::Lost);
        self.traffic.overflowed += u64::from(passage == Passage::Overflow);
        passage
    }

    #[inline]
    fn deliver(&mut self, from: HostId, route: Route, passage: Passage, packet: u32) {
        let event = Event::Deliver { to: route.to, packet };
        let tie = self.tie(Class::Packet, from);
        match passage {
            Passage::After(lane) => self.queue.schedule_on(lane, tie, event),
            Passage::At(arrival) => self.queue.schedule(arrival, tie, event),
            Passage::Lost | Passage::Overflow => {}
        }
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

/// Why a packet that takes this passage never arrives.
#[inline]
const fn cause_of(passage: Passage) -> Option<Cause> {
    match passage {
        Passage::After(_) | Passage::At(_) => None,
        Passage::Lost => Some(Cause::LinkLoss),
        Passage::Overflow => Some(Cause::QueueOverflow),
    }
}
