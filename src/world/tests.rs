//! Whole worlds, small enough to reason about.

mod network;

use std::net::Ipv4Addr;

use super::*;
use crate::model::client::Arrivals;
use crate::model::distribution::Distribution;
use crate::model::link::LinkConfig;
use crate::model::sizes::Sizes;
use crate::model::slb::{Balance, ClientConnections, ServerLimits};
use crate::model::tcp::*;
use crate::observe::Counts;
use crate::scenario;
use crate::spec::*;
use crate::units::*;
use crate::vocab::{Cause, Status};

pub(super) fn tcp() -> TcpConfig {
    crate::profile::find("6.18").expect("a profile of this name").tcp
}

/// Clients, one SLB host, no node, one pod that closes first.
pub(super) fn direct(rate: u64, secs: u64) -> Plan {
    let link = |micros| LinkConfig::constant(SimDuration::from_micros(micros));
    Plan {
        name: "test".into(),
        hash: String::new(),
        question: None,
        seed: 1,
        replications: 1,
        duration: SimDuration::from_secs(secs),
        warm_up: SimDuration::ZERO,
        slow_after: SimDuration::from_millis(900),
        scorecard: false,
        clients: vec![ClientPlan {
            name: "c".into(),
            tcp: tcp(),
            service: 0,
            slb: 0,
            arrivals: Arrivals::Poisson {
                rate: Rate::per_second(rate),
            },
            until: None,
            timeout: Some(SimDuration::from_millis(800)),
            addresses: None,
            retry: None,
            keepalive: None,
            request_bytes: Sizes::Constant(200),
            response_bytes: Sizes::Constant(500),
        }],
        slb: SlbPlan {
            l7: true,
            vip: Endpoint::new(Ipv4Addr::new(203, 0, 113, 10), 80),
            hosts: vec![vec![Ipv4Addr::new(100, 64, 0, 1)]],
            clusters: Vec::new(),
            tcp: tcp(),
            ports: PortRange::LINUX_EPHEMERAL,
            bind: Bind::None,
            strangers: 0,
            backends: Backends::Pod,
            connect_timeout: SimDuration::from_secs(5),
            read_timeout: SimDuration::from_secs(60),
            client_connections: ClientConnections::NGINX,
            send_timeout: None,
            balance: Balance::RoundRobin,
            limits: ServerLimits::NONE,
            next_upstream: None,
            worker_connections: None,
            health_check: None,
            keepalive: None,
            stray_rst: None,
            endpoint_delay: Distribution::Constant(SimDuration::ZERO),
        },
        nodes: vec![],
        services: vec![ServicePlan {
            name: "s".into(),
            node_port: 30080,
        }],
        pods: vec![PodPlan {
            name: "p".into(),
            service: 0,
            node: 0,
            link: None,
            endpoint: Endpoint::new(Ipv4Addr::new(10, 1, 0, 1), 8080),
            tcp: tcp(),
            backlog: 511,
            workers: None,
            service_time: Distribution::Lognormal {
                median: SimDuration::from_millis(5),
                sigma: 0.5,
            },
            errors: None,
            close: ClosePolicy::AfterResponse,
            close_delay: Distribution::Constant(SimDuration::ZERO),
            ignore_client_abort: false,
            ipvs_weight: 1,
            runs_at_start: true,
            when_gone: GoneAnswer::Silent,
            slb_weight: 1,
            probe: None,
        }],
        events: vec![],
        links: LinksPlan {
            client_slb: link(250),
            slb_node: link(100),
            node_pod: link(50),
            slb_pod: link(150),
            node_node: None,
        },
        expectations: vec![],
    }
}

pub(super) fn run(plan: &Plan) -> Observations {
    simulate(
        plan,
        0,
        RecordOptions {
            node_packets: false,
            all: true,
            cap: 100_000,
        },
        &|_| true,
    )
}

pub(super) fn totals(observations: &Observations) -> Counts {
    observations.seconds.iter().map(|second| second.counts).sum()
}

