//! Editing a setting: form, dry run, compare-and-set, and what to do when somebody was faster.

use shared::api::{
    Applies, ConfigOverrides, ConfigPatch, ConfigResult, ConfigView, Role, SettingKind,
    setting_text,
};

use super::super::fleet_forms::{SettingEdit, describe_changes, typed_value};
use super::super::message::{Effect, Question};
use super::super::model::{Dialog, Model, Place};
use super::super::purpose::Purpose;
use super::super::theme::Tone;
use super::{answers, change};
use crate::client::ConfigScope;
use crate::widgets::form::{Field, Form};

/// The setting of a node that decides how much it logs.
const LOG_LEVEL: &str = "log.level";

/// `d`: settings that are at their default go, or come back.
pub(super) fn only_changed(model: &mut Model) {
    model.only_changed = !model.only_changed;
    model.select_settings();
    let text = if model.only_changed {
        "only what is not at its default; d shows all"
    } else {
        "all settings"
    };
    model.say(Tone::Normal, text);
}

/// Enter: the form where one may change things, else the setting in full.
pub(super) fn open(model: &mut Model) {
    if model.may(Role::Admin).is_ok() {
        edit(model);
    } else if let Some(setting) = model.lists.config.selected().cloned() {
        let mut form = Form::message(setting.key.clone())
            .fact("value", setting.value_text())
            .fact("from", setting.source.as_str())
            .fact("default", setting_text(&setting.default))
            .fact("applies", setting.applies.as_str());
        if let Some(pending) = &setting.pending {
            form = form.fact("pending", setting_text(pending));
        }
        change::open(model, form.note(setting.help), Purpose::Look);
    }
}

/// `E`: the form of the setting under the cursor.
pub(super) fn edit(model: &mut Model) {
    let Some(setting) = model.lists.config.selected() else {
        return;
    };
    let key = setting.key.clone();
    if let Some(view) = model.config.clone() {
        edit_key(model, &view, &key);
    }
}

/// `L` in the list of nodes: how much the node under the cursor logs.
pub(super) fn log_level(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(node) = model.lists.nodes.selected().map(|n| n.id.clone()) else {
        return;
    };
    let question = Question::EditSetting(node, LOG_LEVEL);
    answers::ask_for_dialog(model, question, effects);
}

/// Opens the form of one setting of a node, or says why there is none.
pub(super) fn edit_key(model: &mut Model, view: &ConfigView, key: &str) {
    if model.dialog.is_some() {
        return;
    }
    let Some(setting) = view.settings.iter().find(|s| s.key == key).cloned() else {
        model.say(Tone::Warn, format!("{} has no setting {key}", view.node));
        return;
    };
    if setting.applies == Applies::File {
        let form = Form::message(format!("{key} is changed in the file"))
            .fact("value", setting.value_text())
            .fact("from", setting.source.as_str())
            .note(setting.help)
            .note(format!(
                "The store cannot override it: set {key} in the configuration file of {} (or its \
                 flag or environment variable) and restart the node.",
                view.node
            ));
        return change::open(model, form, Purpose::Look);
    }
    let edit = SettingEdit {
        node: view.node.clone(),
        setting,
        all_revision: view.cluster_revision,
        node_revision: view.node_revision,
    };
    let form = setting_form(&edit, *model.place() == Place::Nodes);
    change::open(model, form, Purpose::ConfigForm(Box::new(edit)));
}

fn setting_form(edit: &SettingEdit, this_node_only: bool) -> Form {
    let setting = &edit.setting;
    let value = typed_value(setting);
    let help = match setting.kind {
        SettingKind::Text | SettingKind::Boolean => "",
        SettingKind::Integer => "a whole number",
        SettingKind::List => "joined by commas",
        SettingKind::Table => "name=value, joined by commas",
    };
    let field = match setting.kind {
        SettingKind::Boolean => Field::toggle("value", &setting.key, value == "yes"),
        _ if setting.secret => Field::masked("value", &setting.key),
        _ => Field::text("value", &setting.key, &value, help),
    };
    let mut fields = vec![field];
    if !this_node_only {
        fields.push(Field::toggle("all", "for all nodes", false));
    }
    fields.push(Field::toggle("remove", "remove the override", false));
    fields.push(Field::text("reason", "reason", "", "kept in the audit"));
    Form::new(
        format!("{} on {}", setting.key, edit.node),
        "Preview (y)",
        fields,
    )
    .fact(
        "in force",
        format!(
            "{} (from {})",
            setting.value_text(),
            setting.source.as_str()
        ),
    )
    .fact("default", setting_text(&setting.default))
    .note(setting.help.clone())
    .focus_first()
}

