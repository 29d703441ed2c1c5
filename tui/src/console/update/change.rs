//! Opening the dialogs that change something. What they name is frozen when they open.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shared::api::{Role, SessionView, UserView};
use shared::filter::equals;
use shared::units::{age, bit_rate, grouped};
use shared::{Realm, SessionId};

use super::super::keymap::{Binding, Intent};
use super::super::message::{Effect, Question};
use super::super::model::{Dialog, Model, Place};
use super::super::purpose::Purpose;
use super::super::theme::Tone;
use super::{
    answers, bans, config, drain, editor, fleet, guard, oauth, realm, revisions, secrets, verify,
};
use crate::guardrails::{Deed, Names};
use crate::widgets::form::{Field, Form};

/// Sessions in one bulk kill at most: as many as a job reports one by one.
pub(crate) const BULK_MAX: usize = 10_000;
/// How long the dialogs offer to refuse a user for.
const BLOCK_OFFER: &str = "10m";

/// Opens the dialog of a changing key, or says why not.
pub(super) fn begin(model: &mut Model, binding: &Binding, effects: &mut Vec<Effect>) {
    if let Err(why) = binding.needs.map_or(Ok(()), |role| model.may(role)) {
        model.say(Tone::Warn, why);
        return;
    }
    match binding.intent {
        Intent::Kill if *model.place() == Place::Redirects => fleet::remove_redirect(model),
        Intent::Kill => kill(model, effects),
        Intent::Drain => drain::selected(model),
        Intent::LogLevel => config::log_level(model, effects),
        Intent::Verify => verify::begin(model, effects),
        Intent::Edit if matches!(model.place(), Place::Config(_)) => config::edit(model),
        Intent::Edit if *model.place() == Place::AlertRules => fleet::edit_rule(model),
        Intent::New if *model.place() == Place::Redirects => fleet::new_redirect(model),
        Intent::New if *model.place() == Place::OauthKeys => oauth::create(model),
        Intent::New if *model.place() == Place::Bans => bans::create(model),
        Intent::Delete if *model.place() == Place::Bans => bans::delete(model),
        Intent::Delete if *model.place() == Place::OauthKeys => oauth::delete(model),
        Intent::Block => block(model),
        Intent::Edit if matches!(model.place(), Place::Realms | Place::Realm(_)) => {
            realm::edit(model);
        }
        Intent::Edit => with_user(model, edit_user),
        Intent::Editor => editor::begin(model, effects),
        Intent::Secrets => secrets::begin(model, effects),
        Intent::Undo => revisions::undo(model, effects),
        Intent::New if *model.place() == Place::Realms => realm::create(model),
        Intent::New => new_user(model),
        Intent::Password => with_user(model, password),
        Intent::Delete => with_user(model, delete_user),
        _ => {}
    }
}

/// Why; every change has one.
pub(super) fn reason_field() -> Field {
    Field::text("reason", "reason", "", "kept in the audit")
}

/// Opens a form.
pub(super) fn open(model: &mut Model, form: Form, purpose: Purpose) {
    guard::open(model, form, purpose);
}

/// `X`: the marked sessions, else the one under the cursor; in the user list all of the user's.
pub(super) fn kill(model: &mut Model, effects: &mut Vec<Effect>) {
    match model.place().clone() {
        Place::Session(_) => {
            if let Some(detail) = model.detail.view.clone() {
                kill_one(model, &detail.session);
            }
        }
        Place::Users => {
            let Some(user) = model.lists.users.selected().cloned() else {
                return;
            };
            if user.sessions == 0 {
                model.say(Tone::Warn, format!("{} has no sessions", user.name));
                return;
            }
            let filter = user_filter(&user.realm, &user.name);
            targets(model, filter, effects);
        }
        _ if model.lists.sessions.all => {
            let filter = model.lists.sessions.whole_filter();
            targets(model, filter, effects);
        }
        _ if !model.lists.sessions.marks.is_empty() => {
            let marked: Vec<_> = model.lists.sessions.marks.values().cloned().collect();
            // Rows that are not on the screen may have ended long ago.
            model.say(Tone::Normal, "looking the marked sessions up...");
            answers::ask_for_dialog(model, Question::Marked(marked), effects);
        }
        _ => {
            if let Some(session) = model.lists.sessions.selected().cloned() {
                kill_one(model, &session);
            }
        }
    }
}

/// The filter of a user's sessions.
pub(super) fn user_filter(realm: &Realm, user: &str) -> String {
    format!(
        "{} {}",
        equals("user", user),
        equals("realm", realm.as_str())
    )
}

/// Asks for everything that matches, to be frozen.
pub(super) fn targets(model: &mut Model, filter: String, effects: &mut Vec<Effect>) {
    model.say(Tone::Normal, "collecting the sessions that match...");
    answers::ask_for_dialog(model, Question::Targets(filter), effects);
}

