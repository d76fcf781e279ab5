//! The decisions of a timewait socket: a table of facts, which is also the table of the model's page, and properties.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::{Substate, TimeWait, TsRecent, Verdict};
use crate::model::tcp::TcpConfig;
use crate::units::{Endpoint, FourTuple, SeqNum, SimDuration, SimTime};
use crate::vocab::TimeWaitRule;
use crate::wire::{Flags, Options, Packet, Timestamps};

#[path = "time_wait_tests/exhaustive.rs"]
mod exhaustive;
#[path = "time_wait_tests/others.rs"]
mod others;

const RCV_NXT: u32 = 1000;
const SND_NXT: u32 = 5000;
const WND: u32 = 65160;
const HALF: u32 = 1 << 31;
/// The timestamp of the peer came at second 0; the segments come ten seconds later.
const NOW: SimTime = SimTime::from_nanos(10_000_000_000);

fn config(rfc1337: bool) -> TcpConfig {
    TcpConfig {
        rfc1337,
        ..TcpConfig::NEWEST
    }
}

fn entry(substate: Substate, ts: Option<u32>) -> TimeWait {
    TimeWait {
        substate,
        rcv_nxt: SeqNum(RCV_NXT),
        snd_nxt: SeqNum(SND_NXT),
        rcv_wnd: WND,
        ts_recent: ts.map(|val| TsRecent {
            val,
            at: SimTime::ZERO,
        }),
        ts_offset: 0,
        last_oow_ack: None,
    }
}

fn segment(flags: Flags, seq: u32, payload_len: u32, ts: Option<u32>) -> Packet {
    Packet {
        tuple: FourTuple::new(
            Endpoint::new(Ipv4Addr::new(10, 20, 0, 1), 40000),
            Endpoint::new(Ipv4Addr::new(10, 20, 0, 2), 8080),
        ),
        seq: SeqNum(seq),
        ack: if flags.ack() { SeqNum(SND_NXT) } else { SeqNum(0) },
        payload_len,
        window: 64240,
        timestamps: ts.map(|val| Timestamps { val, ecr: 0 }),
        flags,
        options: Options::NONE,
        tag: 0,
    }
}

/// One fact: what a segment meets, what it is, what must follow.
struct Fact {
    substate: Substate,
    rfc1337: bool,
    recorded: Option<u32>,
    flags: Flags,
    seq: u32,
    payload_len: u32,
    tsval: Option<u32>,
    verdict: Verdict,
}

const SYN_FIN: Flags = Flags::SYN.with(Flags::FIN);
const SWALLOW: Verdict = Verdict::Swallow { restart: false };
const SWALLOW_RESTART: Verdict = Verdict::Swallow { restart: true };
const BY_SEQ: Verdict = Verdict::AcceptSyn(TimeWaitRule::NewerSequence);
const BY_TS: Verdict = Verdict::AcceptSyn(TimeWaitRule::NewerTimestamp);
const OLD_SEQ: Verdict = Verdict::Ack {
    restart: false,
    refused: Some(TimeWaitRule::OldSequence),
};
const OLD_TS: Verdict = Verdict::Ack {
    restart: true,
    refused: Some(TimeWaitRule::OlderTimestamp),
};
const ACK: Verdict = Verdict::Ack {
    restart: false,
    refused: None,
};
const ACK_RESTART: Verdict = Verdict::Ack {
    restart: true,
    refused: None,
};

/// A fact about TIME_WAIT: recorded timestamp, flags, sequence number, payload, timestamp, verdict.
type TimeWaitFact = (Option<u32>, Flags, u32, u32, Option<u32>, Verdict);

