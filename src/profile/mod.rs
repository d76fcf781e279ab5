//! Kernel profiles: named sets of switches, as data. A behaviour in which kernels differ is a field of a model's
//! configuration, never a comparison of versions; a profile only fills the fields in. Each switch has its name, unit,
//! meaning and source in the tables of `switches`.

mod kernels;
mod listing;
mod page;
mod presets;
mod switch;
mod switches;

pub use listing::{Difference, Overview, Setting};
pub use page::page;
pub use presets::{Holds, NatPreset};
pub use switch::{Kind, Part, Switch, Value};

use crate::model::conntrack::ConntrackConfig;
use crate::model::ipvs::IpvsConfig;
use crate::model::nat::SearchEra;
use crate::model::tcp::TcpConfig;

/// A kernel as the simulator sees it, with the values that it boots with: nothing that kube-proxy sets is in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Profile {
    /// Name in scenarios.
    pub name: &'static str,
    /// Which kernel was read or measured, in a few words.
    pub about: &'static str,
    /// The kernel ran in the laboratory, if only in part.
    pub ran: bool,
    /// What is neither measured nor read in that kernel's source; printed with every result.
    pub unverified: &'static [Unverified],
    /// TCP of a host with this kernel.
    pub tcp: TcpConfig,
    /// Connection tracking of a node with this kernel.
    pub conntrack: ConntrackConfig,
    /// Era of the SNAT port search.
    pub nat_search: SearchEra,
    /// The port search evicts closing entries.
    pub nat_evicts: bool,
    /// ipvs of a node with this kernel.
    pub ipvs: IpvsConfig,
    /// What kube-proxy leaves in `net.ipv4.vs.conn_reuse_mode`: it forces 0 on kernels from 4.1 to 5.8 and leaves the
    /// default on others (`pkg/proxy/ipvs/proxier.go`, Kubernetes change 102122).
    pub kube_proxy_conn_reuse_mode: u8,
    /// The kernel has Alibaba's `tcp_tw_timeout` and `conn_reuse_old_conntrack`.
    pub vendor_sysctls: bool,
}

/// Switches of a profile that are neither measured nor read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unverified {
    /// Which ones.
    pub scope: Scope,
    /// Where their values come from instead.
    pub why: &'static str,
}

/// A set of switches, by their short names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// These.
    Only(&'static [&'static str]),
    /// All others.
    AllBut(&'static [&'static str]),
}

impl Scope {
    fn contains(self, switch: &Switch) -> bool {
        match self {
            Self::Only(names) => names.contains(&switch.short()),
            Self::AllBut(names) => !names.contains(&switch.short()),
        }
    }
}

impl Profile {
    /// Every profile, oldest kernel first.
    pub const ALL: [Self; 11] = kernels::ALL;

    /// The profile of hosts that name none: a long-term kernel that was run in the laboratory.
    pub const DEFAULT: Self = kernels::LINUX_6_12;

    /// The switches that this kernel has.
    pub fn switches(&self) -> impl Iterator<Item = &'static Switch> {
        switches().filter(|switch| (switch.lacks)(self).is_none())
    }

    /// Why the value of `switch` is not verified; `None`: it was measured or read.
    pub fn doubt(&self, switch: &Switch) -> Option<&'static str> {
        let doubt = self
            .unverified
            .iter()
            .find(|doubt| doubt.scope.contains(switch))?;
        Some(doubt.why)
    }
}

/// Every switch, in the order of listings.
pub fn switches() -> impl Iterator<Item = &'static Switch> {
    Part::ALL.into_iter().flat_map(switches_of)
}

/// The switches of one part of a host.
pub fn switches_of(part: Part) -> &'static [Switch] {
    match part {
        Part::Kernel => switches::KERNEL,
        Part::Tcp => switches::TCP,
        Part::Caller => switches::CALLER,
        Part::Conntrack => switches::CONNTRACK,
        Part::Nat => switches::NAT,
        Part::Ipvs => switches::IPVS,
    }
}

/// The profile of that name.
pub fn find(name: &str) -> Option<&'static Profile> {
    static PROFILES: [Profile; 11] = Profile::ALL;
    PROFILES.iter().find(|profile| profile.name == name)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
