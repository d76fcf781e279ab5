//! What must hold after any packets at any time.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::*;
use super::bench::*;
use crate::model::conntrack::State;
use crate::model::nat::{Allocator, InsertRace, NatRules, PortChoice, ReopenedMapping, SnatMode, Tries};
use crate::wire::Flags;

/// Something that happens: to one of a few tuples, or time passes.
#[derive(Debug, Clone, Copy)]
enum Act {
    Step { tuple: usize, step: usize },
    Connection(usize),
    Stray { tuple: usize, offset: u32, flags: u8 },
    PodStray { port: u16, flags: u8 },
    Wait(u32),
}

const STEPS: [&str; 9] = [
    "SLB SYN",
    "pod SYN-ACK",
    "SLB ACK",
    "pod FIN",
    "SLB FIN",
    "pod ACK",
    "SLB RST",
    "pod RST",
    "pod bare ACK",
];

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..12_usize, 0..STEPS.len()).prop_map(|(tuple, step)| Act::Step { tuple, step }),
        (0..12_usize).prop_map(Act::Connection),
        (0..12_usize, 0..3_u32, 0..32_u8).prop_map(|(tuple, offset, flags)| Act::Stray {
            tuple,
            offset,
            flags
        }),
        (40_000..40_008_u16, 0..32_u8).prop_map(|(port, flags)| Act::PodStray { port, flags }),
        prop_oneof![0..2_000_u32, 0..140_000_u32].prop_map(Act::Wait),
    ]
}

fn flags(bits: u8) -> Flags {
    let all = [
        (1, Flags::FIN),
        (2, Flags::SYN),
        (4, Flags::RST),
        (16, Flags::ACK),
    ];
    all.iter()
        .filter(|(bit, _)| bits & bit != 0)
        .fold(Flags::NONE, |sum, &(_, flag)| sum.with(flag))
}

fn perform(bench: &mut Bench, flows: &mut [Flow], act: Act) {
    match act {
        Act::Step { tuple, step } => {
            let flow = &mut flows[tuple];
            if STEPS[step].starts_with("SLB") || flow.seen.is_some() {
                flow.step(bench, STEPS[step]);
            }
        }
        Act::Connection(tuple) => {
            flows[tuple] = flows[tuple].again();
            flows[tuple].run(bench);
        }
        Act::Stray {
            tuple,
            offset,
            flags: bits,
        } => {
            let mut packet = flows[tuple].client_packet(flags(bits), 0);
            packet.seq = packet.seq + offset - 1;
            bench.send(&packet);
        }
        Act::PodStray { port, flags: bits } => {
            let mut packet = flows[0].client_packet(flags(bits), 0);
            packet.tuple = FourTuple::new(pod(0).endpoint, Endpoint::new(NODE, port));
            bench.send(&packet);
        }
        Act::Wait(milliseconds) => bench.wait(SimDuration::from_millis(u64::from(milliseconds))),
    }
}

/// The live entries of the service by the SLB's tuple: state and deadline, of the ipvs connection as well.
type Living = BTreeMap<FourTuple, (State, SimTime, SimTime)>;

fn living(bench: &Bench) -> Living {
    let service = Endpoint::new(NODE, NODE_PORT);
    let live = bench.node.conntrack();
    live.filter(|entry| !entry.is_expired(bench.now) && entry.original.dst == service)
        .map(|entry| {
            let ipvs = bench.node.ipvs_of(&entry.original, bench.now);
            let ipvs_ends = ipvs.map_or(SimTime::NEVER, |connection| connection.expires);
            (
                entry.original,
                (entry.tracker.state, entry.tracker.expires, ipvs_ends),
            )
        })
        .collect()
}

/// Nothing vanishes before its deadline, unless a rule took it: another packet of its tuple, the eviction of a closing entry
/// by a kernel that does that, or a full table.
fn check_vanished(
    before: &Living,
    bench: &Bench,
    act: Act,
    flows: &[Flow],
    evicted: u64,
) -> Result<(), TestCaseError> {
    let touched = match act {
        // The SNAT port that the pod answers to may be another flow's by now.
        Act::Step { step, .. } if STEPS[step].starts_with("pod") => return Ok(()),
        Act::Step { tuple, .. } | Act::Connection(tuple) | Act::Stray { tuple, .. } => {
            Some(flows[tuple].tuple())
        }
        // An RST of the pod deletes an entry that has seen no reply.
        Act::PodStray { .. } => return Ok(()),
        Act::Wait(_) => None,
    };
    let after = living(bench);
    let mut gone = 0;
    for (tuple, &(state, expires, ipvs_ends)) in before {
        let early = expires > bench.now && ipvs_ends > bench.now;
        if early && !after.contains_key(tuple) && touched != Some(*tuple) {
            prop_assert!(
                matches!(state, State::TimeWait | State::Close),
                "{tuple} vanished in {state:?}"
            );
            gone += 1;
        }
    }
    prop_assert!(gone <= evicted, "{gone} vanished, {evicted} evicted");
    prop_assert!(evicted == 0 || bench.node.config.snat.evicts);
    Ok(())
}

