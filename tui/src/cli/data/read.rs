//! Files of rows: CSV, tab-separated values, JSON lines.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use clap::ValueEnum;
use csv::{StringRecord, Terminator};
use serde_json::Value;
use shared::Realm;

use super::table::{Row, Table};
use crate::cli::exit::Failure;

/// The largest file that is read, in bytes: a million users fit.
const MAX_FILE: u64 = 256 << 20;
/// Errors that are told at once.
const MAX_ERRORS: usize = 20;

const NO_UTF8: &str = "no UTF-8: let the database's client write it so (PGCLIENTENCODING=UTF8, mysql \
                       --default-character-set=utf8mb4), or convert it with iconv";

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Comma-separated values (RFC 4180), with or without a line of column names
    Csv,
    /// The same separated by tabs, as `mysql --batch` writes them
    Tsv,
    /// One JSON object per line, as mongoexport writes them
    Jsonl,
}

impl Form {
    fn of(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("jsonl" | "json" | "ndjson") => Self::Jsonl,
            Some("tsv" | "tab") => Self::Tsv,
            _ => Self::Csv,
        }
    }
}

/// What is wrong with a file, the first of it.
pub(super) fn nothing_done(mut wrong: Vec<String>) -> Failure {
    let count = wrong.len();
    wrong.truncate(MAX_ERRORS);
    if count > MAX_ERRORS {
        wrong.push(format!("and {} more", count - MAX_ERRORS));
    }
    wrong.push("nothing was done".to_owned());
    Failure::Usage(wrong.join("\n"))
}

/// A row and the line that it stands on.
#[derive(Clone, Debug)]
pub(super) struct Numbered {
    pub(super) line: u64,
    pub(super) row: Row,
}

/// What is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    /// `None`: as the file's name says.
    pub(super) form: Option<Form>,
    /// `None`: each line names its table.
    pub(super) table: Option<Table>,
    /// The realm of rows that name none.
    pub(super) realm: Option<&'a Realm>,
}

