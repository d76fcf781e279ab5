//! The summary for the screen: short, in plain words, every rate with its interval.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use crate::experiment::{Attempts, Named, Quantiles, Requests, SCORECARD_ITEMS, Summary, Theory};
use crate::spec::Plan;
use crate::stats::Estimate;
use crate::vocab::{Cause, ReleasePath};

/// The whole summary as text.
pub fn screen(plan: &Plan, summary: &Summary) -> String {
    let mut out = String::new();
    head(&mut out, plan, summary);
    requests(&mut out, summary);
    operations(&mut out, summary);
    client_connections(&mut out, summary);
    attempts(&mut out, summary);
    checks(&mut out, summary);
    release_paths(&mut out, summary);
    causes(&mut out, summary);
    quantiles(&mut out, summary);
    theory(&mut out, &summary.theory, &summary.attempts);
    scorecard(&mut out, summary);
    expectations(&mut out, summary);
    out
}

/// Text output cannot fail when it goes into a string.
macro_rules! line {
    ($out:expr) => { $out.push('\n') };
    ($out:expr, $($arg:tt)*) => { writeln!($out, $($arg)*).expect("a string takes any text") };
}

fn head(out: &mut String, plan: &Plan, summary: &Summary) {
    let meta = &summary.meta;
    line!(out, "{}  ({})", meta.scenario, meta.scenario_hash);
    if let Some(question) = &plan.question {
        line!(out, "{}", harmless(question.trim()));
    }
    let warm_up = match meta.warm_up_seconds {
        0.0 => String::new(),
        seconds => format!(", the first {seconds} s left out"),
    };
    line!(
        out,
        "seed {}, {} replication{}, {} s each{warm_up}, {} events",
        meta.seed,
        meta.replications,
        if meta.replications == 1 { "" } else { "s" },
        meta.simulated_seconds,
        count(meta.events)
    );
    if meta.interrupted {
        line!(out, "INTERRUPTED: the figures cover only what was finished");
    }
    line!(out);
}

/// Columns without lines, numbers to the right; the first column and the last one to the left.
fn columns(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.to_vec());
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((if index == 0 { 2 } else { 1 }, 1));
        if index > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    for row in table.lines() {
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text.push('\n');
    text
}

fn requests(out: &mut String, summary: &Summary) {
    let whole = &summary.requests;
    let settled = summary.after_120s.as_ref().map(|after| &after.requests);
    let mut rows: Vec<Vec<String>> = whole
        .by_status
        .0
        .iter()
        .filter(|(status, n)| *n > 0 || status == "200" || status == "499")
        .map(|(status, n)| {
            let later = settled.and_then(|requests| requests.by_status.get(status));
            vec![
                status.clone(),
                count(*n),
                share(*n, whole.total),
                later.map_or(String::new(), count),
            ]
        })
        .collect();
    let rate = |name: &str, of: fn(&Requests) -> Estimate| {
        vec![
            name.to_owned(),
            String::new(),
            interval(of(whole)),
            settled.map_or(String::new(), |requests| interval(of(requests))),
        ]
    };
    rows.push(rate("499 rate", |requests| requests.rate_499));
    rows.push(rate("failed", |requests| requests.rate_failed));
    out.push_str(&columns(
        &[
            "requests",
            &count(whole.total),
            "share [95 %]",
            "without first 120 s",
        ],
        rows,
    ));
    if whole.rate_499.value > 0.0 {
        // The line belongs to the table above it.
        out.pop();
        let outlook = &summary.outlook;
        let first = outlook
            .seconds_to_first_499
            .value
            .map_or(String::new(), |seconds| {
                format!(", the first one after {} s", significant(seconds))
            });
        line!(
            out,
            "  at this rate {} 499s per million requests, {} a day{first}\n",
            significant(outlook.status_499_per_million.value),
            significant(outlook.status_499_per_day.value)
        );
    }
}

