//! The shell's grammar as far as test scripts use it: pipelines, lists, quotes, variables and substitutions.

/// How a pipeline follows the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connector {
    /// `;` or a new line.
    Always,
    /// `&&`.
    And,
    /// `||`.
    Or,
}

/// Part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text that stays as it is.
    Literal(String),
    /// `$name`, and whether it stands in double quotes.
    Variable(String, bool),
    /// `$(command)`, and whether it stands in double quotes.
    Command(String, bool),
    /// `$((expression))`.
    Arithmetic(String),
}

/// A word before expansion.
pub type Word = Vec<Piece>;

/// A command with its words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Command {
    /// Name and arguments.
    pub words: Vec<Word>,
    /// Its standard output goes to `/dev/null`.
    pub silent: bool,
}

/// Commands joined by `|`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// How it follows the one before.
    pub connector: Connector,
    /// `!` stands before it.
    pub negated: bool,
    /// The commands.
    pub commands: Vec<Command>,
}

/// Parses a command line or a script; `Err` names what is not understood.
pub fn parse(text: &str) -> Result<Vec<Pipeline>, String> {
    let mut reader = Reader {
        chars: text.chars().collect(),
        at: 0,
    };
    let mut pipelines = Vec::new();
    let mut connector = Connector::Always;
    loop {
        reader.skip_separators();
        if reader.peek().is_none() {
            return Ok(pipelines);
        }
        let pipeline = reader.pipeline(connector)?;
        pipelines.push(pipeline);
        reader.skip_blanks();
        connector = match reader.rest() {
            ['&', '&', ..] => Connector::And,
            ['|', '|', ..] => Connector::Or,
            [] | [';' | '\n', ..] => Connector::Always,
            [other, ..] => return Err(format!("shell syntax at {other:?}")),
        };
        reader.at += if connector == Connector::Always { 0 } else { 2 };
    }
}

struct Reader {
    chars: Vec<char>,
    at: usize,
}

