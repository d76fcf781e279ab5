//! Nodes: packets go through the node model; what it says is carried out here.

use super::build::World;
use super::checks::CHECK_TAG;
use super::event::Event;
use super::links::Route;
use super::network::Carried;
use crate::engine::Class;
use crate::model::node::{DropReason, Hop, Route as Verdict};
use crate::model::tcp::Owner;
use crate::observe::NodePacket;
use crate::topology::{HostId, Role};
use crate::vocab::Cause;
use crate::wire::{Flags, Packet};

impl World<'_> {
    /// A packet reaches a node, and leaves it in the same slot.
    #[inline(never)]
    pub fn on_node_packet(&mut self, host: HostId, slot: u32) {
        if self.recorder.records_node_packets() {
            self.record_node_packet(host, slot, false);
        }
        if self.plan.nodes[host.position()].drop_slb_resets && self.is_reset_of_slb(slot) {
            self.network.take(slot);
            return;
        }
        let now = self.now();
        let node = &mut self.nodes[host.position()];
        let packet = self.network.packet_mut(slot);
        let (data, tag) = (packet.payload_len > 0, packet.tag);
        let verdict = node.node.route(packet, now);
        if data && meets_no_entry(verdict) {
            self.note_trouble(tag, Cause::ConntrackEntryGone);
        }
        match verdict {
            Verdict::Forward(Hop::Pod(pod)) | Verdict::Answer(Hop::Pod(pod)) => {
                let route = self.towards_pod(host, pod as usize);
                self.forward(host, route, slot);
            }
            Verdict::Forward(Hop::Outside) | Verdict::Answer(Hop::Outside) => {
                let to = self.network.packet_mut(slot).tuple.dst.ip;
                match self.topology.host_of(to) {
                    // For a process of the node itself.
                    Some(to) if to == host => {
                        let Carried { packet, ends } = self.network.take(slot);
                        if self.kubelets.get(host.position()).is_some() {
                            self.on_host_packet(host, &packet, ends);
                        }
                    }
                    Some(to) => {
                        let node = &self.nodes[host.position()];
                        let link = match node.to_nodes {
                            Some(link) if to.role() == Role::Node => link,
                            _ => node.to_outside,
                        };
                        self.forward(host, Route { link, to }, slot);
                    }
                    None => {
                        self.network.take(slot);
                    }
                }
            }
            Verdict::Drop(reason) => {
                let packet = self.network.take(slot).packet;
                if let Some(cause) = cause_of(reason) {
                    let caller = (reason == DropReason::NodePortClash).then(|| self.caller_of(host, &packet));
                    self.note_trouble(caller.flatten().unwrap_or(packet.tag), cause);
                }
                self.count_dropped_syn(&packet, reason);
            }
        }
    }

    /// The request on whose connection a pod's answer arrives at the node. The packet's own tag may be that of an earlier
    /// caller of the tuple: the pod answers a second SYN as the first one's.
    #[inline(never)]
    fn caller_of(&mut self, node: HostId, answer: &Packet) -> Option<u32> {
        let node = &self.nodes[node.position()].node;
        let tuple = node
            .port_history(answer.tuple.src, answer.tuple.dst.port)?
            .current;
        let slb = self.topology.host_of(tuple.src.ip)?;
        if slb.role() != Role::Slb {
            return None;
        }
        let Some(Owner::Socket(handle)) = self.stack_mut(slb).owner(tuple) else {
            return None;
        };
        let request = self.sock_mut(slb, handle)?.app.request;
        Some(self.requests.get(request)?.tag)
    }

    fn forward(&mut self, host: HostId, route: Route, slot: u32) {
        if self.recorder.records_node_packets() {
            self.record_node_packet(host, slot, true);
        }
        if let Some(gone) = self.network.forward(host, route, slot) {
            // Its slot is free, and not used again yet.
            let tag = self.network.packet_mut(slot).tag;
            self.note_trouble(tag, gone);
        }
    }

    /// The way from a node to a pod: straight there, or through the node that it runs on.
    #[inline]
    fn towards_pod(&self, host: HostId, pod: usize) -> Route {
        let node = &self.nodes[host.position()];
        if let Some(link) = node.to_nodes {
            let home = self.plan.pods[pod].node;
            if home != host.position() {
                let to = HostId::new(Role::Node, home);
                return Route { link, to };
            }
        }
        let to = HostId::new(Role::Pod, pod);
        let link = node.to_pods.to(to);
        Route { link, to }
    }

    #[inline(never)]
    fn record_node_packet(&mut self, host: HostId, slot: u32, sent: bool) {
        let packet = *self.network.packet_mut(slot);
        // Towards pods it leaves to one, and from there it comes from one.
        let pod = if sent { packet.tuple.dst } else { packet.tuple.src };
        self.recorder.node_packet(NodePacket {
            at: self.network.now,
            node: host.position() as u32,
            pod_side: self
                .topology
                .host_of(pod.ip)
                .is_some_and(|it| it.role() == Role::Pod),
            sent,
            packet,
        });
    }

    #[inline(never)]
    fn is_reset_of_slb(&mut self, slot: u32) -> bool {
        let packet = self.network.packet_mut(slot);
        let source = self.topology.host_of(packet.tuple.src.ip);
        packet.flags.rst() && source.is_some_and(|source| source.role() == Role::Slb)
    }

    /// Counts a SYN that gets no further; those that a rule of the laboratory drops on purpose are left out.
    fn count_dropped_syn(&mut self, packet: &Packet, reason: DropReason) {
        // A check's is no upstream connect.
        if packet.flags != Flags::SYN || reason == DropReason::SynRepeatRule || packet.tag == CHECK_TAG {
            return;
        }
        let request = self
            .by_tag
            .get(packet.tag)
            .and_then(|handle| self.requests.get(handle));
        if request.is_some_and(|request| request.syns_of_connect() > 1) {
            self.recorder.now.later_syns_dropped += 1;
        } else {
            self.recorder.now.first_syns_dropped += 1;
        }
    }

    /// A node's gc worker runs.
    #[inline(never)]
    pub fn on_node_gc(&mut self, node: u32) {
        let at = self.nodes[node as usize].node.on_gc(self.network.now);
        let host = HostId::new(Role::Node, node as usize);
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

/// Whether a packet with data met no conntrack entry: nobody gets it.
const fn meets_no_entry(verdict: Verdict) -> bool {
    matches!(
        verdict,
        Verdict::Answer(_) | Verdict::Drop(DropReason::Invalid | DropReason::LocalStack)
    )
}

/// The cause of a failure that a drop may become; what concerns no request's SYN has none.
fn cause_of(reason: DropReason) -> Option<Cause> {
    match reason {
        DropReason::Snat => Some(Cause::SnatExhaustion),
        DropReason::InsertFailed => Some(Cause::InsertFailed),
        DropReason::ConntrackFull => Some(Cause::ConntrackFull),
        DropReason::NodePortClash => Some(Cause::NodePortClash),
        DropReason::IpvsReuse => Some(Cause::IpvsSynDrop),
        DropReason::IpvsNoDestination => Some(Cause::IpvsNoDestination),
        DropReason::NoBackend => Some(Cause::NoBackend),
        DropReason::Invalid | DropReason::SynRepeatRule | DropReason::LocalStack => None,
    }
}
