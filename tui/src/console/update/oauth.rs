//! Keys of third-party authorization: one more, or one less.

use shared::OauthAlgorithm;
use shared::api::{OauthKeyCreated, OauthKeyView, Page};

use super::super::model::Model;
use super::super::purpose::Purpose;
use super::change::{open, reason_field};
use super::secrets;
use crate::widgets::form::{Field, Form};

/// Takes the keys in.
pub(super) fn take(model: &mut Model, page: Page<OauthKeyView>) {
    let list = &mut model.lists.oauth_keys;
    list.error = None;
    let total = page.items.len();
    list.set_rows(page.items, total, page.as_of_ms);
}

/// `N` in the list of keys.
pub(super) fn create(model: &mut Model) {
    let algorithm = OauthAlgorithm::default().to_string();
    let fields = vec![
        Field::text("kid", "kid", "", "its name, which clients send as USERNAME"),
        Field::text("algorithm", "algorithm", &algorithm, "A256GCM or A128GCM"),
        Field::text("realm", "realm", "", "the only one; empty: all"),
        Field::text("ttl", "good for", "", "as in 90d; empty: for ever"),
        Field::masked("key", "key"),
        reason_field(),
    ];
    let form = Form::new("New OAuth key", "Add (y)", fields)
        .note(
            "The authorization server encrypts tokens with it (RFC 7635). A key is given in base64, \
             or generated and shown once. A key of that name is replaced: its tokens are refused.",
        )
        .focus_first();
    open(model, form, Purpose::PutOauthKey);
}

/// `Z` in the list of keys.
pub(super) fn delete(model: &mut Model) {
    let Some(key) = model.lists.oauth_keys.selected().cloned() else {
        return;
    };
    let realm = key
        .realm
        .map_or_else(|| "all".to_owned(), |r| r.to_string());
    let title = format!("Delete OAuth key {}", key.kid);
    let form = Form::new(title, "Delete (y)", vec![reason_field()])
        .fact("algorithm", key.algorithm.to_string())
        .fact("realm", realm)
        .note(
            "Tokens made with it open no session from then on. Sessions that exist go on until \
             their tokens end. The key cannot be brought back.",
        );
    open(model, form, Purpose::DeleteOauthKey(key.kid));
}

/// Shows a generated key, this once.
pub(super) fn shown(model: &mut Model, created: OauthKeyCreated) {
    let Some(value) = created.key else { return };
    let title = format!("OAuth key {}", created.view.kid);
    secrets::show_once(model, title, value);
}
