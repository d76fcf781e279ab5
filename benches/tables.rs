//! The tables that grow with live entries: conntrack, the SNAT port search, TIME_WAIT. An iteration is one operation on a
//! table in a steady state (of `nat_syns_...` 64 operations); entries are picked in no order, as arriving packets do.
//!
//! Run with `cargo bench --bench tables`; `-- nat` runs only what has that in its name.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use divan::{Bencher, black_box};
use fivetuple::engine::{KernelTimers, mix64};
use fivetuple::model::conntrack::{ConntrackConfig, Ended, Entry, Table, Tracker};
use fivetuple::model::nat::{Found, PortMap, PortUse, Query, SearchEra, choose, search_range};
use fivetuple::model::node::{Backend, Node, NodeConfig, NodeProxy, NodeService, NodeVerdict};
use fivetuple::model::tcp::{self, Concerned, ListenOptions, Stack, Substate, TimeWait};
use fivetuple::spec::{Plan, ProxyMode};
use fivetuple::units::{Endpoint, FourTuple, SeqNum, SimDuration, SimTime};
use fivetuple::wire::{Flags, Options, Packet};
use fivetuple::{engine, scenario};

/// Iterations of one sample.
const SAMPLE: u32 = 5_000;
/// Entries of a table.
const SIZES: [u64; 3] = [1_000, 30_000, 250_000];
/// How full a port range is, in percent.
const FULL: [u64; 4] = [10, 50, 90, 99];

fn main() {
    divan::main();
}

/// The incident, with what a bench wants different.
fn incident(sets: &[&str]) -> Plan {
    let text = std::fs::read_to_string("scenarios/incident-499.toml").expect("run from the package's root");
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    scenario::parse("incident", &text, &sets).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The n-th connection: a source that no other one of the first 2^32 has.
fn source(n: u64) -> Endpoint {
    let (address, port) = (n / 60_000, n % 60_000);
    Endpoint::new(
        Ipv4Addr::from_bits(0x6440_0001 + address as u32),
        1_024 + port as u16,
    )
}

fn segment(tuple: FourTuple, flags: Flags, seq: u32) -> Packet {
    Packet {
        tuple,
        seq: SeqNum(seq),
        ack: SeqNum(0),
        payload_len: 0,
        window: 64_240,
        timestamps: None,
        flags,
        options: Options::NONE,
        tag: 0,
    }
}

// ---- conntrack ----

const POD: Endpoint = Endpoint::new(Ipv4Addr::new(10, 1, 72, 105), 7_001);
const NODE: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 107);

/// A table of connections that have sent their SYN, a microsecond after one another.
struct Conntrack {
    table: Table,
    config: ConntrackConfig,
    size: u64,
    next: u64,
}

impl Conntrack {
    fn filled(size: u64) -> Self {
        let mut config = incident(&[]).nodes[0].conntrack;
        config.max_entries = u32::MAX;
        config.buckets = size.next_power_of_two() as u32;
        let mut conntrack = Self {
            table: Table::new(&config),
            config,
            size,
            next: 0,
        };
        for _ in 0..size {
            conntrack.insert();
        }
        conntrack
    }

    fn original(n: u64) -> FourTuple {
        FourTuple::new(source(n), Endpoint::new(NODE, 30_718))
    }

    fn reply(n: u64) -> FourTuple {
        let port = 1_024 + (n % 64_512) as u16;
        FourTuple::new(
            POD,
            Endpoint::new(Ipv4Addr::from_bits(NODE.to_bits() + (n / 64_512) as u32), port),
        )
    }

    fn insert(&mut self) -> u32 {
        let (original, reply) = (Self::original(self.next), Self::reply(self.next));
        let now = SimTime::from_nanos(self.next * 1_000);
        let syn = segment(original, Flags::SYN, 1);
        let tracker = Tracker::open(&self.config, &syn, now).expect("a SYN opens");
        self.next += 1;
        let index = self.table.insert(Entry::new(original, reply, tracker));
        self.table.arm(index, SimTime::NEVER);
        index
    }

