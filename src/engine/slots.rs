//! A slab whose slots carry generations, so that a timer set for a thing long gone finds nothing.

/// A reference to something that may be gone when it is used: a slot and the generation that lived there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle {
    /// Slot.
    pub slot: u32,
    /// Generation.
    pub generation: u32,
}

impl Handle {
    /// Refers to nothing.
    pub const NONE: Self = Self {
        slot: u32::MAX,
        generation: u32::MAX,
    };
}

/// Things in slots that are used again.
#[derive(Debug)]
pub struct Slots<T> {
    entries: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    /// Puts a thing into a free slot.
    pub fn insert(&mut self, thing: T) -> Handle {
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.entries[slot as usize];
            entry.1 = Some(thing);
            return Handle {
                slot,
                generation: entry.0,
            };
        }
        self.entries.push((0, Some(thing)));
        Handle {
            slot: self.entries.len() as u32 - 1,
            generation: 0,
        }
    }

    /// The thing, if it still lives.
    pub fn get(&self, handle: Handle) -> Option<&T> {
        let (generation, thing) = self.entries.get(handle.slot as usize)?;
        if *generation == handle.generation {
            thing.as_ref()
        } else {
            None
        }
    }

    /// The thing, if it still lives.
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        let (generation, thing) = self.entries.get_mut(handle.slot as usize)?;
        if *generation == handle.generation {
            thing.as_mut()
        } else {
            None
        }
    }

    /// The handle of what lives in a slot.
    ///
    /// # Panics
    /// If there is no such slot.
    pub fn handle_of(&self, slot: u32) -> Handle {
        Handle {
            slot,
            generation: self.entries[slot as usize].0,
        }
    }

    /// What lives in a slot.
    ///
    /// # Panics
    /// If nothing does.
    pub fn in_slot(&self, slot: u32) -> &T {
        let (_, thing) = &self.entries[slot as usize];
        thing.as_ref().expect("an index refers to what lives")
    }

    /// Whatever lives in a slot.
    #[inline]
    pub fn at(&self, slot: u32) -> Option<(Handle, &T)> {
        let (generation, thing) = self.entries.get(slot as usize)?;
        let generation = *generation;
        thing.as_ref().map(|thing| (Handle { slot, generation }, thing))
    }

    /// Whatever lives in a slot.
    #[inline]
    pub fn at_mut(&mut self, slot: u32) -> Option<(Handle, &mut T)> {
        let (generation, thing) = self.entries.get_mut(slot as usize)?;
        let generation = *generation;
        thing.as_mut().map(|thing| (Handle { slot, generation }, thing))
    }

    /// Drops the thing where it is; its handle is worth nothing from now on.
    pub fn discard(&mut self, handle: Handle) {
        if let Some((generation, thing)) = self.entries.get_mut(handle.slot as usize)
            && *generation == handle.generation
            && thing.is_some()
        {
            *thing = None;
            *generation = generation.wrapping_add(1);
            self.free.push(handle.slot);
        }
    }

    /// How many live.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Everything that lives, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, &T)> {
        self.entries
            .iter()
            .zip(0..)
            .filter_map(|((generation, thing), slot)| {
                let generation = *generation;
                thing.as_ref().map(|thing| (Handle { slot, generation }, thing))
            })
    }

    /// Whether nothing lives.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
