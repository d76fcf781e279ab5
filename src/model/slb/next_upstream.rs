//! When a request that failed at one backend goes to another (`ngx_http_upstream_next()`, `src/http/ngx_http_upstream.c`).

use crate::units::SimDuration;
use crate::vocab::Status;

/// What went wrong at a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or one that broke before the response began.
    Error,
    /// One of the SLB's own timeouts.
    Timeout,
    /// The backend answered with this status.
    Answered(Status),
}

/// The failures after which another backend is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "a set of words, each there or not")]
pub struct Conditions {
    /// `error`.
    pub error: bool,
    /// `timeout`.
    pub timeout: bool,
    /// `http_500`.
    pub http_500: bool,
    /// `http_502`.
    pub http_502: bool,
    /// `http_503`.
    pub http_503: bool,
    /// `http_504`.
    pub http_504: bool,
}

impl Conditions {
    /// `off`.
    pub const OFF: Self = Self {
        error: false,
        timeout: false,
        http_500: false,
        http_502: false,
        http_503: false,
        http_504: false,
    };

    /// Whether a failure is one of them.
    pub const fn has(&self, failure: Failure) -> bool {
        match failure {
            Failure::Error => self.error,
            Failure::Timeout => self.timeout,
            Failure::Answered(Status::Internal) => self.http_500,
            Failure::Answered(Status::BadGateway) => self.http_502,
            Failure::Answered(Status::Unavailable) => self.http_503,
            Failure::Answered(Status::GatewayTimeout) => self.http_504,
            Failure::Answered(Status::Ok | Status::ClientClosed) => false,
        }
    }
}

/// `proxy_next_upstream` and its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextUpstream {
    /// `proxy_next_upstream`; nothing in it is `off`.
    pub conditions: Conditions,
    /// `proxy_next_upstream_tries`; 0: as many as there are backends.
    pub tries: u32,
    /// `proxy_next_upstream_timeout`; zero: no limit.
    pub timeout: SimDuration,
}

impl NextUpstream {
    fn is_in_time(&self, elapsed: SimDuration) -> bool {
        self.timeout == SimDuration::ZERO || elapsed < self.timeout
    }
}

/// What is left of a request's tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    left: u32,
    single: bool,
}

impl Tries {
    /// Nothing to try yet.
    pub const NONE: Self = Self {
        left: 0,
        single: true,
    };

    /// Of a request to one of so many backends.
    pub fn new(backends: usize, config: Option<&NextUpstream>) -> Self {
        let most = config.map_or(0, |config| config.tries);
        let backends = u32::try_from(backends).unwrap_or(u32::MAX);
        Self {
            left: if most == 0 { backends } else { backends.min(most) },
            single: backends == 1,
        }
    }

    /// A try has failed: whether there is another one. `kept`: it went out on a kept connection, which may have been dead
    /// before; such a failure costs no try. `elapsed` is the time since the SLB began to look for a backend.
    ///
    /// Without a configuration only a dead kept connection is made up for.
    pub fn after(
        &mut self,
        failure: Failure,
        kept: bool,
        elapsed: SimDuration,
        config: Option<&NextUpstream>,
    ) -> bool {
        let made_up_for = kept && failure == Failure::Error;
        self.left = if self.single {
            0
        } else {
            self.left.saturating_sub(1)
        };
        if made_up_for {
            self.left += 1;
        }
        let Some(config) = config else {
            return made_up_for;
        };
        self.left > 0 && config.conditions.has(failure) && config.is_in_time(elapsed)
    }

    /// Whether a response of this status is dropped for another try; the last one is passed on
    /// (`ngx_http_upstream_test_next()`).
    pub fn drops(&self, status: Status, elapsed: SimDuration, config: Option<&NextUpstream>) -> bool {
        config.is_some_and(|config| {
            self.left > 1 && config.conditions.has(Failure::Answered(status)) && config.is_in_time(elapsed)
        })
    }

    /// Whether the server that failed is left out of the next choice: a single one never is.
    pub const fn excludes_failed(&self) -> bool {
        !self.single
    }
}