fn check(bench: &Bench) -> Result<(), TestCaseError> {
    let (mut tuples, mut ports) = (BTreeSet::new(), BTreeSet::new());
    let range = bench.node.config.snat.to_ports.expect("the test sets one");
    for entry in bench
        .node
        .conntrack()
        .filter(|entry| !entry.is_expired(bench.now))
    {
        prop_assert!(
            tuples.insert(entry.original),
            "two live entries share {}",
            entry.original
        );
        prop_assert!(
            tuples.insert(entry.reply),
            "two live entries share {}",
            entry.reply
        );
        if let Some(slot) = entry.port() {
            prop_assert!(ports.insert((slot.pool, slot.port)));
            prop_assert!(entry.pod().is_none() || range.contains(slot.port));
        }
    }
    let mut in_use = BTreeSet::new();
    for (pool, state) in bench.node.pools.all.iter().enumerate() {
        in_use.extend(
            (0..=u16::MAX)
                .filter(|&port| state.ports.is_used(port))
                .map(|port| (pool as u32, port)),
        );
    }
    prop_assert_eq!(in_use, ports);
    prop_assert_eq!(
        bench.node.conntrack_count(),
        bench.node.conntrack().count() as u64
    );
    Ok(())
}

/// netfilter, one packet at a time, and what is not.
fn other_rules(number: usize) -> NatRules {
    let netfilter = NatRules::NETFILTER;
    let with = |allocator| NatRules {
        allocator: Some(allocator),
        reopened: ReopenedMapping::SamePort,
        ..netfilter
    };
    match number {
        1 => with(Allocator::Sequential),
        2 => with(Allocator::Hashed),
        3 => NatRules {
            per_destination: Some(3),
            ..with(Allocator::Uniform)
        },
        4 => with(Allocator::Tries(Tries {
            tests: 4,
            upward: true,
            keeps_outside: false,
        })),
        5 => NatRules {
            race: Some(InsertRace {
                cpus: 4,
                window: SimDuration::from_millis(10),
            }),
            ..netfilter
        },
        _ => netfilter,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn no_two_live_entries_share_a_tuple_and_none_vanishes_without_a_rule(
        acts in proptest::collection::vec(act(), 1..60),
        kernel in 0..3_usize, choice in 0..3_usize, ipvs in 0..3_u8, vs_conntrack in 0..4_u8, snat: bool,
        width in 1..8_u16, full: bool, rules in 0..6_usize,
    ) {
        let kernel = [Kernel::V4_19, Kernel::V5_10, Kernel::V6_18][kernel];
        let choice = [PortChoice::Keep, PortChoice::Random, PortChoice::RandomFully][choice];
        let mut config = kernel.config(choice, Some((40_000, 40_000 + width - 1)));
        config.services[0].backends.push(pod(1));
        config.snat.rules = other_rules(rules);
        // Five days would be 3.5 million runs of gc.
        config.conntrack.timeouts.by_state[State::Established as usize] = SimDuration::from_secs(400);
        if !snat {
            config.snat.mode = SnatMode::None;
        }
        if ipvs > 0 {
            let NodeProxy::Ipvs(config_of_ipvs) = kernel.ipvs(ipvs - 1) else {
                unreachable!("ipvs() makes ipvs")
            };
            config.proxy = NodeProxy::Ipvs(IpvsConfig {
                conntrack: vs_conntrack > 0,
                ..config_of_ipvs
            });
        }
        if full {
            config.conntrack.max_entries = 200;
            config.conntrack.buckets = 50;
            config.conntrack.background_entries = 192;
        }
        let mut bench = Bench::new(config, 3);
        let mut flows: Vec<_> = (0..12).map(|i| Flow::new(1 + i % 3, 39_998 + u16::from(i), 1000)).collect();
        for act in acts {
            let (before, evictions) = (living(&bench), bench.node.stats().evictions);
            perform(&mut bench, &mut flows, act);
            check(&bench)?;
            if !full {
                let evicted = bench.node.stats().evictions - evictions;
                check_vanished(&before, &bench, act, &flows, evicted)?;
            }
        }
        // Left alone, everything ends: ESTABLISHED of ipvs last.
        bench.wait(SimDuration::from_secs(1_000));
        check(&bench)?;
        prop_assert_eq!(bench.node.conntrack_count(), 0);
        prop_assert_eq!(bench.node.ipvs_count(), 0);
        prop_assert_eq!(bench.node.ports_in_use_max(), 0);
    }
}
