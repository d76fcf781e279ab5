//! The table of tracked connections: both tuples of each in one hash, expiry, early drop.
//!
//! `net/netfilter/nf_conntrack_core.c`, 4.19 to 6.18. As there, an entry past its timeout is dead for every lookup,
//! but counts in `nf_conntrack_count` until it is collected: by a walk over its bucket (a lookup, an early drop) or
//! by gc. Buckets are modelled because they decide what is collected and what early drop can reach.
//! The kernel's keyed hash is replaced by a fixed one; entries of other traffic are a number, see
//! [`ConntrackConfig::background_entries`](super::ConntrackConfig).

use super::{ConntrackConfig, Direction, Timeouts, Tracker};
use crate::model::agenda::{self, Agenda, Ticket};
use crate::model::growth;
use crate::model::ipvs;
use crate::units::{FourTuple, SimTime};

/// No entry, no node.
const NIL: u32 = u32::MAX;
/// Buckets that an early drop looks at (`NF_CT_EVICTION_RANGE`).
const EVICTION_RANGE: u32 = 8;
/// Entries that a full eBPF map frees at once.
const LRU_BATCH: usize = 128;
/// Buckets are an optimisation of ours, too: more than this buy nothing.
const MOST_BUCKETS: u32 = 1 << 20;
/// Entries by which the memory of a small table grows.
const GROWTH: usize = 64;
/// The least that the kernel takes.
const LEAST_BUCKETS: u32 = 32;

/// A SNAT port that an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortSlot {
    /// Index of the pool.
    pub pool: u32,
    /// Port.
    pub port: u16,
}

/// One entry: two cache lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Entry {
    /// Tuple of the first packet.
    pub original: FourTuple,
    /// Tuple of the answers, with all translation undone by it.
    pub reply: FourTuple,
    /// State of the connection.
    pub tracker: Tracker,
    /// [`NIL`]: none.
    pod: u32,
    /// [`NIL`]: none.
    pool: u32,
    /// [`NIL`] as its index: none.
    ipvs: ipvs::Handle,
    generation: u32,
    /// The slot of the agenda in which it is looked at, or one of the marks.
    armed: u32,
}

const _: () = assert!(size_of::<Entry>() <= 128);

/// Mark of an entry that the agenda does not know.
const UNARMED: u32 = agenda::LAST_SLOT;
/// Mark: the end of the entry was reported; it is past its timeout and only counts until collected.
const ENDED: u32 = agenda::LAST_SLOT + 1;
/// Mark: the place is free.
const FREE: u32 = agenda::LAST_SLOT + 2;

impl Entry {
    /// An entry to be.
    pub fn new(original: FourTuple, reply: FourTuple, tracker: Tracker) -> Self {
        Self {
            original,
            reply,
            tracker,
            pod: NIL,
            pool: NIL,
            ipvs: NO_IPVS,
            generation: 0,
            armed: UNARMED,
        }
    }

    /// The pod behind the mapping, by its index in the plan; `None`: nothing is translated.
    pub fn pod(&self) -> Option<u32> {
        (self.pod != NIL).then_some(self.pod)
    }

    /// Packets are translated, and go to this pod of the plan.
    pub fn set_pod(&mut self, pod: u32) {
        self.pod = pod;
    }

    /// The port that either tuple occupies in a pool: the one that answers are sent to, or that a pod's segment which
    /// was picked up late was sent to.
    pub fn port(&self) -> Option<PortSlot> {
        let towards_node = if self.pod == NIL {
            &self.original
        } else {
            &self.reply
        };
        (self.pool != NIL).then_some(PortSlot {
            pool: self.pool,
            port: towards_node.dst.port,
        })
    }

    /// The entry occupies a port of this pool.
    pub fn set_pool(&mut self, pool: u32) {
        self.pool = pool;
    }

    /// The ipvs connection; it may be gone.
    pub fn ipvs(&self) -> Option<ipvs::Handle> {
        (self.ipvs != NO_IPVS).then_some(self.ipvs)
    }

    /// The ipvs connection is this one.
    pub fn set_ipvs(&mut self, handle: ipvs::Handle) {
        self.ipvs = handle;
    }

    /// Past its timeout (`nf_ct_is_expired()`).
    pub fn is_expired(&self, now: SimTime) -> bool {
        self.tracker.is_expired(now)
    }

