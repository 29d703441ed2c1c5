//! The list of nodes.

use std::time::Duration;

use ratatui::layout::Rect;
use shared::api::{
    Applies, BesideView, CredentialKinds, DrainView, NodeState, NodeView, SettingView,
};
use shared::units::{age, bit_rate, byte_count, grouped, short_number};

use super::paint_list;
use super::panels::{self, Traffic, event_panel, halves, split};
use crate::client::HistoryOf;
use crate::console::layout;
use crate::console::model::Model;
use crate::console::theme::Tone;
use crate::coturn;
use crate::drain;
use crate::widgets::canvas::{Canvas, spark};
use crate::widgets::chart::bars;
use crate::widgets::grid::{Cell, Column};
use crate::widgets::text::Align::{Left, Right};

/// From this share of its binding limit on a node is marked.
const FULL_PERCENT: f64 = 80.0;
/// Columns of sessions over time, and the time they stretch over.
const TREND: u16 = 15;
const TREND_SECS: u64 = 300;
/// The time that the chart of a node stretches over.
const CHART_SECS: u64 = 3600;

/// Columns.
pub(super) const COLUMNS: &[Column<NodeView, Model>] = &[
    Column {
        title: "NODE",
        help: "node id; *: it speaks for a coturn",
        sort: Some("node"),
        width: 8,
        most: 20,
        align: Left,
        rank: 0,
        cell: |n, _| name(n),
    },
    Column {
        title: "STATE",
        help: "joining, ready, draining (with the time until it is empty), AWAY (the coturn that it speaks for does not answer), stale (no heartbeat) or gone",
        sort: Some("state"),
        width: 10,
        most: 12,
        align: Left,
        rank: 0,
        cell: |n, _| state(n),
    },
    Column {
        title: "SESS",
        help: "live sessions; +: its coturn has more, that are not shown",
        sort: Some("sessions"),
        width: 7,
        most: 9,
        align: Right,
        rank: 0,
        cell: |n, _| sessions(n),
    },
    Column {
        title: "SESS 5 MIN",
        help: "live sessions over the last five minutes",
        sort: None,
        width: TREND,
        most: TREND,
        align: Left,
        rank: 8,
        cell: trend,
    },
    Column {
        title: "IN",
        help: "bits per second from clients",
        sort: Some("in"),
        width: 6,
        most: 6,
        align: Right,
        rank: 1,
        cell: |n, _| Cell::new(short_number(n.rate_in_bps)),
    },
    Column {
        title: "OUT",
        help: "bits per second to clients",
        sort: Some("out"),
        width: 6,
        most: 6,
        align: Right,
        rank: 1,
        cell: |n, _| Cell::new(short_number(n.rate_out_bps)),
    },
    Column {
        title: "CAP%",
        help: "share of the limit that binds first",
        sort: Some("cap"),
        width: 6,
        most: 6,
        align: Right,
        rank: 2,
        cell: |n, _| capacity(n),
    },
    Column {
        title: "BOUND",
        help: "which limit that is: ports, descriptors, cpu or sessions",
        sort: Some("bound"),
        width: 6,
        most: 11,
        align: Left,
        rank: 4,
        cell: |n, _| Cell::new(&n.capacity.bound_by).tone(Tone::Faint),
    },
    Column {
        title: "CPU%",
        help: "CPU of the process in percent of one core",
        sort: Some("cpu"),
        width: 5,
        most: 5,
        align: Right,
        rank: 3,
        cell: |n, _| Cell::new(format!("{:.0}", n.cpu_percent)),
    },
    Column {
        title: "MEM",
        help: "resident memory of the process, bytes",
        sort: Some("mem"),
        width: 6,
        most: 6,
        align: Right,
        rank: 6,
        cell: |n, _| Cell::new(short_number(n.memory_bytes)),
    },
    Column {
        title: "PKT/S",
        help: "packets relayed per second, both directions",
        sort: Some("packets"),
        width: 6,
        most: 6,
        align: Right,
        rank: 7,
        cell: |n, _| Cell::new(short_number(n.packets_per_sec)),
    },
    Column {
        title: "DROPS",
        help: "packets dropped since the start",
        sort: Some("drops"),
        width: 6,
        most: 6,
        align: Right,
        rank: 8,
        cell: |n, _| Cell::new(short_number(n.drops)),
    },
    Column {
        title: "CONF REV",
        help: "revision of the settings for all nodes that it applies; <N: behind the newest",
        sort: None,
        width: 8,
        most: 9,
        align: Left,
        rank: 6,
        cell: config_revision,
    },
    Column {
        title: "UPTIME",
        help: "time since the start",
        sort: Some("uptime"),
        width: 6,
        most: 6,
        align: Right,
        rank: 5,
        cell: |n, _| Cell::new(age(Duration::from_secs(n.uptime_secs))),
    },
    Column {
        title: "VERSION",
        help: "version of relayd; !: most nodes run another one; *: of the coturn that it speaks for",
        sort: Some("version"),
        width: 8,
        most: 12,
        align: Left,
        rank: 10,
        cell: |n, _| version(n),
    },
    Column {
        title: "STORE",
        help: "kind of store; LOST when it is out of reach",
        sort: Some("store"),
        width: 7,
        most: 12,
        align: Left,
        rank: 11,
        cell: |n, _| store(n),
    },
    Column {
        title: "LABELS",
        help: "operator's labels",
        sort: None,
        width: 12,
        most: 40,
        align: Left,
        rank: 12,
        cell: |n, _| Cell::new(labels(n)),
    },
];

