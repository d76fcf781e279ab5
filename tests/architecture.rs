//! The house rules that a machine can hold: who may use whom, how long a file may be, what nothing may name.

use std::fs;
use std::path::{Path, PathBuf};

/// Rank of every room, as the table in `src/lib.rs` has it.
fn ranks() -> Vec<(String, u32)> {
    let map = fs::read_to_string("src/lib.rs").expect("the crate's map");
    let rows = map.lines().filter_map(|line| line.strip_prefix("//! | "));
    let mut ranks = Vec::new();
    for row in rows {
        let Some((rank, rooms)) = row.split_once(" | ") else {
            continue;
        };
        let Ok(rank) = rank.trim().parse() else { continue };
        let names = rooms.split('`').skip(1).step_by(2);
        ranks.extend(names.map(|name| (name.to_owned(), rank)));
    }
    ranks
}

fn rust_files(dir: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(dir)
        .expect("a folder")
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for dir in ["src", "tests", "benches"] {
        rust_files(Path::new(dir), &mut files);
    }
    files
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).expect("UTF-8")))
        .collect()
}

fn is_test_file(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_string_lossy();
    name == "tests"
        || name.ends_with("_tests")
        || name == "testing"
        || !path.starts_with("src")
        || path.components().any(|part| part.as_os_str() == "tests")
}

#[test]
fn every_room_has_a_rank_and_every_ranked_room_exists() {
    let ranks = ranks();
    let lib = fs::read_to_string("src/lib.rs").unwrap();
    let modules: Vec<_> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    assert_eq!(ranks.len(), modules.len());
    for module in modules {
        assert!(
            ranks.iter().any(|(name, _)| name == module),
            "{module} has no rank in src/lib.rs"
        );
    }
}

#[test]
fn a_room_uses_only_rooms_of_a_lower_rank() {
    let ranks = ranks();
    let rank_of = |room: &str| ranks.iter().find(|(name, _)| name == room).map(|(_, rank)| *rank);
    let mut offences = Vec::new();
    for (path, text) in sources() {
        let Some(room) = path.strip_prefix("src").ok().and_then(|path| path.iter().next()) else {
            continue;
        };
        let room = room.to_string_lossy().into_owned();
        let Some(own) = rank_of(&room) else { continue };
        // Tests of a room may build their world from whatever they need.
        if is_test_file(&path) {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for used in code.split("crate::").skip(1) {
            let used: String = used
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if used != room && rank_of(&used).is_some_and(|rank| rank >= own) {
                offences.push(format!("{}: {room} (rank {own}) uses {used}", path.display()));
            }
        }
    }
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn files_stay_small_and_say_what_they_are() {
    for (path, text) in sources() {
        assert!(
            text.lines().count() <= 800,
            "{} has {} lines",
            path.display(),
            text.lines().count()
        );
        let first = text.lines().next().unwrap_or_default();
        let says = first.starts_with("//!") || is_test_file(&path);
        assert!(
            says,
            "{} does not say in its first line what it does",
            path.display()
        );
    }
}

#[test]
fn no_source_depends_on_wall_clock_or_thread_randomness() {
    for (path, text) in sources() {
        if path.starts_with("src/cli") || !path.starts_with("src") {
            continue;
        }
        for word in [
            "Instant::now",
            "SystemTime",
            "rand::rng()",
            "thread_rng",
            "RandomState",
        ] {
            assert!(!text.contains(word), "{} uses {word}", path.display());
        }
    }
}
