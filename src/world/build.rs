//! Builds a world from a plan.

use std::net::Ipv4Addr;

use rand_chacha::ChaCha8Rng;
use rustc_hash::FxHashMap;

use super::event::{Event, Handle};
use super::links::Uplink;
use super::recorder::Recorder;
use super::request::Request;
use super::stack::{App, Leg, Stack};
use crate::engine::{Class, KernelTimers, PendingSet, Slots, Tie, mix64, stream};
use crate::model::node::{Backend, Node, NodeConfig, NodeProxy, NodeService, NodeStats};
use crate::model::tcp::{ListenOptions, ListenerId, PortSelector, SocketOptions};
use crate::observe::RecordOptions;
use crate::spec::{Backends, NodePlan, Plan, ProxyMode};
use crate::topology::{HostId, Role, Topology};
use crate::units::{Endpoint, SeqNum, SimDuration, SimTime};
use crate::wire::Packet;

/// What every application of the world does with its sockets: it reads at once and wants no Nagle.
const APPLICATION: SocketOptions = SocketOptions {
    no_delay: true,
    reads_at_once: true,
    ..SocketOptions::NONE
};

/// A client population.
pub struct Population {
    /// TCP of its hosts, taken together.
    pub stack: Stack,
    /// Towards the SLB.
    pub link: Uplink,
    /// Gaps between arrivals.
    pub arrivals: ChaCha8Rng,
    /// What requests draw at birth.
    pub births: ChaCha8Rng,
    /// The same numbers, read again where the request is served.
    pub services: ChaCha8Rng,
    /// Number of the next request.
    pub next_number: u32,
    /// When the last request of an open loop arrives that is scheduled so far.
    pub last_arrival: SimTime,
}

/// Idle upstream connections towards one backend, most recently used last.
pub type Pool = Vec<Handle>;

/// A host of the SLB.
pub struct SlbHost {
    /// TCP.
    pub stack: Stack,
    /// The listener at its virtual address.
    pub listener: ListenerId,
    /// Source addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// Source ports.
    pub ports: PortSelector,
    /// Towards clients.
    pub to_clients: Uplink,
    /// Towards nodes, or pods without a node between.
    pub to_backends: Uplink,
    /// Round robin, by service.
    pub next_backend: Vec<usize>,
    /// Keepalive, by service and backend.
    pub pools: Vec<Vec<Pool>>,
    /// Idle connections in all pools.
    pub idle: u32,
}

/// A node.
pub struct NodeHost {
    /// Everything that the node decides.
    pub node: Node,
    /// Towards the SLB.
    pub to_outside: Uplink,
    /// Towards pods.
    pub to_pods: Uplink,
    /// What its counters said when they were read last.
    pub seen: NodeStats,
}

/// A pod.
pub struct PodHost {
    /// TCP.
    pub stack: Stack,
    /// Towards its node.
    pub link: Uplink,
    /// Workers that serve a connection now.
    pub busy: u32,
    /// Its listener.
    pub listener: ListenerId,
    /// ISNs of SYNs whose refusing TIME_WAIT is gone: the same again is a repetition. For observers only.
    pub killed: FxHashMap<Endpoint, SeqNum>,
}

/// One replication in progress.
pub struct World<'p> {
    /// The scenario.
    pub plan: &'p Plan,
    /// Current time.
    pub now: SimTime,
    /// What is to happen.
    pub queue: PendingSet<Event>,
    /// Packets under way.
    pub packets: Vec<Packet>,
    /// Free slots of `packets`.
    pub free_packets: Vec<u32>,
    /// Events scheduled so far, by host: ties in time are broken by it.
    pub counters: [Vec<u64>; 4],
    /// Client populations.
    pub populations: Vec<Population>,
    /// SLB.
    pub slb: Vec<SlbHost>,
    /// Nodes.
    pub nodes: Vec<NodeHost>,
    /// Pods.
    pub pods: Vec<PodHost>,
    /// Addresses, backends, gateways.
    pub topology: Topology,
    /// Requests that somebody still deals with.
    pub requests: Slots<Request>,
    /// The same by tag.
    pub by_tag: FxHashMap<u32, Handle>,
    /// Requests that have not ended.
    pub requests_in_flight: u64,
    /// Upstream connects that have not ended.
    pub connects_in_flight: u64,
    /// Watches.
    pub recorder: Recorder,
}

