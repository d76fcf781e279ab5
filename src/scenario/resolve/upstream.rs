//! The SLB's upstream side: scheduler, keepalive, next upstream, limits, active checks; and the probes of pods.

use super::{MAX_CONNECTIONS, Notes};
use crate::model::slb::{
    Balance, CheckKind, Conditions, HealthCheck, KeepaliveConfig, NextUpstream, ServerLimits,
};
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::document::Kind;
use crate::scenario::reader::{MAX_TIMEOUT, Reader};
use crate::scenario::words;
use crate::spec::{Backends, ErrorsPlan, Plan, ProbePlan};
use crate::units::SimDuration;
use crate::vocab::Status;

/// Largest weight of a backend.
pub(super) const MAX_WEIGHT: u32 = 65_535;
/// Pairs of a source and a backend that check each other, at most.
const MAX_CHECKS: usize = 1_000_000;
/// The conditions of `proxy_next_upstream`.
const CONDITIONS: [&str; 6] = ["error", "timeout", "http-500", "http-502", "http-503", "http-504"];
/// Those of nginx' that nothing here can cause.
const UNCAUSED: [&str; 5] = [
    "invalid_header",
    "http_403",
    "http_404",
    "http_429",
    "non_idempotent",
];

pub(super) fn balance(slb: &Reader<'_>) -> Balance {
    slb.choice(
        "balance",
        &[
            ("round-robin", Balance::RoundRobin),
            ("least-conn", Balance::LeastConn),
            ("source-hash", Balance::SourceHash),
            ("random-two-least-conn", Balance::RandomTwo),
        ],
    )
    .unwrap_or_default()
}

/// `max_conns`, `max_fails`, `fail_timeout`. Whoever writes `next_upstream` wants nginx' rules, and `max_fails` 1 is one.
pub(super) fn limits(slb: &Reader<'_>, next: Option<&NextUpstream>, notes: &mut Notes) -> ServerLimits {
    let max_fails = slb.count("max_fails", 0..=1_000_000);
    let limits = ServerLimits {
        max_conns: slb.count("max_conns", 0..=1_000_000).unwrap_or(0),
        max_fails: max_fails.unwrap_or(u32::from(next.is_some())),
        fail_timeout: slb
            .timeout("fail_timeout")
            .unwrap_or(ServerLimits::NONE.fail_timeout),
    };
    if limits.max_fails == 0 && slb.has("fail_timeout") {
        notes.add("`slb.fail_timeout` has no effect with `slb.max_fails` 0");
    }
    limits
}

/// `None`: not said. Then only a kept connection that was dead is made up for.
pub(super) fn next_upstream(slb: &Reader<'_>, l7: bool, notes: &mut Notes) -> Option<NextUpstream> {
    let conditions = slb.get("next_upstream").map(|_| conditions(slb));
    let tries = slb.count("next_upstream_tries", 0..=1_000_000).unwrap_or(0);
    let timeout = slb
        .duration("next_upstream_timeout", SimDuration::ZERO, MAX_TIMEOUT)
        .unwrap_or(SimDuration::ZERO);
    let idle = conditions.is_none_or(|conditions| conditions == Conditions::default());
    for key in ["next_upstream_tries", "next_upstream_timeout"] {
        if idle && slb.has(key) {
            notes.add(format!(
                "`slb.{key}` has no effect without conditions in `slb.next_upstream`"
            ));
        }
    }
    if !l7 {
        if conditions.is_some() {
            notes.add(
                "`slb.next_upstream` has no effect with `slb.l7 = false`: a caller without layer 7 gives up",
            );
        }
        return None;
    }
    conditions.map(|conditions| NextUpstream {
        conditions,
        tries,
        timeout,
    })
}

fn conditions(slb: &Reader<'_>) -> Conditions {
    const EXPECTED: &str = "\"off\" or a list such as [\"error\", \"timeout\"]";
    let mut conditions = Conditions::default();
    match slb.get("next_upstream").map(|value| &value.kind) {
        Some(Kind::Text(text)) if text == "off" => {}
        Some(Kind::Array(items)) => {
            for item in items {
                match &item.kind {
                    Kind::Text(word) if set_condition(&mut conditions, word) => {}
                    Kind::Text(word) => {
                        let uncaused = UNCAUSED.contains(&word.replace('-', "_").as_str());
                        let help = if uncaused {
                            Some("no pod here answers so, and requests have no method".to_owned())
                        } else {
                            words::nearest(word, CONDITIONS).map(|near| format!("did you mean \"{near}\"?"))
                        };
                        let mut diagnostic = Diagnostic::new(
                            &item.span,
                            format!("`slb.next_upstream` knows no `{}`", words::shorten(word)),
                            format!("expected some of {}", CONDITIONS.join(", ")),
                        );
                        diagnostic.help = help;
                        slb.push(diagnostic);
                    }
                    _ => slb.wrong_at(&slb.path("next_upstream"), item, "a word such as \"error\"", None),
                }
            }
        }
        Some(_) => slb.expected("next_upstream", EXPECTED),
        None => {}
    }
    conditions
}

