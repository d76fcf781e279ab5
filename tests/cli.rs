//! The program as a whole: what it prints, what it writes, how it exits.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn fivetuple(arguments: &[&str]) -> Output {
    Command::new(snapbox::cmd::cargo_bin!("fivetuple"))
        .args(arguments)
        .output()
        .expect("the program was built for this test")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A scenario small enough to run in an instant, with many hits: conntrack forgets after 5 s.
const SMALL: &str = r#"
question = "How often does a short conntrack timeout collide?"
duration = "130s"
replications = 5

[clients]
rate = "20/s"
timeout = "0.8s"

[slb]
addresses = 4
ports = "1024-65535"
port_selection = "random"
timestamps = "off"

[node]
profile = "4.19"
snat = { to_ports = "40000-40999" }
sysctl = { nf_conntrack_tcp_timeout_time_wait = 5 }

[pod]
profile = "4.19"

[[expect]]
that = "attempts.time_wait_hits > 0"
"#;

/// A folder with the small scenario, and the scenario's path.
fn small(extra: &str) -> (tempfile::TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let scenario = place.path().join("small.toml");
    std::fs::write(&scenario, format!("{SMALL}{extra}")).unwrap();
    (place, scenario)
}

fn run(scenario: &Path, arguments: &[&str]) -> Output {
    let mut all = vec!["run", scenario.to_str().unwrap()];
    all.extend(arguments);
    fivetuple(&all)
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {}", stderr(output)))
}

#[test]
fn the_same_scenario_and_seed_give_the_same_bytes_on_one_thread_and_on_two() {
    let (_place, scenario) = small("");
    let first = run(&scenario, &["--json", "--threads", "1"]);
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    let second = run(&scenario, &["--json", "--threads", "2"]);
    assert_eq!(stdout(&first), stdout(&second));
    let other = run(&scenario, &["--json", "--seed", "2"]);
    assert_ne!(stdout(&first), stdout(&other), "another seed");
    assert_eq!(json(&other)["meta"]["seed"], 2);
}

#[test]
fn nothing_of_this_machine_enters_the_results() {
    let (place, scenario) = small("");
    let folder = place.path().join("out");
    let output = run(&scenario, &["--json", "--out", folder.to_str().unwrap()]);
    let here = place.path().to_str().unwrap();
    assert!(!stdout(&output).contains(here));
    for name in [
        "manifest.json",
        "summary.json",
        "attempts.csv",
        "requests.csv",
        "series.csv",
    ] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        assert!(!text.contains(here), "{name}");
    }
    assert_eq!(
        std::fs::read_to_string(folder.join("summary.json")).unwrap(),
        stdout(&output)
    );
}

#[test]
fn tables_agree_with_the_summary() {
    let (place, scenario) = small("");
    let folder = place.path().join("out");
    let summary = json(&run(
        &scenario,
        &["--json", "--records", "all", "--out", folder.to_str().unwrap()],
    ));
    let rows = |name: &str| {
        let mut reader = csv::Reader::from_path(folder.join(name)).unwrap();
        let header = reader.headers().unwrap().clone();
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        move |column: &str| -> Vec<String> {
            let index = header.iter().position(|name| name == column).unwrap();
            rows.iter().map(|row| row[index].to_owned()).collect()
        }
    };
    let count = |pointer: &str| summary.pointer(pointer).unwrap().as_u64().unwrap();
    let attempts = rows("attempts.csv");
    assert_eq!(attempts("hit").len() as u64, count("/attempts/total"));
    assert_eq!(
        attempts("hit").iter().filter(|hit| *hit == "1").count() as u64,
        count("/attempts/time_wait_hits")
    );
    assert_eq!(
        attempts("answer")
            .iter()
            .filter(|answer| *answer == "bare-ack")
            .count() as u64,
        count("/attempts/bare_acks")
    );
    let requests = rows("requests.csv");
    assert_eq!(requests("status").len() as u64, count("/requests/total"));
    assert_eq!(
        requests("status")
            .iter()
            .filter(|status| *status == "499")
            .count() as u64,
        count("/requests/by_status/499")
    );
    let series = rows("series.csv");
    let hits: u64 = series("time_wait_hits")
        .iter()
        .map(|n| n.parse::<u64>().unwrap())
        .sum();
    assert_eq!(hits, count("/attempts/time_wait_hits"));
}

