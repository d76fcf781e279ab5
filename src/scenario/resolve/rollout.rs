//! `[rollout]`: a rolling update, spelled out as events of pods.
//!
//! What a Deployment's controller does (`pkg/controller/deployment/rolling.go`): never more than `replicas + maxSurge` pods
//! that are not being deleted, never fewer than `replicas - maxUnavailable` available ones; and what becomes of a pod
//! that is deleted (Kubernetes' documentation, Pod Lifecycle, Termination of Pods): its endpoint is terminating at once,
//! the preStop hook runs, SIGTERM, SIGKILL at the end of the grace period.

use std::collections::VecDeque;

use super::addresses::{Counter, Source, Taken};
use super::pod::PodInstance;
use super::{MAX_PAIRS, MAX_PODS, service_of};
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::document::Kind;
use crate::scenario::reader::{MAX_RUN, Reader};
use crate::spec::{NodePlan, OnSigterm, PodChange, PodEvent, PodPlan, ServicePlan};
use crate::units::SimDuration;

/// Rolling updates at most.
const MAX_TABLES: usize = 100;

/// Who plays in it: the pods of one cluster as they are written, and everything that was made of them.
pub(super) struct Cast<'c> {
    pub instances: &'c [PodInstance],
    pub clusters: usize,
    pub nodes: &'c mut Vec<NodePlan>,
    pub pods: &'c mut Vec<PodPlan>,
    pub addresses: &'c mut Counter,
    pub taken: &'c mut Taken,
}

/// A rolling update as written.
struct Rollout {
    at: SimDuration,
    service: usize,
    /// Of so many pods; see [`part`].
    max_surge: Part,
    max_unavailable: Part,
    ready_after: SimDuration,
    min_ready: SimDuration,
    pre_stop: SimDuration,
    on_sigterm: OnSigterm,
    grace_period: SimDuration,
}

/// A number of pods, or a percentage of them.
#[derive(Debug, Clone, Copy)]
enum Part {
    Pods(u32),
    Percent(u32),
}

pub(super) fn resolve(root: &Reader<'_>, services: &[ServicePlan], mut cast: Cast<'_>) -> Vec<PodEvent> {
    let mut events = Vec::new();
    let readers = root.tables("rollout");
    if cast.pods.is_empty() {
        return events;
    }
    // The pod that runs now for each that the scenario begins with.
    let mut running: Vec<usize> = (0..cast.pods.len()).collect();
    let mut updates = vec![0; services.len()];
    let mut before = vec![SimDuration::ZERO; services.len()];
    for (number, reader) in readers.iter().enumerate() {
        if number >= MAX_TABLES {
            super::tell_too_many(reader, &reader.at(), MAX_TABLES);
            break;
        }
        let Some(rollout) = read(reader, services) else {
            continue;
        };
        if rollout.at < before[rollout.service] {
            reader.push(
                Diagnostic::new(
                    &reader.span("at"),
                    "two rolling updates of one service overlap",
                    format!("the one before ends at {}", before[rollout.service]),
                )
                .help("write them in order of time, and let one end before the next begins"),
            );
            continue;
        }
        updates[rollout.service] += 1;
        let generation = updates[rollout.service];
        let Some(successors) = cast.successors(root, reader, &rollout, generation, &running) else {
            break;
        };
        let per_cluster = successors.len() / cast.clusters;
        for pods in successors.chunks(per_cluster.max(1)) {
            let end = schedule(&rollout, &running, pods, &mut events);
            before[rollout.service] = before[rollout.service].max(end);
        }
        for Successor { first, pod } in successors {
            running[first] = pod;
        }
    }
    events
}

