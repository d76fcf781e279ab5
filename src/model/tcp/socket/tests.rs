//! Connections from SYN to the end, over a wire that loses nothing, one packet, or many.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::{MSS, Packet, SeqNum, SimDuration, SimTime, State};
use crate::engine::mix64;
use crate::model::tcp::CallerReaction;
use crate::model::tcp::testing::config;
use crate::units::Endpoint;
use crate::wire::{Flags, Timestamps};
use wire::{App, Sent, Wire};

mod prediction;
mod wire;

const CLIENT: Endpoint = Endpoint::new(Ipv4Addr::new(10, 10, 0, 1), 40000);
const SERVER: Endpoint = Endpoint::new(Ipv4Addr::new(10, 20, 0, 2), 8080);
const DELAY: SimDuration = SimDuration::from_micros(200);
/// The first window of a connection with timestamps.
const WINDOW: u32 = 65160;
const END: SimTime = SimTime::from_nanos(2_000_000_000_000);

/// The incident's exchange: the client asks, the pod answers and closes, the client follows.
fn pod_first(request: u32, response: u32) -> (App, App) {
    let client = App {
        write: request,
        expect: response,
        follows: true,
        ..App::default()
    };
    let thinks = SimDuration::from_micros(500);
    let server = App {
        write: response,
        expect: request,
        closes: true,
        thinks,
        ..App::default()
    };
    (client, server)
}

/// The caller closes first.
fn client_first(request: u32, response: u32) -> (App, App) {
    let client = App {
        write: request,
        expect: response,
        closes: true,
        ..App::default()
    };
    let server = App {
        write: response,
        expect: request,
        follows: true,
        ..App::default()
    };
    (client, server)
}

fn run(apps: (App, App), loses: impl FnMut(usize, &Sent) -> bool) -> Wire<impl FnMut(usize, &Sent) -> bool> {
    let mut wire = Wire::new(DELAY, apps.0, apps.1, loses);
    wire.connect(0);
    wire.run(END);
    wire
}

fn labels(sent: &[Sent]) -> Vec<&'static str> {
    sent.iter().map(Sent::label).collect()
}

/// Both ends are done and every octet arrived once.
fn assert_complete<F>(wire: &Wire<F>) {
    let [client, server] = &wire.peers;
    assert!(
        client.socket.is_none() && server.socket.is_none(),
        "an end is left over"
    );
    assert_eq!(
        (client.received, server.received),
        (client.app.expect, server.app.expect)
    );
    assert!(!client.reset && !server.reset && !client.timed_out && !server.timed_out);
}

#[test]
fn a_pod_first_exchange_sends_the_captured_packets_in_the_captured_order() {
    let wire = run(pod_first(200, 1000), |_, _| false);
    assert_complete(&wire);
    assert_eq!(
        labels(&wire.sent),
        ["S", "SA", "A", "PA", "A", "PA", "A", "FA", "FA", "A"]
    );
    let by_client: Vec<_> = wire.sent.iter().map(|sent| sent.by_client).collect();
    let (c, s) = (true, false);
    assert_eq!(by_client, [c, s, c, c, s, s, c, s, c, s]);
    assert!(wire.peers[1].is_in_time_wait() && wire.peers[0].time_wait.is_none());
}

#[test]
fn who_closes_first_owns_time_wait() {
    for (apps, owner) in [(pod_first(1, 1), 1), (client_first(1, 1), 0)] {
        let wire = run(apps, |_, _| false);
        assert_complete(&wire);
        assert!(wire.peers[owner].is_in_time_wait());
        assert!(wire.peers[1 - owner].time_wait.is_none());
    }
}

#[test]
fn time_wait_remembers_the_last_numbers_of_both_sides() {
    let wire = run(pod_first(300, 5000), |_, _| false);
    let (tw, expires) = wire.peers[1].time_wait.expect("the pod's");
    let last = wire.sent.last().expect("the last ACK").packet;
    assert_eq!((tw.snd_nxt, tw.rcv_nxt), (last.seq, last.ack));
    let fin = wire
        .sent
        .iter()
        .rev()
        .find(|sent| sent.by_client)
        .expect("the client's FIN");
    assert_eq!(tw.rcv_nxt, fin.packet.end_seq());
    assert_eq!(
        tw.ts_recent.map(|recent| recent.val),
        fin.packet.timestamps.map(|ts| ts.val)
    );
    let lived = expires.since(wire.now);
    assert!(lived > SimDuration::from_secs(60) && lived <= SimDuration::from_millis(62_052));
}

