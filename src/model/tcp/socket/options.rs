//! What an application says to a socket and hears from it: options, errors, what a read brings.

use crate::units::SimDuration;

/// Options of a socket; a listener's are inherited by its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SocketOptions {
    /// `TCP_USER_TIMEOUT`; zero: not set.
    pub user_timeout: SimDuration,
    /// `TCP_LINGER2`: how long an orphan stays in FIN_WAIT2 instead of `tcp_fin_timeout`.
    pub linger2: Linger2,
    /// `SO_LINGER`: how long close() lingers. Zero: it resets the connection; otherwise the same as without.
    pub linger: Option<SimDuration>,
    /// `TCP_DEFER_ACCEPT` as the number of SYN-ACK timeouts that it lasts (`secs_to_retrans()`); 0: off.
    pub defer_accept: u8,
    /// `TCP_MAXSEG`: octets; 0: not set.
    pub max_seg: u16,
    /// The application reads whatever comes at once, so that nothing ever waits in the receive queue.
    pub reads_at_once: bool,
    /// `TCP_NODELAY`: no Nagle.
    pub no_delay: bool,
    /// `TCP_CORK`: only full segments.
    pub cork: bool,
    /// `TCP_SYNCNT`: instead of `tcp_syn_retries`; 0: not set.
    pub syn_retries: u8,
    /// `SO_RCVBUF` as the kernel keeps it, twice what was asked for; 0: not set.
    pub receive_buffer: u32,
    /// `SO_SNDBUF` as the kernel keeps it, twice what was asked for; 0: not set, no limit.
    pub send_buffer: u32,
}

impl SocketOptions {
    /// Nothing is set.
    pub const NONE: Self = Self {
        user_timeout: SimDuration::ZERO,
        linger2: Linger2::Default,
        linger: None,
        defer_accept: 0,
        max_seg: 0,
        reads_at_once: false,
        no_delay: false,
        cork: false,
        syn_retries: 0,
        receive_buffer: 0,
        send_buffer: 0,
    };
}

impl SocketOptions {
    /// Nothing is set but what a socket keeps at hand: `reads_at_once` and `no_delay`.
    #[expect(clippy::needless_bitwise_bool, reason = "one branch instead of nine")]
    pub(super) fn is_plain(&self) -> bool {
        let numbers = self.receive_buffer | self.send_buffer | u32::from(self.max_seg);
        let small = self.defer_accept | self.syn_retries | u8::from(self.cork);
        (numbers == 0)
            & (small == 0)
            & (self.user_timeout == SimDuration::ZERO)
            & (self.linger2 == Linger2::Default)
            & self.linger.is_none()
    }
}

/// `TCP_LINGER2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Linger2 {
    /// Not set: `tcp_fin_timeout`.
    #[default]
    Default,
    /// That long.
    For(SimDuration),
    /// Negative: an orphan does not wait in FIN_WAIT2 at all.
    Never,
}

/// Which directions shutdown() closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// `SHUT_RD`.
    Read,
    /// `SHUT_WR`.
    Write,
    /// `SHUT_RDWR`.
    Both,
}

/// What a read brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// So many octets.
    Data(u32),
    /// The peer has closed, or `SHUT_RD`: 0.
    End,
    /// Nothing yet: EAGAIN, or the call blocks.
    Wait,
}

/// An error of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketError {
    /// ECONNREFUSED.
    ConnRefused,
    /// ECONNRESET.
    ConnReset,
    /// EPIPE.
    Pipe,
    /// ETIMEDOUT.
    TimedOut,
    /// ENOTCONN.
    NotConnected,
    /// EHOSTUNREACH, from an ICMP message.
    HostUnreachable,
    /// ENETUNREACH, from an ICMP message.
    NetUnreachable,
    /// EHOSTDOWN, from an ICMP message.
    HostDown,
    /// ENONET, from an ICMP message.
    NoNet,
    /// ENOPROTOOPT, from an ICMP message.
    NoProtocol,
    /// EOPNOTSUPP, from an ICMP message.
    NotSupported,
    /// EPROTO, from an ICMP message.
    Protocol,
    /// EAGAIN: the call would block.
    Again,
}

impl SocketError {
    /// The name in `errno.h`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnRefused => "ECONNREFUSED",
            Self::ConnReset => "ECONNRESET",
            Self::Pipe => "EPIPE",
            Self::TimedOut => "ETIMEDOUT",
            Self::NotConnected => "ENOTCONN",
            Self::HostUnreachable => "EHOSTUNREACH",
            Self::NetUnreachable => "ENETUNREACH",
            Self::HostDown => "EHOSTDOWN",
            Self::NoNet => "ENONET",
            Self::NoProtocol => "ENOPROTOOPT",
            Self::NotSupported => "EOPNOTSUPP",
            Self::Protocol => "EPROTO",
            Self::Again => "EAGAIN",
        }
    }
}

/// What a listener says to the last ACK of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gate {
    /// The accept queue is full.
    pub accept_queue_full: bool,
    /// `TCP_DEFER_ACCEPT` of the listener, in SYN-ACK timeouts.
    pub defer_accept: u8,
}
