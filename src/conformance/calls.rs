//! The process of a script: its descriptors and what its system calls do to the machine.
//!
//! Results are Linux' (net/ipv4/{af_inet,inet_connection_sock,tcp}.c): which error, and whether a call blocks.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::ProblemKind;
use super::ast::{Call, Expr};
use super::expect::{Flow, Progress};
use super::machine::Machine;
use super::poll;
use super::symbols::{self, MSG_DONTWAIT, MSG_EOR, MSG_MORE, MSG_NOSIGNAL, O_NONBLOCK, evaluate};
use crate::engine::Handle;
use crate::model::tcp::{How, Linger2, ListenOptions, ListenerId, Read, SocketError, SocketOptions, State};
use crate::units::{Endpoint, FourTuple, SimDuration, SimTime};

/// What a call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returned {
    /// A value of 0 or more.
    Value(i64),
    /// -1 and an errno.
    Error(i64),
    /// Nothing yet.
    Blocks,
}

impl Returned {
    fn error(name: &str) -> Self {
        Self::Error(symbols::value(name).expect("the errnos used here are in the table"))
    }
}

/// How a call goes on after it blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resumed {
    /// It blocked before.
    pub again: bool,
    /// Octets that a write has written.
    pub written: u32,
    /// When a poll gives up.
    pub deadline: Option<SimTime>,
}

impl Resumed {
    /// A write that blocked may try again: there is room, or nothing to wait for.
    fn wakes(machine: &mut Machine, handle: Handle) -> bool {
        let readiness = machine.readiness(handle);
        readiness.is_none_or(|readiness| readiness.writable || readiness.error || readiness.write_closed)
    }
}

/// Calls on a descriptor.
const KNOWN: [&str; 21] = [
    "bind",
    "listen",
    "accept",
    "accept4",
    "connect",
    "read",
    "readv",
    "recv",
    "recvfrom",
    "recvmsg",
    "write",
    "writev",
    "send",
    "sendto",
    "sendmsg",
    "shutdown",
    "close",
    "fcntl",
    "setsockopt",
    "getsockopt",
    "ioctl",
];

type Outcome = Result<Returned, ProblemKind>;

/// What a descriptor stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// After `socket()`, perhaps bound to a port.
    Fresh(u16),
    Listener(ListenerId),
    /// `connecting`: `connect()` has not said how it went.
    Connection {
        handle: Handle,
        connecting: bool,
    },
}

#[derive(Debug, Clone, Copy)]
struct File {
    kind: Kind,
    nonblocking: bool,
    options: SocketOptions,
    /// `TCP_INQ`: recvmsg() tells how much is left.
    inq: bool,
}

/// Addresses and ports of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The machine under test.
    pub local: Ipv4Addr,
    /// The script's side.
    pub remote: Ipv4Addr,
    /// What `bind(fd, ..., ...)` binds to.
    pub bind_port: u16,
    /// What `connect(fd, ..., ...)` connects to.
    pub connect_port: u16,
}

/// The process.
#[derive(Debug)]
pub struct Process {
    files: BTreeMap<i64, File>,
    addresses: Addresses,
    /// The connection under test.
    pub flow: Option<Flow>,
}

fn unsupported<T>(what: impl Into<String>) -> Result<T, ProblemKind> {
    Err(ProblemKind::Unsupported(what.into()))
}

/// An argument's value.
fn number(call: &Call, index: usize) -> Result<i64, ProblemKind> {
    match call.args.get(index) {
        Some(expr) => evaluate(expr).map_err(ProblemKind::Unsupported),
        None => Err(ProblemKind::Failed {
            expected: format!("{} with at least {} arguments", call.name, index + 1),
            got: call.args.len().to_string(),
        }),
    }
}

/// `[value]` or `value`.
fn boxed(call: &Call, index: usize) -> Result<i64, ProblemKind> {
    match call.args.get(index) {
        Some(Expr::Array(items)) if items.len() == 1 => evaluate(&items[0]).map_err(ProblemKind::Unsupported),
        _ => number(call, index),
    }
}

/// What a call filled in, against what the script expects there.
fn filled(call: &Call, index: usize, got: i64) -> Outcome {
    let expected = boxed(call, index)?;
    if expected == got {
        return Ok(Returned::Value(0));
    }
    Err(ProblemKind::Failed {
        expected: format!("{} to give {}", call.name, call.args[index]),
        got: format!("[{got}]"),
    })
}

fn of_error(error: SocketError) -> Returned {
    Returned::error(error.name())
}

