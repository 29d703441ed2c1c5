//! Mailbox messages: what nodes ask each other, and how they know that it is one of them who asks.
//!
//! Layout: version (1 byte), HMAC-SHA256 (32 bytes), length of the header (4 bytes, big-endian),
//! header and body (JSON). The MAC is under a key derived from the cluster key and covers all else.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use shared::api::{
    ApiError, ConfigChange, ConfigView, DrainRequest, DrainView, GroupQuery, ItemOutcome, JobView,
    ListQuery, Page, RealmDocument, RedirectHealth, RefusalCount, RefusalView, Role, SessionDetail,
    UpgradeView,
};
use shared::{NodeId, Realm, SessionId};

use crate::control::clock::Moment;
use crate::control::directory::SecretUse;
use crate::control::directory::aggregate::{RealmLoad, UserLoad};
use crate::control::directory::groups::GroupAnswer;
use crate::control::directory::query::{SessionAnswer, SessionQuestion};
use crate::control::history::{HistoryOf, Share};
use crate::control::keys;
use crate::control::preview::Effect;
use crate::control::service::Caller;

/// The version written and accepted.
const VERSION: u8 = 1;
/// Bytes before the header.
const PREFIX: usize = 1 + 32 + 4;
/// The largest message that is read or written.
pub(crate) const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// How far the clocks of two nodes may differ, and how long a message is good.
pub(crate) const FRESHNESS: Duration = Duration::from_secs(10);
/// Message ids remembered against replay.
const MAX_REMEMBERED: usize = 100_000;
/// Sessions in one kill message.
pub(crate) const MAX_KILLS: usize = 500;

/// What a node can be asked or told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NodeQuestion {
    /// A page of its sessions.
    Sessions(SessionQuestion),
    /// Its sessions in groups.
    Groups(GroupQuery),
    /// One of its sessions, by id or prefix.
    Session {
        /// 6 to 16 hex digits.
        prefix: String,
        /// Measure the rates of its permissions, which may take 0.1 s.
        #[serde(default)]
        rates: bool,
    },
    /// End these sessions; at most [`MAX_KILLS`].
    Kill {
        /// Which.
        ids: Vec<SessionId>,
    },
    /// Its users with sessions.
    Users {
        /// At most so many.
        limit: usize,
    },
    /// Its realms with sessions or refusals.
    Realms,
    /// How many of its sessions each secret signed.
    SecretUse {
        /// In this realm.
        realm: Realm,
    },
    /// Who among its sessions uses which secret.
    SecretUsage {
        /// In this realm.
        realm: Realm,
    },
    /// Its refusal counters.
    Refusals,
    /// A page of its latest refusals.
    RecentRefusals(ListQuery),
    /// How the targets of its redirects are.
    Redirects,
    /// Its jobs: all without their items, or one with them.
    Jobs {
        /// Which.
        id: Option<String>,
    },
    /// Its settings.
    Config,
    /// What its settings would be with other overrides.
    ConfigPreview {
        /// Whether these are the overrides for it alone, and not those for all nodes.
        own: bool,
        /// The overrides.
        settings: BTreeMap<String, serde_json::Value>,
        /// The settings to compare.
        keys: Vec<String>,
    },
    /// Stop one of its jobs.
    StopJob {
        /// Which.
        id: String,
    },
    /// Figures over time.
    History(HistoryOf),
    /// Take no new sessions.
    Drain(DrainRequest),
    /// Take new sessions again.
    Undrain,
    /// Start the process that takes over.
    Upgrade,
    /// What a document would do to its sessions.
    Preview {
        /// Of this realm.
        realm: Realm,
        /// The document.
        document: Box<RealmDocument>,
    },
}

impl NodeQuestion {
    /// The role that a caller needs for it.
    #[must_use]
    pub(crate) fn needs(&self) -> Role {
        match self {
            Self::Kill { .. } | Self::StopJob { .. } | Self::Drain(_) | Self::Undrain => {
                Role::Operator
            }
            Self::Preview { .. } | Self::ConfigPreview { .. } | Self::Upgrade => Role::Admin,
            _ => Role::Viewer,
        }
    }

