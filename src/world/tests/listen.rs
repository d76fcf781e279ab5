//! What a pod's listener does when its queues are full, and how it closes: whole runs from scenario to causes.

use super::{accounted_for, of_cause as of, of_status as with, planned, run};
use crate::observe::Counts;
use crate::vocab::{Cause, Status};

fn counts(text: &str, sets: &[&str]) -> Counts {
    accounted_for(&run(&planned(text, sets)))
}

/// A handshake takes 100 ms, so that 50 requests of 500/s wait for their last ACK.
const LONG_WAY: &str = r#"
duration = "20s"
[clients]
rate = "500/s"
timeout = "900ms"
[node]
[pod]
backlog = 16
[links.slb_node]
delay = "50ms"
"#;

#[test]
fn a_full_syn_queue_drops_syns_or_sends_cookies_and_is_no_full_accept_queue() {
    let dropping = counts(LONG_WAY, &["pod.sysctl.tcp_syncookies=0"]);
    assert!(dropping.req_q_full_drop > 1_000, "{dropping:?}");
    assert_eq!(dropping.listen_drops, dropping.req_q_full_drop);
    assert_eq!(
        (dropping.listen_overflows, dropping.req_q_full_do_cookies),
        (0, 0)
    );
    assert!(of(&dropping, Cause::SynQueue) > 1_000, "{:?}", dropping.causes);
    assert_eq!(of(&dropping, Cause::ListenOverflow), 0);
    let cookies = counts(LONG_WAY, &["pod.sysctl.tcp_syncookies=1"]);
    assert!(cookies.req_q_full_do_cookies > 1_000, "{cookies:?}");
    assert_eq!(cookies.syncookies_sent, cookies.req_q_full_do_cookies);
    assert!(cookies.syncookies_recv > 1_000, "{cookies:?}");
    assert_eq!((cookies.listen_drops, cookies.req_q_full_drop), (0, 0));
    // But for a tuple that comes back now and then.
    let collisions = of(&cookies, Cause::TimeWaitCollision);
    assert_eq!(cookies.by_status[1..].iter().sum::<u64>(), collisions);
    assert!(collisions < 10, "{:?}", cookies.causes);
    let roomy = counts(LONG_WAY, &["pod.sysctl.tcp_syncookies=0", "pod.backlog=511"]);
    assert_eq!((roomy.listen_drops, of(&roomy, Cause::SynQueue)), (0, 0));
}

#[test]
fn without_cookies_the_last_quarter_of_max_syn_backlog_is_for_nobody_unknown() {
    let sets = [
        "pod.sysctl.tcp_syncookies=0",
        "pod.sysctl.tcp_max_syn_backlog=20",
        "pod.backlog=511",
    ];
    let full = counts(LONG_WAY, &sets);
    assert_eq!(full.req_q_full_drop, 0);
    assert!(full.listen_drops > 1_000, "{full:?}");
    assert!(of(&full, Cause::SynQueue) > 1_000, "{:?}", full.causes);
}

/// One worker for twice as many requests as it can serve.
const OVERLOADED: &str = r#"
duration = "20s"
[clients]
rate = "100/s"
timeout = "900ms"
[node]
[pod]
backlog = 4
workers = 1
service_time = "20ms"
[links.slb_node]
delay = "5ms"
"#;

#[test]
fn a_full_accept_queue_drops_or_with_abort_on_overflow_resets() {
    let dropping = counts(OVERLOADED, &["pod.sysctl.tcp_abort_on_overflow=0"]);
    assert!(dropping.listen_overflows > 100, "{dropping:?}");
    assert_eq!(dropping.listen_drops, dropping.listen_overflows);
    assert_eq!(with(&dropping, Status::BadGateway), 0, "{:?}", dropping.by_status);
    let resetting = counts(OVERLOADED, &["pod.sysctl.tcp_abort_on_overflow=1"]);
    assert!(
        with(&resetting, Status::BadGateway) > 30,
        "{:?}",
        resetting.by_status
    );
    for counts in [&dropping, &resetting] {
        assert!(of(counts, Cause::ListenOverflow) > 100, "{:?}", counts.causes);
        assert_eq!((of(counts, Cause::SynQueue), of(counts, Cause::Reset)), (0, 0));
    }
}

#[test]
fn a_pod_that_resets_after_the_response_keeps_no_time_wait_and_loses_no_response() {
    const CALM: &str = "duration = \"30s\"\n[clients]\nrate = \"200/s\"\ntimeout = \"2s\"\n[node]\n[pod]\n";
    for (proxy, delay) in [
        ("iptables", "0s"),
        ("ipvs", "0s"),
        ("ipvs", "1ms"),
        ("ipvs", "20us"),
    ] {
        let (proxy, delay) = (format!("node.proxy={proxy}"), format!("pod.close_delay={delay}"));
        let reset = counts(CALM, &[&proxy, &delay, "pod.close=reset"]);
        assert_eq!(
            reset.by_status[1..].iter().sum::<u64>(),
            0,
            "{proxy} {delay}: {:?}",
            reset.causes
        );
        assert_eq!(
            (reset.time_waits, reset.time_wait_hits),
            (0, 0),
            "{proxy} {delay}"
        );
        let closed = counts(CALM, &[&proxy, &delay]);
        assert_eq!(
            closed.time_waits > 5_000,
            !delay.ends_with("1ms"),
            "{proxy} {delay}"
        );
    }
}
