//! The layer-7 SLB: which backend it chooses, what it keeps, when it tries another one, whom it takes for dead.
//!
//! The rules are those of nginx (1.31.5 where a file is named, and 1.22 alike unless it is said), as pure functions over
//! plain data; `world` connects, sends and logs.

mod hash;
mod health;
mod keepalive;
mod least_conn;
mod next_upstream;
mod random_two;
mod round_robin;
mod upstream;

pub use health::{CheckKind, Health, HealthCheck, Turn};
pub use keepalive::{KeepaliveConfig, KeepalivePool};
pub use next_upstream::{Conditions, Failure, NextUpstream, Tries};
pub use upstream::{Balance, Peer, ServerLimits, Upstream};

#[cfg(test)]
mod tests;