impl Source<'_> {
    /// The file's name, for messages.
    pub(super) fn name(&self) -> String {
        shared::display_safe(&self.path.display().to_string()).into_owned()
    }

    /// All rows, or all that is wrong with them.
    pub(super) fn rows(&self) -> Result<Vec<Numbered>, Failure> {
        let text = self.text()?;
        let mut rows = Vec::new();
        let mut wrong = Vec::new();
        let mut take = |line: u64, read: Result<Row, String>| match read {
            Ok(row) => rows.push(Numbered { line, row }),
            Err(error) => wrong.push(format!("{}:{line}: {error}", self.name())),
        };
        match (self.form.unwrap_or_else(|| Form::of(self.path)), self.table) {
            (Form::Jsonl, table) => self.json(&text, table, &mut take),
            (form, Some(table)) => self.separated(&text, form, table, &mut take),
            (_, None) => {
                let what = "`all` is read from JSON lines: name the table of any other file";
                return Err(Failure::Usage(what.to_owned()));
            }
        }
        match wrong.is_empty() {
            true => Ok(rows),
            false => Err(nothing_done(wrong)),
        }
    }

    fn text(&self) -> Result<String, Failure> {
        let fail = |what: String| Failure::Usage(format!("{}: {what}", self.name()));
        let mut text = String::new();
        let read = match self.path.to_str() {
            Some("-") => std::io::stdin()
                .take(MAX_FILE + 1)
                .read_to_string(&mut text),
            _ => File::open(self.path)
                .and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text)),
        };
        read.map_err(|error| match error.kind() {
            ErrorKind::InvalidData => fail(NO_UTF8.to_owned()),
            _ => fail(error.to_string()),
        })?;
        if text.len() as u64 > MAX_FILE {
            return Err(fail("larger than 256 MiB: split it".to_owned()));
        }
        // Programs of Windows begin a file with it.
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        Ok(text)
    }

    fn separated(
        &self,
        text: &str,
        form: Form,
        table: Table,
        take: &mut impl FnMut(u64, Result<Row, String>),
    ) {
        let tabs = form == Form::Tsv;
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(if tabs { b'\t' } else { b',' })
            .quoting(!tabs)
            .terminator(if tabs {
                // A carriage return within a value is no end of a line there.
                Terminator::Any(b'\n')
            } else {
                Terminator::CRLF
            })
            .from_reader(text.as_bytes());
        let columns = table.columns();
        let mut order: Vec<usize> = (0..columns.len()).collect();
        let values = |record: &StringRecord| -> Vec<String> {
            let last = record.len().saturating_sub(1);
            let value = |(at, value): (usize, &str)| match tabs {
                // Windows ends lines with it; before that it is a part of a value.
                true if at == last => unescaped(value.strip_suffix('\r').unwrap_or(value)),
                true => unescaped(value),
                false => value.to_owned(),
            };
            record.iter().enumerate().map(value).collect()
        };
        // A row of another length is not what its columns are taken for.
        let mut expected = (columns.len(), columns.join(", "));
        for (number, record) in reader.records().enumerate() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let line = error.position().map_or(0, csv::Position::line);
                    take(line, Err(error.to_string()));
                    return;
                }
            };
            let line = record.position().map_or(0, csv::Position::line);
            if number == 0 {
                match Header::of(&record, columns) {
                    Header::Whole(named) => {
                        order = named;
                        expected = (record.len(), format!("the {} of the header", record.len()));
                        continue;
                    }
                    // A realm may be called realm: what can be nothing but a row is one.
                    Header::Lacks(lacks) if !table.is_surely(&values(&record), self.realm) => {
                        take(line, Err(no_header(&lacks, columns)));
                        return;
                    }
                    Header::Lacks(_) | Header::No => {}
                }
            }
            if record.len() != expected.0 {
                let (found, expected) = (record.len(), &expected.1);
                let what = format!("{found} columns, where these are expected: {expected}");
                take(line, Err(what));
                continue;
            }
            let values = values(&record);
            let values: Vec<_> = order.iter().map(|at| values[*at].clone()).collect();
            take(line, table.read(&values, self.realm));
        }
    }

    fn json(
        &self,
        text: &str,
        table: Option<Table>,
        take: &mut impl FnMut(u64, Result<Row, String>),
    ) {
        for (line, text) in (1..).zip(text.lines()) {
            if !text.trim().is_empty() {
                take(line, self.json_row(text, table));
            }
        }
    }

    fn json_row(&self, text: &str, table: Option<Table>) -> Result<Row, String> {
        if text.trim_start().starts_with('[') {
            return Err(
                "an object per line is read, no array: mongoexport without --jsonArray".to_owned(),
            );
        }
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let named = value.get("table").and_then(Value::as_str);
        let table = match (table, named) {
            (Some(table), _) => table,
            (None, Some(name)) => Table::from_str(name, false)
                .map_err(|_| format!("table: there is no {}", shared::display_safe(name)))?,
            (None, None) => return Err("no table: name it, or a field table".to_owned()),
        };
        let text = |column: &&str| match value.get(*column) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Number(number)) => Ok(number.to_string()),
            Some(_) => Err(format!("{column}: a text or a number")),
        };
        let values: Result<Vec<_>, _> = table.columns().iter().map(text).collect();
        table.read(&values?, self.realm)
    }
}

/// What the first line says of columns.
enum Header {
    /// Where each one is.
    Whole(Vec<usize>),
    /// It names some, and not these.
    Lacks(Vec<String>),
    /// It names none.
    No,
}

impl Header {
    fn of(record: &StringRecord, columns: &[&str]) -> Self {
        let is = |name: &str, column: &str| name.trim().eq_ignore_ascii_case(column);
        let place = |column: &&str| record.iter().position(|name| is(name, column));
        let places: Vec<_> = columns.iter().map(place).collect();
        if places.iter().all(Option::is_none) {
            return Self::No;
        }
        let lacks = columns.iter().zip(&places);
        let lacks = lacks.filter(|(_, place)| place.is_none());
        let lacks: Vec<_> = lacks.map(|(column, _)| (*column).to_owned()).collect();
        match lacks.is_empty() {
            true => Self::Whole(places.into_iter().flatten().collect()),
            false => Self::Lacks(lacks),
        }
    }
}

fn no_header(lacks: &[String], columns: &[&str]) -> String {
    let (lacks, columns) = (lacks.join(", "), columns.join(","));
    format!(
        "a line of column names without {lacks}: name them as coturn does; if it is a row, write a line \
         {columns} above it"
    )
}

/// What `mysql --batch` writes with a backslash, and PostgreSQL's text format; `\\N` alone is no value.
fn unescaped(value: &str) -> String {
    if value == "\\N" {
        return String::new();
    }
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next() {
            Some('t') => '\t',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('0') => '\0',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('v') => '\u{b}',
            Some(other) => other,
            None => '\\',
        });
    }
    out
}
