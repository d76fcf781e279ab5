//! The tracker against its rules: tables of facts, an exhaustive walk of short sequences, properties.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::{ChainLimit, Collection, ConntrackConfig, Direction, State, Timeouts, TrackVerdict, Tracker};
use crate::units::{Endpoint, FourTuple, SeqNum, SimDuration, SimTime};
use crate::wire::{Flags, Options, Packet};
use Direction::{Original, Reply};
use TrackVerdict::{Accept, AcceptAndDelete, Ignore, Invalid, Reopen};

mod walk;

/// 4.19.
const OLD: ConntrackConfig = ConntrackConfig {
    timeouts: Timeouts::KERNEL,
    hz: 250,
    be_liberal: false,
    loose: true,
    max_retrans: 3,
    ignore_invalid_rst: false,
    max_entries: 262_144,
    buckets: 65_536,
    background_entries: 0,
    rst_must_be_exact: true,
    inexact_rst_is_unacknowledged: false,
    syn_repeat_refreshes: true,
    rst_in_closing_believed: false,
    rst_after_ignored_ack_passes: false,
    any_segment_reinits_window: true,
    old_segments_ignored: false,
    collection: Collection::Slices,
    chain_limit: None,
    drop_invalid: false,
};

/// 6.18.
const NEW: ConntrackConfig = ConntrackConfig {
    syn_repeat_refreshes: false,
    rst_in_closing_believed: true,
    rst_after_ignored_ack_passes: true,
    any_segment_reinits_window: false,
    old_segments_ignored: true,
    collection: Collection::Cycles,
    chain_limit: Some(ChainLimit::KERNEL),
    ..OLD
};

/// About 5.18 to 6.2-rc4: windows begin again with a SYN only, and no rule for the RST yet.
const BETWEEN: ConntrackConfig = ConntrackConfig {
    any_segment_reinits_window: false,
    ..OLD
};

/// Client's initial sequence number; server's.
const C: u32 = 1_000_000;
const S: u32 = 5_000_000;
const WINDOW: u32 = 65_535;

fn at(secs: u64) -> SimTime {
    SimTime::ZERO + SimDuration::from_secs(secs)
}

fn packet(flags: Flags, seq: u32, ack: u32, payload_len: u32) -> Packet {
    let endpoint = |last, port| Endpoint {
        ip: Ipv4Addr::new(10, 0, 0, last),
        port,
    };
    Packet {
        tuple: FourTuple {
            src: endpoint(1, 40_000),
            dst: endpoint(2, 80),
        },
        seq: SeqNum(seq),
        ack: SeqNum(ack),
        payload_len,
        window: WINDOW,
        timestamps: None,
        flags,
        options: Options::NONE,
        tag: 0,
    }
}

/// An entry and the moment of its last segment.
#[derive(Clone, Copy)]
struct Scene {
    config: ConntrackConfig,
    entry: Tracker,
    now: SimTime,
}

impl Scene {
    fn open(config: ConntrackConfig, first: &Packet) -> Self {
        let entry = Tracker::open(&config, first, SimTime::ZERO).expect("opens an entry");
        Self {
            config,
            entry,
            now: SimTime::ZERO,
        }
    }
    fn syn(config: ConntrackConfig) -> Self {
        Self::open(config, &packet(Flags::SYN, C, 0, 0))
    }
    /// After the handshake.
    fn established(config: ConntrackConfig) -> Self {
        let mut scene = Self::syn(config);
        scene.expect(
            Reply,
            packet(Flags::SYN_ACK, S, C + 1, 0),
            Accept,
            State::SynRecv,
            60,
        );
        scene.expect(
            Original,
            packet(Flags::ACK, C + 1, S + 1, 0),
            Accept,
            State::Established,
            432_000,
        );
        scene
    }
    /// After the pod closed first: client at C + 2, server at S + 2.
    fn time_wait(config: ConntrackConfig) -> Self {
        let mut scene = Self::last_ack(config);
        scene.expect(
            Reply,
            packet(Flags::ACK, S + 2, C + 2, 0),
            Accept,
            State::TimeWait,
            120,
        );
        scene
    }
    fn last_ack(config: ConntrackConfig) -> Self {
        let mut scene = Self::established(config);
        scene.expect(
            Reply,
            packet(Flags::FIN_ACK, S + 1, C + 1, 0),
            Accept,
            State::FinWait,
            120,
        );
        scene.expect(
            Original,
            packet(Flags::FIN_ACK, C + 1, S + 2, 0),
            Accept,
            State::LastAck,
            30,
        );
        scene
    }
    /// One second later a segment comes; `left` is what the entry has left afterwards.
    #[track_caller]
    fn expect(
        &mut self,
        direction: Direction,
        packet: Packet,
        verdict: TrackVerdict,
        state: State,
        left: u64,
    ) {
        self.now += SimDuration::from_secs(1);
        let got = self.entry.on_packet(&self.config, direction, &packet, self.now);
        let got = (
            got,
            self.entry.state,
            self.entry.expires.since(self.now).as_secs(),
        );
        assert_eq!(got, (verdict, state, left), "{direction:?} {packet:?}");
    }
}

