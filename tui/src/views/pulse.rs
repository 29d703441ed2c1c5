//! The home view: the cluster at a glance.

use ratatui::layout::Rect;
use shared::api::{Overview, Severity};
use shared::units::{bit_rate, grouped, short_number};

use super::events;
use super::panels::{event_line, halves, split};
use crate::client::HistoryOf;
use crate::console::model::{Model, Sample};
use crate::console::pulse::{self, Panel};
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::chart::{Chart, bars};
use crate::widgets::text::{self, Align};

/// From this height on figures stand in tiles.
const TILES_FROM: u16 = 24;
/// From this height on the tiles hold charts.
const CHARTS_FROM: u16 = 40;
/// The time that lines of bars stretch over; charts show an hour.
const BARS_SECS: u64 = 1800;
const CHART_SECS: u64 = 3600;
/// Columns of a realm's trend.
const TREND: u16 = 20;

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
    rest = alert_panel(model, canvas, rest, &alerts, rows);
    let realms = (model.top_realms.len() as u16 + 3).clamp(4, (rest.height * 2 / 3).max(4));
    rest = realm_panel(model, canvas, rest, realms);
    event_panel(model, canvas, rest);
}

/// A box whose title shows whether it has the focus.
fn boxed(model: &Model, canvas: &mut Canvas<'_>, area: Rect, panel: Panel, title: &str) -> Rect {
    let inner = canvas.panel(area, title);
    if model.pulse.panel == panel && inner.height > 0 {
        let wide = (text::width(title) as u16 + 2).min(area.width.saturating_sub(4));
        let row = Rect {
            x: area.x + 2,
            width: wide,
            ..area
        };
        canvas.invert(row, area.y);
    }
    inner
}

/// The row of `panel` that the cursor is on.
fn cursor(model: &Model, panel: Panel) -> Option<usize> {
    (model.pulse.panel == panel).then(|| pulse::row(model, panel))
}

/// The first row to paint so that the cursor is among `room` of them.
fn first(cursor: Option<usize>, room: u16) -> usize {
    cursor.map_or(0, |at| (at + 1).saturating_sub(usize::from(room)))
}

/// A figure of the cluster over time: what the nodes kept, else what this console has seen.
fn series(
    model: &Model,
    span_secs: u64,
    figure: crate::console::history::Figure,
    seen: fn(&Sample) -> u64,
) -> Vec<Option<u64>> {
    let histories = &model.panels.histories;
    let kept = histories.cluster(span_secs, model.now_ms, &model.samples, figure, seen);
    kept.unwrap_or_else(|| model.samples.iter().map(|s| Some(seen(s))).collect())
}

/// The time that the figures of the cluster stretch over: as much as is known, so that a cluster
/// that just started has more than a stroke at the right.
fn span_secs(model: &Model, charts: bool) -> u64 {
    let most_secs = if charts { CHART_SECS } else { BARS_SECS };
    let histories = &model.panels.histories;
    histories.span_secs(&HistoryOf::Cluster, most_secs, model.now_ms)
}

fn tiles(model: &Model, canvas: &mut Canvas<'_>, body: Rect, overview: &Overview) -> Rect {
    let charts = model.size.1 >= CHARTS_FROM;
    let (top, rest) = split(body, if charts { 10 } else { 4 });
    let (left, right) = halves(top);
    let title = format!("Sessions {}{}", grouped(overview.sessions), growth(model));
    let inner = boxed(model, canvas, left, Panel::Sessions, &title);
    let flow = format!(
        "new {:.1}/s  end {:.1}/s",
        overview.created_per_sec, overview.ended_per_sec
    );
    let (graph, last) = split(inner, inner.height.saturating_sub(1));
    let span_secs = span_secs(model, charts);
    let sessions = series(model, span_secs, |s| s.sessions, |s| s.sessions);
    if charts {
        let chart = Chart {
            line: &sessions,
            dots: &[],
            span_secs,
        };
        chart.paint(canvas, graph);
    } else {
        let line = bars(model.theme, &sessions, graph.width);
        canvas.text(graph.x, graph.y, graph.width, &line, Tone::Accent);
    }
    canvas.text(last.x, last.y, last.width, &flow, Tone::Normal);
    traffic(model, canvas, right, overview, charts);
    let (top, rest) = split(rest, 4);
    let (left, right) = halves(top);
    refusals(model, canvas, left, overview);
    let inner = boxed(model, canvas, right, Panel::Transports, "Transport");
    transport_shares(model, canvas, inner, overview);
    let packets = format!("{} packets/s relayed", grouped(overview.packets_per_sec));
    canvas.text(inner.x, inner.y + 1, inner.width, &packets, Tone::Normal);
    rest
}

