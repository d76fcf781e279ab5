//! What a packetdrill script says, after parsing: events with their times and lines.

use std::fmt;

/// A length of script time in nanoseconds.
pub type Nanos = u64;

/// A parsed script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The `--name=value` lines at its head.
    pub options: Vec<ScriptOption>,
    /// The shell command before the first event.
    pub init: Option<ShellCommand>,
    /// The events in their order.
    pub events: Vec<Event>,
}

/// One option line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptOption {
    /// Line in the file.
    pub line: usize,
    /// Name without the dashes.
    pub name: String,
    /// What stands after `=`.
    pub value: Option<String>,
}

/// A shell command and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellCommand {
    /// Line in the file.
    pub line: usize,
    /// The command as written.
    pub text: String,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Line of its time.
    pub line: usize,
    /// When it happens.
    pub time: Time,
    /// What happens.
    pub action: Action,
}

/// When an event happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// So long after the start.
    Absolute(Nanos),
    /// So long after the event before it.
    Relative(Nanos),
    /// Between two moments after the start; segments that the kernel sends only.
    AbsoluteRange(Nanos, Nanos),
    /// Between two moments after the event before it; segments that the kernel sends only.
    RelativeRange(Nanos, Nanos),
    /// `*`: whenever; segments that the kernel sends only.
    Any,
}

/// What happens at an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A segment reaches the kernel under test.
    Inbound(Segment),
    /// The kernel under test is expected to send this next.
    Outbound(Segment),
    /// An ICMP message reaches the kernel under test.
    Icmp(Icmp),
    /// A system call and its result.
    Call(Call),
    /// A shell command that has to succeed.
    Shell(String),
    /// Assertions on TCP_INFO.
    Code(String),
    /// Something that packetdrill knows and this runner does not.
    Unsupported(String),
}

/// TCP flags as a script writes them.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct FlagSet(pub u8);

impl FlagSet {
    /// The letters and their bits, in the order in which they are printed.
    pub const LETTERS: [(char, u8); 8] = [
        ('S', 2),
        ('F', 1),
        ('R', 4),
        ('P', 8),
        ('U', 32),
        ('E', 64),
        ('W', 128),
        ('.', 16),
    ];

    /// Whether the flag of that letter is set.
    pub fn has(self, letter: char) -> bool {
        Self::LETTERS
            .iter()
            .any(|(name, bit)| *name == letter && self.0 & bit != 0)
    }
}

impl fmt::Display for FlagSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters: String = Self::LETTERS
            .iter()
            .filter(|(_, bit)| self.0 & bit != 0)
            .map(|(letter, _)| *letter)
            .collect();
        f.write_str(if letters.is_empty() { "-" } else { &letters })
    }
}
impl fmt::Debug for FlagSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// One TCP option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TcpOption {
    /// Padding.
    Nop,
    /// End of the list.
    Eol,
    /// Maximum segment size in octets.
    Mss(u16),
    /// Window scale: shift count.
    Wscale(u8),
    /// SACK permitted.
    SackOk,
    /// SACK blocks: first octet of each and the one after its last.
    Sack(Vec<(u32, u32)>),
    /// Timestamps.
    Timestamps {
        /// Value.
        val: u32,
        /// Echo.
        ecr: u32,
    },
}

impl TcpOption {
    /// Octets in the header (RFC 9293 section 3.2, RFC 7323, RFC 2018).
    pub fn length(&self) -> usize {
        match self {
            Self::Nop | Self::Eol => 1,
            Self::Mss(_) => 4,
            Self::Wscale(_) => 3,
            Self::SackOk => 2,
            Self::Sack(blocks) => 2 + 8 * blocks.len(),
            Self::Timestamps { .. } => 10,
        }
    }
}

impl fmt::Display for TcpOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nop => f.write_str("nop"),
            Self::Eol => f.write_str("eol"),
            Self::Mss(octets) => write!(f, "mss {octets}"),
            Self::Wscale(shift) => write!(f, "wscale {shift}"),
            Self::SackOk => f.write_str("sackOK"),
            Self::Sack(blocks) => {
                f.write_str("sack")?;
                blocks
                    .iter()
                    .try_for_each(|(left, right)| write!(f, " {left}:{right}"))
            }
            Self::Timestamps { val, ecr } => write!(f, "TS val {val} ecr {ecr}"),
        }
    }
}

/// A TCP segment in the numbers of the script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Source and destination port, if not those of the connection under test.
    pub ports: Option<(u16, u16)>,
    /// Flags.
    pub flags: FlagSet,
    /// First sequence number.
    pub seq: u32,
    /// Octets of payload.
    pub len: u32,
    /// Acknowledgment number, 0 if none is written.
    pub ack: u32,
    /// Window as on the wire; in a segment to be sent `None` is not compared.
    pub window: Option<u16>,
    /// Options; `None` is `<...>`: not compared.
    pub options: Option<Vec<TcpOption>>,
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = u64::from(self.seq) + u64::from(self.len);
        write!(f, "{} {}:{end}({})", self.flags, self.seq, self.len)?;
        if self.flags.has('.') {
            write!(f, " ack {}", self.ack)?;
        }
        if let Some(window) = self.window {
            write!(f, " win {window}")?;
        }
        match &self.options {
            None => f.write_str(" <...>"),
            Some(options) if options.is_empty() => Ok(()),
            Some(options) => {
                let options: Vec<_> = options.iter().map(ToString::to_string).collect();
                write!(f, " <{}>", options.join(","))
            }
        }
    }
}

/// A system call and what it returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Name.
    pub name: String,
    /// Arguments; those that a call fills in hold the expected values.
    pub args: Vec<Expr>,
    /// Expected result.
    pub result: Expr,
    /// Expected errno.
    pub errno: Option<String>,
    /// When a blocking call returns, counted as the time of the event is.
    pub end: Option<Nanos>,
}

/// An ICMP message about a segment of the kernel under test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Icmp {
    /// Type, as packetdrill names it.
    pub kind: String,
    /// Code, likewise; empty: none.
    pub code: String,
    /// Sequence number of the segment that it quotes.
    pub seq: u32,
}

/// An argument or a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    /// `...`: whatever is right.
    Ellipsis,
    /// A number.
    Integer(i64),
    /// A symbol.
    Word(String),
    /// A string.
    Text(String),
    /// `a | b`.
    Or(Box<Expr>, Box<Expr>),
    /// `[a, b]`.
    Array(Vec<Expr>),
    /// `{name=value, value}`: fields with and without a name.
    Fields(Vec<(Option<String>, Expr)>),
    /// `htons(8080)`.
    Call(String, Vec<Expr>),
}

impl Expr {
    /// The field of that name in `{...}`.
    pub fn field(&self, name: &str) -> Option<&Self> {
        let Self::Fields(fields) = self else { return None };
        fields
            .iter()
            .find(|(field, _)| field.as_deref() == Some(name))
            .map(|(_, value)| value)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: &[Self]| {
            items
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        };
        match self {
            Self::Ellipsis => f.write_str("..."),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Word(word) => f.write_str(word),
            Self::Text(text) => write!(f, "\"{text}\""),
            Self::Or(left, right) => write!(f, "{left}|{right}"),
            Self::Array(items) => write!(f, "[{}]", list(items)),
            Self::Call(name, args) => write!(f, "{name}({})", list(args)),
            Self::Fields(fields) => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(name, value)| match name {
                        Some(name) => format!("{name}={value}"),
                        None => value.to_string(),
                    })
                    .collect();
                write!(f, "{{{}}}", fields.join(", "))
            }
        }
    }
}
