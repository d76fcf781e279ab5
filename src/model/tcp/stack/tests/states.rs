//! The synchronized states, the ends of a connection, TIME_WAIT, windows.

use super::{Bench, HOST, IRS, PEER, config, labels};
use crate::model::tcp::socket::{How, Linger2, Read, SocketError, State};
use crate::model::tcp::stack::ListedState;
use crate::model::tcp::{SegmentRules, TcpConfig};
use crate::units::{Endpoint, FourTuple, SimDuration};
use crate::wire::{Flags, Packet, Timestamps};

const SYNCHRONIZED: [State; 6] = [
    State::Established,
    State::FinWait1,
    State::FinWait2,
    State::CloseWait,
    State::Closing,
    State::LastAck,
];

// ---- synchronized states ----

#[test]
fn an_exact_rst_ends_every_state_with_the_error_of_that_state() {
    for state in SYNCHRONIZED {
        let mut bench = Bench::new(config());
        let (seq, _) = bench.bring_to(state);
        assert_eq!(bench.send(Flags::RST, seq, 0, 0), [], "{state:?}");
        let error = if state == State::CloseWait {
            SocketError::Pipe
        } else {
            SocketError::ConnReset
        };
        assert_eq!(bench.stack.take_error(bench.handle), Some(error), "{state:?}");
        assert_eq!(bench.listed(), [], "{state:?}");
    }
}

#[test]
fn an_rst_one_before_the_peers_fin_is_believed_only_after_that_fin() {
    for state in SYNCHRONIZED {
        let mut bench = Bench::new(config());
        let (seq, _) = bench.bring_to(state);
        assert_eq!(bench.send(Flags::RST, seq - 1, 0, 0), [], "{state:?}");
        let closed = matches!(state, State::CloseWait | State::Closing | State::LastAck);
        assert_eq!(
            bench.stack.state(bench.handle) == Some(State::Closed),
            closed,
            "{state:?}"
        );
    }
}

#[test]
fn what_is_not_acceptable_draws_one_ack_at_most_in_half_a_second_and_changes_nothing() {
    let far = 1 << 20;
    for state in SYNCHRONIZED {
        // (flags, seq - expected, octets, ack - expected, answered)
        for (flags, seq, len, ack, answered) in [
            (Flags::RST, 1, 0, 0, true),
            (Flags::RST, far, 0, 0, false),
            (Flags::SYN, 0, 0, 0, true),
            (Flags::SYN, far, 0, 0, true),
            (Flags::SYN_ACK, 5, 0, 0, true),
            (Flags::ACK, far, 0, 0, true),
            (Flags::ACK, 0, 0, far, true),
            // Too old an ACK: beyond anything that was ever sent.
            (Flags::ACK, 0, 0, -30_000, true),
            (Flags::NONE, 0, 5, 0, false),
            (Flags::FIN, 0, 0, 0, false),
        ] {
            let mut bench = Bench::new(config());
            let (next, acked) = bench.bring_to(state);
            for repetition in 0..2 {
                let sent = bench.send(flags, next + seq, len, acked + ack);
                let case = format!("{state:?}: {flags:?} seq {seq} ack {ack} repetition {repetition}");
                assert_eq!(sent.len(), usize::from(answered && repetition == 0), "{case}");
                assert_eq!(bench.stack.state(bench.handle), Some(state), "{case}");
                if let Some(said) = sent.first() {
                    assert_eq!((said.flags, said.ack), (Flags::ACK, IRS + next as u32), "{case}");
                }
            }
        }
    }
}

#[test]
fn an_ack_of_what_was_never_sent_leaves_the_timestamp_and_on_older_kernels_no_answer_in_established() {
    for (rules, answered) in [(SegmentRules::NEW, 1), (SegmentRules::OLD, 0)] {
        let mut bench = Bench::new(TcpConfig { rules, ..config() });
        bench.timestamps = true;
        bench.open();
        let mut bad = bench.segment(Flags::FIN_ACK, 1, 0, 9_999);
        bad.timestamps = Some(Timestamps { val: 200_000, ecr: 0 });
        let sent = bench.deliver(&bad);
        assert_eq!(sent.len(), answered);
        let good = bench.segment(Flags::ACK, 1, 100, 1);
        let said = bench.deliver(&good)[0];
        assert_eq!(
            said.timestamps.map(|ts| ts.ecr),
            Some(500),
            "200000 was not recorded"
        );
        assert_eq!(said.ack, IRS + 101);
    }
}

