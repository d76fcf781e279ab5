//! `--set KEY=VALUE`: changes a key of the document before it is resolved.
//!
//! `KEY` is a dotted path. Where a table may stand several times (`clients`, `node`, `pod`, `service`, `expect`) its number
//! or its `name` follows: `clients.0.rate`, `node.n1.hz`; with a single one both may be left out. Behind `sysctl` the rest
//! of the path is one key, so that sysctls can be given by their full names.

use super::diagnostic::{Diagnostic, Span};
use super::document::{Entry, Kind, Table, Value, parse_set_value};
use super::keys::REPEATED;

/// Applies one argument, text number `source`.
pub(super) fn apply(root: &mut Table, argument: &str, source: usize) -> Result<(), Diagnostic> {
    let whole = Span::new(source, 0..argument.len());
    let Some((path, value_text)) = argument.split_once('=') else {
        return Err(Diagnostic::new(&whole, "this sets nothing", "no `=` in it")
            .help("write it as --set key=value, such as --set clients.rate=200/s"));
    };
    let parts = split_path(path, source)?;
    let value = parse_set_value(value_text.trim(), source, value_offset(path, value_text));
    let Some((last, tables)) = parts.split_last() else {
        return Err(Diagnostic::new(&whole, "the key is empty", ""));
    };
    insert(root, tables, last, value)
}

/// Where the value starts once the blanks around it are gone.
fn value_offset(path: &str, value_text: &str) -> usize {
    path.len() + 1 + (value_text.len() - value_text.trim_start().len())
}

/// One step of a path and where it stands.
#[derive(Debug)]
struct Part {
    key: String,
    span: Span,
}

fn split_path(path: &str, source: usize) -> Result<Vec<Part>, Diagnostic> {
    let mut parts: Vec<Part> = Vec::new();
    let mut start = 0;
    for piece in path.split('.') {
        let blanks = piece.len() - piece.trim_start().len();
        let key = piece.trim();
        let span = Span::new(source, start + blanks..start + blanks + key.len());
        start += piece.len() + 1;
        if key.is_empty() {
            return Err(
                Diagnostic::new(&span, "part of the key is empty", "expected a name here")
                    .help("keys are dotted, such as node.conntrack.background_entries"),
            );
        }
        // A sysctl's dotted name is one key.
        let in_sysctl = parts.len() >= 2 && parts[parts.len() - 2].key == "sysctl";
        match parts.last_mut() {
            Some(last) if in_sysctl => {
                last.key.push('.');
                last.key.push_str(key);
                last.span.end = span.end;
            }
            _ => parts.push(Part {
                key: key.to_owned(),
                span,
            }),
        }
    }
    Ok(parts)
}

fn insert(root: &mut Table, tables: &[Part], last: &Part, value: Value) -> Result<(), Diagnostic> {
    let mut table = root;
    let mut rest = tables.iter().peekable();
    let mut depth = 0;
    while let Some(part) = rest.next() {
        if !table.entries.iter().any(|entry| entry.key == part.key) {
            table.entries.push(Entry {
                key: part.key.clone(),
                key_span: part.span.clone(),
                value: Value {
                    span: part.span.clone(),
                    kind: Kind::Table(Table::default()),
                },
            });
        }
        let entry = table.get_mut(&part.key).expect("it was there or was added");
        let selected = if depth == 0 && REPEATED.contains(&part.key.as_str()) {
            let next = rest.peek().copied();
            let (index, named) = select(&entry.value, part, next)?;
            if named {
                rest.next();
            }
            nth(&mut entry.value, index)
        } else {
            Some(&mut entry.value)
        };
        table = match selected.map(|value| &mut value.kind) {
            Some(Kind::Table(inner)) => inner,
            _ => return Err(not_a_table(part)),
        };
        depth += 1;
    }
    match table.get_mut(&last.key) {
        Some(entry) => {
            entry.key_span = last.span.clone();
            entry.value = value;
        }
        None => table.entries.push(Entry {
            key: last.key.clone(),
            key_span: last.span.clone(),
            value,
        }),
    }
    Ok(())
}

/// The value that a dotted path names, as `--set` names it; `None` if nothing is written there.
pub(super) fn look_up<'a>(root: &'a Table, path: &str) -> Option<&'a Value> {
    let parts = split_path(path, 0).ok()?;
    let (last, tables) = parts.split_last()?;
    let mut table = root;
    let mut rest = tables.iter().peekable();
    let mut depth = 0;
    while let Some(part) = rest.next() {
        let mut value = &table.get(&part.key)?.value;
        if depth == 0 && REPEATED.contains(&part.key.as_str()) {
            let (index, named) = select(value, part, rest.peek().copied()).ok()?;
            if named {
                rest.next();
            }
            if let Kind::Array(items) = &value.kind {
                value = items.get(index)?;
            }
        }
        let Kind::Table(inner) = &value.kind else {
            return None;
        };
        table = inner;
        depth += 1;
    }
    table.get(&last.key).map(|entry| &entry.value)
}

fn not_a_table(part: &Part) -> Diagnostic {
    Diagnostic::new(
        &part.span,
        format!("`{}` is not a table", part.key),
        "has no keys",
    )
}

/// Which of several tables is meant, and whether `next` said so.
fn select(value: &Value, part: &Part, next: Option<&Part>) -> Result<(usize, bool), Diagnostic> {
    let items: Vec<&Value> = match &value.kind {
        Kind::Array(items) => items.iter().collect(),
        _ => vec![value],
    };
    if let Some(next) = next {
        if let Some(index) = items.iter().position(|item| name_of(item) == Some(&next.key)) {
            return Ok((index, true));
        }
        if let Ok(index) = next.key.parse::<usize>() {
            if index < items.len() {
                return Ok((index, true));
            }
            let count = items.len();
            return Err(Diagnostic::new(
                &next.span,
                format!("there is no `{}` number {index}", part.key),
                format!("there are {count}, counted from 0"),
            ));
        }
    }
    if items.len() == 1 {
        return Ok((0, false));
    }
    let key = &part.key;
    Err(Diagnostic::new(
        &part.span,
        format!("there are {} `{key}` tables", items.len()),
        "which one?",
    )
    .help(format!(
        "say its number or its name: {key}.0.key or {key}.NAME.key"
    )))
}

fn name_of(value: &Value) -> Option<&String> {
    let Kind::Table(table) = &value.kind else {
        return None;
    };
    match &table.get("name")?.value.kind {
        Kind::Text(name) => Some(name),
        _ => None,
    }
}

fn nth(value: &mut Value, index: usize) -> Option<&mut Value> {
    if matches!(value.kind, Kind::Array(_)) {
        let Kind::Array(items) = &mut value.kind else {
            return None;
        };
        return items.get_mut(index);
    }
    Some(value)
}
