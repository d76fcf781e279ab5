//! `[clients]`: populations.

use super::{Notes, numbered, same_name, service_of};
use crate::model::client::Arrivals;
use crate::model::distribution::Distribution;
use crate::scenario::reader::Reader;
use crate::spec::{Backends, ClientPlan, Plan, ServicePlan};
use crate::units::{Rate, SimDuration};

#[derive(Debug, Clone, Copy)]
enum Process {
    Poisson,
    Constant,
    ClosedLoop,
}

pub(super) fn resolve(root: &Reader<'_>, services: &[ServicePlan], notes: &mut Notes) -> Vec<ClientPlan> {
    let readers = root.tables("clients");
    if !root.has("clients") {
        root.missing("clients", "[clients] with rate = \"350/s\"");
    }
    // A caller without layer 7 has no client in front of it that could leave.
    let l7 = root.table("slb").switch("l7").unwrap_or(true);
    let mut clients: Vec<ClientPlan> = Vec::new();
    for (index, reader) in readers.iter().enumerate() {
        let name = reader
            .name("name")
            .map_or_else(|| numbered("clients", index, readers.len()), str::to_owned);
        if clients.iter().any(|other| other.name == name) {
            same_name(reader, "population", &name);
        }
        let timeout = if reader.is_none_word("timeout") {
            None
        } else {
            let default = l7.then_some(SimDuration::from_secs(60));
            reader.timeout("timeout").or(default)
        };
        clients.push(ClientPlan {
            name,
            service: service_of(reader, services),
            arrivals: arrivals(reader, notes),
            timeout,
            request_bytes: reader.size("request_bytes").unwrap_or(200),
            response_bytes: reader.size("response_bytes").unwrap_or(500),
        });
    }
    clients
}

fn arrivals(reader: &Reader<'_>, notes: &mut Notes) -> Arrivals {
    let process = reader.choice(
        "arrivals",
        &[
            ("poisson", Process::Poisson),
            ("constant", Process::Constant),
            ("closed-loop", Process::ClosedLoop),
        ],
    );
    let process = process.unwrap_or(Process::Poisson);
    let rate = reader.rate("rate");
    let users = reader.count("users", 1..=1_000_000);
    let think_time = reader.distribution("think_time");
    let (needed, idle): (&[_], &[_]) = if let Process::ClosedLoop = process {
        (
            &[("users", "users = 100"), ("think_time", "think_time = \"1s\"")],
            &["rate"],
        )
    } else {
        (&[("rate", "rate = \"350/s\"")], &["users", "think_time"])
    };
    for (key, example) in needed {
        if !reader.has(key) {
            reader.missing(key, example);
        }
    }
    for key in idle.iter().filter(|key| reader.has(key)) {
        notes.add(format!(
            "`clients.{key}` has no effect with these `clients.arrivals`"
        ));
    }
    let rate = rate.unwrap_or(Rate::per_second(1));
    match process {
        Process::Poisson => Arrivals::Poisson { rate },
        Process::Constant => Arrivals::Constant { rate },
        Process::ClosedLoop => Arrivals::ClosedLoop {
            users: users.unwrap_or(1),
            think_time: think_time.unwrap_or(Distribution::Constant(SimDuration::from_secs(1))),
        },
    }
}

/// About how many requests one replication has; infinite if a closed loop takes no time at all.
pub(super) fn expected_requests(plan: &Plan) -> f64 {
    let links = &plan.links;
    let hops = [links.client_slb, links.slb_node, links.node_pod, links.slb_pod];
    let used = |index: usize| match index {
        0 => plan.slb.l7,
        3 => plan.slb.backends == Backends::Pod,
        _ => plan.slb.backends == Backends::NodePort,
    };
    // Two round trips over each link: handshake, then request and response.
    let round_trips: f64 = hops
        .iter()
        .enumerate()
        .filter(|(index, _)| used(*index))
        .map(|(_, link)| 4.0 * link.delay.mean().as_secs_f64())
        .sum();
    let seconds = plan.duration.as_secs_f64();
    let of = |client: &ClientPlan| match client.arrivals {
        Arrivals::Poisson { rate } | Arrivals::Constant { rate } => rate.as_per_second() * seconds,
        Arrivals::ClosedLoop { users, think_time } => {
            let service = plan
                .pods
                .iter()
                .map(|pod| pod.service_time.mean())
                .min()
                .unwrap_or_default();
            let cycle = think_time.mean().as_secs_f64() + service.as_secs_f64() + round_trips;
            f64::from(users) * seconds / cycle
        }
    };
    plan.clients.iter().map(of).sum()
}
