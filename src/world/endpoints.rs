//! Endpoints of services: who learns, and when, that a pod is ready, terminating or gone, and what it makes of that.
//!
//! A node's kube-proxy writes ipvs servers or iptables rules; an SLB that connects straight to pods takes them into its
//! rotation. Rules, sources and limits: `docs/models/pods.md`.

use rand_chacha::ChaCha8Rng;

use super::build::World;
use super::event::Event;
use crate::engine::Class;
use crate::model::distribution::Distribution;
use crate::model::node::Backend;
use crate::spec::{Backends, PodChange, PodEvent, ProxyMode};
use crate::topology::{HostId, Role};
use crate::units::{Endpoint, SimDuration, SimTime};

/// kube-proxy looks so often whether the servers that leave have connections (`rsCheckDeleteInterval`,
/// pkg/proxy/ipvs/graceful_termination.go).
const CHECK: SimDuration = SimDuration::from_secs(60);
/// In an event: the SLB, not a node.
const SLB: u32 = u32::MAX;

/// Somebody who is told of endpoints.
pub struct Subscriber {
    delays: ChaCha8Rng,
    /// When the change is known that was told last: no later one overtakes it.
    last_known: SimTime,
}

impl Subscriber {
    pub const fn new(delays: ChaCha8Rng) -> Self {
        Self {
            delays,
            last_known: SimTime::ZERO,
        }
    }
}

/// A node's kube-proxy.
pub struct KubeProxy {
    /// How it is told.
    pub told: Subscriber,
    /// When in a minute it looks after what leaves.
    phase: SimDuration,
    /// ipvs servers of weight 0 that go with their last connection, by pod.
    leaving: Vec<usize>,
    /// A look is pending.
    armed: bool,
}

impl KubeProxy {
    /// One that looks after its servers at a phase that follows from `secret`.
    pub const fn new(delays: ChaCha8Rng, secret: u64) -> Self {
        Self {
            told: Subscriber::new(delays),
            phase: SimDuration::from_nanos(secret % CHECK.as_nanos()),
            leaving: Vec::new(),
            armed: false,
        }
    }

    /// The first look after `now`.
    fn next_look(&self, now: SimTime) -> SimTime {
        let (phase, period) = (self.phase.as_nanos(), CHECK.as_nanos());
        let rounds = (now.as_nanos() + period - phase) / period;
        SimTime::from_nanos(rounds * period + phase)
    }
}

