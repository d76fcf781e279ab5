//! The floor: the incident's path with nothing but what no simulator of it can do without.
//!
//! Per connection it does 35 events (an arrival, 30 packet hops, service, the upstream start, the ends of TIME_WAIT and of
//! the conntrack entry), and per hop one look-up in a hashed table and one write to a small record. Events wait in lanes of
//! fixed delay, which are sorted by themselves, and only the few with a random delay in a heap. There is no retransmission,
//! no TCP, no statistics, no evidence: the distance from here to `benches/path.rs` is what those cost.
//!
//! `cargo bench --bench floor -- RATE SECONDS`: that many connections per second; wall time is taken over the SECONDS that
//! follow the first 190, from when on the number of live entries, 180 times the rate, is constant. One line of KEY=VALUE.
//! `benches/path.rs` runs the same beside the simulator.

#![allow(
    clippy::inline_always,
    reason = "it is to be as fast as it can be: what the hardware allows"
)]

use std::collections::{BinaryHeap, VecDeque};
use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustc_hash::FxHashMap;

/// Simulated seconds until TIME_WAIT and conntrack entries end as fast as they begin.
pub const WARM_UP: u64 = 190;
/// Source addresses of the load balancer.
const ADDRESSES: u64 = 64;
/// Its source ports.
const FIRST_PORT: u16 = 32_768;
const PORTS: u16 = 28_232;

/// Address bits of clients, of the balancer's source addresses and of the node.
const CLIENT_NET: u32 = 0x0a00_0000;
const BALANCER_NET: u32 = 0x0a01_0000;
const NODE: u32 = 0x0a64_0001;

/// Reads RATE and SECONDS from the command line, whatever words stand around them.
pub fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let &[rate, seconds] = numbers.as_slice() else {
        // `cargo test --benches` only asks whether it starts, and `cargo bench` passes no numbers.
        println!("{}", Floor::new(200.0).measure(1));
        return;
    };
    println!("{}", Floor::new(rate as f64).measure(seconds));
}

/// Source and destination of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Tuple {
    src: u32,
    dst: u32,
    src_port: u16,
    dst_port: u16,
}

/// What happens next to a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A connection begins; schedules the next one.
    Arrival,
    /// A packet reaches the end of this hop of [`HOPS`].
    Hop(u8),
    /// The pod has its response.
    Served,
    /// The balancer answers its client.
    Answer,
    /// The pod's TIME_WAIT ends.
    TimeWaitEnds,
    /// The conntrack entry may be past its timeout.
    ConntrackEnds,
}

/// An event: 32 bytes with its place in the order.
#[derive(Clone, Copy)]
struct Event {
    at: u64,
    order: u64,
    tuple: Tuple,
    step: Step,
}

const _: () = assert!(size_of::<Event>() == 32);

/// Delays that many events share; each has a lane.
#[derive(Clone, Copy)]
enum Lane {
    ClientLeg,
    BalancerLeg,
    PodLeg,
    TimeWait,
    Conntrack,
}

const LANES: usize = 5;
/// Nanoseconds, by lane.
const DELAY: [u64; LANES] = [100_000, 50_000, 20_000, 60_000_000_000, 120_000_000_000];

/// Where a packet arrives.
#[derive(Clone, Copy)]
enum Place {
    Client,
    Node,
    Pod,
    Balancer,
}

/// The packets of a connection in order: the lane of the hop and where it leads.
const HOPS: [(Lane, Place); 30] = {
    use Lane::{BalancerLeg as B, ClientLeg as C, PodLeg as P};
    use Place::{Balancer, Client, Node, Pod};
    [
        // Client and balancer: handshake, request, its ACK. Both ends of this leg look a socket up in one table.
        (C, Client),
        (C, Client),
        (C, Client),
        (C, Client),
        (C, Client),
        // Balancer and pod, over the node: SYN, SYN-ACK, ACK, request.
        (B, Node),
        (P, Pod),
        (P, Node),
        (B, Balancer),
        (B, Node),
        (P, Pod),
        (B, Node),
        (P, Pod),
        // ACK of the request; response.
        (P, Node),
        (B, Balancer),
        (P, Node),
        (B, Balancer),
        // FIN of the pod, ACK and FIN of the balancer, last ACK.
        (P, Node),
        (B, Balancer),
        (B, Node),
        (P, Pod),
        (B, Node),
        (P, Pod),
        (P, Node),
        (B, Balancer),
        // Response and end of the client's leg.
        (C, Client),
        (C, Client),
        (C, Client),
        (C, Client),
        (C, Client),
    ]
};

