//! Collision counts of thirty-one measured runs against the simulator's own spread over seeds. Nothing here is fitted: a run's
//! configuration comes from its own JSON file, everything else from the kernel profile.
//!
//! `cargo test --test lab_rates -- --nocapture` prints the table.

use std::fs;

use fivetuple::observe::{Counts, RecordOptions};
use fivetuple::{scenario, world};
use rayon::prelude::*;
use serde_json::Value;

/// The measured counts, and the scenario that the run's own configuration describes.
struct Run {
    name: &'static str,
    scenario: String,
    hits: f64,
    bare_acks: f64,
    attempts: f64,
}

fn config_i64(config: &Value, key: &str) -> i64 {
    config[key]
        .as_i64()
        .or_else(|| config[key].as_f64().map(|x| x as i64))
        .unwrap_or(0)
}

/// Source ports of the SLB: `"low high"`, or the kernel's default.
fn slb_ports(config: &Value) -> String {
    config["slb_range"]
        .as_str()
        .map_or_else(|| "32768-60999".into(), |range| range.replace(' ', "-"))
}

fn snat(config: &Value, first: i64) -> String {
    let flag = config["masq"].as_str().unwrap_or_default().strip_prefix("--");
    let random = flag.unwrap_or("none");
    let to_ports = match config_i64(config, "ports") {
        0 => String::new(),
        count => format!("to_ports = \"{first}-{}\"", first + count - 1),
    };
    format!("[node.snat]\nrandom = \"{random}\"\n{to_ports}\n")
}

/// `ipvsadm --set TCP TCPFIN UDP`.
fn ipvs_timeouts(config: &Value) -> String {
    let Some(set) = config["ipvs_set"].as_str() else {
        return String::new();
    };
    let mut seconds = set.split(' ');
    let mut next = || seconds.next().expect("three numbers");
    format!("tcp_timeout = \"{}s\"\ntcp_fin_timeout = \"{}s\"", next(), next())
}

/// A scenario without layer 7: the caller connects at once, the pod answers at once and closes first.
fn scenario_of(config: &Value, profile: &str, proxy: &str, limit: &str, extra: &str) -> String {
    let timestamps = if config_i64(config, "ts") == 0 {
        "off"
    } else {
        "on"
    };
    let old_client = if config_i64(config, "legacy_client") == 1 {
        "drop_syn_repeats_within = \"900ms\""
    } else {
        ""
    };
    let reuse = match proxy {
        "ipvs" => format!(
            "[node.ipvs]\nconn_reuse_mode = {}\n{}\n",
            config_i64(config, "conn_reuse_mode"),
            ipvs_timeouts(config)
        ),
        _ => String::new(),
    };
    format!(
        r#"
duration = "{duration}s"
[clients]
arrivals = "poisson"
rate = "{rate}/s"
request_bytes = 29
response_bytes = 159
[slb]
l7 = false
profile = "{profile}"
hosts = 1
addresses = {nsrc}
ports = "{ports}"
timestamps = "{timestamps}"
connect_timeout = "{limit}"
{extra}
[node]
profile = "{profile}"
proxy = "{proxy}"
kube_proxy = false
{old_client}
{snat}
{reuse}
[node.sysctl]
nf_conntrack_tcp_timeout_time_wait = {t_ct}
[pod]
count = {pods}
profile = "{profile}"
service_time = "50us"
[pod.sysctl]
tcp_rfc1337 = {rfc1337}
[links.slb_node]
delay = "20us"
[links.node_pod]
delay = "20us"
"#,
        duration = config_i64(config, "dur"),
        rate = config_i64(config, "rate"),
        nsrc = config_i64(config, "nsrc"),
        ports = slb_ports(config),
        snat = snat(config, 40_000),
        t_ct = config_i64(config, "t_ct_tw"),
        pods = config_i64(config, "pods").max(1),
        rfc1337 = config_i64(config, "rfc1337"),
    )
}

fn load(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path).expect("packaged measurement")).expect("JSON")
}

/// Group E: kernel 6.18, iptables.
fn group_e(name: &'static str) -> Run {
    let run = load(&format!("tests/lab/E/{name}.json"));
    let sniffer = &run["pod_sniffer"];
    let count = |key: &str| sniffer[key].as_f64().unwrap();
    Run {
        name,
        scenario: scenario_of(&run["config"], "6.18", "iptables", "5s", ""),
        hits: count("first_synack_tw") + count("first_bare_ack") + count("first_none"),
        bare_acks: count("first_bare_ack"),
        attempts: count("attempts"),
    }
}

