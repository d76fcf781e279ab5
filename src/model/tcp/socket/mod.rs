//! A TCP connection from SYN to the timewait socket or the end: RFC 9293 as modified by RFC 5961 and by Linux.
//!
//! The socket is plain data. [`Socket::on_segment`] and [`Socket::on_timer`] say what happened; what is to be sent is
//! then drawn with [`Socket::next_segment`] until it has nothing more.
//!
//! | file | concern | Linux |
//! |---|---|---|
//! | `handshake` | SYN_SENT, requests, simultaneous open | `tcp_rcv_synsent_state_process()`, `tcp_check_req()` |
//! | `receive` | synchronized states | `tcp_validate_incoming()`, `tcp_rcv_state_process()`, `tcp_data_queue()`, `tcp_fin()` |
//! | `ack` | what an ACK acknowledges, loss | `tcp_ack()`, `tcp_fastretrans_alert()` |
//! | `delayed` | when to acknowledge | `tcp_event_data_recv()`, `__tcp_ack_snd_check()`, `tcp_send_delayed_ack()` |
//! | `due` | what is to be sent besides new data | `ICSK_ACK_NOW` and others |
//! | `window` | the receive window and its scale | `tcp_select_initial_window()`, `__tcp_select_window()` |
//! | `send` | what goes out | `tcp_output.c` |
//! | `cwnd` | what lets the congestion window grow and shrink | `tcp_cwnd_validate()`, `tcp_cwnd_restart()` |
//! | `buffer` | the send buffer | `sk_stream_memory_free()` |
//! | `timer` | retransmission, window probes, round-trip time | `tcp_timer.c`, `reqsk_timer_handler()`, `tcp_rtt_estimator()` |
//! | `calls` | system calls | `tcp.c` |
//!
//! Simplified, with the effect in `docs/models/tcp.md`: no SACK blocks, a window that does not adapt to the application's
//! pace, loss recovery as in NewReno.

mod ack;
mod buffer;
mod calls;
mod cwnd;
mod delayed;
mod due;
mod handshake;
mod info;
mod options;
mod receive;
mod send;
mod timer;
mod window;

use due::Due;
pub use info::{Readiness, TcpInfo};
pub use options::{Gate, How, Linger2, Read, SocketError, SocketOptions};

use super::time_wait::{Inherited, Substate, TimeWait, TsRecent};
use super::{HostClock, TcpConfig, TimestampMode};
use crate::engine::KernelTimers;
use crate::units::{FourTuple, SeqNum, SimDuration, SimTime};
use crate::wire::Packet;

/// Octets of payload in a full segment: Ethernet's 1500 less IP and TCP headers with timestamps.
pub const MSS: u32 = 1448;
/// What Ethernet lets a SYN offer (`tcp_advertise_mss()`).
const ETHERNET_MSS: u32 = 1460;
/// Taken for a peer that offers none (`TCP_MSS_DEFAULT`).
const DEFAULT_MSS: u32 = 536;
/// What the timestamps option takes from every segment (`TCPOLEN_TSTAMP_ALIGNED`).
const TIMESTAMPS_LEN: u32 = 12;
/// Initial congestion window in segments (RFC 6928).
const INITIAL_CWND: u32 = 10;
/// A FIN_WAIT2 that lasts longer than this stays a full socket for the rest (`TCP_TIMEWAIT_LEN`).
const TIME_WAIT_LEN: SimDuration = SimDuration::from_secs(60);

/// State of a connection (RFC 9293 section 3.3.2); TIME-WAIT and an orphan's FIN-WAIT-2 live in [`TimeWait`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// SYN-SENT.
    SynSent,
    /// SYN-RECEIVED: a request of a listener, or a simultaneous open.
    SynReceived,
    /// ESTABLISHED.
    Established,
    /// FIN-WAIT-1.
    FinWait1,
    /// FIN-WAIT-2, held open by the application.
    FinWait2,
    /// CLOSE-WAIT.
    CloseWait,
    /// CLOSING.
    Closing,
    /// LAST-ACK.
    LastAck,
    /// CLOSED.
    Closed,
}