    /// Finds the entry of the n-th connection.
    fn find(&mut self, n: u64, now: SimTime) -> bool {
        self.table
            .find(&Self::original(n), now, &mut |_: &Entry, why| {
                debug_assert_eq!(why, Ended::Expired);
            })
            .is_some()
    }
}

#[divan::bench(args = SIZES, sample_count = 20, sample_size = SAMPLE)]
fn conntrack_lookup(bencher: Bencher, size: u64) {
    let mut conntrack = Conntrack::filled(size);
    let mut n = 0;
    bencher.bench_local(|| {
        n += 1;
        assert!(conntrack.find(mix64(n) % size, SimTime::from_nanos(size * 1_000)));
    });
}

#[divan::bench(args = SIZES, sample_count = 20, sample_size = SAMPLE)]
fn conntrack_lookup_miss(bencher: Bencher, size: u64) {
    let mut conntrack = Conntrack::filled(size);
    let mut n = 0;
    bencher.bench_local(|| {
        n += 1;
        assert!(!conntrack.find(size + mix64(n) % size, SimTime::from_nanos(size * 1_000)));
    });
}

#[divan::bench(args = SIZES, sample_count = 20, sample_size = SAMPLE)]
fn conntrack_insert_and_remove(bencher: Bencher, size: u64) {
    let mut conntrack = Conntrack::filled(size);
    bencher.bench_local(|| {
        let index = conntrack.insert();
        black_box(conntrack.table.remove(index))
    });
}

/// The oldest entry is past its timeout and named, a lookup collects it, and a new one takes its place.
#[divan::bench(args = SIZES, sample_count = 20, sample_size = SAMPLE)]
fn conntrack_insert_and_expire(bencher: Bencher, size: u64) {
    let mut conntrack = Conntrack::filled(size);
    let timeout = SimDuration::from_secs(120);
    bencher.bench_local(|| {
        let oldest = conntrack.next - conntrack.size;
        let due = SimTime::from_nanos(oldest * 1_000) + timeout + SimDuration::from_millis(4);
        black_box(conntrack.table.next_ended(due));
        assert!(!conntrack.find(oldest, due));
        conntrack.insert()
    });
}

// ---- a node ----

/// A node and what calls its conntrack worker.
#[derive(Clone)]
struct NodeHost {
    node: Node,
    now: SimTime,
    gc: SimTime,
    syns: u64,
}

impl NodeHost {
    fn new(plan: &Plan) -> Self {
        let node = &plan.nodes[0];
        let pods = node.pods[0].iter().map(|&pod| Backend {
            pod: pod as u32,
            endpoint: plan.pods[pod].endpoint,
        });
        let config = NodeConfig {
            ip: node.ip,
            proxy: match node.proxy {
                ProxyMode::Iptables => NodeProxy::Iptables,
                ProxyMode::Ipvs(config) => NodeProxy::Ipvs(config),
            },
            snat: node.snat,
            conntrack: node.conntrack,
            drop_syn_repeats_within: None,
            timers: KernelTimers {
                hz: node.conntrack.hz,
                phase: SimDuration::ZERO,
            },
            services: vec![NodeService {
                node_port: plan.services[0].node_port,
                backends: pods.collect(),
            }],
            from_nodes: node.from_nodes,
        };
        let mut stream = |purpose: &str, n: u64| engine::stream(1, 0, "node", n, purpose);
        let node = Node::new(config, &mut stream);
        Self {
            gc: node.first_gc(),
            node,
            now: SimTime::ZERO,
            syns: 0,
        }
    }

    /// Time passes; what is due ends.
    fn advance(&mut self, by: SimDuration) {
        self.now += by;
        while self.gc <= self.now {
            self.gc = self.node.on_gc(self.gc);
        }
        self.node.advance(self.now);
    }

    fn send(&mut self, packet: &Packet) -> NodeVerdict {
        self.node.on_packet(packet, self.now)
    }

    /// A connection that no other one is like.
    fn syn(&mut self) -> NodeVerdict {
        let tuple = Conntrack::original(self.syns);
        self.syns += 1;
        self.send(&segment(tuple, Flags::SYN, self.syns as u32))
    }
}

