//! One line of the table of actions, and the words that lines are written with.

use crossterm::event::KeyCode;
use shared::api::Role;

use super::{Chord, Intent, Views};

pub(super) const fn key(c: char) -> Chord {
    Chord::key(c)
}

pub(super) const fn ctrl(c: char) -> Chord {
    Chord::ctrl(c)
}

pub(super) const fn code(code: KeyCode) -> Chord {
    Chord::code(code)
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Binding {
    /// The keys unless the configuration gives others, the one shown in hints first.
    pub(super) defaults: &'static [Chord],
    /// What they mean.
    pub(crate) intent: Intent,
    /// Where.
    pub(crate) views: Views,
    /// The word in the line of hints; empty: not shown there.
    pub(crate) hint: &'static str,
    /// The sentence in the help.
    pub(crate) help: &'static str,
    /// The role that a changing key needs; such keys exist in read-write mode only.
    pub(crate) needs: Option<Role>,
}

pub(super) const fn bind(
    defaults: &'static [Chord],
    intent: Intent,
    views: Views,
    hint: &'static str,
    help: &'static str,
) -> Binding {
    Binding {
        defaults,
        intent,
        views,
        hint,
        help,
        needs: None,
    }
}

pub(super) const fn change(
    defaults: &'static [Chord],
    intent: Intent,
    views: Views,
    hint: &'static str,
    help: &'static str,
    needs: Role,
) -> Binding {
    Binding {
        defaults,
        intent,
        views,
        hint,
        help,
        needs: Some(needs),
    }
}