/// The host that a socket lives on.
#[derive(Debug, Clone, Copy)]
pub struct Host<'a> {
    /// Switches and sysctls.
    pub config: &'a TcpConfig,
    /// Timer wheel.
    pub timers: &'a KernelTimers,
    /// Clocks and secrets.
    pub clock: &'a HostClock,
}

/// What a segment, a timer or a call brought about, for the application and for whoever keeps the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reaction {
    /// The handshake completed.
    pub connected: bool,
    /// Octets of new data in order.
    pub data_len: u32,
    /// What they are about.
    pub data_tag: u32,
    /// The peer closed its side.
    pub peer_closed: bool,
    /// The peer reset the connection.
    pub reset: bool,
    /// The kernel gave up (ETIMEDOUT).
    pub timed_out: bool,
    /// The final ACK of a handshake met a full accept queue and was dropped.
    pub listen_overflow: bool,
    /// A SYN found no room in the SYN queue, or none for an unknown peer, and was dropped.
    pub syn_queue_full: bool,
    /// The final ACK of a handshake was dropped because `TCP_DEFER_ACCEPT` waits for data.
    pub deferred: bool,
    /// A bare ACK came in SYN_SENT.
    pub bad_ack: bool,
    /// The retransmission timer fired.
    pub retransmitted: bool,
    /// A challenge ACK is to be sent, if the host's limit lets it (RFC 5961 section 7).
    pub challenged: bool,
    /// A segment to send as it is: RST mostly.
    pub reply: Option<Packet>,
    /// The socket is done.
    pub end: Option<End>,
}

/// How a socket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing is left.
    Closed,
    /// A timewait socket takes its place for so long: [`Socket::to_time_wait`].
    TimeWait(Substate, SimDuration),
}

/// A part of the stream that came before what it follows (`out_of_order_queue`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fragment {
    start: SeqNum,
    /// After the FIN, if it has one.
    end: SeqNum,
    fin: bool,
}

/// What few sockets need.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Extra {
    options: SocketOptions,
    /// In order, disjoint, not touching.
    out_of_order: Vec<Fragment>,
    /// Where writes with `MSG_EOR` end, not yet acknowledged, in order: no segment reaches across.
    records: Vec<SeqNum>,
    /// What an ICMP message said of an open connection (`sk_err_soft`): the reason if it times out.
    soft_error: Option<SocketError>,
    /// When what is unacknowledged was sent first (`retrans_stamp`), for `TCP_USER_TIMEOUT`.
    stalled_since: Option<SimTime>,
}

impl Extra {
    /// What `options` need, if they need any: see [`Socket::take_options`].
    fn of(options: &SocketOptions) -> Option<Box<Self>> {
        (!options.is_plain()).then(|| {
            Box::new(Self {
                options: *options,
                ..Self::default()
            })
        })
    }
}