/// What the clients saw of all tries together.
fn operations(out: &mut String, summary: &Summary) {
    let Some(operations) = &summary.operations else {
        return;
    };
    let row = |name: &str, n: u64| vec![name.to_owned(), count(n), share(n, operations.total)];
    let mut failed = row("failed", operations.failed);
    failed[2] = interval(operations.rate_failed);
    let rows = vec![
        row("succeeded", operations.succeeded),
        row("  after a retry", operations.succeeded_after_retry),
        failed,
        row("retries", operations.retries),
    ];
    let header = ["operations, all tries", &count(operations.total), "share [95 %]"];
    out.push_str(&columns(&header, rows));
}

fn client_connections(out: &mut String, summary: &Summary) {
    let Some(connections) = &summary.client_connections else {
        return;
    };
    let rows = vec![
        vec!["requests on a kept one".to_owned(), count(connections.reused)],
        vec![
            "met a close and came again".to_owned(),
            count(connections.keepalive_races),
        ],
    ];
    out.push_str(&columns(&["client connections", &count(connections.total)], rows));
}

fn attempts(out: &mut String, summary: &Summary) {
    let whole = &summary.attempts;
    let settled = summary.after_120s.as_ref().map(|after| &after.attempts);
    let row = |name: &str, of: fn(&Attempts) -> u64, rate: Option<fn(&Attempts) -> Estimate>| {
        let rate_of = |attempts: &Attempts| rate.map_or(count(of(attempts)), |rate| interval(rate(attempts)));
        vec![
            name.to_owned(),
            count(of(whole)),
            rate.map_or(String::new(), |rate| interval(rate(whole))),
            settled.map_or(String::new(), rate_of),
        ]
    };
    let mut rows = vec![
        row("TIME_WAIT hits", |a| a.time_wait_hits, Some(|a| a.p_hit)),
        row("  recycled", |a| a.recycled, None),
        row("  bare ACK", |a| a.bare_acks, Some(|a| a.p_bare_ack)),
    ];
    if whole.no_answer > 0 {
        rows.push(row("  no answer", |a| a.no_answer, None));
    }
    if whole.fin_wait2_hits > 0 {
        rows.push(row("FIN_WAIT2 hits", |a| a.fin_wait2_hits, None));
    }
    rows.push(row("killed by RST", |a| a.rst_kills, None));
    rows.push(row("SYNs repeated", |a| a.syn_retransmits, None));
    rows.push(row("tuples reopened", |a| a.tuple_reopens, None));
    out.push_str(&columns(
        &[
            "SYN attempts at pods",
            &count(whole.total),
            "per attempt [95 %]",
            "without first 120 s",
        ],
        rows,
    ));
}

fn checks(out: &mut String, summary: &Summary) {
    if let Some(checks) = &summary.health_checks {
        line!(
            out,
            "  health checks  {}, failed {}; backends taken out {}, put back {}",
            count(checks.total),
            count(checks.failed),
            count(checks.falls),
            count(checks.rises)
        );
    }
    if let Some(probes) = &summary.probes {
        line!(
            out,
            "  probes  {}, failed {}",
            count(probes.total),
            count(probes.failed)
        );
    }
    if summary.health_checks.is_some() || summary.probes.is_some() {
        line!(out);
    }
}

fn release_paths(out: &mut String, summary: &Summary) {
    let rows: Vec<Vec<String>> = ReleasePath::all()
        .filter_map(|path| {
            let hits = summary.release_paths.get(&path.name()).filter(|&hits| hits > 0)?;
            Some(vec![
                format!("{:<4}{}", path.name(), path.describe()),
                count(hits),
                share(hits, summary.attempts.time_wait_hits),
            ])
        })
        .collect();
    if !rows.is_empty() {
        out.push_str(&columns(&["why the port was free", "hits", "share"], rows));
    }
}

