//! Everything about one session.

use std::time::Duration;

use ratatui::layout::Rect;
use shared::RelayTransport;
use shared::api::{PeerConnectionState, PeerConnectionView, PermissionView, SessionDetail};
use shared::units::{age, bit_rate, byte_count, short_number};

use super::panels::{self, Traffic, event_panel, split};
use crate::client::HistoryOf;
use crate::console::layout;
use crate::console::model::Model;
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::chart::bars;
use crate::widgets::text::{self, Align};

/// The time that lines of bars and the chart stretch over.
const SPAN_SECS: u64 = 120;
/// From this many rows on the rates are a chart, and events stand below.
const TALL: u16 = 36;

/// Paints the session.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    let Some(detail) = &model.detail.view else {
        let text = model.detail.error.as_deref().unwrap_or("loading...");
        canvas.text(body.x + 2, body.y + 1, body.width - 2, text, Tone::Faint);
        return;
    };
    let facts = facts(model, detail);
    let columns: u16 = if body.width >= 76 { 2 } else { 1 };
    let fact_rows = (facts.len() as u16).div_ceil(columns) + 2;
    let (top, rest) = split(body, fact_rows);
    paint_facts(model, canvas, top, detail, &facts, columns);
    let tall = model.size.1 >= TALL;
    let (rates, rest) = split(rest, 5);
    paint_rates(model, canvas, rates, detail);
    let mut rest = rest;
    if tall {
        let (chart, below) = split(rest, layout::CHART_ROWS);
        let of = HistoryOf::Session(detail.session.id);
        let what = Traffic {
            of: &of,
            name: "",
            span_secs: SPAN_SECS,
        };
        panels::traffic(model, canvas, chart, what);
        let (peers, events) = split(below, below.height.saturating_sub(5));
        let id = detail.session.id;
        event_panel(model, canvas, events, "Events of this session", |e| {
            e.session == Some(id)
        });
        rest = peers;
    }
    let denied = refusals(model, detail);
    let lines = (denied.len() as u16).min(if tall { 4 } else { 1 });
    let (peers, below) = split(rest, rest.height.saturating_sub(lines));
    paint_peers(model, canvas, peers, detail);
    for (y, line) in (below.y..below.bottom()).zip(&denied) {
        canvas.text(
            below.x + 1,
            y,
            below.width.saturating_sub(2),
            line,
            Tone::Warn,
        );
    }
}

/// `denied: 10.0.0.5 (peer denied, 2x) 12:03:58`, newest first.
fn refusals(model: &Model, detail: &SessionDetail) -> Vec<String> {
    detail
        .refusals
        .iter()
        .map(|refusal| {
            let code = refusal
                .code
                .map_or_else(String::new, |code| format!("{code} "));
            let reason = refusal.reason.replace('_', " ");
            let of = refusal.peer.as_deref().unwrap_or("");
            let times = if refusal.count > 1 {
                format!(", {}x", refusal.count)
            } else {
                String::new()
            };
            let space = if of.is_empty() { "" } else { " " };
            let time = model.clock(refusal.at_ms);
            format!("denied: {of}{space}({code}{reason}{times}) {time}")
        })
        .collect()
}

