//! A link: every packet takes a drawn delay, some are lost; packets of one direction never overtake each other.

use super::distribution::Distribution;
use crate::units::SimDuration;

/// Delay and loss of one link, the same in both directions.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkConfig {
    /// One-way delay.
    pub delay: Distribution,
    /// Chance that a packet is lost, 0 to 1, independent for each packet.
    pub loss: f64,
}

impl LinkConfig {
    /// A loss-free link with a constant delay.
    pub const fn constant(delay: SimDuration) -> Self {
        Self {
            delay: Distribution::Constant(delay),
            loss: 0.0,
        }
    }
}
