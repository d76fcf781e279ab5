//! The SLB's upstream side in whole runs: statuses, schedulers, next upstream, keepalive, limits.

use std::net::Ipv4Addr;

use super::tests::{accounted_for, direct, of_cause, of_status, run, totals};
use super::*;
use crate::model::client::Arrivals;
use crate::model::distribution::Distribution;
use crate::model::sizes::Sizes;
use crate::model::slb::{Balance, Conditions, KeepaliveConfig, NextUpstream, ServerLimits};
use crate::spec::{ClosePolicy, ErrorsPlan};
use crate::units::{PortRange, Rate};
use crate::vocab::{Cause, Status};

const fn millis(millis: u64) -> SimDuration {
    SimDuration::from_millis(millis)
}

const fn constant(time: u64) -> Distribution {
    Distribution::Constant(millis(time))
}

/// `direct` with more pods.
fn with_pods(rate: u64, secs: u64, pods: usize) -> Plan {
    let mut plan = direct(rate, secs);
    for number in 1..pods {
        let mut pod = plan.pods[0].clone();
        pod.endpoint.ip = Ipv4Addr::new(10, 1, 0, 1 + number as u8);
        plan.pods.push(pod);
    }
    plan
}

fn next(error: bool, timeout: bool) -> NextUpstream {
    NextUpstream {
        conditions: Conditions {
            error,
            timeout,
            ..Conditions::OFF
        },
        tries: 0,
        timeout: SimDuration::ZERO,
    }
}

/// Attempts by pod.
fn by_pod(plan: &Plan, observations: &Observations) -> Vec<usize> {
    let of = |pod: usize| {
        observations
            .attempts
            .iter()
            .filter(|it| it.pod as usize == pod)
            .count()
    };
    (0..plan.pods.len()).map(of).collect()
}

#[test]
fn each_status_is_logged_for_its_reason() {
    type Change = fn(&mut Plan);
    #[rustfmt::skip]
    let table: [(&str, Change, Status, Cause); 12] = [
        ("the client leaves while the SLB connects",
            |plan| plan.links.slb_pod.loss = 1.0, Status::ClientClosed, Cause::LinkLoss),
        ("the client leaves before the response",
            |plan| plan.pods[0].service_time = constant(5_000), Status::ClientClosed, Cause::SlowService),
        ("the client leaves before the SLB has the request",
            |plan| plan.links.client_slb.delay = constant(700), Status::ClientClosed, Cause::SlowPath),
        ("no source port",
            |plan| {
                plan.slb.ports = PortRange::new(40_000, 40_000).unwrap();
                plan.pods[0].service_time = constant(500);
            }, Status::BadGateway, Cause::SlbPortExhaustion),
        ("no source port, chosen by bind()",
            |plan| {
                plan.slb.bind = crate::spec::Bind::PortZero;
                plan.slb.ports = PortRange::new(40_000, 40_000).unwrap();
                plan.pods[0].service_time = constant(500);
            }, Status::Internal, Cause::SlbPortExhaustion),
        ("worker_connections are not enough for the upstream connection",
            |plan| {
                plan.slb.worker_connections = Some(1);
                plan.clients[0].arrivals = Arrivals::Constant { rate: Rate::per_second(10) };
            }, Status::Internal, Cause::WorkerConnections),
        ("a kept connection was dead, and nothing is tried again",
            |plan| {
                racing(plan);
                plan.slb.next_upstream = Some(next(false, false));
            }, Status::BadGateway, Cause::KeepaliveRace),
        ("no backend is below max_conns",
            |plan| {
                plan.slb.limits.max_conns = 1;
                plan.pods[0].service_time = constant(500);
            }, Status::BadGateway, Cause::NoLiveUpstream),
        ("the service has no backend",
            |plan| {
                plan.services.push(plan.services[0].clone());
                plan.clients[0].service = 1;
            }, Status::Unavailable, Cause::NoBackend),
        ("connect_timeout",
            |plan| {
                plan.links.slb_pod.loss = 1.0;
                plan.slb.connect_timeout = millis(500);
            }, Status::GatewayTimeout, Cause::LinkLoss),
        ("read_timeout",
            |plan| {
                plan.pods[0].service_time = constant(5_000);
                plan.slb.read_timeout = millis(500);
            }, Status::GatewayTimeout, Cause::SlowService),
        ("send_timeout",
            |plan| {
                plan.clients[0].request_bytes = Sizes::Constant(200_000);
                plan.clients[0].timeout = None;
                plan.links.slb_pod.delay = constant(2_000);
                plan.slb.send_timeout = Some(millis(1_000));
            }, Status::GatewayTimeout, Cause::SlowPath),
    ];
    for (what, change, status, cause) in table {
        let mut plan = direct(20, 20);
        change(&mut plan);
        let counts = accounted_for(&run(&plan));
        let failed: u64 = counts.by_status[1..].iter().sum();
        assert!(failed > 20, "{what}: {:?}", counts.by_status);
        assert_eq!(
            of_status(&counts, status),
            failed,
            "{what}: {:?}",
            counts.by_status
        );
        let named = of_cause(&counts, cause);
        assert!(named * 10 > failed * 9, "{what}: {:?}", counts.causes);
    }
}

