//! Two sockets on a wire: every packet takes the same time, and a rule says which ones are lost.

use std::collections::VecDeque;

use super::super::{End, Gate, Host, Reaction, Socket, SocketOptions, State, Substate, TimeWait};
use super::{CLIENT, SERVER, config};
use crate::engine::KernelTimers;
use crate::model::tcp::{HostClock, TcpConfig, Verdict};
use crate::units::{FourTuple, SimDuration, SimTime};
use crate::wire::{Flags, Options, Packet};

/// What an application does.
#[derive(Debug, Clone, Copy, Default)]
pub struct App {
    /// Octets that it writes: the client when connected, the server when it has what it expects.
    pub write: u32,
    /// Octets that it expects.
    pub expect: u32,
    /// Closes when it has written all (the server) or received all (the client).
    pub closes: bool,
    /// Closes its sending side only, after writing.
    pub half_closes: bool,
    /// Closes when the peer has.
    pub follows: bool,
    /// Time between its last write and its close.
    pub thinks: SimDuration,
}

/// One host with one connection.
#[derive(Debug)]
pub struct Peer {
    pub config: TcpConfig,
    timers: KernelTimers,
    clock: HostClock,
    tuple: FourTuple,
    listens: bool,
    pub app: App,
    pub socket: Option<Socket>,
    pub time_wait: Option<(TimeWait, SimTime)>,
    /// There was a timewait socket, whatever became of it.
    pub had_time_wait: bool,
    /// When the socket ended.
    pub ended_at: SimTime,
    pub received: u32,
    pub connected: bool,
    pub reset: bool,
    pub timed_out: bool,
    pub saw_fin: bool,
    pub accept_queue_full: bool,
    wrote: bool,
    close_at: SimTime,
}

impl Peer {
    fn new(tuple: FourTuple, listens: bool, app: App, secret: u64) -> Self {
        let config = config();
        Self {
            timers: KernelTimers {
                hz: config.hz,
                phase: SimDuration::from_nanos(secret * 1_234_567),
            },
            clock: HostClock {
                isn_secret: secret,
                ts_secret: !secret,
                uptime: SimDuration::from_secs(secret),
                wall_ticks: secret as u32,
            },
            config,
            tuple,
            listens,
            app,
            socket: None,
            time_wait: None,
            had_time_wait: false,
            ended_at: SimTime::NEVER,
            received: 0,
            connected: false,
            reset: false,
            timed_out: false,
            saw_fin: false,
            accept_queue_full: false,
            wrote: false,
            close_at: SimTime::NEVER,
        }
    }

    /// Whether a TIME_WAIT, not a FIN_WAIT2, is left.
    pub fn is_in_time_wait(&self) -> bool {
        self.time_wait
            .is_some_and(|(tw, _)| tw.substate == Substate::TimeWait)
    }
}

/// A packet as it was sent, lost or not.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub at: SimTime,
    pub by_client: bool,
    pub packet: Packet,
    pub lost: bool,
}

impl Sent {
    /// `S`, `SA`, `A`, `PA`, `FA`, `R`, `RA` as captures write it.
    pub fn label(&self) -> &'static str {
        match self.packet.flags.without(Flags::PSH) {
            Flags::SYN => "S",
            Flags::SYN_ACK => "SA",
            Flags::RST => "R",
            Flags::RST_ACK => "RA",
            Flags::FIN_ACK => "FA",
            Flags::ACK if self.packet.payload_len > 0 => "PA",
            Flags::ACK => "A",
            _ => "?",
        }
    }
}

/// The wire with its two hosts, the client first.
pub struct Wire<F> {
    pub now: SimTime,
    pub peers: [Peer; 2],
    pub sent: Vec<Sent>,
    /// Options of both sockets.
    pub options: SocketOptions,
    delay: SimDuration,
    under_way: VecDeque<(SimTime, usize, Packet)>,
    loses: F,
}

impl<F: FnMut(usize, &Sent) -> bool> Wire<F> {
    /// `loses` gets a packet's number and the packet.
    pub fn new(delay: SimDuration, client: App, server: App, loses: F) -> Self {
        let tuple = FourTuple::new(CLIENT, SERVER);
        let peers = [
            Peer::new(tuple, false, client, 17),
            Peer::new(tuple.reversed(), true, server, 4_211),
        ];
        Self {
            now: SimTime::ZERO,
            peers,
            sent: Vec::new(),
            options: SocketOptions {
                no_delay: true,
                reads_at_once: true,
                ..SocketOptions::NONE
            },
            delay,
            under_way: VecDeque::new(),
            loses,
        }
    }

