//! Refusals since the start of each node, by realm and reason.

use ratatui::layout::Rect;
use shared::api::RefusalCount;
use shared::units::grouped;

use super::paint_list;
use super::refusals::explain;
use crate::console::model::Model;
use crate::widgets::canvas::Canvas;
use crate::widgets::grid::{Cell, Column};
use crate::widgets::text::Align::{Left, Right};

/// Columns.
pub(super) const COLUMNS: &[Column<RefusalCount, Model>] = &[
    Column {
        title: "REASON",
        help: "why",
        sort: Some("reason"),
        width: 18,
        most: 30,
        align: Left,
        rank: 0,
        cell: |r, _| Cell::new(&r.reason),
    },
    Column {
        title: "ERR",
        help: "STUN error code that was sent; - when dropped silently",
        sort: Some("err"),
        width: 4,
        most: 4,
        align: Right,
        rank: 1,
        cell: |r, _| {
            Cell::new(
                r.code
                    .map_or_else(|| "-".to_owned(), |code| code.to_string()),
            )
        },
    },
    Column {
        title: "COUNT",
        help: "since the start of the node",
        sort: Some("count"),
        width: 9,
        most: 14,
        align: Right,
        rank: 0,
        cell: |r, _| Cell::new(grouped(r.count)),
    },
    Column {
        title: "REALM",
        help: "realm, where one was known",
        sort: Some("realm"),
        width: 10,
        most: 32,
        align: Left,
        rank: 2,
        cell: |r, _| Cell::new(r.realm.as_ref().map_or("-", |realm| realm.as_str())),
    },
    Column {
        title: "NODE",
        help: "node that refused",
        sort: Some("node"),
        width: 8,
        most: 20,
        align: Left,
        rank: 3,
        cell: |r, _| Cell::new(r.node.as_str()),
    },
];

/// Paints the list.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    let list = &model.lists.refusal_counts;
    let panel = paint_list(model, canvas, body, list, COLUMNS, |_| false);
    if let Some(count) = list.selected() {
        explain(canvas, panel, &count.reason);
    }
}
