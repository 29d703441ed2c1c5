//! `relayctl oauth`.

use std::time::Duration;

use clap::Subcommand;
use shared::api::OauthKeyPut;
use shared::{OauthAlgorithm, Realm, display_safe};

use super::App;
use super::args::duration;
use super::exit::Failure;
use super::permit::Ask;
use crate::guardrails::{Deed, Names};

/// Nouns of `oauth`.
#[derive(Debug, Subcommand)]
pub enum OauthCommand {
    /// Keys shared with authorization servers
    #[command(subcommand)]
    Key(KeyCommand),
}

/// Verbs of `oauth key`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// List keys, without their values
    List,
    /// Add a key or replace it; a generated value is shown once
    Add {
        /// Its name, which clients send as USERNAME
        kid: String,
        /// What tokens are encrypted with: A256GCM or A128GCM
        #[arg(long, default_value_t)]
        algorithm: OauthAlgorithm,
        /// The only realm it is good for; without, all
        #[arg(short, long)]
        realm: Option<Realm>,
        /// How long it is good for; without, for ever
        #[arg(long, value_parser = duration, value_name = "TIME")]
        ttl: Option<Duration>,
        /// Take the value, in base64, from the first line of standard input
        #[arg(long)]
        key_stdin: bool,
    },
    /// Delete a key: tokens made with it are refused from then on
    Delete {
        /// Its name
        kid: String,
    },
}

pub(super) async fn run(app: &mut App<'_, '_>, command: &OauthCommand) -> Result<(), Failure> {
    let OauthCommand::Key(command) = command;
    match command {
        KeyCommand::List => {
            let page = app.api.oauth_keys().await?;
            app.whole(page)
        }
        KeyCommand::Add {
            kid,
            algorithm,
            realm,
            ttl,
            key_stdin,
        } => {
            let deed = Deed {
                realms: realm.as_ref().map_or(Names::Unknown, |realm| {
                    Names::all(std::slice::from_ref(realm))
                }),
                ..Deed::of_cluster("oauth_key.put")
            };
            let question = format!("OAuth key {} is set.", display_safe(kid));
            app.permit(&deed, &question, Ask::Nothing)?;
            let key = match key_stdin {
                true => Some(app.terminal.password("key", true)?),
                false => None,
            };
            let put = OauthKeyPut {
                key: key.map(|key| key.expose().clone()),
                algorithm: *algorithm,
                realm: realm.clone(),
                ttl_secs: ttl.map(|ttl| ttl.as_secs()),
                reason: app.global.reason.clone(),
            };
            let created = app.api.put_oauth_key(kid, &put).await?;
            app.show(&created)
        }
        KeyCommand::Delete { kid } => {
            let shown = display_safe(kid).into_owned();
            let question = format!("Tokens made with OAuth key {shown} are refused.");
            app.permit(&Deed::of_cluster("oauth_key.delete"), &question, Ask::Yes)?;
            app.api.delete_oauth_key(kid, &app.global.reason).await?;
            app.terminal.note(&format!("OAuth key {shown} is deleted"));
            Ok(())
        }
    }
}
