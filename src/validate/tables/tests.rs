//! Every packaged table agrees in every row, and one changed cell is one miss.

use super::super::{Judgement, Source};
use super::*;

fn judged(file: &File) -> Judgement {
    match Kind::of(file.path()) {
        Kind::Table(judge) => judge(file).unwrap_or_else(Judgement::of_fault),
        _ => panic!("{}: not a table", file.path()),
    }
}

#[test]
#[ignore]
fn show() {
    for file in Source::packaged().files() {
        if let Kind::Table(_) = Kind::of(file.path()) {
            let j = judged(file);
            for f in &j.faults {
                println!("FAULT {f}");
            }
            for t in &j.tables {
                println!(
                    "{:60} {:24} rows {} agree {} skipped {}",
                    file.path(),
                    t.name,
                    t.rows,
                    t.agree,
                    t.skipped
                );
                for m in t.misses.iter().take(8) {
                    println!("    {} | {} | {}", m.row, m.measured, m.predicted);
                }
            }
        } else {
            println!("-- {}", file.path());
        }
    }
}