#[test]
fn data_larger_than_the_window_flows_both_ways() {
    let size = 5 * WINDOW + 77;
    for apps in [pod_first(size, size), client_first(size, size)] {
        let wire = run(apps, |_, _| false);
        assert_complete(&wire);
        let mut in_flight_max = 0;
        let mut una = SeqNum(0);
        for sent in &wire.sent {
            if sent.by_client && sent.packet.payload_len > 0 {
                una = if una == SeqNum(0) { sent.packet.seq } else { una };
                in_flight_max = in_flight_max.max(sent.packet.end_seq().distance_from(una));
            } else if !sent.by_client && una != SeqNum(0) {
                una = sent.packet.ack;
            }
            assert!(sent.packet.payload_len <= MSS);
        }
        assert!(
            in_flight_max <= (WINDOW + 512).cast_signed(),
            "never more than the window: {in_flight_max}"
        );
    }
}

#[test]
fn half_close_lets_the_other_side_finish() {
    let (mut client, server) = pod_first(10, 200_000);
    client.half_closes = true;
    let wire = run((client, server), |_, _| false);
    assert_complete(&wire);
    // The client sent the first FIN, so it keeps TIME_WAIT although the server called close() first.
    assert!(wire.peers[0].is_in_time_wait() && wire.peers[1].time_wait.is_none());
}

#[test]
fn simultaneous_close_leaves_time_wait_on_both_sides() {
    let mut wire = run_until_established();
    for side in [0, 1] {
        wire.close(side);
    }
    wire.run(END);
    assert_complete(&wire);
    assert!(wire.peers.iter().all(wire::Peer::is_in_time_wait));
    // Each FIN is answered with a plain ACK and sent once.
    assert_eq!(labels(&wire.sent[3..]), ["FA", "FA", "A", "A"]);
}

#[test]
fn simultaneous_open_connects_both() {
    let mut wire = Wire::new(DELAY, App::default(), App::default(), |_, _| false);
    wire.connect(0);
    wire.connect(1);
    wire.run(SimTime::ZERO + SimDuration::from_secs(5));
    for peer in &wire.peers {
        assert!(peer.connected && !peer.reset);
        assert_eq!(
            peer.socket.as_ref().map(|socket| socket.state),
            Some(State::Established)
        );
    }
}

/// An open connection on which nobody does anything yet.
fn run_until_established() -> Wire<impl FnMut(usize, &Sent) -> bool> {
    let mut wire = Wire::new(DELAY, App::default(), App::default(), |_, _| false);
    wire.connect(0);
    wire.run(SimTime::ZERO + SimDuration::from_millis(10));
    assert_eq!(labels(&wire.sent), ["S", "SA", "A"]);
    wire
}

#[test]
fn shutdown_then_close_in_closing_still_ends_in_time_wait() {
    let mut wire = run_until_established();
    for side in [0, 1] {
        wire.peers[side].socket.as_mut().expect("open").shutdown_write();
        wire.pump(side);
    }
    // One delay later both are in CLOSING; the application closes there.
    wire.run(wire.now + DELAY);
    assert_eq!(
        wire.peers[0].socket.as_ref().map(|socket| socket.state),
        Some(State::Closing)
    );
    wire.close(0);
    wire.run(END);
    assert!(wire.peers[0].is_in_time_wait());
}

#[test]
fn an_abort_resets_the_peer_and_leaves_no_time_wait() {
    let mut wire = run_until_established();
    let rst = wire.abort(1);
    wire.send(1, rst.expect("an open connection is reset"));
    wire.run(END);
    assert!(wire.peers[0].reset && wire.peers[0].socket.is_none());
    assert!(wire.peers.iter().all(|peer| peer.time_wait.is_none()));
    assert_eq!(labels(&wire.sent[3..]), ["RA"]);
}

#[test]
fn data_that_nobody_will_read_is_answered_with_rst() {
    // FIN acknowledged, so the pod's orphan is a FIN_WAIT2 timewait socket; then with the FIN still under way.
    for gap in [SimDuration::from_millis(5), SimDuration::ZERO] {
        let mut wire = run_until_established();
        wire.close(1);
        wire.run(wire.now + gap);
        wire.peers[0].socket.as_mut().expect("half open").write(10);
        wire.pump(0);
        wire.run(END);
        assert!(wire.peers[0].reset, "gap {gap}");
        assert!(
            wire.peers
                .iter()
                .all(|peer| peer.socket.is_none() && peer.time_wait.is_none())
        );
        assert_eq!(wire.sent.last().map(Sent::label), Some("R"));
    }
}

