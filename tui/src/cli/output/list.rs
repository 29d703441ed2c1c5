//! Writes a list page by page, so that no list has to fit into memory.

use std::io::{self, Write};

use serde_json::{Value, json};
use shared::api::MissingNode;

use super::json::safe;
use super::table::Table;
use super::{Field, Format, Shown, Shows, csv, json};
use crate::cli::exit::Failure;

/// What of each row is written, and how.
#[derive(Debug)]
pub struct Selection<T: Shows> {
    format: Format,
    ascii: bool,
    chosen: Option<Vec<&'static Field<T>>>,
}

impl<T: Shows> Selection<T> {
    /// All fields of `format`, or those that `fields` names.
    ///
    /// # Errors
    /// A name that is no field.
    pub fn new(format: Format, fields: &[String], ascii: bool) -> Result<Self, Failure> {
        if fields.is_empty() {
            return Ok(Self {
                format,
                ascii,
                chosen: None,
            });
        }
        let chosen = fields
            .iter()
            .map(|name| find(name))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            format,
            ascii,
            chosen: Some(chosen),
        })
    }

    fn fields(&self) -> Vec<&'static Field<T>> {
        let by_format = |field: &&'static Field<T>| match self.format {
            Format::Table => field.shown == Shown::Table,
            Format::Wide => field.shown != Shown::Detail,
            _ => true,
        };
        self.chosen
            .clone()
            .unwrap_or_else(|| T::FIELDS.iter().filter(by_format).collect())
    }
}

fn find<T: Shows>(name: &str) -> Result<&'static Field<T>, Failure> {
    T::FIELDS.iter().find(|f| f.name == name).ok_or_else(|| {
        let names = T::FIELDS.iter().map(|f| f.name);
        let hint = match shared::filter::nearest(name, names.clone()) {
            Some(nearest) => format!("did you mean '{nearest}'?"),
            None => format!("there are: {}", names.collect::<Vec<_>>().join(",")),
        };
        Failure::Usage(format!(
            "--fields: there is no field '{}'; {hint}",
            shared::display_safe(name)
        ))
    })
}

/// What is known of a list besides its rows.
#[derive(Clone, Debug)]
pub struct Summary {
    /// When the answer was assembled.
    pub as_of_ms: u64,
    /// Rows that match.
    pub matched: u64,
    /// Rows without the filter.
    pub total: u64,
    /// Nodes that did not answer.
    pub missing: Vec<MissingNode>,
    /// The cursor behind the last row written, where there is more.
    pub next: Option<String>,
}

/// A list being written.
pub struct ListWriter<'a, T: Shows> {
    out: &'a mut (dyn Write + Send),
    selection: &'a Selection<T>,
    fields: Vec<&'static Field<T>>,
    table: Table,
    rows: u64,
    begun: bool,
}

