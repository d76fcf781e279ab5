use proptest::prelude::*;
use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;

fn close(got: f64, want: f64, tolerance: f64) -> bool {
    (got - want).abs() <= tolerance
}

#[test]
fn wilson_agrees_with_published_values() {
    // 1748 of 6558: the laboratory's own interval of e01.
    #[rustfmt::skip]
    let table = [
        (10, 100, 0.055_229, 0.174_366),
        (0, 10, 0.0, 0.277_533),
        (1_748, 6_558, 0.255_98, 0.277_38),
    ];
    for (k, n, lo, hi) in table {
        let got = wilson(k, n);
        assert!(
            close(got.lo95, lo, 1e-5) && close(got.hi95, hi, 1e-5),
            "{k}/{n}: {got:?}"
        );
    }
}

#[test]
fn clopper_pearson_agrees_with_published_values() {
    #[rustfmt::skip]
    let table = [
        (10, 100, 0.049_005, 0.176_223),
        (0, 10, 0.0, 0.308_497),
        (10, 10, 0.691_503, 1.0),
        (1, 1_000_000, 2.531_78e-8, 5.571_635e-6),
    ];
    for (k, n, lo, hi) in table {
        let got = clopper_pearson(k, n);
        assert!(close(got.lo95, lo, 1e-4 * lo.max(1e-3)), "{k}/{n}: {got:?}");
        assert!(close(got.hi95, hi, 1e-4 * hi), "{k}/{n}: {got:?}");
    }
}

#[test]
fn ratio_over_replications_is_the_ratio_of_the_sums_with_a_t_interval() {
    // Equal trials: the ordinary t interval of the mean of 0.1, 0.2, 0.3: 0.2 +- 4.302653 * 0.1 / sqrt(3).
    let groups = [Sample::new(10, 100), Sample::new(20, 100), Sample::new(30, 100)];
    let got = ratio_of_sums(&groups, Method::Replications).unwrap();
    assert!(close(got.value, 0.2, 1e-12));
    assert!(
        close(got.hi95, 0.2 + 4.302_653 * 0.1 / 3f64.sqrt(), 1e-5),
        "{got:?}"
    );
    assert_eq!(got.lo95, 0.0, "clamped");
    // Unequal trials: weighted by them.
    let got = ratio_of_sums(&[Sample::new(1, 10), Sample::new(40, 90)], Method::Replications).unwrap();
    assert!(close(got.value, 0.41, 1e-12));
}

#[test]
fn few_events_and_equal_groups_fall_back_to_the_exact_interval() {
    let rare = vec![vec![Sample::new(1, 1_000)]; 10];
    assert_eq!(rate(&rare).method, Method::ClopperPearson);
    let equal = vec![vec![Sample::new(100, 1_000)]; 10];
    let got = rate(&equal);
    assert!(got.method == Method::ClopperPearson && got.lo95 < got.value && got.value < got.hi95);
    let never = rate(&[vec![Sample::new(0, 1_000)]]);
    // 1 - 0.025^(4 / 1000)
    assert!(close(never.hi95, 1.0 - 0.025f64.powf(0.004), 1e-6), "{never:?}");
    assert_eq!((never.value, never.lo95), (0.0, 0.0));
    assert_eq!(rate(&[]).hi95, 1.0, "no trial says nothing");
    let almost_all = rate(&vec![vec![Sample::new(999, 1_000)]; 10]);
    assert_eq!(almost_all.method, Method::ClopperPearson);
}

#[test]
fn one_replication_is_cut_into_batches() {
    let seconds: Vec<Sample> = (0..320).map(|s| Sample::new(10 + s % 7, 350)).collect();
    assert_eq!(rate(std::slice::from_ref(&seconds)).method, Method::BatchMeans);
    assert_eq!(
        rate(&vec![seconds; 6]).method,
        Method::ClopperPearson,
        "equal replications"
    );
}

/// Clusters of geometric size, mean `1 / (1 - continue)`: the variance-to-mean ratio is `(1 + c) / (1 - c)`.
fn clustered_count(rng: &mut ChaCha8Rng, clusters: f64, continued: f64) -> u64 {
    let mut count = 0;
    let mut time = 0.0;
    loop {
        time -= (1.0 - rng.random::<f64>()).ln() / clusters;
        if time > 1.0 {
            return count;
        }
        count += 1;
        while rng.random::<f64>() < continued {
            count += 1;
        }
    }
}

#[test]
fn overdispersed_exact_intervals_cover_clustered_counts_where_binomial_ones_do_not() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let trials = 100_000;
    // Variance 4 times the mean: clusters of mean size 2.5.
    let continued = 0.6;
    for mean in [2.0, 6.0, 15.0] {
        let truth = mean / trials as f64;
        let (mut wide, mut narrow, runs) = (0, 0, 2_000);
        for _ in 0..runs {
            let count = clustered_count(&mut rng, mean * (1.0 - continued), continued);
            let covers = |estimate: Estimate| i32::from(estimate.lo95 <= truth && truth <= estimate.hi95);
            wide += covers(overdispersed_exact(count, trials));
            narrow += covers(clopper_pearson(count, trials));
        }
        assert!(wide >= runs * 95 / 100, "mean {mean}: {wide} of {runs}");
        assert!(narrow < runs * 92 / 100, "mean {mean}: {narrow} of {runs}");
    }
}

#[test]
fn replication_intervals_cover_clustered_counts() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let (mut covered, runs) = (0, 1_000);
    for _ in 0..runs {
        let replications: Vec<_> = (0..10)
            .map(|_| vec![Sample::new(clustered_count(&mut rng, 20.0, 0.6), 10_000)])
            .collect();
        let got = rate(&replications);
        covered += i32::from(got.lo95 <= 0.005 && 0.005 <= got.hi95);
    }
    assert!((920..=980).contains(&covered), "{covered} of {runs}");
}

proptest! {
    #[test]
    fn every_interval_lies_in_the_unit_interval_around_its_value_and_is_never_of_zero_width(
        groups in prop::collection::vec((0u64..400, 0u64..400), 0..40), replications in 1usize..12,
    ) {
        let samples: Vec<_> = groups.iter().map(|&(a, b)| Sample::new(a.min(b), b)).collect();
        let mut split = vec![Vec::new(); replications];
        for (i, sample) in samples.iter().enumerate() {
            split[i % replications].push(*sample);
        }
        let got = rate(&split);
        prop_assert!(0.0 <= got.lo95 && got.lo95 <= got.value && got.value <= got.hi95 && got.hi95 <= 1.0);
        prop_assert!(got.lo95 < got.hi95, "{got:?}");
    }

    #[test]
    fn exact_intervals_of_real_counts_are_ordered(k in 0u64..50, extra in 0u64..1_000_000) {
        let got = overdispersed_exact(k, k + extra);
        prop_assert!(got.lo95 <= got.value && got.value <= got.hi95 && got.lo95 < got.hi95);
    }
}
