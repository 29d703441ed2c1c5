//! Tokens.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use shared::api::{Page, TokenCreate, TokenCreated, TokenView};

use super::input::{Asked, Body, Named, Why};
use super::{Answer, Created, Done, Who};
use crate::control::Service;

pub(in crate::admin) async fn list(
    State(service): State<Service>,
    Extension(caller): Who,
) -> Answer<Page<TokenView>> {
    Ok(Json(service.tokens(&caller).await?))
}

pub(in crate::admin) async fn create(
    State(service): State<Service>,
    Extension(caller): Who,
    Body(create): Body<TokenCreate>,
) -> Created<TokenCreated> {
    let created = service.create_token(&caller, create).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

pub(in crate::admin) async fn delete(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(id): Named<String>,
    Asked(why): Asked<Why>,
) -> Done {
    service.delete_token(&caller, &id, &why.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}
