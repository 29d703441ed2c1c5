//! Every view at three sizes, in colours, without, and in ASCII, over ordinary and hostile data.

use std::fmt::Write as _;

use insta::assert_snapshot;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};

use super::Rig;
use crate::client::fake::poison::Poison;
use crate::console::theme::Theme;
use crate::views::view;
use crate::widgets::text::width;

/// The sizes that the views are designed for.
const SIZES: [(u16, u16); 3] = [(60, 15), (80, 24), (160, 45)];

/// Every view: its name, and the line or keys that lead there.
const VIEWS: [(&str, &str); 16] = [
    ("pulse", "1"),
    ("nodes", "2"),
    ("sessions", "3"),
    ("session", "3\r"),
    ("users", "4"),
    ("realms", "5"),
    ("realm", "5\r"),
    ("events", "6"),
    ("audit", ":audit\r"),
    ("refusals", ":refusals\r"),
    ("alerts", ":alerts\r"),
    ("redirects", ":redirects\r"),
    ("bans", ":bans\r"),
    ("config", ":config fra1\r"),
    ("groups", ":top user\r"),
    ("contexts", ":contexts\r"),
];

/// How it is painted.
const LOOKS: [(&str, Theme); 3] = [
    ("colour", Theme::plain(false, false)),
    ("mono", Theme::plain(false, true)),
    ("ascii", Theme::plain(true, true)),
];

fn go(rig: &mut Rig, keys: &str) {
    for key in keys.chars() {
        match key {
            '\r' => rig.press(crossterm::event::KeyCode::Enter),
            key => rig.keys(&key.to_string()),
        }
    }
    rig.second();
    rig.second();
}

fn rig(size: (u16, u16), theme: Theme, poison: Option<Poison>) -> Rig {
    let mut rig = Rig::themed(40, size, theme);
    if let Some(poison) = poison {
        rig.api.poison(poison);
        rig.second();
        rig.second();
    }
    rig
}

fn buffer(rig: &Rig) -> Buffer {
    let (columns, rows) = rig.model.size;
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| view(&rig.model, frame)).unwrap();
    terminal.backend().buffer().clone()
}

/// One letter for each cell's looks: what the text alone does not show.
fn looks(buffer: &Buffer) -> String {
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let mut line = String::new();
        for x in 0..buffer.area.width {
            let cell = &buffer[(x, y)];
            let has = |modifier| cell.modifier.contains(modifier);
            line.push(match (has(Modifier::REVERSED), cell.fg) {
                (true, _) => 'R',
                (false, Color::Red) => 'r',
                (false, Color::Yellow) => 'y',
                (false, Color::Green) => 'g',
                (false, Color::Cyan) => 'c',
                (false, Color::DarkGray) => 'd',
                (false, Color::Reset) if has(Modifier::BOLD) => 'B',
                (false, Color::Reset) if has(Modifier::DIM) => 'D',
                (false, Color::Reset) => '.',
                (false, _) => '?',
            });
        }
        let _ = writeln!(out, "{}", line.trim_end_matches('.'));
    }
    out
}

/// What holds on every screen, whatever is on it.
fn check(buffer: &Buffer, theme: Theme, what: &str) {
    let area = buffer.area;
    for y in 0..area.height {
        let mut x = 0;
        while x < area.width {
            let cell = &buffer[(x, y)];
            let symbol = cell.symbol();
            let wide = width(symbol).max(1) as u16;
            let steers = |c: char| {
                c.is_control()
                    || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            };
            assert!(
                !symbol.chars().any(steers),
                "{what}: {symbol:?} at {x},{y} steers the terminal"
            );
            assert!(
                x + wide <= area.width,
                "{what}: {symbol:?} at {x},{y} sticks out"
            );
            if theme.mono {
                assert!(
                    cell.fg == Color::Reset && cell.bg == Color::Reset,
                    "{what}: a colour at {x},{y}"
                );
            }
            if theme.ascii {
                let chrome = |c: char| matches!(c, '\u{2500}'..='\u{28ff}');
                assert!(
                    !symbol.chars().any(chrome),
                    "{what}: {symbol:?} at {x},{y} is no ASCII"
                );
            }
            x += wide;
        }
    }
}

#[test]
fn every_view_at_every_size_in_every_look() {
    for (name, keys) in VIEWS {
        for (look, theme) in LOOKS {
            let mut text = String::new();
            for size in SIZES {
                let mut rig = rig(size, theme, None);
                go(&mut rig, keys);
                let buffer = buffer(&rig);
                check(&buffer, theme, &format!("{name} {look} {size:?}"));
                let _ = writeln!(text, "{}x{}", size.0, size.1);
                text.push_str(&rig.screen());
                if size == SIZES[1] {
                    text.push_str(&looks(&buffer));
                }
            }
            assert_snapshot!(format!("{name}_{look}"), text);
        }
    }
}

#[test]
fn hostile_data_breaks_no_view() {
    for (name, keys) in VIEWS {
        let mut text = String::new();
        for poison in Poison::ALL {
            for (look, theme) in LOOKS {
                for size in SIZES {
                    let mut rig = rig(size, theme, Some(poison));
                    go(&mut rig, keys);
                    let buffer = buffer(&rig);
                    check(
                        &buffer,
                        theme,
                        &format!("{name} {look} {size:?} {poison:?}"),
                    );
                    let header = rig.screen().lines().next().unwrap_or_default().to_owned();
                    assert!(
                        header.contains("prod-eu"),
                        "{name} {size:?} {poison:?}: {header}"
                    );
                    if (look, size) == ("colour", SIZES[1]) {
                        let _ = writeln!(text, "{poison:?}");
                        text.push_str(&rig.screen());
                    }
                }
            }
        }
        assert_snapshot!(format!("{name}_hostile"), text);
    }
}

#[test]
fn a_lost_connection_dims_every_view_and_leaves_its_rows() {
    // Contexts are no figures of a node: they stay as they are.
    for (name, keys) in VIEWS.into_iter().filter(|v| v.0 != "contexts") {
        let mut rig = rig((80, 24), Theme::plain(false, false), None);
        go(&mut rig, keys);
        let before = rig.screen();
        rig.api.set_unreachable(true);
        rig.second();
        rig.second();
        let buffer = buffer(&rig);
        let screen = rig.screen();
        assert!(screen.contains("DISCONNECTED"), "{name}:\n{screen}");
        let row = |screen: &str| screen.lines().nth(4).unwrap_or_default().to_owned();
        assert_eq!(row(&before), row(&screen), "{name}");
        let dim = (0..80).filter(|x| buffer[(*x, 4)].modifier.contains(Modifier::DIM));
        assert!(dim.count() > 40, "{name} is not dimmed");
    }
}
