//! `relayctl user`.

use std::time::Duration;

use clap::{Args, Subcommand};
use shared::api::{BlockRequest, ErrorKind, UserPatch, UserPut, UserView};
use shared::filter::{BLOCK_COLUMNS, USER_COLUMNS};
use shared::{Realm, display_safe};

use super::App;
use super::app::Columns;
use super::args::{ListArgs, columns_help, duration, rate};
use super::exit::Failure;
use super::permit::Ask;
use crate::client::ClientError;
use crate::guardrails::Deed;

/// Verbs of `user`.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// List users: stored ones, and whoever has sessions
    #[command(after_long_help = columns_help(USER_COLUMNS))]
    List(ListArgs),
    /// Show one user
    Show(Who),
    /// Add a user; asks for the password
    Add {
        /// The user.
        #[command(flatten)]
        who: Who,
        /// Its password.
        #[command(flatten)]
        password: PasswordArgs,
        /// Its settings.
        #[command(flatten)]
        settings: Settings,
    },
    /// Set a user's password; asks for it
    Passwd {
        /// The user.
        #[command(flatten)]
        who: Who,
        /// Its password.
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Change a user's settings
    Edit {
        /// The user.
        #[command(flatten)]
        who: Who,
        /// Its settings.
        #[command(flatten)]
        settings: Settings,
        /// Switch it off
        #[arg(long, conflicts_with = "enable")]
        disable: bool,
        /// Switch it on
        #[arg(long)]
        enable: bool,
    },
    /// Delete a user
    Rm(Who),
    /// Refuse a user for a while
    Block {
        /// The user.
        #[command(flatten)]
        who: Who,
        /// For how long
        #[arg(long = "for", value_parser = duration, default_value = "10m", value_name = "TIME")]
        time: Duration,
    },
    /// End a block
    Unblock(Who),
    /// List blocks
    #[command(after_long_help = columns_help(BLOCK_COLUMNS))]
    Blocks(ListArgs),
}

/// A user.
#[derive(Args, Clone, Debug)]
pub struct Who {
    /// Its name
    name: String,
    /// Its realm
    #[arg(short, long, env = "RELAYCTL_REALM")]
    realm: Realm,
}

/// Where a password comes from. It is never an argument: other users see those.
#[derive(Args, Clone, Debug)]
pub struct PasswordArgs {
    /// Take it from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
}

/// Settings of a user.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// Own session limit; 0 removes it
    #[arg(long, value_name = "N")]
    max_sessions: Option<u32>,
    /// Own rate limit over all its sessions, bits per second each way, as in 2M; 0 removes it
    #[arg(long, value_name = "BPS", value_parser = rate)]
    max_rate_bps: Option<u64>,
    /// Note for operators; empty removes it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

pub(super) async fn run(app: &mut App<'_, '_>, command: &UserCommand) -> Result<(), Failure> {
    let api = app.api;
    match command {
        UserCommand::List(list) => {
            let columns = Columns {
                all: USER_COLUMNS,
                stable: "user:asc",
            };
            app.list(
                list,
                columns,
                |query| async move { api.users(&query).await },
            )
            .await
        }
        UserCommand::Blocks(list) => {
            let columns = Columns {
                all: BLOCK_COLUMNS,
                stable: "user:asc",
            };
            app.list(
                list,
                columns,
                |query| async move { api.blocks(&query).await },
            )
            .await
        }
        UserCommand::Show(who) => {
            let user = api.user(&who.realm, &who.name).await?;
            app.show(&user)
        }
        UserCommand::Add {
            who,
            password,
            settings,
        } => add(app, who, password, settings).await,
        UserCommand::Passwd { who, password } => passwd(app, who, password).await,
        UserCommand::Edit {
            who,
            settings,
            disable,
            enable,
        } => {
            let disabled = (*disable || *enable).then_some(*disable);
            edit(app, who, settings, disabled).await
        }
        UserCommand::Rm(who) => remove(app, who).await,
        UserCommand::Block { who, time } => {
            let question = format!("{} is refused for {} s.", who.shown(), time.as_secs());
            who.permit(app, "block.put", &question, Ask::Nothing)?;
            let request = BlockRequest {
                secs: time.as_secs(),
                reason: app.global.reason.clone(),
            };
            let block = api.put_block(&who.realm, &who.name, &request).await?;
            app.show(&block)
        }
        UserCommand::Unblock(who) => {
            let question = format!("{} is admitted again.", who.shown());
            who.permit(app, "block.delete", &question, Ask::Nothing)?;
            api.delete_block(&who.realm, &who.name, &app.global.reason)
                .await?;
            app.terminal
                .note(&format!("{} is no longer blocked", who.shown()));
            Ok(())
        }
    }
}

