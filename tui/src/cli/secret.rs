//! `relayctl secret`.

use clap::Subcommand;
use shared::Realm;
use shared::api::{SecretCreate, SecretPatch, SecretState, SecretView};

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
        /// Add it pending: neither accepted nor minted with until it is activated
        #[arg(long)]
        pending: bool,
        /// Take the value from the first line of standard input
        #[arg(long)]
        value_stdin: bool,
    },
    /// Show who uses which secret: live sessions over the cluster, their users, the last use
    Usage {
        /// Of this secret only: its id, or the beginning of it
        id: Option<String>,
        /// The realm
        #[arg(short, long, env = "RELAYCTL_REALM")]
        realm: Realm,
    },
    /// Accept a secret and mint credentials with it
    Activate {
        /// Its id, or the beginning of it
        id: String,
        /// The realm
        #[arg(short, long, env = "RELAYCTL_REALM")]
        realm: Realm,
    },
    /// Mint no more credentials with a secret; those that it signed are accepted until it is retired
    /// with --now
    Retire {
        /// Its id, or the beginning of it
        id: String,
        /// The realm
        #[arg(short, long, env = "RELAYCTL_REALM")]
        realm: Realm,
        /// Refuse what it signed from now on; it can be activated again
        #[arg(long)]
        now: bool,
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
            pending,
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
                pending: *pending,
                reason: app.global.reason.clone(),
            };
            let created = app.api.create_secret(realm, &create).await?;
            app.show(&created)
        }
        SecretCommand::Usage { id, realm } => {
            let mut page = app.api.secret_usage(realm).await?;
            if let Some(id) = id {
                let all = page.items.iter().map(|one| one.secret.clone()).collect();
                let one = find(all, id)?;
                page.items.retain(|usage| usage.secret.id == one.id);
            }
            app.whole(page)
        }
        SecretCommand::Activate { id, realm } => change(app, realm, id, SecretState::Active).await,
        SecretCommand::Retire { id, realm, now } => {
            let state = match now {
                true => SecretState::Retired,
                false => SecretState::Retiring,
            };
            change(app, realm, id, state).await
        }
        SecretCommand::Rm { id, realm } => {
            let secret = find(app.api.secrets(realm).await?.items, id)?;
            let question = format!(
                "Secret {} ({}) of {realm} goes. Its {} sessions go on, or end where the \
                 realm has revoke_on_secret_removal.",
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

async fn change(
    app: &mut App<'_, '_>,
    realm: &Realm,
    id: &str,
    state: SecretState,
) -> Result<(), Failure> {
    let page = app.api.secret_usage(realm).await?;
    let secrets = page.items.iter().map(|one| one.secret.clone()).collect();
    let secret = find(secrets, id)?;
    let usage = page.items.iter().find(|one| one.secret.id == secret.id);
    let users = usage.map_or(0, |usage| usage.users);
    let effect = match state {
        SecretState::Pending | SecretState::Retired => {
            "What it signed is refused from now on; calls end where the realm has \
             revoke_on_secret_removal."
        }
        SecretState::Active => {
            "It is accepted, and credentials are minted with the newest active one."
        }
        SecretState::Retiring => "It is accepted, and nothing is minted with it any more.",
    };
    let question = format!(
        "Secret {} ({}) of {realm}, {}, becomes {}. {} sessions of {users} users came with it. {effect}",
        secret.id,
        shared::display_safe(&secret.label),
        secret.state.as_str(),
        state.as_str(),
        secret.sessions,
    );
    let ask = match state.is_accepted() {
        true => Ask::Nothing,
        false => Ask::Yes,
    };
    app.permit(&Deed::of_realm("secret.patch", realm), &question, ask)?;
    let patch = SecretPatch {
        state: Some(state),
        label: None,
        reason: app.global.reason.clone(),
    };
    let changed = app.api.patch_secret(realm, &secret.id, &patch).await?;
    app.show(&changed)
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
