use super::*;
use crate::validate::Kernel;

fn figure(name: &'static str, measured: f64, predicted: Vec<f64>) -> Figure {
    Figure {
        case: "e00".to_owned(),
        kernel: Kernel::of_release("6.18.44", "e00.json").unwrap(),
        figure: name,
        measured,
        predicted,
    }
}

/// 200 replications: `from` upward in steps of 1.
fn ramp(from: f64) -> Vec<f64> {
    (0..200).map(|n| from + f64::from(n)).collect()
}

fn judged(figures: Vec<Figure>) -> Report {
    report(Judgement::of_figures(figures), &Options::default())
}

fn of_tables(tables: Vec<Table>) -> Report {
    let all = Judgement {
        tables,
        ..Judgement::default()
    };
    report(all, &Options::default())
}

#[test]
fn a_figure_is_inside_from_the_lowest_to_the_highest_of_200_replications() {
    for (measured, verdict) in [
        (99.0, Verdict::Outside),
        (100.0, Verdict::Inside),
        (299.0, Verdict::Inside),
        (300.0, Verdict::Outside),
    ] {
        let report = judged(vec![figure("slow", measured, ramp(100.0))]);
        let row = &report.rows[0];
        assert_eq!(
            (row.lo99, row.hi99, row.verdict),
            (100.0, 299.0, verdict),
            "{measured}"
        );
        assert_eq!(row.z.unwrap().signum(), (measured - 199.5).signum());
    }
}

#[test]
fn two_figures_may_always_lie_outside_and_three_percent_of_many() {
    for (figures, outside, passed) in [
        (2, 2, true),
        (3, 3, false),
        (99, 3, false),
        (100, 3, true),
        (100, 4, false),
    ] {
        let measured = |n: usize| if n < outside { 1e6 } else { 200.0 };
        let report = judged(
            (0..figures)
                .map(|n| figure("slow", measured(n), ramp(100.0)))
                .collect(),
        );
        assert_eq!(report.summary.inside, figures - outside);
        assert_eq!(
            report.summary.passed, passed,
            "{outside} of {figures}: {:?}",
            report.summary.reasons
        );
    }
}

#[test]
fn a_pooled_bias_above_three_percent_fails_even_if_every_figure_is_inside() {
    let runs = |name, shift: f64| {
        (0..7)
            .map(move |_| figure(name, 10_000.0 + shift, ramp(9_900.5)))
            .collect()
    };
    let spread = mean_and_deviation(&ramp(0.0)).1;
    assert!(
        judged(runs(HITS, 290.0))
            .summary
            .reasons
            .iter()
            .all(|reason| !reason.contains("pooled"))
    );
    let biased = judged(runs(HITS, 310.0));
    assert!((biased.summary.pooled_bias.hits.unwrap() - 0.031).abs() < 1e-4);
    assert!(
        biased
            .summary
            .reasons
            .iter()
            .any(|reason| reason.starts_with("pooled hits"))
    );
    // Small figures spread by more than 3 %: 2.6 standard deviations of the sum are allowed then.
    let allowed = BIAS_DEVIATIONS * spread * 7f64.sqrt() / 7.0;
    for (shift, passes) in [(0.95 * allowed, true), (1.05 * allowed, false)] {
        let figures = (0..7)
            .map(|_| figure("refused", 200.0 + shift, ramp(100.5)))
            .collect();
        let summary = judged(figures).summary;
        assert_eq!(
            !summary.reasons.iter().any(|r| r.starts_with("pooled bare")),
            passes,
            "{shift}"
        );
        assert!(summary.pooled_bias.hits.is_none());
    }
}

#[test]
fn ranks_that_crowd_fail_and_runs_that_all_agree_are_left_out() {
    let at = |measured: &dyn Fn(u32) -> f64, runs: u32| {
        judged((0..runs).map(|n| figure(HITS, measured(n), ramp(0.0))).collect()).summary
    };
    assert!(at(&|n| f64::from(n) * 10.0 + 5.0, 20).ks_p.unwrap() > 0.5);
    let crowded = at(&|n| 90.0 + f64::from(n), 20);
    assert!(crowded.ks_p.unwrap() < 0.01 && !crowded.passed);
    assert!(at(&|n| f64::from(n) * 25.0, 7).ks_p.is_none());
    let agreeing = (0..20).map(|_| figure(HITS, 0.0, vec![0.0; 200])).collect();
    assert!(judged(agreeing).summary.ks_p.is_none());
}

#[test]
fn ties_are_ranked_over_all_the_places_that_they_leave_open() {
    let tied = figure(HITS, 1.0, vec![0.0, 1.0, 1.0, 2.0]);
    assert_eq!((rank(&tied, 0.0), rank(&tied, 1.0)), (0.2, 0.8));
}

#[test]
fn one_row_that_does_not_agree_fails_and_is_named() {
    let mut table = Table::new("a1_rst_kill");
    table.row("A/a1_rst_kill.csv", "line 2", "killed", "killed");
    table.skip();
    let good = of_tables(vec![table.clone()]);
    assert!(good.summary.passed && !good.is_empty());
    table.row("A/a1_rst_kill.csv", "line 3", "killed", "alive");
    let bad = of_tables(vec![table]);
    assert!(!bad.summary.passed);
    let tally = Tally {
        rows: 2,
        agree: 1,
        skipped: 1,
    };
    assert_eq!(bad.summary.tables["a1_rst_kill"], tally);
    assert_eq!(bad.summary.misses[0].row, "line 3");
}

#[test]
fn a_fault_fails_and_nothing_to_judge_is_empty() {
    let fault = report(
        Judgement::of_fault(Fault::new("E/e00.json", "config.x: no such key")),
        &Options::default(),
    );
    assert!(!fault.summary.passed && !fault.is_empty());
    assert!(report(Judgement::not_judged("x", "y"), &Options::default()).is_empty());
}

#[test]
fn the_json_has_the_names_of_the_contract() {
    let mut all = Judgement::of_figures(vec![figure(HITS, 150.0, ramp(100.0))]);
    let mut table = Table::new("d_vanish");
    table.row("x", "line 1", "10", "10");
    all.append(Judgement::of_table(table));
    all.append(Judgement::not_judged("x", "y"));
    let json = serde_json::to_value(report(all, &Options::default())).unwrap();
    let row = json["rows"][0].as_object().unwrap();
    let names: Vec<&str> = row.keys().map(String::as_str).collect();
    for name in [
        "case",
        "kernel",
        "figure",
        "measured",
        "predicted",
        "lo99",
        "hi99",
        "z",
        "verdict",
    ] {
        assert!(names.contains(&name), "{name}");
    }
    let summary = &json["summary"];
    assert_eq!(summary["figures"], 1);
    assert_eq!(summary["inside"], 1);
    assert!(summary["pooled_bias"]["hits"].is_number() && summary["pooled_bias"]["bare_acks"].is_null());
    assert!(summary["ks_p"].is_null());
    let tally = serde_json::json!({"rows": 1, "agree": 1, "skipped": 0});
    assert_eq!(summary["tables"]["d_vanish"], tally);
    assert_eq!(summary["not_judged"][0]["why"], "y");
    assert_eq!(summary["passed"], true);
}
