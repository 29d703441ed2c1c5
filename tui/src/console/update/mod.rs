//! The one function that changes the model: a message goes in, effects come out. Pure.

mod answers;
mod bans;
mod change;
mod config;
mod documents;
mod drain;
mod editor;
mod exports;
mod fleet;
mod guard;
pub(crate) use change::BULK_MAX;
mod help;
mod jobs;
mod keys;
mod lists;
mod live_filter;
pub(crate) use keys::about;
pub(crate) mod looks;
mod mouse;
mod oauth;
mod pickers;
mod prompt;
mod realm;
mod revisions;
mod saved;
mod secrets;
mod upgrade;
mod verify;
mod watch;

use shared::api::{GroupQuery, JobState, ListQuery};
use shared::filter::nearest;

use super::layout;
use super::message::{Effect, Kind, Message, Question, Slot};
use super::model::{Detail, Dialog, Model, Place, Stream, Visit};
use super::theme::Tone;

/// A question that was not answered for so long may be asked again.
const LOST_MS: u64 = 20_000;
/// How often a watched job is asked for.
const JOB_EVERY_MS: u64 = 500;
/// Trails remembered.
const HISTORY_MAX: usize = 100;

/// Takes in a message.
pub(crate) fn update(model: &mut Model, message: Message) -> Vec<Effect> {
    let mut effects = Vec::new();
    let place = model.place().clone();
    let ticked = matches!(message, Message::Tick(_));
    match message {
        Message::Tick(now_ms) => tick(model, now_ms, &mut effects),
        Message::Key(event) => keys::key(model, event, &mut effects),
        Message::Mouse(event) => mouse::mouse(model, event, &mut effects),
        Message::Continued => {
            model.dirty = true;
            effects.push(Effect::Redraw);
        }
        Message::Paste(text) => prompt::paste(model, &text),
        Message::Resize(columns, rows) => {
            model.size = (columns, rows);
            model.dirty = true;
        }
        Message::Answered { question, result } => {
            answers::answered(model, question, result, &mut effects);
        }
        Message::Acted { action, result } => jobs::acted(model, *action, result, &mut effects),
        Message::Event(event) => {
            model.keep_event(*event);
            model.dirty |= *model.place() == Place::Pulse;
        }
        Message::Edited(result) => editor::done(model, result, &mut effects),
        Message::Kept(result) => saved::kept(model, result),
        Message::Exported(news) => exports::news(model, news),
        Message::Verified(news) => verify::news(model, *news),
        Message::Saved(Ok(path)) => {
            let text = format!("written to {}; nothing was changed", path.display());
            model.say(Tone::Good, text);
        }
        Message::Saved(Err(why)) => model.say(Tone::Bad, format!("not written: {why}")),
        Message::Switched(Ok(connected)) => model.switch_to(&connected),
        Message::Switched(Err(why)) => model.say(Tone::Bad, why),
        Message::StreamEnded => {
            model.stream = Stream::Closed {
                retry_ms: model.now_ms + 5_000,
            }
        }
    }
    let height = layout::list_rows(model);
    if let Some(list) = model.list() {
        list.set_height(height);
    }
    if *model.place() != place {
        ask_view(model, &mut effects);
    }
    ask_wanted_page(model, &mut effects);
    if ticked || *model.place() != place {
        watch::ask_panels(model, &mut effects);
    }
    effects
}

