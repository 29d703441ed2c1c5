//! Rules over manifests and lint settings.

use std::collections::BTreeSet;

use toml::Table;

use crate::source::root;

/// Per package folder: the only dependencies it may have (`None`: anything not denied).
const ALLOWED: [(&str, &[&str]); 3] = [
    (
        "shared",
        &[
            "ipnet",
            "serde",
            "serde_json",
            "thiserror",
            "unicode-normalization",
            "unicode-width",
            "zeroize",
        ],
    ),
    (
        "relay/proto",
        &[
            "relayd-shared",
            "aws-lc-rs",
            "base64",
            "foldhash",
            "hashbrown",
            "hmac",
            "ipnet",
            "md-5",
            "rand",
            "sha1",
            "sha2",
            "slab",
            "subtle",
            "thiserror",
            "zeroize",
        ],
    ),
    ("relay/udp", &["libc"]),
];
/// Per package folder: dependencies it must not have.
const DENIED: [(&str, &[&str]); 2] = [
    (
        "relay",
        &["relayctl", "relayd-tests", "ratatui", "crossterm"],
    ),
    (
        "tui",
        &["relayd", "relayd-tests", "redis", "rusqlite", "mio"],
    ),
];
/// All packages.
const PACKAGES: [&str; 8] = [
    "shared",
    "relay",
    "relay/proto",
    "relay/udp",
    "tui",
    "tests",
    "tests/sim",
    "tests/steps",
];

fn read(path: &str) -> Table {
    let text = std::fs::read_to_string(root().join(path)).expect("the manifest is readable");
    text.parse().expect("the manifest is TOML")
}

/// What is wrong with the dependencies of the package in `folder`.
fn dependency_complaints(folder: &str, manifest: &Table) -> Vec<String> {
    let names: BTreeSet<&str> = manifest
        .get("dependencies")
        .and_then(|value| value.as_table())
        .map(|table| table.keys().map(String::as_str).collect())
        .unwrap_or_default();
    let allowed = ALLOWED.iter().find(|(name, _)| *name == folder);
    let denied = DENIED.iter().find(|(name, _)| *name == folder);
    let foreign = names
        .iter()
        .filter(|name| allowed.is_some_and(|(_, list)| !list.contains(*name)));
    let wrong = names
        .iter()
        .filter(|name| denied.is_some_and(|(_, list)| list.contains(*name)));
    foreign
        .chain(wrong)
        .map(|name| format!("{folder} depends on {name}"))
        .collect()
}

/// What is wrong with the frame of a package: lints, edition, versions from the workspace.
fn package_complaints(folder: &str, manifest: &Table) -> Vec<String> {
    let mut complaints = Vec::new();
    let inherits = |table: &str, key: &str| {
        let value = manifest.get(table).and_then(|table| table.get(key));
        value
            .and_then(|value| value.get("workspace").or(Some(value)))
            .and_then(toml::Value::as_bool)
            == Some(true)
    };
    if !inherits("lints", "workspace") {
        complaints.push(format!("{folder}: [lints] workspace = true is missing"));
    }
    for key in ["edition", "rust-version", "license", "version"] {
        if !inherits("package", key) {
            complaints.push(format!("{folder}: package.{key} is not the workspace's"));
        }
    }
    for table in ["dependencies", "dev-dependencies"] {
        let Some(dependencies) = manifest.get(table).and_then(toml::Value::as_table) else {
            continue;
        };
        for (name, value) in dependencies {
            if value.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                complaints.push(format!(
                    "{folder}: {name} is not from [workspace.dependencies]"
                ));
            }
        }
    }
    complaints
}

#[test]
fn packages_depend_only_on_whom_they_may_know() {
    let found: Vec<String> = PACKAGES
        .iter()
        .flat_map(|folder| dependency_complaints(folder, &read(&format!("{folder}/Cargo.toml"))))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
    let bad: Table = "[dependencies]\ntokio = \"1\"\nrelayd = \"1\""
        .parse()
        .unwrap();
    assert_eq!(dependency_complaints("relay/proto", &bad).len(), 2);
    assert_eq!(
        dependency_complaints("tui", &bad),
        ["tui depends on relayd"]
    );
}

#[test]
fn packages_inherit_lints_edition_and_versions() {
    let found: Vec<String> = PACKAGES
        .iter()
        .flat_map(|folder| package_complaints(folder, &read(&format!("{folder}/Cargo.toml"))))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
    let bad: Table = "[package]\nedition = \"2021\"\n[dependencies]\nrand = \"0.10\""
        .parse()
        .unwrap();
    assert_eq!(package_complaints("relay", &bad).len(), 6);
}

#[test]
fn clippy_holds_functions_to_70_lines_and_the_core_to_no_clock() {
    let lints = read("Cargo.toml");
    let clippy = &lints["workspace"]["lints"]["clippy"];
    for lint in [
        "too_many_lines",
        "unwrap_used",
        "todo",
        "print_stdout",
        "print_stderr",
    ] {
        assert!(clippy.get(lint).is_some(), "clippy::{lint} is off");
    }
    for path in ["clippy.toml", "relay/proto/clippy.toml"] {
        assert_eq!(
            read(path)["too-many-lines-threshold"].as_integer(),
            Some(70),
            "{path}"
        );
    }
    let core = std::fs::read_to_string(root().join("relay/proto/clippy.toml")).unwrap();
    for name in [
        "Instant::now",
        "SystemTime::now",
        "std::net::UdpSocket",
        "std::sync::Mutex",
    ] {
        assert!(
            core.contains(name),
            "the core's clippy.toml does not ban {name}"
        );
    }
}

#[test]
fn unsafe_code_is_denied_by_the_compiler_too() {
    let lints = read("Cargo.toml");
    assert_eq!(
        lints["workspace"]["lints"]["rust"]["unsafe_code"].as_str(),
        Some("deny")
    );
}
