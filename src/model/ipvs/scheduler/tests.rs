//! Whose turn it is: the kernel's sequences as tables, fair shares as properties.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

/// Servers with these weights; `None`: a place whose server was removed.
#[derive(Debug, Clone)]
struct Pods(Vec<Option<u32>>);

impl Pods {
    fn of(weights: &[u32]) -> Self {
        Self(weights.iter().map(|&weight| Some(weight)).collect())
    }
}

impl Servers for Pods {
    fn count(&self) -> usize {
        self.0.len()
    }
    fn state(&self, place: usize) -> ServerState {
        ServerState {
            weight: self.0[place].unwrap_or(1),
            available: self.0[place].is_some(),
        }
    }
    fn endpoint(&self, place: usize) -> Endpoint {
        Endpoint::new((Ipv4Addr::new(10, 1, 0, 1).to_bits() + place as u32).into(), 8080)
    }
}

const ALL: [Scheduler; 6] = [
    Scheduler::Rr,
    Scheduler::Wrr,
    Scheduler::Lc,
    Scheduler::Wlc,
    Scheduler::Sh(HashFlags {
        port: true,
        fallback: true,
    }),
    Scheduler::Mh(HashFlags {
        port: true,
        fallback: true,
    }),
];

fn source(number: u32) -> Endpoint {
    let ip = Ipv4Addr::new(100, 64, 0, 1).to_bits() + number / 100;
    Endpoint::new(ip.into(), 40_000 + (number % 100) as u16 * 2)
}

fn picker(scheduler: Scheduler, pods: &Pods) -> Picker {
    let mut picker = Picker::new(scheduler);
    picker.changed(pods);
    picker
}

/// The servers of so many connections that never end, as letters.
fn sequence(picker: &mut Picker, pods: &Pods, connections: u32) -> String {
    let mut loads = vec![Load::default(); pods.count()];
    let mut letters = String::new();
    for number in 0..connections {
        match picker.pick(pods, source(number), |place| loads[place]) {
            Some(place) => {
                loads[place].active += 1;
                letters.push((b'A' + place as u8) as char);
            }
            None => letters.push('-'),
        }
    }
    letters
}

/// How many of them each server got.
fn shares(scheduler: Scheduler, pods: &Pods, connections: u32) -> Vec<usize> {
    let all = sequence(&mut picker(scheduler, pods), pods, connections);
    let of = |place: usize| all.matches((b'A' + place as u8) as char).count();
    (0..pods.count()).map(of).collect()
}

#[test]
fn sequences_are_the_kernels() {
    for (scheduler, weights, expected) in [
        (Scheduler::Rr, &[1, 1, 1][..], "ABCABCABC"),
        (Scheduler::Rr, &[3, 0, 1], "ACACACACA"),
        (Scheduler::Wrr, &[1, 1, 1], "ABCABCABC"),
        (Scheduler::Wrr, &[4, 3, 2], "AABABCABC"),
        // Steps of the common divisor: the same as 2 to 1.
        (Scheduler::Wrr, &[20, 10], "AABAABAAB"),
        (Scheduler::Wrr, &[0, 5, 0], "BBBBBBBBB"),
        (Scheduler::Wrr, &[0, 0], "---------"),
        (Scheduler::Lc, &[1, 1, 1], "ABCABCABC"),
        (Scheduler::Lc, &[9, 1, 0], "ABABABABA"),
        // 0 and 0: A; 256/2 and 0: B; 128 and 256: A; 256 each: A; 384 and 256: B.
        (Scheduler::Wlc, &[2, 1], "ABAABAABA"),
        (Scheduler::Wlc, &[0, 0], "---------"),
    ] {
        let pods = Pods::of(weights);
        let first = sequence(&mut picker(scheduler, &pods), &pods, 9);
        assert_eq!(first, expected, "{scheduler:?} {weights:?}");
    }
}

#[test]
fn an_active_connection_weighs_256_inactive_ones() {
    let pods = Pods::of(&[1, 1]);
    let load = |active, inactive| Load { active, inactive };
    for (loads, expected) in [
        ([load(1, 0), load(0, 255)], 1),
        ([load(1, 0), load(0, 256)], 0),
        ([load(1, 1), load(0, 256)], 1),
        ([load(0, 7), load(0, 7)], 0),
    ] {
        for scheduler in [Scheduler::Lc, Scheduler::Wlc] {
            let place = picker(scheduler, &pods).pick(&pods, source(0), |place| loads[place]);
            assert_eq!(place, Some(expected), "{loads:?}");
        }
    }
}

#[test]
fn wrr_goes_on_near_the_weight_it_had_when_a_server_leaves() {
    let mut pods = Pods::of(&[4, 3, 2]);
    let mut wrr = picker(Scheduler::Wrr, &pods);
    assert_eq!(sequence(&mut wrr, &pods, 4), "AABA");
    pods.0[1] = None;
    wrr.changed(&pods);
    // Weights 4 and 2, step 2: passes ask for 3 and 1; the pass for 2 becomes one for 3.
    assert_eq!(sequence(&mut wrr, &pods, 6), "AACAAC");
}

