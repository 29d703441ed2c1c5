//! What colours a terminal has, and the nearest of them to a colour that it has not.

use std::ffi::OsString;

use ratatui::style::{Color, Style};

use super::{Palette, Tone};

/// How many colours there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// None.
    Mono,
    /// The sixteen that the terminal's own scheme defines.
    Sixteen,
    /// Those, a cube of 6x6x6 and 24 greys.
    Indexed,
    /// Any.
    True,
}

/// The sixteen colours as xterm has them; a terminal's own scheme differs, but not by much.
const SIXTEEN: [u32; 16] = [
    0x00_00_00, 0xcd_00_00, 0x00_cd_00, 0xcd_cd_00, 0x00_00_ee, 0xcd_00_cd, 0x00_cd_cd, 0xe5_e5_e5,
    0x7f_7f_7f, 0xff_00_00, 0x00_ff_00, 0xff_ff_00, 0x5c_5c_ff, 0xff_00_ff, 0x00_ff_ff, 0xff_ff_ff,
];
/// The names of the sixteen, in the order of their numbers.
pub(crate) const NAMED: [Color; 16] = [
    Color::Black,
    Color::Red,
    Color::Green,
    Color::Yellow,
    Color::Blue,
    Color::Magenta,
    Color::Cyan,
    Color::Gray,
    Color::DarkGray,
    Color::LightRed,
    Color::LightGreen,
    Color::LightYellow,
    Color::LightBlue,
    Color::LightMagenta,
    Color::LightCyan,
    Color::White,
];
/// Steps of the cube.
const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];
/// What a pair of colours must still differ by after it was brought down to sixteen.
const READABLE: f64 = 3.0;

type Rgb = (u8, u8, u8);

impl Depth {
    /// What the environment says of the terminal.
    pub(crate) fn detect(env: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let value = |name| env(name).and_then(|value| value.into_string().ok());
        let term = value("TERM").unwrap_or_default();
        let named = value("COLORTERM").unwrap_or_default();
        if term == "dumb" {
            Self::Mono
        } else if named == "truecolor" || named == "24bit" || term.ends_with("-direct") {
            Self::True
        } else if term.contains("256color") {
            Self::Indexed
        } else {
            Self::Sixteen
        }
    }

    /// Its name in the configuration and in `relayctl info`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mono => "none",
            Self::Sixteen => "16",
            Self::Indexed => "256",
            Self::True => "true",
        }
    }

    /// The palette in colours that there are. Where sixteen have to do, a text stays readable on
    /// its background even if another colour would come nearer.
    pub(crate) fn fit(self, palette: Palette) -> Palette {
        let paper = palette.style(Tone::Normal).bg;
        let mut fitted = palette;
        for tone in Tone::ALL {
            let style = palette.style(tone);
            let below = style.bg.or(paper);
            fitted.set(tone, self.fit_style(style, below));
        }
        fitted
    }

    fn fit_style(self, style: Style, below: Option<Color>) -> Style {
        let bg = style.bg.map(|bg| self.nearest(bg));
        let mut fg = style.fg.map(|fg| self.nearest(fg));
        let below = below.map(|below| self.nearest(below));
        if let (Self::Sixteen, Some(ink), Some(Color::Rgb(..)), Some(paper)) =
            (self, fg, style.fg, below)
            && contrast(ink, paper).is_some_and(|c| c < READABLE)
        {
            fg = style.fg.and_then(|wanted| readable(wanted, paper));
        }
        Style { fg, bg, ..style }
    }

    /// The nearest colour that there is.
    fn nearest(self, colour: Color) -> Color {
        let Color::Rgb(r, g, b) = colour else {
            return match (self, colour) {
                (Self::Sixteen, Color::Indexed(i)) if i < 16 => NAMED[usize::from(i)],
                (Self::Sixteen, Color::Indexed(_)) => {
                    rgb_of(colour).map_or(colour, |rgb| among_sixteen(rgb, &|_| true))
                }
                _ => colour,
            };
        };
        match self {
            Self::True | Self::Mono => colour,
            Self::Indexed => among_indexed((r, g, b)),
            Self::Sixteen => among_sixteen((r, g, b), &|_| true),
        }
    }
}

