//! A link, in one direction: a queue in front of a line of some bandwidth, loss in bursts or one by one, a delay that may
//! vary. Packets of one direction never overtake each other. Model: `docs/models/links.md`.

mod burst;
mod line;

use rand::Rng;

pub use burst::Burst;
pub use line::{Line, QueueLimit};

use super::distribution::Distribution;
use crate::units::{Bandwidth, SimDuration};

/// A link, the same in both directions, which know nothing of each other.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkConfig {
    /// One-way delay.
    pub delay: Distribution,
    /// What each packet takes longer than that.
    pub jitter: Distribution,
    /// Chance that a packet is lost, 0 to 1, independent for each packet; outside bursts if there are any.
    pub loss: f64,
    /// Bursts of losses.
    pub burst: Option<Burst>,
    /// Bits that pass per second, and what may wait for them; `None`: no limit, and nothing ever waits.
    pub line: Option<LineConfig>,
}

/// A bandwidth and the queue in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineConfig {
    /// Bits per second.
    pub bandwidth: Bandwidth,
    /// What may wait; `None`: anything.
    pub queue: Option<QueueLimit>,
}

impl LinkConfig {
    /// A loss-free link with a constant delay.
    pub const fn constant(delay: SimDuration) -> Self {
        Self {
            delay: Distribution::Constant(delay),
            jitter: Distribution::Constant(SimDuration::ZERO),
            loss: 0.0,
            burst: None,
            line: None,
        }
    }

    /// Every packet arrives, after the same time: `Some` of that time.
    pub fn fixed_delay(&self) -> Option<SimDuration> {
        let constant = self.delay.is_constant() && self.jitter.is_constant();
        (constant && self.loss == 0.0 && self.burst.is_none() && self.line.is_none())
            .then(|| self.mean_delay())
    }

    /// Mean time on the way, waiting and sending left out.
    pub fn mean_delay(&self) -> SimDuration {
        self.delay.mean() + self.jitter.mean()
    }

    /// Share of the packets that are lost on the way, those without room in the queue left out.
    pub fn mean_loss(&self) -> f64 {
        self.burst.map_or(self.loss, |burst| burst.mean_loss(self.loss))
    }

    /// Time that a packet takes on the way.
    #[inline]
    pub fn draw_delay(&self, rng: &mut impl Rng) -> SimDuration {
        self.delay.sample(rng) + self.jitter.sample(rng)
    }
}
