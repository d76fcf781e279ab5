//! ipvs and conntrack together against the laboratory's ipvs files, packet by packet.

use std::collections::BTreeMap;

use super::super::*;
use super::bench::*;
use crate::model::conntrack::State;
use crate::model::nat::PortChoice;
use crate::wire::Flags;

type Row = BTreeMap<String, String>;

/// Seconds of `"01:59"` or `"118"`.
fn remaining(text: &str) -> f64 {
    let parts = text.split(':').map(|part| part.parse::<f64>().expect("a number"));
    parts.fold(0.0, |sum, part| sum * 60.0 + part)
}

/// `STATE/remaining` of both tables agrees with a row: same state, remaining time within two seconds.
fn agree(bench: &Bench, flow: &Flow, ipvs: &str, conntrack: &str, context: &str) {
    let tuple = flow.tuple();
    let ours = [
        bench
            .node
            .ipvs_of(&tuple, bench.now)
            .map(|connection| (connection.state.name(), connection.expires)),
        bench
            .node
            .conntrack_of(&tuple, bench.now)
            .map(|entry| (entry.tracker.state.name(), entry.tracker.expires)),
    ];
    for (ours, measured) in ours.into_iter().zip([ipvs, conntrack]) {
        let Some((state, left)) = measured.split_once('/') else {
            assert_eq!(ours, None, "{context}");
            continue;
        };
        let (our_state, expires) = ours.unwrap_or_else(|| panic!("no entry: {context}"));
        assert_eq!(our_state, state, "{context}");
        // Listings round down.
        let off = expires.since(bench.now).as_secs() as f64 - remaining(left);
        assert!(off.abs() <= 2.0, "{off} s off: {context}");
    }
}

fn ipvs_bench(kernel: Kernel, mode: u8, pods: u32) -> Bench {
    let mut config = kernel.config(PortChoice::RandomFully, None);
    config.proxy = kernel.ipvs(mode);
    config.services[0].backends = (0..pods).map(pod).collect();
    Bench::new(config, 21)
}

fn kernel_of(row: &Row) -> Kernel {
    Kernel::of(
        row["kernel"]
            .rsplit_once('.')
            .map_or("", |(era, _)| if era.starts_with("5.10") { "5.10" } else { era }),
    )
}

#[test]
fn states_and_timeouts_follow_every_packet_as_measured() {
    for file in [
        "4.19/ipvs/ipvs_states_4.19.108.csv",
        "ipvs/ipvs_states_5.10.0-32-amd64.csv",
    ] {
        let mut current: Option<(String, Bench, Flow)> = None;
        let rows = lab(file);
        assert!(rows.len() > 60);
        for row in rows {
            if current.as_ref().is_none_or(|(case, ..)| *case != row["case"]) {
                let bench = ipvs_bench(kernel_of(&row), 1, 1);
                current = Some((row["case"].clone(), bench, Flow::new(1, 33_000, 1000)));
            }
            let (_, bench, flow) = current.as_mut().expect("just set");
            let verdict = flow.step(bench, &row["step"]);
            let to_pod = matches!(verdict, NodeVerdict::Forward { to: Hop::Pod(0), .. });
            let to_slb = matches!(verdict, NodeVerdict::Forward { to: Hop::Outside, .. });
            assert_eq!(
                (to_pod, to_slb),
                (row["packet"] == "to_pod1", row["packet"] == "to_slb"),
                "{row:?}"
            );
            agree(
                bench,
                flow,
                &row["ipvs_state_expire"],
                &row["conntrack_state_timeout"],
                &format!("{row:?}"),
            );
            bench.wait(secs(0.1));
        }
    }
}

