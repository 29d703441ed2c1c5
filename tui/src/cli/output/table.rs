//! Columns for people.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::Field;

/// The widest cell of a table that is not `wide`.
const MAX_CELL: usize = 40;

/// A table whose column widths the first rows decide.
#[derive(Debug)]
pub(super) struct Table {
    widths: Vec<usize>,
    right: Vec<bool>,
    header: Vec<String>,
    cap: usize,
    ellipsis: char,
}

impl Table {
    pub(super) fn new<T>(fields: &[&'static Field<T>], wide: bool, ascii: bool) -> Self {
        let header: Vec<_> = fields.iter().map(|f| f.name.to_uppercase()).collect();
        Self {
            widths: header.iter().map(|name| name.width()).collect(),
            right: fields.iter().map(|f| f.style.is_right_aligned()).collect(),
            header,
            cap: if wide { usize::MAX } else { MAX_CELL },
            ellipsis: if ascii { '~' } else { '…' },
        }
    }

    /// Makes room for `rows`.
    pub(super) fn fit(&mut self, rows: &[Vec<String>]) {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width().min(self.cap));
            }
        }
    }

    pub(super) fn header(&self) -> String {
        self.line(&self.header)
    }

    pub(super) fn line(&self, cells: &[String]) -> String {
        let mut line = String::new();
        for (i, cell) in cells.iter().enumerate() {
            let cell = cut(cell, self.cap, self.ellipsis);
            let padding = " ".repeat(self.widths[i].saturating_sub(cell.width()));
            if i > 0 {
                line.push_str("  ");
            }
            if self.right[i] {
                line.push_str(&padding);
                line.push_str(&cell);
            } else {
                line.push_str(&cell);
                line.push_str(&padding);
            }
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

/// `text` in at most `cap` columns.
fn cut(text: &str, cap: usize, ellipsis: char) -> String {
    if text.width() <= cap {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used >= cap {
            break;
        }
        out.push(c);
    }
    out.push(ellipsis);
    out
}
