use proptest::prelude::*;

use super::*;
use crate::conformance::ProblemKind;

fn event(text: &str) -> Event {
    let script = parse(text).unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
    script.events.into_iter().next().expect("one event")
}

fn segment(text: &str) -> Segment {
    match event(text).action {
        Action::Inbound(segment) | Action::Outbound(segment) => segment,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn times_are_absolute_relative_ranges_or_any() {
    let table = [
        ("0 > . 0:0(0)", Time::Absolute(0)),
        ("1.5 > . 0:0(0)", Time::Absolute(1_500_000_000)),
        ("+.1 > . 0:0(0)", Time::Relative(100_000_000)),
        ("+0.0000019 > . 0:0(0)", Time::Relative(1_000)),
        (".3~.4 > . 0:0(0)", Time::AbsoluteRange(300_000_000, 400_000_000)),
        (
            "+.3~+.4 > . 0:0(0)",
            Time::RelativeRange(300_000_000, 400_000_000),
        ),
        ("* > . 0:0(0)", Time::Any),
    ];
    for (text, time) in table {
        assert_eq!(event(text).time, time, "{text}");
    }
}

#[test]
fn a_segment_prints_as_it_was_written() {
    let table = [
        "S 0:0(0) win 65535 <mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 8>",
        "FP. 1:11(10) ack 5 win 0",
        "- 1:1(0) win 1",
        "SF 4294967295:4294967295(0) win 1 <sackOK,eol,eol>",
        ". 1:1(0) ack 1 win 2 <nop,nop,sack 1:2 4:5>",
    ];
    for text in table {
        assert_eq!(segment(&format!("0 < {text}")).to_string(), text);
    }
    assert_eq!(
        segment("0 > P. 1:3(2) ack 7 <...>").to_string(),
        "P. 1:3(2) ack 7 <...>"
    );
    assert_eq!(segment("0 > 8080 > 33 R 1:1(0)").ports, Some((8080, 33)));
}

#[test]
fn calls_keep_arguments_result_errno_and_end() {
    let event = event(
        "+.1...0.2 connect(3, ..., [1, A|B], {onoff=1, fd = 4}) = -1 EINPROGRESS (Operation now in progress)",
    );
    let Action::Call(call) = event.action else {
        panic!()
    };
    assert_eq!(call.end, Some(200_000_000));
    assert_eq!(call.errno.as_deref(), Some("EINPROGRESS"));
    assert_eq!(call.result, Expr::Integer(-1));
    let shown: Vec<_> = call.args.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["3", "...", "[1, A|B]", "{onoff=1, fd=4}"]);
    assert_eq!(call.args[3].field("fd"), Some(&Expr::Integer(4)));
}

#[test]
fn a_note_behind_the_result_is_no_errno() {
    let script = parse("0 fcntl(3, F_GETFL) = 0x02 (flags O_RDWR)\n+0 `ss`").unwrap();
    assert_eq!(script.events.len(), 2);
}

#[test]
fn head_and_tail_of_a_script_are_no_events() {
    let script = parse("--a=b\n--c\n`init`\n0 `x`\n`clean`").unwrap();
    let names: Vec<_> = script.options.iter().map(|o| (o.name.as_str(), o.line)).collect();
    assert_eq!(names, [("a", 1), ("c", 2)]);
    assert_eq!((script.init.unwrap().line, script.events.len()), (3, 1));
}

#[test]
fn what_packetdrill_refuses_fails_at_its_line() {
    let table = [
        ("", 1, "an event"),
        ("0 < S 0:0(0)", 1, "win"),
        ("\n0 > S 0:5(4)", 2, "first sequence number"),
        ("0 > X 0:0(0)", 1, "TCP flags"),
        ("0 > S 0:0(0) <mss 1460,nop>", 1, "multiple of 4"),
        ("0 < . 0:0(0) win 1 <...>", 1, "leave them open"),
        ("* < . 0:0(0) win 1", 1, "a single time"),
        ("-1 `x`", 1, "not negative"),
        (".4~.3 > . 0:0(0)", 1, "runs forward"),
        ("0 close(3", 1, "\")\""),
        ("0 close(3) = 0 (never", 1, "remark"),
        ("0 `x`\n`y`\n0 `z`", 3, "clean-up"),
        ("0 > . 0:0(0) <mss 70000>", 1, "octets from 0"),
    ];
    for (text, line, expected) in table {
        let problem = parse(text).expect_err(text);
        assert_eq!(problem.line, line, "{text}");
        let ProblemKind::Failed { expected: said, .. } = &problem.kind else {
            panic!("{text}")
        };
        assert!(said.contains(expected), "{text}: {said}");
    }
}

#[test]
fn what_packetdrill_knows_and_the_runner_does_not_waits_for_its_turn() {
    let text = "0 `x`\n+0 < icmp unreachable frag_needed mtu 1300 [1:1461(1460)]\n+0 > . 1:1(MSS)\n+0 > [ect0] . 1:1(0)\n+0 < S 0:0(0) win 1 <FO,nop,nop>\n+1 `y`";
    let script = parse(text).unwrap();
    let unsupported: Vec<_> = script
        .events
        .iter()
        .filter(|event| matches!(event.action, Action::Unsupported(_)))
        .map(|event| event.line)
        .collect();
    assert_eq!(unsupported, [2, 3, 4, 5]);
    assert_eq!(script.events.len(), 6);
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused_with_a_line_of_the_file(text in "[-+*~.0-9 SFRP.:()<>{}\\[\\],=|`\"%a-z\\n]{0,200}") {
        if let Err(problem) = parse(&text) {
            prop_assert!(problem.line >= 1 && problem.line <= text.lines().count().max(1));
        }
    }
}
