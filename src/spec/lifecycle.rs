//! Pods that come and go: what the scenario lets happen to them, in order of time.

use crate::units::SimDuration;

/// Something that happens to a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodEvent {
    /// When, from the start of the run.
    pub at: SimDuration,
    /// Index into [`super::Plan::pods`].
    pub pod: usize,
    /// What.
    pub what: PodChange,
}

/// What happens to a pod, or to the endpoint that its service has of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodChange {
    /// The endpoint is ready: each node learns of it after its own delay, as of the two that follow.
    Ready,
    /// The endpoint is terminating, or not ready: it is to get no new connection.
    Drain,
    /// The endpoint is gone.
    Remove,
    /// The process listens.
    Start,
    /// SIGTERM.
    Terminate(OnSigterm),
    /// The process ends at once, and the kernel closes its sockets; address, timewait sockets and the rest of the pod stay.
    Exit,
    /// SIGKILL: as `Exit`, and the pod goes after its process: see [`GoneAnswer`].
    Kill,
    /// The pod is gone at once, without a word.
    Vanish,
    /// Every socket is gone without a word, timewait sockets too; the address is still there.
    Crash,
}

impl PodChange {
    /// Whether it concerns the endpoint: nodes learn of it, the pod does not.
    pub const fn is_of_endpoint(self) -> bool {
        matches!(self, Self::Ready | Self::Drain | Self::Remove)
    }
}

/// What the process in a pod does at SIGTERM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnSigterm {
    /// Stops to listen, finishes the requests that it has, closes idle connections, and ends.
    Finish,
    /// Ends at once.
    Exit,
    /// Nothing: it serves until it is killed.
    Ignore,
}

/// What a packet meets that is sent to a pod that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoneAnswer {
    /// Nobody.
    Silent,
    /// An RST: the network refuses it, or another pod has the address and does not listen there.
    Reset,
}
