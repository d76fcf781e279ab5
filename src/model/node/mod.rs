//! A whole Kubernetes node as a pure component: packets in, verdict out.
//!
//! conntrack, kube-proxy's NodePort (iptables DNAT or ipvs), MASQUERADE and the node's own stack in the order in which
//! a packet meets them. Models: `docs/models/nat.md`, `docs/models/ipvs.md`, `docs/models/conntrack.md`.
//! Links, ICMP, routing and the pods behind the node are the world's.

mod ledger;
mod pipeline;
mod pools;
mod races;
mod rules;
mod service;

use std::net::Ipv4Addr;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rustc_hash::FxHashMap;

pub use ledger::{PortHistory, PreviousUse, Release, Reopened};

use self::pools::Pools;
use self::races::Races;
use self::rules::Scan;
use self::service::Service;
use crate::engine::KernelTimers;
use crate::model::conntrack::{Collection, ConntrackConfig, Ended, Entry, Gc, Table};
use crate::model::ipvs::{self, IpvsConfig, IpvsState, Scheduler};
use crate::model::nat::{SnatConfig, SnatMode};
use crate::units::{Endpoint, FourTuple, SimDuration, SimTime};
use crate::wire::Packet;

/// Everything about a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Address: NodePorts listen on it and MASQUERADE uses it.
    pub ip: Ipv4Addr,
    /// kube-proxy's mode.
    pub proxy: NodeProxy,
    /// Source NAT.
    pub snat: SnatConfig,
    /// Connection tracking.
    pub conntrack: ConntrackConfig,
    /// Drop a SYN that the same address and port repeats within this time (the laboratory's "old client" rule).
    pub drop_syn_repeats_within: Option<SimDuration>,
    /// The node's timer wheel: ipvs entries and the gc worker expire with it.
    pub timers: KernelTimers,
    /// NodePort services.
    pub services: Vec<NodeService>,
    /// Source NAT of what another node forwarded to a pod behind this one: it is addressed to the pod already. CNIs leave
    /// it alone; see `docs/models/nat.md`.
    pub from_nodes: SnatMode,
}

/// How kube-proxy forwards a NodePort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeProxy {
    /// iptables DNAT, a uniformly random pod per connection.
    Iptables,
    /// ipvs.
    Ipvs(IpvsConfig),
}

/// A NodePort and the pods behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeService {
    /// NodePort.
    pub node_port: u16,
    /// Pods, in the order in which schedulers see them.
    pub backends: Vec<Backend>,
}

/// A pod of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend {
    /// Index of the pod in the plan.
    pub pod: u32,
    /// Its address and port.
    pub endpoint: Endpoint,
}

/// Where a packet goes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// Towards the SLB.
    Outside,
    /// To this pod of the plan.
    Pod(u32),
}

/// What the node does with a packet, which is changed in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Sends it on, translated or not.
    Forward(Hop),
    /// Its own stack, which has no socket for it, answers with an RST: the packet is that RST now.
    Answer(Hop),
    /// It ends here.
    Drop(DropReason),
}

/// A [`Route`] together with the packet as it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeVerdict {
    /// Sends it on, translated or not.
    Forward {
        /// The packet as it leaves.
        packet: Packet,
        /// Where to.
        to: Hop,
    },
    /// Its own stack, which has no socket for it, answers with an RST.
    Answer {
        /// The RST.
        packet: Packet,
        /// Where to.
        to: Hop,
    },
    /// It ends here.
    Drop(DropReason),
}

