//! `[node.snat]`: MASQUERADE and its flags, or another NAT in its place.

use super::Notes;
use crate::model::nat::{
    Allocator, InsertRace, NatRules, PortChoice, ReopenedMapping, SnatConfig, SnatMode, Tries,
};
use crate::profile::{NatPreset, Profile};
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::reader::{MAX_TIMEOUT, Reader};
use crate::units::{PortRange, SimDuration};

/// CPUs of a node that names none.
const CPUS: u32 = 4;
/// The longest time from the choice of a port to its confirmation: a CPU that is away for longer is another trouble.
const LONGEST_CONFIRM_DELAY: SimDuration = SimDuration::from_secs(1);
/// Scans come no oftener.
const SHORTEST_SCAN: SimDuration = SimDuration::from_millis(1);

/// As Cilium has it.
const EBPF: Tries = Tries {
    tests: 32,
    upward: true,
    keeps_outside: false,
};

const ALLOCATORS: [(&str, Option<Allocator>); 5] = [
    ("kernel", None),
    ("sequential", Some(Allocator::Sequential)),
    ("hash", Some(Allocator::Hashed)),
    ("random", Some(Allocator::Uniform)),
    ("ebpf", Some(Allocator::Tries(EBPF))),
];

/// The NAT that stands in the kernel's place, and whose timeouts are to be applied before the sysctls.
pub(super) fn preset(node: &Reader<'_>, ipvs_mode: bool, notes: &mut Notes) -> Option<NatPreset> {
    let reader = node.table("snat");
    let words = NatPreset::ALL.map(|preset| (preset.name, preset));
    let preset = reader.choice("preset", &words)?;
    if ipvs_mode {
        reader.push(
            Diagnostic::new(
                &reader.span("preset"),
                format!("`{}` does not stand beside ipvs", preset.name),
                "has a table of its own",
            )
            .help("leave `node.proxy` out: the preset forwards by itself"),
        );
    }
    notes.add(format!("{}: {}", preset.name, preset.assumed));
    Some(preset)
}

/// Source NAT of what comes to a NodePort, and of what another node has forwarded.
pub(super) fn resolve(
    node: &Reader<'_>,
    profile: &Profile,
    preset: Option<NatPreset>,
    local: bool,
    notes: &mut Notes,
) -> (SnatConfig, SnatMode) {
    let reader = node.table("snat");
    let usual = SnatMode::Masquerade(PortChoice::RandomFully);
    let usual = preset.map_or(usual, |preset| preset.mode);
    let base = preset.map_or(NatRules::NETFILTER, |preset| preset.rules);
    let to_ports = reader.ports("to_ports");
    let to_ports = to_ports.or(preset.and_then(|preset| preset.ports));
    let (mode, from_nodes) = modes(&reader, usual, preset.is_some(), local);
    let snat = SnatConfig {
        mode,
        to_ports,
        search: profile.nat_search,
        evicts: profile.nat_evicts,
        rules: rules(node, &reader, base, to_ports),
    };
    say_what_has_no_effect(node, &reader, &snat, preset, notes);
    (snat, from_nodes)
}

fn modes(reader: &Reader<'_>, base: SnatMode, is_preset: bool, local: bool) -> (SnatMode, SnatMode) {
    let choice = reader.choice(
        "random",
        &[
            ("random-fully", PortChoice::RandomFully),
            ("random", PortChoice::Random),
            ("none", PortChoice::Keep),
        ],
    );
    let masquerade = reader.choice("mode", &[("masquerade", true), ("none", false)]);
    let (masquerades, usual) = match base {
        SnatMode::None => (false, PortChoice::RandomFully),
        SnatMode::Masquerade(choice) => (true, choice),
    };
    let culprit = match masquerade {
        Some(true) => Some("mode"),
        None if is_preset && masquerades => Some("preset"),
        _ => None,
    };
    if let Some(key) = culprit.filter(|_| local) {
        reader.push(
            Diagnostic::new(
                &reader.span(key),
                "there is no SNAT under `external_traffic_policy = \"local\"`",
                "contradicts it",
            )
            .help(format!("leave `node.snat.{key}` out")),
        );
    }
    let again = reader.choice("from_nodes", &[("none", false), ("masquerade", true)]);
    let mode = |on| {
        if on {
            SnatMode::Masquerade(choice.unwrap_or(usual))
        } else {
            SnatMode::None
        }
    };
    (
        mode(!local && masquerade.unwrap_or(masquerades)),
        mode(again == Some(true)),
    )
}

