//! Sysctls by their own names: the last component or the full dotted name, with values as in /proc. What each does to the
//! resolved configuration stands here as data.

use super::diagnostic::{Diagnostic, Span};
use super::document::{Entry, Kind, Value};
use super::reader::Reader;
use super::words::parse_ports;
use crate::model::conntrack::{ConntrackConfig, State};
use crate::model::ipvs::{IpvsConfig, ReuseDrop};
use crate::model::tcp::{SynCookies, TcpConfig, TimestampMode};
use crate::profile::Profile;
use crate::units::{PortRange, SimDuration};

/// How /proc writes the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Whole seconds.
    Seconds,
    /// Whole milliseconds.
    Milliseconds,
    /// 0 or 1.
    Flag,
    /// A number.
    Number,
    /// Two ports; both in one number, the first in the upper half.
    Ports,
    /// Three sizes in octets; the last two in one number, the middle one in the upper half.
    Sizes,
}

/// A sysctl that acts on `T`.
pub(super) struct Sysctl<T: 'static> {
    /// Full dotted name.
    pub name: &'static str,
    /// Unit in /proc.
    pub unit: Unit,
    /// Lowest and highest value.
    pub range: (u64, u64),
    /// What it means.
    pub prose: &'static str,
    /// Why a kernel does not have it; `None`: it has.
    pub lacks: fn(&Profile) -> Option<&'static str>,
    /// Sets it.
    pub apply: fn(&mut T, u64),
}

/// What TCP sysctls of a host change.
#[derive(Debug, Clone, Copy)]
pub(super) struct TcpKnobs {
    /// TCP of the host.
    pub tcp: TcpConfig,
    /// Its source ports, if set.
    pub ports: Option<PortRange>,
}

/// What sysctls of a node change.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodeKnobs {
    /// Connection tracking.
    pub conntrack: ConntrackConfig,
    /// ipvs.
    pub ipvs: IpvsConfig,
}

const YEAR: u64 = 365 * 86_400;

const fn every(_: &Profile) -> Option<&'static str> {
    None
}

const fn vendor(profile: &Profile) -> Option<&'static str> {
    if profile.vendor_sysctls {
        None
    } else {
        Some("only Alibaba Cloud Linux has it: profile = \"alinux2-4.19\"")
    }
}

const fn linear(profile: &Profile) -> Option<&'static str> {
    if profile.tcp.syn_retry.linear_timeouts > 0 {
        None
    } else {
        Some("kernels have it from 6.5 on: profile = \"6.6\" or later")
    }
}

const fn seconds(value: u64) -> SimDuration {
    SimDuration::from_secs(value)
}

macro_rules! sysctl {
    ($name:literal, $unit:ident, $low:expr, $high:expr, $lacks:ident, $prose:literal, $apply:expr) => {
        Sysctl {
            name: $name,
            unit: Unit::$unit,
            range: ($low, $high),
            prose: $prose,
            lacks: $lacks,
            apply: $apply,
        }
    };
}

/// Sysctls of the SLB only.
#[rustfmt::skip]
pub(super) const SLB: &[Sysctl<TcpKnobs>] = &[
    sysctl!("net.ipv4.ip_local_port_range", Ports, 0, u64::MAX, every, "Source ports of connect(), as \"32768 60999\"; the same as `slb.ports`.",
        |k, v| k.ports = PortRange::new((v >> 16) as u16, v as u16)),
];

