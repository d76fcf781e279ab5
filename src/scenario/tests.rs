//! Rules of scenario files that no single module holds.

mod network;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::keys::{KEYS, Type};
use super::*;
use crate::model::client::Arrivals;
use crate::model::conntrack::State;
use crate::model::ipvs::ReuseDrop;
use crate::model::nat::{PortChoice, SnatMode};
use crate::model::slb::{Balance, CheckKind, Failure};
use crate::spec::{ClosePolicy, ProxyMode};
use crate::units::{Rate, SimDuration};
use crate::vocab::Status;

/// The shortest scenario.
const SMALL: &str = "duration = \"10s\"\n[clients]\nrate = \"5/s\"\n";

/// Every key that the reader knows, as far as one file can hold them.
const EVERYTHING: &str = r#"
question = "?"
seed = 7
duration = "100s"
warm_up = "10s"
replications = 2
scorecard = true
clusters = 2
[[service]]
name = "web"
node_port = 30080
[clients]
name = "load"
slb = "south"
arrivals = "closed-loop"
rate = "1/s"
users = 10
think_time = { exponential = { mean = "1s" } }
pacing = "2s"
ramp_up = "30s"
mmpp = { states = [{ rate = "0/s", mean_dwell = "9s" }, { rate = "9/s", mean_dwell = "1s" }], next = "equal-chance" }
rate_profile = [{ at = "0s", rate = "1/s" }, { at = "5s", rate = "2/s" }]
rate_profile_period = "10s"
diurnal = { peak_to_mean = 1.5, period = "1h", peak_at = "10m" }
timeout = "none"
addresses = 7
request_bytes = "2kB"
response_bytes = 700
service = "web"
[clients.retry]
max_attempts = 4
on = [499, 500]
initial_backoff = "1s"
backoff_multiplier = 1.5
max_backoff = "5s"
jitter = "equal"
throttling = { max_tokens = 20, token_ratio = 0.5 }
[clients.keepalive]
idle_timeout = "50s"
requests = 10
[slb]
profile = "4.19"
hz = 1000
addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
network = "100.64.0.0/10"
vip = "198.51.100.1:443"
ports = "1024-65535"
port_selection = "random"
l7 = true
backends = "node-port"
connect_timeout = "5s"
read_timeout = "6s"
client_keepalive_timeout = "20s"
client_keepalive_requests = 30
send_timeout = "7s"
balance = "least-conn"
max_conns = 100
max_fails = 2
fail_timeout = "3s"
next_upstream = ["error", "timeout", "http-500", "http-502", "http-503", "http-504"]
next_upstream_tries = 3
next_upstream_timeout = "4s"
worker_connections = 512
timestamps = "off"
caller_reaction = "ignore"
endpoint_delay = "3s"
[[slb.cluster]]
name = "north"
[[slb.cluster]]
name = "south"
hosts = 1
[slb.keepalive]
size = 4
idle_timeout = "10s"
requests = 100
time = "30m"
[slb.health_check]
kind = "tcp"
close = "fin"
from = "every-address"
interval = "2s"
timeout = "3s"
rise = 3
fall = 4
[slb.stray_rst]
share = "1%"
seq_offset = 0
after = "1s"
[slb.sysctl]
net.ipv4.tcp_syn_retries = 3
[[node]]
name = "n"
count = 2
profile = "alinux2-4.19"
hz = 250
proxy = "ipvs"
external_traffic_policy = "local"
ip = "10.9.0.1"
kube_proxy = false
drop_syn_repeats_within = "900ms"
endpoint_delay = { uniform = { min = "0.1s", max = "2s" } }
slb_weight = 3
[node.snat]
mode = "none"
random = "random"
to_ports = "40000-41000"
[node.conntrack]
background_entries = 5
drop_invalid = true
[node.ipvs]
scheduler = "mh"
hash_port = true
hash_fallback = true
graceful_termination = true
conn_reuse_mode = 1
tcp_timeout = "0s"
tcp_fin_timeout = "10s"
[node.sysctl]
"net.netfilter.nf_conntrack_tcp_timeout_time_wait" = 60
nf_conntrack_tcp_be_liberal = true
[[pod]]
name = "p"
count = 3
profile = "alinux2-4.19"
hz = 300
ip = "10.8.0.1"
network = "10.1.0.0/16"
port = 80
service = "web"
backlog = 10
workers = 4
service_time = { uniform = { min = "1ms", max = "2ms" } }
close = { keep-alive = { idle_timeout = "5s", requests = 9 } }
ipvs_weight = 3
when_gone = "reset"
slb_weight = 1
probe = { kind = "http", period = "5s", timeout = "2s" }
errors = { share = "2%", status = 503 }
ignore_client_abort = true
[pod.sysctl]
tcp_tw_timeout = "3s"
tcp_orphan_retries = 0
[links]
client_slb = { delay = { lognormal = { median = "1ms", sigma = 0.1 } }, loss = 0.5 }
slb_node = { delay = { constant = "2ms" }, loss = "0.1%" }
node_pod = { delay = "3ms", jitter = "1ms", loss = { burst = { mean = 0.01, length = 4 } }, bandwidth = "1Gbit/s", queue = "64kB" }
slb_pod = { delay = "4ms", loss = 1 }
[[expect]]
that = "attempts.total > 0"
why = "because"
[[event]]
at = "20s"
pod = "p-1"
what = "crash"
for = "3s"
[[rollout]]
at = "30s"
service = "web"
max_surge = 0
max_unavailable = "50%"
ready_after = "4s"
min_ready = "1s"
pre_stop = "2s"
on_sigterm = "exit"
grace_period = "10s"
"#;

