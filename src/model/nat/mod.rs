//! Source NAT: which port the node gives a new connection.
//!
//! [`choose`] is the decision, pure over what is in use; [`PortMap`] says what is in use. Scope, sources and limits:
//! `docs/models/nat.md`; NATs that are not netfilter's: `docs/models/cloud-nat.md`.

mod allocators;
mod pool;
mod rules;
mod search;

pub use pool::PortMap;
pub use rules::{Allocator, InsertRace, NatRules, ReopenedMapping, Tries};
pub use search::{Found, PortUse, Query, choose, search_range};

use crate::units::PortRange;

/// What the node does to the source of a connection that it forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnatMode {
    /// Nothing: `externalTrafficPolicy: Local`, or no MASQUERADE rule.
    None,
    /// MASQUERADE to the node's address.
    Masquerade(PortChoice),
}

/// Flags of the MASQUERADE rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortChoice {
    /// No flag: keep the source port if it is free.
    Keep,
    /// `--random`.
    Random,
    /// `--random-fully`.
    RandomFully,
}

/// How the kernel searches for a free port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchEra {
    /// Upward over the whole range, the last candidate taken unchecked; a shared rover without flag, a fixed start with
    /// `--random`: 4.19 (measured on 4.19.108).
    WholeRange,
    /// Runs of at most 128, 64, 32, 16 and 8 ports from random starts: 5.10 and later.
    Bounded,
}

/// The node's SNAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnatConfig {
    /// Mode and flags.
    pub mode: SnatMode,
    /// `--to-ports`; `None` is the kernel's own range by source port.
    pub to_ports: Option<PortRange>,
    /// Era of the search.
    pub search: SearchEra,
    /// Late in the search a closing entry whose sequence the SYN has passed is evicted: 6.6 and later.
    pub evicts: bool,
    /// What is not netfilter's own way.
    pub rules: NatRules,
}
