//! `[node]`: Kubernetes nodes, with what kube-proxy sets on them.

use std::net::Ipv4Addr;

use super::addresses::Source;
use super::slb::{behaviours, refuse_both};
use super::{MAX_NODES, Notes, links, numbered, too_many};
use crate::model::conntrack::State;
use crate::model::nat::{PortChoice, SnatConfig, SnatMode};
use crate::profile::Profile;
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::reader::{MAX_TIMEOUT, Reader};
use crate::scenario::sysctl;
use crate::spec::{LinksPlan, NodePlan, ProxyMode};
use crate::units::SimDuration;

/// Nodes of one table at most.
const MAX_COUNT: u32 = 1_000;

/// One node of a cluster, its address and pods still open.
pub(super) struct NodeInstance {
    pub plan: NodePlan,
    /// The kernel, as its pods see it.
    pub kernel: Profile,
    /// Name of its table, by which `pod.node_name` finds all nodes of the table.
    pub table: String,
    pub address: Source,
}

pub(super) fn resolve(root: &Reader<'_>, links: &LinksPlan, notes: &mut Notes) -> Vec<NodeInstance> {
    let mut readers = root.tables("node");
    if readers.is_empty() {
        readers.push(root.default_table("node"));
    }
    let mut nodes = Vec::new();
    for (index, reader) in readers.iter().enumerate() {
        let name = reader
            .name("name")
            .map_or_else(|| numbered("node", index, readers.len()), str::to_owned);
        let count = reader.count("count", 1..=MAX_COUNT).unwrap_or(1) as usize;
        if too_many(reader, nodes.len(), count, MAX_NODES) {
            break;
        }
        let ip = reader.address("ip");
        let profile = reader.profile("profile").unwrap_or(&Profile::DEFAULT);
        let local = reader
            .choice("external_traffic_policy", &[("cluster", false), ("local", true)])
            .unwrap_or(false);
        let (mut plan, kernel) = node(reader, profile, local, notes);
        plan.cluster = reader.name("cluster").map(str::to_owned).unwrap_or_default();
        plan.link = links::own(reader, links.slb_node, notes);
        for number in 0..count {
            let mut plan = plan.clone();
            plan.name = numbered(&name, number, count);
            let address = ip.map_or_else(
                || Source::Pool {
                    network: None,
                    span: reader.at(),
                },
                |ip| Source::From {
                    ip,
                    index: number,
                    count,
                    span: reader.span("ip"),
                },
            );
            nodes.push(NodeInstance {
                plan,
                kernel,
                table: name.clone(),
                address,
            });
        }
    }
    nodes
}

fn node(reader: &Reader<'_>, profile: &Profile, local: bool, notes: &mut Notes) -> (NodePlan, Profile) {
    let kube_proxy = reader.switch("kube_proxy").unwrap_or(true);
    let ipvs_mode = reader
        .choice("proxy", &[("iptables", false), ("ipvs", true)])
        .unwrap_or(false);
    let mut kernel = *profile;
    // The kernel boots with 0, and nothing is masqueraded then; whoever sets ipvs up for SNAT sets this, too.
    kernel.ipvs.conntrack = true;
    let mut set = behaviours(reader, sysctl::NODE, &mut kernel);
    if kube_proxy {
        apply_kube_proxy(&mut kernel);
    }
    sysctl::apply(reader, "sysctl", sysctl::NODE, &mut kernel, &mut set);
    let parts = if ipvs_mode {
        sysctl::NODE
    } else {
        sysctl::IPTABLES_NODE
    };
    notes.profile(profile, parts, &set);
    conntrack(reader, kube_proxy && !ipvs_mode, &mut kernel);
    ipvs(reader, &mut kernel);
    if !ipvs_mode && reader.has("ipvs") {
        notes.add("`node.ipvs` has no effect with proxy = \"iptables\"");
    }
    let (snat, from_nodes) = snat(reader, &kernel, local);
    let plan = NodePlan {
        name: String::new(),
        cluster: String::new(),
        local,
        ip: Ipv4Addr::UNSPECIFIED,
        proxy: if ipvs_mode {
            ProxyMode::Ipvs(kernel.ipvs)
        } else {
            ProxyMode::Iptables
        },
        snat,
        from_nodes,
        conntrack: kernel.conntrack,
        drop_syn_repeats_within: reader.timeout("drop_syn_repeats_within"),
        drop_slb_resets: reader.switch("drop_slb_resets").unwrap_or(false),
        pods: Vec::new(),
        link: None,
    };
    (plan, kernel)
}

