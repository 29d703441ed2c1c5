//! What answers do to the model.

use shared::api::{ApiError, ConfigView, ErrorKind, EventView, Page, RealmView, SessionDetail};

use super::super::list::{ListState, Row};
use super::super::message::{Answer, Effect, Failure, Kind, Question};
use super::super::model::{Dialog, Mode, Model, Place};
use super::super::rows::DiffRow;
use super::super::theme::Tone;
use super::{
    ask, ask_page, bans, change, config, documents, fleet, frozen, oauth, realm, revisions,
    secrets, verify,
};
use shared::api::Role;

/// Takes in an answer, or the lack of one.
pub(super) fn answered(
    model: &mut Model,
    question: Question,
    result: Result<Answer, Failure>,
    effects: &mut Vec<Effect>,
) {
    if !is_late(model, &question) {
        model.asked.remove(&question.slot());
    }
    model.dirty = true;
    match result {
        Ok(answer) => {
            let was_up = model.connection.is_up();
            model.connection.answered(model.now_ms);
            if !was_up {
                model.next_refresh_ms = model.now_ms;
                // It may be another node, or know us by another role.
                ask(model, Question::WhoAmI, effects);
            }
            taken(model, question, answer, effects);
            if !was_up {
                // What is shown is asked for at once: the first frame does not wait for a tick.
                super::tick(model, model.now_ms, effects);
            }
        }
        Err(Failure::Unreachable(why)) => {
            if matches!(
                question,
                Question::KillTarget(_)
                    | Question::Targets(_)
                    | Question::Marked(_)
                    | Question::Json(_)
                    | Question::Realm(_)
                    | Question::EditSetting(..)
                    | Question::Overrides(_)
                    | Question::RotateSecrets(_)
                    | Question::Revisions(_)
                    | Question::Undo(..)
            ) {
                model.say(Tone::Bad, why.clone());
            }
            if let Question::Preview(name, _) = &question {
                realm::not_previewed(model, name, &why);
            }
            model.connection.failed(model.now_ms, why);
        }
        Err(Failure::Refused(error)) => {
            model.connection.answered(model.now_ms);
            refused(model, question, error);
        }
    }
}

/// Whether an answer belongs to a question that was replaced by another one since.
fn is_late(model: &Model, question: &Question) -> bool {
    let Question::List {
        kind, generation, ..
    } = question
    else {
        return false;
    };
    let current = model.lists.paged(*kind).generation();
    *generation != current
}

fn taken(model: &mut Model, question: Question, answer: Answer, effects: &mut Vec<Effect>) {
    match (question, answer) {
        (Question::WhoAmI, Answer::WhoAmI(who)) => {
            model.whoami = Some(who);
            if model.wants_rw {
                model.wants_rw = false;
                allow_changes(model);
            }
        }
        (_, Answer::Overview(overview)) => {
            model.sample(&overview);
            model.overview = Some(*overview);
        }
        (
            Question::List {
                kind,
                page,
                generation,
                ..
            },
            answer,
        ) => {
            take_page(model, kind, page, generation, answer, effects);
        }
        (_, Answer::Nodes(page)) => {
            model.sample_nodes(&page.items);
            model.cluster = page.items;
        }
        (_, Answer::Realms(page)) => model.top_realms = page.items,
        (Question::KillTarget(_), Answer::Session(detail)) => {
            change::kill_one(model, &detail.session);
        }
        (_, Answer::Session(detail)) => take_session(model, *detail),
        (_, Answer::Marked(found, gone)) => change::kill_marked(model, found, &gone),
        (Question::Targets(filter), Answer::Targets(sessions, matched)) => {
            change::kill_many(model, Some(&filter), sessions, matched);
        }
        (Question::VerifyNodes(_, realm), Answer::VerifyNodes(nodes, left_out)) => {
            verify::offer(model, nodes, &left_out, &realm);
        }
        (Question::Preview(name, put), Answer::Preview(preview)) => {
            realm::previewed(model, &name, &put, &preview);
        }
        (Question::RotateSecrets(realm), Answer::Secrets(page)) => {
            secrets::show(model, realm, page.items);
        }
        (Question::OneRealm(_), Answer::Realm(view)) => take_sheet(model, *view),
        (_, Answer::Realm(view)) => realm::take(model, *view),
        (_, Answer::Events(page)) => take_events(model, page),
        (Question::Config(_), Answer::Config(view)) => take_config(model, *view),
        (Question::Groups(query), Answer::Groups(page))
            if *model.place() == Place::Groups(query.by) && !frozen(model) =>
        {
            let (matched, missing) = (page.matched, page.missing.clone());
            let list = &mut model.lists.groups;
            list.error = None;
            list.set_rows(page.items, page.total as usize, page.as_of_ms);
            if let Some(facts) = &mut list.facts {
                (facts.matched, facts.missing) = (matched, missing);
            }
        }
        (_, Answer::Job(job)) => {
            if let Some(Dialog::Job(dialog)) = &mut model.dialog
                && dialog.job.id == job.id
            {
                dialog.job = job;
                dialog.error = None;
            }
        }
        (question, answer) => take_panel(model, question, answer),
    }
}