#[test]
fn an_entry_is_dead_from_its_deadline_on() {
    let entry = Scene::syn(NEW).entry;
    assert_eq!(entry.expires, at(120));
    assert!(!entry.is_expired(SimTime::from_nanos(at(120).as_nanos() - 1)));
    assert!(entry.is_expired(at(120)));
}

#[test]
fn only_a_syn_or_with_loose_an_ack_opens_an_entry() {
    let strict = ConntrackConfig { loose: false, ..NEW };
    let table = [
        (Flags::SYN, Some(State::SynSent), Some(State::SynSent)),
        (Flags::ACK, Some(State::Established), None),
        (Flags::SYN_ACK, None, None),
        (Flags::FIN_ACK, None, None),
        (Flags::FIN, None, None),
        (Flags::RST, None, None),
        (Flags::RST_ACK, None, None),
        (Flags::NONE, None, None),
    ];
    for (flags, loose, without) in table {
        let first = packet(flags, C, S, 0);
        let state = |config| Tracker::open(config, &first, SimTime::ZERO).map(|entry| entry.state);
        assert_eq!((state(&NEW), state(&strict)), (loose, without), "{flags:?}");
        assert_eq!((state(&OLD)), loose, "{flags:?}");
    }
}

#[test]
fn a_picked_up_connection_has_300_s_until_both_sides_were_heard() {
    for config in [OLD, NEW] {
        let mut scene = Scene::open(config, &packet(Flags::ACK, C, S, 10));
        assert_eq!(scene.entry.expires, at(300));
        scene.expect(
            Original,
            packet(Flags::ACK, C + 10, S, 10),
            Accept,
            State::Established,
            300,
        );
        assert!(!scene.entry.seen_reply);
        scene.expect(
            Reply,
            packet(Flags::ACK, S, C + 20, 0),
            Accept,
            State::Established,
            300,
        );
        assert!(scene.entry.seen_reply && !scene.entry.assured);
        // What was let through liberally was not learned from, so this looks like new data.
        let ack = packet(Flags::ACK, C + 20, S, 0);
        scene.expect(Original, ack, Accept, State::Established, 300);
        assert!(scene.entry.assured);
        let ack = packet(Flags::ACK, S, C + 20, 0);
        scene.expect(Reply, ack, Accept, State::Established, 432_000);
    }
}

#[test]
fn a_repeated_syn_refreshes_only_in_old_kernels() {
    for (config, left) in [(OLD, 120), (NEW, 119)] {
        let mut scene = Scene::syn(config);
        scene.expect(
            Original,
            packet(Flags::SYN, C, 0, 0),
            Accept,
            State::SynSent,
            left,
        );
        assert!(!scene.entry.seen_reply);
    }
}

#[test]
fn a_syn_repeated_after_an_ignored_reply_refreshes_in_every_kernel() {
    for config in [OLD, NEW] {
        let mut scene = Scene::syn(config);
        scene.expect(
            Reply,
            packet(Flags::ACK, S, C - 500, 0),
            Ignore,
            State::SynSent,
            119,
        );
        scene.expect(Original, packet(Flags::SYN, C, 0, 0), Accept, State::SynSent, 120);
    }
}

#[test]
fn an_rst_before_any_reply_deletes_the_entry() {
    for config in [OLD, NEW] {
        for (direction, rst) in [
            (Reply, packet(Flags::RST_ACK, 0, C + 1, 0)),
            (Original, packet(Flags::RST, C + 1, 0, 0)),
        ] {
            let mut scene = Scene::syn(config);
            let got = scene.entry.on_packet(&config, direction, &rst, at(1));
            assert_eq!(got, AcceptAndDelete, "{direction:?}");
        }
    }
}

