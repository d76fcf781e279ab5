//! A hierarchical wheel: finds the earliest entries without ordering the others.
//!
//! Time is cut into ticks of 2^[`TICK_BITS`] ns, and a tick's number is read as digits to the base 256. An entry
//! is kept on the level of the highest digit in which its tick differs from the wheel's position, in the slot of
//! that digit: so the lowest level in use holds the earliest entries, and among its slots the first one. Getting
//! there, the wheel spreads the slot over the levels below. This is a radix heap (Ahuja, Mehlhorn, Orlin and
//! Tarjan 1990) in the shape of a timing wheel; unlike the kernel's it keeps every time exactly.

use super::Entry;

/// Nanoseconds per tick, as a power of two: 8 us, so that a hop of 0.25 ms seldom leaves the lowest level, and a
/// tick holds few entries to sort. Measured: 12 to 14 are alike, 10 and 16 are slower.
const TICK_BITS: u32 = 13;
/// A digit of a tick's number.
const DIGIT_BITS: u32 = 8;
/// Slots of a level.
const SLOTS: usize = 1 << DIGIT_BITS;
/// Enough levels for all 64 bits of a time.
const LEVELS: usize = (u64::BITS - TICK_BITS).div_ceil(DIGIT_BITS) as usize;
/// Entries of a chunk: 256 bytes. Measured: neither 4 nor 16 is faster.
const CHUNK: usize = 8;
/// No chunk.
const NONE: u32 = u32::MAX;

/// Entries in no particular order: a full chunk after another, the first one filled up to `used`.
#[derive(Debug, Clone, Copy)]
struct Slot {
    head: u32,
    used: u32,
}

impl Slot {
    /// A slot without a chunk counts as full: the next entry needs a new one.
    const EMPTY: Self = Self {
        head: NONE,
        used: CHUNK as u32,
    };
}

/// Storage for the entries of all slots, in chunks that go from hand to hand. It grows to the largest number of
/// entries ever pending, plus a part of a chunk per slot in use; then nothing is allocated any more.
///
/// A vector per slot would keep what its fullest hour needed, and there are 1,792 slots.
#[derive(Debug, Clone)]
struct Chunks<E> {
    entries: Vec<Entry<E>>,
    /// Per chunk the next one of its slot, or the next free one.
    next: Vec<u32>,
    free: u32,
}

impl<E: Copy> Chunks<E> {
    /// A chunk to be followed by `next`. `filler` only initialises new memory.
    fn take(&mut self, next: u32, filler: Entry<E>) -> u32 {
        if self.free == NONE {
            return self.grow(next, filler);
        }
        let chunk = self.free;
        self.free = std::mem::replace(&mut self.next[chunk as usize], next);
        chunk
    }

    /// Out of line: it is rare, and inlined it made every insertion save its registers.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, next: u32, filler: Entry<E>) -> u32 {
        let chunk = u32::try_from(self.next.len()).expect("more events pending than memory can hold");
        self.entries.resize(self.entries.len() + CHUNK, filler);
        self.next.push(next);
        chunk
    }

    /// Gives a chunk back and returns the one after it. The chunk used last is the next one to be taken: it is
    /// still in the cache.
    fn release(&mut self, chunk: u32) -> u32 {
        let next = std::mem::replace(&mut self.next[chunk as usize], self.free);
        self.free = chunk;
        next
    }

    fn push(&mut self, slot: &mut Slot, entry: Entry<E>) {
        if slot.used == CHUNK as u32 {
            slot.head = self.take(slot.head, entry);
            slot.used = 0;
        }
        self.entries[slot.head as usize * CHUNK + slot.used as usize] = entry;
        slot.used += 1;
    }

    /// The entries of the first chunk of a slot.
    fn head(&self, slot: Slot) -> &[Entry<E>] {
        let start = slot.head as usize * CHUNK;
        &self.entries[start..start + slot.used as usize]
    }
}

/// The wheel. See the [module](self).
#[derive(Debug, Clone)]
pub(super) struct Wheel<E> {
    /// The tick up to which, inclusive, everything has been given out.
    position: u64,
    /// `LEVELS` x `SLOTS`.
    slots: Vec<Slot>,
    /// A bit per slot that holds entries.
    occupied: [[u64; SLOTS / 64]; LEVELS],
    /// A bit per level that holds entries.
    levels: u32,
    chunks: Chunks<E>,
    /// Entries taken to a lower level, or out.
    pub(super) moved: u64,
}

