//! The packetdrill runner against scripts of our own: they pass, each line of them can fail, and nothing makes it panic.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use fivetuple::conformance::{self, Problem, ProblemKind};
use fivetuple::profile;
use proptest::prelude::*;

/// Scripts by name, in order.
fn scripts() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<_> = fs::read_dir("tests/packetdrill")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "pkt"))
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

fn run(text: &str) -> Result<(), Problem> {
    conformance::run(text, profile::find("6.18").unwrap(), &|_| None).map(drop)
}

#[test]
fn our_scripts_pass() {
    let scripts = scripts();
    assert!(scripts.len() >= 20);
    for (path, text) in scripts {
        assert_eq!(run(&text), Ok(()), "{}", path.display());
    }
}

/// A line that expects a segment, with a flag that no segment has.
fn with_wrong_flags(line: &str) -> Option<String> {
    let (time, rest) = line.split_once("> ")?;
    let is_time = !time.is_empty() && time.chars().all(|c| "+.~*0123456789 ".contains(c));
    let flags_end = rest.trim_start().find(' ')?;
    let rest = rest.trim_start();
    let letters = rest[..flags_end].trim_end_matches('.');
    let ack = if rest[..flags_end].ends_with('.') { "." } else { "" };
    is_time.then(|| format!("{time}> {letters}U{ack}{}", &rest[flags_end..]))
}

#[test]
fn every_segment_that_our_scripts_expect_is_really_compared() {
    let mut compared = 0;
    for (path, text) in scripts() {
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let Some(wrong) = with_wrong_flags(line) else {
                continue;
            };
            let mut changed: Vec<&str> = lines.clone();
            changed[index] = &wrong;
            let problem = run(&changed.join("\n")).expect_err(&wrong);
            assert_eq!(problem.line, index + 1, "{}: {problem:?}", path.display());
            assert!(matches!(problem.kind, ProblemKind::Failed { .. }), "{problem:?}");
            compared += 1;
        }
    }
    assert!(compared >= 60, "{compared}");
}

/// A connection that is open on descriptor 4, ten milliseconds after the start.
const OPEN: &str = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 29200 <mss 1460>
+0 > S. 0:0(0) ack 1 <...>
+.01 < . 1:1(0) ack 1 win 29200
+0 accept(3, ..., ...) = 4
";

/// What a problem says, without its line.
fn said(problem: &Problem) -> String {
    problem.kind.to_string()
}

