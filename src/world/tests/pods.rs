//! Pods that come and go, whole runs from scenario to causes.

use super::{accounted_for, failed, of_cause as of, of_status as with, on_links, planned, run};
use crate::observe::{Counts, Observations};
use crate::vocab::{Cause, Status};

/// A node in ipvs mode before four pods.
const CLUSTER: &str = r#"
duration = "60s"
[clients]
rate = "100/s"
timeout = "none"
[slb]
connect_timeout = "3s"
read_timeout = "4s"
[node]
proxy = "ipvs"
endpoint_delay = "200ms"
[pod]
name = "web"
count = 4
service_time = "20ms"
"#;

/// Runs it, and sees that no request is lost: causes sum to failures, connects to their outcomes, packets to packets.
fn observe(text: &str, sets: &[&str]) -> (Observations, Counts) {
    let observations = run(&planned(text, sets));
    let counts = accounted_for(&observations);
    assert!(
        on_links(&counts) < 100,
        "{} packets are still on links",
        on_links(&counts)
    );
    (observations, counts)
}

/// Attempts at each pod from second `from` on.
fn shares(observations: &Observations, pods: usize, from: u64) -> Vec<usize> {
    let mut shares = vec![0; pods];
    for attempt in &observations.attempts {
        if attempt.at.as_secs() >= from {
            shares[attempt.pod as usize] += 1;
        }
    }
    shares
}

const ROLLOUT: &str = "[rollout]\nat = \"10s\"\nmax_surge = 1\nmax_unavailable = 0\nready_after = \"3s\"\n";

#[test]
fn a_rolling_update_with_a_pre_stop_sleep_loses_nothing_and_ends_on_the_new_pods() {
    let text = format!("{CLUSTER}{ROLLOUT}pre_stop = \"2s\"\n");
    for proxy in ["node.proxy=ipvs", "node.proxy=iptables"] {
        let (observations, counts) = observe(&text, &[proxy]);
        assert_eq!(failed(&counts), 0, "{proxy}: {:?}", counts.causes);
        // Four new pods, one after the other, 3 s each.
        let shares = shares(&observations, 8, 30);
        assert!(shares[..4].iter().all(|&share| share == 0), "{proxy}: {shares:?}");
        assert!(
            shares[4..].iter().all(|&share| share > 500),
            "{proxy}: {shares:?}"
        );
    }
}

#[test]
fn without_it_connections_reach_pods_that_have_stopped_to_listen() {
    for (how, status) in [("finish", Status::BadGateway), ("exit", Status::BadGateway)] {
        let text = format!("{CLUSTER}{ROLLOUT}on_sigterm = \"{how}\"\n");
        let (_, counts) = observe(&text, &[]);
        // Each pod has a quarter of 100/s, and the node sends it connections for 0.2 s more: 5 of each pod.
        let gone = of(&counts, Cause::PodGone);
        assert!((10..60).contains(&gone), "{how}: {:?}", counts.causes);
        assert_eq!(gone, failed(&counts), "{how}: {:?}", counts.causes);
        assert_eq!(gone, with(&counts, status), "{how}: {:?}", counts.by_status);
    }
    // Between the last connection and its answer, ending at once loses what finishing does not.
    let lost = |how: &str| {
        let text = format!("{CLUSTER}{ROLLOUT}on_sigterm = \"{how}\"\npre_stop = \"300ms\"\n");
        failed(&observe(&text, &["pod.service_time=400ms"]).1)
    };
    assert_eq!(lost("finish"), 0);
    assert!(lost("exit") > 0);
}

#[test]
fn a_pod_that_ignores_sigterm_serves_until_it_is_killed() {
    let text = format!("{CLUSTER}{ROLLOUT}on_sigterm = \"ignore\"\ngrace_period = \"5s\"\n");
    let (_, counts) = observe(&text, &[]);
    assert_eq!(failed(&counts), 0, "{:?}", counts.causes);
}

/// One SLB address with few ports, so that tuples come back within a few seconds.
const REUSED: [&str; 3] = [
    "slb.ports=40000-40799",
    "slb.profile=4.19",
    "node.ipvs.conn_reuse_mode=0",
];

