//! The packaged measurements against a few replications, and that each judge can fail.

use super::*;
use crate::validate::{File, Judgement, Source};

const FEW: Options = Options {
    replications: 10,
    seed: 1,
};

/// A packaged measurement, changed by `change`.
fn judge(path: &str, change: &dyn Fn(String) -> String) -> Judgement {
    let source = Source::packaged();
    let file = source
        .files()
        .iter()
        .find(|file| file.path() == path)
        .expect("packaged");
    let text = String::from_utf8(file.bytes().to_vec()).expect("text");
    let file = File::new(path, change(text).into_bytes());
    let Some(Kind::Probability(judge)) = kind(path, path.rsplit('/').next().unwrap_or(path)) else {
        panic!("{path} is no file of this room");
    };
    judge(&file, &FEW).unwrap_or_else(|fault| panic!("{fault}"))
}

/// Figures further than five standard deviations of their replications away, and more than two events.
fn outside(judgement: &Judgement) -> Vec<String> {
    let mut found = Vec::new();
    for figure in &judgement.figures {
        let n = figure.predicted.len() as f64;
        let mean = figure.predicted.iter().sum::<f64>() / n;
        let deviation = (figure.predicted.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        let line = format!(
            "{:44} {:22} measured {:8.1} predicted {mean:8.1} +- {deviation:6.1}",
            figure.case, figure.figure, figure.measured
        );
        println!("{} {line}", figure.kernel.profile.name);
        if (figure.measured - mean).abs() > (5.0 * deviation).max(2.5) {
            found.push(line);
        }
    }
    found
}

#[test]
fn measured_proportions_are_those_of_the_simulator() {
    let (mut found, mut judged) = (Vec::new(), 0);
    for file in Source::packaged().files() {
        if kind(file.path(), file.path().rsplit('/').next().unwrap_or("")).is_none() {
            continue;
        }
        let judgement = judge(file.path(), &|text| text);
        found.extend(outside(&judgement));
        found.extend(
            judgement
                .tables
                .iter()
                .flat_map(|table| &table.misses)
                .map(|miss| format!("{miss:?}")),
        );
        assert!(!judgement.figures.is_empty(), "{}", file.path());
        judged += 1;
    }
    assert_eq!(judged, 13);
    assert!(found.is_empty(), "{found:#?}");
}

/// The first line and the one that begins so, with one of its cells changed.
fn with_cell(text: &str, line: &str, column: &str, cell: &str) -> String {
    let columns = text.lines().next().expect("a line of column names");
    let row = text
        .lines()
        .find(|row| row.starts_with(line))
        .expect("a line that begins so");
    let cells = columns.split(',').zip(row.split(','));
    let cells: Vec<&str> = cells
        .map(|(name, old)| if name == column { cell } else { old })
        .collect();
    format!("{columns}\n{}\n", cells.join(","))
}

#[test]
fn one_wrong_cell_is_one_figure_outside() {
    for (path, line, column, cell) in [
        (
            "C/c1_port_keep.csv",
            "default,,1024-32767",
            "kept_original_port",
            "900",
        ),
        ("C/c3_fill_vs_failure.csv", "1000,random,99.9", "forwarded", "300"),
        ("C/c2b_evict_vs_free.csv", "default,128,1,", "adv_free", "5"),
        ("B/summary.csv", "35,modern+rst_blocked", "pod_bare_acks", "900"),
    ] {
        let wrong = judge(path, &|text| with_cell(&text, line, column, cell));
        assert_eq!(outside(&wrong).len(), 1, "{path}");
    }
}

#[test]
fn one_wrong_cell_of_what_is_certain_is_one_miss() {
    for (path, line, column, cell) in [
        ("C/c3_fill_vs_failure.csv", "1000,random,100,", "forwarded", "1"),
        (
            "C/c3_fill_vs_failure.csv",
            "1000,random,98,",
            "d_insert_failed",
            "7",
        ),
        (
            "C/c2b_evict_vs_free.csv",
            "--random-fully,1,0,",
            "adv_evict",
            "29",
        ),
        ("C/c2b_evict_vs_free.csv", "default,64,1,", "old_drop", "1"),
    ] {
        let wrong = judge(path, &|text| with_cell(&text, line, column, cell));
        let misses: usize = wrong.tables.iter().map(|table| table.misses.len()).sum();
        assert!((1..=3).contains(&misses), "{path}: {misses}");
    }
}

#[test]
fn a_word_that_is_unknown_is_a_fault_that_names_it() {
    let fault = |path: &str, text: &str| {
        let Some(Kind::Probability(judge)) = kind(path, path.rsplit('/').next().unwrap_or(path)) else {
            panic!("{path} is no file of this room");
        };
        judge(&File::new(path, text.as_bytes().to_vec()), &FEW)
            .unwrap_err()
            .to_string()
    };
    let trials = "tag,client_mode,tcp_timestamps,src,lane,trial,kind,connect_s,result\n01,ancient,0,same_ip,0,0,collide,1,ok";
    assert!(fault("5.10/B/b_trials.csv", trials).contains("ancient"));
    let ports = "mode,to_ports,orig_sport_class,n,kept_original_port,min_port,max_port,distinct,dropped\n--hash,,<512,1,1,1,1,1,1";
    assert!(fault("C/c1_port_keep.csv", ports).contains("mode"));
    assert!(fault("C/c1q_x.json", "{}").contains("keep_port"));
    assert!(fault("5.10/B/b_summary.json", "[]").contains("variants"));
}

#[test]
fn a_short_form_of_c3_that_is_not_understood_is_not_judged() {
    let file = File::new("6.1/C/c3q_x.csv", b"kernel,a,b\n6.1.0,1,2".to_vec());
    let judgement = fill::fill_vs_failure(&file, &FEW).unwrap();
    assert_eq!(judgement.not_judged.len(), 1);
    let file = File::new(
        "6.1/C/c3q_x.csv",
        b"kernel,range_size,free_ports,trials,forwarded\n6.1.0,1000,1,60,14\n6.1.0,1000,0,60,0".to_vec(),
    );
    let judgement = fill::fill_vs_failure(&file, &FEW).unwrap();
    assert_eq!((judgement.figures.len(), judgement.tables[0].agree), (1, 1));
    assert!(outside(&judgement).is_empty());
}
