//! What is wrong with a scenario: messages that point at the user's text and say a way out. Collected, not first-only.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Errors shown at most: nobody reads more, and drawing each takes a walk through the whole text.
const MAX_SHOWN: usize = 50;

/// A place in one of the texts that a scenario came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    /// 0 is the file, 1 and up the `--set` arguments in their order.
    pub source: usize,
    /// First octet.
    pub start: usize,
    /// Octet after the last one.
    pub end: usize,
}

impl Span {
    /// Octets `range` of the text `source`.
    pub fn new(source: usize, range: Range<usize>) -> Self {
        Self {
            source,
            start: range.start,
            end: range.end,
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong; keys stand in backticks.
    pub message: String,
    /// Octets of the text that it points at.
    pub span: Range<usize>,
    /// What stands beside the caret.
    pub label: String,
    /// A way out.
    pub help: Option<String>,
    /// Which text: an index into those of [`Diagnostics`].
    source: usize,
}

impl Diagnostic {
    pub(super) fn new(span: &Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            span: span.start..span.end,
            label: label.into(),
            help: None,
            source: span.source,
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A text that diagnostics point into.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    name: String,
    /// `None`: it could not be read.
    text: Option<String>,
}

/// Everything that is wrong with a scenario, in the order of the file, then of the `--set` arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    sources: Vec<Source>,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Sorts `list`; `name` and `text` are the file, `sets` the arguments.
    pub(super) fn new(name: &str, text: &str, sets: &[String], mut list: Vec<Diagnostic>) -> Self {
        list.sort_by_key(|diagnostic| (diagnostic.source, diagnostic.span.start));
        list.dedup();
        let file = Source {
            name: name.to_owned(),
            text: Some(text.to_owned()),
        };
        let arguments = sets.iter().map(|set| Source {
            name: "--set".to_owned(),
            text: Some(set.clone()),
        });
        Self {
            sources: std::iter::once(file).chain(arguments).collect(),
            list,
        }
    }

    /// A file that could not be read at all.
    pub(super) fn unreadable(name: &str, message: String, help: &str) -> Self {
        Self {
            sources: vec![Source {
                name: name.to_owned(),
                text: None,
            }],
            list: vec![Diagnostic::new(&Span::new(0, 0..0), message, "").help(help)],
        }
    }

    /// The diagnostics.
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    /// The first ones as text in rustc's look, with ANSI colours if `styled`, and how many more there are.
    pub fn render(&self, styled: bool) -> String {
        let renderer = if styled {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut rendered: Vec<_> = self
            .list
            .iter()
            .take(MAX_SHOWN)
            .map(|diagnostic| self.render_one(&renderer, diagnostic))
            .collect();
        let left_out = self.list.len().saturating_sub(MAX_SHOWN);
        if left_out > 0 {
            rendered.push(format!(
                "error: {left_out} more error{} not shown",
                if left_out == 1 { "" } else { "s" }
            ));
        }
        let mut text = rendered.join("\n\n");
        text.push('\n');
        text
    }

    fn render_one(&self, renderer: &Renderer, diagnostic: &Diagnostic) -> String {
        let mut report = Vec::new();
        let title = Level::ERROR.primary_title(diagnostic.message.as_str());
        let source = &self.sources[diagnostic.source];
        if let Some(text) = &source.text {
            let annotation = AnnotationKind::Primary.span(clamp(text, &diagnostic.span));
            let annotation = if diagnostic.label.is_empty() {
                annotation
            } else {
                annotation.label(diagnostic.label.as_str())
            };
            let snippet = Snippet::source(text.as_str())
                .path(source.name.as_str())
                .annotation(annotation);
            report.push(title.element(snippet));
        } else {
            report.push(annotate_snippets::Group::with_title(title));
        }
        if let Some(help) = &diagnostic.help {
            let footer = Level::HELP.secondary_title(help.as_str());
            report.push(annotate_snippets::Group::with_title(footer));
        }
        renderer.render(&report)
    }
}

/// The part of `span` that lies inside `text` and on its character borders.
fn clamp(text: &str, span: &Range<usize>) -> Range<usize> {
    let border = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = border(span.start);
    start..border(span.end).max(start)
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}
