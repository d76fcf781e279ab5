//! Pods that come and go, as a scenario writes them and as they are spelled out.

use super::{Plan, parse, parse_with};
use crate::model::ipvs::Scheduler;
use crate::spec::{OnSigterm, PodChange, ProxyMode};

const SMALL: &str = "duration = \"100s\"\n[clients]\nrate = \"5/s\"\n[node]\nproxy = \"ipvs\"\n";

fn plan(text: &str) -> Plan {
    parse("test.toml", &format!("{SMALL}{text}"), &[]).unwrap_or_else(|errors| panic!("{errors}"))
}

fn refused(text: &str) -> String {
    let errors = parse("test.toml", &format!("{SMALL}{text}"), &[]).expect_err("this must be refused");
    errors.to_string()
}

/// The events as (seconds, pod, what), those that only nodes hear of left out.
fn of_pods(plan: &Plan) -> Vec<(u64, usize, PodChange)> {
    let of_pod = plan.events.iter().filter(|event| !event.what.is_of_endpoint());
    of_pod
        .map(|event| (event.at.as_secs(), event.pod, event.what))
        .collect()
}

#[test]
fn a_word_becomes_plain_events_in_order_of_time() {
    use PodChange::{Crash, Drain, Exit, Ready, Remove, Start, Vanish};
    let text = "[pod]\nname = \"web\"\ncount = 3\n\
                [[event]]\nat = \"50s\"\npod = \"web-1\"\nwhat = \"add\"\n\
                [[event]]\nat = \"20s\"\npod = \"web-1\"\nwhat = \"remove\"\n\
                [[event]]\nat = \"10s\"\npod = \"web\"\nwhat = \"drain\"\n\
                [[event]]\nat = \"60s\"\npod = \"web-0\"\nwhat = \"restart\"\nfor = \"5s\"\n\
                [[event]]\nat = \"62s\"\npod = \"web-2\"\nwhat = \"crash\"\n";
    let found: Vec<_> = plan(text)
        .events
        .iter()
        .map(|event| (event.at.as_secs(), event.pod, event.what))
        .collect();
    let expected = [
        (10, 0, Drain),
        (10, 1, Drain),
        (10, 2, Drain),
        (20, 1, Remove),
        (20, 1, Vanish),
        (50, 1, Start),
        (50, 1, Ready),
        (60, 0, Exit),
        (62, 2, Crash),
        (65, 0, Start),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_name_means_that_pod_in_every_cluster() {
    let text =
        "[pod]\nname = \"web\"\ncount = 2\n[[event]]\nat = \"1s\"\npod = \"web-1\"\nwhat = \"drain\"\n";
    let plan = parse("test.toml", &format!("{SMALL}{text}"), &["clusters=3".to_owned()]).expect("a plan");
    let pods: Vec<_> = plan.events.iter().map(|event| event.pod).collect();
    assert_eq!(pods, [1, 3, 5]);
}

#[test]
fn one_pod_more_goes_one_by_one_and_one_pod_fewer_does_too() {
    use PodChange::{Kill, Start, Terminate};
    let finish = Terminate(OnSigterm::Finish);
    let text = |strategy: &str| {
        format!(
            "[pod]\ncount = 2\n[rollout]\nat = \"10s\"\n{strategy}ready_after = \"3s\"\nmin_ready = \"1s\"\n\
             pre_stop = \"2s\"\ngrace_period = \"20s\"\n"
        )
    };
    let surge = of_pods(&plan(&text("max_surge = 1\nmax_unavailable = 0\n")));
    #[rustfmt::skip]
    assert_eq!(surge, [
        (13, 2, Start), (16, 0, finish), (17, 3, Start), (20, 1, finish), (34, 0, Kill), (38, 1, Kill),
    ]);
    let missing = of_pods(&plan(&text("max_surge = 0\nmax_unavailable = 1\n")));
    #[rustfmt::skip]
    assert_eq!(missing, [
        (12, 0, finish), (13, 2, Start), (16, 1, finish), (17, 3, Start), (30, 0, Kill), (34, 1, Kill),
    ]);
    let at_once = of_pods(&plan(&text("max_surge = \"100%\"\nmax_unavailable = 0\n")));
    #[rustfmt::skip]
    assert_eq!(at_once, [
        (13, 2, Start), (13, 3, Start), (16, 0, finish), (16, 1, finish), (34, 0, Kill), (34, 1, Kill),
    ]);
}

#[test]
fn never_more_pods_than_surge_allows_and_never_fewer_than_are_to_be_available() {
    for (replicas, surge, unavailable) in [
        (4, "1", "0"),
        (10, "\"25%\"", "\"25%\""),
        (7, "0", "3"),
        (5, "9", "9"),
        (1, "\"25%\"", "\"25%\""),
    ] {
        let text = format!(
            "[pod]\ncount = {replicas}\n[rollout]\nat = \"10s\"\nmax_surge = {surge}\nmax_unavailable = {unavailable}\n"
        );
        let plan = plan(&text);
        let part = |text: &str, up: bool| match text.trim_matches('"').strip_suffix('%') {
            Some(percent) => {
                let share = replicas as f64 * percent.parse::<f64>().unwrap() / 100.0;
                if up {
                    share.ceil() as i64
                } else {
                    share.floor() as i64
                }
            }
            None => text.parse().unwrap(),
        };
        let (surge, unavailable) = (part(surge, true), part(unavailable, false));
        let (mut available, mut left, mut lowest) = (replicas, replicas, replicas);
        for event in &plan.events {
            match event.what {
                PodChange::Ready => available += 1,
                PodChange::Drain => {
                    assert!(event.pod < replicas as usize);
                    available -= 1;
                    left -= 1;
                }
                _ => {}
            }
            lowest = lowest.min(available);
            assert!(available - replicas <= surge, "{text}");
        }
        assert_eq!((available, left), (replicas, 0), "{text}");
        assert!(lowest >= replicas - unavailable, "{text}: {lowest}");
        let new: Vec<_> = plan.pods[replicas as usize..].iter().collect();
        assert_eq!(new.len(), replicas as usize);
        assert!(new.iter().all(|pod| !pod.runs_at_start));
        let mut addresses: Vec<_> = plan.pods.iter().map(|pod| pod.endpoint).collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), 2 * replicas as usize);
        assert_eq!(plan.nodes[0].pods[0].len(), 2 * replicas as usize);
    }
}

