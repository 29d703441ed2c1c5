//! Realms, their secrets, and credentials minted with them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use shared::Realm;
use shared::api::{
    Credential, ImportResult, ListQuery, MintRequest, Page, RealmDiff, RealmDiffQuery, RealmImport,
    RealmPreview, RealmPut, RealmRevision, RealmUndo, RealmView, RevealRequest, Revealed,
    SecretCreate, SecretCreated, SecretPatch, SecretUsage, SecretView,
};

use super::input::{Asked, Body, Expected, Named, Why};
use super::{Answer, Created, Done, Who};
use crate::control::Service;

pub(in crate::admin) async fn list(
    State(service): State<Service>,
    Extension(caller): Who,
    Asked(query): Asked<ListQuery>,
) -> Answer<Page<RealmView>> {
    Ok(Json(service.realms(&caller, &query).await?))
}

pub(in crate::admin) async fn get(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(name): Named<Realm>,
) -> Answer<RealmView> {
    Ok(Json(service.realm(&caller, &name).await?))
}

pub(in crate::admin) async fn put(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(name): Named<Realm>,
    Expected(revision): Expected,
    Body(put): Body<RealmPut>,
) -> Answer<RealmView> {
    Ok(Json(
        service.put_realm(&caller, &name, revision, put).await?,
    ))
}

pub(in crate::admin) async fn preview(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(name): Named<Realm>,
    Body(put): Body<RealmPut>,
) -> Answer<RealmPreview> {
    Ok(Json(service.preview_realm(&caller, &name, put).await?))
}

pub(in crate::admin) async fn delete(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(name): Named<Realm>,
    Expected(revision): Expected,
    Asked(why): Asked<Why>,
) -> Done {
    service
        .delete_realm(&caller, &name, revision, &why.reason)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(in crate::admin) async fn revisions(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(name): Named<Realm>,
) -> Answer<Page<RealmRevision>> {
    Ok(Json(service.realm_revisions(&caller, &name).await?))
}

pub(in crate::admin) async fn revision(
    State(service): State<Service>,
    Extension(caller): Who,
    Named((name, revision)): Named<(Realm, u64)>,
) -> Answer<RealmRevision> {
    Ok(Json(
        service.realm_revision(&caller, &name, revision).await?,
    ))
}

pub(in crate::admin) async fn diff(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(name): Named<Realm>,
    Asked(query): Asked<RealmDiffQuery>,
) -> Answer<RealmDiff> {
    Ok(Json(service.realm_diff(&caller, &name, &query).await?))
}

pub(in crate::admin) async fn undo(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(name): Named<Realm>,
    Expected(revision): Expected,
    Body(undo): Body<RealmUndo>,
) -> Answer<RealmView> {
    Ok(Json(
        service.undo_realm(&caller, &name, revision, undo).await?,
    ))
}

pub(in crate::admin) async fn import(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(name): Named<Realm>,
    Body(import): Body<RealmImport>,
) -> Answer<ImportResult> {
    Ok(Json(service.import(&caller, &name, import).await?))
}

pub(in crate::admin) async fn reveal(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(name): Named<Realm>,
    Body(request): Body<RevealRequest>,
) -> Answer<Revealed> {
    Ok(Json(service.reveal(&caller, &name, &request).await?))
}

pub(in crate::admin) async fn secrets(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(realm): Named<Realm>,
) -> Answer<Page<SecretView>> {
    Ok(Json(service.secrets(&caller, &realm).await?))
}

pub(in crate::admin) async fn create_secret(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(realm): Named<Realm>,
    Body(create): Body<SecretCreate>,
) -> Created<SecretCreated> {
    let created = service.create_secret(&caller, &realm, create).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

pub(in crate::admin) async fn secret_usage(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(realm): Named<Realm>,
) -> Answer<Page<SecretUsage>> {
    Ok(Json(service.secret_usage(&caller, &realm).await?))
}

pub(in crate::admin) async fn patch_secret(
    State(service): State<Service>,
    Extension(caller): Who,
    Named((realm, id)): Named<(Realm, String)>,
    Body(patch): Body<SecretPatch>,
) -> Answer<SecretView> {
    Ok(Json(
        service.patch_secret(&caller, &realm, &id, patch).await?,
    ))
}

pub(in crate::admin) async fn delete_secret(
    State(service): State<Service>,
    Extension(caller): Who,
    Named((realm, id)): Named<(Realm, String)>,
    Asked(why): Asked<Why>,
) -> Done {
    service
        .delete_secret(&caller, &realm, &id, &why.reason)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(in crate::admin) async fn mint(
    State(service): State<Service>,
    Extension(caller): Who,
    Named(realm): Named<Realm>,
    Body(request): Body<MintRequest>,
) -> Answer<Credential> {
    Ok(Json(service.mint(&caller, &realm, request).await?))
}