/// Sysctls of the SLB and of pods.
#[rustfmt::skip]
pub(super) const TCP: &[Sysctl<TcpKnobs>] = &[
    sysctl!("net.ipv4.tcp_timestamps", Number, 0, 2, every, "0 off, 1 with a random offset, 2 without an offset.",
        |k, v| k.tcp.timestamps = [TimestampMode::Off, TimestampMode::RandomOffset, TimestampMode::NoOffset][v.min(2) as usize]),
    sysctl!("net.ipv4.tcp_rfc1337", Flag, 0, 1, every, "1: no RST ends TIME_WAIT.",
        |k, v| k.tcp.rfc1337 = v == 1),
    sysctl!("net.ipv4.tcp_fin_timeout", Seconds, 1, YEAR, every, "Length of an orphan's FIN_WAIT2. It does not change TIME_WAIT.",
        |k, v| k.tcp.fin_timeout = seconds(v)),
    sysctl!("net.ipv4.tcp_tw_timeout", Seconds, 1, 600, vendor, "Length of TIME_WAIT; Alibaba Cloud Linux only.",
        |k, v| k.tcp.time_wait = seconds(v)),
    sysctl!("net.ipv4.tcp_max_tw_buckets", Number, 0, i32::MAX as u64, every, "Sockets in TIME_WAIT at most; beyond it a close leaves none.",
        |k, v| k.tcp.max_tw_buckets = v as u32),
    sysctl!("net.ipv4.tcp_tw_reuse", Number, 0, 2, every, "1: connect() may reuse a TIME_WAIT of its own; 2: on loopback only, which is the same as 0 here.",
        |k, v| k.tcp.tw_reuse = v == 1),
    sysctl!("net.ipv4.tcp_invalid_ratelimit", Milliseconds, 0, 86_400_000, every, "Shortest time between two ACKs to invalid segments of one socket.",
        |k, v| k.tcp.invalid_ratelimit = SimDuration::from_millis(v)),
    sysctl!("net.ipv4.tcp_syn_retries", Number, 1, 127, every, "SYNs after the first one.",
        |k, v| k.tcp.syn_retry.retries = v as u8),
    sysctl!("net.ipv4.tcp_syn_linear_timeouts", Number, 0, 127, linear, "SYN retries at a constant interval before it doubles; they add to `tcp_syn_retries`.",
        |k, v| k.tcp.syn_retry.linear_timeouts = v as u8),
    sysctl!("net.ipv4.tcp_synack_retries", Number, 0, 255, every, "SYN-ACKs after the first one.",
        |k, v| k.tcp.synack_retries = v as u8),
    sysctl!("net.ipv4.tcp_retries2", Number, 1, 255, every, "Retransmissions of data before a connection is given up.",
        |k, v| k.tcp.retries2 = v as u8),
    // tcp_orphan_retries() in net/ipv4/tcp_timer.c takes 0 for 8.
    sysctl!("net.ipv4.tcp_orphan_retries", Number, 0, 255, every, "Retransmissions of a FIN; 0 means 8.",
        |k, v| k.tcp.orphan_retries = if v == 0 { 8 } else { v as u8 }),
    sysctl!("net.ipv4.tcp_rmem", Sizes, 4096 << 32, u64::MAX, every, "Receive buffer, as \"4096 131072 6291456\": the middle value makes the first window, the last one its scale.",
        |k, v| (k.tcp.receive_buffer.default, k.tcp.receive_buffer.max) = ((v >> 32) as u32, v as u32)),
    sysctl!("net.ipv4.tcp_window_scaling", Flag, 0, 1, every, "0: no window scale option.",
        |k, v| k.tcp.window_scaling = v == 1),
    sysctl!("net.ipv4.tcp_sack", Flag, 0, 1, every, "0: no SACK-permitted option.",
        |k, v| k.tcp.sack = v == 1),
    sysctl!("net.ipv4.tcp_syncookies", Number, 0, 2, every, "0: a full SYN queue drops SYNs; 1: it answers them with cookies; 2: always cookies.",
        |k, v| k.tcp.listen.syn_cookies = [SynCookies::Off, SynCookies::WhenFull, SynCookies::Always][v.min(2) as usize]),
    sysctl!("net.ipv4.tcp_max_syn_backlog", Number, 1, i32::MAX as u64, every, "Without cookies, a listener takes three quarters of this many requests.",
        |k, v| k.tcp.listen.max_syn_backlog = v as u32),
    sysctl!("net.ipv4.tcp_abort_on_overflow", Flag, 0, 1, every, "1: the last ACK of a handshake that meets a full accept queue is answered with RST.",
        |k, v| k.tcp.listen.abort_on_overflow = v == 1),
    sysctl!("net.ipv4.tcp_challenge_ack_limit", Number, 0, i32::MAX as u64, every, "Challenge ACKs of a host per second, about; 2147483647: no limit.",
        |k, v| k.tcp.challenge_ack_limit = (v < i32::MAX as u64).then_some(v as u32)),
    sysctl!("net.core.somaxconn", Number, 1, 65_535, every, "Upper limit of the backlog.",
        |k, v| k.tcp.somaxconn = v as u32),
];

macro_rules! conntrack_timeout {
    ($name:literal, $state:ident) => {
        sysctl!(
            $name,
            Seconds,
            1,
            YEAR,
            every,
            "Seconds that an entry stays in that state.",
            |k, v| k.conntrack.timeouts.by_state[State::$state as usize] = seconds(v)
        )
    };
}

