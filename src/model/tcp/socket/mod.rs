//! A TCP connection from SYN to the timewait socket or the end: RFC 9293 as Linux does it.
//!
//! The socket is plain data. [`Socket::on_segment`] and [`Socket::on_timer`] say what happened; what is to be sent is
//! then drawn with [`Socket::next_segment`] until it has nothing more.
//!
//! | file | concern | Linux |
//! |---|---|---|
//! | `handshake` | SYN_SENT, SYN_RECEIVED, the bare ACK | `tcp_rcv_synsent_state_process()`, `tcp_check_req()` |
//! | `receive` | synchronized states | `tcp_validate_incoming()`, `tcp_rcv_state_process()`, `tcp_data_queue()`, `tcp_fin()` |
//! | `send` | what goes out | `tcp_output.c`, `tcp_v4_send_reset()` |
//! | `timer` | retransmission, delayed ACK, round-trip time | `tcp_timer.c`, `reqsk_timer_handler()`, `tcp_rtt_estimator()` |
//!
//! Simplified, with the effect in `docs/models/tcp.md`: no SACK, no fast retransmit and no tail-loss probe (lost data is
//! sent again from `snd_una` when the timer fires); segments out of order are dropped; the congestion window only
//! starts at ten segments and grows by what is acknowledged.

mod handshake;
mod receive;
mod send;
mod timer;

use super::time_wait::{Inherited, Substate, TimeWait, TsRecent};
use super::{HostClock, TcpConfig, TimestampMode};
use crate::engine::KernelTimers;
use crate::units::{FourTuple, SeqNum, SimDuration, SimTime};
use crate::wire::Packet;

/// Octets of payload in a full segment: Ethernet's 1500 less IP and TCP headers with timestamps.
pub const MSS: u32 = 1448;
/// Receive window of an open connection; the application reads at once, so it never shrinks.
const WINDOW: u32 = 65160;
/// Initial congestion window in segments (RFC 6928).
const INITIAL_CWND: u32 = 10;
/// Data segments acknowledged at once at the start of a connection (`TCP_MAX_QUICKACKS`).
const QUICK_ACKS: u8 = 16;

/// State of a connection (RFC 9293 section 3.3.2); TIME-WAIT and an orphan's FIN-WAIT-2 live in [`TimeWait`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// SYN-SENT.
    SynSent,
    /// SYN-RECEIVED.
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

/// What a segment or a timer brought about, for the application and for whoever keeps the socket.
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
    /// A bare ACK came in SYN_SENT.
    pub bad_ack: bool,
    /// The retransmission timer fired.
    pub retransmitted: bool,
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
    /// A timewait socket takes its place for so long.
    TimeWait(TimeWait, SimDuration),
}

/// A TCP connection. Its tuple is kept by its owner: source is this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Next octet expected.
    rcv_nxt: SeqNum,
    /// What we acknowledged last (RFC 7323's `Last.ACK.sent`).
    rcv_wup: SeqNum,
    peer_window: u32,
    cwnd: u32,
    /// The peer's last timestamp; `None`: the option is not in use (or not yet known, in SYN_SENT).
    ts_recent: Option<TsRecent>,
    ts_offset: u32,
    /// Retransmission timeout before any doubling.
    rto: SimDuration,
    /// Smoothed round-trip time; zero: none measured yet.
    srtt: SimDuration,
    /// Four times its mean deviation.
    rttvar4: SimDuration,
    /// When the retransmission timer fires.
    rto_deadline: SimTime,
    /// When a delayed ACK is due.
    ack_deadline: SimTime,
    /// When the first SYN or SYN-ACK went out, or the octet at `sample_seq`.
    sample_at: SimTime,
    /// An ACK beyond this is a round-trip sample.
    sample_seq: SeqNum,
    last_oow_ack: Option<SimTime>,
    /// Timeouts in a row.
    retries: u8,
    quick_acks: u8,
    fin_wanted: bool,
    /// The application closed: nobody reads any more.
    orphan: bool,
    sampling: bool,
    ack_now: bool,
    /// A SYN or SYN-ACK is to be sent.
    handshake_due: bool,
    /// What outgoing data is about.
    pub tag: u32,
}

impl Socket {
    fn new(state: State, iss: SeqNum, ts_offset: u32, now: SimTime) -> Self {
        Self {
            state,
            iss,
            irs: SeqNum(0),
            snd_una: iss,
            snd_nxt: iss + 1,
            snd_max: iss + 1,
            write_end: iss + 1,
            rcv_nxt: SeqNum(0),
            rcv_wup: SeqNum(0),
            peer_window: 0,
            cwnd: INITIAL_CWND,
            ts_recent: None,
            ts_offset,
            rto: timer::RTO_INITIAL,
            srtt: SimDuration::ZERO,
            rttvar4: SimDuration::ZERO,
            rto_deadline: SimTime::NEVER,
            ack_deadline: SimTime::NEVER,
            sample_at: now,
            sample_seq: iss,
            last_oow_ack: None,
            retries: 0,
            quick_acks: QUICK_ACKS,
            fin_wanted: false,
            orphan: false,
            sampling: true,
            ack_now: false,
            handshake_due: true,
            tag: u32::MAX,
        }
    }

