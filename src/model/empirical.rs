//! What was measured, drawn again: a list of values, each with its weight.

use std::fmt;
use std::sync::Arc;

use crate::engine::keyed_hash;

/// Values in whole units (nanoseconds, octets) with their weights. Shared, for a plan is cloned now and then.
#[derive(Clone, PartialEq)]
pub struct Empirical(Arc<List>);

#[derive(PartialEq)]
struct List {
    values: Vec<u64>,
    /// Sum of the weights up to and with each value; `None`: all weigh the same.
    up_to: Option<Vec<f64>>,
    mean: f64,
    /// Stands for the content where a plan is written out.
    fingerprint: u64,
}

impl Empirical {
    /// Of values and their weights; `None` if there is no value, a weight is negative or not finite, or all are zero.
    pub fn new(rows: &[(u64, f64)]) -> Option<Self> {
        if rows
            .iter()
            .any(|(_, weight)| !weight.is_finite() || *weight < 0.0)
        {
            return None;
        }
        let mut total = 0.0;
        let mut weighed = 0.0;
        let mut up_to = Vec::with_capacity(rows.len());
        for &(value, weight) in rows {
            total += weight;
            weighed += weight * value as f64;
            up_to.push(total);
        }
        if !(total > 0.0 && total.is_finite()) {
            return None;
        }
        let values: Vec<u64> = rows.iter().map(|(value, _)| *value).collect();
        let alike = rows.iter().all(|(_, weight)| *weight == rows[0].1);
        let mut fingerprint = keyed_hash(0, &values);
        if !alike {
            let weights: Vec<u64> = rows.iter().map(|(_, weight)| weight.to_bits()).collect();
            fingerprint = keyed_hash(fingerprint, &weights);
        }
        Some(Self(Arc::new(List {
            values,
            up_to: (!alike).then_some(up_to),
            mean: weighed / total,
            fingerprint,
        })))
    }

    /// The value that 64 random bits choose.
    pub fn pick(&self, bits: u64) -> u64 {
        let List { values, up_to, .. } = &*self.0;
        let place = match up_to {
            None => ((u128::from(bits) * values.len() as u128) >> 64) as usize,
            Some(up_to) => {
                let total = up_to.last().copied().unwrap_or(0.0);
                let wanted = (bits >> 11) as f64 / (1u64 << 53) as f64 * total;
                up_to.partition_point(|&sum| sum <= wanted)
            }
        };
        values[place.min(values.len() - 1)]
    }

    /// Mean of the values by their weights.
    pub fn mean(&self) -> f64 {
        self.0.mean
    }

    /// The values, in their order.
    pub fn values(&self) -> &[u64] {
        &self.0.values
    }
}

/// Short, for a plan is written out to be hashed, and lists may be long.
impl fmt::Debug for Empirical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let List {
            values, fingerprint, ..
        } = &*self.0;
        write!(f, "Empirical({} values, {fingerprint:016x})", values.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::SplitMix64;
    use rand::Rng;

    #[test]
    fn values_come_as_often_as_they_weigh_and_never_without_weight() {
        let list = Empirical::new(&[(1, 0.0), (2, 1.0), (3, 3.0), (4, 0.0)]).unwrap();
        let mut rng = SplitMix64(7);
        let mut seen = [0u32; 5];
        for _ in 0..40_000 {
            seen[list.pick(rng.next_u64()) as usize] += 1;
        }
        assert_eq!((seen[1], seen[4]), (0, 0), "no weight, no draw");
        assert!((9_700..10_300).contains(&seen[2]), "{seen:?}");
        assert_eq!(list.mean(), 2.75);
        assert_eq!((list.pick(0), list.pick(u64::MAX)), (2, 3));
    }

    #[test]
    fn equal_weights_are_no_weights() {
        let plain = Empirical::new(&[(5, 1.0), (9, 1.0)]).unwrap();
        assert_eq!(plain, Empirical::new(&[(5, 1.0), (9, 1.0)]).unwrap());
        assert_eq!((plain.pick(0), plain.pick(u64::MAX), plain.mean()), (5, 9, 7.0));
        let other = Empirical::new(&[(5, 1.0), (9, 2.0)]).unwrap();
        assert_ne!(
            format!("{plain:?}"),
            format!("{other:?}"),
            "the content is told apart"
        );
    }

    #[test]
    fn what_cannot_be_drawn_from_is_no_list() {
        for rows in [
            &[][..],
            &[(1, 0.0)],
            &[(1, -1.0), (2, 3.0)],
            &[(1, f64::NAN)],
            &[(1, f64::MAX), (2, f64::MAX)],
        ] {
            assert!(Empirical::new(rows).is_none(), "{rows:?}");
        }
    }
}
