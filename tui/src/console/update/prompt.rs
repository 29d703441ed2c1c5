//! Lines that are typed: commands and filters.

use crossterm::event::{KeyCode, KeyEvent};
use shared::api::{GroupBy, GroupByError, Role};
use shared::filter::{Filter, SESSION_COLUMNS, equals, nearest};
use shared::{NodeId, SessionIdPrefix};
use tui_input::{Input, InputRequest};

use super::super::command::{self, Command};
use super::super::message::{Effect, Question};
use super::super::model::{Dialog, Model, Place, Prompt, PromptKind};
use super::super::theme::Tone;
use super::{
    answers, change, documents, drain, exports, help, jump, keys, lists, live_filter, looks, saved,
    set_filter, upgrade, verify,
};
use crate::widgets::form::edit_request;

/// Begins a line.
pub(super) fn open(model: &mut Model, kind: PromptKind) {
    let text = match kind {
        PromptKind::Command => String::new(),
        PromptKind::Filter => current_filter(model),
    };
    open_with(model, kind, text);
}

/// Begins a line with a text.
pub(super) fn open_with(model: &mut Model, kind: PromptKind, text: String) {
    let before = current_filter(model);
    model.prompt = Some(Prompt {
        kind,
        input: Input::new(text),
        error: None,
        completion: None,
        recalled: None,
        before,
    });
}

fn current_filter(model: &Model) -> String {
    model
        .shown_list()
        .map_or_else(String::new, |list| list.filter().to_owned())
}

/// Pasted text goes where one types; elsewhere it must not act as keys.
pub(super) fn paste(model: &mut Model, text: &str) {
    model.dirty = true;
    if let Some(prompt) = &mut model.prompt {
        for c in text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(2_000)
        {
            prompt.input.handle(InputRequest::InsertChar(c));
        }
    } else if let Some(Dialog::Form(form, _)) = &mut model.dialog {
        form.paste(text);
    }
}

/// Handles a key while a line is typed.
pub(super) fn key(model: &mut Model, event: KeyEvent, effects: &mut Vec<Effect>) {
    let Some(prompt) = &mut model.prompt else {
        return;
    };
    match event.code {
        KeyCode::Esc => return cancel(model, effects),
        KeyCode::Backspace if prompt.input.value().is_empty() => return cancel(model, effects),
        KeyCode::Enter => submit(model, effects),
        KeyCode::Tab | KeyCode::BackTab => complete(model, event.code == KeyCode::Tab),
        KeyCode::Up | KeyCode::Down => recall(model, event.code == KeyCode::Up),
        KeyCode::Right | KeyCode::End if at_end(prompt) => take_ghost(model),
        _ => {
            prompt.error = None;
            prompt.completion = None;
            prompt.recalled = None;
            if let Some(request) = edit_request(event) {
                prompt.input.handle(request);
            }
        }
    }
    live_filter::follow(model, effects);
}

/// Closes the line; a list that followed it goes back to where it was.
pub(super) fn cancel(model: &mut Model, effects: &mut Vec<Effect>) {
    if let Some(prompt) = model.prompt.take() {
        live_filter::undo(model, &prompt, effects);
    }
}

fn submit(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(prompt) = &model.prompt else { return };
    let line = prompt.input.value().trim().to_owned();
    let kind = prompt.kind;
    let done = match kind {
        PromptKind::Filter => filter(model, &line, effects),
        PromptKind::Command => run(model, &line, effects),
    };
    if done.is_ok() {
        model.desk.remember(kind, &line);
    }
    match (done, &mut model.prompt) {
        (Err(why), Some(prompt)) => prompt.error = Some(why),
        (Err(why), None) => model.say(Tone::Bad, why),
        (Ok(()), _) => model.prompt = None,
    }
}

/// A filter that does not parse keeps the line open and the old result on the screen.
fn filter(model: &mut Model, line: &str, effects: &mut Vec<Effect>) -> Result<(), String> {
    let columns = model
        .place()
        .filter_columns()
        .ok_or("this view has no filter")?;
    Filter::parse(line, columns).map_err(|e| e.to_string())?;
    set_filter(model, line, effects);
    Ok(())
}