#[test]
fn the_stated_sums_hold_in_a_real_run() {
    let (_place, scenario) = small("");
    let summary = json(&run(&scenario, &["--json"]));
    let sum = |pointer: &str, without: &str| -> u64 {
        let map = summary.pointer(pointer).unwrap().as_object().unwrap();
        map.iter()
            .filter(|(name, _)| *name != without)
            .map(|(_, n)| n.as_u64().unwrap())
            .sum()
    };
    let count = |pointer: &str| summary.pointer(pointer).unwrap().as_u64().unwrap();
    let hits = count("/attempts/time_wait_hits");
    assert!(hits > 100, "{hits}");
    assert_eq!(sum("/release_paths", "M8"), hits);
    assert_eq!(count("/release_paths/unknown"), 0);
    assert_eq!(
        count("/attempts/recycled") + count("/attempts/bare_acks") + count("/attempts/no_answer"),
        hits
    );
    assert_eq!(
        sum("/causes", ""),
        count("/requests/total") - count("/requests/by_status/200")
    );
    assert_eq!(sum("/requests/by_status", ""), count("/requests/total"));
    assert_eq!(summary["theory"]["valid"], true);
}

#[test]
fn the_closed_form_agrees_with_the_run() {
    let (_place, scenario) = small("");
    let summary = json(&run(&scenario, &["--json"]));
    let number = |pointer: &str| summary.pointer(pointer).unwrap().as_f64().unwrap();
    let (h, measured) = (number("/theory/h"), number("/attempts/p_hit/value"));
    assert!(
        (h / measured - 1.0).abs() < 0.06,
        "closed form {h}, simulated {measured}"
    );
}

#[test]
fn a_failed_expectation_exits_with_one_after_the_summary() {
    let (_place, scenario) = small("\n[[expect]]\nthat = \"attempts.total < 1\"\nwhy = \"to fail\"\n");
    let output = run(&scenario, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stdout(&output).contains("expectation FAILED attempts.total < 1"));
    assert!(stdout(&output).starts_with("small "));
    assert!(
        stderr(&output).contains("small.toml:"),
        "says where: {}",
        stderr(&output)
    );
}

