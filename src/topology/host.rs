//! Who a host is: its role and its position within it. Names never matter, and a host added behind the others of its
//! role changes no other's identity.

/// Role of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// A client population.
    Client,
    /// A host of the SLB.
    Slb,
    /// A node.
    Node,
    /// A pod.
    Pod,
}

impl Role {
    /// Name that keys random streams and labels drawings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Slb => "slb",
            Self::Node => "node",
            Self::Pod => "pod",
        }
    }
}

/// A host: role above, position below, in 22 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(u32);

const POSITION_BITS: u32 = 20;

impl HostId {
    /// The host of a role at a position.
    pub const fn new(role: Role, position: usize) -> Self {
        assert!(position < 1 << POSITION_BITS);
        Self(((role as u32) << POSITION_BITS) | position as u32)
    }
    /// Its role.
    pub const fn role(self) -> Role {
        // Two bits: the compiler need not wonder about others.
        match (self.0 >> POSITION_BITS) & 3 {
            0 => Role::Client,
            1 => Role::Slb,
            2 => Role::Node,
            _ => Role::Pod,
        }
    }
    /// Its position within the role.
    pub const fn position(self) -> usize {
        (self.0 & ((1 << POSITION_BITS) - 1)) as usize
    }
    /// Both in one number, for the order of simultaneous events.
    pub const fn bits(self) -> u32 {
        self.0
    }
}