/// Runs a command.
pub(super) fn run(model: &mut Model, line: &str, effects: &mut Vec<Effect>) -> Result<(), String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim();
    if word.is_empty() {
        return Ok(());
    }
    let Some(command) = command::find(word) else {
        if let Some(stands_for) = model.aliases.get(word) {
            // The configuration makes sure that it begins with a command.
            let line = format!("{stands_for} {rest}");
            return run(model, line.trim_end(), effects);
        }
        let near = nearest(word, command::names());
        let hint = near
            .map(|n| format!("; did you mean :{n}?"))
            .unwrap_or_default();
        return Err(format!("no command {word}{hint}"));
    };
    match command {
        Command::View(index) => visit(model, Place::NUMBERED[index].clone(), rest)?,
        Command::Place(place) => visit(model, place, rest)?,
        Command::Top => {
            let (by, filter) = rest.split_once(' ').unwrap_or((rest, ""));
            let by: GroupBy = by.parse().map_err(|e: GroupByError| e.to_string())?;
            Filter::parse(filter, SESSION_COLUMNS).map_err(|e| e.to_string())?;
            jump(model, Place::Groups(by), filter);
        }
        Command::Context => super::switch(model, rest, effects)?,
        Command::Config => {
            let node = config_node(model, rest)?;
            jump(model, Place::Config(node), "");
        }
        Command::Diff => {
            let nodes = two_nodes(rest)?;
            jump(model, Place::Diff(nodes.0, nodes.1), "");
        }
        Command::Node => sessions_of(model, "node", rest)?,
        Command::User => sessions_of(model, "user", rest)?,
        Command::Realm => sessions_of(model, "realm", rest)?,
        Command::Session => {
            let id = rest.parse().map_err(|e| format!("{e}"))?;
            jump(model, Place::Session(id), "");
        }
        Command::Kill => kill(model, rest, effects)?,
        Command::Drain => drain::command(model, rest)?,
        Command::Upgrade => upgrade::command(model, rest)?,
        Command::Verify => verify::command(model, rest, effects)?,
        Command::ReadWrite => answers::allow_changes(model),
        Command::ReadOnly => keys::read_only(model),
        Command::Theme => looks::theme(model, rest)?,
        Command::Scope
        | Command::Export
        | Command::Alias
        | Command::WhoAmI
        | Command::Save
        | Command::SavedView
        | Command::Diag
        | Command::Reload => own(model, &command, line, effects)?,
        Command::Set => looks::set(model, rest, effects)?,
        Command::Help => help::open(model),
        Command::Quit => effects.push(Effect::Quit),
    }
    Ok(())
}

/// Goes to the sessions of a node, a user or a realm.
fn sessions_of(model: &mut Model, column: &str, name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(format!(":{column} needs the name of a {column}"));
    }
    jump(model, Place::Sessions, &equals(column, name));
    Ok(())
}

/// The arguments of `:diff`.
fn two_nodes(names: &str) -> Result<(NodeId, NodeId), String> {
    let (left, right) = names.split_once(' ').ok_or(":diff needs two nodes")?;
    let name = |name: &str| name.trim().parse::<NodeId>().map_err(|e| format!("{e}"));
    Ok((name(left)?, name(right)?))
}

/// Goes to a view with a filter.
fn visit(model: &mut Model, place: Place, filter: &str) -> Result<(), String> {
    if let Some(columns) = place.filter_columns() {
        Filter::parse(filter, columns).map_err(|e| e.to_string())?;
    }
    jump(model, place, filter);
    Ok(())
}

/// Commands about the console itself.
fn own(
    model: &mut Model,
    command: &Command,
    line: &str,
    effects: &mut Vec<Effect>,
) -> Result<(), String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim();
    match command {
        Command::Scope => lists::scope(model, rest, effects)?,
        Command::Export => exports::begin(model, rest, word.ends_with('!'), effects)?,
        Command::Alias => documents::aliases(model),
        Command::WhoAmI => documents::whoami(model),
        Command::Save => saved::save(model, rest, effects)?,
        Command::SavedView => saved::view(model, rest, effects)?,
        Command::Diag => saved::diag(model, effects),
        _ => lists::reload(model, effects),
    }
    Ok(())
}