/// Opens the dialog for one session.
pub(super) fn kill_one(model: &mut Model, session: &SessionView) {
    if let Err(why) = model.may(Role::Operator) {
        model.say(Tone::Warn, why);
        return;
    }
    let rate = session.rate_in_bps.saturating_add(session.rate_out_bps);
    let fields = vec![
        reason_field(),
        Field::text(
            "block",
            "block user",
            "",
            "for how long, as in 10m; empty: no",
        ),
    ];
    let form = Form::new(format!("Kill session {}", session.id), "Kill (y)", fields)
        .fact("user", format!("{} in {}", session.user, session.realm))
        .fact(
            "client",
            format!("{} over {}", session.client, session.transport),
        )
        .fact(
            "node",
            format!("{} worker {}", session.node, session.worker),
        )
        .fact(
            "traffic",
            format!(
                "{}, up for {}",
                bit_rate(rate),
                age(Duration::from_secs(session.age_secs))
            ),
        )
        .note("The client will come back at once unless its user is blocked for a while.");
    let deed = Deed {
        realms: Names::one(&session.realm),
        ..Deed::of_node("session.kill", Some(&session.node))
    };
    guard::open_for(model, form, Purpose::KillOne(session.id), &deed);
}

/// Opens the dialog for a frozen list of sessions.
pub(super) fn kill_many(
    model: &mut Model,
    filter: Option<&str>,
    sessions: Vec<SessionView>,
    matched: u64,
) {
    model.toast = None;
    if let Err(why) = model.may(Role::Operator) {
        model.say(Tone::Warn, why);
        return;
    }
    if model.dialog.is_some() {
        return;
    }
    if sessions.is_empty() {
        model.say(Tone::Warn, "nothing matches: there is nothing to kill");
        return;
    }
    if matched > BULK_MAX as u64 {
        let text = format!(
            "{} sessions match; at most {} are killed at once: narrow the filter",
            grouped(matched),
            grouped(BULK_MAX as u64)
        );
        model.say(Tone::Bad, text);
        return;
    }
    let count = sessions.len().to_string();
    let fields = vec![
        reason_field(),
        Field::text("rate", "rate", "50", "kills per second and node"),
        Field::text(
            "block",
            "block users",
            "",
            "for how long, as in 10m; empty: no",
        ),
        Field::typed(&format!("type {count}"), &count),
    ];
    let form = Form::new(
        format!(
            "Kill {count} {}",
            if sessions.len() == 1 {
                "session"
            } else {
                "sessions"
            }
        ),
        format!("Kill {count} (y)"),
        fields,
    );
    let form = describe(form, model, filter, &sessions).note(
        "Clients come back at once unless their users are blocked. alt-d: ids to a file, no kill.",
    );
    let mut ids: Vec<SessionId> = sessions.iter().map(|s| s.id).collect();
    ids.sort_unstable();
    let deed = Deed {
        action: "sessions.kill",
        realms: Names::all(sessions.iter().map(|s| &s.realm)),
        nodes: Names::all(sessions.iter().map(|s| &s.node)),
        count: ids.len() as u64,
    };
    guard::open_for(model, form, Purpose::KillMany(ids), &deed);
}

/// Opens the dialog for the marked sessions that are still there, and tells of those that are gone.
pub(super) fn kill_marked(model: &mut Model, found: Vec<SessionView>, gone: &[SessionView]) {
    for session in gone {
        model.lists.sessions.marks.remove(&session.id.to_string());
    }
    if model.dialog.is_some() {
        return;
    }
    if found.is_empty() && !gone.is_empty() {
        let text = format!(
            "all {} marked sessions have ended",
            grouped(gone.len() as u64)
        );
        model.say(Tone::Warn, text);
        return;
    }
    let count = found.len() as u64;
    kill_many(model, None, found, count);
    if gone.is_empty() {
        return;
    }
    let names: Vec<String> = gone
        .iter()
        .take(2)
        .map(|s| format!("{} {}", s.id, s.user))
        .collect();
    let more = if gone.len() > 2 { ", ..." } else { "" };
    let count = grouped(gone.len() as u64);
    let text = format!("{count} ended since: {}{more}", names.join(", "));
    match model.dialog.take() {
        Some(Dialog::Form(form, purpose)) => {
            let form = Box::new(form.fact("unmarked", text));
            model.dialog = Some(Dialog::Form(form, purpose));
        }
        other => model.dialog = other,
    }
}

/// Says what a bulk kill will end.
fn describe(form: Form, model: &Model, filter: Option<&str>, sessions: &[SessionView]) -> Form {
    let mut spread: BTreeMap<&str, usize> = BTreeMap::new();
    let mut users = BTreeSet::new();
    let mut rate = 0_u64;
    for session in sessions {
        *spread.entry(session.node.as_str()).or_default() += 1;
        users.insert((session.realm.as_str(), session.user.as_str()));
        rate = rate
            .saturating_add(session.rate_in_bps)
            .saturating_add(session.rate_out_bps);
    }
    let mut spread: Vec<_> = spread.into_iter().collect();
    spread.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let nodes: Vec<String> = spread
        .iter()
        .map(|(node, count)| format!("{node} {count}"))
        .collect();
    let sample: Vec<String> = sessions
        .iter()
        .take(3)
        .map(|s| format!("{} {}", s.id, s.user))
        .collect();
    let what = match filter {
        None => "the marked ones",
        Some("") => "all sessions",
        Some(filter) => filter,
    };
    let more = if sessions.len() > 3 { ", ..." } else { "" };
    form.fact("context", model.context.clone())
        .fact(
            "matching",
            format!("{what} as resolved at {}", model.clock(model.now_ms)),
        )
        .fact("spread", nodes.join("  "))
        .fact(
            "traffic",
            format!(
                "{} will stop; distinct users {}",
                bit_rate(rate),
                users.len()
            ),
        )
        .fact("sample", format!("{}{more}", sample.join(", ")))
}

