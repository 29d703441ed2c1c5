//! Who changed what, newest first.

use ratatui::layout::Rect;
use shared::api::AuditView;

use super::paint_list;
use crate::console::model::Model;
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::grid::{Cell, Column};
use crate::widgets::text::Align::Left;

/// Columns.
pub(super) const COLUMNS: &[Column<AuditView, Model>] = &[
    Column {
        title: "WHEN",
        help: "when",
        sort: Some("time"),
        width: 8,
        most: 8,
        align: Left,
        rank: 0,
        cell: |a, m| Cell::new(m.clock(a.at_ms)),
    },
    Column {
        title: "WHO",
        help: "unix:<uid> or token:<id>",
        sort: Some("actor"),
        width: 10,
        most: 18,
        align: Left,
        rank: 0,
        cell: |a, _| Cell::new(&a.actor),
    },
    Column {
        title: "ACTION",
        help: "what was asked, as in session.kill",
        sort: Some("action"),
        width: 12,
        most: 18,
        align: Left,
        rank: 0,
        cell: |a, _| Cell::new(&a.action),
    },
    Column {
        title: "TARGET",
        help: "of what",
        sort: Some("target"),
        width: 14,
        most: 40,
        align: Left,
        rank: 1,
        cell: |a, _| Cell::new(&a.target),
    },
    Column {
        title: "RESULT",
        help: "ok, or the error",
        sort: Some("result"),
        width: 8,
        most: 40,
        align: Left,
        rank: 2,
        cell: |a, _| result(a),
    },
    Column {
        title: "REASON",
        help: "why, as the operator gave it",
        sort: Some("reason"),
        width: 10,
        most: 100,
        align: Left,
        rank: 3,
        cell: |a, _| Cell::new(&a.reason),
    },
    Column {
        title: "NODE",
        help: "node that received the call",
        sort: Some("node"),
        width: 8,
        most: 16,
        align: Left,
        rank: 4,
        cell: |a, _| Cell::new(a.node.as_str()),
    },
];

fn result(record: &AuditView) -> Cell {
    let tone = if record.result == "ok" {
        Tone::Good
    } else {
        Tone::Warn
    };
    Cell::new(&record.result).tone(tone)
}

/// Paints the list.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    paint_list(model, canvas, body, &model.lists.audit, COLUMNS, |_| false);
}
