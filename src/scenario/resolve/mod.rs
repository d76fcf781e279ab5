//! Document -> Plan: applies profiles and defaults, checks values against each other, deals pods to nodes. Everything that
//! is wrong goes to the sink; what comes out is of use only if the sink stayed empty.

mod addresses;
mod clients;
mod expect;
mod links;
mod node;
mod placement;
mod pod;
mod slb;

use super::Limits;
use super::diagnostic::{Diagnostic, Span};
use super::reader::{MAX_RUN, Reader};
use super::sysctl;
use crate::profile::{Part, Profile, Switch};
use crate::spec::{Backends, Plan, ServicePlan};
use crate::units::SimDuration;

/// Nodes at most, over all clusters.
const MAX_NODES: usize = 10_000;
/// Pods at most, over all clusters.
const MAX_PODS: usize = 100_000;
/// Nodes times pods of a cluster, times clusters, at most: each node has a pool of ports towards each pod, 20 kB.
const MAX_PAIRS: usize = 100_000;
/// Hosts of the SLB times what they connect to, at most: each has a link and a pool of connections for it, half a kilobyte.
const MAX_BACKENDS: usize = 1_000_000;
/// Services at most.
const MAX_SERVICES: usize = 1_000;
/// Connections beyond which a run is refused without `--yes`.
const MAX_CONNECTIONS: f64 = 1e8;
/// Simulated seconds over all replications beyond which a run is refused without `--yes`: each leaves a row of about 600
/// octets in memory.
const MAX_SECONDS: u64 = 5_000_000;

/// A resolved scenario and what should be said beside its result.
pub(super) struct Resolved {
    pub plan: Plan,
    pub notes: Vec<String>,
}

/// Resolves the document under `root`. `name` is the file as the user wrote it, `stem` its stem, `text` its text.
pub(super) fn resolve(root: &Reader<'_>, name: &str, stem: &str, text: &str, limits: Limits) -> Resolved {
    let mut notes = Notes::default();
    let duration = root.duration("duration", SimDuration::from_nanos(1), MAX_RUN);
    if !root.has("duration") {
        root.missing("duration", "duration = \"320s\"");
    }
    let warm_up = root
        .duration("warm_up", SimDuration::ZERO, MAX_RUN)
        .unwrap_or_default();
    // Figures leave out whole seconds.
    let left_out = SimDuration::from_secs(warm_up.as_nanos().div_ceil(1_000_000_000));
    if duration.is_some_and(|duration| left_out >= duration) {
        let label = if duration.is_some_and(|duration| warm_up >= duration) {
            "not shorter than `duration`".to_owned()
        } else {
            format!("counts as {left_out}: whole seconds are left out")
        };
        root.push(Diagnostic::new(
            &root.span("warm_up"),
            "`warm_up` leaves nothing to count",
            label,
        ));
    }
    let duration = duration.unwrap_or(SimDuration::from_secs(1));
    let replications = root.count("replications", 1..=100_000).unwrap_or(1);
    let clusters = root.count("clusters", 1..=1_000).unwrap_or(1) as usize;

    let services = services(root);
    let slb = slb::resolve(root, &mut notes);
    let clients = clients::resolve(root, &services, &slb, &mut notes);
    let mut taken = addresses::Taken::default();
    taken.add_slb(root, &slb);
    let links = links::resolve(root, &mut notes);
    let groups = node::resolve(root, &links, &mut notes);
    let usual = match slb.backends {
        Backends::NodePort => links.node_pod,
        Backends::Pod => links.slb_pod,
    };
    let pods = pod::resolve(root, &services, &groups, usual, &mut notes);
    let (nodes, pods) = multiply(root, clusters, services.len(), &groups, &pods, &mut taken);
    taken.refuse_duplicates(root);
    refuse_too_many_backends(root, slb.hosts.len(), slb.backends, nodes.len(), pods.len());
    refuse_same_names(root, "node", nodes.iter().map(|node| node.name.as_str()));
    refuse_same_names(root, "pod", pods.iter().map(|pod| pod.name.as_str()));
    if nodes
        .iter()
        .any(|node| node.pods.iter().any(Vec::is_empty) && slb.backends == Backends::NodePort)
    {
        notes.add("under external_traffic_policy = \"local\" some node has no pod of its own for a service");
    }

    links::check(root, &links, &slb, &nodes, &pods, &mut notes);

    let expectations = expect::resolve(root, name, text, &mut notes);
    let plan = Plan {
        name: stem.to_owned(),
        hash: String::new(),
        question: root.text("question").map(str::to_owned),
        seed: root
            .integer("seed", 0..=i128::from(u64::MAX))
            .map_or(1, |seed| seed as u64),
        replications,
        duration,
        warm_up,
        scorecard: root.switch("scorecard").unwrap_or(false),
        clients,
        slb,
        nodes,
        services,
        pods,
        links,
        expectations,
    };
    refuse_too_much(root, &plan, limits);
    Resolved {
        plan,
        notes: notes.list,
    }
}

