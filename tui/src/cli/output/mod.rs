//! Rows out: table, wide, json, jsonl, csv, id.

mod bench;
mod checks;
mod csv;
mod fields;
mod fleet;
mod json;
mod list;
mod rows;
mod shows;
mod table;

#[cfg(test)]
mod tests;

use clap::ValueEnum;
use serde_json::Value;

pub use fields::{Field, Shown, Style};
pub use fleet::{DiffRow, EntryRow, ImportRow, OverrideRow, RealmStepRow, SampleRow, TrendRow};
pub(super) use json::write as write_json;
pub use list::{ListWriter, Selection, Summary};
pub use rows::KillRow;

/// A form of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// More columns for people.
    Wide,
    /// One JSON document.
    Json,
    /// One JSON value per line.
    Jsonl,
    /// Comma-separated values with a header, all fields.
    Csv,
    /// Ids only, one per line.
    Id,
}

/// A type that can be shown in every format.
pub trait Shows: serde::Serialize + Sized + 'static {
    /// Name and version of a list of these, as in `nodes/1`.
    const SCHEMA: &'static str;
    /// Its fields, in the order of columns.
    const FIELDS: &'static [Field<Self>];

    /// What `-o id` prints.
    fn id(&self) -> String;
}

/// The row as JSON: all that the API said, or the chosen fields.
fn json<T: Shows>(row: &T, chosen: Option<&[&'static Field<T>]>) -> Value {
    match chosen {
        None => serde_json::to_value(row).unwrap_or(Value::Null),
        Some(fields) => {
            let pairs = fields.iter().map(|f| (f.name.to_owned(), (f.value)(row)));
            Value::Object(pairs.collect())
        }
    }
}