#[test]
fn close_before_the_answer_sends_nothing_and_the_late_syn_ack_is_reset() {
    let mut wire = Wire::new(DELAY, App::default(), App::default(), |_, _| false);
    wire.connect(0);
    wire.close(0);
    wire.run(END);
    assert_eq!(labels(&wire.sent), ["S", "SA", "R"]);
    assert!(wire.peers[1].reset);
}

#[test]
fn an_orphan_in_fin_wait2_ends_by_itself_and_answers_a_late_fin_until_then() {
    let mut wire = run_until_established();
    wire.close(1);
    wire.run(wire.now + SimDuration::from_secs(20));
    let (tw, expires) = wire.peers[1].time_wait.expect("FIN_WAIT2");
    assert!(!wire.peers[1].is_in_time_wait());
    assert!(expires.since(wire.now) > SimDuration::from_secs(39));
    wire.close(0);
    wire.run(END);
    let (later, restarted) = wire.peers[1].time_wait.expect("TIME_WAIT");
    assert!(wire.peers[1].is_in_time_wait() && wire.peers[0].socket.is_none());
    assert_eq!(later.rcv_nxt, tw.rcv_nxt + 1);
    assert!(restarted.since(expires) > SimDuration::from_secs(15), "60 s anew");
}

/// What is lost, how often, what comes again, after what time in ms: the first and the last that are right.
const LOSSES: [(&str, bool, usize, u64, u64); 7] = [
    // SYN: after 1 s, then 2 s, rounded up by the wheel.
    ("S", true, 1, 1_000, 1_036),
    ("S", true, 2, 1_000, 1_036),
    // SYN-ACK: both the caller's timer and the listener's are 1 s.
    ("SA", false, 1, 1_000, 1_036),
    // Request, response and both FINs: srtt + 200 ms.
    ("PA", true, 1, 200, 210),
    ("PA", false, 1, 200, 210),
    ("FA", false, 1, 200, 210),
    ("FA", true, 1, 200, 210),
];

#[test]
fn each_lost_packet_comes_again_when_its_timer_says() {
    for (label, by_client, times, least, most) in LOSSES {
        let mut left = times;
        let wire = run(pod_first(200, 1000), |_, sent| {
            let hit = sent.label() == label && sent.by_client == by_client && left > 0;
            left -= usize::from(hit);
            hit
        });
        assert_complete(&wire);
        assert!(wire.peers[1].is_in_time_wait() && wire.peers[0].time_wait.is_none());
        let first = wire
            .sent
            .iter()
            .find(|sent| sent.label() == label && sent.by_client == by_client);
        let seq = first.expect("it was sent").packet.seq;
        // Sent again, it may take a FIN along that followed it.
        let again = |sent: &&Sent| {
            sent.by_client == by_client && sent.packet.seq == seq && sent.packet.sequence_space() > 0
        };
        let tries: Vec<_> = wire.sent.iter().filter(again).collect();
        let first = tries[1].at.since(tries[0].at).as_nanos();
        let range = least * 1_000_000..=most * 1_000_000;
        assert!(
            range.contains(&first),
            "{label} of the client: {by_client}: again after {first} ns"
        );
        if times == 2 {
            let second = tries[2].at.since(tries[1].at);
            assert!(second > SimDuration::from_secs(2) && second < SimDuration::from_millis(2_036));
        }
    }
}

#[test]
fn a_lost_ack_costs_nothing_where_the_next_segment_carries_it() {
    // The handshake's ACK: the request follows at once.
    let wire = run(pod_first(200, 1000), |n, _| n == 2);
    assert_complete(&wire);
    assert_eq!(
        labels(&wire.sent),
        ["S", "SA", "A", "PA", "A", "PA", "A", "FA", "FA", "A"]
    );
}

#[test]
fn a_lost_last_ack_makes_the_caller_repeat_its_fin_and_the_pod_start_60_s_anew() {
    let wire = run(pod_first(200, 1000), |n, _| n == 9);
    assert_complete(&wire);
    assert_eq!(labels(&wire.sent[7..]), ["FA", "FA", "A", "FA", "A"]);
    let again = wire.sent[10].at;
    let gap = again.since(wire.sent[8].at);
    assert!(gap > SimDuration::from_millis(200) && gap < SimDuration::from_millis(210));
    let (_, expires) = wire.peers[1].time_wait.expect("the pod's");
    assert!(expires.since(again) > SimDuration::from_secs(60));
}

