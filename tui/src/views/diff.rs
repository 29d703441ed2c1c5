//! What differs between the settings of two nodes.

use ratatui::layout::Rect;

use super::paint_list;
use crate::console::model::{Model, Place};
use crate::console::rows::DiffRow;
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::grid::{Cell, Column};
use crate::widgets::text::Align::Left;

/// Columns.
pub(super) const COLUMNS: &[Column<DiffRow, Model>] = &[
    Column {
        title: "KEY",
        help: "name of the setting",
        sort: None,
        width: 20,
        most: 32,
        align: Left,
        rank: 0,
        cell: |d, _| Cell::new(&d.key),
    },
    Column {
        title: "FIRST",
        help: "value on the node that was named first",
        sort: None,
        width: 12,
        most: 48,
        align: Left,
        rank: 0,
        cell: |d, _| Cell::new(&d.left.0),
    },
    Column {
        title: "SOURCE",
        help: "where that value comes from",
        sort: None,
        width: 8,
        most: 11,
        align: Left,
        rank: 1,
        cell: |d, _| Cell::new(d.left.1).tone(Tone::Faint),
    },
    Column {
        title: "SECOND",
        help: "value on the other node",
        sort: None,
        width: 12,
        most: 48,
        align: Left,
        rank: 0,
        cell: |d, _| Cell::new(&d.right.0),
    },
    Column {
        title: "SOURCE 2",
        help: "where that value comes from",
        sort: None,
        width: 8,
        most: 11,
        align: Left,
        rank: 1,
        cell: |d, _| Cell::new(d.right.1).tone(Tone::Faint),
    },
];

/// Paints the list.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    let list = &model.lists.diff;
    paint_list(model, canvas, body, list, COLUMNS, |_| false);
    let same = list.rows.is_empty() && list.facts.is_some();
    if let (true, Place::Diff(left, right)) = (same, model.place()) {
        let text = format!("the settings of {left} and {right} are the same");
        let room = body.width.saturating_sub(2);
        canvas.text(body.x + 2, body.y + 2, room, &text, Tone::Faint);
    }
}