/// Takes in what a change would do: the preview, over the form that asked.
pub(super) fn previewed(
    model: &mut Model,
    scope: &ConfigScope,
    patch: &ConfigPatch,
    result: &ConfigResult,
) {
    let Some(Dialog::Form(_, purpose)) = &model.dialog else {
        return;
    };
    let Purpose::ConfigForm(edit) = (**purpose).clone() else {
        return;
    };
    let Some(Dialog::Form(mut form, _)) = model.dialog.take() else {
        return;
    };
    form.busy = false;
    let who = match scope {
        ConfigScope::All => "all nodes".to_owned(),
        ConfigScope::Node(node) => node.to_string(),
    };
    let what = if patch.unset.is_empty() {
        "Apply"
    } else {
        "Remove the override of"
    };
    let title = format!("{what} {} for {who}?", edit.setting.key);
    let mut preview = Form::new(title, "Apply (y)", Vec::new());
    preview.middle = Some("Edit again");
    preview.facts = describe_changes(&result.changes, edit.setting.secret);
    if result.changes.is_empty() {
        preview = preview.note("No value in force changes on any node that answered.");
    }
    for missing in &result.missing {
        preview = preview.note(format!(
            "{} did not answer: it applies the change when it sees it.",
            missing.node
        ));
    }
    let (_, revision) = edit.scope(&form);
    let preview = preview.note(format!(
        "Over revision {revision}: if somebody changes it meanwhile, nothing is written and you \
         see both."
    ));
    change::open(model, preview, Purpose::ConfigApply(edit, form));
}

/// Back to the form from a preview or a conflict; whether there was one.
pub(super) fn edit_again(model: &mut Model) -> bool {
    let Some(Dialog::Form(_, purpose)) = &model.dialog else {
        return false;
    };
    if let Purpose::ConfigApply(edit, form) | Purpose::ConfigConflict(edit, form) =
        (**purpose).clone()
    {
        change::open(model, *form, Purpose::ConfigForm(edit));
        return true;
    }
    false
}

/// What closing a dialog about a setting does: a preview or a conflict goes back to the form.
pub(super) fn cancelled(model: &mut Model) -> bool {
    if edit_again(model) {
        return true;
    }
    if let Some(Dialog::Form(_, purpose)) = &model.dialog
        && matches!(**purpose, Purpose::ConfigForm(_))
    {
        model.say(Tone::Normal, "nothing was changed");
    }
    false
}

/// Takes in the overrides as they are now, after a compare-and-set was lost.
pub(super) fn conflict(model: &mut Model, theirs: &ConfigOverrides) {
    let Some(Dialog::Form(open, purpose)) = &model.dialog else {
        return;
    };
    let (mut edit, mut mine) = match (**purpose).clone() {
        Purpose::ConfigApply(edit, form) => (edit, form),
        Purpose::ConfigForm(edit) => (edit, open.clone()),
        _ => return,
    };
    mine.busy = false;
    mine.error = None;
    let (_, was) = edit.scope(&mine);
    match &theirs.node {
        None => edit.all_revision = theirs.revision,
        Some(_) => edit.node_revision = theirs.revision,
    }
    let key = &edit.setting.key;
    let their_value = match theirs.settings.get(key) {
        Some(_) if edit.setting.secret => "(hidden)".to_owned(),
        Some(value) => setting_text(value),
        None => "no override".to_owned(),
    };
    let our_value = match (mine.value("remove"), edit.setting.secret) {
        ("yes", _) => "no override".to_owned(),
        (_, true) => "(hidden)".to_owned(),
        _ => mine.value("value").to_owned(),
    };
    let by = &theirs.changed_by;
    let form = Form::new(
        format!("{key}: {by} was faster"),
        "Edit mine over theirs (y)",
        Vec::new(),
    )
    .fact("revision", format!("yours {was}, now {}", theirs.revision))
    .fact("theirs", their_value)
    .fact("yours", our_value)
    .note("Nothing was written. Your entries are kept in the form.");
    change::open(model, form, Purpose::ConfigConflict(edit, mine));
}
