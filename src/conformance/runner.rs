//! Plays a script against the machine: waits, injects, calls, and looks at what is sent.
//!
//! Times are packetdrill's (`run.c`): an event that is not a segment of the kernel waits for its time; a relative time
//! counts from the present, or from the event before where both are segments to the kernel; a segment of the kernel is
//! looked for at once, and its own time is compared. Every call takes no time.

use super::ast::{Action, Call, Event, Icmp, Nanos, Script, Segment, TcpOption, Time};
use super::calls::{Process, Resumed, Returned};
use super::code::{self, CodeProblem, Variables};
use super::expect::{self, Flow, Progress};
use super::machine::{Machine, Sent};
use super::options::RunOptions;
use super::shell::Shell;
use super::symbols::{errno_name, evaluate, value};
use super::{Problem, ProblemKind, icmp, tcp_info};
use crate::profile::Profile;
use crate::units::{Endpoint, FourTuple, SimDuration, SimTime};

/// How long packetdrill waits for a segment past its time (`sniff_outbound_live_packet()`).
const SNIFF: SimDuration = SimDuration::from_secs(2);
/// How long it waits for a blocking call to return before the next one (`await_idle_thread()`).
const AWAIT_CALL: SimDuration = SimDuration::from_secs(1);
/// Ports of the script's side, one after the other.
const FIRST_REMOTE_PORT: u16 = 33_000;

/// A call that has not returned.
struct Pending<'a> {
    call: &'a Call,
    line: usize,
    /// When it should return, in script time.
    end: SimDuration,
    resumed: Resumed,
}

/// An event's times in script time, once it is its turn.
#[derive(Clone, Copy)]
struct Due {
    time: Time,
    at: SimDuration,
    until: SimDuration,
}

impl Due {
    fn is_absolute(self) -> bool {
        matches!(self.time, Time::Absolute(_) | Time::AbsoluteRange(..))
    }
}

/// What is remembered of the event before.
#[derive(Clone, Copy)]
struct Last {
    at: SimDuration,
    /// It was a segment to the kernel.
    inbound: bool,
    /// Its time was absolute.
    absolute: bool,
}

/// Runs one script.
pub struct Runner<'a> {
    machine: Machine,
    process: Process,
    shell: Shell<'a>,
    options: RunOptions,
    start: SimTime,
    next_port: u16,
    pending: Option<Pending<'a>>,
    variables: Variables,
    remarks: Vec<Problem>,
    last: Option<Last>,
}

impl<'a> Runner<'a> {
    /// A runner on a freshly booted machine.
    pub fn new(profile: &Profile, options: RunOptions, files: &'a dyn Fn(&str) -> Option<String>) -> Self {
        let machine = Machine::new(profile);
        Self {
            start: machine.now(),
            machine,
            process: Process::new(options.addresses),
            shell: Shell::new(files),
            options,
            next_port: FIRST_REMOTE_PORT,
            pending: None,
            variables: Variables::new(),
            remarks: Vec::new(),
            last: None,
        }
    }

    /// Plays the whole script; what differed where that is allowed.
    ///
    /// # Errors
    /// The first event that was not as expected or is not supported.
    pub fn run(mut self, script: &'a Script) -> Result<Vec<Problem>, Problem> {
        if let Some(init) = &script.init {
            self.shell(init.line, &init.text)?;
        }
        for event in &script.events {
            self.event(event)?;
        }
        self.await_pending()?;
        Ok(self.remarks)
    }

    /// The present in script time.
    fn now(&self) -> SimDuration {
        self.machine.now().since(self.start)
    }

    fn event(&mut self, event: &'a Event) -> Result<(), Problem> {
        let line = event.line;
        let due = self.due(event)?;
        match &event.action {
            Action::Unsupported(what) => return Err(Problem::skip(line, what)),
            Action::Outbound(segment) => self.outbound(line, due, segment)?,
            Action::Inbound(segment) => {
                self.wait(line, due, "a segment to the kernel")?;
                self.inbound(line, segment)?;
            }
            Action::Icmp(message) => {
                self.wait(line, due, "an ICMP message to the kernel")?;
                self.icmp(line, message)?;
            }
            Action::Call(call) => {
                self.await_pending()?;
                self.wait(line, due, "a system call")?;
                self.call(line, due, call)?;
            }
            Action::Shell(text) => {
                self.wait(line, due, "a command")?;
                self.shell(line, text)?;
            }
            Action::Code(text) => {
                self.wait(line, due, "a look at TCP_INFO")?;
                self.code(line, text)?;
            }
        }
        self.last = Some(Last {
            at: due.at,
            inbound: matches!(event.action, Action::Inbound(_)),
            absolute: due.is_absolute(),
        });
        Ok(())
    }

