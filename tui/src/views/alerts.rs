//! Conditions that hold, worst first.

use ratatui::layout::Rect;
use shared::api::AlertView;

use super::events::severity;
use super::paint_list;
use crate::console::model::Model;
use crate::widgets::canvas::Canvas;
use crate::widgets::grid::{Cell, Column};
use crate::widgets::text::Align::Left;

/// Columns.
pub(super) const COLUMNS: &[Column<AlertView, Model>] = &[
    Column {
        title: "SEV",
        help: "how much it matters",
        sort: Some("severity"),
        width: 4,
        most: 4,
        align: Left,
        rank: 0,
        cell: |a, _| severity(a.severity),
    },
    Column {
        title: "SINCE",
        help: "since when it holds",
        sort: Some("since"),
        width: 8,
        most: 8,
        align: Left,
        rank: 0,
        cell: |a, m| Cell::new(m.clock(a.since_ms)),
    },
    Column {
        title: "RULE",
        help: "condition",
        sort: Some("rule"),
        width: 20,
        most: 24,
        align: Left,
        rank: 1,
        cell: |a, _| Cell::new(&a.rule),
    },
    Column {
        title: "NODE",
        help: "node concerned",
        sort: Some("node"),
        width: 8,
        most: 16,
        align: Left,
        rank: 2,
        cell: |a, _| Cell::new(a.node.as_ref().map_or("-", |node| node.as_str())),
    },
    Column {
        title: "REALM",
        help: "realm concerned",
        sort: Some("realm"),
        width: 8,
        most: 16,
        align: Left,
        rank: 3,
        cell: |a, _| Cell::new(a.realm.as_ref().map_or("-", |realm| realm.as_str())),
    },
    Column {
        title: "TEXT",
        help: "in words, with what to do",
        sort: None,
        width: 10,
        most: 400,
        align: Left,
        rank: 0,
        cell: |a, _| Cell::new(&a.text),
    },
];

/// Paints the list.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    paint_list(model, canvas, body, &model.lists.alerts, COLUMNS, |_| false);
}