impl<E: Copy> Wheel<E> {
    pub(super) fn new() -> Self {
        Self {
            position: 0,
            slots: vec![Slot::EMPTY; LEVELS * SLOTS],
            occupied: [[0; SLOTS / 64]; LEVELS],
            levels: 0,
            chunks: Chunks {
                entries: Vec::new(),
                next: Vec::new(),
                free: NONE,
            },
            moved: 0,
        }
    }

    /// Whether it is too late to insert an entry of this time.
    pub(super) const fn has_passed(&self, at: u64) -> bool {
        at >> TICK_BITS <= self.position
    }

    /// Keeps an entry that the wheel has not passed.
    pub(super) fn insert(&mut self, entry: Entry<E>) {
        let tick = entry.at >> TICK_BITS;
        debug_assert!(tick > self.position, "the wheel has passed {}", entry.at);
        let level = (tick ^ self.position).ilog2() / DIGIT_BITS;
        let digit = (tick >> (level * DIGIT_BITS)) as usize % SLOTS;
        let level = level as usize;
        self.chunks.push(&mut self.slots[level * SLOTS + digit], entry);
        self.occupied[level][digit / 64] |= 1 << (digit % 64);
        self.levels |= 1 << level;
    }

    /// Moves on to the earliest tick that holds entries, and moves these to `due`, in no particular order.
    /// Does nothing if the wheel is empty.
    pub(super) fn advance(&mut self, due: &mut Vec<Entry<E>>) {
        if self.levels == 0 {
            return;
        }
        let level = self.levels.trailing_zeros() as usize;
        let (digit, mut slot) = self.take_first_slot(level);
        if level == 0 {
            self.position = self.position & !(SLOTS as u64 - 1) | digit as u64;
            while slot.head != NONE {
                due.extend_from_slice(self.chunks.head(slot));
                self.moved += u64::from(slot.used);
                slot = self.next_chunk(slot);
            }
            return;
        }
        // The highest digit in which they differ from the new position is lower than that of the old one: every
        // entry moves at least one level down, and the earliest ones are due. No other slot is affected, as
        // all others differ from both positions in the same highest digit.
        self.position = self.earliest_tick(slot);
        while slot.head != NONE {
            self.moved += u64::from(slot.used);
            let start = slot.head as usize * CHUNK;
            for index in start..start + slot.used as usize {
                let entry = self.chunks.entries[index];
                if self.has_passed(entry.at) {
                    due.push(entry);
                } else {
                    self.insert(entry);
                }
            }
            slot = self.next_chunk(slot);
        }
    }

    /// Empties the first slot in use of a level, and returns its digit and what it held.
    fn take_first_slot(&mut self, level: usize) -> (usize, Slot) {
        let words = &mut self.occupied[level];
        let word = words
            .iter()
            .position(|&bits| bits != 0)
            .expect("the level's bit says that a slot is in use");
        let digit = word * 64 + words[word].trailing_zeros() as usize;
        words[word] &= words[word] - 1;
        if words.iter().all(|&bits| bits == 0) {
            self.levels &= !(1 << level);
        }
        let slot = std::mem::replace(&mut self.slots[level * SLOTS + digit], Slot::EMPTY);
        (digit, slot)
    }

    /// Drops the first chunk of a slot that has been taken out.
    fn next_chunk(&mut self, slot: Slot) -> Slot {
        Slot {
            head: self.chunks.release(slot.head),
            used: CHUNK as u32,
        }
    }

    fn earliest_tick(&self, mut slot: Slot) -> u64 {
        let mut earliest = u64::MAX;
        while slot.head != NONE {
            for entry in self.chunks.head(slot) {
                earliest = earliest.min(entry.at);
            }
            slot = Slot {
                head: self.chunks.next[slot.head as usize],
                used: CHUNK as u32,
            };
        }
        earliest >> TICK_BITS
    }

    /// Entries for which there is memory.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.chunks.entries.len()
    }
}
