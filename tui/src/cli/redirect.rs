//! `relayctl redirect`.

use std::net::SocketAddr;

use clap::{Args, Subcommand};
use shared::api::{RedirectCreate, RedirectView};
use shared::filter::{REDIRECT_COLUMNS, equals};
use shared::{NodeId, Transport};

use super::App;
use super::app::Columns;
use super::args::{ListArgs, columns_help};
use super::exit::Failure;
use super::permit::Ask;
use crate::guardrails::Deed;

/// Verbs of `redirect`.
#[derive(Debug, Subcommand)]
pub enum RedirectCommand {
    /// List redirects with the health of their targets
    #[command(after_long_help = columns_help(REDIRECT_COLUMNS))]
    List(ListArgs),
    /// Send clients to another server
    Add(AddArgs),
    /// Remove a redirect: clients stay again
    #[command(visible_alias = "rm")]
    Remove {
        /// Its id, or the beginning of it
        id: String,
    },
}

/// A redirect to be added.
#[derive(Args, Debug)]
pub struct AddArgs {
    /// Transport of the clients: udp, tcp, tls or dtls
    #[arg(short, long)]
    transport: Transport,
    /// Where to, as in 192.0.2.12:3478
    target: SocketAddr,
    /// ALTERNATE-DOMAIN, for the certificate of a TLS or DTLS target
    #[arg(long)]
    domain: Option<String>,
    /// The node that redirects; none: all
    #[arg(short, long)]
    node: Option<NodeId>,
    /// Its share among redirects of the same node and transport
    #[arg(short, long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    weight: Option<u32>,
    /// For operators
    #[arg(long, default_value = "", hide_default_value = true)]
    note: String,
}

pub(super) async fn run(app: &mut App<'_, '_>, command: &RedirectCommand) -> Result<(), Failure> {
    let api = app.api;
    match command {
        RedirectCommand::List(list) => {
            let columns = Columns {
                all: REDIRECT_COLUMNS,
                stable: "id:asc",
            };
            app.list(
                list,
                columns,
                |query| async move { api.redirects(&query).await },
            )
            .await
        }
        RedirectCommand::Add(args) => add(app, args).await,
        RedirectCommand::Remove { id } => remove(app, id).await,
    }
}

/// The node that redirects, in words.
fn from(node: Option<&NodeId>) -> String {
    node.map_or("all nodes".to_owned(), ToString::to_string)
}

async fn add(app: &mut App<'_, '_>, args: &AddArgs) -> Result<(), Failure> {
    let create = RedirectCreate {
        transport: args.transport,
        target: args.target,
        domain: args.domain.clone(),
        node: args.node.clone(),
        weight: args.weight,
        note: args.note.clone(),
        reason: app.global.reason.clone(),
    };
    let question = format!(
        "New {} sessions of {} are sent to {}.",
        args.transport,
        from(args.node.as_ref()),
        args.target
    );
    let deed = Deed::of_node("redirect.create", args.node.as_ref());
    app.permit(&deed, &question, Ask::Nothing)?;
    let redirect = app.api.create_redirect(&create).await?;
    app.show(&redirect)
}

async fn remove(app: &mut App<'_, '_>, id: &str) -> Result<(), Failure> {
    let redirect = find(app, id).await?;
    let question = format!(
        "{} no longer sends {} clients to {}.",
        from(redirect.node.as_ref()),
        redirect.transport,
        redirect.target
    );
    let deed = Deed::of_node("redirect.delete", redirect.node.as_ref());
    app.permit(&deed, &question, Ask::Yes)?;
    app.api
        .delete_redirect(&redirect.id, &app.global.reason)
        .await?;
    app.terminal
        .note(&format!("redirect {} is removed", redirect.id));
    Ok(())
}

async fn find(app: &App<'_, '_>, id: &str) -> Result<RedirectView, Failure> {
    let query = shared::api::ListQuery {
        filter: Some(equals("id", id)),
        limit: Some(2),
        ..shared::api::ListQuery::default()
    };
    let mut hits = app.api.redirects(&query).await?.items.into_iter();
    match (hits.next(), hits.next()) {
        (Some(redirect), None) => Ok(redirect),
        (None, _) => Err(Failure::NotFound("there is no such redirect".to_owned())),
        (Some(_), Some(_)) => Err(Failure::Usage("several redirects begin so".to_owned())),
    }
}
