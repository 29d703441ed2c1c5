//! From text to terms.

use std::net::SocketAddr;

use super::columns::find_column;
use super::error::nearest;
use super::{
    Alternative, Column, ColumnKind, FilterError, MAX_ALTERNATIVES, MAX_LEN, MAX_TERMS, Op,
    Pattern, Problem, Term, Test,
};
use crate::IpRange;
use crate::units::{parse_duration, parse_number};

/// Parses all terms of `text`.
pub(super) fn parse(text: &str, columns: &'static [Column]) -> Result<Vec<Term>, FilterError> {
    if text.len() > MAX_LEN {
        return Err(FilterError {
            position: MAX_LEN,
            term: String::new(),
            problem: Problem::TooLong,
        });
    }
    let mut parser = Parser {
        text,
        at: 0,
        term_start: 0,
    };
    let mut terms = Vec::new();
    loop {
        parser.skip_spaces();
        if parser.rest().is_empty() {
            return Ok(terms);
        }
        if terms.len() == MAX_TERMS {
            return Err(parser.error(parser.at, Problem::TooLong));
        }
        terms.push(parser.term(columns)?);
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    term_start: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_spaces(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// An error at `position` that quotes the current term.
    fn error(&self, position: usize, problem: Problem) -> FilterError {
        let term = &self.text[self.term_start..];
        let end = term.find(char::is_whitespace).unwrap_or(term.len());
        FilterError {
            position,
            term: term[..end].to_owned(),
            problem,
        }
    }

    fn term(&mut self, columns: &'static [Column]) -> Result<Term, FilterError> {
        self.term_start = self.at;
        let mut negated = self.take("!");
        let name_at = self.at;
        let Some((name, op)) = self.column_and_operator(&mut negated) else {
            return self.word(negated);
        };
        let Some(column) = find_column(name, columns) else {
            let nearest = nearest(name, columns.iter().map(|c| c.name));
            let problem = Problem::UnknownColumn { nearest };
            return Err(FilterError {
                position: name_at,
                term: name.to_owned(),
                problem,
            });
        };
        let allowed = operators(column.kind);
        if !allowed.0.contains(&op) {
            return Err(self.error(name_at, Problem::WrongOperator { allowed: allowed.1 }));
        }
        let alternatives = self.alternatives(|text| test(column.kind, op, text))?;
        Ok(Term {
            negated,
            column: Some(name.to_owned()),
            op,
            alternatives,
        })
    }

    fn word(&mut self, negated: bool) -> Result<Term, FilterError> {
        let alternatives = self.alternatives(|text| {
            if text.is_empty() {
                Err("a word")
            } else {
                Ok(Test::Like(Pattern::new(text)))
            }
        })?;
        Ok(Term {
            negated,
            column: None,
            op: Op::Like,
            alternatives,
        })
    }

    /// Reads `name op` when both are there. `!=` and `!~` negate the term as a leading `!` does.
    fn column_and_operator(&mut self, negated: &mut bool) -> Option<(&'a str, Op)> {
        let rest = self.rest();
        let legal = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
        let end = rest.find(|c| !legal(c))?;
        if end == 0 {
            return None;
        }
        let name = &rest[..end];
        let start = self.at;
        self.at += end;
        if matches!(self.rest().as_bytes(), [b'!', b'=' | b'~', ..]) {
            self.at += 1;
            *negated = !*negated;
        }
        const OPERATORS: [(&str, Op); 6] = [
            (">=", Op::GreaterEqual),
            ("<=", Op::LessEqual),
            ("=", Op::Equal),
            ("~", Op::Like),
            (">", Op::Greater),
            ("<", Op::Less),
        ];
        for (token, op) in OPERATORS {
            if self.take(token) {
                return Some((name, op));
            }
        }
        self.at = start;
        None
    }

    fn alternatives(
        &mut self,
        test: impl Fn(&str) -> Result<Test, &'static str>,
    ) -> Result<Vec<Alternative>, FilterError> {
        let mut alternatives = Vec::new();
        loop {
            if alternatives.len() == MAX_ALTERNATIVES {
                return Err(self.error(self.at, Problem::TooLong));
            }
            let at = self.at;
            let text = self.value()?;
            let test = test(&text).map_err(|expected| FilterError {
                position: at,
                term: text.clone(),
                problem: Problem::BadValue { expected },
            })?;
            alternatives.push(Alternative { text, test });
            if !self.take("|") {
                return Ok(alternatives);
            }
        }
    }

    /// One value: quoted, or all up to a space or `|`.
    fn value(&mut self) -> Result<String, FilterError> {
        if self.rest().starts_with('"') {
            return self.quoted();
        }
        let rest = self.rest();
        let end = rest
            .find(|c: char| c.is_whitespace() || c == '|')
            .unwrap_or(rest.len());
        if end == 0 {
            return Err(self.error(self.at, Problem::MissingValue));
        }
        self.at += end;
        Ok(rest[..end].to_owned())
    }

    fn quoted(&mut self) -> Result<String, FilterError> {
        let start = self.at;
        let mut value = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += i + 1;
                    let next = self.rest().chars().next();
                    if next.is_some_and(|c| !c.is_whitespace() && c != '|') {
                        return Err(self.error(
                            self.at,
                            Problem::BadValue {
                                expected: "a value: a space or | follows a quote",
                            },
                        ));
                    }
                    return Ok(value);
                }
                '\\' => match chars.next() {
                    Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                    Some((_, other)) => value.extend(['\\', other]),
                    None => break,
                },
                _ => value.push(c),
            }
        }
        Err(self.error(start, Problem::OpenQuote))
    }
}

