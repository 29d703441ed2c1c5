//! What this node answers about itself: to its own service and to other nodes alike.

use std::sync::Arc;
use std::time::Duration;

use shared::api::{
    ApiError, DrainRequest, ErrorKind, GroupQuery, ItemOutcome, RateLimits, RealmDocument,
    RefusalCount, RefusalView, SessionDetail, SessionView,
};
use shared::{Realm, SessionId, SessionIdPrefix, WorkerId};
use turn_proto::server::{Command, EndCause};

use super::message::{History, Killed, MAX_KILLS, NodeAnswer, NodeQuestion};
use crate::beside::Coturn;
use crate::control::clock::Moment;
use crate::control::directory::Row;
use crate::control::directory::aggregate::Load;
use crate::control::directory::query::QueryError;
use crate::control::drain;
use crate::control::history::{HistoryOf, MAX_REALMS, MAX_USERS as MAX_USER_HISTORIES};
use crate::control::hub::Hub;
use crate::control::mirror;
use crate::control::preview;
use crate::control::redirects;
use crate::control::service::Caller;
use crate::control::service::refusals::own_page;
use crate::control::settings;
use crate::control::upgrade;
use crate::control::waiters::News;

/// How long a worker has to describe a session.
const DESCRIBE_WAIT: Duration = Duration::from_millis(80);
/// How long the rates of permissions are measured over when nobody looked at the session lately.
const MEASURE_OVER: Duration = Duration::from_millis(100);
/// How long a worker has to end a session.
pub(crate) const KILL_WAIT: Duration = Duration::from_secs(2);
/// Users with sessions that one node tells about at most.
pub(crate) const MAX_USERS: usize = 10_000;
/// Users of each secret that one node tells about at most.
const MAX_SECRET_USERS: usize = 1000;
/// Refusal rows that one node tells about at most.
const MAX_REFUSALS: usize = 5000;

/// Refusals in the details of a session.
const MAX_SESSION_REFUSALS: usize = 20;

/// Answers a question about this node. Role and realms are those of the caller, wherever they
/// are: they are enforced here too, where the question arrives.
pub(crate) async fn answer(hub: &Arc<Hub>, caller: &Caller, question: NodeQuestion) -> NodeAnswer {
    if !caller.role.covers(question.needs()) {
        let message = "the role does not reach this far";
        return NodeAnswer::Failed(ApiError::new(ErrorKind::Denied, message));
    }
    let now = Moment::now();
    let realms = &caller.realms;
    match question {
        NodeQuestion::Sessions(mut question) => {
            question.realms.clone_from(realms);
            question.limit = question.limit.min(MAX_USERS);
            match hub.books().page(&question, now) {
                Ok(page) => NodeAnswer::Sessions(page),
                Err(error) => NodeAnswer::Failed(query_error(&error)),
            }
        }
        NodeQuestion::Groups(query) => groups(hub, caller, &query),
        NodeQuestion::Session { prefix, rates } => describe(hub, &prefix, realms, rates).await,
        NodeQuestion::Kill { ids } => kill(hub, &ids, realms).await,
        NodeQuestion::Users { limit } => {
            let (loads, count) = hub.books().user_loads(realms, limit.min(MAX_USERS), now);
            NodeAnswer::Users { loads, count }
        }
        NodeQuestion::Realms => realms_with_load(hub, caller, now),
        NodeQuestion::SecretUse { realm } => secret_use(hub, &realm),
        NodeQuestion::SecretUsage { realm } => secret_users(hub, caller, &realm),
        NodeQuestion::Refusals => NodeAnswer::Refusals(refusals(hub, caller)),
        NodeQuestion::RecentRefusals(query) => own_page(hub, caller, &query)
            .map_or_else(NodeAnswer::Failed, NodeAnswer::RecentRefusals),
        NodeQuestion::Redirects => NodeAnswer::Redirects(redirects::own_health(hub)),
        NodeQuestion::Jobs { id } => {
            let mut jobs = hub.jobs.views(id.as_deref());
            jobs.retain(|job| realms.is_empty() || job.actor == caller.actor);
            NodeAnswer::Jobs(jobs)
        }
        NodeQuestion::Drain(request) => drained(hub, caller, Some(&request)).await,
        NodeQuestion::Undrain => drained(hub, caller, None).await,
        NodeQuestion::Upgrade => upgraded(hub, caller),
        NodeQuestion::Config | NodeQuestion::ConfigPreview { .. } if !realms.is_empty() => {
            let message = "settings concern all realms; the caller is confined to some";
            NodeAnswer::Failed(ApiError::new(ErrorKind::Denied, message))
        }
        NodeQuestion::Config => NodeAnswer::Config(Box::new(settings::view(hub))),
        NodeQuestion::ConfigPreview {
            own,
            settings,
            keys,
        } => match settings::preview(hub, own, &settings, &keys) {
            Ok(changes) => NodeAnswer::ConfigPreview(changes),
            Err(errors) => {
                NodeAnswer::Failed(ApiError::new(ErrorKind::BadRequest, errors.to_string()))
            }
        },
        NodeQuestion::StopJob { id } => {
            let mut jobs = hub.jobs.views(Some(&id));
            jobs.retain(|job| realms.is_empty() || job.actor == caller.actor);
            let stopped = jobs.first().and_then(|job| hub.jobs.stop(&job.id));
            NodeAnswer::Jobs(stopped.into_iter().collect())
        }
        NodeQuestion::Preview { realm, document } => {
            preview_of(hub, caller, &realm, &document).await
        }
        NodeQuestion::History(of) => NodeAnswer::History(Box::new(history(hub, caller, of, now))),
    }
}

