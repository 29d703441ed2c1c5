//! The filter grammar of the admin API, the command line and the console: one parser, one meaning.
//!
//! ```text
//! user=alice  user~^bot-  !user~probe  node=fra1|ams1  peer=198.51.100.0/24  relay=:49731
//! label.region=fra  secret=2f9c  rate>2M  age<10m  ttl<=60  note="two words"  alice
//! ```
//!
//! Terms are joined by AND; `|` separates alternatives inside a term; `!` negates a term. `=` is
//! exact for text (case counts), a prefix for hexadecimal ids, a range or port for addresses. `~` is
//! a substring without regard to case, `^` and `$` anchor it. `>`, `<`, `>=`, `<=` compare numbers,
//! rates (`2M`) and durations (`10m`). A word alone is a substring over the names of the list. A
//! column with several values (`peer`, `label.*`) matches when any of them does.

mod columns;
mod error;
mod parse;
mod rows;
mod sort;

#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

pub use columns::{
    ALERT_COLUMNS, AUDIT_COLUMNS, BLOCK_COLUMNS, Column, ColumnKind, EVENT_COLUMNS, GROUP_COLUMNS,
    NODE_COLUMNS, REALM_COLUMNS, RECENT_REFUSAL_COLUMNS, REDIRECT_COLUMNS, REFUSAL_COLUMNS,
    SESSION_COLUMNS, SETTING_COLUMNS, USER_COLUMNS, find_column,
};
pub use error::{FilterError, Problem, nearest};
pub use rows::LabelledSession;
pub use sort::{Direction, SortError, SortKey, SortSpec};

use crate::IpRange;

/// The longest filter, in bytes.
pub const MAX_LEN: usize = 4096;
/// The most terms in a filter.
pub const MAX_TERMS: usize = 64;
/// The most alternatives in a term.
pub const MAX_ALTERNATIVES: usize = 256;

/// One value of a row's column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Text, or hexadecimal digits.
    Text(&'a str),
    /// A number, a rate in bits per second, or a duration in seconds.
    Number(f64),
    /// An address, with its port where there is one.
    Address(IpAddr, Option<u16>),
    /// Yes or no.
    Flag(bool),
}

/// A row that filters and sorts can look into.
pub trait Row {
    /// Columns that a word alone is looked for in.
    const WORDS: &'static [&'static str];

    /// Calls `visit` with each value of `column`: none, one, or several.
    fn values(&self, column: &str, visit: &mut dyn FnMut(Value<'_>));
}

/// A parsed filter. Prints itself so that it parses to the same filter again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    terms: Vec<Term>,
}

/// One term of a filter: what a row has to satisfy together with all others.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    negated: bool,
    /// `None`: a word alone.
    column: Option<String>,
    op: Op,
    alternatives: Vec<Alternative>,
}

/// What was typed, and what it means for the kind of the column.
#[derive(Clone, Debug, PartialEq)]
struct Alternative {
    text: String,
    test: Test,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Equal,
    Like,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
}

impl Op {
    fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Like => "~",
            Self::Greater => ">",
            Self::Less => "<",
            Self::GreaterEqual => ">=",
            Self::LessEqual => "<=",
        }
    }

    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Greater => left > right,
            Self::Less => left < right,
            Self::GreaterEqual => left >= right,
            Self::LessEqual => left <= right,
            Self::Like => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    Exact(String),
    /// Lower-case hexadecimal digits at the start.
    Prefix(String),
    Like(Pattern),
    Number(f64),
    Address {
        range: Option<IpRange>,
        port: Option<u16>,
    },
    Flag(bool),
}

#[derive(Clone, Debug, PartialEq)]
struct Pattern {
    /// Lower case.
    needle: String,
    from_start: bool,
    to_end: bool,
}

impl Pattern {
    fn new(text: &str) -> Self {
        let (from_start, text) = match text.strip_prefix('^') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (to_end, text) = match text.strip_suffix('$') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        Self {
            needle: text.to_lowercase(),
            from_start,
            to_end,
        }
    }

    fn matches(&self, text: &str) -> bool {
        let lower;
        let text = if self.needle.is_ascii() && text.is_ascii() {
            return self.matches_ascii(text.as_bytes());
        } else {
            lower = text.to_lowercase();
            lower.as_str()
        };
        match (self.from_start, self.to_end) {
            (true, true) => text == self.needle,
            (true, false) => text.starts_with(&self.needle),
            (false, true) => text.ends_with(&self.needle),
            (false, false) => text.contains(&self.needle),
        }
    }

