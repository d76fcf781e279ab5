//! The resolved scenario: plain data with every profile and default applied. What `scenario` writes and `world`,
//! `experiment` and `theory` read. Hosts are in order of role and position; names never decide anything.

mod lifecycle;

use std::net::Ipv4Addr;
use std::ops::Range;

pub use lifecycle::{GoneAnswer, OnSigterm, PodChange, PodEvent};

use crate::model::client::{Arrivals, ClientKeepalive, Retry};
use crate::model::conntrack::ConntrackConfig;
use crate::model::distribution::Distribution;
use crate::model::ipvs::IpvsConfig;
use crate::model::link::LinkConfig;
use crate::model::nat::{SnatConfig, SnatMode};
use crate::model::sizes::Sizes;
use crate::model::slb::{
    Balance, CheckKind, ClientConnections, HealthCheck, KeepaliveConfig, NextUpstream, ServerLimits,
};
use crate::model::tcp::TcpConfig;
use crate::units::{Endpoint, PortRange, SimDuration};
use crate::vocab::Status;

/// A whole scenario, resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// File stem of the scenario.
    pub name: String,
    /// FNV-1a hash of the canonical text of the resolved scenario, as 16 hex digits.
    pub hash: String,
    /// The question that the scenario answers.
    pub question: Option<String>,
    /// Root seed.
    pub seed: u64,
    /// Independent repetitions, at least 1.
    pub replications: u32,
    /// Simulated time during which requests arrive and are counted.
    pub duration: SimDuration,
    /// Figures leave out this much from the start.
    pub warm_up: SimDuration,
    /// An answered request that took so long or longer is slow.
    pub slow_after: SimDuration,
    /// Whether the incident's scorecard is worked out.
    pub scorecard: bool,
    /// Client populations.
    pub clients: Vec<ClientPlan>,
    /// The SLB.
    pub slb: SlbPlan,
    /// Nodes, in the order in which the SLB's round robin visits them.
    pub nodes: Vec<NodePlan>,
    /// Services; the first is the default.
    pub services: Vec<ServicePlan>,
    /// Pods.
    pub pods: Vec<PodPlan>,
    /// What happens to the pods, in order of time.
    pub events: Vec<PodEvent>,
    /// Links.
    pub links: LinksPlan,
    /// What the scenario expects of its own result.
    pub expectations: Vec<Expectation>,
}

impl Plan {
    /// Some clients try again, so that what they want done is more than a request.
    pub fn has_operations(&self) -> bool {
        self.clients.iter().any(|client| client.retry.is_some())
    }

    /// Some clients keep their connections to the SLB.
    pub fn has_kept_clients(&self) -> bool {
        self.slb.l7 && self.clients.iter().any(|client| client.keepalive.is_some())
    }
}

/// One client population.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientPlan {
    /// Name, for display.
    pub name: String,
    /// Index into [`Plan::services`].
    pub service: usize,
    /// Index into [`SlbPlan::clusters`], if there are several.
    pub slb: usize,
    /// Arrival process.
    pub arrivals: Arrivals,
    /// TCP of its hosts.
    pub tcp: TcpConfig,
    /// Nobody arrives after this time; `None`: until the end of the run.
    pub until: Option<SimDuration>,
    /// The client leaves when it has waited this long since it started to connect; `None`: never.
    pub timeout: Option<SimDuration>,
    /// What it does when a try fails; `None`: nothing.
    pub retry: Option<Retry>,
    /// Its connections to the SLB stay open; `None`: one per request.
    pub keepalive: Option<ClientKeepalive>,
    /// Source addresses that the requests come from, as a hash of them sees it; `None`: one each.
    pub addresses: Option<u32>,
    /// Octets of a request.
    pub request_bytes: Sizes,
    /// Octets of a response.
    pub response_bytes: Sizes,
}

/// Where the SLB connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backends {
    /// `node:NodePort`.
    NodePort,
    /// `pod:port` (ENI, direct-to-pod).
    Pod,
}

/// How the SLB fixes its source address before connect().
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bind {
    /// Not at all, or with `IP_BIND_ADDRESS_NO_PORT` as nginx' `proxy_bind` does: connect() chooses the port.
    None,
    /// bind() to port 0: bind() chooses it, and it is in use towards every destination.
    PortZero,
}

/// A cluster of the SLB: what a population's requests come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlbCluster {
    /// Name, for display.
    pub name: String,
    /// Its hosts: indices into [`SlbPlan::hosts`].
    pub hosts: Range<usize>,
}

