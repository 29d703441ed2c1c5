//! The list of sessions.

use std::time::Duration;

use ratatui::layout::Rect;
use shared::RelayTransport;
use shared::api::SessionView;
use shared::units::{age, byte_count, short_number};

use super::paint_list;
use super::panels::{self, Traffic, event_panel, halves, split};
use crate::client::HistoryOf;
use crate::console::layout;
use crate::console::model::Model;
use crate::console::theme::Tone;
use crate::coturn;
use crate::widgets::canvas::Canvas;
use crate::widgets::grid::{Cell, Column};
use crate::widgets::text::Align::{Left, Right};

/// From this width on ids and addresses are shown whole.
const WIDE: u16 = 100;

type SessionColumn = Column<SessionView, Model>;

/// Columns, the ones that stay on narrow screens with the lowest rank.
const COLUMNS: [SessionColumn; 27] = [
    Column {
        title: "ID",
        help: "session id; the first half is the same for all sessions of one start of a node",
        sort: Some("id"),
        width: 10,
        most: 10,
        align: Left,
        rank: 0,
        cell: id,
    },
    Column {
        title: "USER",
        help: "user; the id part of a time-limited username",
        sort: Some("user"),
        width: 11,
        most: 24,
        align: Left,
        rank: 0,
        cell: |s, _| Cell::new(&s.user),
    },
    Column {
        title: "REALM",
        help: "realm",
        sort: Some("realm"),
        width: 10,
        most: 16,
        align: Left,
        rank: 4,
        cell: |s, _| Cell::new(s.realm.as_str()),
    },
    Column {
        title: "NODE",
        help: "node that relays it; *: for a coturn",
        sort: Some("node"),
        width: 6,
        most: 12,
        align: Left,
        rank: 2,
        cell: node,
    },
    Column {
        title: "TR",
        help: "transport between client and relay",
        sort: Some("transport"),
        width: 4,
        most: 4,
        align: Left,
        rank: 7,
        cell: |s, _| Cell::new(s.transport.as_str()),
    },
    Column {
        title: "PEER TR",
        help: "transport between relay and peers: udp, or tcp (RFC 6062)",
        sort: Some("relay_transport"),
        width: 7,
        most: 7,
        align: Left,
        rank: 9,
        cell: relay_transport,
    },
    Column {
        title: "CLIENT",
        help: "client's address",
        sort: Some("client"),
        width: 15,
        most: 22,
        align: Left,
        rank: 3,
        cell: client,
    },
    Column {
        title: "RELAY",
        help: "relayed transport address as the client was told",
        sort: Some("relay"),
        width: 21,
        most: 24,
        align: Left,
        rank: 9,
        cell: |s, _| Cell::new(s.relay.to_string()),
    },
    Column {
        title: "RATE",
        help: "bits per second, both directions",
        sort: Some("rate"),
        width: 5,
        most: 6,
        align: Right,
        rank: 0,
        cell: |s, _| rate(s.rate_in_bps.saturating_add(s.rate_out_bps)),
    },
    Column {
        title: "IN",
        help: "bits per second from the client",
        sort: Some("in"),
        width: 5,
        most: 6,
        align: Right,
        rank: 8,
        cell: |s, _| rate(s.rate_in_bps),
    },
    Column {
        title: "OUT",
        help: "bits per second to the client",
        sort: Some("out"),
        width: 5,
        most: 6,
        align: Right,
        rank: 8,
        cell: |s, _| rate(s.rate_out_bps),
    },
    Column {
        title: "AGE",
        help: "time since it was created",
        sort: Some("age"),
        width: 5,
        most: 6,
        align: Right,
        rank: 5,
        cell: |s, _| Cell::new(age(Duration::from_secs(s.age_secs))),
    },
    Column {
        title: "TTL",
        help: "seconds until it expires unless refreshed",
        sort: Some("ttl"),
        width: 4,
        most: 5,
        align: Right,
        rank: 6,
        cell: |s, _| Cell::new(short_number(s.ttl_secs)),
    },
    Column {
        title: "PEERS",
        help: "peers with a permission, at most eight",
        sort: None,
        width: 21,
        most: 46,
        align: Left,
        rank: 10,
        cell: |s, _| Cell::new(s.peers.join(" ")),
    },
    Column {
        title: "DROPS",
        help: "packets of this session that were dropped",
        sort: Some("drops"),
        width: 6,
        most: 6,
        align: Right,
        rank: 11,
        cell: |s, _| drops(s.drops),
    },
    Column {
        title: "PKTS",
        help: "packets relayed, both directions",
        sort: Some("packets"),
        width: 6,
        most: 6,
        align: Right,
        rank: 12,
        cell: |s, _| Cell::new(short_number(s.in_packets.saturating_add(s.out_packets))),
    },
    Column {
        title: "SECRET",
        help: "id of the shared secret that signed its credential",
        sort: Some("secret"),
        width: 12,
        most: 12,
        align: Left,
        rank: 13,
        cell: |s, _| Cell::new(s.secret_id.as_deref().unwrap_or("-")),
    },
    Column {
        title: "PERMS",
        help: "permissions: peers that it may talk to",
        sort: Some("peers"),
        width: 5,
        most: 5,
        align: Right,
        rank: 14,
        cell: |s, _| Cell::new(short_number(u64::from(s.peer_count))),
    },
    Column {
        title: "NEWPEER",
        help: "peers permitted for the first time, per second: a scan shows here",
        sort: Some("newpeers"),
        width: 7,
        most: 7,
        align: Right,
        rank: 15,
        cell: |s, _| new_peers(s.new_peers_per_sec),
    },
    Column {
        title: "THROTTLED",
        help: "share of its packets dropped over a rate limit, its own or a shared one",
        sort: Some("throttled"),
        width: 9,
        most: 9,
        align: Right,
        rank: 15,
        cell: |s, _| throttled(s),
    },
    Column {
        title: "MAXRATE",
        help: "limit of each direction, bits per second",
        sort: Some("maxrate"),
        width: 7,
        most: 7,
        align: Right,
        rank: 16,
        cell: |s, _| Cell::new(s.max_rate_bps.map_or_else(|| "-".to_owned(), short_number)),
    },
    Column {
        title: "IN B",
        help: "payload bytes from the client",
        sort: Some("in_bytes"),
        width: 7,
        most: 8,
        align: Right,
        rank: 17,
        cell: |s, _| Cell::new(byte_count(s.in_bytes)),
    },
    Column {
        title: "OUT B",
        help: "payload bytes to the client",
        sort: Some("out_bytes"),
        width: 7,
        most: 8,
        align: Right,
        rank: 18,
        cell: |s, _| Cell::new(byte_count(s.out_bytes)),
    },
    Column {
        title: "WORKER",
        help: "worker thread in the node",
        sort: Some("worker"),
        width: 6,
        most: 6,
        align: Right,
        rank: 19,
        cell: |s, _| Cell::new(s.worker.to_string()),
    },
    Column {
        title: "SERVER",
        help: "listener's address",
        sort: Some("server"),
        width: 21,
        most: 24,
        align: Left,
        rank: 20,
        cell: |s, _| Cell::new(s.server.to_string()),
    },
    Column {
        title: "SOFTWARE",
        help: "what relays it where its node speaks for another server",
        sort: Some("software"),
        width: 12,
        most: 14,
        align: Left,
        rank: 20,
        cell: |s, _| Cell::new(s.software.as_deref().unwrap_or("-")),
    },
    Column {
        title: "USERNAME",
        help: "the full STUN username, with the expiry of a time-limited one",
        sort: Some("username"),
        width: 20,
        most: 48,
        align: Left,
        rank: 21,
        cell: |s, _| Cell::new(&s.username),
    },
];

