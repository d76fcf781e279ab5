//! Expectations: comparisons such as `connections.timed_out / connections.total < 0.001` over the summary's JSON.
//!
//! Grammar: `sum op sum` with `op` one of `<`, `<=`, `>`, `>=`, `==`, `!=`; sums and products of numbers, paths and
//! parentheses. A path is made of names and array indices joined by dots; `.value` may be left out for rates. A minus
//! inside a name needs no blanks (`causes.time-wait-collision`), as an operator it needs one before it.

use serde::Serialize;
use serde_json::Value;

use super::summary::Summary;
use crate::spec::Plan;

/// What became of one expectation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The comparison.
    pub that: String,
    /// Why it should hold.
    pub why: Option<String>,
    /// Whether it holds.
    pub passed: bool,
    /// Value left of the comparison, if it could be worked out.
    pub left: Option<f64>,
    /// Value right of it.
    pub right: Option<f64>,
    /// Why it could not.
    pub error: Option<String>,
}

/// Why a comparison could not be worked out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpectError {
    /// The text is no comparison.
    #[error("expected {expected} at `{rest}`")]
    Syntax {
        /// What would have been accepted.
        expected: &'static str,
        /// The text from there on.
        rest: String,
    },
    /// No such figure.
    #[error("the summary has no number `{0}`")]
    UnknownPath(String),
    /// Parentheses too deep.
    #[error("more than {MAX_DEPTH} parentheses inside each other")]
    TooDeep,
}

/// Parentheses inside each other at most.
const MAX_DEPTH: usize = 50;

/// Judges every expectation of the plan against its summary.
pub(super) fn judge(plan: &Plan, summary: &Summary) -> Vec<Verdict> {
    let value = serde_json::to_value(summary).expect("a summary is plain data with string keys");
    plan.expectations
        .iter()
        .map(|expectation| {
            let (passed, left, right, error) = match evaluate(&expectation.that, &value) {
                Ok((passed, left, right)) => (passed, Some(left), Some(right), None),
                Err(error) => (false, None, None, Some(error.to_string())),
            };
            let finite = |side: Option<f64>| side.filter(|x| x.is_finite());
            Verdict {
                that: expectation.that.clone(),
                why: expectation.why.clone(),
                passed,
                left: finite(left),
                right: finite(right),
                error,
            }
        })
        .collect()
}

/// Whether the comparison holds over `summary`, and both sides. A division by zero makes a side infinite or not a
/// number, which no comparison but `!=` accepts as equal.
pub fn evaluate(that: &str, summary: &Value) -> Result<(bool, f64, f64), ExpectError> {
    let mut parser = Parser {
        rest: that,
        summary,
        depth: 0,
    };
    let left = parser.sum()?;
    let operator = parser.operator()?;
    let right = parser.sum()?;
    parser.skip_blanks();
    if !parser.rest.is_empty() {
        return Err(parser.expected("the end"));
    }
    let passed = match operator {
        "<" => left < right,
        "<=" => left <= right,
        ">" => left > right,
        ">=" => left >= right,
        "==" => left == right,
        _ => left != right,
    };
    Ok((passed, left, right))
}

