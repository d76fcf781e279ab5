//! Who owns which tuple: four octets a tuple, which say where its socket lies. The tuple itself is compared there.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rustc_hash::FxBuildHasher;
use std::hash::BuildHasher;

use crate::units::FourTuple;

/// Where a socket lies: its slot, and in the lowest bit whether it is a timewait socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u32);

impl Place {
    pub(super) const fn socket(slot: u32) -> Self {
        Self(slot << 1)
    }

    pub(super) const fn time_wait(slot: u32) -> Self {
        Self(slot << 1 | 1)
    }

    pub(super) const fn slot(self) -> u32 {
        self.0 >> 1
    }

    pub(super) const fn is_time_wait(self) -> bool {
        self.0 & 1 != 0
    }
}

/// The index. Who asks says where tuples lie: `at` returns the tuple of a place that is in the index.
#[derive(Debug, Default)]
pub(super) struct Index {
    places: HashTable<Place>,
}

fn hash(tuple: FourTuple) -> u64 {
    FxBuildHasher.hash_one(tuple)
}

/// Equality without a branch per part: nearly all that are compared are the same.
#[inline]
#[expect(clippy::needless_bitwise_bool, reason = "one branch instead of four")]
fn same(a: FourTuple, b: FourTuple) -> bool {
    (a.src.ip == b.src.ip) & (a.src.port == b.src.port) & (a.dst.ip == b.dst.ip) & (a.dst.port == b.dst.port)
}

impl Index {
    /// Who has a tuple.
    #[inline]
    pub(super) fn find(&self, tuple: FourTuple, at: impl Fn(Place) -> FourTuple) -> Option<Place> {
        self.places
            .find(hash(tuple), |place| same(at(*place), tuple))
            .copied()
    }

    /// Gives a tuple to a socket, whoever had it.
    pub(super) fn put(&mut self, tuple: FourTuple, new: Place, at: impl Fn(Place) -> FourTuple) {
        let entry = self.places.entry(
            hash(tuple),
            |place| same(at(*place), tuple),
            |place| hash(at(*place)),
        );
        match entry {
            Entry::Occupied(mut entry) => *entry.get_mut() = new,
            Entry::Vacant(entry) => {
                entry.insert(new);
            }
        }
    }

    /// Nobody has the tuple any more.
    pub(super) fn remove(&mut self, tuple: FourTuple, at: impl Fn(Place) -> FourTuple) {
        if let Ok(entry) = self
            .places
            .find_entry(hash(tuple), |place| same(at(*place), tuple))
        {
            entry.remove();
        }
    }
}
