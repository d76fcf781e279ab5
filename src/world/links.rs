//! Links: what a packet meets between two hosts. Packets that one host sends into one link never overtake each other.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::request::unit;
use crate::engine::LaneId;
use crate::model::link::{Line, LinkConfig};
use crate::topology::HostId;
use crate::units::SimTime;

/// A host's end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its place among all.
    pub place: u32,
    /// The lane of a link that has a constant delay and loses nothing: its packets need nothing else of it.
    pub plain: Option<LaneId>,
}

/// A host's links of one kind: one that leads to most hosts, and others to hosts that have a link of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    usual: Link,
    /// In order of their hosts.
    own: Vec<(HostId, Link)>,
}

impl Links {
    /// `own` in order of its hosts.
    pub const fn new(usual: Link, own: Vec<(HostId, Link)>) -> Self {
        Self { usual, own }
    }

    /// The link that leads to a host.
    #[inline]
    pub fn to(&self, host: HostId) -> Link {
        if self.own.is_empty() {
            return self.usual;
        }
        let found = self.own.binary_search_by_key(&host, |own| own.0);
        found.map_or(self.usual, |place| self.own[place].1)
    }
}

/// Where a packet goes next: over which link, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The sender's end of the link.
    pub link: Link,
    /// The host at the other end.
    pub to: HostId,
}

/// What becomes of a packet on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It arrives then.
    At(SimTime),
    /// It is lost.
    Lost,
    /// The queue in front of the link has no room for it.
    Overflow,
}

/// One host's end of a link, in sending direction.
#[derive(Debug)]
pub struct Uplink {
    config: LinkConfig,
    last_arrival: SimTime,
    stream: ChaCha8Rng,
    /// The next packet finds a burst of losses.
    in_burst: bool,
    line: Option<Line>,
}

impl Uplink {
    /// A link whose randomness is `stream`.
    pub const fn new(config: LinkConfig, stream: ChaCha8Rng) -> Self {
        Self {
            line: match config.line {
                Some(line) => Some(Line::new(line)),
                None => None,
            },
            config,
            last_arrival: SimTime::ZERO,
            stream,
            in_burst: false,
        }
    }

    /// What becomes of a packet of so many octets sent now. What is lost is lost on the way: it has taken its time on the
    /// line.
    #[inline(never)]
    pub fn send(&mut self, octets: u32, now: SimTime) -> Passage {
        let sent = match &mut self.line {
            None => now,
            Some(line) => match line.accept(octets, now) {
                Some(sent) => sent,
                None => return Passage::Overflow,
            },
        };
        if self.loses() {
            return Passage::Lost;
        }
        let arrival = (sent + self.config.draw_delay(&mut self.stream)).max(self.last_arrival);
        self.last_arrival = arrival;
        Passage::At(arrival)
    }

    fn loses(&mut self) -> bool {
        let Some(burst) = self.config.burst else {
            return self.config.loss > 0.0 && unit(self.stream.next_u64()) < self.config.loss;
        };
        let (loss, change) = (unit(self.stream.next_u64()), unit(self.stream.next_u64()));
        let (lost, in_burst) = burst.step(self.in_burst, self.config.loss, loss, change);
        self.in_burst = in_burst;
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::distribution::Distribution;
    use crate::model::link::{LineConfig, QueueLimit};
    use crate::units::{Bandwidth, SimDuration};
    use rand::SeedableRng;

    fn uplink(config: LinkConfig) -> Uplink {
        Uplink::new(config, ChaCha8Rng::seed_from_u64(7))
    }

    fn millis(n: u64) -> SimDuration {
        SimDuration::from_millis(n)
    }

    #[test]
    fn jitter_is_added_to_the_delay_and_none_overtakes_another() {
        let mut link = uplink(LinkConfig {
            jitter: Distribution::Uniform {
                min: SimDuration::ZERO,
                max: millis(2),
            },
            ..LinkConfig::constant(millis(10))
        });
        let (mut last, mut sum, mut held) = (SimTime::ZERO, 0.0, 0);
        let packets = 10_000;
        for number in 0..packets {
            // So far apart that only jitter could make one overtake another.
            let now = SimTime::from_nanos(number * 1_500_000);
            let Passage::At(arrival) = link.send(84, now) else {
                panic!("nothing is lost");
            };
            let took = arrival.since(now);
            assert!(
                arrival >= last && took >= millis(10) && took <= millis(12),
                "{took}"
            );
            held += u32::from(arrival == last);
            sum += took.as_secs_f64();
            last = arrival;
        }
        // A packet waits for the one before if that drew 1.5 ms more: 1 in 32.
        assert!(
            (250..380).contains(&held),
            "{held} of {packets} waited for the one before"
        );
        let mean = sum / packets as f64 * 1e3;
        assert!((10.98..11.06).contains(&mean), "{mean} ms");
    }

    #[test]
    fn what_is_lost_on_the_way_took_its_time_on_the_line_and_what_finds_no_room_did_not() {
        let line = LineConfig {
            bandwidth: Bandwidth::bits_per_second(1_000_000).expect("not zero"),
            queue: Some(QueueLimit::Packets(1)),
        };
        let mut lossy = uplink(LinkConfig {
            loss: 1.0,
            line: Some(line),
            ..LinkConfig::constant(SimDuration::ZERO)
        });
        let passages: Vec<_> = (0..4).map(|_| lossy.send(84, SimTime::ZERO)).collect();
        let (lost, full) = (Passage::Lost, Passage::Overflow);
        assert_eq!(passages, [lost, lost, full, full]);
    }

    #[test]
    fn a_link_of_its_own_leads_to_its_host_only() {
        let of = |place| Link { place, plain: None };
        let host = |n| HostId::new(crate::topology::Role::Pod, n);
        let links = Links::new(of(0), vec![(host(2), of(1)), (host(5), of(2))]);
        let found: Vec<_> = (0..7).map(|n| links.to(host(n)).place).collect();
        assert_eq!(found, [0, 0, 1, 0, 0, 2, 0]);
    }
}
