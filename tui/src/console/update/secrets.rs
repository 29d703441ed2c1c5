//! `S`: the secrets of a realm, one more or one less.

use shared::Realm;
use shared::api::{SecretCreated, SecretState, SecretView};
use shared::units::grouped;

use super::super::message::{Effect, Question};
use super::super::model::{Dialog, Model, Place};
use super::super::purpose::Purpose;
use super::answers::ask_for_dialog;
use super::change::{open, reason_field};
use crate::widgets::form::{Field, Form};

/// Secrets shown in the dialog; more than two are unusual.
const SHOWN: usize = 8;
/// What can be done to one that is named.
const DEEDS: [&str; 3] = ["activate", "retire", "delete"];

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
        Field::text("activate", "activate", "", "its id, or the beginning of it"),
        Field::text("retire", "retire", "", "its id, or the beginning of it"),
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
        let state = secret.state.as_str();
        form = form.fact(&secret.id, format!("{state}, {label}, {sessions} sessions"));
    }
    if secrets.len() > SHOWN {
        form = form.fact("", format!("and {} more", secrets.len() - SHOWN));
    }
    let form = form.note(
        "To rotate: add one, give it to whoever mints credentials, retire the old one, and delete it \
         when no session uses it any more.",
    );
    open(model, form, Purpose::Secrets(realm, secrets));
}

/// From the list to the dialog that does what was asked for.
pub(super) fn next_step(model: &mut Model) {
    let Some(Dialog::Form(form, purpose)) = &mut model.dialog else {
        return;
    };
    let Purpose::Secrets(realm, secrets) = &**purpose else {
        return;
    };
    let add = form.value("add") == "yes";
    let mut wanted = DEEDS.into_iter().filter_map(|deed| {
        let id = form.value(deed);
        (!id.is_empty()).then(|| (deed, id.to_owned()))
    });
    let (deed, id) = match (add, wanted.next(), wanted.next()) {
        (true, None, _) => {
            let realm = realm.clone();
            return add_one(model, realm);
        }
        (false, Some(one), None) => one,
        (false, None, _) => {
            form.error = Some("say what: add one, or name one".to_owned());
            return;
        }
        _ => {
            form.error = Some("one after the other: one change at a time".to_owned());
            return;
        }
    };
    let mut hits = secrets.iter().filter(|secret| secret.id.starts_with(&id));
    let (realm, secret) = match (hits.next(), hits.next()) {
        (Some(secret), None) => (realm.clone(), secret.clone()),
        (None, _) => {
            form.error = Some(format!("{id}: there is no such secret"));
            return;
        }
        (Some(_), Some(_)) => {
            form.error = Some(format!("{id}: several secrets begin so"));
            return;
        }
    };
    match deed {
        "activate" => activate(model, realm, secret),
        "retire" => retire(model, realm, secret),
        _ => delete_one(model, realm, secret),
    }
}

fn activate(model: &mut Model, realm: Realm, secret: SecretView) {
    let title = format!("Activate secret {} of {realm}", secret.id);
    let form = Form::new(title, "Activate (y)", vec![reason_field()])
        .fact("label", secret.label)
        .fact("state", secret.state.as_str())
        .note("It is accepted, and credentials are minted with the newest active one.");
    open(
        model,
        form,
        Purpose::PatchSecret(realm, secret.id, SecretState::Active),
    );
}

fn retire(model: &mut Model, realm: Realm, secret: SecretView) {
    let fields = vec![
        Field::toggle("now", "refuse at once", false),
        reason_field(),
    ];
    let title = format!("Retire secret {} of {realm}", secret.id);
    let form = Form::new(title, "Retire (y)", fields)
        .fact("label", secret.label)
        .fact("state", secret.state.as_str())
        .fact("sessions", grouped(secret.sessions))
        .note(
            "Nothing is minted with it any more. What it signed is accepted still, or refused at once: \
             then its calls end where the realm has revoke_on_secret_removal.",
        );
    open(
        model,
        form,
        Purpose::PatchSecret(realm, secret.id, SecretState::Retiring),
    );
}

fn add_one(model: &mut Model, realm: Realm) {
    let fields = vec![
        Field::text("label", "label", "", "for operators"),
        Field::toggle("pending", "pending", false),
        reason_field(),
    ];
    let form = Form::new(format!("Add a secret to {realm}"), "Add (y)", fields).note(
        "It is generated, shown once, and signs credentials on all nodes at once; a pending one \
             when it is activated.",
    );
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
        "Credentials that it signed are refused from now on; sessions go on, or end where the realm \
         has revoke_on_secret_removal.",
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