#[test]
fn bad_usage_and_bad_input_exit_with_two_and_print_nothing() {
    let (place, scenario) = small("");
    let odd = place.path().join("odd");
    std::fs::create_dir(&odd).unwrap();
    std::fs::write(odd.join("notes.txt"), "mine").unwrap();
    let scenario = scenario.to_str().unwrap();
    #[rustfmt::skip]
    let table: &[(&[&str], &str)] = &[
        (&["run"], "SCENARIO"),
        (&["run", "no-such-file.toml"], "no-such-file.toml"),
        (&["run", scenario, "--set", "clients.ratee=5/s"], "ratee"),
        (&["run", scenario, "--threads", "0"], "threads"),
        (&["run", scenario, "--replications", "0"], "replications"),
        (&["run", scenario, "--out", odd.to_str().unwrap()], "notes.txt"),
        (&["plot", "naive-birthday", "--out", "figure.pdf"], ".svg"),
        (&["plot", "naive-birthday", "--out", "figure.svg", "no-such-folder"], "no-such-folder"),
        (&["frobnicate"], "frobnicate"),
    ];
    for (arguments, word) in table {
        let output = fivetuple(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            stderr(&output).contains(word),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert!(!stderr(&output).contains("panicked"), "{arguments:?}");
    }
}

#[test]
fn an_override_wins_over_the_file() {
    let (_place, scenario) = small("");
    let output = run(
        &scenario,
        &["--json", "--set", "duration=20s", "--replications", "2"],
    );
    let summary = json(&output);
    assert_eq!(summary["meta"]["simulated_seconds"], 20.0);
    assert_eq!(summary["meta"]["replications"], 2);
    assert!(summary["after_120s"].is_null());
}

#[test]
fn a_reader_that_goes_away_ends_the_output_quietly() {
    let (_place, scenario) = small("");
    let mut child = Command::new(snapbox::cmd::cargo_bin!("fivetuple"))
        .args(["run", scenario.to_str().unwrap(), "--set", "duration=20s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!stderr(&output).contains("anic"), "{}", stderr(&output));
}

#[test]
fn progress_and_speed_go_to_stderr_only() {
    let (_place, scenario) = small("");
    let output = run(&scenario, &["--set", "duration=20s"]);
    assert!(stderr(&output).contains("events/s"));
    assert!(!stdout(&output).contains("events/s"));
    assert!(
        !stderr(&output).contains("\u{1b}["),
        "no colours or bars without a terminal"
    );
}

#[test]
fn check_accepts_the_scenarios_of_the_repository() {
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/incident-499.toml");
    assert_eq!(fivetuple(&["check", scenario]).status.code(), Some(0));
}

#[test]
fn a_figure_is_drawn_with_the_points_of_a_run() {
    let (place, scenario) = small("");
    let folder = place.path().join("out");
    let folder = folder.to_str().unwrap();
    run(&scenario, &["--set", "duration=20s", "--out", folder]);
    let picture = place.path().join("figure.svg");
    let output = fivetuple(&[
        "plot",
        "naive-birthday",
        "--out",
        picture.to_str().unwrap(),
        folder,
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        std::fs::read_to_string(picture)
            .unwrap()
            .contains("simulated, 95 % interval")
    );
}

#[test]
fn a_full_disk_behind_stdout_is_an_error_and_behind_stderr_is_not() {
    let full = || {
        std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .map(Stdio::from)
    };
    let (_place, scenario) = small("");
    let scenario = scenario.to_str().unwrap();
    for command in [["check", scenario], ["topology", scenario]] {
        let Ok(full) = full() else { return };
        let output = Command::new(snapbox::cmd::cargo_bin!("fivetuple"))
            .args(command)
            .stdout(full)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{command:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("cannot write to stdout"), "{command:?}");
    }
    for command in ["run", "check", "topology"] {
        let Ok(full) = full() else { return };
        let output = Command::new(snapbox::cmd::cargo_bin!("fivetuple"))
            .args([command, "no-such-file.toml"])
            .stderr(full)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}");
    }
}

#[cfg(unix)]
#[test]
fn results_behind_a_symbolic_link_replace_the_folder_and_not_the_link() {
    let (place, scenario) = small("");
    let (folder, link) = (place.path().join("real"), place.path().join("link"));
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    let quick = [
        "--replications",
        "1",
        "--set",
        "duration=2s",
        "--set",
        "expect=[{that=\"1 < 2\"}]",
    ];
    for _ in 0..2 {
        let output = run(
            &scenario,
            &[&quick[..], &["--out", link.to_str().unwrap()]].concat(),
        );
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(link.is_symlink() && folder.join("summary.json").is_file());
    }
    // Where nothing can be written, it says so before it simulates anything.
    let nowhere = place.path().join("dangling");
    std::os::unix::fs::symlink(place.path().join("nowhere"), &nowhere).unwrap();
    let below_a_file = scenario.join("results");
    for out in [&nowhere, &scenario, &below_a_file] {
        let output = run(&scenario, &["--out", out.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(!stderr(&output).contains("events/s"), "{}", stderr(&output));
    }
    let left: Vec<_> = std::fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with(".fivetuple"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_scenario_cannot_steer_the_terminal() {
    let (_place, scenario) = small("");
    let question = "question=\"\\u001b[2Jgone\\u0007\"";
    let output = run(
        &scenario,
        &["--set", question, "--set", "duration=1s", "--replications", "1"],
    );
    assert!(stdout(&output).contains("[2Jgone"), "{}", stdout(&output));
    assert!(
        !stdout(&output).contains(['\u{1b}', '\u{7}']),
        "{}",
        stdout(&output)
    );
}

#[test]
fn a_negative_number_is_no_unknown_option() {
    let (_place, scenario) = small("");
    for option in ["--seed", "--replications", "--threads"] {
        let output = run(&scenario, &[option, "-1"]);
        assert_eq!(output.status.code(), Some(2));
        let message = format!("invalid value '-1' for '{option}");
        assert!(stderr(&output).contains(&message), "{}", stderr(&output));
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_keeps_what_is_finished_and_exits_with_130() {
    let (place, scenario) = small("");
    let folder = place.path().join("results");
    let mut child = Command::new(snapbox::cmd::cargo_bin!("fivetuple"))
        .args([
            "run",
            scenario.to_str().unwrap(),
            "--yes",
            "--set",
            "duration=20d",
        ])
        .args(["--json", "--replications", "2", "--out", folder.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    if !kill.is_ok_and(|status| status.success()) {
        child.kill().unwrap();
        child.wait().unwrap();
        return;
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let summary = json(&output);
    assert_eq!(summary["meta"]["interrupted"], Value::Bool(true));
    assert!(summary["requests"]["total"].as_u64().unwrap() > 0);
    assert_eq!(
        std::fs::read_to_string(folder.join("summary.json")).unwrap(),
        stdout(&output)
    );
}

#[test]
fn profiles_lists_all_of_them_one_or_what_two_differ_in() {
    let all = fivetuple(&["profiles", "--json"]);
    let all: Value = serde_json::from_slice(&all.stdout).unwrap();
    let names: Vec<_> = all["profiles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    let text = fivetuple(&["profiles"]);
    for name in &names {
        assert!(stdout(&text).contains(name), "{name}");
        let one: Value = serde_json::from_slice(&fivetuple(&["profiles", name, "--json"]).stdout).unwrap();
        let settings = one["settings"].as_array().unwrap();
        assert_eq!(one["switches"], settings.len());
        let doubted = settings
            .iter()
            .filter(|setting| setting["verified"] == false)
            .count();
        assert_eq!(one["unverified"].as_array().unwrap().len(), doubted);
        let itself = fivetuple(&["profiles", name, name, "--json"]);
        let itself: Value = serde_json::from_slice(&itself.stdout).unwrap();
        assert!(itself["differences"].as_array().unwrap().is_empty());
    }
    let text = fivetuple(&["profiles", "4.19"]);
    let time_wait = stdout(&text)
        .lines()
        .find(|line| line.starts_with("net.netfilter.nf_conntrack_tcp_timeout_time_wait"))
        .unwrap();
    assert_eq!(time_wait.split_whitespace().nth(1), Some("120"));
    let two = fivetuple(&["profiles", "4.19", "5.10"]);
    let caller = stdout(&two)
        .lines()
        .find(|line| line.starts_with("caller_reaction"))
        .unwrap();
    let words: Vec<_> = caller.split_whitespace().collect();
    assert_eq!(
        words,
        ["caller_reaction", "rst", "rst-fast-resend", "word", "yes"]
    );
    assert!(!stdout(&two).contains("tcp_rfc1337"), "only what differs");
}

#[test]
fn an_unknown_profile_is_answered_with_the_nearest_one() {
    let output = fivetuple(&["profiles", "5.51"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stdout(&output).is_empty());
    assert!(
        stderr(&output).contains("no kernel profile `5.51`; did you mean 5.15?"),
        "{}",
        stderr(&output)
    );
    assert_eq!(fivetuple(&["profiles", "a", "b", "c"]).status.code(), Some(2));
}
