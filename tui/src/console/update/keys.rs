//! What keys do.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use shared::api::AlertView;
use shared::api::GroupBy;
use shared::filter::equals;
use shared::units::grouped;

use super::super::keymap::{Binding, Intent, Views};
use super::super::layout;
use super::super::message::{Effect, Question, Slot};
use super::super::model::{Dialog, Mode, Model, Place, PromptKind, REFRESH_SECS, Visit};
use super::super::pulse;
use super::super::purpose::Purpose;
use super::super::theme::Tone;
use super::{
    ask, ask_list_again, ask_view, change, config, documents, enter, exports, fleet, help, jobs,
    jump, pickers, prompt, realm, revisions, secrets, set_filter, set_trail, travel, verify,
};
use crate::widgets::form::FormAnswer;

/// Two ^c within this time leave.
const INTERRUPT_MS: u64 = 1_000;

/// Handles a key: the topmost layer gets it.
pub(super) fn key(model: &mut Model, event: KeyEvent, effects: &mut Vec<Effect>) {
    model.dirty = true;
    if let Some(intent) = model.keymap.lookup_anywhere(event) {
        return anywhere(model, intent, effects);
    }
    if model.prompt.is_some() {
        prompt::key(model, event, effects);
    } else if model.dialog.is_some() {
        dialog_key(model, event, effects);
    } else if let Some(binding) = model.keymap.lookup(event, model.place().views()) {
        act(model, binding, effects);
    }
}

/// What works even where one types.
fn anywhere(model: &mut Model, intent: Intent, effects: &mut Vec<Effect>) {
    match intent {
        Intent::Interrupt => interrupt(model, effects),
        Intent::Suspend => effects.push(Effect::Suspend),
        Intent::Redraw => effects.push(Effect::Redraw),
        _ => {}
    }
}

/// ^c cancels what is being typed or asked; a second one within a second leaves.
fn interrupt(model: &mut Model, effects: &mut Vec<Effect>) {
    let again = model
        .interrupted_ms
        .is_some_and(|at| model.now_ms.saturating_sub(at) < INTERRUPT_MS);
    model.interrupted_ms = Some(model.now_ms);
    if again {
        effects.push(Effect::Quit);
    } else if model.desk.export.is_some() && model.prompt.is_none() && model.dialog.is_none() {
        effects.push(Effect::StopExport);
    } else if model.prompt.is_some() {
        prompt::cancel(model, effects);
    } else if verify::runs(model) {
        verify::leave(model, effects);
    } else if model.dialog.take().is_none() {
        model.say(Tone::Normal, "^c once more leaves");
    }
}

fn dialog_key(model: &mut Model, event: KeyEvent, effects: &mut Vec<Effect>) {
    if dry_run(model, event, effects) {
        return;
    }
    let answer = match &mut model.dialog {
        None => return,
        Some(Dialog::Help(_)) => return help::key(model, event),
        Some(Dialog::Sort(_)) => return pickers::sort_key(model, event, effects),
        Some(Dialog::Copy(_)) => return pickers::copy_key(model, event, effects),
        Some(Dialog::Document(_)) => return documents::key(model, event, effects),
        Some(Dialog::Columns(_)) => return pickers::columns_key(model, event),
        Some(Dialog::Job(_)) => return jobs::key(model, event, effects),
        Some(Dialog::Verify(_)) => return verify::key(model, event, effects),
        Some(Dialog::Form(form, _)) => form.key(event),
    };
    match answer {
        FormAnswer::Stay => {}
        FormAnswer::Middle if config::edit_again(model) => {}
        FormAnswer::Middle => {
            realm::edit_again(model, effects);
            secrets::copy(model, effects);
            revisions::one_earlier(model, effects);
        }
        FormAnswer::Confirm => jobs::submit(model, effects),
        FormAnswer::Cancel if config::cancelled(model) => {}
        FormAnswer::Cancel => {
            if realm::cancelled(model, effects) == FormAnswer::Cancel {
                model.dialog = None;
                ask_view(model, effects);
            }
        }
    }
}

