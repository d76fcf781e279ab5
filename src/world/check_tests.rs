//! Health checks and probes in whole runs: connections of their own beside the requests.

use super::tests::{direct, run, totals};
use super::*;
use crate::experiment::testing::plan_for_tests;
use crate::model::slb::{CheckKind, HealthCheck};
use crate::observe::AttemptRecord;
use crate::spec::{ProbePlan, ProxyMode};
use crate::units::PortRange;
use crate::vocab::{Cause, Status};

fn every(interval: u64, kind: CheckKind) -> HealthCheck {
    HealthCheck {
        interval: SimDuration::from_millis(interval),
        timeout: SimDuration::from_millis(200),
        rise: 2,
        fall: 3,
        kind,
        every_address: false,
    }
}

const RESET: CheckKind = CheckKind::Tcp { reset: true };
const FIN: CheckKind = CheckKind::Tcp { reset: false };

#[test]
fn checks_are_attempts_at_the_pod_and_neither_requests_nor_connects() {
    let plain = totals(&run(&direct(50, 30)));
    // Of three packets, handshake and RST; seven with both FINs; ten with an answer.
    for (kind, packets, time_waits) in [(RESET, 4, 0), (FIN, 6, 0), (CheckKind::Http, 10, 1)] {
        let mut plan = direct(50, 30);
        plan.slb.health_check = Some(every(100, kind));
        let observations = run(&plan);
        let counts = totals(&observations);
        assert!(
            (298..=300).contains(&counts.checks_passed),
            "{kind:?}: {}",
            counts.checks_passed
        );
        assert_eq!((counts.checks_failed, counts.check_falls), (0, 0), "{kind:?}");
        assert_eq!(counts.requests_started, plain.requests_started);
        assert_eq!(counts.by_status, plain.by_status);
        assert_eq!(counts.connects_started, plain.connects_started);
        assert_eq!(counts.attempts - plain.attempts, counts.checks_passed, "{kind:?}");
        assert_eq!(
            counts.time_waits - plain.time_waits,
            time_waits * counts.checks_passed,
            "{kind:?}"
        );
        let more = counts.packets_sent - plain.packets_sent;
        assert!(
            more.abs_diff(packets * counts.checks_passed) <= packets,
            "{kind:?}: {more}"
        );
        assert!(counts.packets_sent - counts.packets_delivered - counts.link_losses < 20);
        let records = observations.attempts.iter();
        let of_checks = records
            .filter(|record| record.request == AttemptRecord::CHECK)
            .count();
        assert_eq!(of_checks as u64, counts.checks_passed);
    }
}

#[test]
fn every_address_checks_by_itself() {
    let mut plan = direct(10, 20);
    plan.slb.hosts = vec![
        (1..=3).map(|n| std::net::Ipv4Addr::new(100, 64, 0, n)).collect(),
        vec![std::net::Ipv4Addr::new(100, 64, 0, 9)],
    ];
    plan.slb.health_check = Some(every(1_000, RESET));
    assert_eq!(totals(&run(&plan)).checks_passed, 40);
    plan.slb.health_check = Some(HealthCheck {
        every_address: true,
        ..every(1_000, RESET)
    });
    assert_eq!(totals(&run(&plan)).checks_passed, 80);
}

#[test]
fn a_backend_that_fails_its_checks_is_taken_out_and_put_back() {
    let mut plan = direct(20, 60);
    plan.links.slb_pod.loss = 1.0;
    plan.clients[0].timeout = None;
    plan.slb.connect_timeout = SimDuration::from_secs(2);
    plan.slb.health_check = Some(every(1_000, RESET));
    let counts = totals(&run(&plan));
    assert_eq!(
        (counts.checks_passed, counts.check_falls, counts.check_rises),
        (0, 1, 0)
    );
    // The first three seconds wait for the connection, all others hear that nobody lives.
    let of = |status| counts.by_status[Status::ALL.iter().position(|&it| it == status).unwrap()];
    assert!(
        (20..=90).contains(&of(Status::GatewayTimeout)),
        "{:?}",
        counts.by_status
    );
    assert!(of(Status::BadGateway) > 1_000, "{:?}", counts.by_status);
    assert_eq!(
        counts.causes[Cause::NoLiveUpstream as usize],
        of(Status::BadGateway)
    );

    // A link that loses half of its packets takes the backend out and lets it back again and again.
    plan.links.slb_pod.loss = 0.3;
    plan.slb.health_check = Some(HealthCheck {
        fall: 1,
        rise: 1,
        ..every(300, RESET)
    });
    let counts = totals(&run(&plan));
    assert!(counts.check_rises > 20, "{}", counts.check_rises);
    assert!(counts.check_falls - counts.check_rises <= 1);
    assert_eq!(
        counts.checks_passed + counts.checks_failed,
        200,
        "two hundred begin, and none overlaps"
    );
}

