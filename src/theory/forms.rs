//! The formulas one by one. Each states its symbols; `tests` compares them with measured rows of real kernels.

use super::Inputs;
use super::renewal::Reopening;

/// h for a hold Tc shorter than the pod's memory Tp, random ports, far from exhaustion, where a refusal kills the
/// TIME_WAIT that it met (the caller's RST, `tcp_rfc1337` = 0).
///
/// `pressure` is A (Tp - Tc) / (N - B): the mean number of picks of an idle port within the window.
pub fn short_hold_killing(pressure: f64, refused: f64) -> f64 {
    let a = -(-pressure).exp_m1();
    a / (1.0 + refused * a)
}

/// h as [`short_hold_killing`], but a refusal leaves the TIME_WAIT and its timer alone (`tcp_rfc1337` = 1, or the RST is
/// lost behind the node, and the refusal was by sequence number).
pub fn short_hold_keeping(pressure: f64, refused: f64) -> f64 {
    let accepted = 1.0 - refused;
    let expected = if accepted > 1e-9 {
        -(-accepted * pressure).exp_m1() / accepted
    } else {
        pressure
    };
    expected / (1.0 + refused * expected)
}

/// A measured or assumed load of a short-hold path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShortHold {
    /// A: attempts per second.
    pub attempts: f64,
    /// S: successes per second.
    pub successes: f64,
    /// R: refusals per second.
    pub refusals: f64,
    /// N: ports.
    pub ports: f64,
    /// Tc.
    pub hold: f64,
    /// Tp, mean.
    pub memory: f64,
    /// q.
    pub refused: f64,
    /// Whether a refusal kills the TIME_WAIT.
    pub kills: bool,
}

/// Seconds that conntrack holds the entry of a refused attempt at most: the caller's RST puts it into CLOSE
/// (`nf_conntrack_tcp_timeout_close`). If the caller sends its SYN again from the same tuple, that SYN deletes the entry
/// and frees the port at once; only where the caller gave up do the 10 s pass.
pub const CLOSE_HOLD: f64 = 10.0;

/// h of a short-hold path averaged over `duration` seconds from a cold start: the window grows with time until the
/// pod's memory is full, and so do the busy ports.
pub fn short_hold_from_cold(load: &ShortHold, duration: f64) -> f64 {
    let steps = 2_000;
    let sum: f64 = (0..steps)
        .map(|i| {
            let t = duration * (f64::from(i) + 0.5) / f64::from(steps);
            let window = (t.min(load.memory) - load.hold).max(0.0);
            let busy = load.successes * load.hold.min(t) + load.refusals * CLOSE_HOLD.min(t);
            let pressure = load.attempts * window / (load.ports - busy).max(1.0);
            if load.kills {
                short_hold_killing(pressure, load.refused)
            } else {
                short_hold_keeping(pressure, load.refused)
            }
        })
        .sum();
    sum / f64::from(steps)
}

/// The stationary fixed point of h for `fresh` connects per second: A = L / (1 - q h), S = L, R = A q h, with the ports
/// of refused attempts held for `close_hold` seconds. `None` if the busy ports reach N.
pub fn short_hold_fixed_point(
    fresh: f64,
    ports: f64,
    (hold, close_hold): (f64, f64),
    memory: f64,
    refused: f64,
    kills: bool,
) -> Option<f64> {
    let mut h = 0.0;
    for _ in 0..60 {
        let attempts = fresh / (1.0 - refused * h);
        let busy = fresh * hold + attempts * refused * h * close_hold;
        if busy >= ports {
            return None;
        }
        let pressure = attempts * (memory - hold).max(0.0) / (ports - busy);
        let next = if kills {
            short_hold_killing(pressure, refused)
        } else {
            short_hold_keeping(pressure, refused)
        };
        h = f64::midpoint(h, next);
    }
    Some(h)
}

/// O: orphans after `t` seconds, ports freed early by a reopening that the pod still remembers, if the SLB draws at
/// random among `tuples`. M counts the tuples that are really used: addresses x even ports for a Linux `connect()`.
pub fn orphans(fresh: f64, tuples: f64, memory: f64, t: f64) -> f64 {
    let tau = t.min(memory);
    let rate = fresh / tuples;
    fresh * (tau + (-rate * tau).exp_m1() / rate)
}

