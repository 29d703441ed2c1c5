//! The only way onto the screen: what is painted is cleaned and measured here.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;

use super::text::{self, Align};
use crate::console::theme::{Theme, Tone};

/// A buffer with a theme.
pub(crate) struct Canvas<'a> {
    buffer: &'a mut Buffer,
    /// The theme in force.
    pub(crate) theme: Theme,
}

impl<'a> Canvas<'a> {
    /// Paints into `buffer`.
    pub(crate) fn new(buffer: &'a mut Buffer, theme: Theme) -> Self {
        Self { buffer, theme }
    }

    /// Paints `text` from column `x`, at most `columns` wide; answers the columns used.
    pub(crate) fn text(&mut self, x: u16, y: u16, columns: u16, text: &str, tone: Tone) -> u16 {
        let area = self.buffer.area;
        if y >= area.bottom() || x >= area.right() {
            return 0;
        }
        let columns = columns.min(area.right() - x);
        let text = text::cut(text, usize::from(columns));
        let (end, _) =
            self.buffer
                .set_stringn(x, y, &text, usize::from(columns), self.theme.style(tone));
        end - x
    }

    /// Paints `text` so that it ends before column `right`.
    pub(crate) fn right(&mut self, right: u16, y: u16, columns: u16, text: &str, tone: Tone) {
        let text = text::cut(text, usize::from(columns));
        let wide = text::width(&text) as u16;
        self.text(right.saturating_sub(wide), y, wide, &text, tone);
    }

    /// Paints a cell that is exactly `columns` wide.
    pub(crate) fn cell(
        &mut self,
        x: u16,
        y: u16,
        columns: u16,
        text: &str,
        align: Align,
        tone: Tone,
    ) {
        let text = text::fit(text, usize::from(columns), align);
        self.text(x, y, columns, &text, tone);
    }

    /// Paints several pieces one after the other; answers the column behind them.
    pub(crate) fn pieces(&mut self, x: u16, y: u16, right: u16, pieces: &[(&str, Tone)]) -> u16 {
        let mut at = x;
        for (text, tone) in pieces {
            at += self.text(at, y, right.saturating_sub(at), text, *tone);
        }
        at
    }

    /// Inverts the whole row of `area` at `y`.
    pub(crate) fn invert(&mut self, area: Rect, y: u16) {
        let row = Rect {
            y,
            height: 1,
            ..area
        }
        .intersection(self.buffer.area);
        self.buffer.set_style(row, self.theme.style(Tone::Selected));
    }

    /// Fades everything inside `area`: it is old.
    pub(crate) fn fade(&mut self, area: Rect) {
        let style = ratatui::style::Style::new().add_modifier(Modifier::DIM);
        self.buffer
            .set_style(area.intersection(self.buffer.area), style);
    }

    /// Blanks `area`.
    pub(crate) fn blank(&mut self, area: Rect) {
        let area = area.intersection(self.buffer.area);
        let style = self.theme.style(Tone::Normal);
        for y in area.top()..area.bottom() {
            for x in area.left()..area.right() {
                self.buffer[(x, y)].reset();
                self.buffer[(x, y)].set_style(style);
            }
        }
    }

    /// A box with a title; answers the room inside, one column away from the edges.
    pub(crate) fn panel(&mut self, area: Rect, title: &str) -> Rect {
        if area.width < 4 || area.height < 2 {
            return Rect {
                width: 0,
                height: 0,
                ..area
            };
        }
        let [tl, tr, bl, br, horizontal, vertical] = self.theme.frame();
        let (left, right) = (area.left(), area.right() - 1);
        let (top, bottom) = (area.top(), area.bottom() - 1);
        let edge = horizontal.repeat(usize::from(area.width - 2));
        self.text(
            left,
            top,
            area.width,
            &format!("{tl}{edge}{tr}"),
            Tone::Faint,
        );
        self.text(
            left,
            bottom,
            area.width,
            &format!("{bl}{edge}{br}"),
            Tone::Faint,
        );
        for y in top + 1..bottom {
            self.text(left, y, 1, vertical, Tone::Faint);
            self.text(right, y, 1, vertical, Tone::Faint);
        }
        if !title.is_empty() {
            let title = text::cut(title, usize::from(area.width.saturating_sub(6)));
            self.text(
                left + 2,
                top,
                area.width - 4,
                &format!(" {title} "),
                Tone::Title,
            );
        }
        Rect {
            x: area.x + 2,
            y: area.y + 1,
            width: area.width.saturating_sub(4),
            height: area.height - 2,
        }
    }
}

/// A line of bars for `values`, newest on the right, scaled to the largest of them.
pub(crate) fn spark(
    theme: Theme,
    values: impl ExactSizeIterator<Item = u64> + Clone,
    columns: u16,
) -> String {
    let columns = usize::from(columns);
    let skip = values.len().saturating_sub(columns);
    let shown = values.skip(skip);
    let max = shown.clone().max().unwrap_or(0).max(1);
    let levels = theme.levels();
    let blank = " ".repeat(columns.saturating_sub(shown.len()));
    let bars = shown.map(|value| {
        let level = (value as f64 / max as f64 * (levels.len() - 1) as f64).round() as usize;
        levels[level.min(levels.len() - 1)]
    });
    blank + &bars.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_shows_the_newest_values_on_the_right() {
        let ascii = Theme::plain(true, true);
        let values = [0_u64, 50, 100];
        assert_eq!(spark(ascii, values.iter().copied(), 5), "  .+#");
        assert_eq!(spark(ascii, values.iter().copied(), 2), "+#");
        assert_eq!(spark(ascii, [u64::MAX, 0].into_iter(), 2), "#.");
    }
}
