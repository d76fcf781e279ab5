//! The SLB: takes requests, connects upstream, passes responses on, and writes the access log by nginx' rules.

use super::build::World;
use super::event::{Event, Handle};
use super::network::Ends;
use super::request::{NUMBER_BITS, Phase, Request, unit};
use super::stack::Leg;
use super::transport::{SockInfo, client_tag};
use crate::engine::Class;
use crate::model::tcp::Reaction;
use crate::observe::RequestRecord;
use crate::spec::{Bind, PodPlan};
use crate::topology::{HostId, Role};
use crate::units::{Endpoint, FourTuple, SeqNum, SimDuration, SimTime};
use crate::vocab::{Cause, ConnectOutcome, Status};
use crate::wire::{Flags, Options, Packet};

/// Octets of the page that the SLB itself answers with (502, 504).
const ERROR_PAGE: u32 = 150;
/// From the last octet of a response to nginx' close(): a turn of its event loop.
const REACTION: SimDuration = SimDuration::from_micros(50);

impl World<'_> {
    /// Hands what happened on a connection to whoever holds it.
    pub fn tell_application(&mut self, host: HostId, handle: Handle, info: SockInfo, reaction: &Reaction) {
        match info.leg {
            Leg::Client => self.on_client_event(host, handle, info, reaction),
            Leg::Downstream => self.on_downstream_event(host, handle, info, reaction),
            Leg::Upstream => self.on_upstream_event(host, handle, info, reaction),
            Leg::Server => self.on_server_event(host.position(), handle, info, reaction),
        }
    }

    fn slb_id(host: usize) -> HostId {
        HostId::new(Role::Slb, host)
    }

    // ---- downstream ----

    fn on_downstream_event(&mut self, host: HostId, handle: Handle, info: SockInfo, reaction: &Reaction) {
        if reaction.connected {
            let listener = self.slb[host.position()].listener;
            self.stack_mut(host).accept(listener);
        }
        if reaction.data_len > 0 {
            self.on_request_data(host, handle, reaction.data_len);
        }
        if reaction.peer_closed || reaction.reset || reaction.timed_out {
            let request = self
                .sock_mut(host, handle)
                .map_or(info.request, |sock| sock.app.request);
            self.downstream_is_gone(request);
            self.close(host, handle);
        }
    }

    fn on_request_data(&mut self, host: HostId, handle: Handle, len: u32) {
        let Some(sock) = self.sock_mut(host, handle) else {
            return;
        };
        sock.app.received += len;
        let received = sock.app.received;
        let Some(tag) = client_tag(sock.tuple.dst) else {
            return;
        };
        let Some(request_handle) = self.by_tag.get(tag) else {
            return;
        };
        if let Some(sock) = self.sock_mut(host, handle) {
            sock.app.request = request_handle;
            sock.socket.tag = tag;
        }
        let needed = self.plan.clients[(tag >> NUMBER_BITS) as usize].request_bytes;
        let Some(request) = self.requests.get_mut(request_handle) else {
            return;
        };
        if request.phase == Phase::NotYet && received >= needed {
            request.downstream = handle;
            self.start_upstream(request_handle);
            self.arm_limit(request_handle);
        }
    }

    /// The client has left. nginx logs 499 unless some of the response was sent already.
    pub fn downstream_is_gone(&mut self, handle: Handle) {
        let Some(request) = self.requests.get(handle) else {
            return;
        };
        let status = match request.phase {
            Phase::NotYet | Phase::Logged => return,
            // nginx is about to close anyway.
            Phase::Waiting if self.is_closing(request) => return,
            Phase::Waiting if request.response_received > 0 => Status::Ok,
            Phase::Connecting | Phase::Waiting => Status::ClientClosed,
        };
        self.give_up_upstream(handle, ConnectOutcome::Abandoned);
        self.log(handle, status);
    }

    /// The response is complete, and nginx has not closed yet.
    fn is_closing(&self, request: &Request) -> bool {
        let population = request.population();
        request.response_received >= self.plan.clients[population].response_bytes
            && self.may_close_before_backend(population)
    }

    // ---- upstream ----

    /// Chooses a backend and sends the request there, on a kept connection if there is one.
    pub fn start_upstream(&mut self, handle: Handle) {
        let Some(request) = self.requests.get(handle) else {
            return;
        };
        let (slb_host, population) = (request.slb_host, request.population());
        let service = self.plan.clients[population].service;
        let count = self.topology.backends(service).len();
        if count == 0 {
            self.note_trouble(request.tag, Cause::NoBackend);
            self.log(handle, Status::Unavailable);
            return;
        }
        let next = self.slb[slb_host].next_backend[service];
        let Some(backend) = self.in_rotation(service, next) else {
            self.note_trouble(request.tag, Cause::NoBackend);
            self.log(handle, Status::Unavailable);
            return;
        };
        let slb = &mut self.slb[slb_host];
        slb.next_backend[service] = (backend + 1) % count;
        if let Some(kept) = slb.pools[service][backend].pop() {
            slb.idle -= 1;
            self.send_request(handle, kept, true);
        } else {
            self.connect_upstream(handle, service, backend);
        }
    }

    #[inline(never)]
    fn connect_upstream(&mut self, handle: Handle, service: usize, backend: usize) {
        let now = self.now();
        let destination = self.topology.backends(service)[backend];
        let Some(request) = self.requests.get(handle) else {
            return;
        };
        let (tag, slb_host, address) = (request.tag, request.slb_host, request.address);
        let random = request.draws.port;
        let place = self.place_of_slb(slb_host);
        let host = &mut self.slb[slb_host];
        let source = host.addresses[address];
        let stack = &mut self.stacks[place];
        stack.advance(now);
        let stack = &*stack;
        let tuple = |port, to| FourTuple::new(Endpoint::new(source, port), to);
        let port = match self.plan.slb.bind {
            Bind::None => {
                let is_used = |port| !stack.is_free(tuple(port, destination), now);
                host.ports.take(source, destination, now, random, is_used)
            }
            // A port that is bound is in use towards every destination; TIME_WAIT still holds it.
            Bind::PortZero => host.ports.bind(random, |port| {
                (0..self.plan.services.len())
                    .flat_map(|service| self.topology.backends(service))
                    .any(|&to| stack.owner(tuple(port, to)).is_some())
            }),
        };
        let Some(port) = port else {
            self.note_trouble(tag, Cause::SlbPortExhaustion);
            self.log(handle, Status::Internal);
            return;
        };
        let tuple = FourTuple::new(Endpoint::new(source, port), destination);
        if let Some(request) = self.requests.get_mut(handle) {
            request.phase = Phase::Connecting;
            request.slb_tuple = Some(tuple);
            request.connect_started = now;
            request.slb_deadline = now + self.plan.slb.connect_timeout;
        }
        self.recorder.now.connects_started += 1;
        self.connects_in_flight += 1;
        let id = Self::slb_id(slb_host);
        let socket = self.open(id, tuple, Leg::Upstream, handle, tag);
        if let Some(sock) = self.sock_mut(id, socket) {
            sock.app.backend = backend as u32;
        }
        if let Some(request) = self.requests.get_mut(handle) {
            request.upstream = socket;
        }
    }

    /// A SYN of a request leaves the SLB.
    pub fn on_syn_sent(&mut self, handle: Handle) {
        if let Some(request) = self.requests.get_mut(handle) {
            request.syns_sent += 1;
            if request.syns_sent > 1 {
                let after = self.network.now.since(request.connect_started);
                self.recorder.syn_repeated(after);
            }
        }
    }

    fn send_request(&mut self, handle: Handle, socket: Handle, kept: bool) {
        let now = self.now();
        let Some(request) = self.requests.get_mut(handle) else {
            return;
        };
        request.phase = Phase::Waiting;
        request.established_at = Some(now);
        request.upstream = socket;
        request.on_kept_connection = kept;
        request.slb_deadline = now + self.plan.slb.read_timeout;
        let (tag, id, population) = (request.tag, Self::slb_id(request.slb_host), request.population());
        let bytes = self.plan.clients[population].request_bytes;
        if let Some(sock) = self.sock_mut(id, socket) {
            sock.app.request = handle;
            sock.app.idle_deadline = SimTime::NEVER;
            sock.socket.tag = tag;
            sock.socket.write(bytes);
        }
        if kept {
            let tuple = self.sock_mut(id, socket).map(|sock| sock.tuple);
            if let Some(request) = self.requests.get_mut(handle) {
                request.slb_tuple = tuple;
            }
            self.pump(id, socket);
        }
    }

    fn on_upstream_event(&mut self, host: HostId, handle: Handle, info: SockInfo, reaction: &Reaction) {
        if self.serves(info.request, handle) {
            if reaction.connected {
                self.on_upstream_connected(info.request, handle);
            }
            if reaction.data_len > 0 {
                self.on_response_data(host, handle, info.request, reaction.data_len);
            }
        }
        // The last octet of a response may have ended the request just now.
        if !self.serves(info.request, handle) {
            if reaction.peer_closed || reaction.reset {
                self.forget_idle(host.position(), handle);
                self.close(host, handle);
            }
            return;
        }
        if reaction.peer_closed {
            self.on_upstream_closed(host, handle, info.request);
        }
        if reaction.reset || reaction.timed_out {
            self.on_upstream_failed(info.request, reaction.timed_out);
        }
    }

    /// Whether `upstream` is the connection on which a request waits that has not been logged. A logged one may still be
    /// there, for its client has not got the response yet.
    pub fn serves(&self, request: Handle, upstream: Handle) -> bool {
        let request = self.requests.get(request);
        request.is_some_and(|request| request.upstream == upstream && request.phase != Phase::Logged)
    }

    fn on_upstream_connected(&mut self, request_handle: Handle, socket: Handle) {
        let Some(request) = self.requests.get(request_handle) else {
            return;
        };
        let took = self.now().since(request.connect_started);
        self.connects_in_flight -= 1;
        self.recorder.connected(took);
        self.send_request(request_handle, socket, false);
    }

    fn on_response_data(&mut self, host: HostId, handle: Handle, request_handle: Handle, len: u32) {
        let now = self.now();
        let read_timeout = self.plan.slb.read_timeout;
        let Some(request) = self.requests.get_mut(request_handle) else {
            return;
        };
        request.response_received += len;
        request.slb_deadline = now + read_timeout;
        let (downstream, received, population) = (
            request.downstream,
            request.response_received,
            request.population(),
        );
        let id = Self::slb_id(host.position());
        if let Some(sock) = self.sock_mut(id, downstream) {
            sock.socket.write(len);
            self.pump(id, downstream);
        }
        if received < self.plan.clients[population].response_bytes {
            return;
        }
        if self.plan.slb.keepalive.is_some() {
            self.keep_or_close(host, handle, population);
            self.log(request_handle, Status::Ok);
        } else if !self.backend_closes_first(population) {
            self.close(host, handle);
            self.log(request_handle, Status::Ok);
        } else if self.may_close_before_backend(population) {
            self.set_idle(host, handle, now + REACTION);
        }
    }

    /// Whether the pods of a population's service answer with `Connection: close` and close themselves.
    fn backend_closes_first(&self, population: usize) -> bool {
        self.first_pod(population)
            .is_some_and(PodPlan::closes_after_response)
    }

    /// nginx closes when the response is complete; a FIN that is right behind the response is there by then. A caller
    /// without layer 7 reads until the FIN.
    fn may_close_before_backend(&self, population: usize) -> bool {
        self.plan.slb.l7
            && self
                .first_pod(population)
                .is_some_and(|pod| !pod.closes_at_once())
    }

    fn first_pod(&self, population: usize) -> Option<&PodPlan> {
        let service = self.plan.clients[population].service;
        self.plan.pods.iter().find(|pod| pod.service == service)
    }

    fn on_upstream_closed(&mut self, host: HostId, handle: Handle, request_handle: Handle) {
        let Some(request) = self.requests.get(request_handle) else {
            return;
        };
        let complete = request.response_received >= self.plan.clients[request.population()].response_bytes;
        let retry = request.on_kept_connection && request.response_received == 0;
        if let Some(sock) = self.sock_mut(host, handle) {
            sock.app.idle_deadline = SimTime::NEVER;
        }
        self.close(host, handle);
        if complete {
            self.maybe_stray_rst(host, handle, request_handle);
            self.log(request_handle, Status::Ok);
        } else if retry {
            self.retry_on_fresh_connection(request_handle);
        } else {
            self.log(request_handle, Status::BadGateway);
        }
    }

    fn on_upstream_failed(&mut self, request_handle: Handle, timed_out: bool) {
        let Some(request) = self.requests.get(request_handle) else {
            return;
        };
        let (phase, tag) = (request.phase, request.tag);
        let complete = request.response_received >= self.plan.clients[request.population()].response_bytes;
        if complete && !timed_out {
            // The pod resets what it has answered. What has come is read before the error is.
            self.log(request_handle, Status::Ok);
            return;
        }
        let retry = request.on_kept_connection && request.response_received == 0;
        match phase {
            Phase::Connecting => {
                let outcome = if timed_out {
                    ConnectOutcome::TimedOut
                } else {
                    ConnectOutcome::Refused
                };
                self.count_connect(outcome);
            }
            Phase::Waiting if retry && !timed_out => {
                self.retry_on_fresh_connection(request_handle);
                return;
            }
            _ => {}
        }
        if !timed_out {
            self.note_trouble(tag, Cause::Reset);
        }
        // To nginx the kernel's ETIMEDOUT is an error like ECONNREFUSED and ECONNRESET; 504 is for its own timeouts
        // (`ngx_http_upstream_next()`). A caller without layer 7 has nothing else to call it.
        let status = if timed_out && !self.plan.slb.l7 {
            Status::GatewayTimeout
        } else {
            Status::BadGateway
        };
        self.log(request_handle, status);
    }

    /// nginx repeats a request once on a new connection if a cached one died before it answered.
    fn retry_on_fresh_connection(&mut self, request_handle: Handle) {
        let Some(request) = self.requests.get_mut(request_handle) else {
            return;
        };
        request.on_kept_connection = false;
        request.established_at = None;
        request.unanswerable = false;
        let tag = request.tag;
        let service = self.plan.clients[request.population()].service;
        let slb_host = request.slb_host;
        self.note_trouble(tag, Cause::KeepaliveRace);
        let next = self.slb[slb_host].next_backend[service];
        let Some(backend) = self.in_rotation(service, next) else {
            self.log(request_handle, Status::Unavailable);
            return;
        };
        self.connect_upstream(request_handle, service, backend);
        self.arm_limit(request_handle);
    }

    // ---- keepalive ----

    fn keep_or_close(&mut self, host: HostId, handle: Handle, population: usize) {
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
        let slb = &mut self.slb[host.position()];
        if served >= config.requests || slb.idle >= config.size {
            self.close(host, handle);
            return;
        }
        slb.pools[service][backend].push(handle);
        slb.idle += 1;
        self.set_idle(host, handle, now + config.idle_timeout);
    }

    /// Takes a connection out of the pools.
    pub fn forget_idle(&mut self, slb_host: usize, handle: Handle) {
        let slb = &mut self.slb[slb_host];
        for pool in slb.pools.iter_mut().flatten() {
            if let Some(position) = pool.iter().position(|&kept| kept == handle) {
                pool.remove(position);
                slb.idle -= 1;
                return;
            }
        }
    }

    // ---- limits ----

    /// Sees to it that the request's next limit is noticed.
    pub fn arm_limit(&mut self, handle: Handle) {
        let Some(request) = self.requests.get_mut(handle) else {
            return;
        };
        let host = HostId::new(Role::Client, request.population());
        if let Some(at) = request.arm() {
            self.schedule(at, Class::Timer, host, Event::Limit { request: handle });
        }
    }

    /// The earliest limit of a request may have come.
    #[inline(never)]
    pub fn on_limit(&mut self, handle: Handle) {
        let now = self.now();
        let Some(request) = self.requests.get_mut(handle) else {
            return;
        };
        if request.armed_at != now {
            return;
        }
        request.armed_at = SimTime::NEVER;
        if request.slb_deadline <= now {
            self.give_up_upstream(handle, ConnectOutcome::TimedOut);
            self.log(handle, Status::GatewayTimeout);
        }
        let impatient = self
            .requests
            .get(handle)
            .is_some_and(|r| !r.client_done && r.patience <= now);
        if impatient {
            self.client_leaves(handle);
        }
        self.arm_limit(handle);
    }

    /// Closes the upstream connection of a request that ends without it.
    fn give_up_upstream(&mut self, handle: Handle, outcome: ConnectOutcome) {
        let Some(request) = self.requests.get(handle) else {
            return;
        };
        let (id, upstream, phase) = (Self::slb_id(request.slb_host), request.upstream, request.phase);
        if phase == Phase::Connecting {
            self.count_connect(outcome);
        }
        if matches!(phase, Phase::Connecting | Phase::Waiting) {
            self.close(id, upstream);
        }
    }

    fn count_connect(&mut self, outcome: ConnectOutcome) {
        self.connects_in_flight -= 1;
        let counts = &mut self.recorder.now;
        match outcome {
            ConnectOutcome::Established => counts.established += 1,
            ConnectOutcome::TimedOut => counts.timed_out += 1,
            ConnectOutcome::Refused => counts.refused += 1,
            ConnectOutcome::Abandoned => counts.abandoned += 1,
        }
    }

    // ---- the access log ----

    /// Notes the first trouble that a request meets.
    pub fn note_trouble(&mut self, tag: u32, cause: Cause) {
        let Some(handle) = self.by_tag.get(tag) else {
            return;
        };
        if let Some(request) = self.requests.get_mut(handle) {
            request.trouble.get_or_insert(cause);
            request.unanswerable |= request.phase == Phase::Waiting && cause.leaves_no_answer();
        }
    }

    /// Writes the line of the access log: the request has ended.
    #[inline(never)]
    pub fn log(&mut self, handle: Handle, status: Status) {
        let now = self.now();
        let Some(request) = self.requests.get_mut(handle) else {
            return;
        };
        assert!(request.phase != Phase::Logged, "a request ends once");
        let population = request.population();
        let plan = &self.plan.clients[population];
        let patience = match status {
            Status::ClientClosed => plan.timeout,
            _ => Some(self.plan.slb.read_timeout),
        };
        let record = RequestRecord {
            request: request.tag & ((1 << NUMBER_BITS) - 1),
            population: population as u32,
            started: request.started,
            ended: now,
            status,
            cause: request.cause(status, patience, now),
            connect_time: request.established_at.map(|at| at.since(request.connect_started)),
            syns_sent: request.syns_sent,
            slb_tuple: request.slb_tuple,
        };
        request.phase = Phase::Logged;
        request.slb_deadline = SimTime::NEVER;
        let (tag, recorded, started) = (request.tag, request.recorded, request.started);
        let (id, downstream) = (Self::slb_id(request.slb_host), request.downstream);
        self.requests_in_flight -= 1;
        self.recorder.ended(record, tag, recorded);
        if !self.plan.slb.l7 {
            if status == Status::Ok {
                self.recorder.answered(now.since(started));
            }
            self.client_is_done(handle);
        } else if !matches!(status, Status::Ok | Status::ClientClosed) {
            if let Some(sock) = self.sock_mut(id, downstream) {
                sock.socket.write(ERROR_PAGE);
            }
            self.close(id, downstream);
        }
        self.forget_if_done(handle);
    }

    /// Drops a request that nobody deals with any more.
    pub fn forget_if_done(&mut self, handle: Handle) {
        let done = self
            .requests
            .get(handle)
            .filter(|request| request.client_done && request.phase == Phase::Logged);
        if let Some(tag) = done.map(|request| request.tag) {
            self.requests.discard(handle);
            self.by_tag.forget(tag);
        }
    }

    // ---- stray RSTs ----

    /// After an orderly close the SLB may send an RST, as some do.
    fn maybe_stray_rst(&mut self, host: HostId, socket: Handle, request_handle: Handle) {
        let Some(stray) = self.plan.slb.stray_rst else {
            return;
        };
        let Some(request) = self.requests.get(request_handle) else {
            return;
        };
        let tag = request.tag;
        if unit(request.draws.stray_rst) >= stray.share {
            return;
        }
        let Some(sock) = self.sock_mut(host, socket) else {
            return;
        };
        let seq = SeqNum(sock.socket.snd_nxt().0.wrapping_add_signed(stray.seq_offset));
        let packet = Packet {
            tuple: sock.tuple,
            seq,
            ack: SeqNum(0),
            payload_len: 0,
            window: 0,
            timestamps: None,
            flags: Flags::RST,
            options: Options::NONE,
            tag,
        };
        let slot = self.network.store(&packet, Ends::UNKNOWN);
        let at = self.now() + stray.after;
        self.schedule(at, Class::Timer, host, Event::StrayRst { host, packet: slot });
    }

    /// A stray RST leaves.
    #[inline(never)]
    pub fn on_stray_rst(&mut self, host: HostId, slot: u32) {
        let packet = self.network.take(slot).packet;
        self.count_out_rst(host);
        self.send(host, packet);
    }
}
