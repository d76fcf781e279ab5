//! Nodes: packets go through the node model; what it says is carried out here.

use super::build::World;
use super::event::Event;
use super::transport::Via;
use crate::engine::Class;
use crate::model::node::{DropReason, Hop, Route};
use crate::observe::NodePacket;
use crate::topology::{HostId, Role, Topology};
use crate::vocab::Cause;
use crate::wire::{Flags, Packet};

impl World<'_> {
    /// A packet reaches a node.
    #[inline(never)]
    pub fn on_node_packet(&mut self, host: HostId, packet: &Packet) {
        let now = self.now;
        let node = host.position() as u32;
        self.recorder.node_packet(|| NodePacket {
            at: now,
            node,
            pod_side: is_from(&self.topology, packet, Role::Pod),
            sent: false,
            packet: *packet,
        });
        if packet.flags.rst()
            && self.plan.nodes[host.position()].drop_slb_resets
            && is_from(&self.topology, packet, Role::Slb)
        {
            return;
        }
        let mut out = *packet;
        match self.nodes[host.position()].node.route(&mut out, now) {
            Route::Forward(to) | Route::Answer(to) => {
                self.recorder.node_packet(|| NodePacket {
                    at: now,
                    node,
                    pod_side: to != Hop::Outside,
                    sent: true,
                    packet: out,
                });
                match to {
                    Hop::Pod(pod) => {
                        self.transmit(host, HostId::new(Role::Pod, pod as usize), Via::Pods, out);
                    }
                    Hop::Outside => {
                        if let Some(slb) = self.topology.host_of(out.tuple.dst.ip) {
                            self.transmit(host, slb, Via::Upstream, out);
                        }
                    }
                }
            }
            Route::Drop(reason) => {
                if let Some(cause) = cause_of(reason) {
                    self.note_trouble(packet.tag, cause);
                }
                self.count_dropped_syn(packet, reason);
            }
        }
    }

    /// Counts a SYN that gets no further; those that a rule of the laboratory drops on purpose are left out.
    fn count_dropped_syn(&mut self, packet: &Packet, reason: DropReason) {
        if packet.flags != Flags::SYN || reason == DropReason::SynRepeatRule {
            return;
        }
        let request = self
            .by_tag
            .get(&packet.tag)
            .and_then(|&handle| self.requests.get(handle));
        if request.is_some_and(|request| request.syns_sent > 1) {
            self.recorder.now.later_syns_dropped += 1;
        } else {
            self.recorder.now.first_syns_dropped += 1;
        }
    }

    /// A node's gc worker runs.
    #[inline(never)]
    pub fn on_node_gc(&mut self, node: u16) {
        let at = self.nodes[usize::from(node)].node.on_gc(self.now);
        let host = HostId::new(Role::Node, usize::from(node));
        self.schedule(at, Class::Timer, host, Event::Node { node });
    }

    /// Reads what the nodes counted since they were read last.
    #[inline(never)]
    pub fn collect_node_stats(&mut self) {
        for node in &mut self.nodes {
            let stats = *node.node.stats();
            let seen = std::mem::replace(&mut node.seen, stats);
            let counts = &mut self.recorder.now;
            counts.snat_search_failures += stats.search_failures - seen.search_failures;
            counts.snat_evictions += stats.evictions - seen.evictions;
            counts.insert_failed += stats.insert_failed - seen.insert_failed;
            counts.ipvs_syn_drops += stats.ipvs_syn_drops - seen.ipvs_syn_drops;
            counts.conntrack_full_drops += stats.conntrack_full_drops - seen.conntrack_full_drops;
            counts.early_drop += stats.early_drop - seen.early_drop;
            counts.invalid += stats.invalid - seen.invalid;
            counts.port_reuses += stats.port_reuses - seen.port_reuses;
            counts.tuple_reopens += stats.tuple_reopens - seen.tuple_reopens;
        }
    }
}

/// Whether a host of this role sent the packet.
fn is_from(topology: &Topology, packet: &Packet, role: Role) -> bool {
    let source = topology.host_of(packet.tuple.src.ip);
    source.is_some_and(|source| source.role() == role)
}

/// The cause of a failure that a drop may become; what concerns no request's SYN has none.
fn cause_of(reason: DropReason) -> Option<Cause> {
    match reason {
        DropReason::Snat => Some(Cause::SnatExhaustion),
        DropReason::InsertFailed => Some(Cause::InsertFailed),
        DropReason::ConntrackFull => Some(Cause::ConntrackFull),
        DropReason::IpvsReuse | DropReason::IpvsNoDestination => Some(Cause::IpvsSynDrop),
        DropReason::NoBackend => Some(Cause::NoBackend),
        DropReason::Invalid | DropReason::SynRepeatRule | DropReason::LocalStack => None,
    }
}
