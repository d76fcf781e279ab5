//! Turns the tokens of a packetdrill script into events.
//!
//! What packetdrill itself refuses is a failure with its line; what packetdrill knows and this runner does not becomes
//! [`Action::Unsupported`], so that a script runs up to there and then says so.

use std::iter::Peekable;
use std::vec::IntoIter;

use super::Problem;
use super::ast::{
    Action, Call, Event, Expr, FlagSet, Icmp, Nanos, Script, ScriptOption, Segment, ShellCommand, TcpOption,
    Time,
};
use super::lexer::{Placed, Token, tokens};

/// Deepest nesting of an argument: scripts need four.
const MAX_DEPTH: u32 = 32;
/// Octets of options that fit into a TCP header (RFC 9293 section 3.1: data offset at most 15 words).
const MAX_OPTION_OCTETS: usize = 40;
/// Octets of an IPv4 datagram without its smallest TCP and IP headers.
const MAX_PAYLOAD: i64 = 65_535 - 40;
/// Longest time that a script may name, 30 years: sums of two still fit.
const MAX_SECONDS: u64 = 1_000_000_000;

/// Parses a whole script.
pub fn parse(text: &str) -> Result<Script, Problem> {
    let placed = tokens(text)?;
    let last_line = placed.last().map_or(1, |last| last.line);
    let mut parser = Parser {
        tokens: placed.into_iter().peekable(),
        line: last_line,
        end: last_line,
        depth: 0,
        in_action: false,
    };
    parser.script()
}

struct Parser {
    tokens: Peekable<IntoIter<Placed>>,
    /// Line of the token that was taken last.
    line: usize,
    /// Last line with a token.
    end: usize,
    depth: u32,
    /// What is read is what an event does, not its time.
    in_action: bool,
}

impl Parser {
    fn peek(&mut self) -> Option<&Token> {
        self.tokens.peek().map(|placed| &placed.token)
    }

    fn next_is(&mut self, char: char) -> bool {
        self.peek() == Some(&Token::Char(char))
    }

    fn take(&mut self) -> Option<Token> {
        let placed = self.tokens.next()?;
        self.line = placed.line;
        Some(placed.token)
    }

    /// Takes `char` if it comes next.
    fn accept(&mut self, char: char) -> bool {
        let there = self.next_is(char);
        if there {
            self.take();
        }
        there
    }

    fn expect(&mut self, char: char) -> Result<(), Problem> {
        if self.accept(char) {
            Ok(())
        } else {
            Err(self.wrong(&format!("{:?}", char.to_string())))
        }
    }

    /// Says that the next token is not `expected`. A name in its place is a construct of the language that this parser
    /// does not know; anything else is a mistake of the script.
    fn wrong(&mut self, expected: &str) -> Problem {
        let end = self.end;
        let (line, got) = self
            .tokens
            .peek()
            .map_or((end, "the end of the file".to_owned()), |placed| {
                (placed.line, placed.token.describe())
            });
        let is_name = matches!(self.peek(), Some(Token::Word(_)));
        if self.in_action && is_name {
            return Problem::skip(line, format!("{got} in the place of {expected}"));
        }
        Problem::fail(line, expected, got)
    }

    fn integer(&mut self, what: &str, max: i64) -> Result<i64, Problem> {
        match self.peek() {
            Some(Token::Integer(value)) if (0..=max).contains(value) => {
                let value = *value;
                self.take();
                Ok(value)
            }
            _ => Err(self.wrong(&format!("{what} from 0 to {max}"))),
        }
    }

    fn u32(&mut self, what: &str) -> Result<u32, Problem> {
        self.integer(what, i64::from(u32::MAX)).map(|value| value as u32)
    }

