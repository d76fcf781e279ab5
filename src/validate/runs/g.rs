//! Group G: runs as in E, with a capture on all interfaces of the node. Judged are the counts, and the packets of each
//! connection one after the other.

use serde_json::{Value, json};

use super::capture::{Classes, classes, read};
use super::config::{Config, Group};
use super::e;
use super::observed::Run;
use crate::validate::read::json as read_json;
use crate::validate::{Fault, Figure, File, Judgement, Kind, Options, Source, Table};

/// The sniffer's counts with the run's configuration, and what lies beside them.
const SNIFFER: &str = "truth_pod.json";
const CLIENT: &str = "truth_client.json";
const CAPTURE: &str = "node_any.pcap";
/// A sequence that occurs no more often than this may be an accident of the day.
const HANDFUL: f64 = 5.0;

/// The judge of a file of this group.
pub fn kind(name: &str) -> Kind {
    match name {
        SNIFFER => Kind::Folder(judge),
        CLIENT | CAPTURE => Kind::Folder(part),
        _ => Kind::NotJudged("evidence: tables and counters dumped while the capture ran"),
    }
}

/// A file that is judged with the sniffer's counts beside it.
#[expect(clippy::unnecessary_wraps, reason = "the form of every judge")]
fn part(file: &File, source: &Source, _options: &Options) -> Result<Judgement, Fault> {
    Ok(match beside(file, source, SNIFFER) {
        Some(_) => Judgement::default(),
        None => Judgement::not_judged(
            file.path(),
            "no truth_pod.json with the run's configuration beside it",
        ),
    })
}

/// The file of that name in the same folder.
fn beside<'s>(file: &File, source: &'s Source, name: &str) -> Option<&'s File> {
    let folder = file.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    };
    source.files().iter().find(|file| file.path() == path)
}

/// Judges a folder.
fn judge(file: &File, source: &Source, options: &Options) -> Result<Judgement, Fault> {
    let sniffer = read_json(file)?;
    let client = beside(file, source, CLIENT).map(read_json).transpose()?;
    // The same in the form of a run of group E.
    let run = Run::of(
        file,
        json!({
            "kernel": sniffer["config"]["kernel"],
            "config": sniffer["config"],
            "client": client.unwrap_or(Value::Null),
            "pod_sniffer": sniffer,
        }),
    )?;
    let plan = Config::read(file, Group::E, &run.value["config"])?.plan(file, &run.kernel)?;
    let capture = beside(file, source, CAPTURE);
    let replications = run.replicate_with(plan, &[], capture.is_some(), options);
    let mut comparisons = e::counts(&run, &replications);
    // What the node counted is not in these files.
    comparisons.retain(|comparison| comparison.figure != "drops");
    comparisons.extend(e::ages(&run, &replications));
    let mut judgement = run.judgement(comparisons);
    // All runs have the same file name: the folder tells them apart.
    let case = file.path().trim_end_matches(SNIFFER).trim_end_matches('/');
    for figure in &mut judgement.figures {
        case.clone_into(&mut figure.case);
    }
    let Some(capture) = capture else {
        let why = "no node_any.pcap beside it: the order of packets is left out";
        judgement.append(Judgement::not_judged(file.path(), why));
        return Ok(judgement);
    };
    let measured = classes(&read(capture)?);
    let simulated: Vec<_> = replications
        .into_iter()
        .map(|replication| replication.sequences)
        .collect();
    let sequences = compare(capture.path(), &measured, &simulated);
    for (label, measured, predicted) in sequences.figures {
        judgement.figures.push(Figure {
            case: format!("{case}: {label}"),
            kernel: run.kernel.clone(),
            figure: "connections",
            measured,
            predicted,
        });
    }
    judgement.tables.push(sequences.table);
    Ok(judgement)
}

struct Sequences {
    table: Table,
    /// Label, measured, predicted.
    figures: Vec<(String, f64, Vec<f64>)>,
}