/// Begins or changes the drain of this node, or ends it.
async fn drained(hub: &Hub, caller: &Caller, request: Option<&DrainRequest>) -> NodeAnswer {
    if !caller.realms.is_empty() {
        let message = "a drain concerns all realms; the caller is confined to some";
        return NodeAnswer::Failed(ApiError::new(ErrorKind::Denied, message));
    }
    if let Some(coturn) = hub.workers.coturn()
        && let Err(why) = drain_coturn(coturn, request).await
    {
        return NodeAnswer::Failed(ApiError::new(ErrorKind::Conflict, why));
    }
    let drain = match request {
        Some(request) => Some(drain::begin(hub, &caller.actor, request).await),
        None => drain::end(hub, &caller.actor).await,
    };
    NodeAnswer::Drain(drain.map(Box::new))
}

/// Has coturn drain; why not, with the remedy.
async fn drain_coturn(coturn: &Coturn, request: Option<&DrainRequest>) -> Result<(), String> {
    let can = |action: &str| match coturn.view().refusal(action) {
        Some(why) => Err(why.to_owned()),
        None => Ok(()),
    };
    let Some(request) = request else {
        return can("node.undrain");
    };
    can("node.drain")?;
    if request.refuse_refresh {
        let why =
            "coturn refuses no refresh: drain it with a deadline, at which what is left is ended";
        return Err(why.to_owned());
    }
    coturn.drain().await
}

/// Starts the process that takes over from this one.
fn upgraded(hub: &Arc<Hub>, caller: &Caller) -> NodeAnswer {
    if !caller.realms.is_empty() {
        let message = "an upgrade concerns all realms; the caller is confined to some";
        return NodeAnswer::Failed(ApiError::new(ErrorKind::Denied, message));
    }
    upgrade::begin(hub).map_or_else(NodeAnswer::Failed, NodeAnswer::Upgrade)
}

async fn preview_of(
    hub: &Hub,
    caller: &Caller,
    realm: &Realm,
    document: &RealmDocument,
) -> NodeAnswer {
    if !caller.sees(realm) {
        let message = "the realm is outside the caller's scope";
        return NodeAnswer::Failed(ApiError::new(ErrorKind::Denied, message));
    }
    NodeAnswer::Preview(Box::new(preview::effect(hub, realm, document).await))
}

