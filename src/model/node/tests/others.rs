//! The node as another NAT, on several CPUs, and with a NodePort that is a SNAT port, too.

use std::collections::BTreeSet;

use super::super::*;
use super::bench::*;
use crate::model::conntrack::State;
use crate::model::nat::{Allocator, InsertRace, NatRules, PortChoice, ReopenedMapping, Tries};
use crate::units::PortRange;
use crate::wire::Flags;

const RANGE: Option<(u16, u16)> = Some((40_000, 49_999));

fn with_rules(kernel: Kernel, choice: PortChoice, rules: NatRules) -> Bench {
    let mut config = kernel.config(choice, RANGE);
    config.snat.rules = rules;
    Bench::new(config, 1)
}

fn opens(bench: &mut Bench, host: u8, port: u16) -> Option<u16> {
    let mut flow = Flow::new(host, port, 1000);
    flow.step(bench, "SLB SYN");
    flow.seen.map(|seen| seen.src.port)
}

fn race(cpus: u32, micros: u64) -> NatRules {
    NatRules {
        race: Some(InsertRace {
            cpus,
            window: SimDuration::from_micros(micros),
        }),
        ..NatRules::NETFILTER
    }
}

/// SYNs of a burst, one every microsecond, that were dropped.
fn lost_in_a_burst(bench: &mut Bench, syns: u16) -> usize {
    let lost = (0..syns).filter(|&n| {
        bench.wait(SimDuration::from_micros(1));
        opens(bench, 1, 1_100 + n).is_none()
    });
    lost.count()
}

#[test]
fn searches_on_two_cpus_choose_one_port_where_they_begin_at_one_place_and_hardly_ever_where_they_do_not() {
    // 200 SYNs outside the range, so that every one searches; a CPU of 16 has seen its own choice only.
    for (choice, least, most) in [
        // Everybody but the CPU's own next one starts on the same port: 15 of 16 see nothing of the one before.
        (PortChoice::Keep, 150, 199),
        (PortChoice::Random, 150, 199),
        (PortChoice::RandomFully, 0, 3),
    ] {
        let mut bench = with_rules(Kernel::V4_19, choice, race(16, 1_000_000));
        let lost = lost_in_a_burst(&mut bench, 200);
        assert!((least..=most).contains(&lost), "{choice:?}: {lost} of 200");
        let stats = bench.node.stats();
        assert_eq!((stats.insert_failed, stats.search_failures), (lost as u64, 0));
        assert_eq!(bench.node.conntrack_count(), 200 - lost as u64);
    }
}

#[test]
fn no_race_without_a_second_cpu_without_time_or_when_the_time_is_over() {
    for (rules, gap) in [
        (NatRules::NETFILTER, 1),
        (race(1, 1_000_000), 1),
        (race(16, 5), 6),
    ] {
        let mut bench = with_rules(Kernel::V4_19, PortChoice::Keep, rules);
        for port in 0..200 {
            bench.wait(SimDuration::from_micros(gap));
            assert!(opens(&mut bench, 1, 1_100 + port).is_some(), "{rules:?}");
        }
        assert_eq!(bench.node.stats().insert_failed, 0);
    }
}

#[test]
fn the_loser_of_a_race_gets_a_port_when_it_comes_again() {
    let mut bench = with_rules(Kernel::V4_19, PortChoice::Keep, race(16, 50));
    let mut flows: Vec<_> = (0..50).map(|n| Flow::new(1, 1_100 + n, 9)).collect();
    for flow in &mut flows {
        flow.step(&mut bench, "SLB SYN");
    }
    assert!(flows.iter().any(|flow| flow.seen.is_none()));
    bench.wait(secs(1.0));
    for flow in flows.iter_mut().filter(|flow| flow.seen.is_none()) {
        bench.wait(SimDuration::from_millis(1));
        assert!(matches!(
            flow.step(&mut bench, "SLB SYN"),
            NodeVerdict::Forward { .. }
        ));
    }
    let ports: BTreeSet<_> = flows.iter().map(Flow::port).collect();
    assert_eq!(ports.len(), flows.len(), "nobody shares a port");
}

#[test]
fn a_limit_per_destination_drops_what_is_beyond_and_gives_way_with_the_first_hold_that_ends() {
    let mut bench = with_rules(
        Kernel::V6_18,
        PortChoice::RandomFully,
        NatRules {
            per_destination: Some(3),
            ..NatRules::NETFILTER
        },
    );
    for n in 0..3 {
        Flow::new(1, 33_000 + n, 9).run(&mut bench);
    }
    let mut late = Flow::new(1, 33_100, 9);
    assert_eq!(
        late.step(&mut bench, "SLB SYN"),
        NodeVerdict::Drop(DropReason::Snat)
    );
    assert_eq!(bench.node.stats().search_failures, 1);
    bench.wait(secs(120.1));
    assert!(matches!(
        late.step(&mut bench, "SLB SYN"),
        NodeVerdict::Forward { .. }
    ));
}

