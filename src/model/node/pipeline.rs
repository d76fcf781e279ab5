//! The way of one packet through the node.
//!
//! iptables mode: PREROUTING (conntrack, DNAT), FORWARD, POSTROUTING (MASQUERADE), confirm. ipvs mode: conntrack at
//! PREROUTING, ipvs at LOCAL_IN (schedules, rewrites the reply side of an unconfirmed entry), MASQUERADE at
//! POSTROUTING, confirm (`net/netfilter/ipvs/ip_vs_core.c`, `ip_vs_nfct.c`; hook order as in 4.19 to 6.18).
//! An INVALID packet has no entry and so no translation; ipvs still rewrites its destination, by its own table.

use super::ledger::{PendingReopen, Release, Reopened, Use};
use super::races::Unseen;
use super::rules::hashed_start;
use super::service::Server;
use super::{Backend, DropReason, Hop, Node, NodeProxy, NodeService, NodeVerdict, Route};
use crate::model::conntrack::{Direction, Entry, PortSlot, State, Table, TrackVerdict, Tracker};
use crate::model::ipvs::{self, Known, PacketConntrack, PacketView, Side};
use crate::model::nat::{self, Allocator, Found, PortChoice, PortUse, Query, SnatMode};
use crate::units::{Endpoint, FourTuple, SeqNum, SimTime};
use crate::wire::Packet;
use rand::RngExt;
use std::net::Ipv4Addr;

impl Node {
    /// A packet arrives, from outside or from a pod: [`Self::route`] with a copy of it.
    pub fn on_packet(&mut self, packet: &Packet, now: SimTime) -> NodeVerdict {
        let mut packet = *packet;
        match self.route(&mut packet, now) {
            Route::Forward(to) => NodeVerdict::Forward { packet, to },
            Route::Answer(to) => NodeVerdict::Answer { packet, to },
            Route::Drop(reason) => NodeVerdict::Drop(reason),
        }
    }

    /// A packet arrives, from outside or from a pod, and becomes the one that leaves. One that is dropped stays as it
    /// was.
    pub fn route(&mut self, packet: &mut Packet, now: SimTime) -> Route {
        self.advance(now);
        if let Some(route) = self.before_conntrack(packet, now) {
            return route;
        }
        let Some((index, direction)) = self.look_up(&packet.tuple, now) else {
            return self.on_untracked(packet, None, now);
        };
        let tracker = &mut self.table.get_mut(index).tracker;
        if tracker.follow(&self.config.conntrack, direction, packet, now) {
            self.on_known(index, direction, packet, now)
        } else {
            self.on_checked(index, direction, packet, now)
        }
    }

    /// What rules and ipvs decide before conntrack has seen the packet.
    #[inline]
    fn before_conntrack(&mut self, packet: &mut Packet, now: SimTime) -> Option<Route> {
        if self.config.drop_syn_repeats_within.is_some() && self.is_repeated_syn(packet, now) {
            return Some(Route::Drop(DropReason::SynRepeatRule));
        }
        if self.config.snat.rules.hijacked.is_some() && self.is_hijacked(packet) {
            return Some(Route::Drop(DropReason::NodePortClash));
        }
        match &self.config.proxy {
            NodeProxy::Ipvs(config) if !config.conntrack => self.ipvs_alone(packet, false, now),
            _ => None,
        }
    }

    /// The entry of a tuple; the dead on the way are collected.
    #[inline]
    fn look_up(&mut self, tuple: &FourTuple, now: SimTime) -> Option<(u32, Direction)> {
        let pools = &mut self.pools;
        self.table.find(tuple, now, &mut |entry: &Entry, why| {
            pools.on_end(entry, why, now);
        })
    }