/// Sysctls of a node.
#[rustfmt::skip]
pub(super) const NODE: &[Sysctl<NodeKnobs>] = &[
    sysctl!("net.netfilter.nf_conntrack_max", Number, 1, u32::MAX as u64, every, "Entries that the table takes.",
        |k, v| k.conntrack.max_entries = v as u32),
    conntrack_timeout!("net.netfilter.nf_conntrack_tcp_timeout_syn_sent", SynSent),
    conntrack_timeout!("net.netfilter.nf_conntrack_tcp_timeout_syn_recv", SynRecv),
    conntrack_timeout!("net.netfilter.nf_conntrack_tcp_timeout_established", Established),
    conntrack_timeout!("net.netfilter.nf_conntrack_tcp_timeout_fin_wait", FinWait),
    conntrack_timeout!("net.netfilter.nf_conntrack_tcp_timeout_close_wait", CloseWait),
    conntrack_timeout!("net.netfilter.nf_conntrack_tcp_timeout_last_ack", LastAck),
    conntrack_timeout!("net.netfilter.nf_conntrack_tcp_timeout_time_wait", TimeWait),
    conntrack_timeout!("net.netfilter.nf_conntrack_tcp_timeout_close", Close),
    sysctl!("net.netfilter.nf_conntrack_tcp_timeout_max_retrans", Seconds, 1, YEAR, every, "Upper limit of the timeout after `nf_conntrack_tcp_max_retrans` retransmissions.",
        |k, v| k.conntrack.timeouts.max_retrans = seconds(v)),
    sysctl!("net.netfilter.nf_conntrack_tcp_timeout_unacknowledged", Seconds, 1, YEAR, every, "Upper limit of the timeout while data are unacknowledged.",
        |k, v| k.conntrack.timeouts.unacknowledged = seconds(v)),
    sysctl!("net.netfilter.nf_conntrack_tcp_max_retrans", Number, 0, 255, every, "Retransmissions without an answer before `nf_conntrack_tcp_timeout_max_retrans` applies.",
        |k, v| k.conntrack.max_retrans = v as u8),
    sysctl!("net.netfilter.nf_conntrack_tcp_be_liberal", Flag, 0, 1, every, "1: a segment outside the window is not INVALID, unless it is an RST.",
        |k, v| k.conntrack.be_liberal = v == 1),
    sysctl!("net.netfilter.nf_conntrack_tcp_loose", Flag, 0, 1, every, "1: a connection may be picked up in its middle.",
        |k, v| k.conntrack.loose = v == 1),
    sysctl!("net.ipv4.vs.conn_reuse_mode", Number, 0, 3, every, "0: the SYN of a known tuple goes to its old pod; 1: it is scheduled afresh; bit 2 concerns direct routing.",
        |k, v| k.ipvs.conn_reuse_mode = v as u8),
    sysctl!("net.ipv4.vs.conn_reuse_old_conntrack", Flag, 0, 1, vendor, "0: the SYN of a reused tuple is dropped as on plain 4.19; Alibaba Cloud Linux only.",
        |k, v| k.ipvs.reuse_drop = if v == 1 { ReuseDrop::Never } else { ReuseDrop::Always }),
    sysctl!("net.ipv4.vs.expire_nodest_conn", Flag, 0, 1, every, "1: an ipvs entry ends when its pod is gone.",
        |k, v| k.ipvs.expire_nodest_conn = v == 1),
];

/// Last component of a sysctl's name.
pub(super) fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Applies the table `reader` to `knobs`; `known` are the sysctls that this host has a use for.
pub(super) fn apply<T>(reader: &Reader<'_>, known: &[&[Sysctl<T>]], profile: &Profile, knobs: &mut T) {
    let mut written = Vec::new();
    flatten(reader.entries(), "", &mut written);
    let known: Vec<&Sysctl<T>> = known.iter().copied().flatten().collect();
    let mut done: Vec<&str> = Vec::new();
    for Written { name, span, value } in written {
        let found = known
            .iter()
            .find(|sysctl| sysctl.name == name || short(sysctl.name) == name);
        let Some(sysctl) = found else {
            let names: Vec<_> = if name.contains('.') {
                known.iter().map(|sysctl| sysctl.name).collect()
            } else {
                known.iter().map(|sysctl| short(sysctl.name)).collect()
            };
            reader.unknown(reader.own_path(), &name, &span, &names);
            continue;
        };
        if done.contains(&sysctl.name) {
            let message = format!("`{}` is said twice", sysctl.name);
            reader.push(Diagnostic::new(&span, message, "which one counts?"));
            continue;
        }
        done.push(sysctl.name);
        if let Some(help) = (sysctl.lacks)(profile) {
            let message = format!("the kernel `{}` has no `{}`", profile.name, short(sysctl.name));
            reader.push(Diagnostic::new(&span, message, "does not exist there").help(help));
        } else if let Some(raw) = raw_value(reader, sysctl, value) {
            (sysctl.apply)(knobs, raw);
        }
    }
}