    fn is_live(&self) -> bool {
        self.armed != FREE
    }

    fn is_ended(&self) -> bool {
        self.armed == ENDED
    }

    fn tuple(&self, direction: Direction) -> &FourTuple {
        match direction {
            Direction::Original => &self.original,
            Direction::Reply => &self.reply,
        }
    }
}

const NO_IPVS: ipvs::Handle = ipvs::Handle {
    index: NIL,
    generation: 0,
};

/// Why an entry ended on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Its timeout passed.
    Expired,
    /// A new connection met a full table.
    EarlyDrop,
    /// gc under pressure.
    GcPressure,
}

/// A tuple's place in the chain of its bucket. Chains are kept apart from the entries, so that a walk touches an entry
/// only if it is the one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Link {
    /// The next tuple of the bucket.
    next: u32,
    /// The part of the tuple's hash that does not choose the bucket.
    tag: u32,
}

/// The table.
#[derive(Debug, Clone)]
pub struct Table {
    /// The first of each bucket's chain: twice an entry's place, plus 1 if its reply tuple is meant.
    buckets: Vec<u32>,
    /// Numbered as in `buckets`.
    links: Vec<Link>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    count: u32,
    /// Entries whose end was reported and which nothing has collected.
    dead: u32,
    /// Their tuples by bucket; [`u8::MAX`]: so many or more, until the whole bucket is walked.
    dead_tuples: Vec<u8>,
    /// A bit per bucket with any: tests of ports and gc pass over thousands of buckets that have none.
    dead_in: Vec<u64>,
    agenda: Agenda,
    background: u32,
    max: u32,
}

impl Table {
    /// An empty table.
    pub fn new(config: &ConntrackConfig) -> Self {
        let size = config.buckets.clamp(LEAST_BUCKETS, MOST_BUCKETS) as usize;
        Self {
            buckets: vec![NIL; size],
            dead_tuples: vec![0; size],
            dead_in: vec![0; size.div_ceil(64)],
            links: Vec::new(),
            entries: Vec::new(),
            free: Vec::new(),
            count: 0,
            dead: 0,
            agenda: Agenda::new(),
            background: config.background_entries,
            max: config.max_entries,
        }
    }

    /// `nf_conntrack_count` without the background: entries alive, and dead ones that nothing has collected.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// `nf_conntrack_count` as the kernel has it.
    pub(super) fn full_count(&self) -> u32 {
        self.count.saturating_add(self.background)
    }

    /// `nf_conntrack_max`.
    pub(super) fn max(&self) -> u32 {
        self.max
    }

    /// Number of buckets.
    pub(super) fn size(&self) -> u32 {
        self.buckets.len() as u32
    }

    /// The entry at `index`, which must be in the table.
    pub fn get(&self, index: u32) -> &Entry {
        &self.entries[index as usize]
    }

    /// The entry at `index`, which must be in the table.
    pub fn get_mut(&mut self, index: u32) -> &mut Entry {
        &mut self.entries[index as usize]
    }