/// B: ports busy in conntrack after `t` seconds under stock timers, if the SLB draws at random among `tuples`.
pub fn busy_by_tuples(fresh: f64, tuples: f64, hold: f64, t: f64) -> f64 {
    -tuples * (-t.min(hold) * fresh / tuples).exp_m1()
}

/// h under stock timers after `t` seconds: O / (N - B).
pub fn reopening(fresh: f64, tuples: f64, ports: f64, memory: f64, t: f64) -> f64 {
    orphans(fresh, tuples, memory, t) / (ports - busy_by_tuples(fresh, tuples, 120.0, t)).max(1.0)
}

/// The linear form of [`reopening`] in the steady state, `1800 L^2 / (M (N - 120 L))`: quadratic in load, inverse in
/// tuples. `None` unless Tp L / M < 0.3.
pub fn reopening_linear(fresh: f64, tuples: f64, ports: f64) -> Option<f64> {
    let free = ports - 120.0 * fresh;
    (60.0 * fresh / tuples < 0.3 && free > 0.0).then(|| 1_800.0 * fresh * fresh / (tuples * free))
}

/// Connects per second of one SLB host below which a sequential walk over its source ports reopens nothing within the
/// pod's memory: 231/s for 32768-60999, 529/s for 1024-65535 on Linux, which walks the even ports first
/// (`__inet_hash_connect()`, measured on 4.19.108). A re-keyed walk (5.10.185 and later) has no threshold.
pub fn sequential_threshold(even_ports: f64, memory: f64) -> f64 {
    even_ports / memory
}

/// h with a stray RST after a `share` of the closes, steady state: the hold of those flows is `stray_hold` instead of
/// `hold`. An idle port is remembered if its last use was such a flow within the window W = Tp - `stray_hold`:
/// `share (1 - exp(-mu W))` with mu = L / (N - B). The pooled form `1 - exp(-share mu W)` is the same at a share of 1 and
/// in the limit of few picks, and too high between, since it forgets that picks use orphans up.
pub fn stray_rst(fresh: f64, share: f64, ports: f64, hold: f64, stray_hold: f64, memory: f64) -> f64 {
    let busy = fresh * (hold * (1.0 - share) + stray_hold * share);
    let picks = fresh / (ports - busy).max(1.0);
    -share * (-picks * (memory - stray_hold).max(0.0)).exp_m1()
}

/// h without SNAT, averaged over the counted time: the SLB reopens its own tuple while the pod remembers it. All of
/// these hits are accepted.
pub fn same_tuple(inputs: &Inputs) -> f64 {
    let memory = f64::midpoint(inputs.memory.0, inputs.memory.1);
    let steps = 1_000;
    let sum: f64 = (0..steps)
        .map(|i| {
            let t = inputs.from + (inputs.until - inputs.from) * (f64::from(i) + 0.5) / f64::from(steps);
            match inputs.reopening {
                Reopening::Never => 0.0,
                Reopening::Random { tuples, connects } | Reopening::Rekeyed { tuples, connects, .. } => {
                    -(-connects * t.min(memory) / tuples).exp_m1()
                }
                // The first return within the memory; later ones are rarer by the chance of the earlier.
                Reopening::Walk { period, chance } => {
                    let returns = (t.min(memory) / period).floor();
                    1.0 - (1.0 - chance).powf(returns)
                }
            }
        })
        .sum();
    inputs.same_pod * sum / f64::from(steps)
}

/// Connects per second at which `ports` run out: L Tc = N. 64,512 ports and 120 s give 537 per (node, pod endpoint).
pub fn ceiling(ports: f64, hold: f64) -> f64 {
    ports / hold
}

/// The textbook's "birthday" figure per connection: each connection draws one of `ports` at random, whatever conntrack
/// still holds, and fails if any of the connections of the last 60 s drew the same one. `1 - exp(-60 L / N)`.
///
/// It is wrong three times: conntrack never hands out a port that it still holds (120 s, longer than the pod's memory),
/// half of the hits are accepted by the pod, and a refused SYN is sent again.
pub fn naive_birthday(fresh: f64, ports: f64) -> f64 {
    -(-60.0 * fresh / ports).exp_m1()
}