/// Why a packet ends at the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The port search found none (`insert_failed` counts as well: the kernel drops it when the entry is confirmed).
    Snat,
    /// The new entry clashed with a dead one that nothing has collected, or its hash chain is too long.
    InsertFailed,
    /// `nf_conntrack_max` is reached and nothing could be dropped early.
    ConntrackFull,
    /// ipvs drops the SYN of a reused tuple.
    IpvsReuse,
    /// ipvs has a connection for it whose pod was removed.
    IpvsNoDestination,
    /// INVALID, and a rule drops those.
    Invalid,
    /// The service has no pod.
    NoBackend,
    /// The laboratory's rule against repeated SYNs.
    SynRepeatRule,
    /// It answers to a SNAT port that is a NodePort of another program, which takes it before conntrack sees it.
    NodePortClash,
    /// The node's own stack swallows it: an RST for nobody.
    LocalStack,
}

/// Cumulative counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeStats {
    /// SYNs for which no port was found.
    pub search_failures: u64,
    /// Entries evicted by the search.
    pub evictions: u64,
    /// `insert_failed` of `conntrack -S`: failed searches and clashes.
    pub insert_failed: u64,
    /// SYNs of reused tuples that ipvs dropped.
    pub ipvs_syn_drops: u64,
    /// Packets dropped because the table was full.
    pub conntrack_full_drops: u64,
    /// `early_drop`: entries dropped to make room.
    pub early_drop: u64,
    /// `invalid`: packets that conntrack could not place.
    pub invalid: u64,
    /// SNAT ports used again for the same pod after an earlier flow.
    pub port_reuses: u64,
    /// Entries that a SYN of the same tuple replaced; a SYN that follows the caller's own RST counts as well.
    pub tuple_reopens: u64,
}

/// An ipvs connection as a listing shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpvsListed {
    /// State.
    pub state: IpvsState,
    /// When its timer fires.
    pub expires: SimTime,
    /// When that was meant to be, before the wheel rounded up: what `ipvsadm -Lnc` counts down to.
    pub due: SimTime,
}

/// The node.
#[derive(Debug, Clone)]
pub struct Node {
    config: NodeConfig,
    table: Table,
    gc: Gc,
    /// Limits of hash chains.
    rng: ChaCha8Rng,
    pools: Pools,
    ipvs: ipvs::Table,
    services: Vec<Service>,
    by_node_port: FxHashMap<u16, u32>,
    /// 4.19: the port that was handed out last, of all pods; 0 on a freshly booted host.
    rover: u16,
    /// When the SYN rule forgets a source.
    syn_seen: FxHashMap<Endpoint, SimTime>,
    /// A new entry's first timer comes no later than this: no state of the ordinary walk is shorter.
    first_check: SimDuration,
    /// Ports set aside for each source address, in order of their first SYNs.
    blocks: FxHashMap<Ipv4Addr, u32>,
    /// Entries end in a scan only.
    scan: Option<Scan>,
    /// Two CPUs at once.
    races: Option<Box<Races>>,
    stats: NodeStats,
}

impl Node {
    /// A node at rest. `stream` gives the generator for a purpose and a position: `"snat"` and a pod's index for the
    /// port search, `"dnat"` and a service's position for the choice of a pod, `"conntrack"` and 0 for the table; where
    /// they matter, `"rss"` and `"scan"` and 0 for the spread over CPUs and the phase of the scan.
    pub fn new(config: NodeConfig, stream: &mut dyn FnMut(&str, u64) -> ChaCha8Rng) -> Self {
        let timeouts = config.conntrack.timeouts;
        let mut pools = Pools::new(timeouts);
        for backend in config.services.iter().flat_map(|service| &service.backends) {
            pools.add(*backend, || stream("snat", u64::from(backend.pod)));
        }
        let ipvs = match &config.proxy {
            NodeProxy::Iptables => None,
            NodeProxy::Ipvs(config) => Some(config),
        };
        let scheduler = ipvs.map_or(Scheduler::default(), |ipvs| ipvs.scheduler);
        let mut by_node_port = FxHashMap::default();
        let mut services = Vec::with_capacity(config.services.len());
        for (position, service) in config.services.iter().enumerate() {
            by_node_port.entry(service.node_port).or_insert(position as u32);
            services.push(Service::new(
                &service.backends,
                scheduler,
                stream("dnat", position as u64),
            ));
        }
        let table = Table::new(&config.conntrack);
        let mut rng = stream("conntrack", 0);
        let first_check = timeouts.by_state[1..8].iter().copied().min();
        let rules = config.snat.rules;
        let race = rules.race.filter(|_| rules.allocator.is_none());
        let races = race.map(|race| Races::new(race, stream("rss", 0).next_u64()));
        let scan = rules
            .scan_interval
            .map(|interval| Scan::new(interval, stream("scan", 0).next_u64()));
        Self {
            gc: Gc::new(&config.conntrack, &table, &mut rng),
            table,
            rng,
            pools,
            ipvs: ipvs::Table::new(ipvs, config.timers),
            services,
            by_node_port,
            rover: 0,
            syn_seen: FxHashMap::default(),
            first_check: first_check.unwrap_or(SimDuration::ZERO),
            blocks: FxHashMap::default(),
            scan,
            races: races.map(Box::new),
            stats: NodeStats::default(),
            config,
        }
    }

