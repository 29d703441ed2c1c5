//! What can be wrong with a filter, said so that an operator can mend it.

use std::fmt;

/// A filter that does not parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// Where it is wrong, in bytes from the start.
    pub position: usize,
    /// The term or word that is wrong.
    pub term: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a term.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// No column of this list has that name.
    UnknownColumn {
        /// The name that comes nearest.
        nearest: Option<&'static str>,
    },
    /// The column does not know that operator.
    WrongOperator {
        /// What it does know, as in `= and ~`.
        allowed: &'static str,
    },
    /// The value is not what the column holds.
    BadValue {
        /// What it holds, with an example.
        expected: &'static str,
    },
    /// There is an operator, or a `!` or `|`, with nothing behind it.
    MissingValue,
    /// A quote is not closed.
    OpenQuote,
    /// Longer than 4096 bytes, more than 64 terms, or more than 256 alternatives in one.
    TooLong,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let term = crate::display_safe(&self.term);
        write!(f, "filter, position {}: ", self.position + 1)?;
        match &self.problem {
            Problem::UnknownColumn {
                nearest: Some(nearest),
            } => {
                write!(f, "there is no column '{term}'; did you mean '{nearest}'?")
            }
            Problem::UnknownColumn { nearest: None } => write!(f, "there is no column '{term}'"),
            Problem::WrongOperator { allowed } => {
                write!(f, "'{term}': this column is compared with {allowed}")
            }
            Problem::BadValue { expected } => write!(f, "'{term}' is not {expected}"),
            Problem::MissingValue => write!(f, "a value is missing in '{term}'"),
            Problem::OpenQuote => write!(f, "the quote is not closed in '{term}'"),
            Problem::TooLong => {
                f.write_str("too long: at most 4096 bytes, 64 terms and 256 alternatives in a term")
            }
        }
    }
}

impl std::error::Error for FilterError {}

/// The candidate that a mistyped `word` probably means: the one it begins, or one at most two
/// edits away.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    if word.chars().count() > 32 {
        return None;
    }
    let cost = |candidate: &str| {
        if word.len() >= 2 && candidate.starts_with(&word) {
            1
        } else {
            distance(&word, candidate)
        }
    };
    candidates
        .into_iter()
        .map(|candidate| (cost(candidate), candidate))
        .filter(|(cost, candidate)| *cost <= 2 && *cost < word.len().min(candidate.len()))
        .min_by_key(|(cost, _)| *cost)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace) from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