#[test]
fn what_ipvs_makes_of_tuples_whose_pod_is_gone_shows_in_the_causes() {
    let text = format!("{CLUSTER}{ROLLOUT}pre_stop = \"2s\"\ngrace_period = \"8s\"\n");
    // kernel, graceful_termination, expire_nodest_conn: lost to gone pods, lost to ipvs, SYNs that ipvs drops
    for (kernel, graceful, expires, to_pods, to_ipvs, drops) in [
        ("6.12", true, 0, true, false, false),
        ("6.12", true, 1, false, false, false),
        // There weight 0 needs a reuse mode.
        ("4.19", true, 1, true, false, false),
        ("4.19", false, 0, true, true, true),
        // The packet that ends the entry is dropped; a second later the SYN is a new one.
        ("4.19", false, 1, true, false, true),
        ("6.12", false, 1, false, false, false),
    ] {
        let own = [
            format!("node.profile={kernel}"),
            format!("node.ipvs.graceful_termination={graceful}"),
            format!("node.sysctl.expire_nodest_conn={expires}"),
        ];
        let sets: Vec<_> = REUSED
            .iter()
            .copied()
            .chain(own.iter().map(String::as_str))
            .collect();
        let (_, counts) = observe(&text, &sets);
        let (gone, ipvs) = (of(&counts, Cause::PodGone), of(&counts, Cause::IpvsNoDestination));
        let found = (gone > 50, ipvs > 50, counts.ipvs_syn_drops > 50);
        assert_eq!(
            found,
            (to_pods, to_ipvs, drops),
            "{own:?}: {:?} {}",
            counts.causes,
            counts.ipvs_syn_drops
        );
        if !to_pods && !to_ipvs {
            assert_eq!(failed(&counts), 0, "{own:?}: {:?}", counts.causes);
        }
    }
}

#[test]
fn a_crash_forgets_time_waits_and_resets_and_a_restart_keeps_them() {
    let text = |what: &str| {
        format!("{CLUSTER}[[event]]\nat = \"20s\"\npod = \"web\"\nwhat = \"{what}\"\nfor = \"2500ms\"\n")
    };
    for (what, forgets) in [("crash", true), ("restart", false)] {
        let (observations, counts) = observe(&text(what), &["pod.count=1", "pod.service_time=200ms"]);
        let second = |number: usize| observations.seconds.iter().nth(number).expect("60 of them");
        let (before, after) = (second(18).gauges.pod_time_wait, second(21).gauges.pod_time_wait);
        assert!(before > 1_700, "{before}");
        assert_eq!(after < 100, forgets, "{what}: {before} {after}");
        // 250 connects meet an RST, and whatever was served at 20 s is lost: a crash says nothing, so that the SLB waits.
        assert!((230..270).contains(&counts.refused), "{what}: {}", counts.refused);
        let lost = of(&counts, Cause::PodGone);
        assert_eq!(lost, failed(&counts), "{what}: {:?}", counts.causes);
        assert!((5..40).contains(&(lost - counts.refused)), "{what}: {lost}");
        assert_eq!(with(&counts, Status::GatewayTimeout) > 0, forgets, "{what}");
        // Two seconds after it is back all is well.
        let later: u64 = observations
            .seconds
            .iter()
            .skip(27)
            .map(|second| second.counts.by_status[1..].iter().sum::<u64>())
            .sum();
        assert_eq!(later, 0, "{what}");
    }
}

#[test]
fn a_removed_pod_is_silent_or_answers_rst_and_comes_back() {
    let text = format!(
        "{CLUSTER}[[event]]\nat = \"10s\"\npod = \"web-1\"\nwhat = \"remove\"\n\
         [[event]]\nat = \"30s\"\npod = \"web-1\"\nwhat = \"add\"\n"
    );
    // Two seconds of a quarter of 100/s, and a few that were served. In silence the SYNs of the second second are saved:
    // repeated after the node knows, they end their entries, and the next ones are scheduled afresh.
    for (answer, status, lost) in [
        ("silent", Status::GatewayTimeout, 18..36),
        ("reset", Status::BadGateway, 40..65),
    ] {
        let set = format!("pod.when_gone={answer}");
        let (observations, counts) = observe(&text, &[&set, "node.endpoint_delay=2s"]);
        let gone = of(&counts, Cause::PodGone);
        assert!(lost.contains(&gone), "{answer}: {:?}", counts.causes);
        assert_eq!(gone, failed(&counts), "{answer}: {:?}", counts.causes);
        assert!(
            with(&counts, status) + 6 > gone,
            "{answer}: {:?}",
            counts.by_status
        );
        let shares = shares(&observations, 4, 40);
        assert!(shares[1] > 300, "{shares:?}");
    }
}

