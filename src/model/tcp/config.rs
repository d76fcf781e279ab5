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

/// `tcp_syncookies`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SynCookies {
    /// 0: never; a SYN that finds the SYN queue full is dropped.
    Never,
    /// 1: when the SYN queue is full.
    WhenFull,
    /// 2: always.
    Always,
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
    /// `tcp_syncookies` (`tcp_conn_request()`, `net/ipv4/tcp_input.c`).
    pub syncookies: SynCookies,
    /// `tcp_max_syn_backlog`: three quarters of it is what SYNs may take without cookies (`tcp_conn_request()`).
    pub max_syn_backlog: u32,
    /// The SYN queue is full when it holds more than its limit (6.12, 6.18), not as much (4.19, 5.10):
    /// `inet_csk_reqsk_queue_is_full()`, `include/net/inet_connection_sock.h`.
    pub syn_queue_takes_one_more: bool,
    /// `tcp_abort_on_overflow`: the handshake's last ACK draws an RST when the accept queue is full (`tcp_check_req()`).
    pub abort_on_overflow: bool,
    /// `tcp_rmem`: least, initial and greatest receive buffer in octets.
    pub rmem: [u32; 3],
    /// `tcp_challenge_ack_limit`: challenge ACKs of the host per second; `u32::MAX`: no limit (`tcp_send_challenge_ack()`).
    pub challenge_ack_limit: u32,
    /// `tcp_window_scaling`.
    pub window_scaling: bool,
    /// `tcp_sack`.
    pub sack: bool,
}

impl TcpConfig {
    /// 6.18.44 as it boots with HZ 250 and a hash table of 262144 sockets, as on a host of some 32 GB: the profiles start
    /// from it, and so do tests that need any kernel.
    pub const NEWEST: Self = Self {
        hz: 250,
        timestamps: TimestampMode::RandomOffset,
        timestamp_offset: TimestampOffset::PerFourTuple,
        recycled_isn_continues: true,
        counts_paws_time_wait: true,
        syn_retry: SynRetry {
            retries: 6,
            linear_timeouts: 4,
            gives_up_early: false,
        },
        synack_retries: 5,
        caller_reaction: CallerReaction::RstFastResend,
        port_selection: PortSelection::Perturbed,
        rfc1337: false,
        invalid_ratelimit: SimDuration::from_millis(500),
        time_wait: SimDuration::from_secs(60),
        fin_timeout: SimDuration::from_secs(60),
        max_tw_buckets: 131_072,
        tw_reuse: false,
        somaxconn: 4096,
        retries2: 15,
        orphan_retries: 8,
        syncookies: SynCookies::WhenFull,
        max_syn_backlog: 2048,
        syn_queue_takes_one_more: true,
        abort_on_overflow: false,
        rmem: [4_096, 131_072, 6_291_456],
        challenge_ack_limit: u32::MAX,
        window_scaling: true,
        sack: true,
    };
}
