//! `V`: a realm's document in the operator's editor, checked, compared, and never lost.

use std::path::PathBuf;

use shared::api::RealmDocument;

use super::super::message::{Effect, Written};
use super::super::model::{Dialog, Model, Place};
use super::super::purpose::{Editing, Purpose, RealmBase, RealmDraft, Source};
use super::super::theme::Tone;
use super::realm;
use crate::guardrails::Deed;
use crate::realm_document::{from_toml, rebase, to_toml};

/// Lines that begin so at the top of the text are ours; they are taken out when it comes back.
const REMARK: &str = "#! ";

/// Hands the realm under the cursor, or the one that is looked at, to the editor.
pub(super) fn begin(model: &mut Model, effects: &mut Vec<Effect>) {
    let view = match model.place() {
        Place::Realm(name) => model.sheet.realm.clone().filter(|view| view.name == *name),
        _ => model.lists.realms.selected().cloned(),
    };
    let Some(view) = view else { return };
    let deed = Deed::of_realm("realm.put", &view.name);
    if let Err(why) = model.judge(&deed).allows(1) {
        model.say(Tone::Bad, why);
        return;
    }
    let base = RealmBase {
        name: Some(view.name),
        revision: view.revision,
        document: view.document,
    };
    edit(model, base, None, None, effects);
}

fn title(base: &RealmBase) -> String {
    match &base.name {
        Some(name) => format!("Realm {name} at revision {}", base.revision),
        None => "New realm".to_owned(),
    }
}

/// Opens the editor with `document`, else with the base's own.
fn edit(
    model: &mut Model,
    base: RealmBase,
    document: Option<&RealmDocument>,
    file: Option<PathBuf>,
    effects: &mut Vec<Effect>,
) {
    match to_toml(&title(&base), document.unwrap_or(&base.document)) {
        Ok(text) => {
            model.editing = Some(Editing {
                base,
                given: text.clone(),
                file: file.clone(),
                merged: document.is_some(),
            });
            effects.push(Effect::Edit { text, file });
        }
        Err(why) => model.say(Tone::Bad, why),
    }
}

/// Opens the editor again with the same text, `remarks` at its top.
fn edit_text(model: &mut Model, text: &str, remarks: &str, effects: &mut Vec<Effect>) {
    let Some(editing) = &mut model.editing else {
        return;
    };
    let mut again = String::new();
    for line in remarks.lines() {
        again.push_str(REMARK);
        again.push_str(&shared::display_safe(line));
        again.push('\n');
    }
    again.push_str(text);
    editing.given.clone_from(&again);
    editing.merged = false;
    effects.push(Effect::Edit {
        text: again,
        file: editing.file.clone(),
    });
}

/// What was typed, without the remarks at its top.
fn without_remarks(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with(REMARK.trim_end()));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Takes in what the editor left.
pub(super) fn done(model: &mut Model, result: Result<Written, String>, effects: &mut Vec<Effect>) {
    model.dirty = true;
    let Some(editing) = &mut model.editing else {
        return;
    };
    let written = match result {
        Ok(written) => written,
        Err(why) => {
            model.editing = None;
            model.say(Tone::Bad, format!("the editor: {why}; nothing was changed"));
            return;
        }
    };
    editing.file = Some(written.file.clone());
    let untouched = written.text == editing.given && !editing.merged;
    if !written.saved || untouched {
        return give_up(model, untouched, effects);
    }
    let base = editing.base.clone();
    let text = without_remarks(&written.text);
    match from_toml(&text, &base.document) {
        Err(why) => edit_text(
            model,
            &text,
            &format!("{why}\nleave unchanged to cancel"),
            effects,
        ),
        Ok(document) if document == base.document => {
            forget(model, effects);
            model.say(Tone::Normal, "nothing is changed");
        }
        Ok(document) => {
            let Some(name) = base.name.clone() else {
                return;
            };
            let draft = RealmDraft {
                name,
                document,
                reason: String::new(),
            };
            realm::preview(model, base, draft, Source::Text(text), effects);
        }
    }
}

/// Ends an edit that is not to be applied. What was typed is kept.
pub(super) fn give_up(model: &mut Model, untouched: bool, effects: &mut Vec<Effect>) {
    let Some(editing) = &model.editing else {
        return;
    };
    let first = editing
        .file
        .clone()
        .filter(|_| !untouched || editing.given.starts_with(REMARK));
    match first {
        Some(file) => {
            let text = format!("nothing was changed; your text is in {}", file.display());
            model.editing = None;
            model.say(Tone::Warn, text);
        }
        None => {
            forget(model, effects);
            model.say(Tone::Normal, "nothing was changed");
        }
    }
}

/// The text is not needed any more.
pub(super) fn forget(model: &mut Model, effects: &mut Vec<Effect>) {
    if let Some(file) = model.editing.take().and_then(|editing| editing.file) {
        effects.push(Effect::Discard(file));
    }
}

/// The button in the middle of the preview, when the text came from an editor.
pub(super) fn again(model: &mut Model, base: RealmBase, text: &str, effects: &mut Vec<Effect>) {
    if let Some(editing) = &mut model.editing {
        editing.base = base;
    }
    edit_text(
        model,
        text,
        "edit again; leave unchanged to cancel",
        effects,
    );
}

/// Somebody was faster: ours over theirs, in the editor.
pub(super) fn over(
    model: &mut Model,
    before: &RealmDocument,
    mine: &RealmDocument,
    theirs: RealmBase,
    effects: &mut Vec<Effect>,
) {
    model.dialog = None;
    let file = model
        .editing
        .as_ref()
        .and_then(|editing| editing.file.clone());
    match rebase(before, mine, &theirs.document) {
        Ok(merged) => edit(model, theirs, Some(&merged), file, effects),
        Err(why) => model.say(Tone::Bad, why),
    }
}

/// Where the text is, for a dialog whose change failed.
pub(super) fn remark(model: &Model) -> Option<String> {
    let from_editor = matches!(&model.dialog, Some(Dialog::Form(_, purpose))
        if matches!(&**purpose, Purpose::RealmApply(_, _, Source::Text(_))));
    let file = model.editing.as_ref()?.file.as_ref()?;
    from_editor.then(|| format!("your text is in {}", file.display()))
}