    fn script(&mut self) -> Result<Script, Problem> {
        let mut script = Script {
            options: Vec::new(),
            init: None,
            events: Vec::new(),
        };
        while let Some(Token::Option(..)) = self.peek() {
            let Some(Token::Option(name, value)) = self.take() else {
                break;
            };
            script.options.push(ScriptOption {
                line: self.line,
                name,
                value,
            });
        }
        if let Some(Token::Shell(_)) = self.peek() {
            script.init = self.shell();
        }
        while self.peek().is_some() {
            // The clean-up command at the end has no time. It undoes what the script set on its machine.
            if !script.events.is_empty() && matches!(self.peek(), Some(Token::Shell(_))) {
                self.take();
                if self.peek().is_some() {
                    return Err(self.wrong("the end of the script after its clean-up command"));
                }
                break;
            }
            let event = self.event()?;
            script.events.push(event);
        }
        if script.events.is_empty() {
            return Err(self.wrong("an event such as \"0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\""));
        }
        Ok(script)
    }

    fn shell(&mut self) -> Option<ShellCommand> {
        match self.take() {
            Some(Token::Shell(text)) => Some(ShellCommand {
                line: self.line,
                text,
            }),
            _ => None,
        }
    }

    fn event(&mut self) -> Result<Event, Problem> {
        let (time, line) = self.event_time()?;
        self.in_action = true;
        let action = self.action();
        self.in_action = false;
        let action = match action {
            Ok(action) => action,
            Err(problem) => match problem.unsupported() {
                Some(what) => {
                    self.skip_to_next_event();
                    Action::Unsupported(what)
                }
                None => return Err(problem),
            },
        };
        let outbound = matches!(action, Action::Outbound(_) | Action::Unsupported(_));
        if !outbound && !matches!(time, Time::Absolute(_) | Time::Relative(_)) {
            return Err(Problem::fail(
                line,
                "a single time: only segments that the kernel sends take a range or *",
                "a range",
            ));
        }
        Ok(Event { line, time, action })
    }

    /// After something unknown: the next line that begins as an event does.
    fn skip_to_next_event(&mut self) {
        while let Some(placed) = self.tokens.peek() {
            let begins = matches!(
                placed.token,
                Token::Integer(_) | Token::Float(_) | Token::Char('+' | '*') | Token::Shell(_)
            );
            if placed.starts_line && begins {
                return;
            }
            self.take();
        }
    }

    fn event_time(&mut self) -> Result<(Time, usize), Problem> {
        let line_of_next = self.tokens.peek().map_or(self.end, |placed| placed.line);
        if self.accept('*') {
            return Ok((Time::Any, line_of_next));
        }
        let relative = self.accept('+');
        let from = self.seconds()?;
        let line = self.line;
        if !self.accept('~') {
            let time = if relative {
                Time::Relative(from)
            } else {
                Time::Absolute(from)
            };
            return Ok((time, line));
        }
        if relative {
            self.expect('+')?;
        }
        let to = self.seconds()?;
        if to < from {
            return Err(Problem::fail(
                line,
                "a time range that runs forward",
                "one that runs backward",
            ));
        }
        let time = if relative {
            Time::RelativeRange(from, to)
        } else {
            Time::AbsoluteRange(from, to)
        };
        Ok((time, line))
    }

