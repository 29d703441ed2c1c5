//! What a dialog is for, and the change that its fields amount to.

use std::path::PathBuf;

use shared::api::{
    BanCreate, BanKind, BlockRequest, DrainRequest, KillRequest, MAX_DRAIN_SECS, NodeView,
    OauthKeyPut, RealmDocument, RealmPut, RealmView, SecretCreate, SecretPatch, SecretState,
    SecretView, SessionsKill, UpgradeRequest, UserPatch, UserPut, UserView,
};
use shared::units::{parse_duration, parse_number};
use shared::{IpRange, NodeId, Realm, Secret, SessionId, Username};

use super::fleet_forms::{RuleEdit, SettingEdit, redirect};
use super::message::Action;
use crate::widgets::form::Form;

/// What a form is for.
#[derive(Clone)]
pub(crate) enum Purpose {
    /// Kill this session.
    KillOne(SessionId),
    /// Kill these.
    KillMany(Vec<SessionId>),
    /// Refuse the user.
    Block(Realm, String),
    /// Admit it again.
    Unblock(Realm, String),
    /// Add a user.
    NewUser,
    /// Set its password.
    Password(Realm, String),
    /// Change its limits.
    EditUser(Box<UserView>),
    /// Delete it.
    DeleteUser(Realm, String),
    /// Fill in a realm document.
    RealmForm(Box<RealmBase>),
    /// Confirm what was filled in.
    RealmApply(Box<RealmBase>, Box<RealmDraft>, Source),
    /// Somebody else was faster: theirs, and where ours came from.
    RealmConflict(Box<Conflict>, Source),
    /// Nothing: it only tells.
    Look,
    /// Fill in the value of a setting.
    ConfigForm(Box<SettingEdit>),
    /// Confirm what it would do.
    ConfigApply(Box<SettingEdit>, Box<Form>),
    /// Somebody else was faster: the edit over theirs, and our form.
    ConfigConflict(Box<SettingEdit>, Box<Form>),
    /// Change an alert rule.
    EditRule(Box<RuleEdit>),
    /// Add a redirect.
    NewRedirect,
    /// Remove the one with this id.
    RemoveRedirect(String),
    /// Choose what to do with the secrets of a realm.
    Secrets(Realm, Vec<SecretView>),
    /// Add one.
    NewSecret(Realm),
    /// Delete the one with this id.
    DeleteSecret(Realm, String),
    /// Change the state of a secret: to be active, or to be one no more.
    PatchSecret(Realm, String, SecretState),
    /// Show a new one, this once.
    SecretShown(Secret<String>),
    /// Add an OAuth key, or replace it.
    PutOauthKey,
    /// Delete the one of this name.
    DeleteOauthKey(String),
    /// Have the node take no new sessions.
    Drain(NodeId),
    /// Have it take new sessions again.
    Undrain(NodeId),
    /// Have the node pass everything on to a process that it starts.
    Upgrade(NodeId),
    /// Name a network to be banned: what it would hit is asked for.
    NewBan,
    /// Ban it.
    ConfirmBan(Box<BanCreate>),
    /// Take a ban back.
    DeleteBan(String),
    /// Check these nodes.
    Verify(Vec<NodeView>),
}

/// Where a realm document comes from, so that it can be edited again.
#[derive(Clone)]
pub(crate) enum Source {
    /// A form.
    Form(Box<Form>),
    /// An editor, with this text.
    Text(String),
}

/// Three documents of a realm.
#[derive(Clone)]
pub(crate) struct Conflict {
    /// The one that we started from.
    pub(crate) before: RealmDocument,
    /// Ours.
    pub(crate) mine: RealmDocument,
    /// The one that is there now.
    pub(crate) theirs: RealmView,
}

/// A realm that is in an editor, or was.
pub(crate) struct Editing {
    /// What it started from.
    pub(crate) base: RealmBase,
    /// What the editor was given.
    pub(crate) given: String,
    /// The file with the text.
    pub(crate) file: Option<PathBuf>,
    /// It was given a change of ours over theirs: to leave it as it is means to apply it.
    pub(crate) merged: bool,
}

