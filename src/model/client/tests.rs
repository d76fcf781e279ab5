use super::*;
use crate::engine::SplitMix64;
use crate::vocab::Status;
use proptest::prelude::*;

fn secs(seconds: f64) -> SimDuration {
    SimDuration::from_secs_f64(seconds)
}

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

/// All arrivals up to `end` seconds.
fn arrivals(process: &Arrivals, end: f64, seed: u64) -> Vec<f64> {
    let (mut gaps, mut states) = (SplitMix64(seed), SplitMix64(seed ^ 0xabcd));
    let mut progress = Progress::default();
    let end = SimTime::ZERO + secs(end);
    let mut times = Vec::new();
    while let Some(at) = process.next(&mut progress, end, &mut gaps, &mut states) {
        if at > end {
            break;
        }
        times.push(at.as_secs_f64());
    }
    times
}

/// Arrivals in each of so many equal bins.
fn binned(times: &[f64], end: f64, bins: usize) -> Vec<f64> {
    let mut counts = vec![0.0; bins];
    for time in times {
        counts[((time / end * bins as f64) as usize).min(bins - 1)] += 1.0;
    }
    counts
}

/// Chi-square of counts against their means; its mean is the number of bins, its deviation the root of twice that.
fn chi_square(counts: &[f64], means: &[f64]) -> f64 {
    counts
        .iter()
        .zip(means)
        .map(|(count, mean)| (count - mean) * (count - mean) / mean)
        .sum()
}

fn follows(process: &Arrivals, end: f64, rate_at: impl Fn(f64) -> f64) {
    const BINS: usize = 50;
    let times = arrivals(process, end, 11);
    assert!(times.is_sorted());
    let width = end / BINS as f64;
    let means: Vec<f64> = (0..BINS)
        .map(|bin| {
            // Simpson's rule: exact for what is at most cubic inside a bin.
            let at = |part: f64| rate_at((bin as f64 + part) * width);
            (at(1e-9) + 4.0 * at(0.5) + at(1.0 - 1e-9)) / 6.0 * width
        })
        .collect();
    let total: f64 = means.iter().sum();
    let expected = process.mean_count(secs(end)).unwrap();
    assert!((expected / total - 1.0).abs() < 1e-6, "{expected} is not {total}");
    let chi = chi_square(&binned(&times, end, BINS), &means);
    // Within four deviations, on either side: neither another rate nor a smoother process than Poisson.
    assert!((50.0 - 40.0..50.0 + 40.0).contains(&chi), "chi-square {chi}");
}

fn profile(points: &[(f64, &str)], period: Option<f64>) -> Arrivals {
    let points = points
        .iter()
        .map(|&(at, text)| RatePoint {
            at: secs(at),
            rate: rate(text),
        })
        .collect();
    Arrivals::Profile(RateProfile::new(points, period.map(secs)).unwrap())
}

#[test]
fn a_ramp_and_a_step_are_followed() {
    let process = profile(
        &[(0.0, "20/s"), (40.0, "200/s"), (60.0, "200/s"), (60.0, "50/s")],
        None,
    );
    follows(&process, 100.0, |t| match t {
        t if t < 40.0 => 20.0 + 180.0 * t / 40.0,
        t if t < 60.0 => 200.0,
        _ => 50.0,
    });
}

#[test]
fn a_profile_with_a_period_begins_anew() {
    let process = profile(&[(2.0, "10/s"), (6.0, "300/s")], Some(10.0));
    follows(&process, 100.0, |t| match t % 10.0 {
        t if t < 2.0 => 10.0,
        t if t < 6.0 => 10.0 + 290.0 * (t - 2.0) / 4.0,
        _ => 300.0,
    });
}

#[test]
fn nobody_comes_where_the_rate_is_zero() {
    let process = profile(
        &[(1.0, "0/s"), (1.0, "1000/s"), (2.0, "1000/s"), (2.0, "0/s")],
        None,
    );
    let times = arrivals(&process, 50.0, 3);
    assert!((900..1100).contains(&times.len()), "{}", times.len());
    assert!(times.iter().all(|time| (1.0..=2.0).contains(time)));
    let again = profile(&[(0.0, "0/s"), (9.0, "0/s"), (9.0, "5/s")], Some(10.0));
    assert!(
        arrivals(&again, 1e4, 3)
            .iter()
            .all(|time| time % 10.0 >= 9.0 - 1e-6)
    );
    assert!(arrivals(&profile(&[(0.0, "0/s")], Some(1.0)), 1e6, 1).is_empty());
}

