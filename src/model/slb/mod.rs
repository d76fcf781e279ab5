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