#[rustfmt::skip]
const IN_TIME_WAIT: [TimeWaitFact; 35] = [
    (None, Flags::SYN, 1001, 0, None, BY_SEQ),
    (None, Flags::SYN, 1000, 0, None, OLD_SEQ),
    (None, Flags::SYN, 999, 0, None, OLD_SEQ),
    (None, Flags::SYN, RCV_NXT + (HALF - 1), 0, None, BY_SEQ),
    (None, Flags::SYN, RCV_NXT + HALF, 0, None, BY_SEQ),
    (None, Flags::SYN, RCV_NXT + HALF + 1, 0, None, OLD_SEQ),
    (None, Flags::SYN, 999, 0, Some(701), OLD_SEQ),
    (Some(700), Flags::SYN, 999, 0, Some(701), BY_TS),
    (Some(700), Flags::SYN, 1001, 0, Some(699), OLD_TS),
    (Some(700), Flags::SYN, 1001, 0, Some(700), BY_SEQ),
    (Some(700), Flags::SYN, 999, 0, Some(700), OLD_SEQ),
    (Some(700), Flags::SYN, 999, 0, None, OLD_SEQ),
    (Some(700), Flags::SYN, 1001, 0, None, BY_SEQ),
    (Some(700), Flags::SYN, 999, 0, Some(700 + (HALF - 1)), BY_TS),
    (Some(700), Flags::SYN, 999, 0, Some(700 + HALF), BY_TS),
    (Some(700), Flags::SYN, 1001, 0, Some(700 + HALF + 1), OLD_TS),
    (Some(0), Flags::SYN, 1001, 0, Some(u32::MAX), BY_SEQ),
    (None, SYN_FIN, 1001, 0, None, Verdict::Kill),
    (None, SYN_FIN, 1000, 0, None, OLD_SEQ),
    (Some(700), SYN_FIN, 999, 0, Some(701), Verdict::Kill),
    (Some(700), SYN_FIN, 1001, 0, Some(699), OLD_TS),
    (None, Flags::SYN_ACK, 1001, 0, None, ACK_RESTART),
    (None, Flags::RST, 1000, 0, None, Verdict::Kill),
    (Some(700), Flags::RST, 1000, 0, None, Verdict::Kill),
    (Some(700), Flags::RST, 1000, 0, Some(600), SWALLOW),
    (None, Flags::RST, 1001, 0, None, SWALLOW),
    (None, Flags::RST_ACK, 999, 0, None, SWALLOW),
    (None, Flags::ACK, 1000, 0, None, SWALLOW_RESTART),
    (Some(700), Flags::ACK, 1000, 0, Some(700), SWALLOW_RESTART),
    (Some(700), Flags::ACK, 1000, 0, Some(699), ACK_RESTART),
    (None, Flags::ACK, 999, 0, None, ACK_RESTART),
    (None, Flags::ACK, 1000, 5, None, ACK_RESTART),
    (None, Flags::FIN_ACK, 999, 0, None, ACK_RESTART),
    (None, Flags::FIN, 999, 0, None, ACK),
    (None, Flags::NONE, 1000, 0, None, SWALLOW_RESTART),
];

/// With `tcp_rfc1337`.
const WITH_RFC1337: [TimeWaitFact; 3] = [
    (None, Flags::RST, 1000, 0, None, SWALLOW),
    (Some(700), Flags::RST, 1000, 0, Some(800), SWALLOW),
    (None, Flags::SYN, 1001, 0, None, BY_SEQ),
];

#[rustfmt::skip]
const IN_FIN_WAIT2: [TimeWaitFact; 15] = [
    (None, Flags::FIN_ACK, 1000, 0, None, Verdict::EnterTimeWait),
    (None, Flags::FIN_ACK, 1000, 5, None, Verdict::Reset),
    (None, Flags::FIN_ACK, 1001, 0, None, Verdict::Reset),
    (None, Flags::ACK, 1000, 5, None, Verdict::Reset),
    (None, Flags::ACK, 1000, 0, None, SWALLOW),
    (None, Flags::FIN, 1000, 0, None, SWALLOW),
    (None, Flags::ACK, 995, 5, None, ACK),
    (None, Flags::SYN, 1000, 0, None, Verdict::Reset),
    (None, Flags::SYN, 1100, 0, None, Verdict::Reset),
    (None, Flags::SYN, 999, 0, None, OLD_SEQ),
    (None, Flags::SYN, RCV_NXT + WND, 0, None, OLD_SEQ),
    (Some(700), Flags::SYN, 1100, 0, Some(699),
        Verdict::Ack { restart: false, refused: Some(TimeWaitRule::OlderTimestamp) }),
    (None, Flags::RST, 1000, 0, None, Verdict::Kill),
    (None, Flags::RST, RCV_NXT + WND, 0, None, Verdict::Kill),
    (None, Flags::RST, RCV_NXT + WND + 1, 0, None, ACK),
];

fn facts() -> Vec<Fact> {
    let tables: [(Substate, bool, &[TimeWaitFact]); 3] = [
        (Substate::TimeWait, false, &IN_TIME_WAIT),
        (Substate::TimeWait, true, &WITH_RFC1337),
        (Substate::FinWait2, false, &IN_FIN_WAIT2),
    ];
    let rows = tables.iter().flat_map(|&(substate, rfc1337, rows)| {
        rows.iter()
            .map(move |&(recorded, flags, seq, payload_len, tsval, verdict)| Fact {
                substate,
                rfc1337,
                recorded,
                flags,
                seq,
                payload_len,
                tsval,
                verdict,
            })
    });
    rows.collect()
}

