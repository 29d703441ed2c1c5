//! `relayctl overview`, `whoami` and `check`.

use std::time::Instant;

use serde_json::json;

use super::App;
use super::app::describe_missing;
use super::args::Global;
use super::exit::Failure;
use super::output::Format;
use super::terminal::Terminal;

pub(super) async fn overview(app: &mut App<'_, '_>) -> Result<(), Failure> {
    let overview = app.api.overview().await?;
    app.show(&overview)?;
    describe_missing(&overview.missing).map_or(Ok(()), |text| Err(Failure::Partial(text)))
}

pub(super) async fn whoami(app: &mut App<'_, '_>) -> Result<(), Failure> {
    let who = app.api.whoami().await?;
    app.show(&who)
}

pub(super) async fn check(app: &mut App<'_, '_>) -> Result<(), Failure> {
    let address = app.api.address();
    let start = Instant::now();
    let who = app.api.whoami().await?;
    let millis = start.elapsed().as_secs_f64() * 1000.0;
    let overview = app.api.overview().await?;
    let report = [
        ("address", json!(address)),
        ("answer_ms", json!((millis * 10.0).round() / 10.0)),
        ("node", json!(who.node)),
        ("version", json!(who.version)),
        ("cluster", json!(who.cluster)),
        ("actor", json!(who.actor)),
        ("role", json!(who.role)),
        ("nodes_live", json!(overview.nodes_live)),
        ("nodes_total", json!(overview.nodes_total)),
    ];
    write_pairs(app.terminal, app.global, "check/1", &report)?;
    describe_missing(&overview.missing).map_or(Ok(()), |text| Err(Failure::Partial(text)))
}

/// Writes one object, or a line for each of its fields.
pub(super) fn write_pairs(
    terminal: &mut Terminal<'_>,
    global: &Global,
    schema: &str,
    pairs: &[(&str, serde_json::Value)],
) -> Result<(), Failure> {
    if matches!(global.output, Format::Json | Format::Jsonl) {
        let mut object = serde_json::Map::new();
        object.insert("schema".into(), schema.into());
        object.insert("as_of_ms".into(), super::app::now_ms().into());
        object.extend(
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone())),
        );
        let value = serde_json::Value::Object(object);
        if global.output == Format::Json {
            writeln!(terminal.out, "{value:#}")?;
        } else {
            writeln!(terminal.out, "{value}")?;
        }
        return Ok(());
    }
    for (key, value) in pairs {
        writeln!(
            terminal.out,
            "{key:14}  {}",
            super::output::Style::Text.text(value)
        )?;
    }
    Ok(())
}
