//! The documents hold what they promise: commands run, links and files exist, tables fit a screen.
//!
//! In a block marked `console` each line that begins with `$ fivetuple` is run. Its exit code must be 0, or what a
//! comment at its end says: `# exits with 1`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Columns that a terminal or a rendered page has room for.
const WIDTH: usize = 110;

/// The documents whose links are checked: the README, what lies beside it, and all folders of documents.
fn documents() -> Vec<PathBuf> {
    let mut documents = Vec::new();
    for folder in [".", "docs", "docs/models", "scenarios", "plots"] {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
        let paths = entries.map(|entry| entry.expect("readable").path());
        documents.extend(paths.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    }
    documents.sort();
    documents
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fenced blocks of a document: language and lines.
fn blocks(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, Vec<&str>)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((language.trim(), Vec::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, lines))) => lines.push(line),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// A document without its fenced blocks.
fn prose(text: &str) -> String {
    let outside = text.split("\n```").step_by(2);
    outside.collect::<Vec<_>>().join("\n")
}

/// Targets of the links that lead to files of this repository, without their anchors.
fn local_links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains("://") && !target.starts_with('#'))
        .map(|target| target.split('#').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn every_relative_link_leads_to_a_file() {
    let mut broken = Vec::new();
    for document in documents() {
        let folder = document.parent().expect("a file lies in a folder");
        for target in local_links(&prose(&read(&document))) {
            if !folder.join(&target).exists() {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_source_that_a_document_names_exists() {
    let mut missing = Vec::new();
    for document in documents() {
        let text = prose(&read(&document));
        for word in text.split('`').skip(1).step_by(2) {
            let is_path = ["src/", "tests/", "docs/", "scenarios/", "plots/"]
                .iter()
                .any(|folder| word.starts_with(folder));
            let is_plain = word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            if is_path && is_plain && !Path::new(word).exists() {
                missing.push(format!("{}: {word}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_readmes_two_commands_are_those_of_the_gate() {
    let readme = read(Path::new("README.md"));
    let blocks = blocks(&readme);
    let (_, commands) = blocks
        .iter()
        .find(|(language, _)| *language == "sh")
        .expect("a block of shell");
    let gate = read(Path::new(".ci/run"));
    let gate: Vec<_> = gate.lines().filter(|line| line.starts_with("cargo ")).collect();
    assert_eq!(commands.len(), 2);
    assert_eq!(commands[..], gate[..2]);
}

/// Runs `fivetuple` in a folder that has the scenarios.
fn fivetuple(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(snapbox::cmd::cargo_bin!("fivetuple"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the program was built for this test")
}

/// A folder of its own with a copy of the scenarios.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a temporary folder");
    let scenarios = place.path().join("scenarios");
    fs::create_dir(&scenarios).expect("a new folder");
    for entry in fs::read_dir("scenarios").expect("the scenarios") {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("a file has a name");
        fs::copy(&path, scenarios.join(name)).expect("a copy");
    }
    place
}

#[test]
fn the_readmes_commands_run() {
    let readme = read(Path::new("README.md"));
    let place = place();
    let mut run = 0;
    for (language, lines) in blocks(&readme) {
        if language != "console" {
            continue;
        }
        for line in lines {
            let Some(command) = line.strip_prefix("$ fivetuple ") else {
                continue;
            };
            let (command, comment) = command.split_once('#').unwrap_or((command, "exits with 0"));
            let expected: i32 = comment
                .trim()
                .strip_prefix("exits with ")
                .and_then(|code| code.parse().ok())
                .unwrap_or_else(|| panic!("`{line}`: the comment names no exit code"));
            let arguments: Vec<_> = command.split_whitespace().collect();
            let output = fivetuple(place.path(), &arguments);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(expected), "`{line}`: {said}");
            run += 1;
        }
    }
    assert!(run >= 5, "{run} commands");
}

#[test]
fn lines_of_the_readme_fit() {
    let readme = read(Path::new("README.md"));
    let long: Vec<_> = readme
        .lines()
        .filter(|line| line.chars().count() > WIDTH)
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

/// Takes a release build and ten replications: `cargo test --release --test docs -- --ignored`.
#[test]
#[ignore = "runs the whole incident: cargo test --release --test docs -- --ignored"]
fn the_readmes_excerpt_is_what_the_program_prints() {
    let readme = read(Path::new("README.md"));
    let blocks = blocks(&readme);
    let (_, excerpt) = blocks
        .iter()
        .find(|(language, lines)| *language == "text" && lines[0].contains("requests"))
        .expect("the excerpt");
    let output = fivetuple(place().path(), &["run", "scenarios/incident-499.toml"]);
    let printed = String::from_utf8_lossy(&output.stdout);
    for line in excerpt {
        assert!(printed.lines().any(|said| said == *line), "not printed: {line}");
    }
}
