//! ipvs in NAT mode, as kube-proxy uses it: `vs.conntrack=1`, round robin, weights of 1.
//!
//! [`state`] has the transition tables and timeouts, [`Table`] the connections, [`on_known`] decides what becomes of
//! a packet whose connection is known. Scope, sources and limits: `docs/models/ipvs.md`.

mod reuse;
pub mod state;
mod table;

pub use reuse::{Known, PacketConntrack, on_known};
pub use state::{IpvsState, Side};
pub use table::{Connection, Handle, PacketView, Table, TimerVerdict};

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

/// The node's ipvs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpvsConfig {
    /// Timer interrupts per second of the node.
    pub hz: u32,
    /// `net.ipv4.vs.conn_reuse_mode`.
    pub conn_reuse_mode: u8,
    /// What becomes of the SYN of a reused tuple.
    pub reuse_drop: ReuseDrop,
    /// `net.ipv4.vs.expire_nodest_conn`.
    pub expire_nodest_conn: bool,
    /// `ipvsadm --set`: ESTABLISHED.
    pub timeout_established: SimDuration,
    /// `ipvsadm --set`: FIN_WAIT.
    pub timeout_fin_wait: SimDuration,
}
