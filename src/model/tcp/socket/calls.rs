//! System calls on a connection: write, read, shutdown, close (`net/ipv4/tcp.c`, `inet_shutdown()`).

use super::send::Outgoing;
use super::{
    End, Extra, FourTuple, Host, How, Linger2, Packet, Reaction, Read, SeqNum, SimDuration, SimTime, Socket,
    SocketError, SocketOptions, State,
};
use crate::wire::Flags;

const DEFAULTS: SocketOptions = SocketOptions::NONE;

impl Socket {
    pub(super) fn options(&self) -> &SocketOptions {
        self.extra.as_ref().map_or(&DEFAULTS, |extra| &extra.options)
    }

    pub(super) fn extra_mut(&mut self) -> &mut Extra {
        let (no_delay, reads_at_once) = (self.no_delay, self.reads_at_once);
        self.extra.get_or_insert_with(|| {
            Box::new(Extra {
                options: SocketOptions {
                    reads_at_once,
                    no_delay,
                    ..DEFAULTS
                },
                ..Extra::default()
            })
        })
    }

    /// The two that every segment asks for are kept at hand, the others aside.
    pub(super) fn take_options(&mut self, options: &SocketOptions) {
        (self.no_delay, self.reads_at_once) = (options.no_delay, options.reads_at_once);
        if !options.is_plain() || self.extra.is_some() {
            self.extra_mut().options = *options;
        }
    }

    /// Changes options.
    pub fn set_options(&mut self, change: impl FnOnce(&mut SocketOptions), host: &Host<'_>) {
        let mut options = SocketOptions {
            no_delay: self.no_delay,
            reads_at_once: self.reads_at_once,
            ..*self.options()
        };
        change(&mut options);
        self.take_options(&options);
        if self.state == State::SynSent {
            // connect() settles the first window, and options come before it.
            self.init_receive_window(self.offered_mss(), host.config);
        }
    }

    /// The application writes so many octets, and knows that it may.
    pub fn write(&mut self, len: u32) {
        self.write_end = self.write_end + len;
    }

