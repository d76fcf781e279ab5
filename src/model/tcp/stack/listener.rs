//! Listeners: what a SYN draws, the SYN queue and the accept queue (`tcp_conn_request()`, `inet_csk_accept()`).

use std::collections::VecDeque;

use super::{Concerned, Outcome, Owner, Stack};
use crate::engine::Handle;
use crate::model::tcp::socket::{Gate, Socket, SocketOptions};
use crate::model::tcp::{Inherited, SynCookies};
use crate::units::{Endpoint, FourTuple, SeqNum, SimTime};
use crate::wire::Packet;

/// A listener of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerId(u16);

/// What an application says of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListenOptions {
    /// Backlog of `listen()`; `somaxconn` caps it.
    pub backlog: u32,
    /// Options of the listener that its connections inherit.
    pub socket: SocketOptions,
}

/// A listener.
#[derive(Debug)]
pub(super) struct Listener<A> {
    pub(super) endpoint: Endpoint,
    options: ListenOptions,
    child: A,
    /// Not closed yet.
    pub(super) open: bool,
    /// Requests in SYN_RECEIVED.
    syn_queue: u32,
    /// Connections that wait for `accept()`, oldest first.
    accept_queue: VecDeque<Handle>,
    /// When a cookie was sent last.
    last_overflow: Option<SimTime>,
}

impl<A> Listener<A> {
    fn serves(&self, endpoint: Endpoint) -> bool {
        self.open
            && self.endpoint.port == endpoint.port
            && (self.endpoint.ip == endpoint.ip || self.endpoint.ip.is_unspecified())
    }
}

impl<A: Copy> Stack<A> {
    /// Listens at an endpoint; address 0.0.0.0 stands for all. Connections start with `child` as their application's.
    pub fn listen(&mut self, endpoint: Endpoint, options: ListenOptions, child: A) -> ListenerId {
        self.listeners.push(Listener {
            endpoint,
            options,
            child,
            open: true,
            syn_queue: 0,
            accept_queue: VecDeque::new(),
            last_overflow: None,
        });
        ListenerId(self.listeners.len() as u16 - 1)
    }

    /// The listener of an endpoint.
    pub(super) fn listener_of(&self, endpoint: Endpoint) -> Option<ListenerId> {
        let index = self
            .listeners
            .iter()
            .position(|listener| listener.serves(endpoint))?;
        Some(ListenerId(index as u16))
    }

    fn listener_mut(&mut self, id: ListenerId) -> &mut Listener<A> {
        &mut self.listeners[usize::from(id.0)]
    }

    /// Changes the options that a listener's next connections inherit.
    pub fn set_listener_options(&mut self, id: ListenerId, options: SocketOptions) {
        self.listener_mut(id).options.socket = options;
    }

    /// The application closes a listener: connections that wait for `accept()` are reset, with the RSTs returned.
    /// Requests stay until something reaches them (`inet_csk_listen_stop()`).
    pub fn close_listener(&mut self, id: ListenerId, now: SimTime) -> Vec<Packet> {
        let listener = self.listener_mut(id);
        listener.open = false;
        let waiting = std::mem::take(&mut listener.accept_queue);
        let mut resets = Vec::new();
        for handle in waiting {
            resets.extend(self.abort(handle, now).reaction.reply);
            self.forget(handle);
        }
        resets
    }

    /// Takes the oldest connection off the accept queue. It may have ended while it waited.
    pub fn accept(&mut self, id: ListenerId) -> Option<Handle> {
        loop {
            let handle = self.listener_mut(id).accept_queue.pop_front()?;
            if self.sockets.get(handle).is_some() {
                return Some(handle);
            }
        }
    }

    /// Connections that wait for `accept()`.
    pub fn accept_queue_len(&self, id: ListenerId) -> usize {
        self.listeners[usize::from(id.0)].accept_queue.len()
    }

    /// Requests in SYN_RECEIVED.
    pub fn syn_queue_len(&self, id: ListenerId) -> u32 {
        self.listeners[usize::from(id.0)].syn_queue
    }

    /// The accept queue holds more than min(backlog, somaxconn) connections (`sk_acceptq_is_full()`).
    fn accept_queue_full(&self, id: ListenerId) -> bool {
        let listener = &self.listeners[usize::from(id.0)];
        listener.accept_queue.len() > listener.options.backlog.min(self.config.somaxconn) as usize
    }

    /// What the listener of a request says to the last ACK of a handshake; `None`: it is closed.
    pub(super) fn gate(&self, id: Option<ListenerId>) -> Option<Gate> {
        let id = id?;
        self.listeners[usize::from(id.0)].open.then(|| Gate {
            accept_queue_full: self.accept_queue_full(id),
            defer_accept: self.listeners[usize::from(id.0)].options.socket.defer_accept,
        })
    }

    /// A request became a connection.
    pub(super) fn enter_accept_queue(&mut self, handle: Handle) {
        if let Some(id) = self.sockets.get(handle).and_then(|sock| sock.listener) {
            self.listener_mut(id).accept_queue.push_back(handle);
        }
    }

    /// A request is one no more.
    pub(super) fn leave_syn_queue(&mut self, handle: Handle) {
        if let Some(id) = self.sockets.get(handle).and_then(|sock| sock.listener) {
            self.listener_mut(id).syn_queue -= 1;
        }
    }

