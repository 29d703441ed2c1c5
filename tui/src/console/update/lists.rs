//! What holds for all lists: the scope in front of their filters, and asking for them now.

use shared::filter::{Filter, SESSION_COLUMNS};

use super::super::desk::scope_for;
use super::super::message::Effect;
use super::super::model::{Model, Place};
use super::super::theme::Tone;
use super::{ask_list_again, ask_view};

/// Places whose lists a scope narrows.
const SCOPED: [Place; 5] = [
    Place::Nodes,
    Place::Sessions,
    Place::Users,
    Place::Realms,
    Place::Refusals,
];

/// `:scope`: a filter in front of the filter of every list, as far as the list knows its columns.
pub(super) fn scope(
    model: &mut Model,
    text: &str,
    effects: &mut Vec<Effect>,
) -> Result<(), String> {
    let scope = Filter::parse(text, SESSION_COLUMNS).map_err(|e| e.to_string())?;
    if scope.parts().any(|term| term.column().is_none()) {
        return Err("a scope names columns, as in :scope realm=acme node=fra1".to_owned());
    }
    model.desk.scope = scope.to_string();
    for place in SCOPED {
        let columns = place.filter_columns().unwrap_or_default();
        let known = scope_for(&scope, columns);
        if let Some(list) = model.lists.of_mut(&place) {
            list.set_scope(&known);
        }
    }
    model.lists.groups.scope = model.desk.scope.clone();
    let said = if text.is_empty() {
        "no scope: lists show everything".to_owned()
    } else {
        format!(
            "scope {}: nodes, sessions, users, realms, refusals and groups show no more than that",
            model.desk.scope
        )
    };
    model.say(Tone::Normal, said);
    ask_list_again(model, effects);
    Ok(())
}

/// `:reload`: what is on the screen, now.
pub(super) fn reload(model: &mut Model, effects: &mut Vec<Effect>) {
    model.asked.clear();
    model.next_refresh_ms = model.now_ms;
    ask_view(model, effects);
}
