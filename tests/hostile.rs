//! Scenarios at the edges of what can be written: each is refused with a helpful error, or runs to its end with figures
//! that add up. Nothing here asks whether a figure is right, only whether all of them can be true together.

use std::fmt::Write;

use fivetuple::experiment;
use fivetuple::observe::RecordOptions;
use fivetuple::report;
use fivetuple::scenario::{Limits, parse_with};
use proptest::prelude::*;
use serde_json::Value;

/// Blocks in which the reference allows `null`.
const MAY_BE_NULL: [&str; 7] = [
    "outlook.seconds_to_first_499",
    "operations.latency_seconds",
    "theory",
    "scorecard",
    "after_120s",
    "latency_seconds",
    "expectations",
];

/// The summary of a scenario as JSON, or what is wrong with it.
fn run(text: &str) -> Result<Value, String> {
    let limits = Limits { yes: true };
    let plan = parse_with("hostile.toml", text, &[], limits)
        .map_err(|errors| errors.to_string())?
        .plan;
    let outcome = experiment::run(&plan, RecordOptions::default(), Some(1), &|_, _| true);
    Ok(serde_json::from_str(&report::json(&outcome.summary)).expect("a summary is JSON"))
}

fn number(summary: &Value, path: &str) -> u64 {
    let pointer = format!("/{}", path.replace('.', "/"));
    let value = summary.pointer(&pointer).and_then(Value::as_u64);
    value.unwrap_or_else(|| panic!("no count at {path}"))
}

/// The sum over a table of counts, without the row `but`.
fn sum(summary: &Value, path: &str, but: &str) -> u64 {
    let pointer = format!("/{}", path.replace('.', "/"));
    let rows = summary.pointer(&pointer).and_then(Value::as_object);
    let rows = rows.unwrap_or_else(|| panic!("no table at {path}"));
    rows.iter()
        .filter(|(name, _)| *name != but)
        .map(|(_, count)| count.as_u64().expect("a count"))
        .sum()
}

/// Every sum that the reference of the results promises.
fn check_sums(summary: &Value, problems: &mut Vec<String>) {
    let n = |path: &str| number(summary, path);
    let mut same = |what: &str, a: u64, b: u64| {
        if a != b {
            problems.push(format!("{what}: {a} is not {b}"));
        }
    };
    let connections = ["established", "timed_out", "refused", "abandoned", "in_flight"];
    let parts = connections.map(|part| n(&format!("connections.{part}")));
    same("connections", n("connections.total"), parts.iter().sum());
    let mut blocks = vec![""];
    if !summary["after_120s"].is_null() {
        blocks.push("after_120s.");
    }
    for block in blocks {
        let at = |path: &str| n(&format!("{block}{path}"));
        let statuses = sum(summary, &format!("{block}requests.by_status"), "");
        same("statuses", at("requests.total"), statuses);
        let answers = at("attempts.recycled") + at("attempts.bare_acks") + at("attempts.no_answer");
        same("answers", at("attempts.time_wait_hits"), answers);
    }
    let hits = n("attempts.time_wait_hits");
    same("release paths", sum(summary, "release_paths", "M8"), hits);
    same("no path unknown", n("release_paths.unknown"), 0);
    same("M8", n("release_paths.M8"), n("attempts.fin_wait2_hits"));
    let failed = n("requests.total") - n("requests.by_status.200");
    same("causes", sum(summary, "causes", ""), failed);
    let gaps = summary["reuse_gap_seconds"]["histogram"]
        .as_array()
        .expect("a list");
    let gaps: u64 = gaps.iter().map(|bin| bin[1].as_u64().expect("a count")).sum();
    same("reuse gaps", gaps, hits);
    if !summary["operations"].is_null() {
        let parts = n("operations.succeeded") + n("operations.failed");
        same("operations", n("operations.total"), parts);
        if n("operations.succeeded_after_retry") > n("operations.succeeded") {
            problems.push("more succeeded after a retry than at all".to_owned());
        }
    }
    for (part, whole) in [
        ("connections.slow", n("connections.established")),
        ("attempts.time_wait_hits", n("attempts.total")),
    ] {
        if n(part) > whole {
            problems.push(format!("{part} is more than the whole, {whole}"));
        }
    }
}

