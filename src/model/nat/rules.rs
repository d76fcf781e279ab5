//! What NATs do that netfilter's MASQUERADE does not, and the one thing that it does and a plain model leaves out: two
//! CPUs at once. Each is off by default.

use crate::units::{PortRange, SimDuration};

/// Rules around the port search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NatRules {
    /// Another search than netfilter's.
    pub allocator: Option<Allocator>,
    /// Ports in use towards one pod at most, whatever the range: the limit of connections per destination.
    pub per_destination: Option<u32>,
    /// Ports set aside for each source address; an address without a block gets none.
    pub per_source: Option<u32>,
    /// What a SYN gets that comes on its own closed mapping.
    pub reopened: ReopenedMapping,
    /// Entries end when a scan finds them past their timeout, not by themselves: an eBPF table, every so often.
    pub scan_interval: Option<SimDuration>,
    /// Two CPUs may choose one port.
    pub race: Option<InsertRace>,
    /// Answers to these ports are taken by another program before conntrack sees them.
    pub hijacked: Option<PortRange>,
}

impl NatRules {
    /// netfilter, one packet at a time.
    pub const NETFILTER: Self = Self {
        allocator: None,
        per_destination: None,
        per_source: None,
        reopened: ReopenedMapping::NewPort,
        scan_interval: None,
        race: None,
        hijacked: None,
    };
}

/// A search for a free port that is not netfilter's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocator {
    /// The next free port above the one handed out last, of all pods.
    Sequential,
    /// The first free port above a keyed hash of the whole tuple.
    Hashed,
    /// Uniformly among the free ports.
    Uniform,
    /// A few tests and no more, as eBPF programs do it.
    Tries(Tries),
}

impl Allocator {
    /// A free source port is kept, be it inside the range or not.
    pub(super) const fn keeps_outside(self) -> bool {
        matches!(self, Self::Tries(tries) if tries.keeps_outside)
    }
}

/// The tests of an eBPF program: the source port, a random one, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// Ports tested in all.
    pub tests: u16,
    /// After the first random port upward from it; otherwise each one is random.
    pub upward: bool,
    /// A free source port is kept even outside the range.
    pub keeps_outside: bool,
}

/// What becomes of a mapping when its own tuple opens again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReopenedMapping {
    /// The entry goes and the search begins anew (`nf_conntrack_tcp_packet()`).
    NewPort,
    /// The mapping stays, and so do port and pod.
    SamePort,
}

/// Connections opened on several CPUs at the same time: until the entry of one is confirmed, the others' searches do not
/// see its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InsertRace {
    /// CPUs over which the tuples' hash spreads packets.
    pub cpus: u32,
    /// From the choice of a port to the confirmation of its entry.
    pub window: SimDuration,
}