fn facts(model: &Model, detail: &SessionDetail) -> Vec<(&'static str, String)> {
    let s = &detail.session;
    let limit = detail
        .user_limit
        .map_or_else(|| "no limit".to_owned(), |n| n.to_string());
    let mut facts = vec![
        ("user", s.user.clone()),
        ("realm", s.realm.to_string()),
        ("node", format!("{} (worker {})", s.node, s.worker)),
        (
            "started",
            format!(
                "{} ({})",
                model.clock(s.started_at_ms),
                age(Duration::from_secs(s.age_secs))
            ),
        ),
        ("client", format!("{} {}", s.client, s.transport)),
        ("server", s.server.to_string()),
        ("relay", format!("{} {}", s.relay, s.relay_transport)),
        (
            "expires in",
            format!("{} s of {} s", s.ttl_secs, detail.lifetime_secs),
        ),
        (
            "quota",
            format!("user {}/{limit} sessions", detail.user_sessions),
        ),
        ("max rate", max_rate(detail)),
    ];
    if let Some(share) = s.throttled_percent() {
        let packets = short_number(s.throttled);
        facts.push(("throttled", format!("{share:.1}% ({packets} packets)")));
    }
    if detail.refused_new_peers > 0 {
        let refused = format!("{} times: too many at once", detail.refused_new_peers);
        facts.push(("new peers", format!("refused {refused}")));
    }
    if s.username != s.user {
        facts.push(("username", s.username.clone()));
    }
    if let Some(secret) = &s.secret_id {
        let ends = detail
            .credential_expires_at_ms
            .map(|at| format!(", ends {}", model.clock(at)));
        facts.push(("secret", format!("{secret}{}", ends.unwrap_or_default())));
    }
    if let Some(local) = s.relay_local {
        facts.push(("relay local", local.to_string()));
    }
    if let Some(second) = s.second_relay {
        facts.push(("second relay", format!("{second} (dual)")));
    }
    if s.mobile {
        facts.push(("mobility", "may move (RFC 8016)".to_owned()));
    }
    facts
}

/// `2.00 Mb/s, user 5.00 Mb/s`: every rate limit that holds for it.
fn max_rate(detail: &SessionDetail) -> String {
    let limits = &detail.rate_limits;
    let own = limits.session_bps.or(detail.session.max_rate_bps);
    let all = [
        ("", own),
        ("user ", limits.user_bps),
        ("realm ", limits.realm_bps),
        ("node ", limits.node_bps),
    ];
    let limits = all
        .iter()
        .filter_map(|(whose, limit)| Some(format!("{whose}{}", bit_rate((*limit)?))));
    let limits: Vec<_> = limits.collect();
    match limits.is_empty() {
        true => "no limit".to_owned(),
        false => limits.join(", "),
    }
}

fn paint_facts(
    model: &Model,
    canvas: &mut Canvas<'_>,
    area: Rect,
    detail: &SessionDetail,
    facts: &[(&str, String)],
    columns: u16,
) {
    let ended = model.detail.error.as_ref().map_or("", |_| "  ENDED");
    let stale = if detail.session.stale {
        "  last known: its node does not answer"
    } else {
        ""
    };
    let inner = canvas.panel(
        area,
        &format!("Session {}{ended}{stale}", detail.session.id),
    );
    let width = inner.width / columns;
    for (i, (label, value)) in facts.iter().enumerate() {
        let x = inner.x + width * (i as u16 % columns);
        let y = inner.y + i as u16 / columns;
        if y >= inner.bottom() {
            return;
        }
        canvas.cell(x, y, 11, label, Align::Left, Tone::Faint);
        canvas.text(x + 12, y, width.saturating_sub(13), value, Tone::Normal);
    }
}

fn paint_rates(model: &Model, canvas: &mut Canvas<'_>, area: Rect, detail: &SessionDetail) {
    let s = &detail.session;
    let of = HistoryOf::Session(s.id);
    let head = 14;
    let room = usize::from(area.width.saturating_sub(4 + head));
    let span = (room as u64).min(SPAN_SECS);
    let inner = canvas.panel(area, &format!("Rate ({span} s)"));
    let rates = &model.detail.rates;
    // A node that keeps no history: what this console has seen.
    let kept = |figure, seen: fn(&(u64, u64)) -> u64| {
        let kept = model
            .panels
            .histories
            .series(&of, span, model.now_ms, figure);
        kept.unwrap_or_else(|| rates.iter().map(|r| Some(seen(r))).collect())
    };
    let lines = [
        ("in ", s.rate_in_bps, kept(|s| s.rate_in_bps, |r| r.0)),
        ("out", s.rate_out_bps, kept(|s| s.rate_out_bps, |r| r.1)),
    ];
    for (y, (name, now, series)) in (inner.y..inner.bottom()).zip(lines) {
        let head = format!("{name} {:>9} ", bit_rate(now));
        let used = canvas.text(inner.x, y, inner.width, &head, Tone::Normal);
        let room = inner.width.saturating_sub(used);
        let line = bars(model.theme, &series, room);
        canvas.text(inner.x + used, y, room, &line, Tone::Accent);
    }
    let total = format!(
        "total in {} / {} pkt   out {} / {} pkt   drops {}",
        byte_count(s.in_bytes),
        short_number(s.in_packets),
        byte_count(s.out_bytes),
        short_number(s.out_packets),
        s.drops
    );
    if inner.height > 2 {
        canvas.text(inner.x, inner.y + 2, inner.width, &total, Tone::Normal);
    }
}

