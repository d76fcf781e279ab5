//! Switches of an end host's TCP.

use super::super::Profile;
use super::super::switch::{
    Kind, Part, Switch, Value, count, every, flag, milliseconds, number, numbered, seconds, time, words,
};
use super::{VENDOR, YEAR};
use crate::model::tcp::{
    CallerReaction, PortSelection, SynCookies, TimeWaitStack, TimeWaitTimer, TimestampMode, TimestampOffset,
    TwReuse, TwReuseAge,
};
use crate::units::SimDuration;

const fn linear(profile: &Profile) -> Option<&'static str> {
    if profile.tcp.syn_retry.linear_timeouts > 0 {
        None
    } else {
        Some("kernels have it from 6.5 on: profile = \"6.6\" or later")
    }
}

fn delay(profile: &Profile) -> Option<&'static str> {
    if profile.tcp.tw_reuse_age == TwReuseAge::Delay {
        None
    } else {
        Some("kernels have it from 6.14 on: profile = \"6.18\"")
    }
}

/// All of them, in the order of listings.
#[rustfmt::skip]
pub(in super::super) const TCP: &[Switch] = &[
    words!("timestamp_offset", Tcp, tcp.timestamp_offset,
        ["none" => TimestampOffset::None, "per-address-pair" => TimestampOffset::PerAddressPair, "per-four-tuple" => TimestampOffset::PerFourTuple],
        "What the random offset of `tcp_timestamps` = 1 is a function of.",
        "net/core/secure_seq.c: no offset in 3.10.0-1160.el7; secure_tcp_ts_off() of two addresses in 4.19.124, 5.10.44, 5.15.215, 6.6.63, of four in 6.1.192, 6.12.117, 6.18.35; A/a0_tsval_offsets on 4.19.108, 5.10.223, 6.1.192, 6.18.44"),
    numbered!("net.ipv4.tcp_timestamps", Tcp, tcp.timestamps, [TimestampMode::Off, TimestampMode::RandomOffset, TimestampMode::NoOffset],
        "0 off, 1 with a random offset, 2 without an offset.",
        "net/ipv4/tcp_ipv4.c tcp_sk_init(); RFC 7323"),
    time!("time_wait", Tcp, tcp.time_wait, Seconds, 1, 3_600, "Length of TIME_WAIT; a constant of the kernel.",
        "include/net/tcp.h TCP_TIMEWAIT_LEN"),
    Switch {
        lacks: VENDOR,
        ..time!("net.ipv4.tcp_tw_timeout", Tcp, tcp.time_wait, Seconds, 1, 600, "Length of TIME_WAIT; Alibaba Cloud Linux only.",
            "Alibaba Cloud's ECS user guide; from 4.19.43-13.al7 on")
    },
    words!("time_wait_rule", Tcp, tcp.time_wait_stack,
        ["linux" => TimeWaitStack::Linux, "rfc-793" => TimeWaitStack::Rfc793, "freebsd" => TimeWaitStack::FreeBsd],
        "Whose rules TIME_WAIT follows. `linux`: a newer SYN opens, an older one draws a bare ACK. `rfc-793`: a SYN in the window draws an RST that ends TIME_WAIT, one outside it an ACK. `freebsd`: a SYN after `rcv_nxt` opens, any other gets no answer, and no RST ends TIME_WAIT.",
        "net/ipv4/tcp_minisocks.c tcp_timewait_state_process(), A/a1_direct_matrix; RFC 793 section 3.9; freebsd-net/tcp-testsuite state-event-engine/rcv-syn-time-wait"),
    words!("time_wait_timer", Tcp, tcp.time_wait_timer, ["wheel" => TimeWaitTimer::Wheel, "calendar" => TimeWaitTimer::Calendar],
        "What ends TIME_WAIT: a timer of its own that the wheel rounds up, or a calendar of 7.5 s slots that ends 60 s up to 7.5 s early.",
        "net/ipv4/inet_timewait_sock.c inet_twsk_schedule(); A/a1_tw_timer_restart on 4.19.108, 6.18.44; calendar in 3.10.0-1160.el7"),
    time!("paws_memory", Tcp, tcp.paws_memory, Seconds, 1, YEAR, "How long TIME_WAIT trusts a recorded timestamp that nothing renewed.",
        "include/net/tcp.h tcp_paws_check(): TCP_PAWS_24DAYS up to 6.6.63, TCP_PAWS_WRAP in 6.12.19, 6.18.35"),
    flag!("recycled_isn_continues", Tcp, tcp.recycled_isn_continues, "The SYN-ACK of a recycled TIME_WAIT carries the old `snd_nxt` + 65537, not the ordinary number.",
        "net/ipv4/tcp_minisocks.c tcp_timewait_state_process(), lost in tcp_v4_fill_cb() of 4.19 to 6.6; measured: 6.18.44 and 6.12.117 yes, 4.19, 5.10, 6.1 no; kept in 3.10.0-1160.el7"),
    flag!("net.ipv4.tcp_rfc1337", Tcp, tcp.rfc1337, "1: no RST ends TIME_WAIT.", "net/ipv4/tcp_minisocks.c tcp_timewait_state_process(); RFC 1337; A/a1_rst_kill"),
    time!("net.ipv4.tcp_invalid_ratelimit", Tcp, tcp.invalid_ratelimit, Milliseconds, 0, 86_400_000, "Shortest time between two ACKs to invalid segments of one socket.",
        "net/ipv4/tcp_input.c tcp_oow_rate_limited(); A/a1_ack_ratelimit"),
    flag!("counts_paws_time_wait", Tcp, tcp.counts_paws_time_wait, "What PAWS refuses in TIME_WAIT counts as `PAWSTimewait`, not as `PAWSEstab`.",
        "net/ipv4/tcp_minisocks.c tcp_timewait_state_process(): 6.18.35; PAWSEstab up to 6.12.117"),
    count!("net.ipv4.tcp_max_tw_buckets", Tcp, tcp.max_tw_buckets: u32, 0, i32::MAX as u64, "Sockets in TIME_WAIT at most; beyond it a close leaves none.",
        "net/ipv4/tcp_ipv4.c tcp_sk_init(): half the hash table of a host of some 32 GB; net/ipv4/tcp_minisocks.c tcp_time_wait()"),
    numbered!("net.ipv4.tcp_tw_reuse", Tcp, tcp.tw_reuse, [TwReuse::Off, TwReuse::Global, TwReuse::Loopback],
        "1: connect() may take over a TIME_WAIT of its own that has timestamps; 2: on loopback only, which is the same as 0 here.",
        "net/ipv4/tcp_ipv4.c tcp_twsk_unique(); default 2 from 4.19 to 6.18"),
    words!("tw_reuse_age", Tcp, tcp.tw_reuse_age, ["two-seconds" => TwReuseAge::TwoSeconds, "earlier-second" => TwReuseAge::EarlierSecond, "delay" => TwReuseAge::Delay],
        "How old that TIME_WAIT must be: its last timestamp two whole seconds or one ago, or its begin `tcp_tw_reuse_delay`.",
        "net/ipv4/tcp_ipv4.c tcp_twsk_unique(): 3.10.0-1160.el7; 4.19.124 to 6.12.19; 6.18.35"),
    Switch {
        lacks: delay,
        ..time!("net.ipv4.tcp_tw_reuse_delay", Tcp, tcp.tw_reuse_delay, Milliseconds, 1, 60_000, "How long ago a TIME_WAIT must have begun before `tcp_tw_reuse` takes it.",
            "net/ipv4/tcp_ipv4.c tcp_twsk_unique(), 6.18.35")
    },
    flag!("tw_reuse_in_fin_wait2", Tcp, tcp.tw_reuse_in_fin_wait2, "`tcp_tw_reuse` takes a timewait socket in FIN_WAIT2, too.",
        "net/ipv4/tcp_ipv4.c tcp_twsk_unique(): 3.10.0-1160.el7, 4.19.124, 5.10.44 yes; 5.15.215, 6.1.166 and later no"),
    time!("net.ipv4.tcp_fin_timeout", Tcp, tcp.fin_timeout, Seconds, 1, YEAR, "Length of an orphan's FIN_WAIT2. It does not change TIME_WAIT.",
        "include/net/tcp.h TCP_FIN_TIMEOUT, tcp_fin_time()"),
    words!("caller_reaction", Tcp, tcp.caller_reaction,
        ["rst" => CallerReaction::Rst, "rst-fast-resend" => CallerReaction::RstFastResend, "ignore" => CallerReaction::Ignore],
        "Answer of a connecting socket to an ACK that acknowledges no SYN of its own: an RST; an RST and the first retry after 2 jiffies; nothing (a user-space stack).",
        "net/ipv4/tcp_input.c tcp_rcv_synsent_state_process(), commit 9603d47bad46 (5.6); S/s_syn_retry on 4.19.108, 5.10.223, 6.18.44"),
    count!("net.ipv4.tcp_syn_retries", Tcp, tcp.syn_retry.retries: u8, 1, 127, "SYNs after the first one.", "include/net/tcp.h TCP_SYN_RETRIES; S/s_syn_retry"),
    Switch {
        lacks: linear,
        ..count!("net.ipv4.tcp_syn_linear_timeouts", Tcp, tcp.syn_retry.linear_timeouts: u8, 0, 127, "SYN retries at a constant interval before it doubles; they add to `tcp_syn_retries`.",
            "net/ipv4/tcp_timer.c tcp_write_timeout(): read in 6.6.63, 6.12.117, 6.18.35; S/s_syn_retry on 6.18.44")
    },
    flag!("syn_gives_up_early", Tcp, tcp.syn_retry.gives_up_early, "The last SYN goes out at 15 s and connect() fails at about 31 s, whatever `tcp_syn_retries` says above 4.",
        "S/s_syn_retry: 4.19.108 yes; 5.10.223, 6.18.44 no"),
    count!("net.ipv4.tcp_synack_retries", Tcp, tcp.synack_retries: u8, 0, 255, "SYN-ACKs after the first one.", "include/net/tcp.h TCP_SYNACK_RETRIES"),
    count!("net.ipv4.tcp_retries2", Tcp, tcp.retries2: u8, 1, 255, "Retransmissions of data before a connection is given up.", "include/net/tcp.h TCP_RETR2"),
    Switch {
        set: |p, v| p.tcp.orphan_retries = if number(v) == 0 { 8 } else { number(v) as u8 },
        ..count!("net.ipv4.tcp_orphan_retries", Tcp, tcp.orphan_retries: u8, 0, 255, "Retransmissions of a FIN; 0 means 8.", "net/ipv4/tcp_timer.c tcp_orphan_retries()")
    },
    count!("net.core.somaxconn", Tcp, tcp.somaxconn: u32, 1, 65_535, "Upper limit of the backlog.", "include/linux/socket.h SOMAXCONN: 128, from 5.4 on 4096"),
    numbered!("net.ipv4.tcp_syncookies", Tcp, tcp.syncookies, [SynCookies::Never, SynCookies::WhenFull, SynCookies::Always],
        "SYN cookies: 0 never, 1 when the SYN queue is full, 2 always.", "net/ipv4/tcp_ipv4.c tcp_sk_init(); net/ipv4/tcp_input.c tcp_conn_request()"),
    count!("net.ipv4.tcp_max_syn_backlog", Tcp, tcp.max_syn_backlog: u32, 1, i32::MAX as u64, "SYNs that wait at most without cookies; three quarters of it for unknown peers.",
        "net/ipv4/tcp_ipv4.c tcp_sk_init(): hash table / 256 in 3.10.0-1160.el7, 4.19.124, / 128 from 5.10.44 on, of a host of some 32 GB"),
    flag!("syn_queue_takes_one_more", Tcp, tcp.syn_queue_takes_one_more, "The SYN queue is full when it holds more than its limit, not as much.",
        "include/net/inet_connection_sock.h inet_csk_reqsk_queue_is_full(): 4.19.124, 5.10.44, 6.6.63 no; 5.15.215, 6.1.166, 6.12.19, 6.18.35 yes"),
    flag!("net.ipv4.tcp_abort_on_overflow", Tcp, tcp.abort_on_overflow, "1: the last ACK of a handshake that meets a full accept queue draws an RST.", "net/ipv4/tcp_minisocks.c tcp_check_req()"),
    Switch {
        name: "net.ipv4.tcp_rmem",
        part: Part::Tcp,
        kind: Kind::Octets,
        meaning: "Receive buffer in octets: least, initial, greatest.",
        source: "net/ipv4/tcp.c tcp_init(): initial 87380 in 3.10.0-1160.el7, 131072 from 4.19.124 on",
        lacks: every,
        get: |p| Value::Octets(p.tcp.rmem),
        set: |p, v| if let Value::Octets(sizes) = v { p.tcp.rmem = sizes; },
    },
    flag!("net.ipv4.tcp_window_scaling", Tcp, tcp.window_scaling, "1: SYNs offer window scaling.", "net/ipv4/tcp_ipv4.c tcp_sk_init(); RFC 7323"),
    flag!("net.ipv4.tcp_sack", Tcp, tcp.sack, "1: SYNs offer selective acknowledgments.", "net/ipv4/tcp_ipv4.c tcp_sk_init(); RFC 2018"),
    flag!("net.ipv4.tcp_slow_start_after_idle", Tcp, tcp.slow_start_after_idle, "1: the congestion window shrinks while nothing is sent.", "net/ipv4/tcp_output.c tcp_cwnd_restart(); RFC 2861"),
    count!("net.ipv4.tcp_min_tso_segs", Tcp, tcp.min_tso_segs: u8, 1, 255, "Segments that leave as one packet, at least.", "net/ipv4/tcp_output.c tcp_tso_autosize()"),
    Switch {
        // The kernel writes INT_MAX for no limit.
        get: |p| Value::Number(u64::from(p.tcp.challenge_ack_limit).min(i32::MAX as u64)),
        set: |p, v| p.tcp.challenge_ack_limit = if number(v) == i32::MAX as u64 { u32::MAX } else { number(v) as u32 },
        ..count!("net.ipv4.tcp_challenge_ack_limit", Tcp, tcp.challenge_ack_limit: u32, 0, i32::MAX as u64, "Challenge ACKs of the host in a second; 2147483647: no limit.",
            "net/ipv4/tcp_ipv4.c tcp_sk_init(): 1000 up to 5.15.215, no limit from 6.1.166 on; RFC 5961 section 7")
    },
    Switch {
        name: "initial_window_segments",
        part: Part::Tcp,
        kind: Kind::Number(0, 1_000),
        meaning: "First receive window in full segments; 0: as much as fits into 16 bits.",
        source: "net/ipv4/tcp_output.c tcp_default_init_rwnd(): 20 before 4.20, commit a337531b942b",
        lacks: every,
        get: |p| Value::Number(u64::from(p.tcp.initial_window_segments.unwrap_or(0))),
        set: |p, v| p.tcp.initial_window_segments = (number(v) > 0).then_some(number(v) as u32),
    },
    flag!("initial_window_clamped", Tcp, tcp.initial_window_clamped, "The first receive window is no more than 16 bits say, also where it only judges what comes.",
        "net/ipv4/tcp_output.c tcp_select_initial_window(): 6.18.35 without; run on 6.18.44"),
    flag!("request_rst_challenged", Tcp, tcp.rules.request_rst_challenged, "An RST in the window of a request that is not exact draws a challenge ACK; otherwise it kills the request.",
        "net/ipv4/tcp_minisocks.c tcp_check_req(), 6.18.35; run on 6.18.44"),
    flag!("request_echo_checked", Tcp, tcp.rules.request_echo_checked, "The echo of the last ACK of a handshake must be a timestamp that a SYN-ACK had.",
        "net/ipv4/tcp_minisocks.c tcp_check_req(), 6.18.35"),
    flag!("unsent_ack_challenged", Tcp, tcp.rules.unsent_ack_challenged, "An ACK of what was never sent draws a challenge ACK in ESTABLISHED, too, not only in the closing states.",
        "net/ipv4/tcp_input.c tcp_ack(), 6.18.35; run on 6.18.44"),
    flag!("old_paws_ack_silent", Tcp, tcp.rules.old_paws_ack_silent, "A pure ACK that is old by timestamp and by sequence gets no answer.",
        "net/ipv4/tcp_input.c tcp_disordered_ack_check(), 6.18.35"),
    flag!("beyond_window_dropped", Tcp, tcp.rules.beyond_window_dropped, "A segment that goes beyond the window is unacceptable while data are unread.",
        "net/ipv4/tcp_input.c tcp_sequence(), 6.18.35"),
    flag!("crossing_syn_ack_accepted", Tcp, tcp.rules.crossing_syn_ack_accepted, "The crossing SYN-ACK of a simultaneous open is taken as an ACK; otherwise it draws a challenge ACK.",
        "net/ipv4/tcp_input.c tcp_rcv_state_process(), 6.18.35; 6.10 and later"),
];

