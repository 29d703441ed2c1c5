//! Files of the repository, as the rules see them.

use std::path::{Path, PathBuf};

/// Directories that hold nothing of ours.
const SKIPPED: [&str; 4] = ["target", ".git", "demo-state", "node_modules"];

/// One text file.
pub(crate) struct Source {
    /// Path from the root of the repository, with `/`.
    pub(crate) path: String,
    /// The text.
    pub(crate) text: String,
}

impl Source {
    /// A file, real or made up.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    /// Whether the file only holds the tests of a module.
    pub(crate) fn is_unit_tests(&self) -> bool {
        self.path.ends_with("/tests.rs")
            || self.path.contains("/src/") && self.path.contains("/tests/")
    }

    /// Whether the file belongs to the end-to-end suites.
    pub(crate) fn is_suite(&self) -> bool {
        self.path.starts_with("tests/")
    }

    /// Numbered lines (from 1) that are not comments.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self
            .text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.trim()));
        lines.filter(|(_, line)| !line.starts_with("//"))
    }

    /// Code lines in front of the first `#[cfg(test)]`: what ships.
    pub(crate) fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.is_unit_tests();
        self.code()
            .take_while(move |(_, line)| !tests && !line.starts_with("#[cfg(test)]"))
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ has a parent")
        .to_owned()
}

/// All Rust files of the repository.
pub(crate) fn rust_files() -> Vec<Source> {
    files(|path| path.ends_with(".rs"))
}

/// All UTF-8 files of the repository whose path satisfies `wanted`.
pub(crate) fn files(wanted: fn(&str) -> bool) -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("folders of the repository are readable") {
            let path = entry.expect("entries are readable").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                if !SKIPPED.contains(&name.as_str()) {
                    folders.push(path);
                }
                continue;
            }
            let relative = path.strip_prefix(&root).expect("walked from the root");
            let relative = relative.to_string_lossy().into_owned();
            if !wanted(&relative) {
                continue;
            }
            if let Ok(text) = std::fs::read_to_string(&path) {
                found.push(Source {
                    path: relative,
                    text,
                });
            }
        }
    }
    found
}
