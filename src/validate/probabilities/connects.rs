//! B: connect() of a real kernel onto a pod's TIME_WAIT: how long it takes, and what a sniffer at the pod sees.
//!
//! `summary.csv` has both, by variant. The short form has the sniffer's counts in `b_summary.json` and each connect in
//! `b_trials.csv`; it comes from emulated machines, whose milliseconds say nothing: there everything below 60 ms is one
//! bucket, and the bare ACKs tell an immediate connect from a retried one.

use serde_json::Value;

use super::super::read::{self, CsvRow};
use super::super::{Fault, Figure, File, Judgement, Kernel, Options};
use super::lane::{Seen, Sniffer, Source, Variant, simulate};
use super::{push, replicate};
use crate::engine::keyed_hash;
use crate::model::tcp::TimestampMode;
use crate::units::SimDuration;

/// Upper ends of the laboratory's buckets of connect() in seconds; what is left failed.
const BUCKETS: [(&str, f64); 6] = [
    ("immediate", 0.004),
    ("4-60 ms", 0.06),
    ("60-900 ms", 0.9),
    ("0.9-1.2 s", 1.2),
    ("1.2-2.5 s", 2.5),
    ("2.5-8 s", 8.0),
];
/// How the laboratory ran the variants whose `tag` is below the first number: so many lanes with several trials each.
/// The others have a lane per trial.
const LANES: (u32, u32) = (31, 40);

/// Counts by bucket; the last one is for failures.
type Buckets = [u32; BUCKETS.len() + 1];

fn bucket(seconds: Option<f64>) -> usize {
    let place = seconds.and_then(|s| BUCKETS.iter().position(|(_, end)| s < *end));
    place.unwrap_or(BUCKETS.len())
}

fn buckets(connects: impl Iterator<Item = Option<f64>>) -> Buckets {
    let mut counts = Buckets::default();
    for connect in connects {
        counts[bucket(connect)] += 1;
    }
    counts
}

/// A variant by the words of its row.
fn variant(
    file: &File,
    kernel: &Kernel,
    mode: &str,
    timestamps: &str,
    source: &str,
) -> Result<Variant, Fault> {
    let fault = |key: &str, expected: &str, found: &str| {
        Fault::new(file.path(), format!("{key}: expected {expected}, not {found:?}"))
    };
    let mut variant = Variant {
        profile: kernel.profile,
        timestamps: match timestamps {
            "0" => TimestampMode::Off,
            "1" => TimestampMode::RandomOffset,
            "2" => TimestampMode::NoOffset,
            _ => return Err(fault("tcp_timestamps", "0, 1 or 2", timestamps)),
        },
        source: match source {
            "same_ip" => Source::SameIp,
            "diff_ip" => Source::DiffIp,
            "same_ip_same_sport" => Source::SameIpSamePort,
            _ => return Err(fault("src", "same_ip, diff_ip or same_ip_same_sport", source)),
        },
        old_client: false,
        rfc1337: false,
        rst_blocked: false,
        ack_blocked: false,
    };
    for word in mode.split('+') {
        match word {
            "modern" => {}
            "legacy" => variant.old_client = true,
            "rfc1337" => variant.rfc1337 = true,
            "rst_blocked" => variant.rst_blocked = true,
            "ack_blocked" => variant.ack_blocked = true,
            _ => {
                let expected = "modern or legacy, with +rfc1337, +rst_blocked, +ack_blocked";
                return Err(fault("client_mode", expected, mode));
            }
        }
    }
    Ok(variant)
}

/// One variant: its name, and as many simulated sets as there are replications.
struct Case {
    name: String,
    kernel: Kernel,
    sets: Vec<Seen>,
}

impl Case {
    fn new(
        kernel: &Kernel,
        name: String,
        variant: &Variant,
        lanes: u32,
        trials: u32,
        options: &Options,
    ) -> Self {
        let word = name
            .bytes()
            .fold(0, |word, byte| keyed_hash(word, &[u64::from(byte)]));
        Self {
            name,
            kernel: kernel.clone(),
            sets: replicate(options, &[word], |seed| simulate(variant, lanes, trials, seed)),
        }
    }

