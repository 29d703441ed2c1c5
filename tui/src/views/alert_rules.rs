//! All conditions that the nodes judge, with their thresholds.

use ratatui::layout::Rect;
use shared::api::AlertRule;

use super::paint_list;
use crate::console::fleet_forms::threshold_text;
use crate::console::model::Model;
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::grid::{Cell, Column};
use crate::widgets::text::Align::{Left, Right};

/// Columns.
pub(super) const COLUMNS: &[Column<AlertRule, Model>] = &[
    Column {
        title: "RULE",
        help: "name; * changed by an operator",
        sort: None,
        width: 18,
        most: 28,
        align: Left,
        rank: 0,
        cell: |r, _| name(r),
    },
    Column {
        title: "JUDGED",
        help: "whether it is judged at all",
        sort: None,
        width: 6,
        most: 6,
        align: Left,
        rank: 1,
        cell: |r, _| judged(r),
    },
    Column {
        title: "WARN",
        help: "from here on it warns; - never",
        sort: None,
        width: 7,
        most: 10,
        align: Right,
        rank: 0,
        cell: |r, _| threshold(r.warn),
    },
    Column {
        title: "CRIT",
        help: "from here on it is critical; - never",
        sort: None,
        width: 7,
        most: 10,
        align: Right,
        rank: 0,
        cell: |r, _| threshold(r.crit),
    },
    Column {
        title: "UNIT",
        help: "of the thresholds: percent, per_sec, seconds, days or count",
        sort: None,
        width: 8,
        most: 8,
        align: Left,
        rank: 2,
        cell: |r, _| Cell::new(&r.unit).tone(Tone::Faint),
    },
    Column {
        title: "FOR",
        help: "seconds that it must hold",
        sort: None,
        width: 5,
        most: 6,
        align: Right,
        rank: 3,
        cell: |r, _| Cell::new(format!("{}s", r.for_secs)),
    },
    Column {
        title: "JUDGES",
        help: "what is compared with the thresholds",
        sort: None,
        width: 14,
        most: 80,
        align: Left,
        rank: 4,
        cell: |r, _| Cell::new(&r.help).tone(Tone::Faint),
    },
];

fn name(rule: &AlertRule) -> Cell {
    if rule.is_default {
        return Cell::new(&rule.name);
    }
    Cell::new(format!("{} *", rule.name)).tone(Tone::Accent)
}

fn judged(rule: &AlertRule) -> Cell {
    if rule.enabled {
        return Cell::new("yes");
    }
    Cell::new("NO").tone(Tone::Warn)
}

fn threshold(value: Option<f64>) -> Cell {
    match threshold_text(value) {
        text if text.is_empty() => Cell::new("-").tone(Tone::Faint),
        text => Cell::new(text),
    }
}

/// Paints the list.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    paint_list(model, canvas, body, &model.lists.rules, COLUMNS, |_| false);
}