/// Pods that close idle connections while the next request is on its way: it takes 0.5 ms, and the gap is 100 ms.
fn racing(plan: &mut Plan) {
    plan.clients[0].arrivals = Arrivals::Constant {
        rate: Rate::per_second(10),
    };
    plan.links.slb_pod.delay = constant(2);
    plan.pods[0].service_time = constant(5);
    plan.pods[0].close = ClosePolicy::KeepAlive {
        idle_timeout: millis(92),
        requests: 1_000_000,
    };
    plan.slb.keepalive = Some(KeepaliveConfig {
        size: 32,
        idle_timeout: SimDuration::from_secs(60),
        requests: 1_000,
        time: SimDuration::from_secs(3_600),
    });
}

#[test]
fn a_race_with_the_pods_idle_close_costs_a_connection_or_a_502() {
    let mut plan = direct(10, 30);
    racing(&mut plan);
    let made_up = accounted_for(&run(&plan));
    assert_eq!(made_up.by_status[1..], [0; 5], "every race is made up for");
    assert!(made_up.connects_started > 100, "{}", made_up.connects_started);
    // A pod that waits longer than the gap leaves nothing to race with.
    let mut patient = plan.clone();
    patient.pods[0].close = ClosePolicy::KeepAlive {
        idle_timeout: millis(500),
        requests: 1_000_000,
    };
    assert_eq!(totals(&run(&patient)).connects_started, 1);
    plan.slb.next_upstream = Some(next(true, false));
    let retried = accounted_for(&run(&plan));
    assert_eq!(retried.by_status, made_up.by_status);
    plan.slb.next_upstream = Some(next(false, false));
    let off = accounted_for(&run(&plan));
    assert!(of_status(&off, Status::BadGateway) > 90, "{:?}", off.by_status);
    assert_eq!(
        of_cause(&off, Cause::KeepaliveRace),
        of_status(&off, Status::BadGateway)
    );
}

#[test]
fn several_dead_kept_connections_cost_no_request() {
    // Bursts leave many connections behind; the pod closes all of them while the next burst is on its way.
    let mut plan = direct(10, 30);
    racing(&mut plan);
    for _ in 0..4 {
        plan.clients.push(plan.clients[0].clone());
    }
    let counts = accounted_for(&run(&plan));
    assert_eq!(counts.by_status[1..], [0; 5]);
    assert!(counts.connects_started > 500, "{}", counts.connects_started);
}

#[test]
fn the_keepalive_cache_bounds_age_requests_and_number() {
    let connects = |size, requests, time, users| {
        let mut plan = direct(1, 20);
        plan.clients[0].arrivals = Arrivals::ClosedLoop {
            users,
            think_time: constant(10),
            pacing: None,
            ramp_up: SimDuration::ZERO,
        };
        plan.pods[0].close = ClosePolicy::KeepAlive {
            idle_timeout: SimDuration::from_secs(75),
            requests: 1_000_000,
        };
        plan.slb.keepalive = Some(KeepaliveConfig {
            size,
            idle_timeout: SimDuration::from_secs(60),
            requests,
            time: millis(time),
        });
        let counts = accounted_for(&run(&plan));
        assert_eq!(counts.by_status[1..], [0; 5]);
        (counts.connects_started, counts.requests_started)
    };
    assert_eq!(connects(32, 1_000_000, 3_600_000, 1).0, 1);
    // One a second at the most: the first request after the second closes it.
    let (aged, _) = connects(32, 1_000_000, 1_000, 1);
    assert!((18..=20).contains(&aged), "{aged}");
    let (worn, requests) = connects(32, 10, 3_600_000, 1);
    assert_eq!(worn, requests.div_ceil(10));
    let (few, many) = (
        connects(2, 1_000_000, 3_600_000, 10).0,
        connects(10, 1_000_000, 3_600_000, 10).0,
    );
    assert!(many <= 10 && few > 100, "{few}, {many}");
}

