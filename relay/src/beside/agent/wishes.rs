//! Reads coturn's switches and limits, and has them be as the configuration says.

use shared::display_safe;
use tokio::time::Instant;

use super::{Agent, PARAMETERS};
use crate::beside::parameters::{self, LIMITS, Parameters, SWITCHES};
use crate::beside::telnet::{Cli, CliError, End};

impl Agent {
    /// Reads switches and limits, and sets those that the configuration wants otherwise.
    pub(super) async fn read_parameters(&mut self, cli: &mut Cli) -> Result<(), CliError> {
        self.next_parameters = Instant::now() + PARAMETERS;
        let mut found = pc(cli).await?;
        if self.set_wishes(cli, &found).await? {
            found = pc(cli).await?;
        }
        self.naming.rest_separator = found.rest_separator();
        if let Some(realm) = found.default_realm().and_then(|realm| realm.parse().ok()) {
            self.naming.default_realm = realm;
        }
        let switches = SWITCHES.iter();
        let switches = switches.filter_map(|switch| {
            let (_, value) = found.switch(*switch)?;
            Some((switch.name.to_owned(), value))
        });
        let limits = LIMITS.iter();
        let limits =
            limits.filter_map(|(name, label)| Some(((*name).to_owned(), found.limit(label)?)));
        let mut view = self.shared.view();
        view.switches = switches.collect();
        view.limits = limits.collect();
        Ok(())
    }

    /// Whether anything was set.
    async fn set_wishes(&mut self, cli: &mut Cli, found: &Parameters) -> Result<bool, CliError> {
        let wishes = self.shared.wishes().clone();
        let mut is_set = false;
        for switch in SWITCHES {
            let Some(wanted) = wishes.switches.get(switch.name) else {
                continue;
            };
            match found.switch(switch) {
                Some((_, value)) if value == *wanted => {}
                Some((name, _)) => {
                    tracing::info!(name, wanted, "Turning a switch of coturn.");
                    cli.run(&format!("tc {name}"), End::Line("  "), |_| {})
                        .await?;
                    is_set = true;
                }
                None => self.tell_refused(switch.name),
            }
        }
        for (name, label) in LIMITS {
            let Some(wanted) = wishes.limits.get(name) else {
                continue;
            };
            match found.limit(label) {
                Some(value) if value == *wanted => {}
                Some(_) => {
                    tracing::info!(name, wanted, "Setting a limit of coturn.");
                    cc(cli, name, *wanted).await?;
                    is_set = true;
                }
                None => self.tell_refused(name),
            }
        }
        Ok(is_set)
    }

    fn tell_refused(&mut self, name: &'static str) {
        if self.refused.insert(name) {
            tracing::warn!(
                name,
                "This coturn has no such parameter: its wish is not fulfilled."
            );
        }
    }
}

/// Reads the configuration.
async fn pc(cli: &mut Cli) -> Result<Parameters, CliError> {
    let mut found = Parameters::default();
    cli.run("pc", End::PromptAfter(parameters::LAST), |line| {
        found.line(line)
    })
    .await?;
    Ok(found)
}

/// Changes a number.
pub(super) async fn cc(cli: &mut Cli, name: &str, value: u64) -> Result<(), CliError> {
    let mut refusal = None;
    let command = format!("cc {name} {value}");
    cli.run(&command, End::PromptAfter("  "), |line| {
        if line.trim_start().starts_with("Error") {
            refusal = Some(line.trim().to_owned());
        }
    })
    .await?;
    if let Some(refusal) = refusal {
        tracing::warn!(name, value, refusal = %display_safe(&refusal), "coturn refuses a limit.");
    }
    Ok(())
}
