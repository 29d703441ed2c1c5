//! What comes of changes: results, jobs, and conflicts.

use crossterm::event::{KeyCode, KeyEvent};
use shared::api::{ErrorKind, JobState, JobView, KillResult, SecretState};

use super::super::message::{Action, Effect, Failure, Outcome, Question};
use super::super::model::{Dialog, JobDialog, Model};
use super::super::purpose::Purpose;
use super::super::theme::Tone;
use super::{answers, ask_view, bans, config, editor, fleet, guard, oauth, secrets, verify};

/// Takes in what came of a change.
pub(super) fn acted(
    model: &mut Model,
    action: Action,
    result: Result<Outcome, Failure>,
    effects: &mut Vec<Effect>,
) {
    model.dirty = true;
    match result {
        Ok(outcome) => {
            model.connection.answered(model.now_ms);
            succeeded(model, action, outcome, effects);
            ask_view(model, effects);
        }
        Err(failure) => failed(model, &action, failure, effects),
    }
}

fn succeeded(model: &mut Model, action: Action, outcome: Outcome, effects: &mut Vec<Effect>) {
    match (&action, outcome) {
        (_, Outcome::Job(job)) => watch(model, job),
        (Action::PatchConfig(scope, _, patch), Outcome::Config(result)) if patch.dry_run => {
            config::previewed(model, scope, patch, &result);
        }
        (_, outcome) => done(model, action, outcome, effects),
    }
}

/// What is said of a node that did as it was told.
fn of_node(action: &Action) -> String {
    match action {
        Action::Drain(node, _) => format!("{node} takes no new sessions"),
        Action::Undrain(node, _) => format!("{node} takes new sessions again"),
        Action::Upgrade(node, _) => {
            format!(
                "{node} starts the process that takes over: its epoch grows when that one serves"
            )
        }
        _ => "done".to_owned(),
    }
}

/// Closes the dialog of a change that was made, and says so.
fn done(model: &mut Model, action: Action, outcome: Outcome, effects: &mut Vec<Effect>) {
    if matches!(&model.dialog, Some(Dialog::Form(form, _)) if form.busy) {
        model.dialog = None;
    }
    let text = match (action, outcome) {
        (_, Outcome::Killed(result)) => killed(model, &result),
        (_, Outcome::Realm(view)) => {
            let text = format!("realm {} is at revision {} now", view.name, view.revision);
            editor::forget(model, effects);
            super::realm::learn(model, *view);
            text
        }
        (_, Outcome::Config(result)) => {
            let effective = result.changes.iter().filter(|c| c.hidden_by.is_none());
            let count = effective.count();
            let revision = result.overrides.revision;
            let nodes = if count == 1 { "node" } else { "nodes" };
            format!("settings are at revision {revision} now: {count} {nodes} changed")
        }
        (Action::PatchRule(name, ..), Outcome::Rules(rules)) => {
            let revision = rules.revision;
            fleet::take_rules(model, rules);
            format!("alert rule {name} changed, revision {revision}")
        }
        (action @ (Action::Drain(..) | Action::Undrain(..) | Action::Upgrade(..)), _) => {
            of_node(&action)
        }
        (Action::CreateRedirect(create), _) => {
            format!(
                "{} clients are sent to {} now",
                create.transport, create.target
            )
        }
        (Action::DeleteRedirect(id, _), _) => format!("redirect {id} removed"),
        (Action::Block(realm, user, request), _) => {
            format!("{user} in {realm} is refused for {} s", request.secs)
        }
        (Action::Unblock(realm, user, _), _) => format!("{user} in {realm} is admitted again"),
        (Action::PutUser(realm, user, _), _) => format!("{user} in {realm}: password set"),
        (Action::PatchUser(realm, user, _), _) => format!("{user} in {realm}: changed"),
        (_, Outcome::Secret(created)) => {
            let (id, realm) = (&created.secret.id, &created.secret.realm);
            let text = format!("secret {id} of {realm} signs credentials now");
            secrets::shown(model, created);
            text
        }
        (Action::CreateBan(create), Outcome::Ban(result)) => {
            if result.dry_run {
                bans::previewed(model, &create, &result);
                return;
            }
            bans::done(&create, &result)
        }
        (Action::DeleteBan(id, _), _) => format!("ban {id}: taken back"),
        (_, Outcome::OauthKey(created)) => {
            let text = format!("OAuth key {} is good on all nodes now", created.view.kid);
            oauth::shown(model, created);
            text
        }
        (Action::DeleteOauthKey(kid, _), _) => format!("OAuth key {kid}: deleted"),
        (Action::PatchSecret(realm, id, patch), _) => {
            let state = patch.state.map_or("changed", SecretState::as_str);
            format!("secret {id} of {realm}: {state}")
        }
        (Action::DeleteSecret(realm, id, _), _) => format!("secret {id} of {realm}: deleted"),
        (Action::DeleteUser(realm, user, _), _) => format!("{user} in {realm}: deleted"),
        _ => "done".to_owned(),
    };
    model.say(Tone::Good, text);
}

