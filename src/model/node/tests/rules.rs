//! Rules of the node, one by one.

use super::super::*;
use super::bench::*;
use crate::model::conntrack::State;
use crate::model::ipvs::{IpvsState, ReuseDrop};
use crate::model::nat::{PortChoice, SnatMode};
use crate::units::SeqNum;
use crate::wire::Flags;

const RANGE: Option<(u16, u16)> = Some((40_000, 49_999));

fn with_proxy(kernel: Kernel, choice: PortChoice, to_ports: Option<(u16, u16)>, proxy: NodeProxy) -> Bench {
    let config = NodeConfig {
        proxy,
        services: vec![NodeService {
            node_port: NODE_PORT,
            backends: vec![pod(0), pod(1)],
        }],
        ..kernel.config(choice, to_ports)
    };
    Bench::new(config, 5)
}

fn history(bench: &Bench, flow: &Flow) -> PortHistory {
    let seen = flow.seen.expect("a SYN got through");
    bench
        .node
        .port_history(seen.dst, seen.src.port)
        .expect("somebody used the port")
}

#[test]
fn a_connection_is_translated_both_ways() {
    let mut bench = Bench::new(Kernel::V6_18.config(PortChoice::Keep, None), 1);
    let mut flow = Flow::new(1, 33_000, 1000);
    let NodeVerdict::Forward { packet, to } = flow.step(&mut bench, "SLB SYN") else {
        panic!("not forwarded");
    };
    assert_eq!(to, Hop::Pod(0));
    assert_eq!(
        packet.tuple,
        FourTuple::new(Endpoint::new(NODE, 33_000), pod(0).endpoint)
    );
    let NodeVerdict::Forward { packet, to } = flow.step(&mut bench, "pod SYN-ACK") else {
        panic!("not forwarded");
    };
    assert_eq!((to, packet.tuple), (Hop::Outside, flow.tuple().reversed()));
    assert_eq!(bench.node.conntrack_count(), 1);
    assert_eq!(bench.node.ports_in_use_max(), 1);
}

#[test]
fn without_snat_the_pod_sees_the_slb() {
    for proxy in [NodeProxy::Iptables, Kernel::V5_10.ipvs(1)] {
        let mut config = Kernel::V5_10.config(PortChoice::Keep, None);
        config.snat.mode = SnatMode::None;
        config.proxy = proxy;
        let mut bench = Bench::new(config, 1);
        let mut flow = Flow::new(1, 33_000, 1000);
        flow.run(&mut bench);
        assert_eq!(flow.seen, Some(FourTuple::new(flow.slb, pod(0).endpoint)));
        assert_eq!(bench.node.ports_in_use_max(), 0);
        assert_eq!(bench.node.port_history(pod(0).endpoint, 33_000), None);
    }
}

#[test]
fn an_expired_entry_frees_its_port_at_once_and_counts_until_collected() {
    for kernel in [Kernel::V4_19, Kernel::V6_18] {
        let mut bench = Bench::new(kernel.config(PortChoice::RandomFully, RANGE), 1);
        let mut flow = Flow::new(1, 33_000, 1000);
        flow.run(&mut bench);
        bench.wait(secs(119.9));
        assert_eq!(bench.node.ports_in_use_max(), 1);
        bench.wait(secs(0.1));
        assert_eq!(bench.node.ports_in_use_max(), 0);
        assert!(bench.node.conntrack_of(&flow.tuple(), bench.now).is_none());
        assert_eq!(bench.node.conntrack_count(), 1);
        bench.wait(secs(if kernel == Kernel::V4_19 { 17.0 } else { 61.0 }));
        assert_eq!(bench.node.conntrack_count(), 0);
    }
}

