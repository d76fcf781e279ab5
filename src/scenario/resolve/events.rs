//! `[[event]]`: what happens to pods, as plain events in order of time.

use super::Notes;
use super::pod::PodInstance;
use crate::model::distribution::Distribution;
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::reader::{MAX_RUN, Reader};
use crate::scenario::words::nearest;
use crate::spec::{PodChange, PodEvent};
use crate::units::SimDuration;

/// Tables at most: a pod begins at most once for each.
const MAX_TABLES: usize = 1_000;
/// Events at most, once tables of pods and rolling updates are spelled out.
const MAX_EVENTS: usize = 1_000_000;

/// What a scenario says of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Drain,
    Remove,
    Add,
    Crash,
    Restart,
}

/// How late a host learns of endpoints.
pub(super) fn endpoint_delay(host: &Reader<'_>) -> Distribution {
    host.distribution("endpoint_delay")
        .unwrap_or(Distribution::Constant(SimDuration::from_secs(1)))
}

/// The events of `[[event]]`. Pods are counted cluster by cluster.
pub(super) fn resolve(root: &Reader<'_>, pods: &[PodInstance], clusters: usize) -> Vec<PodEvent> {
    let mut events = Vec::new();
    for (number, reader) in root.tables("event").iter().enumerate() {
        if number >= MAX_TABLES {
            super::tell_too_many(reader, &reader.at(), MAX_TABLES);
            break;
        }
        let Some((at, what, back_after)) = read(reader) else {
            continue;
        };
        let concerned = pods_of(reader, pods);
        if events.len() + concerned.len() * clusters * 2 > MAX_EVENTS {
            super::tell_too_many(reader, &reader.span("pod"), MAX_EVENTS);
            break;
        }
        for cluster in 0..clusters {
            for &pod in &concerned {
                let pod = cluster * pods.len() + pod;
                let mut add = |at, what| events.push(PodEvent { at, pod, what });
                match what {
                    What::Drain => add(at, PodChange::Drain),
                    What::Remove => {
                        add(at, PodChange::Remove);
                        add(at, PodChange::Vanish);
                    }
                    What::Add => {
                        add(at, PodChange::Start);
                        add(at, PodChange::Ready);
                    }
                    What::Crash => add(at, PodChange::Crash),
                    What::Restart => add(at, PodChange::Exit),
                }
                if let Some(after) = back_after {
                    add(at + after, PodChange::Start);
                }
            }
        }
    }
    events
}

/// When, what, and after how long the process is back.
fn read(reader: &Reader<'_>) -> Option<(SimDuration, What, Option<SimDuration>)> {
    let at = reader.duration("at", SimDuration::ZERO, MAX_RUN);
    let words = [
        ("drain", What::Drain),
        ("remove", What::Remove),
        ("add", What::Add),
        ("crash", What::Crash),
        ("restart", What::Restart),
    ];
    let what = reader.choice("what", &words);
    let back_after = reader.duration("for", SimDuration::from_nanos(1), MAX_RUN);
    for (key, example) in [
        ("at", "at = \"60s\""),
        ("what", "what = \"drain\""),
        ("pod", "pod = \"web-0\""),
    ] {
        if !reader.has(key) {
            reader.missing(key, example);
        }
    }
    match what {
        Some(What::Restart) if !reader.has("for") => reader.missing("for", "for = \"10s\""),
        Some(What::Drain | What::Remove | What::Add) if reader.has("for") => reader.push(
            Diagnostic::new(
                &reader.span("for"),
                "`event.for` has no effect here",
                "only a crash or a restart lasts",
            )
            .help("a second event says when it ends"),
        ),
        _ => {}
    }
    Some((at?, what?, back_after))
}

/// The pods of one cluster that a table names: one of them, or all of a table.
fn pods_of(reader: &Reader<'_>, pods: &[PodInstance]) -> Vec<usize> {
    let Some(name) = reader.name("pod") else {
        return Vec::new();
    };
    let named = pods.iter().enumerate();
    let found: Vec<_> = named
        .filter(|(_, pod)| pod.plan.name == name || pod.table == name)
        .map(|(number, _)| number)
        .collect();
    if found.is_empty() {
        let names = pods.iter().take(100);
        let names = names.flat_map(|pod| [pod.table.as_str(), pod.plan.name.as_str()]);
        let first = pods.first().map_or("web-0", |pod| pod.plan.name.as_str());
        let help = nearest(name, names).map_or_else(
            || format!("there is \"{first}\""),
            |near| format!("did you mean \"{near}\"?"),
        );
        let message = format!("there is no pod `{name}`");
        reader.push(Diagnostic::new(&reader.span("pod"), message, "unknown pod").help(help));
    }
    found
}

/// Sorts by time; what is written first happens first within an instant.
pub(super) fn put_in_order(
    root: &Reader<'_>,
    events: &mut [PodEvent],
    duration: SimDuration,
    notes: &mut Notes,
) {
    events.sort_by_key(|event| event.at);
    if events.len() > MAX_EVENTS {
        super::tell_too_many(root, &root.span("rollout"), MAX_EVENTS);
    }
    let late = events.iter().filter(|event| event.at > duration).count();
    if late > 0 {
        notes.add(format!(
            "{late} of {} events of pods come after the end of the run",
            events.len()
        ));
    }
}
