//! Editing a realm: form, preview, compare-and-set, and what to do when somebody was faster.

use shared::api::{RealmDocument, RealmView};

use super::super::model::{Dialog, Model};
use super::super::purpose::{
    Purpose, REALM_FIELDS, RealmBase, realm_diff, realm_draft, realm_field,
};
use super::super::theme::Tone;
use super::change::open;
use crate::widgets::form::{Field, Form, FormAnswer};

/// Opens the form of the realm under the cursor.
pub(super) fn edit(model: &mut Model) {
    let Some(view) = model.lists.realms.selected().cloned() else {
        return;
    };
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
pub(super) fn next_step(model: &mut Model) {
    let Some(Dialog::Form(mut form, purpose)) = model.dialog.take() else {
        return;
    };
    match *purpose {
        Purpose::RealmForm(base) => match realm_draft(&base, &form) {
            Ok(draft) if draft.document == base.document && base.revision > 0 => {
                form.error = Some("nothing is changed".to_owned());
                model.dialog = Some(Dialog::Form(form, Box::new(Purpose::RealmForm(base))));
            }
            Ok(draft) => {
                let title = format!(
                    "Apply changes to realm {}?  (revision {} -> {})",
                    draft.name,
                    base.revision,
                    base.revision + 1
                );
                let mut preview = Form::new(title, "Apply (y)", Vec::new());
                preview.middle = Some("Edit again");
                preview.facts = realm_diff(&base.document, &draft.document);
                let preview = preview
                    .note("New sessions follow it on all nodes at once; existing ones keep what they have.")
                    .note("If somebody changes the realm meanwhile, nothing is written and you see both.");
                open(
                    model,
                    preview,
                    Purpose::RealmApply(base, Box::new(draft), form),
                );
            }
            Err(why) => {
                form.error = Some(why);
                model.dialog = Some(Dialog::Form(form, Box::new(Purpose::RealmForm(base))));
            }
        },
        Purpose::RealmConflict(theirs, mine) => edit_over(model, *theirs, *mine),
        other => model.dialog = Some(Dialog::Form(form, Box::new(other))),
    }
}

/// Our form over their revision: nothing that was typed is lost.
fn edit_over(model: &mut Model, theirs: RealmView, mut mine: Form) {
    let base = RealmBase {
        name: Some(theirs.name),
        revision: theirs.revision,
        document: theirs.document,
    };
    mine.title = title(&base);
    mine.busy = false;
    mine.error = None;
    open(model, mine, Purpose::RealmForm(Box::new(base)));
}

/// The button in the middle: back to the form.
pub(super) fn edit_again(model: &mut Model) {
    let Some(Dialog::Form(_, purpose)) = model.dialog.take() else {
        return;
    };
    if let Purpose::RealmApply(base, _, form) = *purpose {
        open(model, *form, Purpose::RealmForm(base));
    }
}

/// Takes in the realm as it is now, after a compare-and-set was lost.
pub(super) fn take(model: &mut Model, theirs: RealmView) {
    let Some(Dialog::Form(_, purpose)) = &model.dialog else {
        return;
    };
    let Purpose::RealmApply(base, draft, mine) = (**purpose).clone() else {
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
    let form = form.note("Nothing was written. Your entries are kept in the form.");
    open(model, form, Purpose::RealmConflict(Box::new(theirs), mine));
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

/// What closing a realm dialog does: a preview or a conflict goes back to the form.
pub(super) fn cancelled(model: &mut Model) -> FormAnswer {
    let Some(Dialog::Form(_, purpose)) = &model.dialog else {
        return FormAnswer::Cancel;
    };
    if matches!(**purpose, Purpose::RealmApply(..)) {
        edit_again(model);
        return FormAnswer::Stay;
    }
    if matches!(
        **purpose,
        Purpose::RealmForm(_) | Purpose::RealmConflict(..)
    ) {
        model.say(Tone::Normal, "nothing was changed");
    }
    FormAnswer::Cancel
}