fn plan(text: &str, sets: &[&str]) -> Plan {
    let sets: Vec<_> = sets.iter().map(|set| (*set).to_owned()).collect();
    parse("test.toml", text, &sets).unwrap_or_else(|errors| panic!("{errors}"))
}

fn messages(text: &str, sets: &[&str]) -> Vec<String> {
    let sets: Vec<_> = sets.iter().map(|set| (*set).to_owned()).collect();
    let errors = parse("test.toml", text, &sets).expect_err("this must be refused");
    errors.list().iter().map(|error| error.message.clone()).collect()
}

#[test]
fn reader_asks_for_exactly_the_documented_keys() {
    let sink = Sink::default();
    let root = document(EVERYTHING, &[], &sink).unwrap();
    let reader = Reader::root(&root, &sink);
    resolve::resolve(&reader, "test.toml", "test", EVERYTHING, Limits::default());
    let asked = sink.asked.borrow().clone();
    let documented: BTreeSet<_> = KEYS.iter().map(|key| key.path.to_owned()).collect();
    assert_eq!(asked, documented);
    assert!(sink.is_empty(), "{:?}", sink.into_list());
}

#[test]
fn every_key_arrives_in_the_plan() {
    let plan = plan(EVERYTHING, &[]);
    assert_eq!((plan.seed, plan.replications, plan.warm_up.as_secs()), (7, 2, 10));
    assert!(matches!(
        plan.clients[0].arrivals,
        Arrivals::ClosedLoop { users: 10, .. }
    ));
    let client = &plan.clients[0];
    assert_eq!((client.slb, plan.slb.hosts_of(client)), (1, 1..2));
    assert_eq!(
        (client.timeout, &client.request_bytes),
        (None, &crate::model::sizes::Sizes::Constant(2000))
    );
    let retry = client.retry.unwrap();
    assert_eq!(
        (retry.max_attempts, retry.on),
        (4, [false, true, true, false, false, false])
    );
    assert_eq!(retry.throttling.unwrap().token_ratio_millis, 500);
    assert_eq!(client.keepalive.unwrap().requests, Some(10));
    assert_eq!(plan.slb.client_connections.keepalive_requests, 30);
    assert_eq!(plan.slb.hosts.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    assert_eq!((plan.slb.tcp.hz, plan.slb.tcp.syn_retry.retries), (1000, 3));
    assert_eq!(plan.slb.stray_rst.unwrap().share, 0.01);
    let kept = plan.slb.keepalive.unwrap();
    assert_eq!((kept.size, kept.time), (4, SimDuration::from_secs(1800)));
    let next = plan.slb.next_upstream.unwrap();
    let failures = [
        Failure::Error,
        Failure::Timeout,
        Failure::Answered(Status::Unavailable),
    ];
    assert!(failures.iter().all(|&failure| next.conditions.has(failure)));
    assert_eq!((next.tries, next.timeout.as_secs()), (3, 4));
    let limits = plan.slb.limits;
    assert_eq!(
        (limits.max_conns, limits.max_fails, limits.fail_timeout.as_secs()),
        (100, 2, 3)
    );
    assert_eq!(plan.slb.balance, Balance::LeastConn);
    assert_eq!(
        (plan.slb.worker_connections, plan.slb.send_timeout),
        (Some(512), Some(SimDuration::from_secs(7)))
    );
    let check = plan.slb.health_check.unwrap();
    assert_eq!(
        (check.kind, check.every_address),
        (CheckKind::Tcp { reset: false }, true)
    );
    assert_eq!((check.rise, check.fall, check.interval.as_secs()), (3, 4, 2));
    assert_eq!(
        (plan.clients[0].addresses, plan.nodes[3].slb_weight),
        (Some(7), 3)
    );
    let errors = plan.pods[0].errors.unwrap();
    assert_eq!((errors.share, errors.status), (0.02, Status::Unavailable));
    assert_eq!(plan.pods[0].probe.map(|probe| probe.period.as_secs()), Some(5));
    let names: Vec<_> = plan.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(
        names,
        ["cluster-0/n-0", "cluster-0/n-1", "cluster-1/n-0", "cluster-1/n-1"]
    );
    let addresses: Vec<_> = plan.nodes.iter().map(|node| node.ip.to_string()).collect();
    assert_eq!(addresses, ["10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.0.4"]);
    // Local: pods are dealt to the nodes of their cluster in turn.
    let dealt: Vec<_> = plan.nodes.iter().map(|node| node.pods[0].clone()).collect();
    // So are the new ones of the rolling update, behind them.
    assert_eq!(
        dealt,
        [vec![0, 2, 6, 8], vec![1, 7], vec![3, 5, 9, 11], vec![4, 10]]
    );
    let node = &plan.nodes[0];
    assert_eq!(node.snat.mode, SnatMode::None);
    assert_eq!(
        node.conntrack.timeouts.of(State::TimeWait),
        SimDuration::from_secs(60)
    );
    assert!(node.conntrack.be_liberal && node.conntrack.drop_invalid);
    let ProxyMode::Ipvs(ipvs) = node.proxy else {
        panic!("ipvs expected");
    };
    assert_eq!(
        (
            ipvs.hz,
            ipvs.conn_reuse_mode,
            ipvs.reuse_drop,
            ipvs.expire_nodest_conn
        ),
        (250, 1, ReuseDrop::Never, false)
    );
    assert_eq!(
        (
            ipvs.timeout_established.as_secs(),
            ipvs.timeout_fin_wait.as_secs()
        ),
        (900, 10)
    );
    let pod = &plan.pods[5];
    assert_eq!(pod.endpoint.to_string(), "10.8.0.6:80");
    assert_eq!(
        (pod.tcp.hz, pod.tcp.time_wait.as_secs(), pod.tcp.orphan_retries),
        (300, 3, 8)
    );
    assert!(matches!(pod.close, ClosePolicy::KeepAlive { requests: 9, .. }));
    assert_eq!((plan.links.slb_node.loss, plan.links.slb_pod.loss), (0.001, 1.0));
    assert_eq!(plan.expectations[0].location, "test.toml:149");
}

#[test]
fn documented_defaults_are_the_real_ones() {
    let base = format!(
        "{SMALL}[slb]\n[node]\n[pod]\n[service]\n[slb.keepalive]\n[slb.health_check]\n[pod.probe]\n[pod.errors]\nshare = 0.5\n\
                 [slb.stray_rst]\nshare = 0.5\n[clients.retry.throttling]\n[clients.keepalive]\n\
                 [clients.diurnal]\npeak_to_mean = 1.5\n[rollout]\nat = \"5s\"\n\
                 [[clients.mmpp.states]]\nrate = \"1/s\"\nmean_dwell = \"1s\"\n\
                 [[clients.mmpp.states]]\nrate = \"2/s\"\nmean_dwell = \"1s\"\n"
    );
    let keep = format!("{base}[pod.close.keep-alive]\n");
    let mut tried = 0;
    for key in KEYS {
        let value = key.default.trim_matches('"');
        let is_value = key.default.starts_with('"')
            || value.parse::<i64>().is_ok()
            || value == "true"
            || value == "false";
        if !is_value
            || matches!(
                key.kind,
                Type::Table | Type::Tables | Type::Sysctl | Type::Behaviours
            )
        {
            continue;
        }
        let text = if key.path.starts_with("pod.close.") {
            &keep
        } else {
            &base
        };
        let argument = format!("{}={}", key.path, key.default);
        assert_eq!(plan(text, &[&argument]).hash, plan(text, &[]).hash, "{argument}");
        tried += 1;
    }
    assert!(tried > 50, "only {tried} defaults tried");
}

#[test]
fn kube_proxy_leaves_its_marks_on_the_node() {
    #[rustfmt::skip]
    let table = [
        // sets                                                        established close_wait reuse drop_invalid
        (&["node.profile=4.19", "node.proxy=ipvs"][..],                86_400,     3_600,     0,    false),
        (&["node.profile=5.10", "node.proxy=ipvs"],                    86_400,     3_600,     1,    false),
        (&["node.profile=4.19", "node.proxy=ipvs", "node.kube_proxy=false"], 432_000, 60,     1,    false),
        (&["node.profile=4.19"],                                       86_400,     3_600,     9,    true),
        (&["node.sysctl.nf_conntrack_tcp_be_liberal=1"],               86_400,     3_600,     9,    false),
        (&["node.kube_proxy=false"],                                   432_000,    60,        9,    false),
    ];
    for (sets, established, close_wait, reuse, drop_invalid) in table {
        let node = plan(SMALL, sets).nodes.remove(0);
        let timeout = |state| node.conntrack.timeouts.of(state).as_secs();
        assert_eq!(
            (timeout(State::Established), timeout(State::CloseWait)),
            (established, close_wait),
            "{sets:?}"
        );
        assert_eq!(node.conntrack.drop_invalid, drop_invalid, "{sets:?}");
        if let ProxyMode::Ipvs(ipvs) = node.proxy {
            assert_eq!(ipvs.conn_reuse_mode, reuse, "{sets:?}");
        }
    }
}

#[test]
fn a_pod_runs_on_the_kernel_of_its_node_unless_it_names_another() {
    let text = format!(
        "{SMALL}[[node]]\nprofile = \"4.19\"\nhz = 1000\n[[node]]\nprofile = \"6.6\"\n[pod]\ncount = 3\n"
    );
    let hz: Vec<_> = plan(&text, &[])
        .pods
        .iter()
        .map(|pod| (pod.tcp.hz, pod.tcp.somaxconn))
        .collect();
    assert_eq!(hz, [(1000, 128), (250, 4096), (1000, 128)]);
    let named = plan(&text, &["pod.profile=5.10"]);
    assert!(
        named
            .pods
            .iter()
            .all(|pod| (pod.tcp.hz, pod.tcp.somaxconn) == (250, 4096))
    );
}

#[test]
fn set_changes_what_the_file_says() {
    let two = format!("{SMALL}[[node]]\nname = \"a\"\n[[node]]\nname = \"b\"\n");
    let set = |argument: &str| plan(&two, &[argument]);
    assert_eq!(set("duration=3200s").duration, SimDuration::from_secs(3200));
    let rate = |plan: &Plan| match plan.clients[0].arrivals {
        Arrivals::Poisson { rate } => rate,
        _ => Rate::default(),
    };
    for path in ["clients.rate", "clients.0.rate"] {
        assert_eq!(
            rate(&set(&format!("{path}=200/s"))),
            Rate::per_second(200),
            "{path}"
        );
    }
    for path in ["node.b.hz", "node.1.hz", "node.b.hz "] {
        assert_eq!(set(&format!("{path}= 100")).nodes[1].conntrack.hz, 100, "{path}");
    }
    let random = set("node.a.snat={ random = \"none\" }").nodes.remove(0);
    assert_eq!(random.snat.mode, SnatMode::Masquerade(PortChoice::Keep));
    for name in [
        "nf_conntrack_tcp_timeout_time_wait",
        "net.netfilter.nf_conntrack_tcp_timeout_time_wait",
    ] {
        let plan = set(&format!("node.a.sysctl.{name}=5"));
        let hold = plan.nodes[0].conntrack.timeouts.of(State::TimeWait);
        assert_eq!(hold, SimDuration::from_secs(5), "{name}");
    }
}

#[test]
fn names_decide_nothing_and_values_do() {
    let base = plan(SMALL, &[]).hash;
    assert_eq!(base.len(), 16);
    for same in ["node.name=x", "pod.name=x", "clients.name=x", "question=why"] {
        assert_eq!(plan(SMALL, &[same]).hash, base, "{same}");
    }
    for other in [
        "seed=2",
        "clients.rate=6/s",
        "pod.sysctl.tcp_rfc1337=1",
        "node.hz=1000",
    ] {
        assert_ne!(plan(SMALL, &[other]).hash, base, "{other}");
    }
}

#[test]
fn all_errors_are_told_at_once_in_the_order_of_the_file() {
    let text =
        "duration = \"1s\"\nsede = 1\n[clients]\nrate = \"0/s\"\n[slb]\nports = \"2-1\"\n[node]\nhz = 60\n";
    let found = messages(text, &["pod.sysctl.tcp_tw_timeout=5", "nonsense"]);
    assert_eq!(
        found,
        [
            "there is no key `sede` at the top",
            "`clients.rate` is zero",
            "`slb.ports` is no port range",
            "`node.hz` is not what it should be",
            "the kernel `6.12` has no `tcp_tw_timeout`",
            "this sets nothing",
        ]
    );
}

#[test]
fn an_empty_closed_loop_and_a_huge_run_are_refused() {
    let endless = "duration = \"1s\"\n[clients]\narrivals = \"closed-loop\"\nusers = 1\nthink_time = \"0s\"\n\
        [pod]\nservice_time = \"0s\"\n[links]\nclient_slb.delay = \"0s\"\nslb_node.delay = \"0s\"\nnode_pod.delay = \"0s\"\n";
    assert_eq!(
        messages(endless, &[]),
        ["a closed loop that takes no time never lets time pass"]
    );
    let huge = ["clients.rate=200000/s", "replications=1000"].map(str::to_owned);
    assert!(parse("test.toml", SMALL, &huge).is_err());
    let yes = Limits { yes: true };
    assert!(parse_with("test.toml", SMALL, &huge, yes).is_ok());
    let absurd = ["clients.rate=100000000/s", "duration=30d"].map(str::to_owned);
    assert!(parse_with("test.toml", SMALL, &absurd, yes).is_err());
}

#[test]
fn an_unreadable_file_is_a_diagnostic() {
    let errors = load(Path::new("no/such/file.toml"), &[]).unwrap_err();
    assert!(errors.to_string().contains("no/such/file.toml"), "{errors}");
}

/// Cuts, doubles and overwrites pieces of a valid scenario.
fn mutate(text: &str, edits: &[(usize, usize, String)]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for (at, length, insert) in edits {
        let at = at % (chars.len() + 1);
        let end = (at + length).min(chars.len());
        chars.splice(at..end, insert.chars());
    }
    chars.into_iter().collect()
}

fn values() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:?}")),
        "\\PC{0,12}",
        Just("99999999999999999999999999999999999999999".to_owned()),
        Just("nan".to_owned()),
        Just("-inf".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("[{}, 1, \"x\"]".to_owned()),
        Just("\"18446744073709551615ns\"".to_owned()),
        Just("\"999999999d\"".to_owned()),
        Just("\"0.0.0.0/0\"".to_owned()),
        Just("\"255.255.255.255\"".to_owned()),
        Just("\"255.255.255.255/32\"".to_owned()),
        Just("4294967295".to_owned()),
        Just("2026-01-01".to_owned()),
        Just("\"\u{202e}é\u{0}\"".to_owned()),
        Just("{ lognormal = { median = \"1d\", sigma = inf } }".to_owned()),
    ]
}

