//! Redirects.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use shared::api::{ListQuery, Page, RedirectCreate, RedirectView};

use super::input::{Asked, Body, Named, Why};
use super::{Answer, Created, Done, Who};
use crate::control::Service;

pub(in crate::admin) async fn list(
    State(service): State<Service>,
    Extension(caller): Who,
    Asked(query): Asked<ListQuery>,
) -> Answer<Page<RedirectView>> {
    Ok(Json(service.redirects(&caller, &query).await?))
}

pub(in crate::admin) async fn create(
    State(service): State<Service>,
    Extension(caller): Who,
    Body(create): Body<RedirectCreate>,
) -> Created<RedirectView> {
    let created = service.create_redirect(&caller, create).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

pub(in crate::admin) async fn delete(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(id): Named<String>,
    Asked(why): Asked<Why>,
) -> Done {
    service.delete_redirect(&caller, &id, &why.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}
