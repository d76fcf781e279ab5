//! Hands theory its numbers: what of a plan the closed form needs, and what of it the closed form does not cover.

use crate::model::conntrack::State;
use crate::model::nat::{Allocator, PortChoice, ReopenedMapping, SearchEra, SnatMode};
use crate::model::slb::{Balance, Conditions};
use crate::model::tcp::{
    CallerReaction, PortSelection, TcpConfig, TimeWaitStack, TimeWaitTimer, TimestampMode, TimestampOffset,
};
use crate::spec::{Backends, ClosePolicy, NodePlan, Plan, PodPlan, ProxyMode};
use crate::theory::Inputs;
use crate::theory::patience::{Patience, Retry};
use crate::theory::refusal::{Decider, share};
use crate::theory::renewal::{RefusalEffect, Reopening, StrayRst};
use crate::units::{PortRange, SimDuration};

/// Seconds from a refusal to the second SYN of a kernel that hurries: 2 jiffies.
const FAST_RESEND: f64 = 0.01;

/// Seconds after which the newer walk over source ports starts anew (`secure_ipv4_port_ephemeral()`).
const REKEY: f64 = 10.0;

/// The inputs of the closed form for `plan`, per (node, pod endpoint), on the assumption that nodes and pods are alike;
/// what is not alike, or not covered, stands among the obstacles.
pub fn closed_form(plan: &Plan) -> Inputs {
    let mut obstacles = Vec::new();
    let connects = connects_per_second(plan, &mut obstacles);
    let (Some(node), Some(pod)) = (plan.nodes.first(), plan.pods.first()) else {
        obstacles.push("no node or no pod".to_owned());
        return nothing(plan, obstacles);
    };
    let direct = plan.slb.backends == Backends::Pod || node.snat.mode == SnatMode::None;
    let (per_node, per_pod, same_pod) = split(plan, connects, &mut obstacles);
    let destinations = if plan.slb.backends == Backends::Pod {
        plan.pods.len()
    } else {
        plan.nodes.len()
    };
    check_coverage(plan, node, pod, direct, per_pod, &mut obstacles);
    let hold = node.conntrack.timeouts.of(State::TimeWait).as_secs_f64();
    if !direct {
        check_conntrack_room(node, per_node * hold, &mut obstacles);
        check_nat(node, per_pod * hold, &mut obstacles);
    }
    let patience = patience(plan);
    let kills = refusal_kills(plan, node, pod, direct);
    let by_timestamp = timestamps_decide(plan, pod);
    Inputs {
        fresh_rate: per_pod,
        direct,
        same_pod,
        ports: f64::from(node.snat.to_ports.unwrap_or(PortRange::MASQUERADE).count()),
        hold,
        memory: time_wait_range(&pod.tcp),
        refused: share(decider(plan, pod)),
        refusal_effect: match (kills, by_timestamp) {
            (true, _) => RefusalEffect::Kills,
            (false, false) => RefusalEffect::Keeps,
            (false, true) => RefusalEffect::Rearms,
        },
        retry_after: retry_after(plan, patience),
        reopening: reopening(plan, connects, per_node, destinations),
        stray_rst: stray_rst(plan, node, pod, &mut obstacles),
        patience,
        from: plan.warm_up.as_secs_f64(),
        until: plan.duration.as_secs_f64(),
        obstacles,
    }
}

/// Inputs that only say why there is no prediction.
fn nothing(plan: &Plan, obstacles: Vec<String>) -> Inputs {
    Inputs {
        fresh_rate: 0.0,
        direct: true,
        same_pod: 1.0,
        ports: 1.0,
        hold: 120.0,
        memory: (60.0, 62.048),
        refused: 0.5,
        refusal_effect: RefusalEffect::Kills,
        retry_after: None,
        reopening: Reopening::Never,
        stray_rst: None,
        patience: None,
        from: plan.warm_up.as_secs_f64(),
        until: plan.duration.as_secs_f64(),
        obstacles,
    }
}