impl<'p> World<'p> {
    /// Builds the hosts of a plan, with the streams of one replication.
    pub fn new(plan: &'p Plan, replication: u32, options: RecordOptions) -> Self {
        let streams = Streams {
            seed: plan.seed,
            replication,
        };
        let mut world = Self {
            plan,
            now: SimTime::ZERO,
            queue: PendingSet::new(),
            packets: Vec::new(),
            free_packets: Vec::new(),
            counters: [
                vec![0; plan.clients.len()],
                vec![0; plan.slb.hosts.len()],
                vec![0; plan.nodes.len()],
                vec![0; plan.pods.len()],
            ],
            populations: Vec::new(),
            slb: Vec::new(),
            nodes: Vec::new(),
            pods: Vec::new(),
            topology: Topology::of(plan),
            requests: Slots::default(),
            by_tag: FxHashMap::default(),
            requests_in_flight: 0,
            connects_in_flight: 0,
            recorder: Recorder::new(options, plan.warm_up),
        };
        for position in 0..plan.clients.len() {
            world.populations.push(population(plan, position, &streams));
        }
        for position in 0..plan.slb.hosts.len() {
            world
                .slb
                .push(slb_host(plan, position, &world.topology, &streams));
        }
        for (position, node) in plan.nodes.iter().enumerate() {
            world.nodes.push(node_host(plan, node, position, &streams));
        }
        for position in 0..plan.pods.len() {
            world.pods.push(pod_host(plan, position, &streams));
        }
        world
    }

    /// Schedules an event on behalf of a host.
    pub fn schedule(&mut self, at: SimTime, class: Class, host: HostId, event: Event) {
        let counter = &mut self.counters[host.role() as usize][host.position()];
        *counter += 1;
        self.queue
            .schedule(at, Tie::new(class, host.bits(), *counter), event);
    }

    /// Schedules what starts a run.
    pub fn start(&mut self) {
        for position in 0..self.populations.len() {
            self.first_arrivals(position);
        }
        for position in 0..self.nodes.len() {
            let at = self.nodes[position].node.first_gc();
            let event = Event::Node {
                node: position as u16,
            };
            self.schedule(at, Class::Timer, HostId::new(Role::Node, position), event);
        }
        self.schedule_second();
    }

    /// Schedules the end of the current second.
    pub fn schedule_second(&mut self) {
        let at = self.now + SimDuration::from_secs(1);
        let tie = Tie::new(Class::Observe, 0, at.as_secs());
        self.queue.schedule(at, tie, Event::Second);
    }
}

struct Streams {
    seed: u64,
    replication: u32,
}

impl Streams {
    fn of(&self, role: Role, position: usize, purpose: &str) -> ChaCha8Rng {
        stream(self.seed, self.replication, role.name(), position as u64, purpose)
    }

    fn secret(&self, role: Role, position: usize) -> u64 {
        rand::Rng::next_u64(&mut self.of(role, position, "boot"))
    }
}

fn population(plan: &Plan, position: usize, streams: &Streams) -> Population {
    let mut stack = Stack::new(plan.clients[position].tcp, streams.secret(Role::Client, position));
    stack.defaults = APPLICATION;
    Population {
        stack,
        link: Uplink::new(plan.links.client_slb, streams.of(Role::Client, position, "link")),
        arrivals: streams.of(Role::Client, position, "arrivals"),
        births: streams.of(Role::Client, position, "requests"),
        services: streams.of(Role::Client, position, "requests"),
        next_number: 0,
        last_arrival: SimTime::ZERO,
    }
}