// ---- NAT ----

/// The bitmap as the search sees it.
struct Ports(PortMap);

impl PortUse for Ports {
    fn is_used(&mut self, port: u16) -> bool {
        self.0.is_used(port)
    }
    fn first_free(&mut self, first: u16, last: u16) -> Option<u16> {
        self.0.first_free(first, last)
    }
    fn may_evict(&mut self, _: u16) -> bool {
        false
    }
}

/// The port search alone; the port that is found is taken, and the one that was taken longest ago is given back.
fn search(bencher: Bencher, percent: u64, search: SearchEra) {
    let range = search_range(30_000, None);
    let held = u64::from(range.count()) * percent / 100;
    let query = Query {
        source_port: 30_000,
        choice: fivetuple::model::nat::PortChoice::RandomFully,
        to_ports: None,
        search,
        allocator: None,
        evicts: false,
        keyed_start: 0,
    };
    let mut ports = Ports(PortMap::new());
    let mut oldest = VecDeque::new();
    let mut rng = engine::stream(1, 0, "node", 0, "snat");
    let mut rover = 0;
    let mut take = |ports: &mut Ports, oldest: &mut VecDeque<u16>| {
        let found = choose(&query, ports, &mut rover, &mut rng);
        if let Found::Free(port) = found {
            ports.0.insert(port);
            oldest.push_back(port);
        }
        found
    };
    while (oldest.len() as u64) < held {
        take(&mut ports, &mut oldest);
    }
    bencher.bench_local(|| {
        let found = take(&mut ports, &mut oldest);
        if matches!(found, Found::Free(_))
            && let Some(port) = oldest.pop_front()
        {
            ports.0.remove(port);
        }
        found
    });
}

#[divan::bench(args = FULL, sample_count = 20, sample_size = SAMPLE)]
fn nat_search_whole_range(bencher: Bencher, percent: u64) {
    search(bencher, percent, SearchEra::WholeRange);
}

#[divan::bench(args = FULL, sample_count = 20, sample_size = SAMPLE)]
fn nat_search_bounded(bencher: Bencher, percent: u64) {
    search(bencher, percent, SearchEra::Bounded);
}

/// SYNs of one iteration of `nat_syn_...`: so few that the range is hardly fuller after them.
const SYNS: u64 = 64;

/// SYNs through the whole node whose port range is so full. No time passes meanwhile, so that the cost of the worker that
/// collects dead entries, which goes by time, is not in it; each sample begins with a copy of the node.
fn syns(bencher: Bencher, percent: u64, profile: &str) {
    let plan = incident(&[&format!("node.profile={profile}"), "node.proxy=iptables"]);
    let mut full = NodeHost::new(&plan);
    while full.node.ports_in_use_max() < 64_512 * percent / 100 {
        full.advance(SimDuration::from_millis(1));
        full.syn();
    }
    let send = |host: &mut NodeHost| {
        for _ in 0..SYNS {
            black_box(host.syn());
        }
    };
    let copy = || {
        let mut host = full.clone();
        send(&mut host);
        host
    };
    bencher.with_inputs(copy).bench_local_refs(send);
}

/// An iteration is 64 SYNs.
#[divan::bench(args = FULL, sample_count = 100, sample_size = 1)]
fn nat_syns_4_19(bencher: Bencher, percent: u64) {
    syns(bencher, percent, "4.19");
}

/// An iteration is 64 SYNs.
#[divan::bench(args = FULL, sample_count = 100, sample_size = 1)]
fn nat_syns_6_12(bencher: Bencher, percent: u64) {
    syns(bencher, percent, "6.12");
}

// ---- TIME_WAIT ----

const LISTENER: Endpoint = POD;
/// What the sockets expect next.
const RCV_NXT: u32 = 1_000_000;

/// A pod with timewait sockets that began at even distances over the last 60 s.
struct Pod {
    stack: Stack<()>,
    now: SimTime,
    next: u64,
    gap: SimDuration,
}

