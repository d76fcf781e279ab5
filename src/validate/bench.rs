//! A node on the bench, as the laboratory had it: raw packets on both sides, no peer kernel, the node's gc worker in time.
//!
//! SLB 10.10.0.x, node 10.20.0.1 with NodePort 30080, pods 10.20.0.2 and following, port 8080.

use std::net::Ipv4Addr;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::engine::{KernelTimers, keyed_hash};
use crate::model::conntrack::Entry;
use crate::model::ipvs::IpvsConfig;
use crate::model::nat::{NatRules, SnatConfig, SnatMode};
use crate::model::node::{Backend, Hop, IpvsListed, Node, NodeConfig, NodeProxy, NodeService, NodeVerdict};
use crate::profile::Profile;
use crate::units::{Endpoint, FourTuple, PortRange, SeqNum, SimDuration, SimTime};
use crate::wire::{Flags, Options, Packet};

/// The node, as the SLB and the pods address it.
pub const NODE: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 1);
/// The service.
pub const NODE_PORT: u16 = 30_080;
/// What the raw packets announce: the laboratory's scale no windows.
pub const WINDOW: u32 = 64_240;

/// The n-th pod.
pub fn pod(index: u32) -> Backend {
    Backend {
        pod: index,
        endpoint: Endpoint::new(Ipv4Addr::new(10, 20, 0, 2 + index as u8), 8080),
    }
}

/// A node with this kernel, iptables DNAT and one pod; the caller changes what its file says.
pub fn node_config(profile: &Profile, mode: SnatMode, to_ports: Option<PortRange>) -> NodeConfig {
    NodeConfig {
        ip: NODE,
        proxy: NodeProxy::Iptables,
        snat: SnatConfig {
            mode,
            to_ports,
            search: profile.nat_search,
            evicts: profile.nat_evicts,
            rules: NatRules::NETFILTER,
        },
        conntrack: profile.conntrack,
        drop_syn_repeats_within: None,
        timers: KernelTimers {
            hz: profile.conntrack.hz,
            phase: SimDuration::ZERO,
        },
        services: vec![NodeService {
            node_port: NODE_PORT,
            backends: vec![pod(0)],
        }],
        from_nodes: SnatMode::None,
    }
}

/// ipvs with this kernel as the laboratory set it, and as kube-proxy does: with conntrack, without connections of removed
/// pods.
pub fn ipvs_config(profile: &Profile) -> IpvsConfig {
    IpvsConfig {
        conntrack: true,
        expire_nodest_conn: true,
        ..profile.ipvs
    }
}

/// A node, the time, and when its gc worker runs.
#[derive(Clone)]
pub struct Bench {
    /// The node.
    pub node: Node,
    /// Now.
    pub now: SimTime,
    next_gc: SimTime,
}

impl Bench {
    /// A node that has just booted; `seed` keys its draws.
    pub fn new(config: NodeConfig, seed: u64) -> Self {
        let node = Node::new(config, &mut |purpose, position| {
            let purpose = purpose.bytes().fold(0, |word, byte| word << 8 | u64::from(byte));
            ChaCha8Rng::seed_from_u64(keyed_hash(seed, &[purpose, position]))
        });
        Self {
            now: SimTime::ZERO,
            next_gc: node.first_gc(),
            node,
        }
    }

    /// The node takes a packet now.
    pub fn send(&mut self, packet: &Packet) -> NodeVerdict {
        self.node.on_packet(packet, self.now)
    }

    /// Time passes.
    pub fn wait(&mut self, duration: SimDuration) {
        let until = self.now + duration;
        while self.next_gc <= until {
            self.now = self.next_gc;
            self.next_gc = self.node.on_gc(self.now);
        }
        self.node.advance(until);
        self.now = until;
    }

    /// The conntrack entry of a flow that a listing would show now.
    pub fn conntrack(&self, flow: &Flow) -> Option<&Entry> {
        self.node.conntrack_of(&flow.tuple(), self.now)
    }

