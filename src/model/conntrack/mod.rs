//! The node's connection tracking (nf_conntrack) for TCP.

mod config;
mod gc;
mod table;
mod tracker;

pub use gc::Gc;
pub use table::{Ended, Entry, EntryTimer, PortSlot, Table};
pub use config::{ConntrackConfig, State, Timeouts};
pub use tracker::{Direction, TrackVerdict, Tracker};
