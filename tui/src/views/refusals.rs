//! The latest refusals, newest first.

use ratatui::layout::Rect;
use shared::api::RefusalView;
use shared::units::grouped;

use super::paint_list;
use crate::console::document::explained;
use crate::console::model::Model;
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::grid::{Cell, Column};
use crate::widgets::text::Align::{Left, Right};

/// Columns.
pub(super) const COLUMNS: &[Column<RefusalView, Model>] = &[
    Column {
        title: "TIME",
        help: "when, the last time",
        sort: Some("time"),
        width: 8,
        most: 8,
        align: Left,
        rank: 0,
        cell: |r, m| Cell::new(m.clock(r.at_ms)),
    },
    Column {
        title: "SOURCE",
        help: "where the request came from",
        sort: Some("source"),
        width: 15,
        most: 47,
        align: Left,
        rank: 0,
        cell: |r, _| Cell::new(r.source.to_string()),
    },
    Column {
        title: "USER",
        help: "user that was named; only a claim until it authenticates",
        sort: Some("user"),
        width: 11,
        most: 24,
        align: Left,
        rank: 1,
        cell: |r, _| Cell::new(r.user.as_deref().unwrap_or("-")),
    },
    Column {
        title: "REALM",
        help: "realm",
        sort: Some("realm"),
        width: 8,
        most: 16,
        align: Left,
        rank: 4,
        cell: |r, _| Cell::new(r.realm.as_ref().map_or("-", |realm| realm.as_str())),
    },
    Column {
        title: "ERR",
        help: "STUN error code that was sent; - when dropped silently",
        sort: Some("err"),
        width: 3,
        most: 3,
        align: Right,
        rank: 0,
        cell: |r, _| {
            Cell::new(
                r.code
                    .map_or_else(|| "-".to_owned(), |code| code.to_string()),
            )
        },
    },
    Column {
        title: "REASON",
        help: "why",
        sort: Some("reason"),
        width: 14,
        most: 24,
        align: Left,
        rank: 0,
        cell: |r, _| Cell::new(&r.reason),
    },
    Column {
        title: "PEER",
        help: "peer that was asked for",
        sort: Some("peer"),
        width: 10,
        most: 47,
        align: Left,
        rank: 5,
        cell: |r, _| Cell::new(r.peer.as_deref().unwrap_or("-")),
    },
    Column {
        title: "COUNT",
        help: "how often in a row",
        sort: Some("count"),
        width: 5,
        most: 7,
        align: Right,
        rank: 2,
        cell: |r, _| Cell::new(grouped(r.count)),
    },
    Column {
        title: "NODE",
        help: "node that refused",
        sort: Some("node"),
        width: 6,
        most: 16,
        align: Left,
        rank: 3,
        cell: |r, _| Cell::new(r.node.as_str()),
    },
];

/// Paints the list, and what the selected reason means below it where there is room.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    let list = &model.lists.refusals;
    let panel = paint_list(model, canvas, body, list, COLUMNS, |_| false);
    if let Some(refusal) = list.selected() {
        explain(canvas, panel, &refusal.reason);
    }
}

/// What a reason means, in the panel below a list.
pub(super) fn explain(canvas: &mut Canvas<'_>, panel: Rect, reason: &str) {
    if panel.height < 3 {
        return;
    }
    let inner = canvas.panel(panel, reason);
    let (means, remedy) = explained(reason);
    let lines = [format!("means  {means}"), format!("do     {remedy}")];
    for (y, line) in (inner.y..inner.bottom()).zip(&lines) {
        canvas.text(inner.x, y, inner.width, line, Tone::Normal);
    }
}
