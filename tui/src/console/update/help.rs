//! The help: scrolling and searching.

use crossterm::event::{KeyCode, KeyEvent};

use super::super::keymap::{Intent, Views};
use super::super::layout;
use super::super::model::{Dialog, HelpDialog, Model};
use crate::views::help;
use crate::widgets::form::edit_request;

/// Opens it.
pub(super) fn open(model: &mut Model) {
    model.dialog = Some(Dialog::Help(Box::default()));
}

/// Handles a key while it is open. Its own keys are those of the views.
pub(super) fn key(model: &mut Model, event: KeyEvent) {
    let Some(Dialog::Help(mut dialog)) = model.dialog.take() else {
        return;
    };
    let stays = if dialog.typing {
        typed(&mut dialog, event);
        true
    } else {
        pressed(model, &mut dialog, event)
    };
    if stays {
        let most = last_top(model, &dialog);
        dialog.top = dialog.top.min(most);
        model.dialog = Some(Dialog::Help(dialog));
    }
}

fn typed(dialog: &mut HelpDialog, event: KeyEvent) {
    match event.code {
        KeyCode::Enter => dialog.typing = false,
        KeyCode::Esc => {
            dialog.typing = false;
            dialog.query.reset();
        }
        _ => {
            if let Some(request) = edit_request(event) {
                dialog.query.handle(request);
                dialog.top = 0;
            }
        }
    }
}

/// The wheel turns.
pub(super) fn scroll(model: &mut Model, intent: Intent, rows: usize) {
    let Some(Dialog::Help(mut dialog)) = model.dialog.take() else {
        return;
    };
    dialog.top = match intent {
        Intent::Up => dialog.top.saturating_sub(rows),
        _ => (dialog.top + rows).min(last_top(model, &dialog)),
    };
    model.dialog = Some(Dialog::Help(dialog));
}

/// Whether the help stays.
fn pressed(model: &Model, dialog: &mut HelpDialog, event: KeyEvent) -> bool {
    let page = usize::from(help::room(layout::body(model.size)).1).max(1);
    let binding = model.keymap.lookup(event, Views::SESSIONS);
    let Some(intent) = binding.map(|binding| binding.intent) else {
        return true;
    };
    match intent {
        Intent::Down => dialog.top += 1,
        Intent::Up => dialog.top = dialog.top.saturating_sub(1),
        Intent::PageDown | Intent::Mark => dialog.top += page,
        Intent::PageUp => dialog.top = dialog.top.saturating_sub(page),
        Intent::HalfDown => dialog.top += page / 2,
        Intent::HalfUp => dialog.top = dialog.top.saturating_sub(page / 2),
        Intent::Top => dialog.top = 0,
        Intent::End => dialog.top = usize::MAX,
        Intent::Filter => dialog.typing = true,
        Intent::Leave if !dialog.query.value().is_empty() => dialog.query.reset(),
        Intent::Leave | Intent::Quit | Intent::Help | Intent::Open => return false,
        _ => {}
    }
    true
}

/// The first line when the last one is at the bottom.
fn last_top(model: &Model, dialog: &HelpDialog) -> usize {
    let (columns, rows) = help::room(layout::body(model.size));
    let lines = help::lines(model, columns, dialog.query.value());
    lines.len().saturating_sub(usize::from(rows))
}