/// The plan of a scenario's text and of what is set over it.
pub(super) fn planned(text: &str, sets: &[&str]) -> Plan {
    let sets: Vec<_> = sets.iter().map(|set| (*set).to_owned()).collect();
    scenario::parse("test.toml", text, &sets).unwrap_or_else(|errors| panic!("{errors}"))
}

pub(super) fn of_cause(counts: &Counts, cause: Cause) -> u64 {
    counts.causes[cause as usize]
}

pub(super) fn of_status(counts: &Counts, status: Status) -> u64 {
    counts.by_status[status as usize]
}

pub(super) fn failed(counts: &Counts) -> u64 {
    counts.by_status[1..].iter().sum()
}

/// Packets that are neither delivered nor lost.
pub(super) fn on_links(counts: &Counts) -> u64 {
    counts.packets_sent - counts.packets_delivered - counts.link_losses - counts.queue_overflows
}

/// Every request, connect and operation has ended or is in flight, and every failure has one cause.
#[track_caller]
pub(super) fn accounted_for(observations: &Observations) -> Counts {
    let counts = totals(observations);
    let ended: u64 = counts.by_status.iter().sum();
    assert_eq!(ended + observations.requests_in_flight, counts.requests_started);
    let outcomes = counts.established + counts.timed_out + counts.refused + counts.abandoned;
    assert_eq!(
        outcomes + observations.connects_in_flight,
        counts.connects_started
    );
    assert_eq!(counts.causes.iter().sum::<u64>(), failed(&counts));
    let operations = counts.operations_succeeded + counts.operations_failed;
    assert_eq!(
        operations + observations.operations_in_flight,
        counts.operations_started
    );
    if counts.operations_started > 0 {
        assert_eq!(
            counts.operations_started + counts.retries,
            counts.requests_started
        );
    }
    counts
}

#[test]
fn a_quiet_path_answers_every_request() {
    let observations = run(&direct(100, 30));
    let counts = totals(&observations);
    assert!(counts.requests_started > 2800);
    assert_eq!(
        counts.by_status[0] + observations.requests_in_flight,
        counts.requests_started
    );
    assert_eq!(
        counts.established + observations.connects_in_flight,
        counts.connects_started
    );
    assert_eq!(counts.attempts, counts.connects_started);
    // The re-keyed walk reopens a tuple now and then; the pod recycles it.
    assert_eq!((counts.recycled, counts.bare_acks), (counts.time_wait_hits, 0));
    // SYN, SYN-ACK, ACK, data, ACK, data, ACK, FIN, FIN, ACK on either leg.
    let per_request = counts.packets_sent as f64 / counts.requests_started as f64;
    assert!((19.9..20.1).contains(&per_request), "{per_request}");
    let p50 = observations.request_latency.value_at_quantile(0.5) as f64 / 1e6;
    // Client handshake and request 1 ms (the response included), upstream 0.6 ms, service 5 ms.
    assert!((6.5..6.8).contains(&p50), "{p50} ms");
}

#[test]
fn every_packet_and_request_is_accounted_for_under_loss() {
    let mut plan = direct(200, 40);
    plan.links.slb_pod.loss = 0.02;
    plan.links.client_slb.loss = 0.02;
    plan.clients[0].timeout = Some(SimDuration::from_secs(2));
    let observations = run(&plan);
    let counts = accounted_for(&observations);
    assert!(
        on_links(&counts) < 200,
        "{} packets are still on links",
        on_links(&counts)
    );
    assert!(
        failed(&counts) > 0 && counts.by_status[0] > 7000,
        "{:?}",
        counts.by_status
    );
}

#[test]
fn a_lost_syn_ack_is_a_link_loss_to_its_request() {
    let mut plan = direct(200, 40);
    plan.links.slb_pod.loss = 0.02;
    let counts = totals(&run(&plan));
    let of = |cause| of_cause(&counts, cause);
    assert_eq!(of(Cause::SlowPath), 0, "every wait of 0.8 s begins with a loss");
    // 2 % of the SYNs and 2 % of the SYN-ACKs of some 8000 requests.
    assert!(of(Cause::LinkLoss) > 250, "{:?}", counts.causes);
}

