//! What the cards say.

use super::Card;
use super::words;
use crate::model::client::Arrivals;
use crate::model::nat::{PortChoice, SnatMode};
use crate::model::tcp::{PortSelection, TimestampMode};
use crate::spec::{ClientPlan, ClosePolicy, NodePlan, Plan, PodPlan, ProxyMode};

/// Populations with a card of their own at most.
const MAX_POPULATIONS: usize = 8;
/// Services that a node's card names at most.
const MAX_SERVICES: usize = 4;

/// The colour of a service is worth showing where there are several.
fn colour(plan: &Plan, service: usize) -> Option<usize> {
    (plan.services.len() > 1).then_some(service)
}

pub(super) fn clients(plan: &Plan) -> Vec<Card> {
    let mut cards: Vec<_> = plan
        .clients
        .iter()
        .take(MAX_POPULATIONS)
        .map(|client| population(plan, client))
        .collect();
    if plan.clients.len() > MAX_POPULATIONS {
        cards.push(more(plan.clients.len() - MAX_POPULATIONS, "population"));
    }
    cards
}

/// What stands for what is left out.
pub(super) fn more(count: usize, what: &str) -> Card {
    Card {
        title: format!("and {} more", words::several(count, what)),
        lines: Vec::new(),
        stacked: count > 1,
        service: None,
    }
}

fn population(plan: &Plan, client: &ClientPlan) -> Card {
    let mut lines = Vec::new();
    match &client.arrivals {
        Arrivals::Poisson { rate } => lines.push(format!("{rate}, Poisson")),
        Arrivals::Constant { rate } => lines.push(format!("{rate}, evenly spaced")),
        Arrivals::ClosedLoop {
            users, think_time, ..
        } => {
            lines.push(words::several(*users as usize, "virtual user"));
            lines.push(format!("pause {}", words::duration(think_time)));
        }
        Arrivals::Mmpp(_) => lines.push("in bursts (MMPP)".to_owned()),
        Arrivals::Profile(_) => lines.push("at a rate that changes".to_owned()),
        Arrivals::Diurnal(_) => lines.push("by the time of day".to_owned()),
        Arrivals::Trace(_) => lines.push("by a recorded trace".to_owned()),
    }
    lines.push(match client.timeout {
        Some(timeout) => format!("leave after {timeout}"),
        None => "wait for ever".to_owned(),
    });
    lines.push(format!("ask for {}", plan.services[client.service].name));
    if let Some(cluster) = plan.slb.clusters.get(client.slb) {
        lines.push(format!("through {}", cluster.name));
    }
    lines.push(format!(
        "{}, answer {}",
        words::size(&client.request_bytes),
        words::size(&client.response_bytes)
    ));
    Card {
        title: client.name.clone(),
        lines,
        stacked: true,
        service: colour(plan, client.service),
    }
}

pub(super) fn slb(plan: &Plan) -> Card {
    let slb = &plan.slb;
    let addresses: Vec<_> = slb.hosts.iter().flatten().copied().collect();
    let hosts = slb.hosts.len();
    let kind = if slb.l7 { "layer 7" } else { "no layer 7" };
    let selection = if slb.tcp.port_selection == PortSelection::Random {
        "at random"
    } else {
        "as connect() does"
    };
    let mut lines = vec![kind.to_owned(), words::addresses(addresses.iter().copied())];
    if addresses.len() != hosts {
        lines.push(words::several(addresses.len(), "address").replace("addresss", "addresses"));
    }
    for cluster in &slb.clusters {
        let hosts = words::several(cluster.hosts.len(), "host");
        lines.push(format!("cluster {}: {hosts}", cluster.name));
    }
    lines.push(format!("ports {}, {selection}", slb.ports));
    if slb.tcp.timestamps == TimestampMode::Off {
        lines.push("no timestamps".to_owned());
    }
    lines.push(match &slb.keepalive {
        None => "a connection per request".to_owned(),
        Some(keepalive) => format!("keeps {} idle connections", keepalive.size),
    });
    lines.push(format!("connects within {}", slb.connect_timeout));
    Card {
        title: words::several(hosts, "SLB host"),
        lines,
        stacked: hosts > 1,
        service: None,
    }
}

