//! The node's connection tracking (nf_conntrack) for TCP.

mod config;
mod gc;
mod table;
mod tcp_table;
mod timeout;
mod tracker;
mod window;

pub use config::{ChainLimit, Collection, ConntrackConfig, State, Timeouts};
pub use gc::Gc;
pub use table::{Ended, Entry, PortSlot, Table};
pub use tcp_table::{PacketClass, Transition, transition};
pub use tracker::{Direction, TrackVerdict, Tracker};

#[cfg(test)]
mod tests;
