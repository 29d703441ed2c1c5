//! A TOML file as a tree whose every value knows its line.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Origin};

/// The largest file read.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// A value and the line it starts at.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// Where it is.
    pub(super) origin: Origin,
    /// What it is.
    pub(super) value: Value,
}

/// A value; comes from flags and environment too.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Text.
    Text(String),
    /// An integer.
    Integer(i64),
    /// A boolean.
    Boolean(bool),
    /// An array.
    List(Vec<Item>),
    /// A table.
    Table(BTreeMap<String, Item>),
    /// What no setting is: floats, dates, integers out of range.
    Other(&'static str),
}

impl Value {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

/// Reads and parses `path`; what can be read is answered even when there are errors, so that they
/// can all be reported together.
pub(super) fn read(path: &Path, errors: &mut Vec<ConfigError>) -> BTreeMap<String, Item> {
    let text = match read_text(path) {
        Ok(text) => text,
        Err(problem) => {
            errors.push(unreadable(path, problem));
            return BTreeMap::new();
        }
    };
    parse(path, &text, errors)
}

/// That a file cannot be read.
pub(super) fn unreadable(path: &Path, problem: String) -> ConfigError {
    ConfigError {
        origin: Origin::whole_file(path),
        key: "file".into(),
        problem,
        remedy: "give another file with --config, or make this one readable".into(),
    }
}

/// The text of a file, if it is not too long.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path)
        .map_err(|error| format!("cannot be read: {error}"))?
        .len();
    if size > MAX_FILE_BYTES {
        return Err(format!("is {size} bytes, more than {MAX_FILE_BYTES}"));
    }
    std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

/// Parses `text`, the content of `path`.
pub(super) fn parse(
    path: &Path,
    text: &str,
    errors: &mut Vec<ConfigError>,
) -> BTreeMap<String, Item> {
    let lines = Lines {
        path,
        starts: line_starts(text),
    };
    let (root, syntax_errors) = DeTable::parse_recoverable(text);
    for error in &syntax_errors {
        let offset = error.span().map_or(0, |span| span.start);
        errors.push(ConfigError {
            origin: lines.origin(offset),
            key: "TOML".into(),
            problem: shared::display_safe(error.message()).into_owned(),
            remedy: "see https://toml.io for the syntax".into(),
        });
    }
    lines.table(root.get_ref())
}

fn line_starts(text: &str) -> Vec<usize> {
    let after_newlines = text
        .bytes()
        .enumerate()
        .filter(|(_, b)| *b == b'\n')
        .map(|(i, _)| i + 1);
    std::iter::once(0).chain(after_newlines).collect()
}

struct Lines<'a> {
    path: &'a Path,
    starts: Vec<usize>,
}

impl Lines<'_> {
    fn origin(&self, offset: usize) -> Origin {
        let line = self.starts.partition_point(|start| *start <= offset);
        Origin::File {
            path: self.path.to_owned(),
            line,
        }
    }

    fn table(&self, table: &DeTable<'_>) -> BTreeMap<String, Item> {
        let items = table.iter().map(|(name, value)| {
            // A key's line, not its value's: that is where people look, and `[section]` tables
            // have a value only by their header.
            let origin = self.origin(name.span().start);
            (
                name.get_ref().to_string(),
                Item {
                    origin,
                    value: self.value(value.get_ref()),
                },
            )
        });
        items.collect()
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Boolean(value) => Value::Boolean(*value),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Value::Integer(number),
                    Err(_) => Value::Other("an integer out of range"),
                }
            }
            DeValue::Float(_) => Value::Other("a number with a fraction"),
            DeValue::Datetime(_) => Value::Other("a date"),
            DeValue::Array(items) => {
                let items = items.iter().map(|item| Item {
                    origin: self.origin(item.span().start),
                    value: self.value(item.get_ref()),
                });
                Value::List(items.collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table)),
        }
    }
}
