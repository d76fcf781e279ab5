//! What can happen, and to whom.

pub use crate::engine::Handle;
use crate::topology::HostId;

/// An event; the pending set orders them by time, class, host and that host's counter.
// The tag takes four octets, as every field does: an event is copied in words, and read in the same ones.
#[repr(u32)]
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// A request of a population arrives (of one virtual user, in a closed loop).
    Arrival {
        /// Population.
        population: u32,
        /// Virtual user, in a closed loop; see [`super::client::NO_USER`].
        user: u32,
    },
    /// A client tries again.
    Retry {
        /// What it wants done.
        operation: Handle,
    },
    /// A packet reaches a host.
    Deliver {
        /// Where.
        to: HostId,
        /// Slot in the packet pool.
        packet: u32,
    },
    /// A socket's timer.
    Socket {
        /// Whose.
        host: HostId,
        /// Which.
        handle: Handle,
    },
    /// The idle timer of a kept-alive connection.
    Idle {
        /// Whose.
        host: HostId,
        /// Which.
        handle: Handle,
    },
    /// A node's conntrack gc worker runs.
    Node {
        /// Which node.
        node: u32,
    },
    /// The earliest of a request's limits: the client's patience, the SLB's timeouts.
    Limit {
        /// Which request.
        request: Handle,
    },
    /// A pod has worked out its response.
    Served {
        /// Which pod.
        pod: u32,
        /// On which connection.
        handle: Handle,
    },
    /// The SLB sends an RST after the close.
    StrayRst {
        /// From which host.
        host: HostId,
        /// Slot in the packet pool.
        packet: u32,
    },
    /// The scenario lets something happen to a pod.
    Lifecycle {
        /// Which of the plan's events.
        index: u32,
    },
    /// A node, or the SLB, learns of a change of a service's endpoints.
    Endpoint {
        /// Which node; `u32::MAX`: the SLB.
        node: u32,
        /// Which of the plan's events.
        index: u32,
    },
    /// A node's kube-proxy looks after servers that leave.
    KubeProxy {
        /// Which node.
        node: u32,
    },
    /// What is left of a pod goes.
    Teardown {
        /// Which pod.
        pod: u32,
        /// If it is still this one.
        incarnation: u32,
    },
    /// A health check or a probe begins, or has taken too long.
    Check {
        /// Which one.
        check: u32,
    },
    /// A second is over.
    Second,
}

const _: () = assert!(size_of::<Event>() <= 16);