#[test]
fn next_upstream_finds_the_pod_that_answers() {
    let mut plan = with_pods(20, 30, 2);
    plan.clients[0].timeout = None;
    plan.pods[0].service_time = constant(60_000);
    plan.slb.read_timeout = millis(200);
    let half = accounted_for(&run(&plan));
    let failed = of_status(&half, Status::GatewayTimeout);
    assert!(
        failed.abs_diff(half.requests_started / 2) < 5,
        "{:?}",
        half.by_status
    );

    let both = next(true, true);
    let (one, soon) = (
        NextUpstream { tries: 1, ..both },
        NextUpstream {
            timeout: millis(100),
            ..both
        },
    );
    for (config, helps) in [
        (both, true),
        (next(false, true), true),
        (next(true, false), false),
        (one, false),
        (soon, false),
    ] {
        plan.slb.next_upstream = Some(config);
        let counts = accounted_for(&run(&plan));
        let failed: u64 = counts.by_status[1..].iter().sum();
        let expected = if helps {
            0
        } else {
            of_status(&half, Status::GatewayTimeout)
        };
        assert_eq!(failed, expected, "{config:?}");
    }
}

#[test]
fn max_fails_spares_the_requests_that_follow() {
    let mut plan = with_pods(20, 60, 2);
    plan.clients[0].timeout = None;
    plan.pods[0].service_time = constant(60_000);
    plan.slb.read_timeout = millis(200);
    plan.slb.next_upstream = Some(next(true, true));
    let none = run(&plan);
    plan.slb.limits = ServerLimits {
        max_fails: 1,
        ..ServerLimits::NONE
    };
    let some = run(&plan);
    let slow = |observations: &Observations| {
        assert_eq!(accounted_for(observations).by_status[1..], [0; 5]);
        by_pod(&plan, observations)[0]
    };
    let (none, some) = (slow(&none), slow(&some));
    // Every eleven seconds or so one request tries it again, with those that come within its 200 ms at the beginning.
    assert!(none > 500 && (5..=12).contains(&some), "{none} and {some}");
}

#[test]
fn without_another_backend_the_failure_stands() {
    let mut plan = direct(20, 10);
    plan.clients[0].timeout = None;
    plan.pods[0].service_time = constant(60_000);
    plan.slb.read_timeout = millis(200);
    let before = totals(&run(&plan));
    plan.slb.next_upstream = Some(next(true, true));
    plan.slb.limits.max_fails = 1;
    let after = totals(&run(&plan));
    assert_eq!(before, after);
    assert!(of_status(&after, Status::GatewayTimeout) > 100);
}

#[test]
fn no_live_upstream_is_502_and_keeps_the_first_trouble() {
    let mut plan = with_pods(20, 20, 2);
    plan.clients[0].timeout = None;
    for pod in &mut plan.pods {
        pod.service_time = constant(60_000);
    }
    plan.slb.read_timeout = millis(200);
    plan.slb.limits.max_fails = 1;
    let counts = accounted_for(&run(&plan));
    let (timed_out, none_left) = (
        of_status(&counts, Status::GatewayTimeout),
        of_status(&counts, Status::BadGateway),
    );
    // Both rest after one failure each, for eleven seconds or less.
    assert!(timed_out < 30 && none_left > 200, "{:?}", counts.by_status);
    assert_eq!(of_cause(&counts, Cause::NoLiveUpstream), none_left);
}

#[test]
fn weights_share_requests_exactly_and_least_conn_spares_the_slow() {
    let mut plan = with_pods(50, 40, 2);
    plan.pods[0].slb_weight = 3;
    let observations = run(&plan);
    let shares = by_pod(&plan, &observations);
    assert!(shares[0].abs_diff(3 * shares[1]) <= 3, "{shares:?}");

    let mut plan = with_pods(200, 20, 2);
    plan.pods[0].service_time = constant(200);
    let turns = by_pod(&plan, &run(&plan));
    assert!(turns[0].abs_diff(turns[1]) <= 1, "{turns:?}");
    for balance in [Balance::LeastConn, Balance::RandomTwo] {
        plan.slb.balance = balance;
        let spared = by_pod(&plan, &run(&plan));
        assert!(spared[0] * 10 < spared[1], "{balance:?}: {spared:?}");
    }
}

#[test]
fn a_source_hash_spreads_many_clients_and_not_one() {
    let mut plan = with_pods(200, 20, 4);
    plan.slb.balance = Balance::SourceHash;
    let many = by_pod(&plan, &run(&plan));
    assert!(many.iter().all(|&share| (850..1150).contains(&share)), "{many:?}");
    plan.clients[0].addresses = Some(1);
    let one = by_pod(&plan, &run(&plan));
    assert_eq!(one.iter().filter(|&&share| share > 0).count(), 1, "{one:?}");
}

