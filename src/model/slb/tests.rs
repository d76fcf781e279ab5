//! Schedulers as tables and as shares, the keepalive cache, tries, opinions on health.

use proptest::prelude::*;

use super::*;
use crate::engine::SplitMix64;
use crate::units::{SimDuration, SimTime};

const NOW: SimTime = SimTime::from_nanos(1_000_000_000_000);

fn upstream(balance: Balance, weights: &[u32]) -> Upstream {
    Upstream::new(balance, weights, 0, ServerLimits::NONE, false)
}

fn choose(upstream: &mut Upstream, tried: &[u32]) -> Option<usize> {
    upstream.choose(tried, 1, &mut SplitMix64(7), NOW)
}

fn later(seconds: u64) -> SimTime {
    NOW + SimDuration::from_secs(seconds)
}

/// Requests that are answered before the next one comes, by server.
fn shares(upstream: &mut Upstream, requests: u32) -> Vec<u32> {
    let mut shares = vec![0; upstream.len()];
    let mut random = SplitMix64(3);
    for client in 0..requests {
        let peer = upstream.choose(&[], u64::from(client), &mut random, NOW).unwrap();
        upstream.release(peer, false, NOW);
        shares[peer] += 1;
    }
    shares
}

#[test]
fn smooth_weighted_round_robin_spreads_the_heavy_server() {
    // The example of nginx' change "smooth weighted round-robin balancing" (52327e0627f4).
    let table: [(&[u32], &str); 4] = [
        (&[5, 1, 1], "aabacaa"),
        (&[1, 1, 1], "abcabca"),
        (&[3, 1], "aabaaab"),
        (&[2, 3], "babab"),
    ];
    for (weights, expected) in table {
        let mut upstream = upstream(Balance::RoundRobin, weights);
        let order = expected.chars().map(|_| choose(&mut upstream, &[]).unwrap());
        let order: String = order.map(|peer| ['a', 'b', 'c'][peer]).collect();
        assert_eq!(order, expected, "{weights:?}");
    }
}

#[test]
fn hosts_begin_at_different_servers() {
    for first in 0..5 {
        let mut upstream = Upstream::new(Balance::RoundRobin, &[1; 3], first, ServerLimits::NONE, false);
        let order: Vec<_> = (0..4).map(|_| choose(&mut upstream, &[]).unwrap()).collect();
        let expected: Vec<_> = (0..4).map(|turn| (first + turn) % 3).collect();
        assert_eq!(order, expected, "{first}");
    }
}

#[test]
fn least_conn_takes_the_fewest_requests_by_weight_and_ties_in_turn() {
    let mut plain = upstream(Balance::LeastConn, &[1, 1, 1]);
    let first: Vec<_> = (0..6).map(|_| choose(&mut plain, &[]).unwrap()).collect();
    // A server that is alone with the fewest is taken without moving the turns on: they go back and forth.
    assert_eq!(first, [0, 1, 2, 2, 1, 0]);
    plain.release(1, false, NOW);
    assert_eq!(choose(&mut plain, &[]), Some(1));
    // Weight 3 carries three times as many.
    let mut weighted = upstream(Balance::LeastConn, &[3, 1]);
    for _ in 0..40 {
        choose(&mut weighted, &[]);
    }
    assert_eq!((weighted.peer(0).conns, weighted.peer(1).conns), (30, 10));
}

#[test]
fn one_client_stays_with_its_server_and_goes_on_when_that_is_out() {
    let mut upstream = Upstream::new(Balance::SourceHash, &[1; 8], 0, ServerLimits::NONE, true);
    let of = |upstream: &mut Upstream, client| upstream.choose(&[], client, &mut SplitMix64(1), NOW).unwrap();
    for client in 0..50 {
        let home = of(&mut upstream, client);
        assert!((0..5).all(|_| of(&mut upstream, client) == home));
        upstream.set_down(home, true);
        let other = of(&mut upstream, client);
        assert!(other != home && of(&mut upstream, client) == other);
        upstream.set_down(home, false);
        assert_eq!(of(&mut upstream, client), home);
    }
}