impl Fact {
    fn decide(&self) -> Verdict {
        let seg = segment(self.flags, self.seq, self.payload_len, self.tsval);
        entry(self.substate, self.recorded).on_segment(&seg, &config(self.rfc1337), NOW)
    }

    fn state(&self) -> &'static str {
        match (self.substate, self.rfc1337) {
            (Substate::FinWait2, _) => "FIN_WAIT2",
            (Substate::TimeWait, false) => "TIME_WAIT",
            (Substate::TimeWait, true) => "TIME_WAIT, `tcp_rfc1337`",
        }
    }

    fn segment_text(&self) -> String {
        let offset = i64::from(SeqNum(self.seq).distance_from(SeqNum(RCV_NXT)));
        let mut text = match self.flags {
            Flags::NONE => "no flags".to_owned(),
            flags => format!("{flags:?}"),
        };
        let seq = match offset {
            0 => "rcv_nxt".to_owned(),
            // Exactly 2^31 lies on both sides.
            -2_147_483_648 => format!("rcv_nxt ± {HALF}"),
            _ => format!("rcv_nxt {} {}", if offset > 0 { '+' } else { '-' }, offset.abs()),
        };
        write!(text, ", seq {seq}").expect("a String takes all");
        if self.payload_len > 0 {
            write!(text, ", {} octets", self.payload_len).expect("a String takes all");
        }
        text
    }

    fn timestamps_text(&self) -> String {
        match (self.recorded, self.tsval) {
            (None, None) => "none".to_owned(),
            (None, Some(_)) => "none recorded, segment has one".to_owned(),
            (Some(_), None) => "recorded, segment has none".to_owned(),
            (Some(0), Some(_)) => "recorded 0".to_owned(),
            (Some(recent), Some(seen)) => match seen.wrapping_sub(recent).cast_signed() {
                0 => "equal".to_owned(),
                // At a distance of exactly 2^31 newer wins.
                i32::MIN => format!("newer by {HALF}"),
                by if by > 0 => format!("newer by {by}"),
                by => format!("older by {}", by.unsigned_abs()),
            },
        }
    }
}

fn verdict_text(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Kill => ("nothing", "gone"),
        Verdict::Swallow { restart } => ("nothing", if restart { "60 s anew" } else { "runs on" }),
        Verdict::AcceptSyn(TimeWaitRule::NewerTimestamp) => ("SYN-ACK, by timestamp", "gone"),
        Verdict::AcceptSyn(_) => ("SYN-ACK, by sequence", "gone"),
        Verdict::Ack { restart, refused } => {
            let answer = match refused {
                Some(TimeWaitRule::OlderTimestamp) => "bare ACK: older timestamp",
                Some(_) => "bare ACK: old sequence",
                None => "ACK",
            };
            (answer, if restart { "60 s anew" } else { "runs on" })
        }
        Verdict::Reset => ("RST", "gone"),
        Verdict::EnterTimeWait => ("ACK", "60 s anew, as TIME_WAIT"),
    }
}

/// The table of the page, from the decisions of the code.
fn decision_table() -> String {
    let mut table = "| state | segment | timestamps | answer | timer |\n|---|---|---|---|---|\n".to_owned();
    for fact in facts() {
        let (answer, timer) = verdict_text(fact.decide());
        let (state, seg, ts) = (fact.state(), fact.segment_text(), fact.timestamps_text());
        writeln!(table, "| {state} | {seg} | {ts} | {answer} | {timer} |").expect("a String takes all");
    }
    table
}

#[test]
fn every_fact_of_the_table_holds() {
    for fact in facts() {
        assert_eq!(
            fact.decide(),
            fact.verdict,
            "{}: {}, timestamps {}",
            fact.state(),
            fact.segment_text(),
            fact.timestamps_text()
        );
    }
}

/// Holds that the page shows `table` between the marks of `name`.
fn assert_shown(name: &str, table: &str) {
    let page = include_str!("../../../docs/models/time-wait.md");
    let (_, rest) = page
        .split_once(&format!("<!-- {name}: generated -->\n"))
        .expect("where the table begins");
    let (shown, _) = rest
        .split_once(&format!("<!-- end of {name} -->"))
        .expect("where it ends");
    assert!(
        shown.trim() == table.trim(),
        "docs/models/time-wait.md should show:\n{table}"
    );
}