    /// When an event is due.
    fn due(&self, event: &Event) -> Result<Due, Problem> {
        let base = match self.last {
            Some(last) if last.inbound && matches!(event.action, Action::Inbound(_)) => last.at,
            _ => self.now(),
        };
        let span = |from: SimDuration, to: SimDuration| Due {
            time: event.time,
            at: from,
            until: to,
        };
        let nanos = |nanos: Nanos| SimDuration::from_nanos(nanos);
        let due = match event.time {
            Time::Absolute(at) => span(nanos(at), nanos(at)),
            Time::AbsoluteRange(from, to) => span(nanos(from), nanos(to)),
            Time::Relative(at) => span(base + nanos(at), base + nanos(at)),
            Time::RelativeRange(from, to) => span(base + nanos(from), base + nanos(to)),
            Time::Any => span(base, base),
        };
        match self.last {
            None if due.at > SimDuration::ZERO => Err(Problem::fail(
                event.line,
                "a first event at time 0",
                seconds(due.at),
            )),
            Some(last) if last.absolute && due.is_absolute() && due.at < last.at => Err(Problem::fail(
                event.line,
                format!("a time from {} on", seconds(last.at)),
                seconds(due.at),
            )),
            _ => Ok(due),
        }
    }

    /// Lets time pass until an event is due.
    fn wait(&mut self, line: usize, due: Due, what: &str) -> Result<(), Problem> {
        self.run_until(self.start + due.at)?;
        let late = self.now().saturating_sub(due.at);
        if self.last.is_some() && late > self.tolerance(due) {
            let got = format!(
                "it at {}, late because of the events before it",
                seconds(self.now())
            );
            return Err(Problem::fail(line, format!("{what} at {}", seconds(due.at)), got));
        }
        Ok(())
    }

    fn tolerance(&self, due: Due) -> SimDuration {
        let since_last = self
            .last
            .map_or(SimDuration::ZERO, |last| due.at.saturating_sub(last.at));
        let share = SimDuration::from_secs_f64(since_last.as_secs_f64() * self.options.tolerance_share);
        self.options.tolerance.max(share)
    }

    /// Runs the machine up to and with `until`.
    fn run_until(&mut self, until: SimTime) -> Result<(), Problem> {
        self.poll_pending()?;
        while self.step(until)? {}
        Ok(())
    }

    /// Lets what happens next happen if it is due by `limit`: a timer, or the end of a call's patience. Otherwise it is
    /// `limit` now, and false.
    fn step(&mut self, limit: SimTime) -> Result<bool, Problem> {
        let patience = self.pending.as_ref().and_then(|pending| pending.resumed.deadline);
        let sooner = patience.filter(|at| *at < limit && *at > self.machine.now());
        let stepped = self.machine.step(sooner.unwrap_or(limit));
        self.poll_pending()?;
        Ok(stepped || sooner.is_some())
    }

    // ---- segments ----

    fn inbound(&mut self, line: usize, segment: &Segment) -> Result<(), Problem> {
        if segment.flags.has('E') || segment.flags.has('W') {
            return Err(Problem::skip(line, "ECN"));
        }
        if segment
            .options
            .iter()
            .flatten()
            .any(|option| matches!(option, TcpOption::Sack(_)))
        {
            return Err(Problem::skip(
                line,
                "SACK blocks: the stack offers SACK, but does without what it is told",
            ));
        }
        let begins = self
            .process
            .flow
            .as_ref()
            .is_none_or(|flow| flow.progress == Progress::Listening);
        if begins {
            let addresses = self.options.addresses;
            let local = Endpoint::new(addresses.local, addresses.bind_port);
            let remote = Endpoint::new(addresses.remote, self.next_port);
            self.next_port = self.next_port.wrapping_add(1);
            self.process.flow = Some(Flow::begun_by(segment, local, remote));
        }
        let flow = self.process.flow.as_mut().expect("set above if there was none");
        let packet = flow
            .inject(segment, self.options.timestamp_echo_scaled)
            .map_err(|what| Problem::fail(line, "a segment that can be sent", what))?;
        self.machine.receive(&packet);
        self.poll_pending()
    }

