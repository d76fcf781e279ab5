//! Binds the models to the engine: events in, verdicts applied, observations out.
//!
//! ```text
//! client.rs --packets--> slb.rs --packets--> node.rs --packets--> pod.rs      applications and forwarding
//!      \___________________ transport.rs ___________________/                 sockets, timers, links
//!                            recorder.rs                                      watches, never decides
//! ```
//!
//! One replication runs on one thread. Everything random comes from streams keyed by (replication, role, position,
//! purpose), so a host more, a name changed or another policy leaves all other draws as they were.

mod blame;
mod build;
mod checks;
mod client;
mod endpoints;
mod event;
mod in_flight;
mod lifecycle;
mod links;
mod network;
mod node;
mod operation;
mod pod;
mod recorder;
mod request;
mod session;
mod slb;
mod stack;
mod transport;
mod upstream;

use crate::observe::{Gauges, Observations, RecordOptions};
use crate::spec::Plan;
use crate::units::{SimDuration, SimTime};

use build::World;
use event::Event;
use recorder::InFlightAtEnd;

/// Simulates one replication of a plan.
///
/// `progress` is called about once per simulated second with the simulated time reached; it must not affect results.
/// It returns `false` to stop the run early: what is finished is kept.
pub fn simulate(
    plan: &Plan,
    replication: u32,
    options: RecordOptions,
    progress: &(dyn Fn(SimDuration) -> bool + Sync),
) -> Observations {
    let mut world = World::new(plan, replication, options);
    world.start();
    let end = SimTime::ZERO + plan.duration;
    let mut stopped = end;
    let mut events = 0;
    while let Some((at, event)) = world.network.queue.pop() {
        if at > end {
            break;
        }
        events += 1;
        world.network.now = at;
        if world.dispatch(event) && !progress(at.since(SimTime::ZERO)) {
            stopped = at;
            break;
        }
    }
    world.finish(replication, stopped, events)
}

impl World<'_> {
    /// Handles one event. True at the end of a second.
    ///
    /// The handlers behind it are kept out of line: inlined into one another they need a stack frame of several pages,
    /// which every event would touch.
    fn dispatch(&mut self, event: Event) -> bool {
        match event {
            Event::Arrival { population, user } => self.on_arrival(population as usize, user),
            Event::Retry { operation } => self.on_retry(operation),
            Event::Deliver { to, packet } => self.on_delivery(to, packet),
            Event::Socket { host, handle } => self.on_socket_timer(host, handle),
            Event::Idle { host, handle } => self.on_idle_timer(host, handle),
            Event::Node { node } => self.on_node_gc(node),
            Event::Limit { request } => self.on_limit(request),
            Event::Served { pod, handle } => self.on_served(pod as usize, handle),
            Event::StrayRst { host, packet } => self.on_stray_rst(host, packet),
            Event::Lifecycle { index } => self.on_lifecycle(index),
            Event::Endpoint { node, index } => self.on_endpoint(node, index),
            Event::KubeProxy { node } => self.on_kube_proxy(node as usize),
            Event::Teardown { pod, incarnation } => self.on_teardown(pod as usize, incarnation),
            Event::Check { check } => self.on_check(check),
            Event::Second => {
                let gauges = self.gauges(self.now());
                self.collect_traffic();
                self.collect_node_stats();
                self.collect_pod_stats();
                self.recorder.second(gauges);
                self.network.schedule_second();
                return true;
            }
        }
        false
    }

    fn collect_traffic(&mut self) {
        let traffic = std::mem::take(&mut self.network.traffic);
        let counts = &mut self.recorder.now;
        counts.packets_sent += traffic.sent;
        counts.link_losses += traffic.lost;
        counts.queue_overflows += traffic.overflowed;
        counts.packets_delivered += traffic.delivered;
    }

    #[inline(never)]
    fn gauges(&mut self, now: SimTime) -> Gauges {
        let mut gauges = Gauges::default();
        for node in &mut self.nodes {
            node.node.advance(now);
            gauges.conntrack_entries += node.node.conntrack_count();
            gauges.conntrack_alive += node.node.conntrack_alive();
            gauges.ipvs_entries += node.node.ipvs_count();
            gauges.snat_ports_in_use = gauges.snat_ports_in_use.max(node.node.ports_in_use_max());
        }
        for pod in 0..self.pods.len() {
            let place = self.place_of_pod(pod);
            self.stacks[place].advance(now);
            gauges.pod_time_wait += self.stacks[place].time_wait_count() as u64;
        }
        gauges
    }

    fn finish(mut self, replication: u32, ended: SimTime, events: u64) -> Observations {
        let gauges = self.gauges(ended);
        self.collect_traffic();
        self.collect_node_stats();
        self.collect_pod_stats();
        let in_flight = InFlightAtEnd {
            requests: self.requests_in_flight,
            connects: self.connects_in_flight,
            operations: self.operations_in_flight,
        };
        let work = (events, self.network.queue.operations());
        self.recorder.finish(replication, ended, work, gauges, in_flight)
    }
}

#[cfg(test)]
mod check_tests;
#[cfg(test)]
mod load_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod upstream_tests;
