//! What a run costs, counted instead of timed: events, allocations, memory. A regression shows here without a clock.
//!
//! The bounds stand a little above what is measured; whoever makes a figure better lowers its bound. What they mean in time
//! is in `docs/performance.md`.

use std::alloc::System;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fivetuple::observe::{Counts, Gauges, Observations, RecordOptions};
use fivetuple::{scenario, world};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The counters of the heap are the process's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From here on TIME_WAIT and conntrack entries end as fast as they begin, and the tables have grown.
const WARM_UP: u64 = 200;

/// The heap at a moment.
#[derive(Debug, Clone, Copy, Default)]
struct Heap {
    /// Allocations and reallocations so far.
    calls: u64,
    live_bytes: u64,
}

impl Heap {
    fn now() -> Self {
        let stats = HEAP.stats();
        Self {
            calls: (stats.allocations + stats.reallocations) as u64,
            live_bytes: (stats.bytes_allocated - stats.bytes_deallocated) as u64,
        }
    }
}

/// A run, and the heap at the end of every simulated second, what was there before it left out.
struct Run {
    observed: Observations,
    heap: Vec<Heap>,
}

impl Run {
    fn of(file: &str, sets: &[String]) -> Self {
        let text = std::fs::read_to_string(file).unwrap();
        let plan = scenario::parse(file, &text, sets).unwrap_or_else(|errors| panic!("{errors}"));
        let seconds = plan.duration.as_secs() as usize;
        let heap = Mutex::new(Vec::with_capacity(seconds + 2));
        let before = Heap::now();
        let observed = world::simulate(&plan, 0, RecordOptions::default(), &|_| {
            let now = Heap::now();
            heap.lock().unwrap().push(Heap {
                calls: now.calls - before.calls,
                live_bytes: now.live_bytes - before.live_bytes,
            });
            true
        });
        let heap = heap.into_inner().unwrap();
        assert!(heap.len() >= seconds, "a look at the heap every second");
        Self { observed, heap }
    }

    /// The incident, `rate` per second on each of `pairs` node-pod pairs.
    fn incident(rate: u32, pairs: u32, seconds: u64) -> Self {
        let sets = [
            format!("clients.rate=\"{}/s\"", rate * pairs),
            format!("clusters={pairs}"),
            format!("duration=\"{seconds}s\""),
        ];
        Self::of("scenarios/incident-499.toml", &sets)
    }

    fn counts(&self) -> Counts {
        self.observed.seconds.iter().map(|second| second.counts).sum()
    }

    fn events_per_connection(&self) -> f64 {
        self.observed.events as f64 / self.counts().connects_started as f64
    }

    fn queue_operations_per_connection(&self) -> f64 {
        self.observed.queue_operations as f64 / self.counts().connects_started as f64
    }

    /// The levels at the end of a second.
    fn gauges(&self, second: u64) -> Gauges {
        let row = self.observed.seconds.iter().nth(second as usize - 1);
        row.unwrap().gauges
    }

    /// TIME_WAIT and conntrack entries at the end of a second.
    fn live_entries(&self, second: u64) -> u64 {
        let gauges = self.gauges(second);
        gauges.conntrack_alive + gauges.pod_time_wait
    }

    /// The heap at the end of a second.
    fn heap(&self, second: u64) -> Heap {
        self.heap[second as usize - 1]
    }

    /// Connections begun from the end of one second to the end of another.
    fn connections(&self, from: u64, to: u64) -> u64 {
        let seconds = self.observed.seconds.iter().skip(from as usize);
        seconds
            .take((to - from) as usize)
            .map(|second| second.counts.connects_started)
            .sum()
    }
}

/// `value` is at most `bound`, and not so far below that the bound says nothing.
#[track_caller]
fn assert_close_below(what: &str, value: f64, bound: f64) {
    println!("{what}: {value:.3}, bound {bound}");
    assert!(value <= bound, "{what}: {value:.3} is more than {bound}");
    assert!(
        value > 0.5 * bound,
        "{what}: {value:.3}, so lower the bound of {bound}"
    );
}

