//! A text to read over a view.

use ratatui::layout::Rect;

use super::dialogs::centred;
use crate::console::document::Document;
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;

/// Paints the text, the line of the match inverted and what is looked for below.
pub(super) fn paint(canvas: &mut Canvas<'_>, area: Rect, document: &Document) {
    let outer = centred(area, 100, area.height);
    canvas.blank(outer);
    let inner = canvas.panel(outer, &document.title);
    let count = document.lines.len();
    let rows = usize::from(inner.height.saturating_sub(1));
    let top = document.top.min(count.saturating_sub(rows));
    for (y, (i, line)) in (inner.y..).zip(document.lines.iter().enumerate().skip(top).take(rows)) {
        let found = document.found == Some(i);
        canvas.text(inner.x, y, inner.width, line, Tone::Normal);
        if found {
            canvas.invert(inner, y);
        }
    }
    let Some(y) = inner.bottom().checked_sub(1).filter(|_| inner.height > 1) else {
        return;
    };
    if let Some(input) = &document.typing {
        let used = canvas.pieces(
            inner.x,
            y,
            inner.right(),
            &[("/ ", Tone::Accent), (input.value(), Tone::Normal)],
        );
        let cursor = Rect {
            x: used.min(inner.right().saturating_sub(1)),
            width: 1,
            ..inner
        };
        canvas.invert(cursor, y);
        return;
    }
    let place = format!(
        "{}-{} of {count}",
        (top + 1).min(count),
        (top + rows).min(count)
    );
    canvas.right(inner.right(), y, inner.width, &place, Tone::Faint);
    if !document.needle.is_empty() {
        let hits = format!("{} lines with ", document.matches());
        canvas.pieces(
            inner.x,
            y,
            inner.right().saturating_sub(place.len() as u16 + 1),
            &[(&hits, Tone::Faint), (&document.needle, Tone::Normal)],
        );
    }
}