/// alt-d in a dialog that kills: what it would kill goes into a file, and nothing else happens.
fn dry_run(model: &Model, event: KeyEvent, effects: &mut Vec<Effect>) -> bool {
    let alt_d = event.code == KeyCode::Char('d') && event.modifiers.contains(KeyModifiers::ALT);
    let Some(Dialog::Form(form, purpose)) = model.dialog.as_ref().filter(|_| alt_d) else {
        return false;
    };
    let ids = match &**purpose {
        Purpose::KillOne(id) => std::slice::from_ref(id),
        Purpose::KillMany(ids) => ids.as_slice(),
        _ => return false,
    };
    let mut text = format!("# {}: a dry run, nothing was killed\n", form.title);
    for (label, value) in &form.facts {
        text.push_str(&format!("# {label}: {}\n", shared::display_safe(value)));
    }
    for id in ids {
        text.push_str(&format!("{id}\n"));
    }
    effects.push(Effect::Save("relayctl-kill-", text));
    true
}

fn act(model: &mut Model, binding: &Binding, effects: &mut Vec<Effect>) {
    use Intent as I;
    if binding.needs.is_some() {
        return change::begin(model, binding, effects);
    }
    match binding.intent {
        I::Up | I::Down | I::Top | I::End | I::HalfUp | I::HalfDown | I::PageUp | I::PageDown => {
            movement(model, binding.intent, effects);
        }
        I::ColumnsLeft | I::ColumnsRight => {
            if let Some(list) = model.list() {
                list.scroll_columns(binding.intent == I::ColumnsRight);
            }
        }
        I::Open
        | I::Leave
        | I::Quit
        | I::HistoryBack
        | I::HistoryForward
        | I::LastView
        | I::UserOf
        | I::NodeOf
        | I::Go(_) => navigate(model, binding.intent, effects),
        I::Command => prompt::open(model, PromptKind::Command),
        I::Filter => prompt::open(model, PromptKind::Filter),
        I::Sort => pickers::open_sort(model),
        I::SortLeft | I::SortRight => {
            pickers::move_sort(model, binding.intent == I::SortRight, effects);
        }
        I::Columns => pickers::open_columns(model),
        I::Reverse => {
            if let Some(list) = model.list()
                && let Some((column, descending)) = list.sort()
            {
                list.set_sort(column, !descending);
                ask_list_again(model, effects);
            }
        }
        I::Mark | I::Range | I::ClearMarks | I::MarkAll => marks(model, binding.intent),
        I::Follow => {
            model.follow = !model.follow;
            model.select_events();
        }
        I::NextPanel | I::LastPanel => next_panel(model, binding.intent == I::NextPanel),
        I::OnlyChanged => config::only_changed(model),
        I::Explain => documents::explain(model),
        I::Settings => {
            if let Some(node) = model.lists.nodes.selected().map(|n| n.id.clone()) {
                enter(model, Place::Config(node), "");
            }
        }
        I::Pause => {
            model.paused = !model.paused;
            ask_view(model, effects);
        }
        I::Faster => set_refresh(model, model.refresh.saturating_sub(1)),
        I::Slower => set_refresh(model, model.refresh + 1),
        I::Copy => pickers::open_copy(model),
        I::Export => exports::offer(model),
        I::Json => documents::open_json(model, effects),
        I::Revisions => revisions::history(model, effects),
        I::Preview => preview(model),
        I::Group => group(model),
        I::Reconnect => reconnect(model, effects),
        I::Help => help::open(model),
        other => anywhere(model, other, effects),
    }
}

pub(super) fn set_refresh(model: &mut Model, index: usize) {
    model.refresh = index.min(REFRESH_SECS.len() - 1);
    model.next_refresh_ms = model.now_ms;
    model.say(
        Tone::Normal,
        format!("refresh every {} s", REFRESH_SECS[model.refresh]),
    );
}