#[test]
fn a_reopened_tuple_gets_a_new_entry_and_the_ledger_says_what_became_of_the_old_port() {
    let mut bench = Bench::new(Kernel::V6_18.config(PortChoice::RandomFully, RANGE), 1);
    let mut first = Flow::new(1, 33_000, 1000);
    first.run(&mut bench);
    bench.wait(secs(20.0));
    let mut second = first.again();
    second.run(&mut bench);
    assert_ne!(first.port(), second.port());
    assert_eq!(bench.node.stats().tuple_reopens, 1);
    // Somebody else draws the orphan.
    let orphan = first.port();
    bench.node.config.snat.to_ports = crate::units::PortRange::new(orphan, orphan);
    let mut third = Flow::new(2, 33_001, 77);
    third.run(&mut bench);
    let history = history(&bench, &third);
    assert_eq!(history.current, third.tuple());
    let previous = history.previous.expect("the first flow");
    assert_eq!(previous.tuple, first.tuple());
    assert!(previous.rewritten && !previous.ipvs_undisturbed);
    assert_eq!(previous.released_by, Release::SameTuple(Reopened::AnotherPort));
    assert_eq!(previous.released_at.as_secs(), 20);
    assert_eq!(bench.node.stats().port_reuses, 1);
}

#[test]
fn a_kept_port_is_reopened_as_the_same_port() {
    let mut bench = Bench::new(Kernel::V6_18.config(PortChoice::Keep, None), 1);
    let mut first = Flow::new(1, 33_000, 1000);
    first.run(&mut bench);
    let mut second = first.again();
    second.run(&mut bench);
    let previous = history(&bench, &second).previous.expect("the first flow");
    assert_eq!(previous.tuple, second.tuple());
    assert_eq!(previous.released_by, Release::SameTuple(Reopened::SamePort));
    assert!(!previous.rewritten);
}

#[test]
fn own_timer_rst_and_ipvs_release_paths_are_told_apart() {
    let release = |proxy: NodeProxy, steps: &[&str], wait: f64, rst_offset: Option<u32>| {
        let mut config = Kernel::V4_19.config(PortChoice::Keep, None);
        config.proxy = proxy;
        let mut bench = Bench::new(config, 1);
        let mut flow = Flow::new(1, 33_000, 1_000_000);
        flow.steps(&mut bench, steps);
        if let Some(offset) = rst_offset {
            let mut rst = flow.client_packet(Flags::RST, 0);
            rst.seq = rst.seq - offset;
            bench.send(&rst);
        }
        bench.wait(secs(wait));
        let mut other = Flow::new(2, 33_000, 5);
        other.step(&mut bench, "SLB SYN");
        history(&bench, &other)
            .previous
            .expect("the first flow")
            .released_by
    };
    let ipvs = Kernel::V4_19.ipvs(0);
    let time_wait = Release::Timer {
        state: State::TimeWait,
        hold: SimDuration::from_secs(120),
    };
    for proxy in [NodeProxy::Iptables, ipvs] {
        assert_eq!(release(proxy, &OPEN_AND_CLOSE, 121.0, None), time_wait);
        assert_eq!(release(proxy, &OPEN_AND_CLOSE, 11.0, Some(0)), Release::Rst);
        assert_eq!(
            release(proxy, &["SLB SYN", "pod RST"], 1.0, None),
            Release::DeletedByRst
        );
    }
    assert_eq!(
        release(ipvs, &OPEN_AND_CLOSE, 11.0, Some(1)),
        Release::Ipvs { stray_rst: true }
    );
    // SYN_RECV of ipvs is shorter than SYN_SENT of conntrack.
    assert_eq!(
        release(ipvs, &["SLB SYN"], 63.0, None),
        Release::Ipvs { stray_rst: false }
    );
}

#[test]
fn an_entry_of_ipvs_in_time_wait_is_undisturbed_until_its_tuple_is_used_again() {
    // conntrack forgets early, ipvs does not: the port is free while the ipvs entry stands.
    let mut config = Kernel::V4_19.config(PortChoice::Keep, None);
    config.proxy = Kernel::V4_19.ipvs(0);
    config.conntrack.timeouts.by_state[State::TimeWait as usize] = SimDuration::from_secs(10);
    let mut bench = Bench::new(config, 1);
    let mut first = Flow::new(1, 33_000, 1000);
    first.run(&mut bench);
    bench.wait(secs(15.0));
    let mut second = Flow::new(2, 33_000, 1000);
    second.run(&mut bench);
    assert!(
        history(&bench, &second)
            .previous
            .expect("the first")
            .ipvs_undisturbed
    );
    let mut again = first.again();
    again.run(&mut bench);
    bench.wait(secs(15.0));
    let mut third = Flow::new(3, again.port(), 1000);
    third.run(&mut bench);
    let previous = history(&bench, &third).previous.expect("the reopened one");
    assert_eq!(previous.tuple, first.tuple());
    assert!(previous.ipvs_undisturbed, "its own close left it in TIME_WAIT");
    bench.wait(secs(15.0));
    let mut fourth = third.again();
    fourth.run(&mut bench);
    assert!(
        !history(&bench, &fourth)
            .previous
            .expect("the third")
            .ipvs_undisturbed
    );
}