#[test]
fn a_period_much_shorter_than_the_gaps_is_no_burden() {
    // A thousand million periods between two arrivals.
    let process = profile(&[(0.0, "0/s"), (0.000_001, "0.002/s")], Some(0.000_001));
    let times = arrivals(&process, 1e6, 5);
    assert!((850..1150).contains(&times.len()), "{}", times.len());
}

#[test]
fn the_day_is_followed() {
    for peak_to_mean in [1.0, 1.6, 2.0] {
        let day = Diurnal {
            rate: rate("50/s"),
            peak_to_mean,
            period: secs(100.0),
            peak_at: secs(70.0),
        };
        follows(&Arrivals::Diurnal(day), 200.0, |t| {
            let angle = 2.0 * std::f64::consts::PI * (t - 70.0) / 100.0;
            50.0 * (1.0 + (peak_to_mean - 1.0) * angle.cos())
        });
    }
}

fn mmpp(states: &[(&str, f64)], next: NextState) -> Mmpp {
    let states: Vec<_> = states
        .iter()
        .map(|&(text, dwell)| MmppState {
            rate: rate(text),
            mean_dwell: secs(dwell),
        })
        .collect();
    Mmpp {
        states: states.into(),
        next,
    }
}

/// Index of dispersion of counts in windows of `width` seconds.
fn dispersion(times: &[f64], end: f64, width: f64) -> f64 {
    let counts = binned(times, end, (end / width) as usize);
    let mean = counts.iter().sum::<f64>() / counts.len() as f64;
    let square: f64 = counts.iter().map(|count| (count - mean).powi(2)).sum();
    square / (counts.len() as f64 - 1.0) / mean
}

#[test]
fn bursts_of_an_mmpp_are_as_wide_as_the_cookbook_says() {
    let process = mmpp(&[("20/s", 3.0), ("120/s", 1.0)], NextState::Cyclic);
    assert_eq!(process.mean_rate(), 45.0);
    let end = 40_000.0;
    let times = arrivals(&Arrivals::Mmpp(process), end, 7);
    let mean = times.len() as f64 / end;
    assert!((mean / 45.0 - 1.0).abs() < 0.02, "{mean}");
    // Fischer and Meier-Hellstern, section 2: two states with rates l1, l2 that are left at rates s1, s2.
    let (l1, l2, s1, s2) = (20.0_f64, 120.0_f64, 1.0_f64 / 3.0, 1.0_f64);
    let sum = s1 + s2;
    for width in [0.5, 2.0, 10.0] {
        let excess = 2.0 * s1 * s2 * (l1 - l2).powi(2) / (sum.powi(2) * (l1 * s2 + l2 * s1));
        let expected = 1.0 + excess * (1.0 - (1.0 - (-sum * width).exp()) / (sum * width));
        let found = dispersion(&times, end, width);
        assert!(
            (found / expected - 1.0).abs() < 0.06,
            "{width} s: {found} is not {expected}"
        );
    }
    let poisson = Arrivals::Poisson { rate: rate("45/s") };
    let flat = dispersion(&arrivals(&poisson, end, 7), end, 2.0);
    assert!((0.95..1.05).contains(&flat), "{flat}");
}

#[test]
fn both_orders_of_states_keep_the_mean_rate_and_begin_as_if_they_had_always_run() {
    for next in [NextState::Cyclic, NextState::EqualChance] {
        let process = mmpp(&[("0/s", 8.0), ("30/s", 1.0), ("90/s", 1.0)], next);
        let times = arrivals(&Arrivals::Mmpp(process.clone()), 50_000.0, 9);
        let mean = times.len() as f64 / 50_000.0;
        assert!((mean / 12.0 - 1.0).abs() < 0.03, "{next:?}: {mean}");
        let first_second: usize = (0..4_000)
            .map(|seed| arrivals(&Arrivals::Mmpp(process.clone()), 1.0, seed).len())
            .sum();
        let mean = first_second as f64 / 4_000.0;
        assert!((mean / 12.0 - 1.0).abs() < 0.1, "{next:?}: {mean}");
    }
}

#[test]
fn the_rates_of_an_mmpp_do_not_move_its_states() {
    // On and off: what is on shows when.
    let busy_seconds = |on: &str| {
        let process = mmpp(&[("0/s", 5.0), (on, 5.0)], NextState::Cyclic);
        let times = arrivals(&Arrivals::Mmpp(process), 200.0, 4);
        let seconds: std::collections::BTreeSet<_> = times.iter().map(|time| *time as u64).collect();
        seconds
    };
    let (some, many) = (busy_seconds("100/s"), busy_seconds("1000/s"));
    let differ = some.symmetric_difference(&many).count();
    assert!(differ <= 4 && many.len() > 50, "{differ} of {}", many.len());
}