#[test]
fn challenge_acks_of_a_host_have_a_limit_per_second_where_the_kernel_has_one() {
    let mut bench = Bench::new(TcpConfig {
        challenge_ack_limit: 4,
        ..config()
    });
    let mut answered = 0;
    for port in 1..=20 {
        let tuple = FourTuple::new(Endpoint::new(PEER.ip, port), HOST);
        let mine = |packet: Packet| Packet { tuple, ..packet };
        bench.iss = bench.deliver(&mine(bench.segment(Flags::SYN, 0, 0, 0)))[0].seq;
        bench.deliver(&mine(bench.segment(Flags::ACK, 1, 0, 1)));
        bench.stack.accept(bench.listener);
        answered += bench.deliver(&mine(bench.segment(Flags::SYN, 1, 0, 0))).len();
    }
    assert!(
        (2..=5).contains(&answered),
        "half of the limit to one and a half: {answered}"
    );
    assert_eq!(bench.stack.counters.challenge_acks, answered as u64);
}

#[test]
fn paws_drops_an_old_pure_ack_without_a_word_where_the_kernel_does() {
    for (rules, answered) in [(SegmentRules::NEW, 0), (SegmentRules::OLD, 1)] {
        let mut bench = Bench::new(TcpConfig { rules, ..config() });
        bench.timestamps = true;
        bench.open();
        bench.send(Flags::ACK, 1, 100, 1);
        let mut old = bench.segment(Flags::ACK, 1, 0, 1);
        old.timestamps = Some(Timestamps { val: 400, ecr: 0 });
        assert_eq!(bench.deliver(&old).len(), answered);
        // With payload it is answered by every kernel.
        bench.wait(600);
        let data = Packet {
            payload_len: 5,
            ..old
        };
        assert_eq!(labels(&bench.deliver(&data)), ["A"]);
    }
}

// ---- FIN and close ----

#[test]
fn a_crossing_fin_is_answered_by_a_plain_ack_at_snd_nxt_and_ours_is_not_repeated_at_once() {
    let mut bench = Bench::new(config());
    bench.bring_to(State::FinWait1);
    let sent = bench.send(Flags::FIN_ACK, 1, 0, 1);
    assert_eq!(labels(&sent), ["A"]);
    assert_eq!((sent[0].seq, sent[0].ack), (bench.iss + 2, IRS + 2));
    assert_eq!(bench.stack.state(bench.handle), Some(State::Closing));
    assert_eq!(bench.run(100), [], "our FIN has its own timer");
    bench.send(Flags::ACK, 2, 0, 2);
    assert_eq!(bench.listed(), [ListedState::TimeWait]);
}

#[test]
fn data_after_close_is_reset_in_every_state_that_still_could_receive() {
    for state in [State::FinWait1, State::FinWait2] {
        let mut bench = Bench::new(config());
        let (seq, ack) = bench.bring_to(state);
        bench.stack.close(bench.handle, bench.now);
        let sent = bench.send(Flags::ACK, seq, 10, ack);
        assert_eq!(labels(&sent), ["R"], "{state:?}");
        assert_eq!(sent[0].seq, bench.iss + ack as u32);
        assert_eq!(bench.listed(), []);
    }
}

#[test]
fn half_closed_for_reading_only_data_is_still_taken_and_for_both_it_is_reset() {
    for (how, answer) in [(How::Read, "A"), (How::Both, "R")] {
        let mut bench = Bench::new(config());
        bench.open();
        bench.stack.shutdown(bench.handle, how, bench.now).expect("open");
        bench.drain(bench.handle);
        let sent = bench.send(Flags::ACK, 1, 10, 1);
        assert_eq!(labels(&sent), [answer], "{how:?}");
        if how == How::Read {
            assert_eq!(bench.stack.read(bench.handle, 100), Ok(Read::Data(10)));
            assert_eq!(bench.stack.read(bench.handle, 100), Ok(Read::End));
        } else {
            assert_eq!(bench.stack.take_error(bench.handle), Some(SocketError::ConnReset));
        }
    }
}

#[test]
fn close_resets_if_data_is_unread_or_linger_is_zero_else_it_sends_a_fin() {
    for (unread, linger, label) in [(true, false, "RA"), (false, true, "RA"), (false, false, "FA")] {
        let mut bench = Bench::new(config());
        bench.open();
        bench.stack.set_options(bench.handle, |options| {
            options.linger = linger.then_some(SimDuration::ZERO);
        });
        if unread {
            bench.send(Flags::ACK, 1, 10, 1);
        }
        let reply = bench.stack.close(bench.handle, bench.now).reaction.reply;
        let sent: Vec<_> = reply.into_iter().chain(bench.drain(bench.handle)).collect();
        assert_eq!(labels(&sent), [label], "unread {unread} linger {linger}");
        assert_eq!(sent[0].seq, bench.iss + 1);
        assert_eq!(bench.stack.counters.abort_on_close, u64::from(unread));
    }
}

