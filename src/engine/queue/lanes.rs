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

/// A lane of a pending set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneId(u8);

/// The lanes of a pending set. See the [module](self).
#[derive(Debug, Clone)]
pub(super) struct Lanes<E> {
    /// When the first entry of each lane happens; [`u64::MAX`]: no entry.
    heads: [u64; LANES],
    /// The least of the heads from [`NEAR`] on.
    far: u64,
    /// Their fixed times, nanoseconds; [`NO_LANE`]: not opened.
    delays: [u64; LANES],
    queues: [VecDeque<Entry<E>>; LANES],
    /// Entries that changed places with others of their instant.
    pub(super) moved: u64,
}

impl<E: Copy> Lanes<E> {
    pub(super) fn new() -> Self {
        Self {
            heads: [u64::MAX; LANES],
            far: u64::MAX,
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
                self.heads[lane] = entry.at;
                if lane >= NEAR {
                    self.far = self.far.min(entry.at);
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
        self.heads[lane] = queue[0].at;
    }

    /// When the first entry of all lanes happens; [`u64::MAX`]: there is none.
    #[inline]
    pub(super) fn earliest(&self) -> u64 {
        let near = &self.heads[..NEAR];
        near.iter().fold(self.far, |least, &head| least.min(head))
    }

    /// The lane with the first entry among those whose first entry happens at `at`.
    #[inline]
    pub(super) fn first_at(&self, at: u64) -> Option<usize> {
        let mut lanes = 0_u32;
        for (lane, &head) in self.heads[..NEAR].iter().enumerate() {
            lanes |= u32::from(head == at) << lane;
        }
        if self.far != at && lanes & lanes.wrapping_sub(1) == 0 {
            return (lanes != 0).then(|| lanes.trailing_zeros() as usize);
        }
        self.first_of_several(at)
    }

    /// The same among all lanes: the tie decides between several.
    #[inline(never)]
    fn first_of_several(&self, at: u64) -> Option<usize> {
        (0..LANES)
            .filter(|&lane| self.heads[lane] == at)
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
        self.heads[lane] = self.queues[lane].front().map_or(u64::MAX, |next| next.at);
        if lane >= NEAR {
            self.far = self.heads[NEAR..]
                .iter()
                .fold(u64::MAX, |least, &head| least.min(head));
        }
        entry
    }
}