    /// The ipvs connection of a flow that a listing would show now.
    pub fn ipvs(&self, flow: &Flow) -> Option<IpvsListed> {
        self.node.ipvs_of(&flow.tuple(), self.now)
    }
}

/// Who sends a raw packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The SLB, towards the NodePort.
    Slb,
    /// The pod, towards the source that it saw.
    Pod,
}

/// A raw packet by the laboratory's name: `SLB SYN`, `pod response+FIN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    side: Side,
    flags: Flags,
    payload_len: u32,
    /// An ACK of another connection: numbers that this one never had.
    bare: bool,
}

impl Step {
    /// The step of that name.
    pub fn parse(name: &str) -> Option<Self> {
        let (side, what) = name.split_once(' ')?;
        let side = match side {
            "SLB" => Side::Slb,
            "pod" => Side::Pod,
            _ => return None,
        };
        let (flags, payload_len) = match what {
            "SYN" => (Flags::SYN, 0),
            "SYN-ACK" => (Flags::SYN_ACK, 0),
            "ACK" | "bare ACK" => (Flags::ACK, 0),
            "request" => (Flags::ACK, 20),
            "response" => (Flags::ACK, 100),
            "FIN" | "FIN+ACK" => (Flags::FIN_ACK, 0),
            "response+FIN" => (Flags::FIN_ACK, 100),
            "RST" => (Flags::RST, 0),
            "RST+ACK" => (Flags::RST_ACK, 0),
            _ => return None,
        };
        Some(Self {
            side,
            flags,
            payload_len,
            bare: what == "bare ACK",
        })
    }
}

/// The packets of a connection that the pod closes first.
pub const POD_CLOSES_FIRST: [&str; 9] = [
    "SLB SYN",
    "pod SYN-ACK",
    "SLB ACK",
    "SLB request",
    "pod response",
    "pod FIN",
    "SLB ACK",
    "SLB FIN",
    "pod ACK",
];

/// One connection of the SLB, as both ends see it.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    /// The SLB's end.
    pub slb: Endpoint,
    /// The connection as the pod sees it, once a SYN got through.
    pub seen: Option<FourTuple>,
    /// Which pod that is.
    pub pod: Option<u32>,
    /// The SLB's next sequence number.
    pub slb_next: SeqNum,
    /// The pod's.
    pub pod_next: SeqNum,
    /// The pod has answered: its numbers are known to the other end.
    answered: bool,
}

impl Flow {
    /// A connection that 10.10.0.`host`:`port` is going to open with this initial sequence number.
    pub fn new(host: u8, port: u16, isn: u32) -> Self {
        Self {
            slb: Endpoint::new(Ipv4Addr::new(10, 10, 0, host), port),
            seen: None,
            pod: None,
            slb_next: SeqNum(isn),
            pod_next: SeqNum(isn ^ 0x5a5a_5a5a),
            answered: false,
        }
    }

    /// The same tuple, to be opened again with later sequence numbers.
    pub fn again(&self) -> Self {
        Self {
            slb_next: self.slb_next + 1_000_000,
            pod_next: self.pod_next + 1_000_000,
            seen: None,
            pod: None,
            answered: false,
            slb: self.slb,
        }
    }

    /// The connection as the SLB sends it.
    pub fn tuple(&self) -> FourTuple {
        FourTuple::new(self.slb, Endpoint::new(NODE, NODE_PORT))
    }

    /// The SNAT port, once a SYN got through.
    pub fn port(&self) -> Option<u16> {
        self.seen.map(|seen| seen.src.port)
    }

