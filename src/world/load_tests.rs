//! Whole worlds under the loads that users make: bursts, steps, retries, kept connections.

use super::tests::{accounted_for, direct, failed, on_links, run, totals};
use super::*;
use crate::model::client::*;
use crate::model::distribution::Distribution;
use crate::model::empirical::Empirical;
use crate::model::sizes::Sizes;
use crate::observe::Counts;
use crate::spec::ClosePolicy;
use crate::units::{Rate, SimDuration};
use crate::vocab::{Cause, Status};

fn ms(millis: u64) -> SimDuration {
    SimDuration::from_millis(millis)
}

fn constant(millis: u64) -> Distribution {
    Distribution::Constant(ms(millis))
}

fn per_second(rate: u64) -> Rate {
    Rate::per_second(rate)
}

/// Points of (second, rate).
fn profile(points: &[(u64, u64)]) -> Arrivals {
    let points = points
        .iter()
        .map(|&(at, rate)| RatePoint {
            at: SimDuration::from_secs(at),
            rate: per_second(rate),
        })
        .collect();
    Arrivals::Profile(RateProfile::new(points, None).unwrap())
}

fn users(users: u32, think_time: Distribution) -> Arrivals {
    Arrivals::ClosedLoop {
        users,
        think_time,
        pacing: None,
        ramp_up: SimDuration::ZERO,
    }
}

fn retry(max_attempts: u32) -> Retry {
    Retry {
        max_attempts,
        on: [false, true, false, true, true, true],
        backoff: Backoff {
            initial: ms(20),
            multiplier: 2.0,
            max: ms(1_000),
        },
        jitter: Jitter::Full,
        throttling: None,
    }
}

fn keepalive() -> ClientKeepalive {
    ClientKeepalive {
        idle_timeout: Some(SimDuration::from_secs(90)),
        requests: None,
    }
}

/// Sums over the seconds from `from` up to `to`.
fn between(observations: &Observations, from: usize, to: usize) -> Counts {
    let seconds = observations.seconds.iter().skip(from).take(to - from);
    seconds.map(|second| second.counts).sum()
}

/// Requests, connects, packets and operations all end, or are in flight.
#[track_caller]
fn adds_up(observations: &Observations) {
    let counts = accounted_for(observations);
    assert!(
        on_links(&counts) < 200,
        "{} packets are still on links",
        on_links(&counts)
    );
}

// ---- arrivals ----

#[test]
fn requests_of_a_trace_arrive_at_its_very_times() {
    let times = vec![0, 1, 1, 999_999_999, 1_000_000_000, 2_345_678_901, 90_000_000_000];
    let mut plan = direct(1, 3);
    plan.clients[0].arrivals = Arrivals::Trace(Trace::new(times.clone()).unwrap());
    let observations = run(&plan);
    let mut started: Vec<_> = observations
        .requests
        .iter()
        .map(|r| r.started.as_nanos())
        .collect();
    started.sort_unstable();
    assert_eq!(started, times[..6], "all but the one behind the end");
}

#[test]
fn a_burst_shows_in_the_seconds_of_a_run() {
    let dispersion = |arrivals: Arrivals| {
        let mut plan = direct(1, 200);
        plan.clients[0].arrivals = arrivals;
        let observations = run(&plan);
        adds_up(&observations);
        let counts: Vec<f64> = observations
            .seconds
            .iter()
            .map(|second| second.counts.requests_started as f64)
            .collect();
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        let square: f64 = counts.iter().map(|count| (count - mean).powi(2)).sum();
        square / counts.len() as f64 / mean
    };
    let state = |rate, seconds| MmppState {
        rate: per_second(rate),
        mean_dwell: SimDuration::from_secs(seconds),
    };
    let mmpp = Mmpp {
        states: vec![state(20, 9), state(200, 3)].into(),
        next: NextState::Cyclic,
    };
    let bursts = dispersion(Arrivals::Mmpp(mmpp));
    let poisson = dispersion(Arrivals::Poisson { rate: per_second(65) });
    assert!(
        bursts > 10.0 && (0.7..1.3).contains(&poisson),
        "{bursts}, {poisson}"
    );
}

