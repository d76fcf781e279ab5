//! The simulation engine: pending set, kernel timers, random streams. It knows units, not TCP.

mod streams;
mod timers;

pub use streams::{keyed_hash, mix64, stream};
pub use timers::KernelTimers;
