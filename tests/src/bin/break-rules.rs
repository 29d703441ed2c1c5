//! Breaks the rules of `tests/broken-rules.toml` one at a time, in a copy of the tree, and expects
//! the test named for each to fail.
//!
//! Takes some minutes: every break is a build. `cargo run --bin break-rules [WORD]` limits it to
//! rules that contain WORD.

use std::path::Path;
use std::process::{Command, ExitCode, Output};

use anyhow::{Context as _, bail, ensure};
use kit::rules::{Break, breaks, root};

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    match run(&wanted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(wanted: &str) -> anyhow::Result<()> {
    let copy = tempfile::tempdir().context("a folder for the copy")?;
    let tree = copy.path().join("tree");
    copy_tree(&tree)?;
    let list: Vec<Break> = breaks();
    let list: Vec<_> = list
        .iter()
        .filter(|one| one.rule.contains(wanted))
        .collect();
    ensure!(!list.is_empty(), "no rule contains {wanted:?}");
    let mut unnoticed = Vec::new();
    for one in &list {
        let noticed = is_noticed(&tree, one).with_context(|| one.rule.clone())?;
        say(&format!(
            "{}: {} {}",
            one.rule,
            if noticed {
                "noticed by"
            } else {
                "NOT noticed by"
            },
            one.test
        ));
        if !noticed {
            unnoticed.push(one.rule.as_str());
        }
    }
    ensure!(
        unnoticed.is_empty(),
        "not noticed: {}",
        unnoticed.join(", ")
    );
    say(&format!("{} rules broken, all noticed", list.len()));
    Ok(())
}

/// Copies what git knows of the tree, as it is in the working folder.
fn copy_tree(to: &Path) -> anyhow::Result<()> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root())
        .output()
        .context("git lists the files of the tree")?;
    ensure!(listed.status.success(), "git ls-files failed");
    for name in listed
        .stdout
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let name = std::str::from_utf8(name).context("a file's name")?;
        let (from, to) = (root().join(name), to.join(name));
        if !from.exists() {
            continue;
        }
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::copy(&from, &to).with_context(|| name.to_owned())?;
    }
    Ok(())
}

/// Breaks a rule in the copy, runs its test, and mends the rule.
fn is_noticed(tree: &Path, one: &Break) -> anyhow::Result<bool> {
    let path = tree.join(&one.file);
    let sound = std::fs::read_to_string(&path).with_context(|| one.file.clone())?;
    ensure!(
        sound.matches(&one.old).count() == 1,
        "{}: the text to replace is not there once",
        one.file
    );
    std::fs::write(&path, sound.replace(&one.old, &one.new))?;
    let built = cargo(tree, one, true);
    let tested = cargo(tree, one, false);
    std::fs::write(&path, &sound)?;
    let built = built?;
    if !built.status.success() {
        bail!(
            "does not build:\n{}",
            String::from_utf8_lossy(&built.stderr)
        );
    }
    let tested = tested?;
    let wrote = String::from_utf8_lossy(&tested.stdout);
    ensure!(
        wrote.contains("running 1 test"),
        "{}: not run:\n{wrote}",
        one.test
    );
    Ok(!tested.status.success())
}

/// `cargo test` of the one test, or only its build. The builds share a folder of their own.
fn cargo(tree: &Path, one: &Break, only_build: bool) -> anyhow::Result<Output> {
    let (package, target, name) = selection(&one.test)?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["test", "--quiet", "--package", package]);
    command.args(target);
    if only_build {
        command.arg("--no-run");
    } else {
        command.args(["--", "--exact", &name]);
    }
    command.env("CARGO_TARGET_DIR", root().join("target/broken"));
    command.current_dir(tree).output().context("cargo runs")
}

/// Package, target and path of a test `file::name`.
fn selection(test: &str) -> anyhow::Result<(&str, Vec<String>, String)> {
    let (file, name) = test
        .split_once("::")
        .context("a test is written file::name")?;
    let module = |path: &str| {
        path.trim_end_matches(".rs")
            .trim_end_matches("/mod")
            .replace('/', "::")
    };
    let places = [
        ("relay/proto/src/", "turn-proto"),
        ("relay/udp/src/", "turn-udp"),
        ("relay/src/", "relayd"),
        ("tui/src/", "relayctl"),
        ("shared/src/", "relayd-shared"),
    ];
    for (folder, package) in places {
        if let Some(path) = file.strip_prefix(folder) {
            let inner = if path.ends_with("tests.rs") {
                ""
            } else {
                "::tests"
            };
            return Ok((
                package,
                vec!["--lib".into()],
                format!("{}{inner}::{name}", module(path)),
            ));
        }
    }
    let (package, path) = match file.strip_prefix("relay/proto/tests/") {
        Some(path) => ("turn-proto", path),
        None => (
            "relayd-tests",
            file.strip_prefix("tests/").context("an unknown folder")?,
        ),
    };
    let (suite, path) = path
        .split_once('/')
        .unwrap_or((path.trim_end_matches(".rs"), ""));
    let name = match module(path).as_str() {
        "" | "main" => name.to_owned(),
        module => format!("{module}::{name}"),
    };
    Ok((package, vec!["--test".into(), suite.into()], name))
}

#[expect(clippy::print_stderr, reason = "a program for the terminal")]
fn say(text: &str) {
    eprintln!("{text}");
}
