//! Where clients are sent instead.

use ratatui::layout::Rect;
use shared::api::{RedirectHealth, RedirectView};

use super::paint_list;
use crate::console::model::Model;
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::grid::{Cell, Column};
use crate::widgets::text::Align::{Left, Right};

/// Columns.
pub(super) const COLUMNS: &[Column<RedirectView, Model>] = &[
    Column {
        title: "ID",
        help: "its id",
        sort: Some("id"),
        width: 8,
        most: 8,
        align: Left,
        rank: 0,
        cell: |r, _| Cell::new(&r.id),
    },
    Column {
        title: "TR",
        help: "client transport that is redirected",
        sort: Some("transport"),
        width: 4,
        most: 4,
        align: Left,
        rank: 0,
        cell: |r, _| Cell::new(r.transport.as_str()),
    },
    Column {
        title: "TARGET",
        help: "where clients are sent",
        sort: Some("target"),
        width: 21,
        most: 47,
        align: Left,
        rank: 0,
        cell: |r, _| Cell::new(r.target.to_string()),
    },
    Column {
        title: "NODE",
        help: "node that redirects; all: every node but the target",
        sort: Some("node"),
        width: 8,
        most: 16,
        align: Left,
        rank: 1,
        cell: |r, _| Cell::new(r.node.as_ref().map_or("all", |node| node.as_str())),
    },
    Column {
        title: "WEIGHT",
        help: "its share",
        sort: Some("weight"),
        width: 6,
        most: 6,
        align: Right,
        rank: 2,
        cell: |r, _| Cell::new(r.weight.to_string()),
    },
    Column {
        title: "HEALTH",
        help: "whether the target answers STUN",
        sort: Some("health"),
        width: 7,
        most: 7,
        align: Left,
        rank: 0,
        cell: |r, _| health(r),
    },
    Column {
        title: "SINCE",
        help: "since when it is in that state",
        sort: None,
        width: 8,
        most: 8,
        align: Left,
        rank: 3,
        cell: |r, m| since(r, m),
    },
    Column {
        title: "DOMAIN",
        help: "name in the certificate of a TLS target",
        sort: None,
        width: 8,
        most: 30,
        align: Left,
        rank: 4,
        cell: |r, _| Cell::new(r.domain.as_deref().unwrap_or("-")),
    },
    Column {
        title: "NOTE",
        help: "operator's note",
        sort: Some("note"),
        width: 8,
        most: 50,
        align: Left,
        rank: 5,
        cell: |r, _| Cell::new(&r.note),
    },
];

fn health(redirect: &RedirectView) -> Cell {
    let tone = match redirect.health {
        RedirectHealth::Up => Tone::Good,
        RedirectHealth::Unknown => Tone::Faint,
        RedirectHealth::Down => Tone::Bad,
    };
    Cell::new(redirect.health.as_str()).tone(tone)
}

fn since(redirect: &RedirectView, model: &Model) -> Cell {
    if redirect.health_since_ms == 0 {
        return Cell::new("-").tone(Tone::Faint);
    }
    Cell::new(model.clock(redirect.health_since_ms))
}

/// Paints the list.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    paint_list(model, canvas, body, &model.lists.redirects, COLUMNS, |_| {
        false
    });
}