#[test]
fn two_choices_level_the_load_that_one_choice_does_not() {
    let spread = |balance| {
        let mut upstream = upstream(balance, &[1; 20]);
        let mut random = SplitMix64(11);
        // Nobody is ever answered.
        for client in 0..2_000 {
            upstream.choose(&[], client, &mut random, NOW);
        }
        let conns = (0..20).map(|peer| upstream.peer(peer).conns);
        conns.clone().max().unwrap() - conns.min().unwrap()
    };
    // A hash is a random choice: its deviation is some ten of a hundred, and the range of twenty about four of those.
    assert!(spread(Balance::RandomTwo) <= 5, "{}", spread(Balance::RandomTwo));
    assert!(
        spread(Balance::SourceHash) >= 20,
        "{}",
        spread(Balance::SourceHash)
    );
}

#[test]
fn max_fails_takes_a_server_out_for_fail_timeout_and_a_success_after_it_forgives() {
    let limits = ServerLimits {
        max_fails: 2,
        ..ServerLimits::NONE
    };
    let mut upstream = Upstream::new(Balance::RoundRobin, &[1, 1], 0, limits, false);
    let mut at = |second, tried: &[u32]| upstream.choose(tried, 0, &mut SplitMix64(0), later(second));
    assert_eq!((at(0, &[]), at(0, &[1])), (Some(0), Some(0)));
    for _ in 0..2 {
        upstream.release(0, true, later(0));
    }
    let mut at = |second| upstream.choose(&[], 0, &mut SplitMix64(0), later(second));
    // Whole seconds, and "longer than": out for ten to eleven.
    assert!((0..=10).all(|second| at(second) == Some(1)));
    assert!((0..2).any(|_| at(11) == Some(0)));
    // It is on probation until it has answered: the next choice within ten seconds does not meet it.
    assert!((0..5).all(|_| at(11) == Some(1)));
    upstream.release(0, false, later(12));
    assert_eq!(upstream.peer(0).fails, 0);
}

#[test]
fn a_single_server_is_never_taken_out_by_failures() {
    let limits = ServerLimits {
        max_fails: 1,
        ..ServerLimits::NONE
    };
    let mut upstream = Upstream::new(Balance::LeastConn, &[1], 0, limits, false);
    for _ in 0..5 {
        assert_eq!(choose(&mut upstream, &[0]), Some(0));
        upstream.release(0, true, NOW);
    }
}

#[test]
fn max_conns_is_a_limit_of_requests_at_once() {
    let limits = ServerLimits {
        max_conns: 2,
        ..ServerLimits::NONE
    };
    for balance in [
        Balance::RoundRobin,
        Balance::LeastConn,
        Balance::SourceHash,
        Balance::RandomTwo,
    ] {
        for servers in 1..4 {
            let mut upstream = Upstream::new(balance, &vec![1; servers], 0, limits, false);
            let mut random = SplitMix64(5);
            for client in 0..2 * servers as u64 {
                assert!(
                    upstream.choose(&[], client, &mut random, NOW).is_some(),
                    "{balance:?}"
                );
            }
            assert_eq!(upstream.choose(&[], 99, &mut random, NOW), None, "{balance:?}");
            upstream.release(servers - 1, false, NOW);
            assert_eq!(upstream.choose(&[], 99, &mut random, NOW), Some(servers - 1));
        }
    }
}

