//! The figure "what the textbook says": the naive birthday rate against load, beside the closed form and runs.

use super::{Axis, Figure, Mark, Series};

/// Rates at one load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatePoint {
    /// Connects per second and (node, pod endpoint).
    pub load: f64,
    /// The textbook's failures per connection.
    pub naive: f64,
    /// The closed form's bare ACKs per attempt; `None` where it does not apply.
    pub closed_form: Option<f64>,
}

/// A run's bare ACKs per attempt with their interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeasuredPoint {
    /// Connects per second and (node, pod endpoint).
    pub load: f64,
    /// Value.
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub lo95: f64,
    /// Upper end.
    pub hi95: f64,
}

/// Lowest rate that the figure shows: one in a hundred million.
const FLOOR: f64 = 1e-8;

/// The figure. `subtitle` says under what conditions; points below one in a hundred million are drawn at the edge.
pub fn naive_birthday(subtitle: &str, curve: &[RatePoint], runs: &[MeasuredPoint]) -> Figure {
    let loads = || curve.iter().map(|p| p.load).chain(runs.iter().map(|p| p.load));
    let from = loads().fold(f64::INFINITY, f64::min);
    let to = loads().fold(0.0, f64::max);
    let floor = |rate: f64| rate.max(FLOOR);
    let mut series = vec![
        Series {
            name: "textbook birthday: any port used twice within 60 s fails".into(),
            colour: (202, 66, 56),
            mark: Mark::Line(curve.iter().map(|p| (p.load, floor(p.naive))).collect()),
        },
        Series {
            name: "closed form: connects refused by TIME_WAIT".into(),
            colour: (38, 110, 180),
            mark: Mark::Line(
                curve
                    .iter()
                    .filter_map(|p| {
                        p.closed_form
                            .filter(|&rate| rate >= FLOOR)
                            .map(|rate| (p.load, rate))
                    })
                    .collect(),
            ),
        },
    ];
    if !runs.is_empty() {
        series.push(Series {
            name: "simulated, 95 % interval".into(),
            colour: (34, 139, 84),
            mark: Mark::Points(
                runs.iter()
                    .map(|p| (p.load, floor(p.value), floor(p.lo95), floor(p.hi95)))
                    .collect(),
            ),
        });
    }
    Figure {
        title: "The textbook birthday figure is wrong by orders of magnitude".into(),
        subtitle: subtitle.to_owned(),
        x: Axis {
            label: "connections per second to one pod through one node".into(),
            from,
            to: to * 1.05,
            tick: plain,
        },
        y: Axis {
            label: "share of the connections".into(),
            from: FLOOR,
            to: 1.0,
            tick: rate,
        },
        series,
    }
}

fn plain(value: f64) -> String {
    if value >= 1.0 {
        format!("{value:.0}")
    } else {
        format!("{value}")
    }
}

/// Shares as people say them.
fn rate(value: f64) -> String {
    let percent = 100.0 * value;
    if percent >= 0.009 {
        // Powers of ten: as many decimals as they need.
        let decimals = usize::try_from(-(percent.log10().round() as i32)).unwrap_or(0);
        format!("{percent:.decimals$} %")
    } else {
        let ppm = 1e6 * value;
        let decimals = usize::try_from(-(ppm.log10().round() as i32)).unwrap_or(0);
        format!("{ppm:.decimals$} ppm")
    }
}