/// Whatever comes out can be rendered, in colour too.
fn must_not_panic(text: &str, sets: &[String]) {
    if let Err(errors) = parse("fuzz.toml", text, sets) {
        assert!(!errors.list().is_empty());
        assert!(!errors.render(true).is_empty() && !errors.render(false).is_empty());
    }
}

#[test]
fn odd_texts_do_not_panic() {
    let deep = "a = ".to_owned() + &"[".repeat(100_000);
    let deep_table = format!("[{}]", vec!["a"; 100_000].join("."));
    let long_key = format!("{} = 1\n{SMALL}", "k".repeat(100_000));
    for text in [
        "",
        "\u{feff}",
        "\n\n\r\n",
        "\u{0}",
        "=",
        "[[",
        "clients = 1",
        "[[clients]]",
        &deep,
        &deep_table,
        &long_key,
    ] {
        must_not_panic(text, &[]);
        must_not_panic(SMALL, &[text.to_owned()]);
        must_not_panic(SMALL, &[format!("clients={text}")]);
    }
    let deep_set = format!("{}=1", vec!["node"; 5_000].join("."));
    must_not_panic(SMALL, &[deep_set]);
}

proptest! {
    #[test]
    fn random_text_does_not_panic(text in "\\PC{0,200}", set in "\\PC{0,40}") {
        must_not_panic(&text, std::slice::from_ref(&set));
        must_not_panic(SMALL, &[set]);
    }

    #[test]
    fn mutated_scenarios_do_not_panic(
        edits in proptest::collection::vec((any::<usize>(), 0usize..30, "[a-z0-9\"\\[\\]{}=.,é\n -]{0,8}"), 1..6),
    ) {
        must_not_panic(&mutate(EVERYTHING, &edits), &[]);
    }

    #[test]
    fn any_value_under_any_key_does_not_panic(index in 0..KEYS.len(), value in values(), other in 0..KEYS.len(), more in values()) {
        let sets = [format!("{}={value}", KEYS[index].path), format!("{}={more}", KEYS[other].path)];
        must_not_panic(EVERYTHING, &sets);
        must_not_panic(SMALL, &sets);
    }
}