    fn icmp(&mut self, line: usize, message: &Icmp) -> Result<(), Problem> {
        let error = icmp::error_of(message).map_err(|what| Problem::skip(line, what))?;
        let Some(flow) = &self.process.flow else {
            return Err(Problem::fail(
                line,
                "a connection that the message is about",
                "no socket",
            ));
        };
        if let Some(error) = error {
            let tuple = FourTuple::new(flow.local, flow.remote);
            let seq = flow.quoted_seq(message.seq);
            self.machine.receive_icmp(tuple, seq, error);
        }
        self.poll_pending()
    }

    fn outbound(&mut self, line: usize, due: Due, expected: &Segment) -> Result<(), Problem> {
        let Some(flow) = &mut self.process.flow else {
            return Err(Problem::fail(
                line,
                "a connection that could send this",
                "no socket",
            ));
        };
        flow.announce(expected);
        let give_up = match due.time {
            // What will never come is not waited for: the machine has no timer left then.
            Time::Any => SimTime::NEVER,
            _ => self.start + due.until + SNIFF,
        };
        let sent = self.sniff(give_up)?;
        let Some(sent) = sent else {
            let got = format!("nothing until {}", seconds(self.now()));
            return Err(Problem::fail(line, describe(expected, due), got));
        };
        let (got, at) = self.aggregate(sent, expected, give_up)?;
        let ticks = self.options.timestamp_tick.map(|tick| {
            let share = SimDuration::from_secs_f64(due.at.as_secs_f64() * self.options.tolerance_share);
            let tolerance = self.options.tolerance.max(share);
            (tolerance.as_nanos() / tick.as_nanos()) as u32
        });
        let at = at.since(self.start);
        let tolerance = self.tolerance(due);
        let untimely = due.time != Time::Any && (at + tolerance < due.at || at > due.until + tolerance);
        let what = match expect::difference(expected, &got, ticks) {
            Some(what) => format!("{} {got} ({what})", seconds(at)),
            None if untimely => format!("it at {} (tolerance {tolerance})", seconds(at)),
            None => return Ok(()),
        };
        let problem = Problem::fail(line, describe(expected, due), what);
        if self.options.non_fatal_packets && got.len == expected.len {
            self.remarks.push(problem);
            return Ok(());
        }
        Err(problem)
    }

