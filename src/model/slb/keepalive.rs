//! The cache of idle upstream connections (`src/http/modules/ngx_http_upstream_keepalive_module.c`).
//!
//! One cache per host and service. The connection that was used last is taken first; a full cache closes the one that
//! has been idle longest, whatever its backend, and keeps the one at hand.

use std::collections::VecDeque;

use crate::units::SimDuration;

/// nginx' `keepalive` and what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepaliveConfig {
    /// Idle connections kept per SLB host and service.
    pub size: u32,
    /// Idle time after which the SLB closes one (`keepalive_timeout`).
    pub idle_timeout: SimDuration,
    /// Requests after which the SLB closes one (`keepalive_requests`).
    pub requests: u32,
    /// Age after which the SLB keeps one no more (`keepalive_time`).
    pub time: SimDuration,
}

impl KeepaliveConfig {
    /// Whether a connection of this age that has served so many requests is closed instead of kept.
    pub fn is_worn_out(&self, served: u32, age: SimDuration) -> bool {
        served >= self.requests || age > self.time
    }
}

/// Idle connections of one host towards the backends of one service.
#[derive(Debug, Clone)]
pub struct KeepalivePool<T> {
    /// By backend, the youngest last, each with its place in the order of all.
    idle: Vec<VecDeque<(u64, T)>>,
    len: usize,
    next: u64,
}

impl<T: Copy + PartialEq> KeepalivePool<T> {
    /// An empty pool for so many backends.
    pub fn new(backends: usize) -> Self {
        Self {
            idle: (0..backends).map(|_| VecDeque::new()).collect(),
            len: 0,
            next: 0,
        }
    }

    /// Idle connections.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the youngest connection to a backend.
    pub fn take(&mut self, backend: usize) -> Option<T> {
        let (_, connection) = self.idle.get_mut(backend)?.pop_back()?;
        self.len -= 1;
        Some(connection)
    }

    /// Keeps a connection; answers the one that has to go for it.
    pub fn put(&mut self, backend: usize, connection: T, size: u32) -> Option<T> {
        let evicted = if self.len < size as usize {
            None
        } else {
            self.evict()
        };
        self.idle[backend].push_back((self.next, connection));
        self.next += 1;
        self.len += 1;
        evicted
    }

    /// The one idle longest leaves.
    fn evict(&mut self) -> Option<T> {
        let fronts = self.idle.iter().enumerate();
        let aged = fronts.filter_map(|(backend, queue)| Some((queue.front()?.0, backend)));
        let (_, backend) = aged.min()?;
        self.len -= 1;
        self.idle[backend].pop_front().map(|(_, connection)| connection)
    }

    /// A connection is gone; `false`: it was not idle.
    pub fn remove(&mut self, backend: usize, connection: T) -> bool {
        let Some(queue) = self.idle.get_mut(backend) else {
            return false;
        };
        let Some(place) = queue.iter().position(|&(_, kept)| kept == connection) else {
            return false;
        };
        queue.remove(place);
        self.len -= 1;
        true
    }
}
