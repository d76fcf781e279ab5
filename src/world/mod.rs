//! Binds the models to the engine. (to be written)

use crate::observe::{Observations, RecordOptions, latency_histogram};
use crate::spec::Plan;
use crate::units::SimDuration;

/// Simulates one replication of a plan.
///
/// `progress` is called about once per simulated second with the simulated time reached; it must not affect results.
/// It returns `false` to stop the run early: what is finished is kept.
pub fn simulate(
    _plan: &Plan,
    replication: u32,
    _options: RecordOptions,
    _progress: &(dyn Fn(SimDuration) -> bool + Sync),
) -> Observations {
    Observations {
        replication,
        simulated: SimDuration::ZERO,
        events: 0,
        seconds: Vec::new(),
        requests_in_flight: 0,
        connects_in_flight: 0,
        connect_latency: latency_histogram(),
        request_latency: latency_histogram(),
        attempts: Vec::new(),
        attempts_left_out: 0,
        requests: Vec::new(),
        requests_left_out: 0,
        reuse_gap: Vec::new(),
    }
}
