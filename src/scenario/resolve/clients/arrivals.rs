//! `clients.arrivals` and what belongs to each of them.

use csv::StringRecord;

use super::super::Notes;
use crate::model::client::{Arrivals, Diurnal, Mmpp, MmppState, NextState, RatePoint, RateProfile, Trace};
use crate::model::distribution::Distribution;
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::reader::{MAX_RUN, MAX_TIMEOUT, Reader};
use crate::scenario::words::parse_seconds;
use crate::units::{Rate, SimDuration};

/// States of an MMPP at most.
const MAX_STATES: usize = 100;
/// Points of a profile at most.
const MAX_POINTS: usize = 10_000;
/// Arrivals of a trace at most; each takes eight octets.
const MAX_TRACE: usize = 10_000_000;
/// The shortest time that is not zero.
const TICK: SimDuration = SimDuration::from_nanos(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Process {
    Poisson,
    Constant,
    Mmpp,
    Profile,
    Diurnal,
    Trace,
    ClosedLoop,
}

/// The words for them.
const PROCESSES: [(&str, Process); 7] = [
    ("poisson", Process::Poisson),
    ("constant", Process::Constant),
    ("mmpp", Process::Mmpp),
    ("rate-profile", Process::Profile),
    ("diurnal", Process::Diurnal),
    ("trace", Process::Trace),
    ("closed-loop", Process::ClosedLoop),
];

/// A key of some process: who needs it, who may have it, and an example.
struct Rule {
    key: &'static str,
    needed: &'static [Process],
    allowed: &'static [Process],
    example: &'static str,
}

use Process::{ClosedLoop, Constant, Diurnal as Day, Mmpp as Modulated, Poisson, Profile, Trace as Written};

#[rustfmt::skip]
const RULES: [Rule; 9] = [
    Rule { key: "rate", needed: &[Poisson, Constant, Day], allowed: &[Poisson, Constant, Day], example: "rate = \"350/s\"" },
    Rule { key: "users", needed: &[ClosedLoop], allowed: &[ClosedLoop], example: "users = 100" },
    Rule { key: "think_time", needed: &[], allowed: &[ClosedLoop], example: "think_time = \"1s\"" },
    Rule { key: "pacing", needed: &[], allowed: &[ClosedLoop], example: "pacing = \"10s\"" },
    Rule { key: "ramp_up", needed: &[], allowed: &[ClosedLoop], example: "ramp_up = \"60s\"" },
    Rule { key: "mmpp", needed: &[Modulated], allowed: &[Modulated], example: "mmpp = { states = [{ rate = \"50/s\", mean_dwell = \"9s\" }, { rate = \"500/s\", mean_dwell = \"1s\" }] }" },
    Rule { key: "rate_profile", needed: &[Profile], allowed: &[Profile], example: "rate_profile = [{ at = \"0s\", rate = \"100/s\" }, { at = \"60s\", rate = \"500/s\" }]" },
    Rule { key: "diurnal", needed: &[Day], allowed: &[Day], example: "diurnal = { peak_to_mean = 1.6 }" },
    Rule { key: "trace", needed: &[Written], allowed: &[Written], example: "trace = \"arrivals.csv\"" },
];

pub(super) fn resolve(reader: &Reader<'_>, notes: &mut Notes) -> Arrivals {
    let process = reader.choice("arrivals", &PROCESSES).unwrap_or(Process::Poisson);
    for rule in &RULES {
        let has = reader.has(rule.key);
        if !has && rule.needed.contains(&process) {
            reader.missing(rule.key, rule.example);
        }
        if has && !rule.allowed.contains(&process) {
            notes.add(format!(
                "`clients.{}` has no effect with these `clients.arrivals`",
                rule.key
            ));
        }
    }
    let rate = reader.rate("rate").unwrap_or(Rate::per_second(1));
    // Everything is read, for what has no effect may be wrong all the same.
    let closed_loop = closed_loop(reader, process, notes);
    let mmpp = mmpp(&reader.table("mmpp"));
    let profile = rate_profile(reader, process, notes);
    let diurnal = diurnal(&reader.table("diurnal"), rate);
    let trace = trace(reader);
    let instead = Arrivals::Poisson { rate };
    match process {
        Process::Poisson => instead,
        Process::Constant => Arrivals::Constant { rate },
        Process::Mmpp => mmpp.map_or(instead, Arrivals::Mmpp),
        Process::Profile => profile.map_or(instead, Arrivals::Profile),
        Process::Diurnal => diurnal.map_or(instead, Arrivals::Diurnal),
        Process::Trace => trace.map_or(instead, Arrivals::Trace),
        Process::ClosedLoop => closed_loop,
    }
}

fn closed_loop(reader: &Reader<'_>, process: Process, notes: &mut Notes) -> Arrivals {
    let users = reader.count("users", 1..=1_000_000).unwrap_or(1);
    let think_time = reader.distribution("think_time");
    let pacing = if reader.is_none_word("pacing") {
        None
    } else {
        reader.timeout("pacing")
    };
    let ramp_up = reader.duration("ramp_up", SimDuration::ZERO, MAX_RUN);
    let has_pause = reader.has("think_time") || reader.has("pacing");
    if process == Process::ClosedLoop && !has_pause {
        reader.missing("think_time", "think_time = \"1s\", or pacing = \"10s\"");
    }
    if process == Process::ClosedLoop && users == 1 && ramp_up.is_some_and(|time| time > SimDuration::ZERO) {
        notes.add("`clients.ramp_up` has no effect with one user");
    }
    let none = SimDuration::ZERO;
    Arrivals::ClosedLoop {
        users,
        think_time: think_time.unwrap_or(Distribution::Constant(none)),
        pacing,
        ramp_up: ramp_up.unwrap_or(none),
    }
}

fn too_many(reader: &Reader<'_>, what: &str, count: usize, most: usize) -> bool {
    let over = count > most;
    if over {
        reader.push(Diagnostic::new(
            &reader.at(),
            format!("{count} {what} are too many"),
            format!("at most {most}"),
        ));
    }
    over
}

fn mmpp(reader: &Reader<'_>) -> Option<Mmpp> {
    let tables = reader.tables("states");
    let next = reader.choice(
        "next",
        &[
            ("cyclic", NextState::Cyclic),
            ("equal-chance", NextState::EqualChance),
        ],
    );
    if !reader.is_present() {
        return None;
    }
    if !reader.has("states") {
        reader.missing(
            "states",
            "states = [{ rate = \"50/s\", mean_dwell = \"9s\" }, { rate = \"500/s\", mean_dwell = \"1s\" }]",
        );
        return None;
    }
    if too_many(reader, "states of an MMPP", tables.len(), MAX_STATES) {
        return None;
    }
    let mut states = Vec::with_capacity(tables.len());
    for table in &tables {
        let (rate, mean_dwell) = (table.rate_or_zero("rate"), table.timeout("mean_dwell"));
        for (key, example) in [("rate", "rate = \"50/s\""), ("mean_dwell", "mean_dwell = \"9s\"")] {
            if !table.has(key) {
                table.missing(key, example);
            }
        }
        states.push(MmppState {
            rate: rate?,
            mean_dwell: mean_dwell?,
        });
    }
    if states.len() < 2 {
        reader.push(
            Diagnostic::new(
                &reader.span("states"),
                "an MMPP of one state is no MMPP",
                "expected two states or more",
            )
            .help("a single rate is arrivals = \"poisson\""),
        );
        return None;
    }
    if states.iter().all(|state| state.rate.is_zero()) {
        reader.push(Diagnostic::new(
            &reader.span("states"),
            "every state has rate 0",
            "nothing would ever arrive",
        ));
        return None;
    }
    Some(Mmpp {
        states: states.into(),
        next: next.unwrap_or(NextState::Cyclic),
    })
}

fn rate_profile(reader: &Reader<'_>, process: Process, notes: &mut Notes) -> Option<RateProfile> {
    let tables = reader.tables("rate_profile");
    let period = reader.duration("rate_profile_period", TICK, MAX_TIMEOUT);
    if reader.has("rate_profile_period") && process != Process::Profile {
        notes.add("`clients.rate_profile_period` has no effect with these `clients.arrivals`");
    }
    if too_many(reader, "points of a rate profile", tables.len(), MAX_POINTS) {
        return None;
    }
    let mut points: Vec<RatePoint> = Vec::with_capacity(tables.len());
    for table in &tables {
        let (at, rate) = (
            table.duration("at", SimDuration::ZERO, MAX_TIMEOUT),
            table.rate_or_zero("rate"),
        );
        for (key, example) in [("at", "at = \"0s\""), ("rate", "rate = \"100/s\"")] {
            if !table.has(key) {
                table.missing(key, example);
            }
        }
        let point = RatePoint { at: at?, rate: rate? };
        let problem = match (points.last(), period) {
            (Some(before), _) if point.at < before.at => {
                Some(format!("the point before it is at {}", before.at))
            }
            (_, Some(period)) if point.at > period => Some(format!("the period is {period}")),
            _ => None,
        };
        if let Some(problem) = problem {
            let message = "a point of `clients.rate_profile` is out of order";
            table.push(
                Diagnostic::new(&table.span("at"), message, problem)
                    .help("points stand in order of time, inside the period; two at one time are a step"),
            );
            return None;
        }
        points.push(point);
    }
    let profile = RateProfile::new(points, period)?;
    // Without a period the last rate holds for ever, so that the longest run sees all of them.
    if profile.integral(period.unwrap_or(MAX_TIMEOUT)) <= 0.0 {
        reader.push(Diagnostic::new(
            &reader.span("rate_profile"),
            "every rate of the profile is 0",
            "nothing would ever arrive",
        ));
        return None;
    }
    Some(profile)
}

fn diurnal(reader: &Reader<'_>, rate: Rate) -> Option<Diurnal> {
    let peak_to_mean = reader.number("peak_to_mean", 1.0..=2.0);
    let day = SimDuration::from_secs(86_400);
    let period = reader
        .duration("period", SimDuration::from_millis(1), MAX_TIMEOUT)
        .unwrap_or(day);
    let peak_at = reader.duration("peak_at", SimDuration::ZERO, MAX_TIMEOUT);
    if !reader.is_present() {
        return None;
    }
    if !reader.has("peak_to_mean") {
        reader.missing("peak_to_mean", "peak_to_mean = 1.6");
    }
    if peak_at.is_some_and(|at| at > period) {
        reader.push(Diagnostic::new(
            &reader.span("peak_at"),
            "the peak lies behind the end of the day",
            format!("the period is {period}"),
        ));
    }
    Some(Diurnal {
        rate,
        peak_to_mean: peak_to_mean?,
        period,
        peak_at: peak_at.unwrap_or(SimDuration::from_nanos(period.as_nanos() / 2)),
    })
}

fn trace(reader: &Reader<'_>) -> Option<Trace> {
    let name = reader.text("trace")?;
    let mut before = 0;
    let row = |record: &StringRecord| {
        let at = record
            .get(0)
            .and_then(parse_seconds)
            .filter(|at| *at <= MAX_TIMEOUT)
            .map(SimDuration::as_nanos)
            .ok_or("seconds since the start, from 0 up to a year")?;
        if at < before {
            return Err("a time that is not before the one above".to_owned());
        }
        before = at;
        Ok(at)
    };
    let times = reader.table_file(&reader.path("trace"), &reader.span("trace"), name, MAX_TRACE, row)?;
    Trace::new(times)
}
