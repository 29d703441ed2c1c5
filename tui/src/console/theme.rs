//! Colours and glyphs: 16 colours over the terminal's own background, monochrome, and ASCII.

use ratatui::style::{Color, Modifier, Style};

/// What a piece of text is, as far as its looks are concerned. Meaning never hangs on colour
/// alone: every tone goes with a word, a sign or a modifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Ordinary text.
    #[default]
    Normal,
    /// Less important: labels, frames, zeroes.
    Faint,
    /// Column titles and titles of panels.
    Title,
    /// Keys in hints and what is active now.
    Accent,
    /// As it should be.
    Good,
    /// An operator should look.
    Warn,
    /// An operator must act.
    Bad,
    /// The row or button under the cursor.
    Selected,
}

/// How this terminal is painted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Theme {
    /// Only ASCII leaves the program as chrome.
    pub(crate) ascii: bool,
    /// Only modifiers, no colours (`NO_COLOR`).
    pub(crate) mono: bool,
}

impl Theme {
    /// The style of a tone.
    pub(crate) fn style(self, tone: Tone) -> Style {
        let plain = Style::new();
        if self.mono {
            return match tone {
                Tone::Normal | Tone::Good => plain,
                Tone::Faint => plain.add_modifier(Modifier::DIM),
                Tone::Title | Tone::Accent | Tone::Warn => plain.add_modifier(Modifier::BOLD),
                Tone::Bad => plain.add_modifier(Modifier::BOLD.union(Modifier::UNDERLINED)),
                Tone::Selected => plain.add_modifier(Modifier::REVERSED),
            };
        }
        match tone {
            Tone::Normal => plain,
            Tone::Faint => plain.fg(Color::DarkGray),
            Tone::Title => plain.add_modifier(Modifier::BOLD),
            Tone::Accent => plain.fg(Color::Cyan),
            Tone::Good => plain.fg(Color::Green),
            Tone::Warn => plain.fg(Color::Yellow),
            Tone::Bad => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Selected => plain.add_modifier(Modifier::REVERSED),
        }
    }

    /// Corners and edges of a box: top left, top right, bottom left, bottom right, horizontal,
    /// vertical.
    pub(crate) fn frame(self) -> [&'static str; 6] {
        if self.ascii {
            ["+", "+", "+", "+", "-", "|"]
        } else {
            ["┌", "┐", "└", "┘", "─", "│"]
        }
    }

    /// Levels of a sparkline, lowest first.
    pub(crate) fn levels(self) -> [char; 8] {
        if self.ascii {
            ['.', ':', '-', '=', '+', '*', '%', '#']
        } else {
            ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
        }
    }

    /// What stands in a line of bars where nothing is known.
    pub(crate) fn gap(self) -> char {
        if self.ascii { ' ' } else { '·' }
    }

    /// A line of a chart: flat, upright, then its corners: coming from above, going down, coming
    /// from below, going up.
    pub(crate) fn line(self) -> [&'static str; 6] {
        if self.ascii {
            ["=", "|", "+", "+", "+", "+"]
        } else {
            ["─", "│", "╰", "╮", "╭", "╯"]
        }
    }

    /// The second figure of a chart.
    pub(crate) fn dot(self) -> &'static str {
        if self.ascii { "." } else { "·" }
    }

    /// A labelled place of an axis.
    pub(crate) fn tick(self) -> &'static str {
        if self.ascii { "+" } else { "┤" }
    }

    /// The sign of a sorted column.
    pub(crate) fn sort_sign(self, descending: bool) -> char {
        match (self.ascii, descending) {
            (true, true) => 'v',
            (true, false) => '^',
            (false, true) => '▼',
            (false, false) => '▲',
        }
    }
}
