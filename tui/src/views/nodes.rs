//! The list of nodes.

use std::time::Duration;

use ratatui::layout::Rect;
use shared::api::{NodeState, NodeView};
use shared::units::{age, bit_rate, byte_count, grouped, short_number};

use super::paint_list;
use crate::console::model::Model;
use crate::console::theme::Tone;
use crate::widgets::canvas::{Canvas, spark};
use crate::widgets::grid::{Cell, Column};
use crate::widgets::text::Align::{Left, Right};

/// From this share of its binding limit on a node is marked.
const FULL_PERCENT: f64 = 80.0;
/// Samples in the column of sessions over time.
const TREND: u16 = 16;

/// Columns.
pub(super) const COLUMNS: &[Column<NodeView, Model>] = &[
    Column {
        title: "NODE",
        help: "node id",
        sort: Some("node"),
        width: 8,
        most: 20,
        align: Left,
        rank: 0,
        cell: |n, _| Cell::new(n.id.as_str()),
    },
    Column {
        title: "STATE",
        help: "joining, ready, draining, stale (no heartbeat) or gone",
        sort: Some("state"),
        width: 10,
        most: 12,
        align: Left,
        rank: 0,
        cell: |n, _| state(n),
    },
    Column {
        title: "SESS",
        help: "live sessions",
        sort: Some("sessions"),
        width: 7,
        most: 9,
        align: Right,
        rank: 0,
        cell: |n, _| Cell::new(grouped(n.sessions)),
    },
    Column {
        title: "SESS TREND",
        help: "live sessions over the last minutes",
        sort: None,
        width: TREND,
        most: TREND,
        align: Left,
        rank: 9,
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
        help: "which limit that is: ports, descriptors or cpu",
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
        help: "version of relayd",
        sort: Some("version"),
        width: 8,
        most: 12,
        align: Left,
        rank: 10,
        cell: |n, _| Cell::new(&n.version),
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

fn state(node: &NodeView) -> Cell {
    let word = node.state.as_str();
    match node.state {
        NodeState::Ready => Cell::new(word).tone(Tone::Good),
        NodeState::Joining | NodeState::Draining => Cell::new(word).tone(Tone::Warn),
        NodeState::Stale => {
            Cell::new(format!("STALE {}s", node.heartbeat_age_secs)).tone(Tone::Bad)
        }
        NodeState::Gone => Cell::new("GONE").tone(Tone::Bad),
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
    if node.store.connected {
        return Cell::new(&node.store.kind);
    }
    Cell::new(format!("{} LOST", node.store.kind)).tone(Tone::Bad)
}

fn trend(node: &NodeView, model: &Model) -> Cell {
    let values = model.node_trend.get(&node.id);
    Cell::new(values.map_or_else(String::new, |v| {
        spark(model.theme, v.iter().copied(), TREND)
    }))
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
    let inner = canvas.panel(panel, node.id.as_str());
    let addresses: Vec<String> = node.listeners.iter().map(ToString::to_string).collect();
    let capacity = &node.capacity;
    let refusals: Vec<String> = node
        .refusals_per_sec
        .iter()
        .filter(|(_, rate)| **rate > 0.0)
        .map(|(code, rate)| format!("{code} {rate:.1}/s"))
        .collect();
    let lines = [
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
            "refused  {}",
            if refusals.is_empty() {
                "nothing now".to_owned()
            } else {
                refusals.join("  ")
            }
        ),
        format!(
            "labels   {}   store {}{}",
            labels(node),
            node.store.kind,
            if node.store.connected { "" } else { " LOST" }
        ),
    ];
    for (y, line) in (inner.y..inner.bottom()).zip(&lines) {
        canvas.text(inner.x, y, inner.width, line, Tone::Normal);
    }
}
