//! Everything about one realm: its document, secrets, traffic, and who makes it.

use std::time::Duration;

use ratatui::layout::Rect;
use shared::Realm;
use shared::api::{GroupView, RealmDocument, RealmView, SecretView};
use shared::units::{age, grouped, short_number};

use super::panels::{self, Traffic, halves, split};
use crate::client::HistoryOf;
use crate::console::layout;
use crate::console::model::Model;
use crate::console::realm_fields::{REALM_FIELDS, realm_field};
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::chart::bars;
use crate::widgets::text::Align;

/// The time that the chart stretches over.
const SPAN_SECS: u64 = 3600;
/// Limits that are shown where they are not set, too.
const USUAL: [&str; 3] = ["max_sessions", "max_sessions_per_user", "max_rate_bps"];

/// Settings that most realms leave as they are.
const RARE: [&str; 8] = [
    "server_names",
    "password_algorithms",
    "username_anonymity",
    "revoke_on_user_removal",
    "revoke_on_password_change",
    "revoke_on_secret_removal",
    "revoke_on_credential_expiry",
    "new_sessions_without_store",
];

/// Paints the sheet of `name`.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect, name: &Realm) {
    let Some(realm) = model.sheet.realm.as_ref().filter(|r| r.name == *name) else {
        let text = model.sheet.error.as_deref().unwrap_or("loading...");
        let width = body.width.saturating_sub(2);
        canvas.text(body.x + 2, body.y + 1, width, text, Tone::Faint);
        return;
    };
    let columns: u16 = if body.width >= 76 { 2 } else { 1 };
    let facts = facts(realm);
    let rest = if body.height >= 16 {
        let rows = (facts.len() as u16).div_ceil(columns) + 2;
        let (top, rest) = split(body, rows);
        paint_facts(canvas, top, &title(model, realm), &facts, columns);
        rest
    } else {
        let (top, rest) = split(body, 5);
        paint_facts(canvas, top, &title(model, realm), &facts, columns);
        rest
    };
    let of = HistoryOf::Realm(name.clone());
    let rest = if rest.height >= 20 {
        let (chart, rest) = split(rest, layout::CHART_ROWS + 1);
        let what = Traffic {
            of: &of,
            name: name.as_str(),
            span_secs: SPAN_SECS,
        };
        panels::traffic(model, canvas, chart, what);
        rest
    } else if rest.height >= 7 {
        let (line, rest) = split(rest, 1);
        trend(model, canvas, line, &of);
        rest
    } else {
        rest
    };
    if rest.width >= 76 {
        let (left, right) = halves(rest);
        users(model, canvas, left, name);
        secrets(model, canvas, right, name);
    } else {
        let (top, below) = split(rest, rest.height * 3 / 5);
        users(model, canvas, top, name);
        secrets(model, canvas, below, name);
    }
}

fn title(model: &Model, realm: &RealmView) -> String {
    let error = model
        .sheet
        .error
        .as_ref()
        .map_or("", |_| "  (no answer: the last that is known)");
    let changed = if realm.changed_at_ms == 0 {
        "never stored".to_owned()
    } else {
        let by = &realm.changed_by;
        format!("{} by {by}", model.clock(realm.changed_at_ms))
    };
    format!(
        "Realm {}  revision {}, {changed}{error}",
        realm.name, realm.revision
    )
}

fn facts(realm: &RealmView) -> Vec<(String, String)> {
    let document = &realm.document;
    let mut facts = vec![
        (
            "sessions".to_owned(),
            format!(
                "{} of {} users",
                grouped(realm.sessions),
                grouped(realm.users)
            ),
        ),
        (
            "traffic".to_owned(),
            format!(
                "{} in {} out",
                short_number(realm.rate_in_bps),
                short_number(realm.rate_out_bps)
            ),
        ),
    ];
    if !realm.applied.is_empty() {
        facts.push(("applied".to_owned(), applied(realm)));
    }
    for (name, _) in REALM_FIELDS {
        let text = realm_field(document, name);
        // What few realms have is shown where it is set.
        let is_rare = name.starts_with("max_") || RARE.contains(&name);
        let is_default = text == realm_field(&RealmDocument::default(), name);
        if is_rare && is_default && !USUAL.contains(&name) {
            continue;
        }
        let value = match text {
            text if text.is_empty() && name == "tcp_relay" => "the node's".to_owned(),
            text if text.is_empty() => "none".to_owned(),
            text => text,
        };
        facts.push((name.to_owned(), value));
    }
    if !REALM_FIELDS.iter().any(|(name, _)| *name == "origins") {
        let origins = match document.origins.as_slice() {
            [] => "none".to_owned(),
            origins => origins.join(", "),
        };
        facts.push(("origins".to_owned(), origins));
    }
    facts
}

/// How many nodes judge by the stored revision, and by which one the others do.
fn applied(realm: &RealmView) -> String {
    let lagging: Vec<String> = realm
        .lagging()
        .map(|one| format!("{} has {}", one.node, one.revision))
        .collect();
    let all = realm.applied.len();
    let mut text = format!("on {} of {all} nodes", all - lagging.len());
    if !lagging.is_empty() {
        text = format!("{text}; {}", lagging.join(", "));
    }
    text
}

