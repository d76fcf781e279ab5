//! The rules of other stacks, taking over a TIME_WAIT, and how long it lasts.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::{
    ACK, ACK_RESTART, Fact, OLD_SEQ, RCV_NXT, SND_NXT, SWALLOW, SYN_FIN, WND, assert_shown, config, entry,
    segment, verdict_text,
};
use crate::engine::KernelTimers;
use crate::model::tcp::time_wait::{Inherited, Substate, TimeWait, Verdict, time_wait_expiry};
use crate::model::tcp::{HostClock, TcpConfig, TimeWaitStack, TimeWaitTimer, TwReuse, TwReuseAge};
use crate::units::{SeqNum, SimDuration, SimTime};
use crate::vocab::TimeWaitRule;
use crate::wire::Flags;

const NEWER: Verdict = Verdict::AcceptSyn(TimeWaitRule::NewerSequence);

/// Flags, sequence number, payload; then by RFC 793 and by FreeBSD.
type Contrast = (Flags, u32, u32, Verdict, Verdict);

#[rustfmt::skip]
const CONTRAST: [Contrast; 18] = [
    (Flags::SYN, RCV_NXT - 1, 0, OLD_SEQ, SWALLOW),
    (Flags::SYN, RCV_NXT, 0, Verdict::Reset, SWALLOW),
    (Flags::SYN, RCV_NXT + 1, 0, Verdict::Reset, NEWER),
    (Flags::SYN, RCV_NXT + WND - 1, 0, Verdict::Reset, NEWER),
    (Flags::SYN, RCV_NXT + WND, 0, OLD_SEQ, NEWER),
    (Flags::SYN, RCV_NXT + (1 << 31) + 1, 0, OLD_SEQ, SWALLOW),
    (Flags::SYN_ACK, RCV_NXT, 0, Verdict::Reset, ACK),
    (Flags::SYN_ACK, RCV_NXT + 1, 0, Verdict::Reset, ACK),
    (SYN_FIN, RCV_NXT + 1, 0, Verdict::Reset, NEWER),
    (Flags::RST, RCV_NXT, 0, Verdict::Kill, SWALLOW),
    (Flags::RST, RCV_NXT + 5, 0, Verdict::Kill, SWALLOW),
    (Flags::RST, RCV_NXT + WND, 0, SWALLOW, SWALLOW),
    (Flags::ACK, RCV_NXT, 0, SWALLOW, SWALLOW),
    (Flags::ACK, RCV_NXT - 1, 0, ACK, ACK),
    (Flags::FIN_ACK, RCV_NXT - 1, 0, ACK, ACK_RESTART),
    (Flags::FIN_ACK, RCV_NXT, 0, ACK_RESTART, ACK),
    (Flags::FIN, RCV_NXT - 1, 0, ACK, SWALLOW),
    (Flags::ACK, RCV_NXT, 5, SWALLOW, ACK),
];

fn under(time_wait_stack: TimeWaitStack) -> TcpConfig {
    TcpConfig {
        time_wait_stack,
        ..config(false)
    }
}

#[test]
fn other_stacks_treat_a_segment_in_time_wait_by_their_own_rules() {
    // Timestamps decide nothing there.
    for ts in [None, Some(699), Some(701)] {
        for (flags, seq, len, rfc793, freebsd) in CONTRAST {
            let seg = segment(flags, seq, len, ts);
            for (stack, verdict) in [(TimeWaitStack::Rfc793, rfc793), (TimeWaitStack::FreeBsd, freebsd)] {
                let tw = entry(Substate::TimeWait, Some(700));
                let found = tw.on_segment(&seg, &under(stack), SimTime::ZERO);
                assert_eq!(found, verdict, "{stack:?}: {flags:?} seq {seq} len {len}");
            }
        }
    }
}

#[test]
fn a_timestamp_that_nothing_renewed_protects_for_its_time_only() {
    let older = segment(Flags::SYN, RCV_NXT + 1, 0, Some(699));
    let tw = entry(Substate::TimeWait, Some(700));
    for memory in [2_147, 24 * 86_400] {
        let config = TcpConfig {
            paws_memory: SimDuration::from_secs(memory),
            ..config(false)
        };
        let at = |secs| tw.on_segment(&older, &config, SimTime::ZERO + SimDuration::from_secs(secs));
        assert!(matches!(at(memory - 1), Verdict::Ack { restart: true, .. }));
        assert_eq!(at(memory), NEWER);
    }
}

