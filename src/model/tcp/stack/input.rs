//! Segments: to sockets, timewait sockets, listeners, or nobody (`tcp_v4_rcv()`).

use super::{Concerned, ListenerId, Outcome, Owner, Reaction, Stack, Tw, Verdict, time_wait_expiry};
use crate::engine::Handle;
use crate::model::tcp::socket::SocketError;
use crate::units::{FourTuple, SeqNum, SimTime};
use crate::wire::{Flags, Options, Packet, Timestamps};

impl<A: Copy> Stack<A> {
    /// Takes a segment that has arrived.
    pub fn on_packet(&mut self, packet: &Packet, now: SimTime) -> Outcome {
        self.on_packet_of(self.owner(packet.tuple.reversed()), packet, now)
    }

    /// The same, by one who has asked already who owns the tuple.
    #[inline]
    pub fn on_packet_of(&mut self, owner: Option<Owner>, packet: &Packet, now: SimTime) -> Outcome {
        let mut outcome = Outcome::default();
        match owner {
            Some(Owner::Socket(handle)) => self.on_socket_segment(handle, packet, now, &mut outcome),
            Some(Owner::TimeWait(handle)) => outcome = self.on_time_wait_segment(handle, packet, now),
            None => outcome = self.on_unowned(packet, now),
        }
        outcome
    }

    /// Writes into an empty outcome: a copy of one would cost as much as the segment itself.
    #[inline(never)]
    fn on_socket_segment(&mut self, handle: Handle, packet: &Packet, now: SimTime, outcome: &mut Outcome) {
        let Some((sock, host)) = self.split(handle) else {
            return;
        };
        if sock.is_request() {
            let listener = sock.listener;
            return self.on_request_segment(handle, listener, packet, now, outcome);
        }
        outcome.to = Concerned::Socket(handle);
        let due = sock.socket.deadline();
        sock.socket
            .on_segment(packet, None, &host, now, &mut outcome.reaction);
        outcome.idle = sock.socket.is_quiet() && sock.socket.deadline() >= due;
        if outcome.reaction.challenged || outcome.reaction.end.is_some() {
            self.after_segment(handle, outcome, now);
        }
    }

    /// Sees to the challenge or the end that a segment has brought about.
    #[inline(never)]
    pub fn after_segment(&mut self, handle: Handle, outcome: &mut Outcome, now: SimTime) {
        if outcome.reaction.challenged {
            self.limit_challenge(handle, outcome, now);
        }
        self.conclude(handle, outcome, now);
    }

    #[inline(never)]
    fn on_request_segment(
        &mut self,
        handle: Handle,
        listener: Option<ListenerId>,
        packet: &Packet,
        now: SimTime,
        outcome: &mut Outcome,
    ) {
        let gate = self.gate(listener);
        if gate.is_none() {
            *outcome = self.on_orphaned_request(handle, packet, now);
            return;
        }
        let Some((sock, host)) = self.split(handle) else {
            return;
        };
        outcome.to = Concerned::Socket(handle);
        sock.socket
            .on_segment(packet, gate, &host, now, &mut outcome.reaction);
        if outcome.reaction.challenged {
            self.limit_challenge(handle, outcome, now);
        }
        self.after_request(handle, &outcome.reaction);
        self.conclude(handle, outcome, now);
    }

    /// A challenge ACK that the host's quota does not let go is dropped.
    #[inline(never)]
    fn limit_challenge(&mut self, handle: Handle, outcome: &mut Outcome, now: SimTime) {
        if self.challenge_allowed(now) {
            self.counters.challenge_acks += 1;
            return;
        }
        outcome.reaction.reply = None;
        if let Some(sock) = self.sockets.get_mut(handle) {
            sock.socket.drop_challenge();
        }
    }

    /// A request whose listener is gone goes too, and nobody has the tuple.
    fn on_orphaned_request(&mut self, handle: Handle, packet: &Packet, now: SimTime) -> Outcome {
        self.leave_syn_queue(handle);
        self.forget(handle);
        self.on_unowned(packet, now)
    }

    /// Takes an ICMP message about the segment of `tuple` that begins at `seq` (`tcp_v4_err()`). A request that waits at a
    /// listener is not told: the simulator has no messages but a script's.
    pub fn on_icmp(&mut self, tuple: FourTuple, seq: SeqNum, error: SocketError, now: SimTime) -> Outcome {
        let Some(Owner::Socket(handle)) = self.owner(tuple) else {
            return Outcome::default();
        };
        let mut outcome = Outcome::to(Concerned::Socket(handle));
        if let Some(sock) = self.sockets.get_mut(handle).filter(|sock| !sock.is_request()) {
            outcome.reaction.end = sock.socket.on_icmp(seq, error);
        }
        self.conclude(handle, &mut outcome, now);
        outcome
    }

