//! The profiles against the sources, and the laws of the switches.

use std::collections::BTreeSet;

use super::*;
use crate::model::tcp::ReservedPorts;
use crate::units::PortRange;

/// The switches that tell kernels apart most, and what each kernel has there.
#[rustfmt::skip]
const TOLD_APART: [(&str, &str); 12] = [
    ("", "hz timestamp_offset caller_reaction port_selection syn_repeat_refreshes rst_after_ignored_ack_passes rst_in_closing_believed any_segment_reinits_window nat_search nat_evicts reuse_drop kube_proxy_conn_reuse_mode"),
    ("el7-3.10",     "1000 none             rst             consecutive 1 0 0 1 bounded     0 always       1"),
    ("alinux2-4.19", "1000 per-address-pair rst             sequential  1 0 0 1 whole-range 0 never        0"),
    ("4.19",         "250  per-address-pair rst             sequential  1 0 0 1 whole-range 0 always       0"),
    ("5.10.185",     "250  per-address-pair rst-fast-resend perturbed   0 0 0 1 bounded     0 if-confirmed 1"),
    ("5.10",         "250  per-address-pair rst-fast-resend perturbed   0 0 0 1 bounded     0 if-confirmed 1"),
    ("5.15",         "250  per-address-pair rst-fast-resend perturbed   0 0 1 1 bounded     0 if-confirmed 1"),
    ("6.0",          "250  per-address-pair rst-fast-resend perturbed   0 0 1 0 bounded     0 if-confirmed 1"),
    ("6.1",          "250  per-four-tuple   rst-fast-resend perturbed   0 1 1 0 bounded     0 if-confirmed 1"),
    ("6.6",          "250  per-address-pair rst-fast-resend perturbed   0 1 1 0 bounded     1 if-confirmed 1"),
    ("6.12",         "250  per-four-tuple   rst-fast-resend perturbed   0 1 1 0 bounded     1 if-confirmed 1"),
    ("6.18",         "250  per-four-tuple   rst-fast-resend perturbed   0 1 1 0 bounded     1 if-confirmed 1"),
];

#[rustfmt::skip]
const MORE: [(&str, &str); 12] = [
    ("", "recycled_isn_continues tcp_syn_linear_timeouts syn_gives_up_early time_wait_timer paws_memory tw_reuse_age tw_reuse_in_fin_wait2 syn_queue_takes_one_more tcp_challenge_ack_limit somaxconn collection"),
    ("el7-3.10",     "1 0 0 calendar 2073600 two-seconds    1 0 1000       128  timers"),
    ("alinux2-4.19", "0 0 1 wheel    2073600 earlier-second 1 0 1000       128  slices"),
    ("4.19",         "0 0 1 wheel    2073600 earlier-second 1 0 1000       128  slices"),
    ("5.10.185",     "0 0 0 wheel    2073600 earlier-second 1 0 1000       4096 slices"),
    ("5.10",         "0 0 0 wheel    2073600 earlier-second 1 0 1000       4096 slices"),
    ("5.15",         "0 0 0 wheel    2073600 earlier-second 0 1 1000       4096 cycles"),
    ("6.0",          "0 0 0 wheel    2073600 earlier-second 0 1 1000       4096 cycles"),
    ("6.1",          "0 0 0 wheel    2073600 earlier-second 0 1 2147483647 4096 cycles"),
    ("6.6",          "0 4 0 wheel    2073600 earlier-second 0 0 2147483647 4096 cycles"),
    ("6.12",         "1 4 0 wheel    2147    earlier-second 0 1 2147483647 4096 cycles"),
    ("6.18",         "1 4 0 wheel    2147    delay          0 1 2147483647 4096 cycles"),
];

#[test]
fn each_kernel_differs_from_its_neighbour_where_the_sources_say_so() {
    for table in [TOLD_APART, MORE] {
        let names: Vec<_> = table[0].1.split_whitespace().collect();
        let column = |name: &&str| switches().find(|switch| switch.short() == *name).unwrap();
        let columns: Vec<_> = names.iter().map(column).collect();
        for (profile, (name, values)) in Profile::ALL.iter().zip(&table[1..]) {
            let found: Vec<_> = columns
                .iter()
                .map(|switch| (switch.get)(profile).to_string())
                .collect();
            let expected: Vec<_> = values.split_whitespace().collect();
            assert_eq!(profile.name, *name);
            assert_eq!(found, expected, "{name}: {names:?}");
        }
        assert_eq!(Profile::ALL.len(), table.len() - 1);
    }
}

#[test]
fn names_are_unique_and_an_unknown_one_is_not_found() {
    for (index, profile) in Profile::ALL.iter().enumerate() {
        let mut before = Profile::ALL[..index].iter();
        assert!(before.all(|other| other.name != profile.name));
        assert_eq!(find(profile.name), Some(profile));
    }
    assert_eq!(find("2.6.32"), None);
}