impl Reader {
    fn rest(&self) -> &[char] {
        &self.chars[self.at.min(self.chars.len())..]
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        loop {
            match self.rest() {
                [' ' | '\t' | '\r', ..] => self.at += 1,
                ['\\', '\n', ..] => self.at += 2,
                ['#', ..] => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn skip_separators(&mut self) {
        self.skip_blanks();
        while matches!(self.peek(), Some('\n' | ';')) {
            self.at += 1;
            self.skip_blanks();
        }
    }

    fn pipeline(&mut self, connector: Connector) -> Result<Pipeline, String> {
        let mut pipeline = Pipeline {
            connector,
            negated: false,
            commands: Vec::new(),
        };
        if let ['!', ' ', ..] = self.rest() {
            pipeline.negated = true;
            self.at += 1;
        }
        loop {
            let command = self.command()?;
            pipeline.commands.push(command);
            match self.rest() {
                ['|', '|', ..] => return Ok(pipeline),
                ['|', ..] => self.at += 1,
                _ => return Ok(pipeline),
            }
            while matches!(self.peek(), Some('\n' | ' ' | '\t')) {
                self.at += 1;
            }
        }
    }

    fn command(&mut self) -> Result<Command, String> {
        let mut command = Command::default();
        loop {
            self.skip_blanks();
            match self.rest() {
                [] | ['\n' | ';' | '|', ..] | ['&', '&', ..] => break,
                ['2', '>', '&', '1', ..] => self.at += 4,
                ['2', '>', ..] => {
                    self.at += 2;
                    self.redirection()?;
                }
                ['&', '>', ..] => {
                    self.at += 2;
                    self.redirection()?;
                    command.silent = true;
                }
                ['1', '>', ..] | ['>', ..] => {
                    self.at += if self.peek() == Some('1') { 2 } else { 1 };
                    self.redirection()?;
                    command.silent = true;
                }
                ['&' | '(' | ')' | '<' | '{' | '}', ..] => {
                    return Err(format!("shell syntax at {:?}", self.chars[self.at]));
                }
                _ => {
                    let word = self.word()?;
                    command.words.push(word);
                }
            }
        }
        match command.words.first().map(Vec::as_slice) {
            None => Err("empty shell command".to_owned()),
            Some([Piece::Literal(name)])
                if ["if", "for", "while", "until", "case", "function", "do", "then"]
                    .contains(&name.as_str()) =>
            {
                Err(format!("shell keyword {name}"))
            }
            Some(_) => Ok(command),
        }
    }

    /// The target of a redirection: nothing but `/dev/null` is understood.
    fn redirection(&mut self) -> Result<(), String> {
        self.skip_blanks();
        match self.word()?.as_slice() {
            [Piece::Literal(target)] if target == "/dev/null" => Ok(()),
            other => Err(format!("redirection to {other:?}")),
        }
    }

    fn word(&mut self) -> Result<Word, String> {
        let mut word = Word::new();
        let mut literal = String::new();
        let mut any = false;
        while let Some(char) = self.peek() {
            match char {
                ' ' | '\t' | '\n' | '\r' | ';' | '|' | '&' | '<' | '>' | '(' | ')' => break,
                '\'' => {
                    self.at += 1;
                    literal.push_str(&self.until('\'')?);
                }
                '"' => {
                    self.at += 1;
                    self.double_quoted(&mut word, &mut literal)?;
                }
                '\\' => {
                    let escaped = self.chars.get(self.at + 1).copied();
                    literal.push(escaped.ok_or("a backslash at the end of a shell command")?);
                    self.at += 2;
                }
                '$' => self.substitution(&mut word, &mut literal, false)?,
                _ => {
                    literal.push(char);
                    self.at += 1;
                }
            }
            any = true;
        }
        if !any {
            return Err("shell syntax: a word is missing".to_owned());
        }
        if !literal.is_empty() || word.is_empty() {
            word.push(Piece::Literal(literal));
        }
        Ok(word)
    }

    /// Takes up to and with `end`.
    fn until(&mut self, end: char) -> Result<String, String> {
        let length = self
            .rest()
            .iter()
            .position(|c| *c == end)
            .ok_or_else(|| format!("a {end} that is not closed"))?;
        let text = self.rest()[..length].iter().collect();
        self.at += length + 1;
        Ok(text)
    }

    fn double_quoted(&mut self, word: &mut Word, literal: &mut String) -> Result<(), String> {
        loop {
            match self.rest() {
                [] => return Err("a \" that is not closed".to_owned()),
                ['"', ..] => {
                    self.at += 1;
                    return Ok(());
                }
                ['\\', escaped @ ('"' | '\\' | '$' | '`'), ..] => {
                    literal.push(*escaped);
                    self.at += 2;
                }
                ['$', ..] => self.substitution(word, literal, true)?,
                [char, ..] => {
                    literal.push(*char);
                    self.at += 1;
                }
            }
        }
    }

    fn substitution(&mut self, word: &mut Word, literal: &mut String, quoted: bool) -> Result<(), String> {
        let piece = match self.rest() {
            ['$', '(', '(', ..] => {
                self.at += 3;
                let inside = self.balanced()?;
                if self.peek() != Some(')') {
                    return Err("$(( without ))".to_owned());
                }
                self.at += 1;
                Piece::Arithmetic(inside)
            }
            ['$', '(', ..] => {
                self.at += 2;
                Piece::Command(self.balanced()?, quoted)
            }
            ['$', '{', ..] => {
                self.at += 2;
                Piece::Variable(self.until('}')?, quoted)
            }
            _ => {
                self.at += 1;
                let rest = self.rest();
                let length = rest
                    .iter()
                    .position(|c| !(c.is_ascii_alphanumeric() || *c == '_'))
                    .unwrap_or(rest.len());
                let name: String = rest[..length].iter().collect();
                self.at += length;
                if name.is_empty() {
                    literal.push('$');
                    return Ok(());
                }
                Piece::Variable(name, quoted)
            }
        };
        if !literal.is_empty() {
            word.push(Piece::Literal(std::mem::take(literal)));
        }
        word.push(piece);
        Ok(())
    }

    /// Takes up to and with the bracket that closes the one just taken.
    fn balanced(&mut self) -> Result<String, String> {
        let mut depth = 1;
        for (length, char) in self.rest().iter().enumerate() {
            match char {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let text = self.rest()[..length].iter().collect();
                self.at += length + 1;
                return Ok(text);
            }
        }
        Err("a $( that is not closed".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Word {
        vec![Piece::Literal(text.to_owned())]
    }

    #[test]
    fn lists_pipelines_quotes_and_substitutions_come_apart() {
        let pipelines =
            parse("ss -t 2>/dev/null | grep \"a b\" >/dev/null && ! [ \"$(x | y)\" -eq $n ] # rest\nz 'q r'")
                .unwrap();
        assert_eq!(pipelines.len(), 3);
        let [first, second, third] = &pipelines[..] else {
            panic!()
        };
        assert_eq!(first.commands[0].words, [literal("ss"), literal("-t")]);
        assert_eq!(first.commands[1].words, [literal("grep"), literal("a b")]);
        assert!(first.commands[1].silent && !first.commands[0].silent);
        assert_eq!((second.connector, second.negated), (Connector::And, true));
        assert_eq!(
            second.commands[0].words[1],
            [Piece::Command("x | y".into(), true)]
        );
        assert_eq!(second.commands[0].words[3], [Piece::Variable("n".into(), false)]);
        assert_eq!(third.connector, Connector::Always);
        assert_eq!(third.commands[0].words[1], literal("q r"));
    }

    #[test]
    fn what_is_not_understood_is_said() {
        let table = [
            "if true; then x; fi",
            "a &",
            "(a)",
            "a < b",
            "a > file",
            "\"open",
            "$(open",
            "a |",
            "&& a",
            "'",
            "a \\",
        ];
        for text in table {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_command_line_panics(text in "[-a$(){}'\"\\\\;|&<>! #12\\n]{0,60}") {
            let _ = parse(&text);
        }
    }
}
