//! Effects that talk to the node: each runs as a task of its own and posts one message.

use std::sync::Arc;

use futures_util::StreamExt;
use shared::Realm;
use shared::api::{
    ApiError, ErrorKind, ListQuery, NodeRole, NodeState, NodeView, RealmDiffQuery, RealmPut,
    SessionView,
};
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use super::message::{
    Action, Answer, Failure, JsonOf, Kind, Message, NodeChoice, Outcome, Question, UndoSeen,
};
use crate::client::{AdminApi, ClientError, ClientResult};

/// Rows asked for at once when a set is frozen.
const FREEZE_PAGE: u32 = ListQuery::MAX_LIMIT;
/// Sessions that a frozen set can hold.
const FREEZE_MAX: usize = super::update::BULK_MAX;
/// Ids in one filter: as many as fit its length.
const MARKED_PAGE: usize = 200;
/// Newest events asked for.
const EVENTS_LIMIT: u32 = 200;

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Api(error) => Self::Refused(error),
            // There is somebody, but not one we understand: trying again faster would not help.
            ClientError::Protocol(_) => {
                Self::Refused(ApiError::new(ErrorKind::Internal, error.to_string()))
            }
            other => Self::Unreachable(other.to_string()),
        }
    }
}

/// Asks, and posts the answer unless the console has left meanwhile.
pub(crate) async fn ask(api: Arc<dyn AdminApi>, question: Question, to: Sender<Message>) {
    let result = answer(api.as_ref(), &question).await.map_err(Failure::from);
    // A closed channel means that the console has left.
    let _ = to.send(Message::Answered { question, result }).await;
}

/// The answer to a question.
pub(crate) async fn answer(api: &dyn AdminApi, question: &Question) -> ClientResult<Answer> {
    Ok(match question {
        Question::WhoAmI => Answer::WhoAmI(api.whoami().await?),
        Question::Overview => Answer::Overview(Box::new(api.overview().await?)),
        Question::List { kind, query, .. } => match kind {
            Kind::Nodes => Answer::Nodes(api.nodes(query).await?),
            Kind::Sessions => Answer::Sessions(api.sessions(query).await?),
            Kind::Users => Answer::Users(api.users(query).await?),
            Kind::Realms => Answer::Realms(api.realms(query).await?),
            Kind::Audit => Answer::Audit(api.audit(query).await?),
            Kind::Refusals => Answer::Refusals(api.recent_refusals(query).await?),
            Kind::RefusalCounts => Answer::RefusalCounts(api.refusals(query).await?),
            Kind::Alerts => Answer::Alerts(api.alerts(query).await?),
            Kind::Redirects => Answer::Redirects(api.redirects(query).await?),
        },
        Question::Cluster(query) => Answer::Nodes(api.nodes(query).await?),
        Question::TopRealms(query) => Answer::Realms(api.realms(query).await?),
        Question::Session(id) | Question::KillTarget(id) => {
            Answer::Session(Box::new(api.session(id).await?))
        }
        Question::Targets(filter) => freeze(api, filter).await?,
        Question::Marked(marked) => marked_now(api, marked).await?,
        Question::VerifyNodes(choice, _) => nodes_to_verify(api, choice).await?,
        Question::Realm(name) | Question::OneRealm(name) => {
            Answer::Realm(Box::new(api.realm(name).await?))
        }
        Question::Events(after) => {
            Answer::Events(api.events(after.as_deref(), EVENTS_LIMIT).await?)
        }
        Question::Job(id) => Answer::Job(api.job(id).await?),
        Question::Config(node) => Answer::Config(Box::new(api.config(node).await?)),
        Question::Groups(query) => Answer::Groups(api.groups(query).await?),
        Question::Json(of) => Answer::Json(json(api, of).await?),
        Question::History(of) => Answer::History(Box::new(api.history(of).await?)),
        Question::TopAlerts(query) => Answer::Alerts(api.alerts(query).await?),
        Question::PanelConfig(node) => Answer::Config(Box::new(api.config(node).await?)),
        Question::EditSetting(node, _) => Answer::Config(Box::new(api.config(node).await?)),
        Question::Overrides(scope) => {
            Answer::Overrides(Box::new(api.config_overrides(scope).await?))
        }
        Question::Diff(left, right) => {
            let (left, right) = tokio::try_join!(api.config(left), api.config(right))?;
            Answer::Diff(Box::new(left), Box::new(right))
        }
        Question::AlertRules => Answer::AlertRules(api.alert_rules().await?),
        Question::Secrets(realm) | Question::RotateSecrets(realm) => {
            Answer::Secrets(api.secrets(realm).await?)
        }
        Question::Bans => Answer::Bans(api.bans().await?),
        Question::OauthKeys => Answer::OauthKeys(api.oauth_keys().await?),
        Question::Preview(realm, put) => {
            Answer::Preview(Box::new(api.preview_realm(realm, put).await?))
        }
        Question::Revisions(realm) => revisions(api, realm).await?,
        Question::Undo(realm, to) => undo(api, realm, *to).await?,
        Question::TopUsers(_, query) => Answer::Groups(api.groups(query).await?),
    })
}

