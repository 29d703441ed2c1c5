//! `relayctl secret`.

use clap::Subcommand;
use shared::Realm;
use shared::api::{SecretCreate, SecretView};

use super::App;
use super::exit::Failure;
use super::permit::Ask;
use crate::guardrails::Deed;

/// Verbs of `secret`.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// List the secrets of a realm, without their values
    List {
        /// The realm
        #[arg(short, long, env = "RELAYCTL_REALM")]
        realm: Realm,
    },
    /// Add a secret; a generated value is shown once
    Add {
        /// The realm
        #[arg(short, long, env = "RELAYCTL_REALM")]
        realm: Realm,
        /// For operators
        #[arg(long, default_value = "", hide_default_value = true)]
        label: String,
        /// Take the value from the first line of standard input
        #[arg(long)]
        value_stdin: bool,
    },
    /// Remove a secret: credentials that it signed are refused from then on
    Rm {
        /// Its id, or the beginning of it
        id: String,
        /// The realm
        #[arg(short, long, env = "RELAYCTL_REALM")]
        realm: Realm,
    },
}

pub(super) async fn run(app: &mut App<'_, '_>, command: &SecretCommand) -> Result<(), Failure> {
    match command {
        SecretCommand::List { realm } => {
            let page = app.api.secrets(realm).await?;
            app.whole(page)
        }
        SecretCommand::Add {
            realm,
            label,
            value_stdin,
        } => {
            let question = format!("A secret of {realm} is added.");
            let deed = Deed::of_realm("secret.create", realm);
            app.permit(&deed, &question, Ask::Nothing)?;
            let value = match value_stdin {
                true => Some(app.terminal.password("secret", true)?),
                false => None,
            };
            let create = SecretCreate {
                value: value.map(|value| value.expose().clone()),
                label: label.clone(),
                reason: app.global.reason.clone(),
            };
            let created = app.api.create_secret(realm, &create).await?;
            app.show(&created)
        }
        SecretCommand::Rm { id, realm } => {
            let secret = find(app.api.secrets(realm).await?.items, id)?;
            let question = format!(
                "Secret {} ({}) of {realm} goes. Its {} sessions fail at their next refresh.",
                secret.id,
                shared::display_safe(&secret.label),
                secret.sessions
            );
            app.permit(&Deed::of_realm("secret.delete", realm), &question, Ask::Yes)?;
            app.api
                .delete_secret(realm, &secret.id, &app.global.reason)
                .await?;
            app.terminal
                .note(&format!("secret {} is removed", secret.id));
            Ok(())
        }
    }
}

fn find(secrets: Vec<SecretView>, id: &str) -> Result<SecretView, Failure> {
    let mut hits = secrets
        .into_iter()
        .filter(|secret| secret.id.starts_with(id));
    match (hits.next(), hits.next()) {
        (Some(secret), None) => Ok(secret),
        (None, _) => Err(Failure::NotFound("there is no such secret".to_owned())),
        (Some(_), Some(_)) => Err(Failure::Usage("several secrets begin so".to_owned())),
    }
}
