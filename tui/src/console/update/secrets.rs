//! `S`: the secrets of a realm, one more or one less.

use shared::Realm;
use shared::api::{SecretCreated, SecretView};
use shared::units::grouped;

use super::super::message::{Effect, Question};
use super::super::model::{Dialog, Model, Place};
use super::super::purpose::Purpose;
use super::answers::ask_for_dialog;
use super::change::{open, reason_field};
use crate::widgets::form::{Field, Form};

/// Secrets shown in the dialog; more than two are unusual.
const SHOWN: usize = 8;

/// Asks for the secrets of the realm under the cursor, or of the one that is looked at.
pub(super) fn begin(model: &mut Model, effects: &mut Vec<Effect>) {
    let realm = match model.place() {
        Place::Realm(name) => Some(name.clone()),
        _ => model
            .lists
            .realms
            .selected()
            .map(|realm| realm.name.clone()),
    };
    if let Some(realm) = realm {
        ask_for_dialog(model, Question::RotateSecrets(realm), effects);
    }
}

/// Opens the dialog with what there is.
pub(super) fn show(model: &mut Model, realm: Realm, secrets: Vec<SecretView>) {
    if model.dialog.is_some() {
        return;
    }
    let fields = vec![
        Field::toggle("add", "add one", secrets.is_empty()),
        Field::text("delete", "delete", "", "its id, or the beginning of it"),
    ];
    let mut form = Form::new(format!("Secrets of {realm}"), "Go on (y)", fields);
    for secret in secrets.iter().take(SHOWN) {
        let label = if secret.label.is_empty() {
            "no label"
        } else {
            &secret.label
        };
        let sessions = grouped(secret.sessions);
        form = form.fact(&secret.id, format!("{label}, {sessions} sessions"));
    }
    if secrets.len() > SHOWN {
        form = form.fact("", format!("and {} more", secrets.len() - SHOWN));
    }
    let form = form.note(
        "To rotate: add one, give it to whoever mints credentials, and delete the old one when no \
         session uses it any more.",
    );
    open(model, form, Purpose::Secrets(realm, secrets));
}

/// From the list to the dialog that adds one or deletes one.
pub(super) fn next_step(model: &mut Model) {
    let Some(Dialog::Form(form, purpose)) = &mut model.dialog else {
        return;
    };
    let Purpose::Secrets(realm, secrets) = &**purpose else {
        return;
    };
    let (add, delete) = (form.value("add") == "yes", form.value("delete"));
    let mut hits = secrets
        .iter()
        .filter(|secret| secret.id.starts_with(delete));
    let target = match (add, delete, hits.next(), hits.next()) {
        (true, "", ..) => None,
        (true, ..) => {
            form.error = Some("one after the other: add one, or delete one".to_owned());
            return;
        }
        (false, "", ..) => {
            form.error = Some("say what: add one, or delete one".to_owned());
            return;
        }
        (false, _, Some(secret), None) => Some(secret.clone()),
        (false, _, None, _) => {
            form.error = Some(format!("{delete}: there is no such secret"));
            return;
        }
        (false, _, Some(_), Some(_)) => {
            form.error = Some(format!("{delete}: several secrets begin so"));
            return;
        }
    };
    let realm = realm.clone();
    match target {
        Some(secret) => delete_one(model, realm, secret),
        None => add_one(model, realm),
    }
}

fn add_one(model: &mut Model, realm: Realm) {
    let fields = vec![
        Field::text("label", "label", "", "for operators"),
        reason_field(),
    ];
    let form = Form::new(format!("Add a secret to {realm}"), "Add (y)", fields)
        .note("It is generated, shown once, and signs credentials on all nodes at once.");
    open(model, form, Purpose::NewSecret(realm));
}

fn delete_one(model: &mut Model, realm: Realm, secret: SecretView) {
    let form = Form::new(
        format!("Delete secret {} of {realm}", secret.id),
        "Delete (y)",
        vec![reason_field()],
    )
    .fact("label", secret.label)
    .fact("sessions", grouped(secret.sessions))
    .note(
        "Credentials that it signed are refused from now on; sessions fail at their next refresh.",
    );
    open(model, form, Purpose::DeleteSecret(realm, secret.id));
}

/// Shows a generated secret, this once.
pub(super) fn shown(model: &mut Model, created: SecretCreated) {
    let Some(value) = created.value else { return };
    let title = format!("Secret {} of {}", created.secret.id, created.secret.realm);
    show_once(model, title, value);
}

/// Shows what cannot be read back.
pub(super) fn show_once(model: &mut Model, title: String, value: String) {
    let mut form = Form::new(title, "", Vec::new())
        .fact("value", value.clone())
        .note("It is not shown again: nobody can read it back.");
    form.middle = Some("Copy");
    open(
        model,
        form,
        Purpose::SecretShown(shared::Secret::new(value)),
    );
}

/// Copies the secret that is shown.
pub(super) fn copy(model: &mut Model, effects: &mut Vec<Effect>) {
    if let Some(Dialog::Form(form, purpose)) = &mut model.dialog
        && let Purpose::SecretShown(value) = &**purpose
    {
        effects.push(Effect::Copy(value.expose().clone()));
        form.error = Some("copied to the terminal's clipboard".to_owned());
    }
}
