//! A host's clocks and secrets: initial sequence numbers and timestamps.
//!
//! `secure_tcp_seq()`, `secure_tcp_ts_off()` in `net/core/secure_seq.c`. The kernel's SipHash is replaced by another
//! keyed hash: only its uniformity matters.

use super::{TcpConfig, TimestampMode, TimestampOffset};
use crate::engine::keyed_hash;
use crate::units::{FourTuple, SeqNum, SimDuration, SimTime};

/// Clocks and secrets of one host.
#[derive(Debug, Clone, Copy)]
pub struct HostClock {
    /// Secret of sequence numbers.
    pub isn_secret: u64,
    /// Secret of timestamp offsets.
    pub ts_secret: u64,
    /// How long the host had been up when the run started.
    pub uptime: SimDuration,
    /// What its wall clock said then, in 64 ns ticks.
    pub wall_ticks: u32,
}

impl HostClock {
    /// Initial sequence number of `tuple` (source first): a keyed hash plus a clock of one tick per 64 ns.
    pub fn isn(&self, tuple: FourTuple, now: SimTime) -> SeqNum {
        let hash = keyed_hash(self.isn_secret, &[tuple.src.to_u64(), tuple.dst.to_u64()]) as u32;
        SeqNum(
            hash.wrapping_add(self.wall_ticks)
                .wrapping_add((now.as_nanos() >> 6) as u32),
        )
    }

    /// Offset of the timestamps that `tuple.src` sends to `tuple.dst`.
    pub fn timestamp_offset(&self, tuple: FourTuple, config: &TcpConfig) -> u32 {
        if config.timestamps != TimestampMode::RandomOffset {
            return 0;
        }
        let words = match config.timestamp_offset {
            TimestampOffset::None => return 0,
            TimestampOffset::PerAddressPair => [
                u64::from(tuple.src.ip.to_bits()),
                u64::from(tuple.dst.ip.to_bits()),
            ],
            TimestampOffset::PerFourTuple => [tuple.src.to_u64(), tuple.dst.to_u64()],
        };
        keyed_hash(self.ts_secret, &words) as u32
    }

    /// Whole seconds of uptime at `now`, by which the kernel dates a recorded timestamp.
    pub fn seconds(&self, now: SimTime) -> u64 {
        (self.uptime.as_nanos() + now.as_nanos()) / 1_000_000_000
    }

    /// Timestamp value at `now` with the given offset: milliseconds of uptime.
    pub fn timestamp(&self, now: SimTime, offset: u32) -> u32 {
        let uptime_ms = (self.uptime.as_nanos() + now.as_nanos()) / 1_000_000;
        (uptime_ms as u32).wrapping_add(offset)
    }
}
