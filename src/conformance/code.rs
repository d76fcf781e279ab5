//! `%{ ... }%`: assertions on TCP_INFO, as far as scripts go with assert, assignments and arithmetic on whole numbers.
//!
//! In packetdrill all blocks of a script are one Python program; so variables live on from block to block.

use std::collections::BTreeMap;

/// Variables of a script's code.
pub type Variables = BTreeMap<String, i64>;

/// Why a block did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeProblem {
    /// An assertion is false: it, and the values in it.
    False(String, String),
    /// Not understood, or a value that is not modelled.
    Unsupported(String),
}

/// Deepest nesting of brackets.
const MAX_DEPTH: u32 = 32;

/// Runs a block. `field` gives the value of a name that no assignment made.
///
/// # Errors
/// The first assertion that does not hold, or what is not understood.
pub fn run(
    text: &str,
    variables: &mut Variables,
    field: &dyn Fn(&str) -> Option<i64>,
) -> Result<(), CodeProblem> {
    for statement in statements(text) {
        let statement = statement.trim();
        if let Some(rest) = statement.strip_prefix("assert") {
            let mut evaluator = Evaluator::new(rest, variables, field)?;
            // What stands behind the comma is the message.
            if evaluator.any_of()? == 0 {
                let seen: Vec<_> = evaluator
                    .seen
                    .iter()
                    .map(|(name, value)| format!("{name} = {value}"))
                    .collect();
                return Err(CodeProblem::False(statement.to_owned(), seen.join(", ")));
            }
            if !matches!(evaluator.peek(), None | Some(",")) {
                return Err(CodeProblem::Unsupported(format!("code {statement:?}")));
            }
        } else if !statement.is_empty() && !statement.starts_with("print") {
            assign(statement, variables, field)?;
        }
    }
    Ok(())
}

/// Splits at new lines and semicolons; a backslash joins lines, `#` begins a comment.
fn statements(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    lines
        .flat_map(|line| line.split(';'))
        .map(str::to_owned)
        .collect()
}

/// `name = value`, `name += value`, `name -= value`.
fn assign(
    statement: &str,
    variables: &mut Variables,
    field: &dyn Fn(&str) -> Option<i64>,
) -> Result<(), CodeProblem> {
    let unknown = || CodeProblem::Unsupported(format!("code {statement:?}"));
    let (left, right) = statement.split_once('=').ok_or_else(unknown)?;
    let name = left.trim_end_matches(['+', '-']).trim();
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if name.is_empty() || !is_name {
        return Err(unknown());
    }
    let mut evaluator = Evaluator::new(right, variables, field)?;
    let value = evaluator.any_of()?;
    if evaluator.peek().is_some() {
        return Err(unknown());
    }
    let before = variables.get(name).copied();
    let value = match left.trim().chars().last() {
        Some('+') => before.ok_or_else(unknown)?.checked_add(value),
        Some('-') => before.ok_or_else(unknown)?.checked_sub(value),
        _ => Some(value),
    };
    variables.insert(name.to_owned(), value.ok_or_else(unknown)?);
    Ok(())
}

struct Evaluator<'a> {
    tokens: Vec<String>,
    at: usize,
    depth: u32,
    variables: &'a Variables,
    field: &'a dyn Fn(&str) -> Option<i64>,
    seen: Vec<(String, i64)>,
}