fn new_peers(per_sec: f64) -> Cell {
    let tone = if per_sec == 0.0 {
        Tone::Faint
    } else {
        Tone::Normal
    };
    Cell::new(format!("{per_sec:.1}")).tone(tone)
}

fn throttled(session: &SessionView) -> Cell {
    match session.throttled_percent() {
        Some(share) => Cell::new(format!("{share:.1}%")).tone(Tone::Warn),
        None => Cell::new("-").tone(Tone::Faint),
    }
}

/// All sessions of one start of a node share their first half: a short id shows its end too.
fn id(session: &SessionView, model: &Model) -> Cell {
    let id = session.id.to_string();
    if model.size.0 >= WIDE {
        return Cell::new(id);
    }
    Cell::new(format!("{}~{}", &id[..4], &id[11..]))
}

/// Sessions of other servers are marked.
fn node(session: &SessionView, _: &Model) -> Cell {
    match session.software {
        None => Cell::new(session.node.as_str()),
        Some(_) => Cell::new(format!("{}{}", coturn::MARK, session.node)).tone(Tone::Accent),
    }
}

/// Narrow columns show the address, wide ones the port too.
fn client(session: &SessionView, model: &Model) -> Cell {
    if model.size.0 >= WIDE {
        return Cell::new(session.client.to_string());
    }
    Cell::new(session.client.ip().to_string())
}

