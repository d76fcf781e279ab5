//! Pods: the listener, the workers, and what the ledger learns from each SYN.

use super::build::World;
use super::checks::{CHECK_REQUEST, CHECK_TAG};
use super::event::{Event, Handle};
use super::lifecycle::Presence;
use super::request::{Draws, NUMBER_BITS, draws, unit};
use super::stack::Leg;
use super::transport::SockInfo;
use crate::engine::{Class, SplitMix64, keyed_hash};
use crate::model::conntrack::State as CtState;
use crate::model::node::{PreviousUse, Release, Reopened};
use crate::model::sizes::Sizes;
use crate::model::tcp::{Owner, Reaction, Substate, Tw, Verdict};
use crate::observe::{AttemptRecord, HitRecord};
use crate::spec::{Backends, ClosePolicy};
use crate::topology::{HostId, Role};
use crate::units::{FourTuple, SeqNum, SimDuration, SimTime};
use crate::vocab::{Cause, HitAnswer, ReleasePath, TimeWaitRule};
use crate::wire::Packet;

/// Nominal length of TIME_WAIT: a conntrack hold below it is short, one from it on equal but for the timer wheel.
const TIME_WAIT_NOMINAL: SimDuration = SimDuration::from_secs(60);

/// Sets the draw of an error apart from the time to close().
const ERRORS_KEY: u64 = 0x706f_645f_6572_726f;