fn tick(model: &mut Model, now_ms: u64, effects: &mut Vec<Effect>) {
    let second = model.now_ms / 1000;
    model.now_ms = now_ms;
    // Ages and countdowns are shown in whole seconds.
    model.dirty |= second != now_ms / 1000;
    if model.toast.as_ref().is_some_and(|t| t.until_ms <= now_ms) {
        model.toast = None;
        model.dirty = true;
    }
    model
        .asked
        .retain(|_, since| now_ms.saturating_sub(*since) < LOST_MS);
    if !model.connection.may_call(now_ms) {
        return;
    }
    if !model.connection.is_up() {
        // One question finds out whether the node is back.
        let probe = if model.whoami.is_none() {
            Question::WhoAmI
        } else {
            Question::Overview
        };
        ask(model, probe, effects);
        return;
    }
    if let Some(Dialog::Job(dialog)) = &mut model.dialog
        && dialog.job.state == JobState::Running
        && dialog.next_ms <= now_ms
    {
        dialog.next_ms = now_ms + JOB_EVERY_MS;
        let id = dialog.job.id.clone();
        ask(model, Question::Job(id), effects);
    }
    if model.unshown_events && *model.place() == Place::Events && !frozen(model) {
        model.select_events();
        model.dirty = true;
    }
    follow_events(model, effects);
    if now_ms >= model.next_refresh_ms {
        model.next_refresh_ms = now_ms + model.refresh_ms();
        if model.whoami.is_none() {
            ask(model, Question::WhoAmI, effects);
        }
        ask(model, Question::Overview, effects);
        if matches!(model.stream, Stream::Closed { .. }) {
            let last = model.events.back().map(|e| e.id.clone());
            ask(model, Question::Events(last), effects);
        }
        ask_view(model, effects);
    }
}

fn follow_events(model: &mut Model, effects: &mut Vec<Effect>) {
    let Stream::Closed { retry_ms } = model.stream else {
        return;
    };
    // What happened before is asked for once; the stream goes on from there.
    if retry_ms <= model.now_ms && (retry_ms > 0 || !model.events.is_empty()) {
        model.stream = Stream::Open;
        effects.push(Effect::Follow(model.events.back().map(|e| e.id.clone())));
    }
}

/// Whether what is shown must not change under the operator's hands.
fn frozen(model: &Model) -> bool {
    model.paused || matches!(model.dialog, Some(Dialog::Form(..) | Dialog::Sort(_)))
}

/// Asks for what the view shows.
fn ask_view(model: &mut Model, effects: &mut Vec<Effect>) {
    if frozen(model) || !model.connection.is_up() {
        return;
    }
    match model.place().clone() {
        Place::Pulse => {
            ask(model, Question::Cluster(all_nodes()), effects);
            let realms = ListQuery {
                sort: Some("rate:desc".to_owned()),
                limit: Some(20),
                ..ListQuery::default()
            };
            ask(model, Question::TopRealms(realms), effects);
        }
        Place::Session(id) => {
            ask(model, Question::Session(id.to_string()), effects);
        }
        Place::Events => model.select_events(),
        Place::Config(node) => ask(model, Question::Config(node), effects),
        Place::Groups(by) => {
            let list = &model.lists.groups;
            let query = GroupQuery {
                filter: list.query(0).filter,
                sort: list.query(0).sort,
                ..GroupQuery::new(by)
            };
            ask(model, Question::Groups(query), effects);
        }
        Place::Diff(left, right) => ask(model, Question::Diff(left, right), effects),
        Place::AlertRules => ask(model, Question::AlertRules, effects),
        Place::Bans => ask(model, Question::Bans, effects),
        Place::OauthKeys => ask(model, Question::OauthKeys, effects),
        Place::Realm(name) => ask(model, Question::OneRealm(name), effects),
        Place::Contexts => {}
        place => {
            if let Some(kind) = place.kind() {
                ask_page(model, kind, None, effects);
            }
        }
    }
}

/// All nodes, as far as one page goes.
fn all_nodes() -> ListQuery {
    ListQuery {
        limit: Some(ListQuery::MAX_LIMIT),
        ..ListQuery::default()
    }
}

/// Goes to another context; without a name, to the list of them.
fn switch(model: &mut Model, name: &str, effects: &mut Vec<Effect>) -> Result<(), String> {
    if name.is_empty() {
        jump(model, Place::Contexts, "");
        return Ok(());
    }
    let known = &model.lists.contexts.rows;
    if !known.iter().any(|row| row.name == name) {
        let near = nearest(name, known.iter().map(|row| row.name.as_str()));
        let hint = near.map_or_else(String::new, |n| format!("; did you mean {n}?"));
        return Err(format!("no context {name}{hint}"));
    }
    if model.context == name {
        return Err(format!("this is {name} already"));
    }
    model.say(Tone::Normal, format!("going to {name}..."));
    effects.push(Effect::Switch(name.to_owned()));
    Ok(())
}

