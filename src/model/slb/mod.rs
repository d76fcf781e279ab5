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

use crate::units::SimDuration;

/// Client connections that stay open for further requests (nginx' `keepalive_timeout` and `keepalive_requests` of the
/// `http` block; the pool above is that of its `upstream` block).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientConnections {
    /// Idle time after which the SLB closes one; zero: it closes with each response.
    pub keepalive_timeout: SimDuration,
    /// Requests after which the SLB closes one.
    pub keepalive_requests: u32,
}

impl ClientConnections {
    /// What nginx does unless it is told otherwise.
    pub const NGINX: Self = Self {
        keepalive_timeout: SimDuration::from_secs(75),
        keepalive_requests: 1_000,
    };
}

#[cfg(test)]
mod tests;