pub(super) fn movement(model: &mut Model, intent: Intent, effects: &mut Vec<Effect>) {
    let following = *model.place() == Place::Events;
    let place = model.place().clone();
    let last = match place {
        Place::Session(_) => {
            let peers = model.detail.view.as_ref().map(|detail| {
                let connections = detail.peer_connections.len();
                connections.max(detail.permissions.len())
            });
            peers.unwrap_or(0)
        }
        Place::Realm(_) => {
            let users = model
                .panels
                .users
                .as_ref()
                .map(|(_, page)| page.items.len());
            users.unwrap_or(0)
        }
        Place::Pulse => pulse::rows(model, model.pulse.panel),
        _ => 0,
    }
    .saturating_sub(1);
    let scrolled = match place {
        Place::Session(_) => Some(&mut model.detail.top),
        Place::Realm(_) => Some(&mut model.sheet.top),
        Place::Pulse => Some(&mut model.pulse.row),
        _ => None,
    };
    if let Some(row) = scrolled {
        *row = scroll((*row).min(last), intent).min(last);
        return;
    }
    let paused = model.paused;
    let Some(list) = model.list() else { return };
    let page = list.height().max(1) as isize;
    let mut elsewhere = false;
    match intent {
        Intent::Up => list.move_by(-1),
        Intent::Down => list.move_by(1),
        Intent::HalfUp => list.move_by(-(page / 2).max(1)),
        Intent::HalfDown => list.move_by((page / 2).max(1)),
        Intent::PageUp => list.move_by(-page),
        Intent::PageDown => list.move_by(page),
        // What is frozen is only moved about in.
        Intent::Top if paused => list.move_by(isize::MIN),
        Intent::End if paused => list.move_by(isize::MAX),
        Intent::Top => elsewhere = list.to_top(),
        _ => elsewhere = list.to_end(),
    }
    if following {
        let rows = model.lists.events.rows.len();
        model.follow = model.lists.events.at + 1 >= rows && intent != Intent::Up;
    }
    if elsewhere {
        ask_list_again(model, effects);
    }
}

/// Where a movement leads in a panel that scrolls by rows.
fn scroll(row: usize, intent: Intent) -> usize {
    match intent {
        Intent::Up => row.saturating_sub(1),
        Intent::Down => row + 1,
        Intent::Top => 0,
        Intent::End => usize::MAX,
        Intent::PageUp | Intent::HalfUp => row.saturating_sub(5),
        _ => row + 5,
    }
}

/// Tab: the next panel of the pulse, or the other list of a view that has two.
fn next_panel(model: &mut Model, forward: bool) {
    if *model.place() == Place::Pulse {
        model.pulse.panel = model.pulse.panel.next(forward);
        model.pulse.row = 0;
    } else if let Some(other) = fleet::other_side(model.place()) {
        let mut trail = model.trail.clone();
        trail.pop();
        trail.push(Visit {
            place: other,
            filter: String::new(),
        });
        travel(model, trail);
    }
}

