//! What a scenario changes in a host's kernel: sysctls by their own names, the last component or the full dotted name, with
//! values as in /proc, under `sysctl`; other behaviours under `kernel`. Both come from the profiles' table of switches.

use super::diagnostic::{Diagnostic, Span};
use super::document::{Entry, Kind, Value};
use super::reader::Reader;
use super::words::parse_ports;
use crate::model::tcp::ReservedPorts;
use crate::profile::{self, Kind as Takes, Part, Profile, Switch, Value as Setting};
use crate::units::{PortRange, SimDuration};

/// Parts of a host that connects.
pub(super) const SLB: &[Part] = &[Part::Kernel, Part::Tcp, Part::Caller];
/// Parts of a host whose source ports are not chosen by a kernel.
pub(super) const POD: &[Part] = &[Part::Kernel, Part::Tcp];
/// Parts of a node without ipvs.
pub(super) const IPTABLES_NODE: &[Part] = &[Part::Kernel, Part::Conntrack, Part::Nat];
/// Parts of a node.
pub(super) const NODE: &[Part] = &[Part::Kernel, Part::Conntrack, Part::Nat, Part::Ipvs];

/// Applies a table of `host`, `kernel` or `sysctl`; the switches that it sets go into `set`.
pub(super) fn apply(
    host: &Reader<'_>,
    table: &str,
    parts: &[Part],
    kernel: &mut Profile,
    set: &mut Vec<&'static Switch>,
) {
    let known: Vec<_> = of_parts(parts)
        .filter(|switch| switch.is_sysctl() == (table == "sysctl"))
        .collect();
    apply_table(&host.table(table), &known, kernel, set);
}

/// The switches of some parts of a host.
pub(super) fn of_parts(parts: &[Part]) -> impl Iterator<Item = &'static Switch> {
    parts.iter().flat_map(|&part| profile::switches_of(part))
}

fn apply_table(
    reader: &Reader<'_>,
    known: &[&'static Switch],
    kernel: &mut Profile,
    set: &mut Vec<&'static Switch>,
) {
    let mut written = Vec::new();
    flatten(reader.entries(), "", &mut written);
    for Written { name, span, value } in written {
        let Some(&switch) = known.iter().find(|switch| switch.is_called(&name)) else {
            let names: Vec<_> = if name.contains('.') {
                known.iter().map(|switch| switch.name).collect()
            } else {
                known.iter().map(|switch| switch.short()).collect()
            };
            reader.unknown(reader.own_path(), &name, &span, &names);
            continue;
        };
        if set.iter().any(|other| other.name == switch.name) {
            let message = format!("`{}` is said twice", switch.name);
            reader.push(Diagnostic::new(&span, message, "which one counts?"));
            continue;
        }
        set.push(switch);
        if let Some(help) = (switch.lacks)(kernel) {
            let message = format!("the kernel `{}` has no `{}`", kernel.name, switch.short());
            reader.push(Diagnostic::new(&span, message, "does not exist there").help(help));
        } else if let Some(setting) = setting(value, switch.kind) {
            (switch.set)(kernel, setting);
        } else {
            let message = format!("`{}` cannot have this value", switch.short());
            let label = format!("expected {}", expected(switch.kind));
            reader.push(Diagnostic::new(&value.span, message, label));
        }
    }
}

/// Sets a sysctl by its full name, as the shell of a host does. `None`: nothing here knows it; `Some(Err)`: what it takes.
pub fn set_sysctl(kernel: &mut Profile, name: &str, value: &str) -> Option<Result<(), String>> {
    let switch = of_parts(SLB)
        .find(|switch| switch.is_sysctl() && switch.name == name && (switch.lacks)(kernel).is_none())?;
    let value = Value {
        kind: Kind::Text(value.to_owned()),
        span: Span::new(0, 0..0),
    };
    Some(match setting(&value, switch.kind) {
        Some(setting) => {
            (switch.set)(kernel, setting);
            Ok(())
        }
        None => Err(expected(switch.kind)),
    })
}

/// A switch as written, its dotted name put together.
struct Written<'a> {
    name: String,
    span: Span,
    value: &'a Value,
}

/// An unquoted dotted name is nested tables in TOML.
fn flatten<'a>(entries: &'a [Entry], prefix: &str, into: &mut Vec<Written<'a>>) {
    for entry in entries {
        let name = if prefix.is_empty() {
            entry.key.clone()
        } else {
            format!("{prefix}.{}", entry.key)
        };
        if let Kind::Table(inner) = &entry.value.kind {
            flatten(&inner.entries, &name, into);
        } else {
            into.push(Written {
                name,
                span: entry.key_span.clone(),
                value: &entry.value,
            });
        }
    }
}

