//! The ledger of SNAT ports: who held each one, who held it before, and what set it free.
//!
//! For observers only: nothing in here decides anything. Pools keep it in pages of 256 ports, made when first used; a
//! record is packed and unpacked into what observers read when they ask.

use std::net::Ipv4Addr;

use rustc_hash::FxHashMap;

use super::pools::Pool;
use crate::model::conntrack::{PortSlot, State, Timeouts};
use crate::model::ipvs;
use crate::units::{Endpoint, FourTuple, SimDuration, SimTime};

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
    /// The flow's ipvs connection and how often that had been reused.
    pub(super) ipvs: Option<(ipvs::Handle, u16)>,
}

/// An SLB tuple towards the node: of its destination only the port differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Caller {
    src: Endpoint,
    node_port: u16,
}

impl Caller {
    const NOBODY: Self = Self {
        src: Endpoint::new(Ipv4Addr::UNSPECIFIED, 0),
        node_port: 0,
    };

    fn of(tuple: &FourTuple) -> Self {
        Self {
            src: tuple.src,
            node_port: tuple.dst.port,
        }
    }

    fn tuple(self, node: Ipv4Addr) -> FourTuple {
        FourTuple::new(self.src, Endpoint::new(node, self.node_port))
    }
}

/// [`Release`] in one octet, and what is not known yet; the hold follows from the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The flow still holds the port, or there was none.
    Held,
    SameTuple(Reopened),
    Timer(State),
    Rst,
    DeletedByRst,
    EarlyDrop,
    GcPressure,
    Evicted,
    Ipvs,
    IpvsStrayRst,
    Unchecked,
}

const _: () = assert!(size_of::<Why>() <= 2);

impl Why {
    fn of(release: Release) -> Self {
        match release {
            Release::SameTuple(got) => Self::SameTuple(got),
            Release::Timer { state, .. } => Self::Timer(state),
            Release::Rst => Self::Rst,
            Release::DeletedByRst => Self::DeletedByRst,
            Release::EarlyDrop => Self::EarlyDrop,
            Release::GcPressure => Self::GcPressure,
            Release::Evicted => Self::Evicted,
            Release::Ipvs { stray_rst: false } => Self::Ipvs,
            Release::Ipvs { stray_rst: true } => Self::IpvsStrayRst,
            Release::Unchecked => Self::Unchecked,
        }
    }

    /// `None`: the port was not set free.
    fn release(self, timeouts: &Timeouts) -> Option<Release> {
        Some(match self {
            Self::Held => return None,
            Self::SameTuple(got) => Release::SameTuple(got),
            Self::Timer(state) => Release::Timer {
                state,
                hold: timeouts.of(state),
            },
            Self::Rst => Release::Rst,
            Self::DeletedByRst => Release::DeletedByRst,
            Self::EarlyDrop => Release::EarlyDrop,
            Self::GcPressure => Release::GcPressure,
            Self::Evicted => Release::Evicted,
            Self::Ipvs => Release::Ipvs { stray_rst: false },
            Self::IpvsStrayRst => Release::Ipvs { stray_rst: true },
            Self::Unchecked => Release::Unchecked,
        })
    }
}

/// No ipvs connection.
const NO_IPVS: ipvs::Handle = ipvs::Handle {
    index: u32::MAX,
    generation: 0,
};

/// One port: the flow that holds it or did last, and the one before.
#[derive(Debug, Clone, Copy)]
struct Record {
    released_at: SimTime,
    previous_released_at: SimTime,
    ipvs: ipvs::Handle,
    current: Caller,
    previous: Caller,
    /// Of the ipvs connection; more than two octets of reuses are told from one another no more.
    reuses: u16,
    released_by: Why,
    /// [`Why::Held`]: nobody had the port before.
    previous_released_by: Why,
    previous_undisturbed: bool,
    /// Somebody has had the port.
    used: bool,
}

const _: () = assert!(size_of::<Record>() <= 48);