#[test]
fn a_run_is_the_same_again() {
    let plan = direct(300, 10);
    let (a, b) = (run(&plan), run(&plan));
    assert_eq!(a.seconds, b.seconds);
    assert_eq!(a.attempts, b.attempts);
}

#[test]
fn a_pod_of_another_service_changes_nothing() {
    let plan = direct(300, 10);
    let mut more = plan.clone();
    more.services.push(ServicePlan {
        name: "other".into(),
        node_port: 30081,
    });
    let mut pod = more.pods[0].clone();
    pod.service = 1;
    pod.endpoint.ip = Ipv4Addr::new(10, 1, 0, 2);
    more.pods.push(pod);
    assert_eq!(run(&plan).seconds, run(&more).seconds);
}

#[test]
fn a_reopened_tuple_meets_the_pods_time_wait_and_is_recycled() {
    let mut plan = direct(50, 30);
    plan.slb.ports = PortRange::new(40_000, 40_399).unwrap();
    let counts = totals(&run(&plan));
    assert!(counts.time_wait_hits > 500, "{}", counts.time_wait_hits);
    assert_eq!(
        counts.recycled, counts.time_wait_hits,
        "the same tuple from the same host is always newer"
    );
    assert_eq!(counts.release_paths[0], counts.time_wait_hits, "all are M1");
}

#[test]
fn keepalive_uses_connections_again_and_leaves_no_time_wait_in_the_pod() {
    let mut plan = direct(100, 30);
    plan.pods[0].close = ClosePolicy::KeepAlive {
        idle_timeout: SimDuration::from_secs(75),
        requests: 1_000_000,
    };
    plan.slb.keepalive = Some(crate::model::slb::KeepaliveConfig {
        size: 32,
        idle_timeout: SimDuration::from_secs(60),
        requests: 1000,
        time: SimDuration::from_secs(3600),
    });
    let observations = run(&plan);
    let counts = totals(&observations);
    assert!(
        counts.connects_started * 20 < counts.requests_started,
        "{}",
        counts.connects_started
    );
    assert_eq!(counts.time_waits, 0);
    assert_eq!(
        counts.by_status[0] + observations.requests_in_flight,
        counts.requests_started
    );
}

#[test]
fn workers_bound_what_a_pod_serves_at_once() {
    let mut plan = direct(100, 20);
    plan.pods[0].workers = Some(1);
    plan.pods[0].service_time = Distribution::Constant(SimDuration::from_millis(9));
    plan.clients[0].timeout = None;
    let counts = totals(&run(&plan));
    assert!(counts.by_status[0] > 1800, "{:?}", counts.by_status);
    plan.pods[0].service_time = Distribution::Constant(SimDuration::from_millis(20));
    plan.pods[0].backlog = 5;
    let overloaded = totals(&run(&plan));
    assert!(
        overloaded.by_status[0] < 1010,
        "50 a second at most: {:?}",
        overloaded.by_status
    );
    assert!(overloaded.listen_overflows > 0);
}

#[test]
fn an_impatient_client_is_logged_as_499_with_its_cause() {
    let mut plan = direct(50, 20);
    plan.pods[0].service_time = Distribution::Constant(SimDuration::from_secs(2));
    let counts = totals(&run(&plan));
    assert_eq!(counts.by_status[0], 0);
    assert!(counts.by_status[1] > 900);
    assert_eq!(
        counts.causes[crate::vocab::Cause::SlowService as usize],
        counts.by_status[1]
    );
}