/// Nodes whose sessions are another server's are marked, as these sessions are.
fn name(node: &NodeView) -> Cell {
    match &node.beside {
        None => Cell::new(node.id.as_str()),
        Some(_) => Cell::new(format!("{}{}", coturn::MARK, node.id)).tone(Tone::Accent),
    }
}

fn sessions(node: &NodeView) -> Cell {
    let cell = Cell::new(coturn::sessions(node));
    match node.beside.as_ref().is_some_and(BesideView::hides_sessions) {
        true => cell.tone(Tone::Warn),
        false => cell,
    }
}

fn state(node: &NodeView) -> Cell {
    let word = node.state.as_str();
    let is_away = node
        .beside
        .as_ref()
        .is_some_and(|beside| beside.away.is_some());
    if is_away && !is_silent(node) {
        return Cell::new("AWAY").tone(Tone::Bad);
    }
    match node.state {
        NodeState::Ready => Cell::new(word).tone(Tone::Good),
        // What is left of a process that passed the rest on.
        NodeState::Draining if node.elder_of.is_some() => Cell::new("former").tone(Tone::Warn),
        NodeState::Joining | NodeState::Draining => {
            let empty = node.drain.as_ref().and_then(drain::short);
            let text = empty.map_or_else(|| word.to_owned(), |empty| format!("drain {empty}"));
            Cell::new(text).tone(Tone::Warn)
        }
        NodeState::Stale => {
            Cell::new(format!("STALE {}s", node.heartbeat_age_secs)).tone(Tone::Bad)
        }
        NodeState::Gone => Cell::new("GONE").tone(Tone::Bad),
    }
}

fn version(node: &NodeView) -> Cell {
    if let Some(beside) = &node.beside {
        let name = &beside.software;
        let version = name
            .rsplit_once(' ')
            .map_or(name.as_str(), |(_, version)| version);
        return Cell::new(format!("*{version}")).tone(Tone::Accent);
    }
    match node.version_skew {
        true => Cell::new(format!("{} !", node.version)).tone(Tone::Warn),
        false => Cell::new(&node.version),
    }
}

fn capacity(node: &NodeView) -> Cell {
    let percent = node.capacity.percent;
    if percent >= FULL_PERCENT {
        return Cell::new(format!("{percent:.0}% !")).tone(Tone::Warn);
    }
    Cell::new(format!("{percent:.0}%"))
}

fn store(node: &NodeView) -> Cell {
    if node.store.connected && node.store.troubles.is_empty() {
        return Cell::new(&node.store.kind);
    }
    if node.store.connected {
        return Cell::new(format!("{} !", node.store.kind)).tone(Tone::Warn);
    }
    Cell::new(format!("{} LOST", node.store.kind)).tone(Tone::Bad)
}

fn trend(node: &NodeView, model: &Model) -> Cell {
    let of = HistoryOf::Node(node.id.clone());
    let histories = &model.panels.histories;
    if let Some(values) = histories.series(&of, TREND_SECS, model.now_ms, |s| s.sessions) {
        return Cell::new(bars(model.theme, &values, TREND));
    }
    // A node that keeps no history: what this console has seen.
    let values = model.node_trend.get(&node.id);
    Cell::new(values.map_or_else(String::new, |v| {
        spark(model.theme, v.iter().copied(), TREND)
    }))
}