impl World<'_> {
    // ---- the listener ----

    /// A SYN or a final ACK was dropped for a full accept queue.
    pub fn on_listen_overflow(&mut self, tag: u32) {
        self.recorder.now.listen_overflows += 1;
        self.note_trouble(tag, Cause::ListenOverflow);
    }

    /// What happened on a pod's connection.
    pub fn on_server_event(&mut self, pod: usize, handle: Handle, _info: SockInfo, reaction: &Reaction) {
        let host = HostId::new(Role::Pod, pod);
        if reaction.connected {
            let free = self.plan.pods[pod]
                .workers
                .is_none_or(|workers| self.pods[pod].busy < workers);
            if free {
                self.accept_next(pod);
            }
        }
        if reaction.data_len > 0 {
            let needed = if reaction.data_tag == CHECK_TAG {
                CHECK_REQUEST
            } else {
                self.request_bytes_of(reaction.data_tag)
            };
            let now = self.now();
            if let Some(sock) = self.sock_mut(host, handle) {
                sock.app.idle_deadline = SimTime::NEVER;
                sock.app.received += reaction.data_len;
                // A request of several segments is served once, when all of it is there.
                if sock.app.received >= needed {
                    sock.app.received -= needed;
                    sock.app.waiting_tag = Some(reaction.data_tag);
                    if sock.app.accepted {
                        self.serve(pod, handle);
                    } else if let Some(request) = self.request_of(reaction.data_tag) {
                        request.at_pod = now;
                    }
                }
            }
        }
        if reaction.peer_closed && !self.looks_later(pod, handle) {
            self.hang_up(pod, handle);
            self.release_worker_if_closed(pod, handle);
        }
    }

    /// Whether a pod that does not look whether its client is still there has a request of this connection in hand.
    fn looks_later(&mut self, pod: usize, handle: Handle) -> bool {
        if !self.plan.pods[pod].ignore_client_abort {
            return false;
        }
        let sock = self.sock_mut(HostId::new(Role::Pod, pod), handle);
        sock.is_some_and(|sock| {
            sock.app.peer_left = sock.app.in_service || sock.app.waiting_tag.is_some();
            sock.app.peer_left
        })
    }

    /// A worker takes the oldest connection that waits, if any does.
    fn accept_next(&mut self, pod: usize) {
        let host = HostId::new(Role::Pod, pod);
        let listener = self.pods[pod].listener;
        let Some(handle) = self.stack_mut(host).accept(listener) else {
            return;
        };
        let Some(sock) = self.sock_mut(host, handle) else {
            return;
        };
        sock.app.accepted = true;
        let waiting = sock.app.waiting_tag.is_some();
        self.pods[pod].busy += 1;
        if waiting {
            self.serve(pod, handle);
        }
    }

    /// Starts to work on the request that has arrived on a connection.
    fn serve(&mut self, pod: usize, handle: Handle) {
        let host = HostId::new(Role::Pod, pod);
        let Some(tag) = self
            .sock_mut(host, handle)
            .and_then(|sock| sock.app.waiting_tag.take())
        else {
            return;
        };
        if tag == CHECK_TAG {
            self.answer_check(pod, handle);
            return;
        }
        let own = self.draws_of(tag);
        let now = self.now();
        if let Some(request) = self.request_of(tag) {
            request.served_from = now;
        }
        if let Some(sock) = self.sock_mut(host, handle) {
            sock.socket.tag = tag;
            sock.app.in_service = true;
        }
        let at = now
            + self.plan.pods[pod]
                .service_time
                .sample(&mut SplitMix64(own.service));
        self.schedule(
            at,
            Class::Timer,
            host,
            Event::Served {
                pod: pod as u32,
                handle,
            },
        );
    }

    /// The numbers that a request drew at birth; it may have ended since.
    fn draws_of(&mut self, tag: u32) -> Draws {
        let request = self.by_tag.get(tag).and_then(|handle| self.requests.get(handle));
        request.map_or_else(
            || {
                let stream = &mut self.populations[(tag >> NUMBER_BITS) as usize].services;
                draws(stream, tag & ((1 << NUMBER_BITS) - 1))
            },
            |request| request.draws,
        )
    }

    /// Octets of a request.
    fn request_bytes_of(&mut self, tag: u32) -> u32 {
        let plan = self.plan;
        match &plan.clients[(tag >> NUMBER_BITS) as usize].request_bytes {
            Sizes::Constant(octets) => *octets,
            sizes => sizes.of(self.draws_of(tag).request_size),
        }
    }

    /// Octets of the response to a request.
    fn response_bytes_of(&mut self, tag: u32) -> u32 {
        let plan = self.plan;
        match &plan.clients[(tag >> NUMBER_BITS) as usize].response_bytes {
            Sizes::Constant(octets) => *octets,
            sizes => sizes.of(self.draws_of(tag).response_size),
        }
    }

    /// A pod has worked out its response.
    #[inline(never)]
    pub fn on_served(&mut self, pod: usize, handle: Handle) {
        let host = HostId::new(Role::Pod, pod);
        let now = self.now();
        let close = self.plan.pods[pod].close;
        let Some(sock) = self.sock_mut(host, handle) else {
            return;
        };
        let tag = sock.socket.tag;
        // The process that worked on it has ended; what is left is the kernel's.
        if self.pods[pod].incarnation > 0 && self.is_closed(host, handle) {
            return;
        }
        if let Some(request) = self.request_of(tag) {
            request.served_until = now;
        }
        let response = self.response_bytes_of(tag);
        let Some(sock) = self.sock_mut(host, handle) else {
            return;
        };
        sock.socket.write(response);
        sock.app.served += 1;
        sock.app.in_service = false;
        let (served, isn, peer_left) = (sock.app.served, sock.socket.irs, sock.app.peer_left);
        if self.plan.pods[pod].errors.is_some() {
            self.may_answer_with_error(pod, tag, isn);
        }
        self.pump(host, handle);
        match close {
            _ if peer_left || self.pods[pod].presence == Presence::Finishing => self.hang_up(pod, handle),
            ClosePolicy::AfterResponse | ClosePolicy::Reset if self.plan.pods[pod].closes_at_once() => {
                self.hang_up(pod, handle);
            }
            ClosePolicy::AfterResponse | ClosePolicy::Reset => {
                let own = self.draws_of(tag);
                let delay = self.plan.pods[pod].close_delay.sample(&mut SplitMix64(own.close));
                self.set_idle(host, handle, now + delay);
            }
            ClosePolicy::KeepAlive { requests, .. } if served >= requests => self.close(host, handle),
            ClosePolicy::KeepAlive { idle_timeout, .. } => self.set_idle(host, handle, now + idle_timeout),
        }
        self.release_worker_if_closed(pod, handle);
    }

    /// Whether this answer is an error is drawn by request and pod: another pod may do better. The request learns it, if the
    /// answer is still the one that it waits for: SNAT leaves the SLB's initial sequence number as it is.
    #[inline(never)]
    fn may_answer_with_error(&mut self, pod: usize, tag: u32, isn: SeqNum) {
        let Some(errors) = self.plan.pods[pod].errors else {
            return;
        };
        let own = self.draws_of(tag).close;
        if unit(keyed_hash(own, &[ERRORS_KEY, pod as u64])) >= errors.share {
            return;
        }
        let Some(handle) = self.by_tag.get(tag) else {
            return;
        };
        let Some(request) = self.requests.get(handle) else {
            return;
        };
        let (slb, upstream) = (HostId::new(Role::Slb, request.slb_host), request.upstream);
        let is_awaited = self
            .sock_mut(slb, upstream)
            .is_some_and(|sock| sock.socket.iss == isn);
        if let Some(request) = self.requests.get_mut(handle).filter(|_| is_awaited) {
            request.answer = errors.status;
        }
    }

    /// Sets when a kept-alive connection is closed for idleness.
    pub fn set_idle(&mut self, host: HostId, handle: Handle, deadline: SimTime) {
        let Some(sock) = self.sock_mut(host, handle) else {
            return;
        };
        sock.app.idle_deadline = deadline;
        if deadline < sock.app.idle_armed_at {
            sock.app.idle_armed_at = deadline;
            self.schedule(deadline, Class::Timer, host, Event::Idle { host, handle });
        }
    }

    /// The idle timer of a kept-alive connection fires.
    #[inline(never)]
    pub fn on_idle_timer(&mut self, host: HostId, handle: Handle) {
        let now = self.now();
        let Some(sock) = self.sock_mut(host, handle) else {
            return;
        };
        sock.app.idle_armed_at = SimTime::NEVER;
        let deadline = sock.app.idle_deadline;
        if deadline > now {
            if deadline != SimTime::NEVER {
                self.set_idle(host, handle, deadline);
            }
            return;
        }
        let (request, leg, backend) = (sock.app.request, sock.app.leg, sock.app.backend);
        match leg {
            Leg::Upstream => self.forget_idle(host.position(), backend, handle),
            Leg::Client => self.forget_kept_client_connection(host.position(), handle),
            _ => {}
        }
        if host.role() == Role::Pod {
            self.hang_up(host.position(), handle);
        } else {
            self.close(host, handle);
        }
        if host.role() == Role::Slb && self.serves(request, handle) {
            self.log_answer(request);
        }
        if host.role() == Role::Pod {
            self.release_worker_if_closed(host.position(), handle);
        }
    }

    /// A worker that has closed its connection takes the next one from the accept queue. The close is what frees it,
    /// not the end of the socket: the kernel finishes without it.
    pub fn release_worker_if_closed(&mut self, pod: usize, handle: Handle) {
        let host = HostId::new(Role::Pod, pod);
        let Some(sock) = self.sock_mut(host, handle) else {
            return;
        };
        if sock.app.accepted && sock.socket.is_closed_by_application() {
            sock.app.accepted = false;
            self.release_worker(pod);
        }
    }

    fn release_worker(&mut self, pod: usize) {
        self.pods[pod].busy -= 1;
        self.accept_next(pod);
        if self.pods[pod].presence == Presence::Finishing {
            self.end_pod_if_finished(pod);
        }
    }

    /// A socket is about to leave its tuple: a worker on it is free now.
    pub fn before_socket_goes(&mut self, host: HostId, handle: Handle) {
        self.return_connection(host, handle);
        if host.role() != Role::Pod {
            return;
        }
        let Some(sock) = self.sock_mut(host, handle) else {
            return;
        };
        if std::mem::take(&mut sock.app.accepted) {
            self.release_worker(host.position());
        }
    }

    fn is_closed(&mut self, host: HostId, handle: Handle) -> bool {
        self.sock_mut(host, handle)
            .is_none_or(|sock| sock.socket.is_closed_by_application())
    }

    /// Reads what the listeners counted since they were read last.
    #[inline(never)]
    pub fn collect_pod_stats(&mut self) {
        for pod in 0..self.pods.len() {
            let stats = self.stacks[self.place_of_pod(pod)].counters;
            let seen = std::mem::replace(&mut self.pods[pod].seen, stats);
            let counts = &mut self.recorder.now;
            counts.listen_drops += stats.listen_drops - seen.listen_drops;
            counts.req_q_full_drop += stats.req_q_full_drop - seen.req_q_full_drop;
            counts.req_q_full_do_cookies += stats.req_q_full_do_cookies - seen.req_q_full_do_cookies;
            counts.syncookies_sent += stats.syncookies_sent - seen.syncookies_sent;
            counts.syncookies_recv += stats.syncookies_recv - seen.syncookies_recv;
        }
    }

    // ---- the ledger ----

    /// Counts a SYN as an attempt or a repetition, and a hit with all that is known of it.
    #[inline(never)]
    pub fn observe_syn(&mut self, pod: usize, syn: &Packet, owner: Option<Owner>) {
        let source = syn.tuple.src;
        let killed = self.pods[pod].killed.remove(&source) == Some(syn.seq);
        let stack = &self.stacks[self.place_of_pod(pod)];
        let (repeated, hit) = match owner {
            None => (killed, None),
            Some(Owner::Socket(handle)) => (
                stack.sock(handle).is_some_and(|sock| sock.socket.irs == syn.seq),
                None,
            ),
            Some(Owner::TimeWait(handle)) => {
                let entry = stack.time_wait(handle);
                (
                    entry.is_some_and(|entry| entry.refused_isn == Some(syn.seq)),
                    entry,
                )
            }
        };
        if repeated {
            self.recorder.now.syn_retransmits += 1;
            return;
        }
        self.recorder.now.attempts += 1;
        let hit = hit.and_then(|entry| {
            let verdict = entry.socket.on_segment(syn, &stack.config, self.now());
            let mut of_a_copy = entry.socket;
            let may_ack = of_a_copy.may_ack(syn, &stack.config, self.now());
            self.judge_hit(pod, syn, &entry, verdict, may_ack)
        });
        let is_fin_wait2 = matches!(owner, Some(Owner::TimeWait(handle))
            if self.stacks[self.place_of_pod(pod)].time_wait(handle).is_some_and(|e| e.socket.substate == Substate::FinWait2));
        if is_fin_wait2 {
            self.recorder.now.fin_wait2_hits += 1;
            self.note_collision(syn.tag, Cause::FinWait2Collision, ReleasePath::FIN_WAIT2);
        }
        if let Some(hit) = hit {
            self.count_hit(&hit, syn.tag);
        }
        if hit.is_some() || self.recorder.records_all() {
            self.record_attempt(pod, syn, hit);
        }
    }

    fn judge_hit(
        &self,
        pod: usize,
        syn: &Packet,
        entry: &Tw,
        verdict: Verdict,
        may_ack: bool,
    ) -> Option<HitRecord> {
        if entry.socket.substate == Substate::FinWait2 {
            return None;
        }
        let (answer, rule) = match verdict {
            Verdict::AcceptSyn(rule) => (HitAnswer::Recycled, rule),
            Verdict::Ack { refused, .. } => {
                let answer = if may_ack {
                    HitAnswer::BareAck
                } else {
                    HitAnswer::Silence
                };
                (answer, refused.unwrap_or(TimeWaitRule::OldSequence))
            }
            // FreeBSD keeps silent.
            Verdict::Swallow { .. } => (HitAnswer::Silence, TimeWaitRule::OldSequence),
            _ => return None,
        };
        let previous = self.previous_use(pod, syn);
        let is_masqueraded = self
            .topology
            .host_of(syn.tuple.src.ip)
            .is_some_and(|host| host.role() == Role::Node);
        assert!(
            previous.is_some() || !is_masqueraded,
            "the ledger lost the previous use of {} at {}",
            syn.tuple.src,
            self.now()
        );
        let path = previous.map_or(ReleasePath::SAME_TUPLE_SAME_PORT, |previous| {
            release_path(&previous, entry, self.plan.pods[pod].tcp.time_wait, self.now())
        });
        Some(HitRecord {
            answer,
            rule,
            reuse_gap: self.now().since(entry.since),
            exact_rst_seen: entry.exact_rst_seen,
            path,
            previous_tuple: previous.map_or_else(|| self.slb_tuple_of(pod, syn), |previous| previous.tuple),
            released_at: previous.map(|previous| previous.released_at),
            old_ipvs_undisturbed: previous.is_some_and(|previous| previous.ipvs_undisturbed),
            previous_rewritten: previous.is_some_and(|previous| previous.rewritten),
        })
    }

    /// The node's record of who had the SNAT port before; `None` on paths without SNAT.
    fn previous_use(&self, pod: usize, syn: &Packet) -> Option<PreviousUse> {
        let node = self
            .topology
            .host_of(syn.tuple.src.ip)
            .filter(|host| host.role() == Role::Node)?;
        let endpoint = self.plan.pods[pod].endpoint;
        let history = self.nodes[node.position()]
            .node
            .port_history(endpoint, syn.tuple.src.port)?;
        history.previous
    }

    /// The tuple as the SLB sent it.
    fn slb_tuple_of(&self, pod: usize, syn: &Packet) -> FourTuple {
        let from_request = self
            .by_tag
            .get(syn.tag)
            .and_then(|handle| self.requests.get(handle));
        let fallback = match self.plan.slb.backends {
            Backends::Pod => syn.tuple,
            Backends::NodePort => FourTuple::new(syn.tuple.src, self.plan.pods[pod].endpoint),
        };
        from_request
            .and_then(|request| request.slb_tuple)
            .unwrap_or(fallback)
    }

    fn count_hit(&mut self, hit: &HitRecord, tag: u32) {
        let counts = &mut self.recorder.now;
        counts.time_wait_hits += 1;
        counts.release_paths[hit.path.index()] += 1;
        match hit.answer {
            HitAnswer::Recycled => counts.recycled += 1,
            HitAnswer::BareAck => counts.bare_acks += 1,
            HitAnswer::Silence => counts.no_answer += 1,
        }
        if hit.answer != HitAnswer::Recycled {
            self.note_collision(tag, Cause::TimeWaitCollision, hit.path);
        }
    }

    fn record_attempt(&mut self, pod: usize, syn: &Packet, hit: Option<HitRecord>) {
        let handle = self.by_tag.get(syn.tag).unwrap_or(Handle::NONE);
        let request = self.requests.get(handle);
        let record = AttemptRecord {
            at: self.now(),
            pod: pod as u32,
            source: syn.tuple.src,
            isn: syn.seq,
            slb_tuple: self.slb_tuple_of(pod, syn),
            hit,
            request: if syn.tag == CHECK_TAG {
                AttemptRecord::CHECK
            } else {
                syn.tag & ((1 << NUMBER_BITS) - 1)
            },
            syns_sent: request.map_or(0, |request| request.syns_sent),
            status: None,
            connect_started: request.map_or(self.now(), |request| request.connect_started),
            request_ended: None,
        };
        if self.recorder.attempt(record, syn.tag)
            && let Some(request) = self.requests.get_mut(handle)
        {
            request.recorded = true;
        }
    }

    /// Notes an RST that a pod's timewait socket would end by, did `tcp_rfc1337` not keep it.
    pub fn observe_rst(&mut self, pod: usize, handle: Handle, rst: &Packet) {
        let Some(entry) = self.stacks[self.place_of_pod(pod)].time_wait(handle) else {
            return;
        };
        if rst.seq == entry.socket.rcv_nxt && !entry.exact_rst_seen {
            let young = self.now().since(entry.since) < TIME_WAIT_NOMINAL;
            self.recorder.now.exact_rsts += u64::from(young);
        }
    }

    /// An RST killed a timewait socket of a pod; `refused` is the ISN that it had refused last.
    pub fn on_time_wait_killed(&mut self, pod: usize, refused: Option<SeqNum>, rst: &Packet) {
        self.recorder.now.rst_kills += 1;
        if let Some(isn) = refused {
            self.pods[pod].killed.insert(rst.tuple.src, isn);
        }
    }
}

