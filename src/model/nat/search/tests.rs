//! The search against a plain set of ports.

use super::*;
use crate::model::nat::PortMap;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A pool in which every used port may be evicted, or none.
struct Pool {
    map: PortMap,
    evictable: bool,
}

impl PortUse for Pool {
    fn is_used(&mut self, port: u16) -> bool {
        self.map.is_used(port)
    }
    fn first_free(&mut self, first: u16, last: u16) -> Option<u16> {
        self.map.first_free(first, last)
    }
    fn may_evict(&mut self, _port: u16) -> bool {
        self.evictable
    }
}

fn range(first: u16, last: u16) -> PortRange {
    PortRange::new(first, last).expect("test ranges are in order")
}

fn query(choice: PortChoice, search: SearchEra, to_ports: Option<PortRange>) -> Query {
    Query {
        source_port: 33_333,
        choice,
        to_ports,
        search,
        allocator: None,
        evicts: false,
        keyed_start: 38_424,
    }
}

fn full(range: PortRange) -> Pool {
    let mut map = PortMap::new();
    for port in range.first()..=range.last() {
        map.insert(port);
    }
    Pool {
        map,
        evictable: false,
    }
}

const CHOICES: [PortChoice; 3] = [PortChoice::Keep, PortChoice::Random, PortChoice::RandomFully];
const ERAS: [SearchEra; 2] = [SearchEra::WholeRange, SearchEra::Bounded];

#[test]
fn the_range_follows_the_class_of_the_source_port() {
    for (port, first, last) in [
        (1, 1, 511),
        (511, 1, 511),
        (512, 600, 1023),
        (1023, 600, 1023),
        (1024, 1024, 65535),
    ] {
        assert_eq!(search_range(port, None), range(first, last), "source port {port}");
    }
    assert_eq!(
        search_range(80, Some(range(40_000, 40_999))),
        range(40_000, 40_999)
    );
}

#[test]
fn without_a_flag_a_free_allowed_port_is_kept_and_with_one_never() {
    for era in ERAS {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut empty = Pool {
            map: PortMap::new(),
            evictable: false,
        };
        let kept = choose(&query(PortChoice::Keep, era, None), &mut empty, &mut 0, &mut rng);
        assert_eq!(kept, Found::Free(33_333));
        let outside = query(PortChoice::Keep, era, Some(range(40_000, 40_999)));
        assert!(matches!(
            choose(&outside, &mut empty, &mut 0, &mut rng),
            Found::Free(40_000..=40_999)
        ));
        let kept = (0..64)
            .filter(|_| {
                let random = query(PortChoice::RandomFully, era, None);
                choose(&random, &mut empty, &mut 0, &mut rng) == Found::Free(33_333)
            })
            .count();
        assert!(kept <= 1);
    }
}

#[test]
fn the_only_port_of_a_range_is_taken_unchecked_if_it_is_the_source_port_and_on_4_19_always() {
    let only = range(45_000, 45_000);
    let mut pool = full(only);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for choice in CHOICES {
        let other = choose(
            &query(choice, SearchEra::WholeRange, Some(only)),
            &mut pool,
            &mut 0,
            &mut rng,
        );
        assert_eq!(other, Found::Unchecked(45_000));
        let newer = choose(
            &query(choice, SearchEra::Bounded, Some(only)),
            &mut pool,
            &mut 0,
            &mut rng,
        );
        assert_eq!(newer, Found::Exhausted);
    }
    let same = Query {
        source_port: 45_000,
        ..query(PortChoice::Keep, SearchEra::Bounded, Some(only))
    };
    assert_eq!(
        choose(&same, &mut pool, &mut 0, &mut rng),
        Found::Unchecked(45_000)
    );
}

#[test]
fn on_4_19_random_starts_at_one_keyed_port_in_every_range() {
    // The offset that four measured starts on 4.19.108 have in common (lab C, c1_port_keep).
    let mut empty = Pool {
        map: PortMap::new(),
        evictable: false,
    };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let rows = [
        (300, None, 100),
        (700, None, 864),
        (33_333, None, 39_448),
        (33_333, Some(range(40_000, 40_999)), 40_424),
    ];
    for (source_port, to_ports, expected) in rows {
        let query = Query {
            source_port,
            ..query(PortChoice::Random, SearchEra::WholeRange, to_ports)
        };
        assert_eq!(
            choose(&query, &mut empty, &mut 0, &mut rng),
            Found::Free(expected)
        );
    }
}

#[test]
fn the_rover_of_4_19_stays_on_the_port_it_handed_out_last() {
    let (mut rover, mut rng) = (421, ChaCha8Rng::seed_from_u64(1));
    let mut pool = Pool {
        map: PortMap::new(),
        evictable: false,
    };
    let query = query(
        PortChoice::Keep,
        SearchEra::WholeRange,
        Some(range(40_000, 40_999)),
    );
    for expected in [40_421, 40_421] {
        assert_eq!(
            choose(&query, &mut pool, &mut rover, &mut rng),
            Found::Free(expected)
        );
    }
    for expected in 40_421..40_430 {
        assert_eq!(
            choose(&query, &mut pool, &mut rover, &mut rng),
            Found::Free(expected)
        );
        pool.map.insert(expected);
    }
}

