//! What a dialog is for, and the change that its fields amount to.

use std::path::PathBuf;

use shared::api::{
    BanCreate, BanKind, BlockRequest, DrainRequest, KillRequest, MAX_DRAIN_SECS, NodeView,
    OauthKeyPut, RealmDocument, RealmPut, RealmUndo, RealmView, SecretCreate, SecretPatch,
    SecretState, SecretView, SessionsKill, UpgradeRequest, UserPatch, UserPut, UserView,
};
use shared::units::{parse_duration, parse_number};
use shared::{NodeId, Realm, Secret, SessionId, Username};

use super::fleet_forms::{RuleEdit, SettingEdit, redirect};
use super::message::Action;
use super::realm_fields::{optional, small};
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
    /// Bring an earlier document back.
    RealmUndo(Box<UndoBase>),
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

/// A realm, and where it goes back to.
#[derive(Clone)]
pub(crate) struct UndoBase {
    /// The realm.
    pub(crate) name: Realm,
    /// Its revision; 0: deleted.
    pub(crate) expected: u64,
    /// The revision whose document comes back.
    pub(crate) revision: u64,
    /// The one before that.
    pub(crate) earlier: Option<u64>,
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
            Self::RealmUndo(base) => {
                let revision = Some(base.revision);
                let undo = RealmUndo { revision, reason };
                Action::UndoRealm(base.name.clone(), base.expected, undo)
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
