//! Health checks of the SLB and probes of the kubelets: connections of their own beside the requests.
//!
//! They use real source ports, packets, conntrack entries and timewait sockets, and pods count their SYNs as attempts.
//! They are no requests and no upstream connects. A kubelet's packets pass the conntrack of their node, which masquerades
//! nothing of its own, and go straight to the pod.

use rand::Rng;

use super::build::{APPLICATION, Streams, World};
use super::event::{Event, Handle};
use super::links::Link;
use super::stack::{Leg, Stack};
use super::transport::SockInfo;
use crate::engine::{Class, SplitMix64, mix64};
use crate::model::link::LinkConfig;
use crate::model::slb::{CheckKind, Health, HealthCheck, Turn};
use crate::model::tcp::{PortSelector, Reaction};
use crate::spec::Bind;
use crate::topology::{HostId, Role};
use crate::units::{Endpoint, FourTuple, SimDuration, SimTime};

/// The tag of every packet of a check; no request has it, for their numbers end before.
pub const CHECK_TAG: u32 = u32::MAX - 1;
/// Octets of a check that asks.
pub const CHECK_REQUEST: u32 = 100;
/// Octets of its answer.
const CHECK_RESPONSE: u32 = 150;

/// The processes of a node that talk to its pods.
pub struct Kubelet {
    /// Source ports.
    ports: PortSelector,
    /// To the node's own conntrack.
    pub link: Link,
}

/// One check, repeated over and over.
struct Check {
    /// Who checks.
    host: HostId,
    source: Endpoint,
    destination: Endpoint,
    kind: CheckKind,
    interval: SimDuration,
    timeout: SimDuration,
    /// The SLB's opinion that it forms; none of a kubelet's.
    subject: Option<Subject>,
    random: SplitMix64,
    /// Its connection, if it is under way.
    socket: Handle,
    received: u32,
    /// When the next one begins.
    begins: SimTime,
    /// When the one under way has failed.
    deadline: SimTime,
    /// When its pending event fires, if any is pending.
    armed_at: SimTime,
}

/// A backend in the eyes of a host of the SLB.
#[derive(Debug, Clone, Copy)]
struct Subject {
    service: usize,
    backend: usize,
    /// Place in [`Checks::opinions`]: all addresses of a host have one.
    opinion: usize,
}

/// All checks of a run.
#[derive(Default)]
pub struct Checks {
    all: Vec<Check>,
    opinions: Vec<Health>,
}

