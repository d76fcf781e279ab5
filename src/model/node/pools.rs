//! The node's SNAT pools: per pod endpoint the ports in use, their ledger and the randomness of the search.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rustc_hash::FxHashMap;

use super::Backend;
use super::ledger::{self, PendingReopen, PoolLedger, Release, Reopens, Use};
use crate::model::conntrack::{Ended, Entry, PortSlot, State, Timeouts};
use crate::model::nat::PortMap;
use crate::units::{Endpoint, SimTime};

/// Ports towards one pod endpoint.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    pub(super) backend: Backend,
    pub(super) ports: PortMap,
    pub(super) ledger: PoolLedger,
    pub(super) rng: ChaCha8Rng,
    /// 4.19's `--random`: the keyed start of the search.
    pub(super) keyed_start: u16,
}

/// All pools of a node.
#[derive(Debug, Clone)]
pub(super) struct Pools {
    pub(super) all: Vec<Pool>,
    by_endpoint: FxHashMap<Endpoint, u32>,
    reopens: Reopens,
    timeouts: Timeouts,
}

impl Pools {
    pub(super) fn new(timeouts: Timeouts) -> Self {
        Self {
            all: Vec::new(),
            by_endpoint: FxHashMap::default(),
            reopens: Reopens::default(),
            timeouts,
        }
    }

    /// Makes the pool of a backend, if it is the first with this endpoint.
    pub(super) fn add(&mut self, backend: Backend, stream: impl FnOnce() -> ChaCha8Rng) {
        if self.by_endpoint.contains_key(&backend.endpoint) {
            return;
        }
        let mut rng = stream();
        let keyed_start = rng.random();
        self.by_endpoint.insert(backend.endpoint, self.all.len() as u32);
        self.all.push(Pool {
            backend,
            ports: PortMap::new(),
            ledger: PoolLedger::new(),
            rng,
            keyed_start,
        });
    }

    /// The pool of a pod's address and port.
    pub(super) fn of(&self, endpoint: Endpoint) -> Option<u32> {
        self.by_endpoint.get(&endpoint).copied()
    }

    pub(super) fn get(&self, pool: u32) -> &Pool {
        &self.all[pool as usize]
    }

    pub(super) fn get_mut(&mut self, pool: u32) -> &mut Pool {
        &mut self.all[pool as usize]
    }

    /// A confirmed entry takes its port; `true` if the port was in use before for another flow.
    pub(super) fn allocate(
        &mut self,
        slot: PortSlot,
        user: Use,
        reopened: Option<PendingReopen>,
        now: SimTime,
        undisturbed: bool,
    ) -> bool {
        if let Some(pending) = reopened.or_else(|| self.reopens.take(&user.tuple)) {
            ledger::resolve(&mut self.all, &pending, slot);
        }
        let pool = self.get_mut(slot.pool);
        let fresh = pool.ports.insert(slot.port);
        debug_assert!(fresh, "two live entries hold one reply tuple");
        pool.ledger.allocate(slot.port, user, now, undisturbed)
    }

    /// A reopening SYN was dropped before it had a port.
    pub(super) fn wait(&mut self, pending: Option<PendingReopen>) {
        if let Some(pending) = pending {
            self.reopens.wait(pending);
        }
    }

    /// An entry gives its port back.
    pub(super) fn release(&mut self, entry: &Entry, at: SimTime, by: Release) {
        if let Some(slot) = entry.port() {
            let pool = self.get_mut(slot.pool);
            let held = pool.ports.remove(slot.port);
            debug_assert!(held, "a live entry's port was not in use");
            if entry.pod().is_some() {
                pool.ledger.release(slot.port, at, by);
            }
        }
    }

    /// An entry ended on its own.
    pub(super) fn on_end(&mut self, entry: &Entry, why: Ended, now: SimTime) {
        let state = entry.tracker.state;
        let (at, by) = match why {
            Ended::EarlyDrop => (now, Release::EarlyDrop),
            Ended::GcPressure => (now, Release::GcPressure),
            Ended::Expired if state == State::Close => (entry.tracker.expires, Release::Rst),
            Ended::Expired => {
                let hold = self.timeouts.of(state);
                (entry.tracker.expires, Release::Timer { state, hold })
            }
        };
        self.release(entry, at, by);
    }
}