#[test]
fn a_drained_pod_gets_no_new_connection_but_answers_those_it_has() {
    let text = format!("{CLUSTER}[[event]]\nat = \"10s\"\npod = \"web-1\"\nwhat = \"drain\"\n");
    for proxy in ["node.proxy=ipvs", "node.proxy=iptables"] {
        let (observations, counts) = observe(&text, &[proxy, "pod.service_time=300ms"]);
        assert_eq!(failed(&counts), 0, "{proxy}: {:?}", counts.causes);
        assert_eq!(shares(&observations, 4, 11)[1], 0, "{proxy}");
    }
}

#[test]
fn requests_on_kept_connections_to_a_pod_that_vanished_are_lost_to_it_not_to_slowness() {
    let text = format!(
        "{CLUSTER}close = \"keep-alive\"\n[slb.keepalive]\nsize = 100\n\
         [[event]]\nat = \"10s\"\npod = \"web-2\"\nwhat = \"remove\"\n"
    );
    for proxy in ["node.proxy=iptables", "node.proxy=ipvs"] {
        let (_, counts) = observe(&text, &[proxy, "node.sysctl.expire_nodest_conn=0"]);
        assert!(of(&counts, Cause::PodGone) > 0, "{proxy}: {:?}", counts.causes);
        assert_eq!(of(&counts, Cause::SlowService), 0, "{proxy}: {:?}", counts.causes);
        assert_eq!(with(&counts, Status::GatewayTimeout), failed(&counts), "{proxy}");
    }
}

#[test]
fn an_slb_that_connects_to_pods_takes_them_into_its_rotation_and_out_of_it() {
    let text = format!("{CLUSTER}{ROLLOUT}pre_stop = \"2s\"\n");
    let sets = ["slb.backends=pod", "slb.endpoint_delay=200ms"];
    let (observations, counts) = observe(&text, &sets);
    assert_eq!(failed(&counts), 0, "{:?}", counts.causes);
    let (early, late) = (shares(&observations, 8, 0), shares(&observations, 8, 30));
    assert!(early[..4].iter().all(|&share| share > 200), "{early:?}");
    assert!(late[..4].iter().all(|&share| share == 0), "{late:?}");
    assert!(late[4..].iter().all(|&share| share > 500), "{late:?}");
    // Told late, it connects to pods that are gone.
    let (_, counts) = observe(&text, &["slb.backends=pod", "slb.endpoint_delay=5s"]);
    assert!(of(&counts, Cause::PodGone) > 100, "{:?}", counts.causes);
}

#[test]
fn what_has_not_happened_yet_changes_nothing() {
    let later = "[[event]]\nat = \"600s\"\npod = \"web\"\nwhat = \"restart\"\nfor = \"1s\"\n\
                 [rollout]\nat = \"700s\"\n";
    let (before, _) = observe(CLUSTER, &[]);
    let (after, _) = observe(&format!("{CLUSTER}{later}"), &[]);
    assert_eq!(before.seconds, after.seconds);
    assert_eq!(before.attempts, after.attempts);
    assert_eq!(before.events, after.events);
}