/// `false`: there is no such condition.
fn set_condition(conditions: &mut Conditions, word: &str) -> bool {
    let condition = match word {
        "error" => &mut conditions.error,
        "timeout" => &mut conditions.timeout,
        "http-500" => &mut conditions.http_500,
        "http-502" => &mut conditions.http_502,
        "http-503" => &mut conditions.http_503,
        "http-504" => &mut conditions.http_504,
        _ => return false,
    };
    *condition = true;
    true
}

/// `pod.errors`.
pub(super) fn errors(pod: &Reader<'_>) -> Option<ErrorsPlan> {
    let reader = pod.table("errors");
    let share = reader.share("share");
    if reader.is_present() && !reader.has("share") {
        reader.missing("share", "share = \"1%\"");
    }
    let number = reader.count("status", 500..=504).unwrap_or(500);
    let status = Status::ALL
        .into_iter()
        .find(|status| u32::from(status.code()) == number);
    if status.is_none() {
        reader.expected("status", "500, 502, 503 or 504");
    }
    let errors = ErrorsPlan {
        share: share.unwrap_or(0.0),
        status: status.unwrap_or(Status::Internal),
    };
    reader.is_present().then_some(errors)
}

pub(super) fn keepalive(slb: &Reader<'_>) -> Option<KeepaliveConfig> {
    let reader = slb.table("keepalive");
    let config = KeepaliveConfig {
        size: reader.count("size", 1..=1_000_000).unwrap_or(32),
        idle_timeout: reader
            .timeout("idle_timeout")
            .unwrap_or(SimDuration::from_secs(60)),
        requests: reader.count("requests", 1..=u32::MAX).unwrap_or(1_000),
        time: reader.timeout("time").unwrap_or(SimDuration::from_secs(3_600)),
    };
    reader.is_present().then_some(config)
}

pub(super) fn health_check(slb: &Reader<'_>, notes: &mut Notes) -> Option<HealthCheck> {
    let reader = slb.table("health_check");
    let http = kind(&reader, false);
    let reset = reader
        .choice("close", &[("rst", true), ("fin", false)])
        .unwrap_or(true);
    if http && reader.has("close") {
        notes.add("`slb.health_check.close` has no effect with kind = \"http\": the pod closes");
    }
    let check = HealthCheck {
        interval: reader.timeout("interval").unwrap_or(SimDuration::from_secs(30)),
        timeout: reader.timeout("timeout").unwrap_or(SimDuration::from_secs(1)),
        rise: reader.count("rise", 1..=1_000_000).unwrap_or(2),
        fall: reader.count("fall", 1..=1_000_000).unwrap_or(5),
        kind: if http {
            CheckKind::Http
        } else {
            CheckKind::Tcp { reset }
        },
        every_address: reader
            .choice("from", &[("host", false), ("every-address", true)])
            .unwrap_or(false),
    };
    reader.is_present().then_some(check)
}

/// `pod.probe`: the kubelet's.
pub(super) fn probe(pod: &Reader<'_>) -> Option<ProbePlan> {
    let reader = pod.table("probe");
    // The kubelet closes a probe of TCP with a FIN, after a linger of one second at most.
    let kind = if kind(&reader, true) {
        CheckKind::Http
    } else {
        CheckKind::Tcp { reset: false }
    };
    let probe = ProbePlan {
        period: reader.timeout("period").unwrap_or(SimDuration::from_secs(10)),
        timeout: reader.timeout("timeout").unwrap_or(SimDuration::from_secs(1)),
        kind,
    };
    reader.is_present().then_some(probe)
}

/// Whether `kind` says HTTP.
fn kind(reader: &Reader<'_>, default: bool) -> bool {
    reader
        .choice("kind", &[("tcp", false), ("http", true)])
        .unwrap_or(default)
}

