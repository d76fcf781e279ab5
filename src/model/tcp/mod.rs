//! TCP as the Linux kernel does it, as far as the incident family depends on it.

mod clock;
mod config;
mod port_select;
mod socket;
mod time_wait;

pub use clock::HostClock;
pub use config::{
    CallerReaction, PortSelection, SynCookies, SynRetry, TcpConfig, TimestampMode, TimestampOffset,
};
pub use port_select::PortSelector;
pub use socket::{End, Host, MSS, Reaction, Socket, State};
pub use time_wait::{Substate, TimeWait, TsRecent, Verdict};
