//! Events (the live tail) and audit records.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{NodeId, Realm, SessionId};

/// Something that happened in the cluster.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct EventView {
    /// Position in the tail; resume with it.
    pub id: String,
    /// When.
    pub at_ms: u64,
    /// Where.
    pub node: NodeId,
    /// How much it matters.
    pub severity: Severity,
    /// What.
    pub kind: EventKind,
    /// In words.
    pub text: String,
    /// The session concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The user concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The realm concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<Realm>,
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Normal life.
    Info,
    /// Somebody changed something, or a limit bit.
    Notice,
    /// An operator should look.
    Warn,
    /// An operator must act.
    Crit,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "INFO",
            Self::Notice => "NOTE",
            Self::Warn => "WARN",
            Self::Crit => "CRIT",
        })
    }
}

/// What kind of event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A session was created.
    SessionCreated,
    /// A session ended; the text says why.
    SessionEnded,
    /// A limit refused something (rate-limited: one event stands for many).
    Refused,
    /// A user was created, changed, deleted or blocked.
    UserChanged,
    /// A realm document changed.
    RealmChanged,
    /// A secret was added or removed.
    SecretChanged,
    /// A token was created or revoked.
    TokenChanged,
    /// A redirect was added or removed, or its target went down or came back.
    RedirectChanged,
    /// A node joined, became ready, stale or stopped.
    NodeChanged,
    /// The store was lost or came back.
    StoreChanged,
    /// A bulk job started or ended.
    Job,
    /// Overrides of the configuration, or rules of alerts, changed or did not fit.
    ConfigChanged,
    /// An alert was raised, changed its severity or cleared.
    Alert,
    /// A network was banned or is banned no more, or sessions ended with a ban.
    BanChanged,
    /// A kind that this version does not know.
    #[serde(other)]
    Other,
}

impl EventKind {
    /// The word shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SessionCreated => "session-created",
            Self::SessionEnded => "session-ended",
            Self::Refused => "refused",
            Self::UserChanged => "user-changed",
            Self::RealmChanged => "realm-changed",
            Self::SecretChanged => "secret-changed",
            Self::TokenChanged => "token-changed",
            Self::RedirectChanged => "redirect-changed",
            Self::NodeChanged => "node-changed",
            Self::StoreChanged => "store-changed",
            Self::Job => "job",
            Self::ConfigChanged => "config-changed",
            Self::Alert => "alert",
            Self::BanChanged => "ban-changed",
            Self::Other => "other",
        }
    }
}

/// One mutating call: who did what, why, with which result. Refused calls are recorded too.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct AuditView {
    /// Position in the record.
    pub id: String,
    /// When.
    pub at_ms: u64,
    /// The node that received the call.
    pub node: NodeId,
    /// `unix:<uid>` or `token:<id>`.
    pub actor: String,
    /// What was asked, as in `session.kill`, `user.put`.
    pub action: String,
    /// Of what, as in `acme/alice`.
    pub target: String,
    /// Why, as the operator gave it.
    pub reason: String,
    /// `ok`, or the error.
    pub result: String,
}