/// L of the whole SLB.
fn connects_per_second(plan: &Plan, obstacles: &mut Vec<String>) -> f64 {
    let mut total = 0.0;
    for client in &plan.clients {
        let steady = client.arrivals.steady_rate();
        match (steady, client.arrivals.mean_count(plan.duration)) {
            (Some(rate), _) => total += rate.as_per_second(),
            (None, Some(requests)) => {
                total += requests / plan.duration.as_secs_f64();
                obstacles.push("the load changes over time: the form takes its mean".to_owned());
            }
            (None, None) => {
                obstacles.push("closed-loop load: its rate is a result, not an input".to_owned());
            }
        }
        if client.retry.is_some() {
            obstacles.push("clients that try again: the load is a result, not an input".to_owned());
        }
        if client.keepalive.is_some() && plan.slb.hosts.len() > 1 {
            obstacles.push("clients that keep their connections stay with one host of the SLB".to_owned());
        }
    }
    let first = plan.clients.first().map(|client| client.service);
    if plan.clients.iter().any(|client| Some(client.service) != first) {
        obstacles.push("clients of several services".to_owned());
    }
    total
}

/// Connects per second to a node and to one pod of it, and the chance that a reopened tuple meets the same pod.
fn split(plan: &Plan, connects: f64, obstacles: &mut Vec<String>) -> (f64, f64, f64) {
    if plan.slb.backends == Backends::Pod {
        let per_pod = connects / plan.pods.len() as f64;
        return (per_pod, per_pod, 1.0);
    }
    let service = plan.clients.first().map_or(0, |client| client.service);
    let pods = |node: &NodePlan| node.pods.get(service).map_or(0, Vec::len);
    let first = plan.nodes.first().map_or(0, pods);
    if plan.nodes.iter().any(|node| pods(node) != first) {
        obstacles.push("nodes that forward to different numbers of pods".to_owned());
    }
    if first == 0 {
        obstacles.push("a node without pods".to_owned());
        return (0.0, 0.0, 1.0);
    }
    let per_node = connects / plan.nodes.len() as f64;
    (per_node, per_node / first as f64, 1.0 / first as f64)
}

/// Notes what the closed form leaves out altogether.
fn check_coverage(
    plan: &Plan,
    node: &NodePlan,
    pod: &PodPlan,
    direct: bool,
    per_pod: f64,
    obstacles: &mut Vec<String>,
) {
    let mut note = |condition: bool, text: &str| {
        if condition {
            obstacles.push(text.to_owned());
        }
    };
    note(
        plan.slb.keepalive.is_some() || matches!(pod.close, ClosePolicy::KeepAlive { .. }),
        "keepalive: who closes, and how often, is a result",
    );
    note(
        pod.close == ClosePolicy::Reset,
        "the pod resets its connections and remembers none",
    );
    note(!plan.events.is_empty(), "pods that come and go");
    note(
        plan.slb.clusters.len() > 1,
        "clusters of the SLB with loads of their own",
    );
    let slb = &plan.slb;
    let backends = || match slb.backends {
        Backends::NodePort => plan.nodes.iter().map(|node| node.slb_weight).collect::<Vec<_>>(),
        Backends::Pod => plan.pods.iter().map(|pod| pod.slb_weight).collect(),
    };
    let weights = backends();
    note(
        weights.len() > 1
            && (slb.balance == Balance::SourceHash || weights.iter().any(|&weight| weight != weights[0])),
        "backends with unequal shares",
    );
    note(
        slb.next_upstream
            .is_some_and(|next| next.conditions != Conditions::default())
            || (weights.len() > 1 && slb.limits.max_fails > 0),
        "failures that send requests to other backends",
    );
    note(
        slb.limits.max_conns > 0 || slb.worker_connections.is_some(),
        "a limit of connections",
    );
    note(
        slb.health_check.is_some() || plan.pods.iter().any(|pod| pod.probe.is_some()),
        "health checks or probes: connections beside the requests",
    );
    if !direct {
        note(
            node.snat.mode == SnatMode::Masquerade(PortChoice::Keep),
            "MASQUERADE without --random-fully keeps the source port: not a uniform draw",
        );
        note(
            node.snat.mode == SnatMode::Masquerade(PortChoice::Random)
                && node.snat.search == SearchEra::WholeRange,
            "--random on this kernel starts at one fixed port: not a uniform draw",
        );
    }
    let remembered = per_pod * 61.0;
    note(
        pod.tcp.time_wait_stack != TimeWaitStack::Linux || pod.tcp.time_wait_timer != TimeWaitTimer::Wheel,
        "the pod's TIME_WAIT is not that of Linux 4.8 and later",
    );
    note(
        remembered > f64::from(pod.tcp.max_tw_buckets),
        "tcp_max_tw_buckets: the pod forgets early",
    );
    let links = &plan.links;
    let own = plan.nodes.iter().map(|node| &node.link);
    let own = own.chain(plan.pods.iter().map(|pod| &pod.link)).flatten();
    let mut links = [&links.slb_node, &links.node_pod, &links.slb_pod]
        .into_iter()
        .chain(&links.node_node)
        .chain(own);
    note(
        links.any(|link| link.mean_loss() > 0.01),
        "more than 1 % of the packets lost",
    );
    note(
        !direct && plan.links.node_node.is_some() && node.from_nodes != SnatMode::None,
        "a second SNAT at the pod's own node",
    );
}