    /// Opens from one side.
    pub fn connect(&mut self, side: usize) {
        let Peer {
            config,
            timers,
            clock,
            tuple,
            ..
        } = &self.peers[side];
        let socket = Socket::connect(
            *tuple,
            &self.options,
            &Host {
                config,
                timers,
                clock,
            },
            self.now,
        );
        self.peers[side].socket = Some(socket);
        self.pump(side);
    }

    /// Runs until nothing happens any more but the end of TIME_WAIT, or until `end`.
    pub fn run(&mut self, end: SimTime) {
        loop {
            let arrival = self.under_way.front().map_or(SimTime::NEVER, |next| next.0);
            let timer = |peer: &Peer| peer.socket.as_ref().map_or(SimTime::NEVER, Socket::deadline);
            let timers = self.peers.iter().map(|peer| timer(peer).min(peer.close_at)).min();
            let next = timers.unwrap_or(SimTime::NEVER).min(arrival);
            let over = self.under_way.is_empty() && self.peers.iter().all(|peer| peer.socket.is_none());
            if over {
                return;
            }
            if next > end {
                self.now = end;
                return;
            }
            assert!(next >= self.now, "time goes back");
            self.now = next;
            for side in 0..2 {
                self.fire(side);
            }
            while self.under_way.front().is_some_and(|&(at, ..)| at <= self.now) {
                let (_, side, packet) = self.under_way.pop_front().expect("just seen");
                self.deliver(side, &packet);
            }
        }
    }

    /// Timers of one host that are due.
    fn fire(&mut self, side: usize) {
        let now = self.now;
        let peer = &mut self.peers[side];
        if peer.close_at <= now {
            peer.close_at = SimTime::NEVER;
            self.close(side);
        }
        let peer = &mut self.peers[side];
        let Peer {
            config,
            timers,
            clock,
            listens,
            socket,
            ..
        } = peer;
        let gate = listens.then(Gate::default);
        if let Some(socket) = socket.as_mut().filter(|socket| socket.deadline() <= now) {
            let reaction = socket.on_timer(
                gate,
                &Host {
                    config,
                    timers,
                    clock,
                },
                now,
            );
            assert!(socket.deadline() > now, "a timer is set in the past");
            self.react(side, &reaction);
        }
    }

    /// Puts a packet on the wire, or loses it.
    pub fn send(&mut self, side: usize, packet: Packet) {
        let mut sent = Sent {
            at: self.now,
            by_client: side == 0,
            packet,
            lost: false,
        };
        sent.lost = (self.loses)(self.sent.len(), &sent);
        self.sent.push(sent);
        if !sent.lost {
            self.under_way
                .push_back((self.now + self.delay, 1 - side, packet));
        }
    }

    /// Sends what a socket has to send.
    pub fn pump(&mut self, side: usize) {
        let now = self.now;
        loop {
            let Peer {
                config,
                timers,
                clock,
                tuple,
                socket,
                ..
            } = &mut self.peers[side];
            let next = socket.as_mut().and_then(|s| {
                s.next_segment(
                    tuple,
                    &Host {
                        config,
                        timers,
                        clock,
                    },
                    now,
                )
            });
            let Some(packet) = next else { return };
            self.send(side, packet);
        }
    }

    /// Delivers a segment to a host.
    pub fn deliver(&mut self, side: usize, packet: &Packet) {
        let now = self.now;
        let Peer {
            config,
            timers,
            clock,
            tuple,
            listens,
            socket,
            time_wait,
            accept_queue_full,
            ..
        } = &mut self.peers[side];
        let host = Host {
            config,
            timers,
            clock,
        };
        if let Some(socket) = socket {
            let gate = listens.then_some(Gate {
                accept_queue_full: *accept_queue_full,
                defer_accept: 0,
            });
            let mut reaction = Reaction::default();
            socket.on_segment(packet, gate, &host, now, &mut reaction);
            self.react(side, &reaction);
            return;
        }
        if let Some((tw, _)) = time_wait.filter(|&(_, expires)| expires > now) {
            self.deliver_to_time_wait(side, tw, packet);
        } else if *listens && packet.flags == Flags::SYN {
            *time_wait = None;
            *socket = Some(Socket::accept(packet, *tuple, None, &self.options, &host, now));
            self.pump(side);
        } else if let Some(reset) = packet.reset() {
            self.send(side, reset);
        }
    }

