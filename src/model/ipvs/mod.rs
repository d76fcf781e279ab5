//! ipvs in NAT mode, as kube-proxy uses it: schedulers, real servers that come, go and are drained.
//!
//! [`state`] has the transition tables and timeouts, [`Table`] the connections, [`on_known`] decides what becomes of a packet whose connection is known. Scope, sources and limits: `docs/models/ipvs.md`.

mod loads;
mod reuse;
pub mod scheduler;
pub mod state;
mod table;

pub use reuse::{Known, PacketConntrack, ServerState, on_known};
pub use scheduler::{HashFlags, Load, Picker, Scheduler, Servers};
pub use state::{IpvsState, Side};
pub use table::{Connection, Handle, PacketView, Table};

use crate::units::SimDuration;

/// When ipvs drops the SYN of a reused tuple that it wants to schedule afresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReuseDrop {
    /// Whenever the packet has a conntrack: before 5.9.
    Always,
    /// Only if that conntrack is confirmed already: 5.9 and later.
    IfConfirmed,
    /// Never: Alibaba's 4.19 with `conn_reuse_old_conntrack=1`.
    Never,
}

/// When a connection whose pod was removed ends, with `expire_nodest_conn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodestExpiry {
    /// When its next packet comes, which is dropped: before 5.9.
    NextPacket,
    /// When the pod is removed. Should a packet be faster, it is treated as one that is scheduled afresh: 5.9 and later.
    Removal,
}

/// The node's ipvs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpvsConfig {
    /// Timer interrupts per second of the node.
    pub hz: u32,
    /// `ipvsadm -s`.
    pub scheduler: Scheduler,
    /// `net.ipv4.vs.conntrack`. Off: packets of ipvs have no conntrack entry, so nothing is masqueraded.
    pub conntrack: bool,
    /// `net.ipv4.vs.conn_reuse_mode`.
    pub conn_reuse_mode: u8,
    /// What becomes of the SYN of a reused tuple.
    pub reuse_drop: ReuseDrop,
    /// `net.ipv4.vs.expire_nodest_conn`.
    pub expire_nodest_conn: bool,
    /// When that takes effect.
    pub nodest_expiry: NodestExpiry,
    /// The SYN of a known tuple whose pod has weight 0 is scheduled afresh (`expire_nodest_conn`) only if
    /// `conn_reuse_mode` is not 0: 4.19, 5.10.44; not 5.10.223 and later.
    pub weight_zero_needs_reuse_mode: bool,
    /// `ipvsadm --set`: ESTABLISHED.
    pub timeout_established: SimDuration,
    /// `ipvsadm --set`: FIN_WAIT.
    pub timeout_fin_wait: SimDuration,
}