/// What is not netfilter's, or not one packet after the other.
fn check_nat(node: &NodePlan, held: f64, obstacles: &mut Vec<String>) {
    let rules = node.snat.rules;
    let uniform = matches!(rules.allocator, None | Some(Allocator::Uniform));
    let crowded = |most: u32| held > 0.95 * f64::from(most);
    let notes = [
        (!uniform, "another search for ports: not a uniform draw"),
        (
            rules.per_source.is_some(),
            "each source address draws from its own ports",
        ),
        (
            rules.per_destination.is_some_and(crowded),
            "the limit of ports per destination is reached",
        ),
        (
            rules.reopened == ReopenedMapping::SamePort,
            "a reopened mapping keeps its port: nothing is orphaned",
        ),
        (
            rules.scan_interval.is_some(),
            "entries end in scans: their hold is no constant",
        ),
        (
            rules.race.is_some(),
            "CPUs race for ports, and losers come again after 1 s",
        ),
        (
            rules.hijacked.is_some(),
            "answers to some ports are taken by another program",
        ),
    ];
    let said = notes.into_iter().filter(|(applies, _)| *applies);
    obstacles.extend(said.map(|(_, text)| text.to_owned()));
}

/// Above 95 % of `nf_conntrack_max` closing entries go early.
fn check_conntrack_room(node: &NodePlan, held: f64, obstacles: &mut Vec<String>) {
    let entries = held + f64::from(node.conntrack.background_entries);
    if entries > 0.95 * f64::from(node.conntrack.max_entries) {
        obstacles.push(format!(
            "conntrack pressure: about {entries:.0} entries against nf_conntrack_max {}",
            node.conntrack.max_entries
        ));
    }
}

/// 60 s rounded up by the timer wheel: the shortest and the longest TIME_WAIT.
fn time_wait_range(tcp: &TcpConfig) -> (f64, f64) {
    let seconds = tcp.time_wait.as_secs_f64();
    (seconds, seconds + wheel_slack(seconds, tcp.hz))
}

/// Granule of the kernel's timer wheel for a timeout (`kernel/time/timer.c`, 4.8 and later), in seconds.
fn wheel_slack(seconds: f64, hz: u32) -> f64 {
    let hz = f64::from(hz.max(1));
    let (mut granule, mut reach) = (1.0, 63.0);
    while seconds * hz >= reach && reach < 1e12 {
        granule *= 8.0;
        reach *= 8.0;
    }
    granule / hz
}

fn timestamps_decide(plan: &Plan, pod: &PodPlan) -> bool {
    plan.slb.tcp.timestamps != TimestampMode::Off && pod.tcp.timestamps != TimestampMode::Off
}

fn decider(plan: &Plan, pod: &PodPlan) -> Decider {
    let addresses = plan.slb.hosts.iter().map(Vec::len).sum::<usize>() as f64;
    match (plan.slb.tcp.timestamps, plan.slb.tcp.timestamp_offset) {
        _ if !timestamps_decide(plan, pod) => Decider::Sequence,
        (TimestampMode::NoOffset, _) | (_, TimestampOffset::None) => Decider::ClockPerHost {
            hosts: plan.slb.hosts.len() as f64,
        },
        (_, TimestampOffset::PerAddressPair) => Decider::OffsetPerAddressPair { addresses },
        (_, TimestampOffset::PerFourTuple) => Decider::OffsetPerFourTuple,
    }
}

