//! The pending set against a plain heap, and the rules of its order.

use super::*;
use crate::units::SimDuration;
use proptest::prelude::*;

const fn at(nanos: u64) -> SimTime {
    SimTime::from_nanos(nanos)
}

fn drained<E: Copy>(mut set: PendingSet<E>) -> Vec<E> {
    std::iter::from_fn(|| set.pop()).map(|(_, event)| event).collect()
}

/// All orders of three things.
const PERMUTATIONS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

#[test]
fn equal_times_pop_by_class_then_host_then_counter_whatever_the_order_of_insertion() {
    use Class::{Observe, Packet, Timer};
    for triple in [
        [(Timer, 1, 9), (Packet, 0, 3), (Packet, 1, 1)],
        [(Packet, 7, 1), (Packet, 7, 2), (Observe, 0, 0)],
        [
            (Timer, 0, 0),
            (Timer, 0, (1 << 40) - 1),
            (Timer, (1 << 22) - 1, 0),
        ],
    ] {
        for permutation in PERMUTATIONS {
            let mut set = PendingSet::new();
            for index in permutation {
                let (class, host, counter) = triple[index];
                set.schedule(at(5_000_000), Tie::new(class, host, counter), index);
            }
            assert_eq!(drained(set), [0, 1, 2], "{triple:?} inserted as {permutation:?}");
        }
    }
}

#[test]
fn an_earlier_time_beats_every_tie() {
    // Within a tick of the wheel, in neighbouring ticks, and far apart.
    for (early, late) in [(1, 2), (8_191, 8_192), (0, 1 << 63), (u64::MAX - 1, u64::MAX)] {
        let mut set = PendingSet::new();
        set.schedule(at(late), Tie::new(Class::Timer, 0, 0), 'b');
        set.schedule(at(early), Tie::new(Class::Observe, 9, 9), 'a');
        assert_eq!(drained(set), ['a', 'b'], "{early} before {late}");
    }
}

#[test]
fn an_event_at_the_present_instant_takes_its_place_among_the_pending() {
    let mut set = PendingSet::new();
    for (host, name) in [(1, 'a'), (3, 'c'), (5, 'e')] {
        set.schedule(at(7), Tie::new(Class::Packet, host, 0), name);
    }
    assert_eq!(set.pop(), Some((at(7), 'a')));
    // Behind, between, and before what is still pending; the last one even before the one popped.
    set.schedule(at(7), Tie::new(Class::Packet, 6, 0), 'f');
    set.schedule(at(7), Tie::new(Class::Packet, 4, 0), 'd');
    set.schedule(at(7), Tie::new(Class::Timer, 9, 0), 'b');
    assert_eq!(drained(set), ['b', 'c', 'd', 'e', 'f']);
}

#[test]
fn looking_ahead_forbids_nothing() {
    let mut set = PendingSet::new();
    let tie = Tie::new(Class::Packet, 0, 0);
    assert_eq!(set.next_time(), None);
    set.schedule(at(100_000_000_000), tie, 3);
    assert_eq!(set.next_time(), Some(at(100_000_000_000)));
    assert_eq!(set.now(), at(0));
    set.schedule(at(50), tie, 2);
    set.schedule(at(10), tie, 1);
    assert_eq!(set.next_time(), Some(at(10)));
    assert_eq!((set.len(), set.pop(), set.now()), (3, Some((at(10), 1)), at(10)));
    assert_eq!(drained(set), [2, 3]);
}

#[test]
fn days_ahead_and_the_end_of_time_are_reached() {
    let mut set = PendingSet::new();
    let five_days = at(432_000_000_000_000);
    let tie = Tie::new(Class::Timer, 0, 0);
    set.schedule(SimTime::NEVER, tie, 'z');
    set.schedule(five_days, tie, 'b');
    set.schedule(at(1), tie, 'a');
    assert_eq!(set.pop(), Some((at(1), 'a')));
    set.schedule(five_days + SimDuration::from_nanos(1), tie, 'c');
    assert_eq!(set.pop(), Some((five_days, 'b')));
    assert_eq!(drained(set), ['c', 'z']);
}