/// A TCP connection. Its tuple is kept by its owner: source is this side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// State.
    pub state: State,
    /// Initial sequence number of this side.
    pub iss: SeqNum,
    /// Initial sequence number of the peer.
    pub irs: SeqNum,
    /// First octet not acknowledged.
    snd_una: SeqNum,
    /// Next octet to send; goes back to `snd_una` when the timer fires.
    snd_nxt: SeqNum,
    /// Next octet never sent.
    snd_max: SeqNum,
    /// Octet after the last one that the application wrote.
    write_end: SeqNum,
    /// End of the last segment that was not full (`snd_sml`, Minshall's variant of Nagle).
    snd_sml: SeqNum,
    /// Sequence number of the last segment that updated the window (RFC 9293's SND.WL1).
    snd_wl1: SeqNum,
    /// Next octet expected.
    rcv_nxt: SeqNum,
    /// What we acknowledged last (RFC 7323's `Last.ACK.sent`).
    rcv_wup: SeqNum,
    /// Next octet that the application reads (`copied_seq`).
    copied: SeqNum,
    peer_window: u32,
    /// Largest window that the peer has offered.
    max_window: u32,
    /// Window that we offered, from `rcv_wup` on.
    rcv_wnd: u32,
    /// What we would offer if there were room (`rcv_ssthresh`).
    rcv_ssthresh: u32,
    cwnd: u32,
    ssthresh: u32,
    /// Octet after the flight in which `max_packets_out` was seen (`cwnd_usage_seq`).
    cwnd_usage_seq: SeqNum,
    /// Most segments in flight of late, and whether the congestion window held any back (`is_cwnd_limited`).
    max_packets_out: u32,
    cwnd_limited: bool,
    /// Fast recovery ends, and may begin again, when this is acknowledged.
    recover: SeqNum,
    /// The peer's last timestamp; `None`: the option is not in use (or not yet known, in SYN_SENT).
    ts_recent: Option<TsRecent>,
    ts_offset: u32,
    /// Retransmission timeout before any doubling.
    rto: SimDuration,
    /// Smoothed round-trip time; zero: none measured yet.
    srtt: SimDuration,
    /// Four times its mean deviation.
    rttvar4: SimDuration,
    /// When the retransmission timer fires: or the window probe's, or an orphan's in FIN_WAIT2.
    rto_deadline: SimTime,
    /// Where the retransmission timeout counts from: when the first unacknowledged segment was sent, or the last ACK came.
    rto_from: SimTime,
    /// When a delayed ACK is due.
    ack_deadline: SimTime,
    /// How long an ACK may be delayed (`icsk_ack.ato`); zero before any data.
    ato: SimDuration,
    /// When data came last.
    received_at: SimTime,
    /// When data went out last (`lsndtime`).
    sent_at: SimTime,
    /// When the first SYN or SYN-ACK went out, or the octet at `sample_seq`.
    sample_at: SimTime,
    /// An ACK beyond this is a round-trip sample.
    sample_seq: SeqNum,
    last_oow_ack: Option<SimTime>,
    /// Payload of a full segment of ours.
    snd_mss: u16,
    /// Guess at the peer's (`icsk_ack.rcv_mss`).
    rcv_mss: u16,
    /// Zero unless both SYNs offer scaling.
    snd_wscale: u8,
    /// What our SYN offers; zero once the peer has offered none.
    rcv_wscale: u8,
    /// Timeouts in a row.
    retries: u8,
    /// Window probes without an answer.
    probes: u8,
    dup_acks: u8,
    /// What is to be sent besides new data.
    due: Due,
    /// Full segments of the packet that is being cut (GSO).
    gso_segments: u8,
    quick_acks: u8,
    /// Small segments since the last ACK (`ICSK_ACK_PUSHED`, `ICSK_ACK_PUSHED2`).
    pushed: u8,
    /// Both SYNs offered window scaling.
    wscale_ok: bool,
    sack_ok: bool,
    fin_wanted: bool,
    /// The application closed: nobody reads any more.
    orphan: bool,
    /// Nothing is to be received any more (`RCV_SHUTDOWN`).
    rcv_shutdown: bool,
    /// The peer's FIN was taken.
    fin_received: bool,
    sampling: bool,
    /// An ACK is owed, now or later (`ICSK_ACK_SCHED`).
    ack_scheduled: bool,
    /// Request and response take turns: ACKs wait for data (`inet_csk_in_pingpong_mode()`).
    pingpong: bool,
    /// A request whose last ACK has come but was not let in.
    acked: bool,
    in_recovery: bool,
    /// `rto_deadline` is the window probe's.
    probing: bool,
    /// `rto_deadline` is the tail-loss probe's.
    loss_probe_armed: bool,
    /// A tail-loss probe is out: there is one at a time (`tlp_high_seq`).
    loss_probe_sent: bool,
    /// The application reads whatever comes as it comes.
    reads_at_once: bool,
    no_delay: bool,
    /// The last write said `MSG_MORE`: its end has no PSH.
    more: bool,
    /// A short segment waits for more until something else happens: `MSG_MORE`.
    held_for_more: bool,
    /// `TCP_NODELAY` was set: what Nagle or `TCP_CORK` holds back goes, this once (`TCP_NAGLE_PUSH`).
    push_once: bool,
    error: Option<SocketError>,
    /// What outgoing data is about.
    pub tag: u32,
    extra: Option<Box<Extra>>,
}

