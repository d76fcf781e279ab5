//! A node on the bench: kernel profiles, flows that send real packets through it, and its gc worker in time.

use std::net::Ipv4Addr;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::super::*;
use crate::model::conntrack::{ChainLimit, Collection, Timeouts};
use crate::model::ipvs::{NodestExpiry, ReuseDrop, Scheduler};
use crate::model::nat::{NatRules, PortChoice, SearchEra, SnatMode};
use crate::units::{PortRange, SeqNum};
use crate::wire::{Flags, Options};

pub const NODE: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 1);
pub const NODE_PORT: u16 = 30_080;
pub const WINDOW: u32 = 64_240;

/// The kernels that were measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    V4_19,
    V5_10,
    V6_18,
}

impl Kernel {
    pub fn conntrack(self) -> ConntrackConfig {
        let newest = self == Self::V6_18;
        ConntrackConfig {
            timeouts: Timeouts::KERNEL,
            hz: 250,
            be_liberal: false,
            loose: true,
            max_retrans: 3,
            ignore_invalid_rst: false,
            max_entries: 4096,
            buckets: if newest { 4096 } else { 1024 },
            background_entries: 0,
            rst_must_be_exact: true,
            inexact_rst_is_unacknowledged: false,
            syn_repeat_refreshes: self == Self::V4_19,
            rst_in_closing_believed: newest,
            rst_after_ignored_ack_passes: newest,
            any_segment_reinits_window: !newest,
            old_segments_ignored: newest,
            collection: if newest {
                Collection::Cycles
            } else {
                Collection::Slices
            },
            chain_limit: newest.then_some(ChainLimit::KERNEL),
            drop_invalid: false,
        }
    }

    pub fn config(self, choice: PortChoice, to_ports: Option<(u16, u16)>) -> NodeConfig {
        NodeConfig {
            ip: NODE,
            proxy: NodeProxy::Iptables,
            snat: SnatConfig {
                mode: SnatMode::Masquerade(choice),
                to_ports: to_ports.and_then(|(first, last)| PortRange::new(first, last)),
                search: if self == Self::V4_19 {
                    SearchEra::WholeRange
                } else {
                    SearchEra::Bounded
                },
                evicts: self == Self::V6_18,
                rules: NatRules::NETFILTER,
            },
            conntrack: self.conntrack(),
            drop_syn_repeats_within: None,
            timers: KernelTimers {
                hz: 250,
                phase: SimDuration::ZERO,
            },
            services: vec![NodeService {
                node_port: NODE_PORT,
                backends: vec![pod(0)],
            }],
            from_nodes: SnatMode::None,
        }
    }

    pub fn ipvs(self, conn_reuse_mode: u8) -> NodeProxy {
        NodeProxy::Ipvs(IpvsConfig {
            hz: 250,
            scheduler: Scheduler::Rr,
            conn_reuse_mode,
            reuse_drop: if self == Self::V4_19 {
                ReuseDrop::Always
            } else {
                ReuseDrop::IfConfirmed
            },
            conntrack: true,
            expire_nodest_conn: true,
            nodest_expiry: if self == Self::V4_19 {
                NodestExpiry::NextPacket
            } else {
                NodestExpiry::Removal
            },
            weight_zero_needs_reuse_mode: self == Self::V4_19,
            timeout_established: SimDuration::from_secs(900),
            timeout_fin_wait: SimDuration::from_secs(120),
        })
    }
}

/// The n-th pod.
pub fn pod(index: u32) -> Backend {
    Backend {
        pod: index,
        endpoint: Endpoint::new(Ipv4Addr::new(10, 20, 0, 2 + index as u8), 8080),
    }
}

pub fn secs(seconds: f64) -> SimDuration {
    SimDuration::from_secs_f64(seconds)
}

/// A node, the time, and when its gc worker runs.
#[derive(Clone)]
pub struct Bench {
    pub node: Node,
    pub now: SimTime,
    next_gc: SimTime,
}

impl Bench {
    pub fn new(config: NodeConfig, seed: u64) -> Self {
        let node = Node::new(config, &mut |purpose, position| {
            ChaCha8Rng::seed_from_u64(seed ^ position.rotate_left(32) ^ u64::from(purpose.as_bytes()[0]))
        });
        Self {
            now: SimTime::from_nanos(1_234_567),
            next_gc: node.first_gc(),
            node,
        }
    }

    /// What `ipvsadm` did to the pod that has the flow, in the laboratory's words.
    pub fn change_server(&mut self, pod: Backend, how: &str) {
        match how {
            "alive" => {}
            "weight0" => assert!(self.node.set_weight(NODE_PORT, pod.endpoint, 0)),
            "removed" => assert!(self.node.remove_backend(NODE_PORT, pod.endpoint, self.now)),
            _ => panic!("nothing is known of a server that is {how}"),
        }
    }