#[test]
fn an_open_connection_tells_right_from_wrong() {
    let table = [
        // What the script says after OPEN, and what is wrong with it; empty: nothing.
        ("+0 shutdown(4, SHUT_WR) = 0\n+0 > F. 1:1(0) ack 1", ""),
        ("+0 shutdown(4, SHUT_WR) = 0\n* > F. 1:1(0) ack 1", ""),
        ("+0 shutdown(4, SHUT_WR) = 0\n.01~1 > F. 1:1(0) ack 1", ""),
        ("+0 shutdown(4, SHUT_WR) = 0\n+0~+.5 > F. 1:1(0) ack 1", ""),
        ("+0 shutdown(4, SHUT_WR) = 0\n+.004 > F. 1:1(0) ack 1", ""),
        (
            "+0 shutdown(4, SHUT_WR) = 0\n+.006 > F. 1:1(0) ack 1",
            "tolerance",
        ),
        (
            "+0 shutdown(4, SHUT_WR) = 0\n+.1~+.2 > F. 1:1(0) ack 1",
            "tolerance",
        ),
        (
            "+0 shutdown(4, SHUT_WR) = 0\n+0 > F. 2:2(0) ack 1",
            "sequence number",
        ),
        (
            "+0 shutdown(4, SHUT_WR) = 0\n+0 > F. 1:1(0) ack 2",
            "acknowledgment number",
        ),
        (
            "+0 shutdown(4, SHUT_WR) = 0\n+0 > F. 1:1(0) ack 1 win 1",
            "window",
        ),
        (
            "+0 shutdown(4, SHUT_WR) = 0\n+0 > F. 1:1(0) ack 1 <nop,nop,TS val 1 ecr 1>",
            "length of the TCP options",
        ),
        (
            "+0 shutdown(4, SHUT_WR) = 0\n+0 > F. 1:2(1) ack 1",
            "octets of payload",
        ),
        // What the kernel sent unasked is the next segment, whatever is expected.
        (
            "+0 shutdown(4, SHUT_WR) = 0\n+.1 < S 1:1(0) win 1\n+0 > . 2:2(0) ack 1",
            "flags",
        ),
        ("+0 > F. 1:1(0) ack 1", "got nothing until"),
        ("* > F. 1:1(0) ack 1", "got nothing until"),
        ("+0 read(4, ..., 9) = 9", "got a call that blocks"),
        ("+0...0.5 read(4, ..., 9) = 9", "no return by"),
        ("+0 fcntl(4, F_GETFL) = 2", ""),
        ("+0 fcntl(4, F_GETFL) = 3", "expected fcntl = 3 got fcntl = 2"),
        ("+0 read(9, ..., 9) = -1 EBADF (Bad file descriptor)", ""),
        ("+0 read(9, ..., 9) = -1 EPIPE", "EBADF"),
        (
            "+0 getsockopt(4, SOL_SOCKET, SO_ERROR, [ECONNRESET], [4]) = 0",
            "got [0]",
        ),
        (
            ".02 close(4) = 0\n.015 close(3) = 0",
            "expected a time from 0.020000 on",
        ),
        (
            "+.5 close(4) = 0\n.1 close(3) = 0",
            "late because of the events before it",
        ),
        ("+0 `ss -Htan state established | grep -q 8080`", ""),
        ("+0 `ss -Htan state time-wait | grep -q 8080`", "to succeed"),
        (
            "+0 < . 1:1(0) ack 1 win 29200 <nop,nop,TS val 5 ecr 7>",
            "TS ecr 7",
        ),
        ("+0 %{ assert tcpi_state == TCP_ESTABLISHED }%", ""),
        (
            "+0 %{ assert tcpi_state == TCP_CLOSE, tcpi_state }%",
            "tcpi_state = 1",
        ),
    ];
    for (text, wrong) in table {
        let result = run(&format!("{OPEN}{text}"));
        match &result {
            Ok(()) => assert_eq!(wrong, "", "{text}"),
            Err(problem) => {
                let last = OPEN.lines().count() + text.lines().count();
                assert_eq!(problem.line, last, "{text}: {problem:?}");
                assert!(
                    !wrong.is_empty() && said(problem).contains(wrong),
                    "{text}: {problem:?}"
                );
            }
        }
    }
}

#[test]
fn segments_that_may_differ_are_remarks_unless_their_size_is_wrong() {
    let profile = profile::find("6.18").unwrap();
    let run = |text: &str| conformance::run(text, profile, &|_| None);
    let script = |line: &str| format!("--non_fatal=packet\n{OPEN}+0 shutdown(4, SHUT_WR) = 0\n{line}");
    let remarks = run(&script("+0 > F. 1:1(0) ack 1 win 1")).unwrap();
    assert_eq!((remarks.len(), remarks[0].line), (1, 10), "{remarks:?}");
    assert!(run(&script("+0 > F. 1:1(0) ack 1")).unwrap().is_empty());
    assert_eq!(run(&script("+0 > F. 1:2(1) ack 1")).unwrap_err().line, 10);
    assert_eq!(run(&script("+.1 > F. 1:1(0) ack 1")).unwrap().len(), 1);
}

