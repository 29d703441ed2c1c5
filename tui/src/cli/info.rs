//! `relayctl info`: what one asks when nothing works, so it fails for nothing.

use clap::Args;
use serde_json::{Value, json};

use super::about::write_pairs;
use super::args::Global;
use super::exit::Failure;
use super::terminal::Terminal;
use super::{config_path, resolve};
use crate::configuration::{Configuration, Looks, has_unicode};
use crate::console::keymap::Keymap;
use crate::console::theme::Depth;
use crate::contexts::{Environment, usual_sockets};

/// Variables that say what the terminal can do.
const VARIABLES: [&str; 6] = [
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "LC_ALL",
    "LC_CTYPE",
    "LANG",
];

/// Options of `info`.
#[derive(Args, Debug)]
pub struct InfoArgs {
    /// The keys in force, by the names that [keys] of the configuration has for them
    #[arg(long)]
    keys: bool,
}

pub(super) fn run(
    args: &InfoArgs,
    global: &Global,
    env: Environment<'_>,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let config = config_path(global, env);
    let settings = Configuration::load(&config);
    if args.keys {
        // The names are what one looks for when the file has a wrong one.
        let (keymap, broken) = match settings {
            Ok(settings) => (settings.keymap, None),
            Err(error) => (Keymap::default(), Some(error)),
        };
        keys(&keymap, global, terminal)?;
        return broken.map_or(Ok(()), |error| Err(error.into()));
    }
    let mut report = vec![
        ("version", json!(env!("CARGO_PKG_VERSION"))),
        ("config", json!(config.display().to_string())),
        ("config_exists", json!(config.exists())),
        (
            "config_error",
            json!(settings.as_ref().err().map(ToString::to_string)),
        ),
    ];
    report.extend(node(global, env));
    report.extend(painting(
        &settings.unwrap_or_default(),
        global,
        env,
        terminal,
    ));
    write_pairs(terminal, global, "info/1", &report)
}

/// Which node we would talk to.
fn node(global: &Global, env: Environment<'_>) -> Vec<(&'static str, Value)> {
    let (context, address, token) = match resolve(global, env) {
        Ok(resolved) => {
            let token = resolved.options.token.is_some();
            let address = resolved.address.to_string();
            (json!(resolved.name), json!(address), json!(token))
        }
        Err(failure) => (json!(null), json!(failure.to_string()), json!(false)),
    };
    let sockets: Vec<_> = usual_sockets(env)
        .iter()
        .map(|p| p.display().to_string())
        .collect();
    vec![
        ("context", context),
        ("address", address),
        ("has_token", token),
        ("usual_sockets", json!(sockets)),
    ]
}

/// How the console would paint, and why.
fn painting(
    settings: &Configuration,
    global: &Global,
    env: Environment<'_>,
    terminal: &Terminal<'_>,
) -> Vec<(&'static str, Value)> {
    let looks = Looks::new(settings, global.theme.as_deref(), global.ascii, env);
    let theme = match &looks {
        Ok(looks) => looks.theme.clone(),
        Err(error) => error.clone(),
    };
    let themes = looks.as_ref().map(|looks| looks.themes.clone());
    let names = themes.unwrap_or_default();
    let size = crossterm::terminal::size().ok();
    let size = size.filter(|_| terminal.out_is_terminal);
    let mut report = vec![
        ("theme", json!(theme)),
        ("themes", json!(names.names().collect::<Vec<_>>())),
        ("colours", json!(names.depth.name())),
        ("colours_found", json!(Depth::detect(env).name())),
        ("unicode", json!(has_unicode(env))),
        ("ascii", json!(looks.is_ok_and(|looks| looks.ascii))),
        ("mouse", json!(settings.console.mouse)),
        ("terminal", json!(terminal.out_is_terminal)),
        ("size", json!(size.map(|(c, r)| format!("{c}x{r}")))),
        ("tmux", json!(env("TMUX").is_some())),
    ];
    for name in VARIABLES {
        let value = env(name).map(|value| value.to_string_lossy().into_owned());
        report.push((name, json!(value)));
    }
    report
}

fn keys(keymap: &Keymap, global: &Global, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let mut report: Vec<(&str, Value)> = Vec::new();
    for bound in keymap.all() {
        let name = bound.action.intent.name();
        if report.iter().all(|(known, _)| *known != name) {
            let keys: Vec<String> = bound.keys.iter().map(ToString::to_string).collect();
            report.push((name, json!(keys)));
        }
    }
    write_pairs(terminal, global, "keys/1", &report)
}
