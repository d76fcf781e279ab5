//! Commands that only look at text and numbers: grep, wc, head, tail, echo, test.

use super::pattern::{Flavour, Pattern};

/// What a command leaves behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Exit status, 0 for success.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
}

impl Outcome {
    /// Success with that output.
    pub fn printed(stdout: impl Into<String>) -> Self {
        Self {
            status: 0,
            stdout: stdout.into(),
        }
    }

    /// Status 0 if `holds`, else 1; no output.
    pub fn of(holds: bool) -> Self {
        Self {
            status: i32::from(!holds),
            stdout: String::new(),
        }
    }
}

/// Runs the command of that name; `None`: it is none of these. `Err` names what is not understood.
pub fn run(name: &str, args: &[String], stdin: &str) -> Option<Result<Outcome, String>> {
    Some(match name {
        "true" | ":" => Ok(Outcome::default()),
        "false" => Ok(Outcome::of(false)),
        "echo" => Ok(Outcome::printed(format!("{}\n", args.join(" ")))),
        "cat" if args.is_empty() => Ok(Outcome::printed(stdin)),
        "grep" => grep(args, stdin, Flavour::default()),
        "egrep" => grep(
            args,
            stdin,
            Flavour {
                extended: true,
                ..Flavour::default()
            },
        ),
        "fgrep" => grep(
            args,
            stdin,
            Flavour {
                fixed: true,
                ..Flavour::default()
            },
        ),
        "wc" => wc(args, stdin),
        "head" | "tail" => ends(name == "head", args, stdin),
        "test" => test(args),
        "[" => match args.split_last() {
            Some((last, args)) if last == "]" => test(args),
            _ => Err("[ without ]".to_owned()),
        },
        _ => return None,
    })
}

fn grep(args: &[String], stdin: &str, mut flavour: Flavour) -> Result<Outcome, String> {
    let (mut count, mut quiet, mut inverted, mut only) = (false, false, false, false);
    let mut pattern = None;
    let mut args = args.iter();
    let mut options = true;
    while let Some(arg) = args.next() {
        if !options || !arg.starts_with('-') || arg == "-" {
            if pattern.replace(arg.clone()).is_some() {
                return Err(format!("grep in a file ({arg})"));
            }
            continue;
        }
        match arg.as_str() {
            "--" => options = false,
            "-e" => pattern = args.next().cloned(),
            "--quiet" => quiet = true,
            "--count" => count = true,
            _ => {
                for letter in arg[1..].chars() {
                    match letter {
                        'c' => count = true,
                        'q' => quiet = true,
                        'v' => inverted = true,
                        'i' => flavour.ignore_case = true,
                        'w' => flavour.whole_word = true,
                        'x' => flavour.whole_line = true,
                        'E' => flavour.extended = true,
                        'F' => flavour.fixed = true,
                        'o' => only = true,
                        _ => return Err(format!("grep {arg}")),
                    }
                }
            }
        }
    }
    let pattern = pattern.ok_or("grep without a pattern")?;
    if only {
        return Err("grep -o".to_owned());
    }
    let compiled = Pattern::new(&pattern, flavour)?;
    let found: Vec<&str> = stdin
        .lines()
        .filter(|line| compiled.is_in(line, flavour) != inverted)
        .collect();
    let stdout = if quiet {
        String::new()
    } else if count {
        format!("{}\n", found.len())
    } else {
        lines_of(&found)
    };
    Ok(Outcome {
        status: i32::from(found.is_empty()),
        stdout,
    })
}

fn lines_of(lines: &[&str]) -> String {
    lines.iter().flat_map(|line| [*line, "\n"]).collect()
}

fn wc(args: &[String], stdin: &str) -> Result<Outcome, String> {
    let number = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["-l"] => stdin.matches('\n').count(),
        ["-c"] => stdin.len(),
        ["-w"] => stdin.split_whitespace().count(),
        _ => return Err(format!("wc {}", args.join(" "))),
    };
    Ok(Outcome::printed(format!("{number}\n")))
}