#[test]
fn weights_and_loads_share_connections_as_the_schedulers_say() {
    let two = "[[pod]]\nname = \"a\"\nipvs_weight = 3\nservice_time = \"20ms\"\n[[pod]]\nname = \"b\"\nservice_time = \"20ms\"\n";
    let text = CLUSTER.split("[pod]").next().expect("it has pods").to_owned() + two;
    let ratio = |scheduler: &str, more: &[&str]| {
        let set = format!("node.ipvs.scheduler={scheduler}");
        let sets: Vec<_> = std::iter::once(set.as_str())
            .chain(more.iter().copied())
            .collect();
        let (observations, counts) = observe(&text, &sets);
        assert_eq!(failed(&counts), 0, "{scheduler}");
        let shares = shares(&observations, 2, 0);
        shares[0] as f64 / shares[1] as f64
    };
    for (scheduler, low, high) in [
        ("rr", 0.99, 1.01),
        ("wrr", 2.98, 3.02),
        ("wlc", 2.6, 3.2),
        ("lc", 0.95, 1.05),
    ] {
        let found = ratio(scheduler, &[]);
        assert!((low..high).contains(&found), "{scheduler}: {found}");
    }
    // A slow pod has more active connections, which weigh 256 times as much as those that are over.
    let slow = ratio("lc", &["pod.b.service_time=400ms"]);
    assert!(slow > 2.0, "{slow}");
    // One SLB address is one source: all to one pod, unless the port counts.
    let source = ratio("sh", &[]);
    assert!(source == 0.0 || source.is_infinite(), "{source}");
    for scheduler in ["sh", "mh"] {
        let ports = ratio(scheduler, &["node.ipvs.hash_port=true"]);
        assert!((2.2..4.0).contains(&ports), "{scheduler}: {ports}");
    }
}

#[test]
fn source_hash_without_fallback_turns_clients_away_while_their_pod_drains() {
    let text = format!("{CLUSTER}[[event]]\nat = \"10s\"\npod = \"web\"\nwhat = \"drain\"\n");
    let text = text.replace("pod = \"web\"", "pod = \"web-1\"");
    let sets = [
        "node.ipvs.scheduler=sh",
        "node.ipvs.hash_port=true",
        "duration=30s",
    ];
    let (_, counts) = observe(&text, &sets);
    assert!(of(&counts, Cause::NoBackend) > 100, "{:?}", counts.causes);
    let (_, counts) = observe(&text, &[&sets[..], &["node.ipvs.hash_fallback=true"]].concat());
    assert_eq!(failed(&counts), 0, "{:?}", counts.causes);
}

#[test]
fn a_server_that_leaves_is_deleted_at_the_first_look_after_its_last_connection() {
    let text = format!("{CLUSTER}[[event]]\nat = \"10s\"\npod = \"web-1\"\nwhat = \"drain\"\n");
    let sets = [
        "node.ipvs.scheduler=sh",
        "node.ipvs.hash_port=true",
        "clients.rate=20/s",
        "duration=260s",
    ];
    // Source hash turns clients away for as long as the server is there with weight 0.
    let turned_away = |sets: &[&str]| {
        let (observations, _) = observe(&text, sets);
        let no_backend = Cause::ALL
            .iter()
            .position(|&it| it == Cause::NoBackend)
            .expect("in ALL");
        let seconds = observations.seconds.iter();
        let lost: Vec<_> = seconds
            .map(|second| second.counts.causes[no_backend] > 0)
            .collect();
        lost.iter().rposition(|&lost| lost).expect("some are turned away")
    };
    // TIME_WAIT lasts 120 s and up to a granule of the wheel, the look comes within a minute, a failed connect takes 3 s.
    let last = turned_away(&sets);
    assert!((130..198).contains(&last), "{last}");
    let last = turned_away(&[&sets[..], &["node.ipvs.graceful_termination=false"]].concat());
    assert!(last > 250, "only drained, it stays: {last}");
}

#[test]
fn a_graceful_end_closes_idle_connections_and_the_slb_opens_others() {
    let text = format!(
        "{}[slb.keepalive]\nsize = 100\n{ROLLOUT}pre_stop = \"2s\"\n",
        CLUSTER.replace("service_time", "close = \"keep-alive\"\nservice_time")
    );
    for proxy in ["node.proxy=iptables", "node.proxy=ipvs"] {
        let (observations, counts) = observe(&text, &[proxy]);
        assert_eq!(failed(&counts), 0, "{proxy}: {:?}", counts.causes);
        // Connections are kept, so attempts are few; those after the update go to new pods.
        assert!(counts.connects_started * 10 < counts.requests_started, "{proxy}");
        let late = shares(&observations, 8, 30);
        assert!(late[..4].iter().all(|&share| share == 0), "{proxy}: {late:?}");
        let all = shares(&observations, 8, 0);
        assert!(all[4..].iter().sum::<usize>() > 3, "{proxy}: {all:?}");
    }
}
