//! What a switch is: a behaviour or a default in which hosts differ, with its name, unit, meaning and source. The tables in
//! `switches` are the only list of them: listings, differences, scenario keys and reference pages all come from there.

use std::fmt;

use super::Profile;
use crate::model::tcp::ReservedPorts;
use crate::units::{PortRange, SimDuration};

/// What of a host a switch belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Any host's kernel.
    Kernel,
    /// TCP of an end host.
    Tcp,
    /// The choice of source ports by a host that connects.
    Caller,
    /// Connection tracking of a node.
    Conntrack,
    /// SNAT of a node.
    Nat,
    /// ipvs of a node.
    Ipvs,
}

impl Part {
    /// Every part, in the order of listings.
    pub const ALL: [Self; 6] = [
        Self::Kernel,
        Self::Tcp,
        Self::Caller,
        Self::Conntrack,
        Self::Nat,
        Self::Ipvs,
    ];

    /// Name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Tcp => "TCP",
            Self::Caller => "source ports",
            Self::Conntrack => "conntrack",
            Self::Nat => "NAT",
            Self::Ipvs => "ipvs",
        }
    }
}

/// What a switch takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// On or off.
    Flag,
    /// A number from the first to the second.
    Number(u64, u64),
    /// One of these numbers.
    OneOf(&'static [u64]),
    /// Whole seconds, likewise.
    Seconds(u64, u64),
    /// Whole milliseconds, likewise.
    Milliseconds(u64, u64),
    /// One of these words.
    Words(&'static [&'static str]),
    /// Two ports, the lower one first.
    Ports,
    /// Ports and ranges, up to [`ReservedPorts::MAX`] of them.
    PortList,
    /// Three numbers of octets that do not fall.
    Octets,
}

impl Kind {
    /// The unit in listings.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Flag => "0 or 1",
            Self::Number(..) | Self::OneOf(_) => "number",
            Self::Seconds(..) => "seconds",
            Self::Milliseconds(..) => "milliseconds",
            Self::Words(_) => "word",
            Self::Ports => "two ports",
            Self::PortList => "ports",
            Self::Octets => "three sizes in octets",
        }
    }
}

/// What a switch stands at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// On or off.
    Flag(bool),
    /// A number, also of seconds or milliseconds.
    Number(u64),
    /// A word.
    Word(&'static str),
    /// Two ports.
    Ports(PortRange),
    /// Ports.
    PortList(ReservedPorts),
    /// Three sizes.
    Octets([u32; 3]),
}

impl fmt::Display for Value {
    /// As /proc and scenarios write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(on) => write!(f, "{}", u8::from(*on)),
            Self::Number(number) => write!(f, "{number}"),
            Self::Word(word) => f.write_str(word),
            Self::Ports(range) => write!(f, "{range}"),
            Self::PortList(ports) => {
                let ranges: Vec<_> = ports.ranges().map(port_or_range).collect();
                f.write_str(if ranges.is_empty() { "none" } else { "" })?;
                f.write_str(&ranges.join(","))
            }
            Self::Octets([least, initial, greatest]) => write!(f, "{least} {initial} {greatest}"),
        }
    }
}

fn port_or_range(range: PortRange) -> String {
    if range.count() == 1 {
        range.first().to_string()
    } else {
        range.to_string()
    }
}

/// One switch.
pub struct Switch {
    /// A sysctl's full dotted name, or a behaviour's own in snake case.
    pub name: &'static str,
    /// What it belongs to.
    pub part: Part,
    /// What it takes.
    pub kind: Kind,
    /// What it means.
    pub meaning: &'static str,
    /// Where the behaviour or the default comes from: file and function of the kernel, RFC or measurement.
    pub source: &'static str,
    /// Why a kernel has no such sysctl; `None`: it has.
    pub lacks: fn(&Profile) -> Option<&'static str>,
    /// What it stands at.
    pub get: fn(&Profile) -> Value,
    /// Sets it; the value is one that `kind` takes.
    pub set: fn(&mut Profile, Value),
}

impl Switch {
    /// Whether it is a sysctl, with values as in /proc, and not a behaviour that only another kernel changes.
    pub fn is_sysctl(&self) -> bool {
        self.name.contains('.')
    }