    /// Ends the entries and connections whose time has come by `now`, in the order of their times. Packets and gc do
    /// this themselves; who reads counts must have it done.
    pub fn advance(&mut self, now: SimTime) {
        if now >= self.table.next_end() || now >= self.ipvs.next_end() {
            self.end_due(now);
        }
    }

    #[inline(never)]
    fn end_due(&mut self, now: SimTime) {
        while let Some((at, handle)) = self.ipvs.next_expired(now) {
            self.end_entries(at);
            self.expire_ipvs(handle, at);
        }
        self.end_entries(now);
    }

    fn end_entries(&mut self, until: SimTime) {
        while let Some(index) = self.table.next_ended(until) {
            self.pools.on_end(self.table.get(index), Ended::Expired, until);
            if self.config.conntrack.collection == Collection::Timers {
                self.table.remove(index);
            }
        }
    }

    /// When the conntrack gc worker runs first.
    pub fn first_gc(&self) -> SimTime {
        self.gc_due(self.gc.first(), SimTime::ZERO)
    }

    /// The gc worker runs; returns when it does so again.
    pub fn on_gc(&mut self, now: SimTime) -> SimTime {
        self.advance(now);
        let pools = &mut self.pools;
        let jiffies = self.gc.run(
            &mut self.table,
            &self.config.conntrack,
            now,
            &mut |entry: &Entry, why| pools.on_end(entry, why, now),
        );
        self.gc_due(jiffies, now)
    }

    /// `ipvsadm -e ... -w`: a pod's weight; with 0 it gets no new connection, and what becomes of a SYN on one of its old
    /// ones follows `expire_nodest_conn`. `false`: the NodePort has no such pod.
    pub fn set_weight(&mut self, node_port: u16, pod: Endpoint, weight: u32) -> bool {
        let Some((service, place)) = self.server_of(node_port, pod) else {
            return false;
        };
        self.services[service as usize].state_mut(place).weight = weight;
        true
    }

    /// `ipvsadm -d`: a pod leaves a NodePort. Its connections stay, unless the kernel ends them at once
    /// ([`ipvs::NodestExpiry::Removal`]). `false`: the NodePort has no such pod.
    pub fn remove_backend(&mut self, node_port: u16, pod: Endpoint, now: SimTime) -> bool {
        let Some((service, place)) = self.server_of(node_port, pod) else {
            return false;
        };
        self.advance(now);
        self.services[service as usize].state_mut(place).available = false;
        let at_once = matches!(self.config.proxy, NodeProxy::Ipvs(config)
            if config.expire_nodest_conn && config.nodest_expiry == ipvs::NodestExpiry::Removal);
        if at_once {
            for handle in self.ipvs.of_server((service, place)) {
                self.expire_ipvs(handle, now);
            }
        }
        true
    }

