//! The node as another NAT than netfilter: [`NatRules`](crate::model::nat::NatRules) carried out.

use std::net::Ipv4Addr;

use super::ledger::{Release, Reopened};
use super::{Node, Route};
use crate::engine::mix64;
use crate::model::conntrack::{Direction, Tracker};
use crate::model::nat::ReopenedMapping;
use crate::units::{Endpoint, PortRange, SimDuration, SimTime};
use crate::wire::Packet;

/// When the scans of an eBPF table come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan {
    /// Not zero.
    interval: SimDuration,
    /// The first one.
    phase: SimDuration,
}

impl Scan {
    pub(super) fn new(interval: SimDuration, draw: u64) -> Self {
        let interval = interval.max(SimDuration::from_nanos(1));
        let phase = SimDuration::from_nanos(draw % interval.as_nanos());
        Self { interval, phase }
    }

    /// The first scan that finds an entry past a timeout that ends at `due`.
    fn after(self, due: SimTime) -> SimTime {
        let since = due.as_nanos().saturating_sub(self.phase.as_nanos());
        let scans = since.div_ceil(self.interval.as_nanos());
        let nanos = scans.checked_mul(self.interval.as_nanos());
        let nanos = nanos.and_then(|nanos| nanos.checked_add(self.phase.as_nanos()));
        nanos.map_or(SimTime::NEVER, SimTime::from_nanos)
    }
}

/// All blocks of ports are other addresses'.
#[derive(Debug, Clone, Copy)]
pub(super) struct NoBlockLeft;

/// Where a search that is keyed by the whole tuple begins: `pool` is the destination's part of the key.
pub(super) fn hashed_start(pool: u16, client: Endpoint) -> u16 {
    mix64(client.to_u64() ^ (u64::from(pool) << 48)) as u16
}

impl Node {
    /// An entry's timeout may have moved. A table that only scans ends it with the next scan after that.
    #[inline]
    pub(super) fn arm(&mut self, index: u32, cap: SimTime) {
        if let Some(scan) = self.scan {
            let tracker = &mut self.table.get_mut(index).tracker;
            tracker.expires = scan.after(tracker.expires);
        }
        self.table.arm(index, cap);
    }

    /// A SYN of the pod's client on its own closed mapping, which stays. `None`: this NAT begins anew.
    #[inline(never)]
    pub(super) fn reopen_in_place(
        &mut self,
        index: u32,
        direction: Direction,
        packet: &mut Packet,
        now: SimTime,
    ) -> Option<Route> {
        if self.config.snat.rules.reopened == ReopenedMapping::NewPort || direction == Direction::Reply {
            return None;
        }
        self.table.get(index).pod()?;
        let tracker = Tracker::open(&self.config.conntrack, packet, now)?;
        self.stats.tuple_reopens += 1;
        let entry = *self.table.get(index);
        if let Some(slot) = entry.port() {
            self.pools
                .release(&entry, now, Release::SameTuple(Reopened::SamePort));
            self.record_use(slot, entry.original, None, None, now);
        }
        self.table.get_mut(index).tracker = tracker;
        Some(self.on_known(index, Direction::Original, packet, now))
    }

    /// The ports that a source address may have: its block, or all of the rule's; `None`: the kernel's own range.
    pub(super) fn ports_of(&mut self, source: Ipv4Addr) -> Result<Option<PortRange>, NoBlockLeft> {
        let snat = &self.config.snat;
        let Some(size) = snat.rules.per_source else {
            return Ok(snat.to_ports);
        };
        let all = snat.to_ports.unwrap_or(PortRange::MASQUERADE);
        let next = self.blocks.len() as u32;
        let number = *self.blocks.entry(source).or_insert(next);
        let first = number.checked_mul(size);
        let first = first
            .filter(|first| first + size <= all.count())
            .ok_or(NoBlockLeft)?;
        Ok(PortRange::new(all.nth(first), all.nth(first + size - 1)))
    }

    /// The search saw this port as free, and another CPU's entry has it: the kernel drops the later one when it is
    /// confirmed.
    pub(super) fn clashes(&self, pool: u32, source_ip: Ipv4Addr, port: u16) -> bool {
        self.races.is_some() && source_ip == self.config.ip && self.pools.get(pool).ports.is_used(port)
    }

    /// A full eBPF map frees its oldest entries. `false`: there was none, all of it is other traffic.
    #[inline(never)]
    pub(super) fn evict_least_recently_used(&mut self, now: SimTime) -> bool {
        let oldest = self.table.least_recently_used(&self.config.conntrack.timeouts);
        for &index in &oldest {
            self.delete(index, now, Release::EarlyDrop);
        }
        self.stats.early_drop += oldest.len() as u64;
        !oldest.is_empty()
    }

    /// Whether another program takes this answer of a pod for a packet to a NodePort of its own.
    pub(super) fn is_hijacked(&self, packet: &Packet) -> bool {
        let to = packet.tuple.dst;
        to.ip == self.config.ip
            && self
                .config
                .snat
                .rules
                .hijacked
                .is_some_and(|ports| ports.contains(to.port))
            && self.pools.of(packet.tuple.src).is_some()
    }
}
