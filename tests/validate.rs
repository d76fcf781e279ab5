//! The packaged measurements against the simulator, whole: with few replications, so that the intervals are wide, but
//! every decision table, every run and every rule of passing is there. `fivetuple validate` does it with 200.

use std::path::Path;
use std::process::{Command, Output};

use fivetuple::validate::{self, Options, Report, Source};
use serde_json::Value;

fn fivetuple(arguments: &[&str]) -> Output {
    Command::new(snapbox::cmd::cargo_bin!("fivetuple"))
        .args(arguments)
        .output()
        .expect("the program was built for this test")
}

fn folder(source: &Path, replications: u32) -> Report {
    let options = Options {
        replications,
        ..Options::default()
    };
    validate::validate(&Source::folder(source).unwrap(), &options, &|_| {})
}

/// A folder of measurements with one packaged run in it, changed.
fn one_run(path: &str, change: impl Fn(&mut Value)) -> tempfile::TempDir {
    let mut run: Value =
        serde_json::from_str(&std::fs::read_to_string(format!("tests/lab/{path}")).unwrap()).unwrap();
    change(&mut run);
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join(path);
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    std::fs::write(target, run.to_string()).unwrap();
    place
}

fn outside(report: &Report) -> Vec<&str> {
    let rows = report.rows.iter();
    rows.filter(|row| row.verdict == validate::Verdict::Outside)
        .map(|row| row.figure)
        .collect()
}

#[test]
fn the_packaged_measurements_agree_with_the_simulator() {
    let options = Options {
        replications: 6,
        ..Options::default()
    };
    let report = validate::validate(&Source::packaged(), &options, &|_| {});
    println!("{}", validate::screen(&report));
    assert!(report.summary.passed, "{:#?}", report.summary.reasons);
    assert!(report.rows.len() > 300 && report.summary.ks_p.is_some());
}

#[test]
fn another_count_of_hits_lies_outside() {
    let place = one_run("I/4.19/i10.json", |run| run["derived"]["tw_hits"] = 1500.into());
    assert_eq!(outside(&folder(place.path(), 12)), ["hits"]);
    let place = one_run("I/4.19/i10.json", |_| {});
    assert!(outside(&folder(place.path(), 12)).is_empty());
}

#[test]
fn another_configuration_than_that_of_the_run_lies_outside() {
    let place = one_run("E/e05.json", |run| run["config"]["ports"] = 1500.into());
    let report = folder(place.path(), 12);
    for figure in ["hits", "bare_acks", "slow", "time_wait_mean"] {
        assert!(outside(&report).contains(&figure), "{figure} {:#?}", report.rows);
    }
    assert!(!report.summary.passed);
}

#[test]
fn a_kernel_key_wins_over_the_folder_and_decides_what_is_predicted() {
    // With one offset of timestamps per address, and a search that drops instead of evicting, the run is another one.
    let place = one_run("E/e14.json", |run| run["kernel"] = "5.10.223".into());
    let report = folder(place.path(), 12);
    assert!(report.rows.iter().all(|row| row.kernel == "5.10.223"));
    assert!(outside(&report).contains(&"drops"), "{:#?}", report.rows);
}

#[test]
fn the_exit_code_is_1_for_an_unknown_key_and_2_for_a_folder_without_anything_to_judge() {
    let place = one_run("E/e43.json", |run| run["config"]["cake"] = 1.into());
    let output = fivetuple(&["validate", "--json", "--data", place.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["summary"]["passed"], false);
    assert!(
        report["summary"]["faults"][0]["what"]
            .as_str()
            .unwrap()
            .contains("config.cake")
    );

    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("notes.txt"), "nothing").unwrap();
    let output = fivetuple(&["validate", "--json", "--data", place.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["summary"]["not_judged"][0]["file"], "notes.txt");

    let missing = place.path().join("missing");
    assert_eq!(
        fivetuple(&["validate", "--data", missing.to_str().unwrap()])
            .status
            .code(),
        Some(2)
    );
    assert_eq!(
        fivetuple(&["validate", "--replications", "1"]).status.code(),
        Some(2)
    );
}

#[test]
fn the_same_measurements_give_the_same_octets() {
    let place = one_run("E/e43.json", |_| {});
    let run = || {
        let arguments = [
            "validate",
            "--json",
            "--replications",
            "4",
            "--data",
            place.path().to_str().unwrap(),
        ];
        let output = fivetuple(&arguments);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        output.stdout
    };
    assert_eq!(run(), run());
}