/// The SLB: one cluster or several, all set up alike.
#[derive(Debug, Clone, PartialEq)]
pub struct SlbPlan {
    /// Layer 7: with a client leg. Without, an arrival connects upstream at once.
    pub l7: bool,
    /// Virtual address that clients connect to.
    pub vip: Endpoint,
    /// Source addresses of each host.
    pub hosts: Vec<Vec<Ipv4Addr>>,
    /// The clusters, in order of their hosts; none: all hosts are one.
    pub clusters: Vec<SlbCluster>,
    /// TCP of every host.
    pub tcp: TcpConfig,
    /// Source ports.
    pub ports: PortRange,
    /// What chooses among them.
    pub bind: Bind,
    /// Connections from elsewhere on each host's machine per connection of the host, which move the selection of source
    /// ports on; 0 in every scenario, for a host has its machine alone.
    pub strangers: u32,
    /// What it connects to.
    pub backends: Backends,
    /// nginx' `proxy_connect_timeout`, or the connect limit of a caller without layer 7.
    pub connect_timeout: SimDuration,
    /// nginx' `proxy_read_timeout`.
    pub read_timeout: SimDuration,
    /// How long client connections stay open, where clients keep theirs.
    pub client_connections: ClientConnections,
    /// nginx' `proxy_send_timeout`; `None`: the time to send counts as time to read.
    pub send_timeout: Option<SimDuration>,
    /// Scheduler.
    pub balance: Balance,
    /// `max_conns`, `max_fails` and `fail_timeout` of every backend.
    pub limits: ServerLimits,
    /// `proxy_next_upstream`; `None`: not said.
    pub next_upstream: Option<NextUpstream>,
    /// Connections of a host, clients' and upstream ones together; `None`: no limit.
    pub worker_connections: Option<u32>,
    /// Active checks of every backend by every host.
    pub health_check: Option<HealthCheck>,
    /// Upstream keepalive; `None`: a connection per request.
    pub keepalive: Option<KeepaliveConfig>,
    /// RSTs that the SLB sends after an orderly close.
    pub stray_rst: Option<StrayRst>,
    /// With [`Backends::Pod`]: time until the SLB knows of a change of a service's endpoints.
    pub endpoint_delay: Distribution,
}

impl SlbPlan {
    /// The hosts that a population comes to.
    pub fn hosts_of(&self, client: &ClientPlan) -> Range<usize> {
        let cluster = self.clusters.get(client.slb);
        cluster.map_or(0..self.hosts.len(), |cluster| cluster.hosts.clone())
    }
}

/// An RST from the SLB after an orderly close.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StrayRst {
    /// Share of the closes that are followed by one, 0 to 1.
    pub share: f64,
    /// Its sequence number minus the pod's `rcv_nxt`.
    pub seq_offset: i32,
    /// Time after the pod's FIN reached the SLB.
    pub after: SimDuration,
}

/// How kube-proxy forwards a NodePort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyMode {
    /// iptables DNAT, a uniformly random pod per connection.
    Iptables,
    /// ipvs.
    Ipvs(IpvsConfig),
}

/// A Kubernetes node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodePlan {
    /// Name, for display.
    pub name: String,
    /// Name of its Kubernetes cluster, for display; empty if there is but one.
    pub cluster: String,
    /// `externalTrafficPolicy: Local`: what it decides stands in `snat` and `pods`; for display.
    pub local: bool,
    /// Address: NodePorts listen on it and MASQUERADE uses it.
    pub ip: Ipv4Addr,
    /// Forwarding.
    pub proxy: ProxyMode,
    /// Source NAT; `SnatMode::None` under `externalTrafficPolicy: Local`.
    pub snat: SnatConfig,
    /// Source NAT of what another node forwarded to a pod of this one.
    pub from_nodes: SnatMode,
    /// Connection tracking.
    pub conntrack: ConntrackConfig,
    /// Drop a SYN that the same address and port repeats within this time (the laboratory's "old client" rule).
    pub drop_syn_repeats_within: Option<SimDuration>,
    /// Time until its kube-proxy has written a change of a service's endpoints.
    pub endpoint_delay: Distribution,
    /// ipvs: a server that leaves keeps weight 0 until no connection of it is left, as kube-proxy does it.
    pub graceful_termination: bool,
    /// Drop every RST of the SLB before conntrack sees it: a firewall in between, or the laboratory's rule.
    pub drop_slb_resets: bool,
    /// The SLB's weight of this node.
    pub slb_weight: u32,
    /// Pods that this node forwards to, by service: indices into [`Plan::pods`], one list per entry of [`Plan::services`].
    pub pods: Vec<Vec<usize>>,
    /// Its link to the SLB, if that is not as all others' ([`LinksPlan::slb_node`]).
    pub link: Option<LinkConfig>,
}