fn causes(out: &mut String, summary: &Summary) {
    let slow = &summary.slow_requests;
    let failed: u64 = summary.causes.0.iter().map(|(_, n)| n).sum();
    let of = |named: &Named<u64>, name: &str| named.get(name).unwrap_or(0);
    let mut rows = Vec::new();
    let mut met = Vec::new();
    for about in Cause::ALL.map(Cause::about) {
        let counts = [
            &summary.causes,
            &summary.contributing,
            &slow.causes,
            &slow.contributing,
        ];
        let [primary, besides, late, late_besides] = counts.map(|named| of(named, about.name));
        if primary + besides + late + late_besides == 0 {
            continue;
        }
        met.push(about);
        rows.push(vec![
            about.name.to_owned(),
            count(primary),
            share(primary, failed),
            count(besides),
            count(late),
            count(late_besides),
        ]);
        if about.name == Cause::TimeWaitCollision.name() {
            rows.extend(collisions(summary, failed));
        }
    }
    if met.is_empty() {
        return;
    }
    let late = format!("slow ({} s)", slow.threshold_seconds);
    out.push_str(&columns(
        &[
            "why requests failed or were slow",
            "failed",
            "share",
            "contributed",
            &late,
            "contributed",
        ],
        rows,
    ));
    // The definitions belong to the table above them.
    out.pop();
    for about in met {
        line!(out, "  {}: {}", about.name, about.definition);
        let moved: Vec<String> = about
            .counters
            .iter()
            .filter_map(|(host, name)| Some((host, name, summary.counters.get(name).filter(|&n| n > 0)?)))
            .map(|(host, name, n)| format!("{name} of the {host} by {}", count(n)))
            .collect();
        if !moved.is_empty() {
            line!(out, "    moved {}", moved.join(", "));
        }
    }
    line!(out);
}

/// Collisions that were primary causes, by release path.
fn collisions(summary: &Summary, failed: u64) -> Vec<Vec<String>> {
    let paths = ReleasePath::all().filter(|&path| path != ReleasePath::FIN_WAIT2);
    paths
        .filter_map(|path| {
            let of = |named: &Named<u64>| named.get(&path.name()).unwrap_or(0);
            let (primary, late) = (
                of(&summary.failed_by_release_path),
                of(&summary.slow_requests.by_release_path),
            );
            (primary + late > 0).then(|| {
                vec![
                    format!("  by {}", path.name()),
                    count(primary),
                    share(primary, failed),
                    String::new(),
                    count(late),
                    String::new(),
                ]
            })
        })
        .collect()
}

fn quantiles(out: &mut String, summary: &Summary) {
    let row = |name: &str, q: &Quantiles, scale: f64| {
        let cell = |value: Option<f64>| value.map_or("-".to_owned(), |value| significant(value * scale));
        vec![
            name.to_owned(),
            cell(q.p50),
            cell(q.p90),
            cell(q.p99),
            cell(q.p999),
            cell(q.max),
        ]
    };
    let latency = &summary.latency_seconds;
    let mut rows = vec![
        row("connect, ms", &latency.connect, 1e3),
        row("request (200), ms", &latency.request, 1e3),
    ];
    if let Some(operations) = &summary.operations {
        rows.push(row("operation, ms", &operations.latency_seconds, 1e3));
    }
    if let Some(gaps) = gap_quantiles(&summary.reuse_gap_seconds.histogram) {
        rows.push(row("reuse gap of hits, s", &gaps, 1.0));
    }
    out.push_str(&columns(
        &["quantiles", "50 %", "90 %", "99 %", "99.9 %", "max"],
        rows,
    ));
}