/// Hops after which something else follows than the next hop.
const REQUEST_READ: u8 = 4;
const SYN_AT_POD: u8 = 6;
const REQUEST_AT_POD: u8 = 12;
const REQUEST_ACKED: u8 = 14;
const RESPONSE: u8 = 15;
const LAST_FIN_AT_POD: u8 = 22;
const LAST_ACK: u8 = 24;
const CLIENT_RESPONSE: u8 = 25;
const END: u8 = 29;

/// Events of random delay.
struct Late(Event);

impl PartialEq for Late {
    fn eq(&self, other: &Self) -> bool {
        self.0.order == other.0.order
    }
}
impl Eq for Late {}
impl PartialOrd for Late {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Late {
    /// The heap gives its greatest first, so the earliest is the greatest.
    #[inline]
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.0.at, other.0.order).cmp(&(self.0.at, self.0.order))
    }
}

/// The pending set.
struct Pending {
    lanes: [VecDeque<Event>; LANES],
    /// Time and order of each lane's first event; an empty one is never due.
    heads: [(u64, u64); LANES],
    heap: BinaryHeap<Late>,
    order: u64,
}

const NEVER: (u64, u64) = (u64::MAX, u64::MAX);

impl Pending {
    fn new() -> Self {
        Self {
            lanes: std::array::from_fn(|_| VecDeque::new()),
            heads: [NEVER; LANES],
            heap: BinaryHeap::new(),
            order: 0,
        }
    }

    #[inline(always)]
    fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    /// After the lane's delay.
    #[inline(always)]
    fn after(&mut self, lane: Lane, now: u64, tuple: Tuple, step: Step) {
        let (at, order) = (now + DELAY[lane as usize], self.next_order());
        if self.heads[lane as usize] == NEVER {
            self.heads[lane as usize] = (at, order);
        }
        self.lanes[lane as usize].push_back(Event {
            at,
            order,
            tuple,
            step,
        });
    }

    /// At any time.
    #[inline(always)]
    fn at(&mut self, at: u64, tuple: Tuple, step: Step) {
        let order = self.next_order();
        self.heap.push(Late(Event {
            at,
            order,
            tuple,
            step,
        }));
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<Event> {
        let (mut lane, mut first) = (0, self.heads[0]);
        for (index, &head) in self.heads.iter().enumerate().skip(1) {
            if head < first {
                (lane, first) = (index, head);
            }
        }
        if let Some(Late(event)) = self.heap.peek()
            && event.at <= first.0
        {
            return self.heap.pop().map(|late| late.0);
        }
        let event = self.lanes[lane].pop_front()?;
        self.heads[lane] = self.lanes[lane]
            .front()
            .map_or(NEVER, |next| (next.at, next.order));
        Some(event)
    }
}

/// A socket, as many bytes as one might make do with.
#[derive(Clone, Copy, Default)]
struct Socket {
    sent: u32,
    received: u32,
    state: u8,
    since: u64,
    upstream: u64,
}

/// A conntrack entry, likewise.
#[derive(Clone, Copy, Default)]
struct Entry {
    expires: u64,
    state: u32,
    pod: u32,
    packets: u64,
}

/// Records in places that are used again, found by their tuple.
struct Table<T> {
    places: Vec<T>,
    free: Vec<u32>,
    by_tuple: FxHashMap<Tuple, u32>,
}

impl<T: Copy + Default> Table<T> {
    fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            by_tuple: FxHashMap::default(),
        }
    }

    #[inline(always)]
    fn place(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.places.push(T::default());
            self.places.len() as u32 - 1
        })
    }

    #[inline(always)]
    fn put(&mut self, tuple: Tuple, place: u32, record: T) {
        self.places[place as usize] = record;
        if let Some(old) = self.by_tuple.insert(tuple, place) {
            self.free.push(old);
        }
    }

    #[inline(always)]
    fn get(&mut self, tuple: Tuple) -> Option<&mut T> {
        let &place = self.by_tuple.get(&tuple)?;
        Some(&mut self.places[place as usize])
    }

    #[inline(always)]
    fn remove(&mut self, tuple: Tuple) {
        if let Some(place) = self.by_tuple.remove(&tuple) {
            self.free.push(place);
        }
    }
}