fn paint_peers(model: &Model, canvas: &mut Canvas<'_>, area: Rect, detail: &SessionDetail) {
    if detail.session.relay_transport == RelayTransport::Tcp {
        return paint_connections(model, canvas, area, detail);
    }
    let (permissions, channels) = (&detail.permissions, &detail.channels);
    let title = format!(
        "Peers by rate: permissions {}, channels {}, new {:.1}/s",
        permissions.len(),
        channels.len(),
        detail.session.new_peers_per_sec
    );
    let mut permissions: Vec<&PermissionView> = permissions.iter().collect();
    permissions.sort_by_key(|p| {
        let rate = p.rate_in_bps.saturating_add(p.rate_out_bps);
        let bytes = p.in_bytes.saturating_add(p.out_bytes);
        (std::cmp::Reverse((rate, bytes)), p.peer)
    });
    let inner = canvas.panel(area, &title);
    if inner.height == 0 {
        return;
    }
    let drops: Vec<String> = detail
        .drops_by_reason
        .iter()
        .filter(|(_, n)| **n > 0)
        .map(|(why, n)| format!("{why} {n}"))
        .collect();
    let tail = u16::from(!drops.is_empty() && inner.height > 2);
    row(
        canvas,
        inner,
        inner.y,
        TITLES.map(str::to_owned),
        Tone::Title,
    );
    let rows = inner.height.saturating_sub(1 + tail);
    let top = model
        .detail
        .top
        .min(permissions.len().saturating_sub(usize::from(rows)));
    for (y, permission) in (inner.y + 1..inner.y + 1 + rows).zip(permissions.iter().skip(top)) {
        row(canvas, inner, y, cells(detail, permission), Tone::Normal);
    }
    if tail > 0 {
        let text = format!("dropped: {}", drops.join(", "));
        canvas.text(inner.x, inner.bottom() - 1, inner.width, &text, Tone::Warn);
    }
}

/// From this many columns on both ends of a connection are shown whole.
const WIDE_CONNECTIONS: u16 = 100;

