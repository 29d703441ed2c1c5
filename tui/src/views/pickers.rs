//! The small menus over a list.

use ratatui::layout::Rect;

use super::columns_of;
use super::dialogs::centred;
use crate::console::model::Model;
use crate::console::pickers::{ColumnPicker, CopyMenu};
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::text::Align;

/// The columns of the list, shown ones ticked.
pub(super) fn columns(model: &Model, canvas: &mut Canvas<'_>, area: Rect, picker: &ColumnPicker) {
    let infos = columns_of(model, model.place());
    let lines: Vec<String> = picker
        .items
        .iter()
        .map(|(title, shown)| {
            let info = infos.iter().find(|c| c.title == *title);
            let help = info.map_or("", |c| c.help);
            let room = *shown && info.is_some_and(|c| !c.shown);
            let tick = if *shown { "x" } else { " " };
            let room = if room { "(no room) " } else { "" };
            format!("[{tick}] {title:<10} {room}{help}")
        })
        .collect();
    menu(canvas, area, "Columns", &lines, picker.at);
}

/// What can be copied of a row.
pub(super) fn copy(canvas: &mut Canvas<'_>, area: Rect, menu: &CopyMenu) {
    let lines: Vec<String> = menu
        .items
        .iter()
        .map(|(name, text)| match *name {
            "json" => format!("{name:<9} the whole row"),
            name => format!("{name:<9} {text}"),
        })
        .collect();
    self::menu(canvas, area, "Copy", &lines, menu.at);
}

/// Lines of which one is chosen.
pub(super) fn menu(canvas: &mut Canvas<'_>, area: Rect, title: &str, lines: &[String], at: usize) {
    let rows = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let outer = centred(area, 64, rows.saturating_add(2));
    canvas.blank(outer);
    let inner = canvas.panel(outer, title);
    let top = (at + 1).saturating_sub(usize::from(inner.height));
    for (y, (i, line)) in (inner.y..inner.bottom()).zip(lines.iter().enumerate().skip(top)) {
        let (sign, tone) = if i == at {
            (">", Tone::Selected)
        } else {
            (" ", Tone::Normal)
        };
        let text = format!("{sign} {line}");
        canvas.cell(inner.x, y, inner.width, &text, Align::Left, tone);
    }
}
