//! Active checks: what one is, and when a backend counts as down.
//!
//! The words `rise` and `fall` and their defaults are Tengine's (`ngx_http_upstream_check_module`, directive `check`).

use crate::units::SimDuration;

/// What a check does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckKind {
    /// Connects, and closes at once; with an RST or a FIN.
    Tcp {
        /// With an RST, so that nothing is left behind.
        reset: bool,
    },
    /// Connects, asks, and closes with the answer, which ends with the pod's FIN (`Connection: close`).
    Http,
}

/// A check, repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthCheck {
    /// From the start of one to the start of the next.
    pub interval: SimDuration,
    /// A check that takes longer has failed.
    pub timeout: SimDuration,
    /// Good ones in a row that put a backend back.
    pub rise: u32,
    /// Bad ones in a row that take it out.
    pub fall: u32,
    /// What it does.
    pub kind: CheckKind,
    /// Each source address of a host checks by itself, not only the first.
    pub every_address: bool,
}

/// What a check changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The backend is out now.
    Down,
    /// The backend is back.
    Up,
}

/// What a host thinks of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    down: bool,
    /// Checks in a row that say the opposite.
    against: u32,
}

impl Health {
    /// A check ended.
    pub fn on_check(&mut self, passed: bool, rise: u32, fall: u32) -> Option<Turn> {
        if passed != self.down {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = if self.down { rise } else { fall };
        if self.against < needed {
            return None;
        }
        self.against = 0;
        self.down = !self.down;
        Some(if self.down { Turn::Down } else { Turn::Up })
    }
}