    /// The SYN queue holds as many requests as the accept queue may connections (`inet_csk_reqsk_queue_is_full()`).
    fn syn_queue_full(&self, id: ListenerId) -> bool {
        let listener = &self.listeners[usize::from(id.0)];
        let limit = listener.options.backlog.min(self.config.somaxconn);
        if self.config.syn_queue_takes_one_more {
            listener.syn_queue > limit
        } else {
            listener.syn_queue >= limit
        }
    }

    /// A SYN for a listener (`tcp_conn_request()`). One with FIN is dropped without a word.
    #[inline(never)]
    pub(super) fn on_syn(
        &mut self,
        id: ListenerId,
        syn: &Packet,
        recycled_isn: Option<SeqNum>,
        now: SimTime,
    ) -> Outcome {
        let mut dropped = Outcome::to(Concerned::Listener(id));
        if syn.flags.fin() {
            return dropped;
        }
        // A SYN that recycles a TIME_WAIT is held to no limit but the accept queue's.
        let cookies = self.config.syncookies;
        let limited = recycled_isn.is_none();
        let is_flood = limited && (cookies == SynCookies::Always || self.syn_queue_full(id));
        if is_flood && cookies == SynCookies::Never {
            self.counters.req_q_full_drop += 1;
            self.counters.listen_drops += 1;
            dropped.reaction.syn_queue_full = true;
            return dropped;
        }
        self.counters.req_q_full_do_cookies += u64::from(is_flood);
        if self.accept_queue_full(id) {
            self.counters.listen_overflows += 1;
            self.counters.listen_drops += 1;
            dropped.reaction.listen_overflow = true;
            return dropped;
        }
        if is_flood {
            self.listener_mut(id).last_overflow = Some(now);
            return self.answer_with_cookie(id, syn, now);
        }
        if limited && cookies == SynCookies::Never && self.in_last_quarter(id) {
            self.counters.listen_drops += 1;
            dropped.reaction.syn_queue_full = true;
            return dropped;
        }
        let tuple = syn.tuple.reversed();
        let mut socket = Socket::accept(syn, tuple, recycled_isn, self.options_of(id), &self.host(), now);
        // What becomes of the SYN-ACK concerns the request that the SYN is about.
        socket.tag = syn.tag;
        let listener = self.listener_mut(id);
        listener.syn_queue += 1;
        let child = listener.child;
        let handle = self.add(socket, tuple, child, Some(id));
        Outcome::to(Concerned::Socket(handle))
    }

    /// Without cookies the last quarter of `tcp_max_syn_backlog` is for peers that are known, and here nobody is.
    fn in_last_quarter(&self, id: ListenerId) -> bool {
        let most = self.config.max_syn_backlog;
        most.saturating_sub(self.syn_queue_len(id)) < most / 4
    }

    pub(super) fn options_of(&self, id: ListenerId) -> &SocketOptions {
        &self.listeners[usize::from(id.0)].options.socket
    }

    pub(super) fn last_overflow(&self, id: ListenerId) -> Option<SimTime> {
        self.listeners[usize::from(id.0)].last_overflow
    }

    /// A valid cookie becomes a connection at once (`tcp_get_cookie_sock()`); `syn` is what it says of the SYN.
    pub(super) fn open_from_cookie(
        &mut self,
        id: ListenerId,
        syn: &Packet,
        isn: SeqNum,
        ack: &Packet,
        now: SimTime,
    ) -> Outcome {
        if self.accept_queue_full(id) {
            self.counters.listen_overflows += 1;
            self.counters.listen_drops += 1;
            let mut dropped = Outcome::to(Concerned::Listener(id));
            dropped.reaction.listen_overflow = true;
            return dropped;
        }
        let tuple = syn.tuple.reversed();
        let host = self.host();
        let mut socket = Socket::accept(syn, tuple, Some(isn), self.options_of(id), &host, now);
        socket.tag = ack.tag;
        let reaction = socket.open_from_cookie(ack, &host, now);
        let child = self.listener_mut(id).child;
        let handle = self.add(socket, tuple, child, Some(id));
        self.enter_accept_queue(handle);
        let mut outcome = Outcome::to(Concerned::Socket(handle));
        outcome.reaction = reaction;
        self.conclude(handle, &mut outcome, now);
        outcome
    }

    /// Whether connect() may take a tuple: nobody has it, or only a timewait socket that may be taken over.
    pub fn is_free(&self, tuple: FourTuple, now: SimTime) -> bool {
        self.owner(tuple)
            .is_none_or(|owner| self.time_wait_to_reuse(owner, now).is_some())
    }

    /// The owner of a tuple, if it is a timewait socket that `tcp_tw_reuse` lets connect() take over, and what it hands on.
    pub(super) fn time_wait_to_reuse(&self, owner: Owner, now: SimTime) -> Option<(Handle, Inherited)> {
        let Owner::TimeWait(handle) = owner else {
            return None;
        };
        let tw = self.time_waits.get(handle)?;
        let inherited = tw.socket.reuse(&self.config, &self.clock, tw.since, now)?;
        Some((handle, inherited))
    }
}
