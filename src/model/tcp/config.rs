//! What one host's TCP does: the switches in which kernels differ and the sysctls that users change.

use crate::units::SimDuration;

/// `net.ipv4.tcp_timestamps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampMode {
    /// 0: no timestamps option.
    Off,
    /// 1: with a random offset.
    RandomOffset,
    /// 2: without an offset.
    NoOffset,
}

/// What the random timestamp offset is a function of (`secure_tcp_ts_off()`, `secure_tcpv4_ts_off()`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampOffset {
    /// Source and destination address: 4.11 to early 2026 (read in 4.19.124, 5.10, 6.6.63; measured on 4.19.108 and 5.10.223).
    PerAddressPair,
    /// The 4-tuple: 6.1.192, 6.12.117, 6.18 (measured on 6.1.192 and 6.18.44).
    PerFourTuple,
}

/// What a SYN_SENT socket does with an ACK that acknowledges none of its SYNs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerReaction {
    /// RST, and the next SYN when the timer says so (Linux before 5.6).
    Rst,
    /// RST, and the first retry after 2 jiffies, once (Linux 5.6 and later, commit 9603d47bad46).
    RstFastResend,
    /// Nothing: a user-space stack.
    Ignore,
}

/// The schedule of SYN retransmissions (`tcp_timer.c`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SynRetry {
    /// `tcp_syn_retries`: SYNs after the first one, before any linear ones are added.
    pub retries: u8,
    /// `tcp_syn_linear_timeouts`: retries at a constant interval before the doubling starts; they add to `retries`.
    pub linear_timeouts: u8,
    /// 4.19.108 as measured: the last SYN goes out at 15 s and the caller fails at about 31 s whatever `retries` says above 4.
    pub gives_up_early: bool,
}

/// How connect() chooses a source port (`__inet_hash_connect()`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortSelection {
    /// A keyed start per (source, destination), one counter shared by all destinations, even ports first in steps of 2: 4.19, 5.10.44.
    Sequential,
    /// The perturbation table: even ports first, steps of 2 to 16, a new start every 10 s: 5.10.185 and later.
    Perturbed,
    /// Uniformly random over the whole range: not Linux' connect(), but what some SLBs do.
    Random,
}

/// `net.ipv4.tcp_rmem`, and what becomes of it in the first window (`tcp_select_initial_window()`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiveBuffer {
    /// Middle value, octets; half of it is window (`tcp_adv_win_scale` 1).
    pub default: u32,
    /// Largest value, octets: the window scale follows from it.
    pub max: u32,
    /// The first window in full segments: 20 before 4.20 (`tcp_default_init_rwnd()`), since then as large as fits into
    /// 16 bits (commit a337531b942b).
    pub initial_segments: Option<u32>,
    /// The first window is no more than 16 bits say, also where it only judges what comes; without (6.18) a large buffer
    /// makes it larger than the SYN tells.
    pub clamped: bool,
}

/// `net.ipv4.tcp_syncookies`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SynCookies {
    /// 0: a full SYN queue drops the SYN.
    Off,
    /// 1: a full SYN queue answers with a cookie.
    WhenFull,
    /// 2: always a cookie.
    Always,
}

/// What a listener's queues do (`tcp_conn_request()`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenConfig {
    /// `tcp_syncookies`.
    pub syn_cookies: SynCookies,
    /// `tcp_max_syn_backlog`: without cookies, its last quarter is kept for peers that are known.
    pub max_syn_backlog: u32,
    /// `tcp_abort_on_overflow`: a last ACK that meets a full accept queue is answered with RST.
    pub abort_on_overflow: bool,
    /// The SYN queue is full at min(backlog, somaxconn) requests (4.19, 5.10), not one later (read in 6.12 and 6.18).
    pub syn_queue_full_at_backlog: bool,
}