/// Figures over time; none of realms that the caller does not see.
fn history(hub: &Hub, caller: &Caller, of: HistoryOf, now: Moment) -> History {
    let missing = |sessions: u64, what: &str, room: usize| match sessions {
        0 => History::None,
        _ => History::Left(format!("not among its {room} {what} with most traffic")),
    };
    match of {
        HistoryOf::Node => History::Kept(hub.history.node(&caller.realms, now)),
        HistoryOf::Realm(realm) if caller.sees(&realm) => {
            let kept = hub.history.realm(&realm, now);
            let sessions = || hub.quota.realm_sessions(&realm).into();
            kept.map_or_else(|| missing(sessions(), "realms", MAX_REALMS), History::Kept)
        }
        HistoryOf::User(realm, user) if caller.sees(&realm) => {
            let kept = hub.history.user(&realm, &user, now);
            let sessions = || hub.quota.user_sessions(&realm, &user).into();
            kept.map_or_else(
                || missing(sessions(), "users", MAX_USER_HISTORIES),
                History::Kept,
            )
        }
        HistoryOf::Session(id) => {
            let load = {
                let books = hub.books();
                let row = books.row(id, now);
                let seen = row.filter(|row| caller.sees(row.realm()));
                seen.map(|row| Load::of(&row))
            };
            load.map_or(History::None, |load| {
                History::Kept(hub.history.session(id, load, now))
            })
        }
        HistoryOf::Realm(_) | HistoryOf::User(..) => History::None,
    }
}

fn realms_with_load(hub: &Hub, caller: &Caller, now: Moment) -> NodeAnswer {
    let mut loads = hub.books().realm_loads(now);
    loads.retain(|load| caller.sees(&load.realm));
    NodeAnswer::Realms(loads)
}

fn secret_use(hub: &Hub, realm: &Realm) -> NodeAnswer {
    let used = hub.books().secret_use(realm).into_iter();
    let live = used.filter(|(_, used)| used.sessions > 0);
    NodeAnswer::SecretUse(live.map(|(id, used)| (id, used.sessions)).collect())
}

fn secret_users(hub: &Hub, caller: &Caller, realm: &Realm) -> NodeAnswer {
    if !caller.sees(realm) {
        return NodeAnswer::SecretUsage(Vec::new());
    }
    NodeAnswer::SecretUsage(hub.books().secret_users(realm, MAX_SECRET_USERS))
}

fn groups(hub: &Hub, caller: &Caller, query: &GroupQuery) -> NodeAnswer {
    let seen = |row: &&RefusalView| {
        caller.realms.is_empty() || row.realm.as_ref().is_some_and(|realm| caller.sees(realm))
    };
    let refused: Vec<_> = hub.refusals().rows().filter(seen).cloned().collect();
    let groups = hub
        .books()
        .groups(query, &caller.realms, &refused, Moment::now());
    match groups {
        Ok(groups) => NodeAnswer::Groups(groups),
        Err(error) => NodeAnswer::Failed(query_error(&error)),
    }
}

/// The error that a query answers with.
#[must_use]
pub(crate) fn query_error(error: &QueryError) -> ApiError {
    let kind = match error {
        QueryError::Invalid(_) => ErrorKind::BadRequest,
        QueryError::RankingGone => ErrorKind::CursorExpired,
    };
    ApiError::new(kind, error.to_string())
}

fn in_scope(realms: &[Realm], realm: &Realm) -> bool {
    realms.is_empty() || realms.contains(realm)
}