/// The operators of a kind, and how an error names them.
fn operators(kind: ColumnKind) -> (&'static [Op], &'static str) {
    match kind {
        ColumnKind::Text | ColumnKind::Hex | ColumnKind::Address => {
            (&[Op::Equal, Op::Like], "= and ~")
        }
        ColumnKind::Number | ColumnKind::Rate | ColumnKind::Duration => (
            &[
                Op::Equal,
                Op::Greater,
                Op::Less,
                Op::GreaterEqual,
                Op::LessEqual,
            ],
            "=, >, <, >= and <=",
        ),
        ColumnKind::Flag => (&[Op::Equal], "="),
    }
}

/// What `text` asks of a column of `kind`.
fn test(kind: ColumnKind, op: Op, text: &str) -> Result<Test, &'static str> {
    if op == Op::Like {
        return Ok(Test::Like(Pattern::new(text)));
    }
    match kind {
        ColumnKind::Text => Ok(Test::Exact(text.to_owned())),
        ColumnKind::Hex => {
            if text.is_empty() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err("the beginning of an id, as in 2f9c");
            }
            Ok(Test::Prefix(text.to_ascii_lowercase()))
        }
        ColumnKind::Number => number(text)
            .map(Test::Number)
            .ok_or("a number, as in 3 or 2k"),
        ColumnKind::Rate => {
            let rate = parse_number(text).ok_or("a rate in bits per second, as in 500k or 2M")?;
            Ok(Test::Number(rate as f64))
        }
        ColumnKind::Duration => {
            let duration = parse_duration(text).ok_or("a duration, as in 60, 10m or 2h")?;
            Ok(Test::Number(duration.as_secs() as f64))
        }
        ColumnKind::Address => address(text)
            .ok_or("an address, as in 192.0.2.7, 192.0.2.0/24, 192.0.2.7:3478 or :49731"),
        ColumnKind::Flag => match text {
            "yes" | "true" => Ok(Test::Flag(true)),
            "no" | "false" => Ok(Test::Flag(false)),
            _ => Err("yes or no"),
        },
    }
}

/// A decimal, or an integer with a unit.
fn number(text: &str) -> Option<f64> {
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return text.parse().ok();
    }
    parse_number(text).map(|n| n as f64)
}

fn address(text: &str) -> Option<Test> {
    if let Some(port) = text.strip_prefix(':').and_then(|port| port.parse().ok()) {
        return Some(Test::Address {
            range: None,
            port: Some(port),
        });
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        let range = IpRange::new(socket.ip(), socket.ip());
        return Some(Test::Address {
            range,
            port: Some(socket.port()),
        });
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse().ok().map(|range| Test::Address {
        range: Some(range),
        port: None,
    })
}
