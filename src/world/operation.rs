//! Operations: what a client wants done, over all its tries. Each try is a request of its own; here they are one.
//!
//! Only populations with a `retry` have operations. The others' are their requests.

use super::build::World;
use super::event::{Event, Handle};
use crate::engine::Class;
use crate::topology::{HostId, Role};
use crate::units::SimTime;
use crate::vocab::Status;

/// What a client wants done.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    population: usize,
    /// Virtual user, in a closed loop.
    user: u32,
    /// When the first try began.
    started: SimTime,
    /// Tries so far.
    tries: u32,
}

impl World<'_> {
    /// A client begins with something; nothing is kept of it unless it may try again.
    pub fn begin_operation(&mut self, population: usize, user: u32) -> Handle {
        if self.plan.clients[population].retry.is_none() {
            return Handle::NONE;
        }
        self.recorder.now.operations_started += 1;
        self.operations_in_flight += 1;
        self.operations.insert(Operation {
            population,
            user,
            started: self.network.now,
            tries: 1,
        })
    }

    /// A try that began at `started` has ended as its client sees it, and drew `own`. When the whole operation began, if
    /// that has ended, too; `None`: the client will try again.
    pub fn after_try(&mut self, handle: Handle, seen: Status, own: u64, started: SimTime) -> Option<SimTime> {
        let Some(operation) = self.operations.get(handle).copied() else {
            return Some(started);
        };
        let now = self.now();
        let population = operation.population;
        let retry = self.plan.clients[population].retry?;
        let tokens = &mut self.populations[population].tokens;
        if let Some(pause) = retry.next(operation.tries, seen, tokens, own) {
            let host = HostId::new(Role::Client, population);
            let event = Event::Retry { operation: handle };
            self.schedule(now + pause, Class::Timer, host, event);
            return None;
        }
        self.operations.discard(handle);
        self.operations_in_flight -= 1;
        let counts = &mut self.recorder.now;
        if seen == Status::Ok {
            counts.operations_succeeded += 1;
            counts.operations_succeeded_after_retry += u64::from(operation.tries > 1);
            self.recorder.operation_succeeded(now.since(operation.started));
        } else {
            counts.operations_failed += 1;
        }
        Some(operation.started)
    }

    /// A client tries again.
    #[inline(never)]
    pub fn on_retry(&mut self, handle: Handle) {
        let Some(operation) = self.operations.get_mut(handle) else {
            return;
        };
        operation.tries += 1;
        let (population, user) = (operation.population, operation.user);
        self.recorder.now.retries += 1;
        self.start_request(population, user, handle);
    }
}