impl World<'_> {
    /// A service's endpoint changes: whoever forwards to the pod learns of it after a delay.
    pub fn announce(&mut self, index: u32) {
        let pod = self.plan.events[index as usize].pod;
        let (service, now) = (self.plan.pods[pod].service, self.now());
        let at = |told: &mut Subscriber, delay: &Distribution| {
            told.last_known = (now + delay.sample(&mut told.delays)).max(told.last_known);
            told.last_known
        };
        for (position, node) in self.plan.nodes.iter().enumerate() {
            // Pods are in order of their positions.
            if node.pods[service].binary_search(&pod).is_ok() {
                let at = at(&mut self.nodes[position].kube_proxy.told, &node.endpoint_delay);
                let host = HostId::new(Role::Node, position);
                let node = position as u32;
                self.network
                    .schedule(at, Class::Timer, host, Event::Endpoint { node, index });
            }
        }
        if self.plan.slb.backends == Backends::Pod {
            let at = at(&mut self.slb_told, &self.plan.slb.endpoint_delay);
            let event = Event::Endpoint { node: SLB, index };
            self.network
                .schedule(at, Class::Timer, HostId::new(Role::Slb, 0), event);
        }
    }

    /// A node, or the SLB, knows of a change.
    #[inline(never)]
    pub fn on_endpoint(&mut self, node: u32, index: u32) {
        let PodEvent { pod, what, .. } = self.plan.events[index as usize];
        if node == SLB {
            self.rotate(pod, what != PodChange::Ready);
            return;
        }
        let node = node as usize;
        let graceful = matches!(self.plan.nodes[node].proxy, ProxyMode::Ipvs(_))
            && self.plan.nodes[node].graceful_termination;
        match what {
            PodChange::Ready => self.server_joins(node, pod),
            _ if graceful => self.server_leaves(node, pod),
            PodChange::Drain => {
                let (node_port, endpoint) = self.server_of(pod);
                self.nodes[node].node.set_weight(node_port, endpoint, 0);
            }
            _ => self.delete_server(node, pod),
        }
    }

    /// Every host of an SLB that connects to pods takes one into its rotation, or out of it.
    fn rotate(&mut self, pod: usize, gone: bool) {
        let plan = &self.plan.pods[pod];
        let mut backends = self.topology.backends(plan.service).iter();
        if let Some(backend) = backends.position(|&backend| backend == plan.endpoint) {
            for host in &mut self.slb {
                host.upstreams[plan.service].set_gone(backend, gone);
            }
        }
    }

    fn server_of(&self, pod: usize) -> (u16, Endpoint) {
        let plan = &self.plan.pods[pod];
        (self.plan.services[plan.service].node_port, plan.endpoint)
    }

    fn delete_server(&mut self, node: usize, pod: usize) {
        let now = self.now();
        let (node_port, endpoint) = self.server_of(pod);
        self.nodes[node].node.remove_backend(node_port, endpoint, now);
    }

    /// One that was about to leave is deleted before it is added again (`MoveRSOutofGracefulDeleteList()`).
    fn server_joins(&mut self, node: usize, pod: usize) {
        let (node_port, endpoint) = self.server_of(pod);
        let leaving = &mut self.nodes[node].kube_proxy.leaving;
        if let Some(place) = leaving.iter().position(|&other| other == pod) {
            leaving.remove(place);
            self.delete_server(node, pod);
        }
        let backend = Backend {
            pod: pod as u32,
            endpoint,
        };
        let search = self
            .streams
            .of(Role::Node, node, &super::build::purpose("snat", pod as u64));
        let weight = self.plan.pods[pod].ipvs_weight;
        let node = &mut self.nodes[node].node;
        if !node.set_weight(node_port, endpoint, weight) {
            node.add_backend(node_port, backend, search);
            node.set_weight(node_port, endpoint, weight);
        }
    }

    /// kube-proxy deletes a server that has no connection. Others get weight 0 and are looked at every minute
    /// (`GracefulDeleteRS()`).
    fn server_leaves(&mut self, node: usize, pod: usize) {
        if self.delete_server_if_idle(node, pod) {
            return;
        }
        let (node_port, endpoint) = self.server_of(pod);
        let now = self.now();
        let host = &mut self.nodes[node];
        host.node.set_weight(node_port, endpoint, 0);
        if !host.kube_proxy.leaving.contains(&pod) {
            host.kube_proxy.leaving.push(pod);
        }
        if !std::mem::replace(&mut host.kube_proxy.armed, true) {
            let at = host.kube_proxy.next_look(now);
            self.schedule_look(node, at);
        }
    }

    fn delete_server_if_idle(&mut self, node: usize, pod: usize) -> bool {
        let now = self.now();
        let (node_port, endpoint) = self.server_of(pod);
        let idle = self.nodes[node].node.connections_of(node_port, endpoint, now) == 0;
        if idle {
            self.delete_server(node, pod);
        }
        idle
    }

    fn schedule_look(&mut self, node: usize, at: SimTime) {
        let host = HostId::new(Role::Node, node);
        self.schedule(at, Class::Timer, host, Event::KubeProxy { node: node as u32 });
    }

    /// A node's kube-proxy looks after the servers that leave.
    #[inline(never)]
    pub fn on_kube_proxy(&mut self, node: usize) {
        let leaving = std::mem::take(&mut self.nodes[node].kube_proxy.leaving);
        let left: Vec<_> = leaving
            .into_iter()
            .filter(|&pod| !self.delete_server_if_idle(node, pod))
            .collect();
        let kube_proxy = &mut self.nodes[node].kube_proxy;
        kube_proxy.armed = !left.is_empty();
        kube_proxy.leaving = left;
        if kube_proxy.armed {
            let at = self.now() + CHECK;
            self.schedule_look(node, at);
        }
    }
}
