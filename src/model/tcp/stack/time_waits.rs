//! The timewait sockets of a host, one cache line each, and when they end.
//!
//! [`Tw`] is what the rest of the house sees: plain data, built from a packed [`Entry`] and put back into one. What only
//! a socket has that something has disturbed lies aside.
//!
//! A timer wheel makes deadlines coarse, so many sockets end at one moment. Each such moment has a list of slots, and
//! the lists are in order of time. A socket that ends before its time, or is armed anew, stays in its old list, where it
//! is found to have ended or to end later: nothing is ever looked for in a list.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::engine::Handle;
use crate::model::tcp::time_wait::{Substate, TimeWait, TsRecent};
use crate::units::{FourTuple, SeqNum, SimTime};

/// A timewait socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tw {
    /// What it remembers and decides.
    pub socket: TimeWait,
    /// Its tuple, this side first.
    pub tuple: FourTuple,
    /// When it ends.
    pub expires: SimTime,
    /// When it would have ended had nothing re-armed it.
    pub first_expiry: SimTime,
    /// When it began: the last segment of the flow.
    pub since: SimTime,
    /// An RST with its exact sequence number has come; with `tcp_rfc1337` it outlives that.
    pub exact_rst_seen: bool,
    /// The ISN that it refused last: the same again is a repetition, not an attempt.
    pub refused_isn: Option<SeqNum>,
    /// How far the windows of its segments are shifted.
    pub(super) window_shift: u8,
}

/// Bits of [`Entry::bits`].
const LIVE: u8 = 1;
const FIN_WAIT2: u8 = 2;
const TIMESTAMPS: u8 = 4;
/// It has something in [`TimeWaits::aside`].
const DISTURBED: u8 = 8;

/// No slot.
const NONE: u32 = u32::MAX;

/// A timewait socket as it is kept; of a free slot only `generation` and `next_free` count.
#[derive(Debug, Clone, Copy)]
struct Entry {
    tuple: FourTuple,
    rcv_nxt: SeqNum,
    snd_nxt: SeqNum,
    /// The receive window; in a free slot the next free one.
    rcv_wnd: u32,
    ts_val: u32,
    ts_offset: u32,
    generation: u32,
    ts_at: SimTime,
    expires: SimTime,
    since: SimTime,
    bits: u8,
    window_shift: u8,
}

const _: () = assert!(size_of::<Entry>() <= 64);

/// What a disturbed socket has besides.
#[derive(Debug, Clone, Copy)]
struct Aside {
    last_oow_ack: Option<SimTime>,
    first_expiry: SimTime,
    exact_rst_seen: bool,
    refused_isn: Option<SeqNum>,
}

/// The timewait sockets of a host.
#[derive(Debug)]
pub(super) struct TimeWaits {
    entries: Vec<Entry>,
    /// The first free slot.
    free: u32,
    len: usize,
    /// By slot; never iterated.
    aside: FxHashMap<u32, Aside>,
    /// Slots that end at a moment, in order of time.
    due: VecDeque<(SimTime, Vec<u32>)>,
    /// The first moment in `due`.
    next: SimTime,
    /// An empty list to use again.
    spare: Vec<u32>,
}

impl Default for TimeWaits {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: NONE,
            len: 0,
            aside: FxHashMap::default(),
            due: VecDeque::new(),
            next: SimTime::NEVER,
            spare: Vec::new(),
        }
    }
}

impl Entry {
    /// The packed form, and what does not fit into it.
    fn of(tw: &Tw, generation: u32) -> (Self, Option<Aside>) {
        let socket = &tw.socket;
        let undisturbed = tw.first_expiry == tw.expires
            && !tw.exact_rst_seen
            && tw.refused_isn.is_none()
            && socket.last_oow_ack.is_none();
        let aside = (!undisturbed).then_some(Aside {
            last_oow_ack: socket.last_oow_ack,
            first_expiry: tw.first_expiry,
            exact_rst_seen: tw.exact_rst_seen,
            refused_isn: tw.refused_isn,
        });
        let (ts_val, ts_at) = socket
            .ts_recent
            .map_or((0, SimTime::ZERO), |recent| (recent.val, recent.at));
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        let entry = Self {
            tuple: tw.tuple,
            rcv_nxt: socket.rcv_nxt,
            snd_nxt: socket.snd_nxt,
            rcv_wnd: socket.rcv_wnd,
            ts_val,
            ts_offset: socket.ts_offset,
            generation,
            ts_at,
            expires: tw.expires,
            since: tw.since,
            bits: LIVE
                | bit(socket.substate == Substate::FinWait2, FIN_WAIT2)
                | bit(socket.ts_recent.is_some(), TIMESTAMPS)
                | bit(aside.is_some(), DISTURBED),
            window_shift: tw.window_shift,
        };
        (entry, aside)
    }

    const fn has(&self, bit: u8) -> bool {
        self.bits & bit != 0
    }
}

impl TimeWaits {
    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The next moment at which any may end.
    #[inline]
    pub(super) const fn next_due(&self) -> SimTime {
        self.next
    }

    /// The tuple in a slot.
    #[inline]
    pub(super) fn tuple_in(&self, slot: u32) -> FourTuple {
        self.entries[slot as usize].tuple
    }

    /// The handle of a slot that is taken.
    pub(super) fn handle_of(&self, slot: u32) -> Handle {
        Handle {
            slot,
            generation: self.entries[slot as usize].generation,
        }
    }

