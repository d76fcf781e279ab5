//! Sockets and links: segments to sockets, what they send to links, timers to the pending set.

use super::build::World;
use super::event::{Event, Handle};
use super::links::Route;
use super::network::{Carried, Ends, Network};
use super::request::NUMBER_BITS;
use super::stack::{App, Leg, Sock, Stack};
use crate::engine::Class;
use crate::model::tcp::{Concerned, Ended, Host, Outcome, Owner, Reaction, Verdict};
use crate::spec::Backends;
use crate::topology::{HostId, Role};
use crate::units::{Endpoint, FourTuple, SimTime};
use crate::vocab::{Cause, TimeWaitRule};
use crate::wire::{Flags, Packet};

/// Clients live in 11.0.0.0/8: twelve bits of address and the port number the requests of a population.
const CLIENT_NET: u32 = 11 << 24;
const CLIENT_PORTS: u32 = 64_512;
const CLIENT_FIRST_PORT: u32 = 1024;
const CLIENT_ADDRESS_BITS: u32 = 12;

/// The endpoint that a request's client connects from: every request has its own.
pub fn client_endpoint(tag: u32) -> Endpoint {
    let (population, number) = (tag >> NUMBER_BITS, tag & ((1 << NUMBER_BITS) - 1));
    let ip = CLIENT_NET | (population << CLIENT_ADDRESS_BITS) | (number / CLIENT_PORTS);
    Endpoint::new(ip.into(), (CLIENT_FIRST_PORT + number % CLIENT_PORTS) as u16)
}

/// The request behind a client's endpoint; `None`: not a client's.
pub fn client_tag(endpoint: Endpoint) -> Option<u32> {
    let ip = endpoint.ip.to_bits();
    if ip & 0xff00_0000 != CLIENT_NET {
        return None;
    }
    let population = (ip & 0x00ff_ffff) >> CLIENT_ADDRESS_BITS;
    let address = ip & ((1 << CLIENT_ADDRESS_BITS) - 1);
    let number = address * CLIENT_PORTS + u32::from(endpoint.port).checked_sub(CLIENT_FIRST_PORT)?;
    Some((population << NUMBER_BITS) | number)
}

/// What the application needs to know of a socket after it may be gone.
#[derive(Debug, Clone, Copy)]
pub struct SockInfo {
    /// Whose it was.
    pub leg: Leg,
    /// The request that it served.
    pub request: Handle,
}

impl SockInfo {
    const fn of(app: &App) -> Self {
        Self {
            leg: app.leg,
            request: app.request,
        }
    }
}

/// Whether the application hears of what a socket decided; most segments are acknowledgments, and it does not.
const fn concerns_application(reaction: &Reaction) -> bool {
    reaction.connected
        || reaction.data_len > 0
        || reaction.peer_closed
        || reaction.reset
        || reaction.timed_out
}

/// What drawing a socket's segments had that others want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Drawn {
    /// A SYN was among them.
    syn: bool,
    /// Why one will never arrive, the first if there are several.
    gone: Option<Cause>,
}

impl Drawn {
    /// Nothing.
    const PLAIN: Self = Self {
        syn: false,
        gone: None,
    };
}

/// Puts on its link what a socket has to send, and schedules its timer if the pending one would come too late.
#[allow(clippy::inline_always, reason = "every other time there is nothing to do")]
#[inline(always)]
fn draw(sock: &mut Sock, at_host: &Host<'_>, host: HostId, handle: Handle, network: &mut Network) -> Drawn {
    let mut drawn = Drawn::PLAIN;
    while let Some(packet) = sock.socket.next_segment(&sock.tuple, at_host, network.now) {
        drawn.syn |= packet.flags == Flags::SYN;
        if let Some(route) = sock.app.route {
            let ends = sock.app.ends(handle.slot);
            if let Some(gone) = network.transmit(host, route, &packet, ends) {
                drawn.gone.get_or_insert(gone);
            }
        }
    }
    if let Some(at) = sock.app.arm(sock.socket.deadline(), network.now) {
        network.schedule_timer(at, host, Event::Socket { host, handle });
    }
    drawn
}