#[test]
fn a_fin_that_nobody_follows_is_acknowledged_at_the_next_tick_and_after_40_ms_where_data_came_before() {
    for (data, least, most) in [(false, 0, 4), (true, 40, 44)] {
        let mut wire = run_until_established();
        if data {
            wire.peers[1].socket.as_mut().expect("open").write(10);
            wire.pump(1);
            wire.run(wire.now + SimDuration::from_millis(100));
        }
        let before = wire.sent.len();
        wire.close(1);
        wire.run(wire.now + SimDuration::from_secs(1));
        assert_eq!(labels(&wire.sent[before..]), ["FA", "A"]);
        let delay = wire.sent[before + 1].at.since(wire.sent[before].at + DELAY);
        let range = SimDuration::from_millis(least)..=SimDuration::from_millis(most);
        assert!(range.contains(&delay), "{delay}");
    }
}

/// How long each of 18 small messages waits for its ACK.
fn ack_delays(reads_at_once: bool) -> Vec<SimDuration> {
    let mut wire = Wire::new(DELAY, App::default(), App::default(), |_, _| false);
    wire.options.reads_at_once = reads_at_once;
    wire.connect(0);
    wire.run(SimTime::ZERO + SimDuration::from_millis(10));
    let mut delays = Vec::new();
    for _ in 0..18 {
        wire.peers[0].socket.as_mut().expect("open").write(10);
        wire.pump(0);
        let at = wire.now;
        wire.run(at + SimDuration::from_millis(100));
        delays.push(wire.sent.last().expect("an ACK").at.since(at + DELAY));
    }
    delays
}

#[test]
fn small_data_that_is_read_at_once_is_acknowledged_at_once() {
    assert!(ack_delays(true).iter().all(|&delay| delay == SimDuration::ZERO));
}

#[test]
fn small_data_that_nobody_reads_is_acknowledged_at_once_sixteen_times_and_then_after_40_ms() {
    let delays = ack_delays(false);
    assert!(
        delays[..16].iter().all(|&delay| delay == SimDuration::ZERO),
        "{delays:?}"
    );
    assert!(
        delays[16..]
            .iter()
            .all(|&delay| delay > SimDuration::from_millis(40)),
        "{delays:?}"
    );
}

#[test]
fn three_duplicate_acks_bring_the_lost_segment_again_without_a_timeout() {
    // The first of five segments of the response is lost; the four that follow each draw a duplicate ACK.
    let mut left = 1;
    let wire = run(pod_first(200, 5 * MSS), |_, sent| {
        let hit = sent.label() == "PA" && !sent.by_client && left > 0;
        left -= usize::from(hit);
        hit
    });
    assert_complete(&wire);
    let sent: Vec<_> = wire
        .sent
        .iter()
        .filter(|sent| sent.label() == "PA" && !sent.by_client)
        .collect();
    assert_eq!(sent.len(), 6);
    assert_eq!(sent[5].packet.seq, sent[0].packet.seq);
    assert!(sent[5].at.since(sent[0].at) < SimDuration::from_millis(5));
}

#[test]
fn a_full_accept_queue_drops_the_last_ack_and_the_syn_ack_comes_again() {
    let mut wire = Wire::new(DELAY, App::default(), App::default(), |_, _| false);
    wire.peers[1].accept_queue_full = true;
    wire.connect(0);
    wire.run(SimTime::ZERO + SimDuration::from_millis(500));
    assert!(wire.peers[0].connected && !wire.peers[1].connected);
    wire.peers[1].accept_queue_full = false;
    wire.run(SimTime::ZERO + SimDuration::from_secs(2));
    assert_eq!(labels(&wire.sent), ["S", "SA", "A", "SA", "A"]);
    assert!(wire.peers[1].connected);
}