#[test]
#[should_panic(expected = "event at 0.000000009s is before now, 0.000000010s")]
fn the_past_is_refused() {
    let mut set = PendingSet::new();
    set.schedule(at(10), Tie::new(Class::Packet, 0, 0), ());
    set.pop();
    set.schedule(at(9), Tie::new(Class::Packet, 0, 1), ());
}

#[test]
#[should_panic(expected = "host index exceeds 22 bits")]
fn a_host_that_does_not_fit_the_tie_is_refused() {
    let _ = Tie::new(Class::Timer, 1 << 22, 0);
}

#[test]
#[should_panic(expected = "event counter exceeds 40 bits")]
fn a_counter_that_does_not_fit_the_tie_is_refused() {
    let _ = Tie::new(Class::Timer, 0, 1 << 40);
}

#[test]
fn memory_stops_growing_when_the_number_of_pending_events_does() {
    let mut set = PendingSet::new();
    let mut counter = 0;
    let mut capacity_after = |set: &mut PendingSet<u64>, holds: u32| {
        for _ in 0..holds {
            let (now, _) = set.pop().expect("as much goes in as comes out");
            counter += 1;
            let nanos = [50_000, 250_000, 60_000_000_000, 120_000_000_000][counter as usize % 4];
            set.schedule(
                now + SimDuration::from_nanos(nanos),
                Tie::new(Class::Packet, 0, counter),
                0,
            );
        }
        set.wheel.capacity()
    };
    for n in 0..1_000 {
        set.schedule(at(n * 1_000_000), Tie::new(Class::Timer, 0, n), 0);
    }
    let warm = capacity_after(&mut set, 100_000);
    assert_eq!(capacity_after(&mut set, 1_000_000), warm);
    assert_eq!(set.len(), 1_000);
}

/// Lanes reach 73 years; what comes later keeps its place all the same.
#[test]
fn beyond_the_reach_of_lanes_the_order_is_kept() {
    let years = |years: u64| SimDuration::from_secs(years * 365 * 86_400);
    let mut set = PendingSet::new();
    let (short, long) = (set.lane(years(70)).unwrap(), set.lane(years(80)).unwrap());
    let tie = |counter| Tie::new(Class::Packet, 0, counter);
    set.schedule_on(long, tie(1), "80");
    set.schedule_on(short, tie(2), "70");
    set.schedule(SimTime::ZERO + years(90), tie(3), "90");
    assert_eq!(set.pop().map(|(_, event)| event), Some("70"));
    set.schedule_on(short, tie(4), "140");
    set.schedule(SimTime::NEVER, tie(5), "never");
    set.schedule(SimTime::ZERO + years(75), tie(6), "75");
    assert_eq!(drained(set), ["75", "80", "90", "140", "never"]);
}

#[test]
fn there_are_eight_lanes_and_one_for_each_delay() {
    let mut set = PendingSet::<()>::new();
    let lanes: Vec<_> = (1..=9).map(|n| set.lane(SimDuration::from_nanos(n))).collect();
    assert!(lanes[..8].iter().all(Option::is_some) && lanes[8].is_none());
    assert_eq!(set.lane(SimDuration::from_nanos(3)), lanes[2]);
    // What has no lane pops in its place all the same.
    for delay in [9, 3, 8] {
        set.schedule(at(delay), Tie::new(Class::Packet, 0, delay), ());
    }
    let times: Vec<_> = std::iter::from_fn(|| set.pop()).map(|(at, ())| at).collect();
    assert_eq!(times, [at(3), at(8), at(9)]);
}

/// What a test does to the set.
#[derive(Debug, Clone)]
enum Step {
    /// Schedule so many nanoseconds after now, with this class and host.
    Schedule(u64, u8, u32),
    /// The same instant and class, in this order of hosts.
    Burst(u64, Vec<u32>),
    Pop(u8),
    Peek,
}

