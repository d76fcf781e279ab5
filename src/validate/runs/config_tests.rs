use serde_json::json;

use super::*;
use crate::spec::ProxyMode;
use crate::validate::Source;
use crate::validate::read;

fn file() -> File {
    File::new("E/e00.json", Vec::new())
}

fn smallest() -> Value {
    json!({ "rate": 20, "dur": 240, "t_ct_tw": 10, "nsrc": 4, "ts": 0, "masq": "--random", "ports": 1000 })
}

fn with(key: &str, value: Value) -> Value {
    let mut keys = smallest();
    keys[key] = value;
    keys
}

fn plan(group: Group, keys: &Value) -> Plan {
    let config = Config::read(&file(), group, keys).unwrap();
    config
        .plan(&file(), &Kernel::of_path("E/e00.json").unwrap())
        .unwrap()
}

#[test]
fn every_packaged_run_makes_a_plan() {
    let mut runs = 0;
    for file in Source::packaged().files() {
        let group = match file.path().split('/').next() {
            Some("E") => Group::E,
            Some("F") => Group::F,
            Some("I") => Group::I,
            _ => continue,
        };
        let run = read::json(file).unwrap();
        let config = Config::read(file, group, &run["config"]).unwrap();
        let plan = config.plan(file, &Kernel::of_path(file.path()).unwrap()).unwrap();
        assert_eq!(plan.slb.l7, group == Group::F, "{}", file.path());
        runs += 1;
    }
    assert_eq!(runs, 41);
}

#[test]
fn an_unknown_key_is_a_fault_that_names_it() {
    let error = Config::read(&file(), Group::E, &with("tw_reuse", json!(1))).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("E/e00.json: config.tw_reuse: no such key"),
        "{error}"
    );
}

#[test]
fn a_value_that_no_run_can_have_is_a_fault_that_says_what_was_expected() {
    for (key, value, expected) in [
        ("rate", json!(0), "a number above 0"),
        ("rate", json!(null), "a number above 0"),
        ("ts", json!(3), "from 0 to 2"),
        ("masq", json!("--to"), "one of"),
        ("path", json!("local"), "one of"),
        ("ports", json!(0), "a range of ports"),
        ("ports", json!(30_000), "a range of ports"),
        ("slb_range", json!("5000 4000"), "a range of ports"),
        ("slb_range", json!(1000), "a range of ports"),
        ("rfc1337", json!(2), "0 or 1"),
        ("ipvs_set", json!("900"), "TCP TCPFIN UDP"),
        (
            "ct_extra",
            json!({ "nf_conntrack_max": "many" }),
            "an object of sysctls",
        ),
    ] {
        let error = Config::read(&file(), Group::E, &with(key, value)).unwrap_err();
        assert!(
            error.what.contains(key) && error.what.contains(expected),
            "{error}"
        );
    }
    let unknown_sysctl = with("ct_extra", json!({ "tcp_timeout_nothing": 5 }));
    let config = Config::read(&file(), Group::E, &unknown_sysctl).unwrap();
    let error = config
        .plan(&file(), &Kernel::of_path("E/e00.json").unwrap())
        .unwrap_err();
    assert!(error.what.contains("nf_conntrack_tcp_timeout_nothing"), "{error}");
}

#[test]
fn keys_become_what_they_mean() {
    let of = |key: &str, value: Value| plan(Group::E, &with(key, value));
    let timeouts = |plan: &Plan| plan.nodes[0].conntrack.timeouts;
    assert!(of("rfc1337", json!(1)).pods[0].tcp.rfc1337);
    assert!(of("pod_rfc", json!(1)).pods[0].tcp.rfc1337);
    assert!(of("be_liberal", json!(1)).nodes[0].conntrack.be_liberal);
    assert!(of("invalid_drop", json!(1)).nodes[0].conntrack.drop_invalid);
    assert_eq!(of("pods", json!(3)).pods.len(), 3);
    assert_eq!(of("ports", json!(null)).nodes[0].snat.to_ports, None);
    assert_eq!(
        of("ports", json!([1024, 2047])).nodes[0]
            .snat
            .to_ports
            .unwrap()
            .to_string(),
        "1024-2047"
    );
    assert_eq!(
        of("slb_range", json!("1024 65535")).slb.ports.to_string(),
        "1024-65535"
    );
    assert!(
        of("legacy_client", json!(1)).nodes[0]
            .drop_syn_repeats_within
            .is_some()
    );
    assert_ne!(
        timeouts(&of("ct_extra", json!({ "tcp_timeout_close": 60 }))),
        timeouts(&of("ct_extra", json!({})))
    );
    assert_ne!(
        timeouts(&of("t_ct_tw", json!(30))),
        timeouts(&plan(Group::E, &smallest()))
    );
    let stray = of("stray_rst_fraction", json!(0.5)).slb.stray_rst.unwrap();
    assert_eq!(
        (stray.share, stray.seq_offset, stray.after),
        (0.5, -1, SimDuration::from_millis(100))
    );
}

#[test]
fn each_group_has_its_own_path_and_patience() {
    let of = |group| plan(group, &smallest());
    assert_eq!(of(Group::E).nodes[0].proxy, ProxyMode::Iptables);
    assert!(matches!(of(Group::I).nodes[0].proxy, ProxyMode::Ipvs(_)));
    assert_eq!(
        plan(Group::I, &with("path", json!("dnat"))).nodes[0].proxy,
        ProxyMode::Iptables
    );
    assert_eq!(of(Group::E).slb.connect_timeout, SimDuration::from_secs(5));
    assert_eq!(of(Group::I).slb.connect_timeout, SimDuration::from_secs(8));
    assert!(of(Group::F).slb.l7 && plan(Group::I, &with("nginx", json!(1))).slb.l7);
    let nginx = plan(Group::F, &with("client_timeout", json!(0.9)));
    assert_eq!(nginx.clients[0].timeout, Some(SimDuration::from_millis(900)));
}

#[test]
fn arrivals_end_with_the_laboratory_s_and_the_rest_may_finish() {
    let plan = plan(Group::E, &smallest());
    assert_eq!(plan.clients[0].until, Some(SimDuration::from_secs(240)));
    assert_eq!(plan.duration, SimDuration::from_secs(246));
}