/// Group I: kernel 4.19, ipvs.
fn group_i(name: &'static str) -> Run {
    let run = load(&format!("tests/lab/I/4.19/{name}.json"));
    let share = run["config"]["stray_rst_fraction"].as_f64().unwrap_or(0.0);
    let stray = format!("stray_rst = {{ share = {share:?}, seq_offset = -1, after = \"100ms\" }}");
    let derived = &run["derived"];
    Run {
        name,
        scenario: scenario_of(
            &run["config"],
            "4.19",
            if run["config"]["path"] == "dnat" {
                "iptables"
            } else {
                "ipvs"
            },
            "8s",
            if share > 0.0 { &stray } else { "" },
        ),
        hits: derived["tw_hits"].as_f64().unwrap(),
        bare_acks: derived["refused"].as_f64().unwrap(),
        attempts: derived["syn_attempts_at_pod"].as_f64().unwrap(),
    }
}

/// Picks a figure out of the counts of a replication.
type Figure = fn(&Counts) -> u64;

fn mean_and_spread(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64;
    (mean, variance.sqrt())
}

/// Simulates a run so many times and compares. A prediction interval for one more draw: t at 99 %, small samples.
fn judge(run: &Run, replications: u32) -> Vec<String> {
    let plan = scenario::parse(run.name, &run.scenario, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    let counts: Vec<Counts> = (0..replications)
        .into_par_iter()
        .map(|replication| {
            let observed = world::simulate(&plan, replication, RecordOptions::default(), &|_| true);
            observed.seconds.iter().map(|second| second.counts).sum()
        })
        .collect();
    let figures: [(&str, f64, Figure); 3] = [
        ("attempts", run.attempts, |c| c.attempts),
        ("hits", run.hits, |c| c.time_wait_hits),
        ("bare ACKs", run.bare_acks, |c| c.bare_acks),
    ];
    let mut misses = Vec::new();
    for (figure, measured, of) in figures {
        let values: Vec<f64> = counts.iter().map(|c| of(c) as f64).collect();
        let (mean, spread) = mean_and_spread(&values);
        let wide = if replications >= 20 { 2.9 } else { 4.0 } * (1.0 + 1.0 / f64::from(replications)).sqrt();
        let z = (measured - mean) / spread.max(1.0);
        println!(
            "{:4} {figure:10} measured {measured:7.0}  predicted {mean:9.1} +- {spread:6.1}  z {z:5.2}",
            run.name
        );
        if z.abs() > wide {
            misses.push(format!(
                "{} {figure}: {measured} measured, {mean:.1} +- {spread:.1}",
                run.name
            ));
        }
    }
    misses
}

/// Every packaged run of groups E and I. i25 (`tcp_rfc1337` on 4.19) is not among them: its sniffer takes the caller's
/// RST for the end of a TIME_WAIT that in truth lives on, so its count of hits is of something else.
fn runs() -> Vec<Run> {
    let group_e_names = [
        "e01", "e03", "e05", "e07", "e09", "e12", "e14", "e15", "e20", "e21", "e24", "e26", "e29", "e31",
        "e34", "e35", "e38", "e40", "e43", "e44",
    ];
    let group_i_names = [
        "i01", "i03", "i05", "i06", "i08", "i10", "i12", "i20", "i22", "i27", "i28",
    ];
    let e = group_e_names.into_iter().map(group_e);
    e.chain(group_i_names.into_iter().map(group_i)).collect()
}

#[test]
fn measured_collision_counts_lie_within_the_simulators_own_spread() {
    let misses: Vec<_> = runs().iter().flat_map(|run| judge(run, 6)).collect();
    assert!(misses.is_empty(), "{misses:#?}");
}

/// The same with enough replications for a tight interval: `cargo test --release --test lab_rates -- --ignored --nocapture`.
#[test]
#[ignore = "minutes: 40 replications of every run"]
fn measured_collision_counts_lie_within_the_simulators_own_spread_at_length() {
    let misses: Vec<_> = runs().iter().flat_map(|run| judge(run, 40)).collect();
    assert!(misses.is_empty(), "{misses:#?}");
}
