//! One lane of the laboratory's group B, packet by packet: a caller of the SLB, a node that has a single SNAT port for it,
//! and a pod that answers and closes first. Callers and pod are real stacks, with the kernel's timers.

use std::collections::VecDeque;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::bench::{Bench, NODE, NODE_PORT, pod};
use super::small_node;
use crate::engine::{Handle, keyed_hash};
use crate::model::conntrack::State as CtState;
use crate::model::nat::PortChoice;
use crate::model::node::{Hop, NodeVerdict};
use crate::model::tcp::{
    Concerned, ListenOptions, ListenerId, Outcome, Owner, Reaction, Stack, State, TcpConfig, TimestampMode,
    Verdict,
};
use crate::profile::Profile;
use crate::units::{Endpoint, FourTuple, PortRange, SeqNum, SimDuration, SimTime};
use crate::wire::{Flags, Packet};

/// One way from host to host: the namespaces of one machine.
const HOP: SimDuration = SimDuration::from_micros(20);
/// The second connection of a trial is given up after this.
const CONNECT_LIMIT: SimDuration = SimDuration::from_secs(8);
/// The first one after this. Not stated, but seen: refused first connections drew up to eight bare ACKs, not six as the
/// second ones; and lanes whose port was held by a given-up SYN for 120 s came back in time for their last trial.
const SETUP_LIMIT: SimDuration = SimDuration::from_secs(20);
/// `nf_conntrack_tcp_timeout_time_wait` of the node: a port is free again soon.
const CONNTRACK_TIME_WAIT: SimDuration = SimDuration::from_secs(1);
/// The rule that makes callers look like those before 5.6.
const OLD_CLIENT: SimDuration = SimDuration::from_millis(900);
/// Between the second connection of a trial and the next trial.
const PAUSE: SimDuration = SimDuration::from_millis(1_200);
/// Octets of a request and of a response.
const REQUEST: u32 = 29;
const RESPONSE: u32 = 159;

/// Where the second connection of a trial comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The address of the first, another port.
    SameIp,
    /// Another address.
    DiffIp,
    /// Address and port of the first.
    SameIpSamePort,
}

/// What is measured: one line of the laboratory's summary.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variant {
    pub profile: &'static Profile,
    pub timestamps: TimestampMode,
    pub source: Source,
    /// The node drops a SYN that is repeated within 900 ms.
    pub old_client: bool,
    pub rfc1337: bool,
    /// The SLB's RST never reaches the node.
    pub rst_blocked: bool,
    /// The bare ACK never reaches the SLB.
    pub ack_blocked: bool,
}

/// What a set of lanes saw.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Seen {
    /// How long the second connections took; `None`: not within the limit.
    pub connects: Vec<Option<SimDuration>>,
    /// First connections that failed: their trials do not count.
    pub setup_failures: u32,
    /// What a sniffer in front of the pod counts.
    pub sniffer: Sniffer,
}

/// What a sniffer in front of the pod counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sniffer {
    /// SYNs with a sequence number of their own.
    pub attempts: u32,
    /// SYNs repeated.
    pub syn_retransmits: u32,
    /// Attempts whose first answer is a bare ACK.
    pub first_bare_ack: u32,
    /// Bare ACKs.
    pub bare_acks: u32,
    /// TIME_WAITs that an RST removed.
    pub killed_by_rst: u32,
    /// RSTs of the SLB.
    pub rsts: u32,
    /// Attempts answered by a bare ACK first and by a SYN-ACK later.
    pub ack_then_synack: u32,
}

/// Lanes beside one another, so many trials in each, one after the other.
pub(super) fn simulate(variant: &Variant, lanes: u32, trials: u32, seed: u64) -> Seen {
    let mut seen = Seen::default();
    for lane in 0..lanes {
        let ports = (0..2 * trials).map(|i| 33_000 + ((lane * trials * 2 + i) % 25_000) as u16);
        Lane::new(variant, lane, seed).run(ports, &mut seen);
    }
    seen
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Node,
    Slb,
    Pod,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Slb,
    Pod,
}

struct Lane {
    variant: Variant,
    rng: ChaCha8Rng,
    now: SimTime,
    slb: Stack<()>,
    pod: Stack<()>,
    listener: ListenerId,
    node: Bench,
    /// Every hop takes the same time, so packets arrive in the order in which they were sent.
    wire: VecDeque<(SimTime, To, Packet)>,
    /// The connection under way, and whether it is there.
    calling: Option<Handle>,
    connected: bool,
    /// The attempt that the sniffer saw last, and whether a bare ACK answered it.
    attempt: Option<(SeqNum, bool)>,
    sniffer: Sniffer,
}

