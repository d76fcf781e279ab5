//! The pending set: what is still to happen, popped in the order that is part of the contract.

mod wheel;

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::units::SimTime;
use wheel::Wheel;

/// What kind of event comes first among those of one instant: "expired" means now >= deadline, so timers act
/// before a packet of the same instant sees their object, and observers look when all is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A timer of a host.
    Timer = 0,
    /// A packet arrives, or a caller acts.
    Packet = 1,
    /// Something is measured.
    Observe = 2,
}

/// The order among events of one instant: by class, then host, then that host's own counter.
///
/// The counter belongs to the host that schedules, so that the order of two hosts does not depend on who was
/// simulated first. A host counts on with every event, so no two events of an instant have the same tie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tie(u64);

impl Tie {
    /// Bits of the counter: years of events at any rate a simulation reaches.
    const COUNTER_BITS: u32 = 40;
    /// Bits of the host: four million hosts.
    const HOST_BITS: u32 = 22;

    /// Packs the three parts into one word.
    ///
    /// # Panics
    /// If the host needs more than 22 bits or the counter more than 40: the order would silently be wrong.
    pub const fn new(class: Class, host: u32, counter: u64) -> Self {
        assert!(host >> Self::HOST_BITS == 0, "host index exceeds 22 bits");
        assert!(
            counter >> Self::COUNTER_BITS == 0,
            "event counter exceeds 40 bits"
        );
        let class = (class as u64) << (Self::HOST_BITS + Self::COUNTER_BITS);
        Self(class | (host as u64) << Self::COUNTER_BITS | counter)
    }
}

/// One pending event.
#[derive(Debug, Clone, Copy)]
struct Entry<E> {
    at: u64,
    tie: u64,
    event: E,
}

/// Half a cache line for an event of two words: the set is bound by memory, not by instructions.
const _: () = assert!(size_of::<Entry<[u64; 2]>>() <= 32);

impl<E> Entry<E> {
    /// Time and tie as one number, so that a comparison has no branch.
    const fn key(&self) -> u128 {
        (self.at as u128) << 64 | self.tie as u128
    }
}
impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl<E> Eq for Entry<E> {}
impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// The events that are still to happen, in the total order (time, class, host, that host's counter).
///
/// ```text
/// schedule -> Wheel: seven levels of 256 slots, by distance ---.
///                                                              | the earliest slot of the lowest level,
///    |  (not after the wheel's position)                       v sorted, when nothing is due any more
///    '--------------------> late: a heap ------> pop <------ due: one run, soonest last
/// ```
///
/// What comes out does not depend on the order of insertion, only on time and tie.
///
/// **Nothing is removed or moved here.** Whoever keeps a timer keeps its deadline and a generation, and has one
/// entry pending: rearming to a later time costs no operation, the entry finds on firing that the deadline has
/// moved and schedules itself anew; rearming to an earlier time schedules a second entry with a new generation,
/// and the old one finds on firing that it is no longer meant. Cancelling is raising the generation.
#[derive(Debug, Clone)]
pub struct PendingSet<E> {
    now: SimTime,
    len: usize,
    wheel: Wheel<E>,
    /// What the wheel gave out last, in falling order: the next one is popped off the end.
    due: Vec<Entry<E>>,
    /// What was scheduled after the wheel had passed its time.
    late: BinaryHeap<Reverse<Entry<E>>>,
}

impl<E: Copy> PendingSet<E> {
    /// The empty set, at the start of the run.
    pub fn new() -> Self {
        Self {
            now: SimTime::ZERO,
            len: 0,
            wheel: Wheel::new(),
            due: Vec::new(),
            late: BinaryHeap::new(),
        }
    }

    /// The time of the event popped last.
    pub const fn now(&self) -> SimTime {
        self.now
    }
    /// How many events are pending.
    pub const fn len(&self) -> usize {
        self.len
    }
    /// Whether nothing is left to happen.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes `event` happen at `at`, also at the present instant.
    ///
    /// Two events of the same instant must differ in their ties, else their order is unspecified.
    ///
    /// # Panics
    /// If `at` lies in the past, also in release builds: such a run means nothing.
    pub fn schedule(&mut self, at: SimTime, tie: Tie, event: E) {
        assert!(at >= self.now, "event at {at} is before now, {}", self.now);
        let entry = Entry {
            at: at.as_nanos(),
            tie: tie.0,
            event,
        };
        self.len += 1;
        if self.wheel.has_passed(entry.at) {
            self.late.push(Reverse(entry));
        } else {
            self.wheel.insert(entry);
        }
    }

    /// Takes the next event out and moves [`Self::now`] to its time.
    pub fn pop(&mut self) -> Option<(SimTime, E)> {
        if self.due.is_empty() && self.late.is_empty() {
            self.refill();
        }
        let entry = if self.late_is_next() {
            self.late.pop().map(|Reverse(entry)| entry)
        } else {
            self.due.pop()
        }?;
        let at = SimTime::from_nanos(entry.at);
        assert!(at >= self.now, "time goes back from {} to {at}", self.now);
        self.now = at;
        self.len -= 1;
        Some((at, entry.event))
    }

    /// When the next event happens. Cheap: the work it does is what the next [`Self::pop`] need not do.
    pub fn next_time(&mut self) -> Option<SimTime> {
        if self.due.is_empty() && self.late.is_empty() {
            self.refill();
        }
        let entry = if self.late_is_next() {
            self.late.peek().map(|Reverse(entry)| entry)
        } else {
            self.due.last()
        };
        entry.map(|entry| SimTime::from_nanos(entry.at))
    }

    /// Whether the next event is among the late ones.
    fn late_is_next(&self) -> bool {
        self.late
            .peek()
            .is_some_and(|Reverse(late)| self.due.last().is_none_or(|due| late < due))
    }

    /// Turns the wheel to its earliest entries and sorts them.
    fn refill(&mut self) {
        self.wheel.advance(&mut self.due);
        if self.due.len() > 1 {
            self.due.sort_unstable_by_key(|entry| Reverse(entry.key()));
        }
    }
}

impl<E: Copy> Default for PendingSet<E> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