fn read(reader: &Reader<'_>, services: &[ServicePlan]) -> Option<Rollout> {
    let at = reader.duration("at", SimDuration::ZERO, MAX_RUN);
    if !reader.has("at") {
        reader.missing("at", "at = \"60s\"");
    }
    let duration = |key: &str, default: u64| {
        let read = reader.duration(key, SimDuration::ZERO, MAX_RUN);
        read.unwrap_or(SimDuration::from_secs(default))
    };
    let (pre_stop, grace_period) = (duration("pre_stop", 0), duration("grace_period", 30));
    if pre_stop >= grace_period {
        reader.push(
            Diagnostic::new(
                &reader.span("pre_stop"),
                "`rollout.pre_stop` leaves no time for SIGTERM",
                format!("`grace_period` is {grace_period}"),
            )
            .help("the hook counts against the grace period: make that one longer"),
        );
    }
    let (max_surge, max_unavailable) = (part(reader, "max_surge"), part(reader, "max_unavailable"));
    if let (Part::Pods(0) | Part::Percent(0), Part::Pods(0) | Part::Percent(0)) = (max_surge, max_unavailable)
    {
        reader.push(
            Diagnostic::new(
                &reader.span("max_unavailable"),
                "the rolling update can never begin",
                "no pod more and no pod fewer",
            )
            .help("`max_surge` and `max_unavailable` cannot both be 0"),
        );
        return None;
    }
    let on_sigterm = reader.choice(
        "on_sigterm",
        &[
            ("finish", OnSigterm::Finish),
            ("exit", OnSigterm::Exit),
            ("ignore", OnSigterm::Ignore),
        ],
    );
    Some(Rollout {
        service: service_of(reader, services),
        max_surge,
        max_unavailable,
        ready_after: duration("ready_after", 5),
        min_ready: duration("min_ready", 0),
        pre_stop,
        on_sigterm: on_sigterm.unwrap_or(OnSigterm::Finish),
        grace_period,
        at: at?,
    })
}

/// A whole number, or `"25%"`.
fn part(reader: &Reader<'_>, key: &str) -> Part {
    const DEFAULT: Part = Part::Percent(25);
    let expected = "a whole number of pods or a percentage such as \"25%\"";
    let percent = |text: &str| {
        let percent: u32 = text.trim().strip_suffix('%')?.trim().parse().ok()?;
        (percent <= 100).then_some(Part::Percent(percent))
    };
    let read = match reader.get(key).map(|value| &value.kind) {
        None => return DEFAULT,
        Some(Kind::Integer(number)) => u32::try_from(*number).ok().map(Part::Pods),
        Some(Kind::Text(text)) => percent(text),
        Some(_) => None,
    };
    read.unwrap_or_else(|| {
        reader.expected(key, expected);
        DEFAULT
    })
}

impl Part {
    /// Of `pods`, a percentage rounded up or down.
    fn of(self, pods: usize, up: bool) -> usize {
        match self {
            Self::Pods(number) => number as usize,
            Self::Percent(percent) if up => (pods * percent as usize).div_ceil(100),
            Self::Percent(percent) => pods * percent as usize / 100,
        }
    }
}

/// A new pod.
#[derive(Debug, Clone, Copy)]
struct Successor {
    /// The pod of the scenario that it descends from.
    first: usize,
    /// Itself.
    pod: usize,
}

