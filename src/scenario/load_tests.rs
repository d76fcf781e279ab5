//! Loads as a scenario says them: what is read, what is refused, and the files beside it.

use fs_err as fs;

use super::*;
use crate::model::client::{Arrivals, Jitter, NextState};
use crate::model::distribution::Distribution;
use crate::model::sizes::Sizes;
use crate::units::SimDuration;

fn parse_clients(clients: &str) -> Result<Scenario, Diagnostics> {
    let text = format!("duration = \"10s\"\n[clients]\n{clients}\n");
    parse_with("test.toml", &text, &[], Limits::default())
}

fn plan(clients: &str) -> Plan {
    parse_clients(clients)
        .unwrap_or_else(|errors| panic!("{clients}: {errors}"))
        .plan
}

#[test]
fn processes_are_read_as_they_are_written() {
    let arrivals = |text: &str| plan(text).clients.remove(0).arrivals;
    let length = SimDuration::from_secs(10);
    let states =
        "states = [{ rate = \"0/s\", mean_dwell = \"3s\" }, { rate = \"40/s\", mean_dwell = \"1s\" }]";
    let Arrivals::Mmpp(mmpp) = arrivals(&format!("arrivals = \"mmpp\"\nmmpp = {{ {states} }}")) else {
        panic!("an MMPP");
    };
    assert_eq!((mmpp.mean_rate(), mmpp.next), (10.0, NextState::Cyclic));
    for (text, mean) in [
        (
            "arrivals = \"rate-profile\"\nrate_profile = [{ at = \"0s\", rate = \"0/s\" }, { at = \"10s\", rate = \"20/s\" }]",
            100.0,
        ),
        (
            "arrivals = \"rate-profile\"\nrate_profile_period = \"1s\"\n[[clients.rate_profile]]\nat = \"0s\"\nrate = \"5/s\"",
            50.0,
        ),
        (
            "arrivals = \"diurnal\"\nrate = \"7/s\"\ndiurnal = { peak_to_mean = 2, period = \"5s\" }",
            70.0,
        ),
    ] {
        let found = arrivals(text).mean_count(length).unwrap();
        assert!((found - mean).abs() < 1e-9, "{text}: {found}");
    }
    let paced = arrivals("arrivals = \"closed-loop\"\nusers = 3\npacing = \"2s\"\nramp_up = \"1m\"");
    let Arrivals::ClosedLoop {
        users,
        think_time,
        pacing,
        ramp_up,
    } = paced
    else {
        panic!("a closed loop");
    };
    assert_eq!(
        (users, think_time, pacing, ramp_up.as_secs()),
        (
            3,
            Distribution::Constant(SimDuration::ZERO),
            Some(SimDuration::from_secs(2)),
            60
        )
    );
}

#[test]
fn habits_have_the_documented_defaults() {
    let plan = plan("rate = \"1/s\"\n[clients.retry]\n[clients.keepalive]");
    let retry = plan.clients[0].retry.unwrap();
    assert_eq!(
        (retry.max_attempts, retry.jitter, retry.throttling),
        (3, Jitter::Full, None)
    );
    assert_eq!(retry.on, [false, true, false, true, true, true]);
    assert_eq!(
        (
            retry.backoff.initial,
            retry.backoff.multiplier,
            retry.backoff.max.as_secs()
        ),
        (SimDuration::from_millis(100), 2.0, 10)
    );
    let keepalive = plan.clients[0].keepalive.unwrap();
    assert_eq!(
        (keepalive.idle_timeout, keepalive.requests),
        (Some(SimDuration::from_secs(90)), None)
    );
    assert_eq!(plan.slb.client_connections.keepalive_timeout.as_secs(), 75);
}

