//! What one host's TCP does: the switches in which kernels differ and the sysctls that users change.

use crate::units::{PortRange, SimDuration};

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
    /// Nothing: the kernel has no offset, also with `tcp_timestamps` = 1: before 4.10 (read in 3.10.0-1160.el7).
    None,
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
    /// As `Sequential`, but the walk goes to the next port, odd or even, when its even start is in use: 3.10.0-1160.el7.
    Consecutive,
    /// A keyed start per (source, destination), one counter shared by all destinations, even ports first in steps of 2: 4.19, 5.10.44.
    Sequential,
    /// The perturbation table: even ports first, steps of 2 to 16, a new start every 10 s: 5.10.185 and later.
    Perturbed,
    /// Uniformly random over the whole range: not Linux' connect(), but what some SLBs do.
    Random,
}

/// Whose rules a socket in TIME_WAIT follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeWaitStack {
    /// Linux: a newer SYN opens, an older one draws an ACK (`tcp_timewait_state_process()`).
    Linux,
    /// RFC 793 section 3.9 to the letter: a SYN in the window draws an RST, one outside it an ACK; no timestamps.
    Rfc793,
    /// FreeBSD: a SYN after `rcv_nxt` opens, others get no answer; no RST is believed (`tcp_twcheck()`; the notes of
    /// freebsd-net/tcp-testsuite, `state-event-engine/rcv-syn-time-wait`).
    FreeBsd,
}

/// What ends a timewait socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeWaitTimer {
    /// A kernel timer of its own, rounded up by the wheel (4.8 and later).
    Wheel,
    /// A calendar of eight slots of 7.5 s, one of which is emptied per tick: 60 s become 52.5 to 60 s
    /// (`inet_twsk_schedule()`, `inet_twdr_hangman()` in 3.10.0-1160.el7).
    Calendar,
}

/// `tcp_tw_reuse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TwReuse {
    /// 0: connect() never takes over a TIME_WAIT of its own.
    Off,
    /// 1: it does.
    Global,
    /// 2: on loopback only, which this simulator has not: the same as 0 here.
    Loopback,
}

/// How old a TIME_WAIT must be for `tcp_tw_reuse` (`tcp_twsk_unique()`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TwReuseAge {
    /// Its last timestamp came two whole seconds of the clock ago or more: 3.10.0-1160.el7.
    TwoSeconds,
    /// Its last timestamp came in an earlier second: 4.19 to 6.12.
    EarlierSecond,
    /// TIME_WAIT began more than `tcp_tw_reuse_delay` ago: 6.18.
    Delay,
}

/// `ip_local_reserved_ports`: ranges that no socket is given by itself, as many as most hosts write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReservedPorts([Option<PortRange>; Self::MAX]);

impl ReservedPorts {
    /// Ranges at most.
    pub const MAX: usize = 16;
    /// No port.
    pub const NONE: Self = Self([None; Self::MAX]);

    /// These ranges; `None` if they are too many.
    pub fn new(ranges: &[PortRange]) -> Option<Self> {
        let mut list = Self::default();
        for (place, range) in list.0.get_mut(..ranges.len())?.iter_mut().zip(ranges) {
            *place = Some(*range);
        }
        Some(list)
    }

    /// The ranges, as written.
    pub fn ranges(&self) -> impl Iterator<Item = PortRange> {
        self.0.iter().flatten().copied()
    }

    /// Whether `port` is reserved.
    pub fn contains(&self, port: u16) -> bool {
        self.ranges().any(|range| range.contains(port))
    }
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
    /// SYN-ACK from a recycled TIME_WAIT carries `snd_nxt + 65537` (6.12.117, 6.18; 3.10) instead of the ordinary ISN.
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
    /// Whose rules TIME_WAIT follows.
    pub time_wait_stack: TimeWaitStack,
    /// What ends TIME_WAIT and an orphan's FIN_WAIT2.
    pub time_wait_timer: TimeWaitTimer,
    /// How long a recorded timestamp protects (`tcp_paws_check()`, `include/net/tcp.h`): 24 days, since 6.7 2147 s.
    pub paws_memory: SimDuration,
    /// `tcp_tw_reuse`.
    pub tw_reuse: TwReuse,
    /// Which age allows it.
    pub tw_reuse_age: TwReuseAge,
    /// `tcp_tw_reuse_delay`, where the age is counted by it.
    pub tw_reuse_delay: SimDuration,
    /// It takes over a timewait socket in FIN_WAIT2, too: 3.10.0-1160.el7, 4.19, 5.10.44; not 5.15.215 and later.
    pub tw_reuse_in_fin_wait2: bool,
    /// `ip_local_port_range`: what connect() chooses from.
    pub local_port_range: PortRange,
    /// `ip_local_reserved_ports`: what it leaves out.
    pub reserved_ports: ReservedPorts,
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
    /// The SYN queue is full when it holds more than its limit (read in 5.15.215, 6.1.166, 6.12.19, 6.18.35), not as much
    /// (4.19.124, 5.10.44, 6.6.63): `inet_csk_reqsk_queue_is_full()`, `include/net/inet_connection_sock.h`.
    pub syn_queue_takes_one_more: bool,
    /// `tcp_abort_on_overflow`: the handshake's last ACK draws an RST when the accept queue is full (`tcp_check_req()`).
    pub abort_on_overflow: bool,
    /// `tcp_rmem`: least, initial and greatest receive buffer in octets.
    pub rmem: [u32; 3],
    /// `tcp_challenge_ack_limit`: challenge ACKs of the host per second; `u32::MAX`: no limit (`tcp_send_challenge_ack()`).
    pub challenge_ack_limit: u32,
    /// The first window in full segments: 20 before 4.20 (`tcp_default_init_rwnd()`); `None`: as much as fits into 16 bits
    /// (commit a337531b942b).
    pub initial_window_segments: Option<u32>,
    /// The first window is no more than 16 bits say, also where it only judges what comes; without (6.18) a large buffer
    /// makes it larger than the SYN tells.
    pub initial_window_clamped: bool,
    /// `tcp_window_scaling`.
    pub window_scaling: bool,
    /// `tcp_sack`.
    pub sack: bool,
    /// `tcp_slow_start_after_idle`: the congestion window shrinks while nothing is sent (`tcp_cwnd_restart()`).
    pub slow_start_after_idle: bool,
    /// `tcp_min_tso_segs`: segments that leave as one packet, at least (`tcp_tso_autosize()`).
    pub min_tso_segs: u8,
    /// Checks of incoming segments.
    pub rules: SegmentRules,
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
        time_wait_stack: TimeWaitStack::Linux,
        time_wait_timer: TimeWaitTimer::Wheel,
        paws_memory: SimDuration::from_secs(2_147),
        tw_reuse: TwReuse::Loopback,
        tw_reuse_age: TwReuseAge::Delay,
        tw_reuse_delay: SimDuration::from_secs(1),
        tw_reuse_in_fin_wait2: false,
        local_port_range: PortRange::LINUX_EPHEMERAL,
        reserved_ports: ReservedPorts::NONE,
        somaxconn: 4096,
        retries2: 15,
        orphan_retries: 8,
        syncookies: SynCookies::WhenFull,
        max_syn_backlog: 2048,
        syn_queue_takes_one_more: true,
        abort_on_overflow: false,
        rmem: [4_096, 131_072, 6_291_456],
        challenge_ack_limit: u32::MAX,
        initial_window_segments: None,
        initial_window_clamped: false,
        rules: SegmentRules::NEW,
        window_scaling: true,
        sack: true,
        slow_start_after_idle: true,
        min_tso_segs: 2,
    };
}
