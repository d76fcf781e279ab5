//! What is equal becomes one card: clusters, nodes of a cluster, pods of a node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::{Band, Card, Wire, cards};
use crate::spec::{Backends, NodePlan, Plan, PodPlan};

/// Equal clusters, and equal nodes of a cluster, are drawn one by one up to so many.
const SHOWN: usize = 3;
/// Clusters that are drawn at most, folded or not.
const MAX_BANDS: usize = 8;
/// Cards of a cluster's column at most.
const MAX_CARDS: usize = 12;

/// A cluster's nodes and pods, by their places in the plan.
#[derive(Debug, Default)]
struct Cluster {
    nodes: Vec<usize>,
    pods: Vec<usize>,
}

pub(super) fn bands(plan: &Plan) -> Vec<Band> {
    let clusters = clusters(plan);
    let alike = clusters.len() > SHOWN
        && clusters
            .windows(2)
            .all(|two| shape(plan, &two[0].1) == shape(plan, &two[1].1));
    let framed = clusters.len() > 1;
    if alike && let [(first, cluster), .., (last, _)] = clusters.as_slice() {
        let title = format!("{} clusters alike, {first} to {last}", clusters.len());
        return vec![Band {
            title: Some(title),
            stacked: true,
            ..band(plan, cluster)
        }];
    }
    let mut bands: Vec<_> = clusters
        .iter()
        .take(MAX_BANDS)
        .map(|(name, cluster)| Band {
            title: framed.then(|| {
                if name.is_empty() {
                    "cluster".to_owned()
                } else {
                    name.clone()
                }
            }),
            ..band(plan, cluster)
        })
        .collect();
    if clusters.len() > MAX_BANDS {
        let left = clusters.len() - MAX_BANDS;
        bands.push(Band {
            title: Some(format!("and {left} more clusters")),
            stacked: true,
            nodes: Vec::new(),
            pods: Vec::new(),
            backends: Vec::new(),
            wires: Vec::new(),
            overlay: Vec::new(),
        });
    }
    bands
}

/// Clusters in the order of their first nodes; a pod belongs to its node's.
fn clusters(plan: &Plan) -> Vec<(String, Cluster)> {
    let mut clusters: Vec<(String, Cluster)> = Vec::new();
    let mut places = BTreeMap::new();
    let mut of_node = Vec::with_capacity(plan.nodes.len());
    for (index, node) in plan.nodes.iter().enumerate() {
        let place = *places.entry(node.cluster.as_str()).or_insert_with(|| {
            clusters.push((node.cluster.clone(), Cluster::default()));
            clusters.len() - 1
        });
        clusters[place].1.nodes.push(index);
        of_node.push(place);
    }
    if clusters.is_empty() {
        clusters.push((String::new(), Cluster::default()));
    }
    for (index, pod) in plan.pods.iter().enumerate() {
        let place = of_node.get(pod.node).copied().unwrap_or(0);
        clusters[place].1.pods.push(index);
    }
    clusters
}

/// A node without what differs between equal ones.
fn plain_node(plan: &Plan, node: usize) -> NodePlan {
    let mut plain = plan.nodes[node].clone();
    plain.name.clear();
    plain.cluster.clear();
    plain.ip = Ipv4Addr::UNSPECIFIED;
    for pods in &mut plain.pods {
        // Whether it is a backend of the service at all.
        let any = !pods.is_empty();
        pods.clear();
        pods.extend(any.then_some(0));
    }
    plain
}

/// A pod without what differs between equal ones.
fn plain_pod(plan: &Plan, pod: usize) -> PodPlan {
    let mut plain = plan.pods[pod].clone();
    plain.name.clear();
    plain.endpoint.ip = Ipv4Addr::UNSPECIFIED;
    plain.node = 0;
    plain
}

/// A cluster without what differs between equal ones.
fn shape(plan: &Plan, cluster: &Cluster) -> (Vec<NodePlan>, Vec<(PodPlan, usize)>) {
    let first = cluster.nodes.first().copied().unwrap_or(0);
    let nodes = cluster.nodes.iter().map(|&node| plain_node(plan, node));
    let pods = cluster.pods.iter();
    let pods = pods.map(|&pod| (plain_pod(plan, pod), plan.pods[pod].node.saturating_sub(first)));
    (nodes.collect(), pods.collect())
}

/// Equal pods, on one card.
#[derive(Debug)]
struct PodGroup {
    /// The card of the nodes that they run on, where that matters.
    home: Option<usize>,
    plain: PodPlan,
    pods: Vec<usize>,
}

