//! Links and the way to pods, in whole worlds.

use super::*;
use crate::model::link::{Burst, LineConfig, QueueLimit};
use crate::model::sizes::Sizes;

fn line(bits_per_second: u64, packets: u32) -> LineConfig {
    LineConfig {
        bandwidth: Bandwidth::bits_per_second(bits_per_second).unwrap(),
        queue: Some(QueueLimit::Packets(packets)),
    }
}

/// Every packet is somewhere, every request has one end and every failure one cause.
fn check_books(observations: &Observations) -> crate::observe::Counts {
    let counts = accounted_for(observations);
    assert!(
        on_links(&counts) < 2_000,
        "{} packets are still on links",
        on_links(&counts)
    );
    counts
}

fn connect_millis(observations: &Observations, quantile: f64) -> f64 {
    observations.connect_latency.value_at_quantile(quantile) as f64 / 1e6
}

#[test]
fn a_connect_takes_the_time_of_its_bits() {
    // (bits per second, milliseconds): 0.3 ms of delay, and SYN and SYN-ACK of 98 octets each.
    for (bandwidth, millis) in [
        (1_000_000, 0.3 + 2.0 * 0.784),
        (100_000_000, 0.3 + 2.0 * 0.007_84),
        (10_000_000_000, 0.3 + 2.0 * 0.000_078_4),
    ] {
        let mut plan = direct(1, 40);
        plan.links.slb_pod.line = Some(line(bandwidth, 1_000));
        let observations = run(&plan);
        check_books(&observations);
        let took = connect_millis(&observations, 0.5);
        assert!(
            (took / millis - 1.0).abs() < 0.002,
            "{bandwidth}: {took} ms, not {millis} ms"
        );
    }
}

#[test]
fn a_line_that_is_too_slow_drops_what_has_no_room_and_names_the_cause() {
    let mut plan = direct(200, 20);
    // A connection is some 860 octets from the SLB to the pod, 1160 back: 200 of them take 1.9 Mbit/s.
    plan.links.slb_pod.line = Some(line(1_000_000, 20));
    let counts = check_books(&run(&plan));
    assert!(counts.queue_overflows > 1_000, "{}", counts.queue_overflows);
    assert_eq!(counts.link_losses, 0);
    let of_queue = of_cause(&counts, Cause::QueueOverflow);
    assert!(of_queue > 500, "{:?}", counts.causes);
    assert_eq!(of_cause(&counts, Cause::LinkLoss), 0);
}

#[test]
fn a_line_with_room_to_spare_changes_no_outcome() {
    let plan = direct(100, 20);
    let mut wide = plan.clone();
    wide.links.slb_pod.line = Some(line(10_000_000_000, 1_000));
    let (without, with) = (totals(&run(&plan)), totals(&run(&wide)));
    assert_eq!(with.queue_overflows, 0);
    assert_eq!(
        (without.by_status, without.packets_sent),
        (with.by_status, with.packets_sent)
    );
}

#[test]
fn the_directions_of_a_link_are_independent() {
    // Responses of 100 kB fill the way from the pod; requests still take theirs in no time.
    let mut plan = direct(8, 20);
    plan.clients[0].timeout = None;
    plan.clients[0].response_bytes = Sizes::Constant(100_000);
    plan.links.slb_pod.line = Some(line(10_000_000, 1_000));
    let observations = run(&plan);
    check_books(&observations);
    // The SYN waits for no response, the SYN-ACK may.
    let least = connect_millis(&observations, 0.0);
    assert!(
        (0.45..0.46).contains(&least),
        "{least} ms: 0.3 ms and 98 octets twice"
    );
    assert!(connect_millis(&observations, 0.99) > 2.0);
}