    /// conntrack at PREROUTING, for a packet with an entry that does not simply go on with it.
    #[inline(never)]
    fn on_checked(&mut self, index: u32, direction: Direction, packet: &mut Packet, now: SimTime) -> Route {
        let (mut found, mut reopened) = (Some((index, direction)), None);
        while let Some((index, direction)) = found {
            let tracker = &mut self.table.get_mut(index).tracker;
            match tracker.on_packet(&self.config.conntrack, direction, packet, now) {
                TrackVerdict::Accept | TrackVerdict::Ignore => {
                    return self.on_known(index, direction, packet, now);
                }
                TrackVerdict::AcceptAndDelete => {
                    // The entry goes once the packet has passed.
                    let route = self.on_known(index, direction, packet, now);
                    self.delete(index, now, Release::DeletedByRst);
                    return route;
                }
                TrackVerdict::Invalid => {
                    // A FIN or RST may have shortened the entry's life.
                    self.arm(index, SimTime::NEVER);
                    return self.on_invalid(packet, now);
                }
                TrackVerdict::Reopen => {
                    if let Some(route) = self.reopen_in_place(index, direction, packet, now) {
                        return route;
                    }
                    reopened = self.reopen(index, now);
                }
            }
            found = self.look_up(&packet.tuple, now);
        }
        self.on_untracked(packet, reopened, now)
    }

    /// A new connection takes the place of an old one of the same tuple.
    fn reopen(&mut self, index: u32, now: SimTime) -> Option<PendingReopen> {
        let entry = self.table.get(index);
        // A late pickup of the pod's side holds a port, too, but no SLB tuple.
        let port = entry.port().filter(|_| entry.pod().is_some());
        let reopened = port.map(|slot| PendingReopen {
            tuple: entry.original,
            slot,
            at: now,
        });
        self.stats.tuple_reopens += u64::from(!is_for_pod(entry));
        self.delete(index, now, Release::SameTuple(Reopened::AnotherPort));
        reopened
    }

    /// The laboratory's rule, ahead of conntrack: a set with a timeout, to which a passing SYN adds its source and which
    /// a dropped one does not refresh.
    fn is_repeated_syn(&mut self, packet: &Packet, now: SimTime) -> bool {
        let Some(within) = self.config.drop_syn_repeats_within else {
            return false;
        };
        if !packet.flags.syn() || packet.flags.ack() {
            return false;
        }
        let forgets = self.syn_seen.entry(packet.tuple.src).or_insert(SimTime::ZERO);
        if now < *forgets {
            return true;
        }
        *forgets = now + within;
        false
    }

    /// No entry has the packet's tuple. The kernel allocates the entry before it looks at the flags: a full table drops
    /// INVALID packets as well.
    #[inline(never)]
    fn on_untracked(&mut self, packet: &mut Packet, reopened: Option<PendingReopen>, now: SimTime) -> Route {
        if self.table.is_full() && !self.make_room(&packet.tuple, now) {
            self.pools.wait(reopened);
            self.stats.conntrack_full_drops += 1;
            return Route::Drop(DropReason::ConntrackFull);
        }
        let Some(tracker) = Tracker::open(&self.config.conntrack, packet, now) else {
            return self.on_invalid(packet, now);
        };
        let route = self.on_new(packet, tracker, reopened, now);
        if matches!(route, Route::Drop(_)) {
            self.pools.wait(reopened);
        }
        route
    }

    /// Early drop; `false`: there was nothing to drop.
    fn make_room(&mut self, tuple: &FourTuple, now: SimTime) -> bool {
        if self.scan.is_some() {
            return self.evict_least_recently_used(now);
        }
        let pools = &mut self.pools;
        let dropped = self.table.early_drop(tuple, now, &mut |entry: &Entry, why| {
            pools.on_end(entry, why, now);
        });
        self.stats.early_drop += u64::from(dropped);
        self.gc.pressure |= dropped == 0;
        dropped > 0
    }