    fn live(&self, handle: Handle) -> Option<&Entry> {
        self.entries
            .get(handle.slot as usize)
            .filter(|entry| entry.generation == handle.generation && entry.has(LIVE))
    }

    /// Whether the socket still lives.
    pub(super) fn holds(&self, handle: Handle) -> bool {
        self.live(handle).is_some()
    }

    /// The socket, if it still lives.
    pub(super) fn get(&self, handle: Handle) -> Option<Tw> {
        self.live(handle).map(|entry| self.unpack(handle.slot, entry))
    }

    fn unpack(&self, slot: u32, entry: &Entry) -> Tw {
        let aside = if entry.has(DISTURBED) {
            self.aside.get(&slot)
        } else {
            None
        };
        Tw {
            socket: TimeWait {
                substate: if entry.has(FIN_WAIT2) {
                    Substate::FinWait2
                } else {
                    Substate::TimeWait
                },
                rcv_nxt: entry.rcv_nxt,
                snd_nxt: entry.snd_nxt,
                rcv_wnd: entry.rcv_wnd,
                ts_recent: entry.has(TIMESTAMPS).then_some(TsRecent {
                    val: entry.ts_val,
                    at: entry.ts_at,
                }),
                ts_offset: entry.ts_offset,
                last_oow_ack: aside.and_then(|aside| aside.last_oow_ack),
            },
            tuple: entry.tuple,
            expires: entry.expires,
            first_expiry: aside.map_or(entry.expires, |aside| aside.first_expiry),
            since: entry.since,
            exact_rst_seen: aside.is_some_and(|aside| aside.exact_rst_seen),
            refused_isn: aside.and_then(|aside| aside.refused_isn),
            window_shift: entry.window_shift,
        }
    }

    /// Takes a socket in.
    pub(super) fn insert(&mut self, tw: &Tw) -> Handle {
        let slot = if self.free == NONE {
            let slot = self.entries.len() as u32;
            self.entries.push(Entry::of(tw, 0).0);
            slot
        } else {
            let slot = self.free;
            self.free = self.entries[slot as usize].rcv_wnd;
            slot
        };
        self.len += 1;
        self.pack(slot, tw);
        self.set_due(tw.expires, slot);
        self.handle_of(slot)
    }

    /// Puts a socket back that has changed, its tuple and its handle excepted.
    pub(super) fn put(&mut self, handle: Handle, tw: &Tw) {
        let Some(before) = self.live(handle).map(|entry| entry.expires) else {
            return;
        };
        self.pack(handle.slot, tw);
        if tw.expires != before {
            self.set_due(tw.expires, handle.slot);
        }
    }

    fn pack(&mut self, slot: u32, tw: &Tw) {
        let old = &mut self.entries[slot as usize];
        let (entry, aside) = Entry::of(tw, old.generation);
        let had_aside = old.has(DISTURBED);
        *old = entry;
        match aside {
            Some(aside) => {
                self.aside.insert(slot, aside);
            }
            None if had_aside => {
                self.aside.remove(&slot);
            }
            None => {}
        }
    }

    /// Lets a socket go.
    pub(super) fn remove(&mut self, handle: Handle) {
        if self.live(handle).is_none() {
            return;
        }
        let entry = &mut self.entries[handle.slot as usize];
        if entry.has(DISTURBED) {
            self.aside.remove(&handle.slot);
        }
        entry.bits = 0;
        entry.generation = entry.generation.wrapping_add(1);
        entry.rcv_wnd = self.free;
        self.free = handle.slot;
        self.len -= 1;
    }

    /// Every socket, by slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Handle, Tw)> {
        let live = self.entries.iter().zip(0..).filter(|(entry, _)| entry.has(LIVE));
        live.map(|(entry, slot)| (self.handle_of(slot), self.unpack(slot, entry)))
    }

    // ---- deadlines ----

    fn set_due(&mut self, at: SimTime, slot: u32) {
        if at == SimTime::NEVER {
            return;
        }
        if let Some((last, slots)) = self.due.back_mut()
            && *last == at
        {
            slots.push(slot);
            return;
        }
        let place = self.due.partition_point(|(other, _)| *other < at);
        match self.due.get_mut(place) {
            Some((other, slots)) if *other == at => slots.push(slot),
            _ => {
                let mut slots = std::mem::take(&mut self.spare);
                slots.push(slot);
                self.due.insert(place, (at, slots));
                self.next = self.next.min(at);
            }
        }
    }

    /// Takes out the slots of the first moment, if that is not after `now`. Who of them still ends then is to be asked with
    /// [`TimeWaits::ends_by`].
    pub(super) fn take_due(&mut self, now: SimTime) -> Option<Vec<u32>> {
        if self.next > now {
            return None;
        }
        let (_, slots) = self.due.pop_front()?;
        self.next = self.due.front().map_or(SimTime::NEVER, |(at, _)| *at);
        Some(slots)
    }

    /// A socket in this slot ends by `now`: its handle.
    pub(super) fn ends_by(&self, slot: u32, now: SimTime) -> Option<Handle> {
        let entry = &self.entries[slot as usize];
        (entry.has(LIVE) && entry.expires <= now).then(|| self.handle_of(slot))
    }

    /// Gives a list back that [`TimeWaits::take_due`] took out.
    pub(super) fn give_back(&mut self, mut slots: Vec<u32>) {
        if slots.capacity() > self.spare.capacity() {
            slots.clear();
            self.spare = slots;
        }
    }
}
