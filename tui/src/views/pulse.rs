//! The home view: the cluster at a glance.

use std::collections::BTreeMap;

use ratatui::layout::Rect;
use shared::api::{NodeState, Overview, Severity};
use shared::units::{bit_rate, grouped, short_number};

use super::events;
use crate::console::model::{Model, Sample};
use crate::console::theme::Tone;
use crate::widgets::canvas::{Canvas, spark};
use crate::widgets::text::{self, Align};

/// From this height on figures stand in tiles.
const TILES_FROM: u16 = 24;
/// From this share of its binding limit on a node is an alert.
const FULL_PERCENT: f64 = 80.0;

/// A figure of a sample.
type Figure = fn(&Sample) -> u64;

/// Paints the pulse.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    let Some(overview) = &model.overview else {
        let text = match model.connection.trouble() {
            Some(_) => "nothing is known yet: the node does not answer",
            None => "connecting...",
        };
        canvas.text(body.x + 2, body.y + 1, body.width - 2, text, Tone::Faint);
        return;
    };
    let mut rest = if model.size.1 >= TILES_FROM {
        tiles(model, canvas, body, overview)
    } else {
        lines(canvas, body, overview)
    };
    let alerts = alerts(model, overview);
    let rows = (alerts.len() as u16).clamp(1, 4.min(rest.height.saturating_sub(2).max(1)));
    rest = alert_panel(canvas, rest, &alerts, rows);
    let realms = (model.top_realms.len() as u16 + 3).clamp(4, (rest.height * 2 / 3).max(4));
    rest = realm_panel(model, canvas, rest, realms);
    event_panel(model, canvas, rest);
}

/// Takes `rows` off the top of `area`.
fn split(area: Rect, rows: u16) -> (Rect, Rect) {
    let rows = rows.min(area.height);
    let top = Rect {
        height: rows,
        ..area
    };
    (
        top,
        Rect {
            y: area.y + rows,
            height: area.height - rows,
            ..area
        },
    )
}

fn halves(area: Rect) -> (Rect, Rect) {
    let left = area.width / 2;
    (
        Rect {
            width: left,
            ..area
        },
        Rect {
            x: area.x + left,
            width: area.width - left,
            ..area
        },
    )
}

fn tiles(model: &Model, canvas: &mut Canvas<'_>, body: Rect, overview: &Overview) -> Rect {
    let (top, rest) = split(body, 4);
    let (left, right) = halves(top);
    let title = format!("Sessions {}{}", grouped(overview.sessions), growth(model));
    let inner = canvas.panel(left, &title);
    let sessions = model.samples.iter().map(|s| s.sessions);
    canvas.text(
        inner.x,
        inner.y,
        inner.width,
        &spark(model.theme, sessions, inner.width),
        Tone::Accent,
    );
    let flow = format!(
        "new {:.1}/s  end {:.1}/s",
        overview.created_per_sec, overview.ended_per_sec
    );
    canvas.text(inner.x, inner.y + 1, inner.width, &flow, Tone::Normal);
    let both = overview.rate_in_bps.saturating_add(overview.rate_out_bps);
    let inner = canvas.panel(right, &format!("Relay traffic {}", bit_rate(both)));
    let series: [(&str, u64, Figure); 2] = [
        ("in ", overview.rate_in_bps, |s| s.rate_in),
        ("out", overview.rate_out_bps, |s| s.rate_out),
    ];
    for (y, (name, now, of)) in (inner.y..inner.bottom()).zip(series) {
        let head = format!("{name} {:>5} ", short_number(now));
        let used = canvas.text(inner.x, y, inner.width, &head, Tone::Normal);
        let room = inner.width.saturating_sub(used);
        let line = spark(model.theme, model.samples.iter().map(of), room);
        canvas.text(inner.x + used, y, room, &line, Tone::Accent);
    }
    let (top, rest) = split(rest, 4);
    let (left, right) = halves(top);
    refusals(canvas, left, &overview.refusals_per_sec);
    let inner = canvas.panel(right, "Transport");
    canvas.text(
        inner.x,
        inner.y,
        inner.width,
        &transports(&overview.transports),
        Tone::Normal,
    );
    let packets = format!("{} packets/s relayed", grouped(overview.packets_per_sec));
    canvas.text(inner.x, inner.y + 1, inner.width, &packets, Tone::Normal);
    rest
}