/// Whether the RST that a refused caller sends reaches the pod and kills the TIME_WAIT.
fn refusal_kills(plan: &Plan, node: &NodePlan, pod: &PodPlan, direct: bool) -> bool {
    let conntrack = &node.conntrack;
    let passes = direct
        || conntrack.rst_after_ignored_ack_passes
        || conntrack.any_segment_reinits_window
        || conntrack.be_liberal;
    plan.slb.tcp.caller_reaction != CallerReaction::Ignore && !pod.tcp.rfc1337 && passes
}

/// How long the client waits and when the SLB's SYNs leave; `None` where no client leaves or no SYN follows an RST.
fn patience(plan: &Plan) -> Option<Patience> {
    if !plan.slb.l7 {
        return None;
    }
    let seconds = plan
        .clients
        .iter()
        .filter_map(|client| client.timeout)
        .min()?
        .as_secs_f64();
    let hurries = plan.slb.tcp.caller_reaction == CallerReaction::RstFastResend;
    let retry = match (hurries, plan.slb.tcp.syn_retry.linear_timeouts) {
        (false, _) => Retry::Doubling,
        (true, 0) => Retry::FastThenDoubling,
        (true, _) => Retry::FastThenLinear,
    };
    let emulated = plan
        .nodes
        .iter()
        .any(|node| node.drop_syn_repeats_within.is_some() || node.drop_slb_resets);
    let ignores = plan.slb.tcp.caller_reaction == CallerReaction::Ignore;
    (!emulated && !ignores).then_some(Patience { seconds, retry })
}

/// Seconds to the SYN after a refusal, if the caller lives to send it.
fn retry_after(plan: &Plan, patience: Option<Patience>) -> Option<f64> {
    if plan.nodes.iter().any(|node| node.drop_slb_resets) {
        // The TIME_WAIT outlives the refusal, and refuses each repeated SYN.
        return None;
    }
    let emulated = plan
        .nodes
        .iter()
        .any(|node| node.drop_syn_repeats_within.is_some());
    let wait = match plan.slb.tcp.caller_reaction {
        CallerReaction::Ignore => return None,
        CallerReaction::RstFastResend if !emulated => FAST_RESEND,
        _ => 1.0,
    };
    let limit = plan.slb.connect_timeout.as_secs_f64();
    let limit = patience.map_or(limit, |patience| patience.seconds.min(limit));
    (wait < limit).then_some(wait)
}

/// How the SLB comes back to its tuples towards one destination.
fn reopening(plan: &Plan, connects: f64, per_destination: f64, destinations: usize) -> Reopening {
    let hosts = plan.slb.hosts.len().max(1) as f64;
    let addresses = plan.slb.hosts.iter().map(Vec::len).sum::<usize>() as f64;
    let ports = f64::from(plan.slb.ports.count());
    // A Linux connect() tries the ports of one parity first and gets no further under these loads.
    let even_ports = f64::from(plan.slb.ports.count().div_ceil(2));
    match plan.slb.tcp.port_selection {
        PortSelection::Random => Reopening::Random {
            tuples: addresses * ports,
            connects: per_destination,
        },
        PortSelection::Perturbed => Reopening::Rekeyed {
            tuples: addresses * even_ports,
            connects: per_destination,
            key: REKEY,
        },
        PortSelection::Sequential | PortSelection::Consecutive if connects > 0.0 => Reopening::Walk {
            period: even_ports * hosts / connects,
            chance: hosts / (addresses * destinations.max(1) as f64),
        },
        PortSelection::Sequential | PortSelection::Consecutive => Reopening::Never,
    }
}

