//! `cargo run -p relayd-tests --bin tour`: walks through the demo and writes its screens into the README.

#![allow(clippy::print_stderr, reason = "it says what it did")]

use std::path::Path;

use anyhow::{Context as _, anyhow};

fn main() -> anyhow::Result<()> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let old = std::fs::read_to_string(&readme).context("read the README")?;
    let screens = kit::tour::walk();
    let new = kit::tour::write_into(&old, &screens).map_err(|error| anyhow!(error))?;
    std::fs::write(&readme, new).context("write the README")?;
    eprintln!("{} screens written into the README.", screens.len());
    Ok(())
}