#[test]
fn the_page_shows_what_the_code_decides() {
    assert_shown("decisions", &decision_table());
}

#[test]
fn an_rst_with_an_old_timestamp_is_believed_when_the_recorded_one_is_60_s_old() {
    let rst = segment(Flags::RST, RCV_NXT, 0, Some(600));
    let tw = entry(Substate::TimeWait, Some(700));
    let at = |secs| SimTime::ZERO + SimDuration::from_secs(secs);
    assert_eq!(tw.on_segment(&rst, &config(false), at(59)), SWALLOW);
    assert_eq!(tw.on_segment(&rst, &config(false), at(60)), Verdict::Kill);
}

#[test]
fn a_refused_syn_is_answered_once_in_500_ms_and_data_always() {
    let at = |ms| SimTime::ZERO + SimDuration::from_millis(ms);
    let syn = segment(Flags::SYN, 999, 0, None);
    let data = segment(Flags::ACK, 999, 5, None);
    let mut tw = entry(Substate::TimeWait, None);
    let answered = [
        (0, true),
        (300, false),
        (499, false),
        (500, true),
        (1_000, true),
        (1_008, false),
    ];
    for (ms, expected) in answered {
        assert_eq!(
            tw.may_ack(&syn, &config(false), at(ms)),
            expected,
            "SYN at {ms} ms"
        );
        assert!(tw.may_ack(&data, &config(false), at(ms)), "data at {ms} ms");
    }
}

#[test]
fn only_an_acceptable_exact_segment_leaves_its_timestamp() {
    // (substate, flags, seq, tsval, recorded afterwards)
    for (substate, flags, seq, tsval, expected) in [
        (Substate::TimeWait, Flags::ACK, RCV_NXT, Some(800), 800),
        (Substate::TimeWait, Flags::ACK, RCV_NXT, None, 700),
        (Substate::TimeWait, Flags::ACK, RCV_NXT - 1, Some(800), 700),
        (Substate::TimeWait, Flags::RST, RCV_NXT, Some(800), 800),
        (Substate::TimeWait, Flags::RST, RCV_NXT, Some(600), 700),
        (Substate::TimeWait, Flags::RST, RCV_NXT + 1, Some(800), 700),
        (Substate::TimeWait, Flags::SYN, RCV_NXT, Some(700), 700),
        (Substate::FinWait2, Flags::ACK, RCV_NXT, Some(800), 700),
        (Substate::FinWait2, Flags::FIN_ACK, RCV_NXT, Some(800), 800),
    ] {
        let mut tw = entry(substate, Some(700));
        let seg = segment(flags, seq, 0, tsval);
        let verdict = tw.on_segment(&seg, &config(true), NOW);
        tw.apply(verdict, &seg, NOW);
        assert_eq!(
            tw.ts_recent.map(|recent| recent.val),
            Some(expected),
            "{flags:?} seq {seq} {tsval:?}"
        );
    }
}

#[test]
fn a_recycled_isn_continues_the_old_one_and_is_never_zero() {
    let continues = config(false);
    let tw = |snd_nxt| TimeWait {
        snd_nxt: SeqNum(snd_nxt),
        ..entry(Substate::TimeWait, None)
    };
    assert_eq!(tw(5_000).recycled_isn(&continues), Some(SeqNum(70_537)));
    assert_eq!(
        tw(65_537_u32.wrapping_neg()).recycled_isn(&continues),
        Some(SeqNum(1))
    );
    let ordinary = TcpConfig {
        recycled_isn_continues: false,
        ..continues
    };
    assert_eq!(tw(5_000).recycled_isn(&ordinary), None);
}

fn any_flags() -> impl Strategy<Value = Flags> {
    let single = [Flags::FIN, Flags::SYN, Flags::RST, Flags::ACK];
    prop::sample::subsequence(single.to_vec(), 0..=4)
        .prop_map(|set| set.into_iter().fold(Flags::NONE, Flags::with))
}

/// Near `base`, near the other side of the circle, or anywhere.
fn around(base: u32) -> impl Strategy<Value = u32> {
    prop_oneof![
        (0_u32..200_000).prop_map(move |by| base.wrapping_add(by).wrapping_sub(100_000)),
        (0_u32..4).prop_map(move |by| base.wrapping_add(HALF - 2 + by)),
        (0_u32..4).prop_map(move |by| base.wrapping_add(by).wrapping_sub(2)),
        any::<u32>(),
    ]
}