impl Lane {
    /// All lanes of one seed have the same hosts; each has its own SNAT port.
    fn new(variant: &Variant, lane: u32, seed: u64) -> Self {
        let profile = variant.profile;
        let port = 45_000 + lane as u16;
        let range = PortRange::new(port, port);
        let mut config = small_node(profile, PortChoice::RandomFully, range);
        config.conntrack.timeouts.by_state[CtState::TimeWait as usize] = CONNTRACK_TIME_WAIT;
        config.drop_syn_repeats_within = variant.old_client.then_some(OLD_CLIENT);
        let tcp = TcpConfig {
            timestamps: variant.timestamps,
            rfc1337: variant.rfc1337,
            ..profile.tcp
        };
        // All hosts are namespaces of one machine: one clock, one boot secret.
        let secret = keyed_hash(seed, &[0]);
        let mut pod_stack = Stack::new(tcp, secret);
        let backlog = ListenOptions {
            backlog: 1024,
            ..ListenOptions::default()
        };
        let listener = pod_stack.listen(pod(0).endpoint, backlog, ());
        let lane_seed = keyed_hash(seed, &[1, u64::from(lane)]);
        Self {
            variant: *variant,
            rng: ChaCha8Rng::seed_from_u64(lane_seed),
            now: SimTime::ZERO,
            slb: Stack::new(tcp, secret),
            pod: pod_stack,
            listener,
            node: Bench::new(config, lane_seed),
            wire: VecDeque::new(),
            calling: None,
            connected: false,
            attempt: None,
            sniffer: Sniffer::default(),
        }
    }

    /// Trials, one after the other, each with two source ports of its own.
    fn run(mut self, mut ports: impl Iterator<Item = u16>, seen: &mut Seen) {
        while let (Some(first), Some(other)) = (ports.next(), ports.next()) {
            if self.connect(1, first, SETUP_LIMIT).is_none() {
                seen.setup_failures += 1;
            } else {
                let gap = self.rng.random_range(1_150..1_450);
                self.run_for(SimDuration::from_millis(gap));
                let (host, port) = match self.variant.source {
                    Source::SameIp => (1, other),
                    Source::DiffIp => (2, other),
                    Source::SameIpSamePort => (1, first),
                };
                seen.connects.push(self.connect(host, port, CONNECT_LIMIT));
            }
            self.run_for(PAUSE);
        }
        let (all, own) = (&mut seen.sniffer, self.sniffer);
        all.attempts += own.attempts;
        all.syn_retransmits += own.syn_retransmits;
        all.first_bare_ack += own.first_bare_ack;
        all.bare_acks += own.bare_acks;
        all.killed_by_rst += own.killed_by_rst;
        all.rsts += own.rsts;
        all.ack_then_synack += own.ack_then_synack;
    }

    /// A plain connect(); how long it took.
    fn connect(&mut self, host: u8, port: u16, limit: SimDuration) -> Option<SimDuration> {
        let source = Endpoint::new([10, 10, 0, host].into(), port);
        let tuple = FourTuple::new(source, Endpoint::new(NODE, NODE_PORT));
        let (began, limit) = (self.now, self.now + limit);
        let handle = self.slb.connect(tuple, (), self.now);
        (self.calling, self.connected) = (Some(handle), false);
        self.pump(Side::Slb, handle);
        while !self.connected && self.step(limit) {}
        if self.connected {
            return Some(self.now.since(began));
        }
        self.now = limit;
        self.close(Side::Slb, handle);
        None
    }

    fn run_for(&mut self, duration: SimDuration) {
        let until = self.now + duration;
        while self.step(until) {}
        self.now = until;
    }

    /// The next thing that happens; `false`: nothing does until then.
    fn step(&mut self, until: SimTime) -> bool {
        let timer = |stack: &Stack<()>, side| stack.next_timer().map(|(at, owner)| (at, owner, side));
        let timers = [timer(&self.slb, Side::Slb), timer(&self.pod, Side::Pod)];
        let timer = timers.into_iter().flatten().min_by_key(|(at, ..)| *at);
        let packet_at = self.wire.front().map_or(SimTime::NEVER, |(at, ..)| *at);
        // Within one instant timers come before packets.
        if let Some((at, owner, side)) = timer.filter(|(at, ..)| *at <= packet_at) {
            if at > until {
                return false;
            }
            self.now = at;
            self.on_timer(side, owner);
            return true;
        }
        if packet_at > until {
            return false;
        }
        if let Some((at, to, packet)) = self.wire.pop_front() {
            self.now = at;
            self.on_arrival(to, &packet);
            return true;
        }
        false
    }

    fn on_timer(&mut self, side: Side, owner: Owner) {
        let now = self.now;
        match owner {
            Owner::Socket(handle) => {
                let outcome = self.stack(side).on_timer(handle, now);
                self.carry_out(side, &outcome);
            }
            Owner::TimeWait(_) => self.stack(side).advance(now),
        }
    }

