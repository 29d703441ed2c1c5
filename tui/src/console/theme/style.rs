//! Styles as the configuration writes them: `bold #ff8800 on default`.

use ratatui::style::{Color, Modifier, Style};
use shared::filter::nearest;

const MODIFIERS: &[(&str, Modifier)] = &[
    ("bold", Modifier::BOLD),
    ("dim", Modifier::DIM),
    ("italic", Modifier::ITALIC),
    ("underlined", Modifier::UNDERLINED),
    ("reversed", Modifier::REVERSED),
];
const COLOURS: &[(&str, Color)] = &[
    ("default", Color::Reset),
    ("black", Color::Black),
    ("red", Color::Red),
    ("green", Color::Green),
    ("yellow", Color::Yellow),
    ("blue", Color::Blue),
    ("magenta", Color::Magenta),
    ("cyan", Color::Cyan),
    ("gray", Color::Gray),
    ("grey", Color::Gray),
    ("dark-gray", Color::DarkGray),
    ("dark-grey", Color::DarkGray),
    ("bright-red", Color::LightRed),
    ("bright-green", Color::LightGreen),
    ("bright-yellow", Color::LightYellow),
    ("bright-blue", Color::LightBlue),
    ("bright-magenta", Color::LightMagenta),
    ("bright-cyan", Color::LightCyan),
    ("white", Color::White),
];

/// Reads a style: modifiers and a colour in any order, then perhaps `on` and the background.
///
/// # Errors
/// A word that is neither; names the nearest.
pub(crate) fn parse_style(text: &str) -> Result<Style, String> {
    let mut style = Style::new();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        if word == "on" {
            let paper = words.next().ok_or("'on' needs a colour behind it")?;
            if style.bg.is_some() {
                return Err("more than one background".to_owned());
            }
            style.bg = Some(colour(paper)?);
        } else if let Some((_, modifier)) = MODIFIERS.iter().find(|(name, _)| *name == word) {
            style = style.add_modifier(*modifier);
        } else if style.fg.is_some() {
            return Err(format!(
                "more than one colour: the background goes behind 'on', as in 'white on {}'",
                shared::display_safe(word)
            ));
        } else {
            style.fg = Some(colour(word)?);
        }
    }
    Ok(style)
}

fn colour(word: &str) -> Result<Color, String> {
    if let Some((_, colour)) = COLOURS.iter().find(|(name, _)| *name == word) {
        return Ok(*colour);
    }
    let six = |hex: &&str| hex.len() == 6 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    if let Some(hex) = word.strip_prefix('#').filter(six)
        && let Ok(value) = u32::from_str_radix(hex, 16)
    {
        return Ok(Color::from_u32(value));
    }
    if let Ok(index) = word.parse() {
        return Ok(Color::Indexed(index));
    }
    let words = COLOURS
        .iter()
        .map(|c| c.0)
        .chain(MODIFIERS.iter().map(|m| m.0));
    let near = nearest(word, words)
        .map(|near| format!("; did you mean '{near}'?"))
        .unwrap_or_default();
    Err(format!(
        "'{}' is no colour: write a name, #rrggbb or 0 to 255{near}",
        shared::display_safe(word)
    ))
}
