//! What each request met on its way, and the record that says who was to blame for its end.

use super::build::World;
use super::event::Handle;
use super::request::{NUMBER_BITS, Phase, Request};
use crate::model::blame::{Course, blame};
use crate::observe::RequestRecord;
use crate::units::{SimDuration, SimTime};
use crate::vocab::{Cause, Causes, ReleasePath, Status};

impl World<'_> {
    /// The request of a tag, while somebody deals with it.
    pub fn request_of(&mut self, tag: u32) -> Option<&mut Request> {
        let handle = self.by_tag.get(tag)?;
        self.requests.get_mut(handle)
    }

    /// Notes a trouble that a request meets.
    pub fn note_trouble(&mut self, tag: u32, cause: Cause) {
        if let Some(request) = self.request_of(tag) {
            request.troubles.note(cause);
        }
    }

    /// Notes that a pod's old socket refused the SYN of a request, and why the port was free.
    pub fn note_collision(&mut self, tag: u32, cause: Cause, path: ReleasePath) {
        if let Some(request) = self.request_of(tag) {
            request.troubles.note_collision(cause, path);
        }
    }

    /// A client has its whole response.
    pub fn answered(&mut self, handle: Handle) {
        let now = self.now();
        let Some(request) = self.requests.get(handle) else {
            return;
        };
        let took = now.since(request.started);
        self.recorder.answered(took);
        let limit = self.plan.slow_after;
        if took >= limit {
            let record = RequestRecord {
                status: Status::Ok,
                ..request.judged(false, Some(limit), now)
            };
            self.recorder.slow(record, request.row);
        }
    }
}

impl Request {
    /// The record of a request that ends now with this status; `limit` is the patience that ended it, if any did.
    pub fn record(&self, status: Status, limit: Option<SimDuration>, now: SimTime) -> RequestRecord {
        match status {
            Status::Ok => RequestRecord {
                request: self.tag & ((1 << NUMBER_BITS) - 1),
                population: self.population() as u32,
                started: self.started,
                ended: now,
                status,
                cause: None,
                contributing: Causes::NONE,
                release_path: None,
                connect_time: self.established_at.map(|at| at.since(self.connect_started)),
                syns_sent: self.syns_sent,
                slb_tuple: self.slb_tuple,
            },
            _ => RequestRecord {
                status,
                ..self.judged(
                    !matches!(status, Status::ClientClosed | Status::GatewayTimeout),
                    limit,
                    now,
                )
            },
        }
    }

    /// The record with its causes.
    fn judged(&self, error: bool, limit: Option<SimDuration>, now: SimTime) -> RequestRecord {
        // A logged one had its response, and the way to the client is all that is left.
        let sent = matches!(self.phase, Phase::Waiting | Phase::Logged);
        let since = |at: SimTime| {
            if at <= now {
                now.since(at)
            } else {
                SimDuration::ZERO
            }
        };
        let waited = self
            .established_at
            .filter(|_| sent)
            .map_or(SimDuration::ZERO, since);
        let served = since(self.served_from).saturating_sub(since(self.served_until));
        let verdict = blame(
            &self.troubles,
            &Course {
                error,
                limit: limit.unwrap_or(SimDuration::MAX),
                total: now.since(self.started),
                waited,
                queued: since(self.at_pod).saturating_sub(since(self.served_from)),
                served,
            },
        );
        RequestRecord {
            cause: Some(verdict.primary),
            contributing: verdict.contributing,
            release_path: verdict.release_path,
            ..self.record(Status::Ok, None, now)
        }
    }
}
