//! A request from birth to its line in the access log, with its own random numbers.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::client::NO_USER;
use super::event::Handle;
use crate::model::blame::Troubles;
use crate::model::slb::Tries;
use crate::spec::ClientPlan;
use crate::units::{FourTuple, SimTime};
use crate::vocab::Status;

/// Requests of one population are numbered in this many bits of a tag.
pub const NUMBER_BITS: u32 = 27;

/// The random numbers of one request. They are its own: block `number` of its population's ChaCha stream, so that
/// whatever else changes, the same request draws the same, and the pod can read them from the tag alone.
#[derive(Debug, Clone, Copy)]
pub struct Draws {
    /// Which source address of the SLB.
    pub address: u64,
    /// Source port of the SLB.
    pub port: u64,
    /// Service time.
    pub service: u64,
    /// Whether a stray RST follows.
    pub stray_rst: u64,
    /// What follows it: think time in a closed loop, or the pause before the next try. Never both.
    pub think: u64,
    /// Time from the pod's response to its close().
    pub close: u64,
    /// Octets of the request.
    pub request_size: u64,
    /// Octets of the response.
    pub response_size: u64,
}

/// Reads the draws of request `number`.
pub fn draws(stream: &mut ChaCha8Rng, number: u32) -> Draws {
    const WORDS_PER_BLOCK: u128 = 16;
    let position = u128::from(number) * WORDS_PER_BLOCK;
    if stream.get_word_pos() != position {
        stream.set_word_pos(position);
    }
    let [
        address,
        port,
        service,
        stray_rst,
        think,
        close,
        request_size,
        response_size,
    ] = std::array::from_fn(|_| stream.next_u64());
    Draws {
        address,
        port,
        service,
        stray_rst,
        think,
        close,
        request_size,
        response_size,
    }
}

/// A uniform number in `[0, 1)` from 64 random bits.
pub fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Picks one of `n`, each equally likely up to 2^-64.
pub fn pick(bits: u64, n: usize) -> usize {
    ((u128::from(bits) * n as u128) >> 64) as usize
}

/// Where the SLB is with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The request has not reached the SLB.
    NotYet,
    /// Connecting upstream.
    Connecting,
    /// The request was sent, the response is awaited.
    Waiting,
    /// Logged.
    Logged,
}

/// A request that somebody still deals with.
#[derive(Debug)]
pub struct Request {
    /// Population and number.
    pub tag: u32,
    /// Its random numbers.
    pub draws: Draws,
    /// Arrival.
    pub started: SimTime,
    /// Virtual user, in a closed loop.
    pub user: u32,
    /// What it is a try of, if its client may try again.
    pub operation: Handle,
    /// Octets of it.
    pub size: u32,
    /// Octets of the response to it, or of the page that the SLB answers with instead.
    pub response_size: u32,
    /// Status in the access log, once it is there.
    pub status: Option<Status>,
    /// It went to the SLB on a connection that had served others, and may be repeated on a fresh one.
    pub on_kept_client_connection: bool,
    /// The client's socket; none without layer 7.
    pub client: Handle,
    /// The SLB's downstream socket.
    pub downstream: Handle,
    /// The SLB's upstream socket.
    pub upstream: Handle,
    /// SLB host that deals with it.
    pub slb_host: usize,
    /// Source address that the SLB uses, by position within the host.
    pub address: usize,
    /// Progress.
    pub phase: Phase,
    /// The client has its response, or has left.
    pub client_done: bool,
    /// Octets of the response that have reached the client.
    pub client_received: u32,
    /// Octets of the response that have reached the SLB.
    pub response_received: u32,
    /// When the SLB sent its first SYN.
    pub connect_started: SimTime,
    /// When the upstream connection was there.
    pub established_at: Option<SimTime>,
    /// SYNs sent upstream.
    pub syns_sent: u32,
    /// What went wrong on its way.
    pub troubles: Troubles,
    /// When all of it was at the pod.
    pub at_pod: SimTime,
    /// When a worker of the pod began with it.
    pub served_from: SimTime,
    /// When that worker had its response.
    pub served_until: SimTime,
    /// Its row among the records, if it has one.
    pub row: Option<u32>,
    /// Of these, those of connects before the current one.
    pub syns_before: u32,
    /// The backend that has it now, or [`Self::NO_BACKEND`].
    pub backend: u32,
    /// Backends that have failed it.
    pub tried: Vec<u32>,
    /// What is left of its tries.
    pub tries: Tries,
    /// When the SLB began to look for a backend.
    pub upstream_started: SimTime,
    /// Octets of a large request that the kernel had not passed on at the last look, and since when.
    pub sending: Option<(u32, SimTime)>,
    /// What the pod has answered, once its response is on the way.
    pub answer: Status,
    /// The SLB's tuple.
    pub slb_tuple: Option<FourTuple>,
    /// It went out on a connection that had served others, and may be repeated on a fresh one.
    pub on_kept_connection: bool,
    /// When the SLB's own limit for the current phase runs out.
    pub slb_deadline: SimTime,
    /// When the client's patience runs out.
    pub patience: SimTime,
    /// When the pending limit event fires, if any is pending.
    pub armed_at: SimTime,
    /// There are attempt records to complete when it ends.
    pub recorded: bool,
}