    /// Its name in headers and logs.
    #[must_use]
    pub(crate) fn op(&self) -> &'static str {
        match self {
            Self::Sessions(_) => "sessions",
            Self::Groups(_) => "groups",
            Self::Session { .. } => "session",
            Self::Kill { .. } => "kill",
            Self::Users { .. } => "users",
            Self::Realms => "realms",
            Self::SecretUse { .. } => "secret_use",
            Self::SecretUsage { .. } => "secret_usage",
            Self::Refusals => "refusals",
            Self::RecentRefusals(_) => "recent_refusals",
            Self::Redirects => "redirects",
            Self::Jobs { .. } => "jobs",
            Self::StopJob { .. } => "stop_job",
            Self::Drain(_) => "drain",
            Self::Undrain => "undrain",
            Self::Upgrade => "upgrade",
            Self::History(_) => "history",
            Self::Preview { .. } => "preview",
            Self::Config => "config",
            Self::ConfigPreview { .. } => "config_preview",
        }
    }
}

/// What a node answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NodeAnswer {
    /// A page.
    Sessions(SessionAnswer),
    /// Groups of sessions.
    Groups(GroupAnswer),
    /// The session, when exactly one matches; and how many match.
    Session {
        /// Everything about it.
        detail: Option<Box<SessionDetail>>,
        /// How many there are.
        matches: u64,
    },
    /// What happened to each session.
    Killed(Vec<Killed>),
    /// Users with sessions.
    Users {
        /// Those with most sessions.
        loads: Vec<UserLoad>,
        /// How many there are.
        count: u64,
    },
    /// Realms with sessions or refusals.
    Realms(Vec<RealmLoad>),
    /// Sessions by secret id.
    SecretUse(BTreeMap<String, u64>),
    /// Who uses which secret.
    SecretUsage(Vec<SecretUsers>),
    /// Refusal counters.
    Refusals(Vec<RefusalCount>),
    /// A page of its latest refusals.
    RecentRefusals(Page<RefusalView>),
    /// Redirects that it follows, by id, with the health of their targets and since when.
    Redirects(Vec<(String, RedirectHealth, u64)>),
    /// Jobs.
    Jobs(Vec<JobView>),
    /// Figures over time.
    History(Box<History>),
    /// What a document would do.
    Preview(Box<Effect>),
    /// Its settings.
    Config(Box<ConfigView>),
    /// What would change, or be hidden.
    ConfigPreview(Vec<ConfigChange>),
    /// Its drain; `None`: it has none to end.
    Drain(Option<Box<DrainView>>),
    /// The process that takes over.
    Upgrade(UpgradeView),
    /// It cannot or will not.
    Failed(ApiError),
}

/// Who uses one secret on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecretUsers {
    /// The secret.
    pub id: String,
    /// How much.
    pub used: SecretUse,
    /// Users with their sessions, those with most of them first.
    pub users: Vec<(String, u64)>,
    /// Whether these are all.
    pub complete: bool,
}

/// What a node says about somebody's figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum History {
    /// These.
    Kept(Share),
    /// It has sessions of theirs, but no figures; why.
    Left(String),
    /// It has nothing to do with them.
    None,
}

/// What happened to one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Killed {
    /// Which.
    pub id: SessionId,
    /// Its user, and its realm where it was known.
    pub user: String,
    /// Its realm.
    pub realm: Option<Realm>,
    /// What happened.
    pub outcome: ItemOutcome,
}

/// Who says what to whom.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Header {
    /// Of the question; an answer carries the same.
    pub id: String,
    /// Whether this is the answer.
    pub answer: bool,
    /// The sender.
    pub from: NodeId,
    /// The sender's epoch.
    pub from_epoch: u64,
    /// The receiver.
    pub to: NodeId,
    /// The receiver's epoch: a message to an earlier incarnation is not for this one.
    pub to_epoch: u64,
    /// On whose behalf.
    pub actor: String,
    /// What they may do.
    pub role: Role,
    /// The realms they are confined to; empty: all.
    pub realms: Vec<Realm>,
    /// What is asked.
    pub op: String,
    /// When it was sent.
    pub at_ms: u64,
}

