//! The layer-7 SLB: when it connects upstream, what it keeps, what it logs.

use crate::units::SimDuration;

/// Cache of idle upstream connections (nginx' `keepalive`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepaliveConfig {
    /// Idle connections kept per SLB host.
    pub size: u32,
    /// Idle time after which the SLB closes one.
    pub idle_timeout: SimDuration,
    /// Requests after which the SLB closes one.
    pub requests: u32,
}

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
