//! `[clients]`: populations.

use super::slb::host_kernel;
use super::{Notes, numbered, same_name, service_of, tell_too_many};
use crate::model::client::Arrivals;
use crate::model::distribution::Distribution;
use crate::model::link::LinkConfig;
use crate::model::tcp::{TcpConfig, TimestampMode};
use crate::profile::Profile;
use crate::scenario::reader::Reader;
use crate::scenario::sysctl;
use crate::spec::{Backends, ClientPlan, Plan, ServicePlan, SlbPlan};
use crate::units::{Rate, SimDuration};

/// Populations at most: a request's tag has five bits for its population.
const MAX_POPULATIONS: usize = 32;
/// Requests of one population in one replication at most: the tag has 27 bits for the number, and a Poisson process may
/// send a few more than its mean.
pub(super) const MAX_REQUESTS: f64 = 1.3e8;

#[derive(Debug, Clone, Copy)]
enum Process {
    Poisson,
    Constant,
    ClosedLoop,
}

pub(super) fn resolve(
    root: &Reader<'_>,
    services: &[ServicePlan],
    slb: &SlbPlan,
    notes: &mut Notes,
) -> Vec<ClientPlan> {
    let readers = root.tables("clients");
    if !root.has("clients") {
        root.missing("clients", "[clients] with rate = \"350/s\"");
    }
    // A caller without layer 7 has no client in front of it that could leave.
    let l7 = slb.l7;
    let mut clients: Vec<ClientPlan> = Vec::new();
    for (index, reader) in readers.iter().enumerate() {
        if index >= MAX_POPULATIONS {
            tell_too_many(reader, &reader.at(), MAX_POPULATIONS);
            break;
        }
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
            tcp: tcp(reader, slb, notes),
            until: None,
            timeout,
            addresses: reader.count("addresses", 1..=u32::MAX),
            request_bytes: reader.size("request_bytes").unwrap_or(200),
            response_bytes: reader.size("response_bytes").unwrap_or(500),
        });
    }
    clients
}

/// Clients are not studied: unless they name a kernel, they have the SLB's, with timestamps on as is their default.
fn tcp(reader: &Reader<'_>, slb: &SlbPlan, notes: &mut Notes) -> TcpConfig {
    let named = reader.profile("profile");
    let mut kernel = *named.unwrap_or(&Profile::DEFAULT);
    if named.is_none() {
        kernel.tcp = TcpConfig {
            timestamps: TimestampMode::RandomOffset,
            ..slb.tcp
        };
    }
    let set = host_kernel(reader, sysctl::POD, &mut kernel);
    if named.is_some() {
        notes.profile(&kernel, sysctl::POD, &set);
    }
    kernel.tcp
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

/// About how many requests `client` sends in one replication; `None` if a closed loop need not take any time at all.
pub(super) fn expected_requests(plan: &Plan, client: &ClientPlan) -> Option<f64> {
    let seconds = plan.duration.as_secs_f64();
    let (users, think_time) = match client.arrivals {
        Arrivals::Poisson { rate } | Arrivals::Constant { rate } => {
            return Some(rate.as_per_second() * seconds);
        }
        Arrivals::ClosedLoop { users, think_time } => (users, think_time.mean()),
    };
    let links = &plan.links;
    // Two round trips over each link: handshake, then request and response.
    let round_trips = |link: LinkConfig| link.delay.mean().saturating_mul(4);
    let client_leg = if plan.slb.l7 {
        round_trips(links.client_slb)
    } else {
        SimDuration::ZERO
    };
    // What needs no free port, no backend and no patience: even a request that fails takes so long.
    let shortest = think_time + client_leg.min(client.timeout.unwrap_or(SimDuration::MAX));
    if shortest == SimDuration::ZERO {
        return None;
    }
    let upstream = match plan.slb.backends {
        Backends::Pod => round_trips(links.slb_pod),
        Backends::NodePort => round_trips(links.slb_node) + round_trips(links.node_pod),
    };
    let service = plan.pods.iter().map(|pod| pod.service_time.mean()).min();
    let answered = client_leg + upstream + service.unwrap_or_default();
    let cycle = think_time + answered.min(client.timeout.unwrap_or(SimDuration::MAX));
    Some(f64::from(users) * seconds / cycle.as_secs_f64())
}
