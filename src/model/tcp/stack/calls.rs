//! System calls: connect, write, read, shutdown, close and the options of a socket.

use super::{Concerned, Outcome, Stack};
use crate::engine::Handle;
use crate::model::tcp::socket::{How, Read, Readiness, Socket, SocketError, SocketOptions};
use crate::units::{FourTuple, SimTime};

impl<A: Copy> Stack<A> {
    /// Opens a connection from `tuple.src` to `tuple.dst`; the SYN is the first segment to draw. A timewait socket that
    /// has the tuple is taken over: ask [`Stack::is_free`] before.
    pub fn connect(&mut self, tuple: FourTuple, app: A, now: SimTime) -> Handle {
        let (options, host) = (&self.defaults, self.host());
        let reuse = self
            .owner(tuple)
            .and_then(|owner| self.time_wait_to_reuse(owner, now));
        let socket = match reuse {
            Some((old, inherited)) => {
                let socket = Socket::connect_over(tuple, inherited, options, &host, now);
                self.remove_time_wait(old);
                socket
            }
            None => Socket::connect(tuple, options, &host, now),
        };
        self.add(socket, tuple, app, None)
    }

    /// Writes octets. Returns how many the socket took: with a limited send buffer one packet at most, so draw segments and
    /// write again.
    ///
    /// # Errors
    /// The pending error; EPIPE when the sending side is closed, EAGAIN before the connection is there.
    pub fn write(&mut self, handle: Handle, len: u32) -> Result<u32, SocketError> {
        self.send(handle, len, false)
    }

    /// As [`Stack::write`]; with `MSG_MORE` if `more`.
    ///
    /// # Errors
    /// As [`Stack::write`].
    pub fn send(&mut self, handle: Handle, len: u32, more: bool) -> Result<u32, SocketError> {
        let (sock, host) = self.split(handle).ok_or(SocketError::Pipe)?;
        sock.socket.send(len, more, &host)
    }

    /// Reads up to `len` octets. A window that opens enough is told to the peer: draw segments after it.
    ///
    /// # Errors
    /// The pending error, once.
    pub fn read(&mut self, handle: Handle, len: u32) -> Result<Read, SocketError> {
        let (sock, host) = self.split(handle).ok_or(SocketError::NotConnected)?;
        sock.socket.read(len, &host)
    }

    /// Closes one direction or both (`inet_shutdown()`, `tcp_shutdown()`).
    ///
    /// # Errors
    /// ENOTCONN when the connection has ended.
    pub fn shutdown(&mut self, handle: Handle, how: How, now: SimTime) -> Result<Outcome, SocketError> {
        let sock = self.sockets.get_mut(handle).ok_or(SocketError::NotConnected)?;
        let mut outcome = Outcome::to(Concerned::Socket(handle));
        outcome.reaction.end = sock.socket.shutdown(how)?;
        self.conclude(handle, &mut outcome, now);
        Ok(outcome)
    }

    /// The application closes its descriptor (`tcp_close()`). What is left is the kernel's; a socket that had ended
    /// before is forgotten.
    pub fn close(&mut self, handle: Handle, now: SimTime) -> Outcome {
        let Some((sock, host)) = self.split(handle) else {
            return Outcome::default();
        };
        let mut outcome = Outcome::to(Concerned::Socket(handle));
        let tuple = sock.tuple;
        let unread = !sock.socket.is_closed_by_application() && sock.socket.has_unread();
        outcome.reaction = sock.socket.close(tuple, &host, now);
        self.counters.abort_on_close += u64::from(unread);
        self.conclude(handle, &mut outcome, now);
        outcome
    }

    /// Resets a connection, as close() with `SO_LINGER` 0 and `tcp_disconnect()` do.
    pub fn abort(&mut self, handle: Handle, now: SimTime) -> Outcome {
        let Some((sock, host)) = self.split(handle) else {
            return Outcome::default();
        };
        let mut outcome = Outcome::to(Concerned::Socket(handle));
        outcome.reaction = sock.socket.abort(sock.tuple, &host, now);
        self.conclude(handle, &mut outcome, now);
        outcome
    }

    /// What poll() sees of a connection.
    pub fn readiness(&mut self, handle: Handle) -> Option<Readiness> {
        let (sock, host) = self.split(handle)?;
        Some(sock.socket.readiness(&host))
    }

    /// Takes the pending error, as `getsockopt(SO_ERROR)` does.
    pub fn take_error(&mut self, handle: Handle) -> Option<SocketError> {
        self.sockets.get_mut(handle)?.socket.take_error()
    }

    /// `MSG_EOR`: what was written last ends a record. Before segments are drawn.
    pub fn end_record(&mut self, handle: Handle) {
        if let Some(sock) = self.sockets.get_mut(handle) {
            sock.socket.end_record();
        }
    }

    /// `TCP_NODELAY` was set: what Nagle or `TCP_CORK` holds back goes out, once. Draw segments after it.
    pub fn push_pending(&mut self, handle: Handle) {
        if let Some(sock) = self.sockets.get_mut(handle) {
            sock.socket.push_pending();
        }
    }

    /// Changes a socket's options.
    pub fn set_options(&mut self, handle: Handle, change: impl FnOnce(&mut SocketOptions)) {
        if let Some((sock, host)) = self.split(handle) {
            sock.socket.set_options(change, &host);
        }
    }
}