#[test]
fn before_5_9_ipvs_drops_the_syn_of_a_reused_tuple_and_the_repeat_resolves_the_ledger() {
    for (drop, dropped) in [
        (ReuseDrop::Always, true),
        (ReuseDrop::IfConfirmed, false),
        (ReuseDrop::Never, false),
    ] {
        let NodeProxy::Ipvs(mut ipvs) = Kernel::V4_19.ipvs(1) else {
            unreachable!("ipvs() makes ipvs")
        };
        ipvs.reuse_drop = drop;
        let mut bench = with_proxy(Kernel::V4_19, PortChoice::Keep, None, NodeProxy::Ipvs(ipvs));
        let mut first = Flow::new(1, 33_000, 1000);
        first.run(&mut bench);
        assert_eq!(first.pod, Some(0));
        bench.wait(secs(5.0));
        let mut second = first.again();
        let verdict = second.step(&mut bench, "SLB SYN");
        assert_eq!(
            verdict == NodeVerdict::Drop(DropReason::IpvsReuse),
            dropped,
            "{drop:?}"
        );
        assert_eq!(bench.node.stats().ipvs_syn_drops, u64::from(dropped));
        if dropped {
            assert_eq!((bench.node.conntrack_count(), bench.node.ipvs_count()), (0, 0));
            bench.wait(secs(1.0));
            second.step(&mut bench, "SLB SYN");
        }
        assert_eq!(second.pod, Some(1));
        bench.wait(secs(1.0));
        assert_eq!(
            bench.node.conntrack_count(),
            1,
            "the old ipvs entry takes no new conntrack entry along"
        );
        // The old port at pod 0 was orphaned by a move to another pod.
        let mut third = Flow::new(2, 33_000, 9);
        third.step(&mut bench, "SLB SYN");
        assert_eq!(third.pod, Some(0));
        let previous = history(&bench, &third).previous.expect("the first flow");
        assert_eq!(previous.released_by, Release::SameTuple(Reopened::AnotherPod));
    }
}

#[test]
fn ipvs_serves_pods_in_turn_and_iptables_at_random() {
    let mut bench = with_proxy(Kernel::V5_10, PortChoice::Keep, None, Kernel::V5_10.ipvs(1));
    for port in 0..6 {
        let mut flow = Flow::new(1, 33_000 + port, 1);
        flow.step(&mut bench, "SLB SYN");
        assert_eq!(flow.pod, Some(u32::from(port) % 2));
    }
    let mut bench = with_proxy(Kernel::V5_10, PortChoice::Keep, None, NodeProxy::Iptables);
    let mut second = 0;
    for port in 0..1000 {
        let mut flow = Flow::new(1, 33_000 + port, 1);
        flow.step(&mut bench, "SLB SYN");
        second += flow.pod.expect("served");
    }
    assert!((430..570).contains(&second), "{second} of 1000");
}