fn paint_facts(
    canvas: &mut Canvas<'_>,
    area: Rect,
    title: &str,
    facts: &[(String, String)],
    columns: u16,
) {
    let inner = canvas.panel(area, title);
    let width = inner.width / columns;
    let label = 22.min(width / 2);
    for (i, (name, value)) in facts.iter().enumerate() {
        let x = inner.x + width * (i as u16 % columns);
        let y = inner.y + i as u16 / columns;
        if y >= inner.bottom() {
            return;
        }
        canvas.cell(x, y, label, name, Align::Left, Tone::Faint);
        canvas.text(
            x + label + 1,
            y,
            width.saturating_sub(label + 2),
            value,
            Tone::Normal,
        );
    }
}

fn trend(model: &Model, canvas: &mut Canvas<'_>, area: Rect, of: &HistoryOf) {
    let histories = &model.panels.histories;
    let span = histories.span_secs(of, SPAN_SECS, model.now_ms);
    let both = histories.series(of, span, model.now_ms, |s| {
        s.rate_in_bps.saturating_add(s.rate_out_bps)
    });
    let used = canvas.text(
        area.x + 2,
        area.y,
        area.width,
        &format!("traffic {} min ", span / 60),
        Tone::Faint,
    );
    let room = area.width.saturating_sub(used + 4);
    let line = bars(model.theme, &both.unwrap_or_default(), room);
    canvas.text(area.x + 2 + used, area.y, room, &line, Tone::Accent);
}

fn users(model: &Model, canvas: &mut Canvas<'_>, area: Rect, name: &Realm) {
    let known = model
        .panels
        .users
        .as_ref()
        .filter(|(realm, _)| realm == name);
    let count = known.map_or(0, |(_, page)| page.matched);
    let inner = canvas.panel(area, &format!("Top users by rate, of {}", grouped(count)));
    let Some((_, page)) = known else {
        canvas.text(inner.x, inner.y, inner.width, "...", Tone::Faint);
        return;
    };
    if inner.height == 0 {
        return;
    }
    user_row(
        canvas,
        inner,
        inner.y,
        ["USER", "SESS", "IN", "OUT"],
        Tone::Title,
    );
    let rows = usize::from(inner.height - 1);
    let top = model.sheet.top.min(page.items.len().saturating_sub(rows));
    for (y, user) in (inner.y + 1..inner.bottom()).zip(page.items.iter().skip(top)) {
        let cells = user_cells(user);
        let cells = [&*cells[0], &cells[1], &cells[2], &cells[3]];
        user_row(canvas, inner, y, cells, Tone::Normal);
    }
}

fn user_cells(user: &GroupView) -> [String; 4] {
    [
        user.key.clone(),
        grouped(user.sessions),
        short_number(user.rate_in_bps),
        short_number(user.rate_out_bps),
    ]
}

fn user_row(canvas: &mut Canvas<'_>, inner: Rect, y: u16, cells: [&str; 4], tone: Tone) {
    let name = inner.width.saturating_sub(24);
    let mut x = inner.x;
    for (i, (cell, width)) in cells.into_iter().zip([name, 8, 8, 8]).enumerate() {
        let align = if i == 0 { Align::Left } else { Align::Right };
        canvas.cell(x, y, width, cell, align, tone);
        x += width;
    }
}

fn secrets(model: &Model, canvas: &mut Canvas<'_>, area: Rect, name: &Realm) {
    let known = model
        .panels
        .secrets
        .as_ref()
        .filter(|(realm, _)| realm == name);
    let inner = canvas.panel(area, "Shared secrets");
    let Some((_, secrets)) = known else {
        canvas.text(inner.x, inner.y, inner.width, "...", Tone::Faint);
        return;
    };
    if inner.height == 0 {
        return;
    }
    if secrets.is_empty() {
        canvas.text(inner.x, inner.y, inner.width, "none", Tone::Faint);
        return;
    }
    secret_row(
        canvas,
        inner,
        inner.y,
        ["ID", "STATE", "LABEL", "AGE", "SESS"],
        Tone::Title,
    );
    for (y, secret) in (inner.y + 1..inner.bottom()).zip(secrets) {
        let cells = secret_cells(model, secret);
        let cells = [&*cells[0], &cells[1], &cells[2], &cells[3], &cells[4]];
        secret_row(canvas, inner, y, cells, Tone::Normal);
    }
}

fn secret_cells(model: &Model, secret: &SecretView) -> [String; 5] {
    let since = match secret.created_at_ms {
        0 => "-".to_owned(),
        at => age(Duration::from_millis(model.now_ms.saturating_sub(at))),
    };
    let label = if secret.label.is_empty() {
        "-"
    } else {
        &secret.label
    };
    [
        secret.id.clone(),
        secret.state.as_str().to_owned(),
        label.to_owned(),
        since,
        grouped(secret.sessions),
    ]
}

fn secret_row(canvas: &mut Canvas<'_>, inner: Rect, y: u16, cells: [&str; 5], tone: Tone) {
    let age = if inner.width < 50 { 0 } else { 7 };
    let label = inner.width.saturating_sub(30 + age);
    let widths = [12, 8, label, age.saturating_sub(1), 7];
    let mut x = inner.x;
    for (i, (cell, width)) in cells.into_iter().zip(widths).enumerate() {
        if width == 0 {
            continue;
        }
        let align = if i < 3 { Align::Left } else { Align::Right };
        canvas.cell(x, y, width, cell, align, tone);
        x += width + 1;
    }
}
