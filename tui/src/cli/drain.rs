//! `relayctl node drain` and `relayctl node undrain`.

use std::time::{Duration, Instant};

use clap::Args;
use shared::NodeId;
use shared::api::{DrainRequest, NodeState, NodeView};
use shared::units::grouped;

use super::App;
use super::args::duration;
use super::exit::Failure;
use super::permit::Ask;
use crate::drain;
use crate::guardrails::Deed;

/// How often `--wait` looks.
const POLL: Duration = Duration::from_secs(1);
/// How often `--wait` tells somebody who reads a log.
const TELL: Duration = Duration::from_secs(30);
/// How many looks in a row may fail before `--wait` gives up; the drain goes on.
const MAX_FAILED_LOOKS: u32 = 30;
/// How long the registry may lag behind the drain.
const LAG: Duration = Duration::from_secs(10);

/// More about the command.
pub(super) const AFTER: &str = "\
A drained node answers Allocate with 300 where a redirect names another server, else with 508; Binding, \
Refresh, permissions and channels work on. Again with other flags, the drain is changed; `relayctl node \
undrain` ends it. With --wait the command ends with 0 when the node is empty; interrupted, the drain goes \
on. coturn: `drain` of its CLI, or SIGUSR1, which nothing cancels; its drain-min-allocations has no \
counterpart, since an empty node goes on until it is stopped.";

/// A drain.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// The node
    id: NodeId,
    /// Ends calls: when this time is over, sessions that are left are ended
    #[arg(long, value_parser = duration, value_name = "TIME")]
    deadline: Option<Duration>,
    /// Ends calls: no session is prolonged, so that each ends with its lifetime
    #[arg(long)]
    refuse_refresh: bool,
    /// Show how it goes, and end when the node is empty
    #[arg(long)]
    wait: bool,
    /// How long to wait at most; the drain goes on
    #[arg(long, value_parser = duration, value_name = "TIME", requires = "wait")]
    timeout: Option<Duration>,
}

pub(super) async fn begin(app: &mut App<'_, '_>, args: &DrainArgs) -> Result<(), Failure> {
    let id = &args.id;
    let node = app.api.node(id).await?;
    let consequence = drain::consequence(args.deadline, args.refuse_refresh);
    let sessions = grouped(node.sessions);
    let question = format!("Node {id} with {sessions} sessions is drained.\n{consequence}");
    let deed = Deed::of_node("node.drain", Some(id));
    app.permit(&deed, &question, Ask::Yes)?;
    let request = DrainRequest {
        reason: app.global.reason.clone(),
        deadline_secs: args.deadline.map(|deadline| deadline.as_secs().max(1)),
        refuse_refresh: args.refuse_refresh,
    };
    let begun = app.api.drain_node(id, &request).await?;
    app.show(&begun)?;
    if args.wait {
        wait(app, args).await?;
    }
    Ok(())
}

pub(super) async fn end(app: &mut App<'_, '_>, id: &NodeId) -> Result<(), Failure> {
    let question = format!("Node {id} takes new sessions again.");
    let deed = Deed::of_node("node.undrain", Some(id));
    app.permit(&deed, &question, Ask::Nothing)?;
    app.api.undrain_node(id, &app.global.reason).await?;
    app.terminal
        .note(&format!("node {id} takes new sessions again"));
    Ok(())
}

/// What a look at the node says.
enum Look {
    Empty,
    Goes(String),
    /// The registry does not know of the drain, or no longer.
    Unknown,
}

fn look(node: &NodeView) -> Look {
    match &node.drain {
        Some(_) if node.sessions == 0 => Look::Empty,
        Some(drain) => Look::Goes(drain::progress(node, drain)),
        None => Look::Unknown,
    }
}

async fn wait(app: &mut App<'_, '_>, args: &DrainArgs) -> Result<(), Failure> {
    let (id, begun) = (&args.id, Instant::now());
    let (mut failed, mut seen, mut told) = (0, false, None);
    loop {
        match app.api.node(id).await {
            Ok(node) => {
                failed = 0;
                let how = look(&node);
                seen |= !matches!(how, Look::Unknown);
                match how {
                    Look::Empty => break,
                    Look::Goes(_) if node.state == NodeState::Gone => {
                        end_line(app);
                        return Err(Failure::Other(format!("{id} has stopped")));
                    }
                    Look::Goes(text) => tell(app, &text, &mut told),
                    Look::Unknown if seen || begun.elapsed() > LAG => {
                        end_line(app);
                        return Err(Failure::Other(format!("{id} is drained no more")));
                    }
                    Look::Unknown => {}
                }
            }
            Err(error) if error.is_connection() && failed < MAX_FAILED_LOOKS => failed += 1,
            Err(error) => return Err(error.into()),
        }
        if args.timeout.is_some_and(|limit| begun.elapsed() >= limit) {
            end_line(app);
            let what = format!("{id} is not empty yet; the drain goes on");
            return Err(Failure::Other(what));
        }
        tokio::time::sleep(POLL).await;
    }
    end_line(app);
    app.terminal.note(&format!("node {id} is empty"));
    Ok(())
}

/// One line that changes for a person; a line now and then for a log.
fn tell(app: &mut App<'_, '_>, text: &str, told: &mut Option<Instant>) {
    if app.terminal.err_is_terminal {
        let _ = write!(app.terminal.err, "\r\x1b[K{text}");
        let _ = app.terminal.err.flush();
    } else if told.is_none_or(|at| at.elapsed() >= TELL) {
        *told = Some(Instant::now());
        app.terminal.note(text);
    }
}

fn end_line(app: &mut App<'_, '_>) {
    if app.terminal.err_is_terminal {
        let _ = writeln!(app.terminal.err);
    }
}
