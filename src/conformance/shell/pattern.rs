//! grep's patterns: what scripts use of POSIX basic and extended regular expressions, and whether a line holds one.
//!
//! A pattern becomes a small program that is run over all its states at once, so that no pattern takes long.

/// One step of the program.
#[derive(Debug, Clone)]
enum Step {
    Char(Vec<(char, char)>, bool),
    Start,
    End,
    /// Go on at both places.
    Split(usize, usize),
    Match,
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    steps: Vec<Step>,
    ignore_case: bool,
}

/// How grep was told to match.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flavour {
    /// `-E`.
    pub extended: bool,
    /// `-F`.
    pub fixed: bool,
    /// `-i`.
    pub ignore_case: bool,
    /// `-w`.
    pub whole_word: bool,
    /// `-x`.
    pub whole_line: bool,
}

/// Longest pattern; scripts need a few words.
const MAX_LENGTH: usize = 1_000;

impl Pattern {
    /// Compiles `text`; `Err` names what is not understood.
    pub fn new(text: &str, flavour: Flavour) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("grep pattern of more than {MAX_LENGTH} octets"));
        }
        let mut compiler = Compiler {
            rest: text.chars().collect(),
            at: 0,
            extended: flavour.extended,
            steps: Vec::new(),
            depth: 0,
        };
        if flavour.fixed {
            compiler.steps = text.chars().map(|c| Step::Char(vec![(c, c)], false)).collect();
        } else {
            compiler.alternatives()?;
            if compiler.at < compiler.rest.len() {
                return Err(format!("grep pattern {text:?}"));
            }
        }
        compiler.steps.push(Step::Match);
        Ok(Self {
            steps: compiler.steps,
            ignore_case: flavour.ignore_case,
        })
    }

    /// Whether `line` holds the pattern.
    pub fn is_in(&self, line: &str, flavour: Flavour) -> bool {
        let fold = |c: char| {
            if self.ignore_case {
                c.to_ascii_lowercase()
            } else {
                c
            }
        };
        let line: Vec<char> = line.chars().map(fold).collect();
        let is_word = |index: usize| {
            line.get(index)
                .is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_')
        };
        let starts = if flavour.whole_line { 0..=0 } else { 0..=line.len() };
        starts
            .filter(|start| !flavour.whole_word || *start == 0 || !is_word(start - 1))
            .any(|start| {
                self.ends(&line, start).into_iter().any(|end| {
                    (!flavour.whole_line || end == line.len()) && (!flavour.whole_word || !is_word(end))
                })
            })
    }

    /// Where matches that begin at `start` end.
    fn ends(&self, line: &[char], start: usize) -> Vec<usize> {
        let mut ends = Vec::new();
        let mut states = vec![0];
        for at in start..=line.len() {
            let mut seen = vec![false; self.steps.len()];
            let mut next = Vec::new();
            while let Some(state) = states.pop() {
                if std::mem::replace(&mut seen[state], true) {
                    continue;
                }
                match &self.steps[state] {
                    Step::Char(ranges, negated) => {
                        let fits = |c: &char| {
                            ranges.iter().any(|(low, high)| {
                                (low..=high).contains(&c)
                                    || (self.ignore_case && (low..=high).contains(&&c.to_ascii_uppercase()))
                            }) != *negated
                        };
                        if line.get(at).is_some_and(fits) {
                            next.push(state + 1);
                        }
                    }
                    Step::Start if at == 0 => states.push(state + 1),
                    Step::End if at == line.len() => states.push(state + 1),
                    Step::Start | Step::End => {}
                    Step::Split(one, other) => states.extend([*one, *other]),
                    Step::Match => ends.push(at),
                }
            }
            if next.is_empty() {
                break;
            }
            states = next;
        }
        ends
    }
}

struct Compiler {
    rest: Vec<char>,
    at: usize,
    extended: bool,
    steps: Vec<Step>,
    depth: u32,
}

impl Compiler {
    fn peek(&self) -> Option<char> {
        self.rest.get(self.at).copied()
    }

    /// The next characters are the operator `char`: bare in extended patterns, behind a backslash in basic ones.
    fn operator(&mut self, char: char) -> bool {
        let there = if self.extended {
            self.peek() == Some(char)
        } else {
            self.peek() == Some('\\') && self.rest.get(self.at + 1) == Some(&char)
        };
        if there {
            self.at += if self.extended { 1 } else { 2 };
        }
        there
    }

    fn alternatives(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > 20 {
            return Err("grep pattern with more than 20 groups inside each other".to_owned());
        }
        let from = self.steps.len();
        self.sequence()?;
        while self.operator('|') {
            // Split(this, other), this, jump to the end, other.
            self.insert(from, Step::Split(from + 1, self.steps.len() + 2));
            let jump = self.steps.len();
            self.steps.push(Step::Split(jump, jump));
            self.sequence()?;
            let end = self.steps.len();
            self.steps[jump] = Step::Split(end, end);
        }
        self.depth -= 1;
        Ok(())
    }

    /// Inserts a step at `from`; those behind it move.
    fn insert(&mut self, from: usize, step: Step) {
        for moved in &mut self.steps[from..] {
            if let Step::Split(one, other) = moved {
                for target in [one, other] {
                    *target += usize::from(*target >= from);
                }
            }
        }
        self.steps.insert(from, step);
    }

    fn sequence(&mut self) -> Result<(), String> {
        while let Some(char) = self.peek() {
            let ends = if self.extended {
                char == '|' || char == ')'
            } else {
                char == '\\' && matches!(self.rest.get(self.at + 1), Some('|' | ')'))
            };
            if ends {
                return Ok(());
            }
            let from = self.steps.len();
            self.atom()?;
            self.repeat(from);
        }
        Ok(())
    }