/// Stray RSTs that shorten the hold. ipvs believes any; conntrack only from 6.1.192 on.
fn stray_rst(plan: &Plan, node: &NodePlan, pod: &PodPlan, obstacles: &mut Vec<String>) -> Option<StrayRst> {
    let stray = plan.slb.stray_rst.filter(|stray| stray.share > 0.0)?;
    if stray.seq_offset == 0 && !pod.tcp.rfc1337 {
        obstacles.push("stray RSTs with the exact sequence number kill the pod's TIME_WAIT".to_owned());
        return None;
    }
    let after = stray.after.as_secs_f64();
    let hold = match node.proxy {
        _ if node.conntrack.rst_in_closing_believed => 10.0 + after,
        // ipvs' CLOSE runs on the timer wheel: half a granule more on average.
        ProxyMode::Ipvs(ipvs) => 10.0 + after + wheel_slack(10.0, ipvs.hz) / 2.0,
        ProxyMode::Iptables => return None,
    };
    let hold = SimDuration::from_secs_f64(hold).as_secs_f64();
    Some(StrayRst {
        share: stray.share,
        hold,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::testing::plan_for_tests;
    use crate::model::client::{Arrivals, Backoff, ClientKeepalive, Jitter, Retry, Trace};
    use crate::units::Rate;

    #[test]
    fn the_wheels_slack_is_that_of_the_kernel_table() {
        for (seconds, hz, slack) in [
            (60.0, 250, 2.048),
            (60.0, 1000, 4.096),
            (60.0, 100, 5.12),
            (1.0, 250, 0.032),
        ] {
            assert_eq!(wheel_slack(seconds, hz), slack, "{seconds} s at HZ={hz}");
        }
    }

    #[test]
    fn the_incident_hands_theory_its_own_numbers() {
        let plan = plan_for_tests();
        let inputs = closed_form(&plan);
        assert_eq!(
            (inputs.fresh_rate, inputs.ports, inputs.hold),
            (350.0, 64_512.0, 120.0)
        );
        assert_eq!(inputs.memory, (60.0, 64.096));
        assert_eq!(
            (inputs.refused, inputs.refusal_effect),
            (0.5, RefusalEffect::Kills)
        );
        assert_eq!(
            inputs.retry_after, None,
            "the client leaves after 0.8 s, before the SYN at 1 s"
        );
        assert_eq!(
            inputs.reopening,
            Reopening::Random {
                tuples: 64.0 * 64_512.0,
                connects: 350.0
            }
        );
        assert!(inputs.obstacles.is_empty(), "{:?}", inputs.obstacles);
    }

    fn retry() -> Retry {
        let second = SimDuration::from_secs(1);
        Retry {
            max_attempts: 2,
            on: [false, true, true, true, true, true],
            backoff: Backoff {
                initial: second,
                multiplier: 1.0,
                max: second,
            },
            jitter: Jitter::None,
            throttling: None,
        }
    }

    type Change = fn(&mut Plan);

    #[test]
    fn what_the_form_does_not_cover_is_said() {
        let obstacle = |change: Change| {
            let mut plan = plan_for_tests();
            change(&mut plan);
            let prediction = crate::theory::predict(&closed_form(&plan));
            assert!(!prediction.valid);
            prediction.why_not.unwrap()
        };
        #[rustfmt::skip]
        let table: [(&str, Change); 9] = [
            ("keeps the source port", |plan| plan.nodes[0].snat.mode = SnatMode::Masquerade(PortChoice::Keep)),
            ("conntrack pressure", |plan| plan.nodes[0].conntrack.background_entries = 240_000),
            ("max_tw_buckets", |plan| plan.pods[0].tcp.max_tw_buckets = 1_000),
            ("lost", |plan| plan.links.node_pod.loss = 0.02),
            ("SNAT ports", |plan| plan.clients[0].arrivals = Arrivals::Poisson { rate: Rate::per_second(800) }),
            ("closed-loop", |plan| plan.clients[0].arrivals = Arrivals::ClosedLoop {
                users: 5, think_time: plan.links.node_pod.delay.clone(), pacing: None, ramp_up: SimDuration::ZERO,
            }),
            ("changes over time", |plan| plan.clients[0].arrivals = Arrivals::Trace(Trace::new(vec![0; 100_000]).unwrap())),
            ("try again", |plan| plan.clients[0].retry = Some(retry())),
            ("stay with one host", |plan| plan.clients[0].keepalive = Some(ClientKeepalive { idle_timeout: None, requests: None })),
        ];
        for (word, change) in table {
            let why_not = obstacle(change);
            assert!(why_not.contains(word), "{word}: {why_not}");
        }
    }

    #[test]
    fn local_policy_and_direct_paths_never_refuse() {
        let mut plan = plan_for_tests();
        plan.nodes[0].snat.mode = SnatMode::None;
        let prediction = crate::theory::predict(&closed_form(&plan));
        assert_eq!((prediction.p, prediction.valid), (Some(0.0), true));
    }
}
