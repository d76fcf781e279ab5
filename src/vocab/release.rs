//! Release paths: why the node could hand out a SNAT port that the pod still remembered.
//!
//! Named by what removed the conntrack entry that last held the port. `docs/models/release-paths.md` says which are
//! modelled.

/// One of the twenty-two mechanisms; the number is the one of the model documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReleasePath(u8);

impl ReleasePath {
    /// How many there are.
    pub const COUNT: usize = 22;
    /// The same SLB tuple reopened and kept its port; also every reuse on paths without SNAT.
    pub const SAME_TUPLE_SAME_PORT: Self = Self(1);
    /// The old tuple was reopened by the SLB and drew another port: the old one is an orphan.
    pub const ORPHAN_BY_REOPEN: Self = Self(2);
    /// The old tuple was reopened and went to another pod.
    pub const ORPHAN_OTHER_POD: Self = Self(3);
    /// conntrack's TIME_WAIT timer, set below the pod's 60 s.
    pub const SHORT_CONNTRACK_TIME_WAIT: Self = Self(4);
    /// The timer of another conntrack state ran out.
    pub const OTHER_STATE_TIMER: Self = Self(5);
    /// A full conntrack table: early drop, or gc under pressure.
    pub const CONNTRACK_PRESSURE: Self = Self(6);
    /// An RST that conntrack believed turned the entry into CLOSE.
    pub const CONNTRACK_CLOSE: Self = Self(7);
    /// The pod held the tuple in FIN_WAIT2.
    pub const FIN_WAIT2: Self = Self(8);
    /// Refused SYNs or late segments re-armed the pod's TIME_WAIT beyond conntrack's hold.
    pub const POD_REARMED: Self = Self(9);
    /// The port search evicted the closing entry.
    pub const EVICTION: Self = Self(10);
    /// A one-port range was taken unchecked.
    pub const RANGE_EXHAUSTED: Self = Self(11);
    /// ipvs expired its entry and took the conntrack entry along.
    pub const IPVS_EXPIRY: Self = Self(12);
    /// The pod's memory was raised above conntrack's hold (`tcp_tw_timeout`).
    pub const LONG_POD_TIME_WAIT: Self = Self(20);
    /// Equal holds: conntrack's timer ran out within the slack of the pod's timer wheel.
    pub const EQUAL_HOLDS: Self = Self(21);
    /// A stray RST that only ipvs believed.
    pub const STRAY_RST: Self = Self(22);

    /// All of them, M1 first.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=Self::COUNT as u8).map(Self)
    }
    /// Position in a table of [`Self::COUNT`] rows.
    pub const fn index(self) -> usize {
        self.0 as usize - 1
    }
    /// `M1` to `M22`.
    pub fn name(self) -> String {
        format!("M{}", self.0)
    }
    /// What it says, in a few words.
    pub const fn describe(self) -> &'static str {
        match self.0 {
            1 => "same SLB tuple again, same port",
            2 => "old tuple reopened by the SLB, port orphaned",
            3 => "old tuple reopened towards another pod",
            4 => "conntrack TIME_WAIT shorter than the pod's",
            5 => "another conntrack state's timer",
            6 => "conntrack pressure (early drop, gc)",
            7 => "RST turned the conntrack entry into CLOSE",
            8 => "pod in FIN_WAIT2",
            9 => "pod's TIME_WAIT re-armed beyond conntrack's hold",
            10 => "evicted by the port search",
            11 => "one-port range taken unchecked",
            12 => "ipvs expiry took the conntrack entry along",
            13 => "ipvs kept the pod of a reopened tuple",
            14 => "explicit deletion",
            15 => "interface flap",
            16 => "untracked",
            17 => "two nodes behind one address",
            18 => "client on the node itself",
            19 => "split conntrack zones",
            20 => "pod's TIME_WAIT raised above conntrack's hold",
            21 => "equal holds: slack of the timer wheel",
            _ => "stray RST after the close, believed by ipvs only",
        }
    }
}
