//! Going to another context of the configuration file without leaving.

use std::fmt;
use std::sync::Arc;

use super::model::Model;
use super::rows::ContextRow;
use super::theme::Tone;
use crate::client::AdminApi;
use crate::guardrails::Guardrails;

/// A context as the list of contexts shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextEntry {
    /// Its name.
    pub name: String,
    /// Where it leads.
    pub address: String,
    /// It starts read-write.
    pub rw: bool,
    /// Its name must be typed before anything is killed.
    pub confirm_typed: bool,
}

/// Knows the contexts, and leads to them.
pub trait Switchboard: Send + Sync {
    /// All contexts.
    fn contexts(&self) -> Vec<ContextEntry>;
    /// The way to one of them; its node need not answer.
    ///
    /// # Errors
    /// Why there is no such way, for people.
    fn connect(&self, name: &str) -> Result<Connected, String>;
}

/// The way to a context.
#[derive(Clone)]
pub struct Connected {
    /// Its node.
    pub api: Arc<dyn AdminApi>,
    /// What it is.
    pub entry: ContextEntry,
    /// Its rules for changes.
    pub guardrails: Guardrails,
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connected").field(&self.entry).finish()
    }
}

impl Model {
    /// Shows these contexts.
    pub(crate) fn set_contexts(&mut self, entries: Vec<ContextEntry>) {
        let rows: Vec<ContextRow> = entries
            .into_iter()
            .map(|entry| ContextRow {
                current: entry.name == self.context,
                name: entry.name,
                address: entry.address,
                rw: entry.rw,
                confirm_typed: entry.confirm_typed,
            })
            .collect();
        let total = rows.len();
        self.lists.contexts.set_rows(rows, total, self.now_ms);
    }

    /// Becomes a console on another context: nothing that was learnt of the one before is kept, so
    /// that no row, mark or dialog of it can be taken for one of the new one.
    pub(crate) fn switch_to(&mut self, to: &Connected) {
        let entry = &to.entry;
        let mut new = Self::new(&entry.name, self.theme, self.size, self.now_ms);
        new.theme_name.clone_from(&self.theme_name);
        new.themes = std::mem::take(&mut self.themes);
        new.keymap = std::mem::take(&mut self.keymap);
        new.aliases = std::mem::take(&mut self.aliases);
        new.desk = std::mem::take(&mut self.desk).elsewhere();
        new.mouse = self.mouse;
        new.zone = self.zone.clone();
        new.refresh = self.refresh;
        new.wants_rw = entry.rw;
        new.confirm_typed = entry.confirm_typed;
        new.guardrails = to.guardrails.clone();
        let known = self.lists.contexts.rows.iter().map(|row| ContextEntry {
            name: row.name.clone(),
            address: row.address.clone(),
            rw: row.rw,
            confirm_typed: row.confirm_typed,
        });
        new.set_contexts(known.collect());
        *self = new;
        self.say(
            Tone::Good,
            format!("on {} now, at {}", entry.name, entry.address),
        );
    }
}
