//! Links: what a packet meets between two hosts. Packets that one host sends into one link never overtake each other.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::request::unit;
use crate::model::link::LinkConfig;
use crate::units::SimTime;

/// One host's end of a link, in sending direction.
#[derive(Debug)]
pub struct Uplink {
    config: LinkConfig,
    stream: ChaCha8Rng,
    last_arrival: SimTime,
}

impl Uplink {
    /// A link whose randomness is `stream`.
    pub fn new(config: LinkConfig, stream: ChaCha8Rng) -> Self {
        Self {
            config,
            stream,
            last_arrival: SimTime::ZERO,
        }
    }

    /// When a packet sent now arrives; `None`: it is lost.
    pub fn send(&mut self, now: SimTime) -> Option<SimTime> {
        if self.config.loss > 0.0 && unit(self.stream.next_u64()) < self.config.loss {
            return None;
        }
        let arrival = (now + self.config.delay.sample(&mut self.stream)).max(self.last_arrival);
        self.last_arrival = arrival;
        Some(arrival)
    }
}