#[test]
fn a_reused_tuple_is_dropped_or_scheduled_as_measured() {
    let mut judged = 0;
    for file in [
        "4.19/ipvs/ipvs_conn_reuse_4.19.108.csv",
        "ipvs/ipvs_conn_reuse_5.10.0-32-amd64.csv",
    ] {
        for row in lab(file) {
            // Without vs.conntrack there is no SNAT; pods do not leave yet.
            if row["vs_conntrack"] == "0" || row["old_rs"] != "alive" {
                continue;
            }
            let mode = row["conn_reuse_mode"].parse().expect("a number");
            let mut bench = ipvs_bench(kernel_of(&row), mode, 2);
            let mut first = Flow::new(1, 33_000, 1000);
            first.run(&mut bench);
            bench.wait(secs(0.5));
            let context = format!("{row:?}");
            agree(&bench, &first, &row["state_before"], &row["ct_before"], &context);
            let mut second = first.again();
            for (outcome, same) in [
                ("first_syn", "first_syn_snat_port_same"),
                ("retransmitted_syn_1s", "retrans_snat_port_same"),
            ] {
                if row[outcome].is_empty() {
                    continue;
                }
                second.step(&mut bench, "SLB SYN");
                let ours = second
                    .pod
                    .map_or("NOT forwarded".into(), |pod| format!("to_pod{}", pod + 1));
                assert_eq!(ours, row[outcome], "{context}");
                if second.seen.is_some() {
                    assert_eq!(second.port() == first.port(), row[same] == "True", "{context}");
                } else {
                    assert!(
                        bench.node.conntrack_of(&first.tuple(), bench.now).is_none(),
                        "{context}"
                    );
                    bench.wait(secs(1.0));
                }
            }
            bench.wait(secs(0.5));
            agree(&bench, &second, &row["state_after"], &row["ct_after"], &context);
            judged += 1;
        }
    }
    assert_eq!(judged, 10);
}

#[test]
fn a_stray_rst_does_to_both_tables_what_was_measured() {
    for file in [
        "4.19/ipvs/ipvs_stray_rst_4.19.108.csv",
        "6.18/rst/ipvs_stray_rst_6.18.44-fc-v669.csv",
    ] {
        for row in lab(file) {
            stray_rst(&row);
        }
    }
}

fn stray_rst(row: &Row) {
    let context = format!("{row:?}");
    let kernel = if row["kernel"].starts_with("4.19") {
        Kernel::V4_19
    } else {
        Kernel::V6_18
    };
    let mut config = kernel.config(PortChoice::RandomFully, Some((42_000, 42_000)));
    let in_ipvs = row["path"] == "ipvs";
    if in_ipvs {
        config.proxy = kernel.ipvs(0);
    }
    // The port must be free to others because nothing holds it, not because it was evicted.
    config.snat.evicts = false;
    config.conntrack.be_liberal = row["be_liberal"] == "1";
    let mut bench = Bench::new(config, 7);
    let mut flow = Flow::new(1, 33_000, 5_000_000);
    flow.run(&mut bench);
    bench.wait(secs(0.2));
    if row["rst"] != "none" {
        let flags = if row["rst"] == "R" {
            Flags::RST
        } else {
            Flags::RST_ACK
        };
        let mut rst = flow.client_packet(flags, 0);
        let offset: i32 = row["rst_seq_minus_rcv_nxt"].parse().expect("a number");
        rst.seq = rst.seq + offset.cast_unsigned();
        let verdict = bench.send(&rst);
        let source = match verdict {
            NodeVerdict::Forward { packet, .. } => Some(packet.tuple.src.ip),
            _ => None,
        };
        assert_eq!(source == Some(NODE), row["rst_was_snated"] == "1", "{context}");
        assert_eq!(source.is_none(), row["pod_saw"] == "nothing", "{context}");
    }
    bench.wait(secs(0.8));
    let ipvs = if in_ipvs { row["ipvs_after"].as_str() } else { "-" };
    agree(&bench, &flow, ipvs, &row["conntrack_after"], &context);
    let gone_early = row["conntrack_gone_after_s"] != ">14";
    bench.wait(secs(7.9));
    assert!(
        bench.node.conntrack_of(&flow.tuple(), bench.now).is_some(),
        "{context}"
    );
    bench.wait(secs(5.1));
    let gone = bench.node.conntrack_of(&flow.tuple(), bench.now).is_none();
    assert_eq!(gone, gone_early, "{context}");
    // 4.19 takes the only port unchecked; a dead entry must have been collected first.
    bench.wait(secs(20.0));
    let mut other = Flow::new(2, 34_000, 1);
    other.step(&mut bench, "SLB SYN");
    assert_eq!(
        other.seen.is_some(),
        row["other_tuple_got_the_same_snat_port"] == "1",
        "{context}"
    );
    if let Some(seen) = other.seen {
        let history = bench
            .node
            .port_history(seen.dst, seen.src.port)
            .expect("used twice");
        let by = history.previous.expect("the first flow").released_by;
        let believed = row["conntrack_after"].starts_with("CLOSE");
        let expected = if believed {
            Release::Rst
        } else {
            Release::Ipvs { stray_rst: true }
        };
        assert_eq!(by, expected, "{context}");
    }
}