/// What stands beside the lists.
fn take_panel(model: &mut Model, question: Question, answer: Answer) {
    match (question, answer) {
        (Question::Json(of), Answer::Json(text)) if model.dialog.is_none() => {
            documents::open(model, of.to_string(), &text);
        }
        (Question::Revisions(name), Answer::Revisions(all, diffs)) if model.dialog.is_none() => {
            revisions::show(model, &name, &all, &diffs);
        }
        (Question::Undo(name, _), Answer::Undo(seen)) => revisions::offer(model, name, &seen),
        (Question::History(of), Answer::History(view)) => {
            model.panels.histories.take(of, *view, model.now_ms);
        }
        (Question::TopAlerts(_), Answer::Alerts(page)) => model.panels.alerts = Some(page),
        (Question::PanelConfig(_), Answer::Config(view)) => model.panels.config = Some(*view),
        (Question::Secrets(realm), Answer::Secrets(page)) => {
            model.panels.secrets = Some((realm, page.items));
        }
        (Question::EditSetting(_, key), Answer::Config(view)) => {
            config::edit_key(model, &view, key);
        }
        (_, Answer::Overrides(theirs)) => config::conflict(model, &theirs),
        (Question::Diff(..), Answer::Diff(left, right)) => take_diff(model, &left, &right),
        (_, Answer::AlertRules(rules)) if !model.paused => fleet::take_rules(model, rules),
        (_, Answer::Bans(page)) if !frozen(model) => bans::take(model, page),
        (_, Answer::OauthKeys(page)) if !frozen(model) => oauth::take(model, page),
        (Question::TopUsers(realm, _), Answer::Groups(page)) => {
            model.panels.users = Some((realm, page));
        }
        _ => {}
    }
}

/// Switches to read-write if the role has anything to change.
pub(super) fn allow_changes(model: &mut Model) {
    match model.role_covers(Role::Operator) {
        Ok(()) => {
            model.mode = Mode::ReadWrite;
            model.say(
                Tone::Warn,
                "read-write: capital letters change things now; :ro goes back",
            );
        }
        Err(why) if model.whoami.is_some() => {
            model.say(Tone::Bad, format!("stays read-only: {why}"))
        }
        Err(_) => {
            model.wants_rw = true;
            model.say(
                Tone::Warn,
                "read-write as soon as the node has said what your role is",
            );
        }
    }
}

fn take_page(
    model: &mut Model,
    kind: Kind,
    page: usize,
    generation: u64,
    answer: Answer,
    effects: &mut Vec<Effect>,
) {
    fn take<T: Row>(
        list: &mut ListState<T>,
        page: usize,
        generation: u64,
        rows: Page<T>,
    ) -> Option<usize> {
        if list.generation != generation {
            return None;
        }
        list.take(page, rows);
        // The rest of what is visible belongs to the ranking before.
        (page + 1..page + 3).find(|next| *next == page + 1 && list.shows_page(*next))
    }
    if frozen(model) {
        return;
    }
    let lists = &mut model.lists;
    let next = match answer {
        Answer::Nodes(rows) => {
            model.node_trend.retain(|id, _| {
                rows.items.iter().any(|n| n.id == *id) || model.cluster.iter().any(|n| n.id == *id)
            });
            let nodes = rows.items.clone();
            let next = take(&mut lists.nodes, page, generation, rows);
            model.sample_nodes(&nodes);
            next
        }
        Answer::Sessions(rows) => take(&mut lists.sessions, page, generation, rows),
        Answer::Users(rows) => take(&mut lists.users, page, generation, rows),
        Answer::Realms(rows) => take(&mut lists.realms, page, generation, rows),
        Answer::Audit(rows) => take(&mut lists.audit, page, generation, rows),
        Answer::Refusals(rows) => take(&mut lists.refusals, page, generation, rows),
        Answer::RefusalCounts(rows) => take(&mut lists.refusal_counts, page, generation, rows),
        Answer::Alerts(rows) => take(&mut lists.alerts, page, generation, rows),
        Answer::Redirects(rows) => take(&mut lists.redirects, page, generation, rows),
        _ => None,
    };
    if next.is_some() && model.place().kind() == Some(kind) {
        ask_page(model, kind, next, effects);
    }
}