#[test]
fn an_expectation_applies_only_where_its_keys_have_their_values() {
    let text = r#"
        duration = "10s"
        clients = { arrivals = "poisson", rate = "350/s" }
        node = [{ name = "a", hz = 250 }]
        [[expect]]
        that = "attempts.total > 0"
        where = { "clients.rate" = "350/s", "node.a.hz" = "250" }
    "#;
    let left = |sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        let scenario = parse_with("x", text, &sets, Limits::default()).unwrap_or_else(|e| panic!("{e}"));
        (
            scenario.plan.expectations.len(),
            scenario.notes.iter().any(|note| note.contains("left out")),
        )
    };
    assert_eq!(left(&[]), (1, false));
    assert_eq!(left(&["clients.rate=100/s"]), (0, true));
    assert_eq!(left(&["node.a.hz=1000"]), (0, true));
}

#[test]
fn every_switch_can_be_set_under_its_own_name_on_the_hosts_that_have_it() {
    use crate::profile::{Kind, Part};
    let mut tried = 0;
    for (host, parts) in [
        ("slb", sysctl::SLB),
        ("pod", sysctl::POD),
        ("clients", sysctl::POD),
        ("node", sysctl::NODE),
    ] {
        for switch in sysctl::of_parts(parts) {
            // Those two are what others depend on.
            if switch.name == "vendor_sysctls" || switch.name == "tw_reuse_age" {
                continue;
            }
            let values = match switch.kind {
                Kind::Flag => ["true".to_owned(), "false".to_owned()],
                Kind::Number(low, _) | Kind::Seconds(low, _) | Kind::Milliseconds(low, _) => {
                    [low.to_string(), (low + 1).to_string()]
                }
                Kind::OneOf(numbers) => [numbers[0].to_string(), numbers[1].to_string()],
                Kind::Words(words) => [words[0].to_owned(), words[1].to_owned()],
                Kind::Ports => ["2000 3000".to_owned(), "2000-3001".to_owned()],
                Kind::PortList => ["none".to_owned(), "2000,3000-3005".to_owned()],
                Kind::Octets => ["1 2 3".to_owned(), "1 2 4".to_owned()],
            };
            let table = if switch.is_sysctl() { "sysctl" } else { "kernel" };
            let base = match switch.part {
                Part::Tcp => "vendor_sysctls = true\ntw_reuse_age = \"delay\"",
                _ => "vendor_sysctls = true",
            };
            let base = format!("{SMALL}[{host}.kernel]\n{base}\n");
            let hashes = values.map(|value| {
                let argument = format!("{host}.{table}.{}={value}", switch.name);
                plan(&base, &["node.proxy=ipvs", "node.profile=6.12", &argument]).hash
            });
            assert_ne!(hashes[0], hashes[1], "{host}: {}", switch.name);
            tried += 1;
        }
    }
    assert!(tried > 100, "only {tried}");
}