/// The document that an edit starts from.
#[derive(Clone)]
pub(crate) struct RealmBase {
    /// The realm; `None`: a new one.
    pub(crate) name: Option<Realm>,
    /// Its revision.
    pub(crate) revision: u64,
    /// Its document.
    pub(crate) document: RealmDocument,
}

/// A filled-in realm.
#[derive(Clone)]
pub(crate) struct RealmDraft {
    /// The realm.
    pub(crate) name: Realm,
    /// The new document.
    pub(crate) document: RealmDocument,
    /// Why.
    pub(crate) reason: String,
}

/// Names, labels and units of the fields of a realm document, in the order of the form.
pub(crate) const REALM_FIELDS: [(&str, &str); 16] = [
    ("max_sessions", "over all nodes; empty: no limit"),
    (
        "max_sessions_per_user",
        "per user, over all nodes; empty: no limit",
    ),
    ("max_rate_bps", "bit/s each way, as in 2M; empty: no limit"),
    (
        "max_user_rate_bps",
        "bit/s each way, all sessions of a user",
    ),
    ("max_realm_rate_bps", "bit/s each way, all of the realm"),
    ("max_new_peers_per_sec", "of a session; empty: no limit"),
    ("max_user_new_peers_per_sec", "of a user's, per node"),
    ("max_realm_new_peers_per_sec", "of the realm's, per node"),
    ("default_lifetime_secs", "seconds"),
    ("max_lifetime_secs", "seconds"),
    ("allowed_peers", "addresses, CIDR, first-last"),
    ("denied_peers", "addresses, CIDR, first-last"),
    ("origins", "web origins, separated by commas"),
    ("rest_separator", "in time-limited usernames"),
    ("tcp_relay", "true or false; empty: as each node has it"),
    ("note", "for operators"),
];

