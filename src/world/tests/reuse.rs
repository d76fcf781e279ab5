//! Tuples that come back through ipvs: every switch of it, by its key, in whole runs.

use super::{accounted_for, planned, run};
use crate::observe::{Counts, Observations};

/// A caller on 4.19 with few ports, as the laboratory's runs i03 and i10 have it: its tuples come back after some seconds,
/// while ipvs remembers them for 120.
const REUSE: &str = r#"
duration = "120s"
[clients]
rate = "40/s"
[slb]
l7 = false
profile = "4.19"
hosts = 4
ports = "40000-40099"
timestamps = "off"
connect_timeout = "8s"
[node]
profile = "4.19"
kube_proxy = false
proxy = "ipvs"
[node.ipvs]
conn_reuse_mode = 1
[pod]
count = 2
"#;

fn observe(sets: &[&str]) -> (Observations, Counts) {
    let observations = run(&planned(REUSE, sets));
    let counts = accounted_for(&observations);
    (observations, counts)
}

#[test]
fn each_switch_of_reuse_is_a_key_and_decides_whether_the_first_syn_is_dropped() {
    for (sets, dropped) in [
        (&[][..], true),
        (&["node.sysctl.conn_reuse_mode=1", "node.ipvs={}"], true),
        (&["node.ipvs.conn_reuse_mode=2"], true),
        (&["node.ipvs.conn_reuse_mode=0"], false),
        (&["node.kernel.reuse_drop=if-confirmed"], false),
        (&["node.kernel.reuse_drop=never"], false),
        (&["node.profile=5.10"], false),
        // Without an entry of conntrack there is none to wait for.
        (&["node.sysctl.net.ipv4.vs.conntrack=0"], false),
        (&["node.profile=alinux2-4.19"], false),
        (
            &[
                "node.profile=alinux2-4.19",
                "node.sysctl.conn_reuse_old_conntrack=0",
            ],
            true,
        ),
    ] {
        let (_, counts) = observe(sets);
        let reused = counts.connects_started - 200;
        if dropped {
            // All but the first round of some two hundred tuples.
            assert!(counts.ipvs_syn_drops * 10 > reused * 9, "{sets:?}: {counts:?}");
            assert!(counts.slow * 10 > reused * 9, "{sets:?}: {counts:?}");
        } else {
            assert_eq!(counts.ipvs_syn_drops, 0, "{sets:?}");
        }
    }
}

/// README of the laboratory, group I, run i10: a reused tuple's SYN passes one second later; after a refusal the entry is in
/// CLOSE, so the SYN of the first second is dropped as well, and the connect takes three seconds, or seven.
#[test]
fn a_dropped_first_syn_costs_one_second_and_after_a_refusal_three_or_seven() {
    let repeats = |sets: &[&str]| {
        let (observations, counts) = observe(sets);
        let at = |second: usize| observations.syn_repeats.get(second).copied().unwrap_or(0);
        ([at(1), at(2), at(3), at(7)], counts)
    };
    // A refused SYN is that of the first second, so that the next two leave after three and after seven.
    let near = |count: u64, of: u64| count.abs_diff(of) * 5 <= of + 25;
    for narrower in [&[][..], &["node.snat.to_ports=40000-59999", "duration=300s"]] {
        let ([first, second, third, seventh], counts) = repeats(narrower);
        let refused = counts.bare_acks;
        assert_eq!(second, 0);
        assert!(first > 4_000 && first > 20 * third, "{first} {third}");
        assert!(
            near(third, refused) && near(seventh, refused),
            "{refused} {third} {seventh}"
        );
        assert!(narrower.is_empty() || refused > 200, "{refused}");
    }
    // With mode 0 no SYN is dropped, and a refusal costs one second.
    let sets = [
        "node.snat.to_ports=40000-59999",
        "duration=300s",
        "node.ipvs.conn_reuse_mode=0",
    ];
    let ([first, second, third, _], counts) = repeats(&sets);
    assert!(near(first, counts.bare_acks), "{first} {}", counts.bare_acks);
    assert!(second == 0 && third * 5 < first, "{first} {third}");
}
