//! Which node each pod runs on: those of its cluster in turn, or the one that it names (Kubernetes' `nodeName`).

use super::node::NodeInstance;
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::reader::Reader;
use crate::scenario::words::nearest;

/// The nodes of one cluster, and whose turn it is.
#[derive(Debug)]
struct Cluster {
    /// Empty: the nodes that name none.
    name: String,
    nodes: Vec<usize>,
    next: usize,
}

/// Where pods may go.
#[derive(Debug)]
pub(super) struct Placement {
    clusters: Vec<Cluster>,
}

/// Where the pods of one table go.
#[derive(Debug)]
pub(super) enum Home {
    /// To the nodes of this cluster in turn, wherever the tables before have left off.
    Cluster(usize),
    /// To these nodes in turn.
    Named(Vec<usize>),
}

impl Placement {
    /// The clusters of some nodes, which are at least one.
    pub fn of(nodes: &[NodeInstance]) -> Self {
        let mut clusters: Vec<Cluster> = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let known = clusters
                .iter_mut()
                .find(|cluster| cluster.name == node.plan.cluster);
            match known {
                Some(cluster) => cluster.nodes.push(index),
                None => clusters.push(Cluster {
                    name: node.plan.cluster.clone(),
                    nodes: vec![index],
                    next: 0,
                }),
            }
        }
        Self { clusters }
    }

    /// Where the pods of a table go; what cannot be is told.
    pub fn home(&self, reader: &Reader<'_>, nodes: &[NodeInstance]) -> Home {
        let cluster = reader.name("cluster").map(|name| self.find(reader, name));
        let Some(node_name) = reader.name("node_name") else {
            return Home::Cluster(cluster.unwrap_or_else(|| self.the_only_one(reader)));
        };
        let is_it = |node: &&NodeInstance| node.plan.name == node_name || node.table == node_name;
        let Some(first) = nodes.iter().find(is_it) else {
            let names = nodes.iter().map(|node| node.table.as_str());
            unknown(reader, "node_name", "node", node_name, names);
            return Home::Cluster(0);
        };
        if let Some(cluster) = cluster
            && self.clusters[cluster].name != first.plan.cluster
        {
            let message = format!("the node `{node_name}` is not in this cluster");
            let label = format!("it is in `{}`", first.plan.cluster);
            reader.push(
                Diagnostic::new(&reader.span("node_name"), message, label)
                    .help("a pod runs on a node of its own cluster; `cluster` may be left out"),
            );
        }
        let named = nodes.iter().enumerate().filter(|(_, node)| is_it(node));
        Home::Named(named.map(|(index, _)| index).collect())
    }

    /// The node of the table's pod of this number.
    pub fn next(&mut self, home: &Home, number: usize) -> usize {
        match home {
            Home::Named(nodes) => nodes[number % nodes.len()],
            Home::Cluster(cluster) => {
                let cluster = &mut self.clusters[*cluster];
                let node = cluster.nodes[cluster.next % cluster.nodes.len()];
                cluster.next += 1;
                node
            }
        }
    }

    fn find(&self, reader: &Reader<'_>, name: &str) -> usize {
        let found = self.clusters.iter().position(|cluster| cluster.name == name);
        found.unwrap_or_else(|| {
            let names = self.clusters.iter().map(|cluster| cluster.name.as_str());
            unknown(reader, "cluster", "cluster", name, names);
            0
        })
    }

    /// The cluster of a table that names none: there must be only one, or some nodes that name none either.
    fn the_only_one(&self, reader: &Reader<'_>) -> usize {
        let unnamed = self.clusters.iter().position(|cluster| cluster.name.is_empty());
        if unnamed.is_none() && self.clusters.len() > 1 {
            reader.missing("cluster", &format!("cluster = \"{}\"", self.clusters[0].name));
        }
        unnamed.unwrap_or(0)
    }
}

fn unknown<'n>(
    reader: &Reader<'_>,
    key: &str,
    what: &str,
    name: &str,
    names: impl Iterator<Item = &'n str> + Clone,
) {
    let help = nearest(name, names.clone()).map_or_else(
        || {
            let mut some: Vec<_> = names.filter(|name| !name.is_empty()).collect();
            some.dedup();
            some.truncate(10);
            if some.is_empty() {
                format!("no {what} has a name")
            } else {
                format!("there is {}", some.join(", "))
            }
        },
        |near| format!("did you mean \"{near}\"?"),
    );
    let message = format!("there is no {what} `{name}`");
    reader.push(Diagnostic::new(&reader.span(key), message, format!("unknown {what}")).help(help));
}
