//! `fivetuple plot FIGURE --out FILE`: the figures of the README and the docs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;

use super::BAD_INPUT;
use super::output::remark;
use crate::plot::{MeasuredPoint, RatePoint, naive_birthday};
use crate::theory::patience::{Patience, Retry};
use crate::theory::renewal::{RefusalEffect, Reopening};
use crate::theory::{Inputs, predict};

/// The figures.
#[derive(Debug, Subcommand)]
pub(super) enum FigureCommand {
    /// The textbook's birthday rate against load, beside the closed form
    NaiveBirthday {
        /// File to write, .svg or .png
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Folders that `run --out` wrote, drawn as points
        results: Vec<PathBuf>,
    },
}

/// Draws `figure`.
pub(super) fn plot(figure: &FigureCommand) -> ExitCode {
    let FigureCommand::NaiveBirthday { out, results } = figure;
    let drawn = results
        .iter()
        .map(|folder| read_point(folder))
        .collect::<Result<Vec<_>, _>>()
        .and_then(|runs| {
            let subtitle = "stock timers, 64 SLB addresses with random ports, MASQUERADE --random-fully, \
                            no timestamps, 320 s from a cold start";
            naive_birthday(subtitle, &curve(), &runs)
                .write(out)
                .map_err(|error| error.to_string())
        });
    match drawn {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            remark(&format!("error: {message}"));
            ExitCode::from(BAD_INPUT)
        }
    }
}

/// The stock-timers incident over its loads, from 1/s to the ceiling.
fn curve() -> Vec<RatePoint> {
    let steps = 60;
    (0..=steps)
        .map(|step| {
            let load = 537.0_f64.powf(f64::from(step) / f64::from(steps));
            let prediction = predict(&stock_timers(load));
            RatePoint {
                load,
                naive: prediction.naive_birthday,
                closed_form: prediction.p.filter(|_| prediction.valid),
            }
        })
        .collect()
}

/// The inputs of `scenarios/incident-499.toml` at another load.
fn stock_timers(load: f64) -> Inputs {
    Inputs {
        fresh_rate: load,
        direct: false,
        same_pod: 1.0,
        ports: 64_512.0,
        hold: 120.0,
        memory: (60.0, 64.096),
        refused: 0.5,
        refusal_effect: RefusalEffect::Kills,
        retry_after: None,
        reopening: Reopening::Random {
            tuples: 64.0 * 64_512.0,
            connects: load,
        },
        stray_rst: None,
        patience: Some(Patience {
            seconds: 0.8,
            retry: Retry::Doubling,
        }),
        from: 0.0,
        until: 320.0,
        obstacles: Vec::new(),
    }
}

/// The bare ACKs per attempt of a folder of results, at its load.
fn read_point(folder: &Path) -> Result<MeasuredPoint, String> {
    let path = folder.join("summary.json");
    let text = fs_err::read_to_string(&path).map_err(|error| error.to_string())?;
    let summary: Value =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let number = |pointer: &str| {
        summary
            .pointer(pointer)
            .and_then(Value::as_f64)
            .ok_or_else(|| format!("{}: no number at {pointer}", path.display()))
    };
    Ok(MeasuredPoint {
        load: number("/theory/fresh_per_second")?,
        value: number("/attempts/p_bare_ack/value")?,
        lo95: number("/attempts/p_bare_ack/lo95")?,
        hi95: number("/attempts/p_bare_ack/hi95")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_draws_the_default_incident() {
        let plan = crate::scenario::load(Path::new("scenarios/incident-499.toml"), &[]).unwrap();
        assert_eq!(stock_timers(350.0), crate::experiment::closed_form(&plan));
    }

    #[test]
    fn the_closed_form_lies_far_below_the_textbook() {
        for point in curve() {
            assert!(point.closed_form.unwrap_or(0.0) < point.naive / 50.0, "{point:?}");
        }
    }
}
