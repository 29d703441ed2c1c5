//! A key with its modifiers: how it is written in the configuration and in hints.

use std::fmt;
use std::str::FromStr;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A key with or without Ctrl or Alt. Shift is in the letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Chord {
    code: KeyCode,
    ctrl: bool,
    alt: bool,
}

/// Keys that have a name.
const NAMED: &[(&str, KeyCode)] = &[
    ("space", KeyCode::Char(' ')),
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("shift-tab", KeyCode::BackTab),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("insert", KeyCode::Insert),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("pgup", KeyCode::PageUp),
    ("pgdn", KeyCode::PageDown),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
];

impl Chord {
    /// A plain character.
    pub(super) const fn key(c: char) -> Self {
        Self::code(KeyCode::Char(c))
    }

    /// A character with Ctrl.
    pub(super) const fn ctrl(c: char) -> Self {
        Self {
            code: KeyCode::Char(c),
            ctrl: true,
            alt: false,
        }
    }

    /// A key that is no character.
    pub(super) const fn code(code: KeyCode) -> Self {
        Self {
            code,
            ctrl: false,
            alt: false,
        }
    }

    /// Whether it is a capital letter and nothing else: what a key must be to change something.
    pub(crate) fn is_capital(self) -> bool {
        matches!(self.code, KeyCode::Char(c) if c.is_uppercase()) && !self.ctrl && !self.alt
    }

    /// Whether it writes nothing where one types, so that it may act there too.
    pub(super) fn is_silent(self) -> bool {
        self.ctrl || self.alt || matches!(self.code, KeyCode::F(_))
    }
}

impl From<KeyEvent> for Chord {
    fn from(event: KeyEvent) -> Self {
        Self {
            code: event.code,
            ctrl: event.modifiers.contains(KeyModifiers::CONTROL),
            alt: event.modifiers.contains(KeyModifiers::ALT),
        }
    }
}

impl fmt::Display for Chord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.alt {
            f.write_str("alt-")?;
        }
        if self.ctrl {
            f.write_str("^")?;
        }
        if let Some((name, _)) = NAMED.iter().find(|(_, code)| *code == self.code) {
            return f.write_str(name);
        }
        match self.code {
            KeyCode::Char(c) => write!(f, "{c}"),
            KeyCode::F(n) => write!(f, "f{n}"),
            _ => f.write_str("?"),
        }
    }
}

impl FromStr for Chord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut rest = text;
        let (mut ctrl, mut alt) = (false, false);
        // A lone ^ or a word that only begins like a modifier is a key of its own.
        loop {
            if let Some(after) = rest.strip_prefix("ctrl-").filter(|r| !r.is_empty()) {
                (rest, ctrl) = (after, true);
            } else if let Some(after) = rest.strip_prefix("alt-").filter(|r| !r.is_empty()) {
                (rest, alt) = (after, true);
            } else if let Some(after) = rest.strip_prefix('^').filter(|r| !r.is_empty()) {
                (rest, ctrl) = (after, true);
            } else {
                break;
            }
        }
        let mut code = key_code(rest).ok_or_else(|| wrong(text))?;
        if let (true, KeyCode::Char(c)) = (ctrl, code) {
            let c = c.to_ascii_lowercase();
            if let Some(other) = [('i', "tab"), ('m', "enter"), ('[', "esc")]
                .iter()
                .find_map(|(same, name)| (*same == c).then_some(name))
            {
                return Err(format!(
                    "a terminal cannot tell ctrl-{c} from {other}: choose another key"
                ));
            }
            code = KeyCode::Char(c);
        }
        Ok(Self { code, ctrl, alt })
    }
}

fn key_code(text: &str) -> Option<KeyCode> {
    let mut chars = text.chars();
    if let (Some(c), None) = (chars.next(), chars.next()) {
        return (!c.is_control() && c != ' ').then_some(KeyCode::Char(c));
    }
    let lower = text.to_ascii_lowercase();
    if let Some((_, code)) = NAMED.iter().find(|(name, _)| *name == lower) {
        return Some(*code);
    }
    let number = lower.strip_prefix('f')?.parse().ok()?;
    (1..=12).contains(&number).then_some(KeyCode::F(number))
}

fn wrong(text: &str) -> String {
    let text = shared::display_safe(text);
    let near = shared::filter::nearest(&text.to_ascii_lowercase(), NAMED.iter().map(|n| n.0))
        .map(|name| format!("; did you mean '{name}'?"))
        .unwrap_or_default();
    format!("'{text}' is no key: write x, X, ctrl-d, alt-x, f5, space, enter, pgdn or none{near}")
}