/// The change of sessions over the samples, per minute.
fn growth(model: &Model) -> String {
    let (Some(first), Some(last)) = (model.samples.front(), model.samples.back()) else {
        return String::new();
    };
    let minutes = last.at_ms.saturating_sub(first.at_ms) as f64 / 60_000.0;
    // Over a shorter time a few sessions would look like a flood.
    if minutes < 0.5 || first.sessions == 0 {
        return String::new();
    }
    let percent = (last.sessions as f64 / first.sessions as f64 - 1.0) * 100.0 / minutes;
    format!(" ({percent:+.1}%/m)")
}

/// What the codes mean.
fn code_name(code: &str) -> &str {
    match code {
        "401" => "challenge",
        "403" => "forbidden",
        "437" => "mismatch",
        "438" => "stale nonce",
        "441" => "wrong cred",
        "442" => "transport",
        "486" => "quota",
        "508" => "no capacity",
        _ => "",
    }
}

/// The same where room is short.
fn short_name(code: &str) -> &str {
    match code {
        "401" => "auth",
        "403" => "deny",
        "437" => "gone",
        "438" => "stale",
        "441" => "cred",
        "442" => "proto",
        "486" => "quota",
        "508" => "full",
        _ => "",
    }
}

fn refusals(canvas: &mut Canvas<'_>, area: Rect, rates: &BTreeMap<String, f64>) {
    let inner = canvas.panel(area, "Refusals per second");
    let mut shown: Vec<(&str, f64)> = rates.iter().map(|(c, r)| (c.as_str(), *r)).collect();
    for code in ["401", "486", "508", "438"] {
        if !rates.contains_key(code) && shown.len() < 4 {
            shown.push((code, 0.0));
        }
    }
    shown.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    let half = inner.width / 2;
    for (i, (code, rate)) in shown.into_iter().take(4).enumerate() {
        let x = inner.x + half * (i % 2) as u16;
        let y = inner.y + (i / 2) as u16;
        let alarm = rate > 0.0 && matches!(code, "486" | "508");
        let tone = if alarm { Tone::Warn } else { Tone::Normal };
        let sign = if alarm { " !" } else { "" };
        let name = if half >= 30 {
            code_name(code)
        } else {
            short_name(code)
        };
        let label = half.saturating_sub(8);
        canvas.cell(x, y, label, &format!("{code} {name}"), Align::Left, tone);
        canvas.text(
            x + label,
            y,
            half - label,
            &format!("{rate:>5.1}{sign}"),
            tone,
        );
    }
}

fn transports(counts: &BTreeMap<String, u64>) -> String {
    let total: u64 = counts.values().fold(0_u64, |sum, n| sum.saturating_add(*n));
    if total == 0 {
        return "no sessions".to_owned();
    }
    let share = |n: &u64| *n as f64 * 100.0 / total as f64;
    counts
        .iter()
        .map(|(name, n)| format!("{name} {:.1}%", share(n)))
        .collect::<Vec<_>>()
        .join("  ")
}

/// The figures on low screens: one line each.
fn lines(canvas: &mut Canvas<'_>, body: Rect, overview: &Overview) -> Rect {
    let rates: Vec<String> = overview
        .refusals_per_sec
        .iter()
        .map(|(code, rate)| format!("{code} {rate:.1}"))
        .collect();
    let rows = [
        (
            "sessions",
            format!(
                "{}  new {:.1}/s  end {:.1}/s",
                grouped(overview.sessions),
                overview.created_per_sec,
                overview.ended_per_sec
            ),
        ),
        (
            "traffic",
            format!(
                "in {}  out {}",
                bit_rate(overview.rate_in_bps),
                bit_rate(overview.rate_out_bps)
            ),
        ),
        (
            "refused/s",
            if rates.is_empty() {
                "nothing".to_owned()
            } else {
                rates.join("  ")
            },
        ),
        ("transport", transports(&overview.transports)),
    ];
    for (y, (label, value)) in (body.y..body.bottom()).zip(&rows) {
        canvas.cell(body.x + 1, y, 10, label, Align::Left, Tone::Faint);
        canvas.text(
            body.x + 12,
            y,
            body.width.saturating_sub(13),
            value,
            Tone::Normal,
        );
    }
    split(body, rows.len() as u16).1
}