/// No number is missing where one must be, and every interval surrounds its value with some width.
fn check_values(value: &Value, path: &str, problems: &mut Vec<String>) {
    match value {
        // JSON has no NaN: what is not finite becomes null.
        Value::Null if !MAY_BE_NULL.iter().any(|block| path.starts_with(block)) => {
            problems.push(format!("{path} is null"));
        }
        Value::Object(map) => {
            let end = |name: &str| map.get(name).and_then(Value::as_f64);
            if let (Some(lo), Some(at), Some(hi)) = (end("lo95"), end("value"), end("hi95"))
                && !(lo <= at && at <= hi && lo < hi)
            {
                problems.push(format!("{path}: {lo} <= {at} <= {hi}"));
            }
            for (name, inner) in map {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                check_values(inner, &path, problems);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| check_values(item, path, problems)),
        _ => {}
    }
}

/// Everything that is wrong with a summary.
fn problems(summary: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    check_sums(summary, &mut problems);
    check_values(summary, "", &mut problems);
    problems
}

/// What becomes of a scenario.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It runs, and its figures add up.
    Runs,
    /// It is refused, with this in the message.
    Refused(&'static str),
}
use Fate::{Refused, Runs};

/// A duration, what `[clients]` holds, and the rest; what becomes of it.
#[rustfmt::skip]
const TABLE: &[(&str, &str, &str, Fate)] = &[
    // Rates and durations.
    ("3s", "rate = \"0/s\"", "", Refused("is zero")),
    ("3s", "rate = \"0.000001/s\"", "", Runs),
    ("10us", "rate = \"100000000/s\"", "", Runs),
    ("10us", "rate = \"100000000/s\"\narrivals = \"constant\"", "", Runs),
    ("1us", "rate = \"1000000000/s\"", "", Refused("too high")),
    ("0s", "rate = \"9/s\"", "", Refused("too short")),
    ("1ns", "rate = \"9/s\"", "", Runs),
    ("0.5s", "rate = \"99/s\"", "", Runs),
    ("1d", "rate = \"1/h\"", "", Runs),
    ("30d", "rate = \"60/s\"", "", Refused("too many")),
    // Links that lose everything, or half.
    ("20s", "rate = \"20/s\"\ntimeout = \"5s\"", "[links.client_slb]\nloss = 1.0", Runs),
    ("20s", "rate = \"20/s\"\ntimeout = \"5s\"", "[links.slb_node]\nloss = 1.0", Runs),
    ("20s", "rate = \"20/s\"\ntimeout = \"5s\"", "[links.node_pod]\nloss = 1.0", Runs),
    ("20s", "rate = \"20/s\"\ntimeout = \"5s\"", "[slb]\nbackends = \"pod\"\n[links.slb_pod]\nloss = 1.0", Runs),
    ("20s", "rate = \"20/s\"\ntimeout = \"5s\"", "[slb]\nl7 = false\n[links.slb_node]\nloss = 1.0", Runs),
    ("60s", "rate = \"20/s\"\ntimeout = \"9s\"", "[links.client_slb]\nloss = 0.5\n[links.slb_node]\nloss = 0.5\n[links.node_pod]\nloss = 0.5", Runs),
    // Delays.
    ("2s", "rate = \"99/s\"", "[links.client_slb]\ndelay = \"0s\"\n[links.slb_node]\ndelay = \"0s\"\n[links.node_pod]\ndelay = \"0s\"\n[pod]\nservice_time = \"0s\"", Runs),
    ("2s", "rate = \"99/s\"", "[links.slb_node]\ndelay = \"3h\"\n[links.node_pod]\ndelay = \"3h\"", Runs),
    ("6h", "rate = \"9/h\"\ntimeout = \"none\"", "[links.slb_node]\ndelay = \"20m\"\n[slb]\nconnect_timeout = \"1d\"\nread_timeout = \"1d\"", Runs),
    ("2s", "rate = \"99/s\"", "[links.slb_node]\ndelay = { lognormal = { median = \"1ms\", sigma = 50 } }", Refused("sigma")),
    ("2s", "rate = \"99/s\"", "[links.slb_node]\ndelay = { lognormal = { median = \"1d\", sigma = 4 } }", Runs),
    ("2s", "rate = \"99/s\"", "[links.slb_node]\ndelay = { exponential = { mean = \"1ns\" } }", Runs),
    // Ports.
    ("3s", "rate = \"99/s\"", "[slb]\nports = \"5000-5000\"", Runs),
    ("3s", "rate = \"99/s\"", "[slb]\nports = \"5000-5000\"\nport_selection = \"random\"\nl7 = false", Runs),
    ("9s", "rate = \"99/s\"", "[node]\nprofile = \"4.19\"\n[node.snat]\nto_ports = \"2000-2000\"", Runs),
    ("9s", "rate = \"99/s\"", "[node.snat]\nto_ports = \"2000-2000\"", Runs),
    ("150s", "rate = \"9/s\"\ntimeout = \"3s\"", "[node]\nproxy = \"ipvs\"\n[node.snat]\nto_ports = \"2000-2400\"\n[node.sysctl]\nnf_conntrack_tcp_timeout_time_wait = 5", Runs),
    // The pod.
    ("9s", "rate = \"300/s\"\ntimeout = \"2s\"", "[pod]\nworkers = 1\nbacklog = 0", Runs),
    ("3s", "rate = \"99/s\"", "[pod.sysctl]\nsomaxconn = 0", Refused("1 to 65535")),
    ("3s", "rate = \"99/s\"", "[pod]\nworkers = 1\nservice_time = \"2h\"\n[pod.sysctl]\nsomaxconn = 1", Runs),
    ("3s", "rate = \"99/s\"", "[pod]\nworkers = 0", Refused("out of range")),
    ("3s", "rate = \"99/s\"", "[pod.sysctl]\ntcp_max_tw_buckets = 0\n[slb.sysctl]\ntcp_max_tw_buckets = 0", Runs),
    ("3s", "rate = \"5/s\"\nrequest_bytes = \"1MB\"\nresponse_bytes = \"1MB\"", "", Runs),
    // conntrack.
    ("9s", "rate = \"20/s\"\ntimeout = \"1s\"", "[node.sysctl]\nnf_conntrack_max = 1", Runs),
    ("9s", "rate = \"20/s\"\ntimeout = \"1s\"", "[node]\nproxy = \"ipvs\"\n[node.sysctl]\nnf_conntrack_max = 32", Runs),
    ("3s", "rate = \"99/s\"", "[node.conntrack]\nbackground_entries = 262143", Runs),
    ("3s", "rate = \"99/s\"", "[node.conntrack]\nbackground_entries = 262144", Refused("fills the table")),
    ("3s", "rate = \"99/s\"", "[node.sysctl]\nnf_conntrack_tcp_timeout_time_wait = 0", Refused("1 to")),
    ("20s", "rate = \"99/s\"", "[node.snat]\nto_ports = \"2000-2200\"\n[pod]\nservice_time = { exponential = { mean = \"2s\" } }\n[node.sysctl]\nnf_conntrack_tcp_timeout_time_wait = 1\nnf_conntrack_tcp_timeout_established = 1\nnf_conntrack_tcp_timeout_syn_sent = 1\nnf_conntrack_tcp_timeout_syn_recv = 1\nnf_conntrack_tcp_timeout_last_ack = 1\nnf_conntrack_tcp_timeout_fin_wait = 1\nnf_conntrack_tcp_timeout_close = 1", Runs),
    ("30s", "rate = \"99/s\"", "[node]\ndrop_syn_repeats_within = \"365d\"\n[links.node_pod]\nloss = 0.3", Runs),
    // TCP.
    ("3s", "rate = \"99/s\"", "[slb.sysctl]\ntcp_syn_retries = 0", Refused("1 to 127")),
    ("3s", "rate = \"99/s\"", "[slb.sysctl]\ntcp_syn_retries = 255", Refused("1 to 127")),
    ("900s", "rate = \"1/s\"", "[slb]\nconnect_timeout = \"100d\"\n[slb.sysctl]\ntcp_syn_retries = 127\ntcp_syn_linear_timeouts = 127\n[links.slb_node]\nloss = 1.0", Runs),
    ("300s", "rate = \"1/s\"", "[pod.sysctl]\ntcp_retries2 = 255\ntcp_synack_retries = 255\ntcp_orphan_retries = 255\n[links.node_pod]\nloss = 0.7", Runs),
    ("3s", "rate = \"99/s\"", "[pod.sysctl]\ntcp_fin_timeout = 0", Refused("1 to")),
    // Limits of a nanosecond.
    ("3s", "rate = \"99/s\"\ntimeout = \"1ns\"", "", Runs),
    ("3s", "rate = \"99/s\"", "[slb]\nconnect_timeout = \"1ns\"", Runs),
    ("3s", "rate = \"99/s\"", "[slb]\nread_timeout = \"1ns\"", Runs),
    ("3s", "rate = \"99/s\"", "[slb]\nkeepalive = { size = 1, idle_timeout = \"1ns\", requests = 1 }\n[pod]\nclose = { keep-alive = { idle_timeout = \"1ns\", requests = 1 } }", Runs),
    // Closed loops.
    ("3s", "arrivals = \"closed-loop\"\nusers = 1\nthink_time = \"1s\"", "", Runs),
    ("2s", "arrivals = \"closed-loop\"\nusers = 100000\nthink_time = \"10s\"", "[slb]\naddresses = 50", Runs),
    ("1s", "arrivals = \"closed-loop\"\nusers = 5\nthink_time = \"0s\"", "[slb]\nports = \"5000-5001\"", Runs),
    ("3s", "arrivals = \"closed-loop\"\nusers = 5\nthink_time = \"0s\"", "[slb]\nl7 = false\nports = \"5000-5001\"", Refused("never lets time pass")),
    ("3s", "arrivals = \"closed-loop\"\nusers = 5\nthink_time = \"0s\"", "[links.client_slb]\ndelay = \"0s\"", Refused("never lets time pass")),
    ("3s", "arrivals = \"closed-loop\"\nusers = 5\nthink_time = \"0s\"\ntimeout = \"1ns\"", "", Refused("too many")),
    ("3s", "arrivals = \"closed-loop\"\nusers = 5\npacing = \"1ns\"\ntimeout = \"1ns\"", "", Refused("too many")),
    ("3s", "arrivals = \"closed-loop\"\nusers = 5\nthink_time = { pareto = { scale = \"1ms\", shape = 0.1 } }", "[slb]\nl7 = false", Runs),
    ("3s", "arrivals = \"closed-loop\"\nusers = 9\nthink_time = \"0s\"\nramp_up = \"30d\"\nkeepalive = {}", "", Runs),
    // Moving rates.
    ("3s", "arrivals = \"mmpp\"\nmmpp = { states = [{ rate = \"0/s\", mean_dwell = \"365d\" }, { rate = \"99/s\", mean_dwell = \"1ns\" }] }", "", Runs),
    ("3s", "arrivals = \"mmpp\"\nmmpp = { states = [{ rate = \"0.000001/s\", mean_dwell = \"1us\" }, { rate = \"0/s\", mean_dwell = \"1us\" }] }", "", Runs),
    ("3s", "arrivals = \"rate-profile\"\nrate_profile = [{ at = \"1d\", rate = \"9/s\" }]", "", Runs),
    ("3s", "arrivals = \"rate-profile\"\nrate_profile = [{ at = \"0s\", rate = \"0/s\" }, { at = \"1ns\", rate = \"99/s\" }]\nrate_profile_period = \"1ns\"", "", Runs),
    ("3s", "arrivals = \"rate-profile\"\nrate_profile = [{ at = \"0s\", rate = \"0.000001/s\" }]\nrate_profile_period = \"1ns\"", "", Runs),
    ("3s", "arrivals = \"diurnal\"\nrate = \"99/s\"\ndiurnal = { peak_to_mean = 2, period = \"1ms\" }", "", Runs),
    ("3s", "arrivals = \"diurnal\"\nrate = \"0.000001/s\"\ndiurnal = { peak_to_mean = 2, period = \"1ms\", peak_at = \"1ms\" }", "", Runs),
    // Clients that try again, at once, or for ever.
    ("3s", "rate = \"99/s\"\ntimeout = \"1ns\"\nretry = { max_attempts = 100, initial_backoff = \"0s\" }", "", Runs),
    ("3s", "rate = \"99/s\"\nretry = { max_attempts = 100, initial_backoff = \"0s\", on = [500, 504] }", "[slb]\nl7 = false\nports = \"5000-5001\"", Runs),
    ("3s", "rate = \"99/s\"\nretry = { max_attempts = 9, initial_backoff = \"1d\", max_backoff = \"1d\", jitter = \"none\" }", "[links.slb_node]\nloss = 1", Runs),
    ("9s", "rate = \"99/s\"\ntimeout = \"100ms\"\nretry = { throttling = { max_tokens = 1, token_ratio = 1000 } }", "[links.slb_node]\nloss = 0.3", Runs),
    // Clients that keep their connections.
    ("9s", "rate = \"99/s\"\nkeepalive = { idle_timeout = \"1ns\" }", "", Runs),
    ("9s", "rate = \"99/s\"\nkeepalive = { requests = 1 }", "[slb]\nclient_keepalive_requests = 1", Runs),
    ("9s", "rate = \"99/s\"\nkeepalive = {}", "[slb]\nclient_keepalive_timeout = \"1ns\"", Runs),
    ("9s", "rate = \"99/s\"\ntimeout = \"1s\"\nkeepalive = {}", "[slb]\nhosts = 9\nclient_keepalive_timeout = \"10ms\"\n[links.client_slb]\nloss = 0.2\ndelay = { exponential = { mean = \"5ms\" } }", Runs),
    ("9s", "rate = \"99/s\"\nkeepalive = {}\nresponse_bytes = { pareto = { scale = 1, shape = 0.5 } }\nrequest_bytes = { uniform = { min = 1, max = 1 } }", "[slb]\nread_timeout = \"5ms\"", Runs),
    // Sizes of the house.
    ("2s", "rate = \"99/s\"", "[slb]\nhosts = 300", Runs),
    ("2s", "rate = \"99/s\"", "[slb]\naddresses = 10000", Runs),
    ("2s", "rate = \"99/s\"", "[slb]\nhosts = 10000\n[node]\ncount = 101", Refused("too many")),
    ("2s", "rate = \"99/s\"", "[node]\ncount = 1000\n[pod]\ncount = 1000", Refused("too many")),
    ("2s", "rate = \"99/s\"", "[node]\ncount = 5\nexternal_traffic_policy = \"local\"\n[pod]\ncount = 2", Runs),
    ("2s", "rate = \"99/s\"", "[slb]\nhosts = 3\nvip = \"255.255.255.254:80\"", Refused("too high")),
    ("2s", "rate = \"99/s\"", "[slb]\nhosts = 300\nvip = \"100.63.255.200:80\"", Refused("used twice")),
    ("2s", "rate = \"99/s\"", "[pod]\nip = \"11.0.0.1\"", Refused("belongs to the clients")),
];

#[test]
fn edge_values_are_refused_with_reason_or_run_with_figures_that_add_up() {
    for (duration, clients, rest, fate) in TABLE {
        let text = format!("duration = \"{duration}\"\n[clients]\n{clients}\n{rest}\n");
        match (run(&text), fate) {
            (Ok(summary), Runs) => {
                let problems = problems(&summary);
                assert!(problems.is_empty(), "{text}\n{problems:#?}");
            }
            (Err(errors), Refused(word)) => assert!(errors.contains(word), "{text}\n{errors}"),
            (Ok(_), Refused(word)) => panic!("not refused ({word}):\n{text}"),
            (Err(errors), Runs) => panic!("refused:\n{text}\n{errors}"),
        }
    }
}

#[test]
fn a_stray_rst_after_every_close_keeps_the_figures_whole_on_every_kernel() {
    for profile in ["4.19", "alinux2-4.19", "5.10", "6.1", "6.6", "6.12", "6.18"] {
        for proxy in ["iptables", "ipvs"] {
            for offset in [-1, 0, 5] {
                let text = format!(
                    "duration = \"15s\"\n[clients]\nrate = \"40/s\"\n\
                     [slb]\nprofile = \"{profile}\"\nhosts = 3\nports = \"2000-2100\"\n\
                     stray_rst = {{ share = 1, seq_offset = {offset}, after = \"5ms\" }}\n\
                     [node]\nprofile = \"{profile}\"\nproxy = \"{proxy}\"\n[node.snat]\nto_ports = \"3000-3400\"\n"
                );
                let problems = problems(&run(&text).expect("nothing is wrong with it"));
                assert!(problems.is_empty(), "{text}\n{problems:#?}");
            }
        }
    }
}

#[test]
fn whoever_closes_first_the_figures_add_up() {
    let slb = [
        "",
        "keepalive = {}",
        "keepalive = { size = 1, idle_timeout = \"10ms\", requests = 2 }",
    ];
    let pod = [
        "\"after-response\"",
        "\"reset\"",
        "\"keep-alive\"",
        "{ keep-alive = { idle_timeout = \"10ms\", requests = 2 } }",
    ];
    for (slb, pod) in slb.iter().flat_map(|slb| pod.map(|pod| (slb, pod))) {
        for (l7, backends) in [
            (true, "node-port"),
            (false, "node-port"),
            (true, "pod"),
            (false, "pod"),
        ] {
            let text = format!(
                "duration = \"6s\"\n[clients]\nrate = \"50/s\"\ntimeout = \"1s\"\nrequest_bytes = \"4kB\"\n\
                 [slb]\nl7 = {l7}\nbackends = \"{backends}\"\n{slb}\n\
                 [pod]\nworkers = 3\nclose = {pod}\n[links.slb_node]\nloss = 0.05\n[links.slb_pod]\nloss = 0.05\n"
            );
            let problems = problems(&run(&text).expect("nothing is wrong with it"));
            assert!(problems.is_empty(), "{text}\n{problems:#?}");
        }
    }
}

#[test]
fn a_request_of_many_segments_is_answered_once() {
    for size in ["4kB", "100kB", "1MB"] {
        let text = format!(
            "duration = \"5s\"\n[clients]\nrate = \"5/s\"\nrequest_bytes = \"{size}\"\nresponse_bytes = \"{size}\"\n\
             [slb]\nkeepalive = {{}}\n[pod]\nclose = \"keep-alive\"\n"
        );
        let summary = run(&text).expect("nothing is wrong with it");
        let answered = number(&summary, "requests.by_status.200");
        assert_eq!(answered, number(&summary, "requests.total"), "{size}");
        assert!(answered > 10, "{size}");
        assert_eq!(number(&summary, "counters.TcpOutRsts"), 0, "{size}");
    }
}

#[test]
fn many_errors_are_counted_and_the_first_ones_shown() {
    let mut text = String::from("duration = \"3s\"\n");
    for n in 0..100_000 {
        writeln!(text, "key{n} = 1").expect("a string takes any text");
    }
    let errors = run(&text).expect_err("no such keys");
    assert!(errors.len() < 100_000, "{} octets", errors.len());
    // One more is the missing [clients].
    assert!(
        errors.ends_with("error: 99951 more errors not shown\n"),
        "{errors}"
    );
    let text = format!(
        "duration = \"3s\"\n[clients]\nrate = \"1/s\"\n{}",
        "[[expect]]\nthat = \"a < 1\"\n".repeat(30_000)
    );
    assert!(run(&text).expect_err("that many").contains("at most 10000"));
    let text = format!(
        "duration = \"3s\"\n{}",
        "[[clients]]\nrate = \"1/s\"\n".repeat(33)
    );
    assert!(run(&text).expect_err("that many").contains("at most 32"));
}

/// One of the values for each line.
fn lines(lines: Vec<&'static [&'static str]>) -> impl Strategy<Value = String> {
    let lines: Vec<_> = lines.into_iter().map(prop::sample::select).collect();
    lines.prop_map(|lines| lines.join("\n"))
}