impl<'a> Evaluator<'a> {
    fn new(
        text: &str,
        variables: &'a Variables,
        field: &'a dyn Fn(&str) -> Option<i64>,
    ) -> Result<Self, CodeProblem> {
        Ok(Self {
            tokens: tokens(text)?,
            at: 0,
            depth: 0,
            variables,
            field,
            seen: Vec::new(),
        })
    }

    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(String::as_str)
    }

    fn accept(&mut self, token: &str) -> bool {
        let there = self.peek() == Some(token);
        self.at += usize::from(there);
        there
    }

    fn unknown(&self) -> CodeProblem {
        CodeProblem::Unsupported(format!("code {:?}", self.tokens.join(" ")))
    }

    fn any_of(&mut self) -> Result<i64, CodeProblem> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.unknown());
        }
        let mut value = self.all_of()?;
        while self.accept("or") {
            let other = self.all_of()?;
            value = if value != 0 { value } else { other };
        }
        self.depth -= 1;
        Ok(value)
    }

    fn all_of(&mut self) -> Result<i64, CodeProblem> {
        let mut value = self.negation()?;
        while self.accept("and") {
            let other = self.negation()?;
            value = if value == 0 { value } else { other };
        }
        Ok(value)
    }

    fn negation(&mut self) -> Result<i64, CodeProblem> {
        let mut negated = false;
        while self.accept("not") {
            negated = !negated;
        }
        let value = self.comparison()?;
        Ok(if negated { i64::from(value == 0) } else { value })
    }

    /// Comparisons chain: `1 <= x <= 2`.
    fn comparison(&mut self) -> Result<i64, CodeProblem> {
        let mut left = self.binary(0)?;
        let mut holds = None;
        loop {
            let operator = match self.peek() {
                Some(operator @ ("==" | "!=" | "<=" | ">=" | "<" | ">")) => operator.to_owned(),
                _ => return Ok(holds.map_or(left, i64::from)),
            };
            self.at += 1;
            let right = self.binary(0)?;
            let this = match operator.as_str() {
                "==" => left == right,
                "!=" => left != right,
                "<=" => left <= right,
                ">=" => left >= right,
                "<" => left < right,
                _ => left > right,
            };
            holds = Some(holds.unwrap_or(true) && this);
            left = right;
        }
    }

    /// Arithmetic, by rank.
    fn binary(&mut self, rank: usize) -> Result<i64, CodeProblem> {
        const RANKS: [&[&str]; 5] = [&["|"], &["&"], &["<<", ">>"], &["+", "-"], &["*", "//", "%"]];
        let Some(operators) = RANKS.get(rank) else {
            return self.term();
        };
        let mut left = self.binary(rank + 1)?;
        loop {
            let operator = match self.peek() {
                Some(operator) if operators.contains(&operator) => operator.to_owned(),
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.binary(rank + 1)?;
            let shift = u32::try_from(right).ok();
            let result = match operator.as_str() {
                "|" => Some(left | right),
                "&" => Some(left & right),
                "<<" => shift.and_then(|shift| left.checked_shl(shift)),
                ">>" => shift.and_then(|shift| left.checked_shr(shift)),
                "+" => left.checked_add(right),
                "-" => left.checked_sub(right),
                "*" => left.checked_mul(right),
                "//" => left.checked_div_euclid(right),
                _ => left.checked_rem_euclid(right),
            };
            left = result.ok_or_else(|| self.unknown())?;
        }
    }

    fn term(&mut self) -> Result<i64, CodeProblem> {
        if self.accept("(") {
            let value = self.any_of()?;
            return if self.accept(")") {
                Ok(value)
            } else {
                Err(self.unknown())
            };
        }
        if self.accept("-") {
            return self.term()?.checked_neg().ok_or_else(|| self.unknown());
        }
        let Some(token) = self.peek().map(str::to_owned) else {
            return Err(self.unknown());
        };
        self.at += 1;
        let number = match token.strip_prefix("0x") {
            Some(hex) => i64::from_str_radix(hex, 16).ok(),
            None => token.parse().ok(),
        };
        if let Some(number) = number {
            return Ok(number);
        }
        if !token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') || self.peek() == Some("(") {
            return Err(self.unknown());
        }
        let value = self
            .variables
            .get(&token)
            .copied()
            .or_else(|| (self.field)(&token));
        let value = value.ok_or_else(|| CodeProblem::Unsupported(format!("value {token}")))?;
        self.seen.push((token, value));
        Ok(value)
    }
}

fn tokens(text: &str) -> Result<Vec<String>, CodeProblem> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&char) = chars.get(at) {
        let from = at;
        if char.is_whitespace() {
            at += 1;
            continue;
        } else if char.is_ascii_alphanumeric() || char == '_' {
            while chars
                .get(at)
                .is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_')
            {
                at += 1;
            }
        } else if char == '\'' || char == '"' {
            at += 1;
            while chars.get(at).is_some_and(|c| *c != char) {
                at += 1;
            }
            at += 1;
            if at > chars.len() {
                return Err(CodeProblem::Unsupported(format!("code {text:?}")));
            }
        } else {
            let two: String = chars[at..].iter().take(2).collect();
            at += if ["==", "!=", "<=", ">=", "<<", ">>", "//"].contains(&two.as_str()) {
                2
            } else {
                1
            };
        }
        tokens.push(chars[from..at].iter().collect());
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(text: &str) -> Result<(), CodeProblem> {
        let field = |name: &str| match name {
            "tcpi_unacked" => Some(2),
            "tcpi_state" => Some(1),
            _ => None,
        };
        run(text, &mut Variables::new(), &field)
    }

    #[test]
    fn assertions_hold_as_python_says() {
        let true_ones = [
            "assert tcpi_unacked == 2, tcpi_unacked",
            "assert 1 <= tcpi_unacked <= 2 and not tcpi_unacked < tcpi_state, 'x=%d' % tcpi_state",
            "a = 1 + 2 * 3; a += 1; assert a == 8 # eight\nassert a - 0x8 == 0",
            "assert (tcpi_unacked & 1) == 0 or 0, \\\n tcpi_unacked",
            "print(tcpi_nothing); assert -1 < 0",
            "assert 7 // 2 == 3 and 1 << 3 == 8 and 7 % 4 == 3 and 6 | 1 == 7",
        ];
        for text in true_ones {
            assert_eq!(outcome(text), Ok(()), "{text}");
        }
        let false_ones = [
            "assert tcpi_unacked == 3",
            "assert 0",
            "assert not tcpi_state",
            "assert 1 == 1 == 2",
        ];
        for text in false_ones {
            assert!(matches!(outcome(text), Err(CodeProblem::False(..))), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_or_not_modelled_is_said() {
        for text in [
            "assert tcpi_rtt == 1",
            "assert min(1, 2) == 1",
            "import os",
            "a += 1",
            "assert (1",
            "assert 1 2",
            "assert 'a",
            "assert 1 // 0",
            "a b = 1",
            "assert",
        ] {
            assert!(
                matches!(outcome(text), Err(CodeProblem::Unsupported(_))),
                "{text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_code_panics(text in "[-a0-9 ()=<>+*/%&|,;'#\\n]{0,60}") {
            let _ = outcome(&format!("assert {text}"));
        }
    }
}