#[test]
fn a_step_beyond_the_capacity_fails_from_there_on() {
    let mut plan = direct(1, 30);
    plan.pods[0].workers = Some(1);
    plan.pods[0].service_time = constant(10);
    plan.clients[0].arrivals = profile(&[(0, 50), (15, 50), (15, 200)]);
    let observations = run(&plan);
    adds_up(&observations);
    let (before, after) = (between(&observations, 0, 15), between(&observations, 17, 30));
    assert_eq!(failed(&before), 0);
    assert!(
        (690..820).contains(&before.requests_started),
        "{}",
        before.requests_started
    );
    assert!(
        (2400..2800).contains(&after.requests_started),
        "{}",
        after.requests_started
    );
    assert!(after.by_status[0] <= 13 * 101, "a hundred a second at most");
    assert!(failed(&after) * 2 > after.requests_started);
}

#[test]
fn a_closed_loop_hides_what_an_open_one_shows() {
    let mut plan = direct(60, 30);
    plan.pods[0].workers = Some(1);
    plan.pods[0].service_time = constant(20);
    let open = totals(&run(&plan));
    // As many as the pod would serve were it quick: 60 a second.
    plan.clients[0].arrivals = users(6, constant(78));
    let closed = totals(&run(&plan));
    assert!(failed(&open) > 200, "{:?}", open.by_status);
    assert_eq!(failed(&closed), 0, "{:?}", closed.by_status);
    assert!(
        closed.requests_started < 1_530,
        "they slow down: {}",
        closed.requests_started
    );
}

#[test]
fn users_who_keep_a_pace_do_not_slow_down_until_they_must() {
    for (service, low, high) in [(8, 198, 201), (700, 198, 201), (2_000, 95, 101)] {
        let mut plan = direct(1, 20);
        plan.clients[0].timeout = None;
        plan.pods[0].service_time = constant(service);
        plan.clients[0].arrivals = Arrivals::ClosedLoop {
            users: 10,
            think_time: constant(0),
            pacing: Some(ms(1_000)),
            ramp_up: SimDuration::ZERO,
        };
        let counts = totals(&run(&plan));
        assert!(
            (low..=high).contains(&counts.requests_started),
            "{service} ms: {}",
            counts.requests_started
        );
    }
}

#[test]
fn users_who_ramp_up_begin_one_after_the_other() {
    let mut plan = direct(1, 20);
    plan.pods[0].service_time = constant(8);
    plan.clients[0].arrivals = Arrivals::ClosedLoop {
        users: 10,
        think_time: constant(90),
        pacing: None,
        ramp_up: SimDuration::from_secs(10),
    };
    let observations = run(&plan);
    for (second, users) in [(0, 1), (4, 5), (9, 10), (15, 10)] {
        let started = between(&observations, second, second + 1).requests_started;
        let expected = users * 10;
        assert!(
            (expected - 3..=expected + 3).contains(&started),
            "second {second}: {started} of {expected}"
        );
    }
}

// ---- sizes ----

#[test]
fn every_hop_takes_a_message_for_as_large_as_it_was_drawn() {
    let mut plan = direct(50, 20);
    let heavy = Sizes::Pareto {
        scale: 300,
        shape: 1.3,
    };
    plan.clients[0].request_bytes = heavy.clone();
    plan.clients[0].response_bytes = heavy;
    plan.clients[0].timeout = None;
    let plain = totals(&run(&direct(50, 20)));
    for keeps in [false, true] {
        plan.clients[0].keepalive = keeps.then(keepalive);
        let observations = run(&plan);
        adds_up(&observations);
        let counts = totals(&observations);
        assert_eq!(
            counts.requests_started, plain.requests_started,
            "the same arrivals"
        );
        assert_eq!(failed(&counts), 0, "{:?}", counts.by_status);
        assert!(observations.requests_in_flight < 5);
    }
}

