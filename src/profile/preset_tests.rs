//! What the presets say, and that the page of the model says the same.

use std::fmt::Write as _;

use super::*;

fn of(name: &str) -> &'static NatPreset {
    static PRESETS: [NatPreset; 5] = NatPreset::ALL;
    PRESETS
        .iter()
        .find(|preset| preset.name == name)
        .expect("a preset of this name")
}

fn conntrack(name: &str) -> ConntrackConfig {
    let mut conntrack = crate::profile::Profile::DEFAULT.conntrack;
    of(name).apply(&mut conntrack);
    conntrack
}

#[test]
fn each_figure_is_the_published_one() {
    let hold = |name, state| conntrack(name).timeouts.of(state).as_secs();
    // Azure: "Port reuse timers" and "TCP idle timeout" of its documentation.
    assert_eq!(hold("azure-nat-gateway", State::TimeWait), 65);
    assert_eq!(hold("azure-nat-gateway", State::Close), 16);
    assert_eq!(hold("azure-nat-gateway", State::SynSent), 30);
    assert_eq!(hold("azure-nat-gateway", State::Established), 240);
    assert_eq!(of("azure-nat-gateway").rules.per_destination, Some(50_000));
    // Google: defaults of `gcloud compute routers nats`.
    assert_eq!(hold("gcp-cloud-nat", State::TimeWait), 120);
    assert_eq!(hold("gcp-cloud-nat", State::SynRecv), 30);
    assert_eq!(hold("gcp-cloud-nat", State::Established), 1200);
    // floor(64512 / 64) = 1008 VMs share an address.
    let gcp = of("gcp-cloud-nat");
    let ports = gcp.ports.expect("a range").count();
    assert_eq!(gcp.rules.per_source.map(|each| ports / each), Some(1008));
    assert_eq!(hold("aws-nat-gateway", State::Established), 350);
    assert_eq!(of("aws-nat-gateway").rules.per_destination, Some(55_000));
    assert_eq!(hold("cilium", State::LastAck), 10);
    assert_eq!(hold("calico-ebpf", State::TimeWait), 30);
}

#[test]
fn every_preset_has_a_name_of_its_own_sources_and_says_what_it_assumes() {
    for (index, preset) in NatPreset::ALL.iter().enumerate() {
        assert!(
            NatPreset::ALL[..index]
                .iter()
                .all(|other| other.name != preset.name)
        );
        assert!(
            !preset.sources.is_empty() && !preset.assumed.is_empty(),
            "{}",
            preset.name
        );
        // netfilter's own limits must not shorten a published hold.
        let timeouts = conntrack(preset.name).timeouts;
        let longest = timeouts.by_state.iter().max().copied();
        assert_eq!(Some(timeouts.unacknowledged), longest, "{}", preset.name);
        assert!(preset.rules.allocator.is_some(), "{}", preset.name);
    }
}

/// The table of the page.
fn table() -> String {
    let mut page = "| preset | ports | per destination | per source | half open | idle | half closed | closed | reset | a SYN on its own closed mapping | scan |\n\
        |---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let or_dash = |number: Option<u32>| number.map_or("-".to_owned(), |number| number.to_string());
    for preset in NatPreset::ALL {
        let (rules, holds) = (preset.rules, preset.holds);
        let ports = preset.ports.map_or_else(String::new, |range| range.to_string());
        let ports = if preset.mode == SnatMode::None {
            format!("the client's, else {ports}")
        } else {
            ports
        };
        let reopened = match rules.reopened {
            ReopenedMapping::SamePort => "keeps its port",
            ReopenedMapping::NewPort => "begins anew",
        };
        let scan = rules
            .scan_interval
            .map_or("-".to_owned(), |interval| interval.to_string());
        writeln!(
            page,
            "| `{}` | {ports} | {} | {} | {} s | {} s | {} s | {} s | {} s | {reopened} | {scan} |",
            preset.name,
            or_dash(rules.per_destination),
            or_dash(rules.per_source),
            holds.half_open,
            holds.established,
            holds.half_closed,
            holds.closed,
            holds.reset,
        )
        .expect("a string takes any text");
    }
    page
}

#[test]
fn the_page_shows_the_figures_and_the_sources() {
    let page = include_str!("../../docs/models/cloud-nat.md");
    let (_, rest) = page
        .split_once("<!-- presets: generated -->\n")
        .expect("where the table begins");
    let (shown, _) = rest.split_once("<!-- end of presets -->").expect("where it ends");
    let table = table();
    assert!(
        shown.trim() == table.trim(),
        "docs/models/cloud-nat.md should show:\n{table}"
    );
    for preset in NatPreset::ALL {
        for source in preset.sources {
            let address = source.split([' ', ':']).next().expect("a text has a first word");
            assert!(
                page.contains(address),
                "{}: the page lacks {address}",
                preset.name
            );
        }
    }
}