#[test]
fn what_a_switch_does_not_take_is_told_with_what_it_takes() {
    for (argument, message, label) in [
        (
            "pod.kernel.time_wait_rule=bsd",
            "`time_wait_rule` cannot have this value",
            "one of \"linux\", \"rfc-793\", \"freebsd\"",
        ),
        (
            "pod.kernel.hz=60",
            "`hz` cannot have this value",
            "one of 100, 250, 300, 1000",
        ),
        (
            "slb.sysctl.ip_local_reserved_ports=0",
            "`ip_local_reserved_ports` cannot have this value",
            "at most 16",
        ),
        (
            "slb.sysctl.tcp_rmem=3 2 1",
            "`tcp_rmem` cannot have this value",
            "three sizes",
        ),
        (
            "pod.sysctl.tcp_tw_reuse_delay=5",
            "the kernel `6.12` has no `tcp_tw_reuse_delay`",
            "does not exist there",
        ),
        (
            "pod.kernel.time_wait_rul=linux",
            "there is no key `time_wait_rul` in `pod.kernel`",
            "unknown key",
        ),
        (
            "pod.sysctl.port_selection=random",
            "there is no key `port_selection` in `pod.sysctl`",
            "unknown key",
        ),
    ] {
        let errors = parse("test.toml", SMALL, &[argument.to_owned()])
            .unwrap_err()
            .to_string();
        assert!(
            errors.contains(message) && errors.contains(label),
            "{argument}: {errors}"
        );
    }
    let twice = format!("{SMALL}[pod]\nhz = 100\nkernel = {{ hz = 250 }}\n");
    assert_eq!(messages(&twice, &[]), ["`pod.hz` is said twice"]);
}

#[test]
fn unverified_switches_are_named_with_the_result_unless_the_scenario_sets_them() {
    let notes = |sets: &[&str]| {
        let sets: Vec<_> = sets.iter().map(|&set| set.to_owned()).collect();
        parse_with("test.toml", SMALL, &sets, Limits::default())
            .unwrap()
            .notes
            .join("\n")
    };
    let measured = ["slb", "node", "pod"].map(|host| format!("{host}.profile=6.18"));
    assert_eq!(notes(&measured.each_ref().map(String::as_str)), "");
    let open = notes(&["slb.profile=el7-3.10"]);
    assert!(
        open.contains("profile el7-3.10: hz, syn_queue_takes_one_more not verified: recalled"),
        "{open}"
    );
    assert!(!open.contains("nat_search"), "the SLB has no NAT: {open}");
    let set = notes(&[
        "slb.profile=el7-3.10",
        "slb.hz=1000",
        "slb.kernel.syn_queue_takes_one_more=false",
    ]);
    assert!(!set.contains("recalled"), "{set}");
    assert!(set.contains("time_wait_timer not verified"), "{set}");
    let node = notes(&["node.profile=alinux2-4.19"]);
    assert!(node.contains("switches not verified: plain 4.19's"), "{node}");
}