const PROFILES: &[&str] = &[
    "profile = \"4.19\"",
    "profile = \"alinux2-4.19\"",
    "profile = \"5.10\"",
    "profile = \"6.1\"",
    "profile = \"6.6\"",
    "profile = \"6.12\"",
    "profile = \"6.18\"",
];

#[rustfmt::skip]
const CLIENTS: &[&str] = &[
    "rate = \"150/s\"",
    "rate = \"40/s\"\narrivals = \"constant\"\ntimeout = \"30ms\"",
    "arrivals = \"closed-loop\"\nusers = 20\nthink_time = { exponential = { mean = \"90ms\" } }",
    "rate = \"60/s\"\ntimeout = \"1.1s\"\nrequest_bytes = \"5kB\"\nresponse_bytes = \"20kB\"",
    "rate = \"60/s\"\ntimeout = \"none\"",
    "rate = \"90/s\"\ntimeout = \"60ms\"\nretry = { initial_backoff = \"5ms\", on = [499, 500, 502, 503, 504] }",
    "rate = \"90/s\"\ntimeout = \"200ms\"\nkeepalive = { requests = 5 }\nretry = { throttling = {} }",
    "arrivals = \"closed-loop\"\nusers = 20\nthink_time = \"9ms\"\nkeepalive = { idle_timeout = \"8ms\" }\nresponse_bytes = { pareto = { scale = 100, shape = 0.7 } }",
    "arrivals = \"mmpp\"\nmmpp = { states = [{ rate = \"9/s\", mean_dwell = \"300ms\" }, { rate = \"900/s\", mean_dwell = \"100ms\" }] }\nkeepalive = {}",
];

