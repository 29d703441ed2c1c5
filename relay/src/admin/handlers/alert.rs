//! Alerts and their rules.

use axum::extract::State;
use axum::{Extension, Json};
use shared::api::{AlertRulePatch, AlertRules, AlertView, ListQuery, Page};

use super::input::{Asked, Body, Expected, Named};
use super::{Answer, Who};
use crate::control::Service;

pub(in crate::admin) async fn list(
    State(service): State<Service>,
    Extension(caller): Who,
    Asked(query): Asked<ListQuery>,
) -> Answer<Page<AlertView>> {
    Ok(Json(service.alerts(&caller, &query).await?))
}

pub(in crate::admin) async fn rules(
    State(service): State<Service>,
    Extension(caller): Who,
) -> Answer<AlertRules> {
    Ok(Json(service.alert_rules(&caller).await?))
}

pub(in crate::admin) async fn patch(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(name): Named<String>,
    Expected(revision): Expected,
    Body(patch): Body<AlertRulePatch>,
) -> Answer<AlertRules> {
    let rules = service
        .patch_alert_rule(&caller, &name, revision, patch)
        .await?;
    Ok(Json(rules))
}