fn navigate(model: &mut Model, intent: Intent, effects: &mut Vec<Effect>) {
    match intent {
        Intent::Open if *model.place() == Place::Contexts => {
            let name = model.lists.contexts.selected().map(|c| c.name.clone());
            if let Some(Err(why)) = name.map(|name| super::switch(model, &name, effects)) {
                model.say(Tone::Normal, why);
            }
        }
        Intent::Open => open(model),
        Intent::Leave => leave(model, effects),
        Intent::Quit if model.trail.len() > 1 => back(model),
        Intent::Quit => effects.push(Effect::Quit),
        Intent::HistoryBack | Intent::HistoryForward => {
            let (history, at) = &mut model.history;
            let next = if intent == Intent::HistoryBack {
                at.checked_sub(1)
            } else {
                Some(*at + 1)
            };
            if let Some(trail) = next.and_then(|next| history.get(next).cloned()) {
                *at = next.unwrap_or(*at);
                set_trail(model, trail);
            }
        }
        Intent::LastView => {
            if let Some(trail) = model.previous.clone() {
                travel(model, trail);
            }
        }
        Intent::Go(index) => {
            let place = Place::NUMBERED[usize::from(index) % Place::NUMBERED.len()].clone();
            if place != *model.place() {
                let filter = kept_filter(model, &place);
                jump(model, place, &filter);
            }
        }
        Intent::UserOf | Intent::NodeOf => {
            let detail = model.detail.view.as_ref().map(|d| &d.session);
            let session = match model.place() {
                Place::Session(_) => detail,
                _ => model.lists.sessions.selected(),
            };
            let filter = session.map(|s| match intent {
                Intent::UserOf => change::user_filter(&s.realm, &s.user),
                _ => equals("node", s.node.as_str()),
            });
            if let Some(filter) = filter {
                enter(model, Place::Sessions, &filter);
            }
        }
        _ => {}
    }
}

/// The filter that a list still has from the last visit.
fn kept_filter(model: &Model, place: &Place) -> String {
    // Sessions are reached with many filters; a number key means all of them.
    if *place == Place::Sessions {
        return String::new();
    }
    let list = model.lists.of(place);
    list.map(|l| l.filter().to_owned()).unwrap_or_default()
}

/// Enter: what the row under the cursor leads to.
pub(super) fn open(model: &mut Model) {
    let lists = &model.lists;
    let (place, filter) = match model.place() {
        Place::Pulse => match pulse::target(model) {
            Some(target) => target,
            None => return,
        },
        Place::Nodes => match lists.nodes.selected() {
            Some(node) => (Place::Sessions, equals("node", node.id.as_str())),
            None => return,
        },
        Place::Sessions => match lists.sessions.selected() {
            Some(session) => (Place::Session(session.id), String::new()),
            None => return,
        },
        Place::Users => match lists.users.selected() {
            Some(user) => (
                Place::Sessions,
                change::user_filter(&user.realm, &user.name),
            ),
            None => return,
        },
        Place::Realms => match lists.realms.selected() {
            Some(realm) => (Place::Realm(realm.name.clone()), String::new()),
            None => return,
        },
        Place::Realm(name) => (Place::Sessions, equals("realm", name.as_str())),
        Place::Events => {
            let Some(event) = lists.events.selected() else {
                return;
            };
            match (event.session, &event.user) {
                (Some(id), _) => (Place::Session(id), String::new()),
                (None, Some(user)) => (Place::Users, equals("user", user)),
                (None, None) => (Place::Nodes, equals("node", event.node.as_str())),
            }
        }
        Place::Session(id) => {
            let filter = equals("session", &id.to_string());
            (Place::Events, filter)
        }
        Place::Groups(_) => match lists.groups.selected() {
            Some(group) => (Place::Sessions, group.filter.clone()),
            None => return,
        },
        Place::Refusals => match fleet::refused_whom(model) {
            Some(target) => target,
            None => return,
        },
        Place::RefusalCounts => match fleet::counted_what(model) {
            Some(target) => target,
            None => return,
        },
        Place::Audit => return fleet::show_record(model),
        Place::Config(_) => return config::open(model),
        Place::Alerts => match lists.alerts.selected() {
            Some(alert) => about(alert),
            None => return,
        },
        Place::AlertRules
        | Place::Redirects
        | Place::OauthKeys
        | Place::Bans
        | Place::Diff(..)
        | Place::Contexts => return,
    };
    enter(model, place, &filter);
}

