//! Single screens that show something in particular; every view in every look is in `matrix`.

use insta::assert_snapshot;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Modifier;

use super::Rig;
use crate::console::theme::Theme;
use crate::views::view;

#[test]
fn sessions_in_ascii_without_colours() {
    let mut rig = Rig::themed(412, (80, 24), Theme::plain(true, true));
    rig.keys("3  k");
    let screen = rig.screen();
    assert!(screen.is_ascii());
    assert_snapshot!("sessions_ascii_mono_80x24", screen);
    rig.keys("1");
    assert_snapshot!("pulse_ascii_mono_80x24", rig.screen());
}

#[test]
fn help_lists_the_keys_of_the_view_and_none_that_change_anything() {
    let mut rig = Rig::new(12, (80, 45));
    rig.keys("3?");
    let screen = rig.screen();
    assert_snapshot!("help_80x45", screen);
    assert!(!screen.contains("kill the session"));
}

#[test]
fn what_to_write_instead_is_shown_to_its_end() {
    let mut rig = Rig::new(12, (80, 24));
    rig.keys("3/");
    rig.line("usr=bob rate>1M");
    let screen = rig.screen();
    assert!(screen.contains("did you mean 'user'?"), "{screen}");
    let mut rig = Rig::new(12, (60, 15));
    rig.keys("3/");
    rig.line("usr=bob");
    let screen = rig.screen();
    assert!(screen.contains("there is no column 'usr'"), "{screen}");
}

#[test]
fn a_missing_node_is_named() {
    let mut rig = Rig::new(12, (80, 24));
    rig.api.set_missing(&["lon1"]);
    rig.keys("3");
    rig.second();
    let screen = rig.screen();
    assert!(screen.contains("partial: no answer of lon1"), "{screen}");
}

#[test]
fn the_selected_row_is_inverted_even_without_colours() {
    let mut rig = Rig::themed(12, (80, 24), Theme::plain(false, true));
    rig.keys("3");
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| view(&rig.model, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let inverted: Vec<u16> = (0..24)
        .filter(|y| buffer[(10, *y)].modifier.contains(Modifier::REVERSED))
        .collect();
    assert_eq!(inverted, [4]);
}

#[test]
fn hostile_names_steer_nothing_and_keep_columns_straight() {
    let mut rig = Rig::new(6, (80, 24));
    rig.api.edit_sessions(|sessions| {
        let hostile = [
            "\u{1b}]0;pwned\u{7}\u{1b}[2J",
            "日本語の利用者名がとても長い",
            "a\u{202e}dcba",
            "عمر خيام",
            "\n\r\t\u{9b}31m",
        ];
        for (session, name) in sessions.iter_mut().zip(hostile) {
            session.user = name.to_owned();
            session.peers = vec![name.to_owned()];
        }
        sessions[5].user = "x".repeat(508);
        sessions[5].rate_in_bps = u64::MAX;
        sessions[5].rate_out_bps = u64::MAX;
        sessions[5].age_secs = u64::MAX;
        sessions[5].ttl_secs = u64::MAX;
        sessions[5].drops = u64::MAX;
    });
    rig.keys("3");
    rig.second();
    let screen = rig.screen();
    assert!(!screen.chars().any(|c| c.is_control() && c != '\n'));
    assert_snapshot!("sessions_hostile_80x24", screen);
    rig.press(crossterm::event::KeyCode::Enter);
    let screen = rig.screen();
    assert!(!screen.chars().any(|c| c.is_control() && c != '\n'));
    assert_snapshot!("session_extreme_80x24", screen);
}

#[test]
fn an_empty_cluster_says_so() {
    let mut rig = Rig::new(0, (80, 24));
    rig.keys("3");
    assert!(rig.screen().contains("there is nothing here"));
    assert!(rig.screen().contains("0 of 0"));
}

#[test]
fn no_size_breaks_any_view() {
    let mut rig = Rig::writable(40);
    for key in ["1", "2", "3", "4", "5", "6", "3X", "a", "4N", "5E", "?"] {
        rig.keys(key);
        rig.second();
        for width in (1..170).step_by(7) {
            for height in [1, 2, 9, 10, 11, 12, 14, 15, 20, 23, 36, 60] {
                rig.model.size = (width, height);
                let screen = rig.screen();
                if width < 40 || height < 10 {
                    assert!(
                        "terminal too small (need 40x10)"
                            .starts_with(screen.trim_end().trim_end_matches('~'))
                    );
                }
            }
        }
        rig.model.size = (80, 24);
        rig.ctrl('c');
        rig.model.interrupted_ms = None;
    }
}
