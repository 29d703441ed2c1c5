//! Takes the news of the workers into the books.

use std::sync::Arc;
use std::time::Duration;

use shared::api::{EventKind, EventView, Severity};
use shared::{Realm, Username, WorkerId, display_safe};
use turn_proto::server::{Command, Event, RefusalReason, Refused, SessionSnapshot, UsageReport};

use super::clock::Moment;
use super::directory::{Directory, Ended, Row};
use super::hub::Hub;
use super::waiters::News;
use super::{credentials, quota, restore, userhash};
use crate::worker::{News as WorkersNews, WorkerNews};

/// News taken at once before the books are let go.
const BATCH: usize = 256;
/// How long news are left to gather after some were taken: to be woken for each one would cost more
/// than all that is done with it, here and in the worker. A request that waits for a key waits that
/// much longer at most.
const GATHER: Duration = Duration::from_millis(2);
/// Refusals of one report that become events; all of them are in the list of refusals.
const MAX_REFUSAL_EVENTS: usize = 10;
/// How long to wait before a snapshot is asked for again.
const SNAPSHOT_RETRY: Duration = Duration::from_millis(500);

/// Runs until the workers are gone, or the node stops and their news are taken in. Answers where more
/// news would come.
pub(super) async fn run(hub: Arc<Hub>, mut news: WorkersNews) -> WorkersNews {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            biased;
            count = news.recv_many(&mut batch, BATCH) => {
                if count == 0 {
                    return news;
                }
                let now = Moment::now();
                for (worker, one) in batch.drain(..) {
                    take(&hub, worker, one, now);
                }
                if !hub.dirty().is_clean() {
                    hub.changed.notify_one();
                }
                if count == BATCH {
                    continue;
                }
            }
            () = hub.cancel.cancelled() => return news,
        }
        tokio::select! {
            () = tokio::time::sleep(GATHER) => {}
            () = hub.cancel.cancelled() => {}
        }
    }
}

fn take(hub: &Arc<Hub>, worker: WorkerId, news: WorkerNews, now: Moment) {
    match news {
        WorkerNews::Event(event) => apply(hub, worker, event, now),
        WorkerNews::Lookup { realm, username } => {
            credentials::look_up(hub, worker, realm, username);
        }
        WorkerNews::Claim(claim) => quota::claim(hub, worker, claim),
        WorkerNews::LookupHash { realm, hash } => userhash::look_up(hub, worker, realm, hash),
        WorkerNews::Restored { sessions, refused } => {
            restore::told(hub, worker, sessions, refused, now);
        }
        WorkerNews::Measured { sessions, server } => {
            hub.books().measured(worker, sessions, *server, now);
        }
        WorkerNews::Overflowed => ask_for_snapshot(hub, worker),
    }
}

/// The books missed something: asks until the worker's queue takes the question.
fn ask_for_snapshot(hub: &Arc<Hub>, worker: WorkerId) {
    if hub.workers.send(worker, Command::Snapshot) {
        return;
    }
    let hub = Arc::clone(hub);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = hub.cancel.cancelled() => return,
                () = tokio::time::sleep(SNAPSHOT_RETRY) => {}
            }
            if hub.workers.send(worker, Command::Snapshot) {
                return;
            }
        }
    });
}

/// Takes one event into the books.
pub(super) fn apply(hub: &Hub, worker: WorkerId, event: Event, now: Moment) {
    match event {
        Event::SessionCreated(snapshot) => {
            let id = snapshot.id;
            let mut books = hub.books();
            if let Some(coturn) = hub.workers.coturn() {
                books.set_software(&coturn.software());
            }
            let is_new = take_in(hub, &mut books, *snapshot, now);
            let is_told = hub.recorder.admits(EventKind::SessionCreated, now);
            let row = is_told.then(|| books.row(id, now)).flatten();
            let event = row.map(|row| created(hub, &row));
            drop(books);
            if is_new {
                hub.dirty().created(id);
                if hub.workers.coturn().is_some() {
                    // coturn knows no bans.
                    hub.bans.look_again();
                }
            } else {
                hub.dirty().changed(id);
            }
            if let Some(event) = event {
                hub.recorder.event(event);
            }
        }
        Event::SessionChanged(snapshot) => {
            let id = snapshot.id;
            take_in(hub, &mut hub.books(), *snapshot, now);
            hub.dirty().changed(id);
            hub.waiters.tell(id, News::Described);
        }
        Event::SessionEnded {
            session,
            cause,
            counters,
        } => {
            let known = hub.books().remove(session, &counters, now);
            hub.dirty().ended(session);
            hub.waiters.tell(session, News::Ended);
            if let Some(session) = known {
                hub.drain.observe(&session, Some(cause));
                if let Some(stats) = hub.stats() {
                    stats.ended(&session, Some(cause));
                }
                ended(hub, &session, cause.in_words(), now);
            }
        }
        Event::Usage(usage) => {
            let mut usage: UsageReport = *usage;
            let refused = std::mem::take(&mut usage.refused);
            let mut books = hub.books();
            if let Some(stats) = hub.stats() {
                stats.counted(&books, &usage.sessions, now);
            }
            books.report(worker, usage, now);
            drop(books);
            hub.refusals().add(&refused, now);
            for one in refused.iter().take(MAX_REFUSAL_EVENTS) {
                if hub.recorder.admits(EventKind::Refused, now) {
                    hub.recorder.event(refusal_event(hub, one));
                }
            }
        }
        Event::Snapshot(sessions) => heal(hub, worker, sessions, now),
    }
}

