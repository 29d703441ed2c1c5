//! Editing a realm: form, preview, compare-and-set, and what to do when somebody was faster.

use shared::Realm;
use shared::api::{RealmDocument, RealmPreview, RealmPut, RealmView};

use super::super::message::{Effect, Question};
use super::super::model::{Dialog, Model, Place};
use super::super::purpose::{Conflict, Purpose, RealmBase, RealmDraft, Source};
use super::super::realm_fields::{REALM_FIELDS, realm_diff, realm_draft, realm_field};
use super::super::theme::Tone;
use super::answers::ask_for_dialog;
use super::change::{open, reason_field};
use super::editor;
use crate::realm_document::effects as effects_of;
use crate::widgets::form::{Field, Form, FormAnswer};

/// Opens the form of the realm under the cursor.
pub(super) fn edit(model: &mut Model) {
    let view = match model.place() {
        Place::Realm(name) => model.sheet.realm.clone().filter(|view| view.name == *name),
        _ => model.lists.realms.selected().cloned(),
    };
    let Some(view) = view else { return };
    let base = RealmBase {
        name: Some(view.name),
        revision: view.revision,
        document: view.document,
    };
    let form = realm_form(&base);
    open(model, form, Purpose::RealmForm(Box::new(base)));
}

/// Opens the form of a realm that does not exist yet.
pub(super) fn create(model: &mut Model) {
    let base = RealmBase {
        name: None,
        revision: 0,
        document: RealmDocument::default(),
    };
    let form = realm_form(&base);
    open(model, form, Purpose::RealmForm(Box::new(base)));
}

fn title(base: &RealmBase) -> String {
    match &base.name {
        Some(name) => format!("Realm {name}, revision {}", base.revision),
        None => "New realm".to_owned(),
    }
}

fn realm_form(base: &RealmBase) -> Form {
    let mut fields = Vec::new();
    if base.name.is_none() {
        fields.push(Field::text("name", "name", "", "1 to 127 bytes"));
    }
    for (name, help) in REALM_FIELDS {
        fields.push(Field::text(
            name,
            name,
            &realm_field(&base.document, name),
            help,
        ));
    }
    fields.push(Field::text("reason", "reason", "", "kept in the audit"));
    Form::new(title(base), "Preview (y)", fields).focus_first()
}

/// From the form to the preview, or from a conflict back to the form.
pub(super) fn next_step(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(Dialog::Form(mut form, purpose)) = model.dialog.take() else {
        return;
    };
    match *purpose {
        Purpose::RealmForm(base) => match realm_draft(&base, &form) {
            Ok(draft) if draft.document == base.document && base.revision > 0 => {
                form.error = Some("nothing is changed".to_owned());
                model.dialog = Some(Dialog::Form(form, Box::new(Purpose::RealmForm(base))));
            }
            Ok(draft) => preview(model, *base, draft, Source::Form(form), effects),
            Err(why) => {
                form.error = Some(why);
                model.dialog = Some(Dialog::Form(form, Box::new(Purpose::RealmForm(base))));
            }
        },
        Purpose::RealmConflict(conflict, source) => edit_over(model, *conflict, source, effects),
        other => model.dialog = Some(Dialog::Form(form, Box::new(other))),
    }
}

/// Shows what changes, and asks the nodes what it would do.
pub(super) fn preview(
    model: &mut Model,
    base: RealmBase,
    draft: RealmDraft,
    source: Source,
    effects: &mut Vec<Effect>,
) {
    let title = format!(
        "Apply changes to realm {}?  (revision {} -> {})",
        draft.name,
        base.revision,
        base.revision + 1
    );
    let fields = match &source {
        Source::Form(_) => Vec::new(),
        Source::Text(_) => vec![reason_field()],
    };
    let mut form = Form::new(title, "Apply (y)", fields);
    form.middle = Some("Edit again");
    form.facts = realm_diff(&base.document, &draft.document);
    // What the nodes say comes below; nothing is applied before.
    form.busy = true;
    let put = RealmPut {
        document: draft.document.clone(),
        reason: String::new(),
    };
    let question = Question::Preview(draft.name.clone(), Box::new(put));
    open(
        model,
        form,
        Purpose::RealmApply(Box::new(base), Box::new(draft), source),
    );
    ask_for_dialog(model, question, effects);
}

/// The preview that waits for what the nodes say of `name`.
fn waiting<'a>(model: &'a mut Model, name: &Realm) -> Option<(&'a mut Form, &'a RealmDraft)> {
    let Some(Dialog::Form(form, purpose)) = &mut model.dialog else {
        return None;
    };
    match &**purpose {
        Purpose::RealmApply(_, draft, _) if draft.name == *name => Some((form, draft)),
        _ => None,
    }
}