/// `[clients]` and what is said of it.
#[rustfmt::skip]
const REFUSED: &[(&str, &str)] = &[
    ("arrivals = \"mmpp\"", "`clients.mmpp` is missing"),
    ("arrivals = \"mmpp\"\nmmpp = {}", "`clients.mmpp.states` is missing"),
    ("arrivals = \"mmpp\"\nmmpp = { states = [{ rate = \"1/s\", mean_dwell = \"1s\" }] }", "of one state is no MMPP"),
    ("arrivals = \"mmpp\"\nmmpp = { states = [{ rate = \"1/s\" }, { mean_dwell = \"1s\" }] }", "`clients.mmpp.states.mean_dwell` is missing"),
    ("arrivals = \"mmpp\"\nmmpp = { states = [{ rate = \"0/s\", mean_dwell = \"1s\" }, { rate = \"0/s\", mean_dwell = \"1s\" }] }", "every state has rate 0"),
    ("arrivals = \"mmpp\"\nmmpp = { states = [{ rate = \"1/s\", mean_dwell = \"0s\" }, { rate = \"9/s\", mean_dwell = \"1s\" }] }", "too short"),
    ("arrivals = \"mmpp\"\nmmpp = { states = [{ rate = \"1/s\", mean_dwell = \"1ns\" }, { rate = \"9/s\", mean_dwell = \"1ns\" }] }", "changes of state in one replication are too many"),
    ("arrivals = \"mmpp\"\nmmpp = { states = [{ rate = \"1/s\", mean_dwell = \"1s\" }, { rate = \"90000000/s\", mean_dwell = \"1s\" }] }", "in one replication are too many"),
    ("arrivals = \"mmpp\"\nmmpp = { next = \"random\" }", "knows no `random`"),
    ("arrivals = \"rate-profile\"", "`clients.rate_profile` is missing"),
    ("arrivals = \"rate-profile\"\nrate_profile = []", "there is no `rate_profile`"),
    ("arrivals = \"rate-profile\"\nrate_profile = [{ at = \"0s\", rate = \"0/s\" }]", "every rate of the profile is 0"),
    ("arrivals = \"rate-profile\"\nrate_profile = [{ at = \"5s\", rate = \"1/s\" }, { at = \"4s\", rate = \"1/s\" }]", "out of order"),
    ("arrivals = \"rate-profile\"\nrate_profile = [{ at = \"5s\", rate = \"1/s\" }]\nrate_profile_period = \"4s\"", "out of order"),
    ("arrivals = \"rate-profile\"\nrate_profile = [{ rate = \"1/s\" }]", "`clients.rate_profile.at` is missing"),
    ("arrivals = \"rate-profile\"\nrate_profile = [{ at = \"0s\", rate = \"1/s\" }]\nrate_profile_period = \"0s\"", "too short"),
    ("arrivals = \"diurnal\"\nrate = \"1/s\"", "`clients.diurnal` is missing"),
    ("arrivals = \"diurnal\"\ndiurnal = { peak_to_mean = 1.5 }", "`clients.rate` is missing"),
    ("arrivals = \"diurnal\"\nrate = \"1/s\"\ndiurnal = { peak_to_mean = 2.1 }", "out of range"),
    ("arrivals = \"diurnal\"\nrate = \"1/s\"\ndiurnal = { peak_to_mean = nan }", "out of range"),
    ("arrivals = \"diurnal\"\nrate = \"1/s\"\ndiurnal = { peak_to_mean = 1.5, period = \"1h\", peak_at = \"2h\" }", "behind the end of the day"),
    ("arrivals = \"trace\"", "`clients.trace` is missing"),
    ("arrivals = \"trace\"\ntrace = 5", "`clients.trace` cannot be an integer"),
    ("arrivals = \"closed-loop\"\nusers = 5", "`clients.think_time` is missing"),
    ("arrivals = \"closed-loop\"\nusers = 5\npacing = \"0s\"", "too short"),
    ("rate = \"1/s\"\nretry = { max_attempts = 1 }", "out of range"),
    ("rate = \"1/s\"\nretry = { on = [200] }", "holds something else"),
    ("rate = \"1/s\"\nretry = { on = [] }", "is empty"),
    ("rate = \"1/s\"\nretry = { on = 503 }", "cannot be an integer"),
    ("rate = \"1/s\"\nretry = { initial_backoff = \"20s\" }", "longer than the longest"),
    ("rate = \"1/s\"\nretry = { backoff_multiplier = 0.5 }", "out of range"),
    ("rate = \"1/s\"\nretry = { throttling = { token_ratio = 0 } }", "out of range"),
    ("rate = \"1/s\"\nretry = true", "cannot be a boolean"),
    ("rate = \"5000000/s\"\nretry = { max_attempts = 100 }", "in one replication are too many"),
    ("rate = \"1/s\"\nkeepalive = { requests = 0 }", "out of range"),
    ("rate = \"1/s\"\nkeepalive = { idle_timeout = \"0s\" }", "too short"),
    ("rate = \"1/s\"\nrequest_bytes = { pareto = { scale = \"1kB\" } }", "lacks `shape`"),
    ("rate = \"1/s\"\nrequest_bytes = { pareto = { scale = \"1kB\", shape = 0 } }", "no such shape"),
    ("rate = \"1/s\"\nrequest_bytes = { exponential = { mean = \"200MB\" } }", "not what it should be"),
    ("rate = \"1/s\"\nresponse_bytes = { uniform = { min = 900, max = 100 } }", "upside down"),
    ("rate = \"1/s\"\nresponse_bytes = { empirical = [] }", "nothing to draw from"),
    ("rate = \"1/s\"\nresponse_bytes = { empirical = [{ value = 5, weight = 0 }] }", "nothing to draw from"),
    ("rate = \"1/s\"\nresponse_bytes = { empirical = [{ value = 5 }] }", "lacks `weight`"),
    ("rate = \"1/s\"\nresponse_bytes = { empirical = [\"5ms\"] }", "not what it should be"),
    ("rate = \"1/s\"\nresponse_bytes = { empirical = 5 }", "cannot be an integer"),
    ("rate = \"1/s\"\nresponse_bytes = { zipf = 5 }", "no distribution `zipf`"),
];

