//! The list of banned networks.

use std::time::Duration;

use ratatui::layout::Rect;
use shared::api::BanView;
use shared::units::age;

use super::paint_list;
use crate::console::model::Model;
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::grid::{Cell, Column};
use crate::widgets::text::Align::Left;

/// Columns.
pub(super) const COLUMNS: &[Column<BanView, Model>] = &[
    Column {
        title: "OF",
        help: "whose network: of clients, or of peers",
        sort: None,
        width: 6,
        most: 6,
        align: Left,
        rank: 0,
        cell: |b, _| Cell::new(b.kind.as_str()),
    },
    Column {
        title: "NET",
        help: "the network",
        sort: None,
        width: 20,
        most: 50,
        align: Left,
        rank: 0,
        cell: |b, _| Cell::new(b.net.to_string()),
    },
    Column {
        title: "FOR",
        help: "how long it holds from now on; local: the store has it not yet",
        sort: None,
        width: 13,
        most: 13,
        align: Left,
        rank: 0,
        cell: left,
    },
    Column {
        title: "BY",
        help: "by whom",
        sort: None,
        width: 10,
        most: 24,
        align: Left,
        rank: 2,
        cell: |b, _| Cell::new(&b.by),
    },
    Column {
        title: "REASON",
        help: "why",
        sort: None,
        width: 16,
        most: 60,
        align: Left,
        rank: 1,
        cell: |b, _| Cell::new(&b.reason),
    },
    Column {
        title: "ID",
        help: "what it is called",
        sort: None,
        width: 12,
        most: 12,
        align: Left,
        rank: 3,
        cell: |b, _| Cell::new(&b.id),
    },
];

fn left(ban: &BanView, model: &Model) -> Cell {
    let time = age(Duration::from_millis(
        ban.until_ms.saturating_sub(model.now_ms),
    ));
    match ban.stored {
        true => Cell::new(time),
        false => Cell::new(format!("{time} local")).tone(Tone::Warn),
    }
}

/// Paints the list.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    let list = &model.lists.bans;
    let ended = |_: &BanView| false;
    paint_list(model, canvas, body, list, COLUMNS, ended);
}
