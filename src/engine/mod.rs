//! The simulation engine: pending set, kernel timers, random streams. It knows units, not TCP.

mod queue;
mod streams;
mod timers;

pub use queue::{Class, PendingSet, Tie};
pub use streams::{keyed_hash, mix64, stream};
pub use timers::KernelTimers;
