//! Users and their blocks.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use shared::Realm;
use shared::api::{BlockRequest, BlockView, ListQuery, Page, UserPatch, UserPut, UserView};

use super::input::{Asked, Body, Named, Why};
use super::{Answer, Done, Who};
use crate::control::Service;

pub(in crate::admin) async fn list(
    State(service): State<Service>,
    Extension(caller): Who,
    Asked(query): Asked<ListQuery>,
) -> Answer<Page<UserView>> {
    Ok(Json(service.users(&caller, &query).await?))
}

pub(in crate::admin) async fn get(
    State(service): State<Service>,
    Extension(caller): Who,
    Named((realm, name)): Named<(Realm, String)>,
) -> Answer<UserView> {
    Ok(Json(service.user(&caller, &realm, &name).await?))
}

pub(in crate::admin) async fn put(
    State(service): State<Service>,
    Extension(caller): Who,
    Named((realm, name)): Named<(Realm, String)>,
    Body(put): Body<UserPut>,
) -> Answer<UserView> {
    Ok(Json(service.put_user(&caller, &realm, &name, put).await?))
}

pub(in crate::admin) async fn patch(
    State(service): State<Service>,
    Extension(caller): Who,
    Named((realm, name)): Named<(Realm, String)>,
    Body(patch): Body<UserPatch>,
) -> Answer<UserView> {
    Ok(Json(
        service.patch_user(&caller, &realm, &name, patch).await?,
    ))
}

pub(in crate::admin) async fn delete(
    State(service): State<Service>,
    Extension(caller): Who,
    Named((realm, name)): Named<(Realm, String)>,
    Asked(why): Asked<Why>,
) -> Done {
    service
        .delete_user(&caller, &realm, &name, &why.reason)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(in crate::admin) async fn blocks(
    State(service): State<Service>,
    Extension(caller): Who,
    Asked(query): Asked<ListQuery>,
) -> Answer<Page<BlockView>> {
    Ok(Json(service.blocks(&caller, &query).await?))
}

pub(in crate::admin) async fn block(
    State(service): State<Service>,
    Extension(caller): Who,
    Named((realm, name)): Named<(Realm, String)>,
    Body(request): Body<BlockRequest>,
) -> Answer<BlockView> {
    Ok(Json(
        service.put_block(&caller, &realm, &name, request).await?,
    ))
}

pub(in crate::admin) async fn unblock(
    State(service): State<Service>,
    Extension(caller): Who,
    Named((realm, name)): Named<(Realm, String)>,
    Asked(why): Asked<Why>,
) -> Done {
    service
        .delete_block(&caller, &realm, &name, &why.reason)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
