//! `relayctl alert`.

use std::time::Duration;

use clap::{Args, Subcommand};
use shared::api::{AlertRulePatch, AlertRules};
use shared::filter::{ALERT_COLUMNS, nearest};

use super::App;
use super::app::{Columns, held};
use super::args::{ListArgs, columns_help, duration};
use super::exit::Failure;
use super::permit::Ask;
use crate::guardrails::Deed;

/// Verbs of `alert`.
#[derive(Debug, Subcommand)]
pub enum AlertCommand {
    /// List conditions that hold, worst first
    #[command(after_long_help = columns_help(ALERT_COLUMNS))]
    List(ListArgs),
    /// List all conditions with their thresholds
    Rules,
    /// Change a condition's thresholds
    Set(SetArgs),
}

/// New thresholds.
#[derive(Args, Debug)]
pub struct SetArgs {
    /// The condition, as in node-capacity
    name: String,
    /// From here on it warns; none: it never does
    #[arg(long, value_parser = threshold, value_name = "N|none")]
    warn: Option<Threshold>,
    /// From here on it is critical; none: it never is
    #[arg(long, value_parser = threshold, value_name = "N|none")]
    crit: Option<Threshold>,
    /// How long it must hold first, at most an hour
    #[arg(long = "for", value_parser = duration, value_name = "TIME")]
    time: Option<Duration>,
    /// Judge it
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Do not judge it
    #[arg(long)]
    disable: bool,
    /// Back to the built-in values, before anything else
    #[arg(long)]
    reset: bool,
    /// Only if the conditions still are at this revision
    #[arg(long, value_name = "N")]
    if_rev: Option<u64>,
}

/// A threshold, or none.
#[derive(Clone, Copy, Debug)]
struct Threshold(Option<f64>);

fn threshold(text: &str) -> Result<Threshold, String> {
    if text == "none" {
        return Ok(Threshold(None));
    }
    let number = text
        .parse()
        .ok()
        .filter(|n: &f64| n.is_finite() && *n >= 0.0);
    number
        .map(|n| Threshold(Some(n)))
        .ok_or_else(|| "a number from 0 on, or none".to_owned())
}

pub(super) async fn run(app: &mut App<'_, '_>, command: &AlertCommand) -> Result<(), Failure> {
    let api = app.api;
    match command {
        AlertCommand::List(list) => {
            let columns = Columns {
                all: ALERT_COLUMNS,
                stable: "since:asc",
            };
            app.list(
                list,
                columns,
                |query| async move { api.alerts(&query).await },
            )
            .await
        }
        AlertCommand::Rules => {
            let rules = api.alert_rules().await?;
            app.document(&rules, &rules.rules)
        }
        AlertCommand::Set(args) => set(app, args).await,
    }
}

async fn set(app: &mut App<'_, '_>, args: &SetArgs) -> Result<(), Failure> {
    let patch = AlertRulePatch {
        warn: args.warn.map(|threshold| threshold.0),
        crit: args.crit.map(|threshold| threshold.0),
        for_secs: args.time.map(|time| time.as_secs()),
        enabled: (args.enable || args.disable).then_some(args.enable),
        reset: args.reset,
        reason: app.global.reason.clone(),
    };
    let same = AlertRulePatch {
        reason: patch.reason.clone(),
        ..AlertRulePatch::default()
    };
    if patch == same {
        let what = "nothing to change: --warn, --crit, --for, --enable, --disable or --reset";
        return Err(Failure::Usage(what.to_owned()));
    }
    let deed = Deed::of_cluster("alert.rule.set");
    app.judge(&deed)?;
    let rules = app.api.alert_rules().await?;
    known(&rules, &args.name)?;
    let question = format!("Condition {} is changed on all nodes.", args.name);
    app.permit(&deed, &question, Ask::Nothing)?;
    let expected = args.if_rev.unwrap_or(rules.revision);
    let rules = app
        .api
        .patch_alert_rule(&args.name, expected, &patch)
        .await
        .map_err(|error| held("the conditions", expected, error))?;
    match rules.rules.iter().find(|rule| rule.name == args.name) {
        Some(rule) => app.show(rule),
        None => Ok(()),
    }
}

fn known(rules: &AlertRules, name: &str) -> Result<(), Failure> {
    if rules.rules.iter().any(|rule| rule.name == name) {
        return Ok(());
    }
    let name = shared::display_safe(name);
    let near = nearest(&name, rules.rules.iter().map(|rule| rule.name.as_str()));
    let hint = near.map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
    Err(Failure::NotFound(format!(
        "there is no condition '{name}'{hint}"
    )))
}