/// A new SYN that the pod's TIME_WAIT refuses with a bare ACK, and the caller's RST against that.
#[test]
fn bare_ack_passes_and_the_rst_against_it_is_invalid_only_between_5_18_and_6_2() {
    let liberal = ConntrackConfig {
        be_liberal: true,
        ..BETWEEN
    };
    #[rustfmt::skip]
    let table = [
        // config, pod's rcv_nxt - ISN, verdict on the RST
        (OLD,       100_000, Accept), (OLD,       1, Accept), (OLD,       -1000, Accept),
        (BETWEEN,   100_000, Invalid), (BETWEEN,  1, Accept), (BETWEEN,   -1000, Accept),
        (liberal,   100_000, Accept), (liberal,   1, Accept), (liberal,   -1000, Accept),
        (NEW,       100_000, Accept), (NEW,       1, Accept), (NEW,       -1000, Accept),
    ];
    for (row, (config, offset, verdict)) in table.into_iter().enumerate() {
        let rcv_nxt = C.wrapping_add_signed(offset);
        let mut scene = Scene::syn(config);
        scene.expect(
            Reply,
            packet(Flags::ACK, S, rcv_nxt, 0),
            Ignore,
            State::SynSent,
            119,
        );
        assert!(scene.entry.seen_reply && !scene.entry.assured);
        let (state, left) = if verdict == Accept {
            (State::Close, 10)
        } else {
            (State::SynSent, 118)
        };
        scene.expect(Original, packet(Flags::RST, rcv_nxt, 0, 0), verdict, state, left);
        let again = scene
            .entry
            .on_packet(&config, Original, &packet(Flags::SYN, C, 0, 0), scene.now);
        let want = if verdict == Accept { Reopen } else { Accept };
        assert_eq!(
            again, want,
            "row {row}: CLOSE after an RST of the same direction begins anew"
        );
    }
}

#[test]
fn a_syn_on_time_wait_reopens_from_either_side() {
    for config in [OLD, NEW] {
        for direction in [Original, Reply] {
            let mut scene = Scene::time_wait(config);
            scene.expect(
                direction,
                packet(Flags::SYN, 7, 0, 0),
                Reopen,
                State::TimeWait,
                119,
            );
        }
    }
}

#[test]
fn a_syn_on_close_reopens_if_a_fin_was_seen_or_the_rst_came_from_the_same_side() {
    let rst_of_client = packet(Flags::RST, C + 1, 0, 0);
    let rst_of_server = packet(Flags::RST, S + 1, 0, 0);
    for config in [OLD, NEW] {
        let mut scene = Scene::established(config);
        scene.expect(Original, rst_of_client, Accept, State::Close, 10);
        scene.expect(Original, packet(Flags::SYN, C + 9, 0, 0), Reopen, State::Close, 9);

        let mut scene = Scene::established(config);
        scene.expect(Reply, rst_of_server, Accept, State::Close, 10);
        scene.expect(Original, packet(Flags::SYN, C + 9, 0, 0), Ignore, State::Close, 9);

        let mut scene = Scene::established(config);
        scene.expect(
            Reply,
            packet(Flags::FIN_ACK, S + 1, C + 1, 0),
            Accept,
            State::FinWait,
            120,
        );
        scene.expect(Reply, packet(Flags::RST, S + 2, 0, 0), Accept, State::Close, 10);
        scene.expect(Original, packet(Flags::SYN, C + 9, 0, 0), Reopen, State::Close, 9);
    }
}

#[test]
fn an_ignored_syn_is_believed_when_the_server_accepts_it() {
    for config in [OLD, NEW] {
        let new_isn = C.wrapping_add(0x9000_0000);
        let mut scene = Scene::established(config);
        scene.expect(
            Original,
            packet(Flags::SYN, new_isn, 0, 0),
            Ignore,
            State::Established,
            431_999,
        );
        // The SYN-ACK of another SYN is ignored as well, and no longer can the remembered one be answered.
        let mut other = scene;
        other.expect(
            Reply,
            packet(Flags::SYN_ACK, 77, C + 1, 0),
            Ignore,
            State::Established,
            431_998,
        );

        scene.expect(
            Reply,
            packet(Flags::SYN_ACK, 77, new_isn + 1, 0),
            Accept,
            State::SynRecv,
            60,
        );
        scene.expect(
            Original,
            packet(Flags::ACK, new_isn + 1, 78, 0),
            Accept,
            State::Established,
            432_000,
        );
        // The old incarnation is forgotten.
        scene.expect(
            Original,
            packet(Flags::ACK, C + 1, S + 1, 0),
            Invalid,
            State::Established,
            431_999,
        );
    }
}