/// What a switch takes, for a message.
fn expected(kind: Takes) -> String {
    match kind {
        Takes::Flag => "0 or 1".to_owned(),
        Takes::Number(low, high) => format!("a whole number, {low} to {high}"),
        Takes::OneOf(numbers) => {
            let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
            format!("one of {}", numbers.join(", "))
        }
        Takes::Seconds(low, high) => {
            format!("whole seconds, {low} to {high}, as a number or as \"60s\"")
        }
        Takes::Milliseconds(low, high) => {
            format!("whole milliseconds, {low} to {high}, as a number or as \"500ms\"")
        }
        Takes::Words(words) => {
            let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
            format!("one of {}", words.join(", "))
        }
        Takes::Ports => "two ports such as \"32768 60999\", the lower one first".to_owned(),
        Takes::PortList => format!(
            "ports and ranges such as \"33000,40000-40100\", at most {} of them",
            ReservedPorts::MAX
        ),
        Takes::Octets => {
            "three sizes in octets such as \"4096 131072 6291456\", none below the one before".to_owned()
        }
    }
}

/// The value as the switch takes it; `None`: it does not.
fn setting(value: &Value, kind: Takes) -> Option<Setting> {
    match kind {
        Takes::Flag => match value.kind {
            Kind::Boolean(on) => Some(Setting::Flag(on)),
            _ => number(value, 0)
                .filter(|&n| n <= 1)
                .map(|n| Setting::Flag(n == 1)),
        },
        Takes::Number(low, high) => within(number(value, 0), low, high),
        Takes::Seconds(low, high) => within(number(value, 1_000_000_000), low, high),
        Takes::Milliseconds(low, high) => within(number(value, 1_000_000), low, high),
        Takes::OneOf(numbers) => number(value, 0)
            .filter(|number| numbers.contains(number))
            .map(Setting::Number),
        Takes::Words(words) => {
            let text = text(value)?;
            words
                .iter()
                .find(|&&word| word == text)
                .map(|word| Setting::Word(word))
        }
        Takes::Ports => parse_ports(text(value)?).ok().map(Setting::Ports),
        Takes::PortList => port_list(text(value)?).map(Setting::PortList),
        Takes::Octets => sizes(text(value)?).map(Setting::Octets),
    }
}

fn text(value: &Value) -> Option<&str> {
    match &value.kind {
        Kind::Text(text) => Some(text.trim()),
        _ => None,
    }
}

fn within(number: Option<u64>, low: u64, high: u64) -> Option<Setting> {
    number
        .filter(|number| (low..=high).contains(number))
        .map(Setting::Number)
}

/// A number, or a duration in whole units of `unit` nanoseconds unless that is 0.
fn number(value: &Value, unit: u64) -> Option<u64> {
    if let Kind::Integer(number) = value.kind {
        return u64::try_from(number).ok();
    }
    let text = text(value)?;
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let duration: SimDuration = text.parse().ok()?;
    // The kernel keeps whole units; rounding silently would answer another question.
    (unit > 0 && duration.as_nanos().is_multiple_of(unit)).then(|| duration.as_nanos() / unit)
}

/// `"33000,40000-40100"`; an empty text, or `"none"`, is no port.
fn port_list(text: &str) -> Option<ReservedPorts> {
    if text.is_empty() || text == "none" {
        return Some(ReservedPorts::NONE);
    }
    let range = |part: &str| {
        let single = part.trim().parse().ok().filter(|&port| port > 0);
        single.map_or_else(|| parse_ports(part).ok(), |port: u16| PortRange::new(port, port))
    };
    let ranges: Vec<_> = text.split(',').map(range).collect::<Option<_>>()?;
    ReservedPorts::new(&ranges)
}

fn sizes(text: &str) -> Option<[u32; 3]> {
    let sizes: Vec<u32> = text
        .split_whitespace()
        .map(|size| size.parse().ok().filter(|&size| size > 0))
        .collect::<Option<_>>()?;
    let sizes: [u32; 3] = sizes.try_into().ok()?;
    sizes.is_sorted().then_some(sizes)
}

/// Whether the table holds the switch of that full name, under either name.
pub(super) fn is_written(reader: &Reader<'_>, full_name: &str) -> bool {
    let mut written = Vec::new();
    flatten(reader.entries(), "", &mut written);
    let short = full_name.rsplit('.').next();
    written
        .iter()
        .any(|entry| entry.name == full_name || Some(entry.name.as_str()) == short)
}

/// The tables that take the switch of that name, as they are written.
pub(super) fn tables_of(name: &str) -> Option<String> {
    let switch = profile::switches().find(|switch| switch.is_called(name))?;
    let table = if switch.is_sysctl() { "sysctl" } else { "kernel" };
    let hosts: &[&str] = match switch.part {
        Part::Kernel => &["slb", "node", "pod"],
        Part::Tcp => &["pod", "slb"],
        Part::Caller => &["slb"],
        Part::Conntrack | Part::Nat | Part::Ipvs => &["node"],
    };
    let tables: Vec<_> = hosts.iter().map(|host| format!("[{host}.{table}]")).collect();
    Some(tables.join(" or "))
}
