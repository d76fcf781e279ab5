//! `[[expect]]`: keeps the comparison as text, and refuses what cannot be one. Its paths are looked up where it is evaluated.
//!
//! ```text
//! comparison = sum ("<" | "<=" | ">" | ">=" | "==" | "!=") sum
//! sum        = product { ("+" | "-") product }
//! product    = factor { ("*" | "/") factor }
//! factor     = number | path | "(" sum ")" | "-" factor
//! path       = letter { letter | digit | "_" | "-" | "." }
//! ```

use super::{Notes, tell_too_many};
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::document::{Kind, Value};
use crate::scenario::reader::Reader;
use crate::scenario::set;
use crate::spec::Expectation;

/// Expectations at most.
const MAX_EXPECTATIONS: usize = 10_000;
/// Parentheses inside one another at most: the parser calls itself.
const MAX_DEPTH: usize = 50;

pub(super) fn resolve(root: &Reader<'_>, name: &str, text: &str, notes: &mut Notes) -> Vec<Expectation> {
    let mut expectations = Vec::new();
    for (index, reader) in root.tables("expect").into_iter().enumerate() {
        if index >= MAX_EXPECTATIONS {
            tell_too_many(&reader, &reader.at(), MAX_EXPECTATIONS);
            break;
        }
        let why = reader.text("why").map(str::to_owned);
        let obstacle = obstacle(root, &reader);
        if !reader.has("that") {
            reader.missing("that", "that = \"requests.rate_499.value < 0.001\"");
        }
        let Some(that) = reader.text("that") else {
            continue;
        };
        let span = reader.span("that");
        if let Err(problem) = check(that) {
            reader.push(
                Diagnostic::new(&span, "`expect.that` is no comparison", problem).help(
                    "such as \"connections.timed_out / connections.total < 0.001\"; blanks around a minus",
                ),
            );
        }
        let location = if span.source == 0 {
            let before = text.get(..span.start).unwrap_or_default();
            let line = 1 + before.matches('\n').count();
            format!("{name}:{line}")
        } else {
            "--set".to_owned()
        };
        if let Some(obstacle) = obstacle {
            notes.add(format!("expectation left out: {that}   ({obstacle})"));
            continue;
        }
        expectations.push(Expectation {
            that: that.to_owned(),
            why,
            location,
        });
    }
    expectations
}

/// Why an expectation does not apply: the first key of its `where` that has another value.
fn obstacle(root: &Reader<'_>, expectation: &Reader<'_>) -> Option<String> {
    let value = expectation.get("where")?;
    let Kind::Table(wanted) = &value.kind else {
        let help = "such as where = { \"clients.rate\" = \"350/s\" }";
        expectation.wrong_at(
            "expect.where",
            value,
            "a table of keys and values",
            Some(help.to_owned()),
        );
        return None;
    };
    let mut obstacle = None;
    for entry in &wanted.entries {
        let written = root.written().and_then(|table| set::look_up(table, &entry.key));
        let (Some(written), Some(wanted)) = (written.and_then(Value::words), entry.value.words()) else {
            let message = format!("`{}` has no single value in this scenario", entry.key);
            let diagnostic = Diagnostic::new(&entry.key_span, message, "nothing is written there");
            expectation.push(
                diagnostic.help("write the key, also where it has its default value, in quotes as for --set"),
            );
            continue;
        };
        if written != wanted {
            obstacle.get_or_insert(format!("{} is {written}, not {wanted}", entry.key));
        }
    }
    obstacle
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    Number,
    Path,
    Compare,
    Plus,
    Minus,
    Times,
    Open,
    Close,
}

fn check(text: &str) -> Result<(), String> {
    let tokens = tokens(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        depth: 0,
    };
    parser.sum()?;
    if parser.next() != Some(Token::Compare) {
        return Err("expected one of < <= > >= == != between two values".to_owned());
    }
    parser.sum()?;
    match parser.peek() {
        None => Ok(()),
        Some(Token::Compare) => Err("only one comparison; write two [[expect]]".to_owned()),
        Some(_) => Err("something is left over at its end".to_owned()),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '<' | '>' => (Token::Compare, 1 + usize::from(rest[1..].starts_with('='))),
            '=' | '!' if rest[1..].starts_with('=') => (Token::Compare, 2),
            '=' => return Err("equality is written ==".to_owned()),
            '+' => (Token::Plus, 1),
            '-' => (Token::Minus, 1),
            '*' | '/' => (Token::Times, 1),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            c if c.is_ascii_digit() => {
                let length = number_length(rest);
                if rest[..length].replace('_', "").parse::<f64>().is_err() {
                    return Err(format!("`{}` is no number", &rest[..length]));
                }
                (Token::Number, length)
            }
            c if c.is_ascii_alphabetic() => {
                let length = run(rest, |c| {
                    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
                });
                let path = &rest[..length];
                if path.ends_with(['.', '-']) || path.contains("..") {
                    return Err(format!("`{}` is no path", crate::scenario::words::shorten(path)));
                }
                (Token::Path, length)
            }
            other => return Err(format!("`{other}` has no meaning here")),
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// Length of the run of characters that fit.
fn run(text: &str, fits: impl Fn(char) -> bool) -> usize {
    text.find(|c| !fits(c)).unwrap_or(text.len())
}

/// Digits, a point, an exponent with its sign.
fn number_length(text: &str) -> usize {
    let mantissa = run(text, |c| c.is_ascii_digit() || matches!(c, '.' | '_'));
    let Some(exponent) = text[mantissa..].strip_prefix(['e', 'E']) else {
        return mantissa;
    };
    let sign = usize::from(exponent.starts_with(['+', '-']));
    mantissa + 1 + sign + run(&exponent[sign..], |c| c.is_ascii_digit())
}

struct Parser<'t> {
    tokens: &'t [Token],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn sum(&mut self) -> Result<(), String> {
        self.factor()?;
        while let Some(Token::Plus | Token::Minus | Token::Times) = self.peek() {
            self.at += 1;
            self.factor()?;
        }
        Ok(())
    }

    fn factor(&mut self) -> Result<(), String> {
        while self.peek() == Some(Token::Minus) {
            self.at += 1;
        }
        match self.next() {
            Some(Token::Number | Token::Path) => Ok(()),
            Some(Token::Open) => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err("too many parentheses".to_owned());
                }
                self.sum()?;
                self.depth -= 1;
                match self.next() {
                    Some(Token::Close) => Ok(()),
                    _ => Err("a parenthesis is not closed".to_owned()),
                }
            }
            _ => Err("expected a number or a path such as attempts.total".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn comparisons_of_arithmetic_over_paths_pass_and_nothing_else() {
        for good in [
            "attempts.time_wait_hits == 0",
            "connections.timed_out / connections.total < 0.001",
            "(requests.by_status.499 + 1) * 2 >= -1e-3",
            "causes.time-wait-collision - 5 != after_120s.requests.total",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "attempts.total",
            "a < b < c",
            "a = 1",
            "a <",
            "(a < 1",
            "a b < 1",
            "a.. < 1",
            "1.2.3 < 4",
            "a & b < 1",
            "é < 1",
            &"(".repeat(10_000),
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
