//! A line of some bandwidth and the queue in front of it: first in, first out, and what finds no room is dropped (drop-tail).

use std::collections::VecDeque;

use super::LineConfig;
use crate::units::{SimDuration, SimTime};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// What may wait; the packet that is being sent is not among it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueLimit {
    /// So many packets, as `pfifo` counts them.
    Packets(u32),
    /// So many octets, as `bfifo` counts them.
    Octets(u32),
}

/// A packet that waits.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// When its first bit is sent.
    starts: SimTime,
    octets: u32,
}

/// A line in use.
#[derive(Debug, Clone)]
pub struct Line {
    config: LineConfig,
    waiting: VecDeque<Waiting>,
    waiting_octets: u64,
    /// When the last bit of all that was accepted is sent, rounded down, and what is missing in parts of a nanosecond, the
    /// bandwidth's number of them: so a full line is exactly as fast as it should be.
    free_at: SimTime,
    remainder: u64,
}

impl Line {
    /// An idle line.
    pub const fn new(config: LineConfig) -> Self {
        Self {
            config,
            waiting: VecDeque::new(),
            waiting_octets: 0,
            free_at: SimTime::ZERO,
            remainder: 0,
        }
    }

    /// A packet of so many octets comes. When its last bit has left; `None`: there is no room for it.
    pub fn accept(&mut self, octets: u32, now: SimTime) -> Option<SimTime> {
        while let Some(first) = self.waiting.front().filter(|first| first.starts <= now) {
            self.waiting_octets -= u64::from(first.octets);
            self.waiting.pop_front();
        }
        if self.free_at < now {
            (self.free_at, self.remainder) = (now, 0);
        }
        if self.free_at > now {
            let room = match self.config.queue {
                None => true,
                Some(QueueLimit::Packets(packets)) => (self.waiting.len() as u64) < u64::from(packets),
                Some(QueueLimit::Octets(limit)) => {
                    self.waiting_octets + u64::from(octets) <= u64::from(limit)
                }
            };
            if !room {
                return None;
            }
            self.waiting_octets += u64::from(octets);
            self.waiting.push_back(Waiting {
                starts: self.free_at,
                octets,
            });
        }
        let bandwidth = self.config.bandwidth.as_bits_per_second();
        let parts = u128::from(octets) * 8 * u128::from(NANOS_PER_SECOND) + u128::from(self.remainder);
        let nanos = parts / u128::from(bandwidth);
        self.remainder = (parts % u128::from(bandwidth)) as u64;
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.free_at = SimTime::from_nanos(self.free_at.as_nanos().saturating_add(nanos));
        let rest = SimDuration::from_nanos(u64::from(self.remainder > 0));
        Some(SimTime::from_nanos(
            self.free_at.as_nanos().saturating_add(rest.as_nanos()),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bandwidth;
    use proptest::prelude::*;

    fn line(bits_per_second: u64, queue: Option<QueueLimit>) -> Line {
        let bandwidth = Bandwidth::bits_per_second(bits_per_second).unwrap();
        Line::new(LineConfig { bandwidth, queue })
    }

    /// What becomes of packets that come at these times: when they have left.
    fn left(line: &mut Line, packets: &[(u64, u32)]) -> Vec<Option<u64>> {
        let accept = |&(at, octets): &(u64, u32)| line.accept(octets, SimTime::from_nanos(at));
        let left = packets.iter().map(accept);
        left.map(|time| time.map(SimTime::as_nanos)).collect()
    }

    #[test]
    fn a_packet_leaves_when_its_bits_and_those_before_it_are_sent() {
        // 1 Gbit/s: an octet takes 8 ns.
        let packets = [(0, 1538), (0, 84), (100, 84), (20_000, 84), (20_672, 84)];
        let times = [12_304, 12_976, 13_648, 20_672, 21_344].map(Some);
        assert_eq!(left(&mut line(1_000_000_000, None), &packets), times);
    }

    #[test]
    fn a_full_queue_drops_what_comes_last_and_takes_again_when_one_has_started() {
        // 1 Mbit/s: 84 octets take 672 us. One is sent, two wait, the fourth is dropped; at 672 us the second starts.
        let packets = [(0, 84), (0, 84), (0, 84), (0, 84), (671_999, 84), (672_000, 84)];
        let times = [
            Some(672_000),
            Some(1_344_000),
            Some(2_016_000),
            None,
            None,
            Some(2_688_000),
        ];
        let mut by_packets = line(1_000_000, Some(QueueLimit::Packets(2)));
        assert_eq!(left(&mut by_packets, &packets), times);
        let mut by_octets = line(1_000_000, Some(QueueLimit::Octets(2 * 84)));
        assert_eq!(left(&mut by_octets, &packets), times);
        // One octet less: only one waits.
        let mut tighter = line(1_000_000, Some(QueueLimit::Octets(2 * 84 - 1)));
        assert_eq!(
            left(&mut tighter, &packets[..3]),
            [Some(672_000), Some(1_344_000), None]
        );
    }

    #[test]
    fn without_a_queue_a_busy_line_takes_nothing() {
        let packets = [(0, 84), (1, 84), (672_000, 84)];
        let mut line = line(1_000_000, Some(QueueLimit::Packets(0)));
        assert_eq!(left(&mut line, &packets), [Some(672_000), None, Some(1_344_000)]);
    }

    #[test]
    fn parts_of_a_nanosecond_are_kept() {
        // 100 Gbit/s: 84 octets take 6.72 ns; a hundred of them 672 ns, not 700.
        let mut line = line(100_000_000_000, None);
        let times = left(&mut line, &[(0, 84); 100]);
        assert_eq!((times[0], times[1], times[99]), (Some(7), Some(14), Some(672)));
    }

    proptest! {
        #[test]
        fn a_line_is_never_faster_than_its_bandwidth_and_never_holds_more_than_it_may(
            steps in proptest::collection::vec((0_u64..40_000, 84_u32..1539), 1..200),
            limit in 0_u32..20,
        ) {
            let mut line = line(1_000_000_000, Some(QueueLimit::Packets(limit)));
            let (mut now, mut last, mut octets_sent, mut idle_since) = (0, 0, 0, 0);
            for (gap, octets) in steps {
                now += gap;
                if now >= last {
                    (octets_sent, idle_since) = (0, now);
                }
                let Some(left) = line.accept(octets, SimTime::from_nanos(now)) else { continue };
                octets_sent += u64::from(octets);
                prop_assert_eq!(left.as_nanos(), idle_since + octets_sent * 8);
                last = left.as_nanos();
                prop_assert!(line.waiting.len() as u32 <= limit);
            }
        }
    }
}
