//! `[slb]`: the load balancer.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{Notes, addresses, upstream};
use crate::model::slb::ClientConnections;
use crate::model::tcp::{CallerReaction, PortSelection, TimestampMode};
use crate::profile::{Part, Profile, Switch, Value as Setting, switches_of};
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::document::Kind;
use crate::scenario::reader::{MAX_TIMEOUT, Reader};
use crate::scenario::sysctl;
use crate::spec::{Backends, Bind, SlbCluster, SlbPlan, StrayRst};
use crate::units::{Endpoint, SimDuration};

/// Source addresses at most.
const MAX_ADDRESSES: u32 = 100_000;

pub(super) fn resolve(root: &Reader<'_>, notes: &mut Notes) -> SlbPlan {
    let reader = root.table("slb");
    let mut kernel = *reader.profile("profile").unwrap_or(&Profile::DEFAULT);
    let set = host_kernel(&reader, sysctl::SLB, &mut kernel);
    notes.profile(&kernel, sysctl::SLB, &set);
    let (kernel_table, sysctls) = (reader.table("kernel"), reader.table("sysctl"));
    let mut tcp = kernel.tcp;
    let timestamps = reader.choice(
        "timestamps",
        &[
            ("on", TimestampMode::RandomOffset),
            ("off", TimestampMode::Off),
            ("no-offset", TimestampMode::NoOffset),
            // Erased on the way: the pod answers without, and then neither end has them.
            ("stripped", TimestampMode::Off),
        ],
    );
    refuse_both(&reader, "timestamps", &sysctls, "net.ipv4.tcp_timestamps");
    tcp.timestamps = timestamps.unwrap_or(tcp.timestamps);
    refuse_both(&reader, "caller_reaction", &kernel_table, "caller_reaction");
    tcp.caller_reaction = reader
        .choice(
            "caller_reaction",
            &[
                ("rst", CallerReaction::Rst),
                ("rst-fast-resend", CallerReaction::RstFastResend),
                ("ignore", CallerReaction::Ignore),
            ],
        )
        .unwrap_or(tcp.caller_reaction);
    refuse_both(&reader, "port_selection", &kernel_table, "port_selection");
    tcp.port_selection = reader
        .choice(
            "port_selection",
            &[("linux", tcp.port_selection), ("random", PortSelection::Random)],
        )
        .unwrap_or(tcp.port_selection);
    refuse_both(&reader, "ports", &sysctls, "net.ipv4.ip_local_port_range");
    let ports = reader.ports("ports").unwrap_or(tcp.local_port_range);
    let l7 = reader.switch("l7").unwrap_or(true);
    let next_upstream = upstream::next_upstream(&reader, l7, notes);
    let clusters = clusters(&reader);
    SlbPlan {
        l7,
        vip: reader
            .endpoint("vip")
            .unwrap_or(Endpoint::new(Ipv4Addr::new(203, 0, 113, 10), 80)),
        hosts: hosts(&reader, &clusters),
        clusters,
        tcp,
        ports,
        bind: reader
            .choice(
                "bind",
                &[
                    ("none", Bind::None),
                    ("no-port", Bind::None),
                    ("port-zero", Bind::PortZero),
                ],
            )
            .unwrap_or(Bind::None),
        strangers: 0,
        backends: reader
            .choice(
                "backends",
                &[("node-port", Backends::NodePort), ("pod", Backends::Pod)],
            )
            .unwrap_or(Backends::NodePort),
        connect_timeout: reader
            .timeout("connect_timeout")
            .unwrap_or(SimDuration::from_secs(60)),
        read_timeout: reader
            .timeout("read_timeout")
            .unwrap_or(SimDuration::from_secs(60)),
        client_connections: client_connections(&reader),
        send_timeout: reader.timeout("send_timeout"),
        keepalive: upstream::keepalive(&reader),
        balance: upstream::balance(&reader),
        limits: upstream::limits(&reader, next_upstream.as_ref(), notes),
        next_upstream,
        worker_connections: reader.count("worker_connections", 1..=100_000_000),
        health_check: upstream::health_check(&reader, notes),
        stray_rst: stray_rst(&reader),
        endpoint_delay: super::events::endpoint_delay(&reader),
    }
}