#[test]
fn what_makes_no_sense_is_told() {
    for (clients, told) in REFUSED {
        let errors = parse_clients(clients).expect_err(clients);
        let found = errors.list().iter().any(|error| error.message.contains(told));
        assert!(found, "{clients}: {errors}");
    }
}

#[test]
fn what_has_no_effect_is_remarked() {
    for (clients, told) in [
        (
            "rate = \"1/s\"\npacing = \"1s\"",
            "`clients.pacing` has no effect",
        ),
        (
            "rate = \"1/s\"\ndiurnal = { peak_to_mean = 1.5 }",
            "`clients.diurnal` has no effect",
        ),
        (
            "rate = \"1/s\"\nkeepalive = {}\n[slb]\nl7 = false",
            "`clients.keepalive` has no effect",
        ),
        (
            "rate = \"1/s\"\n[slb]\nclient_keepalive_requests = 5",
            "`slb.client_keepalive_requests` has no effect",
        ),
    ] {
        let notes = parse_clients(clients)
            .unwrap_or_else(|errors| panic!("{errors}"))
            .notes;
        assert!(
            notes.iter().any(|note| note.contains(told)),
            "{clients}: {notes:?}"
        );
    }
}

#[test]
fn sizes_and_times_take_every_distribution() {
    let plan = plan(
        "rate = \"1/s\"\nrequest_bytes = { uniform = { min = 100, max = \"2kB\" } }\n\
         response_bytes = { empirical = [{ value = 500, weight = 9 }, { value = \"1MB\", weight = 1 }] }\n\
         [pod]\nservice_time = { pareto = { scale = \"5ms\", shape = 1.5 } }\n\
         close_delay = { empirical = [\"0s\", \"1ms\"] }",
    );
    assert_eq!(
        plan.clients[0].request_bytes,
        Sizes::Uniform { min: 100, max: 2_000 }
    );
    let Sizes::Empirical(list) = &plan.clients[0].response_bytes else {
        panic!("a list");
    };
    assert_eq!((list.values(), list.mean()), (&[500, 1_000_000][..], 100_450.0));
    assert_eq!(
        plan.pods[0].service_time,
        Distribution::Pareto {
            scale: SimDuration::from_millis(5),
            shape: 1.5
        }
    );
    assert_eq!(plan.pods[0].close_delay.mean(), SimDuration::from_micros(500));
}

/// A folder with a scenario and its files.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        Self(folder)
    }

    /// A scenario with these clients, beside the files.
    fn path(&self, clients: &str) -> std::path::PathBuf {
        let path = self.0.path().join("scenario.toml");
        fs::write(&path, format!("duration = \"10s\"\n[clients]\n{clients}\n")).unwrap();
        path
    }

    fn load(&self, clients: &str) -> Result<Plan, Diagnostics> {
        load(&self.path(clients), &[])
    }
}

