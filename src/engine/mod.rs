//! The simulation engine: pending set, kernel timers, random streams. It knows units, not TCP.
//!
//! ```text
//!                    .------------- World (one match, verdicts) <-----------.
//!                    |                                                      |
//!    when?           | schedule(at, tie, event)                             | pop() -> (now, event)
//!    KernelTimers    v                                                      |
//!    expiry() ---> PendingSet: a queue per constant delay; a wheel for the rest -'
//!    link delays     total order (time, class, host, the host's counter)
//!
//!    which?          stream(seed, replication, role, position, purpose) -> ChaCha8Rng: draws
//!                    keyed_hash(secret, words): what a kernel hashes (ISN, timestamp offset, port offset)
//! ```
//!
//! A run is a function of its plan and seed; three rules here make it so:
//!
//! * **One order.** [`PendingSet`] pops by time and [`Tie`], whatever the order of insertion, and refuses the past.
//!   Time never goes back. Both are checked in release builds too.
//! * **Integer time.** [`KernelTimers`] rounds as the kernel does, in absolute jiffies of the host, without floats.
//! * **No shared randomness.** Every entity has a [`stream`] for each purpose; a policy that draws more, or not at
//!   all, leaves all other draws as they were, so two runs differ only by what was changed.
//!
//! Timers are never removed from the set: their owner keeps deadline and generation (see [`PendingSet`]).

mod queue;
mod slots;
mod streams;
mod timers;

pub use queue::{Class, LaneId, PendingSet, Tie};
pub use slots::{Handle, Slots};
pub use streams::{SplitMix64, keyed_hash, mix64, stream};
pub use timers::KernelTimers;