#[rustfmt::skip]
fn slb() -> impl Strategy<Value = String> {
    lines(vec![
        PROFILES,
        &["hosts = 1", "hosts = 4", "addresses = 9\nhosts = 2"],
        &["", "ports = \"7000-7000\"", "ports = \"7000-7060\"", "ports = \"1024-65535\"\nport_selection = \"random\""],
        &["l7 = true", "l7 = false"],
        &["backends = \"node-port\"", "backends = \"pod\""],
        &["", "timestamps = \"off\"", "timestamps = \"no-offset\""],
        &["", "caller_reaction = \"rst\"", "caller_reaction = \"rst-fast-resend\"", "caller_reaction = \"ignore\""],
        &["", "keepalive = {}", "keepalive = { size = 1, idle_timeout = \"20ms\", requests = 3 }"],
        &["", "stray_rst = { share = 1 }", "stray_rst = { share = 0.3, seq_offset = 0, after = \"0s\" }"],
        &["", "client_keepalive_timeout = \"9ms\"", "client_keepalive_timeout = \"0s\"", "client_keepalive_requests = 2"],
        &["", "connect_timeout = \"10ms\"\nread_timeout = \"4ms\"", "connect_timeout = \"2.5s\""],
    ])
}

#[rustfmt::skip]
fn node() -> impl Strategy<Value = String> {
    lines(vec![
        PROFILES,
        &["proxy = \"iptables\"", "proxy = \"ipvs\"", "proxy = \"ipvs\"\nipvs = { scheduler = \"wlc\", graceful_termination = false }",
          "proxy = \"ipvs\"\nipvs = { scheduler = \"mh\", hash_port = true, conn_reuse_mode = 0 }"],
        &["", "endpoint_delay = \"0s\"", "endpoint_delay = { exponential = { mean = \"300ms\" } }"],
        &["", "count = 3", "kube_proxy = false", "drop_syn_repeats_within = \"900ms\""],
        &["", "external_traffic_policy = \"local\"", "snat = { mode = \"none\" }", "snat = { random = \"none\" }",
          "snat = { random = \"random\", to_ports = \"4000-4000\" }", "snat = { to_ports = \"4000-4040\" }"],
        &["[node.sysctl]"],
        &["", "nf_conntrack_max = 1", "nf_conntrack_max = 40", "nf_conntrack_tcp_timeout_time_wait = 1",
          "nf_conntrack_tcp_timeout_last_ack = 1\nnf_conntrack_tcp_timeout_established = 1",
          "nf_conntrack_tcp_be_liberal = 1\nnf_conntrack_tcp_loose = 0"],
    ])
}