/// Applies what a host's tables say about its kernel; answers the switches that are set.
pub(super) fn host_kernel(host: &Reader<'_>, parts: &[Part], kernel: &mut Profile) -> Vec<&'static Switch> {
    let mut set = behaviours(host, parts, kernel);
    sysctl::apply(host, "sysctl", parts, kernel, &mut set);
    set
}

/// Applies what a host's `kernel` and `hz` say; answers the switches that are set.
pub(super) fn behaviours(host: &Reader<'_>, parts: &[Part], kernel: &mut Profile) -> Vec<&'static Switch> {
    let mut set = Vec::new();
    sysctl::apply(host, "kernel", parts, kernel, &mut set);
    let hz = switches_of(Part::Kernel)
        .iter()
        .find(|switch| switch.name == "hz");
    refuse_both(host, "hz", &host.table("kernel"), "hz");
    if let (Some(hz), Some(rate)) = (hz, host.hz("hz")) {
        (hz.set)(kernel, Setting::Number(u64::from(rate)));
        set.push(hz);
    }
    set
}

/// A key that is short for a switch stands in the way of that switch.
pub(super) fn refuse_both(reader: &Reader<'_>, key: &str, table: &Reader<'_>, switch: &str) {
    if reader.has(key) && sysctl::is_written(table, switch) {
        reader.push(
            Diagnostic::new(
                &reader.span(key),
                format!("`{}` is said twice", reader.path(key)),
                format!(
                    "`{}` says it too",
                    table.path(switch.rsplit('.').next().unwrap_or(switch))
                ),
            )
            .help("keep one of them"),
        );
    }
}

/// Hosts at most, over all clusters.
const MAX_HOSTS: u32 = 10_000;

/// The clusters that are named, in order of their hosts.
fn clusters(slb: &Reader<'_>) -> Vec<SlbCluster> {
    let mut clusters: Vec<SlbCluster> = Vec::new();
    let readers = slb.tables("cluster");
    if !readers.is_empty() && slb.has("hosts") {
        slb.push(
            Diagnostic::new(
                &slb.span("hosts"),
                "`slb.hosts` is said twice",
                "each `slb.cluster` says its own",
            )
            .help("leave `slb.hosts` out"),
        );
    }
    let mut first = 0;
    for (index, reader) in readers.iter().enumerate() {
        let count = reader.count("hosts", 1..=MAX_HOSTS).unwrap_or(1) as usize;
        if first + count > MAX_HOSTS as usize {
            super::tell_too_many(reader, &reader.at(), MAX_HOSTS as usize);
            break;
        }
        let name = reader
            .name("name")
            .map_or_else(|| super::numbered("slb", index, readers.len()), str::to_owned);
        if clusters.iter().any(|other| other.name == name) {
            super::same_name(reader, "SLB cluster", &name);
        }
        let hosts = first..first + count;
        first = hosts.end;
        clusters.push(SlbCluster { name, hosts });
    }
    clusters
}

/// The source addresses of each host.
fn hosts(reader: &Reader<'_>, clusters: &[SlbCluster]) -> Vec<Vec<Ipv4Addr>> {
    let hosts = reader.count("hosts", 1..=MAX_HOSTS).unwrap_or(1) as usize;
    let hosts = clusters.last().map_or(hosts, |last| last.hosts.end);
    let network = reader.network("network");
    let default = Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10);
    let network = network.unwrap_or(default);
    let listed = matches!(
        reader.get("addresses").map(|value| &value.kind),
        Some(Kind::Array(_))
    );
    let addresses = if listed {
        match address_list(reader) {
            Some(list) => list,
            None => return Vec::new(),
        }
    } else {
        let count = reader
            .count("addresses", 1..=MAX_ADDRESSES)
            .unwrap_or(hosts as u32);
        let capacity = addresses::capacity(network);
        if u64::from(count) > capacity {
            let key = if reader.has("addresses") {
                "addresses"
            } else {
                "network"
            };
            reader.push(
                Diagnostic::new(
                    &reader.span(key),
                    format!("`slb.addresses` is more than {network} holds"),
                    format!("the network has {capacity} addresses, {count} are needed"),
                )
                .help("take a larger `slb.network`"),
            );
            return Vec::new();
        }
        let (first, _) = addresses::usable(network);
        (0..count)
            .map(|offset| Ipv4Addr::from_bits(first + offset))
            .collect()
    };
    if addresses.len() < hosts {
        reader.push(
            Diagnostic::new(
                &reader.span("addresses"),
                "there are fewer SLB addresses than hosts",
                format!("{} addresses for {hosts} hosts", addresses.len()),
            )
            .help("each host needs an address of its own; `slb.addresses` is their number over all hosts"),
        );
        return Vec::new();
    }
    spread(&addresses, hosts)
}

/// Deals `addresses` to `hosts` in order; the first ones get one more if it does not come out even.
fn spread(addresses: &[Ipv4Addr], hosts: usize) -> Vec<Vec<Ipv4Addr>> {
    let (each, extra) = (addresses.len() / hosts, addresses.len() % hosts);
    let mut rest = addresses;
    (0..hosts)
        .map(|host| {
            let (mine, others) = rest.split_at(each + usize::from(host < extra));
            rest = others;
            mine.to_vec()
        })
        .collect()
}

/// The addresses of a list; `None` if something in it is wrong.
fn address_list(reader: &Reader<'_>) -> Option<Vec<Ipv4Addr>> {
    let Some(Kind::Array(items)) = reader.get("addresses").map(|value| &value.kind) else {
        return None;
    };
    if items.len() > MAX_ADDRESSES as usize {
        reader.expected("addresses", &format!("at most {MAX_ADDRESSES} addresses"));
        return None;
    }
    let mut list = Vec::new();
    let mut good = true;
    for item in items {
        let address = match &item.kind {
            Kind::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        let Some(address) = address else {
            let expected = "an IPv4 address such as \"100.64.0.1\"";
            reader.push(Diagnostic::new(
                &item.span,
                "`slb.addresses` holds something else",
                format!("expected {expected}"),
            ));
            good = false;
            continue;
        };
        list.push(address);
    }
    good.then_some(list)
}

fn client_connections(slb: &Reader<'_>) -> ClientConnections {
    let nginx = ClientConnections::NGINX;
    ClientConnections {
        keepalive_timeout: slb
            .duration("client_keepalive_timeout", SimDuration::ZERO, MAX_TIMEOUT)
            .unwrap_or(nginx.keepalive_timeout),
        keepalive_requests: slb
            .count("client_keepalive_requests", 1..=u32::MAX)
            .unwrap_or(nginx.keepalive_requests),
    }
}

fn stray_rst(slb: &Reader<'_>) -> Option<StrayRst> {
    let reader = slb.table("stray_rst");
    let share = reader.share("share");
    if reader.is_present() && !reader.has("share") {
        reader.missing("share", "share = \"1%\"");
    }
    let rst = StrayRst {
        share: share.unwrap_or(0.0),
        seq_offset: reader
            .integer("seq_offset", i128::from(i32::MIN)..=i128::from(i32::MAX))
            .map_or(-1, |offset| offset as i32),
        after: reader
            .duration("after", SimDuration::ZERO, SimDuration::from_secs(86_400))
            .unwrap_or(SimDuration::from_millis(100)),
    };
    reader.is_present().then_some(rst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_dealt_in_order_and_evenly() {
        let list: Vec<_> = (1..=7).map(|n| Ipv4Addr::new(10, 0, 0, n)).collect();
        let dealt = spread(&list, 3);
        assert_eq!(dealt.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2, 2]);
        assert_eq!(dealt.concat(), list);
    }
}
