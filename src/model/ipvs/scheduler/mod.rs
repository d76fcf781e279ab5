//! Which pod of a service is given a new connection: `ipvsadm -s`, kube-proxy's `ipvs.scheduler`.
//!
//! Each scheduler is plain data that looks at the servers as they are and answers with the place of one, or with none.
//! Places are those of a service's list, in which servers that were removed stay as places without one.

mod least;
mod maglev;
mod source_hash;
#[cfg(test)]
mod tests;
mod wrr;

pub use least::Load;
use maglev::Maglev;
use source_hash::SourceHash;
use wrr::Wrr;

use super::ServerState;
use crate::units::Endpoint;

/// A scheduler by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheduler {
    /// Round robin.
    #[default]
    Rr,
    /// Round robin by weight.
    Wrr,
    /// The fewest connections.
    Lc,
    /// The fewest connections per weight.
    Wlc,
    /// A hash of the source address.
    Sh(HashFlags),
    /// A hash of the source address into Maglev's table.
    Mh(HashFlags),
}

/// `ipvsadm -b`: what a service says to a scheduler that hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HashFlags {
    /// `sh-port`, `mh-port`: the source port counts as well.
    pub port: bool,
    /// `sh-fallback`, `mh-fallback`: where the server has weight 0, another one is looked for.
    pub fallback: bool,
}

impl Scheduler {
    /// Whether it asks how many connections the servers have.
    pub const fn counts_connections(self) -> bool {
        matches!(self, Self::Lc | Self::Wlc)
    }
}

/// The servers of a service, by place.
pub trait Servers {
    /// How many places there are.
    fn count(&self) -> usize;
    /// The server in a place.
    fn state(&self, place: usize) -> ServerState;
    /// Its address and port.
    fn endpoint(&self, place: usize) -> Endpoint;
}

/// A scheduler with what it remembers from one connection to the next.
#[derive(Debug, Clone)]
pub enum Picker {
    /// Round robin: where the search begins.
    Rr(usize),
    /// Round robin by weight.
    Wrr(Wrr),
    /// The fewest connections, per weight or not.
    Least {
        /// Divide by the weight.
        weighted: bool,
    },
    /// Source hash.
    Sh(SourceHash),
    /// Maglev hash.
    Mh(Maglev),
}

impl Picker {
    /// Before the first server.
    pub fn new(scheduler: Scheduler) -> Self {
        match scheduler {
            Scheduler::Rr => Self::Rr(0),
            Scheduler::Wrr => Self::Wrr(Wrr::default()),
            Scheduler::Lc => Self::Least { weighted: false },
            Scheduler::Wlc => Self::Least { weighted: true },
            Scheduler::Sh(flags) => Self::Sh(SourceHash::new(flags)),
            Scheduler::Mh(flags) => Self::Mh(Maglev::new(flags)),
        }
    }

    /// A server came, went or has another weight.
    pub fn changed(&mut self, servers: &impl Servers) {
        match self {
            Self::Rr(_) | Self::Least { .. } => {}
            Self::Wrr(wrr) => wrr.changed(servers),
            Self::Sh(hash) => hash.changed(servers),
            Self::Mh(maglev) => maglev.changed(servers),
        }
    }

    /// The place of the server that is given a connection from `source`; `load` says what a place has already.
    #[inline]
    pub fn pick(
        &mut self,
        servers: &impl Servers,
        source: Endpoint,
        load: impl Fn(usize) -> Load,
    ) -> Option<usize> {
        match self {
            Self::Rr(next) => {
                let count = servers.count();
                let place = (0..count)
                    .map(|step| (*next + step) % count)
                    .find(|&place| servers.state(place).is_eligible())?;
                *next = (place + 1) % count;
                Some(place)
            }
            Self::Wrr(wrr) => wrr.pick(servers),
            Self::Least { weighted } => least::pick(*weighted, servers, load),
            Self::Sh(hash) => hash.pick(servers, source),
            Self::Mh(maglev) => maglev.pick(servers, source),
        }
    }
}

/// What a hash of the source is taken of: the address, and the port where it counts, added up.
fn key(source: Endpoint, flags: HashFlags) -> u32 {
    let port = if flags.port { source.port } else { 0 };
    source.ip.to_bits().wrapping_add(u32::from(port))
}

/// Greatest common divisor; that of 0 and a number is the number.
const fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