    /// A time in seconds, exact to the microsecond as packetdrill takes it.
    fn seconds(&mut self) -> Result<Nanos, Problem> {
        let text = match self.peek() {
            Some(Token::Integer(value)) => value.to_string(),
            Some(Token::Float(text)) => text.clone(),
            _ => return Err(self.wrong("a time in seconds, such as +.1 or 0.5")),
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let whole = if whole.is_empty() { "0" } else { whole };
        let micros: String = fraction.chars().chain("000000".chars()).take(6).collect();
        match (whole.parse::<u64>(), micros.parse::<u64>()) {
            (Ok(whole), Ok(micros)) if whole < MAX_SECONDS => {
                self.take();
                Ok(whole * 1_000_000_000 + micros * 1_000)
            }
            _ => Err(self.wrong("a time in seconds of at most 30 years, not negative")),
        }
    }

    fn action(&mut self) -> Result<Action, Problem> {
        match self.peek() {
            Some(Token::Char('<')) => {
                self.take();
                if self.accept_word("icmp") {
                    return self.icmp().map(Action::Icmp);
                }
                self.segment(true).map(Action::Inbound)
            }
            Some(Token::Char('>')) => {
                self.take();
                self.segment(false).map(Action::Outbound)
            }
            Some(Token::Word(_) | Token::Ellipsis) => self.call().map(Action::Call),
            Some(Token::Shell(_) | Token::Code(_)) => match self.take() {
                Some(Token::Code(text)) => Ok(Action::Code(text)),
                Some(Token::Shell(text)) => Ok(Action::Shell(text)),
                _ => Err(self.wrong("a command")),
            },
            _ => Err(self.wrong("a segment (< or >), a system call, `a command` or %{ code }%")),
        }
    }

    fn segment(&mut self, inbound: bool) -> Result<Segment, Problem> {
        self.refuse_other_protocols()?;
        let ports = self.ports()?;
        let flags = self.flags()?;
        let seq = self.u32("a sequence number")?;
        self.expect(':')?;
        let end = self.u32("a sequence number")?;
        self.expect('(')?;
        let len = self.integer("octets of payload", MAX_PAYLOAD)? as u32;
        self.expect(')')?;
        if u64::from(seq) + u64::from(len) != u64::from(end) {
            let line = self.line;
            return Err(Problem::fail(
                line,
                format!("first sequence number + octets = last ({seq} + {len})"),
                end,
            ));
        }
        let ack = if self.accept_word("ack") {
            self.u32("an acknowledgment number")?
        } else {
            0
        };
        let window = if self.accept_word("win") {
            Some(self.integer("a window", 65_535)? as u16)
        } else if inbound {
            return Err(self.wrong("win WINDOW: a segment to the kernel needs one"));
        } else {
            None
        };
        if self.accept_word("urg") {
            return Err(Problem::skip(self.line, "urgent pointer"));
        }
        let options = self.options(inbound)?;
        Ok(Segment {
            ports,
            flags,
            seq,
            len,
            ack,
            window,
            options,
        })
    }

    /// `icmp unreachable port_unreachable [1:1(0)]`, after its first word.
    fn icmp(&mut self) -> Result<Icmp, Problem> {
        let mut words = [String::new(), String::new()];
        for word in &mut words {
            if let Some(Token::Word(text)) = self.peek() {
                word.clone_from(text);
                self.take();
            }
        }
        let [kind, code] = words;
        if kind.is_empty() || !self.next_is('[') {
            let line = self.line;
            return Err(Problem::skip(
                line,
                format!("ICMP message {kind} {code} without a TCP segment in it"),
            ));
        }
        self.expect('[')?;
        let seq = self.u32("a sequence number")?;
        self.expect(':')?;
        self.u32("a sequence number")?;
        self.expect('(')?;
        self.u32("octets of payload")?;
        self.expect(')')?;
        self.expect(']')?;
        Ok(Icmp { kind, code, seq })
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let there = matches!(self.peek(), Some(Token::Word(text)) if text == word);
        if there {
            self.take();
        }
        there
    }

    /// Everything that may stand before the flags and is not plain TCP over IPv4.
    fn refuse_other_protocols(&mut self) -> Result<(), Problem> {
        let what = match self.peek() {
            Some(Token::Char('(' | '[')) => "IP header fields (ECN, TOS, TTL)".to_owned(),
            Some(Token::Word(word))
                if ["icmp", "udp", "ipv4", "ipv6", "gre", "GREv0", "mpls", "encap"]
                    .contains(&word.as_str()) =>
            {
                format!("protocol {word}")
            }
            _ => return Ok(()),
        };
        self.take();
        Err(Problem::skip(self.line, what))
    }

    fn ports(&mut self) -> Result<Option<(u16, u16)>, Problem> {
        if !matches!(self.peek(), Some(Token::Integer(_))) {
            return Ok(None);
        }
        let src = self.integer("a source port", 65_535)? as u16;
        self.expect('>')?;
        let dst = self.integer("a destination port", 65_535)? as u16;
        Ok(Some((src, dst)))
    }

    fn flags(&mut self) -> Result<FlagSet, Problem> {
        let mut letters = match self.peek() {
            Some(Token::Char('-')) => {
                self.take();
                return Ok(FlagSet::default());
            }
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.take();
                word
            }
            Some(Token::Char('.') | Token::Float(_)) => String::new(),
            _ => return Err(self.wrong("TCP flags such as S, S., ., P., F., R or -")),
        };
        if matches!(self.peek(), Some(Token::Float(_))) {
            self.take();
            return Err(Problem::skip(self.line, "AccECN flags"));
        }
        if self.accept('.') {
            letters.push('.');
        }
        let mut flags = FlagSet::default();
        for letter in letters.chars() {
            match FlagSet::LETTERS.iter().find(|(name, _)| *name == letter) {
                Some((_, bit)) => flags.0 |= bit,
                None if letter == 'A' || ('0'..='7').contains(&letter) => {
                    return Err(Problem::skip(self.line, "AccECN flags"));
                }
                None => return Err(Problem::fail(self.line, "TCP flags of FSRPEWU.", letters)),
            }
        }
        Ok(flags)
    }