/// The text of one field of a document.
pub(crate) fn realm_field(document: &RealmDocument, name: &str) -> String {
    let number = |n: Option<u64>| n.map_or_else(String::new, |n| n.to_string());
    let ranges = |r: &[IpRange]| {
        r.iter()
            .map(IpRange::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    match name {
        "max_sessions" => number(document.max_sessions.map(u64::from)),
        "max_sessions_per_user" => number(document.max_sessions_per_user.map(u64::from)),
        "max_rate_bps" => number(document.max_rate_bps),
        "max_user_rate_bps" => number(document.max_user_rate_bps),
        "max_realm_rate_bps" => number(document.max_realm_rate_bps),
        "max_new_peers_per_sec" => number(document.max_new_peers_per_sec.map(u64::from)),
        "max_user_new_peers_per_sec" => number(document.max_user_new_peers_per_sec.map(u64::from)),
        "max_realm_new_peers_per_sec" => {
            number(document.max_realm_new_peers_per_sec.map(u64::from))
        }
        "default_lifetime_secs" => document.default_lifetime_secs.to_string(),
        "max_lifetime_secs" => document.max_lifetime_secs.to_string(),
        "allowed_peers" => ranges(&document.allowed_peers),
        "denied_peers" => ranges(&document.denied_peers),
        "origins" => document.origins.join(", "),
        "rest_separator" => document.rest_separator.to_string(),
        "tcp_relay" => document
            .tcp_relay
            .map_or_else(String::new, |on| on.to_string()),
        _ => document.note.clone(),
    }
}

/// Lines `field: old -> new` between two documents.
pub(crate) fn realm_diff(old: &RealmDocument, new: &RealmDocument) -> Vec<(String, String)> {
    let shown = |text: String| {
        if text.is_empty() {
            "none".to_owned()
        } else {
            text
        }
    };
    REALM_FIELDS
        .iter()
        .map(|(name, _)| (*name, realm_field(old, name), realm_field(new, name)))
        .filter(|(_, old, new)| old != new)
        .map(|(name, old, new)| (name.to_owned(), format!("{} -> {}", shown(old), shown(new))))
        .collect()
}

/// Reads the form of a realm over the document it started from.
pub(crate) fn realm_draft(base: &RealmBase, form: &Form) -> Result<RealmDraft, String> {
    let name = match &base.name {
        Some(name) => name.clone(),
        None => form
            .value("name")
            .parse()
            .map_err(|e| format!("name: {e}"))?,
    };
    let mut document = base.document.clone();
    document.max_sessions = optional(form, "max_sessions", small)?;
    document.max_sessions_per_user = optional(form, "max_sessions_per_user", small)?;
    document.max_rate_bps = optional(form, "max_rate_bps", parse_number)?;
    document.max_user_rate_bps = optional(form, "max_user_rate_bps", parse_number)?;
    document.max_realm_rate_bps = optional(form, "max_realm_rate_bps", parse_number)?;
    document.max_new_peers_per_sec = optional(form, "max_new_peers_per_sec", small)?;
    document.max_user_new_peers_per_sec = optional(form, "max_user_new_peers_per_sec", small)?;
    document.max_realm_new_peers_per_sec = optional(form, "max_realm_new_peers_per_sec", small)?;
    document.default_lifetime_secs = required(form, "default_lifetime_secs")?;
    document.max_lifetime_secs = required(form, "max_lifetime_secs")?;
    document.allowed_peers = peers(form, "allowed_peers")?;
    document.denied_peers = peers(form, "denied_peers")?;
    let origins = form.value("origins").split([',', ' ']).map(str::trim);
    document.origins = origins
        .filter(|origin| !origin.is_empty())
        .map(str::to_owned)
        .collect();
    let mut separator = form.raw("rest_separator").chars();
    document.rest_separator = match (separator.next(), separator.next()) {
        (Some(c), None) => c,
        _ => return Err("rest_separator: exactly one character".to_owned()),
    };
    document.tcp_relay = match form.value("tcp_relay") {
        "" => None,
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => return Err("tcp_relay: true or false; empty: as each node has it".to_owned()),
    };
    document.note = form.value("note").to_owned();
    document.validate().map_err(|errors| errors.join("; "))?;
    Ok(RealmDraft {
        name,
        document,
        reason: form.value("reason").to_owned(),
    })
}

fn small(text: &str) -> Option<u32> {
    parse_number(text).and_then(|n| u32::try_from(n).ok())
}

fn optional<T>(form: &Form, name: &str, parse: fn(&str) -> Option<T>) -> Result<Option<T>, String> {
    match form.value(name) {
        "" => Ok(None),
        text => parse(text)
            .map(Some)
            .ok_or_else(|| format!("{name}: {text} is not a number")),
    }
}

fn required(form: &Form, name: &str) -> Result<u32, String> {
    let text = form.value(name);
    small(text).ok_or_else(|| format!("{name}: a number of seconds"))
}

fn peers(form: &Form, name: &str) -> Result<Vec<IpRange>, String> {
    let parts = form
        .value(name)
        .split([',', ' '])
        .map(str::trim)
        .filter(|p| !p.is_empty());
    parts
        .map(|p| {
            p.parse()
                .map_err(|_| format!("{name}: {p} is no address, CIDR or first-last"))
        })
        .collect()
}

/// Reads a duration that may be absent.
fn block_secs(form: &Form) -> Result<Option<u64>, String> {
    match form.value("block") {
        "" => Ok(None),
        text => match parse_duration(text).map(|d| d.as_secs()) {
            Some(0) => Ok(None),
            Some(secs) if secs <= MAX_BLOCK_SECS => Ok(Some(secs)),
            _ => Err("block: a duration up to 30d, as in 10m or 1h".to_owned()),
        },
    }
}

/// Reads when a drain ends what is left.
fn deadline_secs(form: &Form) -> Result<Option<u64>, String> {
    match form.value("deadline") {
        "" => Ok(None),
        text => match parse_duration(text).map(|d| d.as_secs()) {
            Some(secs) if (1..=MAX_DRAIN_SECS).contains(&secs) => Ok(Some(secs)),
            _ => Err("deadline: a duration up to 30d, as in 30m or 2h; empty: none".to_owned()),
        },
    }
}

/// 30 days.
const MAX_BLOCK_SECS: u64 = 30 * 86_400;

impl Purpose {
    /// The change that the form asks for, or what is wrong with its fields.
    pub(crate) fn action(&self, form: &Form) -> Result<Action, String> {
        let reason = form.value("reason").to_owned();
        Ok(match self {
            Self::KillOne(id) => Action::Kill(
                *id,
                KillRequest {
                    reason,
                    block_secs: block_secs(form)?,
                },
            ),
            Self::KillMany(ids) => Action::KillMany(kill_many(ids, form, reason)?),
            Self::Block(realm, user) => {
                let secs = block_secs(form)?.ok_or("block: for how long, as in 10m or 1h")?;
                Action::Block(realm.clone(), user.clone(), BlockRequest { secs, reason })
            }
            Self::Unblock(realm, user) => Action::Unblock(realm.clone(), user.clone(), reason),
            Self::NewUser => {
                let realm = form
                    .value("realm")
                    .parse()
                    .map_err(|e| format!("realm: {e}"))?;
                let name: Username = form
                    .value("name")
                    .parse()
                    .map_err(|e| format!("name: {e}"))?;
                Action::PutUser(realm, name.as_str().to_owned(), password(form, reason)?)
            }
            Self::Password(realm, user) => {
                Action::PutUser(realm.clone(), user.clone(), password(form, reason)?)
            }
            Self::EditUser(before) => {
                let patch = user_patch(before, form, reason)?;
                Action::PatchUser(before.realm.clone(), before.name.clone(), patch)
            }
            Self::DeleteUser(realm, user) => {
                Action::DeleteUser(realm.clone(), user.clone(), reason)
            }
            Self::RealmApply(base, draft, _) => {
                let put = Box::new(realm_put(draft, reason));
                Action::PutRealm(draft.name.clone(), base.revision, put)
            }
            Self::NewSecret(_) | Self::PatchSecret(..) | Self::DeleteSecret(..) => {
                return self.secret_action(form, reason);
            }
            Self::PutOauthKey => {
                let (kid, put) = oauth_key(form, reason)?;
                Action::PutOauthKey(kid, Box::new(put))
            }
            Self::DeleteOauthKey(kid) => Action::DeleteOauthKey(kid.clone(), reason),
            Self::RealmForm(_)
            | Self::RealmConflict(..)
            | Self::ConfigConflict(..)
            | Self::Secrets(..)
            | Self::SecretShown(_)
            | Self::Verify(_)
            | Self::Look => return Err("nothing to do yet".to_owned()),
            fleet => return fleet.fleet_action(form),
        })
    }

    /// The changes of secrets.
    fn secret_action(&self, form: &Form, reason: String) -> Result<Action, String> {
        Ok(match self {
            Self::NewSecret(realm) => Action::CreateSecret(
                realm.clone(),
                SecretCreate {
                    value: None,
                    label: form.value("label").to_owned(),
                    pending: form.value("pending") == "yes",
                    reason,
                },
            ),
            Self::PatchSecret(realm, id, state) => {
                let refuse = form.value("now") == "yes";
                let patch = SecretPatch {
                    state: Some(if refuse { SecretState::Retired } else { *state }),
                    label: None,
                    reason,
                };
                Action::PatchSecret(realm.clone(), id.clone(), patch)
            }
            Self::DeleteSecret(realm, id) => {
                Action::DeleteSecret(realm.clone(), id.clone(), reason)
            }
            _ => return Err("nothing to do yet".to_owned()),
        })
    }

    /// The changes of the fleet as a whole.
    fn fleet_action(&self, form: &Form) -> Result<Action, String> {
        Ok(match self {
            Self::NewBan => {
                let reason = form.value("reason").to_owned();
                Action::CreateBan(Box::new(new_ban(form, reason)?))
            }
            Self::ConfirmBan(create) => Action::CreateBan(create.clone()),
            Self::DeleteBan(id) => Action::DeleteBan(id.clone(), form.value("reason").to_owned()),
            Self::ConfigForm(edit) => {
                let (scope, revision) = edit.scope(form);
                Action::PatchConfig(scope, revision, Box::new(edit.patch(form, true)?))
            }
            Self::ConfigApply(edit, form) => {
                let (scope, revision) = edit.scope(form);
                Action::PatchConfig(scope, revision, Box::new(edit.patch(form, false)?))
            }
            Self::EditRule(edit) => {
                let name = edit.rule.name.clone();
                Action::PatchRule(name, edit.revision, Box::new(edit.patch(form)?))
            }
            Self::Drain(node) => Action::Drain(
                node.clone(),
                DrainRequest {
                    deadline_secs: deadline_secs(form)?,
                    refuse_refresh: form.value("refuse_refresh") == "yes",
                    reason: form.value("reason").to_owned(),
                },
            ),
            Self::Upgrade(node) => Action::Upgrade(
                node.clone(),
                UpgradeRequest {
                    reason: form.value("reason").to_owned(),
                },
            ),
            Self::Undrain(node) => Action::Undrain(node.clone(), form.value("reason").to_owned()),
            Self::NewRedirect => Action::CreateRedirect(Box::new(redirect(form)?)),
            Self::RemoveRedirect(id) => {
                Action::DeleteRedirect(id.clone(), form.value("reason").to_owned())
            }
            _ => return Err("nothing to do".to_owned()),
        })
    }
}

/// A network that is named; nothing is done to it yet.
fn new_ban(form: &Form, reason: String) -> Result<BanCreate, String> {
    let net = form.value("net").parse();
    let time = parse_duration(form.value("for"));
    Ok(BanCreate {
        kind: match form.value("of") {
            "client" => BanKind::Client,
            "peer" => BanKind::Peer,
            _ => return Err("of: client or peer".to_owned()),
        },
        net: net.map_err(|_| "net: a network, as in 203.0.113.0/24")?,
        secs: time.ok_or("for: a duration, as in 10m or 7d")?.as_secs(),
        dry_run: true,
        expected: None,
        reason,
    })
}

fn oauth_key(form: &Form, reason: String) -> Result<(String, OauthKeyPut), String> {
    let kid = form.value("kid");
    if kid.is_empty() {
        return Err("kid: the name that clients send as USERNAME".to_owned());
    }
    let realm = match form.value("realm") {
        "" => None,
        name => Some(name.parse().map_err(|e| format!("realm: {e}"))?),
    };
    let ttl_secs = match form.value("ttl") {
        "" => None,
        text => {
            let ttl =
                parse_duration(text).ok_or("good for: a duration, as in 90d; empty: for ever")?;
            Some(ttl.as_secs())
        }
    };
    let algorithm = form.value("algorithm");
    let put = OauthKeyPut {
        key: Some(form.raw("key").trim().to_owned()).filter(|key| !key.is_empty()),
        algorithm: algorithm.parse().map_err(|e| format!("algorithm: {e}"))?,
        realm,
        ttl_secs,
        reason,
    };
    Ok((kid.to_owned(), put))
}

fn kill_many(ids: &[SessionId], form: &Form, reason: String) -> Result<SessionsKill, String> {
    Ok(SessionsKill {
        ids: ids.to_vec(),
        expected: ids.len() as u64,
        rate: small(form.value("rate"))
            .filter(|rate| (1..=10_000).contains(rate))
            .ok_or("rate: kills per second and node, 1 to 10,000")?,
        reason,
        block_secs: block_secs(form)?,
        ..SessionsKill::default()
    })
}

fn user_patch(before: &UserView, form: &Form, reason: String) -> Result<UserPatch, String> {
    let limit = optional(form, "max_sessions", small)?;
    let rate = optional(form, "max_rate_bps", parse_number)?;
    let (disabled, note) = (form.value("disabled") == "yes", form.value("note"));
    Ok(UserPatch {
        disabled: (disabled != before.disabled).then_some(disabled),
        max_sessions: (limit != before.max_sessions).then_some(limit.unwrap_or(0)),
        max_rate_bps: (rate != before.max_rate_bps).then_some(rate.unwrap_or(0)),
        note: (note != before.note).then(|| note.to_owned()),
        reason,
    })
}

fn realm_put(draft: &RealmDraft, reason: String) -> RealmPut {
    RealmPut {
        document: draft.document.clone(),
        // A form has asked for it before, an editor cannot.
        reason: if reason.is_empty() {
            draft.reason.clone()
        } else {
            reason
        },
    }
}

fn password(form: &Form, reason: String) -> Result<UserPut, String> {
    let password = form.raw("password");
    if password != form.raw("again") {
        return Err("the two passwords differ".to_owned());
    }
    if !(1..=508).contains(&password.len()) {
        return Err("password: 1 to 508 bytes".to_owned());
    }
    Ok(UserPut {
        password: password.to_owned(),
        reason,
    })
}