impl Record {
    const UNUSED: Self = Self {
        released_at: SimTime::NEVER,
        previous_released_at: SimTime::NEVER,
        ipvs: NO_IPVS,
        current: Caller::NOBODY,
        previous: Caller::NOBODY,
        reuses: 0,
        released_by: Why::Held,
        previous_released_by: Why::Held,
        previous_undisturbed: false,
        used: false,
    };
}

/// The records of one pool.
#[derive(Debug, Clone)]
pub(super) struct PoolLedger {
    pages: Vec<Option<Box<[Record]>>>,
}

impl PoolLedger {
    pub(super) fn new() -> Self {
        Self {
            pages: vec![None; 65_536 / PAGE],
        }
    }

    /// What became of a port of the node with this address.
    pub(super) fn history(&self, port: u16, node: Ipv4Addr, timeouts: &Timeouts) -> Option<PortHistory> {
        let record = self.record(port)?;
        let released_by = record.previous_released_by.release(timeouts);
        Some(PortHistory {
            current: record.current.tuple(node),
            previous: released_by.map(|released_by| PreviousUse {
                tuple: record.previous.tuple(node),
                rewritten: record.previous.src.port != port,
                released_at: record.previous_released_at,
                released_by,
                ipvs_undisturbed: record.previous_undisturbed,
            }),
        })
    }

    /// The ipvs connection of the flow that last used the port.
    pub(super) fn last_ipvs(&self, port: u16) -> Option<(ipvs::Handle, u16)> {
        let record = self.record(port)?;
        (record.ipvs != NO_IPVS).then_some((record.ipvs, record.reuses))
    }

    /// A flow takes the port; `true` if another had it before.
    pub(super) fn allocate(&mut self, port: u16, user: Use, now: SimTime, undisturbed: bool) -> bool {
        let page = self.pages[usize::from(port) / PAGE]
            .get_or_insert_with(|| vec![Record::UNUSED; PAGE].into_boxed_slice());
        let record = &mut page[usize::from(port) % PAGE];
        let reused = record.used;
        if reused {
            record.previous = record.current;
            record.previous_undisturbed = undisturbed;
            (record.previous_released_at, record.previous_released_by) = match record.released_by {
                Why::Held => (now, Why::Unchecked),
                why => (record.released_at, why),
            };
        }
        record.used = true;
        record.current = Caller::of(&user.tuple);
        record.released_by = Why::Held;
        let (handle, reuses) = user.ipvs.unwrap_or((NO_IPVS, 0));
        (record.ipvs, record.reuses) = (handle, reuses);
        reused
    }

    /// The flow that holds the port loses it.
    pub(super) fn release(&mut self, port: u16, at: SimTime, by: Release) {
        if let Some(record) = self.record_mut(port) {
            record.released_at = at;
            record.released_by = Why::of(by);
        }
    }

    /// It is known now what the SYN got that took the port from `pending.tuple`.
    fn resolve(&mut self, pending: &PendingReopen, got: Reopened) {
        let (by, caller) = (Why::SameTuple(got), Caller::of(&pending.tuple));
        let Some(record) = self.record_mut(pending.slot.port) else {
            return;
        };
        if record.current == caller && record.released_by != Why::Held && record.released_at == pending.at {
            record.released_by = by;
        } else if record.previous == caller
            && record.previous_released_at == pending.at
            && matches!(record.previous_released_by, Why::SameTuple(_))
        {
            // Somebody else took the port in the meantime.
            record.previous_released_by = by;
        }
    }

    fn record(&self, port: u16) -> Option<&Record> {
        let page = self.pages[usize::from(port) / PAGE].as_ref()?;
        Some(&page[usize::from(port) % PAGE]).filter(|record| record.used)
    }

    fn record_mut(&mut self, port: u16) -> Option<&mut Record> {
        let page = self.pages[usize::from(port) / PAGE].as_mut()?;
        Some(&mut page[usize::from(port) % PAGE]).filter(|record| record.used)
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