#[test]
fn a_challenge_ack_does_not_end_last_ack() {
    for config in [OLD, NEW] {
        let mut scene = Scene::last_ack(config);
        scene.expect(
            Original,
            packet(Flags::SYN, C + 90, 0, 0),
            Ignore,
            State::LastAck,
            29,
        );
        scene.expect(
            Reply,
            packet(Flags::ACK, S + 2, C + 2, 0),
            Ignore,
            State::LastAck,
            28,
        );
        // Only once: the next one is the real thing.
        scene.expect(
            Reply,
            packet(Flags::ACK, S + 2, C + 2, 0),
            Accept,
            State::TimeWait,
            120,
        );
    }
}

#[test]
fn an_rst_in_established_closes_only_with_the_exact_sequence_number() {
    #[rustfmt::skip]
    let table = [
        // seq - server's highest ACK, verdict, state, left
        (0,            Accept,  State::Close,       10),
        (1,            Accept,  State::Established, 10),
        (1000,         Accept,  State::Established, 10),
        (WINDOW,       Accept,  State::Established, 10),
        (WINDOW + 1,   Invalid, State::Established, 431_999),
        (0xffff_ffff,  Invalid, State::Established, 431_999), // -1
    ];
    for config in [OLD, NEW] {
        for (offset, verdict, state, left) in table {
            // From 6.1 on a segment that oversteps by little is ignored and not INVALID.
            let verdict = if offset == WINDOW + 1 && config.old_segments_ignored {
                Ignore
            } else {
                verdict
            };
            let mut scene = Scene::established(config);
            let rst = packet(Flags::RST, (C + 1).wrapping_add(offset), 0, 0);
            scene.expect(Original, rst, verdict, state, left);
        }
    }
}

#[test]
fn an_rst_that_continues_the_last_segment_closes() {
    for config in [OLD, NEW] {
        let mut scene = Scene::established(config);
        scene.expect(
            Original,
            packet(Flags::ACK, C + 1, S + 1, 100),
            Accept,
            State::Established,
            300,
        );
        scene.expect(
            Original,
            packet(Flags::RST, C + 101, 0, 0),
            Accept,
            State::Close,
            10,
        );
    }
}

#[test]
fn an_inexact_rst_in_established_leaves_10_s_or_300_s_or_closes_by_kernel() {
    for (must_be_exact, unacknowledged, state, left) in [
        (true, false, State::Established, 10),
        (true, true, State::Established, 300),
        (false, false, State::Close, 10),
        (false, true, State::Close, 10),
    ] {
        let config = ConntrackConfig {
            rst_must_be_exact: must_be_exact,
            inexact_rst_is_unacknowledged: unacknowledged,
            ..NEW
        };
        let inexact = packet(Flags::RST, C + 6, 0, 0);
        Scene::established(config).expect(Original, inexact, Accept, state, left);
    }
}

#[test]
fn an_rst_below_the_highest_ack_is_let_to_the_window_check_by_ignore_invalid_rst() {
    for config in [OLD, NEW] {
        let lenient = ConntrackConfig {
            ignore_invalid_rst: true,
            ..config
        };
        let old = packet(Flags::RST, C - 100, 0, 0);
        Scene::established(config).expect(Original, old, Invalid, State::Established, 431_999);
        // Inside the window it is merely inexact, and a challenge ACK may follow.
        Scene::established(lenient).expect(Original, old, Accept, State::Established, 10);
    }
}

#[test]
fn an_rst_in_time_wait_is_checked_in_old_kernels_and_believed_in_new_ones() {
    let liberal = ConntrackConfig {
        be_liberal: true,
        ..OLD
    };
    #[rustfmt::skip]
    let table = [
        // seq - the pod's rcv_nxt, old, old and liberal
        (0_i32,    Accept,  Accept),
        (1,        Accept,  Accept),
        (1000,     Accept,  Accept),
        (100_000,  Invalid, Accept),
        (-1,       Invalid, Invalid),
        (-1000,    Invalid, Invalid),
        (-100_000, Invalid, Invalid),
    ];
    for (offset, old, old_liberal) in table {
        for (config, verdict) in [(OLD, old), (liberal, old_liberal), (NEW, Accept)] {
            for flags in [Flags::RST, Flags::RST_ACK] {
                let mut scene = Scene::time_wait(config);
                let (state, left) = if verdict == Accept {
                    (State::Close, 10)
                } else {
                    (State::TimeWait, 119)
                };
                let rst = packet(flags, (C + 2).wrapping_add_signed(offset), S + 2, 0);
                scene.expect(Original, rst, verdict, state, left);
            }
        }
    }
}