#[test]
fn each_source_address_has_ports_of_its_own_and_the_one_without_a_block_gets_none() {
    let mut config = Kernel::V6_18.config(PortChoice::RandomFully, Some((40_000, 40_019)));
    config.snat.rules.allocator = Some(Allocator::Uniform);
    config.snat.rules.per_source = Some(8);
    let mut bench = Bench::new(config, 1);
    for (host, first) in [(7, 40_000), (3, 40_008)] {
        let ports: BTreeSet<_> = (0..8)
            .filter_map(|n| opens(&mut bench, host, 33_000 + n))
            .collect();
        assert_eq!(ports, (first..first + 8).collect());
        assert_eq!(opens(&mut bench, host, 34_000), None, "its own are all in use");
    }
    // Four ports are left over: too few for a block.
    assert_eq!(opens(&mut bench, 9, 33_000), None);
}

#[test]
fn a_mapping_that_stays_gives_its_own_tuple_the_same_port_and_orphans_none() {
    let rules = NatRules {
        reopened: ReopenedMapping::SamePort,
        ..NatRules::NETFILTER
    };
    let mut bench = with_rules(Kernel::V6_18, PortChoice::RandomFully, rules);
    let mut first = Flow::new(1, 33_000, 1000);
    first.run(&mut bench);
    bench.wait(secs(20.0));
    let mut again = first.again();
    again.run(&mut bench);
    assert_eq!(again.port(), first.port());
    assert_eq!(
        (bench.node.stats().tuple_reopens, bench.node.ports_in_use_max()),
        (1, 1)
    );
    let history = bench.node.port_history(pod(0).endpoint, first.port());
    let previous = history
        .and_then(|history| history.previous)
        .expect("the first flow");
    assert_eq!(previous.released_by, Release::SameTuple(Reopened::SamePort));
    // The hold runs anew.
    bench.wait(secs(110.0));
    assert_eq!(bench.node.ports_in_use_max(), 1);
    bench.wait(secs(10.1));
    assert_eq!(bench.node.ports_in_use_max(), 0);
}

#[test]
fn a_table_that_is_scanned_holds_a_port_until_the_first_scan_after_its_timeout() {
    let mut config = Kernel::V6_18.config(PortChoice::RandomFully, RANGE);
    config.conntrack.timeouts.by_state[State::TimeWait as usize] = SimDuration::from_secs(10);
    config.snat.rules.scan_interval = Some(SimDuration::from_secs(30));
    let mut held = BTreeSet::new();
    for start in 0..30 {
        let mut bench = Bench::new(config.clone(), 1);
        bench.wait(secs(f64::from(start)));
        Flow::new(1, 33_000, 9).run(&mut bench);
        let mut seconds = 0;
        while bench.node.ports_in_use_max() > 0 {
            bench.wait(secs(1.0));
            seconds += 1;
        }
        held.insert(seconds);
    }
    // 10 s and the rest of 30: every length once.
    assert_eq!(held, (11..=40).collect());
}

#[test]
fn a_full_ebpf_map_evicts_what_was_used_least_recently() {
    let mut config = Kernel::V6_18.config(PortChoice::RandomFully, RANGE);
    config.conntrack.max_entries = 400;
    config.snat.rules.scan_interval = Some(SimDuration::from_millis(1));
    // As in such a table: netfilter's own limits are not there.
    let timeouts = &mut config.conntrack.timeouts;
    timeouts.unacknowledged = timeouts.by_state[State::Established as usize];
    let mut bench = Bench::new(config, 1);
    let mut flows: Vec<_> = (0..400).map(|n| Flow::new(1, 33_000 + n, 9)).collect();
    for flow in &mut flows {
        bench.wait(SimDuration::from_millis(10));
        flow.steps(&mut bench, &OPEN_AND_CLOSE[..3]);
    }
    // The first one is in use.
    flows[0].step(&mut bench, "SLB request");
    assert!(opens(&mut bench, 2, 33_000).is_some());
    assert_eq!(
        (bench.node.conntrack_count(), bench.node.stats().early_drop),
        (273, 128)
    );
    let here = |flow: &Flow| bench.node.conntrack_of(&flow.tuple(), bench.now).is_some();
    assert!(here(&flows[0]));
    assert!(!flows[1..129].iter().any(here) && flows[129..].iter().all(here));
}

/// A node whose only SNAT port is its own NodePort.
fn snat_port_is_node_port(proxy: NodeProxy) -> Bench {
    let mut config = Kernel::V5_10.config(PortChoice::RandomFully, Some((NODE_PORT, NODE_PORT)));
    config.proxy = proxy;
    Bench::new(config, 1)
}