    fn figure(&self, figure: &'static str, measured: f64, of: impl Fn(&Seen) -> f64) -> Figure {
        Figure {
            case: self.name.clone(),
            kernel: self.kernel.clone(),
            figure,
            measured,
            predicted: self.sets.iter().map(of).collect(),
        }
    }

    /// Adds the buckets. A connect of 4 to 60 ms is an immediate one that was late, where no caller can have repeated its
    /// SYN by then in any replication; and always, if `milliseconds` cannot be trusted.
    fn judge_buckets(&self, judgement: &mut Judgement, mut measured: Buckets, milliseconds: bool) {
        let seconds = |seen: &Seen| buckets(seen.connects.iter().map(|it| it.map(SimDuration::as_secs_f64)));
        let mut predicted: Vec<Buckets> = self.sets.iter().map(seconds).collect();
        if !milliseconds || predicted.iter().all(|set| set[1] == 0) {
            for set in predicted.iter_mut().chain([&mut measured]) {
                set[0] += std::mem::take(&mut set[1]);
            }
        }
        let names = BUCKETS.iter().map(|(name, _)| *name).chain(["failed"]);
        for (index, name) in names.enumerate() {
            let figure = Figure {
                predicted: predicted.iter().map(|set| f64::from(set[index])).collect(),
                ..self.figure(name, f64::from(measured[index]), |_| 0.0)
            };
            push(judgement, figure);
        }
    }
}

/// `summary.csv`.
pub(super) fn summary(file: &File, options: &Options) -> Result<Judgement, Fault> {
    const COLUMNS: [&str; BUCKETS.len() + 1] = [
        "lt_4ms",
        "ms4_60",
        "ms60_900",
        "s0p9_1p2",
        "s1p2_2p5",
        "s2p5_8",
        "failed_8s",
    ];
    let mut judgement = Judgement::default();
    for row in read::csv(file)? {
        let kernel = Kernel::of(row.find("kernel"), file.path())?;
        let (mode, timestamps, source) = words(&row)?;
        let variant = variant(file, &kernel, mode, timestamps, source)?;
        let (trials, failures): (u32, u32) =
            (row.number("trials")?, row.number("setup_failures_not_counted")?);
        let mut measured = Buckets::default();
        for (count, column) in measured.iter_mut().zip(COLUMNS) {
            *count = row.number(column)?;
        }
        if measured.iter().sum::<u32>() != trials {
            return Err(row.fault("trials", "the sum of the buckets"));
        }
        let all = trials + failures;
        let lanes = if row.number::<u32>("tag")? < LANES.0 {
            LANES.1.min(all)
        } else {
            all
        };
        let name = format!("B{} {mode} ts {timestamps} {source}", row.get("tag")?);
        let case = Case::new(
            &kernel,
            name,
            &variant,
            lanes,
            all.div_ceil(lanes.max(1)),
            options,
        );
        case.judge_buckets(&mut judgement, measured, true);
        let failed = case.figure("setup failures", f64::from(failures), |seen| {
            f64::from(seen.setup_failures)
        });
        push(&mut judgement, failed);
        if row.find("pod_bare_acks").is_some() {
            let bare_acks = case.figure("pod bare ACKs", row.number("pod_bare_acks")?, |seen| {
                f64::from(seen.sniffer.bare_acks)
            });
            push(&mut judgement, bare_acks);
        }
    }
    Ok(judgement)
}

fn words<'a>(row: &'a CsvRow<'_>) -> Result<(&'a str, &'a str, &'a str), Fault> {
    Ok((
        row.get("client_mode")?,
        row.get("tcp_timestamps")?,
        row.get("src")?,
    ))
}

/// `b_trials.csv`: each second connection of a trial.
pub(super) fn trials(file: &File, options: &Options) -> Result<Judgement, Fault> {
    let mut judgement = Judgement::default();
    let rows = read::csv(file)?;
    let mut begin = 0;
    while begin < rows.len() {
        let tag = rows[begin].get("tag")?;
        let end = rows[begin..].iter().position(|row| row.find("tag") != Some(tag));
        let end = end.map_or(rows.len(), |length| begin + length);
        judge_tag(file, &rows[begin..end], options, &mut judgement)?;
        begin = end;
    }
    Ok(judgement)
}

