//! The ports of one pool, that is of one (pod endpoint, node address) pair, that some live conntrack entry holds.

/// Words of 64 ports each.
const WORDS: usize = 1024;

/// A set of ports as a bitmap of 65,536 bits and a summary of its full words, so that a search over a crowded range
/// costs a few words, not ports.
#[derive(Debug, Clone)]
pub struct PortMap {
    words: Box<[u64; WORDS]>,
    /// A bit per word: all its ports are in use.
    full: [u64; WORDS / 64],
    used: u32,
}

impl PortMap {
    /// No port in use.
    pub fn new() -> Self {
        Self {
            words: Box::new([0; WORDS]),
            full: [0; WORDS / 64],
            used: 0,
        }
    }

    /// Whether `port` is in use.
    pub fn is_used(&self, port: u16) -> bool {
        self.words[usize::from(port >> 6)] & bit(port) != 0
    }

    /// Takes `port`; `false` if it was in use already.
    pub fn insert(&mut self, port: u16) -> bool {
        let word = &mut self.words[usize::from(port >> 6)];
        let fresh = *word & bit(port) == 0;
        *word |= bit(port);
        if *word == u64::MAX {
            self.full[usize::from(port >> 12)] |= bit(port >> 6);
        }
        self.used += u32::from(fresh);
        fresh
    }

    /// Gives `port` back; `false` if it was free.
    pub fn remove(&mut self, port: u16) -> bool {
        let word = &mut self.words[usize::from(port >> 6)];
        let held = *word & bit(port) != 0;
        *word &= !bit(port);
        self.full[usize::from(port >> 12)] &= !bit(port >> 6);
        self.used -= u32::from(held);
        held
    }

    /// Ports in use.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// The lowest free port of `first..=last`.
    pub fn first_free(&self, first: u16, last: u16) -> Option<u16> {
        let word = first >> 6;
        let mut free = !self.words[usize::from(word)] & (u64::MAX << (first & 63));
        let mut found = word;
        if free == 0 {
            found = self.first_not_full(word + 1)?;
            free = !self.words[usize::from(found)];
        }
        let port = u32::from(found) * 64 + free.trailing_zeros();
        u16::try_from(port).ok().filter(|&port| port <= last)
    }

    /// The first word from `word` on that has a free port.
    fn first_not_full(&self, word: u16) -> Option<u16> {
        let mut at = usize::from(word >> 6);
        let mut free = !*self.full.get(at)? & (u64::MAX << (word & 63));
        while free == 0 {
            at += 1;
            free = !*self.full.get(at)?;
        }
        Some((at * 64) as u16 + free.trailing_zeros() as u16)
    }
}

impl Default for PortMap {
    fn default() -> Self {
        Self::new()
    }
}

/// The bit of `port` inside its word.
const fn bit(port: u16) -> u64 {
    1 << (port & 63)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn the_bitmap_is_the_set_it_stands_for(
            steps in proptest::collection::vec((any::<bool>(), 0_u16..300), 0..200),
            ends in (0_u16..300, 0_u16..300),
        ) {
            let (mut map, mut set) = (PortMap::new(), BTreeSet::new());
            for (take, port) in steps {
                let port = 65_300 + (port % 236);
                if take {
                    prop_assert_eq!(map.insert(port), set.insert(port));
                } else {
                    prop_assert_eq!(map.remove(port), set.remove(&port));
                }
            }
            prop_assert_eq!(map.used() as usize, set.len());
            let (first, last) = (65_200 + ends.0.min(ends.1), 65_200 + ends.0.max(ends.1));
            let expected = (first..=last).find(|port| !set.contains(port));
            prop_assert_eq!(map.first_free(first, last), expected);
        }
    }
}
