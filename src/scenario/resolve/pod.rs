//! `[pod]`: the pods of a cluster. A pod runs on a node and so on that node's kernel, unless it names another.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::addresses::Source;
use super::node::NodeInstance;
use super::placement::Placement;
use super::slb::host_kernel;
use super::upstream::{self, MAX_WEIGHT};
use super::{MAX_PODS, Notes, links, numbered, service_of, too_many};
use crate::model::distribution::Distribution;
use crate::model::link::LinkConfig;
use crate::model::tcp::TcpConfig;
use crate::profile::Profile;
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::document::Kind;
use crate::scenario::reader::Reader;
use crate::scenario::sysctl;
use crate::spec::{ClosePolicy, GoneAnswer, PodPlan, ServicePlan};
use crate::units::{Endpoint, SimDuration};

/// Pods of one table at most.
const MAX_COUNT: u32 = 10_000;

/// One pod of a cluster, its address still open.
pub(super) struct PodInstance {
    /// Its node is counted within the cluster.
    pub plan: PodPlan,
    /// Name of its table.
    pub table: String,
    pub address: Source,
}

pub(super) fn resolve(
    root: &Reader<'_>,
    services: &[ServicePlan],
    nodes: &[NodeInstance],
    usual: &LinkConfig,
    notes: &mut Notes,
) -> Vec<PodInstance> {
    let mut readers = root.tables("pod");
    if readers.is_empty() {
        readers.push(root.default_table("pod"));
    }
    let mut pods: Vec<PodInstance> = Vec::new();
    let mut placement = Placement::of(nodes);
    for (index, reader) in readers.iter().enumerate() {
        let name = reader
            .name("name")
            .map_or_else(|| numbered("pod", index, readers.len()), str::to_owned);
        let count = reader.count("count", 1..=MAX_COUNT).unwrap_or(1) as usize;
        if too_many(reader, pods.len(), count, MAX_PODS) {
            break;
        }
        let ip = reader.address("ip");
        let network = reader.network("network");
        let default = Ipv4Net::new_assert(Ipv4Addr::new(10, 1, 0, 0), 16);
        let mut kernels = Kernels::new(reader);
        let mut plan = pod(reader, services);
        plan.link = links::own(reader, usual, notes);
        let home = placement.home(reader, nodes);
        for number in 0..count {
            let mut plan = plan.clone();
            plan.node = placement.next(&home, number);
            let node = &nodes[plan.node];
            plan.name = numbered(&name, number, count);
            plan.tcp = kernels.tcp(reader, node, notes);
            let address = ip.map_or_else(
                || Source::Pool {
                    network: Some(network.unwrap_or(default)),
                    span: if network.is_some() {
                        reader.span("network")
                    } else {
                        reader.span("count")
                    },
                },
                |ip| Source::From {
                    ip,
                    index: number,
                    count,
                    span: reader.span("ip"),
                },
            );
            pods.push(PodInstance {
                plan,
                table: name.clone(),
                address,
            });
        }
    }
    refuse_idle_services(root, services, &pods);
    pods
}

/// TCP under the pods of one table, worked out once for each kernel.
struct Kernels {
    named: Option<&'static Profile>,
    known: Vec<(Profile, TcpConfig)>,
}

impl Kernels {
    fn new(reader: &Reader<'_>) -> Self {
        Self {
            named: reader.profile("profile"),
            known: Vec::new(),
        }
    }

    fn tcp(&mut self, reader: &Reader<'_>, node: &NodeInstance, notes: &mut Notes) -> TcpConfig {
        let base = *self.named.unwrap_or(&node.kernel);
        if let Some((_, tcp)) = self.known.iter().find(|known| known.0 == base) {
            return *tcp;
        }
        let mut kernel = base;
        let set = host_kernel(reader, sysctl::POD, &mut kernel);
        notes.profile(&kernel, sysctl::POD, &set);
        self.known.push((base, kernel.tcp));
        kernel.tcp
    }
}

fn pod(reader: &Reader<'_>, services: &[ServicePlan]) -> PodPlan {
    let workers = if reader.is_none_word("workers") {
        None
    } else {
        reader.count("workers", 1..=1_000_000)
    };
    PodPlan {
        name: String::new(),
        service: service_of(reader, services),
        node: 0,
        link: None,
        endpoint: Endpoint::new(Ipv4Addr::UNSPECIFIED, reader.port("port").unwrap_or(8_080)),
        tcp: Profile::DEFAULT.tcp,
        backlog: reader.count("backlog", 0..=i32::MAX as u32).unwrap_or(511),
        workers,
        service_time: reader
            .distribution("service_time")
            .unwrap_or(Distribution::Constant(SimDuration::from_millis(5))),
        errors: upstream::errors(reader),
        close: close(reader),
        slb_weight: reader.count("slb_weight", 1..=MAX_WEIGHT).unwrap_or(1),
        probe: upstream::probe(reader),
        close_delay: reader
            .distribution("close_delay")
            .unwrap_or(Distribution::Constant(SimDuration::ZERO)),
        ignore_client_abort: reader.switch("ignore_client_abort").unwrap_or(false),
        ipvs_weight: reader.count("ipvs_weight", 0..=65_535).unwrap_or(1),
        runs_at_start: true,
        when_gone: reader
            .choice(
                "when_gone",
                &[("silent", GoneAnswer::Silent), ("reset", GoneAnswer::Reset)],
            )
            .unwrap_or(GoneAnswer::Silent),
    }
}

fn close(reader: &Reader<'_>) -> ClosePolicy {
    let keep_alive = |close: &Reader<'_>| {
        let limits = close.table("keep-alive");
        ClosePolicy::KeepAlive {
            idle_timeout: limits
                .timeout("idle_timeout")
                .unwrap_or(SimDuration::from_secs(75)),
            requests: limits.count("requests", 1..=u32::MAX).unwrap_or(1_000),
        }
    };
    let expected =
        "\"after-response\", \"reset\", \"keep-alive\" or { keep-alive = { idle_timeout = \"75s\" } }";
    match reader.get("close").map(|value| &value.kind) {
        None => ClosePolicy::AfterResponse,
        Some(Kind::Text(text)) if text == "after-response" => ClosePolicy::AfterResponse,
        Some(Kind::Text(text)) if text == "reset" => ClosePolicy::Reset,
        Some(Kind::Text(text)) if text == "keep-alive" => keep_alive(&reader.default_table("close")),
        Some(Kind::Table(_)) => {
            let close = reader.table("close");
            if !close.has("keep-alive") {
                close.missing("keep-alive", "{ keep-alive = { requests = 1000 } }");
            }
            keep_alive(&close)
        }
        Some(_) => {
            reader.expected("close", expected);
            ClosePolicy::AfterResponse
        }
    }
}

fn refuse_idle_services(root: &Reader<'_>, services: &[ServicePlan], pods: &[PodInstance]) {
    for (index, service) in services.iter().enumerate() {
        if !pods.iter().any(|pod| pod.plan.service == index) {
            root.push(
                Diagnostic::new(
                    &root.span("service"),
                    format!("the service `{}` has no pod", service.name),
                    "nothing would answer",
                )
                .help(format!("add a [[pod]] with service = \"{}\"", service.name)),
            );
        }
    }
}
