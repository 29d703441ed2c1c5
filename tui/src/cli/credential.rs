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
    /// Mint a time-limited credential
    Mint {
        /// The realm
        #[arg(short, long, env = "RELAYCTL_REALM")]
        realm: Realm,
        /// The id part of its username; may be empty
        #[arg(long, default_value = "", hide_default_value = true)]
        user: String,
        /// How long it is good for [default: 1d]
        #[arg(long, value_parser = duration, value_name = "TIME")]
        ttl: Option<Duration>,
    },
}

pub(super) async fn run(app: &mut App<'_, '_>, command: &CredentialCommand) -> Result<(), Failure> {
    let CredentialCommand::Mint { realm, user, ttl } = command;
    let deed = Deed::of_realm("credential.mint", realm);
    app.permit(&deed, "A credential is minted.", Ask::Nothing)?;
    let request = MintRequest {
        user: user.clone(),
        ttl_secs: ttl.map(|ttl| ttl.as_secs()),
    };
    let credential = app.api.mint(realm, &request).await?;
    app.show(&credential)
}