/// Asks for a page of a list; `None`: the first visible one.
fn ask_page(model: &mut Model, kind: Kind, page: Option<usize>, effects: &mut Vec<Effect>) {
    let list = model.lists.paged(kind);
    let (page, query) = list.page_query(page);
    let question = Question::List {
        kind,
        page,
        generation: list.generation(),
        query,
    };
    ask(model, question, effects);
}

/// Asks for the page that the viewport comes near to.
fn ask_wanted_page(model: &mut Model, effects: &mut Vec<Effect>) {
    if frozen(model) || !model.connection.is_up() {
        return;
    }
    let Some(kind) = model.place().kind() else {
        return;
    };
    let wanted = model.lists.paged(kind).wanted();
    if wanted.is_some() {
        ask_page(model, kind, wanted, effects);
    }
}

/// Asks, unless a question of that kind is under way.
fn ask(model: &mut Model, question: Question, effects: &mut Vec<Effect>) {
    let slot = question.slot();
    if model.asked.contains_key(&slot) {
        return;
    }
    model.asked.insert(slot, model.now_ms);
    effects.push(Effect::Ask(question));
}

/// Asks for the list again at once, whatever is under way: its answer will be dropped.
fn ask_list_again(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(kind) = model.place().kind() else {
        model.asked.remove(&Slot::Other("groups"));
        return ask_view(model, effects);
    };
    model.asked.remove(&Slot::List(kind));
    if model.connection.is_up() {
        ask_page(model, kind, Some(0), effects);
    }
}

/// Goes to a place on top of where we are.
fn enter(model: &mut Model, place: Place, filter: &str) {
    let mut trail = model.trail.clone();
    trail.push(Visit {
        place,
        filter: filter.to_owned(),
    });
    travel(model, trail);
}

/// Goes to a place directly below the pulse.
fn jump(model: &mut Model, place: Place, filter: &str) {
    let mut trail = vec![Visit {
        place: Place::Pulse,
        filter: String::new(),
    }];
    if place != Place::Pulse {
        trail.push(Visit {
            place,
            filter: filter.to_owned(),
        });
    }
    travel(model, trail);
}

/// Goes to a trail and writes it into the history.
fn travel(model: &mut Model, trail: Vec<Visit>) {
    if trail == model.trail {
        return;
    }
    let (history, at) = &mut model.history;
    history.truncate(*at + 1);
    history.push(trail.clone());
    if history.len() > HISTORY_MAX {
        history.remove(0);
    }
    *at = history.len() - 1;
    set_trail(model, trail);
}

/// Makes a trail the current one.
fn set_trail(model: &mut Model, trail: Vec<Visit>) {
    model.previous = Some(std::mem::replace(&mut model.trail, trail));
    let filter = model
        .trail
        .last()
        .map(|v| v.filter.clone())
        .unwrap_or_default();
    if let Some(list) = model.list() {
        list.set_filter(&filter);
    }
    if let Some(kind) = model.place().kind() {
        // A question under way may belong to another filter.
        model.asked.remove(&Slot::List(kind));
    }
    if let Place::Session(id) = model.place() {
        let known = model
            .detail
            .view
            .as_ref()
            .is_some_and(|d| d.session.id == *id);
        if !known {
            model.detail = Detail {
                view: None,
                error: None,
                rates: Default::default(),
                top: 0,
            };
            model.asked.remove(&Slot::Other("session"));
        }
    }
    select_local(model);
    model.prompt = None;
    model.dirty = true;
}

/// Chooses the rows of lists that are filtered here.
fn select_local(model: &mut Model) {
    match model.place() {
        Place::Events => model.select_events(),
        Place::Config(_) => model.select_settings(),
        Place::AlertRules => model.select_rules(),
        _ => {}
    }
}

/// Puts a filter on the list on the screen.
fn set_filter(model: &mut Model, filter: &str, effects: &mut Vec<Effect>) {
    if let Some(visit) = model.trail.last_mut() {
        visit.filter = filter.to_owned();
    }
    if let Some(list) = model.list() {
        list.set_filter(filter);
    }
    select_local(model);
    ask_list_again(model, effects);
}

/// Runs the command that stands on `line`. Its questions are asked by the next tick.
///
/// # Errors
/// There is no such command, or it cannot be run like that.
pub(crate) fn run_command(model: &mut Model, line: &str) -> Result<(), String> {
    prompt::run(model, line, &mut Vec::new())
}
