//! The seconds of a run, packed: a long run has many, and most of what could be counted in one is nothing.

use integer_encoding::VarInt;

use super::{Counts, Gauges, Second};

/// Octets of a number at most.
const LONGEST: usize = 10;

/// Rows of a run, one per simulated second, some 60 octets each instead of ten times as much.
///
/// A row is a list of (distance to the next field that is not 0, its value), closed by a distance of 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seconds {
    packed: Vec<u8>,
    /// Rows in `packed`.
    rows: usize,
    /// The newest row, which may still grow.
    last: Option<Second>,
}

impl Seconds {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows + usize::from(self.last.is_some())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a row.
    pub fn push(&mut self, second: Second) {
        if let Some(mut before) = self.last.replace(second) {
            self.pack(&mut before);
            self.rows += 1;
        }
    }

    /// The newest row.
    pub fn last_mut(&mut self) -> Option<&mut Second> {
        self.last.as_mut()
    }

    /// All rows, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Second> {
        let mut rest = self.packed.as_slice();
        (0..self.rows).map(move |_| unpack(&mut rest)).chain(self.last)
    }

    fn pack(&mut self, second: &mut Second) {
        let mut buffer = [0; LONGEST];
        let mut put = |number: u64| {
            let octets = number.encode_var(&mut buffer);
            self.packed.extend_from_slice(&buffer[..octets]);
        };
        let mut distance = 0;
        for field in fields(second) {
            distance += 1;
            if *field != 0 {
                put(distance);
                put(*field);
                distance = 0;
            }
        }
        put(0);
    }
}

/// The numbers of a row in a fixed order.
fn fields(second: &mut Second) -> impl Iterator<Item = &mut u64> {
    let Gauges {
        conntrack_entries,
        conntrack_alive,
        ipvs_entries,
        pod_time_wait,
        snat_ports_in_use,
    } = &mut second.gauges;
    let gauges = [
        conntrack_entries,
        conntrack_alive,
        ipvs_entries,
        pod_time_wait,
        snat_ports_in_use,
    ];
    second.counts.fields_mut().chain(gauges)
}

/// Reads a row off the front.
fn unpack(rest: &mut &[u8]) -> Second {
    let mut second = Second {
        counts: Counts::default(),
        gauges: Gauges::default(),
    };
    let mut places = fields(&mut second);
    while let Some(distance) = take(rest).checked_sub(1) {
        let field = places.nth(distance as usize);
        *field.expect("a row has as many fields as when it was packed") = take(rest);
    }
    drop(places);
    second
}

fn take(rest: &mut &[u8]) -> u64 {
    let (number, octets) = u64::decode_var(rest).expect("packed by this very type");
    *rest = &rest[octets..];
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(numbers: &[(usize, u64)]) -> Second {
        let mut second = Second::default();
        for &(place, number) in numbers {
            let count = fields(&mut second).count();
            *fields(&mut second).nth(place % count).unwrap() = number;
        }
        second
    }

    proptest! {
        #[test]
        fn rows_come_out_as_they_went_in(
            rows in prop::collection::vec(prop::collection::vec((any::<usize>(), any::<u64>()), 0..90), 0..8),
        ) {
            let rows: Vec<Second> = rows.iter().map(|numbers| row(numbers)).collect();
            let mut seconds = Seconds::default();
            for &row in &rows {
                seconds.push(row);
            }
            prop_assert_eq!(seconds.len(), rows.len());
            prop_assert_eq!(seconds.last_mut().copied(), rows.last().copied());
            prop_assert_eq!(seconds.iter().collect::<Vec<_>>(), rows);
        }
    }

    #[test]
    fn an_idle_second_takes_two_octets() {
        let mut seconds = Seconds::default();
        for _ in 0..101 {
            seconds.push(row(&[(0, 0)]));
        }
        assert_eq!(seconds.packed.len(), 100);
        seconds.push(row(&[(3, 7)]));
        seconds.push(Second::default());
        assert_eq!(seconds.packed.len(), 101 + 3);
    }
}
