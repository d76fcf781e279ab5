//! The reference page of scenario files, made from the table of keys, the tables of sysctls and the profiles.

use std::fmt::Write;

use super::keys::{self, Key, Type};
use super::sysctl::{NODE, SLB, Sysctl, TCP, Unit, short};
use crate::profile::Profile;

const HEAD: &str = "\
# Scenario files: reference

<!-- Made from the program's own tables: UPDATE_REFERENCE=1 cargo test --lib reference -->

A scenario is a TOML file. Keys are in snake case, values in kebab case. A key that does not exist is refused, and so is a
value out of range; all errors are shown at once. `fivetuple check FILE` does only that.

| type | written |
|---|---|
| duration | a number with its unit, in quotes: `\"60s\"`, `\"0.25ms\"`, `\"5m\"`, `\"1h\"`, `\"20us\"`, `\"5ns\"`, `\"1d\"` |
| rate | `\"350/s\"`, `\"1200/min\"`, `\"90/h\"` |
| size | `\"200B\"`, `\"2kB\"`, `\"1KiB\"`, `\"1MB\"`, `\"1MiB\"`, or a whole number of octets |
| share | 0 to 1, or in percent: `\"0.1%\"` |
| port range | `\"32768-60999\"`, the lower port first, none of them 0 |
| name | a letter, then letters, digits, `-` and `_`, at most 63 |
| distribution | a duration (constant), or one of `{ constant = \"5ms\" }`, `{ uniform = { min = \"1ms\", max = \"9ms\" } }`, `{ exponential = { mean = \"5ms\" } }`, `{ lognormal = { median = \"5ms\", sigma = 0.5 } }` |
| table, or several | `[node]` is short for a single `[[node]]` |

`--set KEY=VALUE` changes a key on the command line. The value is TOML if it parses as TOML, otherwise a string:
`--set duration=3200s`. Among several tables the number (from 0) or the `name` says which one: `--set clients.0.rate=200/s`,
`--set node.n1.hz=1000`. Sysctls take either name: `--set node.sysctl.nf_conntrack_tcp_timeout_time_wait=60`.

Runs of more than 100 million connections, or of more than five million simulated seconds in all, are refused without
`--yes`. Clients live in 11.0.0.0/8, every request at an address and port of its own, so no host may be there. Every SLB
host answers at a virtual address of its own: `slb.vip` is the first one, the others count up from it.
";

/// The page, as it stands in `docs/scenario-reference.md`.
pub fn reference_page() -> String {
    let mut page = HEAD.to_owned();
    section(&mut page, "Top of the file", keys::KEYS.iter().filter(is_top));
    for table in ["service", "clients", "slb", "node", "pod", "links", "expect"] {
        let inside = |key: &&Key| key.path.split('.').next() == Some(table) && key.path != table;
        section(&mut page, &format!("[{table}]"), keys::KEYS.iter().filter(inside));
        match table {
            "slb" => {
                sysctls(&mut page, "[slb.sysctl] only", SLB);
                sysctls(&mut page, "[slb.sysctl] and [pod.sysctl]", TCP);
            }
            "node" => sysctls(&mut page, "[node.sysctl]", NODE),
            "pod" => page.push_str("\nThe sysctls of pods are listed under the SLB's: they are the same.\n"),
            _ => {}
        }
    }
    profiles(&mut page);
    page
}

fn is_top(key: &&Key) -> bool {
    !key.path.contains('.')
}

fn section<'k>(page: &mut String, title: &str, keys: impl Iterator<Item = &'k Key>) {
    line(
        page,
        &format!("\n## {title}\n\n| key | type | default | meaning |\n|---|---|---|---|"),
    );
    for key in keys {
        let default = if is_value(key) {
            format!("`{}`", key.default)
        } else {
            key.default.to_owned()
        };
        let row = format!(
            "| `{}` | {} | {default} | {} |",
            key.path,
            key.kind.describe(),
            key.prose
        );
        line(page, &row);
    }
}

/// Whether the default is a TOML value and not words.
fn is_value(key: &Key) -> bool {
    !matches!(key.kind, Type::Table | Type::Tables | Type::Sysctl)
        && (key.default.starts_with(['"', 't', 'f']) || key.default.parse::<i64>().is_ok())
}

fn sysctls<T>(page: &mut String, title: &str, list: &[Sysctl<T>]) {
    line(
        page,
        &format!(
            "\n### {title}\n\nEach by its full name or by its last component, with values as in /proc; a 0 or 1 may be \
             `false` or `true`,\nseconds and milliseconds may be durations.\n\n| sysctl | unit | values | meaning |\n|---|---|---|---|"
        ),
    );
    for sysctl in list {
        let (low, high) = sysctl.range;
        let (unit, values) = match sysctl.unit {
            Unit::Seconds => ("seconds", format!("{low} to {high}")),
            Unit::Milliseconds => ("milliseconds", format!("{low} to {high}")),
            Unit::Flag => ("0 or 1", "0, 1".to_owned()),
            Unit::Number => ("number", format!("{low} to {high}")),
            Unit::Ports => ("two ports", "1 to 65535".to_owned()),
            Unit::Sizes => ("three sizes", "in octets, rising".to_owned()),
        };
        let name = short(sysctl.name);
        let prefix = sysctl.name.strip_suffix(name).unwrap_or_default();
        line(
            page,
            &format!("| {prefix}`{name}` | {unit} | {values} | {} |", sysctl.prose),
        );
    }
}

fn profiles(page: &mut String) {
    line(
        page,
        "\n## Kernel profiles\n\nA profile is a set of switches; keys and sysctls override single ones.\n\n| profile | what it is | not verified |\n|---|---|---|",
    );
    for profile in Profile::ALL {
        let open = if profile.unverified.is_empty() {
            "-".to_owned()
        } else {
            profile.unverified.join("; ")
        };
        line(
            page,
            &format!("| `{}` | {} | {open} |", profile.name, profile.about),
        );
    }
}

fn line(page: &mut String, text: &str) {
    writeln!(page, "{text}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page is what the program knows, so no key is missing in it and none is in it that does not exist.
    #[test]
    fn reference_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/scenario-reference.md");
        let page = reference_page();
        if std::env::var_os("UPDATE_REFERENCE").is_some() {
            fs_err::write(path, &page).unwrap();
        }
        let written = fs_err::read_to_string(path).unwrap();
        assert!(
            written == page,
            "docs/scenario-reference.md is out of date: UPDATE_REFERENCE=1 cargo test --lib reference"
        );
        for key in keys::KEYS {
            assert!(page.contains(&format!("`{}`", key.path)), "{}", key.path);
        }
    }
}
