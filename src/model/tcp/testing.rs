//! What the tests of this room share.

use super::{
    CallerReaction, ListenConfig, PortSelection, ReceiveBuffer, SegmentRules, SynCookies, SynRetry,
    TcpConfig, TimestampMode, TimestampOffset,
};
use crate::units::SimDuration;

/// A kernel with 5.10's handshake and 6.18's checks.
pub fn config() -> TcpConfig {
    TcpConfig {
        hz: 250,
        timestamps: TimestampMode::RandomOffset,
        timestamp_offset: TimestampOffset::PerAddressPair,
        recycled_isn_continues: false,
        counts_paws_time_wait: false,
        syn_retry: SynRetry {
            retries: 6,
            linear_timeouts: 0,
            gives_up_early: false,
        },
        synack_retries: 5,
        caller_reaction: CallerReaction::RstFastResend,
        port_selection: PortSelection::Perturbed,
        rfc1337: false,
        invalid_ratelimit: SimDuration::from_millis(500),
        time_wait: SimDuration::from_secs(60),
        fin_timeout: SimDuration::from_secs(60),
        max_tw_buckets: 1 << 16,
        tw_reuse: false,
        somaxconn: 4096,
        retries2: 15,
        orphan_retries: 8,
        receive_buffer: ReceiveBuffer {
            default: 131_072,
            max: 6_291_456,
            initial_segments: None,
            clamped: false,
        },
        window_scaling: true,
        sack: true,
        listen: ListenConfig {
            syn_cookies: SynCookies::WhenFull,
            max_syn_backlog: 4096,
            abort_on_overflow: false,
            syn_queue_full_at_backlog: false,
        },
        challenge_ack_limit: None,
        rules: SegmentRules::NEW,
    }
}
