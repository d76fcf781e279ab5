//! IPv4 endpoints and the TCP 4-tuple. The protocol, the fifth element, is always TCP here.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::Ipv4Addr;

/// An IPv4 address and a TCP port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Address.
    pub ip: Ipv4Addr,
    /// Port.
    pub port: u16,
}

impl Endpoint {
    /// The endpoint `ip:port`.
    pub const fn new(ip: Ipv4Addr, port: u16) -> Self {
        Self { ip, port }
    }

    /// Both parts in one integer: the address above, the port in the low 16 bits.
    pub const fn to_u64(self) -> u64 {
        ((self.ip.to_bits() as u64) << 16) | self.port as u64
    }
}

impl Hash for Endpoint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.to_u64());
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.ip, self.port)
    }
}
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Source and destination of a TCP segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FourTuple {
    /// Where the segment comes from.
    pub src: Endpoint,
    /// Where it goes.
    pub dst: Endpoint,
}

impl FourTuple {
    /// The tuple `src -> dst`.
    pub const fn new(src: Endpoint, dst: Endpoint) -> Self {
        Self { src, dst }
    }

    /// The tuple of the opposite direction.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
        }
    }
}

impl Hash for FourTuple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.src.to_u64());
        state.write_u64(self.dst.to_u64());
    }
}

impl fmt::Display for FourTuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.src, self.dst)
    }
}
impl fmt::Debug for FourTuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
