//! Everything about one session.

use std::time::Duration;

use ratatui::layout::Rect;
use shared::api::{PermissionView, SessionDetail};
use shared::units::{age, bit_rate, byte_count, short_number};

use crate::console::model::Model;
use crate::console::theme::Tone;
use crate::widgets::canvas::{Canvas, spark};
use crate::widgets::text::{self, Align};

/// Paints the session.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    let Some(detail) = &model.detail.view else {
        let text = model.detail.error.as_deref().unwrap_or("loading...");
        canvas.text(body.x + 2, body.y + 1, body.width - 2, text, Tone::Faint);
        return;
    };
    let facts = facts(model, detail);
    let columns: u16 = if body.width >= 76 { 2 } else { 1 };
    let fact_rows = (facts.len() as u16).div_ceil(columns);
    let area = Rect {
        height: (fact_rows + 2).min(body.height),
        ..body
    };
    paint_facts(model, canvas, area, detail, &facts, columns);
    let rest = Rect {
        y: area.bottom(),
        height: body.height - area.height,
        ..body
    };
    let rates = Rect {
        height: 5.min(rest.height),
        ..rest
    };
    paint_rates(model, canvas, rates, detail);
    let rest = Rect {
        y: rates.bottom(),
        height: rest.height - rates.height,
        ..rest
    };
    paint_peers(model, canvas, rest, detail);
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
        ("relay", s.relay.to_string()),
        (
            "expires in",
            format!("{} s of {} s", s.ttl_secs, detail.lifetime_secs),
        ),
        (
            "quota",
            format!("user {}/{limit} on this node", detail.user_sessions),
        ),
        (
            "max rate",
            s.max_rate_bps
                .map_or_else(|| "no limit".to_owned(), bit_rate),
        ),
    ];
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
    facts
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
    let inner = canvas.panel(area, "Rate");
    let s = &detail.session;
    let rates = &model.detail.rates;
    let lines = [
        (
            "in ",
            s.rate_in_bps,
            rates.iter().map(|r| r.0).collect::<Vec<_>>(),
        ),
        ("out", s.rate_out_bps, rates.iter().map(|r| r.1).collect()),
    ];
    for (y, (name, now, series)) in (inner.y..inner.bottom()).zip(lines) {
        let head = format!("{name} {:>9} ", bit_rate(now));
        let used = canvas.text(inner.x, y, inner.width, &head, Tone::Normal);
        let room = inner.width.saturating_sub(used);
        let line = spark(model.theme, series.into_iter(), room);
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
    let (permissions, channels) = (&detail.permissions, &detail.channels);
    let title = format!(
        "Peers: {} permissions, {} channels",
        permissions.len(),
        channels.len()
    );
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
        ["PEER", "CHAN", "IN", "OUT", "TTL"],
        Tone::Title,
    );
    let rows = inner.height.saturating_sub(1 + tail);
    let top = model
        .detail
        .top
        .min(permissions.len().saturating_sub(usize::from(rows)));
    for (y, permission) in (inner.y + 1..inner.y + 1 + rows).zip(permissions.iter().skip(top)) {
        let cells = cells(detail, permission);
        row(
            canvas,
            inner,
            y,
            [&cells[0], &cells[1], &cells[2], &cells[3], &cells[4]],
            Tone::Normal,
        );
    }
    if tail > 0 {
        let text = format!("dropped: {}", drops.join(", "));
        canvas.text(inner.x, inner.bottom() - 1, inner.width, &text, Tone::Warn);
    }
}

fn cells(detail: &SessionDetail, permission: &PermissionView) -> [String; 5] {
    let channel = detail
        .channels
        .iter()
        .find(|c| c.peer.ip() == permission.peer);
    let peer = match (channel, permission.last_port) {
        (Some(channel), _) => channel.peer.to_string(),
        (None, Some(port)) => std::net::SocketAddr::new(permission.peer, port).to_string(),
        (None, None) => permission.peer.to_string(),
    };
    [
        peer,
        channel.map_or_else(|| "-".to_owned(), |c| format!("0x{:04X}", c.number)),
        byte_count(permission.in_bytes),
        byte_count(permission.out_bytes),
        format!("{}s", permission.ttl_secs),
    ]
}

fn row(canvas: &mut Canvas<'_>, inner: Rect, y: u16, cells: [&str; 5], tone: Tone) {
    let peer = inner.width.saturating_sub(36).min(48);
    let mut x = inner.x;
    for (i, (cell, width)) in cells.into_iter().zip([peer, 7, 9, 9, 7]).enumerate() {
        let align = if i < 2 { Align::Left } else { Align::Right };
        let cell = text::fit(cell, usize::from(width), align);
        canvas.text(x, y, width, &cell, tone);
        x += width + 1;
    }
}
