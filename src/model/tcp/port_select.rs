//! Which source port a connection gets: from connect() (`__inet_hash_connect()`, `net/ipv4/inet_hashtables.c`) or from
//! bind() to port 0 (`inet_csk_find_open_port()`, `net/ipv4/inet_connection_sock.c`).
//!
//! connect() tries ports of the range's lower parity first, even ones by default, the others only when none of them is
//! free. The eras differ in where the walk starts and how it goes on. bind() does the opposite and starts at random.
//! Measured: `p_ports_*` on 4.19.108, 5.10.223 and 6.18.44; `IP_BIND_ADDRESS_NO_PORT` leaves the choice to connect().

use std::net::Ipv4Addr;

use super::{PortSelection, ReservedPorts};
use crate::engine::{keyed_hash, mix64};
use crate::units::{Endpoint, PortRange, SimDuration, SimTime};

/// Slots of the perturbation table: the kernel's default build option.
const TABLE_SLOTS: usize = 1 << 16;
/// The newer walk's key contains the host's time in units of this (`EPHEMERAL_PORT_SHUFFLE_PERIOD`).
const REKEY: SimDuration = SimDuration::from_secs(10);

/// Sets the phase's draw apart from the table's, whose keys are below 2^16.
const REKEY_PHASE_KEY: u64 = 1 << 32;

/// Source-port state of one host.
#[derive(Debug, Clone)]
pub struct PortSelector {
    selection: PortSelection,
    range: PortRange,
    reserved: ReservedPorts,
    secret: u64,
    /// The older walk's counter, shared by all destinations.
    hint: u32,
    /// The newer walk's perturbation table; empty for other selections.
    table: Vec<u32>,
    /// How far into a period of [`REKEY`] the host is when the run starts: hosts do not boot together.
    rekey_phase: SimDuration,
    /// Connections from elsewhere per connection of this host, on average.
    strangers: u32,
}

impl PortSelector {
    /// A host's selector; `secret` keys its hashes.
    pub fn new(selection: PortSelection, range: PortRange, secret: u64) -> Self {
        let slots = if selection == PortSelection::Perturbed {
            TABLE_SLOTS
        } else {
            0
        };
        // The kernel fills the table at random when it boots.
        let table = (0..slots as u64)
            .map(|slot| mix64(secret ^ slot) as u32)
            .collect();
        let rekey_phase = SimDuration::from_nanos(mix64(secret ^ REKEY_PHASE_KEY) % REKEY.as_nanos());
        Self {
            selection,
            range,
            reserved: ReservedPorts::NONE,
            secret,
            hint: mix64(secret) as u32,
            table,
            rekey_phase,
            strangers: 0,
        }
    }

    /// The same selector on a machine with other callers: the older walk's counter and the newer one's table are the
    /// machine's, whatever the network namespace (both are static in `__inet_hash_connect()`'s file), so that between two
    /// connections of this host there are `strangers` others that move them on, on average. The newer table knows them
    /// only by the same addresses.
    #[must_use]
    pub fn among(self, strangers: u32) -> Self {
        Self { strangers, ..self }
    }

    /// The same selector, which leaves out `reserved` (`ip_local_reserved_ports`).
    #[must_use]
    pub fn without(self, reserved: ReservedPorts) -> Self {
        Self { reserved, ..self }
    }

    /// Takes a port for a connection from `source` to `destination`; `None`: all are in use (EADDRNOTAVAIL).
    /// `random` is a fresh uniform number.
    pub fn take(
        &mut self,
        source: Ipv4Addr,
        destination: Endpoint,
        now: SimTime,
        random: u64,
        is_used: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let is_used = |port| self.reserved.contains(port) || is_used(port);
        let period = (now + self.rekey_phase).as_nanos() / REKEY.as_nanos();
        let words = [u64::from(source.to_bits()), destination.to_u64(), period];
        match self.selection {
            PortSelection::Random => {
                let start = below(random, self.range.count());
                next_free(self.range, start, is_used).map(|(port, _)| port)
            }
            PortSelection::Consecutive => {
                let start = self.start_of_pair(&words[..2]) & !1;
                let (port, scanned) = next_free(self.range, start, is_used)?;
                self.hint = self.hint.wrapping_add((scanned + 2) & !1);
                Some(port)
            }
            PortSelection::Sequential => {
                let start = self.start_of_pair(&words[..2]);
                let (port, scanned) = walk(self.range, start & !1, is_used)?;
                let others = 2 * self.others(random) as u32;
                self.hint = self.hint.wrapping_add(scanned + 2 + others);
                Some(port)
            }
            PortSelection::Perturbed => {
                let hash = keyed_hash(self.secret, &words);
                let slot = hash as usize & (TABLE_SLOTS - 1);
                let start = self.table[slot].wrapping_add((hash >> 32) as u32);
                let (port, scanned) = walk(self.range, start & !1, is_used)?;
                let others: u32 = (1..=self.others(random))
                    .map(|n| noise(mix64(random ^ n)) + 2)
                    .sum();
                self.table[slot] = self.table[slot].wrapping_add(scanned.max(noise(random)) + 2 + others);
                Some(port)
            }
        }
    }

