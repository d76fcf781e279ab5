//! The network of a plan as a graph of hosts and links, and what follows from it once and for all: who has an address,
//! where the SLB finds each service, which node a pod's packets leave through.

mod drawing;
mod host;
mod words;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use petgraph::graph::{Graph, NodeIndex};
use petgraph::visit::EdgeRef;
use rustc_hash::FxHashMap;

pub use drawing::svg;
pub use host::{HostId, Role};

use crate::model::link::LinkConfig;
use crate::spec::{Backends, Plan};
use crate::units::Endpoint;

/// A link between two hosts.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// What packets meet on it.
    pub config: LinkConfig,
    /// The key of the scenario that describes it.
    pub kind: &'static str,
}

/// The network of a plan.
#[derive(Debug, Clone)]
pub struct Topology {
    graph: Graph<(HostId, String), Link, petgraph::Undirected>,
    addresses: FxHashMap<Ipv4Addr, HostId>,
    backends: Vec<Vec<Endpoint>>,
    gateways: Vec<usize>,
}

impl Topology {
    /// Works out the network of a plan.
    pub fn of(plan: &Plan) -> Self {
        let graph = graph(plan);
        let gateways = gateways(plan, &graph);
        Self {
            graph,
            addresses: addresses(plan),
            backends: backends(plan),
            gateways,
        }
    }

    /// Who has an address; clients and virtual addresses are not in here.
    pub fn host_of(&self, ip: Ipv4Addr) -> Option<HostId> {
        self.addresses.get(&ip).copied()
    }

    /// Where the SLB connects to for a service, in the order of its round robin.
    pub fn backends(&self, service: usize) -> &[Endpoint] {
        &self.backends[service]
    }

    /// Node that a pod's packets leave through when they are not addressed to one; meaningless without nodes.
    pub fn gateway(&self, pod: usize) -> usize {
        self.gateways[pod]
    }

    /// Number of hosts and links.
    pub fn size(&self) -> (usize, usize) {
        (self.graph.node_count(), self.graph.edge_count())
    }

    /// The graph in Graphviz' language.
    pub fn to_dot(&self) -> String {
        let mut dot =
            String::from("graph fivetuple {\n  rankdir=LR; node [shape=box, fontname=\"sans-serif\"];\n");
        for index in self.graph.node_indices() {
            let (host, label) = &self.graph[index];
            // Writing to a string cannot fail.
            let _ = writeln!(
                dot,
                "  h{} [label=\"{}\\n{label}\"];",
                index.index(),
                host.role().name()
            );
        }
        for edge in self.graph.edge_references() {
            let Link { config, kind } = edge.weight();
            let _ = writeln!(
                dot,
                "  h{} -- h{} [label=\"{kind}: {}\"];",
                edge.source().index(),
                edge.target().index(),
                words::link(config).join(", ")
            );
        }
        dot.push_str("}\n");
        dot
    }
}