#[test]
fn syn_ack_is_sent_again_at_1_3_7_15_31_s_and_given_up_at_63_s() {
    let wire = run((App::default(), App::default()), |n, sent| {
        n > 0 && !sent.by_client || n > 1
    });
    let times: Vec<_> = wire
        .sent
        .iter()
        .filter(|sent| !sent.by_client)
        .map(|sent| sent.at.as_secs())
        .collect();
    // The caller's own SYNs at 1, 3, 7, ... s draw it too, within the rate limit.
    let mut distinct = times;
    distinct.dedup();
    assert_eq!(distinct[..6], [0, 1, 3, 7, 15, 31]);
    assert!(wire.peers[1].timed_out && wire.peers[0].timed_out);
}

#[test]
fn orphans_and_established_connections_give_up_after_their_retries() {
    // Everything after the handshake is lost.
    let wire = run(pod_first(200, 1000), |n, _| n > 2);
    assert!(wire.peers[0].timed_out);
    let sent = wire.sent.iter().filter(|sent| sent.label() == "PA").count();
    assert_eq!(
        sent, 17,
        "the request, a tail-loss probe and tcp_retries2 = 15 more"
    );
    let ended = wire.peers[0].ended_at.as_secs();
    assert!((900..1_000).contains(&ended), "about 924 s: {ended}");
    // An orphan's FIN: tcp_orphan_retries = 0 means 8.
    let mut wire = Wire::new(DELAY, App::default(), App::default(), |n, _| n > 2);
    wire.connect(0);
    wire.run(SimTime::ZERO + SimDuration::from_millis(10));
    wire.close(0);
    wire.run(END);
    assert_eq!(
        labels(&wire.sent[3..]),
        ["FA"; 10],
        "one of them a tail-loss probe"
    );
    let ended = wire.peers[0].ended_at.as_secs();
    assert!((102..110).contains(&ended), "about 102 s: {ended}");
}

// ---- single segments ----

/// An open connection's socket of the server with what a test needs to build segments.
fn open_server() -> (Wire<impl FnMut(usize, &Sent) -> bool>, Packet) {
    let wire = run_until_established();
    let ack = wire.sent[2].packet;
    (wire, ack)
}

#[test]
fn established_answers_or_drops_what_is_not_acceptable() {
    const FAR: u32 = 1 << 20;
    // (flags, seq - rcv_nxt, ack - snd_nxt, timestamp delta, label of the answer, connection lives)
    for (flags, seq, ack, delta, answer, lives) in [
        (Flags::RST, 0, 0, 0, None, false),
        (Flags::RST, 1, 0, 0, Some("A"), true),
        (Flags::RST, FAR, 0, 0, None, true),
        // An old timestamp does not protect from an exact RST.
        (Flags::RST, 0, 0, -5000, None, false),
        (Flags::SYN, 0, 0, 0, Some("A"), true),
        (Flags::SYN, FAR, 0, 0, Some("A"), true),
        (Flags::SYN_ACK, u32::MAX, 0, 0, Some("A"), true),
        (Flags::ACK, 0, 1, 0, Some("A"), true),
        (Flags::ACK, 0, 0, -5000, Some("A"), true),
        (Flags::ACK, FAR, 0, 0, Some("A"), true),
        (Flags::ACK, 0, 0, 0, None, true),
        (Flags::NONE, 0, 0, 0, None, true),
    ] {
        let (mut wire, last) = open_server();
        let before = wire.peers[1].socket.clone().expect("open");
        let timestamps = last.timestamps.map(|ts| Timestamps {
            val: ts.val.wrapping_add_signed(delta),
            ..ts
        });
        let seg = Packet {
            flags,
            seq: last.seq + seq,
            ack: last.ack + ack,
            timestamps,
            ..last
        };
        wire.deliver(1, &seg);
        let said = wire.sent.get(3).map(Sent::label);
        assert_eq!(said, answer, "{flags:?} seq {seq} ack {ack} ts {delta}");
        assert_eq!(wire.peers[1].socket.is_some(), lives, "{flags:?} seq {seq}");
        if let Some(after) = &wire.peers[1].socket {
            assert_eq!((after.rcv_nxt, after.snd_max), (before.rcv_nxt, before.snd_max));
        }
        // The same again at once is not answered: at most one in 500 ms.
        wire.deliver(1, &seg);
        if lives {
            assert_eq!(
                wire.sent.len(),
                3 + usize::from(answer.is_some()),
                "{flags:?} again"
            );
        }
    }
}

#[test]
fn an_rst_before_the_fin_is_believed_once_the_peer_has_closed() {
    let (mut wire, last) = open_server();
    wire.deliver(
        1,
        &Packet {
            flags: Flags::FIN_ACK,
            ..last
        },
    );
    wire.deliver(
        1,
        &Packet {
            flags: Flags::RST,
            ..last
        },
    );
    assert!(wire.peers[1].reset);
}