    fn options(&mut self, inbound: bool) -> Result<Option<Vec<TcpOption>>, Problem> {
        if !self.accept('<') {
            return Ok(Some(Vec::new()));
        }
        if matches!(self.peek(), Some(Token::Ellipsis)) {
            if inbound {
                return Err(self.wrong("TCP options: a segment to the kernel cannot leave them open"));
            }
            self.take();
            self.expect('>')?;
            return Ok(None);
        }
        let mut options = Vec::new();
        loop {
            let option = self.tcp_option()?;
            options.push(option);
            if !self.accept(',') {
                break;
            }
        }
        self.expect('>')?;
        let octets: usize = options.iter().map(TcpOption::length).sum();
        if octets > MAX_OPTION_OCTETS || !octets.is_multiple_of(4) {
            return Err(Problem::fail(
                self.line,
                "TCP options of a multiple of 4 octets, at most 40 (add nop or eol)",
                format!("{octets} octets"),
            ));
        }
        Ok(Some(options))
    }

    fn tcp_option(&mut self) -> Result<TcpOption, Problem> {
        let Some(Token::Word(name)) = self.peek() else {
            return Err(self.wrong("a TCP option such as mss 1460, sackOK, nop, wscale 7 or TS val 1 ecr 0"));
        };
        let name = name.clone();
        self.take();
        Ok(match name.as_str() {
            "nop" => TcpOption::Nop,
            "eol" => TcpOption::Eol,
            "sackOK" => TcpOption::SackOk,
            "mss" => TcpOption::Mss(self.integer("octets", 65_535)? as u16),
            "wscale" => TcpOption::Wscale(self.integer("a shift count", 255)? as u8),
            "TS" => {
                self.keyword("val")?;
                let val = self.u32("a timestamp")?;
                self.keyword("ecr")?;
                let ecr = self.u32("a timestamp")?;
                TcpOption::Timestamps { val, ecr }
            }
            "sack" => {
                let mut blocks = Vec::new();
                while blocks.is_empty() || matches!(self.peek(), Some(Token::Integer(_))) {
                    let left = self.u32("a sequence number")?;
                    self.expect(':')?;
                    blocks.push((left, self.u32("a sequence number")?));
                }
                TcpOption::Sack(blocks)
            }
            _ => return Err(Problem::skip(self.line, format!("TCP option {name}"))),
        })
    }

    fn keyword(&mut self, word: &str) -> Result<(), Problem> {
        if self.accept_word(word) {
            Ok(())
        } else {
            Err(self.wrong(word))
        }
    }

