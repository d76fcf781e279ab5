//! One upstream as a host of the SLB sees it: its servers, what nginx remembers of each, and who is eligible.
//!
//! `src/http/ngx_http_upstream_round_robin.c`. A server counts failures only where there are several, fails for
//! `fail_timeout` after `max_fails` of them, and comes back with the first success after that. nginx' clock for it counts
//! whole seconds (`ngx_time()`), so a server rests up to one second longer.

use rand::Rng;

use super::{hash, least_conn, random_two, round_robin};
use crate::units::{SimDuration, SimTime};

/// How the SLB chooses among the backends of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// nginx' default: smooth weighted round robin.
    #[default]
    RoundRobin,
    /// `least_conn`.
    LeastConn,
    /// `hash $remote_addr`.
    SourceHash,
    /// `random two least_conn`: the power of two choices.
    RandomTwo,
}

/// The parameters of `server` that are the same for all backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// `max_conns`: requests that a host has at a backend at once; 0: no limit.
    pub max_conns: u32,
    /// `max_fails`: failures within `fail_timeout` that take a backend out; 0: none do.
    pub max_fails: u32,
    /// `fail_timeout`: how long it stays out then.
    pub fail_timeout: SimDuration,
}

impl ServerLimits {
    /// Neither limit: what the simulator takes unless it is told.
    pub const NONE: Self = Self {
        max_conns: 0,
        max_fails: 0,
        fail_timeout: SimDuration::from_secs(10),
    };

    const fn are_none(&self) -> bool {
        self.max_conns == 0 && self.max_fails == 0
    }
}

/// A backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// `weight`.
    pub weight: i64,
    /// The weight that it has after failures; it grows back by one with each choice.
    pub effective_weight: i64,
    /// Its place in the smooth round robin: the largest is next.
    pub current_weight: i64,
    /// Requests of this host that it has now. Idle kept connections are none.
    pub conns: u32,
    /// Failures that count.
    pub fails: u32,
    /// Second of the last failure.
    pub accessed: u64,
    /// Second of the last failure, or of the choice that tried it again.
    pub checked: u64,
    /// An active check has taken it out.
    pub down: bool,
    /// It is in no endpoint slice: as if it were not there.
    pub gone: bool,
}

impl Peer {
    const fn new(weight: u32) -> Self {
        Self {
            weight: weight as i64,
            effective_weight: weight as i64,
            current_weight: 0,
            conns: 0,
            fails: 0,
            accessed: 0,
            checked: 0,
            down: false,
            gone: false,
        }
    }
}

/// Servers of one service.
#[derive(Debug, Clone)]
pub struct Upstream {
    pub(super) peers: Vec<Peer>,
    /// Where the order begins: the hosts of a cluster do not all begin at the same backend.
    pub(super) first: usize,
    pub(super) limits: ServerLimits,
    pub(super) total_weight: u64,
    balance: Balance,
    /// Nothing but the turn can decide: the next one is known without a look at the others.
    cursor: Option<usize>,
}