/// What each case of the release files sends before it waits.
fn release_steps(case: &str) -> Option<Vec<&'static str>> {
    let opened = &OPEN_AND_CLOSE[..5];
    let with = |more: &[&'static str]| Some([opened, more].concat());
    match case {
        "pod_closes_first" => Some(OPEN_AND_CLOSE.to_vec()),
        "pod_closes_first_then_slb_rst" => Some([&OPEN_AND_CLOSE[..], &["SLB RST"]].concat()),
        "slb_closes_first" => with(&["SLB FIN", "pod ACK", "pod FIN", "SLB ACK"]),
        "slb_rst" => with(&["SLB RST"]),
        "pod_fin_only(slb silent)" => with(&["pod FIN"]),
        "pod_fin_slb_ack(slb never closes)" => with(&["pod FIN", "SLB ACK"]),
        "slb_fin_only(pod silent)" => with(&["SLB FIN"]),
        "established_idle" => with(&["SLB ACK"]),
        "refused_syn(bare ACK, RST)" => Some(vec!["SLB SYN", "pod bare ACK", "SLB RST"]),
        "refused_syn_rst_lost(bare ACK only)" => Some(vec!["SLB SYN", "pod bare ACK"]),
        "half_open(SYN only)" => Some(vec!["SLB SYN"]),
        _ => None,
    }
}

#[test]
fn both_entries_of_a_flow_end_when_they_were_measured_to() {
    let mut judged = 0;
    for file in [
        "4.19/ipvs/ipvs_release_4.19.108.csv",
        "5.10/ipvs/ipvs_release_5.10.0-32-amd64.csv",
    ] {
        for row in lab(file) {
            let Some(steps) = release_steps(&row["case"]) else {
                continue;
            };
            let kernel = if row["kernel"].starts_with("4.19") {
                Kernel::V4_19
            } else {
                Kernel::V5_10
            };
            let NodeProxy::Ipvs(mut ipvs) = kernel.ipvs(1) else {
                unreachable!("ipvs() makes ipvs")
            };
            let set = row["ipvs_timeouts"].starts_with("--set");
            if set {
                ipvs.timeout_established = SimDuration::from_secs(15);
                ipvs.timeout_fin_wait = SimDuration::from_secs(10);
            }
            let mut config = kernel.config(PortChoice::RandomFully, None);
            config.proxy = NodeProxy::Ipvs(ipvs);
            let mut bench = Bench::new(config, 2);
            let mut flow = Flow::new(1, 33_000, 1000);
            flow.steps(&mut bench, &steps);
            let (limit, tuple) = (if set { 40.0 } else { 165.0 }, flow.tuple());
            let (mut ipvs_gone, mut conntrack_gone) = (None, None);
            for tick in 1.. {
                bench.wait(secs(0.1));
                let passed = f64::from(tick) * 0.1;
                if ipvs_gone.is_none() && bench.node.ipvs_of(&tuple, bench.now).is_none() {
                    ipvs_gone = Some(passed);
                }
                if conntrack_gone.is_none() && bench.node.conntrack_of(&tuple, bench.now).is_none() {
                    conntrack_gone = Some(passed);
                }
                if passed > limit {
                    break;
                }
            }
            for (ours, column) in [
                (ipvs_gone, "ipvs_entry_gone_after_s"),
                (conntrack_gone, "conntrack_entry_gone_after_s"),
            ] {
                let Ok(measured) = row[column].parse::<f64>() else {
                    assert_eq!(ours, None, "{row:?}");
                    continue;
                };
                let ours = ours.unwrap_or_else(|| panic!("{column} of {row:?} stands"));
                // Polled twice a second on an emulated CPU, some seconds into the case; 0 to 2.05 s of timer wheel.
                assert!((ours - measured).abs() <= 3.7, "{column} {ours}: {row:?}");
            }
            judged += 1;
        }
    }
    assert_eq!(judged, 44);
}

#[test]
fn the_state_names_are_those_of_the_listings() {
    for state in State::ALL {
        assert!(!state.name().is_empty());
    }
    let names: Vec<_> = ipvs::IpvsState::ALL.iter().map(|state| state.name()).collect();
    assert_eq!(names[5], "TIME_WAIT");
    assert_eq!(names.len(), 11);
}
