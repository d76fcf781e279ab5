//! The host's own netfilter: connection tracking and the filter table's INPUT and OUTPUT chains.
//!
//! The tracker is the node's ([`crate::model::conntrack`]): a script about conntrack is a test of it. As in the kernel,
//! nothing is tracked until a rule asks for it (`nf_ct_netns_get()`, on registration of the conntrack or state match,
//! 4.13 and later), a packet is tracked before the chain sees it, and a new connection is confirmed behind the chain.

use std::fmt::Write;

use crate::model::conntrack::{ConntrackConfig, Direction, Entry, Table, TrackVerdict, Tracker};
use crate::units::SimTime;
use crate::wire::Packet;

/// A chain of the filter table that a host without forwarding has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    /// Packets to the host.
    Input,
    /// Packets of the host.
    Output,
}

impl Chain {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Input => "INPUT",
            Self::Output => "OUTPUT",
        }
    }
}

/// What the conntrack match sees in a packet (`xt_conntrack`'s `--ctstate`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CtState {
    /// No reply was seen yet.
    New,
    /// Both directions were seen.
    Established,
    /// Not part of any connection.
    Invalid,
    /// Conntrack is off.
    Untracked,
}

impl CtState {
    /// The states and their names.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("NEW", Self::New),
        ("ESTABLISHED", Self::Established),
        ("INVALID", Self::Invalid),
        ("UNTRACKED", Self::Untracked),
    ];
}

/// One condition of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// `--ctstate` or `--state`: any of these.
    State(Vec<CtState>),
    /// `--tcp-flags MASK COMP`, as bits of the header; `--syn` is one of these.
    Flags(u8, u8),
    /// `--sport`.
    SourcePort(u16),
    /// `--dport`.
    DestinationPort(u16),
}

/// A rule with its counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Conditions, all of which must hold.
    pub conditions: Vec<Condition>,
    /// The rule as it was written, without its target.
    pub text: String,
    /// `Some(true)` for `-j ACCEPT`, `Some(false)` for `-j DROP`; `None` only counts.
    pub target: Option<bool>,
    /// Packets and octets that matched.
    pub counters: (u64, u64),
}

/// The host's netfilter.
#[derive(Debug)]
pub struct Netfilter {
    config: ConntrackConfig,
    tracking: bool,
    table: Table,
    chains: [Vec<Rule>; 2],
}

impl Netfilter {
    /// Empty chains, nothing tracked.
    pub fn new(config: ConntrackConfig) -> Self {
        Self {
            config,
            tracking: false,
            table: Table::new(&config),
            chains: [Vec::new(), Vec::new()],
        }
    }

    /// Appends (`-A`) or, `at_front`, inserts (`-I`) a rule.
    pub fn add(&mut self, chain: Chain, rule: Rule, at_front: bool) {
        self.tracking |= rule.conditions.iter().any(|c| matches!(c, Condition::State(_)));
        let rules = &mut self.chains[chain as usize];
        rules.insert(if at_front { 0 } else { rules.len() }, rule);
    }

    /// `-D`: deletes the first rule of the same conditions and target. False: there is none.
    pub fn delete(&mut self, chain: Chain, rule: &Rule) -> bool {
        let rules = &mut self.chains[chain as usize];
        let found = rules
            .iter()
            .position(|other| other.conditions == rule.conditions && other.target == rule.target);
        found.map(|index| rules.remove(index)).is_some()
    }

    /// `-F`: deletes all rules of a chain.
    pub fn flush(&mut self, chain: Chain) {
        self.chains[chain as usize].clear();
    }

