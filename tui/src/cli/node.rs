//! `relayctl node`.

use clap::Subcommand;
use shared::NodeId;
use shared::api::ConfigPatch;
use shared::filter::NODE_COLUMNS;

use super::app::Columns;
use super::args::{ListArgs, columns_help};
use super::config::How;
use super::exit::Failure;
use super::permit::Ask;
use super::{App, config, drain, upgrade, verify};
use crate::guardrails::Deed;

/// Verbs of `node`.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List nodes
    #[command(after_long_help = columns_help(NODE_COLUMNS))]
    List(ListArgs),
    /// Show one node
    Show {
        /// The node
        id: NodeId,
    },
    /// Try every listener of nodes from here: allocation, echo through the relay, RTT and loss
    #[command(after_long_help = verify::AFTER)]
    Verify(Box<verify::VerifyArgs>),
    /// Set how much a node logs, from now on and after a restart
    LogLevel {
        /// The node
        id: NodeId,
        /// error, warn, info, debug or trace; also per module, as in info,relayd::admin=debug
        level: String,
    },
    /// Have a node take no new sessions, also after a restart, until it is undrained
    #[command(after_long_help = drain::AFTER)]
    Drain(drain::DrainArgs),
    /// Have a node take new sessions again
    Undrain {
        /// The node
        id: NodeId,
    },
    /// Start a node's program again and pass all sessions on to the new process
    #[command(after_long_help = upgrade::AFTER)]
    Upgrade(upgrade::UpgradeArgs),
    /// Remove a node that is gone or stale from the registry
    Forget {
        /// The node
        id: NodeId,
    },
}

pub(super) async fn run(app: &mut App<'_, '_>, command: &NodeCommand) -> Result<(), Failure> {
    let api = app.api;
    match command {
        NodeCommand::List(list) => {
            let columns = Columns {
                all: NODE_COLUMNS,
                stable: "node:asc",
            };
            app.list(
                list,
                columns,
                |query| async move { api.nodes(&query).await },
            )
            .await
        }
        NodeCommand::Show { id } => {
            let node = api.node(id).await?;
            app.show(&node)
        }
        NodeCommand::Verify(args) => verify::run(app, args).await,
        NodeCommand::LogLevel { id, level } => {
            let patch = ConfigPatch {
                set: [("log.level".to_owned(), level.as_str().into())].into(),
                ..ConfigPatch::default()
            };
            config::apply(app, &How::one(id.clone()), patch).await
        }
        NodeCommand::Drain(args) => drain::begin(app, args).await,
        NodeCommand::Undrain { id } => drain::end(app, id).await,
        NodeCommand::Upgrade(args) => upgrade::run(app, args).await,
        NodeCommand::Forget { id } => {
            let question = format!("Node {id} leaves the registry until it starts again.");
            let deed = Deed::of_node("node.forget", Some(id));
            app.permit(&deed, &question, Ask::Yes)?;
            api.forget_node(id, &app.global.reason).await?;
            app.terminal.note(&format!("node {id} is forgotten"));
            Ok(())
        }
    }
}