#[test]
fn new_pods_run_where_the_old_ones_did_and_a_second_update_replaces_them() {
    let text = "external_traffic_policy = \"local\"\ncount = 2\n[pod]\nip = \"10.5.0.1\"\ncount = 3\n\
                [[rollout]]\nat = \"1s\"\ngrace_period = \"5s\"\n[[rollout]]\nat = \"50s\"\n";
    let plan = plan(text);
    assert_eq!(plan.nodes[0].pods[0], [0, 2, 3, 5, 6, 8]);
    assert_eq!(plan.nodes[1].pods[0], [1, 4, 7]);
    let addresses: Vec<_> = plan.pods.iter().map(|pod| pod.endpoint.ip.octets()[3]).collect();
    assert_eq!(addresses, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let names: Vec<_> = plan.pods[3..].iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "pod-0-v2", "pod-1-v2", "pod-2-v2", "pod-0-v3", "pod-1-v3", "pod-2-v3"
        ]
    );
    let late: Vec<_> = of_pods(&plan).into_iter().filter(|(at, ..)| *at >= 50).collect();
    assert!(late.iter().all(|(_, pod, _)| *pod >= 3), "{late:?}");
}

#[test]
fn what_cannot_be_meant_is_refused_where_it_stands() {
    let event = |keys: &str| format!("[pod]\nname = \"web\"\n[[event]]\n{keys}");
    for (text, message) in [
        (
            event("pod = \"web\"\nwhat = \"drain\"\n"),
            "`event.at` is missing",
        ),
        (event("at = \"1s\"\nwhat = \"drain\"\n"), "`event.pod` is missing"),
        (event("at = \"1s\"\npod = \"web\"\n"), "`event.what` is missing"),
        (
            event("at = \"1s\"\npod = \"wbe\"\nwhat = \"drain\"\n"),
            "did you mean \"web\"?",
        ),
        (
            event("at = \"1s\"\npod = \"web\"\nwhat = \"drian\"\n"),
            "did you mean \"drain\"?",
        ),
        (
            event("at = \"1s\"\npod = \"web\"\nwhat = \"restart\"\n"),
            "`event.for` is missing",
        ),
        (
            event("at = \"1s\"\npod = \"web\"\nwhat = \"drain\"\nfor = \"1s\"\n"),
            "`event.for` has no effect here",
        ),
        (
            event("at = \"1s\"\npod = \"web\"\nwhat = \"drain\"\nuntil = \"1s\"\n"),
            "there is no key `until`",
        ),
        ("[rollout]\n".to_owned(), "`rollout.at` is missing"),
        (
            "[rollout]\nat = \"1s\"\nmax_surge = 0\nmax_unavailable = 0\n".to_owned(),
            "cannot both be 0",
        ),
        (
            "[rollout]\nat = \"1s\"\nmax_surge = \"x\"\n".to_owned(),
            "a percentage such as",
        ),
        (
            "[rollout]\nat = \"1s\"\nmax_surge = -1\n".to_owned(),
            "`rollout.max_surge`",
        ),
        (
            "[rollout]\nat = \"1s\"\npre_stop = \"30s\"\n".to_owned(),
            "leaves no time for SIGTERM",
        ),
        (
            "[rollout]\nat = \"1s\"\nservice = \"no\"\n".to_owned(),
            "there is no service `no`",
        ),
        (
            "[[rollout]]\nat = \"1s\"\n[[rollout]]\nat = \"2s\"\n".to_owned(),
            "overlap",
        ),
        (
            "ipvs = { hash_port = true }\n".to_owned(),
            "`node.ipvs.hash_port` has no effect with this scheduler",
        ),
        (
            "ipvs = { scheduler = \"lcc\" }\n".to_owned(),
            "did you mean \"lc\"?",
        ),
        ("[pod]\nclose = \"rst\"\n".to_owned(), "\"reset\""),
        (
            "[pod]\nipvs_weight = 65536\n".to_owned(),
            "`pod.ipvs_weight` is out of range",
        ),
        (
            "[pod]\nnetwork = \"10.9.0.0/30\"\ncount = 2\n[rollout]\nat = \"1s\"\n".to_owned(),
            "more addresses needed",
        ),
    ] {
        let found = refused(&text);
        assert!(found.contains(message), "{text}\n{found}");
    }
}

