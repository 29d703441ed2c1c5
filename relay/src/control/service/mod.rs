//! Everything the admin API does. Role, realm scope and audit are enforced here, whatever carries
//! the call.

mod access;
mod alerts;
mod audit;
mod bans;
mod blocks;
pub(super) mod config;
mod data;
mod drain;
pub(super) mod events;
mod groups;
mod history;
pub(super) mod jobs;
mod kill;
pub(super) mod list;
pub(super) mod metrics;
mod nodes;
mod oauth;
mod placement;
mod realms;
mod redirects;
pub(super) mod refusals;
mod revisions;
mod secrets;
mod sessions;
mod tokens;
pub(super) mod users;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use shared::api::{ApiError, AuditView, ErrorKind, NodeState, Role, Scope, WhoAmI};
use shared::{Realm, display_safe};

use super::clock::Moment;
use super::cluster::mailbox::{self, ANSWER_DEADLINE};
use super::cluster::message::{NodeAnswer, NodeQuestion};
use super::cluster::{Answers, answer};
use super::denials::Record;
use super::hub::Hub;
use super::settings::{self, SettingsChange};
use super::statsdb::Statsdb;
use crate::beside::Coturn;
use crate::config::{Config, ConfigErrors};
use crate::store::StoreError;

pub use events::EventStream;

/// The longest reason, note or label, in bytes.
const MAX_TEXT: usize = 1000;

/// Who calls, and how far they reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// `unix:<uid>` or `token:<id>`.
    pub actor: String,
    /// What they may do.
    pub role: Role,
    /// The realms they are confined to; empty: all.
    pub realms: Vec<Realm>,
}

impl Caller {
    /// Whether the realm is in their scope.
    #[must_use]
    pub fn sees(&self, realm: &Realm) -> bool {
        self.realms.is_empty() || self.realms.contains(realm)
    }
}

/// Whether the node takes new sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether it does.
    pub ready: bool,
    /// Why not; and what else is wrong.
    pub reasons: Vec<String>,
}

/// The admin API without HTTP. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Service {
    hub: Arc<Hub>,
}

