//! Splits a packetdrill script into tokens that know their line.
//!
//! Numbers keep their text: a time is exact in nanoseconds, not a rounded float. What packetdrill does not know either
//! becomes a single character, so that the parser can say where it stands.

use super::Problem;

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// `--name` with the text after `=`, if there is one.
    Option(String, Option<String>),
    /// A whole number, decimal or hexadecimal.
    Integer(i64),
    /// A number with a point, as written.
    Float(String),
    /// A name.
    Word(String),
    /// `"text"`.
    Text(String),
    /// A shell command between back quotes.
    Shell(String),
    /// Code between `%{` and `}%`.
    Code(String),
    /// `192.0.2.1`.
    Ipv4(String),
    /// `...`.
    Ellipsis,
    /// Any other character.
    Char(char),
}

impl Token {
    /// As a reader of the script would call it.
    pub fn describe(&self) -> String {
        match self {
            Self::Option(name, _) => format!("option --{name}"),
            Self::Integer(value) => value.to_string(),
            Self::Float(text) | Self::Word(text) | Self::Ipv4(text) => text.clone(),
            Self::Text(text) => format!("\"{text}\""),
            Self::Shell(_) => "a shell command".to_owned(),
            Self::Code(_) => "a code block".to_owned(),
            Self::Ellipsis => "...".to_owned(),
            Self::Char(char) => format!("{:?}", char.to_string()),
        }
    }
}

/// A token and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The token.
    pub token: Token,
    /// Line of its first character, from 1.
    pub line: usize,
    /// It is the first token of its line.
    pub starts_line: bool,
}

/// The tokens of `text`.
pub fn tokens(text: &str) -> Result<Vec<Placed>, Problem> {
    let mut lexer = Lexer {
        rest: text,
        line: 1,
        fresh_line: true,
    };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks_and_comments()?;
        let (line, starts_line) = (lexer.line, lexer.fresh_line);
        let Some(token) = lexer.next()? else {
            return Ok(tokens);
        };
        lexer.fresh_line = false;
        tokens.push(Placed {
            token,
            line,
            starts_line,
        });
    }
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    fresh_line: bool,
}

impl<'a> Lexer<'a> {
    /// Takes `length` octets and counts their lines.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        let lines = taken.matches('\n').count();
        self.line += lines;
        self.fresh_line |= lines > 0;
        self.rest = rest;
        taken
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn skip_blanks_and_comments(&mut self) -> Result<(), Problem> {
        loop {
            self.take_while(char::is_whitespace);
            if self.rest.starts_with("//") || (self.fresh_line && self.rest.starts_with('#')) {
                let comment = self.rest.lines().next().unwrap_or_default();
                let word = comment.trim_start_matches('#').trim_start();
                let directives = ["if", "else", "elif", "endif", "define", "include"];
                if comment.starts_with('#') && directives.iter().any(|name| word.starts_with(name)) {
                    return Err(Problem::skip(self.line, format!("preprocessor line {comment:?}")));
                }
                self.take(comment.len());
            } else if self.rest.starts_with("/*") {
                self.enclosed("/*", "*/", "a comment")?;
            } else {
                return Ok(());
            }
        }
    }