fn any_segment() -> impl Strategy<Value = Packet> {
    let ts = prop::option::of(around(700));
    let payload_len = prop_oneof![Just(0_u32), 1_u32..1449];
    (any_flags(), around(RCV_NXT), payload_len, ts)
        .prop_map(|(flags, seq, payload_len, ts)| segment(flags, seq, payload_len, ts))
}

fn any_entry(substate: Substate) -> impl Strategy<Value = TimeWait> {
    prop::option::of(prop_oneof![Just(700_u32), Just(0)]).prop_map(move |ts| entry(substate, ts))
}

proptest! {
    #[test]
    fn with_rfc1337_no_segment_kills_time_wait(
        tw in any_entry(Substate::TimeWait), seg in any_segment(), age in 0_u64..200_000,
    ) {
        let now = SimTime::ZERO + SimDuration::from_millis(age);
        let verdict = tw.on_segment(&seg, &config(true), now);
        // A SYN with FIN that would open ends it: the listener drops it.
        let ends = matches!(verdict, Verdict::Kill | Verdict::Reset);
        prop_assert_eq!(ends, ends && seg.flags == SYN_FIN, "{:?}", verdict);
        if let Verdict::AcceptSyn(_) = verdict {
            prop_assert!(seg.flags.syn() && !seg.flags.ack() && !seg.flags.rst());
        }
    }

    #[test]
    fn without_it_only_an_exact_rst_does(tw in any_entry(Substate::TimeWait), seg in any_segment()) {
        if tw.on_segment(&seg, &config(false), NOW) == Verdict::Kill {
            let exact_rst = seg.flags.rst() && seg.seq == tw.rcv_nxt;
            prop_assert!(exact_rst || seg.flags == SYN_FIN);
        }
    }

    #[test]
    fn no_segment_changes_the_numbers_of_a_time_wait(tw in any_entry(Substate::TimeWait), seg in any_segment()) {
        let mut after = tw;
        let verdict = tw.on_segment(&seg, &config(true), NOW);
        after.apply(verdict, &seg, NOW);
        prop_assert_eq!((after.rcv_nxt, after.snd_nxt), (tw.rcv_nxt, tw.snd_nxt));
        // Nor does its timestamp go back, nor come out of nothing.
        match (tw.ts_recent, after.ts_recent) {
            (Some(before), Some(after)) if before.val != 0 => {
                let newer = after.val.wrapping_sub(before.val);
                prop_assert!(newer <= HALF, "{before:?} {after:?}");
            }
            (before, after) => prop_assert_eq!(before.is_some(), after.is_some()),
        }
    }

    #[test]
    fn an_rst_is_never_answered(
        tw in prop_oneof![any_entry(Substate::TimeWait)], mut seg in any_segment(),
    ) {
        seg.flags = seg.flags.with(Flags::RST);
        let verdict = tw.on_segment(&seg, &config(false), NOW);
        prop_assert!(matches!(verdict, Verdict::Kill | Verdict::Swallow { .. }), "{verdict:?}");
    }

    #[test]
    fn a_syn_is_refused_or_accepted_and_the_refused_one_is_refused_again(
        tw in any_entry(Substate::TimeWait), mut seg in any_segment(),
    ) {
        seg.flags = Flags::SYN;
        let mut after = tw;
        let verdict = tw.on_segment(&seg, &config(false), NOW);
        after.apply(verdict, &seg, NOW);
        match verdict {
            Verdict::AcceptSyn(_) => {}
            Verdict::Ack { restart, refused: Some(rule) } => {
                prop_assert_eq!(restart, rule == TimeWaitRule::OlderTimestamp);
                prop_assert_eq!(after.on_segment(&seg, &config(false), NOW), verdict);
            }
            // Data in the SYN changes nothing; an empty SYN occupies one number, so it is never a bare ACK.
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn fin_wait2_becomes_time_wait_by_the_exact_fin_only(
        tw in any_entry(Substate::FinWait2), seg in any_segment(),
    ) {
        let mut after = tw;
        let verdict = tw.on_segment(&seg, &config(false), NOW);
        after.apply(verdict, &seg, NOW);
        let entered = verdict == Verdict::EnterTimeWait;
        prop_assert_eq!(entered, after.substate == Substate::TimeWait);
        prop_assert_eq!(after.rcv_nxt, if entered { tw.rcv_nxt + 1 } else { tw.rcv_nxt });
        if entered {
            // It may begin earlier, with octets that have come before.
            prop_assert!(seg.flags.fin() && seg.flags.ack() && seg.end_seq() == tw.rcv_nxt + 1);
        }
    }
}
