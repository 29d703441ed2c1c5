//! `relayctl node verify`: the self-test of nodes.

use clap::Args;
use futures_util::StreamExt as _;
use shared::api::{ListQuery, NodeRole, NodeState, NodeView};
use shared::{NodeId, Realm};

use super::App;
use super::exit::{Failure, code};
use super::permit::Ask;
use super::turn::{EchoArgs, TlsArgs};
use crate::guardrails::Deed;
use crate::turn::check::CheckOptions;
use crate::verify::{Verified, verify};

/// Nodes that are checked at once.
const AT_ONCE: usize = 4;
/// Nodes of one page.
const PAGE: u32 = ListQuery::MAX_LIMIT;

/// The help behind the options.
pub(super) const AFTER: &str = "\
The checks run from where relayctl runs, not from the node, and against the addresses that clients
are told: over an ssh context the commands go through the tunnel, the checks do not. So what fails
may be the way from here, a firewall for UDP above all; `relayctl turn check` shows its steps.

Each node gets a credential of its own, good for ten minutes, of a user that begins with
relayctl-check: that is how the sessions of checks are told from others. The realm needs a shared
secret (relayctl secret add). Certificates are checked where --server-name tells the name in them;
else they are shown, since listeners are checked by address.

Exit codes: 0 when everything passed, 5 when some of it did, else the code of the first failure as
in `relayctl turn check`.";

/// Options of `verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The nodes
    #[arg(required_unless_present = "all", value_name = "NODE")]
    nodes: Vec<NodeId>,
    /// All nodes that take sessions
    #[arg(short, long, conflicts_with = "nodes")]
    all: bool,
    /// Check as a client of this realm [default: the realm that each listener serves]
    #[arg(short, long)]
    realm: Option<Realm>,
    /// The echo.
    #[command(flatten)]
    echo: EchoArgs,
    /// Certificates.
    #[command(flatten)]
    tls: TlsArgs,
}

pub(super) async fn run(app: &mut App<'_, '_>, args: &VerifyArgs) -> Result<(), Failure> {
    let deed = match &args.realm {
        Some(realm) => Deed::of_realm("credential.mint", realm),
        None => Deed::of_node("credential.mint", args.nodes.first()),
    };
    app.permit(&deed, "A credential is minted for each node.", Ask::Nothing)?;
    let defaults = CheckOptions::default();
    let mut tls = args.tls.options()?;
    tls.insecure |= tls.server_name.is_none();
    let options = CheckOptions {
        patience: app.global.timeout.unwrap_or(defaults.patience),
        tls,
        ..args.echo.over(defaults)
    };
    let nodes = nodes(app, args).await?;
    let (api, realm, options) = (app.api, args.realm.as_ref(), &options);
    let checks = nodes
        .iter()
        .map(async |node| verify(api, node, realm, options, &mut |_| {}).await);
    let mut checks = futures_util::stream::iter(checks).buffered(AT_ONCE);
    let mut rows = Vec::new();
    while let Some(found) = checks.next().await {
        rows.extend(found?);
    }
    drop(checks);
    app.document(
        &serde_json::json!({ "schema": "verify/1", "items": rows }),
        &rows,
    )?;
    verdict(app, &rows)
}

/// The nodes that are meant.
async fn nodes(app: &mut App<'_, '_>, args: &VerifyArgs) -> Result<Vec<NodeView>, Failure> {
    if !args.all {
        let mut nodes = Vec::new();
        for id in &args.nodes {
            nodes.push(app.api.node(id).await?);
        }
        return Ok(nodes);
    }
    let mut query = ListQuery {
        sort: Some("node:asc".to_owned()),
        limit: Some(PAGE),
        ..ListQuery::default()
    };
    let mut nodes = Vec::new();
    loop {
        let page = app.api.nodes(&query).await?;
        let relays = page.items.into_iter();
        nodes.extend(relays.filter(|node| node.roles.contains(&NodeRole::Relay)));
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    nodes.retain(|node| {
        let ready = node.state == NodeState::Ready;
        if !ready {
            let note = format!("{} is {}: not checked", node.id, node.state.as_str());
            app.terminal.note(&note);
        }
        ready
    });
    Ok(nodes)
}

fn verdict(app: &mut App<'_, '_>, rows: &[Verified]) -> Result<(), Failure> {
    let bad: Vec<_> = rows.iter().filter(|row| !row.is_ok()).collect();
    let Some(first) = bad.first() else {
        return Ok(());
    };
    for row in &bad {
        let (node, transport) = (&row.node, &row.transport);
        app.terminal
            .note(&format!("{node} {transport} {}", row.text));
        if !row.remedy.is_empty() {
            app.terminal.note(&format!("  {}", row.remedy));
        }
    }
    let code = match bad.len() == rows.len() {
        true => first.exit_code,
        false => code::PARTIAL,
    };
    Err(Failure::Check {
        code,
        text: format!("{} of {} checks failed", bad.len(), rows.len()),
    })
}
