//! When the entries of a table are looked at next: deadlines without an event each.
//!
//! A deadline usually moves before it comes, so what is kept is a time at which to look, never later than the
//! deadline; an entry that has got more time by then is put down anew. Tickets wait unsorted in slots of about a
//! quarter of a second; only a slot that has begun is put in order. A waiting ticket is the entry's place, 4 octets: the
//! deadline is the entry's, and so is the slot in which it is looked at; whoever looks passes over those of another slot.

use crate::units::SimTime;

/// log2 of a slot's length in nanoseconds.
const SLOT_SHIFT: u32 = 28;
/// Slots in the ring: 275 s. Deadlines beyond it are looked at when its end is reached.
const RING: u32 = 1024;
/// Tickets for which a slot has room at first.
const LEAST: usize = 64;
/// Emptied slots whose memory is kept for others.
const SPARE: usize = 16;

/// Names an entry of a table: its place, and which occupant of that place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// Tickets by the time at which to look.
#[derive(Debug, Clone)]
pub(super) struct Agenda {
    /// Places of the tickets of the slots that have not begun, by slot number modulo [`RING`].
    slots: Vec<Vec<u32>>,
    spare: Vec<Vec<u32>>,
    /// The first slot that has not begun.
    open: u32,
    /// Tickets in `slots`.
    waiting: usize,
    /// What the slots that have begun left over, the earliest last.
    due: Vec<(SimTime, Ticket)>,
    next: SimTime,
}

impl Agenda {
    pub(super) fn new() -> Self {
        Self {
            slots: vec![Vec::new(); RING as usize],
            spare: Vec::new(),
            open: 0,
            waiting: 0,
            due: Vec::new(),
            next: SimTime::NEVER,
        }
    }

    /// Nothing is to be done before this moment.
    pub(super) fn next(&self) -> SimTime {
        self.next
    }

    /// A ticket put down for `deadline` would be looked at before `slot`, or its slot has begun.
    pub(super) fn is_before(&self, deadline: SimTime, slot: u32) -> bool {
        let number = slot_of(deadline);
        number < slot || number < self.open
    }

    /// Puts a ticket down; returns the slot in which it will be looked at.
    pub(super) fn put(&mut self, ticket: Ticket, deadline: SimTime) -> u32 {
        let slot = slot_of(deadline).min(self.open.saturating_add(RING - 1));
        if slot < self.open {
            let place = self.due.partition_point(|(at, _)| *at > deadline);
            self.due.insert(place, (deadline, ticket));
            self.next = self.next.min(deadline);
            return slot;
        }
        let places = &mut self.slots[(slot % RING) as usize];
        if places.capacity() == 0 {
            *places = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(LEAST));
        }
        places.push(ticket.index);
        self.waiting += 1;
        self.next = self.next.min(start_of(self.open));
        slot
    }

    /// The earliest ticket of the slots that have begun, and the time it was put down for.
    pub(super) fn pop(&mut self) -> Option<(SimTime, Ticket)> {
        let popped = self.due.pop();
        self.refresh();
        popped
    }

    /// Nothing is left of the slots that have begun: begins the next one. The caller looks at the entry of each place; if
    /// it is to be looked at in this slot, [`Self::put_again`] follows, and after all of them [`Self::settle`]. A place may
    /// come up twice, if an entry took it over from another one of the same slot.
    pub(super) fn begin(&mut self) -> Begun {
        let slot = self.open;
        self.open += 1;
        let places = std::mem::take(&mut self.slots[(slot % RING) as usize]);
        self.waiting -= places.len();
        Begun { slot, places }
    }

    /// A ticket of a slot that is being looked at: like [`Self::put`], but what ends in the slot is sorted later.
    pub(super) fn put_again(&mut self, ticket: Ticket, deadline: SimTime) -> u32 {
        let slot = slot_of(deadline);
        if slot >= self.open {
            return self.put(ticket, deadline);
        }
        self.due.push((deadline, ticket));
        slot
    }

    /// All tickets of a slot have been looked at.
    pub(super) fn settle(&mut self, mut places: Vec<u32>) {
        self.due.sort_unstable_by(|one, other| other.cmp(one));
        if self.spare.len() < SPARE && places.capacity() > 0 {
            places.clear();
            self.spare.push(places);
        }
        self.refresh();
    }

    fn refresh(&mut self) {
        self.next = match self.due.last() {
            Some((at, _)) => *at,
            None if self.waiting > 0 => start_of(self.open),
            None => SimTime::NEVER,
        };
    }
}

/// A slot that begins.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) slot: u32,
    pub(super) places: Vec<u32>,
}

/// The slot that a moment lies in; 36 years are as far as they go, which only "never" exceeds.
fn slot_of(at: SimTime) -> u32 {
    (at.as_nanos() >> SLOT_SHIFT).min(u64::from(LAST_SLOT)) as u32
}

/// Numbers above it are free for the owner's own marks.
pub(super) const LAST_SLOT: u32 = u32::MAX - 2;

fn start_of(slot: u32) -> SimTime {
    SimTime::from_nanos(u64::from(slot) << SLOT_SHIFT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Entries whose deadlines move while they wait, against a plain list of deadlines.
        #[test]
        fn every_ticket_is_looked_at_in_order_and_never_after_its_deadline(
            steps in proptest::collection::vec((0_u64..900, 0_u64..600_000, any::<bool>()), 1..120),
        ) {
            let mut agenda = Agenda::new();
            // Deadline and slot of each entry; `None`: it ended.
            let mut entries: Vec<Option<(SimTime, u32)>> = Vec::new();
            let mut now = SimTime::ZERO;
            let ms = |ms: u64| crate::units::SimDuration::from_millis(ms);
            for (wait, timeout, fresh) in steps {
                now += ms(wait * wait / 4);
                let mut last = SimTime::ZERO;
                while agenda.next() <= now {
                    if let Some((at, ticket)) = agenda.pop() {
                        let entry = &mut entries[ticket.index as usize];
                        let Some((deadline, slot)) = entry else { continue };
                        if *deadline <= at {
                            prop_assert!(at <= now && at >= last);
                            last = at;
                            *entry = None;
                        } else {
                            *slot = agenda.put(ticket, *deadline);
                        }
                        continue;
                    }
                    let begun = agenda.begin();
                    for &index in &begun.places {
                        if let Some((deadline, slot)) = &mut entries[index as usize]
                            && *slot == begun.slot
                        {
                            let ticket = Ticket { index, generation: 0 };
                            *slot = agenda.put_again(ticket, *deadline);
                        }
                    }
                    agenda.settle(begun.places);
                }
                for entry in entries.iter().flatten() {
                    prop_assert!(entry.0 > now, "missed {:?} at {now:?}", entry.0);
                }
                let deadline = now + ms(timeout);
                let index = if fresh || entries.is_empty() {
                    entries.push(Some((deadline, LAST_SLOT)));
                    entries.len() - 1
                } else {
                    timeout as usize % entries.len()
                };
                let Some((its, slot)) = &mut entries[index] else { continue };
                *its = deadline;
                if agenda.is_before(deadline, *slot) {
                    *slot = agenda.put(Ticket { index: index as u32, generation: 0 }, deadline);
                }
            }
        }
    }

    #[test]
    fn what_never_ends_is_looked_at_now_and_then_only() {
        let mut agenda = Agenda::new();
        let ticket = Ticket {
            index: 0,
            generation: 0,
        };
        assert_eq!(agenda.put(ticket, SimTime::NEVER), RING - 1);
        assert_eq!(agenda.next(), SimTime::ZERO, "the first slot has not begun");
    }
}
