//! Where everything stands. Columns are as wide as their widest card, gaps as wide as the words above them; the bands of
//! nodes and pods stand one below the other, clients and SLB in the middle of them all.

use super::{Band, Card, Legend, Picture};
use crate::plot::text_width;

/// Sizes of text, in pixels.
pub(super) const TITLE: f64 = 20.0;
pub(super) const TEXT: f64 = 12.5;
pub(super) const HEAD: f64 = 14.0;
/// From one line of a card to the next.
pub(super) const LINE: f64 = 18.0;
/// Inside a card, from its border to its words.
pub(super) const PADDING: f64 = 12.0;
/// How far the cards behind a stacked one look out.
pub(super) const STACK: f64 = 4.0;
/// Bold letters are so much wider than those that are measured (DejaVu Sans Bold).
const BOLD: f64 = 1.17;

const MARGIN: f64 = 28.0;
const BETWEEN_CARDS: f64 = 18.0;
const BETWEEN_BANDS: f64 = 22.0;
/// From a band's frame to its cards, and the height of its title.
const FRAME: f64 = 14.0;
const FRAME_TITLE: f64 = 24.0;
const LEAST_GAP: f64 = 110.0;
/// A gap is wider by this where wires between nodes bulge into it.
const BULGE: f64 = 26.0;
/// The question is broken into lines of at most this width, or the picture's.
const LEAST_WIDTH: f64 = 640.0;

/// A card and its place.
#[derive(Debug, Clone)]
pub(super) struct Placed<'p> {
    pub card: &'p Card,
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// A curve between two cards.
#[derive(Debug, Clone, Copy)]
pub(super) struct Curve {
    pub from: (f64, f64),
    pub to: (f64, f64),
    pub service: Option<usize>,
    /// Between two cards of one column; else between neighbouring columns.
    pub beside: bool,
}

/// A frame with its title.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub title: String,
    pub stacked: bool,
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// Words at a place: centred or beginning there.
#[derive(Debug, Clone)]
pub(super) struct Label {
    pub text: String,
    pub x: f64,
    pub y: f64,
    pub kind: LabelKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LabelKind {
    Title,
    Question,
    /// Above a column.
    Column,
    /// Key of a link.
    Key,
    /// What the link does.
    Words,
}

/// Everything in its place.
#[derive(Debug)]
pub(super) struct Layout<'p> {
    pub title: &'p str,
    pub width: f64,
    pub height: f64,
    pub labels: Vec<Label>,
    pub frames: Vec<Frame>,
    pub curves: Vec<Curve>,
    pub cards: Vec<Placed<'p>>,
}

/// Horizontal places: the left edges and widths of the columns.
struct Columns {
    x: Vec<f64>,
    width: Vec<f64>,
}

impl Columns {
    fn right(&self, column: usize) -> f64 {
        self.x[column] + self.width[column]
    }
}

fn size(card: &Card) -> (f64, f64) {
    let lines = card.lines.iter().map(|line| text_width(line, TEXT));
    let widest = lines.fold(text_width(&card.title, HEAD) * BOLD, f64::max);
    let stack = if card.stacked { 2.0 * STACK } else { 0.0 };
    let height = 2.0 * PADDING + HEAD + LINE * card.lines.len() as f64;
    (widest + 2.0 * PADDING + stack, height + stack)
}

fn column_width<'c>(cards: impl Iterator<Item = &'c Card>) -> f64 {
    cards.map(|card| size(card).0).fold(90.0, f64::max)
}

fn column_height(cards: &[Card]) -> f64 {
    let heights: f64 = cards.iter().map(|card| size(card).1).sum();
    heights + BETWEEN_CARDS * cards.len().saturating_sub(1) as f64
}

fn legend_width(legends: &[Legend]) -> f64 {
    let of_one = |legend: &Legend| {
        let lines = legend.lines.iter().map(|line| text_width(line, TEXT));
        lines.fold(text_width(&legend.head, TEXT) * BOLD, f64::max)
    };
    legends.iter().map(of_one).fold(0.0, f64::max)
}

fn legend_lines(legends: &[Legend]) -> usize {
    legends.iter().map(|legend| 1 + legend.lines.len()).sum()
}

