//! What the world keeps about a socket: whose it is, what it serves, and which of its events are pending.

use super::event::Handle;
use super::links::Route;
use super::network::Ends;
use crate::model::tcp;
use crate::units::{SimDuration, SimTime};

/// A socket without a pending timer event is looked at after this time at the latest. Most are gone by then, and all the
/// timers that they armed and cancelled meanwhile cost one event: no ACK is delayed for less than 40 ms, and what is sent
/// again comes later still, but for tail-loss probes of several segments.
pub const FIRST_LOOK: SimDuration = SimDuration::from_millis(40);

/// What a connection is to the application that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leg {
    /// A client's connection to the SLB.
    Client,
    /// The SLB's side of it.
    Downstream,
    /// The SLB's connection to a backend.
    Upstream,
    /// The pod's side of it.
    Server,
    /// A health check's connection to a backend, or a probe's to a pod.
    Check,
}

/// What the application keeps about a socket.
#[derive(Debug, Clone, Copy)]
pub struct App {
    /// Application.
    pub leg: Leg,
    /// The request that it serves now.
    pub request: Handle,
    /// Octets received of the current message.
    pub received: u32,
    /// Requests that it has served.
    pub served: u32,
    /// When the application will close it for idleness.
    pub idle_deadline: SimTime,
    /// When its pending timer event fires, if any is pending.
    armed_at: SimTime,
    /// When its pending idle event fires, if any is pending.
    pub idle_armed_at: SimTime,
    /// Where its segments go, once that is known.
    pub route: Option<Route>,
    /// Slot of the socket at the other end, once it is known: see [`Ends`].
    pub peer: u32,
    /// Index of the SLB's backend, for the keepalive pool; of the check whose connection it is.
    pub backend: u32,
    /// When the SLB opened it.
    pub opened_at: SimTime,
    /// It takes one of the SLB's `worker_connections`.
    pub counted: bool,
    /// The application has accepted it.
    pub accepted: bool,
    /// What the request that waits for a worker is about.
    pub waiting_tag: Option<u32>,
    /// A worker is busy with its request.
    pub in_service: bool,
    /// The other side has closed, and the application has not looked yet.
    pub peer_left: bool,
}

/// The TCP of a host of the world.
pub type Stack = tcp::Stack<App>;
/// A socket of it.
pub type Sock = tcp::Sock<App>;

impl App {
    /// A socket that nothing is known of yet.
    pub const fn new(leg: Leg, request: Handle) -> Self {
        Self {
            leg,
            request,
            received: 0,
            served: 0,
            idle_deadline: SimTime::NEVER,
            armed_at: SimTime::NEVER,
            idle_armed_at: SimTime::NEVER,
            route: None,
            peer: Ends::NOBODY,
            backend: 0,
            opened_at: SimTime::ZERO,
            counted: false,
            accepted: false,
            waiting_tag: None,
            in_service: false,
            peer_left: false,
        }
    }

    /// Both ends of the connection of the socket in slot `own`, as far as they are known.
    #[inline]
    pub const fn ends(&self, own: u32) -> Ends {
        Ends { own, peer: self.peer }
    }

    /// When a timer event must be scheduled for `deadline`, if the pending one would come too late; notes it as pending.
    /// The first one comes early: see [`FIRST_LOOK`].
    #[inline]
    pub fn arm(&mut self, deadline: SimTime, now: SimTime) -> Option<SimTime> {
        if deadline >= self.armed_at {
            return None;
        }
        let at = if self.armed_at == SimTime::NEVER {
            deadline.min(now + FIRST_LOOK)
        } else {
            deadline
        };
        self.armed_at = at;
        Some(at)
    }

    /// A timer event fired before `deadline`: the next one is pending for it.
    pub const fn arm_again(&mut self, deadline: SimTime) {
        self.armed_at = deadline;
    }

    /// A timer event fired: none is pending any more unless a later one superseded it. False: superseded.
    pub fn fired(&mut self, now: SimTime) -> bool {
        if self.armed_at != now {
            return false;
        }
        self.armed_at = SimTime::NEVER;
        true
    }
}