/// All of them, in the order of listings.
#[rustfmt::skip]
pub(in super::super) const CALLER: &[Switch] = &[
    words!("port_selection", Caller, tcp.port_selection,
        ["consecutive" => PortSelection::Consecutive, "sequential" => PortSelection::Sequential, "perturbed" => PortSelection::Perturbed, "random" => PortSelection::Random],
        "How connect() walks through its ports: on by 2 with one counter, to the next one if that is in use (`consecutive`) or to the next even one (`sequential`); a perturbation table that is keyed anew every 10 s; uniformly at random (not Linux).",
        "net/ipv4/inet_hashtables.c __inet_hash_connect(): 3.10.0-1160.el7; 4.19.124, 5.10.44; 5.10.185 and later; P/p_ports on 4.19.108, 5.10.223, 6.18.44"),
    Switch {
        name: "net.ipv4.ip_local_port_range",
        part: Part::Caller,
        kind: Kind::Ports,
        meaning: "Source ports of connect(), as \"32768 60999\"; the same as `slb.ports`.",
        source: "net/ipv4/af_inet.c inet_init_net()",
        lacks: every,
        get: |p| Value::Ports(p.tcp.local_port_range),
        set: |p, v| if let Value::Ports(range) = v { p.tcp.local_port_range = range; },
    },
    Switch {
        name: "net.ipv4.ip_local_reserved_ports",
        part: Part::Caller,
        kind: Kind::PortList,
        meaning: "Ports that no socket is given by itself, as \"33000,40000-40100\".",
        source: "net/ipv4/inet_hashtables.c __inet_hash_connect()",
        lacks: every,
        get: |p| Value::PortList(p.tcp.reserved_ports),
        set: |p, v| if let Value::PortList(ports) = v { p.tcp.reserved_ports = ports; },
    },
];
