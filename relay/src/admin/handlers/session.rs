//! Sessions and the jobs that end many of them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use shared::api::{
    GroupQuery, GroupView, JobView, KillRequest, KillResult, ListQuery, Page, SessionDetail,
    SessionView, SessionsKill,
};

use super::input::{Asked, Body, Named};
use super::{Answer, Created, Who};
use crate::control::Service;

pub(in crate::admin) async fn list(
    State(service): State<Service>,
    Extension(caller): Who,
    Asked(query): Asked<ListQuery>,
) -> Answer<Page<SessionView>> {
    Ok(Json(service.sessions(&caller, &query).await?))
}

pub(in crate::admin) async fn groups(
    State(service): State<Service>,
    Extension(caller): Who,
    Asked(query): Asked<GroupQuery>,
) -> Answer<Page<GroupView>> {
    Ok(Json(service.session_groups(&caller, &query).await?))
}

pub(in crate::admin) async fn get(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(id): Named<String>,
) -> Answer<SessionDetail> {
    Ok(Json(service.session(&caller, &id).await?))
}

pub(in crate::admin) async fn kill(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(id): Named<String>,
    Body(request): Body<KillRequest>,
) -> Answer<KillResult> {
    Ok(Json(service.kill_session(&caller, &id, request).await?))
}

pub(in crate::admin) async fn kill_many(
    State(service): State<Service>,
    Extension(caller): Who,
    Body(request): Body<SessionsKill>,
) -> Created<JobView> {
    let job = service.start_kill_job(&caller, request).await?;
    Ok((StatusCode::ACCEPTED, Json(job)))
}

pub(in crate::admin) async fn jobs(
    State(service): State<Service>,
    Extension(caller): Who,
) -> Answer<Page<JobView>> {
    Ok(Json(service.jobs(&caller).await?))
}

pub(in crate::admin) async fn job(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(id): Named<String>,
) -> Answer<JobView> {
    Ok(Json(service.job(&caller, &id).await?))
}

pub(in crate::admin) async fn stop_job(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(id): Named<String>,
) -> Answer<JobView> {
    Ok(Json(service.stop_job(&caller, &id).await?))
}