impl<T: Shows> std::fmt::Debug for ListWriter<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ListWriter")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl<'a, T: Shows> ListWriter<'a, T> {
    /// A list to `out`.
    pub fn new(out: &'a mut (dyn Write + Send), selection: &'a Selection<T>) -> Self {
        let fields = selection.fields();
        let wide = selection.format == Format::Wide;
        let table = Table::new(&fields, wide, selection.ascii);
        Self {
            out,
            selection,
            fields,
            table,
            rows: 0,
            begun: false,
        }
    }

    /// Writes the next rows.
    ///
    /// # Errors
    /// The output is gone.
    pub fn rows(&mut self, as_of_ms: u64, rows: &[T]) -> io::Result<()> {
        match self.selection.format {
            Format::Table | Format::Wide => self.table_rows(rows)?,
            Format::Json => self.json_rows(as_of_ms, rows)?,
            Format::Jsonl => {
                for row in rows {
                    let value = json(row, self.selection.chosen.as_deref());
                    writeln!(self.out, "{}", safe(&value.to_string()))?;
                }
            }
            Format::Csv => self.csv_rows(rows)?,
            Format::Id => {
                for row in rows {
                    writeln!(self.out, "{}", shared::display_safe(&row.id()))?;
                }
            }
        }
        self.begun = true;
        self.rows += rows.len() as u64;
        self.out.flush()
    }

    /// Ends the list.
    ///
    /// # Errors
    /// The output is gone.
    pub fn end(&mut self, summary: &Summary) -> io::Result<()> {
        if self.selection.format == Format::Json {
            if !self.begun {
                self.json_rows(summary.as_of_ms, &[])?;
            }
            let mut tail = json!({
                "matched": summary.matched,
                "total": summary.total,
                "missing": summary.missing,
            });
            if let Some(next) = &summary.next {
                tail["next"] = Value::String(next.clone());
            }
            let tail = safe(&tail.to_string());
            writeln!(self.out, "],{}", tail.trim_start_matches('{'))?;
        }
        self.out.flush()
    }

    /// Rows so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.rows
    }

    fn table_rows(&mut self, rows: &[T]) -> io::Result<()> {
        let text = |row: &T| -> Vec<String> {
            self.fields
                .iter()
                .map(|f| f.style.text(&(f.value)(row)))
                .collect()
        };
        let cells: Vec<_> = rows.iter().map(text).collect();
        if !self.begun {
            self.table.fit(&cells);
            self.out.write_all(self.table.header().as_bytes())?;
        }
        cells
            .iter()
            .try_for_each(|row| self.out.write_all(self.table.line(row).as_bytes()))
    }

    fn json_rows(&mut self, as_of_ms: u64, rows: &[T]) -> io::Result<()> {
        if !self.begun {
            let schema = Value::from(T::SCHEMA);
            write!(
                self.out,
                "{{\"schema\":{schema},\"as_of_ms\":{as_of_ms},\"items\":["
            )?;
        }
        for (i, row) in rows.iter().enumerate() {
            let comma = if i == 0 && self.rows == 0 { "" } else { "," };
            let value = json(row, self.selection.chosen.as_deref());
            write!(self.out, "{comma}\n{}", safe(&value.to_string()))?;
        }
        Ok(())
    }

    fn csv_rows(&mut self, rows: &[T]) -> io::Result<()> {
        if !self.begun {
            let header = csv::line(self.fields.iter().map(|f| f.name.to_owned()));
            self.out.write_all(header.as_bytes())?;
        }
        for row in rows {
            let line = csv::line(self.fields.iter().map(|f| csv::cell(&(f.value)(row))));
            self.out.write_all(line.as_bytes())?;
        }
        Ok(())
    }
}

impl<T: Shows> Selection<T> {
    /// Writes one thing: for people a line per field, else as a list of one would be, and in JSON
    /// the thing itself.
    ///
    /// # Errors
    /// The output is gone.
    pub fn write_one(
        &self,
        out: &mut (dyn Write + Send),
        as_of_ms: u64,
        row: &T,
    ) -> io::Result<()> {
        match self.format {
            Format::Table | Format::Wide => {
                let fields = match &self.chosen {
                    Some(chosen) => chosen.clone(),
                    None => T::FIELDS.iter().collect(),
                };
                let width = fields.iter().map(|f| f.name.len()).max().unwrap_or(0);
                for field in fields {
                    let text = field.style.text(&(field.value)(row));
                    writeln!(out, "{:width$}  {text}", field.name)?;
                }
            }
            Format::Json => {
                let mut value = json(row, self.chosen.as_deref());
                if let Value::Object(map) = &mut value {
                    let schema = T::SCHEMA.replacen("s/", "/", 1);
                    map.entry("schema").or_insert(Value::String(schema));
                    map.entry("as_of_ms").or_insert(as_of_ms.into());
                }
                writeln!(out, "{}", safe(&format!("{value:#}")))?;
            }
            _ => ListWriter::new(out, self).rows(as_of_ms, std::slice::from_ref(row))?,
        }
        out.flush()
    }
}
