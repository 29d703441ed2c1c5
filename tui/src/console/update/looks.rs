//! `:theme` and `:set`: what one changes of the console itself while it runs.

use shared::filter::nearest;

use super::super::message::Effect;
use super::super::model::{Model, REFRESH_SECS};
use super::super::theme::Tone;

/// What `:set` knows, and the values that Tab offers.
pub(crate) const OPTIONS: &[(&str, &[&str])] = &[
    ("ascii", &["on", "off"]),
    ("mouse", &["on", "off"]),
    ("rate", &["1s", "2s", "5s", "10s", "30s", "60s"]),
    ("theme", &[]),
];

/// `:theme NAME`.
pub(super) fn theme(model: &mut Model, name: &str) -> Result<(), String> {
    if name.is_empty() {
        let names: Vec<&str> = model.themes.names().collect();
        let text = format!("theme {}; there are {}", model.theme_name, names.join(", "));
        model.say(Tone::Normal, text);
        return Ok(());
    }
    model.theme = model.themes.get(name, model.theme.ascii)?;
    model.theme_name = name.to_owned();
    model.say(Tone::Normal, format!("theme {name}"));
    Ok(())
}

/// `:set OPTION VALUE`.
pub(super) fn set(model: &mut Model, line: &str, effects: &mut Vec<Effect>) -> Result<(), String> {
    let (option, value) = line.split_once(' ').unwrap_or((line, ""));
    let value = value.trim();
    match option {
        "theme" => return theme(model, value),
        "ascii" => model.theme.ascii = on_or_off(option, value)?,
        "mouse" => {
            model.mouse = on_or_off(option, value)?;
            effects.push(Effect::Mouse(model.mouse));
        }
        "rate" => {
            let secs = shared::units::parse_duration(value).map(|rate| rate.as_secs());
            let index = REFRESH_SECS.iter().position(|s| Some(*s) == secs);
            model.refresh = index.ok_or("rate: one of 1s, 2s, 5s, 10s, 30s, 60s")?;
            model.next_refresh_ms = model.now_ms;
        }
        _ => {
            let names = OPTIONS.iter().map(|option| option.0);
            let near = nearest(option, names.clone()).map_or_else(
                || format!("there are {}", names.collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean {near}?"),
            );
            return Err(format!(":set {option}: no such option; {near}"));
        }
    }
    model.say(Tone::Normal, format!("{option} {value}"));
    Ok(())
}

fn on_or_off(option: &str, value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("{option}: on or off")),
    }
}

/// Lines that Tab offers behind `:set`.
pub(crate) fn completions(model: &Model, rest: &str) -> Vec<String> {
    let Some((option, _)) = rest.split_once(' ') else {
        return OPTIONS.iter().map(|option| option.0.to_owned()).collect();
    };
    let of = |entry: &&(&str, &[&str])| entry.0 == option;
    let Some((_, values)) = OPTIONS.iter().find(of) else {
        return Vec::new();
    };
    let themes = model.themes.names().filter(|_| option == "theme");
    let values = values.iter().copied().chain(themes);
    values.map(|value| format!("{option} {value}")).collect()
}