#[rustfmt::skip]
fn pod() -> impl Strategy<Value = String> {
    lines(vec![
        &["", "count = 2", "count = 5"],
        &["", "workers = 1\nbacklog = 0", "workers = 4\nbacklog = 3"],
        &["", "service_time = \"0s\"", "service_time = { lognormal = { median = \"20ms\", sigma = 2 } }", "service_time = \"1h\""],
        &["", "when_gone = \"reset\""],
        &["", "close = \"reset\"", "close = \"keep-alive\"", "close = { keep-alive = { idle_timeout = \"15ms\", requests = 2 } }"],
        &["[pod.sysctl]"],
        &["", "tcp_max_tw_buckets = 0", "tcp_max_tw_buckets = 10", "tcp_rfc1337 = 1\ntcp_fin_timeout = 1", "tcp_invalid_ratelimit = 0"],
    ])
}

#[rustfmt::skip]
fn links() -> impl Strategy<Value = String> {
    const LINK: &[&str] = &["", "loss = 0.2", "loss = 1", "delay = \"0s\"", "delay = { exponential = { mean = \"40ms\" } }",
                            "delay = \"700ms\"\nloss = \"5%\""];
    lines(vec![&["[links.client_slb]"], LINK, &["[links.slb_node]"], LINK, &["[links.node_pod]"], LINK, &["[links.slb_pod]"], LINK])
}

