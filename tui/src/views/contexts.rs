//! Contexts of the configuration file.

use ratatui::layout::Rect;

use super::paint_list;
use crate::console::model::Model;
use crate::console::rows::ContextRow;
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::grid::{Cell, Column};
use crate::widgets::text::Align::Left;

/// Columns.
pub(super) const COLUMNS: &[Column<ContextRow, Model>] = &[
    Column {
        title: "CONTEXT",
        help: "name; * the console is on it",
        sort: None,
        width: 14,
        most: 30,
        align: Left,
        rank: 0,
        cell: |c, _| name(c),
    },
    Column {
        title: "ADDRESS",
        help: "where it leads",
        sort: None,
        width: 20,
        most: 80,
        align: Left,
        rank: 0,
        cell: |c, _| Cell::new(&c.address),
    },
    Column {
        title: "MODE",
        help: "rw: starts read-write",
        sort: None,
        width: 4,
        most: 4,
        align: Left,
        rank: 1,
        cell: |c, _| Cell::new(if c.rw { "rw" } else { "ro" }),
    },
    Column {
        title: "CONFIRM",
        help: "type: its name is typed before anything is killed",
        sort: None,
        width: 7,
        most: 7,
        align: Left,
        rank: 2,
        cell: |c, _| Cell::new(if c.confirm_typed { "type" } else { "ask" }),
    },
];

fn name(context: &ContextRow) -> Cell {
    if context.current {
        return Cell::new(format!("{} *", context.name)).tone(Tone::Accent);
    }
    Cell::new(&context.name)
}

/// Paints the list.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    paint_list(model, canvas, body, &model.lists.contexts, COLUMNS, |_| {
        false
    });
    if model.lists.contexts.rows.is_empty() {
        let text = "no contexts: `relayctl context add NAME ADDRESS` adds one";
        let room = body.width.saturating_sub(2);
        canvas.blank(Rect {
            y: body.y + 2,
            height: 1,
            ..body
        });
        canvas.text(body.x + 2, body.y + 2, room, text, Tone::Faint);
    }
}
