//! stub
use crate::engine::KernelTimers;
use crate::model::conntrack::{ConntrackConfig, State};
use crate::model::ipvs::IpvsConfig;
use crate::model::nat::SnatConfig;
use crate::units::{Endpoint, FourTuple, SimDuration, SimTime};
use crate::wire::Packet;
use rand_chacha::ChaCha8Rng;
use std::net::Ipv4Addr;
#[derive(Debug, Clone)]
pub struct NodeConfig {
    pub ip: Ipv4Addr,
    pub proxy: NodeProxy,
    pub snat: SnatConfig,
    pub conntrack: ConntrackConfig,
    pub drop_syn_repeats_within: Option<SimDuration>,
    pub timers: KernelTimers,
    pub services: Vec<NodeService>,
}
#[derive(Debug, Clone, Copy)]
pub enum NodeProxy {
    Iptables,
    Ipvs(IpvsConfig),
}
#[derive(Debug, Clone)]
pub struct NodeService {
    pub node_port: u16,
    pub backends: Vec<Backend>,
}
#[derive(Debug, Clone, Copy)]
pub struct Backend {
    pub pod: u32,
    pub endpoint: Endpoint,
}
#[derive(Debug, Clone, Copy)]
pub enum Hop {
    Outside,
    Pod(u32),
}
#[derive(Debug, Clone, Copy)]
pub enum NodeVerdict {
    Forward { packet: Packet, to: Hop },
    Answer { packet: Packet, to: Hop },
    Drop(DropReason),
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    Snat,
    InsertFailed,
    ConntrackFull,
    IpvsReuse,
    IpvsNoDestination,
    Invalid,
    NoBackend,
    SynRepeatRule,
    LocalStack,
}
#[derive(Debug, Clone, Copy)]
pub struct NodeOutput {
    pub verdict: NodeVerdict,
    pub arm: [Option<(SimTime, NodeTimer)>; 2],
}
#[derive(Debug, Clone, Copy)]
pub enum NodeTimerKind {
    Conntrack,
    Ipvs,
    Gc,
}
#[derive(Debug, Clone, Copy)]
pub struct NodeTimer {
    pub kind: NodeTimerKind,
    pub index: u32,
    pub generation: u32,
}
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeStats {
    pub search_failures: u64,
    pub evictions: u64,
    pub insert_failed: u64,
    pub ipvs_syn_drops: u64,
    pub conntrack_full_drops: u64,
    pub early_drop: u64,
    pub invalid: u64,
    pub port_reuses: u64,
    pub tuple_reopens: u64,
}
#[derive(Debug, Clone, Copy)]
pub struct PortHistory {
    pub current: FourTuple,
    pub previous: Option<PreviousUse>,
}
#[derive(Debug, Clone, Copy)]
pub struct PreviousUse {
    pub tuple: FourTuple,
    pub rewritten: bool,
    pub released_at: SimTime,
    pub released_by: Release,
    pub ipvs_undisturbed: bool,
}
#[derive(Debug, Clone, Copy)]
pub enum Release {
    SameTuple(Reopened),
    Timer { state: State, hold: SimDuration },
    Rst,
    DeletedByRst,
    EarlyDrop,
    GcPressure,
    Evicted,
    Ipvs { stray_rst: bool },
    Unchecked,
}
#[derive(Debug, Clone, Copy)]
pub enum Reopened {
    SamePort,
    AnotherPort,
    AnotherPod,
}
pub struct Node {
    stats: NodeStats,
}
impl Node {
    pub fn new(_c: NodeConfig, _s: &mut dyn FnMut(&str, u64) -> ChaCha8Rng) -> Self {
        Self {
            stats: NodeStats::default(),
        }
    }
    pub fn on_packet(&mut self, _p: &Packet, _now: SimTime) -> NodeOutput {
        NodeOutput {
            verdict: NodeVerdict::Drop(DropReason::NoBackend),
            arm: [None; 2],
        }
    }
    pub fn on_timer(&mut self, _t: NodeTimer, _now: SimTime) -> Option<(SimTime, NodeTimer)> {
        None
    }
    pub fn first_timer(&self) -> Option<(SimTime, NodeTimer)> {
        None
    }
    pub fn conntrack_count(&self) -> u64 {
        0
    }
    pub fn ipvs_count(&self) -> u64 {
        0
    }
    pub fn ports_in_use_max(&self) -> u64 {
        0
    }
    pub fn stats(&self) -> &NodeStats {
        &self.stats
    }
    pub fn port_history(&self, _pod: Endpoint, _port: u16) -> Option<&PortHistory> {
        None
    }
}
