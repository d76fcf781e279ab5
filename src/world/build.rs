//! Builds a world from a plan.

use std::net::Ipv4Addr;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rustc_hash::FxHashMap;

use super::checks::{Checks, Kubelet};
use super::endpoints::{KubeProxy, Subscriber};
use super::event::{Event, Handle};
use super::in_flight::InFlight;
use super::lifecycle::Presence;
use super::links::{Link, Links};
use super::network::Network;
use super::operation::Operation;
use super::recorder::Recorder;
use super::request::Request;
use super::stack::{App, FIRST_LOOK, Leg, Stack};
use super::upstream::upstreams;
use crate::engine::{Class, KernelTimers, Slots, mix64, stream};
use crate::model::client::{Arrivals, Progress, Tokens};
use crate::model::link::LinkConfig;
use crate::model::node::{Backend, Node, NodeConfig, NodeProxy, NodeService, NodeStats};
use crate::model::slb::{KeepalivePool, Upstream};
use crate::model::tcp::{Counters, ListenOptions, ListenerId, PortSelector, SocketOptions, TcpConfig};
use crate::observe::RecordOptions;
use crate::spec::{Backends, ClientPlan, NodePlan, Plan, ProxyMode};
use crate::topology::{HostId, Role, Topology};
use crate::units::{Endpoint, SeqNum, SimDuration, SimTime};

/// What every application of the world does with its sockets: it reads at once and wants no Nagle.
pub const APPLICATION: SocketOptions = SocketOptions {
    no_delay: true,
    reads_at_once: true,
    ..SocketOptions::NONE
};

/// A client population.
pub struct Population {
    /// Towards the SLB.
    pub link: Link,
    /// Gaps between arrivals.
    pub arrivals: ChaCha8Rng,
    /// What requests draw at birth.
    pub births: ChaCha8Rng,
    /// The same numbers, read again where the request is served.
    pub services: ChaCha8Rng,
    /// Which states an MMPP goes through.
    pub states: ChaCha8Rng,
    /// Number of the next request.
    pub next_number: u32,
    /// How far an open loop's arrivals are scheduled.
    pub progress: Progress,
    /// Idle connections to the SLB: an open loop's pool, the youngest last, or one for each user of a closed loop.
    pub kept: Vec<Handle>,
    /// What retries there may be.
    pub tokens: Tokens,
}

/// A host of the SLB.
pub struct SlbHost {
    /// The listener at its virtual address.
    pub listener: ListenerId,
    /// Source addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// Source ports.
    pub ports: PortSelector,
    /// Towards clients.
    pub to_clients: Link,
    /// Towards nodes, or pods without a node between.
    pub to_backends: Links,
    /// The backends of each service, and whose turn it is.
    pub upstreams: Vec<Upstream>,
    /// Keepalive, by service.
    pub pools: Vec<KeepalivePool<Handle>>,
    /// Connections that count for `worker_connections`.
    pub connections: u32,
}

/// A node.
pub struct NodeHost {
    /// Everything that the node decides.
    pub node: Node,
    /// Towards the SLB.
    pub to_outside: Link,
    /// Towards pods.
    pub to_pods: Links,
    /// Towards other nodes, if pods are reached through the nodes that they run on.
    pub to_nodes: Option<Link>,
    /// What its counters said when they were read last.
    pub seen: NodeStats,
    /// What writes its rules.
    pub kube_proxy: KubeProxy,
}

/// A pod.
pub struct PodHost {
    /// Towards its node.
    pub link: Link,
    /// Workers that serve a connection now.
    pub busy: u32,
    /// Its listener.
    pub listener: ListenerId,
    /// ISNs of SYNs whose refusing TIME_WAIT is gone: the same again is a repetition. For observers only.
    pub killed: FxHashMap<Endpoint, SeqNum>,
    /// What of it is there.
    pub presence: Presence,
    /// Processes that began and ended so far: events of one before find another number.
    pub incarnation: u32,
    /// What its counters said when they were read last.
    pub seen: Counters,
}