/// Pods that come and go, in the first second.
#[rustfmt::skip]
fn lifecycle() -> impl Strategy<Value = String> {
    const NONE: &str = "";
    lines(vec![
        &[NONE, NONE,
          "[[event]]\nat = \"0.3s\"\npod = \"pod\"\nwhat = \"crash\"\nfor = \"150ms\"",
          "[[event]]\nat = \"0.3s\"\npod = \"pod\"\nwhat = \"restart\"\nfor = \"1ms\"",
          "[[event]]\nat = \"0s\"\npod = \"pod\"\nwhat = \"remove\"",
          "[[event]]\nat = \"0.2s\"\npod = \"pod\"\nwhat = \"drain\""],
        &[NONE, NONE,
          "[[event]]\nat = \"0.6s\"\npod = \"pod\"\nwhat = \"add\"",
          "[[event]]\nat = \"0.4s\"\npod = \"pod\"\nwhat = \"crash\""],
        &[NONE, NONE,
          "[rollout]\nat = \"0.2s\"\nready_after = \"100ms\"\npre_stop = \"200ms\"\ngrace_period = \"500ms\"",
          "[rollout]\nat = \"0s\"\nready_after = \"0s\"\nmax_unavailable = \"100%\"\non_sigterm = \"exit\"",
          "[[rollout]]\nat = \"0.1s\"\nready_after = \"10ms\"\ngrace_period = \"50ms\"\non_sigterm = \"ignore\"\n[[rollout]]\nat = \"0.8s\""],
    ])
}