/// Remarks that are no errors, each once.
#[derive(Debug, Default)]
pub(super) struct Notes {
    list: Vec<String>,
}

impl Notes {
    pub fn add(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.list.contains(&note) {
            self.list.push(note);
        }
    }

    /// What is not verified of the switches that a host's parts use and that the scenario did not set.
    pub fn profile(&mut self, profile: &Profile, parts: &[Part], set: &[&Switch]) {
        if !profile.ran {
            self.add(format!(
                "profile {}: it never ran here; {}",
                profile.name, profile.about
            ));
        }
        for doubt in profile.unverified {
            let switches: Vec<_> = sysctl::of_parts(parts)
                .filter(|switch| (switch.lacks)(profile).is_none())
                .filter(|switch| profile.doubt(switch) == Some(doubt.why))
                .filter(|switch| !set.iter().any(|other| other.name == switch.name))
                .map(Switch::short)
                .collect();
            let which = match switches.len() {
                0 => continue,
                1..=MAX_NAMES => switches.join(", "),
                more => format!("{more} switches"),
            };
            self.add(format!(
                "profile {}: {which} not verified: {}",
                profile.name, doubt.why
            ));
        }
    }
}

/// Switches that a remark names; more are counted.
const MAX_NAMES: usize = 6;

fn services(root: &Reader<'_>) -> Vec<ServicePlan> {
    let mut readers = root.tables("service");
    if readers.is_empty() {
        readers.push(root.default_table("service"));
    }
    let mut services: Vec<ServicePlan> = Vec::new();
    for (index, reader) in readers.iter().enumerate() {
        if index >= MAX_SERVICES {
            tell_too_many(reader, &reader.at(), MAX_SERVICES);
            break;
        }
        let name = reader
            .name("name")
            .map_or_else(|| numbered("service", index, readers.len()), str::to_owned);
        let default_port = 30_080 + (index % 1_000) as u16;
        let node_port = reader.port("node_port").unwrap_or(default_port);
        if services.iter().any(|service| service.name == name) {
            same_name(reader, "service", &name);
        }
        if services.iter().any(|service| service.node_port == node_port) {
            reader.push(
                Diagnostic::new(
                    &reader.span("node_port"),
                    format!("NodePort {node_port} is taken"),
                    "another service has it",
                )
                .help("say `node_port` of each service"),
            );
        }
        services.push(ServicePlan { name, node_port });
    }
    services
}

/// The index of the service that `reader` names; the first one by default.
fn service_of(reader: &Reader<'_>, services: &[ServicePlan]) -> usize {
    let Some(name) = reader.name("service") else {
        return 0;
    };
    services
        .iter()
        .position(|service| service.name == name)
        .unwrap_or_else(|| {
            let names: Vec<_> = services.iter().map(|service| service.name.as_str()).collect();
            let near = super::words::nearest(name, names.iter().copied());
            let help = near.map_or_else(
                || format!("there is {}", names.join(", ")),
                |near| format!("did you mean \"{near}\"?"),
            );
            let diagnostic = Diagnostic::new(
                &reader.span("service"),
                format!("there is no service `{name}`"),
                "unknown service",
            );
            reader.push(diagnostic.help(help));
            0
        })
}

/// `name`, with its number if there are several.
fn numbered(name: &str, index: usize, count: usize) -> String {
    if count > 1 {
        format!("{name}-{index}")
    } else {
        name.to_owned()
    }
}

/// Whether `extra` more would be too many; told if so.
fn too_many(reader: &Reader<'_>, count: usize, extra: usize, limit: usize) -> bool {
    let over = count + extra > limit;
    if over {
        tell_too_many(reader, &reader.span("count"), limit);
    }
    over
}

fn tell_too_many(reader: &Reader<'_>, span: &Span, limit: usize) {
    reader.push(Diagnostic::new(
        span,
        format!("there are too many of `{}`", reader.own_path()),
        format!("at most {limit} in all"),
    ));
}

/// Each host of the SLB has a link to each backend.
fn refuse_too_many_backends(root: &Reader<'_>, hosts: usize, to: Backends, nodes: usize, pods: usize) {
    let (what, count) = match to {
        Backends::NodePort => ("nodes", nodes),
        Backends::Pod => ("pods", pods),
    };
    if hosts * count > MAX_BACKENDS {
        root.push(
            Diagnostic::new(
                &root.span("slb"),
                format!("{hosts} SLB hosts in front of {count} {what} are too many"),
                format!("at most {MAX_BACKENDS} pairs"),
            )
            .help("take fewer `slb.hosts`; `slb.addresses` may stay as many"),
        );
    }
}

fn same_name(reader: &Reader<'_>, what: &str, name: &str) {
    reader.push(Diagnostic::new(
        &reader.span("name"),
        format!("there are two of the name `{name}`"),
        format!("another {what} has it"),
    ));
}

