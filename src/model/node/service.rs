//! The pods behind one NodePort, and whose turn it is.
//!
//! ipvs: `net/netfilter/ipvs/ip_vs_ctl.c` (`ip_vs_edit_dest()`, `__ip_vs_unlink_dest()`, `ip_vs_trash_get_dest()`); the
//! schedulers are `model::ipvs`'. A removed server stays known, because its connections may outlive it; if the same address and port come
//! back, so does it, and its connections have a server again. iptables: kube-proxy writes one rule per endpoint, so a pod
//! without weight or removed has none; connections that conntrack knows are not affected.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::Backend;
use crate::model::ipvs::{Load, Picker, Scheduler, ServerState, Servers};
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
    /// ipvs: whose turn it is.
    picker: Picker,
    /// The picker has not seen the servers as they are now.
    changed: bool,
    /// Uniform choice.
    rng: ChaCha8Rng,
}

impl Service {
    /// All pods have weight 1.
    pub(super) fn new(backends: &[Backend], scheduler: Scheduler, rng: ChaCha8Rng) -> Self {
        let mut service = Self {
            servers: Vec::with_capacity(backends.len()),
            picker: Picker::new(scheduler),
            changed: true,
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
        self.changed = true;
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
        self.changed = true;
        &mut self.servers[place as usize].state
    }

    /// ipvs: the server that is given a new connection from `source`; `load` says how many a place has.
    pub(super) fn schedule(&mut self, source: Endpoint, load: impl Fn(u32) -> Load) -> Option<u32> {
        let view = View(&self.servers);
        if std::mem::take(&mut self.changed) {
            self.picker.changed(&view);
        }
        let place = self.picker.pick(&view, source, |place| load(place as u32))?;
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

/// The servers as schedulers see them.
struct View<'a>(&'a [Server]);

impl Servers for View<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn state(&self, place: usize) -> ServerState {
        self.0[place].state
    }

    fn endpoint(&self, place: usize) -> Endpoint {
        self.0[place].backend.endpoint
    }
}