#[test]
fn an_answer_to_a_snat_port_that_is_a_node_port_goes_back_to_the_caller_all_the_same() {
    // conntrack finds the entry before the nat table or ipvs sees the packet.
    for proxy in [NodeProxy::Iptables, Kernel::V5_10.ipvs(1)] {
        let mut bench = snat_port_is_node_port(proxy);
        let mut flow = Flow::new(1, 33_000, 1000);
        flow.step(&mut bench, "SLB SYN");
        assert_eq!(flow.port(), NODE_PORT);
        for step in &OPEN_AND_CLOSE[1..] {
            let NodeVerdict::Forward { packet, to } = flow.step(&mut bench, step) else {
                panic!("{step} ends at the node: {proxy:?}");
            };
            if step.starts_with("pod") {
                assert_eq!(
                    (to, packet.tuple),
                    (Hop::Outside, flow.tuple().reversed()),
                    "{step}"
                );
            }
        }
        assert_eq!(bench.node.conntrack_count(), 1, "no second connection began");
    }
}

#[test]
fn only_without_its_entry_is_an_answer_to_a_node_port_taken_for_a_clients_packet() {
    let stray = |proxy, flags| {
        let mut config = Kernel::V5_10.config(PortChoice::RandomFully, RANGE);
        config.proxy = proxy;
        config.services[0].backends.push(pod(1));
        let mut bench = Bench::new(config, 1);
        let mut answer = Flow::new(1, 33_000, 1000).client_packet(flags, 0);
        answer.tuple = FourTuple::new(pod(0).endpoint, Endpoint::new(NODE, NODE_PORT));
        bench.send(&answer)
    };
    // iptables: a late ACK is picked up as new, and the nat table sends it to a pod of the service.
    let verdict = stray(NodeProxy::Iptables, Flags::ACK);
    assert!(
        matches!(verdict, NodeVerdict::Forward { to: Hop::Pod(_), .. }),
        "{verdict:?}"
    );
    // ipvs: it goes up to the node's own stack.
    for flags in [Flags::ACK, Flags::SYN_ACK] {
        let verdict = stray(Kernel::V5_10.ipvs(1), flags);
        assert!(
            matches!(verdict, NodeVerdict::Answer { to: Hop::Pod(0), .. }),
            "{verdict:?}"
        );
    }
}

#[test]
fn a_program_that_takes_node_ports_before_conntrack_takes_the_answers_to_them() {
    let answered = |hijacked: Option<PortRange>| {
        let mut config = Kernel::V6_18.config(PortChoice::RandomFully, Some((30_100, 30_100)));
        config.snat.rules.hijacked = hijacked;
        let mut bench = Bench::new(config, 1);
        let mut flow = Flow::new(1, 33_000, 1000);
        flow.step(&mut bench, "SLB SYN");
        flow.step(&mut bench, "pod SYN-ACK")
    };
    let taken = NodeVerdict::Drop(DropReason::NodePortClash);
    assert_eq!(answered(PortRange::new(30_000, 30_199)), taken);
    for harmless in [None, PortRange::new(30_000, 30_099)] {
        assert!(matches!(
            answered(harmless),
            NodeVerdict::Forward { to: Hop::Outside, .. }
        ));
    }
}

#[test]
fn cilium_holds_a_closed_ports_mapping_10_s_and_its_tuple_comes_back_to_it() {
    let mut config = Kernel::V6_18.config(PortChoice::Keep, Some((32_768, 65_535)));
    config.snat.rules = NatRules {
        allocator: Some(Allocator::Tries(Tries {
            tests: 32,
            upward: true,
            keeps_outside: false,
        })),
        reopened: ReopenedMapping::SamePort,
        ..NatRules::NETFILTER
    };
    config.conntrack.timeouts.by_state[State::TimeWait as usize] = SimDuration::from_secs(10);
    let mut bench = Bench::new(config, 1);
    let mut first = Flow::new(1, 40_000, 1000);
    first.run(&mut bench);
    assert_eq!(first.port(), 40_000, "kept");
    // Another address with the same port draws one.
    let mut other = Flow::new(2, 40_000, 7);
    other.step(&mut bench, "SLB SYN");
    assert!(other.port() >= 32_768 && other.port() != 40_000);
    let mut again = first.again();
    again.step(&mut bench, "SLB SYN");
    assert_eq!(again.port(), 40_000);
    again.steps(&mut bench, &OPEN_AND_CLOSE[1..]);
    bench.wait(secs(10.1));
    assert_eq!(opens(&mut bench, 3, 40_000), Some(40_000), "free after 10 s");
}
