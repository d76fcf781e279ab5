//! Group I: the incident's own path, SLB - ipvs NodePort with MASQUERADE - pod, watched on both sides of the node.

use serde_json::Value;

use super::config::{Config, Group};
use super::observed::{Comparison, Hit, Level, Replication, Run, chi_squares};
use crate::validate::{Fault, File, Judgement, Options};
use crate::vocab::ReleasePath;

/// Judges a run.
pub fn judge(file: &File, options: &Options) -> Result<Judgement, Fault> {
    let run = Run::read(file)?;
    let mut config = Config::read(file, Group::I, &run.value["config"])?;
    config.closes_first(&run.value);
    let series = run.series("series_t_conntrack_ipvs_podtw", 4)?;
    let instants: Vec<f64> = series.iter().map(|row| row[0]).collect();
    let replications = run.replicate(config.plan(file, &run.kernel)?, &instants, options);
    let isn_continues = run.kernel.profile.tcp.recycled_isn_continues;
    let is_hit = move |hit: &Hit| hit.is_seen(isn_continues);
    let mut comparisons = counts(&run, &series, &replications, is_hit);
    comparisons.extend(ages(&run, &replications, is_hit));
    comparisons.extend(retries(&run, &replications));
    if run.value.get("nginx_status").is_some() {
        comparisons.extend(super::f::statuses(&run, &replications));
    }
    if !config.rfc1337 {
        comparisons.extend(causes(&run, &replications, is_hit));
        return Ok(run.judgement(comparisons));
    }
    let mut judgement = run.judgement(comparisons);
    judgement.append(Judgement::not_judged(
        file.path(),
        "cause_of_hit left out: with tcp_rfc1337 the label is that of the refused caller's RST, by the time since then, \
         whatever its retry did to the port",
    ));
    Ok(judgement)
}

fn counts(
    run: &Run,
    series: &[Vec<f64>],
    replications: &[Replication],
    is_hit: impl Fn(&Hit) -> bool + Copy,
) -> Vec<Comparison> {
    let of = |figure, measured, predicted: &dyn Fn(&Replication) -> f64| Comparison {
        figure,
        measured,
        predicted: replications.iter().map(predicted).collect(),
    };
    let derived = |key: &str| run.number(&format!("/derived/{key}"));
    let maximum = |n: usize| Ok(series.iter().map(|row| row[n]).fold(0.0, f64::max));
    vec![
        of("hits", derived("tw_hits"), &|r| r.hits(is_hit)),
        of("refused", derived("refused"), &|r| r.counts.bare_acks as f64),
        of("first_syn_dropped", derived("first_syn_not_forwarded"), &|r| {
            r.counts.first_syns_dropped as f64
        }),
        of("later_syn_dropped", derived("later_syn_not_forwarded"), &|r| {
            r.counts.later_syns_dropped as f64
        }),
        of("slow", derived("slow_or_failed_ge_0p9s"), &|r| {
            (r.counts.slow + r.counts.timed_out + r.counts.refused) as f64
        }),
        of("conntrack_max", maximum(1), &|r| r.maximum(Level::Conntrack)),
        of("ipvs_max", maximum(2), &|r| r.maximum(Level::Ipvs)),
        of("time_wait_max", maximum(3), &|r| r.maximum(Level::TimeWait)),
    ]
}

/// Ages of the hits, in bins of a second; `None` if there are too few to tell one shape from another.
fn ages(run: &Run, replications: &[Replication], is_hit: impl Fn(&Hit) -> bool + Copy) -> Option<Comparison> {
    const BINS: usize = 70;
    let mut measured = vec![0.0; BINS];
    for (age, count) in run.value["derived"]["tw_age_hist_1s"].as_object()? {
        let bin: usize = age.parse().ok()?;
        measured[bin.min(BINS - 1)] += count.as_f64()?;
    }
    let simulated: Vec<Vec<f64>> = replications.iter().map(|r| r.ages(BINS, is_hit)).collect();
    let (measured, predicted) = chi_squares(&measured, &simulated)?;
    Some(Comparison {
        figure: "age_chi_square",
        measured: Ok(measured),
        predicted,
    })
}