#[test]
fn connect_takes_over_a_time_wait_when_its_kernel_says_it_is_old_enough() {
    // The host has been up for 300 ms more than whole seconds.
    let clock = HostClock {
        isn_secret: 1,
        ts_secret: 2,
        uptime: SimDuration::from_millis(1_000_300),
        wall_ticks: 0,
    };
    let tw = |ts| entry(Substate::TimeWait, ts);
    let fin_wait2 = entry(Substate::FinWait2, Some(700));
    let reuse = |tw: &TimeWait, tw_reuse, tw_reuse_age, ms: u64| {
        let config = TcpConfig {
            tw_reuse,
            tw_reuse_age,
            tw_reuse_in_fin_wait2: tw_reuse_age == TwReuseAge::TwoSeconds,
            ..config(false)
        };
        let now = SimTime::ZERO + SimDuration::from_millis(ms);
        tw.reuse(&config, &clock, SimTime::ZERO, now)
    };
    // Its timestamp came at 0.3 s of a second: the next second begins after 700 ms.
    for (age, too_young, old_enough) in [
        (TwReuseAge::TwoSeconds, 1_699, 1_700),
        (TwReuseAge::EarlierSecond, 699, 700),
        (TwReuseAge::Delay, 1_000, 1_001),
    ] {
        let taken = Inherited {
            isn: SeqNum(SND_NXT + 65_537),
            ts_recent: tw(Some(700)).ts_recent.unwrap(),
        };
        assert_eq!(
            reuse(&tw(Some(700)), TwReuse::Global, age, too_young),
            None,
            "{age:?}"
        );
        assert_eq!(
            reuse(&tw(Some(700)), TwReuse::Global, age, old_enough),
            Some(taken),
            "{age:?}"
        );
        assert_eq!(
            reuse(&tw(None), TwReuse::Global, age, 60_000),
            None,
            "no timestamps"
        );
        for off in [TwReuse::Off, TwReuse::Loopback] {
            assert_eq!(reuse(&tw(Some(700)), off, age, 60_000), None);
        }
        let of_fin_wait2 = reuse(&fin_wait2, TwReuse::Global, age, 60_000);
        assert_eq!(of_fin_wait2.is_some(), age == TwReuseAge::TwoSeconds);
    }
}

/// Shortest and longest of a timer armed in each millisecond of a minute.
fn shortest_and_longest(timer: TimeWaitTimer, hz: u32, nominal: SimDuration) -> (f64, f64) {
    let config = TcpConfig {
        time_wait_timer: timer,
        ..config(false)
    };
    let timers = KernelTimers {
        hz,
        phase: SimDuration::ZERO,
    };
    let lives = (0..60_000_u64).map(|ms| {
        let now = SimTime::ZERO + SimDuration::from_millis(ms);
        time_wait_expiry(&config, &timers, now, nominal)
            .since(now)
            .as_secs_f64()
    });
    lives.fold((f64::MAX, 0.0), |(low, high), life| {
        (life.min(low), life.max(high))
    })
}

/// The table of the page, from the timers of the code.
fn table_of_lives() -> String {
    let mut table = "| timer | HZ | nominal | shortest | longest |\n|---|---|---|---|---|\n".to_owned();
    for (timer, name) in [
        (TimeWaitTimer::Wheel, "wheel"),
        (TimeWaitTimer::Calendar, "calendar"),
    ] {
        for (hz, nominal) in [(100, 60), (250, 5), (250, 60), (250, 300), (300, 60), (1000, 60)] {
            if timer == TimeWaitTimer::Calendar && hz != 1000 {
                continue;
            }
            let (low, high) = shortest_and_longest(timer, hz, SimDuration::from_secs(nominal));
            writeln!(
                table,
                "| {name} | {hz} | {nominal} s | {low:.2} s | {high:.2} s |"
            )
            .expect("a String takes all");
        }
    }
    table
}

#[test]
fn the_page_shows_how_long_time_wait_lasts() {
    assert_shown("lives", &table_of_lives());
}

/// What the three stacks do with the same segments, without timestamps.
fn table_of_contrast() -> String {
    let mut table = "| segment | Linux | RFC 793 | FreeBSD |\n|---|---|---|---|\n".to_owned();
    for (flags, seq, payload_len, ..) in CONTRAST {
        let fact = Fact {
            substate: Substate::TimeWait,
            rfc1337: false,
            recorded: None,
            flags,
            seq,
            payload_len,
            tsval: None,
            verdict: SWALLOW,
        };
        let cells = [
            TimeWaitStack::Linux,
            TimeWaitStack::Rfc793,
            TimeWaitStack::FreeBsd,
        ]
        .map(|stack| {
            let seg = segment(flags, seq, payload_len, None);
            let tw = entry(Substate::TimeWait, None);
            let (answer, timer) = verdict_text(tw.on_segment(&seg, &under(stack), SimTime::ZERO));
            format!("{answer}; {timer}")
        });
        writeln!(table, "| {} | {} |", fact.segment_text(), cells.join(" | ")).expect("a String takes all");
    }
    table
}

#[test]
fn the_page_shows_how_the_stacks_differ() {
    assert_shown("contrast", &table_of_contrast());
}

proptest! {
    #[test]
    fn the_wheel_is_never_early_and_the_calendar_by_a_slot_at_most(
        hz in prop::sample::select(vec![100_u32, 250, 300, 1000]),
        phase in 0_u64..1_000_000_000_000,
        now in 0_u64..1_000_000_000_000,
        secs in 1_u64..600,
    ) {
        let timers = KernelTimers { hz, phase: SimDuration::from_nanos(phase) };
        let (now, nominal) = (SimTime::from_nanos(now), SimDuration::from_secs(secs));
        let life = |time_wait_timer| {
            let config = TcpConfig { time_wait_timer, ..config(false) };
            time_wait_expiry(&config, &timers, now, nominal).since(now)
        };
        prop_assert!(life(TimeWaitTimer::Wheel) > nominal);
        let slot = SimDuration::from_millis(7_500);
        let calendar = life(TimeWaitTimer::Calendar);
        prop_assert!(calendar <= SimDuration::from_secs(60) && calendar > SimDuration::ZERO);
        if secs < 53 {
            prop_assert!(calendar >= nominal && calendar <= nominal + slot * 2);
        } else {
            prop_assert!(calendar >= slot * 7);
        }
    }
}