impl Process {
    /// A process without descriptors.
    pub fn new(addresses: Addresses) -> Self {
        Self {
            files: BTreeMap::new(),
            addresses,
            flow: None,
        }
    }

    /// Does a call. One that blocks is done again until it does not.
    ///
    /// # Errors
    /// What the call filled in is not as expected, or the runner does not know it.
    pub fn call(&mut self, machine: &mut Machine, call: &Call, resumed: &mut Resumed) -> Outcome {
        if call.name == "socket" {
            return self.socket(call);
        }
        if call.name == "poll" {
            return self.poll(machine, call, resumed);
        }
        if !KNOWN.contains(&call.name.as_str()) {
            return unsupported(format!("system call {}", call.name));
        }
        let fd = number(call, 0)?;
        let Some(file) = self.files.get(&fd).copied() else {
            return Ok(Returned::error("EBADF"));
        };
        match call.name.as_str() {
            "bind" => self.bind(fd, call),
            "listen" => self.listen(fd, file, machine, call),
            "accept" | "accept4" => self.accept(file, machine, call),
            "connect" => Ok(self.connect(fd, file, machine, resumed.again)),
            "read" | "recv" | "recvfrom" | "readv" | "recvmsg" => Self::read(file, machine, call),
            "write" | "send" | "sendto" | "writev" | "sendmsg" => Self::write(file, machine, call, resumed),
            "shutdown" => Self::shutdown(file, machine, call),
            "close" => Ok(self.close(fd, file, machine)),
            "fcntl" => self.fcntl(fd, file, call),
            "setsockopt" => self.setsockopt(fd, file, machine, call),
            "getsockopt" => Self::getsockopt(file, machine, call),
            _ => Self::ioctl(file, machine, call),
        }
    }

    /// The descriptor that a call makes: the script's, which stands for whatever number the kernel gives. Where the script
    /// expects none, one that is free.
    fn descriptor(&self, call: &Call) -> Result<i64, ProblemKind> {
        let expected = evaluate(&call.result).map_err(ProblemKind::Unsupported)?;
        let past_the_last = || self.files.keys().last().map_or(3, |last| last + 1);
        Ok(if expected >= 0 { expected } else { past_the_last() })
    }

    fn socket(&mut self, call: &Call) -> Outcome {
        let (kind, protocol) = (number(call, 1)?, number(call, 2)?);
        let stream = symbols::value("SOCK_STREAM").expect("in the table");
        if kind & 0xf != stream || ![0, 6].contains(&protocol) {
            return unsupported(format!("socket of {} and {}", call.args[1], call.args[2]));
        }
        let fd = self.descriptor(call)?;
        let file = File {
            kind: Kind::Fresh(0),
            nonblocking: kind & O_NONBLOCK != 0,
            options: SocketOptions::default(),
            inq: false,
        };
        if self.files.insert(fd, file).is_some() {
            return Err(ProblemKind::Failed {
                expected: "a descriptor that is not open".to_owned(),
                got: fd.to_string(),
            });
        }
        let remote = Endpoint::new(self.addresses.remote, self.addresses.connect_port);
        self.flow = Some(Flow::new(self.addresses.local, remote));
        Ok(Returned::Value(fd))
    }

    /// The port in `{sa_family=..., sin_port=htons(8080), ...}`, else the default.
    fn port(call: &Call, default: u16) -> Result<u16, ProblemKind> {
        match call.args.get(1) {
            Some(address @ Expr::Fields(_)) => match address.field("sin_port") {
                Some(Expr::Call(name, args)) if name == "htons" && args.len() == 1 => evaluate(&args[0])
                    .ok()
                    .and_then(|port| u16::try_from(port).ok())
                    .ok_or_else(|| ProblemKind::Unsupported(format!("address {address}"))),
                _ => unsupported(format!("address {address}")),
            },
            _ => Ok(default),
        }
    }

    fn bind(&mut self, fd: i64, call: &Call) -> Outcome {
        let port = Self::port(call, self.addresses.bind_port)?;
        if let Some(file) = self.files.get_mut(&fd) {
            file.kind = Kind::Fresh(port);
        }
        Ok(Returned::Value(0))
    }