/// The connections of a TCP allocation (RFC 6062): with whom, how far, joined with what.
fn paint_connections(model: &Model, canvas: &mut Canvas<'_>, area: Rect, detail: &SessionDetail) {
    let connections = &detail.peer_connections;
    let bound = |c: &&PeerConnectionView| c.state == PeerConnectionState::Bound;
    let joined = connections.iter().filter(bound).count();
    let title = format!(
        "Peer connections {} ({joined} bound), permissions {}",
        connections.len(),
        detail.permissions.len()
    );
    let inner = canvas.panel(area, &title);
    if inner.height == 0 {
        return;
    }
    let titles = ["PEER", "STATE", "MADE BY", "CLIENT", "IN", "OUT"];
    connection_row(
        canvas,
        inner,
        inner.y,
        titles.map(str::to_owned),
        Tone::Title,
    );
    let rows = usize::from(inner.height.saturating_sub(1));
    if rows > connections.len() {
        let permissions = detail.permissions.iter();
        let permitted: Vec<_> = permissions
            .map(|permission| format!("{} {}s", permission.peer, permission.ttl_secs))
            .collect();
        let text = format!("permitted {}", permitted.join("  "));
        canvas.text(inner.x, inner.bottom() - 1, inner.width, &text, Tone::Faint);
    }
    let top = model.detail.top.min(connections.len().saturating_sub(rows));
    let shown = connections.iter().skip(top);
    for (y, connection) in (inner.y + 1..inner.bottom()).zip(shown) {
        let (client, wide) = (connection.client, inner.width >= WIDE_CONNECTIONS);
        let cells = [
            connection.peer.to_string(),
            connection.state.as_str().to_owned(),
            if connection.incoming {
                "peer"
            } else {
                "client"
            }
            .to_owned(),
            client.map_or_else(
                || "-".to_owned(),
                |client| match wide {
                    true => client.to_string(),
                    false => format!(":{}", client.port()),
                },
            ),
            byte_count(connection.in_bytes),
            byte_count(connection.out_bytes),
        ];
        let tone = match connection.state {
            PeerConnectionState::Bound => Tone::Normal,
            PeerConnectionState::Connecting | PeerConnectionState::Pending => Tone::Warn,
        };
        connection_row(canvas, inner, y, cells, tone);
    }
}

fn connection_row(canvas: &mut Canvas<'_>, inner: Rect, y: u16, cells: [String; 6], tone: Tone) {
    // Narrow screens show the port of the client's end only, then leave out more and more.
    let widths = match inner.width {
        WIDE_CONNECTIONS.. => [
            (inner.width - 42) / 2,
            10,
            7,
            (inner.width - 42) / 2,
            10,
            10,
        ],
        64.. => [inner.width - 48, 10, 7, 6, 10, 10],
        width => [width.saturating_sub(21), 10, 0, 0, 0, 9],
    };
    let mut x = inner.x;
    for (i, (cell, width)) in cells.into_iter().zip(widths).enumerate() {
        if width > 0 {
            let align = if i < 4 { Align::Left } else { Align::Right };
            canvas.cell(x, y, width, &cell, align, tone);
            x += width + 1;
        }
    }
}

/// Titles of the columns of peers: rates, then bytes where there is room.
const TITLES: [&str; 7] = ["PEER", "CHAN", "IN", "OUT", "BYTES IN", "BYTES OUT", "TTL"];

fn cells(detail: &SessionDetail, permission: &PermissionView) -> [String; 7] {
    let channel = detail
        .channels
        .iter()
        .find(|c| c.peer.ip() == permission.peer);
    let peer = match (channel, permission.last_port) {
        (Some(channel), _) => channel.peer.to_string(),
        (None, Some(port)) => std::net::SocketAddr::new(permission.peer, port).to_string(),
        (None, None) => permission.peer.to_string(),
    };
    let known = detail.permission_rates_ms.is_some();
    let rate = |bps| match known {
        true => short_number(bps),
        false => "-".to_owned(),
    };
    [
        peer,
        channel.map_or_else(|| "-".to_owned(), |c| format!("0x{:04X}", c.number)),
        rate(permission.rate_in_bps),
        rate(permission.rate_out_bps),
        byte_count(permission.in_bytes),
        byte_count(permission.out_bytes),
        format!("{}s", permission.ttl_secs),
    ]
}

fn row(canvas: &mut Canvas<'_>, inner: Rect, y: u16, cells: [String; 7], tone: Tone) {
    let widths = if inner.width >= 70 {
        [inner.width.saturating_sub(50).min(48), 7, 6, 6, 9, 9, 7]
    } else {
        [inner.width.saturating_sub(30).min(48), 7, 6, 6, 0, 0, 7]
    };
    let mut x = inner.x;
    for (i, (cell, width)) in cells.into_iter().zip(widths).enumerate() {
        if width == 0 {
            continue;
        }
        let align = if i < 2 { Align::Left } else { Align::Right };
        let cell = text::fit(&cell, usize::from(width), align);
        canvas.text(x, y, width, &cell, tone);
        x += width + 1;
    }
}
