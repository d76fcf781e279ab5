//! A packet from the client whose ipvs connection is known: go on with it, or schedule afresh?
//!
//! The head of `ip_vs_in()`, `net/netfilter/ipvs/ip_vs_core.c`. Before 5.9 a SYN that is to be scheduled afresh is
//! dropped whenever it has a conntrack, so that the caller repeats it a second later, when both old entries are
//! gone. From 5.9 on only if that conntrack is confirmed already; conntrack usually has reopened the tuple by then.

use super::{Connection, IpvsConfig, ReuseDrop};
use crate::wire::Flags;

/// What becomes of the packet and of the old connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The packet belongs to the connection: same pod.
    Use,
    /// The connection is forced out without its conntrack entry, and the packet scheduled as a new one.
    Reschedule,
    /// The connection is forced out together with its conntrack entry, and the packet dropped.
    Drop,
}

/// How the packet's conntrack entry stands when ipvs sees the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketConntrack {
    /// None attached: the packet is INVALID.
    None,
    /// New with this packet.
    Unconfirmed,
    /// In the table.
    Confirmed,
}

/// Decides for a packet of `connection`.
///
/// A connection whose pod left the service would be decided here, too (`expire_nodest_conn`, weight 0); pods do not
/// leave yet.
pub fn on_known(
    config: &IpvsConfig,
    connection: &Connection,
    flags: Flags,
    conntrack: PacketConntrack,
) -> Known {
    if config.conn_reuse_mode == 0 || !flags.syn() || !connection.state.expects_new_connection() {
        return Known::Use;
    }
    let drops = match (config.reuse_drop, conntrack) {
        (_, PacketConntrack::None) | (ReuseDrop::Never, _) => false,
        (ReuseDrop::Always, _) => true,
        (ReuseDrop::IfConfirmed, conntrack) => conntrack == PacketConntrack::Confirmed,
    };
    if drops { Known::Drop } else { Known::Reschedule }
}
