use super::tables::{ATTEMPTS, REQUESTS, SERIES};
use super::*;
use crate::experiment::testing::{observations_for_tests, plan_for_tests};
use crate::experiment::{Outcome, summarize};
use crate::spec::{Expectation, Plan};

fn outcome(plan: &Plan) -> Outcome {
    let observations: Vec<_> = (0..plan.replications)
        .map(|r| observations_for_tests(plan, r))
        .collect();
    Outcome {
        summary: summarize(plan, &observations),
        observations,
    }
}

#[test]
fn the_screen_shows_what_a_person_asks_for() {
    let mut plan = plan_for_tests();
    plan.expectations = vec![Expectation {
        that: "attempts.total < 1".into(),
        why: Some("to see one fail".into()),
        location: "here:1".into(),
    }];
    let text = screen(&plan, &outcome(&plan).summary);
    println!("{text}");
    for word in [
        "seed 1, 10 replications, 320 s each",
        "499 rate",
        "recycled",
        "bare ACK",
        "M2  old tuple reopened",
        "time-wait-collision",
        "reuse gap of hits",
        "without first 120 s",
        "closed form",
        "textbook birthday figure is 27.8 %",
        "3 the old ipvs entry is undisturbed",
        "expectation FAILED attempts.total < 1",
        "to see one fail",
    ] {
        assert!(text.contains(word), "{word:?} is missing");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 130),
        "no line is too long"
    );
}

#[test]
fn a_folder_is_written_whole_replaced_if_ours_and_refused_otherwise() {
    let mut plan = plan_for_tests();
    plan.replications = 2;
    let outcome = outcome(&plan);
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("deep/results");
    write_folder(&folder, &plan, &outcome).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(read("summary.json"), json(&outcome.summary));
    let first = read("manifest.json");
    let manifest: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!(manifest["files"].as_array().unwrap().len(), 4);
    let rows = manifest["files"][1]["rows"].as_u64().unwrap();
    assert_eq!(read("attempts.csv").lines().count() as u64, rows + 1);
    assert_eq!(rows, outcome.summary.attempts.time_wait_hits);
    assert!(!first.contains(place.path().to_str().unwrap()), "no path");

    write_folder(&folder, &plan, &outcome).unwrap();
    assert_eq!(read("manifest.json"), first, "the same run writes the same bytes");
    std::fs::write(folder.join("notes.txt"), "mine").unwrap();
    let error = write_folder(&folder, &plan, &outcome).unwrap_err().to_string();
    assert!(error.contains("notes.txt"), "{error}");
    assert_eq!(read("notes.txt"), "mine");
    std::fs::remove_file(folder.join("notes.txt")).unwrap();
    std::fs::remove_file(folder.join("manifest.json")).unwrap();
    assert!(
        write_folder(&folder, &plan, &outcome).is_err(),
        "without our manifest it is not ours"
    );
    let left: Vec<_> = std::fs::read_dir(folder.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing is left beside it");
}

#[test]
fn rows_beyond_the_cap_are_counted() {
    let mut plan = plan_for_tests();
    plan.replications = 1;
    let mut outcome = outcome(&plan);
    outcome.observations[0].attempts_left_out = 5;
    let tables = tables::tables(&plan, &outcome.observations, 10).unwrap();
    let hits = outcome.observations[0].attempts.len() as u64;
    assert_eq!((tables[0].rows, tables[0].left_out), (10, hits - 10 + 5));
    assert_eq!((tables[2].rows, tables[2].left_out), (10, 310));
}

#[test]
fn every_column_is_documented() {
    let page = include_str!("../../docs/results-reference.md");
    for header in [ATTEMPTS, REQUESTS, SERIES] {
        for column in header.split(',') {
            assert!(
                page.contains(&format!("`{column}`")),
                "{column} is not in docs/results-reference.md"
            );
        }
    }
}