    fn listen(&mut self, fd: i64, file: File, machine: &mut Machine, call: &Call) -> Outcome {
        let Kind::Fresh(port) = file.kind else {
            return unsupported("listen() on a socket in use");
        };
        let endpoint = Endpoint::new(self.addresses.local, port);
        let options = ListenOptions {
            backlog: u32::try_from(number(call, 1)?).unwrap_or(u32::MAX),
            socket: file.options,
        };
        let id = machine.listen(endpoint, options);
        if let Some(file) = self.files.get_mut(&fd) {
            file.kind = Kind::Listener(id);
        }
        if let Some(flow) = &mut self.flow {
            flow.progress = Progress::Listening;
            flow.local = endpoint;
        }
        Ok(Returned::Value(0))
    }

    fn accept(&mut self, file: File, machine: &mut Machine, call: &Call) -> Outcome {
        let Kind::Listener(id) = file.kind else {
            return Ok(Returned::error("EINVAL"));
        };
        let Some(handle) = machine.accept(id) else {
            return Ok(if file.nonblocking {
                Returned::error("EAGAIN")
            } else {
                Returned::Blocks
            });
        };
        let fd = self.descriptor(call)?;
        let file = File {
            kind: Kind::Connection {
                handle,
                connecting: false,
            },
            nonblocking: call.name == "accept4" && number(call, 3)? & O_NONBLOCK != 0,
            options: file.options,
            inq: false,
        };
        self.files.insert(fd, file);
        Ok(Returned::Value(fd))
    }

    fn connect(&mut self, fd: i64, file: File, machine: &mut Machine, again: bool) -> Returned {
        let handle = match file.kind {
            Kind::Listener(_)
            | Kind::Connection {
                connecting: false, ..
            } => return Returned::error("EISCONN"),
            Kind::Fresh(port) => {
                let remote = Endpoint::new(self.addresses.remote, self.addresses.connect_port);
                let port = if port == 0 {
                    machine.free_port(self.addresses.local, remote)
                } else {
                    port
                };
                let tuple = FourTuple::new(Endpoint::new(self.addresses.local, port), remote);
                if let Some(flow) = &mut self.flow {
                    flow.progress = Progress::Connecting;
                }
                let handle = machine.connect(tuple, file.options);
                self.set_kind(
                    fd,
                    Kind::Connection {
                        handle,
                        connecting: true,
                    },
                );
                return if file.nonblocking {
                    Returned::error("EINPROGRESS")
                } else {
                    Returned::Blocks
                };
            }
            Kind::Connection { handle, .. } => handle,
        };
        let returned = match machine.stack.state(handle) {
            Some(State::SynSent | State::SynReceived) if again => return Returned::Blocks,
            Some(State::SynSent | State::SynReceived) => return Returned::error("EALREADY"),
            Some(State::Closed) | None => match machine.stack.take_error(handle) {
                Some(error) => of_error(error),
                None => Returned::error("ECONNABORTED"),
            },
            Some(_) => Returned::Value(0),
        };
        self.set_kind(
            fd,
            Kind::Connection {
                handle,
                connecting: false,
            },
        );
        returned
    }

    fn set_kind(&mut self, fd: i64, kind: Kind) {
        if let Some(file) = self.files.get_mut(&fd) {
            file.kind = kind;
        }
    }

    /// Octets that a reading or writing call asks for, and its flags.
    fn size(call: &Call) -> Result<(u32, i64), ProblemKind> {
        let (octets, flags) = match call.name.as_str() {
            "writev" | "readv" => (vectors(call.args.get(1))?, 0),
            "sendmsg" | "recvmsg" => {
                let message = call.args.get(1).and_then(|message| message.field("msg_iov"));
                (vectors(message)?, number(call, 2)?)
            }
            "read" | "write" => (number(call, 2)?, 0),
            _ => (number(call, 2)?, number(call, 3)?),
        };
        if flags & !(MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE | MSG_EOR) != 0 {
            return unsupported(format!("flags of {}", call.name));
        }
        Ok((u32::try_from(octets).unwrap_or(u32::MAX), flags))
    }

    fn read(file: File, machine: &mut Machine, call: &Call) -> Outcome {
        let (octets, flags) = Self::size(call)?;
        let Kind::Connection { handle, .. } = file.kind else {
            return Ok(Returned::error("ENOTCONN"));
        };
        let null = call.args.get(1) == Some(&Expr::Word("NULL".to_owned()));
        if null && machine.unread(handle) > 0 {
            return Ok(Returned::error("EFAULT"));
        }
        Ok(match machine.read(handle, octets) {
            Ok(Read::Data(octets)) => {
                check_control(file, handle, machine, call)?;
                Returned::Value(i64::from(octets))
            }
            Ok(Read::End) => Returned::Value(0),
            Ok(Read::Wait) if file.nonblocking || flags & MSG_DONTWAIT != 0 => Returned::error("EAGAIN"),
            Ok(Read::Wait) => Returned::Blocks,
            Err(error) => of_error(error),
        })
    }