#[test]
fn losses_in_bursts_come_together_and_as_many_as_one_by_one() {
    let mut single = direct(200, 60);
    let mut bursts = single.clone();
    single.links.slb_pod.loss = 0.01;
    bursts.links.slb_pod.burst = Burst::of(0.01, 10.0, 1.0, 0.0);
    // The share that is lost, and the variance of the losses of a second over their mean.
    let measure = |plan: &Plan| {
        let observations = run(plan);
        let counts = check_books(&observations);
        let lost: Vec<_> = observations
            .seconds
            .iter()
            .map(|second| second.counts.link_losses as f64)
            .collect();
        let mean = lost.iter().sum::<f64>() / lost.len() as f64;
        let variance = lost.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / lost.len() as f64;
        // Half of the packets are on this link.
        let share = 2.0 * counts.link_losses as f64 / counts.packets_sent as f64;
        (share, variance / mean)
    };
    let (share, dispersion) = measure(&single);
    assert!((0.009..0.011).contains(&share), "{share}");
    assert!(
        (0.5..2.0).contains(&dispersion),
        "{dispersion}: independent of each other"
    );
    // Some 120 bursts; their lengths vary, so the sum does by 13 %. Twice the length less one is the dispersion.
    let (share, dispersion) = measure(&bursts);
    assert!((0.006..0.014).contains(&share), "{share}");
    assert!((8.0..40.0).contains(&dispersion), "{dispersion}");
}

/// Two nodes with a pod each, and what is under `[node]`.
fn two_nodes_with(node: &str) -> Plan {
    planned(
        &format!(
            "duration = \"60s\"\n[clients]\nrate = \"100/s\"\n[slb]\naddresses = 4\n\
         [pod]\ncount = 2\nservice_time = \"1ms\"\n[node]\ncount = 2\n{node}"
        ),
        &[],
    )
}

/// Two nodes with a pod each.
fn two_nodes(more: &str) -> Plan {
    two_nodes_with(more)
}

/// The same with few ports and a conntrack that forgets early, so that there are hits.
const FEW_PORTS: &str = "snat = { to_ports = \"40000-40999\" }\n\
    sysctl = { nf_conntrack_tcp_timeout_time_wait = 5 }\n";

#[test]
fn a_pod_of_another_node_is_reached_through_that_node() {
    let mut plan = two_nodes("");
    let near = run(&plan);
    let counts = check_books(&near);
    assert_eq!(counts.packets_sent % 2, 0);
    let straight = connect_millis(&near, 0.99);
    assert!((0.3..0.301).contains(&straight), "{straight} ms");
    plan.links.node_node = Some(LinkConfig::constant(SimDuration::from_millis(1)));
    let observations = simulate(
        &plan,
        0,
        RecordOptions {
            node_packets: true,
            all: true,
            cap: 100_000,
        },
        &|_| true,
    );
    let counts = check_books(&observations);
    // Every node picks each of the two pods for half of its connections.
    assert!((0.3..0.301).contains(&connect_millis(&observations, 0.25)));
    let across = connect_millis(&observations, 0.75);
    assert!(
        (2.3..2.303).contains(&across),
        "{across} ms: two hops more of 1 ms"
    );
    // A packet between two nodes comes to the second one from the first.
    let of_node = |ip| plan.nodes.iter().position(|node| node.ip == ip);
    let from_other = |packet: &&crate::observe::NodePacket| {
        !packet.sent && of_node(packet.packet.tuple.src.ip).is_some_and(|node| node as u32 != packet.node)
    };
    let crossed = observations.node_packets.iter().filter(from_other).count() as f64;
    let share = crossed / counts.requests_started as f64;
    // Half of the connections, five packets of the SLB's side each.
    assert!((2.4..2.6).contains(&share), "{share} packets per request");
    assert_eq!(
        counts.by_status[0] + observations.requests_in_flight,
        counts.requests_started
    );
}

#[test]
fn both_nodes_track_a_connection_that_crosses() {
    let levels = |plan: &Plan| {
        let observations = run(plan);
        check_books(&observations);
        let last = observations.seconds.iter().last().unwrap().gauges;
        last.conntrack_alive as f64
    };
    let mut plan = two_nodes("");
    plan.clients[0].timeout = None;
    let one_by_one = levels(&plan);
    plan.links.node_node = Some(plan.links.node_pod.clone());
    let crossing = levels(&plan);
    let factor = crossing / one_by_one;
    assert!(
        (1.4..1.6).contains(&factor),
        "{factor}: half of the connections have two entries"
    );
}

/// Addresses from which pods see connections, by the node that each pod runs on: own node's or another's.
fn sources(plan: &Plan) -> (u64, u64) {
    let observations = run(plan);
    check_books(&observations);
    let (mut own, mut other) = (0, 0);
    for attempt in &observations.attempts {
        let home = plan.pods[attempt.pod as usize].node;
        if attempt.source.ip == plan.nodes[home].ip {
            own += 1;
        } else {
            assert!(plan.nodes.iter().any(|node| node.ip == attempt.source.ip));
            other += 1;
        }
    }
    (own, other)
}