fn traffic(model: &Model, canvas: &mut Canvas<'_>, area: Rect, overview: &Overview, chart: bool) {
    let both = overview.rate_in_bps.saturating_add(overview.rate_out_bps);
    let mut title = format!("Relay traffic {}", bit_rate(both));
    if chart {
        let (line, dot) = (canvas.theme.line()[0], canvas.theme.dot());
        title += &format!("  in {line}{line}  out {dot}{dot}");
    }
    let inner = boxed(model, canvas, area, Panel::Traffic, &title);
    let span = span_secs(model, chart);
    let in_bps = series(model, span, |s| s.rate_in_bps, |s| s.rate_in);
    let out_bps = series(model, span, |s| s.rate_out_bps, |s| s.rate_out);
    if chart {
        let (graph, last) = split(inner, inner.height.saturating_sub(1));
        let chart = Chart {
            line: &in_bps,
            dots: &out_bps,
            span_secs: span,
        };
        chart.paint(canvas, graph);
        let (now_in, now_out) = (
            bit_rate(overview.rate_in_bps),
            bit_rate(overview.rate_out_bps),
        );
        let now = format!("in {now_in}  out {now_out}");
        canvas.text(last.x, last.y, last.width, &now, Tone::Normal);
        return;
    }
    let series = [
        ("in ", overview.rate_in_bps, in_bps),
        ("out", overview.rate_out_bps, out_bps),
    ];
    for (y, (name, now, values)) in (inner.y..inner.bottom()).zip(series) {
        let head = format!("{name} {:>5} ", short_number(now));
        let used = canvas.text(inner.x, y, inner.width, &head, Tone::Normal);
        let room = inner.width.saturating_sub(used);
        let line = bars(model.theme, &values, room);
        canvas.text(inner.x + used, y, room, &line, Tone::Accent);
    }
}

