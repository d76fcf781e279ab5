//! The pods behind one NodePort, and whose turn it is.
//!
//! ipvs: `net/netfilter/ipvs/ip_vs_ctl.c` (`ip_vs_edit_dest()`, `__ip_vs_unlink_dest()`, `ip_vs_trash_get_dest()`) and
//! `ip_vs_rr.c`. A removed server stays known, because its connections may outlive it; if the same address and port come
//! back, so does it, and its connections have a server again. iptables: kube-proxy writes one rule per endpoint, so a pod
//! without weight or removed has none; connections that conntrack knows are not affected.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::Backend;
use crate::model::ipvs::ServerState;
use crate::units::Endpoint;

/// A pod of a service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server {
    pub(super) backend: Backend,
    pub(super) state: ServerState,
}

/// A NodePort's pods, in the order in which they were added first.
#[derive(Debug, Clone)]
pub(super) struct Service {
    servers: Vec<Server>,
    /// Round robin: where the search begins.
    next: usize,
    /// Uniform choice.
    rng: ChaCha8Rng,
}

impl Service {
    /// All pods have weight 1.
    pub(super) fn new(backends: &[Backend], rng: ChaCha8Rng) -> Self {
        let mut service = Self {
            servers: Vec::with_capacity(backends.len()),
            next: 0,
            rng,
        };
        for &backend in backends {
            service.add(backend);
        }
        service
    }

    /// The pod belongs to the service, with weight 1.
    pub(super) fn add(&mut self, backend: Backend) {
        let state = ServerState::default();
        match self.find(backend.endpoint) {
            Some(server) => self.servers[server as usize] = Server { backend, state },
            None => self.servers.push(Server { backend, state }),
        }
    }

    /// The place of an endpoint that is or was a server.
    pub(super) fn find(&self, endpoint: Endpoint) -> Option<u32> {
        let is_it = |server: &Server| server.backend.endpoint == endpoint;
        self.servers.iter().position(is_it).map(|place| place as u32)
    }

    pub(super) fn server(&self, place: u32) -> &Server {
        &self.servers[place as usize]
    }

    pub(super) fn state_mut(&mut self, place: u32) -> &mut ServerState {
        &mut self.servers[place as usize].state
    }

    /// ipvs, round robin: the next eligible server after the one that was used last.
    pub(super) fn schedule(&mut self) -> Option<u32> {
        let count = self.servers.len();
        let place = (0..count)
            .map(|step| (self.next + step) % count)
            .find(|&place| self.servers[place].state.is_eligible())?;
        self.next = (place + 1) % count;
        Some(place as u32)
    }

    /// iptables: kube-proxy's chain of `statistic --mode random` rules comes to a uniform choice.
    pub(super) fn random(&mut self) -> Option<Backend> {
        let eligible = self.servers.iter().filter(|server| server.state.is_eligible());
        let nth = match eligible.clone().count() {
            0 => return None,
            1 => 0,
            count => self.rng.random_range(0..count),
        };
        eligible.map(|server| server.backend).nth(nth)
    }
}
