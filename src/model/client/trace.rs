//! Arrivals at times that are written down.

use std::fmt;
use std::sync::Arc;

use crate::engine::keyed_hash;
use crate::units::{SimDuration, SimTime};

/// Times in their order. Shared, for a plan is cloned now and then.
#[derive(Clone, PartialEq, Eq)]
pub struct Trace {
    /// Nanoseconds since the start.
    times: Arc<[u64]>,
    /// Stands for the content where a plan is written out.
    fingerprint: u64,
}

impl Trace {
    /// Of nanoseconds since the start; `None` if they are not in order.
    pub fn new(times: Vec<u64>) -> Option<Self> {
        times.is_sorted().then(|| Self {
            fingerprint: keyed_hash(0, &times),
            times: times.into(),
        })
    }

    /// Arrival number `index`.
    pub fn get(&self, index: u64) -> Option<SimTime> {
        let nanos = self.times.get(usize::try_from(index).ok()?)?;
        Some(SimTime::from_nanos(*nanos))
    }

    /// How many arrivals there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// How many arrivals lie within this time from the start.
    pub fn count_within(&self, length: SimDuration) -> usize {
        self.times.partition_point(|&nanos| nanos <= length.as_nanos())
    }
}

/// Short, for a plan is written out to be hashed, and traces are long.
impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Trace({} arrivals, {:016x})",
            self.times.len(),
            self.fingerprint
        )
    }
}