/// The whole.
struct Floor {
    pending: Pending,
    rng: ChaCha8Rng,
    /// Nanoseconds between arrivals in the mean.
    mean_gap: f64,
    clients: Table<Socket>,
    pods: Table<Socket>,
    conntrack: Table<Entry>,
    /// One byte per source address and port of the balancer.
    upstream: Vec<u8>,
    connections: u64,
    events: u64,
    checksum: u64,
}

impl Floor {
    fn new(rate: f64) -> Self {
        let mut floor = Self {
            pending: Pending::new(),
            rng: ChaCha8Rng::seed_from_u64(1),
            mean_gap: 1e9 / rate,
            clients: Table::new(),
            pods: Table::new(),
            conntrack: Table::new(),
            upstream: vec![0; (ADDRESSES as usize) << 16],
            connections: 0,
            events: 0,
            checksum: 0,
        };
        floor.pending.at(1, Tuple::default(), Step::Arrival);
        floor
    }

    /// Runs into the steady state, then measures.
    fn measure(mut self, seconds: u64) -> String {
        self.run_until(WARM_UP * 1_000_000_000);
        let (connections, events) = (self.connections, self.events);
        let begin = Instant::now();
        self.run_until((WARM_UP + seconds) * 1_000_000_000);
        let nanos = begin.elapsed().as_secs_f64() * 1e9;
        let (connections, events) = (
            (self.connections - connections) as f64,
            (self.events - events) as f64,
        );
        // What was written is read once, so that no compiler may leave it out.
        let sockets = self.clients.places.iter().chain(&self.pods.places);
        for socket in sockets {
            self.checksum ^= socket.since ^ socket.upstream ^ u64::from(socket.sent + socket.received);
        }
        for entry in &self.conntrack.places {
            self.checksum ^= entry.packets ^ u64::from(entry.pod ^ entry.state);
        }
        format!(
            "connections={connections} events_per_connection={:.2} us_per_connection={:.4} ns_per_event={:.3} live={} \
             checksum={:x}",
            events / connections,
            nanos / 1e3 / connections,
            nanos / events,
            self.pods.by_tuple.len() + self.conntrack.by_tuple.len(),
            self.checksum,
        )
    }

    fn run_until(&mut self, end: u64) {
        while let Some(event) = self.pending.pop() {
            self.events += 1;
            self.checksum = self.checksum.rotate_left(5) ^ event.at;
            self.dispatch(event);
            if event.at >= end {
                return;
            }
        }
    }

    #[inline(always)]
    fn dispatch(&mut self, event: Event) {
        let Event { at: now, tuple, .. } = event;
        match event.step {
            Step::Hop(hop) => self.on_hop(hop, tuple, now),
            Step::Arrival => self.on_arrival(now),
            Step::Served => self.send(RESPONSE, tuple, now),
            Step::Answer => self.send(CLIENT_RESPONSE, tuple, now),
            Step::TimeWaitEnds => {
                self.pods.remove(tuple);
                self.upstream[upstream_place(tuple)] = 0;
            }
            Step::ConntrackEnds => {
                if self
                    .conntrack
                    .get(tuple)
                    .is_some_and(|entry| entry.expires <= now)
                {
                    self.conntrack.remove(tuple);
                }
            }
        }
    }

    #[inline(always)]
    fn send(&mut self, hop: u8, tuple: Tuple, now: u64) {
        self.pending
            .after(HOPS[hop as usize].0, now, tuple, Step::Hop(hop));
    }