#[test]
fn one_source_keeps_its_server_and_its_port_counts_only_with_the_flag() {
    let pods = Pods::of(&[1, 1, 1, 1]);
    for make in [Scheduler::Sh, Scheduler::Mh] {
        for port in [false, true] {
            let flags = HashFlags {
                port,
                fallback: false,
            };
            let mut picker = picker(make(flags), &pods);
            let mut servers: Vec<_> = (0..100)
                .map(|number| picker.pick(&pods, source(number), |_| Load::default()))
                .collect();
            servers.sort_unstable();
            servers.dedup();
            assert_eq!(servers.len(), if port { 4 } else { 1 }, "{:?}", make(flags));
        }
    }
}

#[test]
fn who_hashes_to_a_drained_server_gets_nobody_unless_there_is_a_fallback() {
    for make in [Scheduler::Sh, Scheduler::Mh] {
        let mut pods = Pods::of(&[1, 1, 1, 1]);
        for fallback in [false, true] {
            pods.0[2] = Some(1);
            let mut picker = picker(
                make(HashFlags {
                    port: false,
                    fallback,
                }),
                &pods,
            );
            let pick = |picker: &mut Picker, pods: &Pods| -> Vec<Option<usize>> {
                let of = |host: u32| picker.pick(pods, source(host * 100), |_| Load::default());
                (0..1000).map(of).collect()
            };
            let before = pick(&mut picker, &pods);
            pods.0[2] = Some(0);
            picker.changed(&pods);
            let after = pick(&mut picker, &pods);
            let lost = after.iter().filter(|place| place.is_none()).count();
            let concerned = before.iter().filter(|&&place| place == Some(2)).count();
            assert!(concerned > 150, "{concerned}");
            assert_eq!(lost, if fallback { 0 } else { concerned });
            let others = before
                .iter()
                .zip(&after)
                .filter(|(before, _)| **before != Some(2));
            assert!(others.into_iter().all(|(before, after)| before == after));
        }
    }
}

#[test]
fn maglev_moves_few_sources_when_a_server_leaves_and_source_hash_moves_many() {
    let moved = |scheduler| {
        let mut pods = Pods::of(&[1; 10]);
        let mut picker = picker(scheduler, &pods);
        let pick = |picker: &mut Picker, pods: &Pods| -> Vec<Option<usize>> {
            let of = |host: u32| picker.pick(pods, source(host * 100), |_| Load::default());
            (0..2000).map(of).collect()
        };
        let before = pick(&mut picker, &pods);
        pods.0[4] = None;
        picker.changed(&pods);
        let after = pick(&mut picker, &pods);
        let stay = before
            .iter()
            .zip(&after)
            .filter(|(before, _)| **before != Some(4));
        stay.filter(|(before, after)| before != after).count()
    };
    let (maglev, table) = (
        moved(Scheduler::Mh(HashFlags::default())),
        moved(Scheduler::Sh(HashFlags::default())),
    );
    assert!(maglev < 200, "{maglev} of 1800");
    assert!(table > 1200, "{table} of 1800");
}

#[test]
fn hashes_share_by_weight() {
    let pods = Pods::of(&[3, 1]);
    let flags = HashFlags {
        port: true,
        fallback: false,
    };
    for scheduler in [Scheduler::Sh(flags), Scheduler::Mh(flags)] {
        let shares = shares(scheduler, &pods, 20_000);
        let share = shares[0] as f64 / 20_000.0;
        assert!((share - 0.75).abs() < 0.05, "{scheduler:?}: {share}");
    }
}

proptest! {
    /// Over whole cycles every server gets exactly its weight; so it does by the least connections, if none ends.
    #[test]
    fn shares_are_as_the_weights(weights in prop::collection::vec(1u32..8, 1..6), cycles in 1u32..5) {
        let pods = Pods::of(&weights);
        let total: u32 = weights.iter().sum();
        for scheduler in [Scheduler::Wrr, Scheduler::Wlc] {
            let wanted: Vec<_> = weights.iter().map(|&weight| (weight * cycles) as usize).collect();
            let shares = shares(scheduler, &pods, total * cycles);
            if scheduler == Scheduler::Wrr {
                prop_assert_eq!(&shares, &wanted);
            } else {
                for (share, want) in shares.iter().zip(&wanted) {
                    prop_assert!(share.abs_diff(*want) <= 1, "{:?} {:?}", shares, wanted);
                }
            }
        }
        let even = shares(Scheduler::Rr, &pods, cycles * weights.len() as u32);
        prop_assert!(even.iter().all(|&share| share == cycles as usize));
    }

    /// Nobody of weight 0 and nobody who was removed gets a connection, and with a fallback nobody is turned away.
    #[test]
    fn only_servers_with_weight_are_chosen(
        weights in prop::collection::vec(prop::option::of(0u32..4), 0..7),
        changes in prop::collection::vec((0usize..7, prop::option::of(0u32..4)), 0..6),
    ) {
        for scheduler in ALL {
            let mut pods = Pods(weights.clone());
            let mut picker = picker(scheduler, &pods);
            for change in std::iter::once(None).chain(changes.iter().map(Some)) {
                if let Some(&(place, weight)) = change
                    && place < pods.count()
                {
                    pods.0[place] = weight;
                    picker.changed(&pods);
                }
                let any = (0..pods.count()).any(|place| pods.state(place).is_eligible());
                for number in 0..20 {
                    let found = picker.pick(&pods, source(number), |place| Load { active: place as u32, inactive: 0 });
                    prop_assert_eq!(found.is_some(), any, "{:?} {:?}", scheduler, pods);
                    prop_assert!(found.is_none_or(|place| pods.state(place).is_eligible()));
                }
            }
        }
    }
}