/// Which of the stricter checks of incoming segments a kernel has. Read in 6.18.35, measured on 6.18.44; the first
/// release of most is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentRules {
    /// An RST in the window of a request that is not exact draws a challenge ACK (6.18.44); before, it kills the request.
    pub request_rst_challenged: bool,
    /// The echo of the last ACK of a handshake must be a timestamp that a SYN-ACK had (`TSECRREJECTED`).
    pub request_echo_checked: bool,
    /// An ACK of what was never sent draws a challenge ACK in ESTABLISHED too, not only in the closing states.
    pub unsent_ack_challenged: bool,
    /// A pure ACK that is old by timestamp and by sequence is dropped without a word (`PAWS_OLD_ACK`).
    pub old_paws_ack_silent: bool,
    /// A segment that goes beyond the window is unacceptable if there is unread data (`BEYOND_WINDOW`).
    pub beyond_window_dropped: bool,
    /// The crossing SYN-ACK of a simultaneous open is taken as an ACK (6.10); before, it draws a challenge ACK.
    pub crossing_syn_ack_accepted: bool,
}

impl SegmentRules {
    /// Neither of them.
    pub const OLD: Self = Self {
        request_rst_challenged: false,
        request_echo_checked: false,
        unsent_ack_challenged: false,
        old_paws_ack_silent: false,
        beyond_window_dropped: false,
        crossing_syn_ack_accepted: false,
    };
    /// All of them: 6.18.
    pub const NEW: Self = Self {
        request_rst_challenged: true,
        request_echo_checked: true,
        unsent_ack_challenged: true,
        old_paws_ack_silent: true,
        beyond_window_dropped: true,
        crossing_syn_ack_accepted: true,
    };
}

/// The TCP of one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpConfig {
    /// Timer interrupts per second, a build option: 100, 250, 300 or 1000.
    pub hz: u32,
    /// `tcp_timestamps`.
    pub timestamps: TimestampMode,
    /// Era of the timestamp offset.
    pub timestamp_offset: TimestampOffset,
    /// SYN-ACK from a recycled TIME_WAIT carries `snd_nxt + 65537` (6.12.117, 6.18) instead of the ordinary ISN.
    pub recycled_isn_continues: bool,
    /// Segments that PAWS refuses in TIME_WAIT count as `PAWSTimewait` (6.18), not as `PAWSEstab` (up to 6.12).
    pub counts_paws_time_wait: bool,
    /// SYN retransmission.
    pub syn_retry: SynRetry,
    /// `tcp_synack_retries`.
    pub synack_retries: u8,
    /// Reaction to a bare ACK in SYN_SENT.
    pub caller_reaction: CallerReaction,
    /// Source port choice of connect().
    pub port_selection: PortSelection,
    /// `tcp_rfc1337`.
    pub rfc1337: bool,
    /// `tcp_invalid_ratelimit`.
    pub invalid_ratelimit: SimDuration,
    /// Length of TIME_WAIT: 60 s, except with the vendor's `tcp_tw_timeout`.
    pub time_wait: SimDuration,
    /// `tcp_fin_timeout`.
    pub fin_timeout: SimDuration,
    /// `tcp_max_tw_buckets`.
    pub max_tw_buckets: u32,
    /// `tcp_tw_reuse` is 1 (2, the default, concerns loopback only and is the same as 0 here).
    pub tw_reuse: bool,
    /// Accept queue limit: min(backlog, `somaxconn`).
    pub somaxconn: u32,
    /// `tcp_retries2`, for data.
    pub retries2: u8,
    /// `tcp_orphan_retries` with its 0 resolved: 8.
    pub orphan_retries: u8,
    /// Receive buffer and first window.
    pub receive_buffer: ReceiveBuffer,
    /// `tcp_window_scaling`.
    pub window_scaling: bool,
    /// `tcp_sack`.
    pub sack: bool,
    /// Queues of a listener.
    pub listen: ListenConfig,
    /// `tcp_challenge_ack_limit`: challenge ACKs of the host per second, about; `None`: no limit (6.0 and later).
    pub challenge_ack_limit: Option<u32>,
    /// Checks of incoming segments.
    pub rules: SegmentRules,
}