/// Upper edges of the one-second bins in which the quantiles lie.
fn gap_quantiles(histogram: &[(u64, u64)]) -> Option<Quantiles> {
    let hits: u64 = histogram.iter().map(|(_, n)| n).sum();
    let at = |quantile: f64| {
        let rank = (quantile * hits as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        histogram.iter().find_map(|&(edge, n)| {
            seen += n;
            (seen >= rank).then_some((edge + 1) as f64)
        })
    };
    (hits > 0).then(|| Quantiles {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: at(1.0),
    })
}

fn theory(out: &mut String, theory: &Theory, attempts: &Attempts) {
    let cell = |value: Option<f64>| value.map_or("-".to_owned(), percent);
    let rows = vec![
        vec![
            "hits per attempt".to_owned(),
            cell(theory.h),
            interval(attempts.p_hit),
        ],
        vec![
            "bare ACKs per attempt".to_owned(),
            cell(theory.p),
            interval(attempts.p_bare_ack),
        ],
    ];
    out.push_str(&columns(
        &["closed form beside this run", "closed form", "measured [95 %]"],
        rows,
    ));
    // The notes belong to the table above them.
    out.pop();
    if let Some(why_not) = &theory.why_not {
        line!(out, "  The closed form does not apply: {why_not}.");
    }
    if let (Some(naive), Some(rate)) = (theory.naive_birthday, theory.fresh_per_second) {
        line!(
            out,
            "  The textbook birthday figure is {} of the connections at {} per second: it is wrong, because conntrack\n  \
             does not hand out a port that it still holds (the textbook lets every port of the last 60 s collide), and\n  \
             because a pod accepts about half of the SYNs that do meet TIME_WAIT.",
            percent(naive),
            significant(rate)
        );
    }
    line!(out);
}

fn scorecard(out: &mut String, summary: &Summary) {
    let Some(card) = &summary.scorecard else {
        return;
    };
    let rows = SCORECARD_ITEMS
        .iter()
        .zip(&card.0)
        .map(|(text, (number, item))| {
            let estimate = Estimate {
                value: item.value,
                lo95: item.lo95,
                hi95: item.hi95,
                method: item.method,
            };
            vec![
                format!("{number} {text}"),
                if item.holds { "yes" } else { "no" }.to_owned(),
                interval(estimate),
            ]
        })
        .collect();
    out.push_str(&columns(
        &["scorecard of the published incident", "holds", "value [95 %]"],
        rows,
    ));
}

fn expectations(out: &mut String, summary: &Summary) {
    for verdict in &summary.expectations {
        let word = if verdict.passed { "holds " } else { "FAILED" };
        let detail = match (&verdict.error, verdict.left, verdict.right) {
            (Some(error), ..) => format!("   ({error})"),
            (None, Some(left), Some(right)) => {
                format!("   ({} against {})", significant(left), significant(right))
            }
            _ => String::new(),
        };
        line!(out, "expectation {word} {}{detail}", harmless(&verdict.that));
        if let (false, Some(why)) = (verdict.passed, &verdict.why) {
            line!(out, "  why it should hold: {}", harmless(why.trim()));
        }
    }
    if !summary.expectations.is_empty() {
        line!(out);
    }
}

/// A scenario's own text without what steers a terminal: a file from a stranger must not move the cursor.
fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// A count with thin groups of three digits: `112_043` reads `112,043`.
fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn share(n: u64, of: u64) -> String {
    if of == 0 {
        "-".to_owned()
    } else {
        percent(n as f64 / of as f64)
    }
}

fn interval(estimate: Estimate) -> String {
    format!(
        "{} [{}, {}]",
        percent(estimate.value),
        bare_percent(estimate.lo95),
        bare_percent(estimate.hi95)
    )
}

fn percent(value: f64) -> String {
    format!("{} %", bare_percent(value))
}

fn bare_percent(value: f64) -> String {
    significant(100.0 * value)
}

/// Three significant digits, without an exponent down to a millionth.
fn significant(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs().log10().floor() as i32;
    let decimals = usize::try_from(2 - magnitude).unwrap_or(0);
    if decimals > 8 {
        format!("{value:.2e}")
    } else {
        format!("{value:.decimals$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_with_three_significant_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.000_861_2, "0.000861"),
            (12.345, "12.3"),
            (1_234.5, "1234"),
            (99.96, "100.0"),
            (-0.5, "-0.500"),
            (1e-9, "1.00e-9"),
        ] {
            assert_eq!(significant(value), text);
        }
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (112_043_000, "112,043,000"),
        ] {
            assert_eq!(count(n), text);
        }
    }
}