#[test]
fn the_pods_own_node_masquerades_again_only_if_it_is_told_to() {
    let across = "[links.node_node]\ndelay = \"0.2ms\"\n";
    let (own, other) = sources(&two_nodes(across));
    let share = own as f64 / (own + other) as f64;
    assert!(
        (0.45..0.55).contains(&share),
        "{share}: the first node's port is kept"
    );
    let mut plan = two_nodes(across);
    for node in &mut plan.nodes {
        node.from_nodes = node.snat.mode;
    }
    let (own, other) = sources(&plan);
    assert_eq!(other, 0, "every connection has a port of the pod's own node");
    assert!(own > 5_000);
}

#[test]
fn hits_are_counted_and_explained_across_nodes_and_through_a_second_snat() {
    for (proxy, again) in [
        ("iptables", false),
        ("iptables", true),
        ("ipvs", false),
        ("ipvs", true),
    ] {
        let mut plan = two_nodes_with(&format!(
            "proxy = \"{proxy}\"\n{FEW_PORTS}[links.node_node]\ndelay = \"0.2ms\"\n"
        ));
        if again {
            for node in &mut plan.nodes {
                node.from_nodes = node.snat.mode;
            }
        }
        let counts = check_books(&run(&plan));
        assert!(
            counts.time_wait_hits > 300,
            "{proxy} {again}: {}",
            counts.time_wait_hits
        );
        let explained: u64 = counts.release_paths.iter().sum();
        assert_eq!(explained, counts.time_wait_hits, "{proxy} {again}");
        assert_eq!(counts.by_status[1..], [0; 5], "{proxy} {again}: {counts:?}");
    }
}

#[test]
fn with_one_node_a_link_between_nodes_changes_nothing() {
    let plan = planned(
        "duration = \"20s\"\n[clients]\nrate = \"100/s\"\n[pod]\ncount = 2\n",
        &[],
    );
    let mut linked = plan.clone();
    linked.links.node_node = Some(LinkConfig::constant(SimDuration::from_millis(9)));
    assert_eq!(run(&plan).seconds, run(&linked).seconds);
}

#[test]
fn a_pod_or_node_with_a_link_of_its_own_is_slower_than_the_others() {
    let slow = |plan: &Plan| {
        let observations = run(plan);
        check_books(&observations);
        // The share of connects that take longer than 1 ms, and what they take.
        let all = observations.connect_latency.len() as f64;
        let slow = all - observations.connect_latency.count_between(0, 1_000_000) as f64;
        (slow / all, connect_millis(&observations, 0.99))
    };
    let mut plan = two_nodes("");
    assert_eq!(slow(&plan).0, 0.0);
    plan.pods[1].link = Some(LinkConfig::constant(SimDuration::from_millis(4)));
    let (share, took) = slow(&plan);
    assert!(
        (0.45..0.55).contains(&share) && (8.2..8.21).contains(&took),
        "{share} {took}"
    );
    let mut plan = two_nodes("");
    plan.nodes[0].link = Some(LinkConfig::constant(SimDuration::from_millis(3)));
    let (share, took) = slow(&plan);
    assert!(
        (0.45..0.55).contains(&share) && (6.1..6.11).contains(&took),
        "{share} {took}"
    );
    let mut plan = direct(50, 20);
    plan.pods[0].link = Some(LinkConfig::constant(SimDuration::from_millis(5)));
    assert!((10.0..10.02).contains(&slow(&plan).1));
}

#[test]
fn each_population_uses_the_addresses_of_its_own_slb_cluster() {
    let plan = planned(
        "duration = \"10s\"\n[[clients]]\nrate = \"50/s\"\n[[clients]]\nrate = \"50/s\"\nslb = \"b\"\n\
         [[slb.cluster]]\nname = \"a\"\nhosts = 2\n[[slb.cluster]]\nname = \"b\"\nhosts = 3\n",
        &[],
    );
    let observations = run(&plan);
    check_books(&observations);
    let mut used = [
        std::collections::BTreeSet::new(),
        std::collections::BTreeSet::new(),
    ];
    for request in &observations.requests {
        let tuple = request.slb_tuple.expect("each was sent on");
        used[request.population as usize].insert(tuple.src.ip.octets()[3]);
    }
    assert_eq!(
        used.map(|set| set.into_iter().collect::<Vec<_>>()),
        [vec![1, 2], vec![3, 4, 5]]
    );
}
