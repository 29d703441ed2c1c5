//! Clicks and the wheel, where the operator has switched them on.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};

use super::super::keymap::Intent;
use super::super::layout;
use super::super::message::Effect;
use super::super::model::{Dialog, Model};
use super::{ask_list_again, keys};
use crate::views::columns_of;

/// Rows that one step of the wheel moves.
const WHEEL_ROWS: usize = 3;
/// Two clicks on a row within this time open it.
const DOUBLE_MS: u64 = 600;

/// Handles what the mouse did. It never changes anything in the cluster: dialogs are for keys.
pub(super) fn mouse(model: &mut Model, event: MouseEvent, effects: &mut Vec<Effect>) {
    if !model.mouse || model.prompt.is_some() {
        return;
    }
    let wheel = match event.kind {
        MouseEventKind::ScrollDown => Intent::Down,
        MouseEventKind::ScrollUp => Intent::Up,
        MouseEventKind::Down(MouseButton::Left) if model.dialog.is_none() => {
            model.dirty = true;
            return click(model, (event.column, event.row), effects);
        }
        _ => return,
    };
    model.dirty = true;
    match &mut model.dialog {
        None => (0..WHEEL_ROWS).for_each(|_| keys::movement(model, wheel, effects)),
        Some(Dialog::Help(_)) => super::help::scroll(model, wheel, WHEEL_ROWS),
        Some(_) => {}
    }
}

fn click(model: &mut Model, (column, row): (u16, u16), effects: &mut Vec<Effect>) {
    let body = layout::body(model.size);
    let (_, list, _) = layout::list_areas(model, body);
    if model.shown_list().is_none() || !list.contains((column, row).into()) {
        return;
    }
    if row == list.y {
        return sort_by(model, column, effects);
    }
    let line = usize::from(row - list.y - 1);
    let Some(key) = model.list().and_then(|list| list.point_at(line)) else {
        return;
    };
    let now_ms = model.now_ms;
    let again = model
        .clicked
        .take()
        .is_some_and(|(before, at)| before == key && now_ms.saturating_sub(at) <= DOUBLE_MS);
    if again {
        keys::open(model);
    } else {
        model.clicked = Some((key, now_ms));
    }
}

/// A click on a title sorts by its column; on that of the sorted one, the other way round.
fn sort_by(model: &mut Model, column: u16, effects: &mut Vec<Effect>) {
    let hit = columns_of(model, model.place()).into_iter().find(|info| {
        info.span
            .is_some_and(|(from, width)| (from..from + width).contains(&column))
    });
    let Some((name, figures)) = hit.and_then(|info| Some((info.sort?, info.figures))) else {
        return;
    };
    let Some(list) = model.list() else { return };
    match list.sort() {
        Some((sorted, descending)) if sorted == name => list.set_sort(name, !descending),
        _ => list.set_sort(name, figures),
    }
    ask_list_again(model, effects);
}
