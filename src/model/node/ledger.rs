//! The ledger of SNAT ports: who held each one, who held it before, and what set it free.
//!
//! For observers only: nothing in here decides anything. Pools keep it in pages of 256 ports, made when first used.

use rustc_hash::FxHashMap;

use super::pools::Pool;
use crate::model::conntrack::{PortSlot, State};
use crate::model::ipvs;
use crate::units::{FourTuple, SimDuration, SimTime};

/// Ports per page.
const PAGE: usize = 256;

/// What became of one SNAT port towards one pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortHistory {
    /// SLB tuple that holds or last held the port.
    pub current: FourTuple,
    /// The flow before that.
    pub previous: Option<PreviousUse>,
}

/// The flow that held a port before the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviousUse {
    /// Its SLB tuple; equal to the current one if that tuple came back to the port.
    pub tuple: FourTuple,
    /// Its SNAT port differed from its source port.
    pub rewritten: bool,
    /// When its conntrack entry ended.
    pub released_at: SimTime,
    /// What ended it.
    pub released_by: Release,
    /// When the port was allocated again, the flow's ipvs entry still stood in TIME_WAIT, untouched since that flow's
    /// close: neither reopened nor closed.
    pub ipvs_undisturbed: bool,
}

/// What ended a conntrack entry and so set its port free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// A SYN of the same tuple replaced it.
    SameTuple(Reopened),
    /// Its own timer, in a state other than CLOSE.
    Timer {
        /// The state.
        state: State,
        /// Nominal timeout of that state.
        hold: SimDuration,
    },
    /// An RST that conntrack believed made it CLOSE, and its timer ran out.
    Rst,
    /// An RST before any reply deleted it at once.
    DeletedByRst,
    /// A full table: early drop.
    EarlyDrop,
    /// A full table: gc under pressure.
    GcPressure,
    /// The port search threw it out.
    Evicted,
    /// ipvs ended its own entry and deleted this one along.
    Ipvs {
        /// The ipvs entry was in CLOSE by an RST that conntrack called INVALID.
        stray_rst: bool,
    },
    /// The port was taken unchecked while held. Never reported: such an entry clashes when it is confirmed.
    Unchecked,
}

/// What the SYN that reopened a tuple got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reopened {
    /// The same port towards the same pod.
    SamePort,
    /// Another port towards the same pod; also as long as nothing is known, because the SYN was dropped.
    AnotherPort,
    /// Another pod.
    AnotherPod,
}

/// The use of a port that is being recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) tuple: FourTuple,
    pub(super) rewritten: bool,
    /// The flow's ipvs connection and how often that had been reused.
    pub(super) ipvs: Option<(ipvs::Handle, u32)>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    history: PortHistory,
    current: Use,
    released: Option<(SimTime, Release)>,
}

/// The records of one pool.
#[derive(Debug, Clone)]
pub(super) struct PoolLedger {
    pages: Vec<Option<Box<[Option<Record>]>>>,
}

impl PoolLedger {
    pub(super) fn new() -> Self {
        Self {
            pages: vec![None; 65_536 / PAGE],
        }
    }

    pub(super) fn history(&self, port: u16) -> Option<&PortHistory> {
        self.record(port).map(|record| &record.history)
    }

    /// The ipvs connection of the flow that last used the port.
    pub(super) fn last_ipvs(&self, port: u16) -> Option<(ipvs::Handle, u32)> {
        self.record(port).and_then(|record| record.current.ipvs)
    }

    /// A flow takes the port; `true` if another had it before.
    pub(super) fn allocate(&mut self, port: u16, user: Use, now: SimTime, undisturbed: bool) -> bool {
        let page =
            self.pages[usize::from(port) / PAGE].get_or_insert_with(|| vec![None; PAGE].into_boxed_slice());
        let place = &mut page[usize::from(port) % PAGE];
        let previous = place.map(|old| {
            let (released_at, released_by) = old.released.unwrap_or((now, Release::Unchecked));
            PreviousUse {
                tuple: old.current.tuple,
                rewritten: old.current.rewritten,
                released_at,
                released_by,
                ipvs_undisturbed: undisturbed,
            }
        });
        *place = Some(Record {
            history: PortHistory {
                current: user.tuple,
                previous,
            },
            current: user,
            released: None,
        });
        previous.is_some()
    }

    /// The flow that holds the port loses it.
    pub(super) fn release(&mut self, port: u16, at: SimTime, by: Release) {
        if let Some(record) = self.record_mut(port) {
            record.released = Some((at, by));
        }
    }

    /// It is known now what the SYN got that took the port from `pending.tuple`.
    fn resolve(&mut self, pending: &PendingReopen, got: Reopened) {
        let by = Release::SameTuple(got);
        let Some(record) = self.record_mut(pending.slot.port) else {
            return;
        };
        if record.current.tuple == pending.tuple
            && let Some((at, release)) = &mut record.released
            && *at == pending.at
        {
            *release = by;
        } else if let Some(previous) = &mut record.history.previous
            && previous.tuple == pending.tuple
            && previous.released_at == pending.at
            && matches!(previous.released_by, Release::SameTuple(_))
        {
            // Somebody else took the port in the meantime.
            previous.released_by = by;
        }
    }

    fn record(&self, port: u16) -> Option<&Record> {
        self.pages[usize::from(port) / PAGE].as_ref()?[usize::from(port) % PAGE].as_ref()
    }

    fn record_mut(&mut self, port: u16) -> Option<&mut Record> {
        self.pages[usize::from(port) / PAGE].as_mut()?[usize::from(port) % PAGE].as_mut()
    }
}

/// A tuple was reopened; its SYN has no new port yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PendingReopen {
    pub(super) tuple: FourTuple,
    /// The port that the tuple had.
    pub(super) slot: PortSlot,
    pub(super) at: SimTime,
}

/// Reopened tuples whose SYN was dropped after conntrack had deleted the old entry.
#[derive(Debug, Clone, Default)]
pub(super) struct Reopens {
    waiting: FxHashMap<FourTuple, PendingReopen>,
}

impl Reopens {
    pub(super) fn wait(&mut self, pending: PendingReopen) {
        self.waiting.insert(pending.tuple, pending);
    }

    /// The reopening that a SYN of `tuple` completes.
    pub(super) fn take(&mut self, tuple: &FourTuple) -> Option<PendingReopen> {
        if self.waiting.is_empty() {
            None
        } else {
            self.waiting.remove(tuple)
        }
    }
}

/// Tells the old port's record what the reopening SYN got.
pub(super) fn resolve(pools: &mut [Pool], pending: &PendingReopen, new: PortSlot) {
    let got = match (pending.slot.pool == new.pool, pending.slot.port == new.port) {
        (false, _) => Reopened::AnotherPod,
        (true, true) => Reopened::SamePort,
        (true, false) => Reopened::AnotherPort,
    };
    pools[pending.slot.pool as usize].ledger.resolve(pending, got);
}