/// One replication in progress.
pub struct World<'p> {
    /// The scenario.
    pub plan: &'p Plan,
    /// What is under way.
    pub network: Network,
    /// TCP of clients, SLB and pods, by place. The hosts of a population share one.
    pub stacks: Vec<Stack>,
    /// Client populations.
    pub populations: Vec<Population>,
    /// SLB.
    pub slb: Vec<SlbHost>,
    /// Nodes.
    pub nodes: Vec<NodeHost>,
    /// Pods.
    pub pods: Vec<PodHost>,
    /// Pods that the SLB connects to.
    pub slb_told: Subscriber,
    /// Where randomness comes from.
    pub streams: Streams,
    /// Addresses, backends, gateways.
    pub topology: Topology,
    /// Requests that somebody still deals with.
    pub requests: Slots<Request>,
    /// The same by tag.
    pub by_tag: InFlight,
    /// Requests that have not ended.
    pub requests_in_flight: u64,
    /// What clients want done and may try again.
    pub operations: Slots<Operation>,
    /// How many those are.
    pub operations_in_flight: u64,
    /// Upstream connects that have not ended.
    pub connects_in_flight: u64,
    /// Health checks and probes.
    pub checks: Checks,
    /// The nodes' own processes; none without probes.
    pub kubelets: Vec<Kubelet>,
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
        let network = Network::new(plan);
        let mut world = Self {
            plan,
            stacks: Vec::with_capacity(network.places.with_tcp()),
            network,
            populations: Vec::new(),
            slb: Vec::new(),
            nodes: Vec::new(),
            pods: Vec::new(),
            slb_told: Subscriber::new(streams.of(Role::Slb, 0, "endpoints")),
            streams,
            topology: Topology::of(plan),
            requests: Slots::default(),
            by_tag: InFlight::new(plan.clients.len()),
            requests_in_flight: 0,
            operations: Slots::default(),
            operations_in_flight: 0,
            connects_in_flight: 0,
            checks: Checks::default(),
            kubelets: Vec::new(),
            recorder: Recorder::new(options, plan.warm_up, plan.has_operations()),
        };
        for position in 0..plan.clients.len() {
            let population = world.population(position, &streams);
            world.populations.push(population);
        }
        for position in 0..plan.slb.hosts.len() {
            let host = world.slb_host(position, &streams);
            world.slb.push(host);
        }
        for position in 0..plan.pods.len() {
            let pod = world.pod_host(position, &streams);
            world.pods.push(pod);
        }
        for (position, node) in plan.nodes.iter().enumerate() {
            let node = world.node_host(node, position, &streams);
            world.nodes.push(node);
        }
        world.build_checks(&streams);
        // Links have taken theirs; if lanes are left, they are for what every request and every socket waits for.
        world.network.queue.lane(FIRST_LOOK);
        for timeout in plan.clients.iter().filter_map(|client| client.timeout) {
            world.network.queue.lane(timeout);
        }
        world
    }

    /// Current time.
    #[inline]
    pub const fn now(&self) -> SimTime {
        self.network.now
    }

    /// Schedules an event on behalf of a host.
    pub fn schedule(&mut self, at: SimTime, class: Class, host: HostId, event: Event) {
        self.network.schedule(at, class, host, event);
    }

    /// Schedules what starts a run.
    pub fn start(&mut self) {
        for position in 0..self.populations.len() {
            self.first_arrivals(position);
        }
        self.first_checks();
        for position in 0..self.nodes.len() {
            let at = self.nodes[position].node.first_gc();
            let event = Event::Node {
                node: position as u32,
            };
            self.schedule(at, Class::Timer, HostId::new(Role::Node, position), event);
        }
        self.schedule_pod_events();
        self.network.schedule_second();
    }
}

/// Nothing is kept yet; the users of a closed loop have a place each.
fn idle_connections(clients: &ClientPlan) -> Vec<Handle> {
    match clients.arrivals {
        Arrivals::ClosedLoop { users, .. } if clients.keepalive.is_some() => {
            vec![Handle::NONE; users as usize]
        }
        _ => Vec::new(),
    }
}

/// The streams of a replication.
#[derive(Debug, Clone, Copy)]
pub struct Streams {
    seed: u64,
    replication: u32,
}

impl Streams {
    /// The stream of a host for a purpose.
    pub fn of(&self, role: Role, position: usize, purpose: &str) -> ChaCha8Rng {
        stream(self.seed, self.replication, role.name(), position as u64, purpose)
    }