/// A Kubernetes service of type NodePort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePlan {
    /// Name, for display.
    pub name: String,
    /// NodePort.
    pub node_port: u16,
}

/// Who closes an upstream connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosePolicy {
    /// The pod closes after the response.
    AfterResponse,
    /// The pod resets the connection after the response: `SO_LINGER` 0.
    Reset,
    /// The pod waits for the SLB to close, and closes itself when idle or after so many requests.
    KeepAlive {
        /// Idle time after which the pod closes.
        idle_timeout: SimDuration,
        /// Requests after which the pod closes.
        requests: u32,
    },
}

/// A pod.
#[derive(Debug, Clone, PartialEq)]
pub struct PodPlan {
    /// Name, for display.
    pub name: String,
    /// Index into [`Plan::services`].
    pub service: usize,
    /// Index into [`Plan::nodes`]: where it runs. Meaningless without nodes.
    pub node: usize,
    /// Its link to what sends to it, if that is not as all others'.
    pub link: Option<LinkConfig>,
    /// Address and port.
    pub endpoint: Endpoint,
    /// TCP of the pod (the kernel of the node that it runs on).
    pub tcp: TcpConfig,
    /// Backlog of listen(); the accept queue holds min(backlog, `somaxconn`) + 1.
    pub backlog: u32,
    /// Requests served at once; `None`: no limit. A connection waits in the accept queue for a free worker.
    pub workers: Option<u32>,
    /// Time from request to response.
    pub service_time: Distribution,
    /// Requests that it answers with an error; `None`: it answers all with 200.
    pub errors: Option<ErrorsPlan>,
    /// Who closes.
    pub close: ClosePolicy,
    /// Time from the response to the close() of a pod that closes after it.
    pub close_delay: Distribution,
    /// It works on for a client that has left; else it closes at once.
    pub ignore_client_abort: bool,
    /// ipvs: weight of the pod among those of its service.
    pub ipvs_weight: u32,
    /// It runs and is ready when the run begins.
    pub runs_at_start: bool,
    /// What a packet meets once it is gone.
    pub when_gone: GoneAnswer,
    /// The SLB's weight of this pod, if it connects to pods.
    pub slb_weight: u32,
    /// The kubelet's probe.
    pub probe: Option<ProbePlan>,
}

/// Answers of a pod that are errors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ErrorsPlan {
    /// Share of its answers, 0 to 1.
    pub share: f64,
    /// Their status, 500 or more.
    pub status: Status,
}

/// A probe of the kubelet: from the pod's node, at the address of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbePlan {
    /// `periodSeconds`.
    pub period: SimDuration,
    /// `timeoutSeconds`.
    pub timeout: SimDuration,
    /// `tcpSocket` or `httpGet`.
    pub kind: CheckKind,
}

impl PodPlan {
    /// The close() comes with the response, so that the FIN is right behind it.
    pub fn closes_at_once(&self) -> bool {
        self.close_delay == Distribution::Constant(SimDuration::ZERO)
    }

    /// It closes after each response, in one way or the other.
    pub fn closes_after_response(&self) -> bool {
        matches!(self.close, ClosePolicy::AfterResponse | ClosePolicy::Reset)
    }
}

/// The links of the path.
#[derive(Debug, Clone, PartialEq)]
pub struct LinksPlan {
    /// Between clients and SLB.
    pub client_slb: LinkConfig,
    /// Between SLB and nodes.
    pub slb_node: LinkConfig,
    /// Between nodes and pods.
    pub node_pod: LinkConfig,
    /// Between SLB and pods, direct-to-pod only.
    pub slb_pod: LinkConfig,
    /// Between nodes. `None`: a node reaches every pod that it forwards to over `node_pod`. With it, a pod of another node
    /// is reached through that node, whose conntrack sees the connection, too.
    pub node_node: Option<LinkConfig>,
}

/// An assertion that a scenario makes about its own result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// A comparison over paths of `summary.json`, such as `connections.timed_out / connections.total < 0.001`.
    pub that: String,
    /// Why it should hold.
    pub why: Option<String>,
    /// `file:line` of the expectation, for messages.
    pub location: String,
}