/// The change of sessions per minute, as in ` (+0.4%/m)`.
pub(super) fn growth(model: &Model) -> String {
    let seen = || {
        let (first, last) = (model.samples.front()?, model.samples.back()?);
        let minutes = last.at_ms.saturating_sub(first.at_ms) as f64 / 60_000.0;
        // Over a shorter time a few sessions would look like a flood.
        (minutes >= 1.0 && first.sessions > 0)
            .then(|| (last.sessions as f64 / first.sessions as f64 - 1.0) * 100.0 / minutes)
    };
    let growth = model.panels.histories.growth().or_else(seen);
    growth.map_or_else(String::new, |percent| format!(" ({percent:+.1}%/m)"))
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

fn refusals(model: &Model, canvas: &mut Canvas<'_>, area: Rect, overview: &Overview) {
    let inner = boxed(model, canvas, area, Panel::Refusals, "Refusals per second");
    let cursor = cursor(model, Panel::Refusals);
    let rows = pulse::refusals(overview);
    // Two columns, filled row by row; the cursor goes through them in the same order.
    let skip = first(cursor.map(|at| at / 2), inner.height) * 2;
    let half = inner.width / 2;
    let shown = rows
        .into_iter()
        .enumerate()
        .skip(skip)
        .take(usize::from(inner.height) * 2);
    for (i, (code, rate)) in shown {
        let x = inner.x + half * (i % 2) as u16;
        let y = inner.y + ((i - skip) / 2) as u16;
        let alarm = rate > 0.0 && matches!(code, "486" | "508");
        let tone = if alarm { Tone::Warn } else { Tone::Normal };
        let sign = if alarm { " !" } else { "  " };
        let name = if half >= 28 {
            code_name(code)
        } else {
            short_name(code)
        };
        let label = half.saturating_sub(9);
        canvas.cell(
            x,
            y,
            label,
            &format!("{code} {name}"),
            Align::Left,
            Tone::Normal,
        );
        canvas.text(
            x + label,
            y,
            half - label,
            &format!("{rate:>5.1}{sign}"),
            tone,
        );
        if cursor == Some(i) {
            let row = Rect {
                x,
                width: half.saturating_sub(1),
                ..inner
            };
            canvas.invert(row, y);
        }
    }
}

fn transport_shares(model: &Model, canvas: &mut Canvas<'_>, inner: Rect, overview: &Overview) {
    let rows = pulse::transports(overview);
    let total: u64 = rows.iter().fold(0, |sum, (_, n)| sum.saturating_add(*n));
    if total == 0 {
        canvas.text(inner.x, inner.y, inner.width, "no sessions", Tone::Faint);
        return;
    }
    let cursor = cursor(model, Panel::Transports);
    let mut x = inner.x;
    for (i, (name, n)) in rows.into_iter().enumerate() {
        let text = format!("{name} {}", share(n, total));
        let used = canvas.text(
            x,
            inner.y,
            inner.right().saturating_sub(x),
            &text,
            Tone::Normal,
        );
        if cursor == Some(i) {
            let row = Rect {
                x,
                width: used,
                ..inner
            };
            canvas.invert(row, inner.y);
        }
        x += used + 2;
    }
}

fn transports(overview: &Overview) -> String {
    let rows = pulse::transports(overview);
    let total: u64 = rows.iter().fold(0, |sum, (_, n)| sum.saturating_add(*n));
    if total == 0 {
        return "no sessions".to_owned();
    }
    let rows: Vec<String> = rows
        .into_iter()
        .map(|(name, n)| format!("{name} {}", share(n, total)))
        .collect();
    rows.join("  ")
}

/// A share in whole percent, so that all four transports fit half of a narrow screen.
fn share(n: u64, total: u64) -> String {
    match n as f64 * 100.0 / total as f64 {
        some if n > 0 && some < 1.0 => "<1%".to_owned(),
        percent => format!("{percent:.0}%"),
    }
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
        ("transport", transports(overview)),
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

/// Nodes that did not answer, then the conditions that hold, worst first.
fn alerts(model: &Model, overview: &Overview) -> Vec<(Severity, String)> {
    let missing = overview.missing.iter().map(|missing| {
        let text = format!("{}  {}", missing.node, missing.reason);
        (Severity::Crit, text)
    });
    let held = model.panels.alerts.iter().flat_map(|page| &page.items);
    missing
        .chain(held.map(|alert| (alert.severity, alert.text.clone())))
        .collect()
}

fn alert_panel(
    model: &Model,
    canvas: &mut Canvas<'_>,
    area: Rect,
    alerts: &[(Severity, String)],
    rows: u16,
) -> Rect {
    let (top, rest) = split(area, rows + 2);
    let held = model.panels.alerts.as_ref();
    let unseen = held.map_or(0, |page| {
        page.matched.saturating_sub(page.items.len() as u64)
    });
    let title = format!("Alerts ({})", grouped(alerts.len() as u64 + unseen));
    let inner = boxed(model, canvas, top, Panel::Alerts, &title);
    if alerts.is_empty() {
        let text = if held.is_some() {
            "none"
        } else {
            "not known yet"
        };
        canvas.text(inner.x, inner.y, inner.width, text, Tone::Faint);
    }
    let cursor = cursor(model, Panel::Alerts);
    let skip = first(cursor, inner.height);
    let shown = alerts.iter().enumerate().skip(skip);
    for (y, (i, (severity, text))) in (inner.y..inner.bottom()).zip(shown) {
        let word = events::severity(*severity);
        let used = canvas.text(inner.x, y, 5, &word.text, word.tone);
        canvas.text(
            inner.x + used + 1,
            y,
            inner.width.saturating_sub(used + 1),
            text,
            Tone::Normal,
        );
        if cursor == Some(i) {
            canvas.invert(inner, y);
        }
    }
    rest
}

fn realm_panel(model: &Model, canvas: &mut Canvas<'_>, area: Rect, rows: u16) -> Rect {
    let (top, rest) = split(area, rows);
    let inner = boxed(model, canvas, top, Panel::Realms, "Top realms by rate");
    if inner.height < 2 {
        return rest;
    }
    let trend = if inner.width >= 70 { TREND + 1 } else { 0 };
    let name_width = inner.width.saturating_sub(33 + trend).min(24);
    let row = |canvas: &mut Canvas<'_>, y: u16, cells: [&str; 5], tone: Tone| {
        let mut x = inner.x;
        let widths = [name_width, 9, 8, 8, 8];
        for (i, (cell, width)) in cells.into_iter().zip(widths).enumerate() {
            let align = if i == 0 { Align::Left } else { Align::Right };
            canvas.cell(x, y, width, cell, align, tone);
            x += width;
        }
        x + 1
    };
    let x = row(
        canvas,
        inner.y,
        ["REALM", "SESS", "USERS", "IN", "OUT"],
        Tone::Title,
    );
    let span = span_secs(model, false);
    if trend > 0 {
        let title = format!("TREND {} MIN", span / 60);
        canvas.text(x, inner.y, TREND, &title, Tone::Title);
    }
    let cursor = cursor(model, Panel::Realms);
    let skip = first(cursor, inner.height - 1);
    let shown = model.top_realms.iter().enumerate().skip(skip);
    for (y, (i, realm)) in (inner.y + 1..inner.bottom()).zip(shown) {
        let name = text::cut(realm.name.as_str(), usize::from(name_width));
        let cells = [
            grouped(realm.sessions),
            grouped(realm.users),
            short_number(realm.rate_in_bps),
            short_number(realm.rate_out_bps),
        ];
        let cells = [name.as_str(), &cells[0], &cells[1], &cells[2], &cells[3]];
        let x = row(canvas, y, cells, Tone::Normal);
        let of = HistoryOf::Realm(realm.name.clone());
        let histories = &model.panels.histories;
        let values = histories.series(&of, span, model.now_ms, |s| {
            s.rate_in_bps.saturating_add(s.rate_out_bps)
        });
        if let Some(values) = values.filter(|_| trend > 0) {
            canvas.text(
                x,
                y,
                TREND,
                &bars(model.theme, &values, TREND),
                Tone::Accent,
            );
        }
        if cursor == Some(i) {
            canvas.invert(inner, y);
        }
    }
    rest
}

fn event_panel(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let inner = boxed(model, canvas, area, Panel::Events, "Events");
    let skip = model.events.len().saturating_sub(usize::from(inner.height));
    for (y, event) in (inner.y..inner.bottom()).zip(model.events.iter().skip(skip)) {
        event_line(model, canvas, inner, y, event);
    }
}
