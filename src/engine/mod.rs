//! The simulation engine: pending set, kernel timers, random streams. It knows units, not TCP.

mod timers;

pub use timers::KernelTimers;
