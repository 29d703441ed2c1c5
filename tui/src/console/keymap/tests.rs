use std::collections::HashMap;

use crossterm::event::{KeyEvent, KeyModifiers};
use proptest::prelude::*;

use super::*;

fn chord(text: &str) -> Chord {
    text.parse().unwrap()
}

#[test]
fn a_key_means_one_thing_everywhere() {
    let mut meanings = HashMap::new();
    for binding in BINDINGS {
        for chord in binding.defaults {
            let known = *meanings.entry(*chord).or_insert(binding.intent);
            assert_eq!(known, binding.intent, "{chord} means two things");
        }
    }
    Keymap::default().check().unwrap();
}

#[test]
fn an_action_has_one_name_and_the_same_keys_in_every_view() {
    let mut names = HashMap::new();
    for binding in BINDINGS {
        let name = binding.intent.name();
        let known = *names.entry(name).or_insert(binding);
        assert_eq!(known.intent, binding.intent, "{name} names two actions");
        assert_eq!(known.defaults, binding.defaults, "{name}");
        let kebab = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(name.chars().all(kebab) && name != "go", "{name}");
    }
}

#[test]
fn keys_that_change_something_are_capitals_without_ctrl() {
    for binding in BINDINGS.iter().filter(|b| b.needs.is_some()) {
        assert!(binding.defaults.iter().all(|key| key.is_capital()));
        assert_eq!(binding.intent.group(), Group::Change, "{binding:?}");
    }
    for binding in BINDINGS.iter().filter(|b| b.needs.is_none()) {
        assert_ne!(binding.intent.group(), Group::Change, "{binding:?}");
    }
}

#[test]
fn shift_does_not_hide_a_capital_and_alt_makes_another_key() {
    let keymap = Keymap::default();
    let pressed = |modifiers, views| {
        let event = KeyEvent::new(KeyCode::Char('X'), modifiers);
        keymap.lookup(event, views).map(|b| b.intent)
    };
    assert_eq!(
        pressed(KeyModifiers::SHIFT, Views::SESSIONS),
        Some(Intent::Kill)
    );
    assert_eq!(pressed(KeyModifiers::NONE, Views::PULSE), None);
    assert_eq!(pressed(KeyModifiers::ALT, Views::SESSIONS), None);
}

#[test]
fn a_key_given_away_does_what_it_was_given_for_and_no_more() {
    let mut keymap = Keymap::default();
    keymap.rebind("kill", &[chord("K"), chord("D")]).unwrap();
    keymap.rebind("pause", &[]).unwrap();
    keymap.check().unwrap();
    let intent = |c| {
        let event = KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE);
        keymap.lookup(event, Views::SESSIONS).map(|b| b.intent)
    };
    assert_eq!(intent('K'), Some(Intent::Kill));
    assert_eq!(intent('D'), Some(Intent::Kill));
    assert_eq!((intent('X'), intent('p')), (None, None));
    assert_eq!(keymap.key_of(Intent::Kill), Some(chord("K")));
    assert_eq!(keymap.key_of(Intent::Pause), None);
}

#[test]
fn what_a_key_cannot_be_is_refused_with_a_way_out() {
    for (action, key, word) in [
        ("kill", "x", "capital"),
        ("kill", "ctrl-k", "capital"),
        ("kill", "enter", "capital"),
        ("kill", "esc", "capital"),
        ("down", "^c", "choose another"),
        ("interrupt", "x", "way out"),
        ("kil", "K", "did you mean 'kill'?"),
    ] {
        let error = Keymap::default().rebind(action, &[chord(key)]).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
    for (text, word) in [
        ("ctrl-i", "tab"),
        ("^m", "enter"),
        ("spce", "did you mean 'space'?"),
        ("f13", "no key"),
        ("", "no key"),
        ("ctrl-", "no key"),
        ("\u{1b}[2J", "no key"),
    ] {
        let error = text.parse::<Chord>().unwrap_err();
        assert!(error.contains(word), "{error}");
        assert!(!error.contains('\u{1b}'));
    }
}

#[test]
fn two_actions_on_one_key_clash_where_they_meet() {
    let mut keymap = Keymap::default();
    keymap.rebind("pause", &[chord("s")]).unwrap();
    let clash = keymap.check().unwrap_err();
    assert_eq!(clash.key, chord("s"));
    assert_eq!(clash.actions, ["sort", "pause"]);
    // Marks are for lists of sessions, following for events: they never meet.
    let mut keymap = Keymap::default();
    keymap.rebind("follow", &[chord("a")]).unwrap();
    keymap.check().unwrap();
}

#[test]
fn only_keys_that_write_nothing_act_where_one_types() {
    let mut keymap = Keymap::default();
    keymap
        .rebind("suspend", &[chord("z"), chord("f2")])
        .unwrap();
    let anywhere = |code, modifiers| keymap.lookup_anywhere(KeyEvent::new(code, modifiers));
    let none = KeyModifiers::NONE;
    assert_eq!(anywhere(KeyCode::Char('z'), none), None);
    assert_eq!(anywhere(KeyCode::F(2), none), Some(Intent::Suspend));
    assert_eq!(
        anywhere(KeyCode::Char('c'), KeyModifiers::CONTROL),
        Some(Intent::Interrupt)
    );
}

proptest! {
    #[test]
    fn a_chord_is_read_as_it_is_written(ctrl: bool, alt: bool, at in 0_usize..64) {
        let keys = "a X ? / ^ - 7 é space enter esc tab pgup pgdn home end f1 f12 left";
        let keys: Vec<&str> = keys.split(' ').collect();
        let mut text = keys[at % keys.len()].to_owned();
        if ctrl {
            text = format!("ctrl-{}", text.to_lowercase());
        }
        if alt {
            text = format!("alt-{text}");
        }
        let chord: Chord = text.parse().unwrap();
        prop_assert_eq!(chord.to_string().parse::<Chord>().unwrap(), chord);
    }
}