#[test]
fn larger_responses_take_more_packets_and_leave_all_other_draws_alone() {
    let octets = |list: &[(u64, f64)]| Sizes::Empirical(Empirical::new(list).unwrap());
    let mut plan = direct(50, 20);
    let small = run(&plan);
    plan.clients[0].response_bytes = octets(&[(500, 1.0), (500, 2.0)]);
    let same = run(&plan);
    assert_eq!(small.seconds, same.seconds, "whoever draws the same is the same");
    plan.clients[0].response_bytes = octets(&[(500, 1.0), (50_000, 1.0)]);
    let large = run(&plan);
    let (small, large) = (totals(&small), totals(&large));
    assert_eq!(small.requests_started, large.requests_started);
    // Every other response is 35 segments on each of two links, and their acknowledgments.
    let more = (large.packets_sent - small.packets_sent) as f64 / small.requests_started as f64;
    assert!((35.0..80.0).contains(&more), "{more}");
}

// ---- retries ----

#[test]
fn a_try_that_succeeds_after_another_is_a_success_to_its_user() {
    let mut plan = direct(100, 30);
    plan.links.slb_pod.loss = 0.02;
    plan.clients[0].timeout = Some(ms(300));
    let once = totals(&run(&plan));
    let share = failed(&once) as f64 / once.requests_started as f64;
    assert!((0.02..0.08).contains(&share), "{share}");
    plan.clients[0].retry = Some(retry(3));
    let observations = run(&plan);
    adds_up(&observations);
    let counts = totals(&observations);
    assert!(counts.retries > 60, "{}", counts.retries);
    assert!(counts.operations_succeeded_after_retry > 60);
    let lost = counts.operations_failed as f64 / counts.operations_started as f64;
    assert!(
        lost < 5.0 * share.powi(3),
        "a chance of {share}, three times: {lost}"
    );
    let latency = observations.operation_latency.as_ref().unwrap();
    assert!(
        latency.max() > 300_000_000,
        "the patience of the first try is in it"
    );
}

#[test]
fn only_what_is_on_the_list_is_tried_again_and_only_so_often() {
    let mut plan = direct(20, 20);
    plan.pods[0].service_time = constant(2_000);
    plan.slb.read_timeout = ms(500);
    let mut tries = |on: [bool; 6], max_attempts| {
        plan.clients[0].retry = Some(Retry {
            on,
            ..retry(max_attempts)
        });
        let observations = run(&plan);
        adds_up(&observations);
        let counts = totals(&observations);
        assert_eq!(counts.operations_succeeded, 0);
        let gateway_timeouts = counts.by_status[5];
        assert_eq!(gateway_timeouts, counts.by_status.iter().sum::<u64>());
        counts.requests_started as f64 / counts.operations_started as f64
    };
    let only = |status: Status| Status::ALL.map(|it| it == status);
    assert_eq!(tries(only(Status::ClientClosed), 4), 1.0);
    let four = tries(only(Status::GatewayTimeout), 4);
    assert!((3.5..=4.0).contains(&four), "{four}");
}

/// A pod that serves 100 requests per second, and a burst of 300 per second for five seconds on top of 60.
fn burst(retry: Option<Retry>) -> Observations {
    let mut plan = direct(1, 40);
    plan.pods[0].workers = Some(2);
    plan.pods[0].service_time = constant(20);
    plan.clients[0].timeout = Some(ms(100));
    plan.clients[0].arrivals = profile(&[(0, 60), (10, 60), (10, 300), (15, 300), (15, 60)]);
    plan.clients[0].retry = retry;
    let observations = run(&plan);
    adds_up(&observations);
    observations
}

#[test]
fn a_retry_storm_outlives_the_burst_that_began_it() {
    let eager = Retry {
        jitter: Jitter::None,
        backoff: Backoff {
            initial: ms(1),
            multiplier: 1.0,
            max: ms(1),
        },
        ..retry(10)
    };
    let throttled = Retry {
        throttling: Some(Throttling {
            max_tokens: 10,
            token_ratio_millis: 100,
        }),
        ..eager
    };
    let late = |retry| {
        let counts = between(&burst(retry), 25, 40);
        (counts.requests_started, failed(&counts))
    };
    let (calm, calm_failures) = late(None);
    assert!(
        (800..1000).contains(&calm) && calm_failures == 0,
        "{calm}, {calm_failures}"
    );
    let (storm, storm_failures) = late(Some(eager));
    assert!(
        storm > 3 * calm,
        "ten seconds after the burst: {storm} against {calm}"
    );
    assert!(storm_failures > calm, "{storm_failures}");
    let (limited, limited_failures) = late(Some(throttled));
    assert!(
        limited < calm + 100 && limited_failures < 100,
        "{limited}, {limited_failures}"
    );
}

