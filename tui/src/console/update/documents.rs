//! Texts to read over a view: a row as JSON, who we are, aliases.

use crossterm::event::{KeyCode, KeyEvent};
use serde::Serialize;
use tui_input::Input;

use super::super::document::{Document, explained};
use super::super::message::{Effect, JsonOf, Question};
use super::super::model::{Dialog, Mode, Model, Place};
use super::super::theme::Tone;
use super::answers;
use crate::widgets::form::edit_request;
use crate::widgets::text::wrap;

/// Opens a text.
pub(super) fn open(model: &mut Model, title: impl Into<String>, text: &str) {
    model.dialog = Some(Dialog::Document(Box::new(Document::new(title, text))));
    model.dirty = true;
}

/// What a row is in JSON.
pub(super) fn json<T: Serialize>(row: &T) -> String {
    serde_json::to_string_pretty(row).unwrap_or_else(|e| format!("this cannot be shown: {e}"))
}

/// `J`: the row under the cursor as the API tells it; asked for anew where there is a call for one.
pub(super) fn open_json(model: &mut Model, effects: &mut Vec<Effect>) {
    let lists = &model.lists;
    let asked = match model.place() {
        Place::Session(id) => Some(JsonOf::Session(*id)),
        Place::Realm(name) => Some(JsonOf::Realm(name.clone())),
        Place::Sessions => lists.sessions.selected().map(|s| JsonOf::Session(s.id)),
        Place::Nodes => lists.nodes.selected().map(|n| JsonOf::Node(n.id.clone())),
        Place::Realms => lists
            .realms
            .selected()
            .map(|r| JsonOf::Realm(r.name.clone())),
        Place::Users => {
            (lists.users.selected()).map(|u| JsonOf::User(u.realm.clone(), u.name.clone()))
        }
        _ => None,
    };
    if let Some(of) = asked {
        answers::ask_for_dialog(model, Question::Json(of), effects);
    } else if let Some(text) = row_json(model) {
        let title = model.place().title();
        open(model, title, &text);
    }
}

/// The row under the cursor as it was listed.
pub(super) fn row_json(model: &Model) -> Option<String> {
    let lists = &model.lists;
    match model.place() {
        Place::Session(_) => model.detail.view.as_ref().map(json),
        Place::Nodes => lists.nodes.selected().map(json),
        Place::Sessions => lists.sessions.selected().map(json),
        Place::Users => lists.users.selected().map(json),
        Place::Realms => lists.realms.selected().map(json),
        Place::Events => lists.events.selected().map(json),
        Place::Audit => lists.audit.selected().map(json),
        Place::Refusals => lists.refusals.selected().map(json),
        Place::RefusalCounts => lists.refusal_counts.selected().map(json),
        Place::Alerts => lists.alerts.selected().map(json),
        Place::AlertRules => lists.rules.selected().map(json),
        Place::Redirects => lists.redirects.selected().map(json),
        Place::Bans => lists.bans.selected().map(json),
        Place::OauthKeys => lists.oauth_keys.selected().map(json),
        Place::Config(_) => lists.config.selected().map(json),
        Place::Groups(_) => lists.groups.selected().map(json),
        _ => None,
    }
}

/// `m` in the lists of refusals: what the reason under the cursor means.
pub(super) fn explain(model: &mut Model) {
    let lists = &model.lists;
    let row = match model.place() {
        Place::Refusals => lists
            .refusals
            .selected()
            .map(|r| (r.reason.clone(), r.code)),
        Place::RefusalCounts => {
            (lists.refusal_counts.selected()).map(|r| (r.reason.clone(), r.code))
        }
        _ => None,
    };
    let Some((reason, code)) = row else { return };
    let (means, remedy) = explained(&reason);
    let answer = match code {
        Some(code) => format!("answered with {code}"),
        None => "not answered: dropped, or only counted".to_owned(),
    };
    let width = usize::from(model.size.0).saturating_sub(12).clamp(20, 90);
    let mut lines = vec![answer, String::new()];
    lines.extend(wrap(&format!("means: {means}"), width));
    lines.push(String::new());
    lines.extend(wrap(&format!("what to do: {remedy}"), width));
    open(model, reason, &lines.join("\n"));
}