async fn describe(hub: &Hub, prefix: &str, realms: &[Realm], rates: bool) -> NodeAnswer {
    let Ok(prefix) = prefix.parse::<SessionIdPrefix>() else {
        let message = "a session is named by 6 to 16 hex digits";
        return NodeAnswer::Failed(ApiError::new(ErrorKind::BadRequest, message));
    };
    let found = {
        let books = hub.books();
        let (ids, count) = books.by_prefix(prefix);
        let row = ids.first().and_then(|id| books.row(*id, Moment::now()));
        row.filter(|row| in_scope(realms, row.realm())).map(|row| {
            // What others have of the user's limit is asked while the worker describes.
            hub.quota.note(row.realm(), row.user());
            (row.id(), row.worker(), count)
        })
    };
    let Some((id, worker, matches)) = found else {
        return NodeAnswer::Session {
            detail: None,
            matches: 0,
        };
    };
    if matches > 1 {
        return NodeAnswer::Session {
            detail: None,
            matches,
        };
    }
    // What is known is good enough when the worker is slow.
    let fresh = ask_worker(hub, worker, id).await;
    if rates && fresh && !measure(hub, id) {
        tokio::time::sleep(MEASURE_OVER).await;
        if ask_worker(hub, worker, id).await {
            measure(hub, id);
        }
    }
    let detail = detail(hub, id).map(Box::new);
    NodeAnswer::Session {
        matches: u64::from(detail.is_some()),
        detail,
    }
}

/// Has a worker describe a session; `false` when it takes too long.
async fn ask_worker(hub: &Hub, worker: WorkerId, id: SessionId) -> bool {
    let described = hub.waiters.wait(id, News::Described);
    if !hub.workers.send(worker, Command::Describe { session: id }) {
        return false;
    }
    let described = tokio::time::timeout(DESCRIBE_WAIT, described).await;
    matches!(described, Ok(Ok(())))
}

/// Measures the rates of permissions between this description and the one before; `false` when
/// there was none lately, so that another has to follow.
fn measure(hub: &Hub, id: SessionId) -> bool {
    let now = Moment::now();
    let said = {
        let books = hub.books();
        let row = books.row(id, now);
        row.map(|row| row.kept().permissions.clone())
    };
    let Some(said) = said else {
        return true;
    };
    hub.history.measure(id, &said, now.mono);
    said.is_empty() || hub.history.rates(id, &mut [], now.mono).is_some()
}

fn detail(hub: &Hub, id: SessionId) -> Option<SessionDetail> {
    let now = Moment::now();
    let books = hub.books();
    let row = books.row(id, now)?;
    let kept = row.kept();
    let counters = kept.tally.counters();
    let drops = [
        ("no_permission", counters.drop_no_permission),
        ("unknown_peer", counters.drop_unknown_peer),
        ("denied_peer", counters.drop_denied_peer),
        ("over_rate", counters.drop_over_rate),
        ("too_many_connections", counters.drop_connections),
        ("slow_client", counters.drop_slow_client),
        ("over_user_rate", counters.drop_over_user_rate),
        ("over_realm_rate", counters.drop_over_realm_rate),
        ("over_node_rate", counters.drop_over_node_rate),
    ];
    let view = SessionView {
        peers: row.all_peers(),
        ..row.view()
    };
    let user_limit = limit_of(hub, &view.realm, &view.user);
    let mut permissions = row.permissions();
    let over = hub.history.rates(id, &mut permissions, now.mono);
    Some(SessionDetail {
        schema: "session/1".to_owned(),
        as_of_ms: now.unix_ms,
        lifetime_secs: kept.lifetime_secs.into(),
        credential_expires_at_ms: kept.credential_expiry().map(|end| end.saturating_mul(1000)),
        permissions,
        permission_rates_ms: over.map(|over| over.as_millis() as u64),
        channels: row.channels(),
        peer_connections: row.peer_connections(),
        drops_by_reason: drops
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count))
            .collect(),
        refusals: hub.refusals().of_session(id, MAX_SESSION_REFUSALS),
        user_sessions: hub.quota.user_sessions_everywhere(&view.realm, &view.user),
        user_limit,
        rate_limits: rate_limits(hub, &row),
        refused_new_peers: counters.refused_new_peers,
        session: view,
    })
}