    /// All entries in the table, dead ones that still count included, in order of place.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.is_live())
    }

    /// Looks `tuple` up. Dead entries on the way are collected, `ended` hears of those it has not heard of yet.
    /// [`Self::next_ended`] must have named all that have ended by `now`.
    #[inline]
    pub fn find(
        &mut self,
        tuple: &FourTuple,
        now: SimTime,
        ended: &mut impl FnMut(&Entry, Ended),
    ) -> Option<(u32, Direction)> {
        let hash = self.hash(tuple);
        if !self.has_dead_in(hash.bucket) {
            let node = self.walk(tuple, hash);
            if node == NIL {
                return None;
            }
            let (index, direction) = split(node);
            if !self.entries[index as usize].is_expired(now) {
                return Some((index, direction));
            }
        }
        self.find_and_collect(tuple, hash.bucket, now, ended)
    }

    #[inline(never)]
    fn find_and_collect(
        &mut self,
        tuple: &FourTuple,
        bucket: usize,
        now: SimTime,
        ended: &mut impl FnMut(&Entry, Ended),
    ) -> Option<(u32, Direction)> {
        let mut node = self.buckets[bucket];
        while node != NIL {
            let (index, direction) = split(node);
            let entry = &self.entries[index as usize];
            if entry.is_expired(now) {
                self.end(index, Ended::Expired, ended);
                // Its other tuple may have been the next one of this bucket.
                node = self.buckets[bucket];
            } else if entry.tuple(direction) == tuple {
                return Some((index, direction));
            } else {
                node = self.after(node);
            }
        }
        None
    }

    /// The entry with this tuple, dead or alive, nothing collected (`__nf_conntrack_confirm()` looks like this).
    pub fn peek(&self, tuple: &FourTuple) -> Option<(u32, Direction)> {
        let node = self.walk(tuple, self.hash(tuple));
        (node != NIL).then(|| split(node))
    }

    /// The tuple's place in its bucket's chain, or [`NIL`].
    #[allow(clippy::inline_always, reason = "every packet looks its tuple up")]
    #[inline(always)]
    fn walk(&self, tuple: &FourTuple, hash: Hash) -> u32 {
        let mut node = self.buckets[hash.bucket];
        while node != NIL {
            let link = self.links[node as usize];
            if link.tag == hash.tag {
                let (index, direction) = split(node);
                if self.entries[index as usize].tuple(direction) == tuple {
                    break;
                }
            }
            node = link.next;
        }
        node
    }

    /// Entries alive, once [`Self::next_ended`] has named all that are not.
    pub fn alive(&self) -> u32 {
        self.count - self.dead
    }

    /// Some entry is dead and nothing has collected it yet.
    pub fn has_dead(&self) -> bool {
        self.dead > 0
    }

    /// Collects the entries in a tuple's bucket whose end was reported: what a test of the tuple does on its way
    /// (`nf_conntrack_tuple_taken()`).
    pub fn collect(&mut self, tuple: &FourTuple) {
        let bucket = self.locate(tuple);
        if self.has_dead_in(bucket) {
            self.collect_bucket(bucket);
        }
    }

    /// Collects the entries of `first..last` whose end was reported, bucket by bucket. Returns how many there were.
    pub(super) fn collect_buckets(&mut self, first: u32, last: u32) -> u32 {
        let (mut bucket, last) = (first as usize, last as usize);
        let mut collected = 0;
        while bucket < last {
            let bits = self.dead_in[bucket / 64] >> (bucket % 64);
            if bits == 0 {
                bucket = (bucket / 64 + 1) * 64;
                continue;
            }
            bucket += bits.trailing_zeros() as usize;
            if bucket < last {
                collected += self.collect_bucket(bucket);
            }
            bucket += 1;
        }
        collected
    }

    /// Walks a bucket as far as there is an entry whose end was reported.
    fn collect_bucket(&mut self, bucket: usize) -> u32 {
        let mut node = self.buckets[bucket];
        let mut collected = 0;
        while node != NIL && self.has_dead_in(bucket) {
            let (index, _) = split(node);
            let mut next = self.after(node);
            if self.entries[index as usize].is_ended() {
                if next != NIL && split(next).0 == index {
                    next = self.after(next);
                }
                self.remove(index);
                collected += 1;
            }
            node = next;
        }
        if node == NIL {
            self.dead_tuples[bucket] = 0;
            self.dead_in[bucket / 64] &= !(1 << (bucket % 64));
        }
        collected
    }

    /// A bucket holds an entry whose end was reported.
    fn has_dead_in(&self, bucket: usize) -> bool {
        self.dead_in[bucket / 64] & 1 << (bucket % 64) != 0
    }

    /// Tuples in `first..last`; counted no further than to `enough`.
    pub(super) fn tuples_in(&self, first: u32, last: u32, enough: u32) -> u32 {
        let mut tuples = 0;
        for &first in &self.buckets[first as usize..last as usize] {
            let mut node = first;
            while node != NIL {
                tuples += 1;
                node = self.after(node);
            }
            if tuples >= enough {
                break;
            }
        }
        tuples
    }

    /// Tuples in the fuller one of an entry's two buckets.
    pub fn longest_chain(&self, original: &FourTuple, reply: &FourTuple) -> u32 {
        let length = |tuple| {
            let mut node = self.buckets[self.locate(tuple)];
            let mut length = 0;
            while node != NIL {
                length += 1;
                node = self.after(node);
            }
            length
        };
        length(original).max(length(reply))
    }

    /// Confirms an entry: neither tuple may be in the table.
    pub fn insert(&mut self, mut entry: Entry) -> u32 {
        let index = self.free.pop().unwrap_or(self.entries.len() as u32);
        if index as usize == self.entries.len() {
            growth::make_room(&mut self.links, 2, 2 * GROWTH);
            self.links.extend([Link { next: NIL, tag: 0 }; 2]);
        }
        for direction in [Direction::Original, Direction::Reply] {
            let Hash { bucket, tag } = self.hash(entry.tuple(direction));
            let node = join(index, direction);
            let next = std::mem::replace(&mut self.buckets[bucket], node);
            self.links[node as usize] = Link { next, tag };
        }
        if let Some(place) = self.entries.get_mut(index as usize) {
            entry.generation = place.generation.wrapping_add(1);
            *place = entry;
        } else {
            growth::make_room(&mut self.entries, 1, GROWTH);
            self.entries.push(entry);
        }
        self.count += 1;
        index
    }

    /// Takes an entry out of the table. `true` if its end was not reported before.
    pub fn remove(&mut self, index: u32) -> bool {
        let was_ended = self.entries[index as usize].is_ended();
        for direction in [Direction::Original, Direction::Reply] {
            let bucket = self.unlink(index, direction);
            let dead = &mut self.dead_tuples[bucket];
            if was_ended && *dead != u8::MAX {
                *dead -= 1;
                if *dead == 0 {
                    self.dead_in[bucket / 64] &= !(1 << (bucket % 64));
                }
            }
        }
        let entry = &mut self.entries[index as usize];
        entry.armed = FREE;
        self.free.push(index);
        self.count -= 1;
        self.dead -= u32::from(was_ended);
        !was_ended
    }

    /// An entry's timeout has moved: [`Self::next_ended`] must know of it. It looks at the entry at `cap` at the
    /// latest, so that a short state that follows soon needs no ticket of its own.
    pub fn arm(&mut self, index: u32, cap: SimTime) {
        let entry = &mut self.entries[index as usize];
        let at = entry.tracker.expires.min(cap);
        if self.agenda.is_before(at, entry.armed) {
            let ticket = Ticket {
                index,
                generation: entry.generation,
            };
            entry.armed = self.agenda.put(ticket, at);
        }
    }

    /// No entry that was armed ends before this moment.
    pub fn next_end(&self) -> SimTime {
        self.agenda.next()
    }

    /// An entry whose timeout has passed by `until` and that was not named before, the earliest first; it stays in the
    /// table until collected.
    pub fn next_ended(&mut self, until: SimTime) -> Option<u32> {
        while self.agenda.next() <= until {
            let Some((at, ticket)) = self.agenda.pop() else {
                self.begin_slot();
                continue;
            };
            let entry = &mut self.entries[ticket.index as usize];
            if entry.generation != ticket.generation || !entry.is_live() || entry.is_ended() {
                continue;
            }
            if entry.is_expired(at) {
                self.mark_ended(ticket.index);
                return Some(ticket.index);
            }
            entry.armed = self.agenda.put(ticket, entry.tracker.expires);
        }
        None
    }

    fn begin_slot(&mut self) {
        let begun = self.agenda.begin();
        for &index in &begun.places {
            let entry = &mut self.entries[index as usize];
            if entry.armed == begun.slot {
                let ticket = Ticket {
                    index,
                    generation: entry.generation,
                };
                entry.armed = self.agenda.put_again(ticket, entry.tracker.expires);
            }
        }
        self.agenda.settle(begun.places);
    }

    fn mark_ended(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        entry.armed = ENDED;
        let (original, reply) = (entry.original, entry.reply);
        self.dead += 1;
        for tuple in [original, reply] {
            let bucket = self.locate(&tuple);
            let dead = &mut self.dead_tuples[bucket];
            *dead = dead.saturating_add(1);
            self.dead_in[bucket / 64] |= 1 << (bucket % 64);
        }
    }

    /// Another entry would exceed `nf_conntrack_max`.
    pub fn is_full(&self) -> bool {
        self.full_count() >= self.max
    }

    /// Makes room for an entry of `tuple`: all entries that are not ASSURED leave the first of eight buckets that has
    /// any. Returns how many left; 0: the packet must be dropped.
    pub fn early_drop(
        &mut self,
        tuple: &FourTuple,
        now: SimTime,
        ended: &mut impl FnMut(&Entry, Ended),
    ) -> u32 {
        let first = self.locate(tuple);
        for step in 0..EVICTION_RANGE {
            let bucket = (first as u32 + step) % self.size();
            let mut dropped = 0;
            self.scan(
                bucket,
                |entry| {
                    if entry.is_expired(now) {
                        Some(Ended::Expired)
                    } else if entry.tracker.assured {
                        None
                    } else {
                        dropped += 1;
                        Some(Ended::EarlyDrop)
                    }
                },
                ended,
            );
            if dropped > 0 {
                return dropped;
            }
        }
        0
    }

    /// The entries that were used least recently, as many as an eBPF map of type LRU frees at once: what makes room there
    /// (`LOCAL_FREE_TARGET`, `kernel/bpf/bpf_lru_list.c`). That list is approximate; this one goes by the time of the last
    /// packet, to the accuracy of the entry's timeout.
    pub fn least_recently_used(&self, timeouts: &Timeouts) -> Vec<u32> {
        let live = self.entries.iter().zip(0_u32..);
        let live = live.filter(|(entry, _)| entry.is_live() && !entry.is_ended());
        let mut by_use: Vec<_> = live
            .map(|(entry, index)| {
                let timeout = timeouts.of(entry.tracker.state);
                let last_use = entry
                    .tracker
                    .expires
                    .as_nanos()
                    .saturating_sub(timeout.as_nanos());
                (last_use, index)
            })
            .collect();
        if by_use.len() > LRU_BATCH {
            by_use.select_nth_unstable(LRU_BATCH);
            by_use.truncate(LRU_BATCH);
        }
        by_use.into_iter().map(|(_, index)| index).collect()
    }

    /// Walks one bucket; each entry for which `judge` names an end leaves the table.
    pub(super) fn scan(
        &mut self,
        bucket: u32,
        mut judge: impl FnMut(&Entry) -> Option<Ended>,
        ended: &mut impl FnMut(&Entry, Ended),
    ) {
        let mut node = self.buckets[bucket as usize];
        while node != NIL {
            let (index, _) = split(node);
            let mut next = self.after(node);
            if let Some(why) = judge(&self.entries[index as usize]) {
                if next != NIL && split(next).0 == index {
                    next = self.after(next);
                }
                self.end(index, why, ended);
            }
            node = next;
        }
    }

    /// Removes an entry that ended on its own and reports it, once.
    fn end(&mut self, index: u32, why: Ended, ended: &mut impl FnMut(&Entry, Ended)) {
        if self.remove(index) {
            ended(&self.entries[index as usize], why);
        }
    }

    /// Takes a tuple out of its bucket, which is returned.
    fn unlink(&mut self, index: u32, direction: Direction) -> usize {
        let node = join(index, direction);
        let next = self.after(node);
        let bucket = self.locate(self.entries[index as usize].tuple(direction));
        let mut at = self.buckets[bucket];
        if at == node {
            self.buckets[bucket] = next;
            return bucket;
        }
        while self.after(at) != node {
            at = self.after(at);
        }
        self.links[at as usize].next = next;
        bucket
    }

    /// The tuple that follows another one in its bucket.
    fn after(&self, node: u32) -> u32 {
        self.links[node as usize].next
    }

    /// Bucket of a tuple.
    fn locate(&self, tuple: &FourTuple) -> usize {
        self.hash(tuple).bucket
    }

    fn hash(&self, tuple: &FourTuple) -> Hash {
        let product = u128::from(tuple.src.to_u64() ^ 0x9e37_79b9_7f4a_7c15)
            * u128::from(tuple.dst.to_u64() ^ 0xe703_7ed1_a0b4_28db);
        let mixed = ((product >> 64) as u64 ^ product as u64).wrapping_mul(0xd6e8_feb8_6659_fd93);
        Hash {
            bucket: (((mixed >> 32) * self.buckets.len() as u64) >> 32) as usize,
            tag: mixed as u32,
        }
    }
}

/// What a tuple's hash decides.
#[derive(Clone, Copy)]
struct Hash {
    bucket: usize,
    tag: u32,
}

const fn join(index: u32, direction: Direction) -> u32 {
    index * 2 + matches!(direction, Direction::Reply) as u32
}

const fn split(node: u32) -> (u32, Direction) {
    let direction = if node & 1 == 0 {
        Direction::Original
    } else {
        Direction::Reply
    };
    (node >> 1, direction)
}
