//! Closed forms over plain numbers: what theory says about a path, at once, to stand beside the simulation.
//!
//! [`forms`] holds the formulas one by one, [`renewal`] solves the same balance second by second from a cold start,
//! [`refusal`] says how often a hit is refused, [`patience`] what the user sees of it. [`predict`] puts them together.
//!
//! Symbols as in the formulas: N SNAT ports per (node, pod endpoint), L fresh connects per second on it, A attempts per
//! second (fresh ones and those that follow a refusal), Tc seconds that conntrack holds a port after close, Tp the
//! pod's TIME_WAIT, q = P(refused | hit), h = P(hit per attempt), p = q h = P(refused per attempt).

pub mod forms;
pub mod patience;
pub mod refusal;
pub mod renewal;

use renewal::{RefusalEffect, Renewal, Reopening, StrayRst};

/// What the closed form needs to know, per (node, pod endpoint).
#[derive(Debug, Clone, PartialEq)]
pub struct Inputs {
    /// L: fresh connects per second.
    pub fresh_rate: f64,
    /// The pod sees the SLB's own tuples: `externalTrafficPolicy: Local`, direct-to-pod. Ports and hold say nothing then.
    pub direct: bool,
    /// Without SNAT: chance that a reopened tuple goes to the pod that it went to before.
    pub same_pod: f64,
    /// N: ports that SNAT draws from.
    pub ports: f64,
    /// Tc: seconds that conntrack holds a port after an orderly close.
    pub hold: f64,
    /// Tp: the shortest and the longest life of the pod's TIME_WAIT, seconds.
    pub memory: (f64, f64),
    /// q: share of the hits that are refused.
    pub refused: f64,
    /// What a refusal does to the TIME_WAIT that it met.
    pub refusal_effect: RefusalEffect,
    /// Seconds from a refusal to the caller's next SYN; `None`: it gives up (the client left).
    pub retry_after: Option<f64>,
    /// How the SLB comes back to its own tuples.
    pub reopening: Reopening,
    /// RSTs that the SLB sends after the close and the node believes.
    pub stray_rst: Option<StrayRst>,
    /// Seconds at which the SLB's SYNs leave after a refusal, and how long the client waits, if that is known.
    pub patience: Option<patience::Patience>,
    /// Figures count from here, seconds after the cold start ...
    pub from: f64,
    /// ... to here.
    pub until: f64,
    /// What makes the form inapplicable, as the caller sees it; empty if nothing does.
    pub obstacles: Vec<String>,
}

/// What the closed form says.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// P(hit) per attempt over the counted time; `None` where the form has no answer.
    pub h: Option<f64>,
    /// P(refused) per attempt.
    pub p: Option<f64>,
    /// P(refused at every SYN before the client's patience ends) per fresh connect: the 499s, roughly.
    pub impatient: Option<f64>,
    /// Largest share of the ports that conntrack holds.
    pub busy_share: Option<f64>,
    /// Connects per second at which the ports run out: N / Tc.
    pub ceiling: f64,
    /// The textbook's figure for the same load; see [`forms::naive_birthday`].
    pub naive_birthday: f64,
    /// Whether the form applies.
    pub valid: bool,
    /// Why it does not.
    pub why_not: Option<String>,
}

/// Above this share of ports in use the probe is no longer a free draw: it runs into neighbours, evicts or drops.
const MAX_BUSY_SHARE: f64 = 0.9;

/// The closed form for `inputs`, averaged over the counted time from a cold start.
pub fn predict(inputs: &Inputs) -> Prediction {
    let mut why_not = inputs.obstacles.clone();
    let ceiling = forms::ceiling(inputs.ports, inputs.hold);
    if inputs.direct && why_not.is_empty() {
        let h = forms::same_tuple(inputs);
        return Prediction {
            h: Some(h),
            // The same tuple from the same host is always newer: accepted (measured, 21,274 of 21,274).
            p: Some(0.0),
            impatient: inputs.patience.map(|_| 0.0),
            busy_share: None,
            ceiling,
            naive_birthday: forms::naive_birthday(inputs.fresh_rate, inputs.ports),
            valid: true,
            why_not: None,
        };
    }
    let solution = if why_not.is_empty() {
        Renewal::of(inputs).solve(inputs.from, inputs.until)
    } else {
        None
    };
    if let Some(solution) = &solution {
        let busy = solution.max_busy / inputs.ports;
        if solution.exhausted || busy > MAX_BUSY_SHARE {
            why_not.push(format!(
                "conntrack holds {:.0} % of the {:.0} SNAT ports: near exhaustion the search probes neighbours, evicts or drops",
                100.0 * busy.min(1.0),
                inputs.ports
            ));
        }
    } else if why_not.is_empty() {
        why_not.push("no connects in the counted time".to_owned());
    }
    Prediction {
        h: solution.as_ref().map(|s| s.h),
        p: solution.as_ref().map(|s| s.p),
        impatient: solution.as_ref().and_then(|s| s.impatient),
        busy_share: solution.as_ref().map(|s| s.max_busy / inputs.ports),
        ceiling,
        naive_birthday: forms::naive_birthday(inputs.fresh_rate, inputs.ports),
        valid: why_not.is_empty(),
        why_not: (!why_not.is_empty()).then(|| why_not.join("; ")),
    }
}

#[cfg(test)]
mod tests;
