//! Keys of third-party authorization.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use shared::api::{OauthKeyCreated, OauthKeyPut, OauthKeyView, Page};

use super::input::{Asked, Body, Named, Why};
use super::{Answer, Done, Who};
use crate::control::Service;

pub(in crate::admin) async fn list(
    State(service): State<Service>,
    Extension(caller): Who,
) -> Answer<Page<OauthKeyView>> {
    Ok(Json(service.oauth_keys(&caller).await?))
}

pub(in crate::admin) async fn put(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(kid): Named<String>,
    Body(put): Body<OauthKeyPut>,
) -> Answer<OauthKeyCreated> {
    Ok(Json(service.put_oauth_key(&caller, &kid, put).await?))
}

pub(in crate::admin) async fn delete(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(kid): Named<String>,
    Asked(why): Asked<Why>,
) -> Done {
    service.delete_oauth_key(&caller, &kid, &why.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}