    #[inline(always)]
    fn exponential(&mut self, mean: f64) -> u64 {
        let unit = (self.rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        (-(1.0 - unit).ln() * mean) as u64 + 1
    }

    #[inline(always)]
    fn on_arrival(&mut self, now: u64) {
        self.connections += 1;
        let place = self.clients.place();
        let tuple = Tuple {
            src: CLIENT_NET | place,
            dst: 1,
            src_port: self.connections as u16,
            dst_port: 443,
        };
        let socket = Socket {
            state: 1,
            since: now,
            ..Socket::default()
        };
        self.clients.put(tuple, place, socket);
        self.send(0, tuple, now);
        let gap = self.exponential(self.mean_gap);
        self.pending.at(now + gap, Tuple::default(), Step::Arrival);
    }

    #[inline(always)]
    fn on_hop(&mut self, hop: u8, tuple: Tuple, now: u64) {
        match HOPS[hop as usize].1 {
            Place::Client => {
                let socket = self.clients.get(tuple).expect("a client has its socket");
                socket.sent += 1;
                socket.state = hop;
                if hop == REQUEST_READ {
                    return self.open_upstream(tuple, now);
                }
                if hop == END {
                    return self.clients.remove(tuple);
                }
            }
            Place::Node => {
                let expires = now + DELAY[Lane::Conntrack as usize];
                if let Some(entry) = self.conntrack.get(tuple) {
                    entry.packets += 1;
                    entry.expires = expires;
                    entry.state = u32::from(hop);
                } else {
                    let entry = Entry {
                        expires,
                        state: 0,
                        pod: 1,
                        packets: 1,
                    };
                    let place = self.conntrack.place();
                    self.conntrack.put(tuple, place, entry);
                }
            }
            Place::Pod if hop == SYN_AT_POD => {
                let place = self.pods.place();
                let socket = Socket {
                    state: 1,
                    since: now,
                    ..Socket::default()
                };
                self.pods.put(tuple, place, socket);
            }
            Place::Pod => {
                let socket = self.pods.get(tuple).expect("a pod has its socket");
                socket.received += 1;
                socket.state = hop;
                if hop == REQUEST_AT_POD {
                    let service = self.exponential(5e6);
                    self.pending.at(now + service, tuple, Step::Served);
                } else if hop == LAST_FIN_AT_POD {
                    self.pending.after(Lane::TimeWait, now, tuple, Step::TimeWaitEnds);
                    self.pending
                        .after(Lane::Conntrack, now + 1_000_000, tuple, Step::ConntrackEnds);
                }
            }
            Place::Balancer => {
                self.upstream[upstream_place(tuple)] |= 2;
                if hop == REQUEST_ACKED || hop == LAST_ACK {
                    return;
                }
            }
        }
        self.send(hop + 1, tuple, now);
    }

    /// The balancer draws an address and a free port, connects upstream, and goes on with its client.
    #[inline(always)]
    fn open_upstream(&mut self, client: Tuple, now: u64) {
        let draw = self.rng.next_u64();
        let mut tuple = Tuple {
            src: BALANCER_NET + (draw % ADDRESSES) as u32,
            dst: NODE,
            src_port: FIRST_PORT + ((draw >> 40) % u64::from(PORTS)) as u16,
            dst_port: 8080,
        };
        while self.upstream[upstream_place(tuple)] != 0 {
            tuple.src_port = if tuple.src_port == FIRST_PORT + PORTS - 1 {
                FIRST_PORT
            } else {
                tuple.src_port + 1
            };
        }
        self.upstream[upstream_place(tuple)] = 1;
        let socket = self.clients.get(client).expect("a client has its socket");
        socket.upstream = u64::from(tuple.src) << 16 | u64::from(tuple.src_port);
        self.send(REQUEST_READ + 1, tuple, now);
        self.pending.at(now + 1, client, Step::Answer);
    }
}

/// Place of a source address and port in [`Floor::upstream`].
#[inline(always)]
fn upstream_place(tuple: Tuple) -> usize {
    ((tuple.src - BALANCER_NET) as usize) << 16 | tuple.src_port as usize
}
