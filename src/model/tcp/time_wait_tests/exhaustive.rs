//! Every kind of segment at every kind of timewait socket, against a list of rows written from the kernel's documented
//! order of decisions and not from the model.

use super::{RCV_NXT, WND, config, entry, segment};
use crate::model::tcp::time_wait::{Substate, Verdict};
use crate::units::{SimDuration, SimTime};
use crate::wire::Flags;

/// One segment at one socket.
#[derive(Debug, Clone, Copy)]
struct Case {
    fin_wait2: bool,
    /// The recorded timestamp.
    recorded: Option<u32>,
    /// Since when it is there.
    age: SimDuration,
    rfc1337: bool,
    flags: Flags,
    seq: u32,
    len: u32,
    tsval: Option<u32>,
    /// Since when the last limited ACK is out.
    last_ack: Option<SimDuration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Nothing,
    Ack,
    SynAck,
    Rst,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    Gone,
    RunsOn,
    Anew,
}

/// What becomes of it; `records`: the segment's timestamp is remembered.
type Outcome = (Answer, Timer, bool);

/// The first row whose condition holds decides.
type Row = (fn(&Case) -> bool, Outcome);

/// The kernel's comparison: a distance of 1 to 2^31.
const fn after(a: u32, b: u32) -> bool {
    let distance = a.wrapping_sub(b);
    distance >= 1 && distance <= 1 << 31
}

impl Case {
    fn end(&self) -> u32 {
        self.seq.wrapping_add(self.space())
    }

    fn space(&self) -> u32 {
        self.len + u32::from(self.flags.syn()) + u32::from(self.flags.fin())
    }

    /// Distance of the segment's timestamp from the recorded one, if there are both.
    fn ts_distance(&self) -> Option<u32> {
        Some(self.tsval?.wrapping_sub(self.recorded?))
    }

    fn paws_reject(&self) -> bool {
        let older = self.ts_distance().is_some_and(|distance| distance > 1 << 31);
        let rst_lifted = self.flags.rst() && self.age >= SimDuration::from_secs(60);
        older && self.recorded != Some(0) && !rst_lifted && self.age < SimDuration::from_secs(2_147)
    }

    fn newer_ts(&self) -> bool {
        self.ts_distance()
            .is_some_and(|distance| (1..=1 << 31).contains(&distance))
    }

    fn exact(&self) -> bool {
        !self.paws_reject() && self.seq == RCV_NXT
    }

    fn opens(&self) -> bool {
        let pure_syn = self.flags.syn() && !self.flags.rst() && !self.flags.ack();
        pure_syn && !self.paws_reject() && (after(self.seq, RCV_NXT) || self.newer_ts())
    }

    fn in_window(&self) -> bool {
        let right = RCV_NXT + WND;
        self.seq == RCV_NXT
            || (after(self.end(), RCV_NXT) && after(right, self.seq))
            || (self.seq == right && self.space() == 0)
    }

    /// The ACK is held back: one in 500 ms, unless the segment is data.
    fn limited(&self) -> bool {
        let recent = self
            .last_ack
            .is_some_and(|ago| ago < SimDuration::from_millis(500));
        recent && (self.flags.syn() || self.space() == 0)
    }
}

const TIME_WAIT_ROWS: [Row; 8] = [
    (
        |c| c.exact() && c.flags.rst() && !c.rfc1337,
        (Answer::Nothing, Timer::Gone, false),
    ),
    (
        |c| c.exact() && c.flags.rst(),
        (Answer::Nothing, Timer::RunsOn, true),
    ),
    (
        |c| c.exact() && c.space() == 0,
        (Answer::Nothing, Timer::Anew, true),
    ),
    (
        |c| c.opens() && c.flags.fin(),
        (Answer::Nothing, Timer::Gone, false),
    ),
    (Case::opens, (Answer::SynAck, Timer::Gone, false)),
    (
        |c| !c.flags.rst() && (c.paws_reject() || c.flags.ack()),
        (Answer::Ack, Timer::Anew, false),
    ),
    (|c| !c.flags.rst(), (Answer::Ack, Timer::RunsOn, false)),
    (|_| true, (Answer::Nothing, Timer::RunsOn, false)),
];

const FIN_WAIT2_ROWS: [Row; 6] = [
    (
        |c| c.paws_reject() || !c.in_window(),
        (Answer::Ack, Timer::RunsOn, false),
    ),
    (|c| c.flags.rst(), (Answer::Nothing, Timer::Gone, false)),
    (
        |c| c.flags.syn() && !after(RCV_NXT, c.seq),
        (Answer::Rst, Timer::Gone, false),
    ),
    (
        |c| !c.flags.ack() || !after(c.end(), RCV_NXT) || c.space() == 0,
        (Answer::Nothing, Timer::RunsOn, false),
    ),
    (
        |c| !c.flags.fin() || c.end() != RCV_NXT + 1,
        (Answer::Rst, Timer::Gone, false),
    ),
    // The socket is in TIME_WAIT from here on; this ACK knows no limit.
    (|_| true, (Answer::Ack, Timer::Anew, true)),
];

