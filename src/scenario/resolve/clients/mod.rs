//! `[clients]`: populations.

mod arrivals;
mod expected;
mod habits;

pub(super) use expected::{MAX_REQUESTS, Requests, expected_requests};

use super::slb::host_kernel;
use super::{Notes, numbered, same_name, service_of, tell_too_many};
use crate::model::client::Arrivals;
use crate::model::sizes::Sizes;
use crate::model::tcp::{TcpConfig, TimestampMode};
use crate::profile::Profile;
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::reader::Reader;
use crate::scenario::set::look_up;
use crate::scenario::sysctl;
use crate::scenario::words::nearest;
use crate::spec::{ClientPlan, Plan, ServicePlan, SlbPlan};
use crate::units::SimDuration;

/// Populations at most: a request's tag has five bits for its population.
const MAX_POPULATIONS: usize = 32;

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
            slb: slb_of(reader, slb),
            arrivals: arrivals::resolve(reader, notes),
            tcp: tcp(reader, slb, notes),
            until: None,
            timeout,
            addresses: reader.count("addresses", 1..=u32::MAX),
            retry: habits::retry(reader),
            keepalive: habits::keepalive(reader),
            request_bytes: reader.sizes("request_bytes").unwrap_or(Sizes::Constant(200)),
            response_bytes: reader.sizes("response_bytes").unwrap_or(Sizes::Constant(500)),
        });
    }
    tell_idle_connections(root, &clients, l7, notes);
    clients
}

/// The index of the SLB cluster that a population comes to; the first one by default.
fn slb_of(reader: &Reader<'_>, slb: &SlbPlan) -> usize {
    let Some(name) = reader.name("slb") else {
        return 0;
    };
    let names: Vec<_> = slb.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    names.iter().position(|known| *known == name).unwrap_or_else(|| {
        let near = nearest(name, names.iter().copied());
        let help = match near {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if names.is_empty() => "name it in [[slb.cluster]]".to_owned(),
            None => format!("there is {}", names.join(", ")),
        };
        let message = format!("there is no SLB cluster `{name}`");
        reader.push(Diagnostic::new(&reader.span("slb"), message, "unknown cluster").help(help));
        0
    })
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

/// Says how much of a trace lies behind the end of the run.
pub(super) fn tell_late_arrivals(plan: &Plan, notes: &mut Notes) {
    for client in &plan.clients {
        let Arrivals::Trace(trace) = &client.arrivals else {
            continue;
        };
        let all = trace.len();
        let late = all - trace.count_within(plan.duration);
        if late > 0 {
            notes.add(format!(
                "`clients.trace`: {late} of {all} arrivals lie behind the end of the run"
            ));
        }
    }
}

/// Says which keys have no effect without layer 7 or without clients that keep their connections.
fn tell_idle_connections(root: &Reader<'_>, clients: &[ClientPlan], l7: bool, notes: &mut Notes) {
    let keep = clients.iter().any(|client| client.keepalive.is_some());
    if keep && !l7 {
        notes.add("`clients.keepalive` has no effect with `slb.l7 = false`: there is no client's leg");
    }
    let written = root.written();
    for key in ["client_keepalive_timeout", "client_keepalive_requests"] {
        let found = written.and_then(|table| look_up(table, &format!("slb.{key}")));
        if found.is_some() && !keep {
            notes.add(format!("`slb.{key}` has no effect without `clients.keepalive`"));
        }
    }
}
