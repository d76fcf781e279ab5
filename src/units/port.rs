//! Port ranges, inclusive at both ends as the kernel and iptables write them.

use std::fmt;
use std::str::FromStr;

use super::ParseUnitError;

/// A range of TCP ports, both ends included. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// What netfilter masquerades a source port of 1024 and above to, if nothing else is said.
    pub const MASQUERADE: Self = Self {
        first: 1024,
        last: 65535,
    };
    /// Linux' default `ip_local_port_range`.
    pub const LINUX_EPHEMERAL: Self = Self {
        first: 32768,
        last: 60999,
    };

    /// The ports `first..=last`; `None` if upside down.
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first <= last {
            Some(Self { first, last })
        } else {
            None
        }
    }
    /// Lowest port.
    pub const fn first(self) -> u16 {
        self.first
    }
    /// Highest port.
    pub const fn last(self) -> u16 {
        self.last
    }
    /// Number of ports, 1 to 65,536.
    pub const fn count(self) -> u32 {
        self.last as u32 - self.first as u32 + 1
    }
    /// Whether `port` lies inside.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
    /// The port `offset` steps above the first one, wrapping around inside the range.
    pub const fn nth(self, offset: u32) -> u16 {
        (self.first as u32 + offset % self.count()) as u16
    }
}

impl FromStr for PortRange {
    type Err = ParseUnitError;

    /// Accepts `"32768-60999"`, also with a blank as in `ip_local_port_range`; the ends must be in order.
    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let error = ParseUnitError {
            expected: "a port range such as \"32768-60999\", lower port first, each at most 65535",
        };
        let parsed = text
            .trim()
            .split_once(['-', ' ', '\t'])
            .and_then(|(first, last)| Self::new(first.trim().parse().ok()?, last.trim().parse().ok()?));
        parsed.ok_or(error)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}