/// `B`: refuse the user of the row, or admit it again.
fn block(model: &mut Model) {
    let (realm, user, until) = match model.place() {
        Place::Users => match model.lists.users.selected() {
            Some(row) => (row.realm.clone(), row.name.clone(), row.blocked_until_ms),
            None => return,
        },
        Place::Session(_) => match &model.detail.view {
            Some(detail) => (
                detail.session.realm.clone(),
                detail.session.user.clone(),
                None,
            ),
            None => return,
        },
        _ => match model.lists.sessions.selected() {
            Some(row) => (row.realm.clone(), row.user.clone(), None),
            None => return,
        },
    };
    if user.is_empty() {
        model.say(
            Tone::Warn,
            "this session's username names no user: there is nobody to block",
        );
        return;
    }
    if let Some(until) = until.filter(|until| *until > model.now_ms) {
        let form = Form::new(
            format!("Admit {user} again"),
            "Admit (y)",
            vec![reason_field()],
        )
        .fact("realm", realm.to_string())
        .fact("refused until", model.clock(until));
        open(model, form, Purpose::Unblock(realm, user));
        return;
    }
    let fields = vec![
        Field::text("block", "for", BLOCK_OFFER, "as in 10m, 1h, 7d"),
        reason_field(),
    ];
    let form = Form::new(format!("Block {user}"), "Block (y)", fields)
        .fact("realm", realm.to_string())
        .note("New sessions of this user are refused on all nodes. Sessions that it has go on.");
    open(model, form, Purpose::Block(realm, user));
}

fn with_user(model: &mut Model, then: fn(&mut Model, UserView)) {
    let Some(user) = model.lists.users.selected().cloned() else {
        return;
    };
    if user.stored {
        then(model, user);
    } else {
        let text = format!(
            "{} is not stored: it comes with time-limited credentials",
            user.name
        );
        model.say(Tone::Warn, text);
    }
}

fn new_user(model: &mut Model) {
    let selected = model
        .lists
        .users
        .selected()
        .map(|u| u.realm.as_str().to_owned());
    let realm = selected.or_else(|| model.top_realms.first().map(|r| r.name.as_str().to_owned()));
    let fields = vec![
        Field::text("realm", "realm", &realm.unwrap_or_default(), ""),
        Field::text("name", "name", "", "1 to 508 bytes"),
        Field::masked("password", "password"),
        Field::masked("again", "password again"),
        reason_field(),
    ];
    let form = Form::new("New user", "Create (y)", fields)
        .note("An existing user of that name gets this password.")
        .focus_first();
    open(model, form, Purpose::NewUser);
}

fn password(model: &mut Model, user: UserView) {
    let fields = vec![
        Field::masked("password", "password"),
        Field::masked("again", "password again"),
        reason_field(),
    ];
    let form = Form::new(format!("Password of {}", user.name), "Set (y)", fields)
        .fact("realm", user.realm.to_string())
        .note("Sessions that exist go on, or end where the realm has revoke_on_user_removal.")
        .focus_first();
    open(model, form, Purpose::Password(user.realm, user.name));
}

fn edit_user(model: &mut Model, user: UserView) {
    let limit = user
        .max_sessions
        .map_or_else(String::new, |n| n.to_string());
    let rate = user
        .max_rate_bps
        .map_or_else(String::new, |n| n.to_string());
    let fields = vec![
        Field::text(
            "max_sessions",
            "own session limit",
            &limit,
            "empty: the realm's",
        ),
        Field::text(
            "max_rate_bps",
            "own rate limit",
            &rate,
            "bit/s each way of all its sessions; empty: the realm's",
        ),
        Field::toggle("disabled", "switched off", user.disabled),
        Field::text("note", "note", &user.note, ""),
        reason_field(),
    ];
    let form = Form::new(format!("Edit {}", user.name), "Apply (y)", fields)
        .fact("realm", user.realm.to_string())
        .focus_first();
    open(model, form, Purpose::EditUser(Box::new(user)));
}

fn delete_user(model: &mut Model, user: UserView) {
    let fields = vec![reason_field()];
    let form = Form::new(format!("Delete {}", user.name), "Delete (y)", fields)
        .fact("realm", user.realm.to_string())
        .fact("sessions", user.sessions.to_string())
        .note("It cannot authenticate any more. Its password cannot be brought back.");
    open(model, form, Purpose::DeleteUser(user.realm, user.name));
}
