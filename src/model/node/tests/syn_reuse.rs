//! What a SYN of the same tuple meets in each ipvs state, on each kernel, in each `conn_reuse_mode`.

use super::super::*;
use super::bench::*;
use crate::model::ipvs::{IpvsState, Side};
use crate::model::nat::PortChoice;
use crate::wire::Flags;
use rand::SeedableRng;

/// What became of the SYN, and of its repetition a second later if it was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    /// Forwarded with the old mapping.
    SamePort,
    /// Forwarded as a new connection.
    OtherPort,
    /// Dropped together with both entries; the repetition is forwarded as a new connection.
    DroppedOnce,
}

use Met::{DroppedOnce, OtherPort, SamePort};

const OPEN: [&str; 4] = ["SLB SYN", "pod SYN-ACK", "SLB ACK", "SLB request"];

/// Steps after the handshake, the ipvs state they lead to, and what a SYN meets there: with mode 0; with mode 1 or 2 before
/// 5.9; with mode 1 or 2 from 5.9 on. A SYN in a state in which ipvs expects no new connection is the connection's own, and
/// conntrack lets it through with the old mapping. In TIME_WAIT, and in CLOSE after the caller's RST, conntrack begins
/// anew as well; after the pod's RST it does not, so that its entry is confirmed when ipvs sees the SYN.
const FACTS: [(&[&str], IpvsState, [Met; 3]); 8] = [
    (&[], IpvsState::Established, [SamePort; 3]),
    (&["pod FIN"], IpvsState::FinWait, [SamePort; 3]),
    (&["pod FIN", "SLB ACK"], IpvsState::FinWait, [SamePort; 3]),
    (&["SLB FIN"], IpvsState::CloseWait, [SamePort; 3]),
    (
        &["pod FIN", "SLB FIN", "pod ACK"],
        IpvsState::TimeWait,
        [OtherPort, DroppedOnce, OtherPort],
    ),
    (
        &["SLB FIN", "pod FIN", "SLB ACK"],
        IpvsState::TimeWait,
        [OtherPort, DroppedOnce, OtherPort],
    ),
    (
        &["SLB RST"],
        IpvsState::Close,
        [OtherPort, DroppedOnce, OtherPort],
    ),
    (
        &["pod RST"],
        IpvsState::Close,
        [SamePort, DroppedOnce, DroppedOnce],
    ),
];

/// States before the handshake is over, where no reply or only a bare ACK was seen.
const HALF_OPEN: [(&[&str], IpvsState, [Met; 3]); 4] = [
    (&["SLB SYN"], IpvsState::SynRecv, [SamePort; 3]),
    (&["SLB SYN", "pod SYN-ACK"], IpvsState::SynRecv, [SamePort; 3]),
    (
        &["SLB SYN", "pod bare ACK"],
        IpvsState::Established,
        [SamePort; 3],
    ),
    (
        &["SLB SYN", "pod bare ACK", "SLB RST"],
        IpvsState::Close,
        [OtherPort, DroppedOnce, OtherPort],
    ),
];

fn ipvs_bench(kernel: Kernel, mode: u8) -> Bench {
    let mut config = kernel.config(PortChoice::RandomFully, None);
    config.proxy = kernel.ipvs(mode);
    Bench::new(config, 5)
}

fn send_again(bench: &mut Bench, old: &Flow) -> Met {
    let mut new = old.again();
    new.step(bench, "SLB SYN");
    let dropped = new.seen.is_none();
    if dropped {
        assert!(bench.node.ipvs_of(&old.tuple(), bench.now).is_none());
        assert!(bench.node.conntrack_of(&old.tuple(), bench.now).is_none());
        bench.wait(secs(1.0));
        new.step(bench, "SLB SYN");
    }
    let other = new.port() != old.port();
    // Another second later it is a repetition of a SYN that got through, on any kernel.
    bench.wait(secs(1.0));
    let (port, mut repeated) = (new.port(), new);
    repeated.set_next_seq(new.next_seq() - 1);
    repeated.step(bench, "SLB SYN");
    assert_eq!(repeated.port(), port);
    match (dropped, other) {
        (false, false) => SamePort,
        (false, true) => OtherPort,
        (true, other) => {
            assert!(other, "a new connection draws a new port");
            DroppedOnce
        }
    }
}

#[test]
fn a_syn_meets_in_each_ipvs_state_what_the_kernels_rules_say() {
    let opened = FACTS.map(|(steps, state, met)| ([&OPEN[..], steps].concat(), state, met));
    let half_open = HALF_OPEN.map(|(steps, state, met)| (steps.to_vec(), state, met));
    for (steps, state, [kept, before_5_9, since]) in opened.into_iter().chain(half_open) {
        for kernel in [Kernel::V4_19, Kernel::V5_10, Kernel::V6_18] {
            for mode in 0..=2 {
                let want = match (mode, kernel) {
                    (0, _) => kept,
                    (_, Kernel::V4_19) => before_5_9,
                    _ => since,
                };
                let context = format!("{steps:?}, {kernel:?}, conn_reuse_mode {mode}");
                let mut bench = ipvs_bench(kernel, mode);
                let mut flow = Flow::new(1, 33_000, 1000);
                flow.steps(&mut bench, &steps);
                let connection = bench.node.ipvs_of(&flow.tuple(), bench.now);
                assert_eq!(connection.map(|it| it.state), Some(state), "{context}");
                bench.wait(secs(0.1));
                assert_eq!(send_again(&mut bench, &flow), want, "{context}");
            }
        }
    }
}