#[test]
fn what_is_not_supported_is_skipped_at_its_line_and_not_before() {
    let table = [
        "+0 setsockopt(4, SOL_TCP, TCP_FASTOPEN, [1], 4) = 0",
        "+0 sendto(4, ..., 9, MSG_FASTOPEN, ..., ...) = 9",
        "+0 splice(4, NULL, 5, NULL, 9, 0) = 9",
        "+0 < icmp unreachable frag_needed mtu 1300 [1:1461(1460)]",
        "+0 > [ect0] . 1:1(0) ack 1",
        "+0 < . 1:1(0) ack 1 win 1 <FO,nop,nop>",
        "+0 `reboot`",
        "+0 `sysctl -w net.inet.tcp.blackhole=0`",
        "+0 `nstat | grep TcpExtOutOfWindowIcmps`",
        "+0 %{ assert tcpi_nothing == 1 }%",
    ];
    for text in table {
        let problem = run(&format!("{OPEN}{text}\n+0 > R 9:9(0)")).expect_err(text);
        assert_eq!(problem.line, 8, "{text}: {problem:?}");
        assert!(
            matches!(problem.kind, ProblemKind::Unsupported(_)),
            "{text}: {problem:?}"
        );
    }
    let option = run(&format!("--ip_version=ipv6\n{OPEN}")).unwrap_err();
    assert_eq!(
        (option.line, said(&option).as_str()),
        (1, "unsupported option --ip_version=ipv6")
    );
}

#[test]
fn the_command_prints_a_line_per_script_and_tells_by_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let good = write("good.pkt", OPEN.as_bytes());
    let bad = write("bad.pkt", format!("{OPEN}+0 > R 1:1(0)").as_bytes());
    let skipped = write("skipped.pkt", format!("{OPEN}+0 `reboot`").as_bytes());
    let binary = write("binary.pkt", b"\x00\xff\x1b[31m\x7fELF\n\x01`");
    let missing = dir.path().join("missing.pkt");
    let command = |files: &[&PathBuf]| {
        let output = Command::new(env!("CARGO_BIN_EXE_fivetuple"))
            .arg("packetdrill")
            .args(files)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (
            output.status.code().unwrap(),
            text.lines().map(str::to_owned).collect::<Vec<_>>(),
        )
    };
    let (code, lines) = command(&[&good, &skipped]);
    assert_eq!(code, 0);
    assert_eq!(lines[0], format!("PASS {}", good.display()));
    assert_eq!(
        lines[1],
        format!("SKIP {}:8 unsupported command reboot", skipped.display())
    );
    assert_eq!(lines[2], "1 passed, 0 failed, 1 skipped");

    let (code, lines) = command(&[&bad, &binary]);
    assert_eq!(code, 1);
    let start = format!("FAIL {}:8 expected 0.010000 R 1:1(0) <...>", bad.display());
    assert!(
        lines[0].starts_with(&start.replace(" <...>", " got nothing")),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with(&format!("FAIL {}:2 expected ", binary.display())),
        "{lines:?}"
    );
    assert!(lines.iter().all(|line| !line.contains(char::is_control)));
    assert_eq!(lines[2], "0 passed, 2 failed, 0 skipped");

    let (code, lines) = command(&[&missing, &good]);
    assert_eq!((code, lines.len()), (2, 2));
    assert_eq!(command(&[]).0, 2);
}

proptest! {
    #[test]
    fn a_mangled_script_is_judged_and_never_panics(
        which in 0_usize..1_000,
        changes in prop::collection::vec((0_usize..4_000, 0_u8..4, any::<u8>()), 1..6),
    ) {
        let scripts = scripts();
        let mut bytes = scripts[which % scripts.len()].1.clone().into_bytes();
        for (at, how, byte) in changes {
            let at = at % bytes.len();
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => { bytes.remove(at); }
                // A digit more makes numbers, times and sizes huge.
                _ => bytes.insert(at, b'9'),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Err(problem) = run(&text) {
            prop_assert!(problem.line >= 1 && problem.line <= text.lines().count().max(1), "{problem:?}");
        }
    }
}