/// Collects the nodes of a self-test. A node that is named is checked whatever its state.
async fn nodes_to_verify(api: &dyn AdminApi, choice: &NodeChoice) -> ClientResult<Answer> {
    let filter = match choice {
        NodeChoice::Named(names) => {
            let mut nodes = Vec::new();
            for name in names {
                nodes.push(api.node(name).await?);
            }
            return Ok(Answer::VerifyNodes(nodes, Vec::new()));
        }
        NodeChoice::Matching(filter) => filter,
    };
    let mut query = ListQuery {
        filter: (!filter.is_empty()).then(|| filter.clone()),
        sort: Some("node:asc".to_owned()),
        limit: Some(FREEZE_PAGE),
        ..ListQuery::default()
    };
    let mut relays: Vec<NodeView> = Vec::new();
    loop {
        let page = api.nodes(&query).await?;
        let relay = |node: &NodeView| node.roles.contains(&NodeRole::Relay);
        relays.extend(page.items.into_iter().filter(relay));
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    let ready = |node: &NodeView| node.state == NodeState::Ready;
    let (ready, rest) = relays.into_iter().partition(ready);
    Ok(Answer::VerifyNodes(ready, rest))
}

/// Revisions whose changes are told with their values.
const DIFFS: usize = 20;

/// The revisions of a realm, and what the latest of them changed.
async fn revisions(api: &dyn AdminApi, name: &Realm) -> ClientResult<Answer> {
    let revisions = api.realm_revisions(name).await?.items;
    let mut diffs = Vec::new();
    for revision in revisions.iter().take(DIFFS) {
        let query = RealmDiffQuery {
            from: None,
            to: Some(revision.revision),
        };
        diffs.push(api.realm_diff(name, &query).await?);
    }
    Ok(Answer::Revisions(revisions, diffs))
}

/// What it would mean to go back to a revision of a realm.
async fn undo(api: &dyn AdminApi, name: &Realm, to: Option<u64>) -> ClientResult<Answer> {
    let now = match api.realm(name).await {
        Ok(view) => Some(view),
        Err(ClientError::Api(error)) if error.error == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let revisions = api.realm_revisions(name).await?.items;
    let nothing = || ApiError::new(ErrorKind::NotFound, "there is no earlier revision");
    let at = match to {
        Some(to) => revisions.iter().position(|one| one.revision == to),
        None => Some(1).filter(|at| *at < revisions.len()),
    };
    let at = at.ok_or_else(nothing)?;
    let earlier = revisions[at + 1..].iter().find(|one| !one.deleted);
    let back = api.realm_revision(name, revisions[at].revision).await?;
    let put = RealmPut {
        document: back.document.clone().unwrap_or_default(),
        reason: String::new(),
    };
    Ok(Answer::Undo(Box::new(UndoSeen {
        now,
        earlier: earlier.map(|one| one.revision),
        preview: api.preview_realm(name, &put).await?,
        back,
        latest: revisions.into_iter().next(),
    })))
}

/// Looks the marked sessions up. One whose node does not answer is not held to be gone.
async fn marked_now(api: &dyn AdminApi, marked: &[SessionView]) -> ClientResult<Answer> {
    let mut found = Vec::new();
    let mut gone = Vec::new();
    for part in marked.chunks(MARKED_PAGE) {
        let ids: Vec<String> = part.iter().map(|s| s.id.to_string()).collect();
        let query = ListQuery {
            filter: Some(format!("id={}", ids.join("|"))),
            limit: Some(FREEZE_PAGE),
            ..ListQuery::default()
        };
        let page = api.sessions(&query).await?;
        for session in part {
            if let Some(now) = page.items.iter().find(|now| now.id == session.id) {
                found.push(now.clone());
            } else if page.missing.iter().any(|m| m.node == session.node) {
                found.push(session.clone());
            } else {
                gone.push(session.clone());
            }
        }
    }
    Ok(Answer::Marked(found, gone))
}

/// A thing as the API tells it.
async fn json(api: &dyn AdminApi, of: &JsonOf) -> ClientResult<String> {
    fn text<T: serde::Serialize>(value: &T) -> ClientResult<String> {
        serde_json::to_string_pretty(value).map_err(|e| ClientError::Protocol(e.to_string()))
    }
    match of {
        JsonOf::Session(id) => text(&api.session(&id.to_string()).await?),
        JsonOf::Node(id) => text(&api.node(id).await?),
        JsonOf::User(realm, name) => text(&api.user(realm, name).await?),
        JsonOf::Realm(name) => text(&api.realm(name).await?),
    }
}

/// Collects everything that matches a filter. More than can be killed at once is not collected:
/// the count alone says so.
async fn freeze(api: &dyn AdminApi, filter: &str) -> ClientResult<Answer> {
    let mut sessions: Vec<SessionView> = Vec::new();
    let mut query = ListQuery {
        filter: (!filter.is_empty()).then(|| filter.to_owned()),
        limit: Some(FREEZE_PAGE),
        ..ListQuery::default()
    };
    loop {
        let page = api.sessions(&query).await?;
        let matched = page.matched;
        sessions.extend(page.items);
        if page.next.is_none() || sessions.len() >= FREEZE_MAX || matched > FREEZE_MAX as u64 {
            return Ok(Answer::Targets(sessions, matched));
        }
        query.cursor = page.next;
    }
}

/// Changes something, and posts what came of it.
pub(crate) async fn act(api: Arc<dyn AdminApi>, action: Box<Action>, to: Sender<Message>) {
    let result = outcome(api.as_ref(), &action).await.map_err(Failure::from);
    let _ = to.send(Message::Acted { action, result }).await;
}

async fn outcome(api: &dyn AdminApi, action: &Action) -> ClientResult<Outcome> {
    Ok(match action {
        Action::Kill(id, request) => {
            Outcome::Killed(api.kill_session(&id.to_string(), request).await?)
        }
        Action::KillMany(request) => Outcome::Job(api.start_kill_job(request).await?),
        Action::StopJob(id) => Outcome::Job(api.stop_job(id).await?),
        Action::Block(..)
        | Action::Unblock(..)
        | Action::PutUser(..)
        | Action::PatchUser(..)
        | Action::DeleteUser(..) => {
            change_user(api, action).await?;
            Outcome::Done
        }
        Action::PatchConfig(scope, revision, patch) => {
            Outcome::Config(Box::new(api.patch_config(scope, *revision, patch).await?))
        }
        Action::PatchRule(name, revision, patch) => {
            Outcome::Rules(api.patch_alert_rule(name, *revision, patch).await?)
        }
        Action::Drain(node, request) => {
            api.drain_node(node, request).await?;
            Outcome::Done
        }
        Action::Undrain(node, reason) => {
            api.undrain_node(node, reason).await?;
            Outcome::Done
        }
        Action::Upgrade(node, request) => {
            api.upgrade_node(node, request).await?;
            Outcome::Done
        }
        Action::CreateRedirect(create) => {
            api.create_redirect(create).await?;
            Outcome::Done
        }
        Action::DeleteRedirect(id, reason) => {
            api.delete_redirect(id, reason).await?;
            Outcome::Done
        }
        Action::CreateSecret(realm, create) => {
            Outcome::Secret(api.create_secret(realm, create).await?)
        }
        Action::PatchSecret(realm, id, patch) => {
            api.patch_secret(realm, id, patch).await?;
            Outcome::Done
        }
        Action::DeleteSecret(realm, id, reason) => {
            api.delete_secret(realm, id, reason).await?;
            Outcome::Done
        }
        Action::CreateBan(create) => Outcome::Ban(Box::new(api.create_ban(create).await?)),
        Action::DeleteBan(id, reason) => {
            api.delete_ban(id, reason).await?;
            Outcome::Done
        }
        Action::PutOauthKey(kid, put) => Outcome::OauthKey(api.put_oauth_key(kid, put).await?),
        Action::DeleteOauthKey(kid, reason) => {
            api.delete_oauth_key(kid, reason).await?;
            Outcome::Done
        }
        Action::UndoRealm(realm, revision, undo) => {
            Outcome::Realm(Box::new(api.undo_realm(realm, *revision, undo).await?))
        }
        Action::PutRealm(realm, revision, put) => {
            Outcome::Realm(Box::new(api.put_realm(realm, *revision, put).await?))
        }
    })
}

/// Changes a user, or what users may do; anything else is none of its business.
async fn change_user(api: &dyn AdminApi, action: &Action) -> ClientResult<()> {
    match action {
        Action::Block(realm, user, request) => api.put_block(realm, user, request).await.map(drop),
        Action::Unblock(realm, user, reason) => api.delete_block(realm, user, reason).await,
        Action::PutUser(realm, user, put) => api.put_user(realm, user, put).await.map(drop),
        Action::PatchUser(realm, user, patch) => api.patch_user(realm, user, patch).await.map(drop),
        Action::DeleteUser(realm, user, reason) => api.delete_user(realm, user, reason).await,
        _ => Ok(()),
    }
}

/// Follows events until their stream ends or the console leaves.
pub(crate) async fn follow(
    api: Arc<dyn AdminApi>,
    after: Option<String>,
    to: Sender<Message>,
    left: CancellationToken,
) {
    let following = async {
        if let Ok(mut stream) = api.follow_events(after.as_deref()).await {
            while let Some(Ok(event)) = stream.next().await {
                if to.send(Message::Event(Box::new(event))).await.is_err() {
                    return;
                }
            }
        }
        let _ = to.send(Message::StreamEnded).await;
    };
    tokio::select! {
        () = following => {}
        () = left.cancelled() => {}
    }
}
