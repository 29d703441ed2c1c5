//! Sessions by group: who makes the load.

use ratatui::layout::Rect;
use shared::api::GroupView;
use shared::units::{byte_count, grouped, short_number};

use super::paint_list;
use crate::console::model::Model;
use crate::widgets::canvas::Canvas;
use crate::widgets::grid::{Cell, Column};
use crate::widgets::text::Align::{Left, Right};

/// Columns.
pub(super) const COLUMNS: &[Column<GroupView, Model>] = &[
    Column {
        title: "GROUP",
        help: "user, realm, network or node",
        sort: Some("key"),
        width: 18,
        most: 46,
        align: Left,
        rank: 0,
        cell: |g, _| Cell::new(&g.key),
    },
    Column {
        title: "REALM",
        help: "realm of a user",
        sort: Some("realm"),
        width: 8,
        most: 20,
        align: Left,
        rank: 3,
        cell: |g, _| Cell::new(g.realm.as_ref().map_or("-", |realm| realm.as_str())),
    },
    Column {
        title: "SESS",
        help: "live sessions; ~ at least so many: a node left this group out of a long list",
        sort: Some("sessions"),
        width: 7,
        most: 9,
        align: Right,
        rank: 0,
        cell: |g, _| sessions(g),
    },
    Column {
        title: "RATE",
        help: "bits per second, both directions",
        sort: Some("rate"),
        width: 6,
        most: 6,
        align: Right,
        rank: 0,
        cell: |g, _| Cell::new(short_number(g.rate_in_bps.saturating_add(g.rate_out_bps))),
    },
    Column {
        title: "IN",
        help: "bits per second from clients",
        sort: Some("in"),
        width: 6,
        most: 6,
        align: Right,
        rank: 2,
        cell: |g, _| Cell::new(short_number(g.rate_in_bps)),
    },
    Column {
        title: "OUT",
        help: "bits per second to clients",
        sort: Some("out"),
        width: 6,
        most: 6,
        align: Right,
        rank: 2,
        cell: |g, _| Cell::new(short_number(g.rate_out_bps)),
    },
    Column {
        title: "BYTES",
        help: "payload bytes of the sessions that live, both directions",
        sort: Some("bytes"),
        width: 7,
        most: 7,
        align: Right,
        rank: 4,
        cell: |g, _| Cell::new(byte_count(g.in_bytes.saturating_add(g.out_bytes))),
    },
    Column {
        title: "DROPS",
        help: "packets dropped, of the sessions that live",
        sort: Some("drops"),
        width: 6,
        most: 6,
        align: Right,
        rank: 5,
        cell: |g, _| Cell::new(short_number(g.drops)),
    },
    Column {
        title: "REFUSED",
        help: "among the latest refusals",
        sort: Some("refusals"),
        width: 7,
        most: 8,
        align: Right,
        rank: 1,
        cell: |g, _| Cell::new(short_number(g.refusals)),
    },
];

fn sessions(group: &GroupView) -> Cell {
    let sign = if group.approximate { "~" } else { "" };
    Cell::new(format!("{sign}{}", grouped(group.sessions)))
}

/// Paints the list.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    paint_list(model, canvas, body, &model.lists.groups, COLUMNS, |_| false);
}