    fn on_arrival(&mut self, to: To, packet: &Packet) {
        match to {
            To::Node => self.on_node(packet),
            To::Slb if self.is_blocked_ack(packet) => {}
            To::Slb => {
                let outcome = self.slb.on_packet(packet, self.now);
                self.carry_out(Side::Slb, &outcome);
            }
            To::Pod => self.on_pod(packet),
        }
    }

    fn on_node(&mut self, packet: &Packet) {
        self.node.wait(self.now.since(self.node.now));
        let at = self.now + HOP;
        match self.node.send(packet) {
            NodeVerdict::Forward { packet, to } | NodeVerdict::Answer { packet, to } => {
                let to = match to {
                    Hop::Outside => To::Slb,
                    Hop::Pod(_) => To::Pod,
                };
                self.wire.push_back((at, to, packet));
            }
            NodeVerdict::Drop(_) => {}
        }
    }

    /// The bare ACK is the one that meets a caller which has no connection yet.
    fn is_blocked_ack(&self, packet: &Packet) -> bool {
        let Some(Owner::Socket(handle)) = self.slb.owner(packet.tuple.reversed()) else {
            return false;
        };
        self.variant.ack_blocked
            && packet.flags == Flags::ACK
            && self.slb.state(handle) == Some(State::SynSent)
    }

    fn on_pod(&mut self, packet: &Packet) {
        let outcome = self.pod.on_packet(packet, self.now);
        self.sniff(packet, &outcome);
        self.carry_out(Side::Pod, &outcome);
    }

    fn sniff(&mut self, packet: &Packet, outcome: &Outcome) {
        let sniffer = &mut self.sniffer;
        sniffer.rsts += u32::from(packet.flags.rst());
        sniffer.killed_by_rst += u32::from(outcome.verdict == Some(Verdict::Kill));
        if packet.flags != Flags::SYN {
            return;
        }
        let refused = match self.attempt {
            Some((isn, refused)) if isn == packet.seq => {
                sniffer.syn_retransmits += 1;
                refused
            }
            _ => {
                sniffer.attempts += 1;
                false
            }
        };
        let is_refusal =
            matches!(outcome.verdict, Some(Verdict::Ack { .. })) && outcome.reaction.reply.is_some();
        sniffer.bare_acks += u32::from(is_refusal);
        sniffer.first_bare_ack += u32::from(is_refusal && !refused);
        let is_taken = matches!(outcome.to, Concerned::Socket(_));
        sniffer.ack_then_synack += u32::from(refused && is_taken);
        self.attempt = Some((packet.seq, (refused || is_refusal) && !is_taken));
    }

    // ---- hosts ----

    fn stack(&mut self, side: Side) -> &mut Stack<()> {
        match side {
            Side::Slb => &mut self.slb,
            Side::Pod => &mut self.pod,
        }
    }

    fn send(&mut self, side: Side, packet: Packet) {
        if side == Side::Slb && self.variant.rst_blocked && packet.flags.rst() {
            return;
        }
        self.wire.push_back((self.now + HOP, To::Node, packet));
    }

    fn pump(&mut self, side: Side, handle: Handle) {
        let now = self.now;
        while let Some(packet) = self.stack(side).next_segment(handle, now) {
            self.send(side, packet);
        }
    }

    fn carry_out(&mut self, side: Side, outcome: &Outcome) {
        if let Some(reply) = outcome.reaction.reply {
            self.send(side, reply);
        }
        let Concerned::Socket(handle) = outcome.to else {
            return;
        };
        self.pump(side, handle);
        self.tell_application(side, handle, &outcome.reaction);
        self.pump(side, handle);
        if outcome.ended.is_some() {
            self.stack(side).forget(handle);
        }
    }

    /// The pod answers each request and closes; the SLB closes after it.
    fn tell_application(&mut self, side: Side, handle: Handle, reaction: &Reaction) {
        if reaction.connected {
            match side {
                Side::Pod => drop(self.pod.accept(self.listener)),
                Side::Slb => {
                    self.connected |= self.calling == Some(handle);
                    // A connection that has just come about takes a request.
                    let _ = self.slb.write(handle, REQUEST);
                }
            }
        }
        if reaction.data_len > 0 {
            let _ = self.stack(side).read(handle, reaction.data_len);
            if side == Side::Pod {
                let _ = self.pod.write(handle, RESPONSE);
                self.pump(side, handle);
                self.close(side, handle);
            }
        }
        if reaction.peer_closed && side == Side::Slb {
            self.close(side, handle);
        }
    }

    fn close(&mut self, side: Side, handle: Handle) {
        let now = self.now;
        let outcome = self.stack(side).close(handle, now);
        self.carry_out(side, &outcome);
    }
}