impl Cast<'_> {
    /// Makes the pods that take the places of a service's, cluster by cluster. `None`: there is no room for them.
    fn successors(
        &mut self,
        root: &Reader<'_>,
        reader: &Reader<'_>,
        rollout: &Rollout,
        generation: usize,
        running: &[usize],
    ) -> Option<Vec<Successor>> {
        let mut successors = Vec::new();
        let mut of_old = vec![None; self.pods.len()];
        for (first, &old) in running.iter().enumerate() {
            let (cluster, instance) = (
                first / self.instances.len(),
                &self.instances[first % self.instances.len()],
            );
            if instance.plan.service != rollout.service {
                continue;
            }
            if self.pods.len() >= MAX_PODS {
                super::tell_too_many(reader, &reader.at(), MAX_PODS);
                return None;
            }
            let mut plan = self.pods[first].clone();
            plan.name = format!("{}-v{}", plan.name, generation + 1);
            plan.runs_at_start = false;
            // Behind all that the pods before have, in the same range.
            let source = match &instance.address {
                Source::From {
                    ip,
                    index,
                    count,
                    span,
                } => Source::From {
                    ip: *ip,
                    index: generation * self.clusters * count + index,
                    count: *count,
                    span: span.clone(),
                },
                pool @ Source::Pool { .. } => pool.clone(),
            };
            plan.endpoint.ip = source.next(root, self.addresses, cluster, "pod", self.taken);
            let pod = self.pods.len();
            of_old[old] = Some(pod);
            successors.push(Successor { first, pod });
            self.pods.push(plan);
        }
        self.join_nodes(reader, &of_old, rollout.service)
            .then_some(successors)
    }

    /// A new pod runs where the old one did. False: the nodes have too many pods.
    fn join_nodes(&mut self, reader: &Reader<'_>, of_old: &[Option<usize>], service: usize) -> bool {
        let mut pairs = 0;
        for node in self.nodes.iter_mut() {
            let new: Vec<_> = node.pods[service]
                .iter()
                .filter_map(|&old| of_old.get(old).copied().flatten())
                .collect();
            node.pods[service].extend(new);
            pairs += node.pods.iter().map(Vec::len).sum::<usize>();
        }
        if pairs > MAX_PAIRS {
            reader.push(Diagnostic::new(
                &reader.at(),
                "there are too many nodes and pods",
                format!("{pairs} pairs of a node and a pod, the new ones included; at most {MAX_PAIRS}"),
            ));
        }
        pairs <= MAX_PAIRS
    }
}

/// Spells out the update of one cluster's pods; answers when the last of it happens.
fn schedule(
    rollout: &Rollout,
    running: &[usize],
    pods: &[Successor],
    events: &mut Vec<PodEvent>,
) -> SimDuration {
    let replicas = pods.len();
    let surge = rollout.max_surge.of(replicas, true);
    let unavailable = rollout.max_unavailable.of(replicas, false);
    // Percentages of few pods may both come to nothing: then the controller lets one be missing
    // (`ResolveFenceposts()`, pkg/controller/deployment/util/deployment_util.go).
    let unavailable = if surge == 0 {
        unavailable.max(1)
    } else {
        unavailable
    };
    let least = replicas.saturating_sub(unavailable);
    let (mut created, mut deleted, mut available) = (0, 0, 0);
    let mut becoming = VecDeque::new();
    let (mut now, mut end) = (rollout.at, rollout.at);
    loop {
        // Old pods that are left, and new ones.
        while created < replicas && replicas - deleted + created < replicas + surge {
            let ready = now + rollout.ready_after;
            for what in [PodChange::Start, PodChange::Ready] {
                events.push(PodEvent {
                    at: ready,
                    pod: pods[created].pod,
                    what,
                });
            }
            becoming.push_back(ready + rollout.min_ready);
            created += 1;
        }
        if deleted < replicas && replicas - deleted + available > least {
            end = end.max(delete(rollout, now, running[pods[deleted].first], events));
            deleted += 1;
            continue;
        }
        let Some(next) = becoming.pop_front() else {
            return end.max(now);
        };
        now = next;
        available += 1;
    }
}

/// A pod is deleted; answers when nothing is left to happen to it.
fn delete(rollout: &Rollout, at: SimDuration, pod: usize, events: &mut Vec<PodEvent>) -> SimDuration {
    let killed = at + rollout.grace_period;
    let steps = [
        (at, PodChange::Drain),
        (at + rollout.pre_stop, PodChange::Terminate(rollout.on_sigterm)),
        (killed, PodChange::Kill),
        (killed, PodChange::Remove),
    ];
    events.extend(steps.map(|(at, what)| PodEvent { at, pod, what }));
    killed
}