/// Refuses more checks than fit, and answers how many a replication makes.
pub(super) fn checks(root: &Reader<'_>, plan: &Plan) -> f64 {
    let seconds = plan.duration.as_secs_f64();
    let probes = plan.pods.iter().filter_map(|pod| pod.probe);
    let probed: f64 = probes.map(|probe| seconds / probe.period.as_secs_f64()).sum();
    let Some(check) = plan.slb.health_check else {
        return probed;
    };
    let sources = if check.every_address {
        plan.slb.hosts.iter().map(Vec::len).sum()
    } else {
        plan.slb.hosts.len()
    };
    let backends = match plan.slb.backends {
        Backends::NodePort => plan.nodes.len() * plan.services.len(),
        Backends::Pod => plan.pods.len(),
    };
    let pairs = sources.saturating_mul(backends);
    if pairs > MAX_CHECKS {
        root.push(
            Diagnostic::new(
                &root.table("slb").span("health_check"),
                format!("{sources} sources that check {backends} backends are too many"),
                format!("at most {MAX_CHECKS} pairs"),
            )
            .help("`from = \"host\"` checks from one address of each host"),
        );
    }
    let checked = pairs as f64 * seconds / check.interval.as_secs_f64();
    (probed + checked).min(2.0 * MAX_CONNECTIONS)
}

/// Remarks on weights that nothing looks at.
pub(super) fn note_idle_weights(root: &Reader<'_>, backends: Backends, notes: &mut Notes) {
    let (idle, to) = match backends {
        Backends::NodePort => ("pod", "node-port"),
        Backends::Pod => ("node", "pod"),
    };
    if root.tables(idle).iter().any(|table| table.has("slb_weight")) {
        notes.add(format!(
            "`{idle}.slb_weight` has no effect with `slb.backends = \"{to}\"`"
        ));
    }
}

#[cfg(test)]
mod tests {
    use crate::model::slb::{Conditions, NextUpstream, ServerLimits};
    use crate::scenario::{Limits, parse, parse_with};
    use crate::spec::SlbPlan;

    const SMALL: &str = "duration = \"10s\"\n[clients]\nrate = \"5/s\"\n";

    fn slb(sets: &[&str]) -> SlbPlan {
        let sets: Vec<_> = sets.iter().map(|set| (*set).to_owned()).collect();
        parse("test.toml", SMALL, &sets)
            .unwrap_or_else(|errors| panic!("{errors}"))
            .slb
    }

    #[test]
    fn nothing_said_is_neither_off_nor_nginx_default() {
        let plain = slb(&[]);
        assert_eq!((plain.next_upstream, plain.limits), (None, ServerLimits::NONE));
        let off = slb(&["slb.next_upstream=off"]);
        assert_eq!(
            off.next_upstream.map(|next| next.conditions),
            Some(Conditions::OFF)
        );
        // Then `max_fails` is nginx', unless it is said.
        assert_eq!(
            (off.limits.max_fails, slb(&["slb.max_fails=3"]).limits.max_fails),
            (1, 3)
        );
        let list = slb(&["slb.next_upstream=[\"error\", \"http-503\"]", "slb.max_fails=0"]);
        let conditions = list
            .next_upstream
            .map(|NextUpstream { conditions, .. }| conditions);
        let expected = Conditions {
            error: true,
            http_503: true,
            ..Conditions::OFF
        };
        assert_eq!((conditions, list.limits.max_fails), (Some(expected), 0));
    }

    #[test]
    fn what_has_no_effect_is_said() {
        let table = [
            ("slb.next_upstream_tries=2", "slb.next_upstream_tries"),
            ("slb.fail_timeout=3s", "slb.fail_timeout"),
            (
                "slb={ l7 = false, next_upstream = [\"error\"] }",
                "slb.l7 = false",
            ),
            (
                "slb.health_check={ kind = \"http\", close = \"fin\" }",
                "health_check.close",
            ),
            ("pod.slb_weight=2", "pod.slb_weight"),
            ("node.slb_weight=2", ""),
        ];
        for (set, said) in table {
            let sets = [set.to_owned()];
            let scenario = parse_with("test.toml", SMALL, &sets, Limits::default());
            let notes = scenario.unwrap_or_else(|errors| panic!("{errors}")).notes;
            let about: Vec<_> = notes
                .iter()
                .filter(|note| note.contains("has no effect"))
                .collect();
            assert_eq!(about.len(), usize::from(!said.is_empty()), "{set}: {notes:?}");
            assert!(about.iter().all(|note| note.contains(said)), "{set}: {notes:?}");
        }
    }
}