    fn deliver_to_time_wait(&mut self, side: usize, mut tw: TimeWait, packet: &Packet) {
        let now = self.now;
        let peer = &mut self.peers[side];
        let verdict = tw.on_segment(packet, &peer.config, now);
        tw.apply(verdict, packet, now);
        let restart = matches!(
            verdict,
            Verdict::Swallow { restart: true } | Verdict::Ack { restart: true, .. } | Verdict::EnterTimeWait
        );
        let answers = matches!(verdict, Verdict::Ack { .. } | Verdict::EnterTimeWait);
        let answers = answers && tw.may_ack(packet, &peer.config, now);
        let expires = peer.timers.expiry(now, peer.config.time_wait);
        match verdict {
            Verdict::Kill | Verdict::Reset | Verdict::AcceptSyn(_) => peer.time_wait = None,
            _ => {
                let before = peer.time_wait.map_or(expires, |(_, at)| at);
                peer.time_wait = Some((tw, if restart { expires } else { before }));
            }
        }
        let tuple = peer.tuple;
        if answers {
            let ack = Packet {
                tuple,
                seq: tw.snd_nxt,
                ack: tw.rcv_nxt,
                payload_len: 0,
                window: tw.rcv_wnd,
                timestamps: None,
                flags: Flags::ACK,
                options: Options::NONE,
                tag: 0,
            };
            self.send(side, ack);
        } else if verdict == Verdict::Reset {
            let reset = packet.reset().expect("never for an RST");
            self.send(side, reset);
        }
    }

    fn react(&mut self, side: usize, reaction: &Reaction) {
        if let Some(reply) = reaction.reply {
            self.send(side, reply);
        }
        match reaction.end {
            Some(end) => self.end(side, end),
            None => self.pump(side),
        }
        let peer = &mut self.peers[side];
        peer.received += reaction.data_len;
        peer.connected |= reaction.connected;
        peer.reset |= reaction.reset;
        peer.timed_out |= reaction.timed_out;
        peer.saw_fin |= reaction.peer_closed;
        self.application(side);
    }

    fn end(&mut self, side: usize, end: End) {
        let now = self.now;
        let Peer {
            config,
            timers,
            clock,
            tuple,
            socket,
            time_wait,
            had_time_wait,
            ended_at,
            ..
        } = &mut self.peers[side];
        *ended_at = now;
        *had_time_wait |= end != End::Closed;
        let mut socket = socket.take().expect("what ends was there");
        assert_eq!(socket.state, State::Closed);
        if let End::TimeWait(substate, lifetime) = end {
            *time_wait = Some((socket.to_time_wait(substate), timers.expiry(now, lifetime)));
        }
        let last = socket.final_ack(
            *tuple,
            &Host {
                config,
                timers,
                clock,
            },
            now,
        );
        if let Some(ack) = last {
            self.send(side, ack);
        }
    }

    fn application(&mut self, side: usize) {
        let now = self.now;
        let peer = &mut self.peers[side];
        let App {
            write,
            expect,
            closes,
            half_closes,
            follows,
            thinks,
        } = peer.app;
        let Some(socket) = peer.socket.as_mut().filter(|_| peer.connected) else {
            return;
        };
        let has_all = peer.received >= expect;
        if !peer.wrote && (has_all || !peer.listens) {
            peer.wrote = true;
            socket.write(write);
            if half_closes {
                socket.shutdown_write();
            }
        }
        let closes_now = (closes && has_all && peer.wrote) || (follows && peer.saw_fin && peer.wrote);
        if closes_now && peer.close_at == SimTime::NEVER && !socket.is_closed_by_application() {
            peer.close_at = now + thinks;
        }
        self.pump(side);
    }

    /// The application closes.
    pub fn close(&mut self, side: usize) {
        let now = self.now;
        let Peer {
            config,
            timers,
            clock,
            tuple,
            socket,
            ..
        } = &mut self.peers[side];
        let Some(socket) = socket else { return };
        let host = Host {
            config,
            timers,
            clock,
        };
        let reaction = socket.close(*tuple, &host, now);
        if let Some(reply) = reaction.reply {
            self.send(side, reply);
        }
        match reaction.end {
            Some(end) => self.end(side, end),
            None => self.pump(side),
        }
    }

    /// The application aborts: the RST, if there is one.
    pub fn abort(&mut self, side: usize) -> Option<Packet> {
        let now = self.now;
        let Peer {
            config,
            timers,
            clock,
            tuple,
            socket,
            ..
        } = &mut self.peers[side];
        let host = Host {
            config,
            timers,
            clock,
        };
        socket.take().expect("open").abort(*tuple, &host, now).reply
    }
}