#[test]
fn a_trace_is_played_as_it_is_written() {
    let trace = Trace::new(vec![0, 5, 5, 1_000_000_000]).unwrap();
    let process = Arrivals::Trace(trace);
    assert_eq!(arrivals(&process, 10.0, 1), [0.0, 5e-9, 5e-9, 1.0]);
    assert_eq!(process.mean_count(secs(0.5)), Some(3.0));
    assert!(Trace::new(vec![2, 1]).is_none());
    let same_length = Trace::new(vec![0, 5, 6, 1_000_000_000]).unwrap();
    assert_ne!(
        format!("{process:?}"),
        format!("{:?}", Arrivals::Trace(same_length))
    );
}

fn rule() -> Retry {
    Retry {
        max_attempts: 4,
        on: [false, true, false, true, true, true],
        backoff: Backoff {
            initial: secs(0.1),
            multiplier: 2.0,
            max: secs(0.3),
        },
        jitter: Jitter::None,
        throttling: None,
    }
}

#[test]
fn pauses_grow_up_to_the_longest_and_the_tries_end() {
    let mut tokens = rule().tokens();
    let mut pause = |tries, status| rule().next(tries, status, &mut tokens, u64::MAX);
    assert_eq!(pause(1, Status::GatewayTimeout), Some(secs(0.1)));
    assert_eq!(pause(2, Status::GatewayTimeout), Some(secs(0.2)));
    assert_eq!(pause(3, Status::ClientClosed), Some(secs(0.3)));
    assert_eq!(pause(4, Status::GatewayTimeout), None, "four tries are all");
    assert_eq!(pause(1, Status::Ok), None);
    assert_eq!(pause(1, Status::Internal), None, "not on the list");
}

#[test]
fn a_client_that_is_throttled_gives_up_until_successes_have_paid() {
    let throttling = Throttling {
        max_tokens: 4,
        token_ratio_millis: 500,
    };
    let rule = Retry {
        throttling: Some(throttling),
        ..rule()
    };
    let mut tokens = rule.tokens();
    let mut ask = |status| rule.next(1, status, &mut tokens, 0).is_some();
    // Four tokens: after the first failure three are left, then two, which is half of them.
    assert!(ask(Status::BadGateway));
    assert!(!ask(Status::BadGateway));
    assert!(!ask(Status::Internal), "neither a failure nor a success");
    for _ in 0..3 {
        assert!(!ask(Status::Ok));
    }
    // 2 + 3 * 0.5 = 3.5, less one: 2.5.
    assert!(ask(Status::BadGateway));
    for _ in 0..100 {
        ask(Status::Ok);
    }
    assert!(ask(Status::BadGateway), "never more than at the start");
    assert!(!ask(Status::BadGateway));
}

proptest! {
    #[test]
    fn jitter_stays_inside_its_pause(tries in 1u32..4, random in any::<u64>()) {
        let pause = |jitter| {
            let rule = Retry { jitter, ..rule() };
            rule.next(tries, Status::BadGateway, &mut Tokens::default(), random).unwrap()
        };
        let whole = pause(Jitter::None);
        prop_assert!(pause(Jitter::Full) <= whole);
        let equal = pause(Jitter::Equal);
        prop_assert!(equal <= whole && equal.as_nanos() >= whole.as_nanos() / 2);
    }

    #[test]
    fn no_arrival_comes_before_the_one_before_it(
        points in prop::collection::vec((0u64..50, 0u64..2_000_000), 1..6),
        period in prop::option::of(50u64..60),
        seed in any::<u64>(),
    ) {
        let mut points: Vec<_> = points;
        points.sort_by_key(|(at, _)| *at);
        let points: Vec<_> = points
            .iter()
            .map(|&(at, micro)| RatePoint {
                at: SimDuration::from_secs(at),
                rate: format!("{}/s", micro as f64 / 1e4).parse().unwrap(),
            })
            .collect();
        let profile = RateProfile::new(points, period.map(SimDuration::from_secs)).unwrap();
        let times = arrivals(&Arrivals::Profile(profile.clone()), 200.0, seed);
        prop_assert!(times.is_sorted());
        let mean = profile.integral(SimDuration::from_secs(200));
        prop_assert!((times.len() as f64 - mean).abs() <= 6.0 * mean.sqrt() + 6.0, "{} of {mean}", times.len());
    }
}