/// A title of some hosts of one kind: the name of one, or how many from the first to the last.
fn title(what: &str, names: &[&str]) -> Vec<String> {
    match names {
        [] => vec![String::new()],
        [one] => vec![(*one).to_owned()],
        [some @ .., last] if names.len() <= 3 => {
            vec![
                words::several(names.len(), what),
                format!("{}, {last}", some.join(", ")),
            ]
        }
        [first, .., last] => vec![words::several(names.len(), what), format!("{first} ... {last}")],
    }
}

pub(super) fn node(plan: &Plan, nodes: &[usize]) -> Card {
    let all: Vec<&NodePlan> = nodes.iter().map(|&node| &plan.nodes[node]).collect();
    let first = all[0];
    let names: Vec<_> = all.iter().map(|node| short(&node.name)).collect();
    let mut lines = title("node", &names);
    let title = lines.remove(0);
    lines.push(words::addresses(all.iter().map(|node| node.ip)));
    for (service, its) in plan.services.iter().zip(&first.pods).take(MAX_SERVICES) {
        let pods = if its.is_empty() { ", no pod here" } else { "" };
        lines.push(format!("NodePort {} {}{pods}", service.node_port, service.name));
    }
    if plan.services.len() > MAX_SERVICES {
        lines.push(format!("and {} more", plan.services.len() - MAX_SERVICES));
    }
    let policy = if first.local { "Local" } else { "Cluster" };
    lines.push(format!("externalTrafficPolicy: {policy}"));
    lines.push(
        match first.proxy {
            ProxyMode::Iptables => "kube-proxy: iptables",
            ProxyMode::Ipvs(_) => "kube-proxy: ipvs",
        }
        .to_owned(),
    );
    lines.push(snat(first.snat.mode));
    if let Some(ports) = first.snat.to_ports.filter(|_| first.snat.mode != SnatMode::None) {
        lines.push(format!("--to-ports {ports}"));
    }
    if plan.links.node_node.is_some() && first.from_nodes != SnatMode::None {
        lines.push("SNAT of other nodes' connections, too".to_owned());
    }
    lines.push(format!("nf_conntrack_max {}", first.conntrack.max_entries));
    if plan.links.node_node.is_some() && !first.local && nodes.len() > 1 {
        lines.push("each other's pods by node_node".to_owned());
    }
    if let Some(link) = &first.link {
        lines.push(format!("own link: {}", words::link(link).join(", ")));
    }
    Card {
        title,
        lines,
        stacked: nodes.len() > 1,
        service: None,
    }
}

fn snat(mode: SnatMode) -> String {
    let flags = [
        (PortChoice::Keep, ""),
        (PortChoice::Random, " --random"),
        (PortChoice::RandomFully, " --random-fully"),
    ];
    match mode {
        SnatMode::None => "no SNAT".to_owned(),
        SnatMode::Masquerade(choice) => {
            let flag = flags.iter().find(|(of, _)| *of == choice);
            format!("MASQUERADE{}", flag.map_or("", |flag| flag.1))
        }
    }
}

/// A name without the cluster that the frame around it names.
pub(super) fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

pub(super) fn pod(plan: &Plan, pods: &[usize], home: Option<&str>) -> Card {
    let all: Vec<&PodPlan> = pods.iter().map(|&pod| &plan.pods[pod]).collect();
    let first = all[0];
    let names: Vec<_> = all.iter().map(|pod| short(&pod.name)).collect();
    let mut lines = title("pod", &names);
    let title = lines.remove(0);
    lines.push(format!(
        "{}, port {}",
        words::addresses(all.iter().map(|pod| pod.endpoint.ip)),
        first.endpoint.port
    ));
    lines.push(format!("serves {}", plan.services[first.service].name));
    if let Some(home) = home {
        lines.push(format!("on {home}"));
    }
    lines.push(format!("answers in {}", words::duration(&first.service_time)));
    lines.push(match first.close {
        ClosePolicy::AfterResponse => "closes after the response".to_owned(),
        ClosePolicy::Reset => "resets after the response".to_owned(),
        ClosePolicy::KeepAlive { idle_timeout, .. } => format!("keeps alive, {idle_timeout} idle"),
    });
    if let Some(workers) = first.workers {
        lines.push(words::several(workers as usize, "worker"));
    }
    if let Some(link) = &first.link {
        lines.push(format!("own link: {}", words::link(link).join(", ")));
    }
    Card {
        title,
        lines,
        stacked: pods.len() > 1,
        service: colour(plan, first.service),
    }
}