/// Every sequence that occurs more than a handful of times on one side must occur on the other.
fn compare(file: &str, measured: &Classes, simulated: &[Classes]) -> Sequences {
    let mut means = Classes::new();
    for (class, count) in simulated.iter().flatten() {
        *means.entry(class.clone()).or_default() += count / simulated.len() as f64;
    }
    let mut sequences = Sequences {
        table: Table::new("g_packet_sequence"),
        figures: Vec::new(),
    };
    let count = |classes: &Classes, class| classes.get(class).copied().unwrap_or(0.0);
    let all = measured
        .keys()
        .chain(means.keys().filter(|class| !measured.contains_key(class)));
    for class in all {
        let (here, there) = (count(measured, class), count(&means, class));
        if here <= HANDFUL && there <= HANDFUL {
            continue;
        }
        let words = |occurs: bool| if occurs { "occurs" } else { "does not occur" };
        let (label, steps) = class;
        // What is rare on the other side may be missing there by chance.
        let agrees = here > 0.0 && there > 0.0;
        sequences.table.judged(
            agrees,
            file,
            format!("{label}: {steps}"),
            words(here > 0.0),
            words(there > 0.0),
        );
        let predicted = simulated.iter().map(|classes| count(classes, class)).collect();
        sequences.figures.push((label.clone(), here, predicted));
    }
    sequences
}

/// Figures more than five standard deviations of their replications and more than two events away.
#[cfg(test)]
pub(super) fn outside(judgement: &Judgement) -> Vec<String> {
    let mut found = Vec::new();
    for figure in &judgement.figures {
        let n = figure.predicted.len() as f64;
        let mean = figure.predicted.iter().sum::<f64>() / n;
        let deviation = (figure.predicted.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        let line = format!(
            "{} {}: measured {}, predicted {mean:.3} +- {deviation:.3}",
            figure.case, figure.figure, figure.measured
        );
        println!("{line}");
        let slack = if figure.measured < 1.0 && mean < 1.0 {
            0.01
        } else {
            2.5
        };
        if (figure.measured - mean).abs() > (5.0 * deviation).max(slack) {
            found.push(line);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Options = Options {
        replications: 8,
        seed: 1,
    };

    fn judged(source: &Source, folder: &str) -> Judgement {
        let path = format!("{folder}/{SNIFFER}");
        let file = source.files().iter().find(|file| file.path() == path).unwrap();
        judge(file, source, &FEW).unwrap()
    }

    #[test]
    fn packets_of_the_captured_connections_are_those_of_the_simulator() {
        let source = Source::packaged();
        for folder in ["G/collide", "G/control"] {
            let judgement = judged(&source, folder);
            assert!(
                judgement.tables[0].misses.is_empty(),
                "{:#?}",
                judgement.tables[0].misses
            );
            assert!(outside(&judgement).is_empty(), "{:#?}", outside(&judgement));
        }
    }

    #[test]
    fn a_packet_that_the_simulator_does_not_send_is_a_miss() {
        let source = Source::packaged();
        let file = source
            .files()
            .iter()
            .find(|file| file.path() == "G/control/node_any.pcap")
            .unwrap();
        let mut packets = read(file).unwrap();
        let measured = classes(&packets);
        assert_eq!(measured.len(), 1);
        // No connection's last ACK was captured.
        packets.retain(|seen| seen.packet.flags != crate::wire::Flags::ACK || !seen.sent);
        let compared = compare("x", &classes(&packets), std::slice::from_ref(&measured));
        assert_eq!((compared.table.rows, compared.table.agree), (2, 0));
        let same = compare("x", &measured, std::slice::from_ref(&measured));
        assert_eq!((same.table.rows, same.table.agree), (1, 1));
    }

    #[test]
    fn what_is_no_capture_is_a_fault_that_says_so() {
        for bytes in [Vec::new(), vec![0; 100], b"not a capture at all".to_vec()] {
            assert!(read(&File::new("G/x/node_any.pcap", bytes)).is_err());
        }
    }

    #[test]
    fn parts_without_the_sniffer_s_counts_are_not_judged() {
        let source = Source::packaged();
        let alone = File::new("G/other/node_any.pcap", Vec::new());
        let judgement = part(&alone, &source, &FEW).unwrap();
        assert_eq!(judgement.not_judged.len(), 1);
    }
}
