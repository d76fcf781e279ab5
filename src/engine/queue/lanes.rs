//! Lanes: events that happen a fixed time after they were scheduled. Time never goes back, so such events are sorted as
//! they come, and a queue is all they need; only those of one instant may have to change places.

use std::collections::VecDeque;

use super::Entry;
use crate::units::SimDuration;

/// Lanes at most.
const LANES: usize = 8;
/// The lanes opened first are looked at each time, the others only when one of them has changed: a path has four kinds of
/// links, opened first; the rest is for patience and timers, of which there are few.
const NEAR: usize = 4;

/// The delay of a lane that there is not.
const NO_LANE: u64 = u64::MAX;

/// Entries of lanes happen before this, nanoseconds: 73 years.
pub(super) const END: u64 = u64::MAX >> LANE_BITS;
const LANE_BITS: u32 = 3;
const _: () = assert!(LANES == 1 << LANE_BITS);

/// When the first entry of a lane happens, and the number of the lane below it: the least of some heads says both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Head(u64);

impl Head {
    /// Of a lane without entries.
    const NONE: Self = Self(u64::MAX);

    fn new(at: u64, lane: usize) -> Self {
        Self(at << LANE_BITS | lane as u64)
    }

    /// Nanoseconds; [`END`]: there is no entry.
    #[inline]
    pub(super) fn at(self) -> u64 {
        self.0 >> LANE_BITS
    }

    #[inline]
    fn lane(self) -> usize {
        (self.0 % LANES as u64) as usize
    }
}

/// A lane of a pending set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneId(u8);

/// The lanes of a pending set. See the [module](self).
#[derive(Debug, Clone)]
pub(super) struct Lanes<E> {
    heads: [Head; LANES],
    /// The least of the heads from [`NEAR`] on.
    far: Head,
    /// Their fixed times, nanoseconds; [`NO_LANE`]: not opened.
    delays: [u64; LANES],
    queues: [VecDeque<Entry<E>>; LANES],
    /// Entries that changed places with others of their instant.
    pub(super) moved: u64,
}

impl<E: Copy> Lanes<E> {
    pub(super) fn new() -> Self {
        Self {
            heads: [Head::NONE; LANES],
            far: Head::NONE,
            delays: [NO_LANE; LANES],
            queues: std::array::from_fn(|_| VecDeque::new()),
            moved: 0,
        }
    }

    /// The lane of a delay, made if there is room for one more.
    pub(super) fn open(&mut self, delay: SimDuration) -> Option<LaneId> {
        self.find(delay.as_nanos()).or_else(|| {
            let lane = self.delays.iter().position(|&its| its == NO_LANE)?;
            self.delays[lane] = delay.as_nanos();
            (delay.as_nanos() != NO_LANE).then_some(LaneId(lane as u8))
        })
    }

    /// The lane of a delay, nanoseconds.
    pub(super) fn find(&self, delay: u64) -> Option<LaneId> {
        if delay == NO_LANE {
            return None;
        }
        let lane = self.delays.iter().position(|&its| its == delay)?;
        Some(LaneId(lane as u8))
    }

    /// The fixed time of a lane, nanoseconds.
    pub(super) fn delay(&self, lane: LaneId) -> u64 {
        self.delays[usize::from(lane.0)]
    }

    /// Adds an entry that happens the lane's time after the present.
    pub(super) fn push(&mut self, lane: LaneId, entry: Entry<E>) {
        let lane = usize::from(lane.0);
        let queue = &mut self.queues[lane];
        match queue.back() {
            None => {
                self.heads[lane] = Head::new(entry.at, lane);
                if lane >= NEAR {
                    self.far = self.far.min(self.heads[lane]);
                }
            }
            Some(last) if last.key() > entry.key() => return self.push_among_equals(lane, entry),
            Some(_) => {}
        }
        queue.push_back(entry);
    }

    /// Hosts of one instant schedule in the order in which they act, which need not be that of their ties.
    #[cold]
    #[inline(never)]
    fn push_among_equals(&mut self, lane: usize, entry: Entry<E>) {
        let queue = &mut self.queues[lane];
        let later = queue
            .iter()
            .rev()
            .take_while(|other| other.key() > entry.key())
            .count();
        self.moved += later as u64;
        queue.insert(queue.len() - later, entry);
        self.heads[lane] = Head::new(queue[0].at, lane);
    }

    /// When the first entry of all lanes happens; [`END`]: there is none.
    #[inline]
    pub(super) fn earliest(&self) -> u64 {
        self.first().0.at()
    }

    /// The lane whose first entry comes before those of all others, and when. `None`: to be found by
    /// [`Self::first_of_several`], if there is one.
    #[inline]
    pub(super) fn single_first(&self) -> (u64, Option<usize>) {
        let (first, second) = self.first();
        let is_single = first.at() != second.at() && first.lane() < NEAR;
        (first.at(), is_single.then(|| first.lane()))
    }

    /// The least heads: of the far lanes only one is looked at.
    #[inline]
    fn first(&self) -> (Head, Head) {
        let (mut first, mut second) = (self.far, Head::NONE);
        for &head in &self.heads[..NEAR] {
            second = second.min(first.max(head));
            first = first.min(head);
        }
        (first, second)
    }

    /// The lane whose entry comes first among those that happen at `at`: the tie decides.
    pub(super) fn first_of_several(&self, at: u64) -> Option<usize> {
        (0..LANES)
            .filter(|&lane| self.heads[lane].at() == at)
            .filter_map(|lane| Some((self.queues[lane].front()?.tie, lane)))
            .min()
            .map(|(_, lane)| lane)
    }

    /// Tie of the first entry of a lane.
    pub(super) fn tie(&self, lane: usize) -> Option<u64> {
        self.queues[lane].front().map(|entry| entry.tie)
    }

    /// Takes the first entry of a lane.
    #[inline]
    pub(super) fn pop(&mut self, lane: usize) -> Option<Entry<E>> {
        let entry = self.queues[lane].pop_front();
        let next = self.queues[lane].front();
        self.heads[lane] = next.map_or(Head::NONE, |next| Head::new(next.at, lane));
        if lane >= NEAR {
            self.far = self.heads[NEAR..]
                .iter()
                .fold(Head::NONE, |least, &head| least.min(head));
        }
        entry
    }
}