/// `:alias`.
pub(super) fn aliases(model: &mut Model) {
    let mut lines: Vec<String> = model
        .aliases
        .iter()
        .map(|(word, meaning)| format!(":{word:<14} {meaning}"))
        .collect();
    if lines.is_empty() {
        lines.push("There are none. Section [aliases] of relayctl.toml has them, as in".to_owned());
        lines.push("fast = \"sessions rate>5M\"".to_owned());
    }
    open(model, "Aliases", &lines.join("\n"));
}

/// `:whoami`: who the node takes us for, and what the keys of all views need.
pub(super) fn whoami(model: &mut Model) {
    let Some(who) = model.whoami.clone() else {
        model.say(
            Tone::Warn,
            "not connected yet: the node has not said who we are",
        );
        return;
    };
    let realms: Vec<&str> = who.realms.iter().map(shared::Realm::as_str).collect();
    let realms = if realms.is_empty() {
        "all".to_owned()
    } else {
        realms.join(", ")
    };
    let mode = match model.mode {
        Mode::ReadOnly => "read-only (:rw allows changes)",
        Mode::ReadWrite => "read-write (:ro forbids changes)",
    };
    let mut lines = vec![
        format!("context   {}", model.context),
        format!("actor     {}", who.actor),
        format!("role      {}", who.role.as_str()),
        format!("realms    {realms}"),
        format!(
            "node      {} of cluster {}, relayd {}",
            who.node, who.cluster, who.version
        ),
        format!("console   {mode}"),
        String::new(),
        "changes, the role each needs, and whether ours reaches that far".to_owned(),
    ];
    for bound in model.keymap.all() {
        let binding = bound.action;
        if let Some(need) = binding.needs {
            let may = if who.role.covers(need) { "yes" } else { "NO" };
            let key = bound.keys_text();
            lines.push(format!(
                "{key}  {:<9} {may:<4} {}",
                need.as_str(),
                binding.help
            ));
        }
    }
    open(model, "Who am I", &lines.join("\n"));
}

/// A key while a text is read.
pub(super) fn key(model: &mut Model, event: KeyEvent, effects: &mut Vec<Effect>) {
    let page = isize::from(model.size.1 as i16 - 8).max(1);
    let Some(Dialog::Document(document)) = &mut model.dialog else {
        return;
    };
    if let Some(input) = &mut document.typing {
        match event.code {
            KeyCode::Esc => document.typing = None,
            KeyCode::Enter => {
                document.needle = input.value().trim().to_owned();
                document.typing = None;
                document.found = None;
                if !document.needle.is_empty() && !document.find(true) {
                    let text = format!("{} is not in this text", document.needle);
                    model.say(Tone::Warn, text);
                }
            }
            _ => {
                if let Some(request) = edit_request(event) {
                    input.handle(request);
                }
            }
        }
        return;
    }
    match event.code {
        KeyCode::Down | KeyCode::Char('j') => document.scroll(1),
        KeyCode::Up | KeyCode::Char('k') => document.scroll(-1),
        KeyCode::PageDown | KeyCode::Char(' ') => document.scroll(page),
        KeyCode::PageUp => document.scroll(-page),
        KeyCode::Home | KeyCode::Char('g') => document.top = 0,
        KeyCode::End | KeyCode::Char('G') => document.scroll(isize::MAX),
        KeyCode::Char('/') => document.typing = Some(Input::default()),
        KeyCode::Char(c @ ('n' | 'N')) => {
            document.find(c == 'n');
        }
        KeyCode::Char('y') => {
            let text = document.lines.join("\n");
            if text.len() > super::pickers::COPY_MAX {
                model.say(
                    Tone::Warn,
                    "the text is too long for the terminal's clipboard",
                );
            } else {
                effects.push(Effect::Copy(text));
                model.say(Tone::Normal, "copied the whole text");
            }
        }
        KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q') => model.dialog = None,
        _ => {}
    }
}
