//! Foreign strings made safe for terminals and logs.

use std::borrow::Cow;
use std::fmt;

use unicode_width::UnicodeWidthChar;

/// A text that passed [`display_safe`]: widgets of the console accept nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SafeText(String);

impl SafeText {
    /// Cleans `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(display_safe(text).into_owned())
    }

    /// The cleaned text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SafeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&str> for SafeText {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// Replaces whatever could steer a terminal, reorder a line or forge a log record: control
/// characters (C0, DEL, C1), format characters (bidirectional overrides, zero-width joiners,
/// interlinear marks, tags), line and paragraph separators, private-use and unassigned specials, and
/// combining marks that have no base or exceed three in a row. Each becomes `U+FFFD`.
#[must_use]
pub fn display_safe(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut marks = MAX_MARKS;
    for c in text.chars() {
        let zero_width = c.width() == Some(0);
        marks = if zero_width { marks + 1 } else { 0 };
        if is_unsafe(c) || (zero_width && marks > MAX_MARKS) {
            out.push('\u{fffd}');
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Combining marks allowed on one base character.
const MAX_MARKS: u32 = 3;

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(u32::from(c),
            0x00ad | 0x061c | 0x070f | 0x180e
            | 0x0600..=0x0605 | 0x06dd | 0x08e2 | 0x0890..=0x0891
            | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f
            | 0xfeff | 0xfff0..=0xfffb | 0xfffe..=0xffff
            | 0x110bd | 0x110cd | 0x13430..=0x1343f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a
            | 0xe0000..=0xe0fff | 0xe000..=0xf8ff | 0xf0000..=0x0010_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escape_sequences_lose_their_escape() {
        for hostile in [
            "\x1b]0;pwned\x07",
            "\x1b[2J",
            "\u{9b}2J",
            "a\u{202e}b",
            "x\r\ny",
            "\u{2028}",
        ] {
            let safe = display_safe(hostile);
            assert!(!safe.chars().any(is_unsafe), "{hostile:?} -> {safe:?}");
        }
    }

    #[test]
    fn ordinary_names_are_kept() {
        for name in ["alice@web", "Zoë", "日本語", "عمر", "e\u{301}"] {
            assert_eq!(display_safe(name), name);
        }
    }

    #[test]
    fn lone_and_piled_marks_are_replaced() {
        assert_eq!(display_safe("\u{301}a"), "\u{fffd}a");
        assert_eq!(
            display_safe(&format!("a{}", "\u{301}".repeat(5)))
                .matches('\u{fffd}')
                .count(),
            2
        );
    }

    proptest! {
        #[test]
        fn nothing_unsafe_survives(text in any::<String>()) {
            prop_assert!(!display_safe(&text).chars().any(is_unsafe));
        }
    }
}