fn refuse_same_names<'n>(root: &Reader<'_>, what: &str, names: impl Iterator<Item = &'n str>) {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    let twice = names.iter().zip(names.iter().skip(1)).find(|(a, b)| a == b);
    if let Some((name, _)) = twice {
        root.push(
            Diagnostic::new(
                &root.span(what),
                format!("there are two of the name `{name}`"),
                format!("in `{what}`"),
            )
            .help("give each table a `name` of its own; `count` appends -0, -1, ..."),
        );
    }
}

/// Makes the clusters out of one cluster's nodes and pods.
fn multiply(
    root: &Reader<'_>,
    clusters: usize,
    service_count: usize,
    nodes: &[node::NodeInstance],
    pods: &[pod::PodInstance],
    taken: &mut addresses::Taken,
) -> (Vec<crate::spec::NodePlan>, Vec<crate::spec::PodPlan>) {
    let (node_count, pod_count) = (nodes.len() * clusters, pods.len() * clusters);
    if node_count > MAX_NODES || pod_count > MAX_PODS || nodes.len() * pod_count > MAX_PAIRS {
        root.push(Diagnostic::new(
            &root.span("clusters"),
            "there are too many nodes and pods",
            format!("{node_count} nodes and {pod_count} pods over {clusters} clusters"),
        ).help(format!(
            "at most {MAX_NODES} nodes and {MAX_PODS} pods, and {MAX_PAIRS} pairs of a node and a pod of its cluster"
        )));
        return (Vec::new(), Vec::new());
    }
    let mut node_addresses = addresses::Counter::nodes();
    let mut pod_addresses = addresses::Counter::default();
    let (mut all_nodes, mut all_pods) = (Vec::new(), Vec::new());
    for cluster in 0..clusters {
        let prefix = if clusters > 1 {
            format!("cluster-{cluster}/")
        } else {
            String::new()
        };
        let (first_node, first_pod) = (all_nodes.len(), all_pods.len());
        for instance in pods {
            let mut plan = instance.plan.clone();
            plan.name = format!("{prefix}{}", plan.name);
            plan.node += first_node;
            plan.endpoint.ip = instance
                .address
                .next(root, &mut pod_addresses, cluster, "pod", taken);
            all_pods.push(plan);
        }
        for (index, instance) in nodes.iter().enumerate() {
            let mut plan = instance.plan.clone();
            plan.name = format!("{prefix}{}", plan.name);
            let its = format!("{prefix}{}", plan.cluster);
            plan.cluster = String::from(its.trim_end_matches('/'));
            plan.ip = instance
                .address
                .next(root, &mut node_addresses, cluster, "node", taken);
            plan.pods = (0..service_count)
                .map(|service| {
                    let serves = |(number, pod): (usize, &pod::PodInstance)| {
                        let home = &nodes[pod.plan.node].plan;
                        let here = home.cluster == instance.plan.cluster
                            && (!instance.plan.local || pod.plan.node == index);
                        (pod.plan.service == service && here).then_some(first_pod + number)
                    };
                    pods.iter().enumerate().filter_map(serves).collect()
                })
                .collect();
            all_nodes.push(plan);
        }
    }
    (all_nodes, all_pods)
}

fn refuse_too_much(root: &Reader<'_>, plan: &Plan, limits: Limits) {
    let mut per_replication = 0.0;
    for (client, reader) in plan.clients.iter().zip(root.tables("clients")) {
        let Some(requests) = clients::expected_requests(plan, client) else {
            reader.push(
                Diagnostic::new(
                    &reader.at(),
                    "a closed loop that takes no time never lets time pass",
                    "no think time here",
                )
                .help("give it a `think_time`: a request can end at once, with no port left or no layer 7 in front"),
            );
            return;
        };
        if requests > clients::MAX_REQUESTS {
            reader.push(
                Diagnostic::new(
                    &reader.at(),
                    format!(
                        "about {requests:.1e} requests of one population in one replication are too many"
                    ),
                    format!("at most {:.1e}", clients::MAX_REQUESTS),
                )
                .help("more `replications` of a shorter `duration` say the same"),
            );
            return;
        }
        per_replication += requests;
    }
    let all = per_replication * f64::from(plan.replications);
    let seconds = plan
        .duration
        .as_secs()
        .saturating_mul(u64::from(plan.replications));
    if all > MAX_CONNECTIONS && !limits.yes {
        root.push(
            Diagnostic::new(
                &root.span("duration"),
                format!("this would simulate about {all:.1e} connections"),
                "rate times duration times replications",
            )
            .help("`--yes` runs it all the same"),
        );
    } else if seconds > MAX_SECONDS && !limits.yes {
        root.push(
            Diagnostic::new(
                &root.span("duration"),
                format!("this would simulate {seconds} seconds"),
                "duration times replications",
            )
            .help(format!(
                "each takes a row in memory, about {} GB in all; `--yes` runs it all the same",
                (seconds * 600).div_ceil(1_000_000_000)
            )),
        );
    }
}
