//! What happens in the cluster, as it happens.

use ratatui::layout::Rect;
use shared::api::{EventView, Severity};

use super::paint_list;
use crate::console::model::{Model, Stream};
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::grid::{Cell, Column};
use crate::widgets::text::Align::Left;

/// Columns.
pub(super) const COLUMNS: &[Column<EventView, Model>] = &[
    Column {
        title: "TIME",
        help: "when",
        sort: None,
        width: 8,
        most: 8,
        align: Left,
        rank: 0,
        cell: |e, m| Cell::new(m.clock(e.at_ms)),
    },
    Column {
        title: "SEV",
        help: "INFO, NOTE, WARN or CRIT",
        sort: None,
        width: 4,
        most: 4,
        align: Left,
        rank: 0,
        cell: |e, _| severity(e.severity),
    },
    Column {
        title: "NODE",
        help: "where",
        sort: None,
        width: 8,
        most: 16,
        align: Left,
        rank: 1,
        cell: |e, _| Cell::new(e.node.as_str()),
    },
    Column {
        title: "KIND",
        help: "what",
        sort: None,
        width: 15,
        most: 15,
        align: Left,
        rank: 2,
        cell: |e, _| Cell::new(e.kind.as_str()),
    },
    Column {
        title: "TEXT",
        help: "in words",
        sort: None,
        width: 10,
        most: 400,
        align: Left,
        rank: 0,
        cell: |e, _| Cell::new(&e.text),
    },
];

/// The word of a severity in its tone.
pub(super) fn severity(severity: Severity) -> Cell {
    Cell::new(severity.to_string()).tone(match severity {
        Severity::Info => Tone::Faint,
        Severity::Notice => Tone::Normal,
        Severity::Warn => Tone::Warn,
        Severity::Crit => Tone::Bad,
    })
}

/// Paints the tail.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    paint_list(model, canvas, body, &model.lists.events, COLUMNS, |_| false);
    let state = match (model.follow, model.stream) {
        (_, Stream::Closed { .. }) => "asked for, not streamed",
        (true, Stream::Open) => "following",
        (false, Stream::Open) => "not following (f)",
    };
    if body.width >= 72 {
        canvas.right(body.right() - 18, body.y, 26, state, Tone::Faint);
    }
}