fn slb_host(plan: &Plan, position: usize, topology: &Topology, streams: &Streams) -> SlbHost {
    let slb = &plan.slb;
    let secret = streams.secret(Role::Slb, position);
    let link = match slb.backends {
        Backends::NodePort => plan.links.slb_node,
        Backends::Pod => plan.links.slb_pod,
    };
    let services = || 0..plan.services.len();
    let mut stack = Stack::new(slb.tcp, secret);
    // Every host has its own virtual address, one above the other.
    let vip = Endpoint::new((slb.vip.ip.to_bits() + position as u32).into(), slb.vip.port);
    // The SLB accepts at once, so its queue never fills.
    let options = ListenOptions {
        backlog: slb.tcp.somaxconn,
        socket: APPLICATION,
    };
    stack.defaults = APPLICATION;
    let listener = stack.listen(vip, options, App::new(Leg::Downstream, Handle::NONE));
    SlbHost {
        stack,
        listener,
        addresses: slb.hosts[position].clone(),
        ports: PortSelector::new(slb.tcp.port_selection, slb.ports, mix64(secret))
            .without(slb.tcp.reserved_ports)
            .among(slb.strangers),
        to_clients: Uplink::new(
            plan.links.client_slb,
            streams.of(Role::Slb, position, "link to clients"),
        ),
        to_backends: Uplink::new(link, streams.of(Role::Slb, position, "link to backends")),
        // Hosts start at different backends, as independent round robins do.
        next_backend: services()
            .map(|service| position % topology.backends(service).len().max(1))
            .collect(),
        pools: services()
            .map(|service| vec![Pool::new(); topology.backends(service).len()])
            .collect(),
        idle: 0,
    }
}

fn node_host(plan: &Plan, node: &NodePlan, position: usize, streams: &Streams) -> NodeHost {
    let services = plan
        .services
        .iter()
        .zip(&node.pods)
        .map(|(service, pods)| NodeService {
            node_port: service.node_port,
            backends: pods
                .iter()
                .map(|&pod| Backend {
                    pod: pod as u32,
                    endpoint: plan.pods[pod].endpoint,
                })
                .collect(),
        })
        .collect();
    let hz = node.conntrack.hz;
    let phase = SimDuration::from_nanos(streams.secret(Role::Node, position) % 8_640_000_000_000_000);
    let config = NodeConfig {
        ip: node.ip,
        proxy: match node.proxy {
            ProxyMode::Iptables => NodeProxy::Iptables,
            ProxyMode::Ipvs(config) => NodeProxy::Ipvs(config),
        },
        snat: node.snat,
        conntrack: node.conntrack,
        drop_syn_repeats_within: node.drop_syn_repeats_within,
        timers: KernelTimers { hz, phase },
        services,
    };
    let mut of_purpose = |purpose: &str, n: u64| streams.of(Role::Node, position, &format!("{purpose} {n}"));
    NodeHost {
        node: Node::new(config, &mut of_purpose),
        to_outside: Uplink::new(
            plan.links.slb_node,
            streams.of(Role::Node, position, "link to outside"),
        ),
        to_pods: Uplink::new(
            plan.links.node_pod,
            streams.of(Role::Node, position, "link to pods"),
        ),
        seen: NodeStats::default(),
    }
}

fn pod_host(plan: &Plan, position: usize, streams: &Streams) -> PodHost {
    let pod = &plan.pods[position];
    let link = match plan.slb.backends {
        Backends::NodePort => plan.links.node_pod,
        Backends::Pod => plan.links.slb_pod,
    };
    let mut stack = Stack::new(pod.tcp, streams.secret(Role::Pod, position));
    let options = ListenOptions {
        backlog: pod.backlog,
        socket: APPLICATION,
    };
    let listener = stack.listen(pod.endpoint, options, App::new(Leg::Server, Handle::NONE));
    PodHost {
        stack,
        listener,
        link: Uplink::new(link, streams.of(Role::Pod, position, "link")),
        busy: 0,
        killed: FxHashMap::default(),
    }
}
