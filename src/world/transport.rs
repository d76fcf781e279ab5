//! Sockets and links: segments to sockets, what they send to links, timers to the pending set.

use super::build::World;
use super::event::{Event, Handle};
use super::request::NUMBER_BITS;
use super::stack::{Leg, Owner, Sock, Stack};
use crate::engine::Class;
use crate::model::tcp::{End, Host, Inherited, Reaction, Socket, Verdict, time_wait_expiry};
use crate::spec::Backends;
use crate::topology::{HostId, Role};
use crate::units::{Endpoint, FourTuple, SimTime};
use crate::vocab::Cause;
use crate::wire::{Flags, Packet, Timestamps};

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

/// Which of a host's links a packet leaves through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Client to SLB, and back.
    Clients,
    /// SLB to node or pod, and back.
    Upstream,
    /// Node to pod, and back.
    Pods,
}

/// What the application needs to know of a socket after it may be gone.
#[derive(Debug, Clone, Copy)]
pub struct SockInfo {
    /// Whose it was.
    pub leg: Leg,
    /// The request that it served.
    pub request: Handle,
}

/// Whether the application hears of what a socket decided; most segments are acknowledgments, and it does not.
const fn concerns_application(reaction: &Reaction) -> bool {
    reaction.connected
        || reaction.data_len > 0
        || reaction.peer_closed
        || reaction.reset
        || reaction.timed_out
}