    /// The name without its folder.
    pub fn short(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// Whether it answers to that name, full or short.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.short() == name
    }
}

pub(super) fn every(_: &Profile) -> Option<&'static str> {
    None
}

pub(super) fn seconds(time: SimDuration) -> Value {
    Value::Number(time.as_nanos() / 1_000_000_000)
}

pub(super) fn milliseconds(time: SimDuration) -> Value {
    Value::Number(time.as_nanos() / 1_000_000)
}

/// Where the value comes in as another type than the field has: `kind` has been checked, so anything else is our mistake.
pub(super) fn number(value: Value) -> u64 {
    match value {
        Value::Number(number) => number,
        other => unreachable!("a switch of numbers was given {other}"),
    }
}

/// A switch that is a `bool`.
macro_rules! flag {
    ($name:literal, $part:ident, $($field:ident).+, $meaning:literal, $source:literal) => {
        Switch {
            name: $name,
            part: Part::$part,
            kind: Kind::Flag,
            meaning: $meaning,
            source: $source,
            lacks: every,
            get: |p| Value::Flag(p.$($field).+),
            set: |p, v| p.$($field).+ = v == Value::Flag(true),
        }
    };
}

/// A switch that is a number, with its least and greatest value.
macro_rules! count {
    ($name:literal, $part:ident, $($field:ident).+: $type:ty, $low:expr, $high:expr, $meaning:literal, $source:literal) => {
        Switch {
            name: $name,
            part: Part::$part,
            kind: Kind::Number($low, $high),
            meaning: $meaning,
            source: $source,
            lacks: every,
            get: |p| Value::Number(u64::from(p.$($field).+)),
            set: |p, v| p.$($field).+ = number(v) as $type,
        }
    };
}

/// A switch that is a time: `Seconds` with `seconds`, `from_secs`, or `Milliseconds` with `milliseconds`, `from_millis`.
macro_rules! time {
    ($name:literal, $part:ident, $($field:ident).+ $([$index:expr])?, $kind:ident, $low:expr, $high:expr, $meaning:literal, $source:literal) => {
        Switch {
            name: $name,
            part: Part::$part,
            kind: Kind::$kind($low, $high),
            meaning: $meaning,
            source: $source,
            lacks: every,
            get: |p| time!(@get $kind, p.$($field).+ $([$index])?),
            set: |p, v| p.$($field).+ $([$index])? = time!(@set $kind, v),
        }
    };
    (@get Seconds, $place:expr) => { seconds($place) };
    (@get Milliseconds, $place:expr) => { milliseconds($place) };
    (@set Seconds, $value:expr) => { SimDuration::from_secs(number($value)) };
    (@set Milliseconds, $value:expr) => { SimDuration::from_millis(number($value)) };
}

/// A switch between words, one for each variant.
macro_rules! words {
    ($name:literal, $part:ident, $($field:ident).+, [$($word:literal => $variant:path),+ $(,)?], $meaning:literal, $source:literal) => {
        Switch {
            name: $name,
            part: Part::$part,
            kind: Kind::Words(&[$($word),+]),
            meaning: $meaning,
            source: $source,
            lacks: every,
            get: |p| match p.$($field).+ { $($variant => Value::Word($word)),+ },
            set: |p, v| {
                let chosen = match v {
                    $(Value::Word($word) => $variant,)+
                    other => unreachable!("a switch of words was given {other}"),
                };
                p.$($field).+ = chosen;
            },
        }
    };
}

/// A switch between variants that /proc numbers from 0.
macro_rules! numbered {
    ($name:literal, $part:ident, $($field:ident).+, [$($variant:path),+], $meaning:literal, $source:literal) => {
        Switch {
            name: $name,
            part: Part::$part,
            kind: Kind::Number(0, [$($variant),+].len() as u64 - 1),
            meaning: $meaning,
            source: $source,
            lacks: every,
            get: |p| {
                let place = [$($variant),+].iter().position(|&variant| variant == p.$($field).+);
                Value::Number(place.expect("every variant is in the list") as u64)
            },
            set: |p, v| p.$($field).+ = [$($variant),+][number(v) as usize],
        }
    };
}

pub(super) use {count, flag, numbered, time, words};