#[test]
fn a_connection_of_the_incident_takes_few_events() {
    let _alone = alone();
    let run = Run::incident(350, 1, 60);
    assert_close_below(
        "events per connection",
        run.events_per_connection(),
        EVENTS_INCIDENT,
    );
    assert_close_below(
        "queue operations per connection",
        run.queue_operations_per_connection(),
        OPERATIONS_INCIDENT,
    );
}

#[test]
fn a_connection_of_the_churn_takes_few_events_and_as_many_packets_as_in_ns3() {
    let _alone = alone();
    let run = Run::of("benches/churn.toml", &["duration=\"20s\"".to_owned()]);
    let counts = run.counts();
    let packets = counts.packets_sent as f64 / counts.connects_started as f64;
    assert!(
        (9.99..=10.0).contains(&packets),
        "{packets} packets per connection"
    );
    assert_eq!(counts.by_status[1..], [0; 5], "nothing fails");
    assert_eq!(counts.time_wait_hits, 0, "nothing meets TIME_WAIT");
    assert_close_below("events per connection", run.events_per_connection(), EVENTS_CHURN);
    assert_close_below(
        "queue operations per connection",
        run.queue_operations_per_connection(),
        OPERATIONS_CHURN,
    );
}

/// What is allocated in a steady stretch are rare records and the series of seconds, not packets or connections.
#[test]
fn a_steady_run_allocates_nothing_per_connection() {
    let _alone = alone();
    let run = Run::incident(200, 1, WARM_UP + 60);
    let (from, to) = (WARM_UP, WARM_UP + 60);
    let calls = run.heap(to).calls - run.heap(from).calls;
    let connections = run.connections(from, to);
    println!("{calls} allocations over {connections} connections");
    assert!(connections > 10_000);
    assert!(
        calls * 100 <= connections * ALLOCATIONS_PER_100_CONNECTIONS,
        "{calls} allocations over {connections} connections"
    );
}

/// The heap depends on how many entries live, not on how many connections there have been.
#[test]
fn memory_does_not_grow_with_elapsed_connections() {
    let _alone = alone();
    let run = Run::incident(100, 1, 3 * WARM_UP);
    let (early, late) = (run.heap(WARM_UP).live_bytes, run.heap(3 * WARM_UP).live_bytes);
    let growth = late.saturating_sub(early);
    let allowance = 2 * WARM_UP * BYTES_PER_SECOND;
    println!("{early} bytes, then {late}; {allowance} are the series'");
    assert!(growth <= allowance, "{early} bytes grew to {late}");
}

#[test]
fn a_live_entry_takes_little_memory() {
    let _alone = alone();
    let run = Run::incident(350, 2, WARM_UP);
    let live = run.live_entries(WARM_UP);
    assert!(live > 100_000, "{live} live entries");
    let bytes = run.heap(WARM_UP).live_bytes as f64 / live as f64;
    assert_close_below("bytes per live entry", bytes, BYTES_PER_LIVE_ENTRY);
}

/// The same work whatever the run's length: a connection late in a run takes as many events as an early one.
#[test]
fn events_per_connection_do_not_grow_with_a_run() {
    let _alone = alone();
    let (short, long) = (Run::incident(50, 1, WARM_UP), Run::incident(50, 1, 2 * WARM_UP));
    let connections = long.counts().connects_started - short.counts().connects_started;
    let late = (long.observed.events - short.observed.events) as f64 / connections as f64;
    assert_close_below("events per later connection", late, EVENTS_INCIDENT);
}

/// Events per connection of the incident, the seconds' own included.
const EVENTS_INCIDENT: f64 = 40.0;
/// Events per connection of `benches/churn.toml`.
const EVENTS_CHURN: f64 = 15.8;
/// Operations of the pending set per connection of the incident: events that came in, and those that moved inside it.
const OPERATIONS_INCIDENT: f64 = 42.0;
/// Operations of the pending set per connection of `benches/churn.toml`.
const OPERATIONS_CHURN: f64 = 17.0;
/// Hits and failures have records, which live as long as the run.
const ALLOCATIONS_PER_100_CONNECTIONS: u64 = 1;
/// A second's row in the series, with the room that a growing vector leaves and the records of hits in a second.
const BYTES_PER_SECOND: u64 = 1_500;
/// Heap of a run by its TIME_WAIT and conntrack entries, all else included.
const BYTES_PER_LIVE_ENTRY: f64 = 310.0;