    /// A packet of a confirmed connection.
    #[allow(
        clippy::inline_always,
        reason = "all but the first packet of a connection come through here"
    )]
    #[inline(always)]
    pub(super) fn on_known(
        &mut self,
        index: u32,
        direction: Direction,
        packet: &mut Packet,
        now: SimTime,
    ) -> Route {
        self.arm(index, SimTime::NEVER);
        let entry = self.table.get(index);
        let Some(pod) = entry.pod() else {
            return self.untranslated(packet, false, now);
        };
        let (answer, source) = (entry.original.reversed(), entry.reply.dst);
        // ipvs has no part in what the node sends itself, or another one has forwarded.
        if !self.is_ipvs() || is_for_pod(entry) {
            return match direction {
                Direction::Original => forward(packet, entry.reply.reversed(), Hop::Pod(pod)),
                Direction::Reply => forward(packet, answer, Hop::Outside),
            };
        }
        let ipvs = entry.ipvs();
        let linked = ipvs.filter(|&handle| self.ipvs.get(handle).is_some());
        if direction == Direction::Reply {
            if let Some(handle) = linked {
                self.ipvs_packet(handle, packet, Side::Pod, false, now);
            }
            return forward(packet, answer, Hop::Outside);
        }
        let goes_on = linked.and_then(|handle| self.ipvs_goes_on(handle, packet));
        let (handle, backend) = if let Some(served) = goes_on {
            served
        } else {
            let found = linked.or_else(|| self.ipvs.find(&packet.tuple));
            match self.ipvs_request(found, packet, PacketConntrack::Confirmed, now) {
                Ok(served) => served,
                Err(Unserved::Stop(reason)) => return Route::Drop(reason),
                Err(Unserved::Local) => return self.local_stack(packet, now),
            }
        };
        self.ipvs_packet(handle, packet, Side::Client, false, now);
        if ipvs != Some(handle) {
            self.table.get_mut(index).set_ipvs(handle);
        }
        forward(
            packet,
            FourTuple::new(source, backend.endpoint),
            Hop::Pod(backend.pod),
        )
    }

    /// The first packet of a connection.
    fn on_new(
        &mut self,
        packet: &mut Packet,
        tracker: Tracker,
        reopened: Option<PendingReopen>,
        now: SimTime,
    ) -> Route {
        let Some(service) = self.service_of(packet.tuple.dst) else {
            if let Some(pool) = self.pools.of(packet.tuple.dst) {
                // A process of the node itself, or another node that has translated it: no service is asked, and only
                // POSTROUTING may change it.
                let backend = self.pools.get(pool).backend;
                return self.confirm(packet, tracker, backend, None, reopened, now);
            }
            // A late segment of a pod, picked up: nothing translates it.
            let mut entry = Entry::new(packet.tuple, packet.tuple.reversed(), tracker);
            if let Some(slot) = self.slot_of(&packet.tuple) {
                entry.set_pool(slot.pool);
                self.pools.get_mut(slot.pool).ports.insert(slot.port);
            }
            self.insert(entry, now);
            return self.untranslated(packet, false, now);
        };
        let (backend, handle) = if self.is_ipvs() {
            let found = self.ipvs.find(&packet.tuple);
            match self.ipvs_request(found, packet, PacketConntrack::Unconfirmed, now) {
                Ok((handle, backend)) => {
                    self.ipvs_packet(handle, packet, Side::Client, false, now);
                    (backend, Some(handle))
                }
                Err(Unserved::Stop(reason)) => return Route::Drop(reason),
                Err(Unserved::Local) => {
                    // Confirmed on its way to the local stack; the RST that answers it removes it again.
                    let entry = Entry::new(packet.tuple, packet.tuple.reversed(), tracker);
                    self.insert(entry, now);
                    return self.local_stack(packet, now);
                }
            }
        } else {
            match self.services[service as usize].random() {
                Some(backend) => (backend, None),
                None => return Route::Drop(DropReason::NoBackend),
            }
        };
        self.confirm(packet, tracker, backend, handle, reopened, now)
    }

    /// MASQUERADE and confirm: finds the source port, and puts the entry into the table.
    fn confirm(
        &mut self,
        packet: &mut Packet,
        tracker: Tracker,
        backend: Backend,
        handle: Option<ipvs::Handle>,
        reopened: Option<PendingReopen>,
        now: SimTime,
    ) -> Route {
        let pool = self.pools.of(backend.endpoint).expect("every backend has a pool");
        let (source_ip, found) = self.choose_source(packet, pool, backend.endpoint, now);
        let reply_to = |port| FourTuple::new(backend.endpoint, Endpoint::new(source_ip, port));
        let port = match found {
            Found::Free(port) if self.clashes(pool, source_ip, port) => {
                return self.no_port(DropReason::InsertFailed);
            }
            Found::Free(port) => {
                // The test of the port walks its bucket and collects the dead on the way.
                self.table.collect(&reply_to(port));
                debug_assert!(
                    self.table.peek(&reply_to(port)).is_none(),
                    "the port map says free, the table does not"
                );
                port
            }
            Found::Evict(port) => {
                let (index, _) = self.table.peek(&reply_to(port)).expect("evicted entries exist");
                self.delete(index, now, Release::Evicted);
                self.stats.evictions += 1;
                port
            }
            Found::Unchecked(port) => match self.table.peek(&reply_to(port)) {
                None => port,
                Some((index, _)) => {
                    let dead = self.table.get(index).is_expired(now);
                    return self.no_port(if dead {
                        DropReason::InsertFailed
                    } else {
                        DropReason::Snat
                    });
                }
            },
            Found::Exhausted => return self.no_port(DropReason::Snat),
        };
        let original = packet.tuple;
        if self.chain_too_long(&original, &reply_to(port)) {
            return self.no_port(DropReason::InsertFailed);
        }
        let mut entry = Entry::new(original, reply_to(port), tracker);
        entry.set_pod(backend.pod);
        if let Some(handle) = handle {
            entry.set_ipvs(handle);
        }
        let masqueraded = source_ip == self.config.ip;
        if masqueraded {
            entry.set_pool(pool);
        }
        self.insert(entry, now);
        if masqueraded {
            self.record_use(PortSlot { pool, port }, original, handle, reopened, now);
            if let Some(races) = &mut self.races {
                races.chosen(&original, pool, port, now);
            }
        }
        forward(packet, reply_to(port).reversed(), Hop::Pod(backend.pod))
    }

    /// Source address and port of a new connection towards `pod`.
    fn choose_source(
        &mut self,
        packet: &Packet,
        pool: u32,
        pod: Endpoint,
        now: SimTime,
    ) -> (Ipv4Addr, Found) {
        let client = packet.tuple.src;
        let Ok(block) = self.ports_of(client.ip) else {
            return (self.config.ip, Found::Exhausted);
        };
        let snat = &self.config.snat;
        let number = pool;
        let pool = &mut self.pools.all[pool as usize];
        if snat
            .rules
            .per_destination
            .is_some_and(|most| pool.ports.used() >= most)
        {
            return (self.config.ip, Found::Exhausted);
        }
        let mode = if packet.tuple.dst == pod {
            self.config.from_nodes
        } else {
            snat.mode
        };
        // Without a rule there is a null binding: the source as it is, another port if its tuple is taken.
        // What the node sends itself is not marked for MASQUERADE and has that null binding, too
        // (`nf_nat_alloc_null_binding()`, net/netfilter/nf_nat_core.c).
        let (source_ip, choice, to_ports) = match mode {
            _ if client.ip == self.config.ip => (client.ip, PortChoice::Keep, None),
            SnatMode::None if snat.rules.allocator.is_none() => (client.ip, PortChoice::Keep, None),
            SnatMode::None => (client.ip, PortChoice::Keep, snat.to_ports),
            SnatMode::Masquerade(choice) => (self.config.ip, choice, block),
        };
        let query = Query {
            source_port: client.port,
            choice,
            to_ports,
            search: snat.search,
            evicts: snat.evicts && packet.flags.syn(),
            allocator: snat.rules.allocator,
            keyed_start: match snat.rules.allocator {
                Some(Allocator::Hashed) => hashed_start(pool.keyed_start, client),
                _ => pool.keyed_start,
            },
        };
        let races = self.races.as_deref();
        let mut view = PoolView {
            ports: (source_ip == self.config.ip).then_some(&pool.ports),
            unseen: races.map(|races| races.unseen(&packet.tuple, number, now)),
            table: &mut self.table,
            pod,
            source_ip,
            end_seq: packet.end_seq(),
            now,
        };
        let found = nat::choose(&query, &mut view, &mut self.rover, &mut pool.rng);
        (source_ip, found)
    }

    /// One bucket of the new entry holds more tuples than this entry's draw allows.
    fn chain_too_long(&mut self, original: &FourTuple, reply: &FourTuple) -> bool {
        let Some(limit) = self.config.conntrack.chain_limit else {
            return false;
        };
        let length = self.table.longest_chain(original, reply);
        // The draw matters only near the limit. The kernel compares before it counts, so one more than drawn passes.
        length > limit.least + 1 && length > self.rng.random_range(limit.least..limit.least + limit.span) + 1
    }

    fn no_port(&mut self, reason: DropReason) -> Route {
        self.stats.insert_failed += 1;
        self.stats.search_failures += u64::from(reason == DropReason::Snat);
        Route::Drop(reason)
    }

    pub(super) fn record_use(
        &mut self,
        slot: PortSlot,
        tuple: FourTuple,
        handle: Option<ipvs::Handle>,
        reopened: Option<PendingReopen>,
        now: SimTime,
    ) {
        let last = self.pools.get(slot.pool).ledger.last_ipvs(slot.port);
        let undisturbed = last.is_some_and(|(old, reuses)| self.ipvs.is_undisturbed(old, reuses, now));
        let connection = handle.and_then(|handle| Some((handle, self.ipvs.get(handle)?.reuses)));
        let user = Use {
            tuple,
            ipvs: connection,
        };
        let reused = self.pools.allocate(slot, user, reopened, now, undisturbed);
        self.stats.port_reuses += u64::from(reused);
    }

    /// An INVALID packet: ipvs knows it by its own table, everything else leaves it as it is.
    fn on_invalid(&mut self, packet: &mut Packet, now: SimTime) -> Route {
        self.stats.invalid += 1;
        let known = self.is_ipvs() && self.ipvs_by_tuple(&packet.tuple).is_some();
        let route = known.then(|| self.ipvs_alone(packet, true, now)).flatten();
        route.unwrap_or_else(|| self.untranslated(packet, true, now))
    }

    /// ipvs without conntrack: the packet is INVALID, or `vs.conntrack` is off, and ipvs then takes the entry off what it
    /// forwards before that is confirmed (`ip_vs_notrack()`). The destination is rewritten, the source is not. `None`:
    /// ipvs has nothing to do with the packet.
    fn ipvs_alone(&mut self, packet: &mut Packet, invalid: bool, now: SimTime) -> Option<Route> {
        let found = self.ipvs_by_tuple(&packet.tuple);
        if let Some((handle, Side::Pod)) = found
            && let Some(tuple) = self.ipvs.get(handle).map(|it| it.tuple)
        {
            // ipvs comes after the rule, and conntrack knows nothing of the connection.
            let conntrack = &self.config.conntrack;
            if conntrack.drop_invalid && (invalid || Tracker::open(conntrack, packet, now).is_none()) {
                return Some(Route::Drop(DropReason::Invalid));
            }
            self.ipvs_packet(handle, packet, Side::Pod, invalid, now);
            return Some(forward(packet, tuple.reversed(), Hop::Outside));
        }
        let found = found.map(|(handle, _)| handle);
        match self.ipvs_request(found, packet, PacketConntrack::None, now) {
            Ok((handle, backend)) => {
                self.ipvs_packet(handle, packet, Side::Client, invalid, now);
                let tuple = FourTuple::new(packet.tuple.src, backend.endpoint);
                Some(forward(packet, tuple, Hop::Pod(backend.pod)))
            }
            Err(Unserved::Stop(reason)) => Some(Route::Drop(reason)),
            Err(Unserved::Local) => None,
        }
    }

    /// Nothing is to be decided: no SYN, and the server is still there. Otherwise [`Self::ipvs_request`] does.
    #[inline]
    fn ipvs_goes_on(&self, handle: ipvs::Handle, packet: &Packet) -> Option<(ipvs::Handle, Backend)> {
        if packet.flags.syn() {
            return None;
        }
        let (service, place) = self.ipvs.get(handle)?.server;
        let server = self.services[service as usize].server(place);
        server.state.available.then_some((handle, server.backend))
    }

    /// The ipvs connection that a packet of the client belongs to, made if need be.
    fn ipvs_request(
        &mut self,
        found: Option<ipvs::Handle>,
        packet: &Packet,
        conntrack: PacketConntrack,
        now: SimTime,
    ) -> Result<(ipvs::Handle, Backend), Unserved> {
        let NodeProxy::Ipvs(config) = &self.config.proxy else {
            return Err(Unserved::Local);
        };
        if let Some(handle) = found {
            let connection = self.ipvs.get(handle).expect("found in the table");
            let (service, place) = connection.server;
            let &Server {
                backend,
                state: server,
            } = self.services[service as usize].server(place);
            let known = ipvs::on_known(config, connection.state, server, packet.flags, conntrack);
            match known {
                Known::Use => return Ok((handle, backend)),
                Known::Reschedule => self.ipvs.remove(handle),
                Known::ExpireAndDrop => self.expire_ipvs(handle, now),
                Known::Drop => {}
            }
            if known != Known::Reschedule {
                let reused = server.available && packet.flags.syn();
                self.stats.ipvs_syn_drops += u64::from(packet.flags.syn());
                return Err(Unserved::Stop(if reused {
                    DropReason::IpvsReuse
                } else {
                    DropReason::IpvsNoDestination
                }));
            }
        }
        // Only a SYN is scheduled (`sloppy_tcp` is 0); anything else goes up to the node's own stack.
        if !packet.flags.syn() || packet.flags.rst() {
            return Err(Unserved::Local);
        }
        let number = self.service_of(packet.tuple.dst).ok_or(Unserved::Local)?;
        let service = &mut self.services[number as usize];
        let ipvs = &self.ipvs;
        let load = |place| ipvs.load((number, place));
        let Some(place) = service.schedule(packet.tuple.src, load) else {
            return Err(Unserved::Stop(DropReason::NoBackend));
        };
        let backend = service.server(place).backend;
        Ok((self.ipvs.insert(packet.tuple, (number, place)), backend))
    }

    /// State and timer of an ipvs connection after a packet.
    fn ipvs_packet(
        &mut self,
        handle: ipvs::Handle,
        packet: &Packet,
        side: Side,
        invalid: bool,
        now: SimTime,
    ) {
        let view = PacketView {
            side,
            flags: packet.flags,
            invalid,
        };
        self.ipvs.on_packet(handle, view, now);
    }

    /// The ipvs connection of a packet that conntrack tells nothing about, and whether the pod sent it. One client
    /// address and port may use two services of one pod: the pod's side then names the younger.
    fn ipvs_by_tuple(&self, tuple: &FourTuple) -> Option<(ipvs::Handle, Side)> {
        if let Some(handle) = self.ipvs.find(tuple) {
            return Some((handle, Side::Client));
        }
        self.pools.of(tuple.src)?;
        let answered = |service: &NodeService| {
            let virtual_server = Endpoint::new(self.config.ip, service.node_port);
            let handle = self.ipvs.find(&FourTuple::new(tuple.dst, virtual_server))?;
            let (service, place) = self.ipvs.get(handle)?.server;
            let backend = self.services[service as usize].server(place).backend;
            (backend.endpoint == tuple.src).then_some(handle)
        };
        let found = self.config.services.iter().filter_map(answered);
        let youngest = found.min_by_key(|&handle| self.ipvs.age(handle))?;
        Some((youngest, Side::Pod))
    }

    /// An ipvs connection ends, and the conntrack entry of the client's tuple with it (`ip_vs_conn_drop_conntrack()`).
    pub(super) fn expire_ipvs(&mut self, handle: ipvs::Handle, now: SimTime) {
        let Some(&connection) = self.ipvs.get(handle) else {
            return;
        };
        self.ipvs.remove(handle);
        let pools = &mut self.pools;
        let found = self
            .table
            .find(&connection.tuple, now, &mut |entry: &Entry, why| {
                pools.on_end(entry, why, now);
            });
        if let Some((index, _)) = found {
            let stray_rst = connection.closed_by_stray_rst;
            self.delete(index, now, Release::Ipvs { stray_rst });
        }
    }

    /// A packet that nothing translates: for the node itself, or merely passing through.
    fn untranslated(&mut self, packet: &mut Packet, invalid: bool, now: SimTime) -> Route {
        if packet.tuple.dst.ip == self.config.ip {
            return self.local_stack(packet, now);
        }
        if invalid && self.config.conntrack.drop_invalid {
            return Route::Drop(DropReason::Invalid);
        }
        Route::Forward(self.hop_to(packet.tuple.dst))
    }

    /// The node's own stack has no socket for the packet: RST, unless it is one (RFC 9293 section 3.10.7.1). The RST
    /// passes conntrack on its way out, where it may remove an entry that has seen no reply.
    fn local_stack(&mut self, packet: &mut Packet, now: SimTime) -> Route {
        let Some(rst) = packet.reset() else {
            return Route::Drop(DropReason::LocalStack);
        };
        let pools = &mut self.pools;
        let found = self.table.find(&rst.tuple, now, &mut |entry: &Entry, why| {
            pools.on_end(entry, why, now);
        });
        if let Some((index, direction)) = found {
            let tracker = &mut self.table.get_mut(index).tracker;
            let verdict = tracker.on_packet(&self.config.conntrack, direction, &rst, now);
            if verdict == TrackVerdict::AcceptAndDelete {
                self.delete(index, now, Release::DeletedByRst);
            } else {
                self.arm(index, SimTime::NEVER);
            }
        }
        *packet = rst;
        Route::Answer(self.hop_to(rst.tuple.dst))
    }

    /// Takes an entry out of the table and gives its port back.
    pub(super) fn delete(&mut self, index: u32, now: SimTime, by: Release) {
        if self.table.remove(index) {
            self.pools.release(self.table.get(index), now, by);
        }
    }

    fn insert(&mut self, entry: Entry, now: SimTime) {
        let index = self.table.insert(entry);
        self.arm(index, now + self.first_check);
    }

    fn is_ipvs(&self) -> bool {
        matches!(self.config.proxy, NodeProxy::Ipvs(_))
    }

    fn service_of(&self, destination: Endpoint) -> Option<u32> {
        if destination.ip != self.config.ip {
            return None;
        }
        self.by_node_port.get(&destination.port).copied()
    }

    /// The SNAT port that a tuple of an untranslated connection occupies.
    fn slot_of(&self, tuple: &FourTuple) -> Option<PortSlot> {
        if tuple.dst.ip != self.config.ip {
            return None;
        }
        let pool = self.pools.of(tuple.src)?;
        let port = tuple.dst.port;
        Some(PortSlot { pool, port })
    }

    fn hop_to(&self, destination: Endpoint) -> Hop {
        match self.pools.of(destination) {
            Some(pool) => Hop::Pod(self.pools.get(pool).backend.pod),
            None => Hop::Outside,
        }
    }
}