    /// The common case, without an allocation per row.
    fn matches_ascii(&self, text: &[u8]) -> bool {
        let needle = self.needle.as_bytes();
        let Some(last) = text.len().checked_sub(needle.len()) else {
            return false;
        };
        match (self.from_start, self.to_end) {
            (true, true) => text.eq_ignore_ascii_case(needle),
            (true, false) => text[..needle.len()].eq_ignore_ascii_case(needle),
            (false, true) => text[last..].eq_ignore_ascii_case(needle),
            (false, false) => {
                let Some(first) = needle.first() else {
                    return true;
                };
                // Most places are ruled out by their first byte.
                (0..=last).any(|at| {
                    text[at].to_ascii_lowercase() == *first
                        && text[at..at + needle.len()].eq_ignore_ascii_case(needle)
                })
            }
        }
    }

    /// An address as text, without an allocation per row.
    fn matches_address(&self, ip: IpAddr, port: Option<u16>) -> bool {
        let possible =
            |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'.' | b':' | b'[' | b']' | b'%');
        if !self.needle.bytes().all(possible) {
            return false;
        }
        let mut text = AddressText::default();
        // The longest address with scope and port has 66 characters.
        let written = match port {
            Some(port) => write!(text, "{}", SocketAddr::new(ip, port)),
            None => write!(text, "{ip}"),
        };
        written.is_ok() && self.matches_ascii(&text.bytes[..text.len])
    }
}

/// Room for an address and a port as text.
struct AddressText {
    bytes: [u8; 80],
    len: usize,
}

impl Default for AddressText {
    fn default() -> Self {
        Self {
            bytes: [0; 80],
            len: 0,
        }
    }
}

impl fmt::Write for AddressText {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let end = self.len + part.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        room.copy_from_slice(part.as_bytes());
        self.len = end;
        Ok(())
    }
}

impl Test {
    fn matches(&self, op: Op, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Exact(want), Value::Text(text)) => want == text,
            (Self::Prefix(want), Value::Text(text)) => text
                .get(..want.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(want)),
            (Self::Like(pattern), Value::Text(text)) => pattern.matches(text),
            (Self::Like(pattern), Value::Address(ip, port)) => pattern.matches_address(ip, port),
            (Self::Number(want), Value::Number(number)) => op.holds(number, *want),
            (Self::Address { range, port }, Value::Address(ip, actual)) => {
                range.is_none_or(|range| range.contains(ip))
                    && port.is_none_or(|port| actual == Some(port))
            }
            (Self::Flag(want), Value::Flag(flag)) => *want == flag,
            _ => false,
        }
    }
}

impl Term {
    /// The column that is looked into; `None`: a word alone, looked for in [`Row::WORDS`].
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        self.column.as_deref()
    }

    /// Whether a row satisfies this term whose values `all` hands out.
    #[must_use]
    pub fn holds(&self, all: impl FnOnce(&mut dyn FnMut(Value<'_>))) -> bool {
        let mut hit = false;
        all(&mut |value| {
            hit = hit
                || self
                    .alternatives
                    .iter()
                    .any(|a| a.test.matches(self.op, value));
        });
        hit != self.negated
    }

    fn matches<R: Row>(&self, row: &R) -> bool {
        self.holds(|visit| match &self.column {
            Some(column) => row.values(column, visit),
            None => R::WORDS.iter().for_each(|column| row.values(column, visit)),
        })
    }
}

impl Filter {
    /// Parses `text` against the columns of a list; empty text matches everything.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place and what was probably meant.
    pub fn parse(text: &str, columns: &'static [Column]) -> Result<Self, FilterError> {
        parse::parse(text, columns).map(|terms| Self { terms })
    }

    /// Each term as a filter of its own.
    pub fn parts(&self) -> impl Iterator<Item = Self> + '_ {
        self.terms.iter().map(|term| Self {
            terms: vec![term.clone()],
        })
    }

    /// The column that the first term looks at; `None`: there is none, or it is a word alone.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        self.terms.first().and_then(|term| term.column.as_deref())
    }

    /// Whether every row matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The terms, all of which a row has to satisfy.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Whether `row` matches all terms.
    #[must_use]
    pub fn matches<R: Row>(&self, row: &R) -> bool {
        self.terms.iter().all(|term| term.matches(row))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.terms.iter().enumerate() {
            if i > 0 {
                f.write_char(' ')?;
            }
            if term.negated {
                f.write_char('!')?;
            }
            if let Some(column) = &term.column {
                f.write_str(column)?;
                f.write_str(term.op.as_str())?;
            }
            for (j, alternative) in term.alternatives.iter().enumerate() {
                if j > 0 {
                    f.write_char('|')?;
                }
                f.write_str(&quote(&alternative.text))?;
            }
        }
        Ok(())
    }
}

/// The term `column=value`, quoted as needed: for programs that build filters.
#[must_use]
pub fn equals(column: &str, value: &str) -> String {
    format!("{column}={}", quote(value))
}

/// `value` as it can stand in a filter: in quotes unless it is plain.
#[must_use]
pub fn quote(value: &str) -> String {
    let plain = |c: char| {
        c.is_alphanumeric()
            || matches!(c, '.' | '_' | '-' | '@' | ':' | '/' | '[' | ']' | '^' | '$')
    };
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}