    fn write(file: File, machine: &mut Machine, call: &Call, resumed: &mut Resumed) -> Outcome {
        let (octets, flags) = Self::size(call)?;
        let Kind::Connection { handle, .. } = file.kind else {
            return Ok(Returned::error("EPIPE"));
        };
        let dont_wait = file.nonblocking || flags & MSG_DONTWAIT != 0;
        if call.args.get(1) == Some(&Expr::Word("NULL".to_owned())) && octets > 0 {
            return Ok(Returned::error("EFAULT"));
        }
        // A write that waits for room is woken when a good part of the buffer is free.
        if resumed.again && !Resumed::wakes(machine, handle) {
            return Ok(Returned::Blocks);
        }
        Ok(match machine.write(handle, octets - resumed.written, flags) {
            Ok(written) => {
                resumed.written += written;
                if resumed.written == octets {
                    Returned::Value(i64::from(octets))
                } else if !dont_wait {
                    Returned::Blocks
                } else if resumed.written > 0 {
                    Returned::Value(i64::from(resumed.written))
                } else {
                    Returned::error("EAGAIN")
                }
            }
            Err(SocketError::Again) if !dont_wait => Returned::Blocks,
            Err(_) if resumed.written > 0 => Returned::Value(i64::from(resumed.written)),
            Err(error) => of_error(error),
        })
    }

    fn shutdown(file: File, machine: &mut Machine, call: &Call) -> Outcome {
        let how = match number(call, 1)? {
            0 => How::Read,
            1 => How::Write,
            2 => How::Both,
            _ => return Ok(Returned::error("EINVAL")),
        };
        let Kind::Connection { handle, .. } = file.kind else {
            return Ok(Returned::error("ENOTCONN"));
        };
        Ok(match machine.shutdown(handle, how) {
            Ok(()) => Returned::Value(0),
            Err(error) => of_error(error),
        })
    }

    fn close(&mut self, fd: i64, file: File, machine: &mut Machine) -> Returned {
        self.files.remove(&fd);
        match file.kind {
            Kind::Fresh(_) => {}
            Kind::Listener(id) => machine.close_listener(id),
            Kind::Connection { handle, .. } => machine.close(handle),
        }
        Returned::Value(0)
    }

    fn fcntl(&mut self, fd: i64, file: File, call: &Call) -> Outcome {
        let command = number(call, 1)?;
        if Some(command) == symbols::value("F_GETFL") {
            return Ok(Returned::Value(2 | if file.nonblocking { O_NONBLOCK } else { 0 }));
        }
        if Some(command) != symbols::value("F_SETFL") {
            return unsupported(format!("fcntl {}", call.args[1]));
        }
        let nonblocking = number(call, 2)? & O_NONBLOCK != 0;
        if let Some(file) = self.files.get_mut(&fd) {
            file.nonblocking = nonblocking;
        }
        Ok(Returned::Value(0))
    }

    fn setsockopt(&mut self, fd: i64, file: File, machine: &mut Machine, call: &Call) -> Outcome {
        let name = match call.args.get(2) {
            Some(Expr::Word(name)) => name.as_str(),
            _ => return unsupported("setsockopt of an option without a name"),
        };
        let mut options = file.options;
        if name == "SO_LINGER" {
            let field = |name| call.args.get(3).and_then(|value| value.field(name)).map(evaluate);
            let (Some(Ok(on)), Some(Ok(seconds))) = (field("onoff"), field("linger")) else {
                return unsupported("SO_LINGER without {onoff=..., linger=...}");
            };
            options.linger = (on != 0).then(|| SimDuration::from_secs(seconds.clamp(0, 32_767) as u64));
        } else if name == "TCP_INQ" {
            let on = boxed(call, 3)? != 0;
            if let Some(file) = self.files.get_mut(&fd) {
                file.inq = on;
            }
        } else if !set_option(&mut options, name, boxed(call, 3)?) {
            return unsupported(format!("setsockopt {name}"));
        }
        if let Some(file) = self.files.get_mut(&fd) {
            file.options = options;
        }
        match file.kind {
            Kind::Connection { handle, .. } => {
                machine.set_options(handle, options);
                if name == "TCP_NODELAY" && options.no_delay {
                    machine.push_pending(handle);
                }
            }
            Kind::Listener(id) => machine.stack.set_listener_options(id, options),
            Kind::Fresh(_) => {}
        }
        Ok(Returned::Value(0))
    }

