//! Every cause of the closed list can be the primary one, and the counters that it names move where it is at work and stay
//! where it is not.

use fivetuple::experiment::{self, Summary};
use fivetuple::observe::RecordOptions;
use fivetuple::scenario;
use fivetuple::vocab::Cause;

/// A quiet path: 8 SLB addresses, one node, one pod.
const QUIET: &str = r#"
    duration = "20s"
    clients = { rate = "50/s", timeout = "1.5s" }
    slb = { profile = "4.19", hosts = 8, port_selection = "random", timestamps = "off", connect_timeout = "5s" }
    node = { profile = "5.10" }
    pod = { service_time = "5ms" }
"#;

/// What brings a cause about on the quiet path.
const BRINGS: &[(Cause, &[&str])] = &[
    (
        Cause::TimeWaitCollision,
        &[
            "node.sysctl.nf_conntrack_tcp_timeout_time_wait=1",
            "node.snat.to_ports=\"40000-40999\"",
        ],
    ),
    (
        Cause::FinWait2Collision,
        &[
            "duration=60s",
            "links.slb_node.loss=0.3",
            "node.sysctl.nf_conntrack_tcp_timeout_fin_wait=1",
            "node.sysctl.nf_conntrack_tcp_timeout_close_wait=1",
            "node.sysctl.nf_conntrack_tcp_timeout_last_ack=1",
            "node.sysctl.nf_conntrack_tcp_timeout_time_wait=1",
            "node.snat.to_ports=\"40000-40299\"",
        ],
    ),
    (Cause::SnatExhaustion, &["node.snat.to_ports=\"40000-40299\""]),
    (
        Cause::ConntrackFull,
        &[
            "node.sysctl.nf_conntrack_max=1000",
            "node.conntrack.background_entries=990",
        ],
    ),
    (
        Cause::InsertFailed,
        &[
            "clients.rate=\"500/s\"",
            "node.profile=\"4.19\"",
            "node.snat.random=\"random\"",
            "node.snat.confirm_delay=\"1ms\"",
        ],
    ),
    (Cause::NodePortClash, &["node.snat.hijacked_ports=\"1024-20000\""]),
    (
        Cause::IpvsNoDestination,
        &[
            "node.profile=\"4.19\"",
            "node.proxy=\"ipvs\"",
            "node.ipvs.graceful_termination=false",
            "pod.count=2",
            "slb.ports=\"40000-40199\"",
            "event=[{ at = \"10s\", pod = \"pod-0\", what = \"remove\" }]",
        ],
    ),
    (
        Cause::PodGone,
        &[
            "pod.count=2",
            "node.endpoint_delay=\"5s\"",
            "event=[{ at = \"10s\", pod = \"pod-0\", what = \"remove\" }]",
        ],
    ),
    (
        Cause::SynQueue,
        &[
            "clients.rate=\"500/s\"",
            "links.slb_node.delay=\"50ms\"",
            "pod.backlog=16",
            "pod.sysctl.tcp_syncookies=0",
        ],
    ),
    (
        Cause::QueueOverflow,
        &["links.slb_node.bandwidth=\"200kbit/s\"", "links.slb_node.queue=5"],
    ),
    (
        Cause::ConntrackEntryGone,
        &[
            "node.sysctl.nf_conntrack_tcp_timeout_established=1",
            "pod.service_time=\"3s\"",
            "clients.timeout=\"9s\"",
        ],
    ),
    // It throws away what of the response has not left yet.
    (
        Cause::Reset,
        &["clients.response_bytes=\"100kB\"", "pod.close=\"reset\""],
    ),
    (Cause::ErrorAnswer, &["pod.errors={ share = 0.1 }"]),
    (
        Cause::NoBackend,
        &[
            "node.endpoint_delay=\"0s\"",
            "event=[{ at = \"10s\", pod = \"pod\", what = \"remove\" }]",
        ],
    ),
    (
        Cause::NoLiveUpstream,
        &["slb.max_conns=1", "pod.service_time=\"500ms\""],
    ),
    (
        Cause::WorkerConnections,
        &["slb.hosts=1", "slb.worker_connections=2"],
    ),
    (
        Cause::IpvsSynDrop,
        &[
            "node.profile=\"4.19\"",
            "node.proxy=\"ipvs\"",
            "node.ipvs.conn_reuse_mode=1",
            "slb.ports=\"40000-40049\"",
        ],
    ),
    (
        Cause::ListenOverflow,
        &["pod.workers=1", "pod.backlog=1", "pod.service_time=\"100ms\""],
    ),
    (Cause::LinkLoss, &["links.slb_node.loss=0.05"]),
    (
        Cause::SlbPortExhaustion,
        &[
            "slb.hosts=1",
            "slb.ports=\"40000-40009\"",
            "pod.service_time=\"1s\"",
            "clients.timeout=\"9s\"",
        ],
    ),
    (
        Cause::KeepaliveRace,
        &[
            "slow_after=\"11ms\"",
            "slb.keepalive.size=32",
            "slb.hosts=1",
            "pod.close={ keep-alive = { idle_timeout = \"20ms\" } }",
            "links.slb_node.delay=\"1ms\"",
        ],
    ),
    (
        Cause::WorkerQueue,
        &["pod.workers=4", "pod.service_time=\"100ms\""],
    ),
    (Cause::SlowService, &["pod.service_time=\"1s\""]),
    (Cause::SlowPath, &["links.slb_node.delay=\"300ms\""]),
];

fn run(sets: &[&str]) -> Summary {
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    let plan = scenario::parse("quiet", QUIET, &sets).unwrap_or_else(|errors| panic!("{errors}"));
    experiment::run(&plan, RecordOptions::default(), None, &|_, _| true).summary
}

/// Failed and slow requests that a cause is to blame for.
fn blamed(summary: &Summary, cause: Cause) -> u64 {
    let of = |counts: &experiment::Named<u64>| counts.get(cause.name()).expect("every cause has a row");
    of(&summary.causes) + of(&summary.slow_requests.causes)
}

#[test]
fn a_quiet_path_fails_nobody_and_moves_no_counter_of_a_cause() {
    let summary = run(&[]);
    assert!(summary.requests.total > 900);
    for cause in Cause::ALL {
        assert_eq!(blamed(&summary, cause), 0, "{}", cause.name());
        for (host, counter) in cause.about().counters {
            assert_eq!(summary.counters.get(counter), Some(0), "{counter} of the {host}");
        }
    }
}

#[test]
fn each_cause_comes_about_and_moves_the_counters_that_it_names() {
    for (cause, sets) in BRINGS {
        let summary = run(sets);
        assert!(
            blamed(&summary, *cause) >= 5,
            "{sets:?}: {:?} {:?}",
            summary.causes,
            summary.slow_requests.causes
        );
        for (host, counter) in cause.about().counters {
            let moved = summary.counters.get(counter);
            assert!(
                moved > Some(0),
                "{}: {counter} of the {host} is {moved:?}",
                cause.name()
            );
        }
    }
}

#[test]
fn every_cause_is_brought_about_somewhere() {
    let missing: Vec<_> = Cause::ALL
        .into_iter()
        .filter(|cause| !BRINGS.iter().any(|(brought, _)| brought == cause))
        .map(Cause::name)
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
