//! The pending set under the hold model (pop one, schedule one) with the simulator's mix of delays, against the
//! standard library's heap. An iteration is one hold: the times printed are per hold, drawing the delay included.
//!
//! Run with `cargo bench --bench queue`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use divan::Bencher;
use fivetuple::engine::{Class, PendingSet, Tie, mix64};
use fivetuple::units::{SimDuration, SimTime};

/// Holds of one sample.
const HOLDS: u32 = 200_000;

/// Between two bunches of timers: 512 jiffies at 250 Hz.
const BUNCH: u64 = 2_048_000_000;

fn main() {
    assert_same_order();
    divan::main();
}

/// What a set must do to be measured.
trait Pending {
    fn new() -> Self;
    fn schedule(&mut self, at: SimTime, tie: Tie, event: [u64; 2]);
    fn pop(&mut self) -> Option<(SimTime, [u64; 2])>;
}

impl Pending for PendingSet<[u64; 2]> {
    fn new() -> Self {
        Self::new()
    }
    fn schedule(&mut self, at: SimTime, tie: Tie, event: [u64; 2]) {
        self.schedule(at, tie, event);
    }
    fn pop(&mut self) -> Option<(SimTime, [u64; 2])> {
        self.pop()
    }
}

/// The oracle: what one would write first.
struct Heap(BinaryHeap<Reverse<(SimTime, Tie, [u64; 2])>>);

impl Pending for Heap {
    fn new() -> Self {
        Self(BinaryHeap::new())
    }
    fn schedule(&mut self, at: SimTime, tie: Tie, event: [u64; 2]) {
        self.0.push(Reverse((at, tie, event)));
    }
    fn pop(&mut self) -> Option<(SimTime, [u64; 2])> {
        self.0.pop().map(|Reverse((at, _, event))| (at, event))
    }
}

/// The delays of the links: fixed, so many events share an instant or follow closely.
const HOPS: [u64; 8] = [50, 60, 80, 100, 120, 150, 200, 250];

/// When an event's successor happens. Of 64, one is a timer of 10 s, one of 60 s and one of 120 s, all of which
/// fire in bunches at multiples of 2.048 s like those of a Linux host; the rest are hops. A timer's successor is a
/// new connection, some time before the next bunch.
fn successor(now: SimTime, was_timer: bool, draw: u64) -> SimTime {
    let hop = SimDuration::from_micros(HOPS[(draw >> 32) as usize % HOPS.len()]);
    let timer = match draw % 64 {
        _ if was_timer => return now + SimDuration::from_nanos((draw >> 8) % BUNCH),
        0 => 10,
        1 => 60,
        2 => 120,
        _ => return now + hop,
    };
    let expires = now + SimDuration::from_secs(timer);
    SimTime::from_nanos((expires.as_nanos() / BUNCH + 1) * BUNCH)
}

/// A set that has run into its stationary state with `pending` events: the timers are spread over their length,
/// some hundred packets are under way.
struct Hold<Q> {
    queue: Q,
    counter: u64,
}

impl<Q: Pending> Hold<Q> {
    fn warmed_up(pending: u64) -> Self {
        let mut hold = Self {
            queue: Q::new(),
            counter: 0,
        };
        for n in 0..pending {
            let draw = mix64(n + 1);
            // Of the 190 s of timers per connection 10, 60 and 120 s belong to one timer each.
            let span = match draw % 190 {
                0..10 => 10_000_000_000,
                10..70 => 60_000_000_000,
                _ => 120_000_000_000,
            };
            let bunch = (draw >> 8) % span / BUNCH + 1;
            hold.schedule(SimTime::from_nanos(bunch * BUNCH), Class::Timer, draw);
        }
        hold.run(2 * pending);
        hold
    }

    fn schedule(&mut self, at: SimTime, class: Class, draw: u64) {
        let tie = Tie::new(class, (draw >> 40) as u32 % 300, self.counter);
        self.queue.schedule(at, tie, [draw, class as u64]);
        self.counter += 1;
    }

    fn run(&mut self, holds: u64) -> u64 {
        let mut checksum = 0_u64;
        for _ in 0..holds {
            let (now, event) = self.queue.pop().expect("as much goes in as comes out");
            checksum = checksum.rotate_left(5) ^ now.as_nanos() ^ event[0];
            let draw = mix64(event[0] ^ self.counter);
            let was_timer = event[1] == Class::Timer as u64;
            let class = if !was_timer && draw % 64 < 3 {
                Class::Timer
            } else {
                Class::Packet
            };
            self.schedule(successor(now, was_timer, draw), class, draw);
        }
        checksum
    }
}

/// Both must do the same work, else their times do not compare.
fn assert_same_order() {
    let mut wheel = Hold::<PendingSet<[u64; 2]>>::warmed_up(20_000);
    let mut heap = Hold::<Heap>::warmed_up(20_000);
    assert_eq!(
        wheel.run(u64::from(HOLDS)),
        heap.run(u64::from(HOLDS)),
        "wheel and heap pop in different orders"
    );
}

#[divan::bench(types = [PendingSet<[u64; 2]>, Heap], args = [2_000, 20_000, 1_000_000], sample_count = 20, sample_size = HOLDS)]
fn hold<Q: Pending>(bencher: Bencher, pending: u64) {
    let mut hold = Hold::<Q>::warmed_up(pending);
    bencher.bench_local(|| hold.run(1));
}
