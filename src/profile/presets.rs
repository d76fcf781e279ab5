//! NATs that are not a kernel's MASQUERADE, as data: published figures only, each with its source. What is not published
//! is a kernel's default, and stands in `assumed`, which is printed with every result.
//!
//! `docs/models/cloud-nat.md` says what each figure means and what is left out; its table is made from this file.

use crate::model::conntrack::{Collection, ConntrackConfig, State, Timeouts};
use crate::model::nat::{Allocator, NatRules, PortChoice, ReopenedMapping, SnatMode, Tries};
use crate::units::{PortRange, SimDuration};

/// A NAT by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NatPreset {
    /// The scenario's word for it.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Where its figures were read.
    pub sources: &'static [&'static str],
    /// What is not published, and what stands for it.
    pub assumed: &'static str,
    /// With or without SNAT, and whether the source port is kept.
    pub mode: SnatMode,
    /// Its ports.
    pub ports: Option<PortRange>,
    /// Search, limits and the rest.
    pub rules: NatRules,
    /// How long its entries live.
    pub holds: Holds,
    /// Entries that its table takes.
    pub entries: u32,
    /// The table is an eBPF map: no windows, any RST is believed, and a full map evicts what was used least recently.
    pub ebpf: bool,
}

/// Timeouts by state, in seconds. conntrack's states stand for the NAT's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holds {
    /// SYN_SENT, SYN_RECV.
    pub half_open: u64,
    /// ESTABLISHED.
    pub established: u64,
    /// FIN_WAIT, CLOSE_WAIT: one side has closed.
    pub half_closed: u64,
    /// LAST_ACK: both have.
    pub last_ack: u64,
    /// TIME_WAIT.
    pub closed: u64,
    /// CLOSE: an RST.
    pub reset: u64,
}

const fn ports(first: u16, last: u16) -> Option<PortRange> {
    PortRange::new(first, last)
}

/// No limit that is published.
const UNLIMITED: u32 = u32::MAX;

/// All 64,512.
const ALL_PORTS: Option<PortRange> = ports(1024, 65535);

/// Any free port.
const CLOUD: NatRules = NatRules {
    allocator: Some(Allocator::Uniform),
    reopened: ReopenedMapping::SamePort,
    ..NatRules::NETFILTER
};

/// No source port is kept.
const ANEW: SnatMode = SnatMode::Masquerade(PortChoice::RandomFully);

const AWS: NatPreset = NatPreset {
    name: "aws-nat-gateway",
    about: "AWS NAT gateway, one of up to eight addresses",
    sources: &[
        "docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-basics.html (55,000 connections per unique destination and address, ports 1024-65535)",
        "repost.aws/knowledge-center/vpc-resolve-port-allocation-errors (ErrorPortAllocation)",
        "docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-troubleshooting.html (idle 350 s, then RST)",
    ],
    assumed: "how long a closed or half-open connection holds its port is not published: Linux' timeouts stand for it; so is the choice of the port: uniform",
    mode: ANEW,
    ports: ALL_PORTS,
    rules: NatRules {
        per_destination: Some(55_000),
        ..CLOUD
    },
    holds: Holds {
        half_open: 120,
        established: 350,
        half_closed: 120,
        last_ack: 30,
        closed: 120,
        reset: 10,
    },
    entries: UNLIMITED,
    ebpf: false,
};

const AZURE: NatPreset = NatPreset {
    name: "azure-nat-gateway",
    about: "Azure NAT Gateway, one of up to 16 addresses",
    sources: &[
        "learn.microsoft.com/azure/nat-gateway/nat-gateway-resource (64,512 ports and 50,000 connections per destination and address, 2 million connections in all; port reuse: FIN 65 s, RST 16 s, half open 30 s; idle 4 to 120 min)",
        "learn.microsoft.com/azure/nat-gateway/nat-gateway-snat (the port at random)",
    ],
    assumed: "the 65 s begin with the last packet after both FINs; a half-closed connection counts as idle",
    mode: ANEW,
    ports: ALL_PORTS,
    rules: NatRules {
        per_destination: Some(50_000),
        ..CLOUD
    },
    holds: Holds {
        half_open: 30,
        established: 240,
        half_closed: 240,
        last_ack: 65,
        closed: 65,
        reset: 16,
    },
    entries: 2_000_000,
    ebpf: false,
};