#[test]
fn no_packet_of_a_nat_connection_leads_to_last_ack_or_listen() {
    let flags = [
        Flags::SYN,
        Flags::SYN_ACK,
        Flags::ACK,
        Flags::FIN_ACK,
        Flags::RST,
        Flags::RST_ACK,
        Flags::NONE,
    ];
    let mut reached = vec![IpvsState::None];
    let mut place = 0;
    while let Some(&state) = reached.get(place) {
        for side in [Side::Client, Side::Pod] {
            for flags in flags {
                let next = state.next(side, flags);
                if !reached.contains(&next) {
                    reached.push(next);
                }
            }
        }
        place += 1;
    }
    assert!(!reached.contains(&IpvsState::LastAck));
    assert!(!reached.contains(&IpvsState::Listen));
    assert!(!reached.contains(&IpvsState::SynAck));
    assert_eq!(reached.len(), 8, "{reached:?}");
}

#[test]
fn without_vs_conntrack_the_pod_sees_the_callers_port_and_conntrack_knows_nothing() {
    for kernel in [Kernel::V4_19, Kernel::V5_10, Kernel::V6_18] {
        let NodeProxy::Ipvs(ipvs) = kernel.ipvs(1) else {
            unreachable!("ipvs() makes ipvs")
        };
        let mut config = kernel.config(PortChoice::RandomFully, None);
        config.proxy = NodeProxy::Ipvs(IpvsConfig {
            conntrack: false,
            ..ipvs
        });
        let mut bench = Bench::new(config.clone(), 5);
        let mut flow = Flow::new(1, 33_000, 1000);
        for step in OPEN_AND_CLOSE {
            assert!(matches!(flow.step(&mut bench, step), NodeVerdict::Forward { .. }));
        }
        assert_eq!(flow.seen.map(|seen| seen.src), Some(flow.slb));
        assert_eq!((bench.node.conntrack_count(), bench.node.ipvs_count()), (0, 1));
        // What no connection waits for is the node's own.
        let mut stray = Flow::new(2, 33_000, 1000);
        assert!(matches!(
            stray.step(&mut bench, "SLB ACK"),
            NodeVerdict::Answer { .. }
        ));
        // A rule against INVALID takes the pod's SYN-ACK: conntrack never saw the SYN.
        config.conntrack.drop_invalid = true;
        let mut bench = Bench::new(config, 5);
        let mut flow = Flow::new(1, 33_000, 1000);
        flow.step(&mut bench, "SLB SYN");
        assert_eq!(
            flow.step(&mut bench, "pod SYN-ACK"),
            NodeVerdict::Drop(DropReason::Invalid)
        );
    }
}

#[test]
fn a_drained_pod_keeps_its_connections_and_gets_no_new_ones() {
    for ipvs in [false, true] {
        let mut config = Kernel::V6_18.config(PortChoice::RandomFully, None);
        if ipvs {
            config.proxy = Kernel::V6_18.ipvs(1);
        }
        config.services[0].backends.push(pod(1));
        let mut bench = Bench::new(config, 5);
        let mut flows: Vec<_> = (0..20).map(|i| Flow::new(1, 33_000 + i, 1000)).collect();
        for flow in &mut flows {
            flow.steps(&mut bench, &OPEN);
        }
        bench.change_server(pod(0), "weight0");
        for flow in &mut flows {
            let to = flow.pod;
            let verdict = flow.step(&mut bench, "SLB request");
            assert!(matches!(verdict, NodeVerdict::Forward { to: Hop::Pod(pod), .. } if Some(pod) == to));
            let mut new = Flow::new(2, flow.slb.port, 1000);
            new.step(&mut bench, "SLB SYN");
            assert_eq!(new.pod, Some(1));
        }
        // The other one leaves as well: nobody is there, until the first comes back.
        bench.change_server(pod(1), "removed");
        let mut nobody = Flow::new(3, 33_000, 1000);
        assert_eq!(
            nobody.step(&mut bench, "SLB SYN"),
            NodeVerdict::Drop(DropReason::NoBackend)
        );
        assert!(!bench.node.set_weight(NODE_PORT, pod(1).endpoint, 1));
        assert!(
            !bench
                .node
                .remove_backend(NODE_PORT + 1, pod(0).endpoint, bench.now)
        );
        assert!(bench.node.set_weight(NODE_PORT, pod(0).endpoint, 3));
        nobody.step(&mut bench, "SLB SYN");
        assert_eq!(nobody.pod, Some(0));
        // And a third, of which the node knew nothing.
        let search = ChaCha8Rng::from_seed([7; 32]);
        assert!(bench.node.add_backend(NODE_PORT, pod(2), search));
        let mut seen: Vec<_> = (0..20)
            .filter_map(|i| {
                let mut flow = Flow::new(4, 33_000 + i, 1000);
                flow.step(&mut bench, "SLB SYN");
                flow.pod
            })
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [0, 2]);
    }
}