    /// Takes a port for a bind() to port 0: a random one of the other parity than connect() prefers, or the next free
    /// one of it, or one of connect()'s. It belongs to the socket alone, whatever the destination, so `is_used` tells of
    /// any socket of the same source address. `None`: all are in use (EADDRINUSE). `random` is a fresh uniform number.
    ///
    /// The same from 4.19 to 6.18; 3.10 knows no parity and takes the next free port from a random one
    /// (`inet_csk_get_port()`). With `SO_REUSEADDR` the lower half of the range would come first: left out.
    pub fn bind(&self, random: u64, is_used: impl Fn(u16) -> bool) -> Option<u16> {
        let is_used = |port| self.reserved.contains(port) || is_used(port);
        let found = if self.selection == PortSelection::Consecutive {
            next_free(self.range, below(random, self.range.count()), is_used)
        } else {
            walk(self.range, below(random, span_of(self.range)) | 1, is_used)
        };
        found.map(|(port, _)| port)
    }

    /// Connections of others since the last one of this host: geometric, as of callers who take turns at random.
    fn others(&self, random: u64) -> u64 {
        if self.strangers == 0 {
            return 0;
        }
        let strangers = f64::from(self.strangers);
        let uniform = (mix64(random) >> 11) as f64 / (1_u64 << 53) as f64;
        ((1.0 - uniform).ln() / (strangers / (strangers + 1.0)).ln()) as u64
    }

    /// Where the walk of the older eras starts: the shared counter plus a keyed hash of source and destination.
    fn start_of_pair(&self, words: &[u64]) -> u32 {
        self.hint.wrapping_add(keyed_hash(self.secret, words) as u32)
    }
}

/// A random even number below 16, which hides how many ports the newer walk has skipped.
fn noise(random: u64) -> u32 {
    (random >> 61) as u32 * 2
}

/// A uniform number below `limit` out of 64 random bits.
fn below(random: u64, limit: u32) -> u32 {
    ((u128::from(random) * u128::from(limit)) >> 64) as u32
}

/// Ports of the circle that a walk goes round. An odd number of ports leaves one out, but which one depends on the start,
/// as in the kernel.
const fn span_of(range: PortRange) -> u32 {
    let count = range.count();
    if count > 1 { count & !1 } else { 1 }
}

/// First free port from the `start`th of `range` on, whatever its parity; also how many lie before it.
fn next_free(range: PortRange, start: u32, is_used: impl Fn(u16) -> bool) -> Option<(u16, u32)> {
    let nth = |scanned: u32| range.nth(start % range.count() + scanned);
    let scanned = (0..range.count()).find(|&scanned| !is_used(nth(scanned)))?;
    Some((nth(scanned), scanned))
}