/// Names why the port was free, by what removed the conntrack entry that last held it.
fn release_path(previous: &PreviousUse, entry: &Tw, time_wait: SimDuration, now: SimTime) -> ReleasePath {
    match previous.released_by {
        Release::SameTuple(Reopened::SamePort) => ReleasePath::SAME_TUPLE_SAME_PORT,
        Release::SameTuple(Reopened::AnotherPort) => ReleasePath::ORPHAN_BY_REOPEN,
        Release::SameTuple(Reopened::AnotherPod) => ReleasePath::ORPHAN_OTHER_POD,
        Release::Timer {
            state: CtState::TimeWait,
            hold,
        } => {
            if entry.first_expiry <= now {
                ReleasePath::POD_REARMED
            } else if time_wait > TIME_WAIT_NOMINAL && time_wait > hold {
                ReleasePath::LONG_POD_TIME_WAIT
            } else if hold < TIME_WAIT_NOMINAL {
                ReleasePath::SHORT_CONNTRACK_TIME_WAIT
            } else {
                ReleasePath::EQUAL_HOLDS
            }
        }
        Release::Timer {
            state: CtState::Close,
            ..
        }
        | Release::Rst
        | Release::DeletedByRst => ReleasePath::CONNTRACK_CLOSE,
        Release::Timer { .. } => ReleasePath::OTHER_STATE_TIMER,
        Release::EarlyDrop | Release::GcPressure => ReleasePath::CONNTRACK_PRESSURE,
        Release::Evicted => ReleasePath::EVICTION,
        Release::Unchecked => ReleasePath::RANGE_EXHAUSTED,
        Release::Ipvs { stray_rst: true } => ReleasePath::STRAY_RST,
        Release::Ipvs { stray_rst: false } => ReleasePath::IPVS_EXPIRY,
    }
}
