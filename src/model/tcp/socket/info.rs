//! What a socket tells of itself: TCP_INFO (`tcp_get_info()`) and what poll() sees (`tcp_poll()`), net/ipv4/tcp.c.

use super::{Host, SimDuration, SimTime, Socket, State};

/// Part of `struct tcp_info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpInfo {
    /// `tcpi_unacked`: segments sent and not acknowledged.
    pub unacked: u32,
    /// `tcpi_snd_cwnd`, segments.
    pub snd_cwnd: u32,
    /// `tcpi_snd_ssthresh`, segments; `u32::MAX`: none yet.
    pub snd_ssthresh: u32,
    /// `tcpi_snd_mss`, octets.
    pub snd_mss: u32,
    /// `tcpi_advmss`, octets.
    pub advmss: u32,
    /// `tcpi_rto`.
    pub rto: SimDuration,
    /// `tcpi_rtt`: smoothed; zero: none measured yet.
    pub rtt: SimDuration,
    /// `tcpi_retransmits`, and `tcpi_backoff`: timeouts in a row.
    pub retransmits: u8,
    /// `tcpi_probes`.
    pub probes: u8,
    /// `tcpi_last_data_recv`: how long ago data came last.
    pub last_data_recv: SimDuration,
    /// `tcpi_snd_wscale` and `tcpi_rcv_wscale`.
    pub scales: (u8, u8),
    /// Timestamps, SACK and window scaling are in use (`tcpi_options`).
    pub options: [bool; 3],
}

/// What poll() sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    /// Octets wait to be read.
    pub data: bool,
    /// Nothing more will come: the peer's FIN, or SHUT_RD.
    pub end: bool,
    /// Sending is possible, and the send buffer has room.
    pub writable: bool,
    /// This side has stopped sending.
    pub write_closed: bool,
    /// The connection has ended.
    pub closed: bool,
    /// An error is pending.
    pub error: bool,
}

impl Socket {
    /// TCP_INFO.
    pub fn info(&self, now: SimTime) -> TcpInfo {
        let mss = u32::from(self.snd_mss);
        let octets = self.snd_max.distance_from(self.snd_una).max(0).cast_unsigned();
        let (snd_scale, rcv_scale) = (self.peer_window_shift(), self.window_shift());
        TcpInfo {
            unacked: octets.div_ceil(mss),
            snd_cwnd: self.cwnd,
            snd_ssthresh: self.ssthresh,
            snd_mss: mss,
            advmss: self.offered_mss(),
            rto: self.rto.saturating_mul(1 << self.retries.min(30)),
            rtt: self.srtt,
            retransmits: self.retries,
            probes: self.probes,
            last_data_recv: now.since(self.received_at),
            scales: (snd_scale, rcv_scale),
            options: [self.ts_recent.is_some(), self.sack_ok, self.wscale_ok],
        }
    }

    /// What poll() sees.
    pub fn readiness(&self, host: &Host<'_>) -> Readiness {
        let closed = self.state == State::Closed;
        let opening = matches!(self.state, State::SynSent | State::SynReceived);
        let write_closed = self.fin_wanted || closed;
        Readiness {
            data: self.has_unread(),
            end: self.fin_received || self.rcv_shutdown || closed,
            writable: !opening && self.has_room(host.config),
            write_closed,
            closed,
            error: self.error.is_some(),
        }
    }
}
