//! `relayctl ban`: networks of clients, or of peers.

use std::time::Duration;

use clap::{Args, Subcommand};
use shared::IpRange;
use shared::api::{BanCreate, BanKind, BanView};

use super::App;
use super::args::duration;
use super::exit::Failure;
use super::permit::Ask;
use crate::guardrails::Deed;

/// Verbs of `ban`.
#[derive(Debug, Subcommand)]
pub enum BanCommand {
    /// List banned networks
    List,
    /// Ban a network on every node: its sessions end and come back nowhere
    Add(AddArgs),
    /// Take a ban back
    #[command(visible_alias = "rm")]
    Remove {
        /// Its id, the beginning of it, or the network
        id: String,
    },
}

/// A network to be banned.
#[derive(Args, Debug)]
pub struct AddArgs {
    /// The network, as in 203.0.113.0/24 or 2001:db8::/48
    net: IpRange,
    /// It is one of peers: no data passes to or from there, calls go on with other peers
    #[arg(long)]
    peer: bool,
    /// How long
    #[arg(long = "for", value_parser = duration, value_name = "TIME", default_value = "1h")]
    time: Duration,
    /// Only tell how many sessions and users it would hit
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(app: &mut App<'_, '_>, command: &BanCommand) -> Result<(), Failure> {
    match command {
        BanCommand::List => {
            let page = app.api.bans().await?;
            app.whole(page)
        }
        BanCommand::Add(args) => add(app, args).await,
        BanCommand::Remove { id } => remove(app, id).await,
    }
}

async fn add(app: &mut App<'_, '_>, args: &AddArgs) -> Result<(), Failure> {
    let mut create = BanCreate {
        kind: match args.peer {
            true => BanKind::Peer,
            false => BanKind::Client,
        },
        net: args.net,
        secs: args.time.as_secs(),
        dry_run: true,
        expected: None,
        reason: app.global.reason.clone(),
    };
    let would = app.api.create_ban(&create).await?;
    if args.dry_run {
        return app.show(&would);
    }
    let missing = match would.missing.len() {
        0 => String::new(),
        nodes => format!(" {nodes} nodes did not answer: theirs are not counted."),
    };
    let effect = match create.kind {
        BanKind::Client => "end, and new ones are refused",
        BanKind::Peer => "lose their peers there, and go on with others",
    };
    let partly = would.partly.iter();
    let partly: String = partly
        .map(|node| format!(" Not so on {}: {}.", node.node, node.reason))
        .collect();
    let question = format!(
        "{} sessions of {} users at {} {effect}.{missing}{partly}",
        would.sessions, would.users, args.net
    );
    app.permit(&Deed::of_cluster("ban.create"), &question, Ask::Yes)?;
    create.dry_run = false;
    // A few may have come meanwhile; many more are somebody else's question.
    create.expected = Some(would.sessions + would.sessions / 10 + 10);
    let done = app.api.create_ban(&create).await?;
    app.show(&done)
}

async fn remove(app: &mut App<'_, '_>, id: &str) -> Result<(), Failure> {
    let ban = find(app.api.bans().await?.items, id)?;
    let question = format!("{} {} is banned no more.", ban.kind.as_str(), ban.net);
    app.permit(&Deed::of_cluster("ban.delete"), &question, Ask::Yes)?;
    app.api.delete_ban(&ban.id, &app.global.reason).await?;
    app.terminal.note(&format!("ban {} is removed", ban.id));
    Ok(())
}

fn find(bans: Vec<BanView>, id: &str) -> Result<BanView, Failure> {
    let is_meant = |ban: &BanView| ban.id.starts_with(id) || ban.net.to_string() == id;
    let mut hits = bans.into_iter().filter(is_meant);
    match (hits.next(), hits.next()) {
        (Some(ban), None) => Ok(ban),
        (None, _) => Err(Failure::NotFound("there is no such ban".to_owned())),
        (Some(_), Some(_)) => Err(Failure::Usage("several bans are called so".to_owned())),
    }
}
