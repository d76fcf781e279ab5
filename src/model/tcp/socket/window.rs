//! The receive window: how large it is at first, how it follows what the application reads, and its scale.

use super::{ETHERNET_MSS, SeqNum, Socket, TIMESTAMPS_LEN, TcpConfig};

/// What the header can say.
const MAX_RAW: u32 = 65_535;
/// `TCP_MAX_WSCALE`.
const MAX_SCALE: u32 = 14;

/// How much of a buffer is window: half of it (`tcp_win_from_space()`: `tcp_adv_win_scale` 1, `TCP_DEFAULT_SCALING_RATIO`).
const fn window_from(buffer: u32) -> u32 {
    buffer - buffer / 2
}

/// A window that a header can say: a multiple of what the scale leaves.
const fn round_up(window: u32, shift: u8) -> u32 {
    let below = (1 << shift) - 1;
    (window + below) & !below
}

impl Socket {
    /// What our SYN offers as maximum segment size.
    pub(super) fn offered_mss(&self) -> u32 {
        match u32::from(self.options().max_seg) {
            0 => ETHERNET_MSS,
            asked => asked.min(ETHERNET_MSS),
        }
    }

    /// What the peer's SYN leaves of a segment of ours (`tcp_sync_mss()`): 0 is no offer.
    pub(super) fn take_mss(&mut self, offer: u16) {
        let peers = match u32::from(offer) {
            0 => super::DEFAULT_MSS,
            offer => offer,
        };
        let headers = if self.ts_recent.is_some() {
            TIMESTAMPS_LEN
        } else {
            0
        };
        let full = peers.min(self.offered_mss()).saturating_sub(headers);
        self.snd_mss = full.clamp(48, ETHERNET_MSS) as u16;
        // `tcp_initialize_rcv_mss()`.
        self.rcv_mss = u32::from(self.snd_mss)
            .min(self.rcv_wnd / 2)
            .clamp(88, super::DEFAULT_MSS) as u16;
    }

    #[inline]
    fn buffer_window(&self, config: &TcpConfig) -> u32 {
        let asked = self
            .extra
            .as_ref()
            .map_or(0, |extra| extra.options.receive_buffer);
        window_from(match asked {
            0 => config.rmem[1],
            asked => asked,
        })
    }

    /// `tcp_select_initial_window()` with segments of `mss` octets; the scale only matters if both offer one.
    pub(super) fn init_receive_window(&mut self, mss: u32, config: &TcpConfig) {
        let full = self.buffer_window(config);
        let segments = config.initial_window_segments.unwrap_or(u32::MAX);
        let window = if full > mss { full - full % mss } else { full };
        let most = if config.initial_window_clamped {
            MAX_RAW
        } else {
            MAX_RAW << MAX_SCALE
        };
        self.rcv_wnd = window.min(segments.saturating_mul(mss)).min(most);
        self.rcv_ssthresh = self.rcv_wnd;
        if self.wscale_ok {
            let largest = full.max(config.rmem[2]);
            self.rcv_wscale = largest.ilog2().saturating_sub(15).min(MAX_SCALE) as u8;
        }
    }

    /// What is left of the window that we offered (`tcp_receive_window()`).
    #[inline]
    pub(super) fn receive_window(&self) -> u32 {
        let used = self.rcv_nxt.octets_since(self.rcv_wup);
        self.rcv_wnd.saturating_sub(used)
    }

    /// The first sequence number beyond the window.
    pub(super) fn window_end(&self) -> SeqNum {
        self.rcv_nxt + self.receive_window()
    }

    /// What a SYN or SYN-ACK tells, never scaled (RFC 7323 section 2.2); a request judges by it (`tcp_synack_window()`).
    pub(super) fn syn_window(&self) -> u32 {
        self.rcv_wnd.min(MAX_RAW)
    }

    /// Octets that wait for the application.
    #[inline]
    pub fn unread(&self) -> u32 {
        let waiting = self.rcv_nxt.octets_since(self.copied);
        waiting.saturating_sub(u32::from(self.fin_received))
    }

    /// `__tcp_select_window()`: what could be offered now. Octets in the queue count as themselves, without the
    /// kernel's overhead.
    #[inline]
    pub(super) fn window_to_offer(&self, config: &TcpConfig) -> u32 {
        let shift = self.window_shift();
        let full = self.buffer_window(config);
        let free = full.saturating_sub(self.unread());
        if shift > 0 && free >= full / 2 {
            round_up(free.min(self.rcv_ssthresh), shift)
        } else {
            self.tight_window(full, free)
        }
    }

    /// The same of a buffer that is more than half full, or without a scale.
    #[inline(never)]
    fn tight_window(&self, full: u32, mut free: u32) -> u32 {
        let shift = self.window_shift();
        let mss = u32::from(self.rcv_mss).min(full);
        if free < full / 2 {
            free = free >> shift << shift;
            if free < full / 16 || free < mss {
                return 0;
            }
        }
        free = free.min(self.rcv_ssthresh);
        if shift > 0 {
            return round_up(free, shift);
        }
        // Without a scale whole segments are offered, so that the window does not crawl.
        let now = self.rcv_wnd;
        if now + mss <= free || now > free {
            free - free % mss
        } else if mss == full && free > now + full / 2 {
            free
        } else {
            now
        }
    }

    /// Settles the window of a segment that is being sent, and what it acknowledges (`tcp_select_window()`): the right
    /// edge never moves back. Returns octets as the peer will read them.
    #[inline]
    pub(super) fn select_window(&mut self, config: &TcpConfig) -> u32 {
        let shift = self.window_shift();
        let left = self.receive_window();
        let mut window = self.window_to_offer(config);
        if window < left {
            window = round_up(left, shift);
        }
        (self.rcv_wnd, self.rcv_wup) = (window, self.rcv_nxt);
        window.min(MAX_RAW << shift) >> shift << shift
    }

    /// Data lets the window grow towards what the buffer holds (`tcp_grow_window()`).
    pub(super) fn grow_window(&mut self, len: u32, config: &TcpConfig) {
        let room = self.buffer_window(config).min(MAX_RAW << self.window_shift());
        let room = room
            .saturating_sub(self.unread())
            .saturating_sub(self.rcv_ssthresh);
        let step = 2 * u32::from(self.snd_mss).max(len);
        self.rcv_ssthresh += room.min(step);
    }
}