fn expected(case: &Case) -> Outcome {
    let rows: &[Row] = if case.fin_wait2 {
        &FIN_WAIT2_ROWS
    } else {
        &TIME_WAIT_ROWS
    };
    let row = rows
        .iter()
        .position(|row| (row.0)(case))
        .expect("the last row takes all");
    let (mut answer, timer, records) = rows[row].1;
    let unlimited = case.fin_wait2 && row + 1 == rows.len();
    if answer == Answer::Ack && case.limited() && !unlimited {
        answer = Answer::Nothing;
    }
    let both = case.recorded.is_some() && case.tsval.is_some();
    (answer, timer, records && both)
}

fn modelled(case: &Case) -> Outcome {
    let now = SimTime::ZERO + SimDuration::from_secs(10_000);
    let before = |ago: SimDuration| SimTime::from_nanos(now.as_nanos() - ago.as_nanos());
    let substate = if case.fin_wait2 {
        Substate::FinWait2
    } else {
        Substate::TimeWait
    };
    let mut tw = entry(substate, case.recorded);
    if let Some(recent) = &mut tw.ts_recent {
        recent.at = before(case.age);
    }
    tw.last_oow_ack = case.last_ack.map(before);
    let seg = segment(case.flags, case.seq, case.len, case.tsval);
    let config = config(case.rfc1337);
    let verdict = tw.on_segment(&seg, &config, now);
    let (answer, timer) = match verdict {
        Verdict::Kill => (Answer::Nothing, Timer::Gone),
        Verdict::Swallow { restart: true } => (Answer::Nothing, Timer::Anew),
        Verdict::Swallow { restart: false } => (Answer::Nothing, Timer::RunsOn),
        Verdict::AcceptSyn(_) => (Answer::SynAck, Timer::Gone),
        Verdict::Reset => (Answer::Rst, Timer::Gone),
        Verdict::EnterTimeWait => (Answer::Ack, Timer::Anew),
        Verdict::Ack { restart, .. } => {
            let answer = if tw.may_ack(&seg, &config, now) {
                Answer::Ack
            } else {
                Answer::Nothing
            };
            (answer, if restart { Timer::Anew } else { Timer::RunsOn })
        }
    };
    tw.apply(verdict, &seg, now);
    let records = tw.ts_recent.is_some_and(|recent| recent.at == now);
    (answer, timer, records)
}

#[test]
fn every_segment_at_every_timewait_socket_is_treated_as_the_rows_say() {
    let half = 1_u32 << 31;
    let edges = [RCV_NXT, RCV_NXT + WND, RCV_NXT + half, RCV_NXT + WND + half];
    let sequences: Vec<_> = edges
        .iter()
        .flat_map(|edge| [-6_i32, -2, -1, 0, 1, 2, 6].map(|by| edge.wrapping_add_signed(by)))
        .collect();
    let timestamps = [
        None,
        Some(700),
        Some(701),
        Some(699),
        Some(700 + half),
        Some(700 + half - 1),
        Some(700 + half + 1),
        Some(0),
    ];
    let ms = SimDuration::from_millis;
    let mut cases = 0;
    for set in 0..16_u8 {
        let flags = [Flags::FIN, Flags::SYN, Flags::RST, Flags::ACK];
        let chosen = flags
            .into_iter()
            .enumerate()
            .filter(|(bit, _)| set >> bit & 1 == 1);
        let flags = chosen.fold(Flags::NONE, |all, (_, flag)| all.with(flag));
        for (fin_wait2, recorded) in [false, true]
            .into_iter()
            .flat_map(|fin_wait2| [None, Some(700), Some(0)].map(|recorded| (fin_wait2, recorded)))
        {
            for &seq in &sequences {
                for len in [0, 1, 5] {
                    for tsval in timestamps {
                        for (rfc1337, age, last_ack) in [
                            (false, ms(10_000), None),
                            (true, ms(10_000), Some(ms(499))),
                            (false, ms(60_000), Some(ms(500))),
                            (true, ms(2_147_000), None),
                        ] {
                            let case = Case {
                                fin_wait2,
                                recorded,
                                age,
                                rfc1337,
                                flags,
                                seq,
                                len,
                                tsval,
                                last_ack,
                            };
                            assert_eq!(modelled(&case), expected(&case), "{case:?}");
                            cases += 1;
                        }
                    }
                }
            }
        }
    }
    assert_eq!(cases, 16 * 6 * 28 * 3 * 8 * 4);
}
