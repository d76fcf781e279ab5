//! What a pod that cannot take a connection costs, and which of its queues is to blame.

use super::*;

/// A pod whose SYN queue holds `backlog` requests, a round trip of 100 ms away; 4.19, where it is full at its limit.
fn far_away(backlog: u32) -> Plan {
    let mut plan = direct(100, 60);
    let tcp = crate::profile::find("4.19").expect("a profile of this name").tcp;
    plan.pods[0].tcp = TcpConfig {
        syncookies: SynCookies::Never,
        ..tcp
    };
    plan.pods[0].backlog = backlog;
    plan.links.slb_pod = LinkConfig::constant(SimDuration::from_millis(50));
    plan
}

#[test]
fn a_full_syn_queue_is_the_cause_of_the_499s_that_it_makes() {
    let counts = totals(&run(&far_away(8)));
    let of_cause = counts.causes[Cause::ListenOverflow as usize];
    // Erlang's formula: ten requests wait on average, so of 8 places B(10, 8) = 34 % find all taken.
    assert!((1700..2400).contains(&of_cause), "{of_cause}");
    assert_eq!(of_cause, counts.by_status[1], "nothing else fails a request");
    assert_eq!(counts.listen_overflows, 0, "that counts accept queues");
}

#[test]
fn syn_cookies_and_a_long_queue_lose_nothing() {
    let mut cookies = far_away(8);
    cookies.pods[0].tcp.syncookies = SynCookies::WhenFull;
    for plan in [cookies, far_away(100)] {
        let counts = totals(&run(&plan));
        assert_eq!(counts.causes, [0; Cause::ALL.len()]);
        assert!(counts.by_status[0] > 5500);
    }
}
