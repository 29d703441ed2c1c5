//! Fields of rows: a name, a value for machines, a text for people.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use shared::display_safe;
use shared::units;

/// A field of `T`.
#[derive(Debug)]
pub struct Field<T: 'static> {
    /// Its name in `--fields`, in the header, and in CSV.
    pub name: &'static str,
    /// Where it is shown unless chosen.
    pub shown: Shown,
    /// How people see it.
    pub style: Style,
    /// Its value, in the units of the API.
    pub value: fn(&T) -> Value,
}

/// Where a field is shown unless `--fields` chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// In every table.
    Table,
    /// In wide tables.
    Wide,
    /// In CSV and in what shows a single thing.
    Detail,
}

/// How people see a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Text, made safe for a terminal; a list is joined by commas.
    Text,
    /// A number.
    Count,
    /// Bits per second.
    Rate,
    /// Bytes.
    Bytes,
    /// Seconds.
    Age,
    /// Unix milliseconds; 0 is never.
    Time,
    /// Percent.
    Percent,
}

impl<T> Field<T> {
    /// A field.
    pub const fn new(
        name: &'static str,
        shown: Shown,
        style: Style,
        value: fn(&T) -> Value,
    ) -> Self {
        Self {
            name,
            shown,
            style,
            value,
        }
    }
}

impl Style {
    /// Whether columns of it end flush.
    #[must_use]
    pub fn is_right_aligned(self) -> bool {
        !matches!(self, Self::Text | Self::Time)
    }

    /// `value` for people.
    #[must_use]
    pub fn text(self, value: &Value) -> String {
        let number = value.as_f64();
        match (self, number) {
            _ if value.is_null() => "-".to_owned(),
            (Self::Count, Some(n)) if n.fract() != 0.0 => format!("{n:.1}"),
            (Self::Count, Some(n)) => units::grouped(value.as_u64().unwrap_or(n as u64)),
            (Self::Rate, Some(n)) => units::short_number(n as u64),
            (Self::Bytes, Some(n)) => units::byte_count(n as u64),
            (Self::Age, Some(n)) => units::age(Duration::from_secs(n as u64)),
            (Self::Percent, Some(n)) => format!("{n:.0}%"),
            (Self::Time, Some(n)) => time(n as i64),
            _ => plain(value),
        }
    }
}

/// A time of day in the operator's zone.
fn time(millis: i64) -> String {
    let Ok(at) = Timestamp::from_millisecond(millis) else {
        return "-".to_owned();
    };
    if millis == 0 {
        return "-".to_owned();
    }
    at.to_zoned(TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::Object(map) if map.is_empty() => "-".to_owned(),
        Value::String(text) => display_safe(text).into_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        Value::Object(map) => {
            let pair =
                |(key, value): (&String, &Value)| format!("{}={}", display_safe(key), plain(value));
            map.iter().map(pair).collect::<Vec<_>>().join(",")
        }
        other => display_safe(&other.to_string()).into_owned(),
    }
}
