//! `clients.retry` and `clients.keepalive`: what a client does when a try fails, and with its connection afterwards.

use crate::model::client::{Backoff, ClientKeepalive, Jitter, Retry, Throttling};
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::document::Kind;
use crate::scenario::reader::Reader;
use crate::units::SimDuration;
use crate::vocab::Status;

/// The longest pause between two tries.
const MAX_BACKOFF: SimDuration = SimDuration::from_secs(86_400);

/// What a client does when a try fails; `None`: nothing.
pub(super) fn retry(clients: &Reader<'_>) -> Option<Retry> {
    let reader = clients.table("retry");
    let pause = |key: &str, default: SimDuration| {
        let said = reader.duration(key, SimDuration::ZERO, MAX_BACKOFF);
        said.unwrap_or(default)
    };
    let backoff = Backoff {
        initial: pause("initial_backoff", SimDuration::from_millis(100)),
        multiplier: reader.number("backoff_multiplier", 1.0..=10.0).unwrap_or(2.0),
        max: pause("max_backoff", SimDuration::from_secs(10)),
    };
    if backoff.initial > backoff.max {
        let key = if reader.has("max_backoff") {
            "max_backoff"
        } else {
            "initial_backoff"
        };
        reader.push(Diagnostic::new(
            &reader.span(key),
            "the first pause would be longer than the longest",
            format!(
                "initial_backoff is {}, max_backoff {}",
                backoff.initial, backoff.max
            ),
        ));
    }
    let retry = Retry {
        max_attempts: reader.count("max_attempts", 2..=100).unwrap_or(3),
        on: statuses(&reader),
        backoff,
        jitter: reader
            .choice(
                "jitter",
                &[
                    ("none", Jitter::None),
                    ("full", Jitter::Full),
                    ("equal", Jitter::Equal),
                ],
            )
            .unwrap_or(Jitter::Full),
        throttling: throttling(&reader),
    };
    reader.is_present().then_some(retry)
}

/// The statuses after which a client tries again.
fn statuses(reader: &Reader<'_>) -> [bool; Status::ALL.len()] {
    const DEFAULT: [u16; 4] = [499, 502, 503, 504];
    let is_among = |codes: &[u16]| Status::ALL.map(|status| codes.contains(&status.code()));
    let Some(value) = reader.get("on") else {
        return is_among(&DEFAULT);
    };
    let expected = "a list of statuses out of 499, 500, 502, 503, 504";
    let Kind::Array(items) = &value.kind else {
        reader.expected("on", expected);
        return is_among(&DEFAULT);
    };
    let mut codes = Vec::new();
    for item in items {
        let code = match item.kind {
            Kind::Integer(code) => Status::ALL
                .iter()
                .filter(|status| **status != Status::Ok)
                .map(|status| status.code())
                .find(|known| i128::from(*known) == code),
            _ => None,
        };
        if code.is_none() {
            let message = format!("`{}` holds something else", reader.path("on"));
            reader.push(Diagnostic::new(
                &item.span,
                message,
                format!("expected {expected}"),
            ));
        }
        codes.extend(code);
    }
    if items.is_empty() {
        let message = format!("`{}` is empty", reader.path("on"));
        reader.push(Diagnostic::new(
            &value.span,
            message,
            format!("expected {expected}"),
        ));
    }
    is_among(&codes)
}

fn throttling(retry: &Reader<'_>) -> Option<Throttling> {
    let reader = retry.table("throttling");
    let ratio = reader.number("token_ratio", 0.001..=1_000.0).unwrap_or(0.1);
    let throttling = Throttling {
        max_tokens: reader.count("max_tokens", 1..=1_000_000).unwrap_or(10),
        token_ratio_millis: (ratio * 1_000.0).round() as u32,
    };
    reader.is_present().then_some(throttling)
}

/// Connections to the SLB that stay open; `None`: one per request.
pub(super) fn keepalive(clients: &Reader<'_>) -> Option<ClientKeepalive> {
    let reader = clients.table("keepalive");
    let idle_timeout = if reader.is_none_word("idle_timeout") {
        None
    } else {
        let default = SimDuration::from_secs(90);
        Some(reader.timeout("idle_timeout").unwrap_or(default))
    };
    let requests = if reader.is_none_word("requests") {
        None
    } else {
        reader.count("requests", 1..=u32::MAX)
    };
    reader.is_present().then_some(ClientKeepalive {
        idle_timeout,
        requests,
    })
}
