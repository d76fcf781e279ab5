//! A report for the screen: figures with their intervals, decision tables, what is not judged, the verdict.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use super::{Report, Row, Summary, Verdict};

/// Rows of tables that do not agree are shown up to so many; `--json` has them all.
const MISSES_SHOWN: usize = 20;

/// The report as text.
pub fn screen(report: &Report) -> String {
    let mut out = String::new();
    if !report.rows.is_empty() {
        out.push_str(&figures(&report.rows));
    }
    if !report.summary.tables.is_empty() {
        out.push_str(&tables(&report.summary));
    }
    let mut line = |text: String| writeln!(out, "{text}").expect("a string takes any text");
    for file in &report.summary.not_judged {
        line(format!("not judged: {}: {}", file.file, file.why));
    }
    verdict(&report.summary, &mut line);
    out
}

fn figures(rows: &[Row]) -> String {
    let header = [
        "case",
        "kernel",
        "figure",
        "measured",
        "predicted",
        "99 %",
        "z",
        "verdict",
    ];
    let row = |row: &Row| {
        vec![
            row.case.clone(),
            row.kernel.clone(),
            row.figure.to_owned(),
            number(row.measured),
            number(row.predicted),
            format!("{} .. {}", number(row.lo99), number(row.hi99)),
            row.z.map_or_else(String::new, |z| format!("{z:.1}")),
            match row.verdict {
                Verdict::Inside => String::new(),
                Verdict::Outside => "OUTSIDE".to_owned(),
            },
        ]
    };
    columns(&header, rows.iter().map(row).collect(), 3)
}

fn tables(summary: &Summary) -> String {
    let row = |(name, table): (&&'static str, &super::Tally)| {
        let numbers = [table.rows, table.agree, table.skipped].map(|n| n.to_string());
        let mut cells = vec![(*name).to_owned()];
        cells.extend(numbers);
        cells
    };
    let mut out = columns(
        &["decision table", "rows", "agree", "skipped"],
        summary.tables.iter().map(row).collect(),
        1,
    );
    for miss in summary.misses.iter().take(MISSES_SHOWN) {
        writeln!(
            out,
            "miss: {} {}: {} measured, {} predicted",
            miss.file, miss.row, miss.measured, miss.predicted
        )
        .expect("a string takes any text");
    }
    if let Some(more) = summary.misses.len().checked_sub(MISSES_SHOWN + 1) {
        writeln!(out, "... and {} misses more", more + 1).expect("a string takes any text");
    }
    out
}

fn verdict(summary: &Summary, line: &mut dyn FnMut(String)) {
    let percent =
        |bias: Option<f64>| bias.map_or_else(|| "-".to_owned(), |bias| format!("{:+.2} %", 100.0 * bias));
    line(String::new());
    line(format!(
        "{} of {} figures inside; pooled bias of hits {}, of bare ACKs {}; ranks uniform with p = {}",
        summary.inside,
        summary.figures,
        percent(summary.pooled_bias.hits),
        percent(summary.pooled_bias.bare_acks),
        summary.ks_p.map_or_else(|| "-".to_owned(), |p| format!("{p:.3}")),
    ));
    for reason in &summary.reasons {
        line(format!("FAILED: {reason}"));
    }
    if summary.passed {
        line("PASSED".to_owned());
    }
}

/// Columns without lines, numbers to the right from `first_number` on.
fn columns(header: &[&str], rows: Vec<Vec<String>>, first_number: usize) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.to_vec());
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index >= first_number {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    for row in table.lines() {
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text.push('\n');
    text
}

/// Counts as they are, means with a digit more than matters, shares with four.
fn number(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        0.0..1.0 => format!("{value:.4}"),
        1.0..100.0 => format!("{value:.2}"),
        _ => format!("{value:.1}"),
    }
}
