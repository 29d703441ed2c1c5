//! Where things are on the screen: used by the views to paint and by `update` to know how many
//! rows there are.

use ratatui::layout::Rect;

use super::model::{Model, Place};

/// The smallest screen that is painted.
pub(crate) const SMALLEST: (u16, u16) = (40, 10);
/// Below this many rows the crumbs go.
const CRUMBS_FROM: u16 = 15;
/// Below this many rows the hints go too.
const HINTS_FROM: u16 = 12;
/// From this many rows on a list has room for a panel below it.
const PANEL_FROM: u16 = 20;
/// From this many rows on there is room for a chart below a list as well.
const CHARTS_FROM: u16 = 40;
/// From this many columns on panels stand side by side.
pub(crate) const SIDE_BY_SIDE: u16 = 120;
/// From this many columns on the header uses whole words, and says more.
pub(crate) const WIDE: u16 = 140;
/// From this many columns on rows of nodes have a trend.
pub(crate) const TRENDS_FROM: u16 = 100;
/// Rows of panels, frames included.
pub(crate) const CHART_ROWS: u16 = 9;
pub(crate) const EVENT_ROWS: u16 = 5;
pub(crate) const NODE_ROWS: u16 = 8;
pub(crate) const REALM_ROWS: u16 = 8;
pub(crate) const SESSION_ROWS: u16 = 8;
pub(crate) const REASON_ROWS: u16 = 4;
/// From this many rows on a list of refusals has room for what the reason under the cursor means.
const REASONS_FROM: u16 = 30;

/// The regions of a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Regions {
    /// One row: where we are connected to.
    pub(crate) header: Rect,
    /// One row: where we are; none on low screens.
    pub(crate) crumbs: Rect,
    /// What the view paints.
    pub(crate) body: Rect,
    /// One row: prompt, message, trouble.
    pub(crate) status: Rect,
    /// One row: keys; none on low screens.
    pub(crate) hints: Rect,
}

/// The regions of the screen; `None`: it is too small.
pub(crate) fn regions(size: (u16, u16)) -> Option<Regions> {
    let (width, height) = size;
    if width < SMALLEST.0 || height < SMALLEST.1 {
        return None;
    }
    let row = |y: u16, height: u16| Rect {
        x: 0,
        y,
        width,
        height,
    };
    let crumbs = u16::from(height >= CRUMBS_FROM);
    let hints = u16::from(height >= HINTS_FROM);
    let body = height - 2 - crumbs - hints;
    Some(Regions {
        header: row(0, 1),
        crumbs: row(1, crumbs),
        body: row(1 + crumbs, body),
        status: row(1 + crumbs + body, 1),
        hints: row(2 + crumbs + body, hints),
    })
}

/// What a view paints; nothing where the screen is too small.
pub(crate) fn body(size: (u16, u16)) -> Rect {
    regions(size).map_or(Rect::ZERO, |regions| regions.body)
}

/// Rows of the panels below a list, frames included; 0: no room.
fn panel_rows(place: &Place, (width, height): (u16, u16)) -> u16 {
    let chart = if height >= CHARTS_FROM { CHART_ROWS } else { 0 };
    match place {
        Place::Nodes if height >= CHARTS_FROM => NODE_ROWS + chart + EVENT_ROWS,
        Place::Nodes if height >= PANEL_FROM => NODE_ROWS,
        Place::Realms if height >= PANEL_FROM => REALM_ROWS + chart,
        Place::Sessions | Place::Users if height < 36 => 0,
        Place::Sessions if width >= SIDE_BY_SIDE => SESSION_ROWS + EVENT_ROWS,
        Place::Sessions => SESSION_ROWS + chart,
        Place::Users => CHART_ROWS,
        Place::Refusals | Place::RefusalCounts if height >= REASONS_FROM => REASON_ROWS,
        _ => 0,
    }
}

/// Rows of the panel that was asked for on a screen that has no room for it by itself: the list
/// keeps a row and its titles.
fn previewed_rows(place: &Place, body: u16) -> u16 {
    let rows = match place {
        Place::Nodes => NODE_ROWS,
        Place::Realms => REALM_ROWS,
        Place::Sessions => SESSION_ROWS,
        Place::Users => CHART_ROWS,
        Place::Refusals | Place::RefusalCounts => REASON_ROWS,
        _ => 0,
    };
    rows.min(body.saturating_sub(3))
}

/// Whether the view has a chart of what the cursor is on.
pub(crate) fn has_chart(model: &Model) -> bool {
    let (width, height) = model.size;
    match model.place() {
        Place::Session(_) | Place::Realm(_) => true,
        _ if model.desk.preview == Some(false) => false,
        Place::Nodes | Place::Realms => height >= CHARTS_FROM,
        Place::Users => height >= 36 || model.desk.preview == Some(true),
        Place::Sessions if width >= SIDE_BY_SIDE => {
            height >= 36 || model.desk.preview == Some(true)
        }
        Place::Sessions => height >= CHARTS_FROM,
        _ => false,
    }
}

/// Totals line, list with its titles, and the panel below.
pub(crate) fn list_areas(model: &Model, body: Rect) -> (Rect, Rect, Rect) {
    let size = (body.width, model.size.1);
    let room = panel_rows(model.place(), size);
    let panel = match model.desk.preview {
        Some(false) => 0,
        Some(true) if room == 0 => previewed_rows(model.place(), body.height),
        _ => room,
    };
    let totals = Rect { height: 1, ..body };
    let list = Rect {
        y: body.y + 1,
        height: body.height.saturating_sub(1 + panel),
        ..body
    };
    let panel = Rect {
        y: list.bottom(),
        height: panel,
        ..body
    };
    (totals, list, panel)
}

/// Rows of the list on the screen, without its titles.
pub(crate) fn list_rows(model: &Model) -> usize {
    let Some(regions) = regions(model.size) else {
        return 1;
    };
    let (_, list, _) = list_areas(model, regions.body);
    usize::from(list.height.saturating_sub(1)).max(1)
}