    fn getsockopt(file: File, machine: &mut Machine, call: &Call) -> Outcome {
        let name = match call.args.get(2) {
            Some(Expr::Word(name)) => name.as_str(),
            _ => return unsupported("getsockopt of an option without a name"),
        };
        let got = match (name, file.kind) {
            ("SO_ERROR", Kind::Connection { handle, .. }) => machine
                .stack
                .take_error(handle)
                .map_or(0, |error| symbols::value(error.name()).expect("in the table")),
            ("SO_ERROR", _) => 0,
            ("TCP_MAXSEG", Kind::Connection { handle, .. }) => machine.mss(handle),
            ("TCP_MAXSEG", _) if file.options.max_seg > 0 => i64::from(file.options.max_seg),
            ("SO_RCVBUF", Kind::Fresh(_) | Kind::Listener(_)) if file.options.receive_buffer == 0 => {
                i64::from(machine.stack.config.rmem[1])
            }
            ("SO_RCVBUF", _) if file.options.receive_buffer > 0 => i64::from(file.options.receive_buffer),
            ("SO_SNDBUF", _) if file.options.send_buffer > 0 => i64::from(file.options.send_buffer),
            ("TCP_INQ", _) => i64::from(file.inq),
            ("TCP_NODELAY", _) => i64::from(file.options.no_delay),
            ("TCP_CORK", _) => i64::from(file.options.cork),
            ("TCP_USER_TIMEOUT", _) => (file.options.user_timeout.as_nanos() / 1_000_000).cast_signed(),
            _ => return unsupported(format!("getsockopt {name}")),
        };
        filled(call, 3, got)
    }

    /// Looks at its descriptors; with a timeout other than 0 it blocks until one of them has an event or the time is over.
    fn poll(&self, machine: &mut Machine, call: &Call, resumed: &mut Resumed) -> Outcome {
        let Some(Expr::Array(entries)) = call.args.first() else {
            return unsupported("poll of something other than [{fd=..., events=..., revents=...}]");
        };
        let timeout = number(call, 2)?;
        let (mut ready, mut wrong) = (0, None);
        for entry in entries {
            let (fd, asked, expected) = poll::pollfd(entry).map_err(ProblemKind::Unsupported)?;
            let events = self.files.get(&fd).map_or(0, |file| match file.kind {
                // A socket that was never connected hangs up at once.
                Kind::Fresh(_) => poll::bits::HUP | poll::bits::OUT | poll::bits::WRNORM,
                Kind::Listener(id) if machine.stack.accept_queue_len(id) > 0 => {
                    poll::bits::IN | poll::bits::RDNORM
                }
                Kind::Listener(_) => 0,
                Kind::Connection { handle, .. } => machine.readiness(handle).map_or(0, poll::events_of),
            });
            let got = events & (asked | poll::bits::ERR | poll::bits::HUP);
            ready += i64::from(got != 0);
            if got != expected {
                wrong = wrong.or(Some((entry, got)));
            }
        }
        let deadline = *resumed
            .deadline
            .get_or_insert_with(|| match u64::try_from(timeout) {
                Ok(millis) => machine.now() + SimDuration::from_millis(millis.min(1 << 40)),
                Err(_) => SimTime::NEVER,
            });
        if ready == 0 && machine.now() < deadline {
            return Ok(Returned::Blocks);
        }
        match wrong {
            None => Ok(Returned::Value(ready)),
            Some((entry, got)) => Err(ProblemKind::Failed {
                expected: format!("poll to give {entry}"),
                got: format!("revents {got:#x}"),
            }),
        }
    }

    fn ioctl(file: File, machine: &mut Machine, call: &Call) -> Outcome {
        let Kind::Connection { handle, .. } = file.kind else {
            return Ok(Returned::error("EINVAL"));
        };
        let got = match call.args.get(1) {
            Some(Expr::Word(name)) if name == "SIOCINQ" || name == "FIONREAD" => machine.unread(handle),
            Some(other) => return unsupported(format!("ioctl {other}")),
            None => return unsupported("ioctl without a request"),
        };
        filled(call, 2, i64::from(got))
    }
}

/// `SOCK_MIN_SNDBUF` on a 64-bit machine, octets.
const MIN_SEND_BUFFER: u32 = 4608;

