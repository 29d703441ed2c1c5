//! What is made from the definition of the command line, and frames without a terminal.

use clap::CommandFactory as _;
use insta::assert_snapshot;

use super::*;

/// All commands, each by its words.
fn commands(of: &clap::Command, before: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for command in of.get_subcommands() {
        let mut words = before.to_vec();
        words.push(command.get_name().to_owned());
        found.extend(commands(command, &words));
        found.push(words);
    }
    found
}

async fn dispatched(args: &[&str], env: Environment<'_>) -> Ran {
    let cli = Cli::try_parse_from(["relayctl"].iter().chain(args)).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut script = Script::default();
    let terminal = Terminal {
        out: &mut out,
        err: &mut err,
        asked: &mut script,
        out_is_terminal: false,
        err_is_terminal: false,
    };
    let code = super::super::run(cli.command.unwrap(), &cli.global, env, terminal).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran {
        code,
        out: text(out),
        err: text(err),
    }
}

fn nothing(_: &str) -> Option<std::ffi::OsString> {
    None
}

#[test]
fn the_help_says_what_it_said() {
    // Terminals of any width get the same.
    let help = |command: clap::Command| command.term_width(100).render_long_help().to_string();
    let cli = Cli::command().mut_args(|arg| arg.hide_env_values(true));
    assert_snapshot!("help", help(cli));
}

#[tokio::test]
async fn every_shell_completes_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = dispatched(&["completion", shell], &nothing).await;
        assert_eq!(ran.code, code::OK, "{shell}: {}", ran.err);
        for words in commands(&Cli::command(), &[]) {
            let last = words.last().unwrap();
            assert!(ran.out.contains(last), "{shell}: {words:?}");
        }
    }
}

#[tokio::test]
async fn every_command_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("man1");
    let ran = dispatched(&["man", "--dir", path.to_str().unwrap()], &nothing).await;
    assert_eq!(ran.code, code::OK, "{}", ran.err);
    for words in commands(&Cli::command(), &[]) {
        let name = format!("relayctl-{}.1", words.join("-"));
        let page = std::fs::read_to_string(path.join(&name));
        assert!(page.unwrap_or_default().contains(".SH SYNOPSIS"), "{name}");
    }
    let ran = dispatched(&["man"], &nothing).await;
    assert!(ran.out.contains(".TH relayctl 1"), "{}", ran.out);
}

#[tokio::test]
async fn info_says_how_the_console_would_paint_and_where_it_reads() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relayctl.toml");
    std::fs::write(&path, "[console]\ntheme = \"light\"\n[keys]\nkill = \"K\"").unwrap();
    let env = |name: &str| match name {
        "RELAYCTL_CONFIG" => Some(path.clone().into_os_string()),
        "TERM" => Some("xterm-256color".into()),
        "LANG" => Some("C".into()),
        _ => None,
    };
    let config = path.to_str().unwrap();
    let ran = dispatched(&["info", "-o", "json", "--config", config], &env).await;
    let info = ran.json();
    assert_eq!(info["schema"], "info/1");
    assert_eq!(info["theme"], "light");
    assert_eq!(info["colours"], "256");
    assert_eq!(info["unicode"], false);
    assert_eq!(info["config"], config);
    assert!(info["config_error"].is_null());
    let ran = dispatched(&["info", "--keys", "-o", "json", "--config", config], &env).await;
    assert_eq!(ran.json()["kill"][0], "K");
    assert_eq!(ran.json()["down"][1], "down");
    // What is wrong with the file is told, and everything else too.
    std::fs::write(&path, "[keys]\nkill = \"k\"").unwrap();
    let info = dispatched(&["info", "-o", "json", "--config", config], &env).await;
    let error = info.json()["config_error"].to_string();
    assert!(error.contains("line 2: [keys] kill"), "{error}");
    assert_eq!(info.json()["theme"], "default");
    assert_eq!(info.code, code::OK);
    let keys = dispatched(&["info", "--keys", "--config", config], &env).await;
    assert_eq!(keys.code, code::USAGE, "{}", keys.err);
    assert!(keys.out.contains("half-down"), "{}", keys.out);
}

#[tokio::test]
async fn commands_that_need_contexts_only_work_with_broken_keys() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relayctl.toml");
    let text = "[contexts.a]\naddress = \"unix:/x\"\n[keys]\nkill = \"k\"";
    std::fs::write(&path, text).unwrap();
    let config = path.to_str().unwrap();
    let ran = dispatched(&["context", "list", "--config", config], &nothing).await;
    assert_eq!(ran.code, code::OK, "{}", ran.err);
}

#[tokio::test]
async fn any_view_is_painted_without_a_terminal() {
    let api = FakeAdmin::with_sessions(30);
    for view in crate::console::snapshot_views() {
        let args: &[&str] = match view {
            "session" => &["snapshot", "session", FIRST],
            "top" => &["snapshot", "top", "user"],
            "diff" => &["snapshot", "diff", "fra1", "ams1"],
            "help" => &["snapshot", "help", "sessions"],
            view => &["snapshot", view],
        };
        let ran = run(&api, args).await;
        assert_eq!(ran.code, code::OK, "{view}: {}", ran.err);
        assert_eq!(ran.out.lines().count(), 24, "{view}");
        assert!(
            !ran.out.contains('\u{1b}') && !ran.out.contains("loading"),
            "{}",
            ran.out
        );
    }
    let ran = run(&api, &["snapshot", "sessions", "node=fra1", "--ascii"]).await;
    assert!(
        ran.out.contains("1-10 of 10 match (30 total)"),
        "{}",
        ran.out
    );
    assert!(ran.out.is_ascii());
    let ran = run(&api, &["snapshot", "sessions", "nonsense>3"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (code::USAGE, ""));
}

#[tokio::test]
async fn a_frame_in_colour_has_those_of_the_theme() {
    let api = FakeAdmin::with_sessions(30);
    let plain = run(&api, &["snapshot", "sessions"]).await.out;
    let ran = run(
        &api,
        &["snapshot", "sessions", "--color", "--theme", "dark"],
    )
    .await;
    assert!(ran.out.contains(";48;2;20;24;31m"), "{}", ran.out);
    let ran = run(&api, &["snapshot", "sessions", "--color"]).await;
    assert!(ran.out.contains(";7m"), "{}", ran.out);
    assert!(ran.out.contains(";38;5;6m") && !ran.out.contains(";38;2;"));
    let mut text = String::new();
    for (i, part) in ran.out.split('\u{1b}').enumerate() {
        let behind = part.split_once('m').map_or(part, |(_, behind)| behind);
        text.push_str(if i == 0 { part } else { behind });
    }
    let lines = |text: &str| -> Vec<String> {
        text.lines()
            .map(|l| l.replace("> ", "  ").trim_end().to_owned())
            .collect()
    };
    assert_eq!(lines(&text)[4], lines(&plain)[4]);
}
