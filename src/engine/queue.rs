//! The pending set: what is still to happen, popped in the order that is part of the contract.

mod lanes;
mod wheel;

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::units::{SimDuration, SimTime};
pub use lanes::LaneId;
use lanes::Lanes;
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
/// schedule -+-> a lane: a queue per fixed delay ------------------------.
///           |                                                           |
///           '-> Wheel: seven levels of 256 slots, by distance --.       |
///                                                                |      v   the earlier
///    |  (not after the wheel's position)    the earliest slot of |     pop <- of both
///    |                                      the lowest level,    v      ^
///    '--------------------> late: a heap ---.   sorted  <--------'      |
///                                           '--> and due: soonest last -'
/// ```
///
/// Nearly all events of a path are packets on links of constant delay: they need no sorting, see [`LaneId`].
/// What comes out does not depend on lanes or on the order of insertion, only on time and tie.
///
/// **Nothing is removed or moved here.** Whoever keeps a timer keeps its deadline and a generation, and has one
/// entry pending: rearming to a later time costs no operation, the entry finds on firing that the deadline has
/// moved and schedules itself anew; rearming to an earlier time schedules a second entry with a new generation,
/// and the old one finds on firing that it is no longer meant. Cancelling is raising the generation.
#[derive(Debug, Clone)]
pub struct PendingSet<E> {
    now: SimTime,
    len: usize,
    lanes: Lanes<E>,
    wheel: Wheel<E>,
    /// What the wheel gave out last, in falling order: the next one is popped off the end. With `late`, empty only if
    /// the wheel is.
    due: Vec<Entry<E>>,
    /// What was scheduled after the wheel had passed its time.
    late: BinaryHeap<Reverse<Entry<E>>>,
    /// When the first of `due` and `late` happens; [`u64::MAX`]: both are empty.
    unlaned: u64,
    scheduled: u64,
}

impl<E: Copy> PendingSet<E> {
    /// The empty set, at the start of the run.
    pub fn new() -> Self {
        Self {
            now: SimTime::ZERO,
            len: 0,
            lanes: Lanes::new(),
            wheel: Wheel::new(),
            due: Vec::new(),
            late: BinaryHeap::new(),
            unlaned: u64::MAX,
            scheduled: 0,
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
    /// Work done so far, in operations: an event that came in, or one that moved inside the set.
    pub const fn operations(&self) -> u64 {
        self.scheduled + self.wheel.moved + self.lanes.moved
    }

    /// Opens a lane for events that happen `delay` after they are scheduled. `None`: there are lanes enough, and
    /// [`Self::schedule`] does as well.
    pub fn lane(&mut self, delay: SimDuration) -> Option<LaneId> {
        self.lanes.open(delay)
    }

    /// Makes `event` happen at `at`, also at the present instant.
    ///
    /// Two events of the same instant must differ in their ties, else their order is unspecified.
    ///
    /// # Panics
    /// If `at` lies in the past, also in release builds: such a run means nothing.
    pub fn schedule(&mut self, at: SimTime, tie: Tie, event: E) {
        assert!(at >= self.now, "event at {at} is before now, {}", self.now);
        if at.as_nanos() < lanes::END
            && let Some(lane) = self.lanes.find(at.as_nanos() - self.now.as_nanos())
        {
            return self.schedule_on(lane, tie, event);
        }
        self.schedule_unlaned(Entry {
            at: at.as_nanos(),
            tie: tie.0,
            event,
        });
    }

    fn schedule_unlaned(&mut self, entry: Entry<E>) {
        self.len += 1;
        self.scheduled += 1;
        if self.wheel.has_passed(entry.at) {
            self.unlaned = self.unlaned.min(entry.at);
            self.late.push(Reverse(entry));
            return;
        }
        self.wheel.insert(entry);
        if self.due.is_empty() && self.late.is_empty() {
            self.refill();
        }
    }

    /// Makes `event` happen the lane's delay after the present, or at the end of time, if that is earlier.
    #[inline]
    pub fn schedule_on(&mut self, lane: LaneId, tie: Tie, event: E) {
        let at = self.now.as_nanos().saturating_add(self.lanes.delay(lane));
        let entry = Entry {
            at,
            tie: tie.0,
            event,
        };
        if at >= lanes::END {
            return self.schedule_unlaned(entry);
        }
        self.len += 1;
        self.scheduled += 1;
        self.lanes.push(lane, entry);
    }

    /// Takes the next event out and moves [`Self::now`] to its time.
    #[inline]
    pub fn pop(&mut self) -> Option<(SimTime, E)> {
        if self.len == 0 {
            return None;
        }
        let entry = match self.lanes.single_first() {
            (at, Some(lane)) if at < self.unlaned => self.lanes.pop(lane),
            (at, _) if at > self.unlaned => self.pop_unlaned(),
            (at, _) => self.pop_among(at),
        }?;
        let at = SimTime::from_nanos(entry.at);
        assert!(at >= self.now, "time goes back from {} to {at}", self.now);
        self.now = at;
        self.len -= 1;
        Some((at, entry.event))
    }

    /// When the next event happens.
    pub fn next_time(&self) -> Option<SimTime> {
        let at = match self.lanes.earliest() {
            lanes::END => self.unlaned,
            at => at.min(self.unlaned),
        };
        (self.len > 0).then(|| SimTime::from_nanos(at))
    }

    /// Takes the first of several entries that may happen at `at`; [`lanes::END`]: no lane has an entry.
    #[inline(never)]
    fn pop_among(&mut self, at: u64) -> Option<Entry<E>> {
        match self.lanes.first_of_several(at) {
            Some(lane) if self.unlaned != at || !self.unlaned_is_first(lane) => self.lanes.pop(lane),
            _ => self.pop_unlaned(),
        }
    }

    /// Both this lane and the rest of the set have an entry at the next instant: whether that of the rest comes first.
    #[cold]
    fn unlaned_is_first(&self, lane: usize) -> bool {
        let tie = match (self.due.last(), self.late.peek()) {
            (Some(due), Some(Reverse(late))) => due.min(late).tie,
            (Some(entry), None) | (None, Some(Reverse(entry))) => entry.tie,
            (None, None) => return false,
        };
        self.lanes.tie(lane).is_none_or(|its| tie < its)
    }

    #[inline(never)]
    fn pop_unlaned(&mut self) -> Option<Entry<E>> {
        let late_is_next = self
            .late
            .peek()
            .is_some_and(|Reverse(late)| self.due.last().is_none_or(|due| late < due));
        let entry = if late_is_next {
            self.late.pop().map(|Reverse(entry)| entry)
        } else {
            self.due.pop()
        };
        if self.due.is_empty() && self.late.is_empty() {
            self.refill();
        } else {
            self.look();
        }
        entry
    }

    /// Turns the wheel to its earliest entries and sorts them.
    fn refill(&mut self) {
        self.wheel.advance(&mut self.due);
        if self.due.len() > 1 {
            self.due.sort_unstable_by_key(|entry| Reverse(entry.key()));
        }
        self.look();
    }

    fn look(&mut self) {
        let due = self.due.last().map_or(u64::MAX, |entry| entry.at);
        let late = self.late.peek().map_or(u64::MAX, |Reverse(entry)| entry.at);
        self.unlaned = due.min(late);
    }
}

impl<E: Copy> Default for PendingSet<E> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