/// The node that is named, else the one under the cursor, else the one that answers.
fn config_node(model: &Model, name: &str) -> Result<NodeId, String> {
    if !name.is_empty() {
        return name.parse().map_err(|e| format!("{e}"));
    }
    let selected = match model.place() {
        Place::Nodes => model.lists.nodes.selected().map(|n| n.id.clone()),
        _ => None,
    };
    let answering = || model.whoami.as_ref().map(|who| who.node.clone());
    selected
        .or_else(answering)
        .ok_or_else(|| ":config needs the name of a node".to_owned())
}

/// `:kill`, `:kill marked`, `:kill ID`, `:kill FILTER`.
fn kill(model: &mut Model, what: &str, effects: &mut Vec<Effect>) -> Result<(), String> {
    model.may(Role::Operator)?;
    if what.is_empty() || what == "marked" {
        let here = matches!(
            model.place(),
            Place::Sessions | Place::Session(_) | Place::Users
        );
        if !here || (what == "marked" && model.lists.sessions.marks.is_empty()) {
            return Err("nothing is marked: give an id or a filter".to_owned());
        }
        change::kill(model, effects);
        return Ok(());
    }
    if what.parse::<SessionIdPrefix>().is_ok() {
        answers::ask_for_dialog(model, Question::KillTarget(what.to_owned()), effects);
        return Ok(());
    }
    Filter::parse(what, SESSION_COLUMNS).map_err(|e| e.to_string())?;
    // What is out of scope is not killed by the way.
    let filter = format!("{} {what}", model.lists.sessions.scope);
    change::targets(model, filter.trim().to_owned(), effects);
    Ok(())
}

/// The cursor is behind the last character.
fn at_end(prompt: &Prompt) -> bool {
    prompt.input.cursor() == prompt.input.value().chars().count()
}

/// Right at the end of the line takes what is shown faintly behind it.
fn take_ghost(model: &mut Model) {
    let Some(prompt) = &model.prompt else { return };
    let line = prompt.input.value().to_owned();
    let ghost = command::ghost(model, prompt.kind, &line);
    if let (Some(rest), Some(prompt)) = (ghost, &mut model.prompt) {
        prompt.input = Input::new(line + &rest);
        prompt.completion = None;
    }
}

/// Up and down go through the lines typed before; at the lower end is what was being typed.
fn recall(model: &mut Model, back: bool) {
    let Some(prompt) = &mut model.prompt else {
        return;
    };
    let lines = model.desk.lines(prompt.kind);
    let (at, draft) = match prompt.recalled.take() {
        Some((at, draft)) => (at, draft),
        None => (0, prompt.input.value().to_owned()),
    };
    let at = if back {
        (at + 1).min(lines.len())
    } else {
        at.saturating_sub(1)
    };
    let line = match at {
        0 => draft.clone(),
        at => lines[lines.len() - at].clone(),
    };
    prompt.input = Input::new(line);
    prompt.recalled = (at > 0).then_some((at, draft));
    prompt.completion = None;
    prompt.error = None;
}

/// Tab goes through what the line can become.
fn complete(model: &mut Model, forward: bool) {
    let Some(mut prompt) = model.prompt.take() else {
        return;
    };
    let candidates = match &prompt.completion {
        Some((candidates, at)) => {
            let count = candidates.len();
            let next = if forward {
                (at + 1) % count
            } else {
                (at + count - 1) % count
            };
            Some((candidates.clone(), next))
        }
        None => {
            let found = command::completions(model, prompt.kind, prompt.input.value());
            (!found.is_empty()).then_some((found, 0))
        }
    };
    if let Some((candidates, at)) = candidates {
        prompt.input = Input::new(candidates[at].clone());
        prompt.completion = Some((candidates, at));
    }
    model.prompt = Some(prompt);
}
