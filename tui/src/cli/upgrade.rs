//! `relayctl node upgrade`.

use std::time::{Duration, Instant};

use clap::Args;
use shared::NodeId;
use shared::api::{NodeState, NodeView, UpgradeRequest};
use shared::units::grouped;

use super::App;
use super::args::duration;
use super::exit::Failure;
use super::permit::Ask;
use crate::guardrails::Deed;

/// How often is looked.
const POLL: Duration = Duration::from_millis(250);

/// More about the command.
pub(super) const AFTER: &str = "\
The node starts its program again, as it was started, and passes sockets and sessions on: no packet over \
UDP and plain TCP is lost. TLS and DTLS clients stay with the process before, which is a node of its own in \
the list (as in ams1.g7) until they have ended, at most for upgrade_deadline. Where the new process does not \
come up, the one that runs goes on. The command ends with 0 when the new process serves. On the host itself \
`relayd --upgrade` does the same.";

/// An upgrade.
#[derive(Debug, Args)]
pub struct UpgradeArgs {
    /// The node
    id: NodeId,
    /// How long to wait for the new process
    #[arg(long, value_parser = duration, value_name = "TIME", default_value = "60s")]
    timeout: Duration,
}

pub(super) async fn run(app: &mut App<'_, '_>, args: &UpgradeArgs) -> Result<(), Failure> {
    let id = &args.id;
    let before = app.api.node(id).await?;
    let sessions = grouped(before.sessions);
    let question = format!(
        "Node {id} with {sessions} sessions is started again, and passes them on to the new process."
    );
    let deed = Deed::of_node("node.upgrade", Some(id));
    app.permit(&deed, &question, Ask::Yes)?;
    let request = UpgradeRequest {
        reason: app.global.reason.clone(),
    };
    let begun = app.api.upgrade_node(id, &request).await?;
    let deadline = Instant::now() + args.timeout;
    loop {
        match app.api.node(id).await {
            Ok(node) if node.epoch > before.epoch && node.state != NodeState::Joining => {
                app.terminal.note(&done(&before, &node));
                return Ok(());
            }
            Ok(NodeView {
                upgrade: Some(upgrade),
                ..
            }) if upgrade.pid == begun.pid && upgrade.failed.is_some() => {
                let how = upgrade.failed.unwrap_or_default();
                return Err(Failure::Other(format!(
                    "{id} goes on as it was: process {} did not take over ({how}); the node's log says why",
                    begun.pid
                )));
            }
            Ok(_) => {}
            Err(error) if error.is_connection() => {}
            Err(error) => return Err(error.into()),
        }
        if Instant::now() >= deadline {
            return Err(Failure::Other(format!(
                "process {} has not taken over from {id} yet: see `relayctl node show {id}`",
                begun.pid
            )));
        }
        tokio::time::sleep(POLL).await;
    }
}

fn done(before: &NodeView, now: &NodeView) -> String {
    let version = match before.version == now.version {
        true => now.version.clone(),
        false => format!("{} -> {}", before.version, now.version),
    };
    format!(
        "node {} runs as start {} now ({version}), with {} sessions",
        now.id,
        now.epoch,
        grouped(now.sessions)
    )
}