impl Service {
    /// A service over a running control plane.
    #[must_use]
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    /// Who the caller is, and who answers.
    ///
    /// # Errors
    /// None: every caller may know.
    pub async fn whoami(&self, caller: &Caller) -> Result<WhoAmI, ApiError> {
        std::future::ready(Ok(WhoAmI {
            actor: caller.actor.clone(),
            role: caller.role,
            realms: caller.realms.clone(),
            node: self.hub.node.clone(),
            cluster: self.hub.config().cluster.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
        .await
    }

    /// Whether this node takes new sessions, and what is wrong with it.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let hub = &self.hub;
        let mut reasons = Vec::new();
        match hub.state() {
            NodeState::Ready => {}
            _ if hub.fenced() => reasons.push("another process runs as this node".to_owned()),
            state => reasons.push(format!("the node is {}", state.as_str())),
        }
        let away = hub.workers.coturn().and_then(Coturn::away);
        reasons.extend(away.map(|why| format!("coturn is away: {why}")));
        if hub.drain.mode().is_some() {
            reasons.push(format!("sessions left: {}", hub.books().len()));
        }
        let (used, total) = hub.workers.ports();
        if total > 0 && used >= total {
            reasons.push("all relay ports are in use".to_owned());
        }
        let ready = reasons.is_empty();
        if !hub.health.connected() {
            reasons.push(format!("the {} store is out of reach", hub.store.kind()));
        }
        let troubles = hub.store_troubles().into_iter();
        reasons
            .extend(troubles.map(|trouble| format!("the {} store: {trouble}", hub.store.kind())));
        reasons.extend(hub.statsdb.as_ref().and_then(Statsdb::trouble));
        Readiness { ready, reasons }
    }

    /// Applies what can be applied of a changed configuration while the node runs. The rest waits
    /// for a restart. The store's overrides stay between the layers of the new one.
    ///
    /// # Errors
    /// What does not fit with the overrides; nothing was changed then.
    pub async fn reload_config(&self, config: &Config) -> Result<SettingsChange, ConfigErrors> {
        settings::reload(&self.hub, config).await
    }

    /// Reads the certificates of all listeners again, changed or not. What comes of it is logged, and
    /// told as an event.
    pub fn reload_certificates(&self) {
        self.hub.reload_certificates.notify_one();
    }

    /// Passes a store answer on, noting what it says about the store.
    fn store<T>(&self, answer: Result<T, StoreError>) -> Result<T, ApiError> {
        self.hub.noted(answer).map_err(|error| store_error(&error))
    }

    /// Does the work of a mutating call and records who did it, why, and what came of it.
    async fn audited<T>(
        &self,
        caller: &Caller,
        action: &str,
        target: String,
        reason: &str,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let outcome = if reason.len() > MAX_TEXT {
            Err(bad(format!("reason: at most {MAX_TEXT} bytes")))
        } else {
            work.await
        };
        let result = match &outcome {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.message.clone(),
        };
        tracing::info!(
            actor = caller.actor,
            action,
            target = %display_safe(&clipped(&target)),
            result = %display_safe(&clipped(&result)),
            "admin"
        );
        let mut result = result;
        if outcome.is_err() {
            let now = Moment::now();
            match self.hub.denials.record(&caller.actor, now.mono) {
                Record::Whole { left_out: 0 } => {}
                Record::Whole { left_out } => {
                    result = format!(
                        "{result} ({left_out} failed calls of this actor before it are not recorded)"
                    );
                }
                Record::Last => {
                    result = format!(
                        "{result} (more failed calls of this actor are counted, not recorded, for a minute)"
                    );
                }
                Record::No => return outcome,
            }
        }
        // Calls that were denied are kept as well: how long they are is up to anybody with a token.
        self.hub.recorder.audit(AuditView {
            id: String::new(),
            at_ms: Moment::now().unix_ms,
            node: self.hub.node.clone(),
            actor: caller.actor.clone(),
            action: action.to_owned(),
            target: clipped(&target),
            reason: clipped(reason),
            result: clipped(&result),
        });
        outcome
    }

    /// Asks the cluster, or only this node where the caller wants that or the node is no gateway.
    async fn ask(&self, caller: &Caller, scope: Option<Scope>, question: NodeQuestion) -> Answers {
        self.ask_within(caller, scope, question, ANSWER_DEADLINE)
            .await
    }

    /// The same with a deadline of its own.
    async fn ask_within(
        &self,
        caller: &Caller,
        scope: Option<Scope>,
        question: NodeQuestion,
        deadline: Duration,
    ) -> Answers {
        let only_own = scope == Some(Scope::Node) || !self.hub.config().is_gateway();
        if only_own {
            let own = answer::answer(&self.hub, caller, question).await;
            return Answers {
                answers: vec![(self.hub.node.clone(), own)],
                missing: Vec::new(),
            };
        }
        mailbox::ask_all(&self.hub, caller, question, deadline).await
    }

    /// Refuses what only gateways do.
    fn need_gateway(&self) -> Result<(), ApiError> {
        if self.hub.config().is_gateway() {
            return Ok(());
        }
        let message = "this node is a relay without the gateway role: ask a gateway";
        Err(ApiError::new(ErrorKind::Denied, message))
    }
}

/// Refuses callers whose role does not reach as far.
fn need(caller: &Caller, role: Role) -> Result<(), ApiError> {
    if caller.role.covers(role) {
        return Ok(());
    }
    let message = format!(
        "this needs the role {}; yours is {}",
        role.as_str(),
        caller.role.as_str()
    );
    Err(ApiError::new(ErrorKind::Denied, message))
}

/// Refuses callers that are confined to other realms.
fn need_realm(caller: &Caller, realm: &Realm) -> Result<(), ApiError> {
    if caller.sees(realm) {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorKind::Denied,
        format!("the realm {realm} is outside your scope"),
    ))
}

/// Refuses callers that are confined to realms at all.
fn need_all_realms(caller: &Caller) -> Result<(), ApiError> {
    if caller.realms.is_empty() {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorKind::Denied,
        "this concerns all realms; you are confined to some",
    ))
}

/// As much of a text as the audit keeps.
fn clipped(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT)].to_owned()
}

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::BadRequest, message)
}

fn not_found(what: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::NotFound, format!("there is no {what}"))
}

fn store_error(error: &StoreError) -> ApiError {
    let kind = match error {
        StoreError::Unavailable(_)
        | StoreError::NotNow(_)
        | StoreError::Fenced { .. }
        | StoreError::Refused(_) => ErrorKind::Unavailable,
        StoreError::RevisionConflict { .. } => ErrorKind::RevisionConflict,
        StoreError::OriginTaken { .. } => ErrorKind::Conflict,
        StoreError::Corrupt { .. } => ErrorKind::Internal,
    };
    let mut answer = ApiError::new(kind, error.to_string());
    if let StoreError::RevisionConflict { current } = error {
        answer.current_revision = Some(*current);
        answer.message = format!("somebody else changed it first: it is at revision {current} now");
    }
    answer
}

/// An answer of another kind than the question: a bug, or a node of another version.
fn unexpected(answer: &NodeAnswer) -> ApiError {
    if let NodeAnswer::Failed(error) = answer {
        return error.clone();
    }
    ApiError::new(
        ErrorKind::Internal,
        "a node answered something else than was asked",
    )
}
