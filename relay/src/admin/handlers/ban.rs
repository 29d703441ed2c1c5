//! Bans of networks.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use shared::api::{BanCreate, BanResult, BanView, Page};

use super::input::{Asked, Body, Named, Why};
use super::{Answer, Done, Who};
use crate::control::Service;

pub(in crate::admin) async fn list(
    State(service): State<Service>,
    Extension(caller): Who,
) -> Answer<Page<BanView>> {
    Ok(Json(service.bans(&caller).await?))
}

pub(in crate::admin) async fn create(
    State(service): State<Service>,
    Extension(caller): Who,
    Body(create): Body<BanCreate>,
) -> Answer<BanResult> {
    Ok(Json(service.create_ban(&caller, create).await?))
}

pub(in crate::admin) async fn delete(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(id): Named<String>,
    Asked(why): Asked<Why>,
) -> Done {
    service.delete_ban(&caller, &id, &why.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}