/// Whether the connection was addressed to the pod when it came, from another node: no service was asked.
#[inline]
fn is_for_pod(entry: &Entry) -> bool {
    entry.original.dst == entry.reply.src
}

/// Why ipvs has no connection for a packet.
enum Unserved {
    /// The packet ends here.
    Stop(DropReason),
    /// It goes on to the node's own stack.
    Local,
}

fn forward(packet: &mut Packet, tuple: FourTuple, to: Hop) -> Route {
    packet.tuple = tuple;
    Route::Forward(to)
}

/// The search's view of what is in use towards one pod.
struct PoolView<'a> {
    /// The port map, if the source becomes the node's address; without SNAT the table itself answers.
    ports: Option<&'a nat::PortMap>,
    /// Ports of the map that other CPUs have not confirmed yet.
    unseen: Option<Unseen<'a>>,
    table: &'a mut Table,
    pod: Endpoint,
    source_ip: Ipv4Addr,
    /// End of the new SYN.
    end_seq: SeqNum,
    now: SimTime,
}

impl PoolView<'_> {
    fn tuple(&self, port: u16) -> FourTuple {
        FourTuple::new(self.pod, Endpoint::new(self.source_ip, port))
    }

    fn holder(&self, port: u16) -> Option<(&Entry, Direction)> {
        let (index, direction) = self.table.peek(&self.tuple(port))?;
        let entry = self.table.get(index);
        (!entry.is_expired(self.now)).then_some((entry, direction))
    }
}

impl PortUse for PoolView<'_> {
    fn is_used(&mut self, port: u16) -> bool {
        if self.table.has_dead() {
            self.table.collect(&self.tuple(port));
        }
        match self.ports {
            Some(ports) => ports.is_used(port) && !self.unseen.is_some_and(|unseen| unseen.contains(port)),
            None => self.holder(port).is_some(),
        }
    }

    fn first_free(&mut self, first: u16, last: u16) -> Option<u16> {
        let Some(ports) = self.ports else {
            return (first..=last).find(|&port| !self.is_used(port));
        };
        let unseen = self.unseen.and_then(|unseen| unseen.lowest(first, last));
        let free = [ports.first_free(first, last), unseen]
            .into_iter()
            .flatten()
            .min();
        for port in first..=free.unwrap_or(last) {
            if !self.table.has_dead() {
                break;
            }
            self.table.collect(&self.tuple(port));
        }
        free
    }

    fn may_evict(&mut self, port: u16) -> bool {
        self.holder(port).is_some_and(|(entry, direction)| {
            direction == Direction::Reply
                && matches!(entry.tracker.state, State::TimeWait | State::Close)
                && entry.original.src != entry.reply.dst
                && self.end_seq.is_after(entry.tracker.original_end())
        })
    }
}
