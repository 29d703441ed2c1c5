use ratatui::style::{Color, Modifier};

use super::*;
use crate::console::keymap::Intent;

fn parse(text: &str) -> Result<Configuration, String> {
    Configuration::parse(Path::new("relayctl.toml"), text).map_err(|e| e.to_string())
}

fn nothing(_: &str) -> Option<OsString> {
    None
}

#[test]
fn the_example_is_understood() {
    let text = include_str!("../../relayctl.example.toml");
    let configuration = parse(text).unwrap();
    assert_eq!(configuration.aliases.len(), 1);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relayctl.toml");
    std::fs::write(&path, text).unwrap();
    let configuration = Configuration::load(&path).unwrap();
    assert_eq!(configuration.contexts.len(), 2);
    assert!(configuration.contexts[1].confirm_typed);
}

#[test]
fn the_example_names_every_theme_and_every_rate() {
    let text = include_str!("../../relayctl.example.toml");
    for name in theme::built_in_names() {
        assert!(text.contains(name), "{name}");
    }
    for secs in REFRESH_SECS {
        assert!(text.contains(&format!("{secs}s")), "{secs}");
    }
}

#[test]
fn every_section_is_read() {
    let text = r##"
current = "prod"
[contexts.prod]
address = "unix:/x"
[console]
theme = "mine"
ascii = false
colours = "256"
mouse = true
rate = "5s"
confirm = "type"
[keys]
kill = "K"
down = ["j", "ctrl-n", "down"]
pause = "none"
help = "f1"
[aliases]
web = ":sessions user~web rate>1M"
[themes.mine]
based-on = "dark"
bad = "bold #ff0000 on 17"
"##;
    let settings = parse(text).unwrap();
    assert_eq!(
        settings.console,
        ConsoleSettings {
            theme: Some("mine".to_owned()),
            ascii: Some(false),
            colours: Some(Depth::Indexed),
            mouse: true,
            rate: Some(5),
            confirm: Confirm::Type,
        }
    );
    let keys = |intent| {
        let of = |bound: &&crate::console::keymap::Bound| bound.action.intent == intent;
        settings.keymap.all().iter().find(of).unwrap().keys_text()
    };
    assert_eq!(keys(Intent::Kill), "K");
    assert_eq!(keys(Intent::Down), "j ^n down");
    assert_eq!(keys(Intent::Pause), "");
    assert_eq!(keys(Intent::Help), "f1");
    assert_eq!(settings.aliases["web"], "sessions user~web rate>1M");
    let style = settings.themes["mine"].style(Tone::Bad);
    assert_eq!(style.fg, Some(Color::Rgb(255, 0, 0)));
    assert_eq!(style.bg, Some(Color::Indexed(17)));
    assert_eq!(style.add_modifier, Modifier::BOLD);
    assert_ne!(settings.themes["mine"], theme::built_in("default").unwrap());
}

#[test]
fn what_makes_no_sense_names_its_line_and_what_to_do() {
    for (text, said) in [
        (
            "\n\ntheme = 3",
            "line 3: theme: no such key; did you mean 'themes'?",
        ),
        ("console = 3", "line 1: console: a table"),
        (
            "[console]\nmose = true",
            "line 2: [console] mose: no such key; did you mean 'mouse'?",
        ),
        (
            "[console]\nmouse = 1",
            "line 2: [console] mouse: true or false",
        ),
        ("[console]\nrate = \"3s\"", "one of \"1s\", \"2s\""),
        ("[console]\nrate = 3", "a text in quotes"),
        ("[console]\ncolours = \"many\"", "\"256\""),
        ("[console]\ntheme = \"drak\"", "did you mean 'dark'?"),
        ("[console]\nconfirm = \"maybe\"", "\"ask\" or \"type\""),
        (
            "[keys]\nkill = \"x\"",
            "line 2: [keys] kill: 'kill' changes something, so its key must be a capital",
        ),
        ("[keys]\nkil = \"X\"", "did you mean 'kill'?"),
        (
            "[keys]\ndown = \"n\"\nup = \"s\"",
            "line 3: [keys] up: s would mean both 'sort' and 'up': give one",
        ),
        ("[keys]\ndown = \"spce\"", "did you mean 'space'?"),
        ("[keys]\ndown = [1]", "a list of them"),
        ("[keys]\ndown = \"ctrl-c\"", "^c always cancels"),
        (
            "[aliases]\nsessions = \"users\"",
            "there is a command of that name",
        ),
        ("[aliases]\nweb = \"sesions a\"", "did you mean 'sessions'?"),
        ("[aliases]\n\"a b\" = \"users\"", "one word"),
        (
            "[themes]\nmine = 3",
            "line 2: themes.mine: a table, as in [themes.mine]",
        ),
        ("[themes.mine]\nbda = \"red\"", "did you mean 'bad'?"),
        (
            "[themes.mine]\nbad = \"rde\"",
            "line 2: [themes.mine] bad: 'rde' is no colour",
        ),
        ("[themes.mine]\nbased-on = \"drak\"", "did you mean 'dark'?"),
        (
            "[themes.mine]\nselected = \"bold\"",
            "line 1: [themes] mine: the selected row would look",
        ),
        ("[console]\nmouse = true\nmouse = false", "line 3"),
        ("[console", "line 1"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(said), "{text:?}: {error}");
    }
}

#[test]
fn no_line_of_a_broken_file_is_quoted() {
    let error = parse("[contexts.a]\ntoken = \"hunter2\"\n[console]\ntheme = hunter2").unwrap_err();
    assert!(
        error.contains("line 4") && !error.contains("hunter2"),
        "{error}"
    );
}

#[test]
fn hostile_keys_steer_nothing() {
    let error = parse("\"\\u001b[2J\" = 3").unwrap_err();
    assert!(!error.contains('\u{1b}'), "{error:?}");
}

#[test]
fn options_come_before_the_environment_and_that_before_the_file() {
    let settings = parse("[console]\ntheme = \"light\"\nascii = false").unwrap();
    let theme =
        |option, env: Environment<'_>| Looks::new(&settings, option, false, env).unwrap().theme;
    let no_colour = |name: &str| (name == "NO_COLOR").then(|| "1".into());
    let empty = |name: &str| (name == "NO_COLOR").then(OsString::new);
    assert_eq!(theme(None, &nothing), "light");
    assert_eq!(theme(None, &no_colour), "mono");
    assert_eq!(theme(None, &empty), "light");
    assert_eq!(theme(Some("dark"), &no_colour), "dark");
    assert!(Looks::new(&settings, Some("x"), false, &nothing).is_err());
    let linux = |name: &str| (name == "TERM").then(|| "linux".into());
    let unset = Configuration::default();
    let ascii = |settings, option| Looks::new(settings, None, option, &linux).unwrap().ascii;
    assert!(ascii(&unset, false));
    assert!(!ascii(&settings, false));
    assert!(ascii(&settings, true));
}

#[test]
fn a_locale_without_utf_8_means_ascii() {
    for (locale, unicode) in [
        ("C", false),
        ("C.UTF-8", true),
        ("de_DE.utf8", true),
        ("", true),
    ] {
        let env = |name: &str| (name == "LANG").then(|| locale.into());
        assert_eq!(has_unicode(&env), unicode, "{locale}");
    }
}
