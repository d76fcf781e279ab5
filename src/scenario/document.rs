//! A scenario as written: a tree of values, each with its place in the text. Owned, and in the order of the text, so that
//! `--set` arguments can be merged into it and errors still point at what the user typed.

use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Span};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub span: Span,
    pub kind: Kind,
}

/// What TOML knows, dates left out: nothing here is a date.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Text(String),
    /// Integers beyond 64 bits are floats: too large for any key, and said so there.
    Integer(i128),
    /// With its text: a kernel's version without its quotes is a float, and 5.10 is not 5.1.
    Float(f64, String),
    Boolean(bool),
    Date,
    Array(Vec<Value>),
    Table(Table),
}

/// A table: its entries in the order of the text.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub entries: Vec<Entry>,
}

/// One `key = value`.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: String,
    pub key_span: Span,
    pub value: Value,
}

impl Table {
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.key == key)
    }
}

impl Value {
    /// The value in its own words, the same however it was quoted; `None` for tables, arrays and dates.
    pub fn words(&self) -> Option<String> {
        match &self.kind {
            Kind::Text(text) | Kind::Float(_, text) => Some(text.clone()),
            Kind::Integer(integer) => Some(integer.to_string()),
            Kind::Boolean(value) => Some(value.to_string()),
            Kind::Date | Kind::Array(_) | Kind::Table(_) => None,
        }
    }

    /// What it is, for messages.
    pub const fn describe(&self) -> &'static str {
        match self.kind {
            Kind::Text(_) => "a string",
            Kind::Integer(_) => "an integer",
            Kind::Float(..) => "a float",
            Kind::Boolean(_) => "a boolean",
            Kind::Date => "a date",
            Kind::Array(_) => "an array",
            Kind::Table(_) => "a table",
        }
    }

    /// Converts what the parser found. `offset` is where its text starts inside text number `source`.
    fn from_toml(value: &toml::Spanned<DeValue<'_>>, source: usize, offset: usize) -> Self {
        let range = value.span();
        let span = Span::new(source, range.start + offset..range.end + offset);
        let kind = match value.get_ref() {
            DeValue::String(text) => Kind::Text(text.clone().into_owned()),
            DeValue::Integer(integer) => i128::from_str_radix(integer.as_str(), integer.radix())
                .map_or_else(|_| Kind::Float(f64::INFINITY, String::new()), Kind::Integer),
            DeValue::Float(float) => Kind::Float(
                float.as_str().parse().unwrap_or(f64::NAN),
                float.as_str().to_owned(),
            ),
            DeValue::Boolean(value) => Kind::Boolean(*value),
            DeValue::Datetime(_) => Kind::Date,
            DeValue::Array(array) => Kind::Array(
                array
                    .iter()
                    .map(|item| Self::from_toml(item, source, offset))
                    .collect(),
            ),
            DeValue::Table(table) => Kind::Table(from_table(table, source, offset)),
        };
        Self { span, kind }
    }
}

fn from_table(table: &DeTable<'_>, source: usize, offset: usize) -> Table {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().clone().into_owned(),
            key_span: Span::new(source, key.span().start + offset..key.span().end + offset),
            value: Value::from_toml(value, source, offset),
        })
        .collect();
    entries.sort_by(|a, b| a.key_span.cmp(&b.key_span));
    Table { entries }
}

/// Parses a whole file.
pub(super) fn parse(text: &str) -> Result<Table, Diagnostic> {
    match DeTable::parse(text) {
        Ok(table) => Ok(from_table(table.get_ref(), 0, 0)),
        Err(error) => {
            let span = Span::new(0, error.span().unwrap_or(0..0));
            Err(
                Diagnostic::new(&span, "this is not TOML", error.message().to_owned())
                    .help("strings stand in quotes (\"350/s\", \"60s\"), tables in brackets ([node.snat])"),
            )
        }
    }
}

/// Parses the value of a `--set` argument, which starts at `offset` in text number `source`: TOML if it is TOML, else a
/// string as it stands.
pub(super) fn parse_set_value(text: &str, source: usize, offset: usize) -> Value {
    match DeValue::parse(text) {
        Ok(value) => Value::from_toml(&value, source, offset),
        Err(_) => Value {
            span: Span::new(source, offset..offset + text.len()),
            kind: Kind::Text(text.to_owned()),
        },
    }
}