#[test]
fn a_host_without_worker_connections_closes_its_clients_unlogged() {
    let mut plan = direct(50, 20);
    plan.pods[0].service_time = constant(500);
    plan.slb.worker_connections = Some(20);
    let observations = run(&plan);
    let counts = accounted_for(&observations);
    // Ten requests at a time, two connections each, would be twenty a second; while a client has the last one, 500.
    assert!(
        counts.by_status[0] > 200 && counts.by_status[0] <= 410,
        "{:?}",
        counts.by_status
    );
    let refused = of_status(&counts, Status::ClientClosed) + of_status(&counts, Status::Internal);
    assert!(refused > 400, "{:?}", counts.by_status);
    assert_eq!(of_cause(&counts, Cause::WorkerConnections), refused);
    plan.slb.worker_connections = Some(1_000_000);
    let roomy = run(&plan);
    plan.slb.worker_connections = None;
    assert_eq!(roomy.seconds, run(&plan).seconds);
}

#[test]
fn a_late_segment_that_meets_a_closed_socket_is_answered_by_an_rst() {
    let mut plan = direct(20, 20);
    plan.clients[0].timeout = Some(millis(300));
    plan.links.slb_pod.delay = constant(250);
    let counts = accounted_for(&run(&plan));
    // The SYN-ACK comes after 500 ms, the client has left after 300: in SYN_SENT nginx' close() sends nothing.
    assert_eq!(
        of_status(&counts, Status::ClientClosed),
        counts.by_status.iter().sum::<u64>()
    );
    let pending = counts.connects_started - counts.slb_out_rsts;
    assert!(
        counts.slb_out_rsts > 300 && pending < 20,
        "{} of {}",
        counts.slb_out_rsts,
        counts.connects_started
    );
}

#[test]
fn what_is_not_asked_for_changes_nothing() {
    let plan = with_pods(100, 20, 3);
    let plain = run(&plan);
    // Rules that never come to bear.
    let mut ruled = plan.clone();
    ruled.slb.limits = ServerLimits {
        max_conns: 1_000,
        max_fails: 1,
        ..ServerLimits::NONE
    };
    ruled.slb.next_upstream = Some(next(true, true));
    ruled.slb.send_timeout = Some(SimDuration::from_secs(60));
    let ruled = run(&ruled);
    assert_eq!((plain.seconds, plain.events), (ruled.seconds, ruled.events));
}

#[test]
fn a_pods_error_is_logged_or_tried_elsewhere() {
    let mut plan = with_pods(50, 40, 2);
    plan.pods[0].errors = Some(ErrorsPlan {
        share: 0.5,
        status: Status::Unavailable,
    });
    let plain = accounted_for(&run(&plan));
    let failed = of_status(&plain, Status::Unavailable);
    // Half of the answers of one pod of two.
    assert!(
        failed.abs_diff(plain.requests_started / 4) < 80,
        "{:?}",
        plain.by_status
    );
    assert_eq!(of_cause(&plain, Cause::ErrorAnswer), failed);

    let conditions = |http_500, http_503| {
        Some(NextUpstream {
            conditions: Conditions {
                http_500,
                http_503,
                ..Conditions::OFF
            },
            tries: 0,
            timeout: SimDuration::ZERO,
        })
    };
    plan.slb.next_upstream = conditions(true, false);
    assert_eq!(accounted_for(&run(&plan)).by_status, plain.by_status);
    plan.slb.next_upstream = conditions(false, true);
    let tried = accounted_for(&run(&plan));
    assert_eq!(tried.by_status[1..], [0; 5]);
    // The first pod fails half of those that ask it; then it is its turn again, otherwise the other's first: two requests in
    // three ask it.
    let again = tried.connects_started - tried.requests_started;
    assert!(again.abs_diff(tried.requests_started / 3) < 80, "{again}");
    // If both fail, the last answer is passed on.
    plan.pods[0].errors = plan.pods[0]
        .errors
        .map(|errors| ErrorsPlan { share: 1.0, ..errors });
    plan.pods[1].errors = plan.pods[0].errors;
    let hopeless = accounted_for(&run(&plan));
    assert_eq!(hopeless.by_status[0], 0);
    assert_eq!(hopeless.connects_started, 2 * hopeless.requests_started);
}

#[test]
fn a_dead_kept_connection_without_a_port_for_another_ends_in_502() {
    let mut plan = direct(150, 5);
    plan.slb.ports = PortRange::new(7_000, 7_000).unwrap();
    racing(&mut plan);
    plan.clients[0].arrivals = Arrivals::Poisson {
        rate: Rate::per_second(150),
    };
    plan.pods[0].close = ClosePolicy::KeepAlive {
        idle_timeout: millis(15),
        requests: 2,
    };
    let counts = accounted_for(&run(&plan));
    assert!(
        of_status(&counts, Status::BadGateway) > 100,
        "{:?}",
        counts.by_status
    );
}
