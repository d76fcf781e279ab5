//! The SLB's upstream side: which backend a request tries, what comes after a failure, and the connections that are kept.

use super::build::World;
use super::event::Handle;
use super::request::{NUMBER_BITS, Phase, Request, pick};
use crate::engine::{SplitMix64, keyed_hash, mix64};
use crate::model::slb::{Balance, Failure, Tries, Upstream};
use crate::spec::{Backends, Plan};
use crate::topology::{HostId, Role, Topology};
use crate::units::{SimDuration, SimTime};
use crate::vocab::{Cause, ConnectOutcome, Status};

/// Octets that the kernel takes off the SLB's hands at once (`tcp_wmem`, the middle one).
const SEND_BUFFER: u32 = 16_384;
/// Looks at a request that is still being sent, per `send_timeout`.
const LOOKS: u64 = 64;
/// Sets the draws of a scheduler apart from the source port's.
const SCHEDULER_KEY: u64 = 0x736c_625f_7363_6865;
/// Sets a client's address apart from the SLB's.
const ADDRESS_KEY: u64 = 0x636c_6965_6e74_6970;

/// Why there is no connection to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoConnection {
    /// connect() found no source port towards this backend.
    Port,
    /// bind() found none, whatever the backend.
    BoundPort,
    /// `worker_connections` are not enough.
    Worker,
}

/// The upstream of each service as one host of the SLB sees it, before anything has happened.
pub fn upstreams(plan: &Plan, topology: &Topology, host: usize) -> Vec<Upstream> {
    let slb = &plan.slb;
    let comes_and_goes = slb.backends == Backends::Pod && !plan.events.is_empty();
    let of_service = |service| {
        let backends = topology.backends(service).iter();
        let positions: Vec<usize> = backends
            .map(|backend| topology.host_of(backend.ip).map_or(0, HostId::position))
            .collect();
        let weights: Vec<u32> = positions
            .iter()
            .map(|&position| match slb.backends {
                Backends::NodePort => plan.nodes[position].slb_weight,
                Backends::Pod => plan.pods[position].slb_weight,
            })
            .collect();
        let changes = slb.health_check.is_some() || comes_and_goes;
        // Hosts start at different backends, as independent round robins do.
        let mut upstream = Upstream::new(slb.balance, &weights, host, slb.limits, changes);
        if comes_and_goes {
            for (backend, &pod) in positions.iter().enumerate() {
                upstream.set_gone(backend, !plan.pods[pod].runs_at_start);
            }
        }
        upstream
    };
    (0..plan.services.len()).map(of_service).collect()
}