/// A random small scenario: every part takes one of its edges or an ordinary value.
fn scenario() -> impl Strategy<Value = String> {
    let times = prop::sample::select(vec![
        "duration = \"1s\"",
        "duration = \"2.5s\"\nwarm_up = \"0.7s\"",
        "duration = \"3s\"\nreplications = 2",
        "duration = \"130s\"\nwarm_up = \"1s\"",
    ]);
    let clients = prop::sample::select(CLIENTS);
    let parts = (
        times,
        any::<u64>(),
        clients,
        slb(),
        node(),
        pod(),
        links(),
        lifecycle(),
    );
    parts.prop_map(|(times, seed, clients, slb, node, pod, links, lifecycle)| {
        // Two minutes only at a rate that stays quick.
        let clients = if times.contains("130s") {
            "rate = \"12/s\"\ntimeout = \"2s\""
        } else {
            clients
        };
        format!(
            "{times}\nseed = {seed}\n[clients]\n{clients}\n[slb]\n{slb}\n[node]\n{node}\n[pod]\n{pod}\n{links}\n{lifecycle}\n"
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_small_scenario_runs_with_figures_that_add_up(text in scenario()) {
        let summary = run(&text).map_err(TestCaseError::fail)?;
        let problems = problems(&summary);
        prop_assert!(problems.is_empty(), "{:#?}\n{}", problems, text);
    }
}
