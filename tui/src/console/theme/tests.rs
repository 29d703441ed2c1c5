use ratatui::style::Color;

use super::colour::{contrast, lab_distance, linear, oklab, rgb_of};
use super::*;

/// How eyes without one kind of cone see light (Machado, Oliveira and Fernandes 2009, severity 1).
const PROTANOPIA: [[f64; 3]; 3] = [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
];
const DEUTERANOPIA: [[f64; 3]; 3] = [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.011820, 0.042940, 0.968881],
];
const TRITANOPIA: [[f64; 3]; 3] = [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.303900],
];

fn seen(colour: Color, eyes: [[f64; 3]; 3]) -> [f64; 3] {
    let light = linear(rgb_of(colour).unwrap());
    let mixed = eyes.map(|row| row.iter().zip(light).map(|(a, b)| a * b).sum::<f64>());
    oklab(mixed.map(|channel| channel.clamp(0.0, 1.0)))
}

#[test]
fn every_theme_shows_the_cursor_in_every_depth() {
    for (name, palette) in built_in::ALL {
        for depth in [Depth::Sixteen, Depth::Indexed, Depth::True] {
            assert!(depth.fit(*palette).shows_cursor(), "{name} at {depth:?}");
        }
    }
}

#[test]
fn texts_stand_out_from_their_background_wherever_a_theme_has_both() {
    for (name, palette) in built_in::ALL {
        for (depth, least) in [
            (Depth::True, 4.5),
            (Depth::Indexed, 4.5),
            (Depth::Sixteen, 3.0),
        ] {
            let fitted = depth.fit(*palette);
            let paper = fitted.style(Tone::Normal).bg;
            for tone in Tone::ALL {
                let style = fitted.style(tone);
                let (Some(ink), Some(paper)) = (style.fg, style.bg.or(paper)) else {
                    continue;
                };
                let Some(contrast) = contrast(ink, paper) else {
                    continue;
                };
                let least = if *name == "contrast" { 7.0 } else { least };
                assert!(
                    contrast >= least,
                    "{name} {depth:?} {tone:?}: {contrast:.1}"
                );
            }
        }
    }
}

#[test]
fn colour_blind_themes_keep_good_warn_and_bad_apart() {
    let eyes = [
        ("deuteranopia", DEUTERANOPIA),
        ("protanopia", PROTANOPIA),
        ("tritanopia", TRITANOPIA),
    ];
    for (name, eyes) in eyes {
        for depth in [Depth::True, Depth::Indexed] {
            let palette = depth.fit(built_in(name).unwrap());
            let ink = |tone| palette.style(tone).fg.unwrap();
            for (a, b) in [
                (Tone::Good, Tone::Bad),
                (Tone::Good, Tone::Warn),
                (Tone::Warn, Tone::Bad),
                (Tone::Normal, Tone::Bad),
            ] {
                let apart = lab_distance(seen(ink(a), eyes), seen(ink(b), eyes));
                assert!(
                    apart > 0.12,
                    "{name} {depth:?}: {a:?} and {b:?} are {apart:.2} apart"
                );
            }
        }
    }
}

#[test]
fn colours_come_down_to_the_nearest_that_there_is() {
    let fit = |depth: Depth, text: &str| {
        let mut palette = built_in::SIXTEEN;
        palette.set(Tone::Bad, parse_style(text).unwrap());
        depth.fit(palette).style(Tone::Bad)
    };
    assert_eq!(fit(Depth::True, "#ff0000").fg, Some(Color::Rgb(255, 0, 0)));
    assert_eq!(fit(Depth::Indexed, "#ff0000").fg, Some(Color::Indexed(196)));
    assert_eq!(fit(Depth::Indexed, "#808080").fg, Some(Color::Indexed(244)));
    assert_eq!(fit(Depth::Sixteen, "#fe0101").fg, Some(Color::LightRed));
    assert_eq!(fit(Depth::Sixteen, "196").fg, Some(Color::LightRed));
    assert_eq!(fit(Depth::Sixteen, "3").fg, Some(Color::Yellow));
    // The nearest of sixteen to both of these is black.
    let dark = fit(Depth::Sixteen, "#1c1c1c on #000000");
    assert_eq!(dark.bg, Some(Color::Black));
    assert!(
        contrast(dark.fg.unwrap(), Color::Black).unwrap() >= 3.0,
        "{dark:?}"
    );
}

#[test]
fn the_environment_says_how_many_colours_there_are() {
    for (term, named, depth) in [
        ("xterm-256color", "truecolor", Depth::True),
        ("xterm-256color", "", Depth::Indexed),
        ("tmux-direct", "", Depth::True),
        ("linux", "", Depth::Sixteen),
        ("", "", Depth::Sixteen),
        ("dumb", "truecolor", Depth::Mono),
    ] {
        let env = |name: &str| match name {
            "TERM" => Some(term.into()),
            "COLORTERM" => Some(named.into()),
            _ => None,
        };
        assert_eq!(Depth::detect(&env), depth, "{term} {named}");
    }
}

#[test]
fn styles_are_read_and_errors_name_the_nearest_word() {
    let style = parse_style("bold #ff8800 on 17 underlined").unwrap();
    assert_eq!(style.fg, Some(Color::Rgb(255, 136, 0)));
    assert_eq!(style.bg, Some(Color::Indexed(17)));
    assert_eq!(style.add_modifier, Modifier::BOLD | Modifier::UNDERLINED);
    assert_eq!(parse_style("").unwrap(), Style::new());
    for (text, word) in [
        ("bolt red", "did you mean 'bold'?"),
        ("bright-gren", "did you mean 'bright-green'?"),
        ("red blue", "behind 'on'"),
        ("red on", "needs a colour"),
        ("#12345", "no colour"),
        ("#12345\u{e9}", "no colour"),
        ("256", "no colour"),
        ("red on blue on green", "more than one"),
    ] {
        let error = parse_style(text).unwrap_err();
        assert!(error.contains(word), "{text}: {error}");
    }
}

#[test]
fn a_theme_is_found_by_name_and_an_unknown_one_names_the_nearest() {
    let themes = Themes::default();
    assert!(themes.get("mono", false).unwrap().mono);
    assert!(!themes.get("dark", true).unwrap().mono);
    let error = themes.get("ligt", false).unwrap_err();
    assert!(error.contains("did you mean 'light'?"), "{error}");
    let poor = Themes::new(Depth::Mono, BTreeMap::new());
    assert!(poor.get("dark", false).unwrap().mono);
}