#[test]
fn eviction_needs_32_or_fewer_tests_left_in_the_round() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for count in [1_u16, 31, 32, 33, 64, 128, 129, 1000] {
        let range = range(40_000, 40_000 + count - 1);
        let mut pool = full(range);
        let query = Query {
            evicts: true,
            ..query(PortChoice::RandomFully, SearchEra::Bounded, Some(range))
        };
        assert_eq!(choose(&query, &mut pool, &mut 0, &mut rng), Found::Exhausted);
        pool.evictable = true;
        assert!(matches!(
            choose(&query, &mut pool, &mut 0, &mut rng),
            Found::Evict(_)
        ));
        // A free port that comes first is preferred; in a range of at most 32 the chance is even at best.
        pool.map.remove(40_000);
        let evicted = (0..400)
            .filter(|_| matches!(choose(&query, &mut pool, &mut 0, &mut rng), Found::Evict(_)))
            .count();
        let share = evicted as f64 / 400.0;
        let ahead = f64::from(u32::from(count).saturating_sub(32).min(96)) + 1.0;
        let expected = 1.0 - (ahead / f64::from(count)).min(1.0);
        assert!(
            (share - expected).abs() < 0.1,
            "range {count}: {share} against {expected}"
        );
    }
}

#[test]
fn the_bounded_search_finds_one_free_port_in_a_thousand_in_23_percent() {
    // Lab C, c3_fill_vs_failure on 6.18: 139 of 600.
    let range = range(40_000, 40_999);
    let mut pool = full(range);
    pool.map.remove(40_500);
    let query = query(PortChoice::RandomFully, SearchEra::Bounded, Some(range));
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let found = (0..6000)
        .filter(|_| choose(&query, &mut pool, &mut 0, &mut rng) == Found::Free(40_500))
        .count();
    assert!((1260..1500).contains(&found), "{found} of 6000");
}

#[test]
fn where_the_16_bit_offset_wraps_the_walk_of_4_19_jumps() {
    let range = range(40_000, 40_999);
    let mut pool = full(range);
    pool.map.remove(40_700);
    // From offset 65,000 the walk covers places 0..=535 and, after the wrap, 0..=463 again.
    let query = Query {
        keyed_start: 65_000,
        ..query(PortChoice::Random, SearchEra::WholeRange, Some(range))
    };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    assert_eq!(
        choose(&query, &mut pool, &mut 0, &mut rng),
        Found::Unchecked(40_463)
    );
    let query = Query {
        keyed_start: 64_000,
        ..query
    };
    assert_eq!(choose(&query, &mut pool, &mut 0, &mut rng), Found::Free(40_700));
}

proptest! {
    #[test]
    fn no_port_lies_outside_the_range_and_free_ones_are_free(
        choice in 0..3_usize, era in 0..2_usize, source_port in 1_u16.., evicts: bool, evictable: bool,
        first in 1_u16..65_000, count in 1_u16..400, used in 0.0..1.0, seed: u64, mut rover: u16,
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let range = range(first, first.saturating_add(count - 1));
        let mut map = PortMap::new();
        for port in range.first()..=range.last() {
            if rng.random_bool(used) {
                map.insert(port);
            }
        }
        let mut pool = Pool { map, evictable };
        let query = Query {
            source_port, choice: CHOICES[choice], to_ports: Some(range), search: ERAS[era], allocator: None, evicts,
            keyed_start: 9,
        };
        match choose(&query, &mut pool, &mut rover, &mut rng) {
            Found::Free(port) => prop_assert!(range.contains(port) && !pool.is_used(port)),
            Found::Evict(port) => {
                prop_assert!(range.contains(port) && pool.is_used(port));
                prop_assert!(evicts && evictable && ERAS[era] == SearchEra::Bounded);
            }
            Found::Unchecked(port) => prop_assert!(range.contains(port)),
            Found::Exhausted => prop_assert!(ERAS[era] == SearchEra::Bounded),
        }
    }

    #[test]
    fn every_policy_finds_the_only_free_port_of_a_range_that_it_scans_whole(
        choice in 0..3_usize, era in 0..2_usize, place in 0_u16..128, seed: u64, keyed_start in 0_u16..60_000,
    ) {
        let range = range(40_000, 40_127);
        let mut pool = full(range);
        pool.map.remove(40_000 + place);
        let query = Query { keyed_start, ..query(CHOICES[choice], ERAS[era], Some(range)) };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut rover = keyed_start;
        let found = choose(&query, &mut pool, &mut rover, &mut rng);

        let free = 40_000 + place;
        // The last candidate of 4.19 is taken untested, and its random start may lie right below the wrap, where
        // 65,536 happens to be a multiple of 128 and nothing is left out.
        prop_assert!(found == Found::Free(free) || found == Found::Unchecked(free), "{found:?}");
    }
}