#[test]
fn what_has_no_effect_is_said() {
    let text =
        format!("{SMALL}[pod]\nname = \"web\"\n[[event]]\nat = \"200s\"\npod = \"web\"\nwhat = \"drain\"\n");
    let notes = parse_with("test.toml", &text, &[], super::Limits::default())
        .expect("a plan")
        .notes;
    assert!(
        notes.iter().any(|note| note.contains("after the end of the run")),
        "{notes:?}"
    );
}

#[test]
fn schedulers_have_their_names() {
    for (name, scheduler) in [
        ("rr", Scheduler::Rr),
        ("wrr", Scheduler::Wrr),
        ("lc", Scheduler::Lc),
        ("wlc", Scheduler::Wlc),
    ] {
        let plan = plan(&format!("ipvs = {{ scheduler = \"{name}\" }}\n"));
        assert!(
            matches!(plan.nodes[0].proxy, ProxyMode::Ipvs(ipvs) if ipvs.scheduler == scheduler),
            "{name}"
        );
    }
    let plan = plan("ipvs = { scheduler = \"sh\", hash_fallback = true }\n");
    assert!(matches!(plan.nodes[0].proxy, ProxyMode::Ipvs(ipvs)
        if matches!(ipvs.scheduler, Scheduler::Sh(flags) if flags.fallback && !flags.port)));
}