#[test]
fn syn_received_keeps_its_request_unless_the_rst_is_exact() {
    // (flags, seq - rcv_nxt, answer, request lives)
    for (flags, seq, answer, lives) in [
        (Flags::RST, 0, None, false),
        (Flags::RST, 1, Some("A"), true),
        (Flags::RST, WINDOW + 1, None, true),
        (Flags::ACK, WINDOW + 1, Some("A"), true),
        (Flags::SYN, u32::MAX, Some("SA"), true),
        (Flags::SYN, 0, Some("RA"), false),
    ] {
        // The last ACK of the handshake never arrives.
        let mut wire = Wire::new(DELAY, App::default(), App::default(), |n, _| n == 2);
        wire.connect(0);
        wire.run(SimTime::ZERO + SimDuration::from_millis(10));
        let last = wire.sent[2].packet;
        wire.deliver(
            1,
            &Packet {
                flags,
                seq: last.seq + seq,
                ..last
            },
        );
        assert_eq!(wire.sent.get(3).map(Sent::label), answer, "{flags:?} seq {seq}");
        assert_eq!(wire.peers[1].socket.is_some(), lives, "{flags:?} seq {seq}");
    }
}

#[test]
fn a_wrong_ack_in_syn_received_is_reset_and_the_request_stays() {
    let mut wire = Wire::new(DELAY, App::default(), App::default(), |n, _| n == 2);
    wire.connect(0);
    wire.run(SimTime::ZERO + SimDuration::from_millis(10));
    let last = wire.sent[2].packet;
    wire.deliver(
        1,
        &Packet {
            ack: last.ack + 1,
            ..last
        },
    );
    let rst = wire.sent[3];
    assert_eq!((rst.label(), rst.packet.seq), ("R", last.ack + 1));
    assert!(wire.peers[1].socket.is_some());
}

/// The client's SYN and what the client sends when `answer` comes 5 ms later.
fn syn_sent_meets(
    reaction: CallerReaction,
    answer: impl Fn(&Packet) -> Packet,
) -> (Vec<Sent>, Option<State>) {
    let mut wire = Wire::new(DELAY, App::default(), App::default(), |_, _| true);
    wire.peers[0].config.caller_reaction = reaction;
    wire.connect(0);
    wire.run(SimTime::ZERO + SimDuration::from_millis(5));
    let syn = wire.sent[0].packet;
    wire.now = SimTime::ZERO + SimDuration::from_millis(5);
    wire.deliver(0, &answer(&syn));
    wire.run(SimTime::ZERO + SimDuration::from_millis(1_100));
    let state = wire.peers[0].socket.as_ref().map(|socket| socket.state);
    (wire.sent, state)
}

fn reply(syn: &Packet, flags: Flags, ack: SeqNum) -> Packet {
    let timestamps = syn.timestamps.map(|ts| Timestamps { val: 9, ecr: ts.val });
    Packet {
        tuple: syn.tuple.reversed(),
        seq: SeqNum(77),
        ack,
        flags,
        timestamps,
        ..*syn
    }
}

#[test]
fn a_bare_ack_is_reset_and_the_syn_comes_again_as_the_callers_kernel_does_it() {
    let bare_ack = |syn: &Packet| reply(syn, Flags::ACK, syn.seq - 1000);
    for (reaction, expected, again_ms) in [
        (CallerReaction::Rst, vec!["S", "R", "S"], 1_000..1_036),
        (CallerReaction::RstFastResend, vec!["S", "R", "S"], 13..18),
        (CallerReaction::Ignore, vec!["S", "S"], 1_000..1_036),
    ] {
        let (sent, state) = syn_sent_meets(reaction, bare_ack);
        assert_eq!(labels(&sent), expected, "{reaction:?}");
        assert_eq!(state, Some(State::SynSent));
        let again = sent.last().expect("a SYN");
        assert_eq!(again.packet.seq, sent[0].packet.seq, "the same ISN");
        assert!(again.packet.timestamps.map(|ts| ts.val) > sent[0].packet.timestamps.map(|ts| ts.val));
        let ms = again.at.as_nanos() / 1_000_000;
        assert!(again_ms.contains(&ms), "{reaction:?}: again at {ms} ms");
        if let Some(rst) = sent.iter().find(|sent| sent.label() == "R") {
            assert_eq!(
                (rst.packet.seq, rst.packet.ack),
                (sent[0].packet.seq - 1000, SeqNum(0))
            );
            assert_eq!(rst.packet.timestamps, None);
        }
    }
}

