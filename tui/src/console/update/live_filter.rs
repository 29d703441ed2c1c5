//! A short list follows the filter while it is typed.
//!
//! The nodes answer for so few rows at once; a long list waits for Enter, since each key would make
//! every node search all it has.

use shared::filter::Filter;

use super::super::message::Effect;
use super::super::model::{Model, Prompt, PromptKind};
use super::{ask_list_again, frozen, select_local};

/// Lists of at most so many rows follow.
const ROWS: u64 = 2_000;

/// Shows what the line selects, if it selects anything yet.
pub(super) fn follow(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(prompt) = &model.prompt else { return };
    if prompt.kind != PromptKind::Filter || frozen(model) {
        return;
    }
    let line = prompt.input.value().trim().to_owned();
    let columns = model.place().filter_columns();
    let makes_sense = columns.is_some_and(|columns| Filter::parse(&line, columns).is_ok());
    // Where everything is marked, what is marked must not change under the fingers.
    let may = model
        .shown_list()
        .is_some_and(|list| list.total().is_some_and(|rows| rows <= ROWS) && !list.all_marked());
    if may {
        // What makes no sense yet shows the result of before: half a word must not blank the list.
        let filter = if makes_sense {
            line
        } else {
            prompt.before.clone()
        };
        put(model, &filter, effects);
    }
}

/// Back to the filter from before the line was opened.
pub(super) fn undo(model: &mut Model, prompt: &Prompt, effects: &mut Vec<Effect>) {
    if prompt.kind == PromptKind::Filter {
        put(model, &prompt.before, effects);
    }
}

/// Unlike a filter that is entered this one is no step of the trail.
fn put(model: &mut Model, filter: &str, effects: &mut Vec<Effect>) {
    let Some(list) = model.list() else { return };
    if list.filter() == filter {
        return;
    }
    list.set_filter(filter);
    select_local(model);
    ask_list_again(model, effects);
}
