//! `[links.*]`, and the links of single nodes and pods.

use super::Notes;
use crate::model::distribution::Distribution;
use crate::model::link::{LineConfig, LinkConfig, QueueLimit};
use crate::model::nat::SnatMode;
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::reader::Reader;
use crate::spec::{Backends, LinksPlan, NodePlan, PodPlan, SlbPlan};
use crate::units::SimDuration;

/// `txqueuelen` of a network interface of Linux (`DEFAULT_TX_QUEUE_LEN` in `include/net/pkt_sched.h`).
const QUEUE: QueueLimit = QueueLimit::Packets(1_000);

pub(super) fn resolve(root: &Reader<'_>, notes: &mut Notes) -> LinksPlan {
    let links = root.table("links");
    let mut read = |key: &str, delay_micros: u64| {
        let usual = LinkConfig::constant(SimDuration::from_micros(delay_micros));
        link(&links.table(key), &usual, notes)
    };
    let plan = LinksPlan {
        client_slb: read("client_slb", 250),
        slb_node: read("slb_node", 100),
        node_pod: read("node_pod", 50),
        slb_pod: read("slb_pod", 150),
        node_node: None,
    };
    let between_nodes = read("node_node", 100);
    LinksPlan {
        node_node: links.has("node_node").then_some(between_nodes),
        ..plan
    }
}

/// The link of a node or pod that has one of its own; what it leaves out is as usual.
pub(super) fn own(host: &Reader<'_>, usual: &LinkConfig, notes: &mut Notes) -> Option<LinkConfig> {
    let own = link(&host.table("link"), usual, notes);
    host.has("link").then_some(own)
}

fn link(reader: &Reader<'_>, usual: &LinkConfig, notes: &mut Notes) -> LinkConfig {
    let (loss, burst) = reader.loss("loss").unwrap_or((usual.loss, usual.burst));
    LinkConfig {
        delay: reader
            .distribution("delay")
            .unwrap_or_else(|| usual.delay.clone()),
        jitter: jitter(reader).unwrap_or_else(|| usual.jitter.clone()),
        loss,
        burst,
        line: line(reader, usual.line, notes),
    }
}

/// A single duration is the most that a packet is late, as in `tc ... netem delay TIME JITTER`, but for the sign.
fn jitter(reader: &Reader<'_>) -> Option<Distribution> {
    match reader.distribution("jitter")? {
        Distribution::Constant(SimDuration::ZERO) => Some(Distribution::Constant(SimDuration::ZERO)),
        Distribution::Constant(max) => Some(Distribution::Uniform {
            min: SimDuration::ZERO,
            max,
        }),
        other => Some(other),
    }
}

fn line(reader: &Reader<'_>, usual: Option<LineConfig>, notes: &mut Notes) -> Option<LineConfig> {
    let endless = reader.is_none_word("queue");
    let queue = if endless { None } else { reader.queue("queue") };
    let bandwidth = if reader.is_none_word("bandwidth") {
        None
    } else {
        let own = reader.bandwidth("bandwidth");
        own.or_else(|| usual.map(|usual| usual.bandwidth))
    };
    let Some(bandwidth) = bandwidth else {
        if reader.has("queue") {
            notes.add(format!(
                "`{}` has no effect without `bandwidth`: nothing ever waits",
                reader.path("queue")
            ));
        }
        return None;
    };
    let usual = usual.map_or(Some(QUEUE), |usual| usual.queue);
    Some(LineConfig {
        bandwidth,
        queue: queue.or(usual.filter(|_| !endless)),
    })
}

/// What links and hosts say of each other.
pub(super) fn check(
    root: &Reader<'_>,
    links: &LinksPlan,
    slb: &SlbPlan,
    nodes: &[NodePlan],
    pods: &[PodPlan],
    notes: &mut Notes,
) {
    let direct = slb.backends == Backends::Pod;
    if direct && nodes.iter().any(|node| node.link.is_some()) {
        notes.add("`node.link` has no effect with slb.backends = \"pod\"");
    }
    let again = nodes.iter().any(|node| node.from_nodes != SnatMode::None);
    if links.node_node.is_none() {
        if again {
            notes.add("`node.snat.from_nodes` has no effect without `links.node_node`");
        }
        return;
    }
    let mut forwards = nodes.iter().enumerate();
    let crosses =
        |(index, node): (usize, &NodePlan)| node.pods.iter().flatten().any(|&pod| pods[pod].node != index);
    if direct || !forwards.any(crosses) {
        notes.add("`links.node_node` has no effect: no node forwards to a pod of another one");
        return;
    }
    let bare = nodes
        .iter()
        .enumerate()
        .any(|(index, node)| node.snat.mode == SnatMode::None && crosses((index, node)));
    if bare {
        root.push(
            Diagnostic::new(
                &root.table("links").span("node_node"),
                "a pod of another node would answer past the node that the SLB connected to",
                "needs SNAT",
            )
            .help("without SNAT the answer leaves through the pod's own node, untranslated, and the SLB resets it; leave out `node.snat.mode = \"none\"` or `links.node_node`"),
        );
    }
}
