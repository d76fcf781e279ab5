//! Words that many rooms share: how a request ended and why, why a port was free, what a pod answered.
//!
//! The `name()` of each is fixed: it is what JSON, CSV and scenarios use.

mod cause;
mod release;

pub use cause::{About, Cause, Causes};
pub use release::ReleasePath;

/// Status of an ended request, in nginx's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// 200: the response reached the client.
    Ok,
    /// 499: the client left first.
    ClientClosed,
    /// 500: the SLB itself failed, such as out of `worker_connections`.
    Internal,
    /// 502: the upstream reset or refused the connection.
    BadGateway,
    /// 503: no backend.
    Unavailable,
    /// 504: the upstream did not connect or answer in time.
    GatewayTimeout,
}

impl Status {
    /// Every status, in the order of its number.
    pub const ALL: [Self; 6] = [
        Self::Ok,
        Self::ClientClosed,
        Self::Internal,
        Self::BadGateway,
        Self::Unavailable,
        Self::GatewayTimeout,
    ];

    /// The number in the access log.
    pub const fn code(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::ClientClosed => 499,
            Self::Internal => 500,
            Self::BadGateway => 502,
            Self::Unavailable => 503,
            Self::GatewayTimeout => 504,
        }
    }
}

/// How an upstream connect of the SLB ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectOutcome {
    /// The handshake completed.
    Established,
    /// The connect timeout passed, or the kernel gave up (ETIMEDOUT).
    TimedOut,
    /// An RST answered the SYN.
    Refused,
    /// The client left while the SLB was connecting.
    Abandoned,
}

/// What a pod answered first to a new SYN that met an old socket of the same tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HitAnswer {
    /// TIME_WAIT accepted the SYN.
    Recycled,
    /// A bare ACK, which acknowledges no SYN.
    BareAck,
    /// Refused, and the ACK fell to the rate limit.
    Silence,
}

impl HitAnswer {
    /// Name in CSV files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recycled => "recycled",
            Self::BareAck => "bare-ack",
            Self::Silence => "no-answer",
        }
    }
}

/// The rule of `tcp_timewait_state_process()` that decided a SYN's fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeWaitRule {
    /// Accepted: sequence number after `rcv_nxt`.
    NewerSequence,
    /// Accepted: timestamp after `ts_recent`.
    NewerTimestamp,
    /// Refused by PAWS: timestamp before `ts_recent`.
    OlderTimestamp,
    /// Refused: neither sequence number nor timestamp is newer.
    OldSequence,
}

impl TimeWaitRule {
    /// Name in CSV files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NewerSequence => "newer-sequence",
            Self::NewerTimestamp => "newer-timestamp",
            Self::OlderTimestamp => "older-timestamp",
            Self::OldSequence => "old-sequence",
        }
    }
}
