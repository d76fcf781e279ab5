//! Searches that are not netfilter's, against a plain set of ports.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::{PortMap, SearchEra, choose};
use super::{Allocator, Found, PortChoice, PortRange, PortUse, Query, Tries};

struct Pool(PortMap);

impl PortUse for Pool {
    fn is_used(&mut self, port: u16) -> bool {
        self.0.is_used(port)
    }
    fn first_free(&mut self, first: u16, last: u16) -> Option<u16> {
        self.0.first_free(first, last)
    }
    fn may_evict(&mut self, _port: u16) -> bool {
        panic!("nobody but netfilter evicts")
    }
}

const CILIUM: Allocator = Allocator::Tries(Tries {
    tests: 32,
    upward: true,
    keeps_outside: false,
});
const CALICO: Allocator = Allocator::Tries(Tries {
    tests: 4,
    upward: false,
    keeps_outside: true,
});
const ALL: [Allocator; 5] = [
    Allocator::Sequential,
    Allocator::Hashed,
    Allocator::Uniform,
    CILIUM,
    CALICO,
];

fn query(allocator: Allocator, source_port: u16, first: u16, last: u16) -> Query {
    Query {
        source_port,
        choice: PortChoice::Keep,
        to_ports: PortRange::new(first, last),
        search: SearchEra::Bounded,
        allocator: Some(allocator),
        evicts: true,
        keyed_start: 700,
    }
}

#[test]
fn a_sequential_nat_hands_out_port_after_port_and_comes_back_to_the_first_after_all() {
    let (mut pool, mut rover, mut rng) = (Pool(PortMap::new()), 0, ChaCha8Rng::seed_from_u64(1));
    let query = query(Allocator::Sequential, 1, 40_000, 40_004);
    // Nothing is held: the next one is another all the same.
    let ports: Vec<_> = (0..7)
        .map(|_| choose(&query, &mut pool, &mut rover, &mut rng))
        .collect();
    let expected = [40_000, 40_001, 40_002, 40_003, 40_004, 40_000, 40_001].map(Found::Free);
    assert_eq!(ports, expected);
    pool.0.insert(40_002);
    assert_eq!(
        choose(&query, &mut pool, &mut rover, &mut rng),
        Found::Free(40_003)
    );
}

#[test]
fn a_hash_gives_a_tuple_the_same_port_again_while_it_is_free() {
    let (mut pool, mut rng) = (Pool(PortMap::new()), ChaCha8Rng::seed_from_u64(1));
    let query = query(Allocator::Hashed, 1, 40_000, 40_999);
    for _ in 0..3 {
        assert_eq!(choose(&query, &mut pool, &mut 0, &mut rng), Found::Free(40_700));
    }
    pool.0.insert(40_700);
    assert_eq!(choose(&query, &mut pool, &mut 0, &mut rng), Found::Free(40_701));
}

#[test]
fn a_uniform_choice_does_not_prefer_ports_behind_a_run_of_used_ones() {
    let (mut pool, mut rng) = (Pool(PortMap::new()), ChaCha8Rng::seed_from_u64(1));
    for port in 40_001..40_010 {
        pool.0.insert(port);
    }
    let query = query(Allocator::Uniform, 1, 40_000, 40_019);
    let behind = (0..11_000)
        .filter(|_| choose(&query, &mut pool, &mut 0, &mut rng) == Found::Free(40_010))
        .count();
    // One of eleven; a walk upward would take it in ten of twenty.
    assert!((900..1100).contains(&behind), "{behind} of 11000");
}

#[test]
fn cilium_keeps_the_port_inside_its_range_only_and_gives_up_after_32_tests() {
    let (mut pool, mut rng) = (Pool(PortMap::new()), ChaCha8Rng::seed_from_u64(1));
    let inside = query(CILIUM, 40_000, 32_768, 65_535);
    assert_eq!(choose(&inside, &mut pool, &mut 0, &mut rng), Found::Free(40_000));
    let outside = query(CILIUM, 1_100, 32_768, 65_535);
    assert!(matches!(
        choose(&outside, &mut pool, &mut 0, &mut rng),
        Found::Free(32_768..)
    ));
    // One free port of 1000: one draw finds it by itself, the other with the 30 ports above it, 1 - (1 - 1/1000)(1 - 31/1000).
    for port in 40_000..41_000 {
        pool.0.insert(port);
    }
    pool.0.remove(40_500);
    let full = query(CILIUM, 1_100, 40_000, 40_999);
    let found = (0..20_000)
        .filter(|_| choose(&full, &mut pool, &mut 0, &mut rng) == Found::Free(40_500))
        .count();
    assert!((540..740).contains(&found), "{found} of 20000, 640 expected");
}

#[test]
fn calico_keeps_any_free_port_and_has_three_random_tries_after_that() {
    let (mut pool, mut rng) = (Pool(PortMap::new()), ChaCha8Rng::seed_from_u64(1));
    let query = query(CALICO, 45_000, 20_000, 20_009);
    assert_eq!(choose(&query, &mut pool, &mut 0, &mut rng), Found::Free(45_000));
    pool.0.insert(45_000);
    for port in 20_000..20_009 {
        pool.0.insert(port);
    }
    let found = (0..10_000)
        .filter(|_| choose(&query, &mut pool, &mut 0, &mut rng) == Found::Free(20_009))
        .count();
    // 1 - 0.9^3 = 27.1 %.
    assert!((2_500..2_920).contains(&found), "{found} of 10000");
}

proptest! {
    #[test]
    fn every_port_is_free_and_of_the_range_or_kept(
        search in 0..ALL.len(), source_port in 1_u16.., first in 1_u16..65_000, count in 1_u16..300, used in 0.0..1.0,
        seed: u64, mut rover: u16,
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let last = first.saturating_add(count - 1);
        let mut map = PortMap::new();
        for port in first..=last {
            if rng.random_bool(used) {
                map.insert(port);
            }
        }
        let full = map.used() == u32::from(last - first) + 1;
        let query = query(ALL[search], source_port, first, last);
        let mut pool = Pool(map);
        match choose(&query, &mut pool, &mut rover, &mut rng) {
            Found::Free(port) => {
                let kept = ALL[search] == CALICO && port == source_port;
                prop_assert!(kept || (first..=last).contains(&port));
                prop_assert!(!pool.is_used(port));
            }
            // Those that test all ports find one as long as there is one.
            Found::Exhausted => prop_assert!(full || search >= 3),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