#[test]
fn a_packet_for_nobody_is_answered_by_an_rst_unless_it_is_one() {
    for proxy in [NodeProxy::Iptables, Kernel::V4_19.ipvs(0)] {
        let mut config = Kernel::V4_19.config(PortChoice::Keep, None);
        config.proxy = proxy;
        let mut bench = Bench::new(config, 1);
        let flow = Flow::new(1, 33_000, 1000);
        let rst = bench.send(&flow.client_packet(Flags::RST, 0));
        assert_eq!(rst, NodeVerdict::Drop(DropReason::LocalStack));
        // A FIN without an entry is INVALID.
        let fin = flow.client_packet(Flags::FIN_ACK, 0);
        let NodeVerdict::Answer { packet, to } = bench.send(&fin) else {
            panic!("no answer");
        };
        assert_eq!(
            (packet.flags, packet.seq, to),
            (Flags::RST, fin.ack, Hop::Outside)
        );
        assert_eq!(bench.node.stats().invalid, 2);
        // A late segment of the pod is picked up, and its entry goes with the RST that answers it.
        let mut late = flow.client_packet(Flags::ACK, 0);
        late.tuple = FourTuple::new(pod(0).endpoint, Endpoint::new(NODE, 41_000));
        let NodeVerdict::Answer { packet, to } = bench.send(&late) else {
            panic!("no answer");
        };
        assert_eq!((packet.tuple, to), (late.tuple.reversed(), Hop::Pod(0)));
        assert_eq!(
            (bench.node.conntrack_count(), bench.node.ports_in_use_max()),
            (0, 0)
        );
    }
}

#[test]
fn an_invalid_rst_loses_its_way_without_ipvs_and_keeps_its_source_with_it() {
    let stray = |proxy| {
        let mut config = Kernel::V4_19.config(PortChoice::RandomFully, RANGE);
        config.proxy = proxy;
        let mut bench = Bench::new(config, 1);
        let mut flow = Flow::new(1, 33_000, 1_000_000);
        flow.run(&mut bench);
        let mut rst = flow.client_packet(Flags::RST, 0);
        rst.seq = rst.seq - 1;
        (bench.send(&rst), flow)
    };
    let (verdict, _) = stray(NodeProxy::Iptables);
    assert_eq!(verdict, NodeVerdict::Drop(DropReason::LocalStack));
    let (verdict, flow) = stray(Kernel::V4_19.ipvs(0));
    let NodeVerdict::Forward {
        packet,
        to: Hop::Pod(0),
    } = verdict
    else {
        panic!("{verdict:?}");
    };
    assert_eq!(packet.tuple, FourTuple::new(flow.slb, pod(0).endpoint));
}

#[test]
fn a_forwarded_invalid_packet_falls_to_the_rule_that_drops_them() {
    for (drop_invalid, dropped) in [(true, true), (false, false)] {
        let mut config = Kernel::V4_19.config(PortChoice::Keep, None);
        config.conntrack.drop_invalid = drop_invalid;
        config.snat.mode = SnatMode::None;
        let mut bench = Bench::new(config, 1);
        let mut fin = Flow::new(1, 33_000, 1000).client_packet(Flags::FIN_ACK, 0);
        fin.tuple = FourTuple::new(pod(0).endpoint, fin.tuple.src);
        let verdict = bench.send(&fin);
        assert_eq!(verdict == NodeVerdict::Drop(DropReason::Invalid), dropped);
        assert_eq!(
            verdict
                == NodeVerdict::Forward {
                    packet: fin,
                    to: Hop::Outside
                },
            !dropped
        );
    }
}

#[test]
fn the_syn_rule_drops_repeats_within_900_ms_of_the_one_that_passed() {
    let mut config = Kernel::V6_18.config(PortChoice::Keep, None);
    config.drop_syn_repeats_within = Some(SimDuration::from_millis(900));
    let mut bench = Bench::new(config, 1);
    let syn = Flow::new(1, 33_000, 1000).client_packet(Flags::SYN, 0);
    let mut passed = Vec::new();
    for _ in 0..5 {
        passed.push(bench.send(&syn) != NodeVerdict::Drop(DropReason::SynRepeatRule));
        bench.wait(SimDuration::from_millis(450));
    }
    assert_eq!(passed, [true, false, true, false, true]);
}