impl Socket {
    #[inline]
    fn new(state: State, iss: SeqNum, ts_offset: u32, options: &SocketOptions, now: SimTime) -> Self {
        Self {
            state,
            iss,
            irs: SeqNum(0),
            snd_una: iss,
            snd_nxt: iss + 1,
            snd_max: iss + 1,
            write_end: iss + 1,
            snd_sml: iss,
            snd_wl1: SeqNum(0),
            rcv_nxt: SeqNum(0),
            rcv_wup: SeqNum(0),
            copied: SeqNum(0),
            peer_window: 0,
            max_window: 0,
            rcv_wnd: 0,
            rcv_ssthresh: 0,
            cwnd: INITIAL_CWND,
            ssthresh: u32::MAX,
            cwnd_usage_seq: iss,
            max_packets_out: 0,
            cwnd_limited: false,
            recover: iss,
            ts_recent: None,
            ts_offset,
            rto: timer::RTO_INITIAL,
            srtt: SimDuration::ZERO,
            rttvar4: SimDuration::ZERO,
            rto_deadline: SimTime::NEVER,
            rto_from: now,
            ack_deadline: SimTime::NEVER,
            ato: SimDuration::ZERO,
            received_at: now,
            sent_at: now,
            sample_at: now,
            sample_seq: iss,
            last_oow_ack: None,
            snd_mss: DEFAULT_MSS as u16,
            rcv_mss: DEFAULT_MSS as u16,
            snd_wscale: 0,
            rcv_wscale: 0,
            retries: 0,
            probes: 0,
            dup_acks: 0,
            due: Due::HANDSHAKE,
            gso_segments: 0,
            quick_acks: 0,
            pushed: 0,
            wscale_ok: false,
            sack_ok: false,
            fin_wanted: false,
            orphan: false,
            rcv_shutdown: false,
            fin_received: false,
            sampling: true,
            ack_scheduled: false,
            pingpong: false,
            acked: false,
            in_recovery: false,
            probing: false,
            loss_probe_armed: false,
            loss_probe_sent: false,
            reads_at_once: options.reads_at_once,
            no_delay: options.no_delay,
            more: false,
            held_for_more: false,
            push_once: false,
            error: None,
            tag: u32::MAX,
            extra: Extra::of(options),
        }
    }

    /// Opens a connection from `tuple.src` to `tuple.dst`; the SYN is the first segment to draw.
    pub fn connect(tuple: FourTuple, options: &SocketOptions, host: &Host<'_>, now: SimTime) -> Self {
        let ts_offset = host.clock.timestamp_offset(tuple, host.config);
        let mut socket = Self::new(
            State::SynSent,
            host.clock.isn(tuple, now),
            ts_offset,
            options,
            now,
        );
        socket.wscale_ok = host.config.window_scaling;
        socket.sack_ok = host.config.sack;
        socket.init_receive_window(socket.offered_mss(), host.config);
        socket
    }

    /// Opens a connection in the place of a TIME_WAIT of this side: sequence numbers and timestamps go on from there
    /// (`tcp_twsk_unique()`).
    pub fn connect_over(
        tuple: FourTuple,
        old: Inherited,
        options: &SocketOptions,
        host: &Host<'_>,
        now: SimTime,
    ) -> Self {
        let iss = old.isn;
        let mut socket = Self::connect(tuple, options, host, now);
        (socket.iss, socket.snd_una, socket.snd_sml) = (iss, iss, iss);
        (socket.recover, socket.sample_seq) = (iss, iss);
        (socket.snd_nxt, socket.snd_max, socket.write_end) = (iss + 1, iss + 1, iss + 1);
        socket.ts_recent = Some(old.ts_recent);
        socket
    }

