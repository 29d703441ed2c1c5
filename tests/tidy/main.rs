//! The rules of the tree, as tests: sizes, who may import whom, where secrets of the layout live.
//!
//! Every rule is a pure function from a file to complaints, so that each is also shown to fail.

mod manifest;
mod rules;
mod source;
mod table;
mod top_level;

use source::{Source, rust_files};

/// A rule: what is wrong with one file, one sentence each.
type Rule = fn(&Source) -> Vec<String>;

/// Runs `rule` over all Rust files and panics with everything it finds.
fn hold(rule: Rule) {
    let files = rust_files();
    assert!(
        files.len() > 50,
        "the walk found only {} Rust files",
        files.len()
    );
    let complaints: Vec<String> = files
        .iter()
        .flat_map(|file| {
            rule(file)
                .into_iter()
                .map(move |text| format!("{}: {text}", file.path))
        })
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Asserts that `rule` complains about `text` at `path`.
fn fails(rule: Rule, path: &str, text: &str) {
    let found = rule(&Source::new(path, text));
    assert!(!found.is_empty(), "the rule accepts {path}: {text}");
}

/// Asserts that `rule` has nothing to say about `text` at `path`.
fn passes(rule: Rule, path: &str, text: &str) {
    let found = rule(&Source::new(path, text));
    assert!(
        found.is_empty(),
        "the rule complains about {path}: {found:?}"
    );
}