impl World<'_> {
    // ---- the choice ----

    /// Chooses a backend and sends the request there, on a kept connection if there is one.
    pub fn start_upstream(&mut self, handle: Handle) {
        let now = self.now();
        let Some(request) = self.requests.get_mut(handle) else {
            return;
        };
        let service = self.plan.clients[request.population()].service;
        let backends = self.topology.backends(service).len();
        if backends == 0 {
            let tag = request.tag;
            self.note_trouble(tag, Cause::NoBackend);
            self.log(handle, Status::Unavailable);
            return;
        }
        request.tries = Tries::new(backends, self.plan.slb.next_upstream.as_ref());
        request.upstream_started = now;
        self.try_upstream(handle);
    }

    /// Tries backends until a connection is under way or none is left.
    fn try_upstream(&mut self, handle: Handle) {
        while let Some(request) = self.requests.get(handle) {
            let (tag, host, population) = (request.tag, request.slb_host, request.population());
            let service = self.plan.clients[population].service;
            let Some(backend) = self.choose_backend(handle, service) else {
                let (cause, status) = if self.slb[host].upstreams[service].all_are_gone() {
                    (Cause::NoBackend, Status::Unavailable)
                } else {
                    (Cause::NoLiveUpstream, Status::BadGateway)
                };
                self.note_trouble(tag, cause);
                self.log(handle, status);
                return;
            };
            if let Some(kept) = self.slb[host].pools[service].take(backend) {
                self.send_request(handle, kept, true);
                return;
            }
            // A dead kept connection costs no try; a fresh one that fails does.
            if let Some(request) = self.requests.get_mut(handle) {
                request.on_kept_connection = false;
            }
            let Err(why) = self.connect_upstream(handle, service, backend) else {
                return;
            };
            self.note_trouble(
                tag,
                match why {
                    NoConnection::Port | NoConnection::BoundPort => Cause::SlbPortExhaustion,
                    NoConnection::Worker => Cause::WorkerConnections,
                },
            );
            // To nginx a connect() that fails is an error of the backend, everything before it one of its own
            // (`ngx_event_connect_peer()`: NGX_DECLINED and NGX_ERROR).
            if why != NoConnection::Port {
                self.log(handle, Status::Internal);
                return;
            }
            if !self.has_next(handle, Failure::Error) {
                self.log(handle, Status::BadGateway);
                return;
            }
        }
    }

    fn choose_backend(&mut self, handle: Handle, service: usize) -> Option<usize> {
        let now = self.now();
        let request = self.requests.get(handle)?;
        let client = match self.plan.slb.balance {
            Balance::SourceHash => self.client_key(request),
            _ => 0,
        };
        let request = self.requests.get_mut(handle)?;
        let mut random = SplitMix64(mix64(request.draws.port ^ SCHEDULER_KEY) ^ request.tried.len() as u64);
        let upstream = &mut self.slb[request.slb_host].upstreams[service];
        let backend = upstream.choose(&request.tried, client, &mut random, now)?;
        request.backend = backend as u32;
        Some(backend)
    }

    /// What a hash of `$remote_addr` goes by.
    fn client_key(&self, request: &Request) -> u64 {
        let population = request.population();
        let address = match self.plan.clients[population].addresses {
            None => request.tag & ((1 << NUMBER_BITS) - 1),
            Some(addresses) => pick(mix64(request.draws.address ^ ADDRESS_KEY), addresses as usize) as u32,
        };
        keyed_hash(ADDRESS_KEY, &[population as u64, u64::from(address)])
    }

    // ---- after a failure ----

    /// The backend of a request failed before its response began: another one is tried, or the request ends with `status`
    /// (`ngx_http_upstream_next()`).
    pub fn fail_over(&mut self, handle: Handle, failure: Failure, status: Status) {
        if !self.has_next(handle, failure) {
            self.log(handle, status);
            return;
        }
        if let Some(request) = self.requests.get_mut(handle) {
            request.established_at = None;
            request.troubles.overcome();
        }
        self.try_upstream(handle);
        self.arm_limit(handle);
    }

    /// Counts a failed try; whether another may follow.
    fn has_next(&mut self, handle: Handle, failure: Failure) -> bool {
        let now = self.now();
        let Some(request) = self.requests.get_mut(handle) else {
            return false;
        };
        let elapsed = now.since(request.upstream_started);
        let kept = request.on_kept_connection;
        let config = self.plan.slb.next_upstream.as_ref();
        let next = request.tries.after(failure, kept, elapsed, config);
        if next && request.tries.excludes_failed() && request.backend != Request::NO_BACKEND {
            request.tried.push(request.backend);
        }
        self.release_backend(handle, true);
        next
    }

    /// A request is done with its backend.
    pub fn release_backend(&mut self, handle: Handle, failed: bool) {
        let now = self.now();
        let Some(request) = self.requests.get_mut(handle) else {
            return;
        };
        let backend = std::mem::replace(&mut request.backend, Request::NO_BACKEND);
        if backend != Request::NO_BACKEND {
            let service = self.plan.clients[request.population()].service;
            self.slb[request.slb_host].upstreams[service].release(backend as usize, failed, now);
        }
    }

    /// One of the SLB's timeouts is over.
    pub fn on_upstream_timeout(&mut self, handle: Handle) {
        if self.is_still_sending(handle) {
            return;
        }
        let answered = self
            .requests
            .get(handle)
            .is_some_and(|request| request.response_received > 0);
        self.give_up_upstream(handle, ConnectOutcome::TimedOut);
        if answered {
            self.log(handle, Status::GatewayTimeout);
        } else {
            self.fail_over(handle, Failure::Timeout, Status::GatewayTimeout);
        }
    }

    /// When the SLB's limit for a request of so many octets runs out that is sent now. Notes what has to leave first.
    pub fn limit_of_sending(&mut self, handle: Handle, bytes: u32) -> SimTime {
        let now = self.now();
        let slb = &self.plan.slb;
        let (Some(send_timeout), true) = (slb.send_timeout, bytes > SEND_BUFFER) else {
            return now + slb.read_timeout;
        };
        if let Some(request) = self.requests.get_mut(handle) {
            request.sending = Some((bytes, now));
        }
        now + look_every(send_timeout)
    }

    /// A large request is looked at in steps of `send_timeout`: whether the kernel has all of it, and whether any octet
    /// went on in time. `true`: the request goes on.
    fn is_still_sending(&mut self, handle: Handle) -> bool {
        let now = self.now();
        let Some(request) = self.requests.get(handle) else {
            return false;
        };
        let (Some((left, since)), Phase::Waiting, Some(send_timeout)) =
            (request.sending, request.phase, self.plan.slb.send_timeout)
        else {
            return false;
        };
        let (id, upstream) = (HostId::new(Role::Slb, request.slb_host), request.upstream);
        let pending = self
            .sock_mut(id, upstream)
            .map_or(0, |sock| sock.socket.octets_pending());
        let (sending, deadline) = if pending <= SEND_BUFFER {
            (None, now + self.plan.slb.read_timeout)
        } else if pending < left {
            (Some((pending, now)), now + look_every(send_timeout))
        } else if now.since(since) >= send_timeout {
            return false;
        } else {
            (Some((left, since)), now + look_every(send_timeout))
        };
        if let Some(request) = self.requests.get_mut(handle) {
            (request.sending, request.slb_deadline) = (sending, deadline);
        }
        true
    }

    // ---- keepalive ----

    /// The response is complete: its connection is kept or closed.
    pub fn keep_or_close(&mut self, host: HostId, handle: Handle, population: usize) {
        let Some(config) = self.plan.slb.keepalive else {
            return;
        };
        let service = self.plan.clients[population].service;
        let now = self.now();
        let Some(sock) = self.sock_mut(host, handle) else {
            return;
        };
        sock.app.served += 1;
        sock.app.request = Handle::NONE;
        let (served, backend) = (sock.app.served, sock.app.backend as usize);
        if config.is_worn_out(served, now.since(sock.app.opened_at)) {
            self.close(host, handle);
            return;
        }
        let evicted = self.slb[host.position()].pools[service].put(backend, handle, config.size);
        if let Some(evicted) = evicted {
            if let Some(sock) = self.sock_mut(host, evicted) {
                sock.app.idle_deadline = SimTime::NEVER;
            }
            self.close(host, evicted);
        }
        self.set_idle(host, handle, now + config.idle_timeout);
    }

    /// Takes a connection to a backend out of the pools.
    pub fn forget_idle(&mut self, slb_host: usize, backend: u32, handle: Handle) {
        for pool in &mut self.slb[slb_host].pools {
            if pool.remove(backend as usize, handle) {
                return;
            }
        }
    }

    // ---- worker_connections ----

    /// A connection of the SLB takes one of `worker_connections`; `false`: none is left.
    pub fn take_connection(&mut self, host: HostId, handle: Handle) -> bool {
        if !self.has_connection(host.position()) {
            return false;
        }
        if self.plan.slb.worker_connections.is_some()
            && let Some(sock) = self.sock_mut(host, handle)
        {
            sock.app.counted = true;
            self.slb[host.position()].connections += 1;
        }
        true
    }

    /// Whether a host may have one connection more.
    pub fn has_connection(&self, slb_host: usize) -> bool {
        let limit = self.plan.slb.worker_connections;
        limit.is_none_or(|limit| self.slb[slb_host].connections < limit)
    }

    /// The SLB closes a connection, or it has ended.
    pub fn return_connection(&mut self, host: HostId, handle: Handle) {
        if host.role() != Role::Slb || self.plan.slb.worker_connections.is_none() {
            return;
        }
        if let Some(sock) = self.sock_mut(host, handle)
            && std::mem::take(&mut sock.app.counted)
        {
            self.slb[host.position()].connections -= 1;
        }
    }
}

fn look_every(send_timeout: SimDuration) -> SimDuration {
    SimDuration::from_nanos((send_timeout.as_nanos() / LOOKS).max(1))
}