#[test]
fn a_caller_without_layer_7_tries_again_too() {
    let mut plan = direct(50, 20);
    plan.slb.l7 = false;
    plan.links.slb_pod.loss = 0.02;
    plan.clients[0].timeout = Some(ms(200));
    plan.clients[0].retry = Some(retry(3));
    let observations = run(&plan);
    adds_up(&observations);
    let counts = totals(&observations);
    assert!(counts.retries > 10 && counts.operations_succeeded_after_retry > 10);
}

#[test]
fn a_user_of_a_closed_loop_thinks_when_all_tries_are_over() {
    let mut plan = direct(1, 20);
    plan.clients[0].arrivals = users(4, constant(500));
    plan.clients[0].timeout = Some(ms(50));
    plan.pods[0].service_time = constant(200);
    plan.clients[0].retry = Some(Retry {
        jitter: Jitter::None,
        ..retry(3)
    });
    let observations = run(&plan);
    adds_up(&observations);
    let counts = totals(&observations);
    // 3 x 50 ms of patience, 20 + 40 ms of backoff, 500 ms of thought: four users, 20 s.
    let expected = 4.0 * 20.0 / 0.71;
    let operations = counts.operations_started as f64;
    assert!((operations - expected).abs() < 5.0, "{operations} of {expected}");
}

// ---- connections that stay open ----

#[test]
fn kept_connections_halve_the_handshakes() {
    let mut plan = direct(100, 30);
    let handshakes = |plan: &Plan| {
        let observations = run(plan);
        adds_up(&observations);
        let counts = totals(&observations);
        assert_eq!(failed(&counts), 0, "{:?}", counts.by_status);
        (counts.client_connects + counts.connects_started, counts)
    };
    let (off, plain) = handshakes(&plan);
    assert_eq!(
        (plain.client_connects, plain.client_connection_reuses),
        (plain.requests_started, 0)
    );
    plan.clients[0].keepalive = Some(keepalive());
    let (on, counts) = handshakes(&plan);
    assert_eq!(counts.requests_started, plain.requests_started);
    assert!(on * 100 < off * 52, "{on} of {off}");
    assert_eq!(
        counts.client_connects + counts.client_connection_reuses,
        counts.requests_started
    );
    assert!(counts.packets_sent * 100 < plain.packets_sent * 80);
}

#[test]
fn each_user_has_a_connection_of_its_own() {
    let mut plan = direct(1, 30);
    plan.clients[0].arrivals = users(7, constant(200));
    plan.clients[0].keepalive = Some(keepalive());
    let observations = run(&plan);
    adds_up(&observations);
    let counts = totals(&observations);
    assert_eq!(counts.client_connects, 7);
    assert!(counts.requests_started > 900);
}

#[test]
fn whoever_has_the_lower_limit_of_requests_ends_a_connection() {
    for (client, slb) in [(Some(10), 1_000), (None, 10), (Some(10), 10)] {
        let mut plan = direct(1, 30);
        plan.clients[0].arrivals = users(3, constant(100));
        plan.clients[0].keepalive = Some(ClientKeepalive {
            requests: client,
            ..keepalive()
        });
        plan.slb.client_connections.keepalive_requests = slb;
        let observations = run(&plan);
        adds_up(&observations);
        let counts = totals(&observations);
        let expected = counts.requests_started.div_ceil(10);
        assert!(
            (expected..=expected + 3).contains(&counts.client_connects),
            "{client:?}, {slb}: {} of {}",
            counts.client_connects,
            counts.requests_started
        );
        assert_eq!((failed(&counts), counts.client_keepalive_races), (0, 0));
    }
}