#[test]
fn tries_follow_next_upstream() {
    use Failure::{Error, Timeout};
    /// What, configuration, servers, failures with whether on a kept connection, milliseconds, whether another try follows.
    type Case<'a> = (
        &'a str,
        Option<NextUpstream>,
        usize,
        &'a [(Failure, bool)],
        u64,
        &'a [bool],
    );
    let next = |error, timeout| NextUpstream {
        conditions: Conditions {
            error,
            timeout,
            ..Conditions::OFF
        },
        tries: 0,
        timeout: SimDuration::ZERO,
    };
    let (off, errors, both) = (next(false, false), next(true, false), next(true, true));
    let two = NextUpstream { tries: 2, ..both };
    let hurried = NextUpstream {
        timeout: SimDuration::from_secs(1),
        ..both
    };
    #[rustfmt::skip]
    let table: [Case; 11] = [
        // what                               servers failures, on a kept connection     ms  another try
        ("not said, fresh",          None,          3, &[(Error, false)],                 0, &[false]),
        ("not said, kept",           None,          3, &[(Error, true), (Error, true)],   0, &[true, true]),
        ("not said, kept too slow",  None,          3, &[(Timeout, true)],                0, &[false]),
        ("off, kept",                Some(off),     3, &[(Error, true)],                  0, &[false]),
        ("error",                    Some(errors),  3, &[(Error, false); 3],              0, &[true, true, false]),
        ("error, but a timeout",     Some(errors),  3, &[(Timeout, false)],               0, &[false]),
        ("both",                     Some(both),    2, &[(Timeout, false), (Error, false)], 0, &[true, false]),
        ("single server",            Some(both),    1, &[(Error, false)],                 0, &[false]),
        ("single server, dead kept", Some(both),    1, &[(Error, true), (Error, true), (Error, false)], 0, &[true, true, false]),
        ("two tries of five",        Some(two),     5, &[(Error, false), (Error, false)], 0, &[true, false]),
        ("too late",                 Some(hurried), 5, &[(Error, false)],             1_000, &[false]),
    ];
    for (what, config, servers, failures, elapsed, expected) in table {
        let mut tries = Tries::new(servers, config.as_ref());
        let elapsed = SimDuration::from_millis(elapsed);
        let got = failures
            .iter()
            .map(|&(failure, kept)| tries.after(failure, kept, elapsed, config.as_ref()));
        assert_eq!(got.collect::<Vec<_>>(), expected, "{what}");
    }
}

#[test]
fn rise_and_fall_count_in_a_row() {
    let mut health = Health::default();
    let script = "--+---+-+++--+---";
    let turns: String = script
        .chars()
        .map(|check| match health.on_check(check == '+', 2, 3) {
            None => '.',
            Some(Turn::Down) => 'D',
            Some(Turn::Up) => 'U',
        })
        .collect();
    assert_eq!(turns, ".....D...U......D");
}

#[test]
fn a_full_cache_closes_the_connection_idle_longest_whatever_its_backend() {
    let mut pool = KeepalivePool::new(2);
    assert_eq!(pool.put(0, 'a', 3), None);
    assert_eq!(pool.put(1, 'b', 3), None);
    assert_eq!(pool.put(0, 'c', 3), None);
    assert_eq!(pool.put(1, 'd', 3), Some('a'));
    // The youngest first.
    assert_eq!(
        (pool.take(1), pool.take(1), pool.take(1)),
        (Some('d'), Some('b'), None)
    );
    assert!(pool.remove(0, 'c') && !pool.remove(0, 'c') && pool.is_empty());
}

#[test]
fn a_connection_wears_out_by_requests_and_by_age() {
    let config = KeepaliveConfig {
        size: 1,
        idle_timeout: SimDuration::from_secs(60),
        requests: 3,
        time: SimDuration::from_secs(10),
    };
    for (served, age, worn) in [(1, 1, false), (2, 10, false), (3, 1, true), (1, 11, true)] {
        assert_eq!(
            config.is_worn_out(served, SimDuration::from_secs(age)),
            worn,
            "{served}, {age} s"
        );
    }
}

