//! `relayctl config`: settings of nodes, and what the store overrides.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use shared::NodeId;
use shared::api::{ConfigPatch, ConfigResult, ConfigView, SettingView, setting_text};
use shared::display_safe;
use shared::filter::{Filter, SETTING_COLUMNS, nearest};

use super::App;
use super::app::{describe_missing, held};
use super::args::columns_help;
use super::exit::Failure;
use super::output::{DiffRow, OverrideRow};
use super::permit::Ask;
use crate::client::ConfigScope;
use crate::guardrails::Deed;
use crate::settings;

/// Verbs of `config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show the settings of a node as they are in force
    #[command(after_long_help = columns_help(SETTING_COLUMNS))]
    Show {
        /// The node; none: the one that answers
        node: Option<NodeId>,
        /// Settings that match, as in 'changed=yes' or 'source=cluster'
        #[arg(short, long)]
        filter: Option<String>,
    },
    /// Show one setting
    Get {
        /// Its name, as in log.level
        key: String,
        /// The node; none: the one that answers
        #[arg(short, long)]
        node: Option<NodeId>,
    },
    /// Override settings, for one node or for all; shows what changes, and asks
    Set {
        /// As in log.level=debug permission_lifetime=5m
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = pair)]
        settings: Vec<(String, String)>,
        /// For whom, and how.
        #[command(flatten)]
        how: How,
    },
    /// Remove overrides: the file or the default holds again
    Unset {
        /// Names of settings
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
        /// For whom, and how.
        #[command(flatten)]
        how: How,
    },
    /// Show what differs between two nodes
    Diff {
        /// A node
        a: NodeId,
        /// Another node
        b: NodeId,
    },
    /// Show what the store overrides, for all nodes or for one
    Overrides {
        /// The node; none: all nodes
        #[arg(short, long)]
        node: Option<NodeId>,
    },
}

/// Whom an override is for, and how it is made.
#[derive(Args, Clone, Debug)]
pub struct How {
    /// For this node
    #[arg(short, long, required_unless_present = "all", conflicts_with = "all")]
    node: Option<NodeId>,
    /// For all nodes
    #[arg(short, long)]
    all: bool,
    /// Only if the overrides still are at this revision
    #[arg(long, value_name = "N")]
    if_rev: Option<u64>,
    /// Only tell what would change
    #[arg(long)]
    dry_run: bool,
}

impl How {
    /// For one node.
    pub(super) fn one(node: NodeId) -> Self {
        Self {
            node: Some(node),
            all: false,
            if_rev: None,
            dry_run: false,
        }
    }

