//! Who one is, the cluster, its nodes, its refusals; the OpenAPI document.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use shared::NodeId;
use shared::api::{
    DrainRequest, DrainView, ListQuery, NodeView, Overview, Page, RefusalCount, RefusalView,
    UpgradeRequest, UpgradeView, WhoAmI,
};

use super::input::{Asked, Body, Named, Why};
use super::{Answer, Done, Who};
use crate::admin::endpoints::OPENAPI;
use crate::control::Service;

pub(in crate::admin) async fn whoami(
    State(service): State<Service>,
    Extension(caller): Who,
) -> Answer<WhoAmI> {
    Ok(Json(service.whoami(&caller).await?))
}

pub(in crate::admin) async fn overview(
    State(service): State<Service>,
    Extension(caller): Who,
) -> Answer<Overview> {
    Ok(Json(service.overview(&caller).await?))
}

pub(in crate::admin) async fn nodes(
    State(service): State<Service>,
    Extension(caller): Who,
    Asked(query): Asked<ListQuery>,
) -> Answer<Page<NodeView>> {
    Ok(Json(service.nodes(&caller, &query).await?))
}

pub(in crate::admin) async fn node(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(id): Named<NodeId>,
) -> Answer<NodeView> {
    Ok(Json(service.node(&caller, &id).await?))
}

pub(in crate::admin) async fn forget_node(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(id): Named<NodeId>,
    Asked(why): Asked<Why>,
) -> Done {
    service.forget_node(&caller, &id, &why.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(in crate::admin) async fn drain(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(id): Named<NodeId>,
    Body(request): Body<DrainRequest>,
) -> Answer<DrainView> {
    Ok(Json(service.drain_node(&caller, &id, request).await?))
}

pub(in crate::admin) async fn undrain(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(id): Named<NodeId>,
    Asked(why): Asked<Why>,
) -> Done {
    service.undrain_node(&caller, &id, &why.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(in crate::admin) async fn upgrade(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(id): Named<NodeId>,
    Body(request): Body<UpgradeRequest>,
) -> Answer<UpgradeView> {
    Ok(Json(service.upgrade_node(&caller, &id, request).await?))
}

pub(in crate::admin) async fn refusals(
    State(service): State<Service>,
    Extension(caller): Who,
    Asked(query): Asked<ListQuery>,
) -> Answer<Page<RefusalCount>> {
    Ok(Json(service.refusals(&caller, &query).await?))
}

pub(in crate::admin) async fn recent_refusals(
    State(service): State<Service>,
    Extension(caller): Who,
    Asked(query): Asked<ListQuery>,
) -> Answer<Page<RefusalView>> {
    Ok(Json(service.recent_refusals(&caller, &query).await?))
}

pub(in crate::admin) async fn openapi() -> impl IntoResponse {
    std::future::ready(([(CONTENT_TYPE, "application/json")], OPENAPI)).await
}