/// Takes what is said of a session into the books, and tells who is told of sessions. Answers whether
/// it is new.
fn take_in(hub: &Hub, books: &mut Directory, snapshot: SessionSnapshot, now: Moment) -> bool {
    let Some(stats) = hub.stats() else {
        return books.upsert(snapshot, now);
    };
    let id = snapshot.id;
    let expired = books.row(id, now).map(|row| row.kept().expires);
    let is_new = books.upsert(snapshot, now);
    if let Some(row) = books.row(id, now) {
        match expired {
            Some(expired) => stats.changed(&row, expired),
            // The process before this one told of those that it left.
            None if hub.parts.elder_of.is_some() => stats.goes_on(&row),
            None => stats.begun(&row),
        }
    }
    is_new
}

/// A row of refusals as an event of the tail.
fn refusal_event(hub: &Hub, refused: &Refused) -> EventView {
    let code = refused.reason.code().map(|code| code.get());
    let name = refused.username.as_ref().map_or("", |name| name.as_str());
    let mut text = format!(
        "{} to {} {}",
        refused.reason.as_str(),
        refused.client,
        display_safe(name)
    );
    if let Some(code) = code {
        text = format!("{code} {text}");
    }
    if refused.count > 1 {
        text = format!("{text}, {} times", refused.count);
    }
    // 486: a quota bit; 508: the node is full, unless that is what was ordered.
    let severity = match code {
        _ if refused.reason == RefusalReason::Draining => Severity::Info,
        Some(486) => Severity::Notice,
        Some(508) => Severity::Warn,
        _ => Severity::Info,
    };
    let mut event = hub.new_event(EventKind::Refused, severity, text);
    event.session = refused.session;
    event.user = refused.username.clone().map(String::from);
    event.realm = Some(refused.realm.clone());
    event
}

/// Takes all that a worker has into the books; what it does not name has ended unseen.
fn heal(hub: &Hub, worker: WorkerId, sessions: Vec<SessionSnapshot>, now: Moment) {
    let ids: Vec<_> = sessions.iter().map(|session| session.id).collect();
    let mut books = hub.books();
    for session in sessions {
        take_in(hub, &mut books, session, now);
    }
    let lost = books.keep_only(worker, &ids, now);
    drop(books);
    {
        let mut dirty = hub.dirty();
        ids.into_iter().for_each(|id| dirty.changed(id));
        lost.iter().for_each(|session| dirty.ended(session.id));
    }
    for session in &lost {
        hub.waiters.tell(session.id, News::Ended);
        hub.drain.observe(session, None);
        if let Some(stats) = hub.stats() {
            stats.ended(session, None);
        }
        ended(hub, session, "unknown", now);
    }
}

fn created(hub: &Hub, row: &Row<'_>) -> EventView {
    let kept = row.kept();
    let who = who(row.realm(), row.user(), &kept.username);
    let text = format!("{who} from {} over {}", row.client(), kept.transport);
    let mut event = hub.new_event(EventKind::SessionCreated, Severity::Info, text);
    event.session = Some(row.id());
    event.user = Some(row.user().as_ref().to_owned());
    event.realm = Some(row.realm().clone());
    event
}

fn ended(hub: &Hub, session: &Ended, cause: &str, now: Moment) {
    if !hub.recorder.admits(EventKind::SessionEnded, now) {
        return;
    }
    let total = shared::units::byte_count(session.bytes());
    let who = who(&session.realm, &session.user, &session.username);
    let text = format!("{who} {cause}, {total} relayed");
    let mut event = hub.new_event(EventKind::SessionEnded, Severity::Info, text);
    event.session = Some(session.id);
    event.user = Some(session.user.as_ref().to_owned());
    event.realm = Some(session.realm.clone());
    hub.recorder.event(event);
}

fn who(realm: &Realm, user: &str, username: &Username) -> String {
    let name = if user.is_empty() {
        username.as_str()
    } else {
        user
    };
    format!("{realm}/{}", display_safe(name))
}
