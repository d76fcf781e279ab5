//! The SLB: takes requests, connects upstream, passes responses on, and writes the access log by nginx' rules.

use super::build::World;
use super::event::{Event, Handle};
use super::network::Ends;
use super::request::{Phase, Request, unit};
use super::stack::Leg;
use super::transport::{SockInfo, client_tag};
use super::upstream::NoConnection;
use crate::engine::Class;
use crate::model::slb::Failure;
use crate::model::tcp::Reaction;
use crate::spec::{Bind, PodPlan};
use crate::topology::{HostId, Role};
use crate::units::{Endpoint, FourTuple, SeqNum, SimDuration, SimTime};
use crate::vocab::{Cause, ConnectOutcome, Status};
use crate::wire::{Flags, Options, Packet};

/// Octets of the page that the SLB itself answers with (502, 504).
pub const ERROR_PAGE: u32 = 150;
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
            Leg::Check => self.on_check_event(host, handle, info, reaction),
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
            if !self.take_connection(host, handle) {
                self.refuse_client(host, handle);
                return;
            }
        }
        if reaction.data_len > 0 {
            self.on_request_data(host, handle, reaction);
        }
        if reaction.peer_closed || reaction.reset || reaction.timed_out {
            let request = self
                .sock_mut(host, handle)
                .map_or(info.request, |sock| sock.app.request);
            self.downstream_is_gone(request);
            self.close(host, handle);
        }
    }

    /// nginx closes what it has accepted and has no connection for (`ngx_event_accept()`), and logs nothing.
    fn refuse_client(&mut self, host: HostId, handle: Handle) {
        let tag = self
            .sock_mut(host, handle)
            .and_then(|sock| client_tag(sock.tuple.dst));
        if let Some(tag) = tag {
            self.note_trouble(tag, Cause::WorkerConnections);
        }
        self.close(host, handle);
    }

    fn on_request_data(&mut self, host: HostId, handle: Handle, reaction: &Reaction) {
        let Some(sock) = self.sock_mut(host, handle) else {
            return;
        };
        sock.app.received += reaction.data_len;
        sock.app.idle_deadline = SimTime::NEVER;
        let (received, tag) = (sock.app.received, reaction.data_tag);
        let Some(request_handle) = self.by_tag.get(tag) else {
            return;
        };
        if let Some(sock) = self.sock_mut(host, handle) {
            sock.app.request = request_handle;
            sock.socket.tag = tag;
        }
        let Some(request) = self.requests.get_mut(request_handle) else {
            return;
        };
        if request.phase == Phase::NotYet && received >= request.size {
            request.downstream = handle;
            if let Some(sock) = self.sock_mut(host, handle) {
                sock.app.received = 0;
            }
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
        if status == Status::ClientClosed {
            self.log(handle, status);
        } else {
            self.log_answer(handle);
        }
    }

    /// The response is complete, and nginx has not closed yet.
    fn is_closing(&self, request: &Request) -> bool {
        request.response_received >= request.response_size
            && self.may_close_before_backend(request.population())
    }

    // ---- upstream ----

    /// Connects to a backend.
    #[inline(never)]
    pub fn connect_upstream(
        &mut self,
        handle: Handle,
        service: usize,
        backend: usize,
    ) -> Result<(), NoConnection> {
        let now = self.now();
        let destination = self.topology.backends(service)[backend];
        let Some(request) = self.requests.get(handle) else {
            return Ok(());
        };
        let (tag, slb_host, address) = (request.tag, request.slb_host, request.address);
        let random = request.draws.port;
        if !self.has_connection(slb_host) {
            return Err(NoConnection::Worker);
        }
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
            return Err(match self.plan.slb.bind {
                Bind::None => NoConnection::Port,
                Bind::PortZero => NoConnection::BoundPort,
            });
        };
        let tuple = FourTuple::new(Endpoint::new(source, port), destination);
        if let Some(request) = self.requests.get_mut(handle) {
            request.phase = Phase::Connecting;
            request.slb_tuple = Some(tuple);
            request.connect_started = now;
            request.syns_before = request.syns_sent;
            request.on_kept_connection = false;
            request.slb_deadline = now + self.plan.slb.connect_timeout;
        }
        self.recorder.now.connects_started += 1;
        self.connects_in_flight += 1;
        let id = Self::slb_id(slb_host);
        let socket = self.open(id, tuple, Leg::Upstream, handle, tag);
        if let Some(sock) = self.sock_mut(id, socket) {
            sock.app.backend = backend as u32;
            sock.app.opened_at = now;
        }
        self.take_connection(id, socket);
        if let Some(request) = self.requests.get_mut(handle) {
            request.upstream = socket;
        }
        Ok(())
    }

    /// A SYN of a request leaves the SLB.
    pub fn on_syn_sent(&mut self, handle: Handle) {
        if let Some(request) = self.requests.get_mut(handle) {
            request.syns_sent += 1;
            if request.syns_of_connect() > 1 {
                let after = self.network.now.since(request.connect_started);
                self.recorder.syn_repeated(after);
            }
        }
    }

    /// Sends a request to its backend.
    pub fn send_request(&mut self, handle: Handle, socket: Handle, kept: bool) {
        let now = self.now();
        let Some(request) = self.requests.get_mut(handle) else {
            return;
        };
        request.phase = Phase::Waiting;
        request.established_at = Some(now);
        request.upstream = socket;
        request.on_kept_connection = kept;
        (request.at_pod, request.served_from, request.served_until) =
            (SimTime::NEVER, SimTime::NEVER, SimTime::NEVER);
        request.answer = Status::Ok;
        let (tag, id, bytes) = (request.tag, Self::slb_id(request.slb_host), request.size);
        let deadline = self.limit_of_sending(handle, bytes);
        if let Some(request) = self.requests.get_mut(handle) {
            request.slb_deadline = deadline;
        }
        // It may come before the connect timeout that the pending event is for.
        self.arm_limit(handle);
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
                self.forget_idle(host.position(), info.backend, handle);
                self.close(host, handle);
            }
            return;
        }
        if reaction.peer_closed {
            self.on_upstream_closed(host, handle, info.request);
        } else if reaction.reset || reaction.timed_out {
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
        if let Some(request) = self.requests.get_mut(request_handle) {
            request.troubles.overcome();
        }
        self.connects_in_flight -= 1;
        self.recorder.connected(took);
        self.send_request(request_handle, socket, false);
        // The pending limit may be later: the client's patience, or what was left of `connect_timeout`.
        self.arm_limit(request_handle);
    }

    fn on_response_data(&mut self, host: HostId, handle: Handle, request_handle: Handle, len: u32) {
        let now = self.now();
        let read_timeout = self.plan.slb.read_timeout;
        let Some(request) = self.requests.get_mut(request_handle) else {
            return;
        };
        let elapsed = now.since(request.upstream_started);
        let config = self.plan.slb.next_upstream.as_ref();
        if request.answer != Status::Ok
            && request.response_received == 0
            && request.tries.drops(request.answer, elapsed, config)
        {
            let (answer, tag) = (request.answer, request.tag);
            self.note_trouble(tag, Cause::ErrorAnswer);
            self.close(host, handle);
            self.fail_over(request_handle, Failure::Answered(answer), answer);
            return;
        }
        request.response_received += len;
        request.slb_deadline = now + read_timeout;
        let (downstream, complete, population) = (
            request.downstream,
            request.response_received >= request.response_size,
            request.population(),
        );
        let id = Self::slb_id(host.position());
        if let Some(sock) = self.sock_mut(id, downstream) {
            sock.socket.write(len);
            self.pump(id, downstream);
        }
        if !complete {
            return;
        }
        if self.plan.slb.keepalive.is_some() {
            self.keep_or_close(host, handle, population);
            self.log_answer(request_handle);
        } else if !self.backend_closes_first(population) {
            self.close(host, handle);
            self.log_answer(request_handle);
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
        let complete = request.response_received >= request.response_size;
        let (unanswered, kept, tag) = (
            request.response_received == 0,
            request.on_kept_connection,
            request.tag,
        );
        if let Some(sock) = self.sock_mut(host, handle) {
            sock.app.idle_deadline = SimTime::NEVER;
        }
        self.close(host, handle);
        if complete {
            self.maybe_stray_rst(host, handle, request_handle);
            self.log_answer(request_handle);
        } else if unanswered {
            self.note_trouble(tag, if kept { Cause::KeepaliveRace } else { Cause::Reset });
            self.fail_over(request_handle, Failure::Error, Status::BadGateway);
        } else {
            self.note_trouble(tag, Cause::Reset);
            self.log(request_handle, Status::BadGateway);
        }
    }

    fn on_upstream_failed(&mut self, request_handle: Handle, timed_out: bool) {
        let Some(request) = self.requests.get(request_handle) else {
            return;
        };
        let (phase, tag) = (request.phase, request.tag);
        let complete = request.response_received >= request.response_size;
        if complete && !timed_out {
            // The pod resets what it has answered. What has come is read before the error is.
            self.log_answer(request_handle);
            return;
        }
        let (unanswered, kept) = (request.response_received == 0, request.on_kept_connection);
        if phase == Phase::Connecting {
            self.count_connect(if timed_out {
                ConnectOutcome::TimedOut
            } else {
                ConnectOutcome::Refused
            });
        }
        if !timed_out {
            let raced = kept && unanswered && phase == Phase::Waiting;
            self.note_trouble(tag, if raced { Cause::KeepaliveRace } else { Cause::Reset });
        }
        // To nginx the kernel's ETIMEDOUT is an error like ECONNREFUSED and ECONNRESET; 504 is for its own timeouts
        // (`ngx_http_upstream_next()`). A caller without layer 7 has nothing else to call it.
        let status = if timed_out && !self.plan.slb.l7 {
            Status::GatewayTimeout
        } else {
            Status::BadGateway
        };
        if unanswered {
            self.fail_over(request_handle, Failure::Error, status);
        } else {
            self.log(request_handle, status);
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
            self.on_upstream_timeout(handle);
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
    pub fn give_up_upstream(&mut self, handle: Handle, outcome: ConnectOutcome) {
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

    /// The request ends with the pod's answer.
    pub fn log_answer(&mut self, handle: Handle) {
        let Some(request) = self.requests.get(handle) else {
            return;
        };
        let (answer, tag) = (request.answer, request.tag);
        if answer != Status::Ok {
            self.note_trouble(tag, Cause::ErrorAnswer);
        }
        self.end_request(handle, answer, false);
    }

    /// The request ends with what the SLB makes of it.
    pub fn log(&mut self, handle: Handle, status: Status) {
        let own_page = !matches!(status, Status::Ok | Status::ClientClosed);
        self.end_request(handle, status, own_page);
    }

    /// Writes the line of the access log: the request has ended, perhaps with a page of the SLB's own.
    #[inline(never)]
    fn end_request(&mut self, handle: Handle, status: Status, own_page: bool) {
        let now = self.now();
        self.release_backend(handle, false);
        let Some(request) = self.requests.get_mut(handle) else {
            return;
        };
        assert!(request.phase != Phase::Logged, "a request ends once");
        let limit = match (status, request.phase) {
            (Status::ClientClosed, _) => self.plan.clients[request.population()].timeout,
            (_, Phase::Connecting) => Some(self.plan.slb.connect_timeout),
            _ => Some(self.plan.slb.read_timeout),
        };
        let record = request.record(status, limit, now);
        request.phase = Phase::Logged;
        request.status = Some(status);
        request.slb_deadline = SimTime::NEVER;
        let (tag, recorded) = (request.tag, request.recorded);
        self.requests_in_flight -= 1;
        let row = self.recorder.ended(record, tag, recorded);
        if let Some(request) = self.requests.get_mut(handle) {
            request.row = row;
        }
        if self.plan.slb.l7 {
            self.after_log(handle, status, own_page);
        } else {
            if status == Status::Ok {
                self.answered(handle);
            }
            self.client_is_done(handle);
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