    /// Opens a connection from `tuple.src` to `tuple.dst`; the SYN is the first segment to draw.
    pub fn connect(tuple: FourTuple, host: &Host<'_>, now: SimTime) -> Self {
        let ts_offset = host.clock.timestamp_offset(tuple, host.config);
        Self::new(State::SynSent, host.clock.isn(tuple, now), ts_offset, now)
    }

    /// Opens a connection in the place of a TIME_WAIT of this side (`tcp_tw_reuse`, `tcp_twsk_unique()`).
    pub fn connect_over(tuple: FourTuple, old: Inherited, host: &Host<'_>, now: SimTime) -> Self {
        let ts_offset = host.clock.timestamp_offset(tuple, host.config);
        Self {
            ts_recent: Some(old.ts_recent),
            ..Self::new(State::SynSent, old.isn, ts_offset, now)
        }
    }

    /// Answers a listener's SYN; `tuple` is this side's. `recycled_isn` is the sequence number that a recycled
    /// TIME_WAIT hands on, on kernels where it takes effect.
    pub fn accept(
        syn: &Packet,
        tuple: FourTuple,
        recycled_isn: Option<SeqNum>,
        host: &Host<'_>,
        now: SimTime,
    ) -> Self {
        let iss = recycled_isn.unwrap_or_else(|| host.clock.isn(tuple, now));
        let mut socket = Self::new(
            State::SynReceived,
            iss,
            host.clock.timestamp_offset(tuple, host.config),
            now,
        );
        socket.take_syn(syn, host, now);
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

    /// When [`Socket::on_timer`] wants to be called.
    pub fn deadline(&self) -> SimTime {
        self.rto_deadline.min(self.ack_deadline)
    }

    /// The application writes so many octets.
    pub fn write(&mut self, len: u32) {
        self.write_end = self.write_end + len;
    }

    /// The application closes its sending side only (`shutdown(SHUT_WR)`).
    pub fn shutdown_write(&mut self) {
        self.state = match self.state {
            State::Established => State::FinWait1,
            State::CloseWait => State::LastAck,
            other => other,
        };
        // Never unset: a close() that follows a shutdown() finds the FIN on its way, perhaps in CLOSING.
        self.fin_wanted |= matches!(self.state, State::FinWait1 | State::LastAck);
    }

    /// The application closes. In SYN_SENT nothing is sent and the socket is gone at once.
    #[must_use]
    pub fn close(&mut self, config: &TcpConfig) -> Option<End> {
        self.orphan = true;
        match self.state {
            State::SynSent | State::SynReceived | State::Closed => {
                self.state = State::Closed;
                Some(End::Closed)
            }
            // An open FIN_WAIT2 becomes an orphan's: a timewait socket.
            State::FinWait2 => Some(self.fin_wait2_orphan(config)),
            _ => {
                self.shutdown_write();
                None
            }
        }
    }

    fn time_wait(&mut self, substate: Substate, lifetime: SimDuration) -> End {
        self.state = State::Closed;
        let tw = TimeWait {
            substate,
            rcv_nxt: self.rcv_nxt,
            snd_nxt: self.snd_max,
            rcv_wnd: self
                .rcv_wup
                .distance_from(self.rcv_nxt)
                .wrapping_add_unsigned(WINDOW)
                .max(0)
                .cast_unsigned(),
            ts_recent: self.ts_recent,
            ts_offset: self.ts_offset,
            last_oow_ack: None,
        };
        End::TimeWait(tw, lifetime)
    }

    /// An orphan waits for the peer's FIN as a timewait socket (`tcp_fin_time()`: no less than 3.5 times the
    /// retransmission timeout).
    fn fin_wait2_orphan(&mut self, config: &TcpConfig) -> End {
        let by_rto = SimDuration::from_nanos(self.rto.as_nanos() / 2 * 7);
        self.time_wait(Substate::FinWait2, config.fin_timeout.max(by_rto))
    }

    /// Takes a segment of this connection. `accept_queue_full` matters to the last ACK of a handshake only.
    pub fn on_segment(
        &mut self,
        seg: &Packet,
        accept_queue_full: bool,
        host: &Host<'_>,
        now: SimTime,
    ) -> Reaction {
        match self.state {
            State::Closed => Reaction::default(),
            State::SynSent => self.in_syn_sent(seg, host, now),
            State::SynReceived => self.in_syn_received(seg, accept_queue_full, host, now),
            _ => self.in_synchronized(seg, host, now),
        }
    }

    /// Marks the socket as gone without a timewait socket.
    fn gone(&mut self) -> End {
        self.state = State::Closed;
        End::Closed
    }
}

#[cfg(test)]
#[path = "../socket_tests.rs"]
mod tests;
