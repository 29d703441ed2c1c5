//! Rules over the tree as a whole.

use crate::source::{files, root};

/// What the root of the repository may hold beside the packages.
const ROOT: [&str; 22] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "shared",
    "relay",
    "tui",
    "tests",
    "rustfmt.toml",
    "clippy.toml",
    "rust-toolchain.toml",
    "deny.toml",
    ".gitignore",
    ".gitattributes",
    ".ci",
    ".cargo",
    ".github",
    ".git",
    "target",
    "demo-state",
];

/// Names in the root that do not belong there.
fn strangers<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    names.filter(|name| !ROOT.contains(name)).collect()
}

#[test]
fn the_root_holds_the_packages_and_tool_files_only() {
    let names: Vec<String> = std::fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        strangers(names.iter().map(String::as_str)).is_empty(),
        "{names:?}"
    );
    assert_eq!(strangers(["utils", "relay"].into_iter()), ["utils"]);
}

#[test]
fn no_file_speaks_of_the_machine_it_was_written_on() {
    let needles = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    let speaks = |text: &str| needles.iter().any(|needle| text.contains(needle));
    assert!(speaks(concat!("see /wo", "rk/notes")));
    let found: Vec<String> = files(|_| true)
        .into_iter()
        .filter(|file| file.path != ".git" && speaks(&file.text))
        .map(|file| file.path)
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn no_dumping_grounds() {
    let dump = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        matches!(
            name,
            "utils.rs" | "util.rs" | "helpers.rs" | "common.rs" | "misc.rs" | "types.rs"
        )
    };
    assert!(dump("relay/src/utils.rs"));
    let found: Vec<String> = files(|path| path.ends_with(".rs"))
        .into_iter()
        .map(|file| file.path)
        .filter(|p| dump(p))
        .collect();
    assert!(found.is_empty(), "name the subject instead: {found:?}");
}