    fn call(&mut self) -> Result<Call, Problem> {
        let end = if self.peek() == Some(&Token::Ellipsis) {
            self.take();
            Some(self.seconds()?)
        } else {
            None
        };
        let Some(Token::Word(name)) = self.peek() else {
            return Err(self.wrong("a system call"));
        };
        let name = name.clone();
        self.take();
        let args = self.arguments()?;
        self.expect('=')?;
        let result = self.expr()?;
        let errno = match self.tokens.peek() {
            Some(Placed {
                token: Token::Word(word),
                starts_line: false,
                ..
            }) => {
                let word = word.clone();
                self.take();
                Some(word)
            }
            _ => None,
        };
        while self.accept('(') {
            while !self.accept(')') {
                if self.take().is_none() {
                    return Err(self.wrong("\")\" at the end of the remark"));
                }
            }
        }
        Ok(Call {
            name,
            args,
            result,
            errno,
            end,
        })
    }

    /// `(a, b)`.
    fn arguments(&mut self) -> Result<Vec<Expr>, Problem> {
        self.expect('(')?;
        self.list(')')
    }

    /// Expressions up to and with `close`.
    fn list(&mut self, close: char) -> Result<Vec<Expr>, Problem> {
        let mut items = Vec::new();
        if self.accept(close) {
            return Ok(items);
        }
        loop {
            items.push(self.expr()?);
            if !self.accept(',') {
                break;
            }
        }
        self.expect(close)?;
        Ok(items)
    }

    fn expr(&mut self) -> Result<Expr, Problem> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong(&format!("arguments nested at most {MAX_DEPTH} deep")));
        }
        let mut expr = self.term()?;
        while self.accept('|') {
            expr = Expr::Or(Box::new(expr), Box::new(self.term()?));
        }
        self.depth -= 1;
        Ok(expr)
    }

    fn term(&mut self) -> Result<Expr, Problem> {
        match self.peek() {
            Some(Token::Char('[')) => {
                self.take();
                self.list(']').map(Expr::Array)
            }
            Some(Token::Char('{')) => {
                self.take();
                self.fields()
            }
            Some(Token::Ellipsis | Token::Integer(_) | Token::Float(_) | Token::Text(_) | Token::Word(_)) => {
                match self.take() {
                    Some(Token::Ellipsis) => Ok(Expr::Ellipsis),
                    Some(Token::Integer(value)) => Ok(Expr::Integer(value)),
                    Some(Token::Float(text)) => Ok(Expr::Word(text)),
                    Some(Token::Text(text)) => {
                        // `"text"...` is a string of at least that text.
                        if self.peek() == Some(&Token::Ellipsis) {
                            self.take();
                        }
                        Ok(Expr::Text(text))
                    }
                    Some(Token::Word(word)) if self.next_is('(') => Ok(Expr::Call(word, self.arguments()?)),
                    Some(Token::Word(word)) => Ok(Expr::Word(word)),
                    _ => Err(self.wrong("an argument")),
                }
            }
            _ => Err(self.wrong("an argument: a number, a name, ..., [...], {...} or a string")),
        }
    }

    /// `{name=value, name(n)=value, value}` after its `{`.
    fn fields(&mut self) -> Result<Expr, Problem> {
        let mut fields = Vec::new();
        while !self.accept('}') {
            let value = self.expr()?;
            let field = if self.accept('=') {
                let (Expr::Word(name) | Expr::Call(name, _)) = value else {
                    return Err(self.wrong("a field name before ="));
                };
                (Some(name), self.expr()?)
            } else {
                (None, value)
            };
            fields.push(field);
            if !self.accept(',') && !self.next_is('}') {
                return Err(self.wrong("\",\" or \"}\""));
            }
        }
        Ok(Expr::Fields(fields))
    }
}

#[cfg(test)]
mod tests;