    fn after_request(&mut self, handle: Handle, reaction: &Reaction) {
        if reaction.listen_overflow {
            self.counters.listen_overflows += 1;
            self.counters.listen_drops += 1;
        }
        self.counters.defer_accept_drop += u64::from(reaction.deferred);
        if reaction.connected || reaction.end.is_some() {
            self.leave_syn_queue(handle);
        }
        if reaction.connected {
            self.enter_accept_queue(handle);
        }
    }

    #[inline(never)]
    fn on_unowned(&mut self, packet: &Packet, now: SimTime) -> Outcome {
        let flags = packet.flags;
        let Some(id) = self.listener_of(packet.tuple.dst) else {
            return Outcome::reply(Concerned::Nobody, packet.reset());
        };
        if flags.rst() {
            Outcome::to(Concerned::Listener(id))
        } else if flags.ack() {
            self.check_cookie(id, packet, now)
        } else if flags.syn() {
            self.on_syn(id, packet, None, now)
        } else {
            Outcome::to(Concerned::Listener(id))
        }
    }

    // ---- timewait sockets ----

    #[inline(never)]
    fn on_time_wait_segment(&mut self, handle: Handle, packet: &Packet, now: SimTime) -> Outcome {
        let Some(mut tw) = self.time_waits.get(handle) else {
            return Outcome::default();
        };
        let verdict = tw.socket.on_segment(packet, &self.config, now);
        tw.exact_rst_seen |= packet.flags.rst() && packet.seq == tw.socket.rcv_nxt;
        tw.socket.apply(verdict, packet, now);
        let mut outcome = Outcome::to(Concerned::TimeWait(handle));
        outcome.verdict = Some(verdict);
        match verdict {
            Verdict::Swallow { restart: false } => {
                if packet.flags == Flags::SYN {
                    // Only FreeBSD keeps silent; a repeat of that SYN is no new attempt.
                    tw.refused_isn = Some(packet.seq);
                }
            }
            Verdict::Swallow { restart: true } => self.restart_time_wait(&mut tw, now),
            Verdict::Kill => {
                self.remove_time_wait(handle);
                return outcome;
            }
            Verdict::AcceptSyn(_) => {
                let recycled = tw.socket.recycled_isn(&self.config);
                if let Some(id) = self.listener_of(packet.tuple.dst) {
                    self.remove_time_wait(handle);
                    outcome = self.on_syn(id, packet, recycled, now);
                    outcome.verdict = Some(verdict);
                    return outcome;
                }
                outcome.reaction.reply = self.ack_of_time_wait(&mut tw, packet, now);
            }
            Verdict::Ack { restart, refused } => {
                if refused.is_some() {
                    tw.refused_isn = Some(packet.seq);
                }
                outcome.reaction.reply = self.ack_of_time_wait(&mut tw, packet, now);
                if restart {
                    self.restart_time_wait(&mut tw, now);
                }
            }
            Verdict::Reset => {
                self.remove_time_wait(handle);
                outcome.reaction.reply = packet.reset();
                return outcome;
            }
            Verdict::EnterTimeWait => {
                tw.since = now;
                outcome.reaction.reply = self.ack_of_time_wait(&mut tw, packet, now);
                self.restart_time_wait(&mut tw, now);
                tw.first_expiry = tw.expires;
            }
        }
        self.time_waits.put(handle, &tw);
        outcome
    }

    /// The ACK of the old connection, if the rate limit lets it pass (`tcp_v4_timewait_ack()`).
    fn ack_of_time_wait(&mut self, tw: &mut Tw, packet: &Packet, now: SimTime) -> Option<Packet> {
        if !tw.socket.may_ack(packet, &self.config, now) {
            self.counters.acks_skipped_time_wait += 1;
            return None;
        }
        let timestamps = tw.socket.ts_recent.map(|recent| Timestamps {
            val: self.clock.timestamp(now, tw.socket.ts_offset),
            ecr: recent.val,
        });
        Some(Packet {
            tuple: tw.tuple,
            seq: tw.socket.snd_nxt,
            ack: tw.socket.rcv_nxt,
            payload_len: 0,
            window: tw.socket.rcv_wnd >> tw.window_shift << tw.window_shift,
            timestamps,
            flags: Flags::ACK,
            options: Options {
                window_shift: tw.window_shift,
                ..Options::NONE
            },
            tag: packet.tag,
        })
    }

    fn restart_time_wait(&self, tw: &mut Tw, now: SimTime) {
        let expires = time_wait_expiry(&self.config, &self.timers, now, self.config.time_wait);
        tw.expires = expires.max(tw.expires);
    }
}
