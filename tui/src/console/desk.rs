//! What an operator has laid out for the session: a scope over all lists, lines typed before, and
//! whether the preview is open.

use shared::filter::{Column, Filter};
use tui_input::Input;

use super::saved::SavedViews;
use super::theme::Tone;

/// Lines remembered of each kind.
const LINES_KEPT: usize = 100;

/// A line that is being typed.
pub(crate) struct Prompt {
    /// What for.
    pub(crate) kind: PromptKind,
    /// The line.
    pub(crate) input: Input,
    /// What was wrong with it.
    pub(crate) error: Option<String>,
    /// What Tab goes through, and how far it is.
    pub(crate) completion: Option<(Vec<String>, usize)>,
    /// How many lines back in the ones typed before, and what was typed before going there.
    pub(crate) recalled: Option<(usize, String)>,
    /// The filter that was in force when the line was opened.
    pub(crate) before: String,
}

/// What a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PromptKind {
    /// A command.
    Command,
    /// A filter.
    Filter,
}

/// A short message that goes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toast {
    /// What it says.
    pub(crate) text: String,
    /// How it looks.
    pub(crate) tone: Tone,
    /// When it goes.
    pub(crate) until_ms: u64,
}

/// The operator's own arrangement.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// A filter that is put in front of the filter of every list.
    pub(crate) scope: String,
    /// Views saved under a name.
    pub(crate) views: SavedViews,
    /// Rows that the export which runs has written, and of how many.
    pub(crate) export: Option<(u64, u64)>,
    /// The panel below a list is open or closed, whatever the screen has room for.
    pub(crate) preview: Option<bool>,
    commands: Vec<String>,
    filters: Vec<String>,
}

impl Desk {
    /// What of it holds in another context: habits, but no scope.
    pub(crate) fn elsewhere(self) -> Self {
        Self {
            scope: String::new(),
            export: None,
            ..self
        }
    }

    /// Lines of that kind typed before, oldest first.
    pub(crate) fn lines(&self, kind: PromptKind) -> &[String] {
        match kind {
            PromptKind::Command => &self.commands,
            PromptKind::Filter => &self.filters,
        }
    }

    /// Remembers a line; one that was typed before moves to the end.
    pub(crate) fn remember(&mut self, kind: PromptKind, line: &str) {
        let lines = match kind {
            PromptKind::Command => &mut self.commands,
            PromptKind::Filter => &mut self.filters,
        };
        if line.is_empty() {
            return;
        }
        lines.retain(|known| known != line);
        lines.push(line.to_owned());
        if lines.len() > LINES_KEPT {
            lines.remove(0);
        }
    }
}

/// The terms of a scope that a list with these columns knows.
pub(crate) fn scope_for(scope: &Filter, columns: &'static [Column]) -> String {
    let known = scope
        .parts()
        .map(|term| term.to_string())
        .filter(|term| Filter::parse(term, columns).is_ok());
    known.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::filter::{NODE_COLUMNS, SESSION_COLUMNS};

    #[test]
    fn a_list_takes_the_terms_of_a_scope_that_it_knows() {
        let scope =
            Filter::parse("realm=acme node=fra1 user=\"two words\"", SESSION_COLUMNS).unwrap();
        assert_eq!(scope_for(&scope, NODE_COLUMNS), "node=fra1");
        assert_eq!(
            scope_for(&scope, SESSION_COLUMNS),
            "realm=acme node=fra1 user=\"two words\""
        );
    }

    #[test]
    fn lines_are_remembered_once_and_not_without_end() {
        let mut desk = Desk::default();
        for n in 0..300 {
            desk.remember(PromptKind::Command, &format!("node n{n}"));
        }
        desk.remember(PromptKind::Command, "node n299");
        desk.remember(PromptKind::Command, "node n250");
        let lines = desk.lines(PromptKind::Command);
        assert_eq!(lines.len(), LINES_KEPT);
        assert_eq!(lines.last().map(String::as_str), Some("node n250"));
    }
}
