//! The table of tracked connections: both tuples of each in one hash, expiry, early drop.
//!
//! `net/netfilter/nf_conntrack_core.c`, 4.19 to 6.18. As there, an entry past its timeout is dead for every lookup,
//! but counts in `nf_conntrack_count` until it is collected: by a walk over its bucket (a lookup, an early drop) or
//! by gc. Buckets are modelled because they decide what is collected and what early drop can reach.
//! The kernel's keyed hash is replaced by a fixed one; entries of other traffic are a number, see
//! [`ConntrackConfig::background_entries`](super::ConntrackConfig).

use super::{ConntrackConfig, Direction, Tracker};
use crate::model::ipvs;
use crate::units::{FourTuple, SimTime};

/// No entry, no node.
const NIL: u32 = u32::MAX;
/// Buckets that an early drop looks at (`NF_CT_EVICTION_RANGE`).
const EVICTION_RANGE: u32 = 8;
/// Buckets are an optimisation of ours, too: more than this buy nothing.
const MOST_BUCKETS: u32 = 1 << 20;
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

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Tuple of the first packet.
    pub original: FourTuple,
    /// Tuple of the answers, with all translation undone by it.
    pub reply: FourTuple,
    /// State of the connection.
    pub tracker: Tracker,
    /// The pod behind the mapping, by its index in the plan; `None`: nothing is translated.
    pub pod: Option<u32>,
    /// The port that either tuple occupies in a pool.
    pub port: Option<PortSlot>,
    /// The ipvs connection.
    pub ipvs: Option<ipvs::Handle>,
    /// The end of the entry was reported: it is past its timeout and only counts until collected.
    ended: bool,
    live: bool,
    generation: u32,
    armed_at: SimTime,
}

impl Entry {
    /// An entry to be.
    pub fn new(original: FourTuple, reply: FourTuple, tracker: Tracker) -> Self {
        Self {
            original,
            reply,
            tracker,
            pod: None,
            port: None,
            ipvs: None,
            ended: false,
            live: true,
            generation: 0,
            armed_at: SimTime::NEVER,
        }
    }

    /// Past its timeout (`nf_ct_is_expired()`).
    pub fn is_expired(&self, now: SimTime) -> bool {
        self.tracker.is_expired(now)
    }

    fn tuple(&self, direction: Direction) -> FourTuple {
        match direction {
            Direction::Original => self.original,
            Direction::Reply => self.reply,
        }
    }
}

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

/// What a timer of an entry means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryTimer {
    /// Superseded, or the entry is gone.
    Stale,
    /// The entry lives on: call again then.
    Again(SimTime),
    /// The entry is past its timeout; it stays in the table until collected.
    Expired,
}

/// One of the two tuples of an entry in its bucket; the node's number is twice the entry's, plus 1 for the reply.
#[derive(Debug, Clone, Copy)]
struct Node {
    next: u32,
    tag: u32,
}

/// The table.
#[derive(Debug, Clone)]
pub struct Table {
    buckets: Vec<u32>,
    nodes: Vec<Node>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    count: u32,
    /// Entries whose end was reported and which nothing has collected.
    dead: u32,
    /// A bit per bucket that may hold one of them: tests of ports pass over thousands of buckets that do not.
    dead_in: Vec<u64>,
    background: u32,
    max: u32,
}

