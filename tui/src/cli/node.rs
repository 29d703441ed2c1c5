//! `relayctl node`.

use clap::Subcommand;
use shared::NodeId;
use shared::filter::NODE_COLUMNS;

use super::App;
use super::app::Columns;
use super::args::{ListArgs, columns_help};
use super::exit::Failure;

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
        NodeCommand::Forget { id } => {
            app.confirm(
                &format!("Node {id} leaves the registry until it starts again."),
                "y",
            )?;
            api.forget_node(id).await?;
            app.terminal.note(&format!("node {id} is forgotten"));
            Ok(())
        }
    }
}
