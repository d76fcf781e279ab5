//! Kernel profiles: named sets of switches, as data. A behaviour in which kernels differ is a field of a model's
//! configuration, never a comparison of versions; a profile only fills the fields in. The sources of each value stand in
//! `kernels.rs` beside it.

mod kernels;

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
    /// What is neither measured nor read in that kernel's source; printed with every result.
    pub unverified: &'static [&'static str],
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
    /// What kube-proxy leaves in `net.ipv4.vs.conn_reuse_mode`: it forces 0 on kernels below 5.9 and leaves the default
    /// above (`pkg/proxy/ipvs/proxier.go`, Kubernetes change 102122).
    pub kube_proxy_conn_reuse_mode: u8,
    /// The kernel has Alibaba's `tcp_tw_timeout` and `conn_reuse_old_conntrack`.
    pub vendor_sysctls: bool,
}

impl Profile {
    /// Every profile, oldest kernel first.
    pub const ALL: [Self; 8] = kernels::ALL;

    /// The profile of hosts that name none: a long-term kernel that was run in the laboratory.
    pub const DEFAULT: Self = kernels::LINUX_6_12;
}

/// The profile of that name.
pub fn find(name: &str) -> Option<&'static Profile> {
    static PROFILES: [Profile; 8] = Profile::ALL;
    PROFILES.iter().find(|profile| profile.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ipvs::ReuseDrop;
    use crate::model::tcp::{CallerReaction, PortSelection, TimestampOffset};

    #[test]
    fn each_kernel_differs_from_its_neighbour_where_the_sources_say_so() {
        use CallerReaction::{Rst, RstFastResend};
        use PortSelection::{Perturbed, Sequential};
        use SearchEra::{Bounded, WholeRange};
        use TimestampOffset::{PerAddressPair as Pair, PerFourTuple as Tuple};
        #[rustfmt::skip]
        let table = [
            // name          hz   offset reaction       ports       linear isn    refresh rst    search      evicts drop                     mode
            ("alinux2-4.19", 1000, Pair,  Rst,           Sequential, 0,     false, true,   false, WholeRange, false, ReuseDrop::Never,       0),
            ("4.19",         250,  Pair,  Rst,           Sequential, 0,     false, true,   false, WholeRange, false, ReuseDrop::Always,      0),
            ("5.10",         250,  Pair,  RstFastResend, Perturbed,  0,     false, false,  false, Bounded,    false, ReuseDrop::IfConfirmed, 1),
            ("5.10.185",     250,  Pair,  RstFastResend, Perturbed,  0,     false, false,  false, Bounded,    false, ReuseDrop::IfConfirmed, 1),
            ("6.1",          250,  Tuple, RstFastResend, Perturbed,  0,     false, false,  true,  Bounded,    false, ReuseDrop::IfConfirmed, 1),
            ("6.6",          250,  Pair,  RstFastResend, Perturbed,  4,     false, false,  true,  Bounded,    true,  ReuseDrop::IfConfirmed, 1),
            ("6.12",         250,  Tuple, RstFastResend, Perturbed,  4,     true,  false,  true,  Bounded,    true,  ReuseDrop::IfConfirmed, 1),
            ("6.18",         250,  Tuple, RstFastResend, Perturbed,  4,     true,  false,  true,  Bounded,    true,  ReuseDrop::IfConfirmed, 1),
        ];
        assert_eq!(table.len(), Profile::ALL.len());
        for (name, hz, offset, reaction, ports, linear, isn, refresh, rst, search, evicts, drop, mode) in
            table
        {
            let profile = find(name).unwrap();
            assert_eq!(
                (profile.tcp.hz, profile.conntrack.hz, profile.ipvs.hz),
                (hz, hz, hz),
                "{name}"
            );
            let tcp = &profile.tcp;
            assert_eq!(
                (tcp.timestamp_offset, tcp.caller_reaction, tcp.port_selection),
                (offset, reaction, ports),
                "{name}"
            );
            assert_eq!(
                (tcp.syn_retry.linear_timeouts, tcp.recycled_isn_continues),
                (linear, isn),
                "{name}"
            );
            let conntrack = &profile.conntrack;
            assert_eq!(
                (conntrack.syn_repeat_refreshes, conntrack.rst_in_closing_believed),
                (refresh, rst),
                "{name}"
            );
            assert_eq!(conntrack.rst_after_ignored_ack_passes, rst, "{name}");
            assert_eq!(
                (profile.nat_search, profile.nat_evicts),
                (search, evicts),
                "{name}"
            );
            assert_eq!(
                (profile.ipvs.reuse_drop, profile.kube_proxy_conn_reuse_mode),
                (drop, mode),
                "{name}"
            );
        }
    }

    #[test]
    fn names_are_unique_and_an_unknown_one_is_not_found() {
        for (index, profile) in Profile::ALL.iter().enumerate() {
            assert!(
                !Profile::ALL[..index]
                    .iter()
                    .any(|other| other.name == profile.name)
            );
            assert_eq!(find(profile.name), Some(profile));
        }
        assert_eq!(find("2.6.32"), None);
    }
}
