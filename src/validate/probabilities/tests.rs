//! The packaged measurements against a few replications, and that each judge can fail.

use super::*;
use crate::validate::{File, Judgement, Source};

const FEW: Options = Options {
    replications: 24,
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
        let begun = std::time::Instant::now();
        let judgement = judge(file.path(), &|text| text);
        eprintln!("TIME {} {:?}", file.path(), begun.elapsed());
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