    /// `ipvsadm -a`: a pod joins a NodePort, or comes back to it, with weight 1. `search` is the generator of its port
    /// search if no NodePort had it yet. `false`: the node has no such NodePort.
    pub fn add_backend(&mut self, node_port: u16, backend: Backend, search: ChaCha8Rng) -> bool {
        let Some(&service) = self.by_node_port.get(&node_port) else {
            return false;
        };
        self.pools.add(backend, || search);
        self.services[service as usize].add(backend);
        true
    }

    /// `ActiveConn` and `InActConn` of `ipvsadm -L`: the ipvs connections of a pod that belongs to a NodePort.
    pub fn connections_of(&mut self, node_port: u16, pod: Endpoint, now: SimTime) -> usize {
        self.advance(now);
        let server = self.server_of(node_port, pod);
        server.map_or(0, |server| self.ipvs.of_server(server).len())
    }

    /// The MASQUERADE rule is replaced: connections that have their port keep it.
    pub fn replace_snat(&mut self, snat: SnatConfig) {
        self.config.snat = snat;
    }

    /// `nf_conntrack_count` without the background: dead entries count until they are collected.
    pub fn conntrack_count(&self) -> u64 {
        u64::from(self.table.count())
    }

    /// Of these, entries whose timeout had not run out when [`Self::advance`] was last called.
    pub fn conntrack_alive(&self) -> u64 {
        u64::from(self.table.alive())
    }

    /// ipvs connections.
    pub fn ipvs_count(&self) -> u64 {
        self.ipvs.count()
    }

    /// Ports that live entries hold in the fullest pool.
    pub fn ports_in_use_max(&self) -> u64 {
        let used = self.pools.all.iter().map(|pool| pool.ports.used());
        u64::from(used.max().unwrap_or(0))
    }

    /// Counters since the start.
    pub fn stats(&self) -> &NodeStats {
        &self.stats
    }

    /// Who held a SNAT port towards a pod, and before. `None`: nobody yet, or no such pod.
    pub fn port_history(&self, pod: Endpoint, port: u16) -> Option<PortHistory> {
        let ledger = &self.pools.get(self.pools.of(pod)?).ledger;
        ledger.history(port, self.config.ip, &self.config.conntrack.timeouts)
    }

    /// The entries of the conntrack table, dead ones that nothing collected included: for listings and tests.
    pub fn conntrack(&self) -> impl Iterator<Item = &Entry> {
        self.table.iter()
    }

    /// The conntrack entry that `/proc/net/nf_conntrack` lists for a tuple as the SLB sends it.
    pub fn conntrack_of(&self, tuple: &FourTuple, now: SimTime) -> Option<&Entry> {
        let (index, _) = self.table.peek(tuple)?;
        Some(self.table.get(index)).filter(|entry| !entry.is_expired(now))
    }

    /// The ipvs connection that `ipvsadm -Lnc` lists for a tuple as the SLB sends it.
    pub fn ipvs_of(&self, tuple: &FourTuple, now: SimTime) -> Option<IpvsListed> {
        let connection = self.ipvs.get(self.ipvs.find(tuple)?)?;
        let listed = IpvsListed {
            state: connection.state,
            expires: self.ipvs.expires(connection),
            due: self.ipvs.due(connection),
        };
        (now < listed.expires).then_some(listed)
    }

    /// A pod that belongs to a NodePort now.
    fn server_of(&self, node_port: u16, pod: Endpoint) -> Option<(u32, u32)> {
        let &service = self.by_node_port.get(&node_port)?;
        let place = self.services[service as usize].find(pod)?;
        let server = self.services[service as usize].server(place);
        server.state.available.then_some((service, place))
    }

    fn gc_due(&self, jiffies: u32, now: SimTime) -> SimTime {
        let nanos = u64::from(jiffies) * 1_000_000_000 / u64::from(self.config.conntrack.hz);
        self.config.timers.expiry(now, SimDuration::from_nanos(nanos))
    }
}

#[cfg(test)]
mod tests;
