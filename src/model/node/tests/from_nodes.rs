//! What another node has translated and forwarded to a pod of this one.

use std::net::Ipv4Addr;

use super::bench::{Bench, Flow, Kernel, pod};
use crate::model::nat::{PortChoice, SnatMode};
use crate::model::node::{Hop, NodeConfig, NodeProxy, NodeVerdict};
use crate::units::{Endpoint, FourTuple};
use crate::wire::{Flags, Packet};

const OTHER: Ipv4Addr = Ipv4Addr::new(10, 20, 1, 1);
const AGAIN: SnatMode = SnatMode::Masquerade(PortChoice::RandomFully);

/// The node of the pod, behind the one that the SLB connects to.
fn home(kernel: Kernel, proxy: NodeProxy, from_nodes: SnatMode) -> Bench {
    let config = NodeConfig {
        ip: OTHER,
        proxy,
        from_nodes,
        ..kernel.config(PortChoice::RandomFully, None)
    };
    Bench::new(config, 9)
}

fn kernels() -> impl Iterator<Item = (Kernel, NodeProxy)> {
    [Kernel::V4_19, Kernel::V6_18]
        .into_iter()
        .flat_map(|kernel| [(kernel, NodeProxy::Iptables), (kernel, kernel.ipvs(0))])
}

/// A packet as the first node sends it on.
fn arriving(flow: &Flow, flags: Flags) -> Packet {
    let source = Endpoint::new(Ipv4Addr::new(10, 20, 1, 9), 23_456);
    Packet {
        tuple: FourTuple::new(source, pod(0).endpoint),
        ..flow.client_packet(flags, 0)
    }
}

#[track_caller]
fn forwarded(verdict: NodeVerdict, to: Hop) -> Packet {
    match verdict {
        NodeVerdict::Forward { packet, to: its } if its == to => packet,
        other => panic!("not forwarded to {to:?}: {other:?}"),
    }
}

#[test]
fn it_is_tracked_and_left_as_it_is_and_no_service_is_asked() {
    for (kernel, proxy) in kernels() {
        let mut home = home(kernel, proxy, SnatMode::None);
        let flow = Flow::new(1, 40_000, 7);
        let syn = arriving(&flow, Flags::SYN);
        let out = forwarded(home.send(&syn), Hop::Pod(0));
        assert_eq!(out, syn);
        assert_eq!((home.node.conntrack_count(), home.node.ipvs_count()), (1, 0));
        let answer = Packet {
            tuple: syn.tuple.reversed(),
            ack: syn.end_seq(),
            ..flow.client_packet(Flags::SYN_ACK, 0)
        };
        assert_eq!(forwarded(home.send(&answer), Hop::Outside), answer);
        // A repeated SYN and what follows go the same way.
        assert_eq!(forwarded(home.send(&syn), Hop::Pod(0)), syn);
        let stats = home.node.stats();
        assert_eq!((stats.invalid, stats.port_reuses, stats.insert_failed), (0, 0, 0));
        assert_eq!(home.node.ports_in_use_max(), 0, "no port of this node");
    }
}

#[test]
fn masqueraded_again_it_has_a_port_of_this_node_which_the_ledger_knows() {
    for (kernel, proxy) in kernels() {
        let mut home = home(kernel, proxy, AGAIN);
        let flow = Flow::new(1, 40_000, 7);
        let syn = arriving(&flow, Flags::SYN);
        let out = forwarded(home.send(&syn), Hop::Pod(0));
        assert_eq!((out.tuple.src.ip, out.tuple.dst), (OTHER, syn.tuple.dst));
        let answer = Packet {
            tuple: out.tuple.reversed(),
            ack: syn.end_seq(),
            ..flow.client_packet(Flags::SYN_ACK, 0)
        };
        let back = forwarded(home.send(&answer), Hop::Outside);
        assert_eq!(back.tuple, syn.tuple.reversed(), "and is translated back");
        assert_eq!((home.node.ports_in_use_max(), home.node.ipvs_count()), (1, 0));
        let history = home.node.port_history(pod(0).endpoint, out.tuple.src.port);
        assert!(history.is_some_and(|history| history.previous.is_none()));
    }
}