#[test]
fn checks_hold_workers_as_any_connection_does() {
    // A check of TCP sends no request, but a worker that accepted it is busy until it is gone.
    let mut plan = direct(20, 20);
    plan.pods[0].workers = Some(1);
    plan.pods[0].service_time =
        crate::model::distribution::Distribution::Constant(SimDuration::from_millis(1));
    plan.slb.health_check = Some(every(10, CheckKind::Http));
    let counts = totals(&run(&plan));
    assert_eq!(counts.by_status[1..], [0; 5]);
    assert!(counts.checks_passed > 1_900, "{}", counts.checks_passed);
}

/// The incident for a minute, with `vs.conntrack` as SNAT needs it.
fn tracked() -> Plan {
    let mut plan = plan_for_tests();
    plan.duration = SimDuration::from_secs(60);
    if let ProxyMode::Ipvs(ipvs) = &mut plan.nodes[0].proxy {
        ipvs.conntrack = true;
    }
    plan
}

fn probed(period: u64, kind: CheckKind) -> Plan {
    let mut plan = tracked();
    plan.pods[0].probe = Some(ProbePlan {
        period: SimDuration::from_millis(period),
        timeout: SimDuration::from_millis(500),
        kind,
    });
    plan
}

#[test]
fn a_probe_comes_from_the_nodes_own_address_and_passes_conntrack() {
    let plain = tracked();
    let node = plain.nodes[0].ip;
    let plain_counts = totals(&run(&plain));
    for (kind, ipvs) in [(FIN, true), (CheckKind::Http, true), (CheckKind::Http, false)] {
        let mut plan = probed(200, kind);
        if !ipvs {
            plan.nodes[0].proxy = ProxyMode::Iptables;
        }
        let observations = run(&plan);
        let counts = totals(&observations);
        let ended = counts.probes_passed + counts.probes_failed;
        assert!((298..=300).contains(&ended), "{kind:?}: {ended}");
        assert_eq!(counts.requests_started, plain_counts.requests_started);
        let attempts = counts.attempts - counts.connects_started;
        assert!(
            (ended..=ended + 3).contains(&attempts),
            "{kind:?}: {attempts} of {ended}"
        );
        let probes = observations
            .attempts
            .iter()
            .filter(|record| record.request == AttemptRecord::CHECK);
        assert!(probes.clone().all(|probe| probe.source.ip == node));
        // Where SNAT holds a probe's port it gets another one, from 1024 up on this kernel, and there it may meet what a
        // reopened tuple has left in the pod: one in hundreds fails.
        let kept = probes.filter(|probe| probe.source.port >= 32_768).count() as u64;
        assert!(
            kept < ended && kept > ended * 3 / 4,
            "{kind:?}: {kept} of {ended}"
        );
        assert!(counts.probes_failed <= 3, "{kind:?}: {}", counts.probes_failed);
        // Its entries lie in the same table, 120 s each.
        let last = observations.seconds.iter().last().unwrap().gauges;
        let flows = counts.connects_started + counts.probes_passed;
        assert!(
            last.conntrack_alive > flows * 9 / 10,
            "{} of {flows}",
            last.conntrack_alive
        );
    }
}

#[test]
fn a_probe_that_comes_back_to_its_port_meets_the_pods_time_wait() {
    let mut plan = probed(500, CheckKind::Http);
    plan.clients[0].arrivals = crate::model::client::Arrivals::Constant {
        rate: crate::units::Rate::per_second(1),
    };
    plan.pods[0].tcp.local_port_range = PortRange::new(40_000, 40_009).unwrap();
    let observations = run(&plan);
    let counts = totals(&observations);
    let of_probes = observations
        .attempts
        .iter()
        .filter(|record| record.request == AttemptRecord::CHECK && record.hit.is_some())
        .count();
    // The kernel tries the even half of its ports first: five of them.
    assert!((110..=116).contains(&of_probes), "{of_probes}");
    assert_eq!(counts.probes_passed + counts.probes_failed, 120, "{counts:?}");
    assert_eq!(counts.probes_failed, 0, "one host's next SYN is newer");
}

#[test]
fn the_node_gives_no_connection_the_port_of_a_probe() {
    // One port for everybody: while the probe's entry holds it, SNAT has none.
    let mut plan = probed(1_000, CheckKind::Http);
    plan.duration = SimDuration::from_secs(20);
    let port = PortRange::new(40_000, 40_000).unwrap();
    plan.pods[0].tcp.local_port_range = port;
    plan.nodes[0].snat.to_ports = Some(port);
    plan.clients[0].arrivals = crate::model::client::Arrivals::Constant {
        rate: crate::units::Rate::per_second(10),
    };
    let counts = totals(&run(&plan));
    assert!(
        counts.probes_passed + counts.snat_search_failures > 100,
        "{counts:?}"
    );
    assert!(counts.snat_search_failures > 0);
    let ended: u64 = counts.by_status.iter().sum();
    assert!(ended > 150);
}
