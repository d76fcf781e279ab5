//! TCP as the Linux kernel does it, as far as the incident family depends on it.

mod clock;
mod config;
mod port_select;
mod socket;
mod time_wait;

pub use clock::HostClock;
pub use config::{
    CallerReaction, PortSelection, ReservedPorts, SynCookies, SynRetry, TcpConfig, TimeWaitStack,
    TimeWaitTimer, TimestampMode, TimestampOffset, TwReuse, TwReuseAge,
};
pub use port_select::PortSelector;
pub use socket::{End, Host, MSS, Reaction, Socket, State};
pub use time_wait::{Inherited, Substate, TimeWait, TsRecent, Verdict, time_wait_expiry};