fn graph(plan: &Plan) -> Graph<(HostId, String), Link, petgraph::Undirected> {
    let mut graph = Graph::new_undirected();
    let mut add = |role, labels: Vec<String>| -> Vec<NodeIndex> {
        let hosts = labels.into_iter().enumerate();
        hosts
            .map(|(position, label)| graph.add_node((HostId::new(role, position), escape(&label))))
            .collect()
    };
    let clients = add(
        Role::Client,
        plan.clients.iter().map(|client| client.name.clone()).collect(),
    );
    let slb = add(
        Role::Slb,
        plan.slb.hosts.iter().map(|ips| addresses_label(ips)).collect(),
    );
    let nodes = add(
        Role::Node,
        plan.nodes
            .iter()
            .map(|node| format!("{} {}", node.name, node.ip))
            .collect(),
    );
    let pods = add(
        Role::Pod,
        plan.pods
            .iter()
            .map(|pod| format!("{} {}", pod.name, pod.endpoint))
            .collect(),
    );
    let links = &plan.links;
    let mut connect = |a: NodeIndex, b: NodeIndex, config: &LinkConfig, kind: &'static str| {
        let config = config.clone();
        graph.add_edge(a, b, Link { config, kind });
    };
    for (position, &host) in slb.iter().enumerate() {
        for (client, &index) in plan.clients.iter().zip(&clients) {
            if plan.slb.l7 && plan.slb.hosts_of(client).contains(&position) {
                connect(index, host, &links.client_slb, "client_slb");
            }
        }
        match plan.slb.backends {
            Backends::NodePort => {
                for (node, &index) in plan.nodes.iter().zip(&nodes) {
                    connect(
                        host,
                        index,
                        node.link.as_ref().unwrap_or(&links.slb_node),
                        "slb_node",
                    );
                }
            }
            Backends::Pod => {
                for (pod, &index) in plan.pods.iter().zip(&pods) {
                    connect(
                        host,
                        index,
                        pod.link.as_ref().unwrap_or(&links.slb_pod),
                        "slb_pod",
                    );
                }
            }
        }
    }
    for (position, &index) in nodes.iter().enumerate() {
        for pod in plan.nodes[position].pods.iter().flatten().copied() {
            if links.node_node.is_none() || plan.pods[pod].node == position {
                let own = plan.pods[pod].link.as_ref();
                let own = own.filter(|_| plan.slb.backends == Backends::NodePort);
                connect(index, pods[pod], own.unwrap_or(&links.node_pod), "node_pod");
            }
        }
    }
    if let Some(config) = &links.node_node {
        for (one, other) in overlay(plan) {
            connect(nodes[one], nodes[other], config, "node_node");
        }
    }
    graph
}

/// Pairs of nodes of which one forwards to a pod of the other, each once and in order.
fn overlay(plan: &Plan) -> BTreeSet<(usize, usize)> {
    let nodes = plan.nodes.iter().enumerate();
    let pairs = nodes.flat_map(|(node, its)| {
        let homes = its.pods.iter().flatten().map(|&pod| plan.pods[pod].node);
        homes.map(move |home| (node.min(home), node.max(home)))
    });
    pairs.filter(|(one, other)| one != other).collect()
}

fn addresses_label(ips: &[Ipv4Addr]) -> String {
    match ips {
        [one] => one.to_string(),
        [first, .., last] => format!("{first} to {last}"),
        [] => String::new(),
    }
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"")
}

fn addresses(plan: &Plan) -> FxHashMap<Ipv4Addr, HostId> {
    let slb = plan.slb.hosts.iter().enumerate();
    let slb =
        slb.flat_map(|(position, ips)| ips.iter().map(move |&ip| (ip, HostId::new(Role::Slb, position))));
    let nodes = plan
        .nodes
        .iter()
        .enumerate()
        .map(|(position, node)| (node.ip, HostId::new(Role::Node, position)));
    let pods = plan
        .pods
        .iter()
        .enumerate()
        .map(|(position, pod)| (pod.endpoint.ip, HostId::new(Role::Pod, position)));
    slb.chain(nodes).chain(pods).collect()
}

fn backends(plan: &Plan) -> Vec<Vec<Endpoint>> {
    let of_service = |service: usize| match plan.slb.backends {
        // A node without pods of the service fails the SLB's health check.
        Backends::NodePort => plan
            .nodes
            .iter()
            .filter(|node| !node.pods[service].is_empty())
            .map(|node| Endpoint::new(node.ip, plan.services[service].node_port))
            .collect(),
        Backends::Pod => plan
            .pods
            .iter()
            .filter(|pod| pod.service == service)
            .map(|pod| pod.endpoint)
            .collect(),
    };
    (0..plan.services.len()).map(of_service).collect()
}

/// The first node that is a pod's neighbour: its own one, where pods are reached through their nodes.
fn gateways(plan: &Plan, graph: &Graph<(HostId, String), Link, petgraph::Undirected>) -> Vec<usize> {
    let mut gateways = vec![0; plan.pods.len()];
    for index in graph
        .node_indices()
        .filter(|&index| graph[index].0.role() == Role::Pod)
    {
        let nodes = graph.neighbors(index).map(|neighbour| graph[neighbour].0);
        let first = nodes
            .filter(|host| host.role() == Role::Node)
            .map(HostId::position)
            .min();
        gateways[graph[index].0.position()] = first.unwrap_or(0);
    }
    gateways
}

#[cfg(test)]
mod tests;
