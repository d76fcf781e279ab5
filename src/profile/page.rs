//! The reference page of the profiles, made from their switches.

use std::fmt::Write;

use super::{Part, Profile, Scope, switches_of};

const HEAD: &str = "\
# Kernel profiles

<!-- Made from the program's own tables: UPDATE_REFERENCE=1 cargo test --lib profiles_page -->

A profile says how one kernel behaves, switch by switch. `[slb]`, `[node]`, `[pod]` and `[clients]` name one each
(`profile = \"6.1\"`); a sysctl goes under `[pod.sysctl]`, any other switch under `[pod.kernel]`, and overrides what the
profile says. `fivetuple profiles` lists them, `fivetuple profiles 6.1` prints one, `fivetuple profiles 4.19 5.10` what
differs. `--json` is for programs.

Read means in the source of the version named, measured means in the laboratory (`tests/lab`, whose groups the sources
name: A/a1_direct_matrix). What is neither is named here and printed with every result that uses it.
";

/// The page, as it stands in `docs/profiles.md`.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    profiles(&mut page);
    differences(&mut page);
    for part in Part::ALL {
        line(
            &mut page,
            &format!(
                "\n## Switches: {}\n\n| switch | unit | meaning | source |\n|---|---|---|---|",
                part.name()
            ),
        );
        for switch in switches_of(part) {
            let (name, unit) = (switch.name, switch.kind.unit());
            line(
                &mut page,
                &format!("| `{name}` | {unit} | {} | {} |", switch.meaning, switch.source),
            );
        }
    }
    page
}

fn profiles(page: &mut String) {
    line(
        page,
        "\n## Profiles\n\n| profile | what it is | ran here | not verified |\n|---|---|---|---|",
    );
    for profile in Profile::ALL {
        let doubts: Vec<_> = profile
            .unverified
            .iter()
            .map(|doubt| match doubt.scope {
                Scope::Only(names) => format!("{}: {}", code(names), doubt.why),
                Scope::AllBut([]) => format!("every switch: {}", doubt.why),
                Scope::AllBut(names) => format!("all but {}: {}", code(names), doubt.why),
            })
            .collect();
        let open = if doubts.is_empty() {
            "-".to_owned()
        } else {
            doubts.join("; ")
        };
        let ran = if profile.ran { "yes" } else { "no" };
        line(
            page,
            &format!("| `{}` | {} | {ran} | {open} |", profile.name, profile.about),
        );
    }
}

fn code(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn differences(page: &mut String) {
    line(
        page,
        "\n## From one to the next\n\n| profiles | switch | older | newer |\n|---|---|---|---|",
    );
    for pair in Profile::ALL.windows(2) {
        let names = format!("`{}`, `{}`", pair[0].name, pair[1].name);
        let differences = pair[0].differences(&pair[1]);
        if differences.is_empty() {
            line(page, &format!("| {names} | none | - | - |"));
        }
        for difference in differences {
            let value = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
            let (first, second) = (value(difference.first), value(difference.second));
            line(
                page,
                &format!("| {names} | `{}` | {first} | {second} |", difference.name),
            );
        }
    }
}

fn line(page: &mut String, text: &str) {
    writeln!(page, "{text}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/profiles.md");
        let page = page();
        if std::env::var_os("UPDATE_REFERENCE").is_some() {
            fs_err::write(path, &page).unwrap();
        }
        assert!(
            fs_err::read_to_string(path).unwrap() == page,
            "docs/profiles.md is out of date: UPDATE_REFERENCE=1 cargo test --lib profiles_page"
        );
    }
}