const TRACE: &str = "arrivals = \"trace\"\ntrace = \"times.csv\"";

#[test]
fn a_trace_lies_beside_its_scenario_and_is_part_of_its_hash() {
    let read = |content: &[u8]| {
        let folder = Folder::new(&[("times.csv", content)]);
        folder.load(TRACE).unwrap_or_else(|errors| panic!("{errors}"))
    };
    let folder = Folder::new(&[("times.csv", b"1\n10\n10.000000001\n11\n")]);
    let path = folder.path(TRACE);
    let notes = load_with(&path, &[], Limits::default()).map(|scenario| scenario.notes);
    let told = "`clients.trace`: 2 of 4 arrivals lie behind the end of the run";
    assert!(notes.is_ok_and(|notes| notes.iter().any(|note| note == told)));
    let plan = read(b"time_s,client\n0.000000001,a\n1e-3,b\n 2ms ,c\n2.5,d\n");
    let Arrivals::Trace(trace) = &plan.clients[0].arrivals else {
        panic!("a trace");
    };
    let times: Vec<_> = (0..4).map(|index| trace.get(index).unwrap().as_nanos()).collect();
    assert_eq!(
        (trace.len(), times),
        (4, vec![1, 1_000_000, 2_000_000, 2_500_000_000])
    );
    assert_eq!(read(b"1\n2\n").hash, read(b"# other words\n1.0\n2s\n").hash);
    assert_ne!(read(b"1\n2\n").hash, read(b"1\n2.000000001\n").hash);
}

#[test]
fn a_file_of_values_may_have_weights() {
    let folder = Folder::new(&[
        ("times.csv", b"seconds,weight\n0.005,3\n20ms,1\n"),
        ("sizes.csv", b"500\n2kB\n"),
    ]);
    let plan = folder
        .load("rate = \"1/s\"\nresponse_bytes = { empirical = \"sizes.csv\" }\n[pod]\nservice_time = { empirical = \"times.csv\" }")
        .unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(plan.pods[0].service_time.mean(), SimDuration::from_micros(8_750));
    let Sizes::Empirical(list) = &plan.clients[0].response_bytes else {
        panic!("a list");
    };
    assert_eq!(list.values(), [500, 2_000]);
}

#[test]
fn a_hostile_file_is_told_by_name_line_and_what_was_expected() {
    let long = "1\n".repeat(3) + &"9".repeat(100_000) + "\n";
    for (content, told) in [
        (
            &b"1\n0.5\n"[..],
            "line 2 is not what `clients.trace` needs|not before the one above, found `0.5`",
        ),
        (b"time\n1\n-2\n", "line 3 is not|from 0 up to a year, found `-2`"),
        (b"1\n\n# x\nnan\n", "line 4 is not|found `nan`"),
        (b"1\ninf\n", "line 2 is not|found `inf`"),
        (b"1\n1e300\n", "line 2 is not|found `1e300`"),
        (b"1\n,5\n", "line 2 is not|found `,5`"),
        (b"1\n2\xff\n", "line 2 is not|expected UTF-8 text"),
        (b"1\n\x00\n", "line 2 is not|expected seconds"),
        (b"\"1\n2\n3", "line 1 is not|expected seconds"),
        (b"", "cannot be read from `times.csv`|there is no row in it"),
        (b"time\n", "cannot be read|there is no row in it"),
        (long.as_bytes(), "line 4 is not|..."),
    ] {
        let errors = Folder::new(&[("times.csv", content)])
            .load(TRACE)
            .expect_err(told);
        let text = errors.to_string();
        for part in told.split('|') {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.len() < 2_000, "{}", text.len());
    }
}

#[test]
fn what_is_no_file_is_told() {
    let folder = Folder::new(&[]);
    let errors = folder.load(TRACE).expect_err("no file");
    assert!(
        errors.to_string().contains("cannot be read from `times.csv`"),
        "{errors}"
    );
    fs::create_dir(folder.0.path().join("times.csv")).unwrap();
    let errors = folder.load(TRACE).expect_err("a folder");
    assert!(errors.to_string().contains("this is no file"), "{errors}");
}
