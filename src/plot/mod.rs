//! Figures over plain data series, drawn by plotters with a bundled font: a thin wall, so that no other room knows it.

mod draw;
mod font;
mod naive_birthday;

pub use font::{FONT, text_width};
pub use naive_birthday::{MeasuredPoint, RatePoint, naive_birthday};

/// A whole figure.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What it shows, in a sentence.
    pub title: String,
    /// Under what conditions.
    pub subtitle: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// What is drawn, first one lowest.
    pub series: Vec<Series>,
}

/// One logarithmic axis.
#[derive(Debug, Clone)]
pub struct Axis {
    /// What it measures, with its unit.
    pub label: String,
    /// Lower end, above 0.
    pub from: f64,
    /// Upper end.
    pub to: f64,
    /// How a tick reads.
    pub tick: fn(f64) -> String,
}

/// One line or one set of points.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Name, written beside it or in the legend.
    pub name: String,
    /// Colour, red, green, blue.
    pub colour: (u8, u8, u8),
    /// What is drawn.
    pub mark: Mark,
}

/// The shape of a series.
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    /// A line through points.
    Line(Vec<(f64, f64)>),
    /// Points with an interval: x, y, lower and upper end.
    Points(Vec<(f64, f64, f64, f64)>),
}

/// Why a figure could not be drawn.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// The file name ends in neither `.svg` nor `.png`.
    #[error("a figure is written as .svg or .png")]
    UnknownFormat,
    /// The font or the backend failed.
    #[error("cannot draw the figure: {0}")]
    Draw(String),
}

impl Figure {
    /// Draws the figure into `path`, as SVG or PNG by its ending.
    pub fn write(&self, path: &std::path::Path) -> Result<(), PlotError> {
        match path.extension().and_then(std::ffi::OsStr::to_str) {
            Some("svg") => draw::svg(self, path),
            Some("png") => draw::png(self, path),
            _ => Err(PlotError::UnknownFormat),
        }
    }
}

#[cfg(test)]
mod tests;
