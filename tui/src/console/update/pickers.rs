//! Keys of the small menus over a list.

use crossterm::event::{KeyCode, KeyEvent};
use shared::api::SessionView;
use shared::filter::equals;

use super::super::message::Effect;
use super::super::model::{Dialog, Model, Place};
use super::super::pickers::{ColumnPicker, CopyMenu};
use super::super::theme::Tone;
use super::{ask_list_again, change, documents};
use crate::views::{columns_of, sort_columns};

/// The longest text for the terminal's clipboard, in bytes: terminals give up at 100,000 bytes of
/// the sequence that carries it, which grows by a third.
pub(super) const COPY_MAX: usize = 74_000;

/// `s`: the column to sort by.
pub(super) fn open_sort(model: &mut Model) {
    let current = model.list().and_then(|l| l.sort());
    let chosen = sort_columns(model)
        .iter()
        .position(|(_, name, _)| current.is_some_and(|c| c.0 == *name));
    model.dialog = Some(Dialog::Sort(chosen.unwrap_or(0)));
}

/// A key while the column to sort by is chosen.
pub(super) fn sort_key(model: &mut Model, event: KeyEvent, effects: &mut Vec<Effect>) {
    let columns = sort_columns(model);
    let Some(Dialog::Sort(chosen)) = &mut model.dialog else {
        return;
    };
    match event.code {
        KeyCode::Down | KeyCode::Char('j') => {
            *chosen = (*chosen + 1).min(columns.len().saturating_sub(1))
        }
        KeyCode::Up | KeyCode::Char('k') => *chosen = chosen.saturating_sub(1),
        KeyCode::Esc | KeyCode::Char('q' | 's') => model.dialog = None,
        KeyCode::Enter => {
            let column = columns.get(*chosen).copied();
            model.dialog = None;
            if let (Some((_, name, figures)), Some(list)) = (column, model.list()) {
                list.set_sort(name, figures);
                ask_list_again(model, effects);
            }
        }
        _ => {}
    }
}

/// `<` and `>`: the next column on the screen that can be sorted by.
pub(super) fn move_sort(model: &mut Model, right: bool, effects: &mut Vec<Effect>) {
    let columns = columns_of(model, model.place());
    let sortable: Vec<_> = columns
        .iter()
        .filter(|c| c.shown)
        .filter_map(|c| c.sort.map(|name| (name, c.figures)))
        .collect();
    let Some(list) = model.list() else { return };
    let current = list.sort().map(|(name, _)| name);
    let at = sortable.iter().position(|(name, _)| Some(*name) == current);
    let next = match at {
        None => 0,
        Some(at) if right => at + 1,
        Some(at) => at.wrapping_sub(1),
    };
    if let Some((name, figures)) = sortable.get(next) {
        list.set_sort(name, *figures);
        ask_list_again(model, effects);
    }
}

/// `y`: what to copy of the row under the cursor.
pub(super) fn open_copy(model: &mut Model) {
    let mut items = cells(model);
    if let Some(json) = documents::row_json(model) {
        items.push(("json", json));
    }
    if !items.is_empty() {
        model.dialog = Some(Dialog::Copy(Box::new(CopyMenu { items, at: 0 })));
    }
}

/// What can be copied of the row under the cursor, what is wanted most first.
fn cells(model: &Model) -> Vec<(&'static str, String)> {
    let lists = &model.lists;
    let cells = match model.place() {
        Place::Session(_) => model.detail.view.as_ref().map(|d| session(&d.session)),
        Place::Sessions => lists.sessions.selected().map(session),
        Place::Nodes => (lists.nodes.selected()).map(|n| {
            vec![
                ("node", n.id.to_string()),
                ("filter", equals("node", n.id.as_str())),
            ]
        }),
        Place::Users => lists.users.selected().map(|u| {
            vec![
                ("user", u.name.clone()),
                ("filter", change::user_filter(&u.realm, &u.name)),
            ]
        }),
        Place::Realms => lists
            .realms
            .selected()
            .map(|r| realm_cells(r.name.as_str())),
        Place::Realm(name) => Some(realm_cells(name.as_str())),
        Place::Events => lists
            .events
            .selected()
            .map(|e| vec![("text", e.text.clone())]),
        Place::Audit => (lists.audit.selected())
            .map(|a| vec![("target", a.target.clone()), ("actor", a.actor.clone())]),
        Place::Refusals => lists
            .refusals
            .selected()
            .map(|r| vec![("source", r.source.to_string())]),
        Place::Alerts => lists
            .alerts
            .selected()
            .map(|a| vec![("text", a.text.clone())]),
        Place::Redirects => lists
            .redirects
            .selected()
            .map(|r| vec![("target", r.target.to_string())]),
        Place::Config(_) => (lists.config.selected())
            .map(|s| vec![("value", s.value_text()), ("key", s.key.clone())]),
        Place::Groups(_) => (lists.groups.selected())
            .map(|g| vec![("group", g.key.clone()), ("filter", g.filter.clone())]),
        Place::RefusalCounts => {
            (lists.refusal_counts.selected()).map(|r| vec![("reason", r.reason.clone())])
        }
        Place::AlertRules => lists
            .rules
            .selected()
            .map(|r| vec![("rule", r.name.clone())]),
        Place::Bans => (lists.bans.selected()).map(|ban| vec![("net", ban.net.to_string())]),
        Place::OauthKeys => (lists.oauth_keys.selected()).map(|key| vec![("kid", key.kid.clone())]),
        Place::Diff(..) => lists.diff.selected().map(|d| vec![("key", d.key.clone())]),
        Place::Contexts => lists
            .contexts
            .selected()
            .map(|c| vec![("address", c.address.clone())]),
        _ => None,
    };
    cells.unwrap_or_default()
}