fn ends(first: bool, args: &[String], stdin: &str) -> Result<Outcome, String> {
    let unknown = || format!("{} {}", if first { "head" } else { "tail" }, args.join(" "));
    let number = match args {
        [] => "10",
        [one] => one
            .strip_prefix("-n")
            .or(one.strip_prefix('-'))
            .ok_or_else(unknown)?,
        [flag, number] if flag == "-n" => number,
        _ => return Err(unknown()),
    };
    let number: usize = match number.strip_prefix('+') {
        // `tail -n +2`: from that line on.
        Some(from) if !first => {
            let from: usize = from.parse().map_err(|_| unknown())?;
            stdin.lines().count().saturating_sub(from.saturating_sub(1))
        }
        _ => number.parse().map_err(|_| unknown())?,
    };
    let lines: Vec<&str> = stdin.lines().collect();
    let number = number.min(lines.len());
    let kept = if first {
        &lines[..number]
    } else {
        &lines[lines.len() - number..]
    };
    Ok(Outcome::printed(lines_of(kept)))
}

fn test(args: &[String]) -> Result<Outcome, String> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| {
        text.trim()
            .parse::<i64>()
            .map_err(|_| format!("test with {text:?} as a number"))
    };
    let holds = match words[..] {
        [] => false,
        ["!", ref rest @ ..] => {
            let rest: Vec<String> = rest.iter().map(ToString::to_string).collect();
            test(&rest)?.status != 0
        }
        [text] | ["-n", text] => !text.is_empty(),
        ["-z", text] => text.is_empty(),
        [left, "=" | "==", right] => left == right,
        [left, "!=", right] => left != right,
        [left, "-eq", right] => number(left)? == number(right)?,
        [left, "-ne", right] => number(left)? != number(right)?,
        [left, "-lt", right] => number(left)? < number(right)?,
        [left, "-le", right] => number(left)? <= number(right)?,
        [left, "-gt", right] => number(left)? > number(right)?,
        [left, "-ge", right] => number(left)? >= number(right)?,
        _ => return Err(format!("test {}", words.join(" "))),
    };
    Ok(Outcome::of(holds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_commands_do_what_their_namesakes_do() {
        let input = "TIME-WAIT a:8080\nESTAB b:8080\nTIME-WAIT c:80\n";
        let table = [
            ("grep -c TIME-WAIT", 0, "2\n"),
            ("grep -vc 8080", 0, "1\n"),
            ("grep -q LISTEN", 1, ""),
            ("grep -c LISTEN", 1, "0\n"),
            ("egrep :80$", 0, "TIME-WAIT c:80\n"),
            ("grep -e ESTAB", 0, "ESTAB b:8080\n"),
            ("wc -l", 0, "3\n"),
            ("head -1", 0, "TIME-WAIT a:8080\n"),
            ("tail -n +3", 0, "TIME-WAIT c:80\n"),
            ("test 2 -eq 2", 0, ""),
            ("test 2 -ge 3", 1, ""),
            ("test ! a = a", 1, ""),
            ("[ a != b ]", 0, ""),
            ("test -z", 0, ""),
            ("echo a b", 0, "a b\n"),
            ("false", 1, ""),
        ];
        for (line, status, stdout) in table {
            let mut words = line.split(' ').map(str::to_owned);
            let name = words.next().unwrap();
            let args: Vec<String> = words.collect();
            let outcome = run(&name, &args, input).unwrap().unwrap();
            assert_eq!(
                (outcome.status, outcome.stdout.as_str()),
                (status, stdout),
                "{line}"
            );
        }
    }

    #[test]
    fn an_option_that_is_not_known_is_refused() {
        for line in [
            "grep -P a",
            "grep -o a",
            "grep a file",
            "wc",
            "test a -nt b",
            "[ a",
            "head -n x",
            "test a -eq 1",
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert!(run(&words[0], &words[1..], "").unwrap().is_err(), "{line}");
        }
    }
}
