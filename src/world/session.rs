//! Client connections that stay open: who keeps one, who closes it, and the request that meets a close on its way.
//!
//! A virtual user has a connection of its own; the requests of an open loop share a pool, the youngest first. Both sides
//! count requests and idle time for themselves, and the shorter limit ends a connection.

use super::build::World;
use super::event::Handle;
use super::request::Phase;
use super::slb::ERROR_PAGE;
use crate::model::client::Arrivals;
use crate::model::tcp::Reaction;
use crate::topology::{HostId, Role};
use crate::units::{SimDuration, SimTime};
use crate::vocab::{Cause, Status};

impl World<'_> {
    // ---- the client's side ----

    /// An idle connection to the SLB for a request of a population, and the host at its other end; of an open loop's the
    /// youngest, in a closed loop the user's own.
    pub fn take_kept_client_connection(&mut self, position: usize, user: u32) -> Option<(Handle, usize)> {
        self.plan.clients[position].keepalive?;
        let kept = &mut self.populations[position].kept;
        let handle = match self.plan.clients[position].arrivals {
            Arrivals::ClosedLoop { .. } => std::mem::replace(kept.get_mut(user as usize)?, Handle::NONE),
            _ => kept.pop()?,
        };
        let first = self.plan.slb.vip.ip.to_bits();
        let sock = self.sock_mut(HostId::new(Role::Client, position), handle)?;
        Some((handle, sock.tuple.dst.ip.to_bits().wrapping_sub(first) as usize))
    }

    /// Sends a request on a connection that has served others.
    pub fn send_on_kept_client_connection(&mut self, position: usize, socket: Handle, handle: Handle) {
        let Some(request) = self.requests.get_mut(handle) else {
            return;
        };
        request.client = socket;
        request.on_kept_client_connection = true;
        let (tag, octets) = (request.tag, request.size);
        let host = HostId::new(Role::Client, position);
        self.recorder.now.client_connection_reuses += 1;
        if let Some(sock) = self.sock_mut(host, socket) {
            sock.app.request = handle;
            sock.app.idle_deadline = SimTime::NEVER;
            sock.socket.tag = tag;
            sock.socket.write(octets);
        }
        self.pump(host, socket);
    }

    /// The client has its whole answer: it keeps the connection, unless one of both sides has had enough of it. What the
    /// SLB thinks of it stands in the answer (`Connection: close`).
    pub fn keep_client_connection(&mut self, host: HostId, socket: Handle, handle: Handle) {
        let now = self.now();
        let limits = self.plan.slb.client_connections;
        let position = host.position();
        let plan = &self.plan.clients[position];
        let Some((keepalive, request)) = plan.keepalive.zip(self.requests.get(handle)) else {
            return;
        };
        let (user, failed) = (request.user, request.status == Some(Status::Internal));
        let Some(sock) = self.sock_mut(host, socket) else {
            return;
        };
        sock.app.served += 1;
        sock.app.request = Handle::NONE;
        let served = sock.app.served;
        let enough = keepalive.requests.is_some_and(|most| served >= most)
            || served >= limits.keepalive_requests
            || limits.keepalive_timeout == SimDuration::ZERO
            || failed;
        if enough {
            self.close(host, socket);
            return;
        }
        let kept = &mut self.populations[position].kept;
        match kept.get_mut(user as usize) {
            Some(own) => *own = socket,
            None => kept.push(socket),
        }
        if let Some(idle_timeout) = keepalive.idle_timeout {
            self.set_idle(host, socket, now + idle_timeout);
        }
    }

    /// Something happened on a client's connection that serves no request.
    #[inline(never)]
    pub fn on_idle_client_event(&mut self, host: HostId, socket: Handle, reaction: &Reaction) {
        if !(reaction.peer_closed || reaction.reset || reaction.timed_out)
            || self.plan.clients[host.position()].keepalive.is_none()
        {
            return;
        }
        self.forget_kept_client_connection(host.position(), socket);
        let open = self
            .sock_mut(host, socket)
            .is_some_and(|sock| !sock.socket.is_closed_by_application());
        if open {
            self.close(host, socket);
        }
    }

    /// An idle connection is no longer to be used.
    pub fn forget_kept_client_connection(&mut self, position: usize, socket: Handle) {
        let is_pool = !matches!(self.plan.clients[position].arrivals, Arrivals::ClosedLoop { .. });
        let kept = &mut self.populations[position].kept;
        // The one that was idle longest is the first one.
        if let Some(place) = kept.iter().position(|&other| other == socket) {
            if is_pool {
                kept.remove(place);
            } else {
                kept[place] = Handle::NONE;
            }
        }
    }

    /// Whether the SLB closed a kept connection while this request was on its way there: nothing of it was seen, and a
    /// client may send it again (RFC 9112, section 9.3.1), as browsers and HTTP libraries do.
    pub fn meets_closed_connection(&self, handle: Handle) -> bool {
        self.requests.get(handle).is_some_and(|request| {
            request.on_kept_client_connection
                && request.phase == Phase::NotYet
                && request.client_received == 0
                && !request.client_done
        })
    }

    /// The client sends its request again, on a connection of its own to the same host.
    pub fn repeat_on_fresh_client_connection(&mut self, host: HostId, old: Handle, handle: Handle) {
        if let Some(sock) = self.sock_mut(host, old) {
            sock.app.request = Handle::NONE;
        }
        self.close(host, old);
        let Some(request) = self.requests.get_mut(handle) else {
            return;
        };
        request.on_kept_client_connection = false;
        let tag = request.tag;
        self.recorder.now.client_keepalive_races += 1;
        self.note_trouble(tag, Cause::KeepaliveRace);
        self.connect_client(handle);
    }

    // ---- the SLB's side ----

    /// What the SLB does with the client's connection when it has logged a request, perhaps with a page of its own.
    pub fn after_log(&mut self, handle: Handle, status: Status, own_page: bool) {
        let Some(request) = self.requests.get(handle) else {
            return;
        };
        let (population, id) = (request.population(), HostId::new(Role::Slb, request.slb_host));
        let (downstream, begun) = (request.downstream, request.response_received > 0);
        let limits = self.plan.slb.client_connections;
        let keeps =
            self.plan.clients[population].keepalive.is_some() && limits.keepalive_timeout > SimDuration::ZERO;
        if !keeps {
            if own_page {
                self.send_error_page(id, downstream);
                self.close(id, downstream);
            }
            return;
        }
        // Its connection may be serving the next request by now.
        let Some(sock) = self
            .sock_mut(id, downstream)
            .filter(|sock| sock.app.request == handle)
        else {
            return;
        };
        sock.app.served += 1;
        let enough = sock.app.served >= limits.keepalive_requests;
        if own_page && !begun {
            self.send_error_page(id, downstream);
            if let Some(request) = self.requests.get_mut(handle) {
                request.response_size = ERROR_PAGE;
            }
        }
        // nginx closes after a 500, and where it cannot say any more that something went wrong.
        if enough || (own_page && status == Status::Internal) || (own_page && begun) {
            self.close(id, downstream);
        } else if status != Status::ClientClosed {
            let at = self.now() + limits.keepalive_timeout;
            self.pump(id, downstream);
            self.set_idle(id, downstream, at);
        }
    }

    fn send_error_page(&mut self, id: HostId, downstream: Handle) {
        if let Some(sock) = self.sock_mut(id, downstream) {
            sock.socket.write(ERROR_PAGE);
        }
    }
}
