//! What is asked for beside the list on the screen: histories, alerts, what panels show.
//!
//! Asking for a session's history makes its node keep it: only what is visible and under a resting
//! cursor is asked for.

use shared::api::{GroupBy, GroupQuery, ListQuery};
use shared::filter::equals;

use super::super::layout;
use super::super::message::{Effect, Question};
use super::super::model::{Model, Place};
use super::{ask, frozen};
use crate::client::HistoryOf;

/// How long the cursor rests on a row before the row is asked about.
const REST_MS: u64 = 300;
/// How often figures that are kept in steps of ten seconds are asked for.
const STEP_MS: u64 = 10_000;
/// How often the small trends of rows are.
const TREND_MS: u64 = 30_000;
/// Rows whose trends are asked for.
const TRENDS: usize = 40;
/// Questions of this kind that begin at once; the rest follows with the next ticks.
const AT_ONCE: usize = 8;

/// Asks for what is due.
pub(super) fn ask_panels(model: &mut Model, effects: &mut Vec<Effect>) {
    notice_cursor(model);
    if frozen(model) || !model.connection.is_up() {
        return;
    }
    let now = model.now_ms;
    let mut begun = 0;
    for (question, every_ms) in wanted(model) {
        let slot = question.slot();
        let asked = model.panels.asked_ms.get(&slot);
        let due = asked.is_none_or(|at| now.saturating_sub(*at) >= every_ms || *at > now);
        if !due || model.asked.contains_key(&slot) {
            continue;
        }
        if begun == AT_ONCE {
            break;
        }
        begun += 1;
        model.panels.asked_ms.insert(slot, now);
        ask(model, question, effects);
    }
    let longest = TREND_MS.max(model.refresh_ms()) * 2;
    model
        .panels
        .asked_ms
        .retain(|_, at| now.saturating_sub(*at) < longest);
}

/// Notes what the cursor is on, and since when.
fn notice_cursor(model: &mut Model) {
    let subject = subject(model);
    let panels = &mut model.panels;
    match (&panels.rests_on, subject) {
        (_, None) => panels.rests_on = None,
        // One that was not moved to, but is there when the view opens, need not be waited for.
        (None, Some(subject)) => panels.rests_on = Some((subject, 0)),
        (Some((known, _)), Some(subject)) if *known != subject => {
            panels.rests_on = Some((subject, model.now_ms));
        }
        (Some(_), Some(_)) => {}
    }
}

/// Whose figures the panel of the view shows.
fn subject(model: &Model) -> Option<HistoryOf> {
    let lists = &model.lists;
    let of_row = match model.place() {
        Place::Nodes => lists
            .nodes
            .selected()
            .map(|n| HistoryOf::Node(n.id.clone())),
        Place::Sessions => lists.sessions.selected().map(|s| HistoryOf::Session(s.id)),
        Place::Users => {
            (lists.users.selected()).map(|u| HistoryOf::User(u.realm.clone(), u.name.clone()))
        }
        Place::Realms => (lists.realms.selected()).map(|r| HistoryOf::Realm(r.name.clone())),
        Place::Session(id) => return Some(HistoryOf::Session(*id)),
        Place::Realm(name) => return Some(HistoryOf::Realm(name.clone())),
        _ => None,
    };
    of_row.filter(|_| layout::has_chart(model))
}

/// Questions and how often each is asked.
fn wanted(model: &Model) -> Vec<(Question, u64)> {
    let mut wanted = Vec::new();
    let slow = STEP_MS.max(model.refresh_ms());
    let pulse = *model.place() == Place::Pulse;
    if pulse || model.size.0 >= layout::WIDE {
        let often = if pulse { model.refresh_ms() } else { slow };
        let worst = ListQuery {
            limit: Some(50),
            ..ListQuery::default()
        };
        wanted.push((Question::TopAlerts(worst), often));
        wanted.push((Question::History(HistoryOf::Cluster), slow));
        if !pulse {
            wanted.push((Question::Cluster(super::all_nodes()), slow));
        }
    }
    let rested = |since: u64| model.now_ms.saturating_sub(since) >= REST_MS;
    if let Some((of, _)) = model.panels.rests_on.as_ref().filter(|r| rested(r.1)) {
        let every = match of {
            HistoryOf::Session(_) => model.refresh_ms(),
            _ => slow,
        };
        wanted.push((Question::History(of.clone()), every));
        if let HistoryOf::Node(node) = of {
            wanted.push((Question::PanelConfig(node.clone()), slow));
        }
    }
    if let Place::Realm(name) = model.place() {
        wanted.push((Question::Secrets(name.clone()), slow));
        let users = GroupQuery {
            filter: Some(equals("realm", name.as_str())),
            limit: Some(50),
            ..GroupQuery::new(GroupBy::User)
        };
        wanted.push((Question::TopUsers(name.clone(), users), model.refresh_ms()));
    }
    wanted.extend(trends(model).map(|of| (Question::History(of), TREND_MS.max(slow))));
    wanted
}

/// The rows that have a trend beside them.
fn trends(model: &Model) -> impl Iterator<Item = HistoryOf> {
    let mut of = Vec::new();
    let wide = model.size.0 >= layout::TRENDS_FROM;
    match model.place() {
        Place::Nodes if wide => {
            let list = &model.lists.nodes;
            let rows = list.rows.iter().skip(list.top).take(list.height);
            of.extend(rows.map(|n| HistoryOf::Node(n.id.clone())));
        }
        Place::Pulse => {
            of.extend(
                model
                    .top_realms
                    .iter()
                    .take(10)
                    .map(|r| HistoryOf::Realm(r.name.clone())),
            );
        }
        _ => {}
    }
    of.truncate(TRENDS);
    of.into_iter()
}