impl World<'_> {
    /// The TCP of a host; nodes forward and have none.
    #[inline]
    pub fn stack_mut(&mut self, host: HostId) -> &mut Stack {
        &mut self.stacks[self.network.places.of(host)]
    }

    /// A socket of a host.
    #[inline]
    pub fn sock_mut(&mut self, host: HostId, handle: Handle) -> Option<&mut Sock> {
        self.stack_mut(host).sock_mut(handle)
    }

    // ---- links ----

    /// Sends a packet from an end host by its destination. One that leads nowhere is gone.
    #[inline(never)]
    pub fn send(&mut self, from: HostId, packet: Packet) {
        if let Some(route) = self.route(from, packet.tuple.dst) {
            self.transmit(from, route, &packet, Ends::UNKNOWN);
        }
    }

    /// The way from an end host to a destination.
    fn route(&self, from: HostId, dst: Endpoint) -> Option<Route> {
        let position = from.position();
        let (link, to) = match from.role() {
            Role::Client => (
                self.populations[position].link,
                self.topology.host_of(dst.ip).or_else(|| self.vip_host(dst.ip))?,
            ),
            Role::Slb => {
                if let Some(tag) = client_tag(dst) {
                    let population = (tag >> NUMBER_BITS) as usize;
                    let to = HostId::new(Role::Client, population);
                    (self.slb[position].to_clients, to)
                } else {
                    let to = self.topology.host_of(dst.ip)?;
                    (self.slb[position].to_backends.to(to), to)
                }
            }
            Role::Pod if self.plan.slb.backends == Backends::Pod => {
                (self.pods[position].link, self.topology.host_of(dst.ip)?)
            }
            Role::Pod => {
                let node = self
                    .topology
                    .host_of(dst.ip)
                    .filter(|host| host.role() == Role::Node && self.plan.links.node_node.is_none());
                let gateway = HostId::new(Role::Node, self.topology.gateway(position));
                (self.pods[position].link, node.unwrap_or(gateway))
            }
            Role::Node => unreachable!("nodes forward by the verdict of their model"),
        };
        Some(Route { link, to })
    }

    /// The SLB host that answers one of the virtual addresses: each host has its own, one above the other.
    fn vip_host(&self, ip: std::net::Ipv4Addr) -> Option<HostId> {
        let offset = ip.to_bits().wrapping_sub(self.plan.slb.vip.ip.to_bits()) as usize;
        (offset < self.slb.len()).then(|| HostId::new(Role::Slb, offset))
    }

    /// Puts a packet on a link.
    #[inline]
    pub fn transmit(&mut self, from: HostId, route: Route, packet: &Packet, ends: Ends) {
        if let Some(gone) = self.network.transmit(from, route, packet, ends) {
            self.note_trouble(packet.tag, gone);
        }
    }

    /// Where a pod's TCP is among all.
    pub const fn place_of_pod(&self, pod: usize) -> usize {
        self.network.places.of(HostId::new(Role::Pod, pod))
    }

    /// Where the TCP of an SLB host is among all.
    pub const fn place_of_slb(&self, host: usize) -> usize {
        self.network.places.of(HostId::new(Role::Slb, host))
    }

    /// A packet arrives.
    pub fn on_delivery(&mut self, to: HostId, slot: u32) {
        self.network.traffic.delivered += 1;
        if to.role() == Role::Node {
            self.on_node_packet(to, slot);
        } else {
            let Carried { packet, ends } = self.network.take(slot);
            self.on_host_packet(to, &packet, ends);
        }
    }

    #[inline(never)]
    fn on_host_packet(&mut self, host: HostId, packet: &Packet, ends: Ends) {
        let now = self.network.now;
        let stack = &mut self.stacks[self.network.places.of(host)];
        stack.advance(now);
        let connection = stack.connection_in(ends.peer, packet.tuple);
        let Some((handle, sock, at_host)) = connection.filter(|_| packet.flags.ack()) else {
            self.on_other_packet(host, packet, ends);
            return;
        };
        sock.app.peer = ends.own;
        let mut reaction = Reaction::default();
        sock.socket.on_segment(packet, None, &at_host, now, &mut reaction);
        if reaction.end.is_some() || reaction.reply.is_some() || reaction.challenged {
            self.after_segment(host, handle, reaction, packet.tag);
            return;
        }
        let told = concerns_application(&reaction).then(|| SockInfo::of(&sock.app));
        let drawn = draw(sock, &at_host, host, handle, &mut self.network);
        self.after_drawing(host, handle, drawn);
        if let Some(info) = told {
            self.tell_application(host, handle, info, &reaction);
            self.pump(host, handle);
        }
    }

    /// Sees to what a segment has brought about besides data and acknowledgments.
    #[inline(never)]
    fn after_segment(&mut self, host: HostId, handle: Handle, reaction: Reaction, tag: u32) {
        let now = self.now();
        let mut outcome = Outcome {
            to: Concerned::Socket(handle),
            reaction,
            ..Outcome::default()
        };
        self.stack_mut(host).after_segment(handle, &mut outcome, now);
        self.carry_out(host, &outcome, tag);
    }

    /// A packet whose sender does not know, or not rightly, which connection it reaches.
    #[inline(never)]
    fn on_other_packet(&mut self, host: HostId, packet: &Packet, ends: Ends) {
        let now = self.now();
        let stack = self.stack_mut(host);
        let tuple = packet.tuple.reversed();
        // A request that its peer knows is no connection yet.
        let owner = stack.owner_in(ends.peer, tuple).or_else(|| stack.owner(tuple));
        if let Some(Owner::Socket(_)) = owner
            && packet.flags.ack()
        {
            let outcome = stack.on_packet_of(owner, packet, now);
            self.learn_peer(host, &outcome, ends);
            self.carry_out(host, &outcome, packet.tag);
        } else {
            self.on_first_packet(host, owner, packet, ends);
        }
    }

    /// A SYN, a segment without ACK, or one that meets no socket.
    #[inline(never)]
    fn on_first_packet(&mut self, host: HostId, owner: Option<Owner>, packet: &Packet, ends: Ends) {
        let pure_syn = packet.flags.syn() && !packet.flags.ack() && !packet.flags.rst();
        if pure_syn && host.role() == Role::Pod {
            self.observe_syn(host.position(), packet, owner);
        }
        if let Some(Owner::TimeWait(handle)) = owner {
            self.segment_to_time_wait(host, handle, packet, ends);
            return;
        }
        let now = self.now();
        let outcome = self.stack_mut(host).on_packet_of(owner, packet, now);
        self.learn_peer(host, &outcome, ends);
        self.carry_out(host, &outcome, packet.tag);
    }

    /// The socket that a segment concerned, perhaps by making it, knows now who is at the other end, and the way there.
    fn learn_peer(&mut self, host: HostId, outcome: &Outcome, ends: Ends) {
        if let Concerned::Socket(handle) = outcome.to
            && let Some(sock) = self.sock_mut(host, handle)
        {
            sock.app.peer = ends.own;
            if sock.app.route.is_none() {
                self.find_route(host, handle);
            }
        }
    }

    /// Counts an RST of the SLB.
    pub fn count_out_rst(&mut self, host: HostId) {
        self.recorder.now.slb_out_rsts += u64::from(host.role() == Role::Slb);
    }

    // ---- sockets ----

    /// Opens a connection.
    pub fn open(&mut self, host: HostId, tuple: FourTuple, leg: Leg, request: Handle, tag: u32) -> Handle {
        let now = self.now();
        let route = self.route(host, tuple.dst);
        let stack = self.stack_mut(host);
        let mut app = App::new(leg, request);
        app.route = route;
        let handle = stack.connect(tuple, app, now);
        if let Some(sock) = stack.sock_mut(handle) {
            sock.socket.tag = tag;
        }
        self.pump(host, handle);
        handle
    }

    /// Sends what a socket has to send, and sees to its timer.
    pub fn pump(&mut self, host: HostId, handle: Handle) {
        let place = self.network.places.of(host);
        let Some((sock, at_host)) = self.stacks[place].split(handle) else {
            return;
        };
        let drawn = draw(sock, &at_host, host, handle, &mut self.network);
        self.after_drawing(host, handle, drawn);
    }

    #[inline]
    fn after_drawing(&mut self, host: HostId, handle: Handle, drawn: Drawn) {
        if drawn != Drawn::PLAIN {
            self.note_drawn(host, handle, drawn);
        }
    }

    #[inline(never)]
    fn note_drawn(&mut self, host: HostId, handle: Handle, drawn: Drawn) {
        let Some(sock) = self.sock_mut(host, handle) else {
            return;
        };
        let (leg, request, tag) = (sock.app.leg, sock.app.request, sock.socket.tag);
        if drawn.syn && leg == Leg::Upstream {
            self.on_syn_sent(request);
        }
        if let Some(gone) = drawn.gone {
            self.note_trouble(tag, gone);
        }
    }

    /// Finds the way that all segments of a socket go; what leads nowhere is gone.
    #[inline(never)]
    fn find_route(&mut self, host: HostId, handle: Handle) {
        if let Some(dst) = self.sock_mut(host, handle).map(|sock| sock.tuple.dst) {
            let route = self.route(host, dst);
            if let Some(sock) = self.sock_mut(host, handle) {
                sock.app.route = route;
            }
        }
    }

    /// A socket's timer fires.
    #[inline(never)]
    pub fn on_socket_timer(&mut self, host: HostId, handle: Handle) {
        let now = self.now();
        let stack = self.stack_mut(host);
        let Some(sock) = stack.sock_mut(handle) else {
            return;
        };
        if !sock.app.fired(now) {
            return;
        }
        let deadline = sock.socket.deadline();
        if deadline > now {
            if deadline != SimTime::NEVER {
                sock.app.arm_again(deadline);
                let event = Event::Socket { host, handle };
                self.schedule(deadline, Class::Timer, host, event);
            }
            return;
        }
        let outcome = stack.on_timer(handle, now);
        if outcome.reaction.retransmitted && host.role() == Role::Slb {
            self.recorder.now.slb_timeouts += 1;
        }
        self.carry_out(host, &outcome, u32::MAX);
    }

    /// Closes a connection from above.
    pub fn close(&mut self, host: HostId, handle: Handle) {
        let now = self.now();
        let outcome = self.stack_mut(host).close(handle, now);
        self.carry_out(host, &outcome, u32::MAX);
    }

    /// Carries out what a stack decided, and tells the application. `tag` is the segment's.
    #[inline]
    fn carry_out(&mut self, host: HostId, outcome: &Outcome, tag: u32) {
        let reaction = &outcome.reaction;
        let plain = reaction.reply.is_none() && !reaction.listen_overflow && outcome.ended.is_none();
        match outcome.to {
            // An acknowledgment, as most segments are.
            Concerned::Socket(handle) if plain && !concerns_application(reaction) => {
                if !outcome.idle {
                    self.pump(host, handle);
                }
            }
            _ => self.carry_out_more(host, outcome, tag),
        }
    }

    #[inline(never)]
    fn carry_out_more(&mut self, host: HostId, outcome: &Outcome, tag: u32) {
        let reaction = &outcome.reaction;
        if reaction.listen_overflow {
            self.on_listen_overflow(tag);
        }
        if let Some(reply) = reaction.reply {
            if reply.flags.rst() {
                self.count_out_rst(host);
            }
            self.reply(host, outcome.to, reply);
        }
        let Concerned::Socket(handle) = outcome.to else {
            return;
        };
        // Read before the socket may go.
        let told = concerns_application(reaction)
            .then(|| self.sock_mut(host, handle).map(|sock| SockInfo::of(&sock.app)))
            .flatten();
        match outcome.ended {
            // Its timer is pending, no later than it was due before the segment.
            None if outcome.idle => {}
            None => self.pump(host, handle),
            Some(ended) => self.end_socket(host, handle, ended),
        }
        if let Some(info) = told {
            self.tell_application(host, handle, info, reaction);
            self.pump(host, handle);
        }
    }

    /// Sends what is to be sent at once: a socket's the way of all its segments, anybody else's by its destination.
    fn reply(&mut self, host: HostId, from: Concerned, reply: Packet) {
        if let Concerned::Socket(handle) = from
            && let Some(app) = self.sock_mut(host, handle).map(|sock| &sock.app)
            && let Some(route) = app.route
        {
            let ends = app.ends(handle.slot);
            self.transmit(host, route, &reply, ends);
        } else {
            self.send(host, reply);
        }
    }

    /// Lets a socket go that has ended; a timewait socket may have taken its place.
    #[inline(never)]
    fn end_socket(&mut self, host: HostId, handle: Handle, ended: Ended) {
        self.before_socket_goes(host, handle);
        self.stack_mut(host).forget(handle);
        let is_pod = host.role() == Role::Pod;
        match ended {
            Ended::Closed => {}
            Ended::TimeWait { .. } => self.recorder.now.time_waits += u64::from(is_pod),
            Ended::Overflow => self.recorder.now.time_wait_overflow += u64::from(is_pod),
        }
    }

    // ---- timewait sockets ----

    #[inline(never)]
    fn segment_to_time_wait(&mut self, host: HostId, handle: Handle, packet: &Packet, ends: Ends) {
        let now = self.now();
        if host.role() == Role::Pod && packet.flags.rst() {
            self.observe_rst(host.position(), handle, packet);
        }
        let stack = self.stack_mut(host);
        let refused_before = stack.time_wait(handle).and_then(|entry| entry.refused_isn);
        let skipped_before = stack.counters.acks_skipped_time_wait;
        let outcome = stack.on_packet_of(Some(Owner::TimeWait(handle)), packet, now);
        let skipped = stack.counters.acks_skipped_time_wait - skipped_before;
        if host.role() == Role::Pod {
            let counts = &mut self.recorder.now;
            counts.acks_skipped_time_wait += skipped;
            match outcome.verdict {
                Some(Verdict::Kill) => self.on_time_wait_killed(host.position(), refused_before, packet),
                Some(Verdict::Ack {
                    refused: Some(TimeWaitRule::OlderTimestamp),
                    ..
                }) => counts.paws_rejected += 1,
                _ => {}
            }
        }
        self.learn_peer(host, &outcome, ends);
        self.carry_out(host, &outcome, packet.tag);
    }
}