#[test]
fn late_segments_restart_time_wait() {
    for config in [OLD, NEW] {
        for (direction, late) in [
            (Original, packet(Flags::FIN_ACK, C + 1, S + 2, 0)),
            (Original, packet(Flags::ACK, C + 1, S + 2, 0)),
            (Reply, packet(Flags::FIN_ACK, S + 1, C + 1, 0)),
            (Reply, packet(Flags::ACK, S + 2, C + 2, 0)),
        ] {
            let mut scene = Scene::time_wait(config);
            scene.expect(direction, late, Accept, State::TimeWait, 120);
        }
    }
}

#[test]
fn unacknowledged_data_a_closed_window_and_repeated_acks_shorten_established_to_300_s() {
    let shut = Packet {
        window: 0,
        ..packet(Flags::ACK, C + 1, S + 1, 0)
    };
    let open = packet(Flags::ACK, C + 1, S + 1, 0);
    for config in [OLD, NEW] {
        let mut scene = Scene::established(config);
        scene.expect(
            Original,
            packet(Flags::ACK, C + 1, S + 1, 100),
            Accept,
            State::Established,
            300,
        );
        scene.expect(
            Reply,
            packet(Flags::ACK, S + 1, C + 101, 0),
            Accept,
            State::Established,
            432_000,
        );

        let mut scene = Scene::established(config);
        scene.expect(Original, shut, Accept, State::Established, 300);
        scene.expect(Original, open, Accept, State::Established, 432_000);

        // The handshake's ACK is the first of four.
        let mut scene = Scene::established(config);
        scene.expect(Original, open, Accept, State::Established, 432_000);
        scene.expect(Original, open, Accept, State::Established, 432_000);
        scene.expect(Original, open, Accept, State::Established, 300);
        scene.expect(
            Reply,
            packet(Flags::ACK, S + 1, C + 1, 0),
            Accept,
            State::Established,
            432_000,
        );
    }
}

#[test]
fn old_data_and_old_acks_are_invalid_up_to_5_10_and_ignored_from_6_1_on() {
    let mut far = Scene::established(OLD);
    // 200 kB sent and acknowledged in steps.
    for step in 0..4 {
        let seq = C + 1 + step * 50_000;
        far.expect(
            Original,
            packet(Flags::ACK, seq, S + 1, 50_000),
            Accept,
            State::Established,
            300,
        );
        let ack = packet(Flags::ACK, S + 1, seq + 50_000, 0);
        far.expect(Reply, ack, Accept, State::Established, 432_000);
    }
    #[rustfmt::skip]
    let table = [
        // direction, segment, up to 5.10, from 6.1 on
        (Original, packet(Flags::ACK, C + 1, S + 1, 100), Invalid, Ignore),      // old data
        (Reply, packet(Flags::ACK, S + 1, C + 100, 0), Invalid, Ignore),         // old ACK
        (Reply, packet(Flags::ACK, S + 1, C + 200_002, 0), Invalid, Invalid),    // ACK of nothing sent
        (Original, packet(Flags::ACK, C + 400_000, S + 1, 100), Invalid, Invalid), // far beyond the window
        (Original, packet(Flags::ACK, C + 200_001 + WINDOW + 1, S + 1, 100), Invalid, Ignore), // a little beyond
    ];
    for (row, (direction, segment, old, new)) in table.into_iter().enumerate() {
        for (config, want) in [(OLD, old), (NEW, new)] {
            let mut entry = far.entry;
            let got = entry.on_packet(&config, direction, &segment, far.now);
            assert_eq!(got, want, "row {row}");
            assert_eq!(
                (entry.state, entry.expires),
                (far.entry.state, far.entry.expires),
                "row {row}"
            );
            let liberal = ConntrackConfig {
                be_liberal: true,
                ..config
            };
            let mut entry = far.entry;
            assert_eq!(
                entry.on_packet(&liberal, direction, &segment, far.now),
                Accept,
                "row {row}"
            );
        }
    }
}

#[test]
fn invalid_closes_of_both_sides_shorten_an_established_entry_in_new_kernels() {
    for (config, left) in [(OLD, 431_998), (NEW, 300)] {
        let mut scene = Scene::established(config);
        let far = packet(Flags::FIN_ACK, C + 500_000, S + 1, 0);
        scene.expect(Original, far, Invalid, State::Established, 431_999);
        let far = packet(Flags::FIN_ACK, S + 500_000, C + 1, 0);
        scene.expect(Reply, far, Invalid, State::Established, left);
    }
}

