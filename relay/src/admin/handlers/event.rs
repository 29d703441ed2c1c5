//! The event tail, as pages and as a stream; the audit record.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::{Extension, Json};
use futures_util::{Stream, StreamExt};
use shared::api::{AuditView, EventView, ListQuery, Page};

use super::input::{Asked, Tail};
use super::{Answer, Who};
use crate::admin::Api;
use crate::admin::error::Failure;
use crate::control::Service;

/// A comment this often tells readers, and proxies between, that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The longest `Last-Event-ID`.
const MAX_EVENT_ID: usize = 128;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(in crate::admin) async fn list(
    State(service): State<Service>,
    Extension(caller): Who,
    Asked(tail): Asked<Tail>,
) -> Answer<Page<EventView>> {
    Ok(Json(
        service
            .events(&caller, tail.after.as_deref(), tail.limit())
            .await?,
    ))
}

/// Server-sent events (WHATWG HTML): `id` to resume with, `data` with the event in JSON.
pub(in crate::admin) async fn stream(
    State(api): State<Api>,
    Extension(caller): Who,
    headers: HeaderMap,
    Asked(tail): Asked<Tail>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let header = headers
        .get(LAST_EVENT_ID)
        .map(|value| value.to_str().map(str::to_owned));
    let header = header
        .transpose()
        .map_err(|_| Failure::bad_request("Last-Event-ID: no id"))?;
    let after = header.or(tail.after);
    if after.as_ref().is_some_and(|id| id.len() > MAX_EVENT_ID) {
        return Err(Failure::bad_request("Last-Event-ID: no id of an event"));
    }
    let events = api.service.follow_events(&caller, after).await?;
    let frames = events.filter_map(|event| std::future::ready(frame(&event)));
    let frames = frames.map(Ok).take_until(api.cancel.cancelled_owned());
    Ok(Sse::new(frames).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn frame(event: &EventView) -> Option<Event> {
    // An id with a line break cannot come from a store of ours; axum would panic on it.
    let id = Some(&event.id).filter(|id| !id.contains(['\r', '\n', '\0']))?;
    Event::default().id(id).json_data(event).ok()
}

pub(in crate::admin) async fn audit(
    State(service): State<Service>,
    Extension(caller): Who,
    Asked(query): Asked<ListQuery>,
) -> Answer<Page<AuditView>> {
    Ok(Json(service.audit(&caller, &query).await?))
}
