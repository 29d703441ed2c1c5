//! `relayctl credential`.

use std::time::Duration;

use clap::Subcommand;
use shared::Realm;
use shared::api::MintRequest;

use super::App;
use super::args::duration;
use super::exit::Failure;
use super::permit::Ask;
use crate::guardrails::Deed;

/// Verbs of `credential`.
#[derive(Debug, Subcommand)]
pub enum CredentialCommand {
    /// Mint a time-limited credential, with the iceServers of the best nodes for it
    Mint {
        /// The realm
        #[arg(short, long, env = "RELAYCTL_REALM")]
        realm: Realm,
        /// The id part of its username; may be empty
        #[arg(long, default_value = "", hide_default_value = true)]
        user: String,
        /// Name nodes with this label only, as in region=eu; may be given again
        #[arg(short, long = "label", value_parser = label, value_name = "NAME=VALUE")]
        labels: Vec<(String, String)>,
        /// Name other nodes too where those with the labels are too few
        #[arg(long, requires = "labels")]
        prefer: bool,
        /// How many nodes to name, the best first; 0: none [default: 3]
        #[arg(long, value_name = "NODES")]
        count: Option<u32>,
        /// How long it is good for [default: 1d]
        #[arg(long, value_parser = duration, value_name = "TIME")]
        ttl: Option<Duration>,
    },
}

pub(super) async fn run(app: &mut App<'_, '_>, command: &CredentialCommand) -> Result<(), Failure> {
    let CredentialCommand::Mint {
        realm,
        user,
        labels,
        prefer,
        count,
        ttl,
    } = command;
    let deed = Deed::of_realm("credential.mint", realm);
    app.permit(&deed, "A credential is minted.", Ask::Nothing)?;
    let request = MintRequest {
        user: user.clone(),
        ttl_secs: ttl.map(|ttl| ttl.as_secs()),
        labels: labels.iter().cloned().collect(),
        prefer: *prefer,
        count: *count,
    };
    let credential = app.api.mint(realm, &request).await?;
    app.show(&credential)
}

/// Reads `NAME=VALUE`.
fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE, as in region=eu")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
