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
            conn_reuse(&row);
            judged += 1;
        }
    }
    assert_eq!(judged, 60);
}

/// The same tuple again while the first connection's ipvs entry stands in TIME_WAIT.
fn conn_reuse(row: &Row) {
    let context = format!("{row:?}");
    let kernel = kernel_of(row);
    let mut config = kernel.config(PortChoice::RandomFully, None);
    let NodeProxy::Ipvs(ipvs) = kernel.ipvs(row["conn_reuse_mode"].parse().expect("a number")) else {
        unreachable!("ipvs() makes ipvs")
    };
    config.proxy = NodeProxy::Ipvs(IpvsConfig {
        conntrack: row["vs_conntrack"] == "1",
        expire_nodest_conn: row["expire_nodest_conn"] == "1",
        ..ipvs
    });
    config.services[0].backends.push(pod(1));
    let mut bench = Bench::new(config, 21);
    let mut first = Flow::new(1, 33_000, 1000);
    first.run(&mut bench);
    bench.wait(secs(0.5));
    agree(&bench, &first, &row["state_before"], &row["ct_before"], &context);
    bench.change_server(pod(0), &row["old_rs"]);
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

/// What a case of the release files sends before the laboratory begins to wait.
fn release_steps(case: &str) -> Vec<&'static str> {
    let opened = &OPEN_AND_CLOSE[..5];
    let with = |more: &[&'static str]| [opened, more].concat();
    let case = case.split(", then ipvsadm").next().unwrap_or(case);
    match case.split("_then_dup").next().unwrap_or(case) {
        "pod_closes_first" => OPEN_AND_CLOSE.to_vec(),
        "pod_closes_first_then_slb_rst" => [&OPEN_AND_CLOSE[..], &["SLB RST"]].concat(),
        "slb_closes_first" => with(&["SLB FIN", "pod ACK", "pod FIN", "SLB ACK"]),
        "slb_rst" => with(&["SLB RST"]),
        "pod_fin_only(slb silent)" => with(&["pod FIN"]),
        "pod_fin_slb_ack(slb never closes)" => with(&["pod FIN", "SLB ACK"]),
        "slb_fin_only(pod silent)" => with(&["SLB FIN"]),
        "established_idle" | "established" => with(&["SLB ACK"]),
        "refused_syn(bare ACK, RST)" => vec!["SLB SYN", "pod bare ACK", "SLB RST"],
        "refused_syn_rst_lost(bare ACK only)" => vec!["SLB SYN", "pod bare ACK"],
        "half_open(SYN only)" => vec!["SLB SYN"],
        _ => panic!("no case {case}"),
    }
}

/// A node as the release files had it, whose timer wheel began so long before the run.
fn release_bench(row: &Row, phase: SimDuration) -> Bench {
    let kernel = kernel_of(row);
    let NodeProxy::Ipvs(mut ipvs) = kernel.ipvs(1) else {
        unreachable!("ipvs() makes ipvs")
    };
    if row["ipvs_timeouts"].starts_with("--set") {
        ipvs.timeout_established = SimDuration::from_secs(15);
        ipvs.timeout_fin_wait = SimDuration::from_secs(10);
    }
    let mut config = kernel.config(PortChoice::RandomFully, None);
    config.timers.phase = phase;
    config.proxy = NodeProxy::Ipvs(ipvs);
    Bench::new(config, 2)
}

/// Seconds from the first look until the ipvs and the conntrack entry of a case were gone; `None`: not within `limit`.
fn released_after(row: &Row, phase: SimDuration, limit: f64) -> [Option<f64>; 2] {
    let mut bench = release_bench(row, phase);
    let mut flow = Flow::new(1, 33_000, 1000);
    flow.steps(&mut bench, &release_steps(&row["case"]));
    let tuple = flow.tuple();
    // Flows were made one after the other; what had passed until the first look shows in what was left then.
    let (_, left) = row["ipvs_state_first"].split_once('/').expect("state and rest");
    let connection = bench.node.ipvs_of(&tuple, bench.now).expect("just made");
    let NodeProxy::Ipvs(config) = bench.node.config.proxy else {
        unreachable!("an ipvs node")
    };
    let timeout = connection.state.timeout(&config).as_secs() as f64;
    bench.wait(secs((timeout - remaining(left) - 0.5).max(0.0)));
    let mut gone = [None; 2];
    for tick in 1..=(limit * 10.0) as u32 {
        bench.wait(secs(0.1));
        let passed = f64::from(tick) * 0.1;
        if tick == 300 && row["case"].contains("_then_dup_slb_") {
            let fin = row["case"].contains("_fin_");
            let mut again = flow.client_packet(if fin { Flags::FIN_ACK } else { Flags::ACK }, 0);
            again.seq = again.seq - u32::from(fin);
            bench.send(&again);
        }
        let there = [
            bench.node.ipvs_of(&tuple, bench.now).is_some(),
            bench.node.conntrack_of(&tuple, bench.now).is_some(),
        ];
        for (gone, there) in gone.iter_mut().zip(there) {
            if !there {
                gone.get_or_insert(passed);
            }
        }
    }
    gone
}

const ENDS: [&str; 2] = ["ipvs_entry_gone_after_s", "conntrack_entry_gone_after_s"];

/// How far the model's times lie outside the time between the two looks of which the first still found the entry. The
/// looks of a block that are known are those at which some entry was found gone; they were 1 to 2 s apart.
fn seconds_off(rows: &[&Row], row: &Row, gone: [Option<f64>; 2]) -> f64 {
    let looks: Vec<f64> = rows
        .iter()
        .flat_map(|row| ENDS.iter().filter_map(|column| row[*column].parse().ok()))
        .collect();
    let off = ENDS.iter().zip(gone).map(|(column, ours)| {
        let Ok(measured) = row[*column].parse::<f64>() else {
            return if ours.is_none() { 0.0 } else { f64::INFINITY };
        };
        let earlier = looks.iter().copied().filter(|&look| look < measured);
        let before = earlier.fold(measured - 2.0, f64::max);
        ours.map_or(f64::INFINITY, |ours| {
            (ours - measured).max(before - ours).max(0.0)
        })
    });
    off.fold(0.0, f64::max)
}

#[test]
fn both_entries_of_a_flow_end_when_they_were_measured_to() {
    for file in [
        "4.19/ipvs/ipvs_release_4.19.108.csv",
        "5.10/ipvs/ipvs_release_5.10.0-32-amd64.csv",
    ] {
        let all = lab(file);
        for (timeouts, limit) in [("default", 165.0), ("--set", 40.0)] {
            let rows: Vec<&Row> = all
                .iter()
                .filter(|row| row["ipvs_timeouts"].starts_with(timeouts))
                .collect();
            assert_eq!(rows.len(), 13);
            // The flows of a block share the host's wheel, so one phase must do for all of them.
            let of_phase = |phase| {
                let off = rows
                    .iter()
                    .map(|row| seconds_off(&rows, row, released_after(row, phase, limit)));
                off.fold(0.0, f64::max)
            };
            let phases = (0..16).map(|step| SimDuration::from_millis(step * 128));
            let best = phases.map(of_phase).fold(f64::INFINITY, f64::min);
            println!("{file} {timeouts}: {best:.2} s at most");
            assert!(best <= 1.5, "{file} {timeouts}: {best} s off at best");
        }
    }
}

/// Rows about a pod or a service that is removed: whether both entries were there some seconds later.
#[test]
fn the_entries_of_a_removed_pod_stay_or_go_as_measured() {
    let mut judged = 0;
    for file in [
        "4.19/ipvs/ipvs_release_4.19.108.csv",
        "5.10/ipvs/ipvs_release_5.10.0-32-amd64.csv",
    ] {
        for row in lab(file) {
            if !row["ipvs_timeouts"].contains("removed") {
                continue;
            }
            let mut bench = release_bench(&row, SimDuration::ZERO);
            let mut flow = Flow::new(1, 33_000, 1000);
            flow.steps(&mut bench, &release_steps(&row["case"]));
            bench.change_server(pod(0), "removed");
            let established = row["case"].starts_with("established");
            if established && row["ipvs_timeouts"].contains("1 packet") {
                flow.step(&mut bench, "SLB request");
            }
            bench.wait(secs(1.0));
            let there = [
                bench.node.ipvs_of(&flow.tuple(), bench.now).is_some(),
                bench.node.conntrack_of(&flow.tuple(), bench.now).is_some(),
            ];
            let stood = ENDS.map(|column| row[column].starts_with('>'));
            assert_eq!(there, stood, "{row:?}");
            judged += 1;
        }
    }
    assert_eq!(judged, 10);
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