    /// The application writes; how many octets were taken: all, or what one packet of a limited send buffer holds. `more`:
    /// with `MSG_MORE`.
    ///
    /// # Errors
    /// The pending error, EPIPE when the sending side is closed, EAGAIN before the connection is there and when the buffer
    /// is full.
    pub fn send(&mut self, len: u32, more: bool, host: &Host<'_>) -> Result<u32, SocketError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        match self.state {
            State::SynSent | State::SynReceived => return Err(SocketError::Again),
            State::Established | State::CloseWait if !self.fin_wanted => {}
            _ => return Err(SocketError::Pipe),
        }
        let taken = self.room_for(len, host.config);
        if taken == 0 && len > 0 {
            return Err(SocketError::Again);
        }
        self.write(taken);
        (self.more, self.held_for_more, self.push_once) = (more, more, false);
        Ok(taken)
    }

    /// `MSG_EOR`: what was written last ends a record.
    pub fn end_record(&mut self) {
        let end = self.write_end;
        self.extra_mut().records.push(end);
    }

    /// `TCP_NODELAY` lets go what is held back, also under `TCP_CORK` (`__tcp_sock_set_nodelay()`).
    pub fn push_pending(&mut self) {
        self.push_once = true;
    }

    /// The application reads up to `len` octets.
    ///
    /// # Errors
    /// The pending error, once.
    pub fn read(&mut self, len: u32, host: &Host<'_>) -> Result<Read, SocketError> {
        let copied = len.min(self.unread());
        if copied > 0 {
            self.copied = self.copied + copied;
            if self.state != State::Closed {
                self.after_read(copied, host);
            }
            return Ok(Read::Data(copied));
        }
        if self.fin_received {
            return Ok(Read::End);
        }
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        Ok(if self.rcv_shutdown { Read::End } else { Read::Wait })
    }

    /// Data has arrived that the application has not read.
    pub fn has_unread(&self) -> bool {
        self.unread() > 0
    }

    /// An ICMP message about the segment that begins at `seq` (`tcp_v4_err()`, net/ipv4/tcp_ipv4.c): one in flight ends an
    /// attempt to connect with `error`, and is remembered of an open connection.
    pub fn on_icmp(&mut self, seq: SeqNum, error: SocketError) -> Option<End> {
        if seq.is_before(self.snd_una) || seq.is_after(self.snd_max) {
            return None;
        }
        if matches!(self.state, State::SynSent | State::SynReceived) {
            return Some(self.fail(error));
        }
        self.extra_mut().soft_error = Some(error);
        None
    }

    /// The pending error, once (`SO_ERROR`).
    pub fn take_error(&mut self) -> Option<SocketError> {
        self.error.take()
    }

    /// The application closes directions. In SYN_SENT that ends the attempt without a word.
    ///
    /// # Errors
    /// ENOTCONN when the connection has ended.
    pub fn shutdown(&mut self, how: How) -> Result<Option<End>, SocketError> {
        if self.state == State::Closed {
            return Err(SocketError::NotConnected);
        }
        if self.state == State::SynSent {
            return Ok(Some(self.fail(SocketError::ConnReset)));
        }
        self.rcv_shutdown |= how != How::Write;
        if how != How::Read {
            self.shutdown_write();
        }
        Ok(None)
    }

    /// `tcp_close_state()`: whatever was not closed yet for sending is. In SYN_RECEIVED the FIN waits for the handshake.
    pub fn shutdown_write(&mut self) {
        self.state = match self.state {
            State::Established => State::FinWait1,
            State::CloseWait => State::LastAck,
            other => other,
        };
        // Never unset: a close() that follows a shutdown() finds the FIN on its way, perhaps in CLOSING.
        self.fin_wanted |= matches!(self.state, State::FinWait1 | State::LastAck | State::SynReceived);
    }

    /// The application closes (`tcp_close()`): with an RST if it leaves data unread or lingers for no time, else with a
    /// FIN. In SYN_SENT nothing is sent and the socket is gone at once.
    pub fn close(&mut self, tuple: FourTuple, host: &Host<'_>, now: SimTime) -> Reaction {
        let mut reaction = Reaction::default();
        if std::mem::replace(&mut self.orphan, true) || self.state == State::Closed {
            return reaction;
        }
        self.rcv_shutdown = true;
        if self.has_unread() {
            self.copied = self.rcv_nxt;
            reaction.reply = Some(self.active_reset(tuple, host, now));
            reaction.end = Some(self.gone());
            return reaction;
        }
        if self.options().linger == Some(SimDuration::ZERO) {
            return self.abort(tuple, host, now);
        }
        match self.state {
            State::SynSent => reaction.end = Some(self.gone()),
            State::FinWait2 if self.options().linger2 == Linger2::Never => {
                reaction.reply = Some(self.active_reset(tuple, host, now));
                reaction.end = Some(self.gone());
            }
            State::FinWait2 => reaction.end = self.fin_wait2_orphan(host, now),
            State::SynReceived => {
                self.state = State::FinWait1;
                self.fin_wanted = true;
            }
            _ => self.shutdown_write(),
        }
        reaction
    }

    /// The application aborts, as close() with `SO_LINGER` 0 does: no timewait socket, and an RST unless both sides
    /// have closed already or nothing was opened yet (`tcp_disconnect()`, `tcp_need_reset()`).
    pub fn abort(&mut self, tuple: FourTuple, host: &Host<'_>, now: SimTime) -> Reaction {
        let fin_sent = self.fin_wanted && self.snd_max == self.write_end + 1;
        let silent = match self.state {
            State::SynSent | State::Closed => true,
            State::Closing | State::LastAck => fin_sent,
            _ => false,
        };
        self.orphan = true;
        Reaction {
            reply: (!silent).then(|| self.active_reset(tuple, host, now)),
            end: (self.state != State::Closed).then(|| self.gone()),
            ..Reaction::default()
        }
    }

    /// `tcp_send_active_reset()`: an RST with ACK, and with timestamps if the connection has them.
    pub(super) fn active_reset(&mut self, tuple: FourTuple, host: &Host<'_>, now: SimTime) -> Packet {
        let reset = Outgoing::bare(Flags::RST_ACK, self.acceptable_seq());
        self.segment(tuple, reset, host, now)
    }
}
