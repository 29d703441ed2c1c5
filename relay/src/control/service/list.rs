//! Lists that are small enough to be put together whole: filtered, sorted and cut at this node.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use shared::api::{ApiError, ErrorKind, ListQuery, MissingNode, Page};
use shared::filter::{Column, Filter, Row, SortKey, SortSpec};

use super::bad;
use crate::control::clock::Moment;
use crate::control::keys;

/// The longest cursor that is read, in bytes.
const MAX_CURSOR: usize = 4096;

/// Where a page ended. Opaque to clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// Fingerprint of filter and order: a cursor is good for the question it came from only.
    #[serde(rename = "f")]
    pub question: String,
    /// The value of the last row.
    #[serde(rename = "k")]
    pub key: SortKey,
    /// Its id.
    #[serde(rename = "i")]
    pub id: String,
    /// The ranking that the order was frozen in.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub ranking: Option<String>,
}

impl Cursor {
    /// The text that clients hand back.
    #[must_use]
    pub(crate) fn encode(&self) -> String {
        keys::base64url(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads what a client handed back.
    ///
    /// # Errors
    /// It is no cursor, or one of another question.
    pub(crate) fn decode(text: &str, question: &str) -> Result<Self, ApiError> {
        let invalid = || bad("cursor: not one of this list; start again without it");
        if text.len() > MAX_CURSOR {
            return Err(invalid());
        }
        let bytes = keys::from_base64url(text).ok_or_else(invalid)?;
        let cursor: Self = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
        if cursor.question != question {
            return Err(bad(
                "cursor: it belongs to another filter or order; start again without it",
            ));
        }
        Ok(cursor)
    }
}

/// Names filter and order in cursors.
#[must_use]
pub(crate) fn fingerprint(filter: &str, sort: &str) -> String {
    keys::sha256_hex(format!("{sort}\n{filter}").as_bytes())[..16].to_owned()
}

/// What a list is made of.
#[derive(Debug)]
pub(crate) struct ListOf<'q, T> {
    /// Name and version of the row type.
    pub schema: &'static str,
    /// Its columns.
    pub columns: &'static [Column],
    /// The order when none is asked for.
    pub default_sort: &'static str,
    /// All rows.
    pub rows: Vec<T>,
    /// Who did not contribute.
    pub missing: Vec<MissingNode>,
    /// What is asked.
    pub query: &'q ListQuery,
}

impl<T: Row> ListOf<'_, T> {
    /// Filters, sorts and cuts; `id` tells rows apart and orders equal ones.
    ///
    /// # Errors
    /// A filter, order or cursor that makes no sense.
    pub(crate) fn page(self, id: impl Fn(&T) -> String) -> Result<Page<T>, ApiError> {
        self.cut(id, false)
    }

    /// Puts the pages together that nodes made of the same query.
    ///
    /// # Errors
    /// A filter, order or cursor that makes no sense.
    pub(crate) fn merged(
        mut self,
        parts: Vec<Page<T>>,
        id: impl Fn(&T) -> String,
    ) -> Result<Page<T>, ApiError> {
        let (mut matched, mut total, mut more) = (0, 0, false);
        for part in parts {
            matched += part.matched;
            total += part.total;
            more |= part.next.is_some();
            self.rows.extend(part.items);
        }
        let page = self.cut(id, more)?;
        Ok(Page {
            matched,
            total,
            ..page
        })
    }

    /// `more`: there are rows after these elsewhere.
    fn cut(self, id: impl Fn(&T) -> String, more: bool) -> Result<Page<T>, ApiError> {
        let filter_text = self.query.filter.as_deref().unwrap_or("");
        let sort_text = self.query.sort.as_deref().unwrap_or(self.default_sort);
        let invalid =
            |e: &dyn std::fmt::Display| ApiError::new(ErrorKind::BadRequest, e.to_string());
        let filter = Filter::parse(filter_text, self.columns).map_err(|e| invalid(&e))?;
        let sort = SortSpec::parse(sort_text, self.columns).map_err(|e| invalid(&e))?;
        let question = fingerprint(filter_text, &sort.to_string());
        let cursor = self.query.cursor.as_deref();
        let after = cursor
            .map(|text| Cursor::decode(text, &question))
            .transpose()?;
        let total = self.rows.len() as u64;
        let mut rows: Vec<(SortKey, String, T)> = Vec::new();
        let mut matched = 0;
        for row in self.rows {
            if !filter.matches(&row) {
                continue;
            }
            matched += 1;
            let position = (sort.key(&row), id(&row));
            let beyond = after.as_ref().is_none_or(|cursor| {
                order(&sort, (&position.0, &position.1), (&cursor.key, &cursor.id)).is_gt()
            });
            if beyond {
                rows.push((position.0, position.1, row));
            }
        }
        rows.sort_by(|a, b| order(&sort, (&a.0, &a.1), (&b.0, &b.1)));
        let size = self.query.page_size();
        let more = more || rows.len() > size;
        rows.truncate(size);
        let next = rows.last().filter(|_| more).map(|(key, id, _)| {
            Cursor {
                question,
                key: key.clone(),
                id: id.clone(),
                ranking: None,
            }
            .encode()
        });
        Ok(Page {
            schema: self.schema.to_owned(),
            as_of_ms: Moment::now().unix_ms,
            items: rows.into_iter().map(|(_, _, row)| row).collect(),
            next,
            matched,
            total,
            missing: self.missing,
        })
    }
}

fn order(sort: &SortSpec, a: (&SortKey, &String), b: (&SortKey, &String)) -> Ordering {
    sort.compare(a.0, b.0)
        .then_with(|| sort.directed(a.1.cmp(b.1)))
}