impl Header {
    /// The caller that it speaks for.
    #[must_use]
    pub(crate) fn caller(&self) -> Caller {
        Caller {
            actor: self.actor.clone(),
            role: self.role,
            realms: self.realms.clone(),
        }
    }
}

/// Why a message is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ignored {
    /// Too short, too long, or not what the layout says.
    #[error("it is malformed")]
    Malformed,
    /// Written by a newer or older release.
    #[error("it has version {0}, which this release does not know")]
    Version(u8),
    /// The sender has another cluster key, or it was changed on the way.
    #[error("its MAC does not verify: the nodes have different cluster keys, or it is forged")]
    Forged,
    /// Not for this node, or for an earlier incarnation.
    #[error("it is for somebody else")]
    NotForUs,
    /// The clocks differ too much, or it was kept back.
    #[error("it is not of the last ten seconds: the clocks of the nodes differ, or it was delayed")]
    NotFresh,
    /// It came before.
    #[error("it came before")]
    Replayed,
}

/// Writes a message; `None` when it would be too large.
#[must_use]
pub(crate) fn seal<B: Serialize>(key: &[u8; 32], header: &Header, body: &B) -> Option<Vec<u8>> {
    let header = serde_json::to_vec(header).ok()?;
    let body = serde_json::to_vec(body).ok()?;
    if PREFIX + header.len() + body.len() > MAX_MESSAGE {
        return None;
    }
    let length = u32::try_from(header.len()).ok()?.to_be_bytes();
    let mac = keys::mac(key, &[&[VERSION], &length, &header, &body]);
    let mut message = Vec::with_capacity(PREFIX + header.len() + body.len());
    message.push(VERSION);
    message.extend_from_slice(&mac);
    message.extend_from_slice(&length);
    message.extend_from_slice(&header);
    message.extend_from_slice(&body);
    Some(message)
}

/// Verifies a message and splits it into header and body. Nothing is parsed before the MAC holds.
///
/// # Errors
/// Why it is to be ignored.
pub(crate) fn open<'m>(
    key: &[u8; 32],
    own: (&NodeId, u64),
    message: &'m [u8],
    now: Moment,
) -> Result<(Header, &'m [u8]), Ignored> {
    let version = *message.first().ok_or(Ignored::Malformed)?;
    if version != VERSION {
        return Err(Ignored::Version(version));
    }
    if !(PREFIX..=MAX_MESSAGE).contains(&message.len()) {
        return Err(Ignored::Malformed);
    }
    let (mac, signed) = (&message[1..33], &message[33..]);
    if !keys::same(mac, &keys::mac(key, &[&[VERSION], signed])) {
        return Err(Ignored::Forged);
    }
    let (length, rest) = signed.split_at(4);
    let length = u32::from_be_bytes(length.try_into().map_err(|_| Ignored::Malformed)?) as usize;
    let (header, body) = rest.split_at_checked(length).ok_or(Ignored::Malformed)?;
    let header: Header = serde_json::from_slice(header).map_err(|_| Ignored::Malformed)?;
    if (&header.to, header.to_epoch) != own {
        return Err(Ignored::NotForUs);
    }
    if header.at_ms.abs_diff(now.unix_ms) > FRESHNESS.as_millis() as u64 {
        return Err(Ignored::NotFresh);
    }
    Ok((header, body))
}

/// Remembers the ids of questions for as long as they could be replayed.
#[derive(Debug, Default)]
pub(crate) struct ReplayGuard {
    seen: HashMap<(NodeId, String), Instant>,
}

impl ReplayGuard {
    /// Whether this question is new. One that cannot be remembered counts as replayed.
    pub(crate) fn admit(&mut self, header: &Header, now: Instant) -> Result<(), Ignored> {
        if self.seen.len() >= MAX_REMEMBERED {
            // Twice the tolerance: a sender's clock may run ahead by all of it.
            self.seen
                .retain(|_, at| now.saturating_duration_since(*at) <= 2 * FRESHNESS);
        }
        let key = (header.from.clone(), header.id.clone());
        if self.seen.len() >= MAX_REMEMBERED || self.seen.contains_key(&key) {
            return Err(Ignored::Replayed);
        }
        self.seen.insert(key, now);
        Ok(())
    }
}