#[test]
fn an_orphan_waits_in_fin_wait2_as_long_as_linger2_or_the_sysctl_says() {
    let secs = SimDuration::from_secs;
    // (option, sysctl, seconds until nothing is listed): what exceeds 60 s is spent as a socket before.
    for (linger2, sysctl, lives) in [
        (Linger2::Default, 60, 60),
        (Linger2::Default, 10, 10),
        (Linger2::For(secs(5)), 60, 5),
        (Linger2::For(secs(100)), 60, 80),
        (Linger2::Never, 60, 0),
    ] {
        let mut bench = Bench::new(TcpConfig {
            fin_timeout: secs(sysctl),
            ..config()
        });
        bench.open();
        bench
            .stack
            .set_options(bench.handle, |options| options.linger2 = linger2);
        bench.stack.close(bench.handle, bench.now);
        bench.drain(bench.handle);
        let sent = bench.send(Flags::ACK, 1, 0, 2);
        assert_eq!(labels(&sent), if lives == 0 { vec!["R"] } else { vec![] });
        if lives > 0 {
            bench.run(lives * 1_000 - 10);
            assert_eq!(bench.listed().len(), 1, "{linger2:?}");
            bench.run(5_000);
        }
        assert_eq!(bench.listed(), [], "{linger2:?}");
    }
}

// ---- TIME_WAIT ----

#[test]
fn in_time_wait_an_exact_rst_kills_and_another_does_nothing() {
    for (seq, lives) in [(2, false), (3, true), (1, true), (60_000, true)] {
        let mut bench = Bench::time_wait();
        assert_eq!(bench.send(Flags::RST, seq, 0, 0), []);
        assert_eq!(!bench.listed().is_empty(), lives, "seq {seq}");
    }
}

#[test]
fn in_time_wait_a_syn_above_the_window_recycles_and_any_other_draws_an_ack() {
    for (seq, recycles) in [(3, true), (70_000, true), (2, false), (1, false), (-9_000, false)] {
        let mut bench = Bench::time_wait();
        let sent = bench.send(Flags::SYN, seq, 0, 0);
        if recycles {
            assert_eq!(labels(&sent), ["SA"], "seq {seq}");
            assert_eq!(sent[0].seq, bench.iss + 2 + 65_537, "it goes on from snd_nxt");
        } else {
            assert_eq!(labels(&sent), ["A"], "seq {seq}");
            assert_eq!((sent[0].seq, sent[0].ack), (bench.iss + 2, IRS + 2));
        }
    }
}

#[test]
fn in_time_wait_a_syn_with_fin_destroys_the_socket_without_an_answer() {
    let mut bench = Bench::time_wait();
    assert_eq!(bench.send(Flags::SYN.with(Flags::FIN), 3, 0, 0), []);
    assert_eq!(bench.listed(), []);
    assert_eq!(labels(&bench.send(Flags::ACK, 2, 0, 2)), ["R"]);
}

#[test]
fn in_time_wait_a_fin_without_ack_is_acknowledged() {
    let mut bench = Bench::time_wait();
    assert_eq!(labels(&bench.send(Flags::FIN, 1, 0, 0)), ["A"]);
}

// ---- windows ----

#[test]
fn windows_follow_the_buffer_the_scale_and_the_kernel() {
    // (tcp_rmem middle, largest, first window in segments, timestamps, window of the SYN-ACK, scale)
    for (default, max, segments, timestamps, window, scale) in [
        (131_072, 6_291_456, None, false, 64_240, 7),
        (131_072, 6_291_456, None, true, 65_160, 7),
        (540_000, 15_728_640, None, false, 65_535, 8),
        (87_380, 6_291_456, Some(20), false, 29_200, 7),
        (87_380, 6_291_456, Some(20), true, 28_960, 7),
    ] {
        let mut tcp = config();
        tcp.rmem[1] = default;
        tcp.rmem[2] = max;
        tcp.initial_window_segments = segments;
        let mut bench = Bench::new(tcp);
        bench.timestamps = timestamps;
        let mut syn = bench.segment(Flags::SYN, 0, 0, 0);
        syn.options.window_scale = Some(7);
        let said = bench.deliver(&syn)[0];
        assert_eq!((said.window, said.options.window_scale), (window, Some(scale)));
        assert_eq!((said.raw_window(), said.options.mss), (window, 1460));
    }
}