struct Parser<'a> {
    rest: &'a str,
    summary: &'a Value,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn expected(&self, expected: &'static str) -> ExpectError {
        ExpectError::Syntax {
            expected,
            rest: self.rest.to_owned(),
        }
    }

    /// Takes `token` if it comes next.
    fn take(&mut self, token: &str) -> bool {
        self.skip_blanks();
        let after = self.rest.strip_prefix(token);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn operator(&mut self) -> Result<&'static str, ExpectError> {
        // The longer ones first, so that `<=` is not read as `<`.
        ["<=", ">=", "==", "!=", "<", ">"]
            .into_iter()
            .find(|operator| self.take(operator))
            .ok_or_else(|| self.expected("a comparison (<, <=, >, >=, ==, !=)"))
    }

    fn sum(&mut self) -> Result<f64, ExpectError> {
        let mut value = self.product()?;
        loop {
            if self.take("+") {
                value += self.product()?;
            } else if self.take("-") {
                value -= self.product()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn product(&mut self) -> Result<f64, ExpectError> {
        let mut value = self.factor()?;
        loop {
            if self.take("*") {
                value *= self.factor()?;
            } else if self.take("/") {
                value /= self.factor()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn factor(&mut self) -> Result<f64, ExpectError> {
        self.skip_blanks();
        if self.depth >= MAX_DEPTH {
            return Err(ExpectError::TooDeep);
        }
        if self.take("(") {
            self.depth += 1;
            let value = self.sum()?;
            self.depth -= 1;
            return if self.take(")") {
                Ok(value)
            } else {
                Err(self.expected("`)`"))
            };
        }
        if self.take("-") {
            self.depth += 1;
            let value = self.factor()?;
            self.depth -= 1;
            return Ok(-value);
        }
        match self.rest.chars().next() {
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_ascii_alphabetic() => self.path(),
            _ => Err(self.expected("a number, a path or `(`")),
        }
    }

    fn number(&mut self) -> Result<f64, ExpectError> {
        let bytes = self.rest.as_bytes();
        let mut end = 0;
        while end < bytes.len() {
            let exponent_sign = matches!(bytes[end], b'-' | b'+') && matches!(bytes[end - 1], b'e' | b'E');
            let part = bytes[end].is_ascii_digit() || matches!(bytes[end], b'.' | b'_' | b'e' | b'E');
            if !(part || exponent_sign && end > 0) {
                break;
            }
            end += 1;
        }
        let (number, rest) = self.rest.split_at(end);
        let value = number
            .replace('_', "")
            .parse()
            .map_err(|_| self.expected("a number"))?;
        self.rest = rest;
        Ok(value)
    }

    fn path(&mut self) -> Result<f64, ExpectError> {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')))
            .unwrap_or(self.rest.len());
        let (path, rest): (&'a str, &'a str) = self.rest.split_at(end);
        self.rest = rest;
        lookup(self.summary, path).ok_or_else(|| ExpectError::UnknownPath(path.to_owned()))
    }
}

/// The number at `path`; a rate stands for its value, true and false for 1 and 0.
fn lookup(summary: &Value, path: &str) -> Option<f64> {
    let found = path.split('.').try_fold(summary, |value, name| match value {
        Value::Object(map) => map.get(name),
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    })?;
    match found {
        Value::Number(number) => number.as_f64(),
        Value::Bool(holds) => Some(f64::from(u8::from(*holds))),
        Value::Object(map) => map.get("value")?.as_f64(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn figures() -> Value {
        json!({
            "a": {"b": 6, "c-d": 2, "rate": {"value": 0.25, "lo95": 0.1}},
            "list": [[0, 5], [1, 7]],
            "yes": true, "none": null,
        })
    }

    #[test]
    fn comparisons_follow_arithmetic_over_paths() {
        #[rustfmt::skip]
        let table = [
            ("a.b / a.c-d == 3", true),
            ("a.b - a.c-d * 2 == 2", true),
            ("(a.b-a.c-d) * 2 == 8", false),
            ("1e-3 < a.rate", true),
            ("a.rate.value + a.rate.lo95 <= 0.35", true),
            ("-a.b < -5.5", true),
            ("list.1.1 != 7", false),
            ("2 * (a.b + 1) >= 14", true),
            ("yes == 1", true),
            ("1_000 > 999", true),
            ("a.b / 0 > 1", true),
            ("0 / 0 == 0 / 0", false),
        ];
        for (that, want) in table {
            match evaluate(that, &figures()) {
                Ok((got, ..)) => assert_eq!(got, want, "{that}"),
                // A minus inside a name is part of it.
                Err(error) => assert!(
                    !want && error == ExpectError::UnknownPath("a.b-a.c-d".into()),
                    "{that}: {error}"
                ),
            }
        }
    }

    #[test]
    fn what_cannot_be_worked_out_says_where() {
        for that in [
            "",
            "a.b",
            "a.b <",
            "a.b < 1 2",
            "a.x < 1",
            "none < 1",
            "(a.b < 1",
            "a.b = 6",
            "1..2 < 3",
        ] {
            assert!(evaluate(that, &figures()).is_err(), "{that:?}");
        }
        let deep = format!("{}1{} > 0", "(".repeat(100), ")".repeat(100));
        assert_eq!(evaluate(&deep, &figures()), Err(ExpectError::TooDeep));
        let deep = format!("{}1 > 0", "-".repeat(100_000));
        assert_eq!(evaluate(&deep, &figures()), Err(ExpectError::TooDeep));
    }

    proptest! {
        #[test]
        fn no_text_panics(that in "[-a-z0-9.+*/()<>= _e\u{e9}]{0,40}") {
            let _ = evaluate(&that, &figures());
        }
    }
}