/// The rows of one variant.
fn judge_tag(file: &File, rows: &[CsvRow<'_>], options: &Options, all: &mut Judgement) -> Result<(), Fault> {
    let first = &rows[0];
    let kernel = Kernel::of(first.find("kernel"), file.path())?;
    let (mode, timestamps, source) = words(first)?;
    let variant = variant(file, &kernel, mode, timestamps, source)?;
    let (mut lanes, mut trials, mut connects) = (0, 0, Vec::new());
    for row in rows {
        lanes = lanes.max(row.number::<u32>("lane")? + 1);
        trials = trials.max(row.number::<u32>("trial")? + 1);
        if row.find("kind").is_none_or(|kind| kind == "collide") {
            let ok = row.find("result").is_none_or(|result| result == "ok");
            connects.push(if ok {
                Some(row.number::<f64>("connect_s")?)
            } else {
                None
            });
        }
    }
    let name = format!("B{} {mode} ts {timestamps} {source}, trials", first.get("tag")?);
    let case = Case::new(&kernel, name, &variant, lanes, trials, options);
    case.judge_buckets(all, buckets(connects.into_iter()), false);
    Ok(())
}

/// `b_summary.json`: the sniffer's counts.
pub(super) fn sniffer(file: &File, options: &Options) -> Result<Judgement, Fault> {
    let value = read::json(file)?;
    let variants = value.as_array().filter(|list| !list.is_empty());
    let variants = variants.ok_or_else(|| Fault::new(file.path(), "expected a list of variants"))?;
    let mut judgement = Judgement::default();
    for entry in variants {
        judge_entry(file, entry, options, &mut judgement)?;
    }
    Ok(judgement)
}

fn judge_entry(file: &File, entry: &Value, options: &Options, all: &mut Judgement) -> Result<(), Fault> {
    let kernel = Kernel::of(entry["kernel"].as_str(), file.path())?;
    let text = |key: &str| match &entry[key] {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(Fault::new(file.path(), format!("{key}: expected a word"))),
    };
    let (mode, timestamps, source) = (text("client_mode")?, text("tcp_timestamps")?, text("src")?);
    let variant = variant(file, &kernel, &mode, &timestamps, &source)?;
    let failures = read::number(file, entry, "/setup_failures")?;
    let all_trials = (read::number(file, entry, "/trials")? + failures) as u32;
    // Only the first connection of each lane finds no TIME_WAIT at the pod.
    let fresh =
        read::number(file, entry, "/pod/attempts")? - read::number(file, entry, "/pod/attempts_in_pod_tw")?;
    let lanes = (fresh.max(1.0) as u32).min(all_trials.max(1));
    let name = format!("B{} {mode} ts {timestamps} {source}", text("tag")?);
    let case = Case::new(
        &kernel,
        name,
        &variant,
        lanes,
        all_trials.div_ceil(lanes),
        options,
    );
    let count = |key: &str| read::number(file, entry, &format!("/pod/{key}"));
    let first = count("first_bare_ack")?;
    // Mostly these equal the first, and say nothing then.
    for (figure, measured, of) in [
        (
            "first_bare_ack",
            first,
            (|it| f64::from(it.first_bare_ack)) as fn(&Sniffer) -> f64,
        ),
        ("further bare ACKs", count("bare_acks_total")? - first, |it| {
            f64::from(it.bare_acks) - f64::from(it.first_bare_ack)
        }),
        (
            "refusals without RST kill",
            first - count("tw_killed_by_rst")?,
            |it| f64::from(it.first_bare_ack) - f64::from(it.killed_by_rst),
        ),
        (
            "refusals without SYN-ACK",
            first - count("ack_then_synack")?,
            |it| f64::from(it.first_bare_ack) - f64::from(it.ack_then_synack),
        ),
        (
            "SYN repeats beyond refusals",
            count("syn_retransmits")? - first,
            |it| f64::from(it.syn_retransmits) - f64::from(it.first_bare_ack),
        ),
    ] {
        push(all, case.figure(figure, measured, |seen| of(&seen.sniffer)));
    }
    push(
        all,
        case.figure("setup failures", failures, |seen| f64::from(seen.setup_failures)),
    );
    Ok(())
}
