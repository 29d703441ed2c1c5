//! The list of users: stored ones, and those that only have sessions.

use ratatui::layout::Rect;
use shared::api::UserView;
use shared::units::{grouped, short_number};

use super::paint_list;
use super::panels::{self, Traffic};
use crate::client::HistoryOf;
use crate::console::model::Model;
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::grid::{Cell, Column};
use crate::widgets::text::Align::{Left, Right};

/// Columns.
pub(super) const COLUMNS: &[Column<UserView, Model>] = &[
    Column {
        title: "USER",
        help: "name; the id part of a time-limited username",
        sort: Some("user"),
        width: 14,
        most: 32,
        align: Left,
        rank: 0,
        cell: |u, _| Cell::new(&u.name),
    },
    Column {
        title: "REALM",
        help: "realm",
        sort: Some("realm"),
        width: 10,
        most: 24,
        align: Left,
        rank: 1,
        cell: |u, _| Cell::new(u.realm.as_str()),
    },
    Column {
        title: "STATE",
        help: "stored, time-limited (no key in the store), OFF, or BLOCKED until",
        sort: None,
        width: 16,
        most: 20,
        align: Left,
        rank: 2,
        cell: state,
    },
    Column {
        title: "SESS",
        help: "live sessions",
        sort: Some("sessions"),
        width: 7,
        most: 9,
        align: Right,
        rank: 0,
        cell: |u, _| Cell::new(grouped(u.sessions)),
    },
    Column {
        title: "LIMIT",
        help: "session limit in force; * the user's own, ! reached",
        sort: Some("limit"),
        width: 6,
        most: 8,
        align: Right,
        rank: 4,
        cell: limit,
    },
    Column {
        title: "IN",
        help: "bits per second from the user",
        sort: Some("in"),
        width: 6,
        most: 6,
        align: Right,
        rank: 3,
        cell: |u, _| Cell::new(short_number(u.rate_in_bps)),
    },
    Column {
        title: "OUT",
        help: "bits per second to the user",
        sort: Some("out"),
        width: 6,
        most: 6,
        align: Right,
        rank: 3,
        cell: |u, _| Cell::new(short_number(u.rate_out_bps)),
    },
    Column {
        title: "KEYS",
        help: "what a client can log in with; MD5 alone: another tool set the password",
        sort: None,
        width: 11,
        most: 11,
        align: Left,
        rank: 6,
        cell: keys,
    },
    Column {
        title: "NOTE",
        help: "operator's note",
        sort: Some("note"),
        width: 8,
        most: 50,
        align: Left,
        rank: 5,
        cell: |u, _| Cell::new(&u.note),
    },
];

fn state(user: &UserView, model: &Model) -> Cell {
    if let Some(until) = user.blocked_until_ms.filter(|until| *until > model.now_ms) {
        return Cell::new(format!("BLOCKED {}", model.clock(until))).tone(Tone::Warn);
    }
    match (user.disabled, user.stored) {
        (true, _) => Cell::new("OFF").tone(Tone::Warn),
        (false, true) => Cell::new("stored"),
        (false, false) => Cell::new("time-limited").tone(Tone::Faint),
    }
}

fn keys(user: &UserView, _: &Model) -> Cell {
    let words: Vec<&str> = user.algorithms.iter().map(|one| one.as_str()).collect();
    Cell::new(words.join(" "))
}

/// The limit in force; `*` when it is the user's own, `!` when it is reached.
fn limit(user: &UserView, _: &Model) -> Cell {
    let Some(limit) = user.limit else {
        return Cell::new("-").tone(Tone::Faint);
    };
    let own = if user.max_sessions.is_some() { "*" } else { "" };
    if user.sessions >= u64::from(limit) {
        return Cell::new(format!("{limit}{own} !")).tone(Tone::Warn);
    }
    Cell::new(format!("{limit}{own}"))
}

/// Paints the list, and the traffic of the selected user below it where there is room.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    let list = &model.lists.users;
    let panel = paint_list(model, canvas, body, list, COLUMNS, |_| false);
    let Some(user) = list.selected().filter(|_| panel.height > 0) else {
        return;
    };
    let what = Traffic {
        of: &HistoryOf::User(user.realm.clone(), user.name.clone()),
        name: &user.name,
        span_secs: 3600,
    };
    panels::traffic(model, canvas, panel, what);
}