impl Request {
    /// No backend has it.
    pub const NO_BACKEND: u32 = u32::MAX;

    /// A request that arrives now.
    pub fn new(tag: u32, draws: Draws, plan: &ClientPlan, now: SimTime) -> Self {
        Self {
            tag,
            draws,
            started: now,
            user: NO_USER,
            operation: Handle::NONE,
            size: plan.request_bytes.of(draws.request_size),
            response_size: plan.response_bytes.of(draws.response_size),
            status: None,
            on_kept_client_connection: false,
            client: Handle::NONE,
            downstream: Handle::NONE,
            upstream: Handle::NONE,
            slb_host: 0,
            address: 0,
            phase: Phase::NotYet,
            client_done: false,
            client_received: 0,
            response_received: 0,
            connect_started: now,
            established_at: None,
            syns_sent: 0,
            troubles: Troubles::default(),
            at_pod: SimTime::NEVER,
            served_from: SimTime::NEVER,
            served_until: SimTime::NEVER,
            row: None,
            answer: Status::Ok,
            syns_before: 0,
            backend: Self::NO_BACKEND,
            tried: Vec::new(),
            tries: Tries::NONE,
            upstream_started: now,
            sending: None,
            slb_tuple: None,
            on_kept_connection: false,
            slb_deadline: SimTime::NEVER,
            patience: plan.timeout.map_or(SimTime::NEVER, |timeout| now + timeout),
            armed_at: SimTime::NEVER,
            recorded: false,
        }
    }

    /// Population.
    pub const fn population(&self) -> usize {
        (self.tag >> NUMBER_BITS) as usize
    }

    /// SYNs of the current upstream connect.
    pub const fn syns_of_connect(&self) -> u32 {
        self.syns_sent - self.syns_before
    }

    /// When a limit event must be scheduled, if the pending one would come too late; notes it as pending.
    pub fn arm(&mut self) -> Option<SimTime> {
        let patience = if self.client_done {
            SimTime::NEVER
        } else {
            self.patience
        };
        let deadline = patience.min(self.slb_deadline);
        if deadline >= self.armed_at {
            return None;
        }
        self.armed_at = deadline;
        Some(deadline)
    }

    /// How its client sees it end: with what the SLB says, unless no answer came, or only a part of one. Nothing tells a
    /// client of a status that it did not wait for, so that is a 499, too.
    pub fn seen_by_client(&self, l7: bool) -> Status {
        let complete = !l7 || self.client_received >= self.response_size;
        match self.status {
            Some(Status::Ok) | None if complete => self.status.unwrap_or(self.answer),
            Some(Status::Ok) | None => Status::ClientClosed,
            Some(status) => status,
        }
    }
}