    /// The packet that a step stands for now; `None`: the pod has not seen the connection.
    pub fn packet(&self, step: Step) -> Option<Packet> {
        let (tuple, seq, ack) = match step.side {
            Side::Slb => (self.tuple(), self.slb_next, self.pod_next),
            Side::Pod => (self.seen?.reversed(), self.pod_next, self.slb_next),
        };
        let mut packet = segment(tuple, step.flags, seq, ack);
        packet.payload_len = step.payload_len;
        if step.bare {
            packet.ack = ack + 0x1234_5678;
        } else if step.side == Side::Pod && step.flags.rst() && !self.answered {
            // A closed port knows no numbers of its own (RFC 9293 section 3.5.2).
            packet = segment(tuple, Flags::RST_ACK, SeqNum(0), ack);
        }
        Some(packet)
    }

    /// Sends a step's packet; `None`: not sent, as the pod has not seen the connection. What the node drops is as good
    /// as never sent: its sender sends the same again.
    pub fn send(&mut self, bench: &mut Bench, step: Step) -> Option<NodeVerdict> {
        let packet = self.packet(step)?;
        let verdict = bench.send(&packet);
        let NodeVerdict::Forward { packet: out, to } = verdict else {
            return Some(verdict);
        };
        match (step.side, to) {
            (Side::Slb, Hop::Pod(pod)) => {
                if step.flags == Flags::SYN {
                    (self.seen, self.pod) = (Some(out.tuple), Some(pod));
                }
                self.slb_next = packet.end_seq();
            }
            // The caller answers the bare ACK with an RST at its number.
            (Side::Pod, _) if step.bare => self.slb_next = packet.ack,
            (Side::Pod, _) => {
                self.answered = true;
                self.pod_next = if packet.flags.rst() {
                    self.pod_next
                } else {
                    packet.end_seq()
                };
            }
            (Side::Slb, Hop::Outside) => {}
        }
        Some(verdict)
    }

    /// Sends steps by name until one cannot be sent; `false` then. Only for names that are known to be right.
    pub fn run(&mut self, bench: &mut Bench, names: &[&str]) -> bool {
        names.iter().all(|name| {
            let step = Step::parse(name).expect("a step of the laboratory");
            self.send(bench, step).is_some()
        })
    }
}

/// A segment without payload or timestamps.
pub fn segment(tuple: FourTuple, flags: Flags, seq: SeqNum, ack: SeqNum) -> Packet {
    Packet {
        tuple,
        seq,
        ack: if flags.ack() { ack } else { SeqNum(0) },
        payload_len: 0,
        window: WINDOW,
        timestamps: None,
        flags,
        options: Options::NONE,
        tag: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::conntrack::State;
    use crate::model::nat::PortChoice;
    use crate::profile;

    #[test]
    fn a_flow_that_the_pod_closes_first_ends_in_time_wait_on_every_kernel_and_path() {
        for profile in &Profile::ALL {
            for proxy in [NodeProxy::Iptables, NodeProxy::Ipvs(ipvs_config(profile))] {
                let mut config = node_config(profile, SnatMode::Masquerade(PortChoice::RandomFully), None);
                config.proxy = proxy;
                let (mut bench, mut flow) = (Bench::new(config, 1), Flow::new(1, 33_000, 1000));
                assert!(flow.run(&mut bench, &POD_CLOSES_FIRST), "{}", profile.name);
                let entry = bench.conntrack(&flow).expect("an entry");
                assert_eq!(entry.tracker.state, State::TimeWait);
                bench.wait(SimDuration::from_secs(121));
                assert!(bench.conntrack(&flow).is_none());
            }
        }
    }

    #[test]
    fn a_pod_that_saw_no_syn_cannot_send() {
        let profile = profile::find("6.18").unwrap();
        let config = node_config(profile, SnatMode::Masquerade(PortChoice::Keep), None);
        let (mut bench, mut flow) = (Bench::new(config, 1), Flow::new(1, 33_000, 1000));
        assert!(!flow.run(&mut bench, &["pod SYN-ACK"]));
        assert_eq!(Step::parse("pod dance"), None);
    }
}