#[test]
fn a_full_table_drops_unassured_entries_first_and_then_the_syn_until_gc_kills_closing_ones() {
    for kernel in [Kernel::V4_19, Kernel::V6_18] {
        let mut config = kernel.config(PortChoice::RandomFully, RANGE);
        config.conntrack.max_entries = 1000;
        config.conntrack.buckets = if kernel == Kernel::V4_19 { 250 } else { 1000 };
        config.conntrack.background_entries = 700;
        let mut bench = Bench::new(config, 1);
        for port in 0..300 {
            assert!(matches!(
                Flow::new(1, 33_000 + port, 9).run(&mut bench),
                NodeVerdict::Forward { .. }
            ));
        }
        let mut late = Flow::new(2, 33_000, 9);
        assert_eq!(
            late.step(&mut bench, "SLB SYN"),
            NodeVerdict::Drop(DropReason::ConntrackFull)
        );
        assert_eq!(bench.node.stats().conntrack_full_drops, 1);
        bench.wait(secs(63.0));
        let count = bench.node.conntrack_count();
        if kernel == Kernel::V4_19 {
            assert!((290..300).contains(&count), "one run, one slice: {count}");
        } else {
            assert_eq!(count, 249, "gc stops below 95 % of 1000");
        }
        let mut late = Flow::new(2, 33_000, 9);
        late.step(&mut bench, "SLB SYN");
        assert!(late.seen.is_some());
        // Half-open entries give way instead.
        let mut half_open = 0;
        while bench.node.conntrack_count() < 300 {
            half_open += 1;
            Flow::new(3, 33_000 + half_open, 9).step(&mut bench, "SLB SYN");
        }
        for port in 0..20 {
            Flow::new(4, 33_000 + port, 9).step(&mut bench, "SLB SYN");
        }
        let stats = bench.node.stats();
        assert!(stats.early_drop > 0, "{stats:?}");
    }
}

#[test]
fn a_refused_syn_walks_ipvs_to_established_and_close_and_conntrack_to_close() {
    for kernel in [Kernel::V4_19, Kernel::V5_10, Kernel::V6_18] {
        let mut config = kernel.config(PortChoice::RandomFully, RANGE);
        config.proxy = kernel.ipvs(1);
        let mut bench = Bench::new(config, 1);
        let mut flow = Flow::new(1, 33_000, 1000);
        flow.steps(&mut bench, &["SLB SYN", "pod bare ACK", "SLB RST"]);
        let tuple = flow.tuple();
        assert_eq!(
            bench.node.ipvs_of(&tuple, bench.now).expect("stands").state,
            IpvsState::Close
        );
        let entry = bench.node.conntrack_of(&tuple, bench.now).expect("stands");
        assert_eq!(entry.tracker.state, State::Close);
    }
}

#[test]
fn an_only_port_whose_dead_entry_nobody_collected_makes_the_syn_of_4_19_fail() {
    let mut bench = Bench::new(
        Kernel::V4_19.config(PortChoice::RandomFully, Some((45_000, 45_000))),
        1,
    );
    Flow::new(1, 33_000, 1000).run(&mut bench);
    let live = Flow::new(2, 33_000, 1).step(&mut bench, "SLB SYN");
    assert_eq!(live, NodeVerdict::Drop(DropReason::Snat));
    bench.wait(secs(120.0));
    let dead = Flow::new(2, 33_000, 1).step(&mut bench, "SLB SYN");
    assert_eq!(dead, NodeVerdict::Drop(DropReason::InsertFailed));
    bench.wait(secs(17.0));
    assert!(matches!(
        Flow::new(2, 33_000, 1).step(&mut bench, "SLB SYN"),
        NodeVerdict::Forward { .. }
    ));
    assert_eq!(bench.node.stats().insert_failed, 2);
}

#[test]
fn eviction_compares_the_end_of_the_syn_with_the_old_client_end() {
    for (offset, evicted) in [
        (-1_i32, false),
        (0, true),
        (1, true),
        (i32::MAX, true),
        (i32::MIN, false),
    ] {
        let config = Kernel::V6_18.config(PortChoice::RandomFully, Some((45_000, 45_000)));
        let mut bench = Bench::new(config, 1);
        let mut old = Flow::new(1, 33_000, 10);
        old.run(&mut bench);
        let end: SeqNum = old.next_seq();
        let mut new = Flow::new(2, 34_000, 0);
        new.set_next_seq(end + offset.cast_unsigned());
        let packet = new.client_packet(Flags::SYN, 0);
        let forwarded = matches!(bench.send(&packet), NodeVerdict::Forward { .. });
        assert_eq!(forwarded, evicted, "offset {offset}");
        assert_eq!(bench.node.stats().evictions, u64::from(evicted));
    }
}
