//! Colours and glyphs: palettes over the terminal's own background or one of their own,
//! monochrome, and ASCII.

mod built_in;
mod colour;
mod style;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ratatui::style::{Modifier, Style};

pub(crate) use built_in::DEFAULT;
pub(crate) use colour::{Depth, NAMED};
pub(crate) use style::parse_style;

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

impl Tone {
    /// All, in the order of [`Palette`].
    pub(crate) const ALL: [Self; 8] = [
        Self::Normal,
        Self::Faint,
        Self::Title,
        Self::Accent,
        Self::Good,
        Self::Warn,
        Self::Bad,
        Self::Selected,
    ];

    /// Its name in `[themes]` of the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Faint => "faint",
            Self::Title => "title",
            Self::Accent => "accent",
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Selected => "selected",
        }
    }
}

/// The looks of every tone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Palette([Style; Tone::ALL.len()]);

impl Palette {
    /// The style of a tone.
    pub(crate) fn style(&self, tone: Tone) -> Style {
        self.0[tone as usize]
    }

    /// Gives a tone another style.
    pub(crate) fn set(&mut self, tone: Tone, style: Style) {
        self.0[tone as usize] = style;
    }

    /// Whether the row under the cursor differs from the others.
    pub(crate) fn shows_cursor(&self) -> bool {
        let (normal, selected) = (self.style(Tone::Normal), self.style(Tone::Selected));
        selected.add_modifier.contains(Modifier::REVERSED)
            || (selected.bg.is_some() && selected.bg != normal.bg)
    }
}

/// How this terminal is painted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Theme {
    /// Only ASCII leaves the program as chrome.
    pub(crate) ascii: bool,
    /// Only modifiers, no colours (`NO_COLOR`).
    pub(crate) mono: bool,
    /// The looks of every tone, as far as this terminal has colours.
    pub(crate) palette: Palette,
}

impl Default for Theme {
    fn default() -> Self {
        Self::plain(false, false)
    }
}

impl Theme {
    /// The default colours, or none.
    pub(crate) const fn plain(ascii: bool, mono: bool) -> Self {
        Self {
            ascii,
            mono,
            palette: built_in::SIXTEEN,
        }
    }

    /// The style of a tone.
    pub(crate) fn style(self, tone: Tone) -> Style {
        if self.mono {
            built_in::MONO.style(tone)
        } else {
            self.palette.style(tone)
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

/// The themes that can be chosen: ours and those of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Themes {
    /// What colours the terminal has.
    pub(crate) depth: Depth,
    /// Those of the configuration.
    own: BTreeMap<String, Palette>,
}

impl Default for Themes {
    fn default() -> Self {
        Self::new(Depth::True, BTreeMap::new())
    }
}

impl Themes {
    /// Ours and `own`, on a terminal with these colours.
    pub(crate) fn new(depth: Depth, own: BTreeMap<String, Palette>) -> Self {
        Self { depth, own }
    }

    /// All names, ours first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let own = self.own.keys().map(String::as_str);
        let ours = built_in_names().map(|name| -> &str { name });
        ours.chain(own.filter(|name| built_in::find(name).is_none()))
    }

    /// The theme called `name`, in the colours that the terminal has.
    ///
    /// # Errors
    /// There is none; names the nearest.
    pub(crate) fn get(&self, name: &str, ascii: bool) -> Result<Theme, String> {
        let found = self.own.get(name).copied().or_else(|| built_in::find(name));
        let Some(palette) = found else {
            let near = shared::filter::nearest(name, self.names())
                .map(|near| format!("; did you mean '{near}'?"))
                .unwrap_or_default();
            let name = shared::display_safe(name);
            return Err(format!("there is no theme '{name}'{near}"));
        };
        Ok(Theme {
            ascii,
            mono: self.depth == Depth::Mono || palette == built_in::MONO,
            palette: self.depth.fit(palette),
        })
    }
}

/// The palette of ours called `name`.
pub(crate) fn built_in(name: &str) -> Option<Palette> {
    built_in::find(name)
}

/// The names of ours.
pub(crate) fn built_in_names() -> impl Iterator<Item = &'static str> {
    built_in::ALL.iter().map(|entry| entry.0)
}
