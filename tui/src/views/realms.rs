//! The list of realms, and the document of the selected one.

use ratatui::layout::Rect;
use shared::api::RealmView;
use shared::units::{grouped, short_number};

use super::paint_list;
use super::panels::{self, Traffic, split};
use crate::client::HistoryOf;
use crate::console::layout;
use crate::console::model::Model;
use crate::console::realm_fields::realm_field;
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::grid::{Cell, Column};
use crate::widgets::text::Align::{Left, Right};

/// Columns.
pub(super) const COLUMNS: &[Column<RealmView, Model>] = &[
    Column {
        title: "REALM",
        help: "name",
        sort: Some("realm"),
        width: 14,
        most: 32,
        align: Left,
        rank: 0,
        cell: |r, _| Cell::new(r.name.as_str()),
    },
    Column {
        title: "SESS",
        help: "live sessions",
        sort: Some("sessions"),
        width: 7,
        most: 9,
        align: Right,
        rank: 0,
        cell: |r, _| Cell::new(grouped(r.sessions)),
    },
    Column {
        title: "USERS",
        help: "users with sessions",
        sort: Some("users"),
        width: 7,
        most: 9,
        align: Right,
        rank: 2,
        cell: |r, _| Cell::new(grouped(r.users)),
    },
    Column {
        title: "IN",
        help: "bits per second from clients",
        sort: Some("in"),
        width: 6,
        most: 6,
        align: Right,
        rank: 1,
        cell: |r, _| Cell::new(short_number(r.rate_in_bps)),
    },
    Column {
        title: "OUT",
        help: "bits per second to clients",
        sort: Some("out"),
        width: 6,
        most: 6,
        align: Right,
        rank: 1,
        cell: |r, _| Cell::new(short_number(r.rate_out_bps)),
    },
    Column {
        title: "/USER",
        help: "session limit per user and node",
        sort: Some("max_sessions_per_user"),
        width: 6,
        most: 6,
        align: Right,
        rank: 3,
        cell: |r, _| optional(r.document.max_sessions_per_user.map(u64::from)),
    },
    Column {
        title: "MAX",
        help: "session limit, over all nodes",
        sort: Some("max_sessions"),
        width: 7,
        most: 9,
        align: Right,
        rank: 4,
        cell: |r, _| optional(r.document.max_sessions.map(u64::from)),
    },
    Column {
        title: "MAXBPS",
        help: "limit of one session in each direction, bits per second",
        sort: Some("maxrate"),
        width: 6,
        most: 7,
        align: Right,
        rank: 5,
        cell: |r, _| optional(r.document.max_rate_bps),
    },
    Column {
        title: "REV",
        help: "revision of its document; 0: from the configuration only",
        sort: Some("revision"),
        width: 5,
        most: 6,
        align: Right,
        rank: 6,
        cell: |r, _| Cell::new(r.revision.to_string()),
    },
    Column {
        title: "SECRETS",
        help: "shared secrets",
        sort: Some("secrets"),
        width: 7,
        most: 7,
        align: Right,
        rank: 7,
        cell: |r, _| Cell::new(r.secrets.to_string()),
    },
    Column {
        title: "REFUSED",
        help: "refusals since the nodes' start",
        sort: Some("refusals"),
        width: 7,
        most: 8,
        align: Right,
        rank: 8,
        cell: |r, _| Cell::new(short_number(r.refusals)),
    },
    Column {
        title: "NOTE",
        help: "operator's note",
        sort: Some("note"),
        width: 8,
        most: 50,
        align: Left,
        rank: 9,
        cell: |r, _| Cell::new(&r.document.note),
    },
];

fn optional(value: Option<u64>) -> Cell {
    value.map_or_else(
        || Cell::new("-").tone(Tone::Faint),
        |v| Cell::new(short_number(v)),
    )
}

/// What is shown of the selected realm, besides its denied peers; the rest is in its own view.
const FACTS: [&str; 6] = [
    "max_sessions",
    "max_sessions_per_user",
    "max_rate_bps",
    "default_lifetime_secs",
    "max_lifetime_secs",
    "allowed_peers",
];

/// Paints the list, and the selected realm's document below it where there is room.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    let list = &model.lists.realms;
    let panel = paint_list(model, canvas, body, list, COLUMNS, |_| false);
    let Some(realm) = list.selected().filter(|_| panel.height > 0) else {
        return;
    };
    let (panel, chart) = split(panel, layout::REALM_ROWS);
    if chart.height > 0 {
        let what = Traffic {
            of: &HistoryOf::Realm(realm.name.clone()),
            name: realm.name.as_str(),
            span_secs: 3600,
        };
        panels::traffic(model, canvas, chart, what);
    }
    let inner = canvas.panel(
        panel,
        &format!("{} revision {}", realm.name, realm.revision),
    );
    let half = inner.width / 2;
    let value = |name: &str| match realm_field(&realm.document, name) {
        text if text.is_empty() => "none".to_owned(),
        text => text,
    };
    for (i, name) in FACTS.iter().enumerate() {
        let (column, line) = (i / 3, i % 3);
        let x = inner.x + half * column as u16;
        let y = inner.y + line as u16;
        canvas.text(
            x,
            y,
            half.saturating_sub(1),
            &format!("{name:<22} {}", value(name)),
            Tone::Normal,
        );
    }
    let changed = if realm.changed_at_ms == 0 {
        "never stored: from the node's configuration".to_owned()
    } else {
        format!(
            "{} by {}",
            model.clock(realm.changed_at_ms),
            realm.changed_by
        )
    };
    let lines = [
        format!("{:<22} {}", "denied_peers", value("denied_peers")),
        format!("{:<22} {changed}", "changed"),
        format!("{:<22} {}", "note", value("note")),
    ];
    for (y, line) in (inner.y + 3..inner.bottom()).zip(&lines) {
        canvas.text(inner.x, y, inner.width, line, Tone::Normal);
    }
}