#[test]
fn illegal_flags_are_invalid_and_touch_nothing() {
    for flags in [
        Flags::NONE,
        Flags::FIN,
        Flags::SYN.with(Flags::FIN),
        Flags::SYN.with(Flags::RST),
    ] {
        let mut scene = Scene::established(NEW);
        let before = scene.entry;
        scene.expect(
            Original,
            packet(flags, C + 1, S + 1, 0),
            Invalid,
            State::Established,
            431_999,
        );
        assert_eq!(scene.entry, before, "{flags:?}");
    }
}

#[test]
fn the_client_end_is_after_its_fin() {
    assert_eq!(Scene::syn(NEW).entry.original_end(), SeqNum(C + 1));
    assert_eq!(Scene::time_wait(NEW).entry.original_end(), SeqNum(C + 2));
}

fn any_flags() -> impl Strategy<Value = Flags> {
    prop::sample::select(vec![
        Flags::SYN,
        Flags::SYN_ACK,
        Flags::ACK,
        Flags::FIN_ACK,
        Flags::RST,
        Flags::RST_ACK,
        Flags::FIN,
    ])
}

/// Numbers near each other, at the wrap-around, and far off.
fn any_number() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => 0_u32..6,
        2 => (0_u32..6).prop_map(|n| n.wrapping_sub(3)),
        2 => (0_u32..6).prop_map(|n| n.wrapping_add(0x8000_0000 - 3)),
        1 => any::<u32>(),
    ]
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let window = prop_oneof![Just(0), Just(WINDOW), Just(14_600_000), Just(1 << 30)];
    (
        any_flags(),
        any_number(),
        any_number(),
        prop_oneof![Just(0), Just(1460)],
        window,
    )
        .prop_map(|(flags, seq, ack, len, window)| Packet {
            window,
            ..packet(flags, seq, ack, len)
        })
}

fn any_config() -> impl Strategy<Value = ConntrackConfig> {
    any::<[bool; 7]>().prop_map(
        |[liberal, loose, syn, closing, ignored, reinit, old]| ConntrackConfig {
            be_liberal: liberal,
            loose,
            syn_repeat_refreshes: syn,
            rst_in_closing_believed: closing,
            rst_after_ignored_ack_passes: ignored,
            any_segment_reinits_window: reinit,
            old_segments_ignored: old,
            ..OLD
        },
    )
}

proptest! {
    #[test]
    fn whatever_comes_a_verdict_binds_what_changes(
        config in any_config(),
        first in any_packet(),
        packets in prop::collection::vec((any::<bool>(), any_packet()), 0..24),
    ) {
        let Some(mut entry) = Tracker::open(&config, &first, SimTime::ZERO) else {
            prop_assert!(!first.flags.syn() || first.flags.ack());
            return Ok(());
        };
        let mut now = SimTime::ZERO;
        for (reply, packet) in packets {
            now += SimDuration::from_millis(1);
            let before = entry;
            let direction = if reply { Reply } else { Original };
            let verdict = entry.on_packet(&config, direction, &packet, now);
            let mut followed = before;
            let want = if followed.follow(&config, direction, &packet, now) { (Accept, entry) } else { (verdict, before) };
            prop_assert_eq!(want, (verdict, followed));
            let unmoved = (entry.state, entry.assured) == (before.state, before.assured);
            match verdict {
                Accept => prop_assert!(entry.expires >= before.expires || entry.expires > now),
                Ignore => prop_assert!(unmoved && entry.expires == before.expires),
                Invalid => {
                    prop_assert!(unmoved && entry.seen_reply == before.seen_reply);
                    prop_assert!(entry.expires <= before.expires);
                }
                Reopen => {
                    prop_assert_eq!(entry, before);
                    prop_assert!(packet.flags.syn() && matches!(entry.state, State::TimeWait | State::Close));
                    break;
                }
                AcceptAndDelete => {
                    prop_assert!(packet.flags.rst() && !before.seen_reply);
                    break;
                }
            }
            prop_assert_eq!(entry.seen_reply, before.seen_reply || (reply && verdict != Invalid));
            prop_assert!(!entry.assured || entry.seen_reply);
            prop_assert!(entry.state != State::None);
        }
    }
}