    /// The next segment of the connection under test, sent by `give_up`.
    fn sniff(&mut self, give_up: SimTime) -> Result<Option<Sent>, Problem> {
        loop {
            while let Some(sent) = self.machine.sent.pop_front() {
                let flow = self.process.flow.as_mut();
                if flow.is_some_and(|flow| flow.owns(&sent.packet)) {
                    return Ok(Some(sent));
                }
            }
            if give_up == SimTime::NEVER && self.machine.stack.next_timer().is_none() {
                return Ok(None);
            }
            if !self.step(give_up)? && self.machine.sent.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Puts neighbouring segments together until they have as much payload as the script expects: the kernel may cut it
    /// as it likes (`do_outbound_script_packet()`). The result is as of the last of them, the number of the first.
    fn aggregate(
        &mut self,
        first: Sent,
        expected: &Segment,
        give_up: SimTime,
    ) -> Result<(Segment, SimTime), Problem> {
        let translate = |runner: &mut Self, sent: &Sent| {
            let flow = runner.process.flow.as_mut().expect("the segment is its");
            flow.read_sent(&sent.packet, expected)
        };
        let mut whole = translate(self, &first);
        let mut at = first.at;
        let size = whole.len;
        while whole.len < expected.len && !self.options.strict_segments {
            let Some(sent) = self.sniff(give_up)? else { break };
            let next = translate(self, &sent);
            let follows = next.seq == whole.seq.wrapping_add(whole.len) && next.len > 0;
            let whole_segment = next.len == size || whole.len + next.len >= expected.len;
            if !follows || !whole_segment {
                self.machine.sent.push_front(sent);
                break;
            }
            at = sent.at;
            whole = Segment {
                seq: whole.seq,
                len: whole.len + next.len,
                ..next
            };
        }
        Ok((whole, at))
    }

    // ---- calls ----

    fn call(&mut self, line: usize, due: Due, call: &'a Call) -> Result<(), Problem> {
        let mut resumed = Resumed::default();
        let returned = self.do_call(line, call, &mut resumed)?;
        if returned != Returned::Blocks {
            return check_result(line, call, returned);
        }
        let Some(end) = call.end else {
            return Err(Problem::fail(
                line,
                format!("{} = {}", call.name, call.result),
                "a call that blocks",
            ));
        };
        // As the start of the call is, its end is relative to what was the present then.
        let base = match due.time {
            Time::Relative(offset) => due.at.saturating_sub(SimDuration::from_nanos(offset)),
            _ => SimDuration::ZERO,
        };
        resumed.again = true;
        self.pending = Some(Pending {
            call,
            line,
            end: base + SimDuration::from_nanos(end),
            resumed,
        });
        Ok(())
    }

    fn do_call(&mut self, line: usize, call: &Call, resumed: &mut Resumed) -> Result<Returned, Problem> {
        self.process
            .call(&mut self.machine, call, resumed)
            .map_err(|kind| Problem { line, kind })
    }

    /// Tries the call that blocks again.
    fn poll_pending(&mut self) -> Result<(), Problem> {
        let Some(mut pending) = self.pending.take() else {
            return Ok(());
        };
        let returned = self.do_call(pending.line, pending.call, &mut pending.resumed)?;
        if returned == Returned::Blocks {
            self.pending = Some(pending);
            return Ok(());
        }
        let now = self.now();
        let apart = now
            .saturating_sub(pending.end)
            .max(pending.end.saturating_sub(now));
        if apart > self.options.tolerance {
            let expected = format!("{} to return at {}", pending.call.name, seconds(pending.end));
            return Err(Problem::fail(
                pending.line,
                expected,
                format!("it at {}", seconds(now)),
            ));
        }
        check_result(pending.line, pending.call, returned)
    }

    /// Waits for the call that blocks.
    fn await_pending(&mut self) -> Result<(), Problem> {
        let limit = self.machine.now() + AWAIT_CALL;
        self.poll_pending()?;
        while self.pending.is_some() && self.step(limit)? {}
        match &self.pending {
            None => Ok(()),
            Some(pending) => Err(Problem::fail(
                pending.line,
                format!("{} to return at {}", pending.call.name, seconds(pending.end)),
                format!("no return by {}", seconds(self.now())),
            )),
        }
    }

    fn code(&mut self, line: usize, text: &str) -> Result<(), Problem> {
        let Some(flow) = &self.process.flow else {
            return Err(Problem::fail(line, "a socket to look at", "none"));
        };
        let tuple = FourTuple::new(flow.local, flow.remote);
        let machine = &self.machine;
        code::run(text, &mut self.variables, &|name| {
            tcp_info::value(machine, tuple, name)
        })
        .map_err(|problem| match problem {
            CodeProblem::False(assertion, values) => Problem::fail(line, assertion, values),
            CodeProblem::Unsupported(what) => Problem::skip(line, what),
        })
    }

    fn shell(&mut self, line: usize, text: &str) -> Result<(), Problem> {
        let outcome = self
            .shell
            .run(text, &mut self.machine)
            .map_err(|what| Problem::skip(line, what))?;
        if outcome.status == 0 {
            return Ok(());
        }
        let printed = outcome.stdout.trim();
        let got = format!("status {} and {printed:?}", outcome.status);
        Err(Problem::fail(line, format!("`{text}` to succeed"), got))
    }
}

fn seconds(time: SimDuration) -> String {
    format!("{:.6}", time.as_secs_f64())
}

fn describe(expected: &Segment, due: Due) -> String {
    match due.time {
        Time::Any => format!("* {expected}"),
        Time::AbsoluteRange(..) | Time::RelativeRange(..) => {
            format!("{}~{} {expected}", seconds(due.at), seconds(due.until))
        }
        _ => format!("{} {expected}", seconds(due.at)),
    }
}

/// Compares what a call returned with the script's result and errno (`end_syscall()`).
fn check_result(line: usize, call: &Call, returned: Returned) -> Result<(), Problem> {
    let expected = evaluate(&call.result).map_err(|what| Problem::skip(line, what))?;
    let (got, errno) = match returned {
        Returned::Value(value) => (value, None),
        Returned::Error(errno) => (-1, Some(errno)),
        Returned::Blocks => unreachable!("only calls that have returned are checked"),
    };
    let expected_errno = match &call.errno {
        None => None,
        Some(name) => Some(value(name).ok_or_else(|| Problem::skip(line, format!("errno {name}")))?),
    };
    if got == expected && (expected_errno.is_none() || expected_errno == errno) {
        return Ok(());
    }
    let show = |value: i64, errno: Option<String>| match errno {
        Some(errno) => format!("{} = {value} {errno}", call.name),
        None => format!("{} = {value}", call.name),
    };
    Err(Problem {
        line,
        kind: ProblemKind::Failed {
            expected: show(expected, call.errno.clone()),
            got: show(got, errno.map(errno_name)),
        },
    })
}
