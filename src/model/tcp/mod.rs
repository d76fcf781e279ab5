//! TCP as the Linux kernel does it, as far as the incident family depends on it.

mod config;

pub use config::{CallerReaction, PortSelection, SynRetry, TcpConfig, TimestampMode, TimestampOffset};