impl Table {
    /// An empty table.
    pub fn new(config: &ConntrackConfig) -> Self {
        let size = config.buckets.clamp(LEAST_BUCKETS, MOST_BUCKETS) as usize;
        Self {
            buckets: vec![NIL; size],
            dead_in: vec![0; size.div_ceil(64)],
            nodes: Vec::new(),
            entries: Vec::new(),
            free: Vec::new(),
            count: 0,
            dead: 0,
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

    /// Generation of the entry at `index`, for its timers.
    pub fn generation(&self, index: u32) -> u32 {
        self.entries[index as usize].generation
    }

    /// All entries in the table, dead ones that still count included, in order of place.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.live)
    }

    /// Looks `tuple` up. Dead entries on the way are collected, `ended` hears of those it has not heard of yet.
    pub fn find(
        &mut self,
        tuple: &FourTuple,
        now: SimTime,
        ended: &mut impl FnMut(&Entry, Ended),
    ) -> Option<(u32, Direction)> {
        let (bucket, tag) = self.locate(tuple);
        let mut node = self.buckets[bucket];
        while node != NIL {
            let (index, direction) = split(node);
            if self.entries[index as usize].is_expired(now) {
                self.end(index, Ended::Expired, ended);
                // Its other tuple may have been the next one of this bucket.
                node = self.buckets[bucket];
                continue;
            }
            let Node { next, tag: its_tag } = self.nodes[node as usize];
            if its_tag == tag && self.entries[index as usize].tuple(direction) == *tuple {
                return Some((index, direction));
            }
            node = next;
        }
        None
    }

    /// The entry with this tuple, dead or alive, nothing collected (`__nf_conntrack_confirm()` looks like this).
    pub fn peek(&self, tuple: &FourTuple) -> Option<(u32, Direction)> {
        let (bucket, tag) = self.locate(tuple);
        let mut node = self.buckets[bucket];
        while node != NIL {
            let (index, direction) = split(node);
            let Node { next, tag: its_tag } = self.nodes[node as usize];
            if its_tag == tag && self.entries[index as usize].tuple(direction) == *tuple {
                return Some((index, direction));
            }
            node = next;
        }
        None
    }

    /// Some entry is dead and nothing has collected it yet.
    pub fn has_dead(&self) -> bool {
        self.dead > 0
    }

    /// Collects the entries in a tuple's bucket whose end was reported: what a test of the tuple does on its way
    /// (`nf_conntrack_tuple_taken()`).
    pub fn collect(&mut self, tuple: &FourTuple) {
        let (bucket, _) = self.locate(tuple);
        let (word, bit) = (bucket / 64, 1 << (bucket % 64));
        if self.dead_in[word] & bit == 0 {
            return;
        }
        self.dead_in[word] &= !bit;
        self.scan(
            bucket as u32,
            |entry| entry.ended.then_some(Ended::Expired),
            &mut |_, _| {},
        );
    }

    /// Tuples in the fuller one of an entry's two buckets.
    pub fn longest_chain(&self, original: &FourTuple, reply: &FourTuple) -> u32 {
        let length = |tuple| {
            let (bucket, _) = self.locate(tuple);
            let mut node = self.buckets[bucket];
            let mut length = 0;
            while node != NIL {
                length += 1;
                node = self.nodes[node as usize].next;
            }
            length
        };
        length(original).max(length(reply))
    }

    /// Confirms an entry: neither tuple may be in the table.
    pub fn insert(&mut self, mut entry: Entry) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = self.entries.len() as u32;
            self.entries.push(entry);
            self.nodes.extend([Node { next: NIL, tag: 0 }; 2]);
            index
        });
        let place = &mut self.entries[index as usize];
        entry.generation = place.generation.wrapping_add(1);
        *place = entry;
        for direction in [Direction::Original, Direction::Reply] {
            let (bucket, tag) = self.locate(&entry.tuple(direction));
            let node = join(index, direction);
            self.nodes[node as usize] = Node {
                next: self.buckets[bucket],
                tag,
            };
            self.buckets[bucket] = node;
        }
        self.count += 1;
        index
    }

    /// Takes an entry out of the table. `true` if its end was not reported before.
    pub fn remove(&mut self, index: u32) -> bool {
        for direction in [Direction::Original, Direction::Reply] {
            self.unlink(index, direction);
        }
        let entry = &mut self.entries[index as usize];
        entry.live = false;
        self.free.push(index);
        self.count -= 1;
        self.dead -= u32::from(entry.ended);
        !entry.ended
    }

    /// When to call [`Self::on_timer`] for this entry, if no call is pending that early; at the latest at `cap`, so
    /// that a short state that follows soon needs no timer of its own. Never before `now`: a timeout may be 0.
    pub fn arm(&mut self, index: u32, cap: SimTime, now: SimTime) -> Option<SimTime> {
        let entry = &mut self.entries[index as usize];
        let at = entry.tracker.expires.min(cap).max(now);
        if at >= entry.armed_at {
            return None;
        }
        entry.armed_at = at;
        Some(at)
    }

    /// A timer of an entry fires.
    pub fn on_timer(&mut self, index: u32, generation: u32, now: SimTime) -> EntryTimer {
        let Some(entry) = self.entries.get_mut(index as usize) else {
            return EntryTimer::Stale;
        };
        if !entry.live || entry.generation != generation || entry.ended || now < entry.armed_at {
            return EntryTimer::Stale;
        }
        if entry.is_expired(now) {
            entry.ended = true;
            self.dead += 1;
            for tuple in [entry.original, entry.reply] {
                let (bucket, _) = self.locate(&tuple);
                self.dead_in[bucket / 64] |= 1 << (bucket % 64);
            }
            return EntryTimer::Expired;
        }
        entry.armed_at = entry.tracker.expires;
        EntryTimer::Again(entry.armed_at)
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
        let (first, _) = self.locate(tuple);
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
            let mut next = self.nodes[node as usize].next;
            if let Some(why) = judge(&self.entries[index as usize]) {
                if next != NIL && split(next).0 == index {
                    next = self.nodes[next as usize].next;
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

    fn unlink(&mut self, index: u32, direction: Direction) {
        let node = join(index, direction);
        let (bucket, _) = self.locate(&self.entries[index as usize].tuple(direction));
        let next = self.nodes[node as usize].next;
        let mut at = self.buckets[bucket];
        if at == node {
            self.buckets[bucket] = next;
            return;
        }
        while self.nodes[at as usize].next != node {
            at = self.nodes[at as usize].next;
        }
        self.nodes[at as usize].next = next;
    }

    /// Bucket and tag of a tuple.
    fn locate(&self, tuple: &FourTuple) -> (usize, u32) {
        let product = u128::from(tuple.src.to_u64() ^ 0x9e37_79b9_7f4a_7c15)
            * u128::from(tuple.dst.to_u64() ^ 0xe703_7ed1_a0b4_28db);
        let mixed = ((product >> 64) as u64 ^ product as u64).wrapping_mul(0xd6e8_feb8_6659_fd93);
        let bucket = ((mixed >> 32) * self.buckets.len() as u64) >> 32;
        (bucket as usize, mixed as u32)
    }
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