/// What an operator should look at, the worst first.
fn alerts(model: &Model, overview: &Overview) -> Vec<(Severity, String)> {
    let mut found = Vec::new();
    for missing in &overview.missing {
        found.push((
            Severity::Crit,
            format!("{}  {}", missing.node, missing.reason),
        ));
    }
    for node in &model.cluster {
        let known = overview.missing.iter().any(|m| m.node == node.id);
        if node.state == NodeState::Stale && !known {
            let text = format!(
                "{}  silent for {} s; what is shown is the last that is known",
                node.id, node.heartbeat_age_secs
            );
            found.push((Severity::Crit, text));
        }
        if !node.store.connected && node.state != NodeState::Gone {
            found.push((
                Severity::Crit,
                format!(
                    "{}  does not reach its store ({})",
                    node.id, node.store.kind
                ),
            ));
        }
        if node.capacity.percent >= FULL_PERCENT {
            found.push((
                Severity::Warn,
                format!(
                    "{}  {:.0}% full, bound by {}",
                    node.id, node.capacity.percent, node.capacity.bound_by
                ),
            ));
        }
    }
    for code in ["486", "508"] {
        let rate = overview.refusals_per_sec.get(code).copied().unwrap_or(0.0);
        if rate > 0.0 {
            found.push((
                Severity::Warn,
                format!("{code} {}: {rate:.1} refusals per second", code_name(code)),
            ));
        }
    }
    found.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
    found
}

fn alert_panel(
    canvas: &mut Canvas<'_>,
    area: Rect,
    alerts: &[(Severity, String)],
    rows: u16,
) -> Rect {
    let (top, rest) = split(area, rows + 2);
    let inner = canvas.panel(top, &format!("Alerts ({})", alerts.len()));
    if alerts.is_empty() {
        canvas.text(inner.x, inner.y, inner.width, "none", Tone::Faint);
    }
    for (y, (severity, text)) in (inner.y..inner.bottom()).zip(alerts) {
        let word = events::severity(*severity);
        let used = canvas.text(inner.x, y, 5, &word.text, word.tone);
        canvas.text(
            inner.x + used + 1,
            y,
            inner.width.saturating_sub(used + 1),
            text,
            Tone::Normal,
        );
    }
    rest
}

fn realm_panel(model: &Model, canvas: &mut Canvas<'_>, area: Rect, rows: u16) -> Rect {
    let (top, rest) = split(area, rows);
    let inner = canvas.panel(top, "Top realms by rate");
    if inner.height < 2 {
        return rest;
    }
    let name_width = inner.width.saturating_sub(36).min(24);
    let row = |canvas: &mut Canvas<'_>, y: u16, cells: [&str; 5], tone: Tone| {
        let mut x = inner.x;
        let widths = [name_width, 9, 8, 8, 8];
        for (i, (cell, width)) in cells.into_iter().zip(widths).enumerate() {
            let align = if i == 0 { Align::Left } else { Align::Right };
            canvas.cell(x, y, width, cell, align, tone);
            x += width;
        }
    };
    row(
        canvas,
        inner.y,
        ["REALM", "SESS", "USERS", "IN", "OUT"],
        Tone::Title,
    );
    for (y, realm) in (inner.y + 1..inner.bottom()).zip(&model.top_realms) {
        let name = text::cut(realm.name.as_str(), usize::from(name_width));
        let cells = [
            grouped(realm.sessions),
            grouped(realm.users),
            short_number(realm.rate_in_bps),
            short_number(realm.rate_out_bps),
        ];
        row(
            canvas,
            y,
            [&name, &cells[0], &cells[1], &cells[2], &cells[3]],
            Tone::Normal,
        );
    }
    rest
}

fn event_panel(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let inner = canvas.panel(area, "Events");
    let skip = model.events.len().saturating_sub(usize::from(inner.height));
    for (y, event) in (inner.y..inner.bottom()).zip(model.events.iter().skip(skip)) {
        let word = events::severity(event.severity);
        let time = model.clock(event.at_ms);
        let node = text::fit(event.node.as_str(), 8, Align::Left);
        let pieces = [
            (time.as_str(), Tone::Faint),
            (" ", Tone::Normal),
            (word.text.as_str(), word.tone),
            (" ", Tone::Normal),
            (node.as_str(), Tone::Normal),
            (" ", Tone::Normal),
            (event.text.as_str(), Tone::Normal),
        ];
        canvas.pieces(inner.x, y, inner.right(), &pieces);
    }
}
