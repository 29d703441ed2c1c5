//! Panels that several views share: charts, events, and how areas are divided.

use ratatui::layout::Rect;
use shared::api::EventView;

use super::events;
use crate::client::HistoryOf;
use crate::console::model::Model;
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::chart::Chart;
use crate::widgets::text::{self, Align};

/// Takes `rows` off the top of `area`.
pub(super) fn split(area: Rect, rows: u16) -> (Rect, Rect) {
    let rows = rows.min(area.height);
    let top = Rect {
        height: rows,
        ..area
    };
    let rest = Rect {
        y: area.y + rows,
        height: area.height - rows,
        ..area
    };
    (top, rest)
}

/// The left and the right half of `area`.
pub(super) fn halves(area: Rect) -> (Rect, Rect) {
    let left = Rect {
        width: area.width / 2,
        ..area
    };
    let right = Rect {
        x: area.x + left.width,
        width: area.width - left.width,
        ..area
    };
    (left, right)
}

/// What an area is about.
#[derive(Clone, Copy)]
pub(super) struct Traffic<'a> {
    /// Whose traffic.
    pub(super) of: &'a HistoryOf,
    /// Its name in the title.
    pub(super) name: &'a str,
    /// How far back it goes at most.
    pub(super) span_secs: u64,
}

/// A chart of traffic over time in a box.
pub(super) fn traffic(model: &Model, canvas: &mut Canvas<'_>, area: Rect, what: Traffic<'_>) {
    let histories = &model.panels.histories;
    let span_secs = histories.span_secs(what.of, what.span_secs, model.now_ms);
    let span = if span_secs >= 300 {
        format!("{} min", span_secs / 60)
    } else {
        format!("{span_secs} s")
    };
    let signs = format!(
        "in {0}{0}  out {1}{1}",
        canvas.theme.line()[0],
        canvas.theme.dot()
    );
    let title = format!("{}  traffic {span}  {signs}", what.name);
    let inner = canvas.panel(area, title.trim_start());
    let of = |figure| histories.series(what.of, span_secs, model.now_ms, figure);
    let (Some(line), Some(dots)) = (of(|s| s.rate_in_bps), of(|s| s.rate_out_bps)) else {
        canvas.text(inner.x, inner.y, inner.width, "...", Tone::Faint);
        return;
    };
    let chart = Chart {
        line: &line,
        dots: &dots,
        span_secs,
    };
    chart.paint(canvas, inner);
}

/// The newest events that `concern` somebody, in a box.
pub(super) fn event_panel(
    model: &Model,
    canvas: &mut Canvas<'_>,
    area: Rect,
    title: &str,
    concern: impl Fn(&EventView) -> bool,
) {
    let inner = canvas.panel(area, title);
    let rows = usize::from(inner.height);
    let mut newest: Vec<&EventView> = (model.events.iter().rev())
        .filter(|e| concern(e))
        .take(rows)
        .collect();
    newest.reverse();
    if newest.is_empty() {
        canvas.text(inner.x, inner.y, inner.width, "none seen yet", Tone::Faint);
    }
    for (y, event) in (inner.y..inner.bottom()).zip(newest) {
        event_line(model, canvas, inner, y, event);
    }
}

/// One event on one line.
pub(super) fn event_line(
    model: &Model,
    canvas: &mut Canvas<'_>,
    inner: Rect,
    y: u16,
    event: &EventView,
) {
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
