//! What the tests of this room share.

use super::{SynRetry, TcpConfig, TimestampOffset};

/// A kernel with 5.10's handshake and 6.18's checks.
pub fn config() -> TcpConfig {
    TcpConfig {
        timestamp_offset: TimestampOffset::PerAddressPair,
        recycled_isn_continues: false,
        counts_paws_time_wait: false,
        syn_retry: SynRetry {
            linear_timeouts: 0,
            ..TcpConfig::NEWEST.syn_retry
        },
        ..TcpConfig::NEWEST
    }
}
