//! What a socket is to send besides new data, as a set: mostly it is empty, and one look tells.

/// A set of segments that are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due(u8);

impl Due {
    /// Nothing.
    pub(super) const NOTHING: Self = Self(0);
    /// A SYN or SYN-ACK.
    pub(super) const HANDSHAKE: Self = Self(1);
    /// An ACK, at once.
    pub(super) const ACK: Self = Self(2);
    /// The first unacknowledged segment again.
    pub(super) const RETRANSMIT: Self = Self(4);
    /// A tail-loss probe.
    pub(super) const LOSS_PROBE: Self = Self(8);
    /// A window probe.
    pub(super) const WINDOW_PROBE: Self = Self(16);
    /// What a loss or a closed window makes due.
    pub(super) const AGAIN: Self = Self(Self::RETRANSMIT.0 | Self::LOSS_PROBE.0 | Self::WINDOW_PROBE.0);

    /// Whether any of `those` is due.
    pub(super) const fn has(self, those: Self) -> bool {
        self.0 & those.0 != 0
    }

    /// `those` are due too.
    pub(super) const fn add(&mut self, those: Self) {
        self.0 |= those.0;
    }

    /// `those` are due no more.
    pub(super) const fn remove(&mut self, those: Self) {
        self.0 &= !those.0;
    }

    /// Whether any of `those` was due; it is no more.
    pub(super) const fn take(&mut self, those: Self) -> bool {
        let had = self.has(those);
        self.remove(those);
        had
    }
}