proptest! {
    #[test]
    fn round_robin_gives_each_server_exactly_its_weight(
        weights in prop::collection::vec(1_u32..20, 1..8),
        first in 0_usize..8,
    ) {
        let mut upstream = Upstream::new(Balance::RoundRobin, &weights, first, ServerLimits::NONE, false);
        let rounds = 3;
        let total: u32 = weights.iter().sum();
        let expected: Vec<u32> = weights.iter().map(|weight| weight * rounds).collect();
        prop_assert_eq!(shares(&mut upstream, total * rounds), expected);
    }

    #[test]
    fn plain_turns_are_what_the_smooth_round_robin_gives(
        servers in 1_usize..7,
        first in 0_usize..7,
        requests in 1_usize..40,
    ) {
        let weights = vec![1; servers];
        let mut plain = Upstream::new(Balance::RoundRobin, &weights, first, ServerLimits::NONE, false);
        // With checks it cannot take the short way.
        let mut smooth = Upstream::new(Balance::RoundRobin, &weights, first, ServerLimits::NONE, true);
        for _ in 0..requests {
            prop_assert_eq!(choose(&mut plain, &[]), choose(&mut smooth, &[]));
        }
    }

    #[test]
    fn random_schedulers_are_fair_by_weight(
        weights in prop::collection::vec(1_u32..6, 2..6),
        hashed in any::<bool>(),
    ) {
        let balance = if hashed { Balance::SourceHash } else { Balance::RandomTwo };
        let mut upstream = upstream(balance, &weights);
        let requests = 20_000;
        let total: u32 = weights.iter().sum();
        let got = shares(&mut upstream, requests);
        prop_assert_eq!(got.iter().sum::<u32>(), requests);
        for (&share, &weight) in got.iter().zip(&weights) {
            // Nobody holds a request when the next comes: of two the second is taken, and heavy servers are drawn first
            // as often, so only the hash is exact.
            let p = f64::from(weight) / f64::from(total);
            let deviation = (f64::from(requests) * p * (1.0 - p)).sqrt();
            if hashed {
                prop_assert!((f64::from(share) - f64::from(requests) * p).abs() < 6.0 * deviation);
            } else {
                prop_assert!(share > 0);
            }
        }
    }

    #[test]
    fn whoever_is_chosen_may_be_chosen_and_nobody_only_if_nobody_may(
        weights in prop::collection::vec(1_u32..5, 2..6),
        steps in prop::collection::vec((0_u8..5, 0_usize..6, any::<u64>()), 1..80),
        which in 0_usize..4,
    ) {
        let balance = [Balance::RoundRobin, Balance::LeastConn, Balance::SourceHash, Balance::RandomTwo][which];
        let limits = ServerLimits { max_conns: 3, max_fails: 2, fail_timeout: SimDuration::from_secs(2) };
        let mut upstream = Upstream::new(balance, &weights, 1, limits, true);
        let mut open: Vec<usize> = Vec::new();
        let mut now = NOW;
        for (what, peer, random) in steps {
            let peer = peer % weights.len();
            match what {
                0 => now += SimDuration::from_millis(700),
                1 => upstream.set_down(peer, random % 2 == 0),
                2 if !open.is_empty() => {
                    let peer = open.swap_remove(random as usize % open.len());
                    upstream.release(peer, random % 3 == 0, now);
                }
                _ => {
                    let tried = [peer as u32];
                    let before: Vec<bool> =
                        (0..weights.len()).map(|peer| upstream.is_eligible(peer, &tried, now.as_secs())).collect();
                    match upstream.choose(&tried, random, &mut SplitMix64(random), now) {
                        Some(chosen) => {
                            prop_assert!(before[chosen]);
                            open.push(chosen);
                        }
                        None => prop_assert!(before.iter().all(|eligible| !eligible)),
                    }
                }
            }
            let conns: u32 = (0..weights.len()).map(|peer| upstream.peer(peer).conns).sum();
            prop_assert_eq!(conns as usize, open.len());
        }
    }

    #[test]
    fn a_pool_never_holds_more_than_its_size_and_loses_nothing(
        steps in prop::collection::vec((0_u8..3, 0_usize..4), 1..200),
        size in 1_u32..10,
    ) {
        let mut pool = KeepalivePool::new(4);
        let mut idle: Vec<(usize, u32)> = Vec::new();
        for (number, (what, backend)) in steps.into_iter().enumerate() {
            if what == 0 {
                let youngest = idle.iter().rposition(|kept| kept.0 == backend);
                let expected = youngest.map(|place| idle.remove(place).1);
                prop_assert_eq!(pool.take(backend), expected);
            } else {
                let oldest = (idle.len() >= size as usize).then(|| idle.remove(0).1);
                idle.push((backend, number as u32));
                prop_assert_eq!(pool.put(backend, number as u32, size), oldest);
            }
            prop_assert_eq!(pool.len(), idle.len());
            prop_assert!(pool.len() <= size as usize);
        }
    }
}