    fn scope(&self) -> ConfigScope {
        self.node
            .clone()
            .map_or(ConfigScope::All, ConfigScope::Node)
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("as in log.level=debug")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

pub(super) async fn run(app: &mut App<'_, '_>, command: &ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Show { node, filter } => show(app, node.as_ref(), filter.as_deref()).await,
        ConfigCommand::Get { key, node } => {
            let view = config(app, node.as_ref()).await?;
            let setting = view.settings.iter().find(|s| s.key == *key);
            let setting = setting.ok_or_else(|| unknown(&view, key))?;
            app.show(setting)
        }
        ConfigCommand::Set { settings, how } => set(app, settings, how).await,
        ConfigCommand::Unset { keys, how } => {
            let patch = ConfigPatch {
                unset: keys.clone(),
                ..ConfigPatch::default()
            };
            apply(app, how, patch).await
        }
        ConfigCommand::Diff { a, b } => diff(app, a, b).await,
        ConfigCommand::Overrides { node } => {
            let scope = node.clone().map_or(ConfigScope::All, ConfigScope::Node);
            let overrides = app.api.config_overrides(&scope).await?;
            let rows: Vec<_> = overrides
                .settings
                .iter()
                .map(|(key, value)| OverrideRow::new(key, value, node.as_ref()))
                .collect();
            app.document(&overrides, &rows)
        }
    }
}

/// The settings of `node`, else of the node that answers.
async fn config(app: &App<'_, '_>, node: Option<&NodeId>) -> Result<ConfigView, Failure> {
    let node = match node {
        Some(node) => node.clone(),
        None => app.api.whoami().await?.node,
    };
    Ok(app.api.config(&node).await?)
}

fn unknown(view: &ConfigView, key: &str) -> Failure {
    let key = display_safe(key);
    let near = nearest(&key, view.settings.iter().map(|s| s.key.as_str()));
    let hint = near.map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
    Failure::NotFound(format!("there is no setting '{key}'{hint}"))
}

async fn show(
    app: &mut App<'_, '_>,
    node: Option<&NodeId>,
    filter: Option<&str>,
) -> Result<(), Failure> {
    let filter = Filter::parse(filter.unwrap_or_default(), SETTING_COLUMNS)
        .map_err(|e| Failure::Usage(e.to_string()))?;
    let mut view = config(app, node).await?;
    view.settings.retain(|setting| filter.matches(setting));
    let rows: Vec<SettingView> = view.settings.clone();
    app.document(&view, &rows)
}

async fn set(
    app: &mut App<'_, '_>,
    settings: &[(String, String)],
    how: &How,
) -> Result<(), Failure> {
    let view = config(app, how.node.as_ref()).await?;
    let mut set = BTreeMap::new();
    for (key, text) in settings {
        let setting = settings::find(&view.settings, key).map_err(Failure::Usage)?;
        let value = settings::parse(setting, text).map_err(Failure::Usage)?;
        set.insert(key.clone(), value);
    }
    let patch = ConfigPatch {
        set,
        ..ConfigPatch::default()
    };
    apply(app, how, patch).await
}

/// Shows what a patch would change, asks, and makes it if nobody was faster.
pub(super) async fn apply(
    app: &mut App<'_, '_>,
    how: &How,
    patch: ConfigPatch,
) -> Result<(), Failure> {
    let scope = how.scope();
    let deed = Deed::of_node("config.set", how.node.as_ref());
    let expected = match how.if_rev {
        Some(revision) => revision,
        None => app.api.config_overrides(&scope).await?.revision,
    };
    let mut patch = ConfigPatch {
        dry_run: true,
        reason: app.global.reason.clone(),
        ..patch
    };
    let lost = |error| held("the overrides", expected, error);
    let preview = app.api.patch_config(&scope, expected, &patch).await;
    let preview = preview.map_err(lost)?;
    if how.dry_run {
        return finish(app, &preview);
    }
    app.judge(&deed)?;
    let question = question(&preview);
    app.terminal.note(&question);
    app.permit(&deed, "", Ask::Yes)?;
    patch.dry_run = false;
    let result = app.api.patch_config(&scope, expected, &patch).await;
    let result = result.map_err(lost)?;
    finish(app, &result)
}

/// What changes, in words.
fn question(result: &ConfigResult) -> String {
    let mut lines: Vec<String> = result
        .changes
        .iter()
        .map(|change| {
            let hidden = change.hidden_by.map_or_else(String::new, |by| {
                format!(", hidden there by the {}", by.as_str())
            });
            format!(
                "{} {}: {} -> {} ({}{hidden})",
                change.node,
                change.key,
                setting_text(&change.old),
                setting_text(&change.new),
                change.applies.as_str()
            )
        })
        .collect();
    if lines.is_empty() {
        lines.push("no value in force changes".to_owned());
    }
    lines.extend(describe_missing(&result.missing));
    lines.join("\n")
}

fn finish(app: &mut App<'_, '_>, result: &ConfigResult) -> Result<(), Failure> {
    app.document(result, &result.changes)?;
    describe_missing(&result.missing).map_or(Ok(()), |text| Err(Failure::Partial(text)))
}

async fn diff(app: &mut App<'_, '_>, a: &NodeId, b: &NodeId) -> Result<(), Failure> {
    let (one, other) = (app.api.config(a).await?, app.api.config(b).await?);
    let value = |view: &ConfigView, key: &str| -> Value {
        let setting = view.settings.iter().find(|s| s.key == key);
        setting.map_or(Value::Null, |s| json!(s.value))
    };
    let mut keys: Vec<&String> = one.settings.iter().map(|s| &s.key).collect();
    keys.extend(other.settings.iter().map(|s| &s.key));
    let mut seen = std::collections::BTreeSet::new();
    keys.retain(|key| seen.insert(*key));
    let rows: Vec<DiffRow> = keys
        .into_iter()
        .map(|key| DiffRow {
            key: key.clone(),
            a: value(&one, key),
            b: value(&other, key),
        })
        .filter(|row| row.a != row.b)
        .collect();
    let document = json!({
        "schema": "config-diff/1",
        "as_of_ms": one.as_of_ms.min(other.as_of_ms),
        "a": a,
        "b": b,
        "settings": rows,
    });
    app.document(&document, &rows)
}