fn band(plan: &Plan, cluster: &Cluster) -> Band {
    let direct = plan.slb.backends == Backends::Pod;
    let nodes = if direct {
        Vec::new()
    } else {
        node_groups(plan, &cluster.nodes)
    };
    let pods = pod_groups(plan, cluster, &nodes);
    let (wires, overlay) = wires(plan, &nodes, &pods);
    Band {
        title: None,
        stacked: false,
        nodes: capped(&nodes, "kind of node", |group| cards::node(plan, group)),
        pods: capped(&pods, "kind of pod", |group| {
            let home = group.home.map(|home| match nodes[home].as_slice() {
                [node] => cards::short(&plan.nodes[*node].name).to_owned(),
                several => format!("these {} nodes", several.len()),
            });
            cards::pod(plan, &group.pods, home.as_deref())
        }),
        backends: backends(plan, &nodes),
        wires,
        overlay,
    }
}

/// Places of the cards with nodes that have a pod.
fn backends(plan: &Plan, nodes: &[Vec<usize>]) -> Vec<usize> {
    let has_pod = |group: &[usize]| {
        group
            .iter()
            .any(|&node| plan.nodes[node].pods.iter().any(|pods| !pods.is_empty()))
    };
    let shown = nodes.iter().enumerate().filter(|(_, group)| has_pod(group));
    let places: BTreeSet<_> = shown.map(|(place, _)| place.min(MAX_CARDS)).collect();
    places.into_iter().collect()
}

/// Pods in groups of equal ones. Their nodes matter where not all pods are reached alike.
fn pod_groups(plan: &Plan, cluster: &Cluster, nodes: &[Vec<usize>]) -> Vec<PodGroup> {
    let local = cluster.nodes.iter().any(|&node| plan.nodes[node].local);
    let by_home = plan.links.node_node.is_some() || local;
    let mut groups: Vec<PodGroup> = Vec::new();
    for &pod in &cluster.pods {
        let its = plan.pods[pod].node;
        let home = nodes
            .iter()
            .position(|group| group.contains(&its))
            .filter(|_| by_home);
        let plain = plain_pod(plan, pod);
        match groups
            .iter_mut()
            .find(|group| group.home == home && group.plain == plain)
        {
            Some(group) => group.pods.push(pod),
            None => groups.push(PodGroup {
                home,
                plain,
                pods: vec![pod],
            }),
        }
    }
    groups.sort_by_key(|group| (group.plain.service, group.home));
    groups
}

/// Wires from nodes to pods, and between nodes of which one forwards to the other's pods, by the places of their cards.
fn wires(plan: &Plan, nodes: &[Vec<usize>], pods: &[PodGroup]) -> (Vec<Wire>, Vec<(usize, usize)>) {
    let crosses = plan.links.node_node.is_some();
    let forwards = |node: usize, pod: usize| {
        let lists = &plan.nodes[node].pods;
        lists.iter().any(|its| its.binary_search(&pod).is_ok())
    };
    let mut wires = BTreeSet::new();
    let mut overlay = BTreeSet::new();
    for (from, group) in nodes.iter().enumerate() {
        for (to, its) in pods.iter().enumerate() {
            let any = |of: &dyn Fn(usize, usize) -> bool| {
                let mut forwarding = group.iter();
                forwarding.any(|&node| its.pods.iter().any(|&pod| forwards(node, pod) && of(node, pod)))
            };
            // What is left out has one card behind the others.
            let (from, to) = (from.min(MAX_CARDS), to.min(MAX_CARDS));
            if any(&|node, pod| !crosses || plan.pods[pod].node == node) {
                wires.insert(Wire {
                    from,
                    to,
                    service: (plan.services.len() > 1 && to < MAX_CARDS).then_some(its.plain.service),
                });
            }
            if let Some(home) = its
                .home
                .filter(|_| crosses && any(&|node, pod| plan.pods[pod].node != node))
            {
                let home = home.min(MAX_CARDS);
                overlay.insert((from.min(home), from.max(home)));
            }
        }
    }
    overlay.retain(|(one, other)| one != other);
    (wires.into_iter().collect(), overlay.into_iter().collect())
}

/// Nodes in groups of equal ones; few of them stand each for itself.
fn node_groups(plan: &Plan, nodes: &[usize]) -> Vec<Vec<usize>> {
    let mut groups: Vec<(NodePlan, Vec<usize>)> = Vec::new();
    for &node in nodes {
        let plain = plain_node(plan, node);
        match groups.iter_mut().find(|group| group.0 == plain) {
            Some(group) => group.1.push(node),
            None => groups.push((plain, vec![node])),
        }
    }
    let mut split: Vec<_> = groups
        .into_iter()
        .flat_map(|(_, group)| {
            if group.len() > SHOWN {
                vec![group]
            } else {
                group.into_iter().map(|node| vec![node]).collect()
            }
        })
        .collect();
    split.sort_unstable();
    split
}

fn capped<T>(all: &[T], what: &str, card: impl Fn(&T) -> Card) -> Vec<Card> {
    let mut cards: Vec<_> = all.iter().take(MAX_CARDS).map(card).collect();
    if all.len() > MAX_CARDS {
        cards.push(cards::more(all.len() - MAX_CARDS, what));
    }
    cards
}
