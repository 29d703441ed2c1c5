//! `relayctl realm origin` and `relayctl realm peer-rule`: one entry more or less in a document.

use clap::{Subcommand, ValueEnum};
use shared::api::{ErrorKind, RealmDocument, RealmPut, RealmView};
use shared::{IpRange, Realm};

use crate::cli::App;
use crate::cli::app::held;
use crate::cli::exit::Failure;
use crate::cli::output::EntryRow;
use crate::cli::permit::Ask;
use crate::client::ClientError;
use crate::guardrails::Deed;

/// How often a change is made anew over what somebody else wrote meanwhile.
const MAX_ROUNDS: u32 = 5;

/// Verbs of `realm origin`.
#[derive(Debug, Subcommand)]
pub enum OriginCommand {
    /// List the web origins of a realm
    List {
        /// The realm
        realm: Realm,
    },
    /// Add a web origin: its clients authenticate in this realm
    Add {
        /// The realm
        realm: Realm,
        /// As in https://app.example.org
        origin: String,
        /// Only if the realm still is at this revision
        #[arg(long, value_name = "N")]
        if_rev: Option<u64>,
    },
    /// Remove a web origin
    #[command(visible_alias = "rm")]
    Remove {
        /// The realm
        realm: Realm,
        /// As in https://app.example.org
        origin: String,
        /// Only if the realm still is at this revision
        #[arg(long, value_name = "N")]
        if_rev: Option<u64>,
    },
}

/// Whether peers are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PeerRule {
    /// Although a rule denies them
    Allow,
    /// Unless a rule allows them
    Deny,
}

/// Verbs of `realm peer-rule`.
#[derive(Debug, Subcommand)]
pub enum PeerRuleCommand {
    /// List the rules for peers of a realm
    List {
        /// The realm
        realm: Realm,
    },
    /// Add a rule
    Add {
        /// The realm
        realm: Realm,
        /// allow or deny
        rule: PeerRule,
        /// An address, CIDR, or first-last
        range: IpRange,
        /// Only if the realm still is at this revision
        #[arg(long, value_name = "N")]
        if_rev: Option<u64>,
    },
    /// Remove a rule
    #[command(visible_alias = "rm")]
    Remove {
        /// The realm
        realm: Realm,
        /// allow or deny
        rule: PeerRule,
        /// An address, CIDR, or first-last
        range: IpRange,
        /// Only if the realm still is at this revision
        #[arg(long, value_name = "N")]
        if_rev: Option<u64>,
    },
}

pub(super) async fn origin(app: &mut App<'_, '_>, command: &OriginCommand) -> Result<(), Failure> {
    match command {
        OriginCommand::List { realm } => {
            let view = app.api.realm(realm).await?;
            let rows = view.document.origins.iter().map(|value| EntryRow {
                kind: "origin",
                value: value.clone(),
            });
            list(app, &view, &rows.collect::<Vec<_>>())
        }
        OriginCommand::Add {
            realm,
            origin,
            if_rev,
        } => {
            let edit = |document: &mut RealmDocument| add(&mut document.origins, origin.clone());
            change(app, realm, *if_rev, edit).await
        }
        OriginCommand::Remove {
            realm,
            origin,
            if_rev,
        } => {
            let edit = |document: &mut RealmDocument| remove(&mut document.origins, origin);
            change(app, realm, *if_rev, edit).await
        }
    }
}

pub(super) async fn peer_rule(
    app: &mut App<'_, '_>,
    command: &PeerRuleCommand,
) -> Result<(), Failure> {
    match command {
        PeerRuleCommand::List { realm } => {
            let view = app.api.realm(realm).await?;
            let row = |kind| {
                move |range: &IpRange| EntryRow {
                    kind,
                    value: range.to_string(),
                }
            };
            let allowed = view.document.allowed_peers.iter().map(row("allow"));
            let denied = view.document.denied_peers.iter().map(row("deny"));
            let rows: Vec<_> = allowed.chain(denied).collect();
            list(app, &view, &rows)
        }
        PeerRuleCommand::Add {
            realm,
            rule,
            range,
            if_rev,
        } => {
            let edit = |document: &mut RealmDocument| add(rules(document, *rule), *range);
            change(app, realm, *if_rev, edit).await
        }
        PeerRuleCommand::Remove {
            realm,
            rule,
            range,
            if_rev,
        } => {
            let edit = |document: &mut RealmDocument| remove(rules(document, *rule), range);
            change(app, realm, *if_rev, edit).await
        }
    }
}

fn rules(document: &mut RealmDocument, rule: PeerRule) -> &mut Vec<IpRange> {
    match rule {
        PeerRule::Allow => &mut document.allowed_peers,
        PeerRule::Deny => &mut document.denied_peers,
    }
}

fn add<T: PartialEq>(items: &mut Vec<T>, item: T) -> Result<(), Failure> {
    if !items.contains(&item) {
        items.push(item);
    }
    Ok(())
}

fn remove<T: PartialEq>(items: &mut Vec<T>, item: &T) -> Result<(), Failure> {
    let before = items.len();
    items.retain(|one| one != item);
    if items.len() == before {
        return Err(Failure::NotFound("the realm has no such entry".to_owned()));
    }
    Ok(())
}

fn list(app: &mut App<'_, '_>, view: &RealmView, rows: &[EntryRow]) -> Result<(), Failure> {
    let document = serde_json::json!({
        "schema": "realm-entries/1",
        "realm": view.name,
        "revision": view.revision,
        "items": rows,
    });
    app.document(&document, rows)
}

/// Makes the change over the document as it is. If somebody writes meanwhile the change is made
/// again over theirs: one entry more or less goes with whatever else they did. A revision that was
/// named is held to.
async fn change(
    app: &mut App<'_, '_>,
    name: &Realm,
    if_rev: Option<u64>,
    edit: impl Fn(&mut RealmDocument) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for round in 0..MAX_ROUNDS {
        let before = app.api.realm(name).await?;
        let mut after = before.document.clone();
        edit(&mut after)?;
        let changes = crate::realm_document::diff(&before.document, &after);
        if changes.is_empty() {
            app.terminal.note("nothing changes");
            return app.show(&before);
        }
        after
            .validate()
            .map_err(|errors| Failure::Usage(errors.join("\n")))?;
        if round == 0 {
            app.terminal.note(&changes.join("\n"));
            let question = format!("Realm {name} is changed.");
            app.permit(&Deed::of_realm("realm.put", name), &question, Ask::Nothing)?;
        }
        let put = RealmPut {
            document: after,
            reason: app.global.reason.clone(),
        };
        let expected = if_rev.unwrap_or(before.revision);
        match app.api.put_realm(name, expected, &put).await {
            Ok(realm) => return app.show(&realm),
            Err(ClientError::Api(error))
                if error.error == ErrorKind::RevisionConflict && if_rev.is_none() => {}
            Err(error) => return Err(held(&format!("realm {name}"), expected, error)),
        }
    }
    Err(Failure::Other(
        "the realm changes too often; nothing was done".to_owned(),
    ))
}