/// Users who come back about when the SLB closes their connection, a second after its last use.
fn about_the_timeout(idle_timeout: SimDuration) -> Counts {
    let mut plan = direct(1, 60);
    let think_time = Distribution::Uniform {
        min: ms(998),
        max: ms(1_002),
    };
    plan.clients[0].arrivals = users(20, think_time);
    plan.clients[0].keepalive = Some(ClientKeepalive {
        idle_timeout: Some(idle_timeout),
        requests: None,
    });
    plan.slb.client_connections.keepalive_timeout = ms(1_000);
    let observations = run(&plan);
    adds_up(&observations);
    totals(&observations)
}

#[test]
fn a_request_that_meets_the_slbs_close_comes_again_on_a_new_connection() {
    let counts = about_the_timeout(SimDuration::from_secs(90));
    // The FIN leaves a second after the last response did, and is a round trip in which a request may be under way.
    let share = counts.client_keepalive_races as f64 / counts.requests_started as f64;
    assert!((0.07..0.18).contains(&share), "{share}");
    assert_eq!(failed(&counts), 0, "{:?}", counts.by_status);
    assert!(counts.client_connection_reuses > 300);
}

#[test]
fn a_client_that_closes_sooner_than_the_slb_meets_no_close() {
    let counts = about_the_timeout(ms(900));
    assert_eq!(
        (counts.client_keepalive_races, counts.client_connection_reuses),
        (0, 0)
    );
    assert_eq!(failed(&counts), 0);
}

#[test]
fn an_slb_that_keeps_nothing_closes_with_each_response() {
    let mut plan = direct(50, 20);
    plan.clients[0].keepalive = Some(keepalive());
    plan.slb.client_connections.keepalive_timeout = SimDuration::ZERO;
    let observations = run(&plan);
    adds_up(&observations);
    let counts = totals(&observations);
    assert_eq!(
        (counts.client_connects, failed(&counts)),
        (counts.requests_started, 0)
    );
}

#[test]
fn an_error_page_leaves_the_connection_open_and_impatience_does_not() {
    let mut plan = direct(1, 20);
    plan.clients[0].arrivals = users(5, constant(100));
    plan.clients[0].keepalive = Some(keepalive());
    plan.pods[0].service_time = constant(400);
    plan.slb.read_timeout = ms(200);
    let counts = totals(&run(&plan));
    assert!(counts.by_status[5] > 250, "{:?}", counts.by_status);
    assert_eq!(counts.client_connects, 5);
    plan.clients[0].timeout = Some(ms(100));
    let counts = totals(&run(&plan));
    assert!(counts.by_status[1] > 400, "{:?}", counts.by_status);
    assert_eq!(counts.client_connects, counts.requests_started);
}

#[test]
fn kept_connections_on_both_sides_stand_loss() {
    for l7 in [true, false] {
        let mut plan = direct(100, 40);
        plan.slb.l7 = l7;
        plan.slb.hosts.push(vec![std::net::Ipv4Addr::new(100, 64, 0, 2)]);
        plan.clients[0].keepalive = Some(keepalive());
        plan.clients[0].retry = Some(retry(3));
        plan.clients[0].timeout = Some(ms(400));
        plan.slb.client_connections.keepalive_timeout = ms(100);
        plan.slb.keepalive = Some(crate::model::slb::KeepaliveConfig {
            size: 8,
            idle_timeout: ms(150),
            requests: 50,
            time: SimDuration::from_secs(3_600),
        });
        plan.pods[0].close = ClosePolicy::KeepAlive {
            idle_timeout: ms(120),
            requests: 40,
        };
        plan.clients[0].response_bytes = Sizes::Exponential { mean: 5_000 };
        plan.links.slb_pod.loss = 0.02;
        plan.links.client_slb.loss = 0.02;
        let observations = run(&plan);
        adds_up(&observations);
        let counts = totals(&observations);
        assert!(counts.by_status[0] > 3_000, "{:?}", counts.by_status);
        assert!(counts.retries > 20);
        let races = counts.causes[Cause::ALL
            .iter()
            .position(|&c| c == Cause::KeepaliveRace)
            .unwrap()];
        assert!(races < 200, "{races}");
        assert_eq!(counts.client_connection_reuses > 1_000, l7);
        assert_eq!(run(&plan).seconds, observations.seconds, "the same again");
    }
}