/// kube-proxy's defaults: `pkg/proxy/apis/config/v1alpha1/defaults.go` (conntrack) and `pkg/proxy/ipvs/proxier.go` (sysctls).
fn apply_kube_proxy(kernel: &mut Profile) {
    let timeouts = &mut kernel.conntrack.timeouts.by_state;
    timeouts[State::Established as usize] = SimDuration::from_secs(86_400);
    timeouts[State::CloseWait as usize] = SimDuration::from_secs(3_600);
    kernel.ipvs.conn_reuse_mode = kernel.kube_proxy_conn_reuse_mode;
    kernel.ipvs.expire_nodest_conn = true;
}

/// `invalid_rule`: kube-proxy writes the rule that drops INVALID, unless conntrack is liberal
/// (`pkg/proxy/iptables/proxier.go`).
fn conntrack(node: &Reader<'_>, invalid_rule: bool, kernel: &mut Profile) {
    let reader = node.table("conntrack");
    let config = &mut kernel.conntrack;
    config.drop_invalid = reader
        .switch("drop_invalid")
        .unwrap_or(invalid_rule && !config.be_liberal);
    config.background_entries = reader.count("background_entries", 0..=u32::MAX).unwrap_or(0);
    if config.background_entries >= config.max_entries {
        reader.push(
            Diagnostic::new(
                &reader.span("background_entries"),
                "`node.conntrack.background_entries` fills the table",
                format!("`nf_conntrack_max` is {}", config.max_entries),
            )
            .help("leave room for the scenario's own connections, 120 s of them"),
        );
    }
}

fn ipvs(node: &Reader<'_>, kernel: &mut Profile) {
    let reader = node.table("ipvs");
    let config = &mut kernel.ipvs;
    let sysctls = node.table("sysctl");
    reader.choice("scheduler", &[("rr", ())]);
    refuse_both(
        &reader,
        "conn_reuse_mode",
        &sysctls,
        "net.ipv4.vs.conn_reuse_mode",
    );
    if let Some(mode) = reader.count("conn_reuse_mode", 0..=3) {
        config.conn_reuse_mode = mode as u8;
    }
    // `ipvsadm --set` takes 0 for "leave it".
    let timeout = |key: &str| {
        reader
            .duration(key, SimDuration::ZERO, MAX_TIMEOUT)
            .filter(|timeout| *timeout != SimDuration::ZERO)
    };
    config.timeout_established = timeout("tcp_timeout").unwrap_or(config.timeout_established);
    config.timeout_fin_wait = timeout("tcp_fin_timeout").unwrap_or(config.timeout_fin_wait);
}

/// Source NAT of what comes to a NodePort, and of what another node has forwarded.
fn snat(node: &Reader<'_>, profile: &Profile, local: bool) -> (SnatConfig, SnatMode) {
    let reader = node.table("snat");
    let choice = reader
        .choice(
            "random",
            &[
                ("random-fully", PortChoice::RandomFully),
                ("random", PortChoice::Random),
                ("none", PortChoice::Keep),
            ],
        )
        .unwrap_or(PortChoice::RandomFully);
    let masquerade = reader.choice("mode", &[("masquerade", true), ("none", false)]);
    if local && masquerade == Some(true) {
        reader.push(
            Diagnostic::new(
                &reader.span("mode"),
                "there is no SNAT under `external_traffic_policy = \"local\"`",
                "contradicts it",
            )
            .help("leave `node.snat.mode` out"),
        );
    }
    let again = reader.choice("from_nodes", &[("none", false), ("masquerade", true)]);
    let mode = |on| {
        if on {
            SnatMode::Masquerade(choice)
        } else {
            SnatMode::None
        }
    };
    let config = SnatConfig {
        mode: mode(!local && masquerade != Some(false)),
        to_ports: reader.ports("to_ports"),
        search: profile.nat_search,
        evicts: profile.nat_evicts,
    };
    (config, mode(again == Some(true)))
}