impl Pod {
    fn filled(size: u64) -> Self {
        let mut config = incident(&[]).pods[0].tcp;
        config.max_tw_buckets = u32::MAX;
        let mut stack = Stack::new(config, 1);
        let options = ListenOptions {
            backlog: 1_000,
            ..ListenOptions::default()
        };
        stack.listen(LISTENER, options, ());
        let mut pod = Self {
            stack,
            now: SimTime::ZERO,
            next: 0,
            gap: SimDuration::from_nanos(60_000_000_000 / size),
        };
        for _ in 0..size {
            pod.advance();
            pod.begin(pod.next);
            pod.next += 1;
        }
        pod
    }

    /// The n-th connection's tuple as the pod sees it.
    fn tuple(n: u64) -> FourTuple {
        FourTuple::new(LISTENER, source(n))
    }

    /// One of those that are there.
    fn any(&self, draw: u64) -> FourTuple {
        let live = self.stack.time_wait_count() as u64;
        Self::tuple(self.next - 1 - mix64(draw) % live)
    }

    fn begin(&mut self, n: u64) {
        self.begin_at(Self::tuple(n));
    }

    fn begin_at(&mut self, tuple: FourTuple) {
        let socket = TimeWait {
            substate: Substate::TimeWait,
            rcv_nxt: SeqNum(RCV_NXT),
            snd_nxt: SeqNum(1),
            rcv_wnd: 64_240,
            ts_recent: None,
            ts_offset: 0,
            last_oow_ack: None,
        };
        self.stack.inherit_time_wait(tuple, socket, self.now);
    }

    /// Time passes; what is due ends.
    fn advance(&mut self) {
        self.now += self.gap;
        self.stack.advance(self.now);
    }

    fn take(&mut self, tuple: FourTuple, flags: Flags, seq: u32) -> tcp::Outcome {
        self.stack
            .on_packet(&segment(tuple.reversed(), flags, seq), self.now)
    }
}

/// A socket begins as another one ends.
#[divan::bench(args = SIZES, sample_count = 20, sample_size = SAMPLE)]
fn time_wait_begin_and_end(bencher: Bencher, size: u64) {
    let mut pod = Pod::filled(size);
    bencher.bench_local(|| {
        pod.advance();
        pod.begin(pod.next);
        pod.next += 1;
    });
}

/// An RST that is not for it: look-up and decision, no effect.
#[divan::bench(args = SIZES, sample_count = 20, sample_size = SAMPLE)]
fn time_wait_lookup(bencher: Bencher, size: u64) {
    let mut pod = Pod::filled(size);
    let mut n = 0;
    bencher.bench_local(|| {
        n += 1;
        let outcome = pod.take(pod.any(n), Flags::RST, RCV_NXT + 7);
        assert!(matches!(outcome.to, Concerned::TimeWait(_)));
    });
}

/// An older SYN, answered by a bare ACK.
#[divan::bench(args = SIZES, sample_count = 20, sample_size = SAMPLE)]
fn time_wait_syn_refused(bencher: Bencher, size: u64) {
    let mut pod = Pod::filled(size);
    let mut n = 0;
    bencher.bench_local(|| {
        n += 1;
        let outcome = pod.take(pod.any(n), Flags::SYN, RCV_NXT - 7);
        assert!(matches!(outcome.to, Concerned::TimeWait(_)));
    });
}

/// A newer SYN reopens the tuple; an RST ends the request, and the tuple is in TIME_WAIT again.
#[divan::bench(args = SIZES, sample_count = 20, sample_size = SAMPLE)]
fn time_wait_syn_reopens(bencher: Bencher, size: u64) {
    let mut pod = Pod::filled(size);
    let mut n = 0;
    bencher.bench_local(|| {
        n += 1;
        let tuple = pod.any(n);
        let request = pod.take(tuple, Flags::SYN, RCV_NXT + 7);
        let Concerned::Socket(handle) = request.to else {
            panic!("not reopened: {request:?}");
        };
        pod.take(tuple, Flags::RST, RCV_NXT + 8);
        pod.stack.forget(handle);
        pod.begin_at(tuple);
    });
}
