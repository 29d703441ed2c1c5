//! The list of keys of third-party authorization. Their values are nowhere.

use std::time::Duration;

use ratatui::layout::Rect;
use shared::api::OauthKeyView;
use shared::units::age;

use super::paint_list;
use crate::console::model::Model;
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::grid::{Cell, Column};
use crate::widgets::text::Align::Left;

/// From so much before its end a key is marked: its successor has to be on its way.
const SOON_MS: u64 = 7 * 86_400_000;

/// Columns.
pub(super) const COLUMNS: &[Column<OauthKeyView, Model>] = &[
    Column {
        title: "KID",
        help: "name of the key, which clients send as USERNAME",
        sort: None,
        width: 16,
        most: 40,
        align: Left,
        rank: 0,
        cell: |k, _| Cell::new(&k.kid),
    },
    Column {
        title: "ALGORITHM",
        help: "what tokens are encrypted with",
        sort: None,
        width: 9,
        most: 9,
        align: Left,
        rank: 1,
        cell: |k, _| Cell::new(k.algorithm.to_string()),
    },
    Column {
        title: "REALM",
        help: "the only realm it is good for",
        sort: None,
        width: 10,
        most: 20,
        align: Left,
        rank: 0,
        cell: |k, _| realm(k),
    },
    Column {
        title: "GOOD FROM",
        help: "when it becomes good",
        sort: None,
        width: 10,
        most: 10,
        align: Left,
        rank: 2,
        cell: |k, model| from(k.since_ms, "always", model),
    },
    Column {
        title: "EXPIRES",
        help: "when it ends, and in what time",
        sort: None,
        width: 20,
        most: 20,
        align: Left,
        rank: 0,
        cell: expires,
    },
];

fn realm(key: &OauthKeyView) -> Cell {
    match &key.realm {
        Some(realm) => Cell::new(realm.as_str()),
        None => Cell::new("all").tone(Tone::Faint),
    }
}

/// A moment without its time of day.
fn day(at_ms: u64, model: &Model) -> String {
    let moment = model.moment(at_ms);
    moment.split(' ').next().unwrap_or_default().to_owned()
}

fn from(at_ms: Option<u64>, absent: &str, model: &Model) -> Cell {
    match at_ms {
        Some(at) => Cell::new(day(at, model)),
        None => Cell::new(absent).tone(Tone::Faint),
    }
}

fn expires(key: &OauthKeyView, model: &Model) -> Cell {
    let Some(until) = key.until_ms else {
        return Cell::new("never").tone(Tone::Faint);
    };
    let left = until.saturating_sub(model.now_ms);
    if left == 0 {
        return Cell::new(format!("EXPIRED {}", day(until, model))).tone(Tone::Bad);
    }
    let time = age(Duration::from_millis(left));
    let text = format!("{}, in {time}", day(until, model));
    let tone = if left < SOON_MS {
        Tone::Warn
    } else {
        Tone::Normal
    };
    Cell::new(text).tone(tone)
}

/// Paints the list.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    let list = &model.lists.oauth_keys;
    let ended = |_: &OauthKeyView| false;
    paint_list(model, canvas, body, list, COLUMNS, ended);
}