/// First free port from the `start`th of `range` on, in steps of two, then those of the other parity; also how far it
/// lies from the start of its pass.
fn walk(range: PortRange, start: u32, is_used: impl Fn(u16) -> bool) -> Option<(u16, u32)> {
    let span = span_of(range);
    let offset = start % span;
    for parity in 0..=u32::from(span > 1) {
        let mut port = u32::from(range.first()) + (offset ^ parity);
        for scanned in (0..span).step_by(2) {
            if port > u32::from(range.last()) {
                port -= span;
            }
            if !is_used(port as u16) {
                return Some((port as u16, scanned));
            }
            port += 2;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustc_hash::FxHashSet;

    const SRC: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 1);
    const DST: Endpoint = Endpoint::new(Ipv4Addr::new(10, 20, 0, 2), 8080);
    const SMALL: PortRange = match PortRange::new(32768, 32867) {
        Some(range) => range,
        None => panic!("in order"),
    };

    #[test]
    fn sequential_walk_steps_by_two_over_even_ports_and_shares_its_counter() {
        let mut selector = PortSelector::new(PortSelection::Sequential, PortRange::LINUX_EPHEMERAL, 7);
        let other = Endpoint::new(DST.ip, 9090);
        let mut take = |to| i32::from(selector.take(SRC, to, SimTime::ZERO, 0, |_| false).unwrap());
        let a = [take(DST), take(DST), take(DST)];
        assert!(a[0] % 2 == 0 && (a[1] - a[0] == 2 || a[1] < a[0]) && (a[2] - a[1] == 2 || a[2] < a[1]));
        // Two destinations in turn: each advances by 4 (measured on 4.19.108).
        let (b1, _, b2) = (take(other), take(DST), take(other));
        assert!(b2 - b1 == 4 || b2 < b1, "{b1} {b2}");
    }

    #[test]
    fn odd_ports_come_only_after_every_even_one() {
        for selection in [PortSelection::Sequential, PortSelection::Perturbed] {
            let mut selector = PortSelector::new(selection, SMALL, 3);
            let mut used = FxHashSet::default();
            for i in 0..100u64 {
                let port = selector
                    .take(SRC, DST, SimTime::ZERO, mix64(i), |p| used.contains(&p))
                    .unwrap();
                assert_eq!(port.is_multiple_of(2), i < 50, "{selection:?}, port {i}");
                assert!(used.insert(port) && SMALL.contains(port));
            }
            assert_eq!(
                selector.take(SRC, DST, SimTime::ZERO, 0, |p| used.contains(&p)),
                None
            );
        }
    }

    #[test]
    fn perturbed_walk_steps_by_2_to_16_and_jumps_every_ten_seconds() {
        let mut selector = PortSelector::new(PortSelection::Perturbed, PortRange::LINUX_EPHEMERAL, 11);
        let mut last = None;
        for i in 0..1000u64 {
            let port = i32::from(
                selector
                    .take(SRC, DST, SimTime::ZERO, mix64(i), |_| false)
                    .unwrap(),
            );
            if let Some(last) = last {
                let step = port - last;
                assert!((2..=16).contains(&step) || step < -20_000, "step {step}");
            }
            last = Some(port);
        }
        let later = SimTime::ZERO + REKEY;
        let jumped = i32::from(selector.take(SRC, DST, later, 0, |_| false).unwrap());
        assert!((jumped - last.unwrap()).abs() > 16, "the key changed");
    }

    #[test]
    fn other_callers_move_the_walks_on_as_often_as_there_are_of_them() {
        // Mean step of a connection: 2 in the older walk, 2 + 7 in the newer one.
        for (selection, step) in [(PortSelection::Sequential, 2.0), (PortSelection::Perturbed, 9.0)] {
            for strangers in [0, 1, 6] {
                let mut selector =
                    PortSelector::new(selection, PortRange::LINUX_EPHEMERAL, 5).among(strangers);
                let mut take = |n| {
                    selector
                        .take(SRC, DST, SimTime::ZERO, mix64(n), |_| false)
                        .unwrap()
                };
                let ports: Vec<i32> = (0..4000).map(|n| i32::from(take(n))).collect();
                let span = PortRange::LINUX_EPHEMERAL.count().cast_signed();
                let steps = ports.windows(2).map(|pair| (pair[1] - pair[0]).rem_euclid(span));
                let mean = f64::from(steps.sum::<i32>()) / 3999.0;
                let expected = step * f64::from(strangers + 1);
                assert!(
                    (mean / expected - 1.0).abs() < 0.1,
                    "{selection:?} {strangers}: {mean}"
                );
            }
        }
    }

    #[test]
    fn random_choice_finds_the_only_free_port() {
        let mut selector = PortSelector::new(PortSelection::Random, SMALL, 1);
        for free in SMALL.first()..=SMALL.last() {
            let port = selector.take(SRC, DST, SimTime::ZERO, mix64(u64::from(free)), |p| p != free);
            assert_eq!(port, Some(free));
        }
    }

    /// Ports of 200 connects, with every 5th port in use: the facts of the page.
    fn ports(selection: PortSelection) -> Vec<u16> {
        let mut selector = PortSelector::new(selection, SMALL, 3);
        let connect = |n: u64| selector.take(SRC, DST, SimTime::ZERO, mix64(n), |port| port % 5 == 0);
        (0..200)
            .map(connect)
            .map(|port| port.expect("most are free"))
            .collect()
    }

    #[test]
    fn only_the_walk_of_3_10_goes_to_an_odd_port_while_an_even_one_is_free() {
        for selection in [PortSelection::Sequential, PortSelection::Perturbed] {
            assert!(ports(selection).iter().all(|port| port % 2 == 0), "{selection:?}");
        }
        let ports = ports(PortSelection::Consecutive);
        let odd = ports.iter().filter(|port| *port % 2 == 1).count();
        // A start in use, one even port in five, is followed by an odd port.
        assert!((30..50).contains(&odd), "{odd} odd ports");
        assert!(ports.iter().all(|port| port % 2 == 0 || port % 5 == 1));
        let mut selector = PortSelector::new(PortSelection::Consecutive, SMALL, 3);
        let mut used = FxHashSet::default();
        for n in 0..100 {
            let port = selector.take(SRC, DST, SimTime::ZERO, n, |port| used.contains(&port));
            assert!(used.insert(port.expect("one is free")));
        }
    }

    #[test]
    fn reserved_ports_are_never_given() {
        let reserved = PortRange::new(32770, 32860).and_then(|range| ReservedPorts::new(&[range]));
        for selection in [
            PortSelection::Consecutive,
            PortSelection::Sequential,
            PortSelection::Perturbed,
            PortSelection::Random,
        ] {
            let mut selector = PortSelector::new(selection, SMALL, 3).without(reserved.unwrap());
            for n in 0..300 {
                let random = mix64(n);
                let at = SimTime::ZERO + SimDuration::from_secs(n);
                for port in [
                    selector.take(SRC, DST, at, random, |_| false),
                    selector.bind(random, |_| false),
                ] {
                    let port = port.expect("nine are free");
                    assert!(SMALL.contains(port) && !(32770..=32860).contains(&port));
                }
            }
        }
    }

    /// The table of the page, from the walks of the code.
    fn table_of_walks() -> String {
        use std::fmt::Write as _;
        let mut table =
            "| selection | ports of one parity first | steps of 200 connects, none in use | with a port in five in use |\n|---|---|---|---|\n"
                .to_owned();
        for (name, selection) in [
            ("consecutive", PortSelection::Consecutive),
            ("sequential", PortSelection::Sequential),
            ("perturbed", PortSelection::Perturbed),
            ("random", PortSelection::Random),
        ] {
            let crowded = ports(selection);
            let mut selector = PortSelector::new(selection, PortRange::LINUX_EPHEMERAL, 3);
            let free: Vec<_> = (0..200)
                .filter_map(|n| selector.take(SRC, DST, SimTime::ZERO, mix64(n), |_| false))
                .collect();
            let steps: Vec<_> = free
                .windows(2)
                .map(|pair| (u32::from(pair[1]) + 28_232 - u32::from(pair[0])) % 28_232)
                .collect();
            let (least, most) = (steps.iter().min().unwrap(), steps.iter().max().unwrap());
            let steps = if least == most {
                format!("always {least}")
            } else {
                format!("{least} to {most}")
            };
            let odd = crowded.iter().filter(|port| *port % 2 == 1).count();
            let even = free.iter().chain(&crowded).all(|port| port % 2 == 0);
            let parity = if even { "yes" } else { "no" };
            writeln!(table, "| `{name}` | {parity} | {steps} | {odd} of 200 odd |").unwrap();
        }
        table
    }

    #[test]
    fn the_page_shows_what_the_walks_do() {
        let page = include_str!("../../../docs/models/port-selection.md");
        let (_, rest) = page
            .split_once("<!-- walks: generated -->\n")
            .expect("where the table begins");
        let (shown, _) = rest.split_once("<!-- end of walks -->").expect("where it ends");
        let table = table_of_walks();
        assert!(
            shown.trim() == table.trim(),
            "docs/models/port-selection.md should show:\n{table}"
        );
    }
}
