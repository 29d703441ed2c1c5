//! Keys, aliases and themes of the configuration, and the help made from them.

use crossterm::event::KeyCode;
use insta::assert_snapshot;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::Rig;
use crate::console::keymap::{Chord, Group};
use crate::console::model::{Dialog, Place};
use crate::views::view;

fn rebound(size: (u16, u16), keys: &[(&str, &str)]) -> Rig {
    let mut rig = Rig::new(12, size);
    for (action, key) in keys {
        let chords: Vec<Chord> = key.split(' ').filter_map(|k| k.parse().ok()).collect();
        rig.model.keymap.rebind(action, &chords).unwrap();
    }
    rig.model.keymap.check().unwrap();
    rig
}

#[test]
fn keys_of_the_configuration_act_and_show_in_hints_and_help() {
    let mut rig = rebound(
        (100, 60),
        &[
            ("pause", "z"),
            ("sort", ""),
            ("open", "o b"),
            ("reverse", ""),
        ],
    );
    rig.keys("3p");
    assert!(!rig.model.paused);
    rig.keys("z");
    assert!(rig.model.paused);
    rig.keys("z");
    let screen = rig.screen();
    let hints = screen.lines().last().unwrap();
    assert!(
        hints.contains("<z>pause") && hints.contains("<o>open"),
        "{hints}"
    );
    assert!(!hints.contains("sort") && !hints.contains("<p>"), "{hints}");
    rig.keys("?");
    let screen = rig.screen();
    assert!(screen.contains("o b"), "{screen}");
    assert!(!screen.contains("choose the column to sort by"), "{screen}");
    rig.press(KeyCode::Esc);
    rig.keys("b");
    assert!(matches!(rig.model.place(), Place::Session(_)));
}

#[test]
fn the_line_about_a_lost_connection_names_the_key_in_force() {
    let mut rig = rebound((80, 24), &[("reconnect", "f5")]);
    rig.api.set_unreachable(true);
    for _ in 0..3 {
        rig.second();
    }
    assert!(rig.screen().contains("(<f5> now)"), "{}", rig.screen());
}

#[test]
fn the_help_is_grouped_and_readable_on_small_screens() {
    for size in [(80, 24), (40, 10)] {
        let mut rig = Rig::new(12, size);
        rig.keys("3?");
        assert_snapshot!(format!("help_{}x{}", size.0, size.1), rig.screen());
        // The end is reached, and one key leads back from there.
        rig.keys("GGjjj");
        let end = rig.screen();
        assert!(end.contains(":q :quit"), "{end}");
        rig.keys("k");
        assert_ne!(rig.screen(), end);
        rig.keys("g");
        assert!(rig.screen().contains(Group::Move.title()));
    }
}

#[test]
fn the_help_is_searched_and_esc_shows_all_again() {
    let mut rig = Rig::new(12, (80, 24));
    rig.keys("3?/");
    rig.line("clipboard");
    let screen = rig.screen();
    assert_snapshot!("help_searched_80x24", screen);
    rig.press(KeyCode::Esc);
    assert!(rig.screen().contains("Move"));
    rig.keys("/no such thing");
    assert!(rig.screen().contains("nothing matches"));
    rig.press(KeyCode::Esc);
    rig.press(KeyCode::Esc);
    assert!(rig.model.dialog.is_none());
}

#[test]
fn help_without_changes_has_no_group_for_them() {
    let mut rig = Rig::new(12, (80, 60));
    rig.keys("3?");
    assert!(!rig.screen().contains("Change"));
    rig.press(KeyCode::Esc);
    rig.line(":rw");
    rig.keys("?");
    assert!(rig.screen().contains("Change"), "{}", rig.screen());
    assert!(matches!(rig.model.dialog, Some(Dialog::Help(_))));
}

#[test]
fn an_alias_stands_for_a_command_and_takes_more_of_its_filter() {
    let mut rig = Rig::new(12, (80, 24));
    let text = "sessions node=fra1".to_owned();
    rig.model.aliases.insert("fra".to_owned(), text);
    rig.line(":fra rate>1");
    assert_eq!(rig.model.lists.sessions.filter, "node=fra1 rate>1");
    rig.keys("?");
    rig.keys("/is :sess");
    assert!(rig.screen().contains(":fra"), "{}", rig.screen());
}

#[test]
fn a_theme_is_put_on_while_the_console_runs() {
    let mut rig = Rig::new(12, (80, 24));
    rig.line(":theme light");
    assert_eq!(rig.model.theme_name, "light");
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| view(&rig.model, frame)).unwrap();
    let paper = rig
        .model
        .theme
        .style(crate::console::theme::Tone::Normal)
        .bg;
    let buffer = terminal.backend().buffer();
    assert!(paper.is_some());
    for (x, y) in [(0, 0), (79, 23), (40, 12)] {
        assert_eq!(Some(buffer[(x, y)].bg), paper, "{x} {y}");
    }
    rig.line(":theme lihgt");
    let error = rig.model.prompt.as_ref().unwrap().error.clone().unwrap();
    assert!(error.contains("did you mean 'light'?"), "{error}");
    rig.press(KeyCode::Esc);
    rig.keys(":theme deu");
    rig.press(KeyCode::Tab);
    rig.press(KeyCode::Enter);
    assert_eq!(rig.model.theme_name, "deuteranopia");
}

#[test]
fn options_are_set_and_wrong_ones_name_the_nearest() {
    let mut rig = Rig::new(12, (80, 24));
    rig.line(":set rate 5s");
    assert_eq!(rig.model.refresh_ms(), 5_000);
    rig.line(":set ascii on");
    assert!(rig.screen().is_ascii());
    rig.line(":set mouse on");
    assert!(rig.model.mouse && rig.mouse);
    rig.line(":set mouse off");
    assert!(!rig.model.mouse && !rig.mouse);
    for (line, word) in [
        (":set mose on", "did you mean mouse?"),
        (":set mouse", "on or off"),
        (":set rate 3s", "one of"),
        (":set", "there are"),
    ] {
        rig.line(line);
        let error = rig.model.prompt.as_ref().unwrap().error.clone().unwrap();
        assert!(error.contains(word), "{line}: {error}");
        rig.press(KeyCode::Esc);
    }
    rig.keys(":set the");
    rig.press(KeyCode::Tab);
    assert_eq!(
        rig.model.prompt.as_ref().unwrap().input.value(),
        "set theme"
    );
}