/// What few sessions have stands out.
fn relay_transport(session: &SessionView, _: &Model) -> Cell {
    let tone = match session.relay_transport {
        RelayTransport::Udp => Tone::Faint,
        RelayTransport::Tcp => Tone::Normal,
    };
    Cell::new(session.relay_transport.as_str()).tone(tone)
}

fn rate(bps: u64) -> Cell {
    let tone = if bps == 0 { Tone::Faint } else { Tone::Normal };
    Cell::new(short_number(bps)).tone(tone)
}

fn drops(drops: u64) -> Cell {
    let tone = if drops == 0 { Tone::Faint } else { Tone::Warn };
    Cell::new(short_number(drops)).tone(tone)
}

/// The columns on a screen of that width.
pub(super) fn columns(width: u16) -> [SessionColumn; 27] {
    let mut columns = COLUMNS;
    if width >= WIDE {
        (columns[0].width, columns[0].most) = (16, 16);
        columns[2].width = 14;
        columns[6].width = 21;
    }
    columns
}

/// Paints the list, and the selected session below it where there is room.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    let list = &model.lists.sessions;
    let columns = columns(model.size.0);
    let panel = paint_list(model, canvas, body, list, &columns, |s| s.stale);
    let Some(session) = list.selected().filter(|_| panel.height > 0) else {
        return;
    };
    let (top, events) = split(panel, layout::SESSION_ROWS);
    let what = Traffic {
        of: &HistoryOf::Session(session.id),
        name: "",
        span_secs: 120,
    };
    if panel.width >= layout::SIDE_BY_SIDE {
        let (left, right) = halves(top);
        preview(model, canvas, left, session);
        panels::traffic(model, canvas, right, what);
        let title = format!("Events of node {}", session.node);
        event_panel(model, canvas, events, &title, |e| e.node == session.node);
    } else {
        preview(model, canvas, top, session);
        if events.height > 0 {
            panels::traffic(model, canvas, events, what);
        }
    }
}

/// What the columns leave out of the selected session.
fn preview(model: &Model, canvas: &mut Canvas<'_>, area: Rect, session: &SessionView) {
    let inner = canvas.panel(area, &format!("Selected session {}", session.id));
    let limit = session.max_rate_bps.map_or_else(String::new, |bps| {
        format!("   max {}", shared::units::bit_rate(bps))
    });
    let second = session
        .second_relay
        .map_or_else(String::new, |relay| format!("   {relay}"));
    let throttled = session
        .throttled_percent()
        .map_or_else(String::new, |share| format!("   throttled {share:.1}%"));
    let mobile = if session.mobile { "   mobile" } else { "" };
    let lines = [
        format!(
            "user   {}   realm {}   node {} {}",
            session.user,
            session.realm,
            session.node,
            match &session.software {
                Some(software) => software.clone(),
                None => format!("worker {}", session.worker),
            }
        ),
        format!(
            "client {} {}   server {}",
            session.client, session.transport, session.server
        ),
        format!(
            "relay  {} {}{second}{limit}{throttled}{mobile}",
            session.relay, session.relay_transport
        ),
        format!(
            "started {} ({})   expires in {} s   permissions {}",
            model.clock(session.started_at_ms),
            age(Duration::from_secs(session.age_secs)),
            session.ttl_secs,
            session.peer_count
        ),
        format!(
            "in {} / {} packets   out {} / {} packets   drops {}",
            byte_count(session.in_bytes),
            short_number(session.in_packets),
            byte_count(session.out_bytes),
            short_number(session.out_packets),
            session.drops
        ),
        format!(
            "peers  {}   new {:.1}/s",
            session.peers.join("  "),
            session.new_peers_per_sec
        ),
    ];
    for (y, line) in (inner.y..inner.bottom()).zip(&lines) {
        canvas.text(inner.x, y, inner.width, line, Tone::Normal);
    }
}
