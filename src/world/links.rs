//! Links: what a packet meets between two hosts. Packets that one host sends into one link never overtake each other.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::request::unit;
use crate::engine::LaneId;
use crate::model::link::LinkConfig;
use crate::topology::HostId;
use crate::units::SimTime;

/// A host's end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its place among all.
    pub place: u32,
    /// The lane of a link that has a constant delay and loses nothing: its packets need nothing else of it.
    pub plain: Option<LaneId>,
}

/// Where a packet goes next: over which link, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The sender's end of the link.
    pub link: Link,
    /// The host at the other end.
    pub to: HostId,
}

/// What becomes of a packet on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It arrives after the link's constant delay.
    After(LaneId),
    /// It arrives then.
    At(SimTime),
    /// It is lost.
    Lost,
}

/// One host's end of a link, in sending direction.
#[derive(Debug)]
pub struct Uplink {
    config: LinkConfig,
    last_arrival: SimTime,
    stream: ChaCha8Rng,
}

impl Uplink {
    /// A link whose randomness is `stream`.
    pub const fn new(config: LinkConfig, stream: ChaCha8Rng) -> Self {
        Self {
            config,
            last_arrival: SimTime::ZERO,
            stream,
        }
    }

    /// What becomes of a packet sent now.
    #[inline(never)]
    pub fn send(&mut self, now: SimTime) -> Passage {
        if self.config.loss > 0.0 && unit(self.stream.next_u64()) < self.config.loss {
            return Passage::Lost;
        }
        let arrival = (now + self.config.delay.sample(&mut self.stream)).max(self.last_arrival);
        self.last_arrival = arrival;
        Passage::At(arrival)
    }
}