/// The revision, and the newest one when this node is behind.
fn config_revision(node: &NodeView, model: &Model) -> Cell {
    let revision = node.config_revision;
    let all = model.cluster.iter().chain(&model.lists.nodes.rows);
    let newest = all.map(|n| n.config_revision).max().unwrap_or(revision);
    if revision < newest {
        return Cell::new(format!("{revision} <{newest}")).tone(Tone::Warn);
    }
    Cell::new(revision.to_string())
}

fn labels(node: &NodeView) -> String {
    node.labels
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn is_silent(node: &NodeView) -> bool {
    matches!(node.state, NodeState::Stale | NodeState::Gone)
}

/// Paints the list, and the selected node below it where there is room.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, body: Rect) {
    let list = &model.lists.nodes;
    let panel = paint_list(model, canvas, body, list, COLUMNS, is_silent);
    let Some(node) = list.selected().filter(|_| panel.height > 0) else {
        return;
    };
    let mut rest = panel;
    if panel.height > layout::NODE_ROWS {
        let (chart, below) = split(panel, layout::CHART_ROWS);
        let what = Traffic {
            of: &HistoryOf::Node(node.id.clone()),
            name: node.id.as_str(),
            span_secs: CHART_SECS,
        };
        panels::traffic(model, canvas, chart, what);
        let (facts, events) = split(below, layout::NODE_ROWS);
        let title = format!("Events of {}", node.id);
        event_panel(model, canvas, events, &title, |e| e.node == node.id);
        rest = facts;
    }
    let lines = facts(node, model.now_ms);
    if rest.width < layout::SIDE_BY_SIDE || panel.height == layout::NODE_ROWS {
        let inner = canvas.panel(rest, node.id.as_str());
        for (y, line) in (inner.y..inner.bottom()).zip(&lines) {
            canvas.text(inner.x, y, inner.width, line, Tone::Normal);
        }
        return;
    }
    let (left, right) = halves(rest);
    let inner = canvas.panel(left, node.id.as_str());
    for (y, line) in (inner.y..inner.bottom()).zip(&lines) {
        canvas.text(inner.x, y, inner.width, line, Tone::Normal);
    }
    settings(model, canvas, right, node);
}

fn facts(node: &NodeView, now_ms: u64) -> [String; 6] {
    let addresses: Vec<String> = node.listeners.iter().map(ToString::to_string).collect();
    let capacity = &node.capacity;
    let refusals: Vec<String> = node
        .refusals_per_sec
        .iter()
        .filter(|(_, rate)| **rate > 0.0)
        .map(|(code, rate)| format!("{code} {rate:.1}/s"))
        .collect();
    [
        format!("listens  {}", addresses.join("  ")),
        format!("relays   {}", node.relays.join("  ")),
        format!(
            "load     {} in  {} out  {} pkt/s  new {:.1}/s  end {:.1}/s",
            bit_rate(node.rate_in_bps),
            bit_rate(node.rate_out_bps),
            grouped(node.packets_per_sec),
            node.created_per_sec,
            node.ended_per_sec
        ),
        format!(
            "ports    {} of {}   {} workers   memory {}   up {}   version {}   start {}",
            grouped(capacity.ports_used),
            grouped(capacity.ports_total),
            node.workers,
            byte_count(node.memory_bytes),
            age(Duration::from_secs(node.uptime_secs)),
            node.version,
            node.epoch
        ),
        format!(
            "refused  {}   store {}{}{}   labels {}",
            if refusals.is_empty() {
                "nothing now".to_owned()
            } else {
                refusals.join("  ")
            },
            node.store.kind,
            if node.store.connected { "" } else { " LOST" },
            match node.credentials {
                CredentialKinds::Both => "",
                CredentialKinds::Users => "   users only",
                CredentialKinds::Secrets => "   secrets only",
            },
            labels(node),
        ),
        condition(node, now_ms),
    ]
}

/// What is special about it or wrong with its store; its certificates where nothing is.
fn condition(node: &NodeView, now_ms: u64) -> String {
    if let (Some(beside), None) = (&node.beside, &node.drain) {
        return format!("beside   {}", answers(beside, now_ms));
    }
    if let Some(heir) = &node.elder_of {
        return format!("former   process of {heir}: keeps TLS and DTLS clients until they end");
    }
    if let Some(upgrade) = &node.upgrade {
        let (pid, since) = (upgrade.pid, now_ms.saturating_sub(upgrade.started_at_ms));
        let since = age(Duration::from_millis(since));
        return match &upgrade.failed {
            None => format!("upgrade  process {pid} prepares to take over for {since}"),
            Some(how) => {
                format!(
                    "upgrade  FAILED {since} ago: process {pid} ended ({how}); see the node's log"
                )
            }
        };
    }
    if let (None, Some(trouble)) = (&node.drain, node.store.troubles.first()) {
        return format!("store    {trouble}");
    }
    match &node.drain {
        None => format!("certs    {}", certificates(node, now_ms)),
        Some(drain) => format!("drain    {}", drained(node, drain, now_ms)),
    }
}