#[test]
fn a_window_is_told_in_steps_of_its_scale_and_unread_data_closes_it() {
    let mut bench = Bench::new(config());
    let mut syn = bench.segment(Flags::SYN, 0, 0, 0);
    syn.options.window_scale = Some(7);
    bench.iss = bench.deliver(&syn)[0].seq;
    bench.send(Flags::ACK, 1, 0, 1);
    bench.handle = bench.stack.accept(bench.listener).expect("established");
    let mut seq = 1;
    let mut last = 64_240;
    while last > 0 {
        let len = 1_460.min(last);
        let sent = bench.send(Flags::ACK, seq, len, 1);
        seq += i64::from(len);
        let Some(said) = sent.last() else {
            last -= len;
            continue;
        };
        assert_eq!(said.window % 128, 0);
        assert_eq!(said.raw_window(), said.window / 128);
        last = said.window;
    }
    // The window is closed: a further octet is refused with an ACK, until the application reads.
    assert_eq!(labels(&bench.send(Flags::ACK, seq, 1, 1)), ["A"]);
    assert_eq!(
        bench.stack.read(bench.handle, u32::MAX),
        Ok(Read::Data((seq - 1) as u32))
    );
    let told = bench.drain(bench.handle);
    assert_eq!(labels(&told), ["A"], "the window that has opened is told");
    assert!(told[0].window > 60_000);
}

#[test]
fn without_a_scale_the_window_that_judges_an_rst_may_exceed_the_one_that_is_told() {
    for (clamped, answered) in [(false, 1), (true, 0)] {
        let mut tcp = config();
        tcp.rmem[1] = 540_000;
        tcp.initial_window_clamped = clamped;
        let mut bench = Bench::new(tcp);
        bench.open();
        bench.run(600);
        assert_eq!(
            bench.send(Flags::RST, 100_000, 0, 0).len(),
            answered,
            "clamped: {clamped}"
        );
    }
}

#[test]
fn a_fin_that_the_window_holds_back_is_probed_for_and_a_zero_window_ack_sets_the_timer_anew() {
    let mut bench = Bench::new(config());
    bench.open();
    let closed = Packet {
        window: 0,
        ..bench.segment(Flags::ACK, 1, 0, 1)
    };
    bench.deliver(&closed);
    bench
        .stack
        .shutdown(bench.handle, How::Write, bench.now)
        .expect("open");
    assert_eq!(bench.drain(bench.handle), [], "no room for the FIN");
    assert_eq!(bench.stack.state(bench.handle), Some(State::FinWait1));
    let first = bench.stack.deadline(bench.handle);
    bench.wait(150);
    bench.deliver(&closed);
    assert!(bench.stack.deadline(bench.handle) > first, "set anew");
    let sent = bench.run(2_000);
    assert_eq!(
        sent[0].1.seq, bench.iss,
        "an old sequence number asks for the window"
    );
    assert_eq!(labels(&bench.send(Flags::ACK, 1, 0, 1)), ["FA"], "it has opened");
}

#[test]
fn user_timeout_ends_a_connection_whose_data_nobody_acknowledges() {
    let mut bench = Bench::new(config());
    bench.open();
    bench.stack.set_options(bench.handle, |options| {
        options.user_timeout = SimDuration::from_secs(3);
    });
    bench.stack.write(bench.handle, 100).expect("open");
    bench.drain(bench.handle);
    bench.run(2_900);
    assert_eq!(bench.stack.state(bench.handle), Some(State::Established));
    bench.run(2_000);
    assert_eq!(bench.stack.take_error(bench.handle), Some(SocketError::TimedOut));
    assert_eq!(bench.stack.write(bench.handle, 1), Err(SocketError::Pipe));
}

#[test]
fn out_of_order_segments_are_kept_and_delivered_once_the_gap_is_filled() {
    let mut bench = Bench::new(config());
    bench.open();
    for (seq, len, flags) in [(21, 10, Flags::ACK), (11, 5, Flags::ACK), (31, 4, Flags::FIN_ACK)] {
        let sent = bench.send(flags, seq, len, 1);
        assert_eq!(
            (labels(&sent), sent[0].ack),
            (vec!["A"], IRS + 1),
            "a duplicate ACK at once"
        );
    }
    let sent = bench.send(Flags::ACK, 1, 12, 1);
    assert_eq!(sent[0].ack, IRS + 16, "up to the second gap");
    let sent = bench.send(Flags::ACK, 14, 9, 1);
    assert_eq!(sent[0].ack, IRS + 36, "all, with the FIN");
    assert_eq!(bench.stack.state(bench.handle), Some(State::CloseWait));
    assert_eq!(bench.stack.read(bench.handle, 100), Ok(Read::Data(34)));
    assert_eq!(bench.stack.read(bench.handle, 100), Ok(Read::End));
}
