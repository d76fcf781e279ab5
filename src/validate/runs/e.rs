//! Group E: open-loop runs through iptables DNAT and MASQUERADE, counted by a sniffer beside the pod.

use super::config::{Config, Group};
use super::observed::{Comparison, Hit, Level, Replication, Run, chi_squares};
use crate::validate::{Fault, File, Judgement, Options};

/// Kernel of the laboratory's own host. On it the sniffer knows a recycled TIME_WAIT by its ISN; on all others, whatever
/// their ISN, `attempts_in_pod_tw` is what the laboratory counts.
const HOST_KERNEL: &str = "6.18";

/// Judges a run.
pub fn judge(file: &File, options: &Options) -> Result<Judgement, Fault> {
    let run = Run::read(file)?;
    let plan = Config::read(file, Group::E, &run.value["config"])?.plan(file, &run.kernel)?;
    let series = run.series("series_t_ctcount_podtw", 3)?;
    let instants: Vec<f64> = series.iter().map(|row| row[0]).collect();
    let replications = run.replicate(plan, &instants, options);
    let mut comparisons = counts(&run, &replications);
    comparisons.extend(levels(&run, &series, &replications));
    comparisons.extend(ages(&run, &replications));
    Ok(run.judgement(comparisons))
}

/// What the sniffer and the client say.
pub fn counts(run: &Run, replications: &[Replication]) -> Vec<Comparison> {
    let by_answer = run.kernel.profile.name == HOST_KERNEL;
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

/// Mean and maximum of the 5 s series.
///
/// The conntrack table, its worker and the walks that collect the dead are the whole machine's, whatever the network
/// namespace, and the laboratory ran up to eight runs side by side on its host: the counts of e43 and e44 fall together,
/// a minute apart, as do those of e34, e35 and e38; in e29 and e31 next to nothing dead is counted. A run's file does not
/// say who its neighbours were, so there each replication stands twice: with all that it alone leaves uncollected, and
/// with nothing.
fn levels(run: &Run, series: &[Vec<f64>], replications: &[Replication]) -> Vec<Comparison> {
    let has_neighbours = run.kernel.profile.name == HOST_KERNEL;
    let conntrack: &[Level] = if has_neighbours {
        &[Level::Conntrack, Level::ConntrackAlive]
    } else {
        &[Level::Conntrack]
    };
    let column = |n: usize| series.iter().map(move |row| row[n]);
    let mean = |figure, n: usize, levels: &[Level]| Comparison {
        figure,
        measured: Ok(column(n).sum::<f64>() / series.len().max(1) as f64),
        predicted: levels
            .iter()
            .flat_map(|&level| replications.iter().map(move |r| r.mean(level)))
            .collect(),
    };
    let maximum = |figure, n: usize, levels: &[Level]| Comparison {
        figure,
        measured: Ok(column(n).fold(0.0, f64::max)),
        predicted: levels
            .iter()
            .flat_map(|&level| replications.iter().map(move |r| r.maximum(level)))
            .collect(),
    };
    vec![
        mean("conntrack_mean", 1, conntrack),
        maximum("conntrack_max", 1, conntrack),
        mean("time_wait_mean", 2, &[Level::TimeWait]),
        maximum("time_wait_max", 2, &[Level::TimeWait]),
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