fn take_config(model: &mut Model, view: ConfigView) {
    if frozen(model) || *model.place() != Place::Config(view.node.clone()) {
        return;
    }
    model.config = Some(view);
    model.select_settings();
}

fn take_diff(model: &mut Model, left: &ConfigView, right: &ConfigView) {
    let place = Place::Diff(left.node.clone(), right.node.clone());
    if frozen(model) || *model.place() != place {
        return;
    }
    let rows = DiffRow::between(left, right);
    let (total, as_of_ms) = (left.settings.len(), left.as_of_ms.min(right.as_of_ms));
    model.lists.diff.error = None;
    model.lists.diff.set_rows(rows, total, as_of_ms);
}

fn take_sheet(model: &mut Model, view: RealmView) {
    if !frozen(model) && *model.place() == Place::Realm(view.name.clone()) {
        model.sheet.error = None;
        model.sheet.realm = Some(view);
    }
}

fn take_session(model: &mut Model, detail: SessionDetail) {
    if frozen(model) || *model.place() != Place::Session(detail.session.id) {
        return;
    }
    model
        .detail
        .sample(detail.session.rate_in_bps, detail.session.rate_out_bps);
    model.detail.error = None;
    model.detail.view = Some(detail);
}

fn take_events(model: &mut Model, page: Page<EventView>) {
    for event in page.items {
        model.keep_event(event);
    }
    if let super::super::model::Stream::Closed {
        retry_ms: retry_ms @ 0,
    } = &mut model.stream
    {
        *retry_ms = 1;
    }
    if *model.place() == Place::Events && !frozen(model) {
        model.select_events();
    }
}

fn refused(model: &mut Model, question: Question, error: ApiError) {
    match question {
        Question::List {
            kind, generation, ..
        } => {
            let late = is_late(
                model,
                &Question::List {
                    kind,
                    page: 0,
                    generation,
                    query: Default::default(),
                },
            );
            if late {
                return;
            }
            if error.error == ErrorKind::CursorExpired {
                if model.lists.paged_mut(kind).start_again() {
                    model.say(
                        Tone::Warn,
                        "the node has ranked the list anew: back where it begins",
                    );
                }
                return;
            }
            model.lists.paged_mut(kind).set_error(error.message);
        }
        Question::Session(_) => model.detail.error = Some(error.message),
        Question::Job(_) => {
            if let Some(Dialog::Job(dialog)) = &mut model.dialog {
                dialog.error = Some(error.message);
            }
        }
        Question::Config(_) => model.lists.config.error = Some(error.message),
        Question::Groups(_) => model.lists.groups.error = Some(error.message),
        Question::Diff(..) => model.lists.diff.error = Some(error.message),
        Question::AlertRules => model.lists.rules.error = Some(error.message),
        Question::Bans => model.lists.bans.error = Some(error.message),
        Question::OauthKeys => model.lists.oauth_keys.error = Some(error.message),
        Question::OneRealm(_) => model.sheet.error = Some(error.message),
        Question::Preview(name, _) => realm::not_previewed(model, &name, &error.message),
        // A panel less; the list is there.
        Question::History(_)
        | Question::TopAlerts(_)
        | Question::PanelConfig(_)
        | Question::Secrets(_)
        | Question::TopUsers(..) => {}
        // The stream says the same, and the view can do without.
        Question::Events(_) | Question::Cluster(_) | Question::TopRealms(_) => {}
        _ => model.say(Tone::Bad, error.message),
    }
}

/// Asks for one thing on behalf of a dialog that opens with the answer.
pub(super) fn ask_for_dialog(model: &mut Model, question: Question, effects: &mut Vec<Effect>) {
    model.asked.remove(&question.slot());
    ask(model, question, effects);
}