fn among_sixteen(wanted: Rgb, may: &dyn Fn(Color) -> bool) -> Color {
    let far = |colour: &Color| rgb_of(*colour).map_or(f64::MAX, |rgb| distance(rgb, wanted));
    let allowed = NAMED.into_iter().filter(|colour| may(*colour));
    allowed
        .min_by(|a, b| far(a).total_cmp(&far(b)))
        .unwrap_or(Color::Reset)
}

fn readable(wanted: Color, paper: Color) -> Option<Color> {
    let enough = |ink| contrast(ink, paper).is_some_and(|c| c >= READABLE);
    Some(among_sixteen(rgb_of(wanted)?, &enough))
}

/// The first sixteen are left out: every terminal has its own.
fn among_indexed(wanted: Rgb) -> Color {
    let far =
        |index: &u8| rgb_of(Color::Indexed(*index)).map_or(f64::MAX, |rgb| distance(rgb, wanted));
    let nearest = (16..=255_u8).min_by(|a, b| far(a).total_cmp(&far(b)));
    nearest.map_or(Color::Reset, Color::Indexed)
}

/// Red, green and blue of a colour; none of the terminal's own fore- and background.
pub(super) fn rgb_of(colour: Color) -> Option<Rgb> {
    let split = |hex: u32| ((hex >> 16) as u8, (hex >> 8) as u8, hex as u8);
    Some(match colour {
        Color::Rgb(r, g, b) => (r, g, b),
        Color::Indexed(i @ 0..=15) => split(SIXTEEN[usize::from(i)]),
        Color::Indexed(i @ 16..=231) => {
            let i = usize::from(i - 16);
            (STEPS[i / 36], STEPS[i / 6 % 6], STEPS[i % 6])
        }
        Color::Indexed(i) => {
            let grey = 8 + (i - 232) * 10;
            (grey, grey, grey)
        }
        named => split(SIXTEEN[NAMED.iter().position(|n| *n == named)?]),
    })
}

/// The three channels as amounts of light.
pub(super) fn linear((r, g, b): Rgb) -> [f64; 3] {
    [r, g, b].map(|channel| {
        let v = f64::from(channel) / 255.0;
        if v <= 0.040_45 {
            v / 12.92
        } else {
            ((v + 0.055) / 1.055).powf(2.4)
        }
    })
}

/// How far apart two colours look: the distance in Oklab.
fn distance(a: Rgb, b: Rgb) -> f64 {
    lab_distance(oklab(linear(a)), oklab(linear(b)))
}

pub(super) fn lab_distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    let squares = a.iter().zip(b).map(|(x, y)| (x - y) * (x - y));
    squares.sum::<f64>().sqrt()
}

/// Light and two opponent colours, in which equal steps look equal.
pub(super) fn oklab([r, g, b]: [f64; 3]) -> [f64; 3] {
    let l = (0.412_221_5 * r + 0.536_332_5 * g + 0.051_446 * b).cbrt();
    let m = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_397 * b).cbrt();
    let s = (0.088_302_5 * r + 0.281_718_8 * g + 0.629_978_7 * b).cbrt();
    [
        0.210_454_3 * l + 0.793_617_8 * m - 0.004_072_0 * s,
        1.977_998_5 * l - 2.428_592_2 * m + 0.450_593_7 * s,
        0.025_904_0 * l + 0.782_771_8 * m - 0.808_675_8 * s,
    ]
}

/// The contrast of two colours as WCAG 2 counts it, 1 to 21; none where the terminal decides.
pub(crate) fn contrast(a: Color, b: Color) -> Option<f64> {
    let light = |colour| {
        let [r, g, b] = linear(rgb_of(colour)?);
        Some(0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05)
    };
    let (a, b): (f64, f64) = (light(a)?, light(b)?);
    Some(a.max(b) / a.min(b))
}
