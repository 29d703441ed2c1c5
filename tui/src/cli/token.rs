//! `relayctl token`.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use shared::Realm;
use shared::api::{Role, TokenCreate};

use super::App;
use super::args::duration;
use super::exit::Failure;
use super::permit::Ask;
use crate::guardrails::{Deed, Names};

/// Verbs of `token`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// List tokens, without their values
    List,
    /// Create a token; it is shown once
    Create {
        /// What it may do
        #[arg(long, value_enum)]
        role: RoleArg,
        /// A realm that it is confined to; may be repeated
        #[arg(short, long = "realm", value_name = "REALM")]
        realms: Vec<Realm>,
        /// For operators
        #[arg(long, default_value = "", hide_default_value = true)]
        label: String,
        /// How long it is good for; without, for ever
        #[arg(long, value_parser = duration, value_name = "TIME")]
        ttl: Option<Duration>,
    },
    /// Revoke a token
    Revoke {
        /// Its id
        id: String,
    },
}

/// A role, as typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RoleArg {
    /// Mints credentials and nothing else
    Mint,
    /// Reads
    Viewer,
    /// Kills sessions and blocks users
    Operator,
    /// Changes users, secrets, realms and tokens
    Admin,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Mint => Self::Mint,
            RoleArg::Viewer => Self::Viewer,
            RoleArg::Operator => Self::Operator,
            RoleArg::Admin => Self::Admin,
        }
    }
}

pub(super) async fn run(app: &mut App<'_, '_>, command: &TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::List => {
            let page = app.api.tokens().await?;
            app.whole(page)
        }
        TokenCommand::Create {
            role,
            realms,
            label,
            ttl,
        } => {
            let deed = Deed {
                realms: if realms.is_empty() {
                    Names::Unknown
                } else {
                    Names::all(realms)
                },
                ..Deed::of_cluster("token.create")
            };
            let question = format!("A token for {} is created.", Role::from(*role).as_str());
            app.permit(&deed, &question, Ask::Nothing)?;
            let create = TokenCreate {
                label: label.clone(),
                role: (*role).into(),
                realms: realms.clone(),
                ttl_secs: ttl.map(|ttl| ttl.as_secs()),
                reason: app.global.reason.clone(),
            };
            let created = app.api.create_token(&create).await?;
            app.show(&created)
        }
        TokenCommand::Revoke { id } => {
            let deed = Deed::of_cluster("token.delete");
            app.permit(&deed, &format!("Token {id} stops working."), Ask::Yes)?;
            app.api.delete_token(id, &app.global.reason).await?;
            app.terminal.note(&format!("token {id} is revoked"));
            Ok(())
        }
    }
}
