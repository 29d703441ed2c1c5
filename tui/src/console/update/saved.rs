//! `:save` and `:view`: a list with its filter, order and columns under a name; `:diag`.

use shared::filter::nearest;

use super::super::command::{self, Command};
use super::super::message::Effect;
use super::super::model::{Mode, Model, Place};
use super::super::saved::SavedView;
use super::super::theme::Tone;
use super::{ask_list_again, prompt};
use crate::views::columns_of;

/// Views kept at most.
const VIEWS_MAX: usize = 200;

/// The command that opens a list; `None`: it cannot be saved.
fn opens(place: &Place) -> Option<String> {
    Some(match place {
        Place::Nodes => "nodes".to_owned(),
        Place::Sessions => "sessions".to_owned(),
        Place::Users => "users".to_owned(),
        Place::Realms => "realms".to_owned(),
        Place::Events => "events".to_owned(),
        Place::Audit => "audit".to_owned(),
        Place::Refusals => "refusals".to_owned(),
        Place::Alerts => "alerts".to_owned(),
        Place::Redirects => "redirects".to_owned(),
        Place::Groups(by) => format!("top {by}"),
        _ => return None,
    })
}

/// `:save NAME`.
pub(super) fn save(model: &mut Model, name: &str, effects: &mut Vec<Effect>) -> Result<(), String> {
    let fitting = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(fitting) {
        return Err(":save needs a name of letters, digits, - _ and .".to_owned());
    }
    let open = opens(model.place()).ok_or("this view cannot be saved: open a list first")?;
    let Some(list) = model.shown_list() else {
        return Err("this view cannot be saved".to_owned());
    };
    let sort = list
        .sort()
        .map_or_else(String::new, |(column, descending)| {
            format!("{column}:{}", if descending { "desc" } else { "asc" })
        });
    let columns = list.columns().unwrap_or_default();
    let view = SavedView {
        open,
        filter: list.filter().to_owned(),
        sort,
        columns: columns
            .iter()
            .filter(|(_, shown)| *shown)
            .map(|(title, _)| (*title).to_owned())
            .collect(),
    };
    if model.desk.views.len() >= VIEWS_MAX && !model.desk.views.contains_key(name) {
        return Err(format!("{VIEWS_MAX} views are kept at most"));
    }
    model.desk.views.insert(name.to_owned(), view);
    effects.push(Effect::KeepViews(model.desk.views.clone()));
    Ok(())
}

/// `:view NAME`.
pub(super) fn view(model: &mut Model, name: &str, effects: &mut Vec<Effect>) -> Result<(), String> {
    let known = &model.desk.views;
    let Some(view) = known.get(name).cloned() else {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let hint = match nearest(name, names.iter().copied()) {
            Some(near) => format!("; did you mean {near}?"),
            None if names.is_empty() => "; :save NAME saves one".to_owned(),
            None => format!("; there are {}", names.join(", ")),
        };
        return Err(format!("no saved view {name}{hint}"));
    };
    let word = view.open.split(' ').next().unwrap_or("");
    let shows = matches!(
        command::find(word),
        Some(Command::View(_) | Command::Place(_) | Command::Top)
    );
    if !shows {
        return Err(format!(
            "the saved view {name} opens nothing we know: {}",
            view.open
        ));
    }
    prompt::run(
        model,
        format!("{} {}", view.open, view.filter).trim(),
        effects,
    )?;
    let columns = columns_of(model, model.place());
    let (sort, direction) = view.sort.split_once(':').unwrap_or((&view.sort, ""));
    let sort = columns
        .iter()
        .find_map(|c| c.sort.filter(|name| *name == sort));
    let chosen = |title: &&'static str| view.columns.iter().any(|c| c == *title);
    let mut order: Vec<(&'static str, bool)> = Vec::new();
    for title in &view.columns {
        order.extend(
            columns
                .iter()
                .filter(|c| c.title == title)
                .map(|c| (c.title, true)),
        );
    }
    let rest = columns
        .iter()
        .map(|c| c.title)
        .filter(|title| !chosen(title));
    let rest: Vec<_> = rest.map(|title| (title, false)).collect();
    if let Some(list) = model.list() {
        if !order.is_empty() {
            order.extend(rest);
            list.set_columns(Some(order));
        } else {
            list.set_columns(None);
        }
        if let Some(sort) = sort {
            list.set_sort(sort, direction != "asc");
        }
    }
    ask_list_again(model, effects);
    Ok(())
}

/// Views were written into their file, or not.
pub(super) fn kept(model: &mut Model, result: Result<(), String>) {
    match result {
        Ok(()) => model.say(Tone::Good, "saved; :view opens it"),
        Err(why) => model.say(Tone::Bad, format!("kept for this session only: {why}")),
    }
}

/// `:diag`: what helps to find out what is wrong, into a file. No rows, no names of users, no
/// addresses of clients, no token.
pub(super) fn diag(model: &Model, effects: &mut Vec<Effect>) {
    let mode = match model.mode {
        Mode::ReadOnly => "read-only",
        Mode::ReadWrite => "read-write",
    };
    let trouble = model.connection.trouble();
    let mut lines = vec![
        format!("relayctl {}", env!("CARGO_PKG_VERSION")),
        format!(
            "terminal {}x{}, theme {:?}",
            model.size.0, model.size.1, model.theme_name
        ),
        format!(
            "context {}, {mode}, refresh {} ms",
            model.context,
            model.refresh_ms()
        ),
        format!(
            "connection {}{}",
            model.connection.label(model.now_ms, model.refresh_ms()),
            trouble.map_or_else(String::new, |(why, tries)| format!(
                ", {tries} tries: {why}"
            ))
        ),
        format!("view {}", model.place().title()),
    ];
    if let Some(who) = &model.whoami {
        lines.push(format!(
            "node {} of {}, relayd {}, role {}",
            who.node,
            who.cluster,
            who.version,
            who.role.as_str()
        ));
    }
    if let Some(o) = &model.overview {
        lines.push(format!(
            "nodes {} of {}, sessions {}, missing {:?}",
            o.nodes_live, o.nodes_total, o.sessions, o.missing
        ));
    }
    if let Some(list) = model.shown_list() {
        lines.push(format!("order {:?}, error {:?}", list.sort(), list.error()));
    }
    lines.push(format!("questions under way {}", model.asked.len()));
    let text = lines.join("\n") + "\n";
    effects.push(Effect::Save("relayctl-diag-", text));
}