    /// The node takes a packet now. What it forwards is that packet, but for its addresses and ports.
    pub fn send(&mut self, packet: &Packet) -> NodeVerdict {
        let verdict = self.node.on_packet(packet, self.now);
        if let NodeVerdict::Forward { packet: out, .. } = verdict {
            let tuple = packet.tuple;
            assert_eq!(Packet { tuple, ..out }, *packet);
        }
        verdict
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
}

/// One connection of the SLB, as both ends see it.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    pub slb: Endpoint,
    /// The pod's side, once a SYN got through: the source it sees, and itself.
    pub seen: Option<FourTuple>,
    pub pod: Option<u32>,
    client_next: SeqNum,
    pod_next: SeqNum,
}

impl Flow {
    pub fn new(host: u8, port: u16, isn: u32) -> Self {
        Self {
            slb: Endpoint::new(Ipv4Addr::new(10, 10, 0, host), port),
            seen: None,
            pod: None,
            client_next: SeqNum(isn),
            pod_next: SeqNum(isn ^ 0x5a5a_5a5a),
        }
    }

    pub fn tuple(&self) -> FourTuple {
        FourTuple::new(self.slb, Endpoint::new(NODE, NODE_PORT))
    }

    /// The SNAT port.
    pub fn port(&self) -> u16 {
        self.seen.expect("a SYN got through").src.port
    }

    /// A packet of the SLB.
    pub fn client_packet(&self, flags: Flags, len: u32) -> Packet {
        let without_ack = flags == Flags::SYN || flags == Flags::RST;
        Packet {
            tuple: self.tuple(),
            seq: self.client_next,
            ack: if without_ack { SeqNum(0) } else { self.pod_next },
            payload_len: len,
            window: WINDOW,
            timestamps: None,
            flags,
            options: Options::NONE,
            tag: 0,
        }
    }

    /// The SLB sends; what gets through moves its sequence number.
    pub fn client(&mut self, bench: &mut Bench, flags: Flags, len: u32) -> NodeVerdict {
        let packet = self.client_packet(flags, len);
        let verdict = bench.send(&packet);
        if let NodeVerdict::Forward {
            packet: out,
            to: Hop::Pod(pod),
        } = verdict
        {
            if flags == Flags::SYN {
                self.seen = Some(out.tuple);
                self.pod = Some(pod);
            }
            self.client_next = packet.end_seq();
        }
        verdict
    }

    /// The pod sends.
    pub fn server(&mut self, bench: &mut Bench, flags: Flags, len: u32) -> NodeVerdict {
        let packet = Packet {
            tuple: self.seen.expect("a SYN got through").reversed(),
            seq: self.pod_next,
            ack: self.client_next,
            payload_len: len,
            window: WINDOW,
            timestamps: None,
            flags,
            options: Options::NONE,
            tag: 0,
        };
        self.pod_next = packet.end_seq();
        bench.send(&packet)
    }

    /// One step as the laboratory's files name it.
    pub fn step(&mut self, bench: &mut Bench, name: &str) -> NodeVerdict {
        match name {
            "SLB SYN" => self.client(bench, Flags::SYN, 0),
            "pod SYN-ACK" => self.server(bench, Flags::SYN_ACK, 0),
            "SLB ACK" => self.client(bench, Flags::ACK, 0),
            "SLB request" => self.client(bench, Flags::ACK, 20),
            "pod response" => self.server(bench, Flags::ACK, 100),
            "pod FIN" => self.server(bench, Flags::FIN_ACK, 0),
            "SLB FIN" => self.client(bench, Flags::FIN_ACK, 0),
            "pod ACK" => self.server(bench, Flags::ACK, 0),
            "SLB RST" => self.client(bench, Flags::RST, 0),
            "pod RST" => self.server(bench, Flags::RST, 0),
            "pod bare ACK" => {
                // From a TIME_WAIT of another connection: both numbers are that one's.
                let (client, own) = (self.client_next, self.pod_next);
                self.client_next = client + 0x1234_5678;
                let verdict = self.server(bench, Flags::ACK, 0);
                self.client_next = client + 0x1234_5678;
                self.pod_next = own;
                verdict
            }
            _ => panic!("no step {name}"),
        }
    }

    pub fn steps(&mut self, bench: &mut Bench, names: &[&str]) {
        for name in names {
            self.step(bench, name);
        }
    }

    /// The whole life of a connection that the pod closes first.
    pub fn run(&mut self, bench: &mut Bench) -> NodeVerdict {
        let verdict = self.step(bench, "SLB SYN");
        if self.seen.is_some() {
            self.steps(bench, &OPEN_AND_CLOSE[1..]);
        }
        verdict
    }

    /// The SLB opens the same tuple again.
    pub fn again(&self) -> Self {
        Self {
            seen: None,
            pod: None,
            client_next: self.client_next + 1_000_000,
            pod_next: self.pod_next + 1_000_000,
            ..*self
        }
    }

    pub fn next_seq(&self) -> SeqNum {
        self.client_next
    }

    pub fn set_next_seq(&mut self, seq: SeqNum) {
        self.client_next = seq;
    }
}

pub const OPEN_AND_CLOSE: [&str; 9] = [
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