impl World<'_> {
    /// The TCP of a host; nodes forward and have none.
    pub fn stack_mut(&mut self, host: HostId) -> &mut Stack {
        let position = host.position();
        match host.role() {
            Role::Client => &mut self.populations[position].stack,
            Role::Slb => &mut self.slb[position].stack,
            Role::Pod => &mut self.pods[position].stack,
            Role::Node => unreachable!("packets for a node's own stack are answered by the node model"),
        }
    }

    /// A socket of a host.
    pub fn sock_mut(&mut self, host: HostId, handle: Handle) -> Option<&mut Sock> {
        self.stack_mut(host).sockets.get_mut(handle)
    }

    // ---- links ----

    /// Sends a packet from an end host by its destination.
    pub fn send(&mut self, from: HostId, packet: Packet) {
        let dst = packet.tuple.dst.ip;
        let (to, via) = match from.role() {
            Role::Client => (
                self.topology.host_of(dst).or_else(|| self.vip_host(dst)),
                Via::Clients,
            ),
            Role::Slb => match client_tag(packet.tuple.dst) {
                Some(tag) => (
                    Some(HostId::new(Role::Client, (tag >> NUMBER_BITS) as usize)),
                    Via::Clients,
                ),
                None => (self.topology.host_of(dst), Via::Upstream),
            },
            Role::Pod if self.plan.slb.backends == Backends::Pod => {
                (self.topology.host_of(dst), Via::Upstream)
            }
            Role::Pod | Role::Node => {
                let node = self
                    .topology
                    .host_of(dst)
                    .filter(|host| host.role() == Role::Node);
                let gateway = HostId::new(Role::Node, self.topology.gateway(from.position()));
                (Some(node.unwrap_or(gateway)), Via::Pods)
            }
        };
        if let Some(to) = to {
            self.transmit(from, to, via, packet);
        }
    }

    /// The SLB host that answers one of the virtual addresses: each host has its own, one above the other.
    fn vip_host(&self, ip: std::net::Ipv4Addr) -> Option<HostId> {
        let offset = ip.to_bits().wrapping_sub(self.plan.slb.vip.ip.to_bits()) as usize;
        (offset < self.slb.len()).then(|| HostId::new(Role::Slb, offset))
    }

    /// Puts a packet on a link.
    pub fn transmit(&mut self, from: HostId, to: HostId, via: Via, packet: Packet) {
        let (now, position) = (self.now, from.position());
        let link = match (from.role(), via) {
            (Role::Client, _) => &mut self.populations[position].link,
            (Role::Slb, Via::Clients) => &mut self.slb[position].to_clients,
            (Role::Slb, _) => &mut self.slb[position].to_backends,
            (Role::Node, Via::Pods) => &mut self.nodes[position].to_pods,
            (Role::Node, _) => &mut self.nodes[position].to_outside,
            (Role::Pod, _) => &mut self.pods[position].link,
        };
        self.recorder.now.packets_sent += 1;
        let Some(arrival) = link.send(now) else {
            self.recorder.now.link_losses += 1;
            self.note_trouble(packet.tag, Cause::LinkLoss);
            return;
        };
        let slot = self.store_packet(packet);
        self.schedule(arrival, Class::Packet, from, Event::Deliver { to, packet: slot });
    }

    /// Puts a packet into the pool.
    pub fn store_packet(&mut self, packet: Packet) -> u32 {
        if let Some(slot) = self.free_packets.pop() {
            self.packets[slot as usize] = packet;
            return slot;
        }
        self.packets.push(packet);
        self.packets.len() as u32 - 1
    }

    /// Takes a packet out of the pool.
    pub fn take_packet(&mut self, slot: u32) -> Packet {
        self.free_packets.push(slot);
        self.packets[slot as usize]
    }

    /// A packet arrives.
    pub fn on_delivery(&mut self, to: HostId, slot: u32) {
        let packet = self.take_packet(slot);
        self.recorder.now.packets_delivered += 1;
        if to.role() == Role::Node {
            self.on_node_packet(to, &packet);
        } else {
            self.on_host_packet(to, &packet);
        }
    }

    #[inline(never)]
    fn on_host_packet(&mut self, host: HostId, packet: &Packet) {
        let owner = self.stack_mut(host).owner(packet.tuple.reversed());
        let pure_syn = packet.flags.syn() && !packet.flags.ack() && !packet.flags.rst();
        if pure_syn && host.role() == Role::Pod {
            self.observe_syn(host.position(), packet, owner);
        }
        match owner {
            Some(Owner::Socket(handle)) => self.segment_to_socket(host, handle, packet),
            Some(Owner::TimeWait(handle)) => self.segment_to_time_wait(host, handle, packet),
            None if pure_syn && self.listens(host, packet.tuple.dst) => self.on_new_syn(host, packet, None),
            None => self.answer_with_reset(host, packet),
        }
    }

    fn answer_with_reset(&mut self, host: HostId, packet: &Packet) {
        if let Some(reset) = Socket::reset_for(packet) {
            self.count_out_rst(host);
            self.send(host, reset);
        }
    }

    /// Counts an RST of the SLB.
    pub fn count_out_rst(&mut self, host: HostId) {
        self.recorder.now.slb_out_rsts += u64::from(host.role() == Role::Slb);
    }

    fn listens(&self, host: HostId, endpoint: Endpoint) -> bool {
        match host.role() {
            Role::Pod => self.plan.pods[host.position()].endpoint == endpoint,
            Role::Slb => endpoint.port == self.plan.slb.vip.port && self.vip_host(endpoint.ip) == Some(host),
            Role::Client | Role::Node => false,
        }
    }

    // ---- sockets ----

    /// A SYN for a listener.
    #[inline(never)]
    fn on_new_syn(&mut self, host: HostId, syn: &Packet, recycled_isn: Option<crate::units::SeqNum>) {
        if host.role() == Role::Pod && self.accept_queue_full(host.position()) {
            self.on_listen_overflow(syn.tag);
            return;
        }
        let (now, tuple) = (self.now, syn.tuple.reversed());
        let leg = if host.role() == Role::Pod {
            Leg::Server
        } else {
            Leg::Downstream
        };
        let stack = self.stack_mut(host);
        let mut socket = Socket::accept(syn, tuple, recycled_isn, &stack.host(), now);
        // What becomes of the SYN-ACK concerns the request that the SYN is about.
        socket.tag = syn.tag;
        let handle = stack.add(Sock::new(socket, tuple, leg, Handle::NONE));
        self.pump(host, handle);
    }

    /// Opens a connection.
    /// `inherited` is what a TIME_WAIT that it takes over hands on.
    pub fn open(
        &mut self,
        host: HostId,
        tuple: FourTuple,
        leg: Leg,
        request: Handle,
        tag: u32,
        inherited: Option<Inherited>,
    ) -> Handle {
        let now = self.now;
        let stack = self.stack_mut(host);
        let mut socket = match inherited {
            Some(old) => Socket::connect_over(tuple, old, &stack.host(), now),
            None => Socket::connect(tuple, &stack.host(), now),
        };
        socket.tag = tag;
        let handle = stack.add(Sock::new(socket, tuple, leg, request));
        self.pump(host, handle);
        handle
    }

    /// Sends what a socket has to send, and sees to its timer.
    pub fn pump(&mut self, host: HostId, handle: Handle) {
        let now = self.now;
        loop {
            let Some((sock, at_host)) = self.stack_mut(host).socket(handle) else {
                return;
            };
            let Some(packet) = sock.socket.next_segment(sock.tuple, &at_host, now) else {
                break;
            };
            let (leg, request) = (sock.leg, sock.request);
            if packet.flags == Flags::SYN && leg == Leg::Upstream {
                self.on_syn_sent(request);
            }
            self.send(host, packet);
        }
        let due = self.sock_mut(host, handle).and_then(Sock::arm);
        if let Some(at) = due {
            self.schedule(at, Class::Timer, host, Event::Socket { host, handle });
        }
    }

    fn segment_to_socket(&mut self, host: HostId, handle: Handle, packet: &Packet) {
        let queue_full = host.role() == Role::Pod && self.accept_queue_full(host.position());
        let now = self.now;
        let Some((sock, at_host)) = self.stack_mut(host).socket(handle) else {
            return;
        };
        let reaction = sock.socket.on_segment(packet, queue_full, &at_host, now);
        if reaction.listen_overflow {
            self.on_listen_overflow(packet.tag);
        }
        self.apply(host, handle, &reaction);
    }

    /// A socket's timer fires.
    #[inline(never)]
    pub fn on_socket_timer(&mut self, host: HostId, handle: Handle) {
        let now = self.now;
        let Some((sock, at_host)) = self.stack_mut(host).socket(handle) else {
            return;
        };
        if !sock.fired(now) {
            return;
        }
        let reaction = sock.socket.on_timer(&at_host, now);
        if reaction.retransmitted && host.role() == Role::Slb {
            self.recorder.now.slb_timeouts += 1;
        }
        self.apply(host, handle, &reaction);
    }

    /// Carries out what a socket decided, and tells its application.
    fn apply(&mut self, host: HostId, handle: Handle, reaction: &Reaction) {
        let Some(sock) = self.sock_mut(host, handle) else {
            return;
        };
        let info = SockInfo {
            leg: sock.leg,
            request: sock.request,
        };
        if let Some(reply) = reaction.reply {
            if reply.flags.rst() {
                self.count_out_rst(host);
            }
            self.send(host, reply);
        }
        match reaction.end {
            None => self.pump(host, handle),
            Some(end) => self.end_socket(host, handle, end),
        }
        if concerns_application(reaction) {
            self.tell_application(host, handle, info, reaction);
            self.pump(host, handle);
        }
    }

    /// Takes a socket that is done off its tuple; a timewait socket may take its place.
    #[inline(never)]
    pub fn end_socket(&mut self, host: HostId, handle: Handle, end: End) {
        let now = self.now;
        let Some((sock, at_host)) = self.stack_mut(host).socket(handle) else {
            return;
        };
        let tuple = sock.tuple;
        let last = sock.socket.final_ack(tuple, &at_host, now);
        if let Some(ack) = last {
            self.send(host, ack);
        }
        self.before_socket_goes(host, handle);
        self.stack_mut(host).remove(handle);
        let End::TimeWait(tw, lifetime) = end else { return };
        let is_pod = host.role() == Role::Pod;
        match self.stack_mut(host).add_time_wait(tw, tuple, lifetime, now) {
            Some((handle, expires)) => {
                self.recorder.now.time_waits += u64::from(is_pod);
                self.schedule(expires, Class::Timer, host, Event::TimeWait { host, handle });
            }
            None => self.recorder.now.time_wait_overflow += u64::from(is_pod),
        }
    }

    /// Closes a connection from above.
    pub fn close(&mut self, host: HostId, handle: Handle) {
        let Some((sock, at_host)) = self.stack_mut(host).socket(handle) else {
            return;
        };
        match sock.socket.close(at_host.config) {
            Some(end) => self.end_socket(host, handle, end),
            None => self.pump(host, handle),
        }
    }

    // ---- timewait sockets ----

    #[inline(never)]
    fn segment_to_time_wait(&mut self, host: HostId, handle: Handle, packet: &Packet) {
        let (now, is_pod) = (self.now, host.role() == Role::Pod);
        if is_pod && packet.flags.rst() {
            self.observe_rst(host.position(), handle, packet);
        }
        let config = self.stack_mut(host).config;
        let Some((entry, _)) = self.stack_mut(host).time_wait(handle) else {
            return;
        };
        let verdict = entry.socket.on_segment(packet, &config, now);
        entry.socket.apply(verdict, packet, now);
        match verdict {
            Verdict::Swallow { restart: false } => {
                if packet.flags == Flags::SYN {
                    // Only FreeBSD keeps silent; a repeat of that SYN is no new attempt.
                    entry.refused_isn = Some(packet.seq);
                }
            }
            Verdict::Swallow { restart: true } => self.restart_time_wait(host, handle),
            Verdict::Kill => self.on_time_wait_killed(host, handle, packet),
            Verdict::AcceptSyn(_) => {
                let recycled = entry.socket.recycled_isn(&config);
                if self.listens(host, packet.tuple.dst) {
                    self.stack_mut(host).remove_time_wait(handle);
                    self.on_new_syn(host, packet, recycled);
                } else {
                    self.acknowledge_from_time_wait(host, handle, packet);
                }
            }
            Verdict::Ack { restart, refused } => {
                if let Some(rule) = refused {
                    entry.refused_isn = Some(packet.seq);
                    let by_paws = rule == crate::vocab::TimeWaitRule::OlderTimestamp;
                    self.recorder.now.paws_rejected += u64::from(is_pod && by_paws);
                }
                self.acknowledge_from_time_wait(host, handle, packet);
                if restart {
                    self.restart_time_wait(host, handle);
                }
            }
            Verdict::Reset => {
                self.stack_mut(host).remove_time_wait(handle);
                self.answer_with_reset(host, packet);
            }
            Verdict::EnterTimeWait => {
                entry.since = now;
                self.acknowledge_from_time_wait(host, handle, packet);
                self.restart_time_wait(host, handle);
                if let Some(entry) = self.stack_mut(host).time_waits.get_mut(handle) {
                    entry.first_expiry = entry.expires;
                }
            }
        }
    }

    fn acknowledge_from_time_wait(&mut self, host: HostId, handle: Handle, packet: &Packet) {
        let (now, is_pod) = (self.now, host.role() == Role::Pod);
        let Some((entry, Host { config, clock, .. })) = self.stack_mut(host).time_wait(handle) else {
            return;
        };
        if !entry.socket.may_ack(packet, config, now) {
            self.recorder.now.acks_skipped_time_wait += u64::from(is_pod);
            return;
        }
        let timestamps = entry.socket.ts_recent.map(|recent| Timestamps {
            val: clock.timestamp(now, entry.socket.ts_offset),
            ecr: recent.val,
        });
        let ack = Packet {
            tuple: entry.tuple,
            seq: entry.socket.snd_nxt,
            ack: entry.socket.rcv_nxt,
            payload_len: 0,
            window: entry.socket.rcv_wnd,
            timestamps,
            flags: Flags::ACK,
            tag: packet.tag,
        };
        self.send(host, ack);
    }

    fn restart_time_wait(&mut self, host: HostId, handle: Handle) {
        let now = self.now;
        if let Some((entry, Host { config, timers, .. })) = self.stack_mut(host).time_wait(handle) {
            // The pending event fires at the old time, finds a later one and is set again.
            entry.expires = time_wait_expiry(config, timers, now, config.time_wait).max(entry.expires);
        }
    }

    /// A timewait socket's timer fires.
    #[inline(never)]
    pub fn on_time_wait_timer(&mut self, host: HostId, handle: Handle) {
        let now: SimTime = self.now;
        let Some(entry) = self.stack_mut(host).time_waits.get(handle) else {
            return;
        };
        if entry.expires > now {
            let at = entry.expires;
            self.schedule(at, Class::Timer, host, Event::TimeWait { host, handle });
        } else {
            self.stack_mut(host).remove_time_wait(handle);
        }
    }
}
