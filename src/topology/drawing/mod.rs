//! The network of a plan as a picture: clients, SLB, nodes and pods in columns from left to right, equal hosts folded into
//! one card.
//!
//! The columns are given by the hosts' roles, so nothing is left for a general layout of graphs to decide; what it takes is
//! to fold what is equal, to measure text, and to keep wires and words apart: the words of a link stand above the gap
//! that its wires cross. The crate `svg` writes and escapes the elements; `ab_glyph`, which the figures need anyway, measures.

mod cards;
mod fold;
mod layout;
mod paint;

use crate::spec::{Backends, Plan};

use super::words;

/// A host, or several equal ones.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Card {
    title: String,
    lines: Vec<String>,
    /// It stands for more than one.
    stacked: bool,
    /// The service whose colour it bears.
    service: Option<usize>,
}

/// A wire between two cards of neighbouring columns, by their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Wire {
    from: usize,
    to: usize,
    service: Option<usize>,
}

/// The nodes and pods of one Kubernetes cluster, or of several equal ones.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Band {
    /// Drawn as a frame with this title; `None`: the only cluster, without a frame.
    title: Option<String>,
    stacked: bool,
    /// Empty if the SLB connects straight to pods.
    nodes: Vec<Card>,
    pods: Vec<Card>,
    /// Places of the nodes that the SLB connects to: those with a pod of some service.
    backends: Vec<usize>,
    /// From nodes to pods.
    wires: Vec<Wire>,
    /// Between nodes: one forwards to the other's pods.
    overlay: Vec<(usize, usize)>,
}

/// The words above a gap between two columns.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Legend {
    /// The key of the scenario, or what there is instead of a link.
    head: String,
    lines: Vec<String>,
}

/// All that is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Picture {
    title: String,
    question: Option<String>,
    clients: Vec<Card>,
    /// Whether a link leads from the clients to the SLB.
    client_leg: bool,
    slb: Card,
    bands: Vec<Band>,
    /// Left to right; one more than columns without nodes, none behind the pods.
    legends: Vec<Vec<Legend>>,
}

/// The network of a plan, drawn as SVG.
pub fn svg(plan: &Plan) -> String {
    paint::svg(&layout::Layout::of(&picture(plan)))
}

fn picture(plan: &Plan) -> Picture {
    let links = &plan.links;
    let legend = |head: &str, link| Legend {
        head: head.to_owned(),
        lines: words::link(link),
    };
    let mut legends = vec![vec![if plan.slb.l7 {
        legend("client_slb", &links.client_slb)
    } else {
        Legend {
            head: "no client leg".to_owned(),
            lines: Vec::new(),
        }
    }]];
    match plan.slb.backends {
        Backends::Pod => legends.push(vec![legend("slb_pod", &links.slb_pod)]),
        Backends::NodePort => {
            legends.push(vec![legend("slb_node", &links.slb_node)]);
            let mut inner = vec![legend("node_pod", &links.node_pod)];
            if let Some(between) = &links.node_node {
                inner.push(legend("node_node (dashed)", between));
            }
            legends.push(inner);
        }
    }
    Picture {
        title: plan.name.clone(),
        question: plan.question.clone(),
        clients: cards::clients(plan),
        client_leg: plan.slb.l7,
        slb: cards::slb(plan),
        bands: fold::bands(plan),
        legends,
    }
}
