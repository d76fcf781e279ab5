//! Which source port connect() takes (`__inet_hash_connect()`, `net/ipv4/inet_hashtables.c`).
//!
//! Ports of the range's lower parity, even ones by default, are tried first, the others only when none of them is
//! free. The eras differ in where the walk starts and how it goes on (measured: `p_ports_*` on 4.19.108, 5.10.223
//! and 6.18.44, the same with and without `IP_BIND_ADDRESS_NO_PORT`). bind() to port 0 goes another way
//! (`inet_csk_find_open_port()`) and is not modelled.

use std::net::Ipv4Addr;

use super::PortSelection;
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
    secret: u64,
    /// The older walk's counter, shared by all destinations.
    hint: u32,
    /// The newer walk's perturbation table; empty for other selections.
    table: Vec<u32>,
    /// How far into a period of [`REKEY`] the host is when the run starts: hosts do not boot together.
    rekey_phase: SimDuration,
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
            secret,
            hint: mix64(secret) as u32,
            table,
            rekey_phase,
        }
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
        let period = (now + self.rekey_phase).as_nanos() / REKEY.as_nanos();
        let words = [u64::from(source.to_bits()), destination.to_u64(), period];
        match self.selection {
            PortSelection::Random => {
                let start = ((u128::from(random) * u128::from(self.range.count())) >> 64) as u32;
                (0..self.range.count())
                    .map(|i| self.range.nth(start + i))
                    .find(|&port| !is_used(port))
            }
            PortSelection::Sequential => {
                let start = self
                    .hint
                    .wrapping_add(keyed_hash(self.secret, &words[..2]) as u32);
                let (port, scanned) = self.walk(start, is_used)?;
                self.hint = self.hint.wrapping_add(scanned + 2);
                Some(port)
            }
            PortSelection::Perturbed => {
                let hash = keyed_hash(self.secret, &words);
                let slot = hash as usize & (TABLE_SLOTS - 1);
                let start = self.table[slot].wrapping_add((hash >> 32) as u32);
                let (port, scanned) = self.walk(start, is_used)?;
                // A random even number below 16 hides the number of ports skipped.
                let noise = (random >> 61) as u32 * 2;
                self.table[slot] = self.table[slot].wrapping_add(scanned.max(noise) + 2);
                Some(port)
            }
        }
    }

    /// First free port from `start` on, in steps of two, then the other parity; also how far it lies from the start of
    /// its pass.
    fn walk(&self, start: u32, is_used: impl Fn(u16) -> bool) -> Option<(u16, u32)> {
        let count = self.range.count();
        // An odd number of ports leaves one out of the circle, but which one depends on the start, as in the kernel.
        let span = if count > 1 { count & !1 } else { 1 };
        let offset = (start % span) & !1;
        for parity in 0..=u32::from(count > 1) {
            let mut port = u32::from(self.range.first()) + offset + parity;
            for scanned in (0..span).step_by(2) {
                if port > u32::from(self.range.last()) {
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
    fn random_choice_finds_the_only_free_port() {
        let mut selector = PortSelector::new(PortSelection::Random, SMALL, 1);
        for free in SMALL.first()..=SMALL.last() {
            let port = selector.take(SRC, DST, SimTime::ZERO, mix64(u64::from(free)), |p| p != free);
            assert_eq!(port, Some(free));
        }
    }
}