fn delay() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => Just(0),
        4 => prop::sample::select(vec![50_000, 60_000, 100_000, 250_000]),
        2 => 0_u64..5_000,
        2 => 0_u64..10_000_000,
        2 => prop::sample::select(vec![10_000_000_000, 60_000_000_000, 120_000_000_000, 432_000_000_000_000]),
        1 => any::<u64>(),
        1 => (0_u32..64).prop_map(|bit| 1 << bit),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let hosts = Just((0..40).collect::<Vec<u32>>()).prop_shuffle();
    prop_oneof![
        8 => (delay(), 0_u8..3, 0_u32..4).prop_map(|(delay, class, host)| Step::Schedule(delay, class, host)),
        1 => (delay(), hosts).prop_map(|(delay, hosts)| Step::Burst(delay, hosts)),
        6 => (1_u8..30).prop_map(Step::Pop),
        2 => Just(Step::Peek),
    ]
}

/// The set under test next to the oracle, a heap of (time, tie, event).
#[derive(Default)]
struct Both {
    set: PendingSet<u64>,
    heap: BinaryHeap<Reverse<(SimTime, Tie, u64)>>,
    counter: u64,
}

impl Both {
    fn schedule(&mut self, delay: u64, class: u8, host: u32) {
        let at = self.set.now() + SimDuration::from_nanos(delay);
        let class = [Class::Timer, Class::Packet, Class::Observe][usize::from(class)];
        // A counter that does not follow the order of insertion: host and counter alone decide.
        let tie = Tie::new(class, host, self.counter.wrapping_mul(0x9e_3779_b97f) % (1 << 40));
        self.set.schedule(at, tie, self.counter);
        self.heap.push(Reverse((at, tie, self.counter)));
        self.counter += 1;
    }

    /// Pops both; whether there was something.
    fn pop(&mut self) -> Result<bool, TestCaseError> {
        let expected = self.heap.pop().map(|Reverse((at, _, event))| (at, event));
        prop_assert_eq!(self.set.pop(), expected);
        prop_assert_eq!(self.set.len(), self.heap.len());
        prop_assert_eq!(self.set.is_empty(), self.heap.is_empty());
        if let Some((at, _)) = expected {
            prop_assert_eq!(self.set.now(), at);
        }
        Ok(expected.is_some())
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Schedule(delay, class, host) => self.schedule(*delay, *class, *host),
            Step::Burst(delay, hosts) => {
                for &host in hosts {
                    self.schedule(*delay, 1, host);
                }
            }
            Step::Pop(times) => {
                for _ in 0..*times {
                    self.pop()?;
                }
            }
            Step::Peek => {
                let next = self.heap.peek().map(|Reverse((at, ..))| *at);
                prop_assert_eq!(self.set.next_time(), next);
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn the_set_pops_what_a_plain_heap_pops_whichever_lanes_it_has(
        lanes in prop::collection::vec(delay(), 0..12),
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut both = Both::default();
        for lane in lanes {
            both.set.lane(SimDuration::from_nanos(lane));
        }
        for step in &steps {
            both.step(step)?;
        }
        while both.pop()? {}
    }

    #[test]
    fn the_order_of_insertion_does_not_matter(
        events in prop::collection::vec((delay(), 0_u8..3, 0_u32..4), 1..60)
            .prop_map(|events| events.into_iter().enumerate().collect::<Vec<_>>())
            .prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle())),
    ) {
        let pops = |events: &[(usize, (u64, u8, u32))]| {
            let mut set = PendingSet::new();
            for &(index, (nanos, class, host)) in events {
                let class = [Class::Timer, Class::Packet, Class::Observe][usize::from(class)];
                set.schedule(at(nanos), Tie::new(class, host, index as u64), index);
            }
            drained(set)
        };
        prop_assert_eq!(pops(&events.0), pops(&events.1));
    }
}
