//! One tracked connection: state, windows, expiry. (to be written)

use super::{ConntrackConfig, State};
use crate::units::SimTime;
use crate::wire::Packet;

/// Direction of a packet relative to the connection's first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// As the first packet.
    Original,
    /// Against it.
    Reply,
}

/// What the tracker says of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackVerdict {
    /// Part of the connection; state and expiry are updated.
    Accept,
    /// Let through with the connection's mapping; nothing is refreshed.
    Ignore,
    /// Not part of any connection: no mapping applies, it goes on untranslated unless a rule drops it.
    Invalid,
    /// A new connection on an old tuple: the entry must be removed and the packet looked up again.
    Reopen,
    /// Let through with the mapping, and the entry removed (an RST before any reply).
    AcceptAndDelete,
}

/// One tracked connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracker {
    /// Current state.
    pub state: State,
    /// The entry is dead from this moment on.
    pub expires: SimTime,
    /// A reply was seen (no `[UNREPLIED]`).
    pub seen_reply: bool,
    /// `[ASSURED]`.
    pub assured: bool,
}

impl Tracker {
    /// Starts to track with the first packet of a connection; `None`: the packet is INVALID.
    pub fn open(_config: &ConntrackConfig, _packet: &Packet, _now: SimTime) -> Option<Self> {
        None
    }

    /// Takes one packet of the connection, found not expired.
    pub fn on_packet(
        &mut self,
        _config: &ConntrackConfig,
        _direction: Direction,
        _packet: &Packet,
        _now: SimTime,
    ) -> TrackVerdict {
        TrackVerdict::Invalid
    }
}
