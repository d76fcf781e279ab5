//! The reference page of scenario files, made from the table of keys, and the profiles' switches.

use std::fmt::Write;

use super::keys::{self, Key, Type};
use super::sysctl::{NODE, POD, of_parts};
use crate::profile::{Kind, Part, Switch};

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
| distribution | a duration (constant), or one of `{ constant = \"5ms\" }`, `{ uniform = { min = \"1ms\", max = \"9ms\" } }`, `{ exponential = { mean = \"5ms\" } }`, `{ lognormal = { median = \"5ms\", sigma = 0.5 } }`, `{ pareto = { scale = \"5ms\", shape = 1.5 } }` (the mean is infinite up to shape 1), `{ empirical = [\"5ms\", \"9ms\"] }`, `{ empirical = [{ value = \"5ms\", weight = 3 }, { value = \"9ms\", weight = 1 }] }` or `{ empirical = \"times.csv\" }` (a value and perhaps a weight per row, seconds where there is no unit) |
| size or distribution | a size, or a distribution as above with sizes instead of durations; what is drawn is rounded, 1 to 100 MB |
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
    for table in [
        "service", "clients", "slb", "node", "pod", "event", "rollout", "links", "expect",
    ] {
        let inside = |key: &&Key| key.path.split('.').next() == Some(table) && key.path != table;
        section(&mut page, &format!("[{table}]"), keys::KEYS.iter().filter(inside));
        match table {
            "slb" => {
                sysctls(&mut page, "[slb.sysctl] only", &[Part::Caller]);
                sysctls(&mut page, "[slb.sysctl], [pod.sysctl] and [clients.sysctl]", POD);
                behaviours(&mut page, "[slb.kernel] only", &[Part::Caller]);
                behaviours(&mut page, "[slb.kernel], [pod.kernel] and [clients.kernel]", POD);
            }
            "node" => {
                sysctls(&mut page, "[node.sysctl]", NODE);
                behaviours(&mut page, "[node.kernel]", NODE);
            }
            "pod" => page.push_str(
                "\nThe sysctls and behaviours of pods are listed under the SLB's: they are the same.\n",
            ),
            _ => {}
        }
    }
    page.push_str("\nProfiles, their switches and where each comes from: [profiles.md](profiles.md).\n");
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
    !matches!(
        key.kind,
        Type::Table | Type::Tables | Type::Sysctl | Type::Behaviours
    ) && (key.default.starts_with(['"', 't', 'f']) || key.default.parse::<i64>().is_ok())
}

fn sysctls(page: &mut String, title: &str, parts: &[Part]) {
    line(
        page,
        &format!(
            "\n### {title}\n\nEach by its full name or by its last component, with values as in /proc; a 0 or 1 may be \
             `false` or `true`,\nseconds and milliseconds may be durations.\n\n| sysctl | unit | values | meaning |\n|---|---|---|---|"
        ),
    );
    for switch in of_parts(parts).filter(|switch| switch.is_sysctl()) {
        let name = switch.short();
        let prefix = switch.name.strip_suffix(name).unwrap_or_default();
        let (unit, values) = (switch.kind.unit(), values(switch));
        line(
            page,
            &format!("| {prefix}`{name}` | {unit} | {values} | {} |", switch.meaning),
        );
    }
}

fn behaviours(page: &mut String, title: &str, parts: &[Part]) {
    line(
        page,
        &format!(
            "\n### {title}\n\nWhat only another kernel changes; the profile's unless written. Sources stand in \
             [profiles.md](profiles.md).\n\n| behaviour | values | meaning |\n|---|---|---|"
        ),
    );
    for switch in of_parts(parts).filter(|switch| !switch.is_sysctl()) {
        let row = format!("| `{}` | {} | {} |", switch.name, values(switch), switch.meaning);
        line(page, &row);
    }
}

fn values(switch: &Switch) -> String {
    match switch.kind {
        Kind::Flag if switch.is_sysctl() => "0, 1".to_owned(),
        Kind::Flag => "`true`, `false`".to_owned(),
        Kind::Number(low, high) | Kind::Seconds(low, high) | Kind::Milliseconds(low, high) => {
            format!("{low} to {high}")
        }
        Kind::OneOf(numbers) => numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
        Kind::Words(words) => {
            let words: Vec<_> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
            words.join(", ")
        }
        Kind::Ports => "1 to 65535".to_owned(),
        Kind::PortList => "up to 16 ports and ranges".to_owned(),
        Kind::Octets => "none below the one before".to_owned(),
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
