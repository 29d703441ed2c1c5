//! A TOML document whose every error names its line.

use std::path::Path;

use shared::{display_safe, filter::nearest};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::contexts::ContextError;

/// A parsed file.
pub(super) struct Document<'a> {
    path: &'a Path,
    text: &'a str,
    root: Spanned<DeTable<'a>>,
}

impl<'a> Document<'a> {
    /// Parses `text`. Its lines are never quoted: one may hold a token.
    pub(super) fn parse(path: &'a Path, text: &'a str) -> Result<Self, ContextError> {
        let root = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            wrong(path, text, at, error.message())
        })?;
        Ok(Self { path, text, root })
    }

    /// The whole of it.
    pub(super) fn root(&'a self) -> Section<'a> {
        Section {
            path: self.path,
            text: self.text,
            at: 0,
            name: String::new(),
            table: self.root.get_ref(),
        }
    }
}

/// A table.
pub(super) struct Section<'a> {
    path: &'a Path,
    text: &'a str,
    at: usize,
    name: String,
    table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    /// Refuses keys that are none of `names`.
    pub(super) fn known(&self, names: &[&str]) -> Result<(), ContextError> {
        let Some(unknown) = self.entries().find(|e| !names.contains(&e.key)) else {
            return Ok(());
        };
        let near = nearest(unknown.key, names.iter().copied()).map_or_else(
            || format!("there are {}", names.join(", ")),
            |near| format!("did you mean '{near}'?"),
        );
        Err(unknown.wrong(&format!("no such key; {near}")))
    }

    /// What it holds, in the order of the file.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut entries: Vec<Entry<'_>> = self
            .table
            .iter()
            .map(|(key, value)| Entry {
                section: self,
                key: key.get_ref(),
                at: key.span().start,
                value: value.get_ref(),
            })
            .collect();
        entries.sort_by_key(|entry| entry.at);
        entries.into_iter()
    }

    /// The table called `name` in it.
    pub(super) fn section(&self, name: &str) -> Result<Option<Section<'_>>, ContextError> {
        let found = self.table.iter().find(|(key, _)| key.get_ref() == name);
        found
            .map(|(key, value)| self.below(key.get_ref(), key.span().start, value.get_ref()))
            .transpose()
    }

    fn below<'b>(
        &'b self,
        key: &str,
        at: usize,
        value: &'b DeValue<'b>,
    ) -> Result<Section<'b>, ContextError> {
        let name = if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        };
        let Some(table) = value.as_table() else {
            let said = format!("{}: a table, as in [{0}]", display_safe(&name));
            return Err(wrong(self.path, self.text, at, &said));
        };
        Ok(Section {
            path: self.path,
            text: self.text,
            at,
            name,
            table,
        })
    }

    /// An error at its head.
    pub(super) fn wrong(&self, said: &str) -> ContextError {
        let said = format!("[{}] {said}", display_safe(&self.name));
        wrong(self.path, self.text, self.at, &said)
    }
}

/// A key and its value.
pub(super) struct Entry<'a> {
    section: &'a Section<'a>,
    /// The key.
    pub(super) key: &'a str,
    at: usize,
    value: &'a DeValue<'a>,
}

impl<'a> Entry<'a> {
    /// An error at its line.
    pub(super) fn wrong(&self, said: &str) -> ContextError {
        let key = display_safe(self.key);
        let name = display_safe(&self.section.name);
        let said = if name.is_empty() {
            format!("{key}: {said}")
        } else {
            format!("[{name}] {key}: {said}")
        };
        wrong(self.section.path, self.section.text, self.at, &said)
    }

    /// A text.
    pub(super) fn string(&self) -> Result<&'a str, ContextError> {
        let text = self.value.as_str();
        text.ok_or_else(|| self.wrong("a text in quotes"))
    }

    /// One text or a list of them.
    pub(super) fn strings(&self) -> Result<Vec<&'a str>, ContextError> {
        let Some(list) = self.value.as_array() else {
            return Ok(vec![self.string()?]);
        };
        let texts = list.iter().map(|item| item.get_ref().as_str());
        let texts: Option<Vec<&str>> = texts.collect();
        texts.ok_or_else(|| self.wrong("a text in quotes, or a list of them"))
    }

    /// Yes or no.
    pub(super) fn boolean(&self) -> Result<bool, ContextError> {
        let value = self.value.as_bool();
        value.ok_or_else(|| self.wrong("true or false"))
    }

    /// A table.
    pub(super) fn section(&self) -> Result<Section<'a>, ContextError> {
        self.section.below(self.key, self.at, self.value)
    }
}

fn wrong(path: &Path, text: &str, at: usize, said: &str) -> ContextError {
    let before = text.get(..at).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    ContextError::Content {
        path: path.to_owned(),
        reason: format!("line {line}: {said}"),
    }
}
