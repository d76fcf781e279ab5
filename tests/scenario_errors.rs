//! What a user reads when a scenario is wrong, as one snapshot; and every scenario of the house is right.

use std::fmt::Write;
use std::path::Path;

use fivetuple::scenario::{Limits, load_with, parse};

const GOOD: &str = "duration = \"320s\"\n\n[clients]\nrate = \"350/s\"\n";

/// What is wrong, the text (after a good beginning if it starts with `+`), and `--set` arguments.
const CASES: &[(&str, &str, &[&str])] = &[
    ("not TOML", "duration = 320s\n", &[]),
    ("empty file", "", &[]),
    (
        "mistyped keys",
        "+[slb]\nportz = \"1024-65535\"\n[nodes]\n[node]\nexternalTrafficPolicy = \"Local\"\n",
        &[],
    ),
    (
        "key of another table",
        "+[node]\nrfc1337 = 1\nbacklog = 5\n[pod]\ntcp_rfc1337 = 1\n",
        &[],
    ),
    ("unit forgotten", "duration = 320\n[clients]\nrate = 350\n", &[]),
    ("zero rate", "duration = \"1s\"\n[clients]\nrate = \"0/s\"\n", &[]),
    ("port range upside down", "+[slb]\nports = \"60999-32768\"\n", &[]),
    ("port 0", "+[node.snat]\nto_ports = \"0-100\"\n", &[]),
    ("port above 65535", "+[pod]\nport = 65536\n", &[]),
    (
        "more addresses than the network holds",
        "+[slb]\naddresses = 300\nnetwork = \"100.64.0.0/24\"\n",
        &[],
    ),
    (
        "fewer addresses than hosts",
        "+[slb]\nhosts = 4\naddresses = 2\n",
        &[],
    ),
    (
        "more pods than addresses",
        "+[pod]\ncount = 300\nnetwork = \"10.1.0.0/24\"\n",
        &[],
    ),
    ("an address twice", "+[node]\nip = \"10.1.0.1\"\n", &[]),
    (
        "times out of range",
        "duration = \"31d\"\n[clients]\nrate = \"1/s\"\ntimeout = \"0s\"\n[slb]\nconnect_timeout = \"400d\"\nread_timeout = \"-1s\"\n",
        &[],
    ),
    ("warm-up as long as the run", "warm_up = \"320s\"\n+", &[]),
    (
        "probability above 1",
        "+[links.slb_node]\nloss = 1.5\n[links.node_pod]\nloss = nan\n[slb.stray_rst]\nshare = \"101%\"\n",
        &[],
    ),
    (
        "nothing there",
        "+[slb]\nhosts = 0\n[node]\ncount = 0\n[pod]\ncount = 0\n",
        &[],
    ),
    ("empty list of pods", "pod = []\n+", &[]),
    ("replications", "replications = 0\n+", &[]),
    ("too large a run", "replications = 100000\n+", &[]),
    ("hz", "+[node]\nhz = 60\n", &[]),
    (
        "unknown words",
        "+[node]\nproxy = \"ipvz\"\nprofile = \"4.18\"\n[slb]\ntimestamps = \"none\"\n",
        &[],
    ),
    (
        "distributions",
        "+[pod]\nservice_time = { lognormal = { median = \"5ms\", sigma = inf, mean = \"1ms\" } }\n[links.slb_node]\ndelay = { normal = \"1ms\" }\n",
        &[],
    ),
    (
        "loads",
        "+arrivals = \"mmpp\"\nmmpp = { states = [{ rate = \"9/s\", mean_dwell = \"1s\" }] }\nretry = { on = [200], jitter = \"half\" }\n\
         rate_profile = [{ at = \"9s\", rate = \"0/s\" }, { at = \"1s\", rate = \"9/s\" }]\nkeepalive = { idle_timeout = 5 }\n\
         response_bytes = { empirical = [\"2kB\", { value = \"9kB\" }] }\n",
        &[],
    ),
    (
        "sysctls",
        "+[node.sysctl]\nnf_conntrack_tcp_timeout_timewait = 60\nnf_conntrack_max = 0\nnet.ipv4.vs.conn_reuse_mod = 1\n[pod.sysctl]\ntcp_tw_timeout = 5\ntcp_fin_timeout = \"1.5s\"\n",
        &[],
    ),
    (
        "said twice",
        "+[slb]\ntimestamps = \"off\"\n[slb.sysctl]\ntcp_timestamps = 1\n",
        &[],
    ),
    (
        "local policy with SNAT",
        "+[node]\nexternal_traffic_policy = \"local\"\n[node.snat]\nmode = \"masquerade\"\n",
        &[],
    ),
    (
        "other NATs",
        "+[node]\nproxy = \"ipvs\"\n[node.snat]\npreset = \"cilium\"\nallocator = \"sequentual\"\nports_per_source = 70000\nports_per_destination = 0\nconfirm_delay = \"2s\"\nscan_interval = \"0s\"\nhijacked_ports = \"32767-30000\"\nreopened = \"same\"\n",
        &[],
    ),
    (
        "a cloud's NAT without SNAT",
        "+[node]\nexternal_traffic_policy = \"local\"\ncpus = 0\n[node.snat]\npreset = \"azure-nat-gateway\"\n",
        &[],
    ),
    (
        "blocks larger than the range",
        "+[node.snat]\nto_ports = \"40000-40099\"\nports_per_source = 101\n",
        &[],
    ),
    (
        "services",
        "+service = \"api\"\n[[service]]\nname = \"web\"\n[[service]]\nname = \"web\"\n",
        &[],
    ),
    (
        "names",
        "+[[node]]\nname = \"a\"\n[[node]]\nname = \"a\"\n[pod]\nname = \"1.2\"\n",
        &[],
    ),
    (
        "background fills the table",
        "+[node.conntrack]\nbackground_entries = 300000\n",
        &[],
    ),
    (
        "where",
        "+[[expect]]\nthat = \"attempts.total > 0\"\nwhere = { \"clients.rat\" = \"1/s\", clients = 3 }\n[[expect]]\nthat = \"attempts.total > 0\"\nwhere = 3\n",
        &[],
    ),
    (
        "expectations",
        "+[[expect]]\nthat = \"attempts.total\"\n[[expect]]\nwhy = \"?\"\n[[expect]]\nthat = \"a = 1\"\n",
        &[],
    ),
    (
        "wrong types",
        "+[slb]\nl7 = \"yes\"\nhosts = \"4\"\naddresses = [1]\n[pod]\nclose = \"before\"\nip = \"10.1\"\n",
        &[],
    ),
    (
        "--set",
        "+",
        &[
            "slb.ports=1-0",
            "clients.rats=1/s",
            "duration",
            "clients.5.rate=1/s",
            "duration.x=1",
            ".a=1",
        ],
    ),
    ("--set among several", "+[[node]]\n[[node]]\n", &["node.hz=100"]),
    (
        "wide characters before the caret",
        "+[pod]\nservice = \"käse🧀\" # é\nport = \"é\"\n",
        &[],
    ),
    (
        "conditions of next_upstream",
        "+[slb]\nnext_upstream = [\"eror\", \"http_502\", 5]\n",
        &[],
    ),
    (
        "next_upstream is no word",
        "+[slb]\nnext_upstream = \"on\"\n",
        &[],
    ),
    (
        "the SLB's upstream side",
        "+[slb]\nbalance = \"least_conn\"\nmax_conns = -1\nworker_connections = 0\nfail_timeout = \"0s\"\n[node]\nslb_weight = 0\n",
        &[],
    ),
    (
        "health checks and probes",
        "+[slb.health_check]\nkind = \"icmp\"\ninterval = \"0s\"\nfail = 3\n[pod.probe]\nperiod_seconds = 10\n",
        &[],
    ),
    (
        "too many pairs of checks",
        "+[slb]\nhosts = 100\naddresses = 100000\nhealth_check = { from = \"every-address\" }\n[node]\ncount = 20\n",
        &[],
    ),
];

#[test]
fn errors_show_the_line_and_a_way_out() {
    let mut page = String::new();
    for (title, text, sets) in CASES {
        let text = text.replacen('+', GOOD, 1);
        let sets: Vec<_> = sets.iter().map(|set| (*set).to_owned()).collect();
        let errors = parse("scenario.toml", &text, &sets).expect_err(title);
        writeln!(page, "==== {title}\n{errors}").unwrap();
    }
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("scenario_errors", page);
    });
}

#[test]
fn every_scenario_of_the_house_resolves() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let index = fs_err::read_to_string(folder.join("README.md")).unwrap();
    let mut files: Vec<_> = fs_err::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(files.len() >= 10, "{files:?}");
    for path in files {
        let scenario = load_with(&path, &[], Limits::default()).unwrap_or_else(|errors| panic!("{errors}"));
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(scenario.plan.question.is_some(), "{name} asks nothing");
        assert!(!scenario.plan.expectations.is_empty(), "{name} expects nothing");
        assert!(index.contains(&format!("({name})")), "README.md lacks {name}");
    }
}
