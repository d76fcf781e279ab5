//! The node's connection tracking (nf_conntrack) for TCP.

mod config;
mod tracker;

pub use config::{ConntrackConfig, State, Timeouts};
pub use tracker::{Direction, TrackVerdict, Tracker};