/// Sets a sysctl by its full name, as the shell of a host does. `None`: nothing here knows it; `Some(Err)`: what it takes.
pub fn set_sysctl(
    profile: &Profile,
    tcp: &mut TcpConfig,
    name: &str,
    value: &str,
) -> Option<Result<(), String>> {
    let sysctl = TCP
        .iter()
        .find(|sysctl| sysctl.name == name && (sysctl.lacks)(profile).is_none())?;
    let (low, high) = sysctl.range;
    let raw = raw_text(sysctl.unit, value).filter(|raw| (low..=high).contains(raw));
    Some(match raw {
        Some(raw) => {
            let mut knobs = TcpKnobs {
                tcp: *tcp,
                ports: None,
            };
            (sysctl.apply)(&mut knobs, raw);
            *tcp = knobs.tcp;
            Ok(())
        }
        None => Err(format!("a whole number, {low} to {high}")),
    })
}

/// A sysctl as written, its dotted name put together.
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

fn raw_value<T>(reader: &Reader<'_>, sysctl: &Sysctl<T>, value: &Value) -> Option<u64> {
    let (low, high) = sysctl.range;
    let expected = match sysctl.unit {
        Unit::Seconds => format!("whole seconds, {low} to {high}, as a number or as \"60s\""),
        Unit::Milliseconds => format!("whole milliseconds, {low} to {high}, as a number or as \"500ms\""),
        Unit::Flag => "0 or 1".to_owned(),
        Unit::Number => format!("a whole number, {low} to {high}"),
        Unit::Sizes => {
            "three sizes such as \"4096 131072 6291456\", none smaller than the one before".to_owned()
        }
        Unit::Ports => "two ports such as \"32768 60999\", the lower one first".to_owned(),
    };
    let raw = match &value.kind {
        Kind::Integer(number) if !matches!(sysctl.unit, Unit::Ports | Unit::Sizes) => {
            u64::try_from(*number).ok()
        }
        Kind::Boolean(on) if sysctl.unit == Unit::Flag => Some(u64::from(*on)),
        Kind::Text(text) => raw_text(sysctl.unit, text),
        _ => None,
    };
    let raw = raw.filter(|raw| (low..=high).contains(raw));
    if raw.is_none() {
        let message = format!("`{}` cannot have this value", short(sysctl.name));
        reader.push(Diagnostic::new(
            &value.span,
            message,
            format!("expected {expected}"),
        ));
    }
    raw
}

/// The middle and the largest of three sizes, as `tcp_rmem` has them.
fn parse_sizes(text: &str) -> Option<u64> {
    let sizes: Result<Vec<u32>, _> = text.split_whitespace().map(str::parse).collect();
    let sizes = sizes.ok().filter(|sizes| sizes.is_sorted())?;
    let [_, middle, largest] = sizes[..] else {
        return None;
    };
    Some(u64::from(middle) << 32 | u64::from(largest))
}

fn raw_text(unit: Unit, text: &str) -> Option<u64> {
    if unit == Unit::Ports {
        let range = parse_ports(text).ok()?;
        return Some(u64::from(range.first()) << 16 | u64::from(range.last()));
    }
    if unit == Unit::Sizes {
        return parse_sizes(text);
    }
    if let Ok(number) = text.trim().parse() {
        return Some(number);
    }
    let duration: SimDuration = text.parse().ok()?;
    let per_unit = match unit {
        Unit::Seconds => 1_000_000_000,
        Unit::Milliseconds => 1_000_000,
        _ => return None,
    };
    // The kernel keeps whole units; rounding silently would answer another question.
    duration
        .as_nanos()
        .is_multiple_of(per_unit)
        .then(|| duration.as_nanos() / per_unit)
}

/// Whether the table holds the sysctl of that full name, under either name.
pub(super) fn is_written(reader: &Reader<'_>, full_name: &str) -> bool {
    let mut written = Vec::new();
    flatten(reader.entries(), "", &mut written);
    written
        .iter()
        .any(|sysctl| sysctl.name == full_name || sysctl.name == short(full_name))
}

/// The tables that take the sysctl of that name, as they are written.
pub(super) fn tables_of(name: &str) -> Option<&'static str> {
    let same = |full: &str| full == name || short(full) == name;
    if NODE.iter().any(|sysctl| same(sysctl.name)) {
        Some("[node.sysctl]")
    } else if TCP.iter().any(|sysctl| same(sysctl.name)) {
        Some("[pod.sysctl] or [slb.sysctl]")
    } else if SLB.iter().any(|sysctl| same(sysctl.name)) {
        Some("[slb.sysctl]")
    } else {
        None
    }
}
