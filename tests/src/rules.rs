//! The table of rules (`tests/RULES.md`), the tests it names, and the list of ways to break rules.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// The heading it stands under.
    pub section: String,
    /// Its number there.
    pub number: u32,
    /// The tests that are named for it, as `file::name`.
    pub tests: Vec<String>,
    /// The third column as it is written.
    pub text: String,
}

/// One way to break a rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Break {
    /// The rule, as `section number`.
    pub rule: String,
    /// The file that is changed.
    pub file: String,
    /// What stands there, exactly once.
    pub old: String,
    /// What stands there instead.
    pub new: String,
    /// The test that must fail then, as `file::name`.
    pub test: String,
}

#[derive(Deserialize)]
struct Breaks {
    broken: Vec<Break>,
}

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// Reads the table.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn table() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join("tests/RULES.md")).expect("the table of rules");
    parse(&text)
}

/// Reads the ways to break rules.
///
/// # Panics
/// When the list cannot be read.
#[must_use]
pub fn breaks() -> Vec<Break> {
    let path = root().join("tests/broken-rules.toml");
    let text = std::fs::read_to_string(path).expect("the list of broken rules");
    let list: Breaks = toml::from_str(&text).expect("a list of broken rules");
    list.broken
}

fn parse(text: &str) -> Vec<Row> {
    let mut section = String::new();
    let mut rows = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut section);
        }
        let mut cells = line.split('|').map(str::trim).skip(1);
        let Some(number) = cells.next().and_then(|cell| cell.parse().ok()) else {
            continue;
        };
        let text = cells.nth(1).unwrap_or_default().to_owned();
        let quoted = text.split('`').skip(1).step_by(2);
        let tests = quoted.filter(|word| word.contains("::")).map(str::to_owned);
        rows.push(Row {
            section: section.clone(),
            number,
            tests: tests.collect(),
            text,
        });
    }
    rows
}

/// Whether `file::name` is a test of the repository.
#[must_use]
pub fn exists(test: &str) -> bool {
    let Some((file, name)) = test.split_once("::") else {
        return false;
    };
    let Ok(text) = std::fs::read_to_string(root().join(file)) else {
        return false;
    };
    let is_it = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("async ").unwrap_or(line);
        let rest = line
            .strip_prefix("fn ")
            .and_then(|rest| rest.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with('('))
    };
    // The suite of stores runs a list of functions against each of them.
    let listed = text.split("for_both_stores!(").nth(1);
    let listed = listed.and_then(|rest| rest.split(");").next());
    if listed.is_some_and(|list| list.split(',').any(|one| one.trim() == name)) {
        return text.lines().any(is_it);
    }
    text.lines()
        .zip(text.lines().skip(1))
        .any(|(before, line)| {
            // Attributes end with a bracket; those of proptest stand inside its macro.
            is_it(line) && before.trim_end().ends_with(']')
        })
}