    /// What stands between `open`, which comes next, and `close`; neither is part of it. A backslash escapes `close`
    /// where that is one character.
    fn enclosed(&mut self, open: &str, close: &str, what: &str) -> Result<&'a str, Problem> {
        let line = self.line;
        let inside = &self.rest[open.len()..];
        let mut from = 0;
        loop {
            let Some(at) = inside[from..].find(close).map(|at| at + from) else {
                return Err(Problem::fail(
                    line,
                    format!("{close} at the end of {what}"),
                    "the end of the file",
                ));
            };
            if close.len() == 1 && inside[..at].ends_with('\\') {
                from = at + close.len();
                continue;
            }
            self.take(open.len() + at + close.len());
            return Ok(&inside[..at]);
        }
    }

    fn next(&mut self) -> Result<Option<Token>, Problem> {
        let Some(first) = self.rest.chars().next() else {
            return Ok(None);
        };
        let token = if self.rest.starts_with("...") {
            self.take(3);
            Token::Ellipsis
        } else if self.rest.starts_with("--") && self.fresh_line {
            self.option()?
        } else if self.rest.starts_with("%{") {
            Token::Code(self.enclosed("%{", "}%", "a code block")?.trim().to_owned())
        } else if first == '"' {
            Token::Text(self.enclosed("\"", "\"", "a string")?.to_owned())
        } else if first == '`' {
            Token::Shell(self.enclosed("`", "`", "a shell command")?.to_owned())
        } else if self.number_length() > 0 {
            self.number()?
        } else if first.is_ascii_alphanumeric() || first == '_' {
            Token::Word(
                self.take_while(|c| c.is_ascii_alphanumeric() || c == '_')
                    .to_owned(),
            )
        } else {
            self.take(first.len_utf8());
            Token::Char(first)
        };
        Ok(Some(token))
    }

    /// `--name=value`; the value ends at a blank unless it is quoted.
    fn option(&mut self) -> Result<Token, Problem> {
        self.take(2);
        let name = self
            .take_while(|c| c.is_ascii_alphanumeric() || c == '_')
            .to_owned();
        if !self.rest.starts_with('=') {
            return Ok(Token::Option(name, None));
        }
        self.take(1);
        let value = match self.rest.chars().next() {
            Some('"') => self.enclosed("\"", "\"", "a string")?,
            Some('`') => self.enclosed("`", "`", "a shell command")?,
            _ => self.take_while(|c| !c.is_whitespace()),
        };
        Ok(Token::Option(name, Some(value.to_owned())))
    }

    /// Octets of the number or address that comes next, 0 if there is none. `1...2` is `1`, `...`, `2`; `3whs` is a word.
    fn number_length(&self) -> usize {
        let bytes = self.rest.as_bytes();
        let digits = |from: usize| {
            bytes[from.min(bytes.len())..]
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count()
        };
        if self.rest.starts_with("0x") {
            let hex = bytes[2..].iter().take_while(|b| b.is_ascii_hexdigit()).count();
            return if hex > 0 { 2 + hex } else { 0 };
        }
        let sign = usize::from(bytes.first() == Some(&b'-'));
        let mut end = sign + digits(sign);
        let mut any = end > sign;
        while bytes.get(end) == Some(&b'.') && digits(end + 1) > 0 {
            end += 1 + digits(end + 1);
            any = true;
        }
        let word_goes_on = bytes
            .get(end)
            .is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_');
        if any && !(word_goes_on && sign == 0 && !self.rest[..end].contains('.')) {
            end
        } else {
            0
        }
    }

    fn number(&mut self) -> Result<Token, Problem> {
        let line = self.line;
        let text = self.take(self.number_length());
        let integer = match text.strip_prefix("0x") {
            Some(hex) => i64::from_str_radix(hex, 16),
            None => match text.matches('.').count() {
                0 => text.parse(),
                3 => return Ok(Token::Ipv4(text.to_owned())),
                _ => return Ok(Token::Float(text.to_owned())),
            },
        };
        integer
            .map(Token::Integer)
            .map_err(|_| Problem::fail(line, "a number of at most 64 bits", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Token> {
        tokens(text)
            .unwrap()
            .into_iter()
            .map(|placed| placed.token)
            .collect()
    }

    #[test]
    fn times_flags_and_sequence_numbers_come_apart() {
        use Token::{Char, Ellipsis, Float, Integer, Word};
        let word = |text: &str| Word(text.to_owned());
        let float = |text: &str| Float(text.to_owned());
        let table = [
            (
                "+.1...0.200",
                vec![Char('+'), float(".1"), Ellipsis, float("0.200")],
            ),
            ("+0...0.3", vec![Char('+'), Integer(0), Ellipsis, float("0.3")]),
            (
                "P. 1:2(1)",
                vec![
                    word("P"),
                    Char('.'),
                    Integer(1),
                    Char(':'),
                    Integer(2),
                    Char('('),
                    Integer(1),
                    Char(')'),
                ],
            ),
            ("-1 - 0x0f", vec![Integer(-1), Char('-'), Integer(15)]),
            (
                "*.5~+.6",
                vec![Char('*'), float(".5"), Char('~'), Char('+'), float(".6")],
            ),
            ("3whs a1b2", vec![word("3whs"), word("a1b2")]),
            ("192.0.2.1", vec![Token::Ipv4("192.0.2.1".to_owned())]),
            (
                "a // b\n/* c\n */ d # e",
                vec![word("a"), word("d"), Char('#'), word("e")],
            ),
            ("# all of it\nx", vec![word("x")]),
            (
                "%{ a }% `b\\`c` \"d\"",
                vec![
                    Token::Code("a".into()),
                    Token::Shell("b\\`c".into()),
                    Token::Text("d".into()),
                ],
            ),
        ];
        for (text, expected) in table {
            assert_eq!(kinds(text), expected, "{text}");
        }
    }

    #[test]
    fn lines_are_counted_through_comments_and_commands() {
        let placed = tokens("// one\n/* two\nthree */ a\n`b\nc` d\ne").unwrap();
        let lines: Vec<_> = placed.iter().map(|p| (p.line, p.starts_line)).collect();
        assert_eq!(lines, [(3, true), (4, true), (5, false), (6, true)]);
    }

    #[test]
    fn what_is_not_closed_is_said_with_the_line_where_it_opened() {
        for (text, line) in [("\n/* a", 2), ("\"a", 1), ("a\n\n`b\n", 3), ("%{", 1)] {
            assert_eq!(tokens(text).unwrap_err().line, line, "{text}");
        }
    }
}
