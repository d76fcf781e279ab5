//! `fivetuple profiles [A] [B]`: the kernel profiles, the switches of one, or the differences of two.

use std::process::ExitCode;

use comfy_table::{Table, presets};
use serde::Serialize;

use super::BAD_INPUT;
use super::output::{print, remark};
use crate::profile::{self, Difference, Overview, Profile, Setting};
use crate::scenario;

/// Columns of the screen that sources are wrapped to.
const WIDTH: usize = 110;
/// What they begin with.
const INDENT: &str = "    ";

/// All profiles in JSON.
#[derive(Serialize)]
struct All {
    profiles: Vec<Overview>,
}

/// One profile in JSON.
#[derive(Serialize)]
struct One {
    #[serde(flatten)]
    overview: Overview,
    settings: Vec<Setting>,
}

/// Two profiles in JSON.
#[derive(Serialize)]
struct Two {
    first: &'static str,
    second: &'static str,
    differences: Vec<Difference>,
}

/// Prints what `names`, up to two of them, ask for.
pub(super) fn profiles(names: &[String], json: bool) -> ExitCode {
    let found: Result<Vec<_>, _> = names.iter().map(|name| find(name)).collect();
    let text = match found.as_deref() {
        Err(complaint) => {
            remark(complaint);
            return ExitCode::from(BAD_INPUT);
        }
        Ok([first, second, ..]) => {
            let differences = first.differences(second);
            let (first, second) = (first.name, second.name);
            if json {
                in_json(&Two {
                    first,
                    second,
                    differences,
                })
            } else {
                table_of_differences(first, second, &differences)
            }
        }
        Ok([profile]) if json => in_json(&One {
            overview: profile.overview(),
            settings: profile.settings(),
        }),
        Ok([profile]) => table_of_settings(profile),
        Ok([]) => {
            let profiles: Vec<_> = Profile::ALL.iter().map(Profile::overview).collect();
            if json {
                in_json(&All { profiles })
            } else {
                table_of_profiles(&profiles)
            }
        }
    };
    match print(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            remark(&format!("error: cannot write to stdout: {error}"));
            ExitCode::from(BAD_INPUT)
        }
    }
}

fn find(name: &str) -> Result<&'static Profile, String> {
    profile::find(name).ok_or_else(|| {
        let names: Vec<_> = Profile::ALL.iter().map(|profile| profile.name).collect();
        let help = scenario::nearest(name, names.iter().copied()).map_or_else(
            || format!("known are {}", names.join(", ")),
            |near| format!("did you mean {near}?"),
        );
        format!(
            "error: there is no kernel profile `{}`; {help}",
            scenario::shorten(name)
        )
    })
}

fn in_json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("lists are plain data with string keys");
    text.push('\n');
    text
}

/// A table; under each row may stand a text, indented and wrapped.
fn table(header: Vec<String>, rows: Vec<(Vec<String>, String)>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    let mut texts = Vec::new();
    for (cells, text) in rows {
        table.add_row(cells);
        texts.push(text);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut lines = table.lines();
    let mut out = String::new();
    let mut push = |line: &str| {
        out.push_str(line.trim_end());
        out.push('\n');
    };
    lines.by_ref().take(1).for_each(|line| push(&line));
    for (line, text) in lines.zip(texts) {
        push(&line);
        for line in wrap(&text) {
            push(&line);
        }
    }
    out
}

/// The words of `text` in lines that fit the screen.
fn wrap(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{INDENT}{word}")),
        }
    }
    lines
}

fn header<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

fn table_of_profiles(profiles: &[Overview]) -> String {
    let row = |profile: &Overview| {
        let cells = [
            profile.name.to_owned(),
            profile.switches.to_string(),
            profile.unverified.len().to_string(),
            if profile.ran { "yes" } else { "no" }.to_owned(),
            profile.about.to_owned(),
        ];
        (cells.to_vec(), String::new())
    };
    let header = header(["profile", "switches", "not verified", "ran here", "what it is"]);
    table(header, profiles.iter().map(row).collect())
}

fn table_of_settings(profile: &Profile) -> String {
    let mut text = format!("{}: {}\n", profile.name, profile.about);
    let row = |setting: &Setting| {
        let doubt = setting.doubt.map(|why| format!("not verified: {why}. "));
        let cells = [
            setting.name.to_owned(),
            setting.value.clone(),
            setting.unit.to_owned(),
            if setting.verified { "yes" } else { "no" }.to_owned(),
        ];
        (
            cells.to_vec(),
            format!("{}{}", doubt.unwrap_or_default(), setting.source),
        )
    };
    let settings = profile.settings();
    for part in settings.chunk_by(|a, b| a.part == b.part) {
        let header = header([part[0].part, "value", "unit", "verified"]);
        text.push('\n');
        text.push_str(&table(header, part.iter().map(row).collect()));
    }
    text
}

fn table_of_differences(first: &str, second: &str, differences: &[Difference]) -> String {
    if differences.is_empty() {
        return format!("{first} and {second} stand alike in every switch\n");
    }
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let row = |difference: &Difference| {
        let cells = [
            difference.name.to_owned(),
            value(&difference.first),
            value(&difference.second),
            difference.unit.to_owned(),
            if difference.verified { "yes" } else { "no" }.to_owned(),
        ];
        (cells.to_vec(), difference.source.to_owned())
    };
    let header = header(["switch", first, second, "unit", "verified"]);
    table(header, differences.iter().map(row).collect())
}
