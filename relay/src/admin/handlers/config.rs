//! Settings of nodes, and the store's overrides of them.

use axum::extract::State;
use axum::{Extension, Json};
use shared::NodeId;
use shared::api::{ConfigOverrides, ConfigPatch, ConfigResult, ConfigView};

use super::input::{Body, Expected, Named};
use super::{Answer, Who};
use crate::control::Service;

pub(in crate::admin) async fn of_node(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(id): Named<NodeId>,
) -> Answer<ConfigView> {
    Ok(Json(service.node_config(&caller, &id).await?))
}

pub(in crate::admin) async fn overrides(
    State(service): State<Service>,
    Extension(caller): Who,
) -> Answer<ConfigOverrides> {
    Ok(Json(service.config_overrides(&caller, None).await?))
}

pub(in crate::admin) async fn node_overrides(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(id): Named<NodeId>,
) -> Answer<ConfigOverrides> {
    Ok(Json(service.config_overrides(&caller, Some(&id)).await?))
}

pub(in crate::admin) async fn patch(
    State(service): State<Service>,
    Extension(caller): Who,
    Expected(revision): Expected,
    Body(patch): Body<ConfigPatch>,
) -> Answer<ConfigResult> {
    let result = service.patch_config(&caller, None, revision, patch).await?;
    Ok(Json(result))
}

pub(in crate::admin) async fn patch_node(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(id): Named<NodeId>,
    Expected(revision): Expected,
    Body(patch): Body<ConfigPatch>,
) -> Answer<ConfigResult> {
    let result = service
        .patch_config(&caller, Some(&id), revision, patch)
        .await?;
    Ok(Json(result))
}
