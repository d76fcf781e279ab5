//! Group F: nginx as layer 7, counted by its access log.

use super::config::{Config, Group};
use super::observed::{Comparison, Replication, Run};
use crate::validate::{Fault, File, Judgement, Options};
use crate::vocab::Status;

/// Statuses of the access log, by name of the figure.
const STATUSES: [(&str, Status); 4] = [
    ("200", Status::Ok),
    ("499", Status::ClientClosed),
    ("502", Status::BadGateway),
    ("504", Status::GatewayTimeout),
];

/// A histogram's bin counts as slow from this lower edge on: no connect ends between here and 0.9 s, where the bins have
/// no edge.
const SLOW_BIN: f64 = 0.85;

/// Judges a run.
pub fn judge(file: &File, options: &Options) -> Result<Judgement, Fault> {
    let run = Run::read(file)?;
    let mut config = Config::read(file, Group::F, &run.value["config"])?;
    config.closes_first(&run.value);
    let plan = config.plan(file, &run.kernel)?;
    let replications = run.replicate(plan, &[], options);
    let mut comparisons = statuses(&run, &replications);
    let sniffer = |keys: &[&str]| {
        run.sum(
            &keys
                .iter()
                .map(|key| format!("/pod_sniffer/{key}"))
                .collect::<Vec<_>>(),
        )
    };
    // Only where a recycled TIME_WAIT shows in its ISN can the sniffer tell each hit.
    if run.kernel.profile.tcp.recycled_isn_continues {
        comparisons.push(Comparison {
            figure: "hits",
            measured: sniffer(&["first_synack_tw", "first_bare_ack", "first_none"]),
            predicted: replications
                .iter()
                .map(|r| r.counts.time_wait_hits as f64)
                .collect(),
        });
    }
    comparisons.push(Comparison {
        figure: "bare_acks",
        measured: sniffer(&["first_bare_ack"]),
        predicted: replications.iter().map(|r| r.counts.bare_acks as f64).collect(),
    });
    Ok(run.judgement(comparisons))
}

/// Requests by status, and the share of slow ones among those with 200.
pub fn statuses(run: &Run, replications: &[Replication]) -> Vec<Comparison> {
    let logged = |name: &str| match &run.value["nginx_status"] {
        serde_json::Value::Object(counts) => Ok(counts
            .get(name)
            .and_then(serde_json::Value::as_f64)
            .unwrap_or(0.0)),
        _ => Err(Fault::new(
            run.file.path(),
            "nginx_status: expected counts by status",
        )),
    };
    let mut comparisons: Vec<Comparison> = STATUSES
        .iter()
        .map(|&(name, status)| Comparison {
            figure: name,
            measured: logged(name),
            predicted: replications.iter().map(|r| of_status(r, status)).collect(),
        })
        .collect();
    comparisons.push(Comparison {
        figure: "slow_share_of_200",
        measured: slow_answers(run).and_then(|slow| Ok(slow / logged("200")?.max(1.0))),
        predicted: replications
            .iter()
            .map(|r| r.slow_answers as f64 / of_status(r, Status::Ok).max(1.0))
            .collect(),
    });
    comparisons
}

fn of_status(replication: &Replication, status: Status) -> f64 {
    let index = Status::ALL.iter().position(|&it| it == status);
    index.map_or(0.0, |index| replication.counts.by_status[index] as f64)
}

/// Responses with 200 that took 0.9 s or more.
fn slow_answers(run: &Run) -> Result<f64, Fault> {
    let numbers = |value: &serde_json::Value| {
        let list = value.as_array()?;
        list.iter()
            .map(serde_json::Value::as_f64)
            .collect::<Option<Vec<f64>>>()
    };
    let edges = numbers(&run.value["hist_edges_s"]);
    let histogram = &run.value["request_time_hist"];
    let counts = histogram.get("200").map_or_else(|| Some(Vec::new()), numbers);
    let (Some(edges), Some(counts)) = (edges, counts.filter(|_| histogram.is_object())) else {
        let what = "expected hist_edges_s and request_time_hist with a histogram per status";
        return Err(Fault::new(run.file.path(), what));
    };
    // The edges are upper ones.
    let lower = std::iter::once(0.0).chain(edges);
    let slow = counts.iter().zip(lower).filter(|(_, lower)| *lower >= SLOW_BIN);
    Ok(slow.map(|(count, _)| count).sum())
}

#[cfg(test)]
mod tests {
    use super::super::g::outside;
    use super::*;
    use crate::validate::Source;

    const FEW: Options = Options {
        replications: 12,
        seed: 1,
    };

    fn judged(path: &str, change: impl Fn(String) -> String) -> Judgement {
        let source = Source::packaged();
        let file = source.files().iter().find(|file| file.path() == path).unwrap();
        let text = change(String::from_utf8(file.bytes().to_vec()).unwrap());
        judge(&File::new(path, text.into_bytes()), &FEW).unwrap()
    }

    #[test]
    fn nginx_logs_what_it_logged_in_every_packaged_run() {
        let source = Source::packaged();
        let files = source
            .files()
            .iter()
            .filter(|file| file.path().starts_with("F/f"));
        let mut found = Vec::new();
        for file in files {
            let judgement = judged(file.path(), |text| text);
            assert!(
                judgement.figures.len() >= 3 && judgement.not_judged.is_empty(),
                "{judgement:?}"
            );
            found.extend(outside(&judgement));
        }
        assert!(found.is_empty(), "{found:#?}");
    }

    #[test]
    fn another_count_of_499_is_outside() {
        let judgement = judged("F/f01.json", |text| text.replace("\"499\": 691", "\"499\": 891"));
        assert_eq!(outside(&judgement).len(), 1);
    }
}
