//! Sort orders: `rate:desc`, `user:asc`, `age`.

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Column, ColumnKind, Row, Value, find_column, nearest};

/// A column and a direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortSpec {
    /// The column's name, as in `rate` or `label.region`.
    pub column: String,
    /// Which end comes first.
    pub direction: Direction,
}

/// Which end comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The smallest.
    Ascending,
    /// The largest.
    Descending,
}

impl SortSpec {
    /// Parses `column`, `column:asc` or `column:desc`. Without a direction, numbers and rates begin
    /// with the largest, everything else with the smallest.
    ///
    /// # Errors
    /// An unknown column or direction.
    pub fn parse(text: &str, columns: &'static [Column]) -> Result<Self, SortError> {
        let (name, direction) = match text.split_once(':') {
            Some((name, direction)) => (name, Some(direction)),
            None => (text, None),
        };
        let Some(column) = find_column(name, columns) else {
            return Err(SortError::Column {
                name: name.chars().take(64).collect(),
                nearest: nearest(name, columns.iter().map(|c| c.name)),
            });
        };
        let direction = match (direction, column.kind) {
            (Some("asc"), _) => Direction::Ascending,
            (Some("desc"), _) | (None, ColumnKind::Number | ColumnKind::Rate) => {
                Direction::Descending
            }
            (None, _) => Direction::Ascending,
            (Some(_), _) => return Err(SortError::Direction),
        };
        Ok(Self {
            column: name.to_owned(),
            direction,
        })
    }

    /// The value that `row` is sorted by: the first one where there are several.
    #[must_use]
    pub fn key<R: Row>(&self, row: &R) -> SortKey {
        let mut key = SortKey::Missing;
        row.values(&self.column, &mut |value| {
            if key == SortKey::Missing {
                key = value.into();
            }
        });
        key
    }

    /// Compares two keys in the direction of this order. Equal keys are for the caller to tell
    /// apart, by id, so that rows do not swap: see [`SortSpec::directed`].
    #[must_use]
    pub fn compare(&self, a: &SortKey, b: &SortKey) -> Ordering {
        self.directed(a.cmp(b))
    }

    /// An ascending comparison in the direction of this order. Ids that tell equal keys apart follow
    /// it too, so that a list in the opposite direction is the same list from its end.
    #[must_use]
    pub fn directed(&self, ascending: Ordering) -> Ordering {
        match self.direction {
            Direction::Ascending => ascending,
            Direction::Descending => ascending.reverse(),
        }
    }
}

impl fmt::Display for SortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::Ascending => "asc",
            Direction::Descending => "desc",
        };
        write!(f, "{}:{direction}", self.column)
    }
}

/// A value in an order of all values: missing ones first, then by kind, then by value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum SortKey {
    /// The row has no value in the column.
    Missing,
    /// A number; no first, yes second.
    Number(f64),
    /// Text, byte by byte.
    Text(String),
    /// An address and a port (0 where there is none), IPv4 before IPv6.
    Address(IpAddr, u16),
}

impl SortKey {
    fn rank(&self) -> u8 {
        match self {
            Self::Missing => 0,
            Self::Number(_) => 1,
            Self::Text(_) => 2,
            Self::Address(..) => 3,
        }
    }
}

impl From<Value<'_>> for SortKey {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Text(text) => Self::Text(text.to_owned()),
            Value::Number(number) => Self::Number(number),
            Value::Address(ip, port) => Self::Address(ip, port.unwrap_or(0)),
            Value::Flag(flag) => Self::Number(f64::from(u8::from(flag))),
        }
    }
}

impl Ord for SortKey {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Address(a, p), Self::Address(b, q)) => (a, p).cmp(&(b, q)),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for SortKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for SortKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for SortKey {}

/// A sort order that does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SortError {
    /// No column of the list has that name.
    #[error("cannot sort by '{}'{}", crate::display_safe(name), hint(*nearest))]
    Column {
        /// What was given.
        name: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// Neither `asc` nor `desc`.
    #[error("a sort order is column:asc or column:desc, as in rate:desc")]
    Direction,
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean '{name}'?"))
}
