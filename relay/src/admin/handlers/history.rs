//! Figures over time.

use axum::extract::State;
use axum::{Extension, Json};
use shared::api::HistoryView;
use shared::{NodeId, Realm};

use super::input::Named;
use super::{Answer, Who};
use crate::control::Service;

pub(in crate::admin) async fn overview(
    State(service): State<Service>,
    Extension(caller): Who,
) -> Answer<HistoryView> {
    Ok(Json(service.overview_history(&caller).await?))
}

pub(in crate::admin) async fn node(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(id): Named<NodeId>,
) -> Answer<HistoryView> {
    Ok(Json(service.node_history(&caller, &id).await?))
}

pub(in crate::admin) async fn realm(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(name): Named<Realm>,
) -> Answer<HistoryView> {
    Ok(Json(service.realm_history(&caller, &name).await?))
}

pub(in crate::admin) async fn user(
    State(service): State<Service>,
    Extension(caller): Who,
    Named((realm, name)): Named<(Realm, String)>,
) -> Answer<HistoryView> {
    Ok(Json(service.user_history(&caller, &realm, &name).await?))
}

pub(in crate::admin) async fn session(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(id): Named<String>,
) -> Answer<HistoryView> {
    Ok(Json(service.session_history(&caller, &id).await?))
}
