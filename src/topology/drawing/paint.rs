//! A layout as SVG. Colours are those of the figures (`src/plot`).

use svg::Document;
use svg::node::element::{Path, Rectangle, Text, Title};

use super::layout::{
    Curve, Frame, HEAD, LINE, Label, LabelKind, Layout, PADDING, Placed, STACK, TEXT, TITLE,
};
use crate::plot::FONT;

const INK: &str = "#282c34";
const GREY: &str = "#646a73";
const FAINT: &str = "#e2e5e9";
const PALE: &str = "#f6f7f9";
const WIRE: &str = "#8b929c";
/// Of services, in their order, and then again.
const SERVICES: [&str; 6] = ["#266eb4", "#ca4238", "#228b54", "#9a5fb4", "#c07a18", "#1a8f98"];

/// A tenth of a pixel is enough, and reads better.
fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn colour(service: Option<usize>, without: &'static str) -> &'static str {
    service.map_or(without, |service| SERVICES[service % SERVICES.len()])
}

pub(super) fn svg(layout: &Layout<'_>) -> String {
    let (width, height) = (layout.width.ceil(), layout.height.ceil());
    let mut document = Document::new()
        .set("viewBox", (0.0, 0.0, width, height))
        .set("width", width)
        .set("height", height)
        .set("font-family", FONT)
        .add(Title::new(format!("fivetuple topology: {}", layout.title)))
        .add(rectangle(0.0, 0.0, width, height).set("fill", "#ffffff"));
    for frame in &layout.frames {
        document = painted_frame(document, frame);
    }
    for curve in &layout.curves {
        document = painted_curve(document, curve);
    }
    for card in &layout.cards {
        document = painted_card(document, card);
    }
    for label in &layout.labels {
        document = document.add(painted_label(label));
    }
    let mut text = document.to_string();
    text.push('\n');
    text
}

fn rectangle(x: f64, y: f64, width: f64, height: f64) -> Rectangle {
    Rectangle::new()
        .set("x", tenths(x))
        .set("y", tenths(y))
        .set("width", tenths(width))
        .set("height", tenths(height))
}

fn words(text: &str, x: f64, y: f64, size: f64, colour: &str) -> Text {
    Text::new(text)
        .set("x", tenths(x))
        .set("y", tenths(y))
        .set("font-size", size)
        .set("fill", colour)
}

fn painted_frame(mut document: Document, frame: &Frame) -> Document {
    let behind: &[f64] = if frame.stacked { &[2.0, 1.0, 0.0] } else { &[0.0] };
    for depth in behind {
        document = document.add(
            rectangle(
                frame.x + depth * STACK,
                frame.y + depth * STACK,
                frame.width,
                frame.height,
            )
            .set("rx", 10)
            .set("fill", PALE)
            .set("stroke", FAINT),
        );
    }
    let title = words(&frame.title, frame.x + PADDING, frame.y + 19.0, TEXT, GREY);
    document.add(title.set("font-weight", "bold"))
}

fn painted_curve(document: Document, curve: &Curve) -> Document {
    let ((x1, y1), (x2, y2)) = (curve.from, curve.to);
    let reach = if curve.beside { 34.0 } else { (x2 - x1) * 0.45 };
    // Between columns a curve leaves to the right and comes from the left; beside one it comes back.
    let before_end = if curve.beside { x2 + reach } else { x2 - reach };
    let [x1, y1, x2, y2, a, b] = [x1, y1, x2, y2, x1 + reach, before_end].map(tenths);
    let path = Path::new()
        .set("d", format!("M{x1},{y1} C{a},{y1} {b},{y2} {x2},{y2}"))
        .set("fill", "none")
        .set("stroke", colour(curve.service, WIRE))
        .set("stroke-width", 1.6);
    document.add(if curve.beside {
        path.set("stroke-dasharray", "5 4")
    } else {
        path
    })
}

fn painted_card(mut document: Document, placed: &Placed<'_>) -> Document {
    let card = placed.card;
    let depth = if card.stacked { 2.0 } else { 0.0 };
    let (width, height) = (placed.width - depth * STACK, placed.height - depth * STACK);
    let border = colour(card.service, GREY);
    for behind in (0..=depth as u32).rev() {
        let offset = f64::from(behind) * STACK;
        document = document.add(
            rectangle(placed.x + offset, placed.y + offset, width, height)
                .set("rx", 6)
                .set("fill", "#ffffff")
                .set("stroke", border)
                .set("stroke-width", 1.2),
        );
    }
    let x = placed.x + PADDING;
    let mut y = placed.y + PADDING + HEAD * 0.85;
    document =
        document.add(words(&card.title, x, y, HEAD, colour(card.service, INK)).set("font-weight", "bold"));
    for line in &card.lines {
        y += LINE;
        document = document.add(words(line, x, y, TEXT, INK));
    }
    document
}

fn painted_label(label: &Label) -> Text {
    let (size, colour, bold, middle) = match label.kind {
        LabelKind::Title => (TITLE, INK, true, false),
        LabelKind::Question => (TEXT, GREY, false, false),
        LabelKind::Column => (HEAD, GREY, true, true),
        LabelKind::Key => (TEXT, INK, true, true),
        LabelKind::Words => (TEXT, GREY, false, true),
    };
    let mut text = words(&label.text, label.x, label.y, size, colour);
    if bold {
        text = text.set("font-weight", "bold");
    }
    if middle {
        text = text.set("text-anchor", "middle");
    }
    text
}