/// The control messages that recvmsg() fills in: only `TCP_INQ`'s is known. Once nothing is left it counts the peer's FIN
/// (`tcp_inq_hint()`, net/ipv4/tcp.c).
fn check_control(file: File, handle: Handle, machine: &mut Machine, call: &Call) -> Result<(), ProblemKind> {
    let message = call.args.get(1).filter(|_| call.name == "recvmsg");
    let Some(Expr::Array(messages)) = message.and_then(|message| message.field("msg_control")) else {
        return Ok(());
    };
    let word = |name: &str| Some(Expr::Word(name.to_owned()));
    let [one] = messages.as_slice() else {
        return unsupported("recvmsg with other than one control message");
    };
    if !file.inq || one.field("cmsg_type").cloned() != word("TCP_CM_INQ") {
        return unsupported(format!("control message {one}"));
    }
    let expected = one.field("cmsg_data").map_or(Ok(0), evaluate);
    let expected = expected.map_err(ProblemKind::Unsupported)?;
    let ended = machine.readiness(handle).is_some_and(|readiness| readiness.end);
    let got = i64::from(machine.unread(handle)).max(i64::from(ended));
    if got == expected {
        return Ok(());
    }
    Err(ProblemKind::Failed {
        expected: format!("TCP_CM_INQ {expected}"),
        got: got.to_string(),
    })
}

/// Octets in `[{..., n}, {..., m}]`.
fn vectors(expr: Option<&Expr>) -> Result<i64, ProblemKind> {
    let Some(Expr::Array(vectors)) = expr else {
        return unsupported("a vector of buffers that is not [{..., octets}]");
    };
    let mut octets: i64 = 0;
    for vector in vectors {
        match vector {
            Expr::Fields(fields) if fields.len() == 2 => {
                let length = evaluate(&fields[1].1).map_err(ProblemKind::Unsupported)?;
                octets = octets.saturating_add(length);
            }
            other => return unsupported(format!("buffer {other}")),
        }
    }
    Ok(octets)
}

/// Sets an option; false: not known.
fn set_option(options: &mut SocketOptions, name: &str, value: i64) -> bool {
    let seconds = SimDuration::from_secs(value.clamp(0, 1 << 31) as u64);
    match name {
        // One address and one process: nothing to share.
        "SO_REUSEADDR" | "SO_REUSEPORT" => {}
        "TCP_NODELAY" => options.no_delay = value != 0,
        "TCP_CORK" => options.cork = value != 0,
        "TCP_USER_TIMEOUT" => options.user_timeout = SimDuration::from_millis(value.clamp(0, 1 << 31) as u64),
        "TCP_LINGER2" => {
            options.linger2 = match value {
                i64::MIN..0 => Linger2::Never,
                0 => Linger2::Default,
                _ => Linger2::For(seconds),
            }
        }
        "TCP_DEFER_ACCEPT" => options.defer_accept = retransmissions_in(value),
        "TCP_MAXSEG" => options.max_seg = value.clamp(0, 65_535) as u16,
        "TCP_SYNCNT" => options.syn_retries = value.clamp(0, 127) as u8,
        // As the receive buffer, and no less than two small packets with their overhead (`SOCK_MIN_SNDBUF`).
        "SO_SNDBUF" => options.send_buffer = (value.clamp(0, 1 << 30) as u32 * 2).max(MIN_SEND_BUFFER),
        // The kernel doubles what is asked for, for its own bookkeeping (`__sock_set_rcvbuf()`, net/core/sock.c).
        "SO_RCVBUF" => options.receive_buffer = (value.clamp(0, 1 << 30) as u32) * 2,
        _ => return false,
    }
    true
}

/// How many SYN-ACK timeouts, doubling from 1 s up to 120 s, cover so many seconds (`secs_to_retrans()`,
/// net/ipv4/tcp.c).
fn retransmissions_in(seconds: i64) -> u8 {
    let (mut count, mut timeout, mut covered) = (0_u8, 1, 0);
    while covered < seconds && count < u8::MAX {
        covered += timeout;
        timeout = (timeout * 2).min(120);
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defer_accept_counts_the_timeouts_that_cover_its_seconds() {
        let table = [
            (-1, 0),
            (0, 0),
            (1, 1),
            (2, 2),
            (3, 2),
            (4, 3),
            (7, 3),
            (8, 4),
            (127, 7),
            (128, 8),
            (1 << 40, 255),
        ];
        for (seconds, count) in table {
            assert_eq!(retransmissions_in(seconds), count, "{seconds}");
        }
    }
}