impl Upstream {
    /// Servers of these weights, in the order of round robin that begins with the `first`. `changes`: one may be taken out
    /// by active checks, or go.
    pub fn new(balance: Balance, weights: &[u32], first: usize, limits: ServerLimits, changes: bool) -> Self {
        let equal = weights.windows(2).all(|pair| pair[0] == pair[1]);
        let plain = balance == Balance::RoundRobin && equal && limits.are_none() && !changes;
        let first = first % weights.len().max(1);
        Self {
            peers: weights.iter().map(|&weight| Peer::new(weight)).collect(),
            first,
            limits,
            total_weight: weights.iter().map(|&weight| u64::from(weight)).sum(),
            balance,
            cursor: plain.then_some(first),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// A server.
    pub fn peer(&self, peer: usize) -> &Peer {
        &self.peers[peer]
    }

    /// Chooses the server of a request and counts the request there. `None`: "no live upstreams". `tried` have failed it
    /// already, `client` is what a hash goes by, `random` its own random numbers.
    pub fn choose(
        &mut self,
        tried: &[u32],
        client: u64,
        random: &mut impl Rng,
        now: SimTime,
    ) -> Option<usize> {
        let second = now.as_secs();
        let peer = match (self.peers.len(), self.cursor, self.balance) {
            (0, ..) => None,
            // A single server is taken whatever has failed, and its failures are not counted.
            (1, ..) => self.has_room(0).then_some(0),
            (_, Some(cursor), _) => self.take_turn(cursor, tried),
            (_, None, Balance::RoundRobin) => round_robin::choose(self, tried, second),
            (_, None, Balance::LeastConn) => least_conn::choose(self, tried, second),
            (_, None, Balance::SourceHash) => hash::choose(self, tried, client, second),
            (_, None, Balance::RandomTwo) => random_two::choose(self, tried, random, second),
        }?;
        let wait = self.limits.fail_timeout.as_secs();
        let chosen = &mut self.peers[peer];
        chosen.conns += 1;
        if second.saturating_sub(chosen.checked) > wait {
            chosen.checked = second;
        }
        Some(peer)
    }

    /// The next one that has not failed this request.
    fn take_turn(&mut self, cursor: usize, tried: &[u32]) -> Option<usize> {
        let count = self.peers.len();
        let turn = (cursor..cursor + count).map(|place| place % count);
        let peer = turn.into_iter().find(|&peer| !tried.contains(&(peer as u32)))?;
        self.cursor = Some((peer + 1) % count);
        Some(peer)
    }

    /// A request is done with a server (`ngx_http_upstream_free_round_robin_peer()`).
    pub fn release(&mut self, peer: usize, failed: bool, now: SimTime) {
        let several = self.peers.len() > 1;
        let max_fails = self.limits.max_fails;
        let Some(peer) = self.peers.get_mut(peer) else {
            return;
        };
        peer.conns = peer.conns.saturating_sub(1);
        if !several || max_fails == 0 {
            return;
        }
        if failed {
            peer.fails += 1;
            (peer.accessed, peer.checked) = (now.as_secs(), now.as_secs());
            let less = peer.effective_weight - peer.weight / i64::from(max_fails);
            peer.effective_weight = less.max(0);
        } else if peer.accessed < peer.checked {
            // The choice that tried it again went well.
            peer.fails = 0;
        }
    }

    /// An active check takes a server out or puts it back.
    pub fn set_down(&mut self, peer: usize, down: bool) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.down = down;
        }
    }

    /// A server goes, or is there again.
    pub fn set_gone(&mut self, peer: usize, gone: bool) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.gone = gone;
        }
    }

    /// Whether none is there.
    pub fn all_are_gone(&self) -> bool {
        self.peers.iter().all(|peer| peer.gone)
    }

    /// Servers in their order.
    pub(super) fn in_order(&self) -> impl Iterator<Item = usize> + use<> {
        let count = self.peers.len();
        (self.first..self.first + count).map(move |place| place % count)
    }

    /// There, up, and below `max_conns`.
    fn has_room(&self, peer: usize) -> bool {
        let Peer {
            conns, down, gone, ..
        } = self.peers[peer];
        let most = self.limits.max_conns;
        !down && !gone && (most == 0 || conns < most)
    }

    /// Whether a request that `tried` have failed may go to this server now.
    pub(super) fn is_eligible(&self, peer: usize, tried: &[u32], second: u64) -> bool {
        let Peer { fails, checked, .. } = self.peers[peer];
        let limits = &self.limits;
        let rests = limits.max_fails != 0
            && fails >= limits.max_fails
            && second.saturating_sub(checked) <= limits.fail_timeout.as_secs();
        !rests && self.has_room(peer) && !tried.contains(&(peer as u32))
    }
}
