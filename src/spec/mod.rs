//! The resolved scenario: plain data with every profile and default applied. What `scenario` writes and `world`,
//! `experiment` and `theory` read. Hosts are in order of role and position; names never decide anything.

use std::net::Ipv4Addr;

use crate::model::client::Arrivals;
use crate::model::conntrack::ConntrackConfig;
use crate::model::distribution::Distribution;
use crate::model::ipvs::IpvsConfig;
use crate::model::link::LinkConfig;
use crate::model::nat::SnatConfig;
use crate::model::slb::{Balance, CheckKind, HealthCheck, KeepaliveConfig, NextUpstream, ServerLimits};
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
    /// Links.
    pub links: LinksPlan,
    /// What the scenario expects of its own result.
    pub expectations: Vec<Expectation>,
}

/// One client population.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientPlan {
    /// Name, for display.
    pub name: String,
    /// Index into [`Plan::services`].
    pub service: usize,
    /// Arrival process.
    pub arrivals: Arrivals,
    /// TCP of its hosts.
    pub tcp: TcpConfig,
    /// Nobody arrives after this time; `None`: until the end of the run.
    pub until: Option<SimDuration>,
    /// The client leaves when it has waited this long since it started to connect; `None`: never.
    pub timeout: Option<SimDuration>,
    /// Source addresses that the requests come from, as a hash of them sees it; `None`: one each.
    pub addresses: Option<u32>,
    /// Octets of a request.
    pub request_bytes: u32,
    /// Octets of a response.
    pub response_bytes: u32,
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

/// The SLB cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct SlbPlan {
    /// Layer 7: with a client leg. Without, an arrival connects upstream at once.
    pub l7: bool,
    /// Virtual address that clients connect to.
    pub vip: Endpoint,
    /// Source addresses of each host.
    pub hosts: Vec<Vec<Ipv4Addr>>,
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
    /// ipvs, round robin.
    Ipvs(IpvsConfig),
}

/// A Kubernetes node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodePlan {
    /// Name, for display.
    pub name: String,
    /// Address: NodePorts listen on it and MASQUERADE uses it.
    pub ip: Ipv4Addr,
    /// Forwarding.
    pub proxy: ProxyMode,
    /// Source NAT; `SnatMode::None` under `externalTrafficPolicy: Local`.
    pub snat: SnatConfig,
    /// Connection tracking.
    pub conntrack: ConntrackConfig,
    /// Drop a SYN that the same address and port repeats within this time (the laboratory's "old client" rule).
    pub drop_syn_repeats_within: Option<SimDuration>,
    /// Drop every RST of the SLB before conntrack sees it: a firewall in between, or the laboratory's rule.
    pub drop_slb_resets: bool,
    /// The SLB's weight of this node.
    pub slb_weight: u32,
    /// Pods that this node forwards to, by service: indices into [`Plan::pods`], one list per entry of [`Plan::services`].
    pub pods: Vec<Vec<usize>>,
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
}

/// The links of the path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinksPlan {
    /// Between clients and SLB.
    pub client_slb: LinkConfig,
    /// Between SLB and nodes.
    pub slb_node: LinkConfig,
    /// Between nodes and pods.
    pub node_pod: LinkConfig,
    /// Between SLB and pods, direct-to-pod only.
    pub slb_pod: LinkConfig,
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