fn killed(model: &mut Model, result: &KillResult) -> String {
    model.lists.sessions.marks.remove(&result.id.to_string());
    let block = match result.blocked_until_ms {
        Some(until) => format!("; user blocked until {}", model.clock(until)),
        None => "; its client may come back".to_owned(),
    };
    format!(
        "killed {} of {} on {}{block}",
        result.id, result.user, result.node
    )
}

fn watch(model: &mut Model, job: JobView) {
    if let Some(Dialog::Job(dialog)) = &mut model.dialog
        && dialog.job.id == job.id
    {
        dialog.job = job;
        dialog.on_stop = false;
        return;
    }
    model.lists.sessions.marks.clear();
    model.lists.sessions.all = false;
    let dialog = JobDialog {
        job,
        top: 0,
        next_ms: 0,
        on_stop: false,
        error: None,
    };
    model.dialog = Some(Dialog::Job(Box::new(dialog)));
}

/// A change that failed leaves its dialog open with everything that was typed.
fn failed(model: &mut Model, action: &Action, failure: Failure, effects: &mut Vec<Effect>) {
    let mut text = failure.to_string();
    match &failure {
        Failure::Unreachable(why) => {
            model.connection.failed(model.now_ms, why.clone());
            text = format!("no answer, it may have happened: {why}");
        }
        Failure::Refused(error) => {
            model.connection.answered(model.now_ms);
            let lost = error.error == ErrorKind::RevisionConflict;
            if let (true, Action::PutRealm(name, ..)) = (lost, action) {
                answers::ask_for_dialog(model, Question::Realm(name.clone()), effects);
            }
            if let (true, Action::UndoRealm(name, ..)) = (lost, action) {
                // The dialog is made anew, over what is there now.
                answers::ask_for_dialog(model, Question::Undo(name.clone(), None), effects);
            }
            if let (true, Action::PatchConfig(scope, ..)) = (lost, action) {
                answers::ask_for_dialog(model, Question::Overrides(scope.clone()), effects);
            }
            if let (true, Action::PatchRule(..)) = (lost, action) {
                answers::ask_for_dialog(model, Question::AlertRules, effects);
            }
        }
    }
    if let Some(remark) = editor::remark(model) {
        text = format!("{text}; {remark}");
    }
    match &mut model.dialog {
        Some(Dialog::Form(form, _)) if form.busy => {
            form.busy = false;
            form.error = Some(text);
        }
        Some(Dialog::Job(dialog)) => dialog.error = Some(text),
        _ => model.say(Tone::Bad, text),
    }
}

/// Sends the change that the open dialog amounts to.
pub(super) fn submit(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(Dialog::Form(form, purpose)) = &mut model.dialog else {
        return;
    };
    if let Err(why) = guard::check(form) {
        form.error = Some(why);
        return;
    }
    if matches!(
        **purpose,
        Purpose::RealmForm(_) | Purpose::RealmConflict(..)
    ) {
        super::realm::next_step(model, effects);
        return;
    }
    if matches!(**purpose, Purpose::Secrets(..)) {
        secrets::next_step(model);
        return;
    }
    if matches!(**purpose, Purpose::ConfigConflict(..)) {
        config::edit_again(model);
        return;
    }
    if !model.connection.is_up() {
        form.error = Some("not connected: nothing was sent".to_owned());
        return;
    }
    if matches!(**purpose, Purpose::Verify(_)) {
        verify::start(model, effects);
        return;
    }
    match purpose.action(form) {
        Ok(action) => {
            form.busy = true;
            form.error = None;
            effects.push(Effect::Act(Box::new(action)));
        }
        Err(why) => form.error = Some(why),
    }
}

/// Keys of the dialog that watches a job.
pub(super) fn key(model: &mut Model, event: KeyEvent, effects: &mut Vec<Effect>) {
    let Some(Dialog::Job(dialog)) = &mut model.dialog else {
        return;
    };
    let last = dialog.job.items.len().saturating_sub(1);
    match event.code {
        KeyCode::Tab | KeyCode::BackTab | KeyCode::Left | KeyCode::Right => {
            dialog.on_stop = !dialog.on_stop && dialog.job.state == JobState::Running;
        }
        KeyCode::Down | KeyCode::Char('j') => dialog.top = (dialog.top + 1).min(last),
        KeyCode::Up | KeyCode::Char('k') => dialog.top = dialog.top.saturating_sub(1),
        KeyCode::PageDown => dialog.top = (dialog.top + 10).min(last),
        KeyCode::PageUp => dialog.top = dialog.top.saturating_sub(10),
        KeyCode::Enter if dialog.on_stop => {
            effects.push(Effect::Act(Box::new(Action::StopJob(
                dialog.job.id.clone(),
            ))));
        }
        KeyCode::Enter | KeyCode::Esc | KeyCode::Char('q') => close(model),
        _ => {}
    }
}

fn close(model: &mut Model) {
    let Some(Dialog::Job(dialog)) = model.dialog.take() else {
        return;
    };
    if dialog.job.state == JobState::Running {
        let text = format!(
            "{} goes on in the node: {} of {} done",
            dialog.job.title, dialog.job.done, dialog.job.total
        );
        model.say(Tone::Warn, text);
    }
}