const GCP: NatPreset = NatPreset {
    name: "gcp-cloud-nat",
    about: "Google Cloud NAT, static allocation of 64 ports per VM, one address",
    sources: &[
        "cloud.google.com/nat/docs/ports-and-addresses (64,512 ports per address, 64 per VM at least, OUT_OF_RESOURCES)",
        "cloud.google.com/nat/docs/tune-nat-configuration (established idle 1200 s, transitory idle 30 s, TIME_WAIT 120 s; from 30 September 2026 on 30 s for new gateways, announced on 31 March 2026)",
    ],
    assumed: "a reset connection is held as long as a closed one; the choice inside a VM's ports: uniform; TIME_WAIT is that of gateways made before the default fell to 30 s",
    mode: ANEW,
    ports: ALL_PORTS,
    rules: NatRules {
        per_source: Some(64),
        ..CLOUD
    },
    holds: Holds {
        half_open: 30,
        established: 1200,
        half_closed: 30,
        last_ack: 30,
        closed: 120,
        reset: 120,
    },
    entries: UNLIMITED,
    ebpf: false,
};

const CILIUM: NatPreset = NatPreset {
    name: "cilium",
    about: "Cilium's eBPF NodePort with SNAT",
    sources: &[
        "cilium bpf/lib/nat.h snat_v4_new_mapping(): the source port if it is in the range, a random one, then upward; 32 tests since change 37389, 128 before",
        "cilium bpf/lib/conntrack.h __ct_lookup(): both FINs or an RST close, a SYN reopens the entry with its mapping",
        "cilium pkg/option/config.go: regular-tcp 8000 s, -syn 60 s, -fin 10 s; 524,288 entries; NodePort SNAT from 32768 on",
        "cilium pkg/maps/ctmap GetInterval(), pkg/defaults: the scan's interval falls to 10 s where much is deleted",
    ],
    assumed: "the scan comes every 10 s, as it does after some minutes of short connections (it starts with 5 min)",
    mode: SnatMode::Masquerade(PortChoice::Keep),
    ports: ports(32768, 65535),
    rules: NatRules {
        allocator: Some(Allocator::Tries(Tries {
            tests: 32,
            upward: true,
            keeps_outside: false,
        })),
        reopened: ReopenedMapping::SamePort,
        scan_interval: Some(SimDuration::from_secs(10)),
        ..NatRules::NETFILTER
    },
    holds: Holds {
        half_open: 60,
        established: 8000,
        half_closed: 8000,
        last_ack: 10,
        closed: 10,
        reset: 10,
    },
    entries: 524_288,
    ebpf: true,
};

const CALICO: NatPreset = NatPreset {
    name: "calico-ebpf",
    about: "Calico's eBPF NodePort, which keeps the client's address",
    sources: &[
        "calico felix/bpf-gpl/conntrack.h calico_ct_v4_create_tracking(): on a clash three random ports of 20000-29999; tcp_recycled(): a SYN begins a closed tuple anew",
        "calico felix/bpf/conntrack/timeouts/timeouts.go: SYN 20 s, established 1 h, FINs 30 s, RST 40 s, a scan every 10 s",
    ],
    assumed: "one table per node: a clash of two nodes at the pod's own node is not seen",
    mode: SnatMode::None,
    ports: ports(20000, 29999),
    rules: NatRules {
        allocator: Some(Allocator::Tries(Tries {
            tests: 4,
            upward: false,
            keeps_outside: true,
        })),
        scan_interval: Some(SimDuration::from_secs(10)),
        ..NatRules::NETFILTER
    },
    holds: Holds {
        half_open: 20,
        established: 3600,
        half_closed: 3600,
        last_ack: 30,
        closed: 30,
        reset: 40,
    },
    entries: 512_000,
    ebpf: true,
};

impl NatPreset {
    /// All of them.
    pub const ALL: [Self; 5] = [AWS, AZURE, GCP, CILIUM, CALICO];

    /// The connection table of a node becomes that of this NAT; its sysctls come on top.
    pub fn apply(&self, conntrack: &mut ConntrackConfig) {
        let holds = &self.holds;
        let seconds = |state| {
            SimDuration::from_secs(match state {
                State::None => 0,
                State::SynSent | State::SynRecv | State::SynSent2 => holds.half_open,
                State::Established => holds.established,
                State::FinWait | State::CloseWait => holds.half_closed,
                State::LastAck => holds.last_ack,
                State::TimeWait => holds.closed,
                State::Close => holds.reset,
            })
        };
        // netfilter's two upper limits are its own.
        let none = SimDuration::from_secs(holds.established.max(holds.half_closed));
        conntrack.timeouts = Timeouts {
            by_state: State::ALL.map(seconds),
            max_retrans: none,
            unacknowledged: none,
        };
        conntrack.max_entries = self.entries;
        conntrack.syn_repeat_refreshes = true;
        // A packet that belongs to nothing is answered by an RST, or dropped.
        conntrack.loose = false;
        conntrack.chain_limit = None;
        // Nothing dead is left over for a worker.
        conntrack.collection = Collection::Timers;
        if self.ebpf {
            conntrack.be_liberal = true;
            conntrack.rst_in_closing_believed = true;
        }
    }
}

#[cfg(test)]
#[path = "preset_tests.rs"]
mod tests;