#[test]
fn closed_loops_hold_their_number_of_users() {
    let mut plan = direct(1, 20);
    plan.clients[0].arrivals = Arrivals::ClosedLoop {
        users: 10,
        think_time: Distribution::Constant(SimDuration::from_millis(90)),
        pacing: None,
        ramp_up: SimDuration::ZERO,
    };
    plan.pods[0].service_time = Distribution::Constant(SimDuration::from_millis(8));
    let counts = totals(&run(&plan));
    // A cycle is about 100 ms: 10 users make 100 requests a second.
    assert!(
        (1900..2010).contains(&counts.requests_started),
        "{}",
        counts.requests_started
    );
}

#[test]
fn nginx_logs_502_when_the_kernel_gives_up_first_and_504_at_its_own_timeout() {
    let mut plan = direct(5, 40);
    plan.clients[0].timeout = None;
    plan.links.slb_pod.loss = 1.0;
    // Gives up 31 s after the first SYN.
    plan.slb.tcp = crate::profile::find("4.19").expect("a profile of this name").tcp;
    for (limit, status) in [(60, Status::BadGateway), (20, Status::GatewayTimeout)] {
        plan.slb.connect_timeout = SimDuration::from_secs(limit);
        let counts = totals(&run(&plan));
        let logged: u64 = counts.by_status.iter().sum();
        let index = Status::ALL.iter().position(|it| *it == status);
        let of_status = index.map(|index| counts.by_status[index]);
        assert!(logged > 20 && of_status == Some(logged), "{limit} s: {counts:?}");
    }
}

#[test]
fn a_late_response_that_meets_a_closed_socket_of_the_slb_is_answered_by_an_rst() {
    let mut plan = direct(50, 20);
    plan.pods[0].ignore_client_abort = true;
    plan.pods[0].workers = Some(1_000);
    assert_eq!(totals(&run(&plan)).slb_out_rsts, 0, "nobody leaves");
    // Clients leave after 0.8 s, the SLB closes, and a pod that does not look answers all the same.
    plan.pods[0].service_time = Distribution::Constant(SimDuration::from_secs(1));
    let counts = totals(&run(&plan));
    let left = counts.by_status[1];
    assert!(left > 900, "{:?}", counts.by_status);
    assert!(
        counts.slb_out_rsts + 20 >= left,
        "{} of {left}",
        counts.slb_out_rsts
    );
    assert_eq!(counts.bare_acks, 0, "none of them answers a refusal");
    plan.pods[0].ignore_client_abort = false;
    assert_eq!(totals(&run(&plan)).slb_out_rsts, 0, "a pod that closes at once");
}

#[test]
fn a_pod_that_does_not_look_works_for_clients_that_have_left() {
    let mut plan = direct(100, 20);
    plan.pods[0].workers = Some(2);
    plan.clients[0].timeout = Some(SimDuration::from_millis(15));
    plan.pods[0].service_time = Distribution::Constant(SimDuration::from_millis(40));
    let looks = totals(&run(&plan));
    plan.pods[0].ignore_client_abort = true;
    let works = totals(&run(&plan));
    let failed = |counts: &crate::observe::Counts| counts.by_status[1..].iter().sum::<u64>();
    // Two workers of 40 ms do 50/s; freed after 15 ms they take more than the 100/s that come.
    assert!(works.listen_overflows > looks.listen_overflows, "{works:?}");
    assert!(failed(&works) >= failed(&looks));
}

#[test]
fn nginx_closes_first_where_the_pods_fin_is_late_and_a_caller_without_layer_7_never() {
    for (l7, micros, pod_first) in [
        (true, 0, true),
        (true, 20, true),
        (true, 2_000, false),
        (false, 2_000, true),
    ] {
        let mut plan = direct(50, 20);
        plan.slb.l7 = l7;
        plan.pods[0].close_delay = Distribution::Constant(SimDuration::from_micros(micros));
        let counts = totals(&run(&plan));
        assert!(counts.by_status[0] > 800, "{counts:?}");
        assert_eq!(counts.time_waits > 0, pod_first, "l7 {l7}, {micros} us");
    }
}

mod listen;
mod pods;
mod reuse;
