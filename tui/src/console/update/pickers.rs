//! Keys of the small menus over a list.

use crossterm::event::{KeyCode, KeyEvent};

use super::super::message::Effect;
use super::super::model::{Dialog, Model};
use super::super::pickers::ColumnPicker;
use super::ask_list_again;
use crate::views::{columns_of, sort_columns};

/// `s`: the column to sort by.
pub(super) fn open_sort(model: &mut Model) {
    let current = model.list().and_then(|l| l.sort());
    let chosen = sort_columns(model)
        .iter()
        .position(|(_, name, _)| current.is_some_and(|c| c.0 == *name));
    model.dialog = Some(Dialog::Sort(chosen.unwrap_or(0)));
}

/// A key while the column to sort by is chosen.
pub(super) fn sort_key(model: &mut Model, event: KeyEvent, effects: &mut Vec<Effect>) {
    let columns = sort_columns(model);
    let Some(Dialog::Sort(chosen)) = &mut model.dialog else {
        return;
    };
    match event.code {
        KeyCode::Down | KeyCode::Char('j') => {
            *chosen = (*chosen + 1).min(columns.len().saturating_sub(1))
        }
        KeyCode::Up | KeyCode::Char('k') => *chosen = chosen.saturating_sub(1),
        KeyCode::Esc | KeyCode::Char('q' | 's') => model.dialog = None,
        KeyCode::Enter => {
            let column = columns.get(*chosen).copied();
            model.dialog = None;
            if let (Some((_, name, figures)), Some(list)) = (column, model.list()) {
                list.set_sort(name, figures);
                ask_list_again(model, effects);
            }
        }
        _ => {}
    }
}

/// `<` and `>`: the next column on the screen that can be sorted by.
pub(super) fn move_sort(model: &mut Model, right: bool, effects: &mut Vec<Effect>) {
    let columns = columns_of(model, model.place());
    let sortable: Vec<_> = columns
        .iter()
        .filter(|c| c.shown)
        .filter_map(|c| c.sort.map(|name| (name, c.figures)))
        .collect();
    let Some(list) = model.list() else { return };
    let current = list.sort().map(|(name, _)| name);
    let at = sortable.iter().position(|(name, _)| Some(*name) == current);
    let next = match at {
        None => 0,
        Some(at) if right => at + 1,
        Some(at) => at.wrapping_sub(1),
    };
    if let Some((name, figures)) = sortable.get(next) {
        list.set_sort(name, *figures);
        ask_list_again(model, effects);
    }
}

/// `w`: which columns the list shows, and in which order.
pub(super) fn open_columns(model: &mut Model) {
    // Columns that are scrolled away are shown ones too.
    if let Some(list) = model.list() {
        let columns = list.columns().map(<[_]>::to_vec);
        list.set_columns(columns);
    }
    let items = columns_of(model, model.place())
        .iter()
        .map(|c| (c.title, c.shown))
        .collect();
    let before = model
        .shown_list()
        .and_then(|l| l.columns().map(<[_]>::to_vec));
    let picker = ColumnPicker {
        items,
        at: 0,
        before,
    };
    model.dialog = Some(Dialog::Columns(Box::new(picker)));
}

/// A key while columns are chosen. The list behind shows them at once.
pub(super) fn columns_key(model: &mut Model, event: KeyEvent) {
    let Some(Dialog::Columns(picker)) = &mut model.dialog else {
        return;
    };
    let last = picker.items.len().saturating_sub(1);
    let columns = match event.code {
        KeyCode::Down | KeyCode::Char('j') => {
            picker.at = (picker.at + 1).min(last);
            return;
        }
        KeyCode::Up | KeyCode::Char('k') => {
            picker.at = picker.at.saturating_sub(1);
            return;
        }
        KeyCode::Char(' ') => {
            if let Some(item) = picker.items.get_mut(picker.at) {
                item.1 = !item.1;
            }
            Some(picker.items.clone())
        }
        KeyCode::Char('J' | '>') | KeyCode::Right => {
            picker.shift(true);
            Some(picker.items.clone())
        }
        KeyCode::Char('K' | '<') | KeyCode::Left => {
            picker.shift(false);
            Some(picker.items.clone())
        }
        KeyCode::Char('r') => {
            model.dialog = None;
            None
        }
        KeyCode::Esc | KeyCode::Char('q') => {
            let before = picker.before.take();
            model.dialog = None;
            before
        }
        KeyCode::Enter | KeyCode::Char('w') => {
            model.dialog = None;
            return;
        }
        _ => return,
    };
    if let Some(list) = model.list() {
        list.set_columns(columns);
    }
}
