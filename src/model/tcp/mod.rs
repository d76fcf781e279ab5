//! TCP as the Linux kernel does it, as far as the incident family depends on it.

mod clock;
mod config;
mod port_select;
mod socket;
mod stack;
mod time_wait;

pub use clock::HostClock;
pub use config::{
    CallerReaction, PortSelection, ReservedPorts, SegmentRules, SynCookies, SynRetry, TcpConfig,
    TimeWaitStack, TimeWaitTimer, TimestampMode, TimestampOffset, TwReuse, TwReuseAge,
};
pub use port_select::PortSelector;
pub use socket::{
    End, Gate, Host, How, Linger2, MSS, Reaction, Read, Socket, SocketError, SocketOptions, State,
};
pub use stack::{
    Concerned, Counters, Ended, ListedState, ListenOptions, ListenerId, Outcome, Owner, Sock, Stack, Tw,
};
pub use time_wait::{Inherited, Substate, TimeWait, TsRecent, Verdict, time_wait_expiry};