#[test]
fn every_switch_has_a_name_of_its_own_a_unit_a_meaning_and_a_source() {
    let mut names = BTreeSet::new();
    for switch in switches() {
        assert!(names.insert(switch.short()), "{} stands twice", switch.short());
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c);
        assert!(switch.name.chars().all(plain), "{}", switch.name);
        assert!(
            !switch.kind.unit().is_empty() && switch.meaning.ends_with('.'),
            "{}",
            switch.name
        );
        let cited = ["net/", "include/", "kernel/", "pkg/", "RFC", "S/s_", "guide"]
            .iter()
            .any(|sign| switch.source.contains(sign));
        assert!(cited, "{}: no source in `{}`", switch.name, switch.source);
    }
}

/// Another value than `value`, within the kind.
fn another(kind: Kind, value: Value) -> Value {
    match (kind, value) {
        (Kind::Flag, Value::Flag(on)) => Value::Flag(!on),
        (
            Kind::Number(low, high) | Kind::Seconds(low, high) | Kind::Milliseconds(low, high),
            Value::Number(number),
        ) => {
            assert!((low..=high).contains(&number));
            Value::Number(if number > low { number - 1 } else { number + 1 })
        }
        (Kind::OneOf(numbers), Value::Number(number)) => {
            Value::Number(*numbers.iter().find(|other| **other != number).unwrap())
        }
        (Kind::Words(words), Value::Word(word)) => {
            assert!(words.contains(&word));
            Value::Word(words.iter().find(|other| **other != word).unwrap())
        }
        (Kind::Ports, Value::Ports(_)) => Value::Ports(PortRange::new(7, 9).unwrap()),
        (Kind::PortList, Value::PortList(_)) => {
            Value::PortList(ReservedPorts::new(&[PortRange::new(7, 9).unwrap()]).unwrap())
        }
        (Kind::Octets, Value::Octets(_)) => Value::Octets([1, 2, 3]),
        (kind, value) => panic!("{value} is none of {kind:?}"),
    }
}

#[test]
fn every_switch_takes_what_its_kind_says_and_gives_it_back() {
    for profile in Profile::ALL {
        for switch in switches() {
            let mut changed = profile;
            let mut value = (switch.get)(&profile);
            for _ in 0..2 {
                value = another(switch.kind, value);
                (switch.set)(&mut changed, value);
                assert_eq!((switch.get)(&changed), value, "{}: {}", profile.name, switch.name);
            }
            if let Kind::Words(words) = switch.kind {
                for word in words {
                    (switch.set)(&mut changed, Value::Word(word));
                    assert_eq!((switch.get)(&changed), Value::Word(word), "{}", switch.name);
                }
            }
        }
    }
}

/// Each line of a profile that says what a field holds, with its number.
fn fields(profile: &Profile) -> Vec<String> {
    format!("{profile:#?}").lines().map(str::to_owned).collect()
}

#[test]
fn no_field_of_a_configuration_is_without_a_switch() {
    // Some values take more lines than others: then the lines that are gone count.
    let base = Profile::DEFAULT;
    let lines = fields(&base);
    let mut reached: BTreeSet<usize> = BTreeSet::new();
    for switch in switches() {
        let mut changed = base;
        (switch.set)(&mut changed, another(switch.kind, (switch.get)(&base)));
        let other = fields(&changed);
        if other.len() == lines.len() {
            reached.extend((0..lines.len()).filter(|&line| lines[line] != other[line]));
        } else {
            reached.extend((0..lines.len()).filter(|&line| !other.contains(&lines[line])));
        }
    }
    let own = [
        "name:",
        "about:",
        "ran:",
        "unverified:",
        "why:",
        "secs:",
        "background_entries:",
        "drop_invalid:",
        "scheduler:",
        "least:",
        "span:",
    ];
    let missing: Vec<_> = (0..lines.len())
        .filter(|line| !reached.contains(line))
        .map(|line| lines[line].trim())
        .filter(|line| line.contains(": ") && !line.ends_with(['{', '(', '[']))
        .filter(|line| !own.iter().any(|field| line.starts_with(field)))
        .collect();
    assert!(missing.is_empty(), "no switch changes {missing:?}");
}

#[test]
fn what_is_unverified_names_switches_that_exist() {
    for profile in Profile::ALL {
        for doubt in profile.unverified {
            let (Scope::Only(names) | Scope::AllBut(names)) = doubt.scope;
            for name in names {
                assert!(
                    switches().any(|switch| switch.short() == *name),
                    "{}: {name}",
                    profile.name
                );
            }
        }
        // A kernel that ran has more that is known than not.
        let doubts = profile
            .switches()
            .filter(|switch| profile.doubt(switch).is_some())
            .count();
        assert!(
            !profile.ran || doubts * 4 < profile.switches().count(),
            "{}",
            profile.name
        );
    }
}
