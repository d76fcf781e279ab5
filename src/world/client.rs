//! Clients: requests arrive, wait for their response, and leave when their patience ends.

use super::build::World;
use super::event::{Event, Handle};
use super::request::{NUMBER_BITS, Phase, Request, draws, pick};
use super::stack::Leg;
use super::transport::{SockInfo, client_endpoint};
use crate::engine::{Class, SplitMix64};
use crate::model::client::Arrivals;
use crate::model::tcp::Reaction;
use crate::topology::{HostId, Role};
use crate::units::{Endpoint, FourTuple, SimDuration, SimTime};
use crate::vocab::Status;

/// The user behind a request of an open loop.
pub const NO_USER: u32 = u32::MAX;

impl World<'_> {
    /// Schedules what starts a population.
    pub fn first_arrivals(&mut self, position: usize) {
        let plan = self.plan;
        let Arrivals::ClosedLoop {
            users,
            ref think_time,
            pacing,
            ramp_up,
        } = plan.clients[position].arrivals
        else {
            self.next_arrival(position);
            return;
        };
        // Those who ramp up or keep a pace begin one after the other.
        let spread = if ramp_up == SimDuration::ZERO {
            pacing
        } else {
            Some(ramp_up)
        };
        for user in 0..users {
            // Users do not start as one: each waits out a think time of its own first.
            let pause = think_time.sample(&mut self.populations[position].arrivals);
            let pause = spread.map_or(pause, |spread| {
                let nanos = u128::from(spread.as_nanos()) * u128::from(user) / u128::from(users);
                SimDuration::from_nanos(nanos as u64)
            });
            self.schedule_arrival(position, user, self.now() + pause);
        }
    }

    fn schedule_arrival(&mut self, position: usize, user: u32, at: SimTime) {
        let until = self.plan.clients[position].until;
        if until.is_some_and(|until| at > SimTime::ZERO + until) {
            return;
        }
        let event = Event::Arrival {
            population: position as u32,
            user,
        };
        self.schedule(at, Class::Timer, HostId::new(Role::Client, position), event);
    }

    fn next_arrival(&mut self, position: usize) {
        let end = SimTime::ZERO + self.plan.duration;
        let population = &mut self.populations[position];
        let at = self.plan.clients[position].arrivals.next(
            &mut population.progress,
            end,
            &mut population.arrivals,
            &mut population.states,
        );
        if let Some(at) = at {
            self.schedule_arrival(position, NO_USER, at);
        }
    }

    /// A request arrives.
    #[inline(never)]
    pub fn on_arrival(&mut self, position: usize, user: u32) {
        self.next_arrival(position);
        let operation = self.begin_operation(position, user);
        self.start_request(position, user, operation);
    }

    /// A client sends a request.
    pub fn start_request(&mut self, position: usize, user: u32, operation: Handle) {
        let plan = &self.plan.clients[position];
        let population = &mut self.populations[position];
        let number = population.next_number;
        population.next_number += 1;
        let own = draws(&mut population.births, number);
        let tag = ((position as u32) << NUMBER_BITS) | number;
        let mut request = Request::new(tag, own, plan, self.network.now);
        (request.user, request.operation) = (user, operation);
        let kept = self.take_kept_client_connection(position, user);
        (request.slb_host, request.address) = match kept {
            None => self.pick_address(position, own.address),
            // The connection has its host already.
            Some((_, host)) => (host, pick(own.address, self.plan.slb.hosts[host].len())),
        };
        let handle = self.requests.insert(request);
        self.by_tag.push(position, handle);
        self.requests_in_flight += 1;
        self.recorder.now.requests_started += 1;
        match kept {
            Some((socket, _)) => self.send_on_kept_client_connection(position, socket, handle),
            None if self.plan.slb.l7 => self.connect_client(handle),
            None => self.start_upstream(handle),
        }
        self.arm_limit(handle);
    }

    /// Opens a client's connection, from the endpoint that the request's number stands for.
    pub fn connect_client(&mut self, handle: Handle) {
        let Some(request) = self.requests.get(handle) else {
            return;
        };
        let (tag, position, slb_host) = (request.tag, request.population(), request.slb_host);
        let vip = self.plan.slb.vip;
        let vip = Endpoint::new((vip.ip.to_bits() + slb_host as u32).into(), vip.port);
        let tuple = FourTuple::new(client_endpoint(tag), vip);
        let host = HostId::new(Role::Client, position);
        self.recorder.now.client_connects += 1;
        let socket = self.open(host, tuple, Leg::Client, handle, tag);
        if let Some(request) = self.requests.get_mut(handle) {
            request.client = socket;
        }
    }

    /// One of all source addresses of a population's SLB cluster, each equally likely: its host and its position there.
    fn pick_address(&self, population: usize, bits: u64) -> (usize, usize) {
        let slb = &self.plan.slb;
        let hosts = slb.hosts_of(&self.plan.clients[population]);
        let total = slb.hosts[hosts.clone()].iter().map(Vec::len).sum();
        let mut index = pick(bits, total);
        for host in hosts {
            let addresses = &slb.hosts[host];
            if index < addresses.len() {
                return (host, index);
            }
            index -= addresses.len();
        }
        unreachable!("the index is below the sum of the lengths")
    }

    /// What happened on a client's connection.
    pub fn on_client_event(&mut self, host: HostId, handle: Handle, info: SockInfo, reaction: &Reaction) {
        let Some(request) = self.requests.get_mut(info.request) else {
            self.on_idle_client_event(host, handle, reaction);
            return;
        };
        request.client_received += reaction.data_len;
        let size = request.size;
        let complete = request.client_received >= request.response_size;
        let is_answer =
            request.answer == Status::Ok && request.status.is_none_or(|status| status == Status::Ok);
        if reaction.data_len > 0 && complete && is_answer && !request.client_done {
            self.answered(info.request);
        }
        if reaction.connected
            && let Some(sock) = self.sock_mut(host, handle)
        {
            sock.socket.write(size);
        }
        let gone = reaction.peer_closed || reaction.reset;
        if gone && self.meets_closed_connection(info.request) {
            self.repeat_on_fresh_client_connection(host, handle, info.request);
        } else if complete && !gone && self.plan.clients[host.position()].keepalive.is_some() {
            self.keep_client_connection(host, handle, info.request);
            self.client_is_done(info.request);
        } else if complete || reaction.peer_closed {
            self.close(host, handle);
            self.client_is_done(info.request);
        } else if reaction.reset || reaction.timed_out {
            self.client_is_done(info.request);
        }
    }

    /// The client's patience ends before it has its response.
    pub fn client_leaves(&mut self, handle: Handle) {
        let Some(request) = self.requests.get(handle) else {
            return;
        };
        let (client, position) = (request.client, request.population());
        if self.plan.slb.l7 {
            self.close(HostId::new(Role::Client, position), client);
        } else {
            self.downstream_is_gone(handle);
        }
        self.client_is_done(handle);
    }

    /// The client needs nothing more of this request.
    pub fn client_is_done(&mut self, handle: Handle) {
        let l7 = self.plan.slb.l7;
        let Some(request) = self.requests.get_mut(handle) else {
            return;
        };
        if std::mem::replace(&mut request.client_done, true) {
            return;
        }
        let (own, position, phase, user) = (
            request.draws.think,
            request.population(),
            request.phase,
            request.user,
        );
        let (operation, seen, started) = (request.operation, request.seen_by_client(l7), request.started);
        if phase == Phase::NotYet {
            // The SLB never saw the request, so no access log will tell of it: the client is the witness.
            self.log(handle, Status::ClientClosed);
        } else {
            self.forget_if_done(handle);
        }
        let Some(began) = self.after_try(operation, seen, own, started) else {
            return;
        };
        let plan = self.plan;
        if let Arrivals::ClosedLoop {
            think_time, pacing, ..
        } = &plan.clients[position].arrivals
        {
            let pause = think_time.sample(&mut SplitMix64(own));
            let paced = pacing.map_or(SimTime::ZERO, |pacing| began + pacing);
            self.schedule_arrival(position, user, (self.now() + pause).max(paced));
        }
    }
}
