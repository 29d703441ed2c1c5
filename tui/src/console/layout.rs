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

/// Rows of the panel below a list, frame included; 0: no room.
fn panel_rows(place: &Place, height: u16) -> u16 {
    match place {
        Place::Realms if height >= PANEL_FROM => 8,
        Place::Nodes if height >= PANEL_FROM => 8,
        Place::Sessions if height >= 36 => 7,
        _ => 0,
    }
}

/// Totals line, list with its titles, and the panel below.
pub(crate) fn list_areas(place: &Place, body: Rect, height: u16) -> (Rect, Rect, Rect) {
    let panel = panel_rows(place, height);
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
    let (_, list, _) = list_areas(model.place(), regions.body, model.size.1);
    usize::from(list.height.saturating_sub(1)).max(1)
}