    /// What `iptables -S` prints of a chain, with counters if `verbose`.
    pub fn rules(&self, chain: Chain, verbose: bool) -> String {
        let mut text = format!(
            "-P {} ACCEPT{}\n",
            chain.name(),
            if verbose { " -c 0 0" } else { "" }
        );
        for rule in &self.chains[chain as usize] {
            write!(text, "-A {} {}", chain.name(), rule.text).expect("a string takes any text");
            if verbose {
                write!(text, " -c {} {}", rule.counters.0, rule.counters.1).expect("a string takes any text");
            }
            text.push_str(match rule.target {
                Some(true) => " -j ACCEPT\n",
                Some(false) => " -j DROP\n",
                None => "\n",
            });
        }
        text
    }

    /// What `conntrack -L` prints: one line per live entry.
    pub fn connections(&self, now: SimTime) -> Vec<(Entry, String)> {
        let live = self.table.iter().filter(|entry| !entry.is_expired(now));
        live.map(|entry| {
            let tracker = &entry.tracker;
            let tuple = |tuple: crate::units::FourTuple| {
                format!(
                    "src={} dst={} sport={} dport={}",
                    tuple.src.ip, tuple.dst.ip, tuple.src.port, tuple.dst.port
                )
            };
            let line = format!(
                "tcp      6 {} {} {} {}{}{} mark=0 use=1",
                tracker.expires.since(now).as_secs(),
                tracker.state.name(),
                tuple(entry.original),
                if tracker.seen_reply { "" } else { "[UNREPLIED] " },
                tuple(entry.reply),
                if tracker.assured { " [ASSURED]" } else { "" },
            );
            (*entry, line)
        })
        .collect()
    }

    /// `conntrack -F`.
    pub fn forget_connections(&mut self) {
        self.table = Table::new(&self.config);
    }

    /// A packet meets conntrack and a chain. True: it goes on.
    pub fn pass(&mut self, chain: Chain, packet: &Packet, now: SimTime) -> bool {
        let (state, new) = if self.tracking {
            self.track(packet, now)
        } else {
            (CtState::Untracked, None)
        };
        let accepted = self.walk(chain, packet, state);
        if let Some(tracker) = new.filter(|_| accepted) {
            self.table
                .insert(Entry::new(packet.tuple, packet.tuple.reversed(), tracker));
        }
        accepted
    }

    /// `nf_conntrack_in()`: what the packet is, and the tracker of a connection that is still to be confirmed.
    fn track(&mut self, packet: &Packet, now: SimTime) -> (CtState, Option<Tracker>) {
        loop {
            let Some((index, direction)) = self.table.find(&packet.tuple, now, &mut |_, _| {}) else {
                return match Tracker::open(&self.config, packet, now) {
                    Some(tracker) => (CtState::New, Some(tracker)),
                    None => (CtState::Invalid, None),
                };
            };
            let tracker = &mut self.table.get_mut(index).tracker;
            let verdict = tracker.on_packet(&self.config, direction, packet, now);
            let state = if tracker.seen_reply || direction == Direction::Reply {
                CtState::Established
            } else {
                CtState::New
            };
            match verdict {
                TrackVerdict::Accept | TrackVerdict::Ignore => return (state, None),
                TrackVerdict::Invalid => return (CtState::Invalid, None),
                TrackVerdict::AcceptAndDelete => {
                    self.table.remove(index);
                    return (state, None);
                }
                TrackVerdict::Reopen => {
                    self.table.remove(index);
                }
            }
        }
    }

    fn walk(&mut self, chain: Chain, packet: &Packet, state: CtState) -> bool {
        let flags = packet.flags.bits();
        for rule in &mut self.chains[chain as usize] {
            let fits = rule.conditions.iter().all(|condition| match condition {
                Condition::State(states) => states.contains(&state),
                Condition::Flags(mask, wanted) => flags & mask == *wanted,
                Condition::SourcePort(port) => packet.tuple.src.port == *port,
                Condition::DestinationPort(port) => packet.tuple.dst.port == *port,
            });
            if !fits {
                continue;
            }
            rule.counters.0 += 1;
            rule.counters.1 += u64::from(packet.payload_len) + 40;
            if let Some(accepted) = rule.target {
                return accepted;
            }
        }
        true
    }
}