    /// The next sequence number that this side would send.
    #[expect(
        clippy::misnamed_getters,
        reason = "the field of that name goes back when data is sent again"
    )]
    pub const fn snd_nxt(&self) -> SeqNum {
        self.snd_max
    }

    /// The application has closed it: what is left is the kernel's.
    pub const fn is_closed_by_application(&self) -> bool {
        self.orphan
    }

    /// How far the windows of this side's segments are shifted, once the handshake is done.
    pub const fn window_shift(&self) -> u8 {
        self.rcv_wscale
    }

    /// How far the windows of the peer's segments are shifted, once the handshake is done.
    pub const fn peer_window_shift(&self) -> u8 {
        self.snd_wscale
    }

    /// When [`Socket::on_timer`] wants to be called.
    pub fn deadline(&self) -> SimTime {
        self.rto_deadline.min(self.ack_deadline)
    }

    fn time_wait(&mut self, substate: Substate, lifetime: SimDuration) -> End {
        self.state = State::Closed;
        End::TimeWait(substate, lifetime)
    }

    /// The timewait socket that takes the place of this one, before its last ACK goes out (`tcp_time_wait()`).
    pub fn to_time_wait(&self, substate: Substate) -> TimeWait {
        TimeWait {
            substate,
            rcv_nxt: self.rcv_nxt,
            snd_nxt: self.snd_max,
            rcv_wnd: self.receive_window(),
            ts_recent: self.ts_recent,
            ts_offset: self.ts_offset,
            last_oow_ack: None,
        }
    }

    /// How long an orphan waits for the peer's FIN: `TCP_LINGER2` or `tcp_fin_timeout`, no less than 3.5 times the
    /// retransmission timeout (`tcp_fin_time()`).
    fn fin_time(&self, config: &TcpConfig) -> SimDuration {
        let by_rto = SimDuration::from_nanos(self.rto.as_nanos() / 2 * 7);
        let asked = match self.options().linger2 {
            Linger2::For(time) => time,
            Linger2::Default | Linger2::Never => config.fin_timeout,
        };
        asked.max(by_rto)
    }

    /// An orphan waits for the peer's FIN: as a timewait socket, or for what is over 60 s as a socket before.
    fn fin_wait2_orphan(&mut self, host: &Host<'_>, now: SimTime) -> Option<End> {
        let time = self.fin_time(host.config);
        if time > TIME_WAIT_LEN {
            self.rto_deadline = host.timers.expiry(now, time.saturating_sub(TIME_WAIT_LEN));
            return None;
        }
        Some(self.time_wait(Substate::FinWait2, time))
    }

    /// Takes a segment of this connection, and writes what it brings about into an empty `reaction`: most segments bring
    /// nothing, and are not to pay for a copy of it. `gate` is what the listener says, if this is a request.
    #[inline]
    pub fn on_segment(
        &mut self,
        seg: &Packet,
        gate: Option<Gate>,
        host: &Host<'_>,
        now: SimTime,
        reaction: &mut Reaction,
    ) {
        match (self.state, gate) {
            (State::Closed, _) => {}
            (State::SynSent, _) => self.in_syn_sent(seg, host, now, reaction),
            (State::SynReceived, Some(gate)) => self.on_request(seg, gate, host, now, reaction),
            _ => self.in_synchronized(seg, host, now, reaction),
        }
    }

    /// Marks the socket as gone without a timewait socket.
    fn gone(&mut self) -> End {
        self.state = State::Closed;
        self.rto_deadline = SimTime::NEVER;
        self.ack_deadline = SimTime::NEVER;
        End::Closed
    }

    /// The socket is done with an error (`tcp_done_with_error()`).
    fn fail(&mut self, error: SocketError) -> End {
        self.error = Some(error);
        self.rcv_shutdown = true;
        self.gone()
    }
}

#[cfg(test)]
mod tests;
