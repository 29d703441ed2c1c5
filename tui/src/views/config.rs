//! Settings of one node: what is in force and where it comes from.

use ratatui::layout::Rect;
use shared::api::{SettingView, setting_text};

use super::paint_list;
use crate::console::model::Model;
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::grid::{Cell, Column};
use crate::widgets::text::Align::Left;

/// Columns.
pub(super) const COLUMNS: &[Column<SettingView, Model>] = &[
    Column {
        title: "KEY",
        help: "name of the setting, as in the file",
        sort: None,
        width: 24,
        most: 32,
        align: Left,
        rank: 0,
        cell: |s, _| Cell::new(&s.key),
    },
    Column {
        title: "VALUE",
        help: "value in force",
        sort: None,
        width: 16,
        most: 60,
        align: Left,
        rank: 0,
        cell: |s, _| value(s),
    },
    Column {
        title: "DEFAULT",
        help: "built-in default",
        sort: None,
        width: 10,
        most: 30,
        align: Left,
        rank: 2,
        cell: |s, _| Cell::new(setting_text(&s.default)).tone(Tone::Faint),
    },
    Column {
        title: "SOURCE",
        help: "default, file, cluster or node (set here), environment, flag",
        sort: None,
        width: 8,
        most: 11,
        align: Left,
        rank: 1,
        cell: |s, _| Cell::new(s.source.as_str()),
    },
    Column {
        title: "APPLIES",
        help: "a change applies live, at the restart, or is made in the file only",
        sort: None,
        width: 7,
        most: 7,
        align: Left,
        rank: 0,
        cell: |s, _| Cell::new(s.applies.as_str()),
    },
    Column {
        title: "PENDING",
        help: "value that waits for the next start",
        sort: None,
        width: 10,
        most: 30,
        align: Left,
        rank: 1,
        cell: |s, _| pending(s),
    },
    Column {
        title: "HELP",
        help: "what it is for",
        sort: None,
        width: 10,
        most: 100,
        align: Left,
        rank: 3,
        cell: |s, _| Cell::new(&s.help).tone(Tone::Faint),
    },
];

fn value(setting: &SettingView) -> Cell {
    let tone = if setting.value == setting.default {
        Tone::Normal
    } else {
        Tone::Accent
    };
    Cell::new(setting.value_text()).tone(tone)
}

fn pending(setting: &SettingView) -> Cell {
    setting
        .pending
        .as_ref()
        .map_or_else(Cell::default, |value| {
            Cell::new(setting_text(value)).tone(Tone::Warn)
        })
}

/// Paints the list.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    paint_list(model, canvas, body, &model.lists.config, COLUMNS, |_| false);
}