/// What of a session can be copied.
fn session(s: &SessionView) -> Vec<(&'static str, String)> {
    vec![
        ("id", s.id.to_string()),
        ("user", s.user.clone()),
        ("username", s.username.clone()),
        ("client", s.client.to_string()),
        ("relay", s.relay.to_string()),
        ("filter", equals("id", &s.id.to_string())),
        ("of user", change::user_filter(&s.realm, &s.user)),
    ]
}

fn realm_cells(name: &str) -> Vec<(&'static str, String)> {
    vec![
        ("realm", name.to_owned()),
        ("filter", equals("realm", name)),
    ]
}

/// A key while it is chosen what to copy. `y` again takes the chosen one, as enter does.
pub(super) fn copy_key(model: &mut Model, event: KeyEvent, effects: &mut Vec<Effect>) {
    let Some(Dialog::Copy(menu)) = &mut model.dialog else {
        return;
    };
    match event.code {
        KeyCode::Down | KeyCode::Char('j') => {
            menu.at = (menu.at + 1).min(menu.items.len().saturating_sub(1));
        }
        KeyCode::Up | KeyCode::Char('k') => menu.at = menu.at.saturating_sub(1),
        KeyCode::Enter | KeyCode::Char('y') => {
            let chosen = menu.items.get(menu.at).cloned();
            model.dialog = None;
            let Some((name, text)) = chosen else { return };
            if text.len() > COPY_MAX {
                model.say(
                    Tone::Warn,
                    format!("{name} is too long for the terminal's clipboard"),
                );
                return;
            }
            let said = match name {
                "json" => "copied the row as JSON".to_owned(),
                name => format!("copied {name} {text}"),
            };
            model.say(Tone::Normal, said);
            effects.push(Effect::Copy(text));
        }
        KeyCode::Esc | KeyCode::Char('q') => model.dialog = None,
        _ => {}
    }
}

/// `w`: which columns the list shows, and in which order.
pub(super) fn open_columns(model: &mut Model) {
    // Columns that are scrolled away are shown ones too.
    if let Some(list) = model.list() {
        let columns = list.columns().map(<[_]>::to_vec);
        list.set_columns(columns);
    }
    let items = columns_of(model, model.place())
        .iter()
        .map(|c| (c.title, c.shown))
        .collect();
    let before = model
        .shown_list()
        .and_then(|l| l.columns().map(<[_]>::to_vec));
    let picker = ColumnPicker {
        items,
        at: 0,
        before,
    };
    model.dialog = Some(Dialog::Columns(Box::new(picker)));
}

/// A key while columns are chosen. The list behind shows them at once.
pub(super) fn columns_key(model: &mut Model, event: KeyEvent) {
    let Some(Dialog::Columns(picker)) = &mut model.dialog else {
        return;
    };
    let last = picker.items.len().saturating_sub(1);
    let columns = match event.code {
        KeyCode::Down | KeyCode::Char('j') => {
            picker.at = (picker.at + 1).min(last);
            return;
        }
        KeyCode::Up | KeyCode::Char('k') => {
            picker.at = picker.at.saturating_sub(1);
            return;
        }
        KeyCode::Char(' ') => {
            if let Some(item) = picker.items.get_mut(picker.at) {
                item.1 = !item.1;
            }
            Some(picker.items.clone())
        }
        KeyCode::Char('J' | '>') | KeyCode::Right => {
            picker.shift(true);
            Some(picker.items.clone())
        }
        KeyCode::Char('K' | '<') | KeyCode::Left => {
            picker.shift(false);
            Some(picker.items.clone())
        }
        KeyCode::Char('r') => {
            model.dialog = None;
            None
        }
        KeyCode::Esc | KeyCode::Char('q') => {
            let before = picker.before.take();
            model.dialog = None;
            before
        }
        KeyCode::Enter | KeyCode::Char('w') => {
            model.dialog = None;
            return;
        }
        _ => return,
    };
    if let Some(list) = model.list() {
        list.set_columns(columns);
    }
}