/// Why the port was free: name of the figure, and the beginning of the laboratory's label (`tests/lab/README.md`, I).
/// `other` is not judged.
const SAME: (&str, &str) = ("cause_same_tuple_again", "same SLB tuple again");
const OLD: (&str, &str) = ("cause_old_tuple_reused", "old tuple re-used");
const EXPIRED: (&str, &str) = ("cause_conntrack_expired", "conntrack TIME_WAIT expired");
const STRAY: (&str, &str) = ("cause_stray_rst", "stray RST");

/// What the ledger knows of a hit, as the laboratory labels it.
fn label(hit: &Hit) -> Option<(&'static str, &'static str)> {
    match hit.record.path {
        ReleasePath::SAME_TUPLE_SAME_PORT => Some(SAME),
        ReleasePath::ORPHAN_BY_REOPEN | ReleasePath::ORPHAN_OTHER_POD => {
            let came_back = hit.record.previous_tuple == hit.tuple;
            Some(if came_back { SAME } else { OLD })
        }
        ReleasePath::SHORT_CONNTRACK_TIME_WAIT | ReleasePath::EQUAL_HOLDS => Some(EXPIRED),
        ReleasePath::STRAY_RST | ReleasePath::CONNTRACK_CLOSE => Some(STRAY),
        _ => None,
    }
}

/// Hits by cause; those of which neither side knows a case are left out.
fn causes(run: &Run, replications: &[Replication], is_hit: impl Fn(&Hit) -> bool + Copy) -> Vec<Comparison> {
    let Some(measured) = run.value["derived"]["cause_of_hit"].as_object() else {
        return Vec::new();
    };
    let count = |label: &str| -> f64 {
        let of_label = measured.iter().filter(|(name, _)| name.starts_with(label));
        of_label.filter_map(|(_, count)| Value::as_f64(count)).sum()
    };
    let causes = [SAME, OLD, EXPIRED, STRAY].map(|cause| Comparison {
        figure: cause.0,
        measured: Ok(count(cause.1)),
        predicted: replications
            .iter()
            .map(|r| r.hits(|hit| is_hit(hit) && label(hit) == Some(cause)))
            .collect(),
    });
    causes.into_iter().filter(|cause| !cause.is_empty()).collect()
}

/// Repeated SYNs by the time since the first one, to the nearest second; the last figure holds all later ones, for the
/// caller leaves at 8 s.
fn retries(run: &Run, replications: &[Replication]) -> Vec<Comparison> {
    const FIGURES: [&str; 8] = [
        "retries_0s",
        "retries_1s",
        "retries_2s",
        "retries_3s",
        "retries_4s",
        "retries_5s",
        "retries_6s",
        "retries_7s",
    ];
    let Some(measured) = run.value["derived"]["retry_offset_hist_0p1s"].as_object() else {
        return Vec::new();
    };
    // A bin is named by its lower edge.
    let last = FIGURES.len() - 1;
    let second = |edge: &str| {
        edge.parse::<f64>()
            .ok()
            .map(|edge| ((edge + 0.55) as usize).min(last))
    };
    let count = |at: usize| -> f64 {
        let of_second = measured.iter().filter(|(edge, _)| second(edge) == Some(at));
        of_second.filter_map(|(_, count)| Value::as_f64(count)).sum()
    };
    let retries = FIGURES.iter().enumerate().map(|(at, &figure)| Comparison {
        figure,
        measured: Ok(count(at)),
        predicted: replications
            .iter()
            .map(|r| {
                let later = r.syn_repeats.iter().skip(at);
                later.take(if at == last { usize::MAX } else { 1 }).sum::<u64>() as f64
            })
            .collect(),
    });
    retries.filter(|retries| !retries.is_empty()).collect()
}