/// How it is with the coturn that a node speaks for.
fn answers(beside: &BesideView, now_ms: u64) -> String {
    let since = age(Duration::from_millis(
        now_ms.saturating_sub(beside.since_ms),
    ));
    if let Some(away) = &beside.away {
        return format!("AWAY for {since}: {away}");
    }
    let mut text = format!("{} answers for {since}", beside.software);
    if let Some(hidden) = coturn::hidden(beside) {
        text = format!("{text}   {hidden}");
    }
    if let Some(why) = &beside.statsdb_away {
        text = format!("{text}   statsdb away: {why}");
    }
    let on = beside.switches.iter().filter(|(_, on)| **on);
    let on: Vec<&str> = on.map(|(name, _)| name.as_str()).collect();
    let limits = beside.limits.iter().filter(|(_, limit)| **limit > 0);
    let limits: Vec<String> = limits
        .map(|(name, limit)| format!("{name}={limit}"))
        .collect();
    format!("{text}   {} {}", on.join(" "), limits.join(" "))
}

/// How the drain goes, who wanted it and why.
fn drained(node: &NodeView, drain: &DrainView, now_ms: u64) -> String {
    let since = Duration::from_millis(now_ms.saturating_sub(drain.started_at_ms));
    let mut text = drain::progress(node, drain);
    if drain.refuse_refresh {
        text = format!("{text}, {}", drain::ENDS_CALLS);
    }
    text = format!("{text}   by {} {} ago", drain.by, age(since));
    match drain.reason.is_empty() {
        true => text,
        false => format!("{text}: {}", drain.reason),
    }
}

/// The certificates, by what is left of their lives, the shortest first.
fn certificates(node: &NodeView, now_ms: u64) -> String {
    let mut all: Vec<_> = node.certificates.iter().collect();
    all.sort_by_key(|certificate| certificate.not_after_ms);
    let told = all.into_iter().map(|certificate| {
        let left = certificate.not_after_ms.saturating_sub(now_ms);
        let left = match left {
            0 => "EXPIRED".to_owned(),
            left => format!("{} left", age(Duration::from_millis(left))),
        };
        let refused = certificate
            .problem
            .as_ref()
            .map_or("", |_| ", new one REFUSED");
        let (purpose, key) = (&certificate.purpose, &certificate.key);
        format!("{purpose} {key} {left}{refused}")
    });
    let told: Vec<_> = told.collect();
    match told.is_empty() {
        true => "none: no TLS, no DTLS".to_owned(),
        false => told.join("   "),
    }
}

/// The settings that apply at once, the ones that are not at their default first.
fn settings(model: &Model, canvas: &mut Canvas<'_>, area: Rect, node: &NodeView) {
    let inner = canvas.panel(area, "Settings that apply at once (* changed)");
    let Some(config) = model.panels.config.as_ref().filter(|c| c.node == node.id) else {
        canvas.text(inner.x, inner.y, inner.width, "...", Tone::Faint);
        return;
    };
    let mut live: Vec<&SettingView> = config
        .settings
        .iter()
        .filter(|s| s.applies == Applies::Live)
        .collect();
    live.sort_by_key(|s| s.value == s.default);
    let half = inner.width / 2;
    let room = usize::from(inner.height) * 2;
    for (i, setting) in live.iter().take(room).enumerate() {
        let (x, y) = (inner.x + half * (i as u16 % 2), inner.y + i as u16 / 2);
        let changed = if setting.value == setting.default {
            ""
        } else {
            " *"
        };
        // Values end on one column, however long the keys are.
        let value = format!("{}{changed}", setting.value_text());
        let end = x + half.saturating_sub(2);
        let key = canvas.text(x, y, half.saturating_sub(2), &setting.key, Tone::Normal);
        let room = half.saturating_sub(key + 3);
        canvas.right(end, y, room, &value, Tone::Normal);
    }
}