    /// What a host draws at boot.
    pub fn secret(&self, role: Role, position: usize) -> u64 {
        rand::Rng::next_u64(&mut self.of(role, position, "boot"))
    }
}

/// A purpose that a host has several streams for.
pub fn purpose(purpose: &str, number: u64) -> String {
    format!("{purpose} {number}")
}

impl World<'_> {
    /// The configuration of a TCP, shared with the hosts built before that have the same.
    pub fn shared(&self, config: &TcpConfig) -> Arc<TcpConfig> {
        let mut before = self.stacks.iter().rev().map(|stack| &stack.config);
        before
            .find(|its| ***its == *config)
            .map_or_else(|| Arc::new(*config), Arc::clone)
    }

    fn population(&mut self, position: usize, streams: &Streams) -> Population {
        let plan = self.plan;
        let secret = streams.secret(Role::Client, position);
        let mut stack = Stack::new(self.shared(&plan.clients[position].tcp), secret);
        stack.defaults = APPLICATION;
        self.stacks.push(stack);
        Population {
            link: self
                .network
                .link(&plan.links.client_slb, streams.of(Role::Client, position, "link")),
            arrivals: streams.of(Role::Client, position, "arrivals"),
            births: streams.of(Role::Client, position, "requests"),
            services: streams.of(Role::Client, position, "requests"),
            states: streams.of(Role::Client, position, "states"),
            next_number: 0,
            progress: Progress::default(),
            kept: idle_connections(&plan.clients[position]),
            tokens: plan.clients[position]
                .retry
                .map_or(Tokens::default(), |retry| retry.tokens()),
        }
    }

    fn slb_host(&mut self, position: usize, streams: &Streams) -> SlbHost {
        let plan = self.plan;
        let slb = &plan.slb;
        let secret = streams.secret(Role::Slb, position);
        let link = match slb.backends {
            Backends::NodePort => &plan.links.slb_node,
            Backends::Pod => &plan.links.slb_pod,
        };
        let mut stack = Stack::new(self.shared(&slb.tcp), secret);
        // Every host has its own virtual address, one above the other.
        let vip = Endpoint::new((slb.vip.ip.to_bits() + position as u32).into(), slb.vip.port);
        // The SLB accepts at once, so its queue never fills.
        let options = ListenOptions {
            backlog: slb.tcp.somaxconn,
            socket: APPLICATION,
        };
        stack.defaults = APPLICATION;
        let listener = stack.listen(vip, options, App::new(Leg::Downstream, Handle::NONE));
        self.stacks.push(stack);
        let to_clients = streams.of(Role::Slb, position, "link to clients");
        let to_backends = streams.of(Role::Slb, position, "link to backends");
        let to_clients = self.network.link(&plan.links.client_slb, to_clients);
        let usual = self.network.link(link, to_backends);
        let own = own_links(plan).into_iter().map(|(host, config)| {
            let purpose = format!("link to {} {}", host.role().name(), host.position());
            let stream = streams.of(Role::Slb, position, &purpose);
            (host, self.network.link(config, stream))
        });
        let to_backends = Links::new(usual, own.collect());
        let topology = &self.topology;
        SlbHost {
            listener,
            addresses: slb.hosts[position].clone(),
            ports: PortSelector::new(slb.tcp.port_selection, slb.ports, mix64(secret))
                .without(slb.tcp.reserved_ports)
                .among(slb.strangers),
            to_clients,
            to_backends,
            upstreams: upstreams(plan, topology, position),
            pools: (0..plan.services.len())
                .map(|service| KeepalivePool::new(topology.backends(service).len()))
                .collect(),
            connections: 0,
        }
    }

    fn node_host(&mut self, node: &NodePlan, position: usize, streams: &Streams) -> NodeHost {
        let plan = self.plan;
        let services = plan
            .services
            .iter()
            .zip(&node.pods)
            .map(|(service, pods)| NodeService {
                node_port: service.node_port,
                backends: pods
                    .iter()
                    .filter(|&&pod| plan.pods[pod].runs_at_start)
                    .map(|&pod| Backend {
                        pod: pod as u32,
                        endpoint: plan.pods[pod].endpoint,
                    })
                    .collect(),
            })
            .collect();
        let hz = node.conntrack.hz;
        let secret = streams.secret(Role::Node, position);
        let phase = SimDuration::from_nanos(secret % 8_640_000_000_000_000);
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
            from_nodes: node.from_nodes,
        };
        let mut of_purpose = |what: &str, n: u64| streams.of(Role::Node, position, &purpose(what, n));
        let mut model = Node::new(config, &mut of_purpose);
        // kube-proxy's weight is 1.
        for (service, pods) in plan.services.iter().zip(&node.pods) {
            for pod in pods.iter().map(|&pod| &plan.pods[pod]) {
                if pod.ipvs_weight != 1 {
                    model.set_weight(service.node_port, pod.endpoint, pod.ipvs_weight);
                }
            }
        }
        let to_outside = streams.of(Role::Node, position, "link to outside");
        let to_outside = self
            .network
            .link(node.link.as_ref().unwrap_or(&plan.links.slb_node), to_outside);
        let to_pods = streams.of(Role::Node, position, "link to pods");
        let usual = self.network.link(&plan.links.node_pod, to_pods);
        let mut reached: Vec<_> = node.pods.iter().flatten().copied().collect();
        reached.sort_unstable();
        let own = reached.into_iter().filter_map(|pod| {
            let config = plan.pods[pod].link.as_ref()?;
            let stream = streams.of(Role::Node, position, &format!("link to pod {pod}"));
            Some((HostId::new(Role::Pod, pod), self.network.link(config, stream)))
        });
        let to_pods = Links::new(usual, own.collect());
        let to_nodes = plan.links.node_node.as_ref().map(|config| {
            let stream = streams.of(Role::Node, position, "link to nodes");
            self.network.link(config, stream)
        });
        let endpoints = streams.of(Role::Node, position, "endpoints");
        NodeHost {
            node: model,
            to_outside,
            to_pods,
            to_nodes,
            seen: NodeStats::default(),
            kube_proxy: KubeProxy::new(endpoints, mix64(secret)),
        }
    }

    fn pod_host(&mut self, position: usize, streams: &Streams) -> PodHost {
        let plan = self.plan;
        let pod = &plan.pods[position];
        let link = match plan.slb.backends {
            Backends::NodePort => &plan.links.node_pod,
            Backends::Pod => &plan.links.slb_pod,
        };
        let stack = Stack::new(self.shared(&pod.tcp), streams.secret(Role::Pod, position));
        self.stacks.push(stack);
        let listener = self.listen(position);
        let presence = if pod.runs_at_start {
            Presence::Running
        } else {
            let place = self.place_of_pod(position);
            self.stacks[place].lose_everything();
            Presence::Gone
        };
        PodHost {
            listener,
            link: self.network.link(
                pod.link.as_ref().unwrap_or(link),
                streams.of(Role::Pod, position, "link"),
            ),
            presence,
            incarnation: 0,
            seen: Counters::default(),
            busy: 0,
            killed: FxHashMap::default(),
        }
    }

    /// The process of a pod begins to listen.
    pub fn listen(&mut self, pod: usize) -> ListenerId {
        let plan = &self.plan.pods[pod];
        let options = ListenOptions {
            backlog: plan.backlog,
            socket: APPLICATION,
        };
        let place = self.place_of_pod(pod);
        self.stacks[place].listen(plan.endpoint, options, App::new(Leg::Server, Handle::NONE))
    }
}

/// Backends of the SLB that have a link of their own, in order.
fn own_links(plan: &Plan) -> Vec<(HostId, &LinkConfig)> {
    fn own((position, link): (usize, &Option<LinkConfig>), role: Role) -> Option<(HostId, &LinkConfig)> {
        Some((HostId::new(role, position), link.as_ref()?))
    }
    match plan.slb.backends {
        Backends::NodePort => {
            let links = plan.nodes.iter().map(|node| &node.link).enumerate();
            links.filter_map(|link| own(link, Role::Node)).collect()
        }
        Backends::Pod => {
            let links = plan.pods.iter().map(|pod| &pod.link).enumerate();
            links.filter_map(|link| own(link, Role::Pod)).collect()
        }
    }
}