#[test]
fn syn_sent_believes_only_what_answers_its_syn() {
    let fast = CallerReaction::RstFastResend;
    // (answer, first label after the SYN, state)
    let (sent, state) = syn_sent_meets(fast, |syn| reply(syn, Flags::SYN_ACK, syn.seq + 1));
    assert_eq!((sent[1].label(), state), ("A", Some(State::Established)));
    let (sent, state) = syn_sent_meets(fast, |syn| reply(syn, Flags::RST_ACK, syn.seq + 1));
    assert_eq!((sent.len(), state), (1, None), "refused");
    let (sent, state) = syn_sent_meets(fast, |syn| reply(syn, Flags::RST, SeqNum(0)));
    assert_eq!(
        (sent[1].label(), state),
        ("S", Some(State::SynSent)),
        "an RST without ACK is ignored"
    );
    let (sent, state) = syn_sent_meets(fast, |syn| reply(syn, Flags::ACK, syn.seq + 1));
    assert_eq!(
        (sent[1].label(), state),
        ("S", Some(State::SynSent)),
        "an ACK of the SYN without SYN is ignored"
    );
    // An echo from before our SYN: an RST, and no early retry.
    let foreign = |syn: &Packet| {
        let timestamps = syn.timestamps.map(|ts| Timestamps {
            val: 9,
            ecr: ts.val.wrapping_sub(1),
        });
        Packet {
            timestamps,
            ..reply(syn, Flags::SYN_ACK, syn.seq + 1)
        }
    };
    let (sent, state) = syn_sent_meets(fast, foreign);
    assert_eq!(
        (labels(&sent), state),
        (vec!["S", "R", "S"], Some(State::SynSent))
    );
    assert!(sent[2].at.as_secs() == 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_the_wire_loses_every_octet_arrives_once_and_both_ends_finish(
        request in 1_u32..150_000,
        response in 1_u32..150_000,
        server_closes in any::<bool>(),
        half_closes in any::<bool>(),
        percent in 0_u64..11,
        seed in any::<u64>(),
    ) {
        let (mut client, server) =
            if server_closes { pod_first(request, response) } else { client_first(request, response) };
        client.half_closes = half_closes;
        let wire = run((client, server), |n, _| mix64(seed ^ n as u64) % 100 < percent);
        assert_complete(&wire);
        let had = [0, 1].map(|side: usize| wire.peers[side].had_time_wait);
        // It may be gone by now: the ACK of a repeated FIN that finds nobody draws an exact RST (RFC 1337).
        if half_closes && server_closes {
            // Whose FIN is first depends on what was lost; if they cross, both keep it.
            prop_assert!(had[0] || had[1]);
        } else {
            prop_assert_eq!(had, [!server_closes, server_closes]);
        }
        // Run again: the same packets at the same times.
        let again = run((client, server), |n, _| mix64(seed ^ n as u64) % 100 < percent);
        prop_assert_eq!(wire.sent.len(), again.sent.len());
        prop_assert_eq!(wire.now, again.now);
    }

    #[test]
    fn without_sack_nothing_is_sent_again_before_200_ms_where_three_duplicate_acks_cannot_be(
        response in 1_u32..2 * MSS,
        percent in 1_u64..30,
        seed in any::<u64>(),
    ) {
        // Without SACK there is no tail-loss probe.
        let (client, server) = pod_first(100, response);
        let mut wire = Wire::new(DELAY, client, server, |n, _| mix64(seed ^ n as u64) % 100 < percent);
        for peer in &mut wire.peers {
            peer.config.sack = false;
        }
        wire.connect(0);
        wire.run(END);
        for by_client in [true, false] {
            let mut last = std::collections::BTreeMap::new();
            for sent in wire.sent.iter().filter(|sent| sent.by_client == by_client) {
                if sent.packet.sequence_space() == 0 || sent.packet.flags.syn() {
                    continue;
                }
                if let Some(before) = last.insert(sent.packet.seq.0, sent.at) {
                    let gap = sent.at.since(before);
                    prop_assert!(gap >= SimDuration::from_millis(200), "after {gap}");
                }
            }
        }
    }
}
