//! Group E: open-loop runs through iptables DNAT and MASQUERADE, counted by a sniffer beside the pod.

use super::config::{Config, Group};
use super::observed::{Comparison, Hit, Replication, Run, chi_squares};
use crate::validate::{Fault, File, Judgement, Options};

/// The kernel on which the sniffer knows a recycled TIME_WAIT by its ISN; on all others, whatever their ISN, the
/// laboratory counts `attempts_in_pod_tw`.
const HITS_BY_ANSWER: &str = "6.18";

/// Positions in the series of a replication.
const CONNTRACK: usize = 0;
const TIME_WAIT: usize = 2;

/// Judges a run.
pub fn judge(file: &File, options: &Options) -> Result<Judgement, Fault> {
    let run = Run::read(file)?;
    let plan = Config::read(file, Group::E, &run.value["config"])?.plan(file, &run.kernel)?;
    let series = run.series("series_t_ctcount_podtw", 3)?;
    let instants: Vec<f64> = series.iter().map(|row| row[0]).collect();
    let replications = run.replicate(plan, &instants, options);
    let mut comparisons = counts(&run, &replications);
    comparisons.extend(levels(&series, &replications));
    comparisons.extend(ages(&run, &replications));
    Ok(run.judgement(comparisons))
}

fn levels(series: &[Vec<f64>], replications: &[Replication]) -> Vec<Comparison> {
    let of = |figure, measured, predicted: &dyn Fn(&Replication) -> f64| Comparison {
        figure,
        measured,
        predicted: replications.iter().map(predicted).collect(),
    };
    let column = |n: usize| series.iter().map(move |row| row[n]);
    let mean = |n: usize| Ok(column(n).sum::<f64>() / series.len().max(1) as f64);
    let maximum = |n: usize| Ok(column(n).fold(0.0, f64::max));
    vec![
        of("conntrack_mean", mean(1), &|r| r.mean(CONNTRACK)),
        of("conntrack_max", maximum(1), &|r| r.maximum(CONNTRACK)),
        of("time_wait_mean", mean(2), &|r| r.mean(TIME_WAIT)),
        of("time_wait_max", maximum(2), &|r| r.maximum(TIME_WAIT)),
    ]
}

/// What the sniffer and the client say.
pub fn counts(run: &Run, replications: &[Replication]) -> Vec<Comparison> {
    let by_answer = run.kernel.profile.name == HITS_BY_ANSWER;
    let is_hit = move |hit: &Hit| by_answer || hit.in_time_wait();
    let measured_hits = if by_answer {
        run.sum(&["first_synack_tw", "first_bare_ack", "first_none"].map(|key| format!("/pod_sniffer/{key}")))
    } else {
        run.number("/pod_sniffer/attempts_in_pod_tw")
    };
    let of = |figure, measured, predicted: &dyn Fn(&Replication) -> f64| Comparison {
        figure,
        measured,
        predicted: replications.iter().map(predicted).collect(),
    };
    vec![
        of("hits", measured_hits, &|r| r.hits(is_hit)),
        of("bare_acks", run.number("/pod_sniffer/first_bare_ack"), &|r| {
            r.counts.bare_acks as f64
        }),
        of("slow", run.slow_connects(), &|r| r.counts.slow as f64),
        of("timed_out", run.number("/client/connect_timeout"), &|r| {
            r.counts.timed_out as f64
        }),
        of("drops", run.number("/node/conntrack_stat/drop"), &|r| {
            (r.counts.insert_failed + r.counts.conntrack_full_drops) as f64
        }),
        of("rst_kills", run.number("/pod_sniffer/tw_killed_by_rst"), &|r| {
            r.counts.exact_rsts as f64
        }),
    ]
}

/// Ages of the hits in which the sniffer believes, in bins of a second.
pub fn ages(run: &Run, replications: &[Replication]) -> Option<Comparison> {
    let bins = run.value["pod_sniffer"]["tw_age_hist_1s"].as_array()?;
    let measured: Vec<f64> = bins.iter().filter_map(serde_json::Value::as_f64).collect();
    let simulated: Vec<Vec<f64>> = replications
        .iter()
        .map(|replication| replication.ages(measured.len(), Hit::in_time_wait))
        .collect();
    let (measured, predicted) = chi_squares(&measured, &simulated)?;
    Some(Comparison {
        figure: "age_chi_square",
        measured: Ok(measured),
        predicted,
    })
}
