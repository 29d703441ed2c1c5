//! The palettes that come with the program.

use ratatui::style::{Color, Modifier, Style};

use super::Palette;

/// The theme unless another is chosen.
pub(crate) const DEFAULT: &str = "default";

/// All, by name. `default` and `mono` keep the terminal's own background.
pub(super) const ALL: &[(&str, Palette)] = &[
    (DEFAULT, SIXTEEN),
    ("dark", DARK),
    ("light", LIGHT),
    ("contrast", CONTRAST),
    ("deuteranopia", RED_GREEN),
    ("protanopia", RED_GREEN),
    ("tritanopia", BLUE_YELLOW),
    ("mono", MONO),
];

/// The palette called `name`.
pub(super) fn find(name: &str) -> Option<Palette> {
    let of = |entry: &&(&str, Palette)| entry.0 == name;
    ALL.iter().find(of).map(|entry| entry.1)
}

const PLAIN: Style = Style::new();
const BOLD: Style = PLAIN.add_modifier(Modifier::BOLD);

const fn rgb(hex: u32) -> Color {
    Color::from_u32(hex)
}

const fn ink(hex: u32) -> Style {
    PLAIN.fg(rgb(hex))
}

const fn bold(hex: u32) -> Style {
    BOLD.fg(rgb(hex))
}

const fn on(hex: u32, paper: u32) -> Style {
    ink(hex).bg(rgb(paper))
}

/// In the order of `Tone::ALL`: normal, faint, title, accent, good, warn, bad, selected.
pub(super) const SIXTEEN: Palette = Palette([
    PLAIN,
    PLAIN.fg(Color::DarkGray),
    BOLD,
    PLAIN.fg(Color::Cyan),
    PLAIN.fg(Color::Green),
    PLAIN.fg(Color::Yellow),
    BOLD.fg(Color::Red),
    PLAIN.add_modifier(Modifier::REVERSED),
]);

/// Without any colour.
pub(super) const MONO: Palette = Palette([
    PLAIN,
    PLAIN.add_modifier(Modifier::DIM),
    BOLD,
    BOLD,
    PLAIN,
    BOLD,
    BOLD.add_modifier(Modifier::UNDERLINED),
    PLAIN.add_modifier(Modifier::REVERSED),
]);

const DARK: Palette = Palette([
    on(0x00d4_dae3, 0x0014_181f),
    ink(0x0084_90a0),
    bold(0x00f2_f5f9),
    ink(0x006c_c4f0),
    ink(0x007f_d18b),
    ink(0x00ec_c35f),
    bold(0x00ff_8078),
    on(0x000c_1016, 0x0093_c9ee),
]);

const LIGHT: Palette = Palette([
    on(0x0024_2a33, 0x00fb_faf7),
    ink(0x0066_6e7a),
    bold(0x000a_0e14),
    ink(0x0000_5fa8),
    ink(0x000f_6b30),
    ink(0x0085_5200),
    bold(0x00b3_1412),
    on(0x00ff_ffff, 0x001f_5fa0),
]);

const CONTRAST: Palette = Palette([
    on(0x00ff_ffff, 0x0000_0000),
    ink(0x00c4_c4c4),
    bold(0x00ff_ffff),
    ink(0x007f_e4ff),
    ink(0x007c_ff8a),
    bold(0x00ff_e95c),
    bold(0x00ff_a8a0),
    on(0x0000_0000, 0x00ff_ee58),
]);

/// For eyes that do not tell red from green: blue is good, orange bad, and light goes with both.
const RED_GREEN: Palette = Palette([
    on(0x00d8_dce2, 0x0012_151b),
    ink(0x0086_8e9b),
    bold(0x00f4_f6f9),
    ink(0x00b9_c8ff),
    ink(0x004f_a3ec),
    ink(0x00f8_e27a),
    bold(0x00e8_8a2c),
    on(0x000b_0d11, 0x00cf_d9ec),
]);

/// For eyes that do not tell blue from yellow: turquoise is good, red bad.
const BLUE_YELLOW: Palette = Palette([
    on(0x00d9_dcdf, 0x0013_1517),
    ink(0x0089_8e92),
    bold(0x00f5_f6f7),
    ink(0x00a6_f4f4),
    ink(0x002f_b4ac),
    ink(0x00ff_c9cf),
    bold(0x00ff_6a62),
    on(0x000c_0d0e, 0x00d3_dcdc),
]);