    fn repeat(&mut self, from: usize) {
        loop {
            let star = self.peek() == Some('*');
            if star {
                self.at += 1;
            }
            if star || self.operator('+') {
                let end = self.steps.len();
                self.steps.push(Step::Split(from, end + 1));
                if star {
                    self.insert(from, Step::Split(from + 1, self.steps.len() + 1));
                }
            } else if self.operator('?') {
                self.insert(from, Step::Split(from + 1, self.steps.len() + 1));
            } else {
                return;
            }
        }
    }

    fn atom(&mut self) -> Result<(), String> {
        if self.operator('(') {
            self.alternatives()?;
            return if self.operator(')') {
                Ok(())
            } else {
                Err("grep pattern with a group that is not closed".to_owned())
            };
        }
        let char = self.rest[self.at];
        self.at += 1;
        let step = match char {
            '.' => Step::Char(Vec::new(), true),
            '^' => Step::Start,
            '$' => Step::End,
            '[' => self.class()?,
            '\\' => {
                let literal = self.peek().ok_or("grep pattern that ends in a backslash")?;
                self.at += 1;
                if literal.is_ascii_alphanumeric() {
                    return Err(format!("grep pattern with \\{literal}"));
                }
                Step::Char(vec![(literal, literal)], false)
            }
            literal => Step::Char(vec![(literal, literal)], false),
        };
        self.steps.push(step);
        Ok(())
    }

    fn class(&mut self) -> Result<Step, String> {
        let negated = self.peek() == Some('^');
        self.at += usize::from(negated);
        let mut ranges = Vec::new();
        loop {
            let low = self.peek().ok_or("grep pattern with a [ that is not closed")?;
            self.at += 1;
            match low {
                ']' if !ranges.is_empty() => return Ok(Step::Char(ranges, negated)),
                '[' if self.peek() == Some(':') => {
                    let rest: String = self.rest[self.at..].iter().collect();
                    let named = [
                        (":space:]", vec![(' ', ' '), ('\t', '\r')]),
                        (":digit:]", vec![('0', '9')]),
                        (":blank:]", vec![(' ', ' '), ('\t', '\t')]),
                        (":alnum:]", vec![('0', '9'), ('a', 'z'), ('A', 'Z')]),
                        (":alpha:]", vec![('a', 'z'), ('A', 'Z')]),
                    ];
                    let (name, chars) = named
                        .into_iter()
                        .find(|(name, _)| rest.starts_with(name))
                        .ok_or("grep pattern with an unknown class")?;
                    self.at += name.len();
                    ranges.extend(chars);
                }
                _ => {
                    let is_range = self.peek() == Some('-')
                        && self.rest.get(self.at + 1).is_some_and(|high| *high != ']');
                    let high = if is_range { self.rest[self.at + 1] } else { low };
                    self.at += if is_range { 2 } else { 0 };
                    ranges.push((low, high));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_a_pattern_as_grep_says() {
        let basic = Flavour::default();
        let extended = Flavour {
            extended: true,
            ..basic
        };
        let word = Flavour {
            whole_word: true,
            ..basic
        };
        let line = Flavour {
            whole_line: true,
            ..basic
        };
        let fixed = Flavour { fixed: true, ..basic };
        let case = Flavour {
            ignore_case: true,
            ..basic
        };
        let table = [
            (basic, "TIME-WAIT", "TIME-WAIT 0 0", true),
            (basic, "^LISTEN", " LISTEN", false),
            (basic, "a.c$", "xabc", true),
            (basic, "a.c$", "abcd", false),
            (basic, ":8080[^0-9]", "10.0.0.1:8080 x", true),
            (basic, ":8080[^0-9]", "10.0.0.1:80801", false),
            (basic, "ab*c", "ac", true),
            (basic, "ab*c", "abbbc", true),
            (basic, "a\\|b", "xbx", true),
            (basic, "a|b", "xbx", false),
            (basic, "1+", "1+", true),
            (extended, "^(0|[1-9]+)$", "907", false),
            (extended, "^(0|[1-9]+)$", "97", true),
            (extended, "(ab)+c?d", "xababd", true),
            (extended, "^(a|b|c)?x$", "cx", true),
            (extended, "a\\.b", "axb", false),
            (word, "CLOSE", "CLOSE_WAIT", false),
            (word, "CLOSE", "a CLOSE b", true),
            (line, "1", "11", false),
            (line, "1", "1", true),
            (fixed, "a.b", "axb", false),
            (case, "syn-RECV", "SYN-recv", true),
            (basic, "-c 0 0", "x -c 0 0", true),
            (basic, "[[:space:]]1$", "a 1", true),
            (basic, "", "", true),
        ];
        for (flavour, pattern, text, holds) in table {
            let compiled = Pattern::new(pattern, flavour).unwrap();
            assert_eq!(compiled.is_in(text, flavour), holds, "{pattern:?} in {text:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for pattern in ["\\bx", "[a", "a\\", "[[:upper:]]"] {
            assert!(Pattern::new(pattern, Flavour::default()).is_err(), "{pattern}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_pattern_panics(pattern in "[-ab.*+?()|\\\\\\[\\]^$]{0,30}", line in "[ab]{0,20}", extended in proptest::bool::ANY) {
            let flavour = Flavour { extended, ..Flavour::default() };
            if let Ok(compiled) = Pattern::new(&pattern, flavour) {
                compiled.is_in(&line, flavour);
            }
        }
    }
}