impl Who {
    /// Whether this may be done to the user.
    fn permit(
        &self,
        app: &mut App<'_, '_>,
        action: &'static str,
        question: &str,
        ask: Ask<'_>,
    ) -> Result<(), Failure> {
        let deed = Deed::of_realm(action, &self.realm);
        app.permit(&deed, question, ask).map(drop)
    }

    fn shown(&self) -> String {
        format!("user {} of {}", display_safe(&self.name), self.realm)
    }
}

/// The user if the store holds a key for it.
async fn stored(app: &App<'_, '_>, who: &Who) -> Result<Option<UserView>, Failure> {
    match app.api.user(&who.realm, &who.name).await {
        Ok(user) => Ok(user.stored.then_some(user)),
        Err(ClientError::Api(error)) if error.error == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn put(app: &mut App<'_, '_>, who: &Who, args: &PasswordArgs) -> Result<UserView, Failure> {
    let question = format!("{} gets a password.", who.shown());
    who.permit(app, "user.put", &question, Ask::Nothing)?;
    let password = app.terminal.password("password", args.password_stdin)?;
    let put = UserPut {
        password: password.expose().clone(),
        reason: app.global.reason.clone(),
    };
    let result = app.api.put_user(&who.realm, &who.name, &put).await;
    drop(shared::Secret::new(put.password));
    Ok(result?)
}

async fn add(
    app: &mut App<'_, '_>,
    who: &Who,
    password: &PasswordArgs,
    settings: &Settings,
) -> Result<(), Failure> {
    if stored(app, who).await?.is_some() {
        let who = who.shown();
        return Err(Failure::Other(format!(
            "{who} exists; `user passwd` sets its password"
        )));
    }
    let mut user = put(app, who, password).await?;
    let is_given = settings.max_sessions.is_some() || settings.max_rate_bps.is_some();
    if is_given || settings.note.is_some() {
        user = app
            .api
            .patch_user(&who.realm, &who.name, &patch(app, settings, None))
            .await?;
    }
    app.show(&user)
}

async fn passwd(app: &mut App<'_, '_>, who: &Who, password: &PasswordArgs) -> Result<(), Failure> {
    if stored(app, who).await?.is_none() {
        return Err(Failure::NotFound(format!(
            "{} is not stored; `user add` adds it",
            who.shown()
        )));
    }
    let user = put(app, who, password).await?;
    app.show(&user)
}

fn patch(app: &App<'_, '_>, settings: &Settings, disabled: Option<bool>) -> UserPatch {
    UserPatch {
        disabled,
        max_sessions: settings.max_sessions,
        max_rate_bps: settings.max_rate_bps,
        note: settings.note.clone(),
        reason: app.global.reason.clone(),
    }
}

async fn edit(
    app: &mut App<'_, '_>,
    who: &Who,
    settings: &Settings,
    disabled: Option<bool>,
) -> Result<(), Failure> {
    let patch = patch(app, settings, disabled);
    let nothing = UserPatch {
        reason: patch.reason.clone(),
        ..UserPatch::default()
    };
    if patch == nothing {
        let what =
            "nothing to change: --max-sessions, --max-rate-bps, --note, --disable or --enable";
        return Err(Failure::Usage(what.to_owned()));
    }
    let question = format!("{} is changed.", who.shown());
    who.permit(app, "user.patch", &question, Ask::Nothing)?;
    let user = app.api.patch_user(&who.realm, &who.name, &patch).await?;
    app.show(&user)
}

async fn remove(app: &mut App<'_, '_>, who: &Who) -> Result<(), Failure> {
    let user = app.api.user(&who.realm, &who.name).await?;
    let sessions = user.sessions;
    let question = format!(
        "{} is deleted. Its {sessions} sessions live on until they expire or are killed.",
        who.shown()
    );
    who.permit(app, "user.delete", &question, Ask::Yes)?;
    app.api
        .delete_user(&who.realm, &who.name, &app.global.reason)
        .await?;
    app.terminal.note(&format!("{} is deleted", who.shown()));
    Ok(())
}
