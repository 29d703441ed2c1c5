//! Takes the news of the workers into the books.

use std::sync::Arc;
use std::time::Duration;

use shared::api::{EventKind, EventView, SessionView, Severity};
use shared::{WorkerId, display_safe};
use tokio::sync::mpsc;
use turn_proto::server::{Command, Event, Refused, SessionSnapshot, UsageReport};

use super::clock::Moment;
use super::hub::Hub;
use super::waiters::News;
use super::{credentials, userhash};
use crate::worker::WorkerNews;

/// News taken at once before the books are let go.
const BATCH: usize = 256;
/// Refusals of one report that become events; all of them are in the list of refusals.
const MAX_REFUSAL_EVENTS: usize = 10;
/// How long to wait before a snapshot is asked for again.
const SNAPSHOT_RETRY: Duration = Duration::from_millis(500);

/// Runs until the workers are gone, or the node stops and their news are taken in.
pub(super) async fn run(hub: Arc<Hub>, mut news: mpsc::Receiver<(WorkerId, WorkerNews)>) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            biased;
            count = news.recv_many(&mut batch, BATCH) => {
                if count == 0 {
                    return;
                }
                for (worker, one) in batch.drain(..) {
                    take(&hub, worker, one);
                }
            }
            () = hub.cancel.cancelled() => return,
        }
    }
}

fn take(hub: &Arc<Hub>, worker: WorkerId, news: WorkerNews) {
    match news {
        WorkerNews::Event(event) => apply(hub, worker, event, Moment::now()),
        WorkerNews::Lookup { realm, username } => {
            credentials::look_up(hub, worker, realm, username);
        }
        WorkerNews::LookupHash { realm, hash } => userhash::look_up(hub, worker, realm, hash),
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
            books.upsert(*snapshot, now);
            let view = books.row(id, now).map(|row| row.view());
            drop(books);
            hub.dirty().changed(id);
            if let Some(view) = view {
                let text = format!(
                    "{} from {} over {}",
                    who(&view),
                    view.client,
                    view.transport
                );
                let event = session_event(hub, EventKind::SessionCreated, &view, text);
                hub.recorder.session_event(event, now);
            }
        }
        Event::SessionChanged(snapshot) => {
            let id = snapshot.id;
            hub.books().upsert(*snapshot, now);
            hub.dirty().changed(id);
            hub.waiters.tell(id, News::Described);
        }
        Event::SessionEnded {
            session,
            cause,
            counters,
        } => {
            let view = hub.books().remove(session, &counters, now);
            hub.dirty().ended(session);
            hub.waiters.tell(session, News::Ended);
            if let Some(view) = view {
                ended(hub, &view, cause.as_str(), now);
            }
        }
        Event::Usage(usage) => {
            let mut usage: UsageReport = *usage;
            let refused = std::mem::take(&mut usage.refused);
            hub.books().report(worker, usage, now);
            hub.refusals().add(&refused, now);
            for one in refused.iter().take(MAX_REFUSAL_EVENTS) {
                hub.recorder.session_event(refusal_event(hub, one), now);
            }
        }
        Event::Snapshot(sessions) => heal(hub, worker, sessions, now),
    }
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
    // 486: a quota bit; 508: the node is full.
    let severity = match code {
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
    let lost = hub.books().replace_worker(worker, sessions, now);
    {
        let mut dirty = hub.dirty();
        ids.into_iter().for_each(|id| dirty.changed(id));
        lost.iter().for_each(|view| dirty.ended(view.id));
    }
    for view in &lost {
        hub.waiters.tell(view.id, News::Ended);
        ended(hub, view, "unknown", now);
    }
}

fn ended(hub: &Hub, view: &SessionView, cause: &str, now: Moment) {
    let bytes = view.in_bytes + view.out_bytes;
    let total = shared::units::byte_count(bytes);
    let text = format!("{} {cause}, {total} relayed", who(view));
    hub.recorder
        .session_event(session_event(hub, EventKind::SessionEnded, view, text), now);
}

fn who(view: &SessionView) -> String {
    let user = if view.user.is_empty() {
        &view.username
    } else {
        &view.user
    };
    format!("{}/{}", view.realm, display_safe(user))
}

fn session_event(hub: &Hub, kind: EventKind, view: &SessionView, text: String) -> EventView {
    let mut event = hub.new_event(kind, Severity::Info, text);
    event.session = Some(view.id);
    event.user = Some(view.user.clone());
    event.realm = Some(view.realm.clone());
    event
}
