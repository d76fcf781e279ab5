//! The plotters side of the wall: theme, axes, marks, legend.

use std::path::Path;
use std::sync::OnceLock;

use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use super::font::{FONT, FONT_BYTES};
use super::{Figure, Mark, PlotError, Series};

/// Everything is drawn twice as large as it is meant to be looked at: plotters rounds to whole pixels, which shows in
/// lines that rise slowly.
const SCALE: u32 = 2;
/// Width and height in pixels.
const SIZE: (u32, u32) = (1100 * SCALE, 660 * SCALE);
/// Length of a line in the legend.
const LEGEND: i32 = 44;
const INK: RGBColor = RGBColor(40, 44, 52);
const FAINT: RGBColor = RGBColor(226, 229, 233);

/// Registers the font once; without it the bitmap backend has none.
fn font() -> Result<(), PlotError> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let fine = *REGISTERED.get_or_init(|| {
        [FontStyle::Normal, FontStyle::Bold]
            .into_iter()
            .all(|style| register_font(FONT, style, FONT_BYTES).is_ok())
    });
    if fine {
        Ok(())
    } else {
        Err(PlotError::Draw("the bundled font is damaged".to_owned()))
    }
}

pub(super) fn svg(figure: &Figure, path: &Path) -> Result<(), PlotError> {
    font()?;
    draw(figure, &SVGBackend::new(path, SIZE).into_drawing_area())
}

pub(super) fn png(figure: &Figure, path: &Path) -> Result<(), PlotError> {
    font()?;
    draw(figure, &BitMapBackend::new(path, SIZE).into_drawing_area())
}

fn failed(error: impl std::fmt::Display) -> PlotError {
    PlotError::Draw(error.to_string())
}

/// A place on the unscaled canvas.
const fn scaled(x: i32, y: i32) -> (i32, i32) {
    (x * SCALE.cast_signed(), y * SCALE.cast_signed())
}

fn draw<B: DrawingBackend>(
    figure: &Figure,
    area: &DrawingArea<B, plotters::coord::Shift>,
) -> Result<(), PlotError> {
    area.fill(&WHITE).map_err(failed)?;
    let text = |size: u32, colour: &RGBColor| (FONT, size * SCALE).into_font().color(colour);
    area.draw(&Text::new(figure.title.clone(), scaled(24, 18), text(22, &INK)))
        .map_err(failed)?;
    area.draw(&Text::new(
        figure.subtitle.clone(),
        scaled(24, 48),
        text(14, &RGBColor(100, 106, 115)),
    ))
    .map_err(failed)?;
    let (x, y) = (&figure.x, &figure.y);
    let mut chart = ChartBuilder::on(area)
        .margin_top(80 * SCALE)
        .margin_right(32 * SCALE)
        .margin_bottom(12 * SCALE)
        .margin_left(12 * SCALE)
        .x_label_area_size(52 * SCALE)
        .y_label_area_size(78 * SCALE)
        .build_cartesian_2d((x.from..x.to).log_scale(), (y.from..y.to).log_scale())
        .map_err(failed)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT.stroke_width(SCALE))
        .axis_style(INK.stroke_width(SCALE))
        .x_desc(x.label.as_str())
        .y_desc(y.label.as_str())
        .x_label_formatter(&|value| (x.tick)(*value))
        .y_label_formatter(&|value| (y.tick)(*value))
        .label_style(text(14, &INK))
        .axis_desc_style(text(15, &INK))
        .draw()
        .map_err(failed)?;
    for series in &figure.series {
        draw_series(&mut chart, series)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.9))
        .label_font(text(14, &INK))
        .legend_area_size(LEGEND + 14)
        .margin(12 * SCALE)
        .draw()
        .map_err(failed)
        .and_then(|()| area.present().map_err(failed))
}

fn draw_series<B: DrawingBackend, X, Y>(
    chart: &mut ChartContext<'_, B, Cartesian2d<X, Y>>,
    series: &Series,
) -> Result<(), PlotError>
where
    X: plotters::coord::ranged1d::Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: plotters::coord::ranged1d::Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let colour = RGBColor(series.colour.0, series.colour.1, series.colour.2);
    match &series.mark {
        Mark::Line(points) => {
            chart
                .draw_series(LineSeries::new(
                    points.iter().copied(),
                    colour.stroke_width(3 * SCALE),
                ))
                .map_err(failed)?
                .label(series.name.clone())
                .legend(move |(x, y)| {
                    PathElement::new(vec![(x, y), (x + LEGEND, y)], colour.stroke_width(3 * SCALE))
                });
        }
        Mark::Points(points) => {
            let bars = points.iter().map(|&(x, _, lo, hi)| {
                PathElement::new(vec![(x, lo), (x, hi)], colour.stroke_width(2 * SCALE))
            });
            chart.draw_series(bars).map_err(failed)?;
            let dots = points
                .iter()
                .map(|&(x, y, ..)| Circle::new((x, y), 5 * SCALE, colour.filled()));
            chart
                .draw_series(dots)
                .map_err(failed)?
                .label(series.name.clone())
                .legend(move |(x, y)| Circle::new((x + LEGEND / 2, y), 5 * SCALE, colour.filled()));
        }
    }
    Ok(())
}