/// Breaks a text into lines of at most so many pixels.
fn broken(text: &str, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text_width(line, TEXT) + text_width(word, TEXT) + TEXT / 2.0 < width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

impl<'p> Layout<'p> {
    pub fn of(picture: &'p Picture) -> Self {
        let with_nodes = picture.bands.iter().any(|band| !band.nodes.is_empty());
        let columns = columns(picture, with_nodes);
        let last = columns.x.len() - 1;
        let framed = picture.bands.iter().any(|band| band.title.is_some());
        let frame = if framed { FRAME } else { 0.0 };
        let stacks = picture.bands.iter().any(|band| band.stacked);
        let title_width = text_width(&picture.title, TITLE) * BOLD;
        let content = (columns.right(last) + frame).max(MARGIN + title_width);
        let width = content.max(LEAST_WIDTH) + MARGIN + if stacks { 2.0 * STACK } else { 0.0 };
        let mut layout = Self {
            title: &picture.title,
            width,
            height: 0.0,
            labels: Vec::new(),
            frames: Vec::new(),
            curves: Vec::new(),
            cards: Vec::new(),
        };
        let top = layout.head(picture, &columns, with_nodes);
        layout.body(picture, &columns, top, with_nodes);
        layout
    }

    /// Title, question, the names of the columns and the words of the links. Where the cards begin.
    fn head(&mut self, picture: &Picture, columns: &Columns, with_nodes: bool) -> f64 {
        let mut y = MARGIN + TITLE * 0.8;
        let mut label = |text: &str, x, y, kind| {
            self.labels.push(Label {
                text: text.to_owned(),
                x,
                y,
                kind,
            });
        };
        label(&picture.title, MARGIN, y, LabelKind::Title);
        let question = picture.question.as_deref().unwrap_or_default();
        for line in broken(question, self.width - 2.0 * MARGIN) {
            y += LINE;
            label(&line, MARGIN, y + 4.0, LabelKind::Question);
        }
        let tallest = picture.legends.iter().map(|legends| legend_lines(legends)).max();
        let bottom = y + 22.0 + LINE * tallest.unwrap_or(0).max(1) as f64;
        let names: &[&str] = if with_nodes {
            &["Clients", "SLB", "Nodes", "Pods"]
        } else {
            &["Clients", "SLB", "Pods"]
        };
        for (column, name) in names.iter().enumerate() {
            let middle = columns.x[column] + columns.width[column] / 2.0;
            label(name, middle, bottom, LabelKind::Column);
        }
        for (gap, legends) in picture.legends.iter().enumerate() {
            let middle = f64::midpoint(columns.right(gap), columns.x[gap + 1]);
            let mut y = bottom - LINE * legend_lines(legends).saturating_sub(1) as f64;
            for legend in legends {
                label(&legend.head, middle, y, LabelKind::Key);
                y += LINE;
                for line in &legend.lines {
                    label(line, middle, y, LabelKind::Words);
                    y += LINE;
                }
            }
        }
        bottom + 20.0
    }

    fn body(&mut self, picture: &'p Picture, columns: &Columns, top: f64, with_nodes: bool) {
        let heights: Vec<_> = picture.bands.iter().map(band_height).collect();
        let between = BETWEEN_BANDS * picture.bands.len().saturating_sub(1) as f64;
        let bands: f64 = heights.iter().sum::<f64>() + between;
        let slb = std::slice::from_ref(&picture.slb);
        let height = bands.max(column_height(&picture.clients)).max(column_height(slb));
        let clients = self.column(&picture.clients, columns, 0, top, height);
        let slb = self.column(slb, columns, 1, top, height)[0];
        if picture.client_leg {
            for &from in &clients {
                self.wire(from, slb, self.cards[from].card.service);
            }
        }
        let mut y = top + (height - bands) / 2.0;
        for (band, its_height) in picture.bands.iter().zip(heights) {
            self.band(band, columns, y, its_height, slb, with_nodes);
            y += its_height + BETWEEN_BANDS;
        }
        self.height = top + height + MARGIN;
    }

    fn band(&mut self, band: &'p Band, columns: &Columns, y: f64, height: f64, slb: usize, with_nodes: bool) {
        let last = columns.x.len() - 1;
        let (mut inner_y, mut inner_height) = (y, height);
        if let Some(title) = &band.title {
            let x = columns.x[2] - FRAME;
            self.frames.push(Frame {
                title: title.clone(),
                stacked: band.stacked,
                x,
                y,
                width: columns.right(last) + FRAME - x,
                height,
            });
            inner_y += FRAME_TITLE;
            inner_height -= FRAME_TITLE + FRAME;
        }
        let nodes = if with_nodes {
            self.column(&band.nodes, columns, 2, inner_y, inner_height)
        } else {
            Vec::new()
        };
        let pods = self.column(&band.pods, columns, last, inner_y, inner_height);
        if with_nodes {
            for &node in &band.backends {
                self.wire(slb, nodes[node], None);
            }
        } else {
            for &pod in &pods {
                self.wire(slb, pod, self.cards[pod].card.service);
            }
        }
        for wire in &band.wires {
            self.wire(nodes[wire.from], pods[wire.to], wire.service);
        }
        for &(one, other) in &band.overlay {
            let right = |card: &Placed<'_>| (card.x + card.width, card.y + card.height * 0.3);
            self.curves.push(Curve {
                from: right(&self.cards[nodes[one]]),
                to: right(&self.cards[nodes[other]]),
                service: None,
                beside: true,
            });
        }
    }

    /// Places the cards of a column in the middle of a height; their places among all.
    fn column(
        &mut self,
        cards: &'p [Card],
        columns: &Columns,
        column: usize,
        top: f64,
        height: f64,
    ) -> Vec<usize> {
        let mut y = top + (height - column_height(cards)) / 2.0;
        let first = self.cards.len();
        for card in cards {
            let (_, height) = size(card);
            self.cards.push(Placed {
                card,
                x: columns.x[column],
                y,
                width: columns.width[column],
                height,
            });
            y += height + BETWEEN_CARDS;
        }
        (first..self.cards.len()).collect()
    }

    fn wire(&mut self, from: usize, to: usize, service: Option<usize>) {
        let (from, to) = (&self.cards[from], &self.cards[to]);
        self.curves.push(Curve {
            from: (from.x + from.width, from.y + from.height / 2.0),
            to: (to.x, to.y + to.height / 2.0),
            service,
            beside: false,
        });
    }
}

fn columns(picture: &Picture, with_nodes: bool) -> Columns {
    let mut width = vec![
        column_width(picture.clients.iter()),
        column_width(std::iter::once(&picture.slb)),
    ];
    if with_nodes {
        width.push(column_width(picture.bands.iter().flat_map(|band| &band.nodes)));
    }
    width.push(column_width(picture.bands.iter().flat_map(|band| &band.pods)));
    let overlay = picture.bands.iter().any(|band| !band.overlay.is_empty());
    let framed = picture.bands.iter().any(|band| band.title.is_some());
    let mut x = vec![MARGIN];
    for gap in 0..width.len() - 1 {
        let bulge = if gap == 2 && overlay { BULGE } else { 0.0 };
        let frame = if gap == 1 && framed { FRAME } else { 0.0 };
        let words = picture
            .legends
            .get(gap)
            .map_or(0.0, |legends| legend_width(legends));
        let least = (words + 28.0).max(LEAST_GAP) + bulge + frame;
        x.push(x[gap] + width[gap] + least);
    }
    // The title of a frame must fit into it.
    let titles = picture.bands.iter().filter_map(|band| band.title.as_ref());
    let widest = titles
        .map(|title| text_width(title, TEXT) * BOLD)
        .fold(0.0, f64::max);
    let last = width.len() - 1;
    let frame = x[last] + width[last] - x[2];
    width[last] += (widest - frame).max(0.0);
    Columns { x, width }
}

fn band_height(band: &Band) -> f64 {
    let cards = column_height(&band.nodes).max(column_height(&band.pods));
    match band.title {
        Some(_) => cards + FRAME_TITLE + FRAME,
        None => cards,
    }
}