/// Takes in what the nodes say that a document would do.
pub(super) fn previewed(model: &mut Model, name: &Realm, put: &RealmPut, seen: &RealmPreview) {
    let Some((form, draft)) = waiting(model, name) else {
        return;
    };
    if draft.document != put.document {
        return;
    }
    form.busy = false;
    if !seen.errors.is_empty() {
        form.error = Some(seen.errors.join("; "));
    }
    let mut label = "effect";
    for line in effects_of(seen, &draft.document) {
        form.facts.push((label.to_owned(), line));
        label = "";
    }
    form.notes = vec![
        "If somebody changes the realm meanwhile, nothing is written and you see both.".to_owned(),
    ];
}

/// The nodes did not say what it would do; that is told, and the operator decides.
pub(super) fn not_previewed(model: &mut Model, name: &Realm, why: &str) {
    if let Some((form, _)) = waiting(model, name) {
        form.busy = false;
        let fact = ("effect".to_owned(), format!("not known: {why}"));
        form.facts.push(fact);
    }
}

/// Ours over their revision: nothing that was typed is lost.
fn edit_over(model: &mut Model, conflict: Conflict, source: Source, effects: &mut Vec<Effect>) {
    let theirs = RealmBase {
        name: Some(conflict.theirs.name),
        revision: conflict.theirs.revision,
        document: conflict.theirs.document,
    };
    match source {
        Source::Form(mut mine) => {
            mine.title = title(&theirs);
            mine.busy = false;
            mine.error = None;
            open(model, *mine, Purpose::RealmForm(Box::new(theirs)));
        }
        Source::Text(_) => {
            editor::over(model, &conflict.before, &conflict.mine, theirs, effects);
        }
    }
}

/// The button in the middle: back to the form or the editor.
pub(super) fn edit_again(model: &mut Model, effects: &mut Vec<Effect>) {
    let edited = matches!(&model.dialog, Some(Dialog::Form(_, purpose))
        if matches!(**purpose, Purpose::RealmApply(..)));
    if !edited {
        return;
    }
    let Some(Dialog::Form(_, purpose)) = model.dialog.take() else {
        return;
    };
    if let Purpose::RealmApply(base, _, source) = *purpose {
        match source {
            Source::Form(form) => open(model, *form, Purpose::RealmForm(base)),
            Source::Text(text) => editor::again(model, *base, &text, effects),
        }
    }
}

/// Takes in the realm as it is now, after a compare-and-set was lost.
pub(super) fn take(model: &mut Model, theirs: RealmView) {
    let Some(Dialog::Form(_, purpose)) = &model.dialog else {
        return;
    };
    let Purpose::RealmApply(base, draft, source) = (**purpose).clone() else {
        return;
    };
    let mut form = Form::new(
        format!("Realm {}: {} was faster", theirs.name, theirs.changed_by),
        "Edit mine over theirs (y)",
        Vec::new(),
    );
    form = form.fact(
        "revision",
        format!("yours {}, now {}", base.revision, theirs.revision),
    );
    for (name, _) in REALM_FIELDS {
        let was = realm_field(&base.document, name);
        let (their, our) = (
            realm_field(&theirs.document, name),
            realm_field(&draft.document, name),
        );
        if their != was || our != was {
            form = form.fact(name, format!("was {was} | theirs {their} | yours {our}"));
        }
    }
    let form = form.note("Nothing was written. What you typed is kept.");
    let conflict = Conflict {
        before: base.document,
        mine: draft.document,
        theirs,
    };
    open(
        model,
        form,
        Purpose::RealmConflict(Box::new(conflict), source),
    );
}

/// Shows a written realm before the next refresh does.
pub(super) fn learn(model: &mut Model, view: RealmView) {
    if let Some(row) = model
        .lists
        .realms
        .rows
        .iter_mut()
        .find(|row| row.name == view.name)
    {
        *row = view;
    }
}

/// What closing a realm dialog does: a preview of a form goes back to the form.
pub(super) fn cancelled(model: &mut Model, effects: &mut Vec<Effect>) -> FormAnswer {
    let Some(Dialog::Form(_, purpose)) = &model.dialog else {
        return FormAnswer::Cancel;
    };
    match &**purpose {
        Purpose::RealmApply(_, _, Source::Form(_)) => {
            edit_again(model, effects);
            return FormAnswer::Stay;
        }
        Purpose::RealmApply(_, _, Source::Text(_)) | Purpose::RealmConflict(_, Source::Text(_)) => {
            editor::give_up(model, false, effects)
        }
        Purpose::RealmForm(_) | Purpose::RealmConflict(_, Source::Form(_)) => {
            model.say(Tone::Normal, "nothing was changed");
        }
        _ => {}
    }
    FormAnswer::Cancel
}
