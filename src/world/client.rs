//! Clients: requests arrive, wait for their response, and leave when their patience ends.

use super::build::World;
use super::event::{Event, Handle};
use super::request::{NUMBER_BITS, Phase, Request, draws, pick};
use super::stack::Leg;
use super::transport::{SockInfo, client_endpoint};
use crate::engine::{Class, SplitMix64};
use crate::model::client::Arrivals;
use crate::model::distribution::Distribution;
use crate::model::tcp::Reaction;
use crate::topology::{HostId, Role};
use crate::units::{Endpoint, FourTuple, Rate, SimDuration, SimTime};
use crate::vocab::Status;

/// Mean gap between the arrivals of a rate.
fn gap(rate: Rate) -> SimDuration {
    SimDuration::from_nanos((1e9 / rate.as_per_second()).round() as u64)
}

impl World<'_> {
    /// Schedules what starts a population.
    pub fn first_arrivals(&mut self, position: usize) {
        match self.plan.clients[position].arrivals {
            Arrivals::Poisson { .. } | Arrivals::Constant { .. } => self.next_arrival(position),
            Arrivals::ClosedLoop { users, think_time } => {
                // Users do not start as one: each waits out a think time of its own first.
                for _ in 0..users {
                    let pause = think_time.sample(&mut self.populations[position].arrivals);
                    self.schedule_arrival(position, self.now() + pause);
                }
            }
        }
    }

    fn schedule_arrival(&mut self, position: usize, at: SimTime) {
        let until = self.plan.clients[position].until;
        if until.is_some_and(|until| at > SimTime::ZERO + until) {
            return;
        }
        let event = Event::Arrival {
            population: position as u32,
        };
        self.schedule(at, Class::Timer, HostId::new(Role::Client, position), event);
    }

    fn next_arrival(&mut self, position: usize) {
        let population = &mut self.populations[position];
        let pause = match self.plan.clients[position].arrivals {
            Arrivals::Poisson { rate } => {
                Distribution::Exponential { mean: gap(rate) }.sample(&mut population.arrivals)
            }
            Arrivals::Constant { rate } => gap(rate),
            Arrivals::ClosedLoop { .. } => return,
        };
        population.last_arrival += pause;
        let at = population.last_arrival;
        self.schedule_arrival(position, at);
    }

    /// A request arrives.
    #[inline(never)]
    pub fn on_arrival(&mut self, position: usize) {
        self.next_arrival(position);
        let plan = &self.plan.clients[position];
        let population = &mut self.populations[position];
        let number = population.next_number;
        population.next_number += 1;
        let own = draws(&mut population.births, number);
        let tag = ((position as u32) << NUMBER_BITS) | number;
        let mut request = Request::new(tag, own, plan, self.network.now);
        (request.slb_host, request.address) = self.pick_address(own.address);
        let slb_host = request.slb_host;
        let handle = self.requests.insert(request);
        self.by_tag.push(position, handle);
        self.requests_in_flight += 1;
        self.recorder.now.requests_started += 1;
        if self.plan.slb.l7 {
            let vip = self.plan.slb.vip;
            let vip = Endpoint::new((vip.ip.to_bits() + slb_host as u32).into(), vip.port);
            let tuple = FourTuple::new(client_endpoint(tag), vip);
            let socket = self.open(
                HostId::new(Role::Client, position),
                tuple,
                Leg::Client,
                handle,
                tag,
            );
            if let Some(request) = self.requests.get_mut(handle) {
                request.client = socket;
            }
        } else {
            self.start_upstream(handle);
        }
        self.arm_limit(handle);
    }

    /// One of all source addresses, each equally likely: its host and its position there.
    fn pick_address(&self, bits: u64) -> (usize, usize) {
        let total = self.plan.slb.hosts.iter().map(Vec::len).sum();
        let mut index = pick(bits, total);
        for (host, addresses) in self.plan.slb.hosts.iter().enumerate() {
            if index < addresses.len() {
                return (host, index);
            }
            index -= addresses.len();
        }
        unreachable!("the index is below the sum of the lengths")
    }

    /// What happened on a client's connection.
    pub fn on_client_event(&mut self, host: HostId, handle: Handle, info: SockInfo, reaction: &Reaction) {
        let plan = &self.plan.clients[host.position()];
        if reaction.connected
            && let Some(sock) = self.sock_mut(host, handle)
        {
            sock.socket.write(plan.request_bytes);
        }
        let Some(request) = self.requests.get_mut(info.request) else {
            return;
        };
        request.client_received += reaction.data_len;
        let complete = request.client_received >= plan.response_bytes;
        if reaction.data_len > 0 && complete && !request.client_done && request.answer == Status::Ok {
            let took = self.network.now.since(request.started);
            self.recorder.answered(took);
        }
        if complete || reaction.peer_closed {
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
        let Some(request) = self.requests.get_mut(handle) else {
            return;
        };
        if std::mem::replace(&mut request.client_done, true) {
            return;
        }
        let (think, position, phase) = (request.draws.think, request.population(), request.phase);
        if phase == Phase::NotYet {
            // The SLB never saw the request, so no access log will tell of it: the client is the witness.
            self.log(handle, crate::vocab::Status::ClientClosed);
        } else {
            self.forget_if_done(handle);
        }
        if let Arrivals::ClosedLoop { think_time, .. } = self.plan.clients[position].arrivals {
            let pause = think_time.sample(&mut SplitMix64(think));
            self.schedule_arrival(position, self.now() + pause);
        }
    }
}