impl World<'_> {
    /// Makes the checks of a plan and the hosts that need one for it.
    pub fn build_checks(&mut self, streams: &Streams) {
        let plan = self.plan;
        if let Some(config) = plan.slb.health_check {
            for position in 0..plan.slb.hosts.len() {
                self.build_health_checks(position, &config, streams);
            }
        }
        if plan.pods.iter().all(|pod| pod.probe.is_none()) {
            return;
        }
        for (position, _) in plan.nodes.iter().enumerate() {
            self.build_kubelet(position, streams);
        }
        for (position, pod) in plan.pods.iter().enumerate() {
            let gateway = self.topology.gateway(position);
            let (Some(probe), Some(node)) = (pod.probe, plan.nodes.get(gateway)) else {
                continue;
            };
            let seed = streams.of(Role::Pod, position, "probe").next_u64();
            self.checks.all.push(Check::new(
                HostId::new(Role::Node, gateway),
                Endpoint::new(node.ip, 0),
                pod.endpoint,
                (probe.kind, probe.period, probe.timeout),
                None,
                seed,
            ));
        }
    }

    fn build_health_checks(&mut self, position: usize, config: &HealthCheck, streams: &Streams) {
        let mut seeds = streams.of(Role::Slb, position, "checks");
        let addresses = &self.plan.slb.hosts[position];
        let sources = if config.every_address { addresses.len() } else { 1 };
        for service in 0..self.plan.services.len() {
            for (backend, &destination) in self.topology.backends(service).iter().enumerate() {
                let subject = Subject {
                    service,
                    backend,
                    opinion: self.checks.opinions.len(),
                };
                self.checks.opinions.push(Health::default());
                for &source in addresses.iter().take(sources) {
                    self.checks.all.push(Check::new(
                        HostId::new(Role::Slb, position),
                        Endpoint::new(source, 0),
                        destination,
                        (config.kind, config.interval, config.timeout),
                        Some(subject),
                        seeds.next_u64(),
                    ));
                }
            }
        }
    }

    /// A node's own TCP. It is that of its first pod, which runs on the same kernel.
    fn build_kubelet(&mut self, position: usize, streams: &Streams) {
        let pod = self.plan.nodes[position].pods.iter().flatten().next().copied();
        let tcp = &self.plan.pods[pod.unwrap_or(0)].tcp;
        let secret = streams.of(Role::Node, position, "kubelet").next_u64();
        let mut stack = Stack::new(self.shared(tcp), secret);
        stack.defaults = APPLICATION;
        // Nodes come behind all that have a TCP, so that its place is theirs.
        self.stacks.push(stack);
        // It takes no time and draws nothing.
        let own = LinkConfig::constant(SimDuration::ZERO);
        let link = self
            .network
            .link(&own, streams.of(Role::Node, position, "link to itself"));
        self.kubelets.push(Kubelet {
            ports: PortSelector::new(tcp.port_selection, tcp.local_port_range, mix64(secret))
                .without(tcp.reserved_ports),
            link,
        });
    }

    /// Schedules what starts the checks.
    pub fn first_checks(&mut self) {
        for check in 0..self.checks.all.len() {
            self.arm_check(check);
        }
    }

    fn arm_check(&mut self, index: usize) {
        let check = &mut self.checks.all[index];
        let at = if check.socket == Handle::NONE {
            check.begins.max(self.network.now)
        } else {
            check.deadline
        };
        if at >= check.armed_at {
            return;
        }
        check.armed_at = at;
        let host = check.host;
        let event = Event::Check { check: index as u32 };
        self.schedule(at, Class::Timer, host, event);
    }

    /// A check begins, or the one under way has taken too long.
    #[inline(never)]
    pub fn on_check(&mut self, check: u32) {
        let (now, index) = (self.now(), check as usize);
        let check = &mut self.checks.all[index];
        if check.armed_at != now {
            return;
        }
        check.armed_at = SimTime::NEVER;
        let (host, socket) = (check.host, check.socket);
        if socket == Handle::NONE {
            if check.begins <= now {
                self.begin_check(index);
            }
        } else if check.deadline <= now {
            self.end_check(index, false);
            self.close(host, socket);
        }
        self.arm_check(index);
    }

    fn begin_check(&mut self, index: usize) {
        let now = self.now();
        let check = &mut self.checks.all[index];
        check.begins = now + check.interval;
        check.deadline = now + check.timeout;
        check.received = 0;
        let (host, source, destination) = (check.host, check.source.ip, check.destination);
        let random = check.random.next_u64();
        let place = self.network.places.of(host);
        let stack = &mut self.stacks[place];
        stack.advance(now);
        let stack = &*stack;
        let tuple = |port| FourTuple::new(Endpoint::new(source, port), destination);
        let ports = match host.role() {
            Role::Slb => &mut self.slb[host.position()].ports,
            _ => &mut self.kubelets[host.position()].ports,
        };
        let port = match self.plan.slb.bind {
            Bind::PortZero if host.role() == Role::Slb => ports.bind(random, |port| {
                let to = |backend| FourTuple::new(Endpoint::new(source, port), backend);
                (0..self.plan.services.len())
                    .flat_map(|service| self.topology.backends(service))
                    .any(|&backend| stack.owner(to(backend)).is_some())
            }),
            _ => ports.take(source, destination, now, random, |port| {
                !stack.is_free(tuple(port), now)
            }),
        };
        let Some(port) = port else {
            self.end_check(index, false);
            return;
        };
        let socket = self.open(host, tuple(port), Leg::Check, Handle::NONE, CHECK_TAG);
        if let Some(sock) = self.sock_mut(host, socket) {
            sock.app.backend = index as u32;
        }
        self.checks.all[index].socket = socket;
    }

    /// What happened on the connection of a check.
    pub fn on_check_event(&mut self, host: HostId, handle: Handle, info: SockInfo, reaction: &Reaction) {
        let index = info.backend as usize;
        let Some(check) = self
            .checks
            .all
            .get_mut(index)
            .filter(|check| check.socket == handle)
        else {
            // It is over; only the close is left.
            if reaction.peer_closed {
                self.close(host, handle);
            }
            return;
        };
        check.received += reaction.data_len;
        let (kind, answered) = (check.kind, check.received >= CHECK_RESPONSE);
        if reaction.reset || reaction.timed_out {
            self.end_check(index, false);
        } else if reaction.connected && kind == CheckKind::Http {
            if let Some(sock) = self.sock_mut(host, handle) {
                sock.socket.write(CHECK_REQUEST);
            }
            return;
        } else if let (true, CheckKind::Tcp { reset }) = (reaction.connected, kind) {
            self.end_check(index, true);
            if reset {
                self.abort(host, handle);
            } else {
                self.close(host, handle);
            }
        } else if reaction.peer_closed {
            self.end_check(index, kind == CheckKind::Http && answered);
            self.close(host, handle);
        } else {
            return;
        }
        self.arm_check(index);
    }

    /// A check is over.
    fn end_check(&mut self, index: usize, passed: bool) {
        let check = &mut self.checks.all[index];
        check.socket = Handle::NONE;
        let counts = &mut self.recorder.now;
        let Some(subject) = check.subject else {
            counts.probes_passed += u64::from(passed);
            counts.probes_failed += u64::from(!passed);
            return;
        };
        counts.checks_passed += u64::from(passed);
        counts.checks_failed += u64::from(!passed);
        let Some(HealthCheck { rise, fall, .. }) = self.plan.slb.health_check else {
            return;
        };
        let host = check.host.position();
        let Some(turn) = self.checks.opinions[subject.opinion].on_check(passed, rise, fall) else {
            return;
        };
        counts.check_falls += u64::from(turn == Turn::Down);
        counts.check_rises += u64::from(turn == Turn::Up);
        self.slb[host].upstreams[subject.service].set_down(subject.backend, turn == Turn::Down);
    }

    /// A pod answers a check at once, and closes: `Connection: close`.
    pub fn answer_check(&mut self, pod: usize, handle: Handle) {
        let host = HostId::new(Role::Pod, pod);
        if let Some(sock) = self.sock_mut(host, handle) {
            sock.socket.tag = CHECK_TAG;
            sock.socket.write(CHECK_RESPONSE);
        }
        self.pump(host, handle);
        self.close(host, handle);
        self.release_worker_if_closed(pod, handle);
    }
}

impl Check {
    /// A check that begins at a random point of its first interval: nothing starts all of them at once.
    fn new(
        host: HostId,
        source: Endpoint,
        destination: Endpoint,
        (kind, interval, timeout): (CheckKind, SimDuration, SimDuration),
        subject: Option<Subject>,
        seed: u64,
    ) -> Self {
        let phase = SimDuration::from_nanos(mix64(seed) % interval.as_nanos().max(1));
        Self {
            host,
            source,
            destination,
            kind,
            interval,
            timeout,
            subject,
            random: SplitMix64(seed),
            socket: Handle::NONE,
            received: 0,
            begins: SimTime::ZERO + phase,
            deadline: SimTime::NEVER,
            armed_at: SimTime::NEVER,
        }
    }
}
