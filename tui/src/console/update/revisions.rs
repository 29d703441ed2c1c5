//! `H` and `U`: what became of a realm, by whom and why, and the way back.

use shared::Realm;
use shared::api::{RealmDiff, RealmDocument, RealmRevision};

use super::super::message::{Effect, Question, UndoSeen};
use super::super::model::{Dialog, Model, Place};
use super::super::purpose::{Purpose, UndoBase};
use super::super::realm_fields::realm_diff;
use super::super::theme::Tone;
use super::answers::ask_for_dialog;
use super::change::{open, reason_field};
use super::documents;
use crate::realm_document::effects as effects_of;
use crate::widgets::form::Form;

/// The realm under the cursor, or the one that is looked at.
fn realm(model: &Model) -> Option<Realm> {
    match model.place() {
        Place::Realm(name) => Some(name.clone()),
        _ => {
            let row = model.lists.realms.selected();
            row.map(|realm| realm.name.clone())
        }
    }
}

/// Asks for the revisions of the realm.
pub(super) fn history(model: &mut Model, effects: &mut Vec<Effect>) {
    if let Some(realm) = realm(model) {
        ask_for_dialog(model, Question::Revisions(realm), effects);
    }
}

/// Shows them as a text, newest first; the latest with what they changed.
pub(super) fn show(
    model: &mut Model,
    name: &Realm,
    revisions: &[RealmRevision],
    diffs: &[RealmDiff],
) {
    let mut text = String::new();
    for revision in revisions {
        let number = revision.revision;
        let mut head = format!(
            "revision {number}  {}  by {}",
            model.clock(revision.changed_at_ms),
            revision.changed_by
        );
        if !revision.reason.is_empty() {
            head = format!("{head}: {}", revision.reason);
        }
        text.push_str(&head);
        text.push('\n');
        if revision.deleted {
            text.push_str("    deleted\n");
            continue;
        }
        let diff = diffs.iter().find(|diff| diff.to == number && diff.from > 0);
        match diff {
            Some(diff) => diff.changes.iter().for_each(|change| {
                let (field, before, after) = (&change.field, &change.before, &change.after);
                text.push_str(&format!("    {field}: {before} -> {after}\n"));
            }),
            None if !revision.changed.is_empty() => {
                text.push_str(&format!("    changed: {}\n", revision.changed.join(", ")));
            }
            None => {}
        }
    }
    documents::open(model, format!("Revisions of realm {name}"), &text);
}

/// Asks what it would mean to undo the latest change of the realm.
pub(super) fn undo(model: &mut Model, effects: &mut Vec<Effect>) {
    if let Some(realm) = realm(model) {
        ask_for_dialog(model, Question::Undo(realm, None), effects);
    }
}

/// Shows it, with what the nodes say that it would do, and asks.
pub(super) fn offer(model: &mut Model, name: Realm, seen: &UndoSeen) {
    let again = matches!(&model.dialog, Some(Dialog::Form(_, purpose))
        if matches!(&**purpose, Purpose::RealmUndo(base) if base.name == name));
    if model.dialog.is_some() && !again {
        return;
    }
    let revision = seen.back.revision;
    let Some(document) = &seen.back.document else {
        let text = format!("with revision {revision} the realm {name} was deleted");
        model.say(Tone::Warn, text);
        return;
    };
    let (expected, now) = match &seen.now {
        Some(view) => (view.revision, view.document.clone()),
        None => (0, RealmDocument::default()),
    };
    let title = format!("Undo: realm {name} back to revision {revision}?  (now {expected})");
    let mut form = Form::new(title, "Undo (y)", vec![reason_field()]);
    form.middle = seen.earlier.map(|_| "One earlier");
    if let Some(latest) = &seen.latest {
        let why = match latest.reason.as_str() {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        let by = format!("{} by {}{why}", latest.revision, latest.changed_by);
        form.facts.push(("latest change".to_owned(), by));
    }
    form.facts.extend(realm_diff(&now, document));
    if !seen.preview.errors.is_empty() {
        form.error = Some(seen.preview.errors.join("; "));
    }
    let mut label = "effect";
    for line in effects_of(&seen.preview, document) {
        form.facts.push((label.to_owned(), line));
        label = "";
    }
    let form = form.note("The undo is a revision of its own, and can be undone.");
    let base = UndoBase {
        name,
        expected,
        revision,
        earlier: seen.earlier,
    };
    model.dialog = None;
    open(model, form, Purpose::RealmUndo(Box::new(base)));
}

/// The button in the middle: the same with the revision before.
pub(super) fn one_earlier(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(Dialog::Form(_, purpose)) = &model.dialog else {
        return;
    };
    if let Purpose::RealmUndo(base) = &**purpose
        && base.earlier.is_some()
    {
        let question = Question::Undo(base.name.clone(), base.earlier);
        ask_for_dialog(model, question, effects);
    }
}
