//! A packet from the client whose ipvs connection is known: go on with it, or schedule afresh?
//!
//! The head of `ip_vs_in()`, `net/netfilter/ipvs/ip_vs_core.c`. Before 5.9 a SYN that is to be scheduled afresh is
//! dropped whenever it has a conntrack, so that the caller repeats it a second later, when both old entries are
//! gone. From 5.9 on only if that conntrack is confirmed already; conntrack usually has reopened the tuple by then.
//! After that, whatever the packet is, it is seen whether the connection's server is still there.

use super::{IpvsConfig, IpvsState, NodestExpiry, ReuseDrop};
use crate::wire::Flags;

/// What becomes of the packet and of the old connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The packet belongs to the connection: same pod.
    Use,
    /// The connection is forced out without its conntrack entry, and the packet scheduled as a new one.
    Reschedule,
    /// The connection is forced out together with its conntrack entry, and the packet dropped.
    ExpireAndDrop,
    /// The packet is dropped; the connection stays and its timer runs on.
    Drop,
}

/// How the packet's conntrack entry stands when ipvs sees the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketConntrack {
    /// None that counts: the packet is INVALID, or `vs.conntrack` is off.
    None,
    /// New with this packet.
    Unconfirmed,
    /// In the table.
    Confirmed,
}

/// A real server as far as its connections are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerState {
    /// Weight; with 0 the server is given no new connection.
    pub weight: u32,
    /// It belongs to the service (`IP_VS_DEST_F_AVAILABLE`).
    pub available: bool,
}

impl ServerState {
    /// May be given a new connection.
    pub const fn is_eligible(self) -> bool {
        self.available && self.weight > 0
    }
}

impl Default for ServerState {
    /// kube-proxy's: weight 1.
    fn default() -> Self {
        Self {
            weight: 1,
            available: true,
        }
    }
}

/// Decides for a packet of a connection in `state`, which `server` serves.
pub fn on_known(
    config: &IpvsConfig,
    state: IpvsState,
    server: ServerState,
    flags: Flags,
    conntrack: PacketConntrack,
) -> Known {
    let has_entry_that_sticks = match config.reuse_drop {
        ReuseDrop::Always => conntrack != PacketConntrack::None,
        ReuseDrop::IfConfirmed => conntrack == PacketConntrack::Confirmed,
        ReuseDrop::Never => false,
    };
    let scheduled_afresh = if has_entry_that_sticks {
        Known::ExpireAndDrop
    } else {
        Known::Reschedule
    };
    let reuses = config.conn_reuse_mode != 0;
    let drained =
        config.expire_nodest_conn && server.weight == 0 && (reuses || !config.weight_zero_needs_reuse_mode);
    if flags.syn() && (drained || reuses && state.expects_new_connection()) {
        return scheduled_afresh;
    }
    match (server.available, config.expire_nodest_conn, config.nodest_expiry) {
        (true, ..) => Known::Use,
        (false, false, _) => Known::Drop,
        (false, true, NodestExpiry::NextPacket) => Known::ExpireAndDrop,
        (false, true, NodestExpiry::Removal) => scheduled_afresh,
    }
}