/// What limits the rate of a session on this node.
fn rate_limits(hub: &Hub, row: &Row<'_>) -> RateLimits {
    let policy = hub.keeper.current();
    let realm = policy.realms.get(row.realm());
    RateLimits {
        session_bps: row.kept().max_rate_bps(),
        user_bps: row.kept().max_user_rate_bps(),
        realm_bps: realm.and_then(|realm| realm.max_realm_rate_bps),
        node_bps: policy.settings.max_rate_bps,
    }
}

/// The session limit of a user by the realm; the empty user has none.
fn limit_of(hub: &Hub, realm: &Realm, user: &str) -> Option<u32> {
    let policy = hub.keeper.current();
    let realm = policy.realms.get(realm).filter(|_| !user.is_empty())?;
    realm.max_sessions_per_user
}

async fn kill(hub: &Hub, ids: &[SessionId], realms: &[Realm]) -> NodeAnswer {
    let waiting: Vec<_> = ids
        .iter()
        .take(MAX_KILLS)
        .map(|id| start_kill(hub, *id, realms))
        .collect();
    let end = tokio::time::Instant::now() + KILL_WAIT;
    let mut killed = Vec::with_capacity(waiting.len());
    for (mut one, ended) in waiting {
        if let Some(ended) = ended {
            let confirmed = tokio::time::timeout_at(end, ended).await;
            if matches!(confirmed, Ok(Ok(()))) {
                one.outcome = ItemOutcome::Killed;
            }
        }
        killed.push(one);
    }
    let ended = killed
        .iter()
        .filter(|one| one.outcome == ItemOutcome::Killed);
    let ended: Vec<_> = ended.map(|one| one.id).collect();
    // In one go, and before the answer: none of them comes back if this process dies now.
    mirror::forget_now(hub, &ended).await;
    NodeAnswer::Killed(killed)
}

type Ended = tokio::sync::oneshot::Receiver<()>;

/// Sends the command; the outcome is set for those that need no waiting.
fn start_kill(hub: &Hub, id: SessionId, realms: &[Realm]) -> (Killed, Option<Ended>) {
    let found = hub.books().row(id, Moment::now()).map(|row| {
        let user = row.user().as_ref().to_owned();
        (row.worker(), user, row.realm().clone())
    });
    let found = found.filter(|(_, _, realm)| in_scope(realms, realm));
    let Some((worker, user, realm)) = found else {
        let outcome = ItemOutcome::NotFound;
        return (
            Killed {
                id,
                user: String::new(),
                realm: None,
                outcome,
            },
            None,
        );
    };
    let ended = hub.waiters.wait(id, News::Ended);
    let sent = hub.workers.send(
        worker,
        Command::Kill {
            session: id,
            cause: EndCause::Killed,
        },
    );
    let outcome = ItemOutcome::Unconfirmed;
    (
        Killed {
            id,
            user,
            realm: Some(realm),
            outcome,
        },
        sent.then_some(ended),
    )
}

fn refusals(hub: &Hub, caller: &Caller) -> Vec<RefusalCount> {
    let counts = hub
        .books()
        .refusals()
        .into_iter()
        .filter(|((realm, ..), _)| {
            caller.realms.is_empty() || realm.as_ref().is_some_and(|realm| caller.sees(realm))
        });
    let mut rows: Vec<_> = counts
        .map(|((realm, reason, code), count)| RefusalCount {
            node: hub.node.clone(),
            realm,
            reason: reason.as_str().to_owned(),
            code,
            count,
        })
        .collect();
    let malformed = hub.books().server_counters().malformed.total();
    if malformed > 0 && caller.realms.is_empty() {
        rows.push(RefusalCount {
            node: hub.node.clone(),
            realm: None,
            reason: "malformed".to_owned(),
            code: None,
            count: malformed,
        });
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    rows.truncate(MAX_REFUSALS);
    rows
}