/// What an alert is about: its node, else its realm.
pub(crate) fn about(alert: &AlertView) -> (Place, String) {
    match (&alert.node, &alert.realm) {
        (Some(node), _) => (Place::Nodes, equals("node", node.as_str())),
        (None, Some(realm)) => (Place::Realm(realm.clone()), String::new()),
        (None, None) => (Place::Nodes, String::new()),
    }
}

/// Esc drops a range of marks that has begun, else clears the filter, else goes back.
fn leave(model: &mut Model, effects: &mut Vec<Effect>) {
    if let Some(list) = model.list().filter(|list| list.in_range()) {
        list.end_range(false);
        return;
    }
    // A filter that the way here brought along is part of the place, not something typed.
    let typed = model.list().is_some_and(|l| !l.filter().is_empty());
    let brought = model
        .history
        .0
        .get(model.history.1)
        .and_then(|t| t.last())
        .map(|v| v.filter.clone());
    let current = model.trail.last().map(|v| v.filter.clone());
    if typed && brought != current {
        let filter = brought.unwrap_or_default();
        set_filter(model, &filter, effects);
    } else if typed && model.trail.len() <= 2 {
        set_filter(model, "", effects);
    } else {
        back(model);
    }
}

fn back(model: &mut Model) {
    if model.trail.len() > 1 {
        let mut trail = model.trail.clone();
        trail.pop();
        travel(model, trail);
    }
}

fn marks(model: &mut Model, intent: Intent) {
    if !model.place().views().has(Views::MARKED) {
        return;
    }
    let Some(list) = model.list() else { return };
    match intent {
        Intent::Mark | Intent::Range if list.in_range() => {
            let marked = list.end_range(true);
            let text = match marked.not_loaded {
                0 => format!("{} rows marked", grouped(marked.rows as u64)),
                more => format!(
                    "{} rows marked; {} of the range are not loaded and stay unmarked",
                    grouped(marked.rows as u64),
                    grouped(more as u64)
                ),
            };
            let tone = if marked.not_loaded == 0 {
                Tone::Normal
            } else {
                Tone::Warn
            };
            model.say(tone, text);
        }
        Intent::Range => {
            list.begin_range();
            model.say(
                Tone::Normal,
                "range: move, then v marks it and esc drops it",
            );
        }
        Intent::Mark => list.toggle_mark(),
        Intent::ClearMarks => list.clear_marks(),
        _ => list.mark_all(),
    }
}

/// `P`: opens or closes the panel below the list, whatever the screen has room for by itself.
fn preview(model: &mut Model) {
    let Some(regions) = layout::regions(model.size) else {
        return;
    };
    let open = layout::list_areas(model, regions.body).2.height > 0;
    model.desk.preview = Some(!open);
}

/// `t`: sessions by group, at first by user; then by the next kind of group.
fn group(model: &mut Model) {
    let filter = model.shown_list().map_or("", |l| l.filter()).to_owned();
    let Place::Groups(by) = model.place() else {
        return enter(model, Place::Groups(GroupBy::User), &filter);
    };
    let at = GroupBy::ALL.iter().position(|known| known == by);
    let next = GroupBy::ALL[at.map_or(0, |at| (at + 1) % GroupBy::ALL.len())];
    let mut trail = model.trail.clone();
    if let Some(visit) = trail.last_mut() {
        visit.place = Place::Groups(next);
    }
    travel(model, trail);
    model.asked.remove(&Slot::Other("groups"));
}

fn reconnect(model: &mut Model, effects: &mut Vec<Effect>) {
    model.connection.retry_now(model.now_ms);
    model.asked.clear();
    model.next_refresh_ms = model.now_ms;
    let probe = if model.whoami.is_none() {
        Question::WhoAmI
    } else {
        Question::Overview
    };
    ask(model, probe, effects);
    model.asked.remove(&Slot::Other("events"));
}

/// `:ro`.
pub(super) fn read_only(model: &mut Model) {
    model.mode = Mode::ReadOnly;
    model.wants_rw = false;
    model.say(Tone::Normal, "read-only");
}