fn rules(node: &Reader<'_>, reader: &Reader<'_>, base: NatRules, to_ports: Option<PortRange>) -> NatRules {
    let ports = to_ports.unwrap_or(PortRange::MASQUERADE).count();
    let per_source = reader.count("ports_per_source", 1..=64_512).or(base.per_source);
    if let Some(each) = per_source.filter(|&each| each > ports) {
        reader.push(
            Diagnostic::new(
                &reader.span("ports_per_source"),
                "`node.snat.ports_per_source` leaves no source address any port",
                format!("{each} ports each of {ports}"),
            )
            .help("the blocks lie inside `node.snat.to_ports`"),
        );
    }
    let reopened = reader.choice(
        "reopened",
        &[
            ("new-port", ReopenedMapping::NewPort),
            ("same-port", ReopenedMapping::SamePort),
        ],
    );
    let cpus = node.count("cpus", 1..=1024).unwrap_or(CPUS);
    let window = confirm_delay(reader);
    let scan_interval = reader.duration("scan_interval", SHORTEST_SCAN, MAX_TIMEOUT);
    NatRules {
        allocator: reader.choice("allocator", &ALLOCATORS).unwrap_or(base.allocator),
        per_destination: reader
            .count("ports_per_destination", 1..=64_512)
            .or(base.per_destination),
        per_source,
        reopened: reopened.unwrap_or(base.reopened),
        scan_interval: scan_interval.or(base.scan_interval),
        race: window.map(|window| InsertRace { cpus, window }),
        hijacked: reader.ports("hijacked_ports"),
    }
}

/// `None`: no time at all, the default.
fn confirm_delay(reader: &Reader<'_>) -> Option<SimDuration> {
    let window = reader.duration("confirm_delay", SimDuration::ZERO, MAX_TIMEOUT)?;
    if window > LONGEST_CONFIRM_DELAY {
        reader.push(
            Diagnostic::new(
                &reader.span("confirm_delay"),
                "`node.snat.confirm_delay` is too long",
                format!("longer than {LONGEST_CONFIRM_DELAY}"),
            )
            .help("a packet takes microseconds through POSTROUTING"),
        );
    }
    (window != SimDuration::ZERO).then_some(window)
}

/// Keys that stand there and decide nothing.
fn say_what_has_no_effect(
    node: &Reader<'_>,
    reader: &Reader<'_>,
    snat: &SnatConfig,
    preset: Option<NatPreset>,
    notes: &mut Notes,
) {
    let mut note = |condition: bool, text: &str| {
        if condition {
            notes.add(text);
        }
    };
    note(
        snat.rules.race.is_some() && snat.rules.allocator.is_some(),
        "`node.snat.confirm_delay` has no effect with this allocator: it takes a port in one step",
    );
    note(
        node.has("cpus") && snat.rules.race.is_none(),
        "`node.cpus` has no effect without `node.snat.confirm_delay`",
    );
    note(
        snat.mode == SnatMode::None
            && [
                "ports_per_source",
                "ports_per_destination",
                "confirm_delay",
                "hijacked_ports",
            ]
            .iter()
            .any(|key| reader.has(key)),
        "without SNAT, limits of ports, `confirm_delay` and `hijacked_ports` of `node.snat` have no effect",
    );
    note(
        preset.is_some() && node.has("kube_proxy"),
        "`node.kube_proxy` has no effect with `node.snat.preset`: its timeouts are the preset's",
    );
}
