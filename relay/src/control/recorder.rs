//! Events and audit records on their way to the store: queued, batched, bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shared::NodeId;
use shared::api::{AuditView, EventKind, EventView, Severity};

use super::clock::Moment;
use super::hub::Hub;

/// Events that wait at most; the oldest go first.
const MAX_EVENTS: usize = 4096;
/// Audit records that wait at most while the store is away.
const MAX_AUDITS: usize = 4096;
/// Session events written per second; what exceeds them becomes one event with a count, so that
/// the store's load does not follow the clients'.
const SESSION_EVENTS_PER_SECOND: u32 = 50;
/// Events in one write.
const BATCH: usize = 200;
/// How often the queues are written.
const INTERVAL: Duration = Duration::from_millis(200);
/// How often a store that is away is tried.
const RETRY: Duration = Duration::from_secs(1);

/// The queues.
#[derive(Debug)]
pub(super) struct Recorder {
    node: NodeId,
    queues: Mutex<Queues>,
}

#[derive(Debug, Default)]
struct Queues {
    events: VecDeque<EventView>,
    audits: VecDeque<AuditView>,
    lost: u64,
    window: Option<Window>,
}

/// One second of session events.
#[derive(Debug)]
struct Window {
    since: Instant,
    written: u32,
    created: u64,
    ended: u64,
    refused: u64,
}

impl Recorder {
    /// Nothing queued.
    #[must_use]
    pub(super) fn new(node: NodeId) -> Self {
        Self {
            node,
            queues: Mutex::default(),
        }
    }

    /// Queues an event.
    pub(super) fn event(&self, event: EventView) {
        self.queues().push(event);
    }

    /// Whether an event of which there may be thousands a second is to be queued: the surplus is
    /// only counted, and need not be made at all.
    pub(super) fn admits(&self, kind: EventKind, now: Moment) -> bool {
        let mut queues = self.queues();
        self.roll(&mut queues, now);
        let window = queues.window.get_or_insert(Window {
            since: now.mono,
            written: 0,
            created: 0,
            ended: 0,
            refused: 0,
        });
        if window.written < SESSION_EVENTS_PER_SECOND {
            window.written += 1;
            return true;
        }
        match kind {
            EventKind::SessionCreated => window.created += 1,
            EventKind::SessionEnded => window.ended += 1,
            _ => window.refused += 1,
        }
        false
    }

    /// Queues an audit record.
    pub(super) fn audit(&self, record: AuditView) {
        let mut queues = self.queues();
        if queues.audits.len() == MAX_AUDITS {
            queues.audits.pop_front();
            tracing::error!("the audit queue is full: the oldest record is lost");
        }
        queues.audits.push_back(record);
    }

    /// Ends the second when it is over; what was only counted becomes one event.
    fn roll(&self, queues: &mut Queues, now: Moment) {
        let over = |window: &Window| {
            now.mono.saturating_duration_since(window.since) >= Duration::from_secs(1)
        };
        let Some(window) = queues.window.take_if(|window| over(window)) else {
            return;
        };
        let parts = [
            (window.created, "sessions created"),
            (window.ended, "sessions ended"),
            (window.refused, "requests refused"),
        ];
        let parts = parts.iter().filter(|(count, _)| *count > 0);
        let text: Vec<_> = parts
            .map(|(count, what)| format!("{count} more {what}"))
            .collect();
        if !text.is_empty() {
            queues.push(EventView {
                id: String::new(),
                at_ms: now.unix_ms,
                node: self.node.clone(),
                severity: Severity::Info,
                kind: EventKind::Other,
                text: format!("{} within a second", text.join(", ")),
                session: None,
                user: None,
                realm: None,
            });
        }
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_events(&self, now: Moment) -> Vec<EventView> {
        let mut queues = self.queues();
        self.roll(&mut queues, now);
        let count = queues.events.len().min(BATCH);
        queues.events.drain(..count).collect()
    }

    fn put_back(&self, events: Vec<EventView>) {
        let mut queues = self.queues();
        for event in events.into_iter().rev() {
            if queues.events.len() < MAX_EVENTS {
                queues.events.push_front(event);
            }
        }
    }
}

impl Queues {
    fn push(&mut self, event: EventView) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
            self.lost += 1;
            if self.lost.is_power_of_two() {
                tracing::warn!(
                    lost = self.lost,
                    "the store is away too long: events are lost"
                );
            }
        }
        self.events.push_back(event);
    }
}

/// Writes the queues until the node stops.
pub(super) async fn run(hub: Arc<Hub>) {
    loop {
        let wait = if flush(&hub).await { INTERVAL } else { RETRY };
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Writes what is queued; `false` when the store did not take it.
pub(super) async fn flush(hub: &Hub) -> bool {
    loop {
        let events = hub.recorder.take_events(Moment::now());
        if events.is_empty() {
            break;
        }
        match hub.noted(hub.store.append_events(&events).await) {
            Ok(()) => {}
            Err(error) if error.may_pass() => {
                hub.recorder.put_back(events);
                return false;
            }
            Err(error) => tracing::warn!(%error, "the store does not take events"),
        }
    }
    loop {
        let Some(record) = hub.recorder.queues().audits.pop_front() else {
            return true;
        };
        match hub.noted(hub.store.append_audit(&record).await) {
            Ok(()) => {}
            Err(error) if error.may_pass() => {
                hub.recorder.queues().audits.push_front(record);
                return false;
            }
            Err(error) => tracing::error!(%error, "the store does not take audit records"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind) -> EventView {
        EventView {
            id: String::new(),
            at_ms: 0,
            node: "a".parse().unwrap(),
            severity: Severity::Info,
            kind,
            text: String::new(),
            session: None,
            user: None,
            realm: None,
        }
    }

    #[test]
    fn a_flood_of_sessions_becomes_fifty_events_and_a_count() {
        let recorder = Recorder::new("a".parse().unwrap());
        let start = Moment::now();
        for _ in 0..10_000 {
            if recorder.admits(EventKind::SessionCreated, start) {
                recorder.event(event(EventKind::SessionCreated));
            }
        }
        assert_eq!(recorder.take_events(start).len(), 50);
        let later = Moment {
            mono: start.mono + Duration::from_secs(1),
            ..start
        };
        let summary = recorder.take_events(later);
        assert_eq!(summary.len(), 1);
        assert_eq!(
            summary[0].text,
            "9950 more sessions created within a second"
        );
    }

    #[test]
    fn the_queue_is_bounded_and_keeps_the_newest() {
        let recorder = Recorder::new("a".parse().unwrap());
        for n in 0..MAX_EVENTS + 5 {
            recorder.event(EventView {
                at_ms: n as u64,
                ..event(EventKind::Other)
            });
        }
        assert_eq!(recorder.take_events(Moment::now())[0].at_ms, 5);
    }
}
