//! Measuring and cutting text by the columns it takes on the screen.

use shared::SafeText;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// On which side of its cell a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Figures.
    Right,
}

/// Stands for what was cut off; ASCII, because an ellipsis is ambiguously wide.
const CUT: char = '~';

/// Columns that `text` takes.
pub(crate) fn width(text: &str) -> usize {
    text.graphemes(true).map(UnicodeWidthStr::width).sum()
}

/// Cleans `text` and cuts it to at most `columns`; what was cut shows as `~`.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    let safe = SafeText::new(text);
    let text = safe.as_str();
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        let wide = UnicodeWidthStr::width(grapheme);
        if used + wide + 1 > columns {
            break;
        }
        out.push_str(grapheme);
        used += wide;
    }
    if columns > 0 {
        out.push(CUT);
    }
    out
}

/// Cleans `text` and makes it exactly `columns` wide.
pub(crate) fn fit(text: &str, columns: usize, align: Align) -> String {
    let text = cut(text, columns);
    let pad = " ".repeat(columns.saturating_sub(width(&text)));
    match align {
        Align::Left => text + &pad,
        Align::Right => pad + &text,
    }
}

/// The part of `text` that ends at or behind the column `cursor` and fits `columns`, and where the
/// cursor is in it.
pub(crate) fn around_cursor(text: &str, cursor: usize, columns: usize) -> (&str, usize) {
    let hidden = (cursor + 1).saturating_sub(columns);
    let mut skipped = 0;
    for (at, grapheme) in text.grapheme_indices(true) {
        if skipped >= hidden {
            return (&text[at..], cursor - skipped);
        }
        skipped += UnicodeWidthStr::width(grapheme);
    }
    ("", cursor.saturating_sub(skipped))
}

/// Breaks `text` at spaces into lines of at most `columns`.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if line.is_empty() {
            line.push_str(word);
        } else if width(line) + 1 + width(word) <= columns {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wide_characters_are_never_cut_in_half() {
        assert_eq!(fit("日本語", 4, Align::Left), "日~ ");
        assert_eq!(fit("日本語", 6, Align::Left), "日本語");
        assert_eq!(fit("ab", 4, Align::Right), "  ab");
        assert_eq!(cut("abc", 0), "");
    }

    #[test]
    fn a_long_line_is_scrolled_to_its_cursor() {
        assert_eq!(around_cursor("abcdef", 6, 4), ("def", 3));
        assert_eq!(around_cursor("abcdef", 2, 4), ("abcdef", 2));
        assert_eq!(around_cursor("", 0, 4), ("", 0));
    }

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
    }

    proptest! {
        #[test]
        fn a_fitted_text_is_exactly_as_wide_as_asked(text in any::<String>(), columns in 0_usize..40) {
            prop_assert_eq!(width(&fit(&text, columns, Align::Left)), columns);
        }
    }
}
