//! The panels of the pulse: their rows, and what each leads to.

use shared::api::Overview;
use shared::filter::equals;

use super::model::{Model, Place};

/// A panel, in the order in which Tab goes through them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Panel {
    /// Live sessions.
    #[default]
    Sessions,
    /// Traffic.
    Traffic,
    /// Refusals per second.
    Refusals,
    /// Client transports.
    Transports,
    /// Conditions that hold.
    Alerts,
    /// Realms with the most traffic.
    Realms,
    /// Newest events.
    Events,
}

impl Panel {
    const ALL: [Self; 7] = [
        Self::Sessions,
        Self::Traffic,
        Self::Refusals,
        Self::Transports,
        Self::Alerts,
        Self::Realms,
        Self::Events,
    ];

    /// The one behind, or before it.
    pub(crate) fn next(self, forward: bool) -> Self {
        let count = Self::ALL.len();
        let at = Self::ALL.iter().position(|p| *p == self).unwrap_or(0);
        Self::ALL[(at + if forward { 1 } else { count - 1 }) % count]
    }
}

/// The panel that has the focus, and the row of it that the cursor is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Focus {
    /// The panel.
    pub(crate) panel: Panel,
    /// The row, not yet brought into bounds.
    pub(crate) row: usize,
}

/// Codes that stand in the panel of refusals even when nothing is refused.
const USUAL: [&str; 4] = ["401", "438", "486", "508"];

/// Refusals per second by code, the most frequent first.
pub(crate) fn refusals(overview: &Overview) -> Vec<(&str, f64)> {
    let known = &overview.refusals_per_sec;
    let mut rows: Vec<(&str, f64)> = known
        .iter()
        .map(|(code, rate)| (code.as_str(), *rate))
        .collect();
    rows.extend(
        USUAL
            .iter()
            .filter(|code| !known.contains_key(**code))
            .map(|code| (*code, 0.0)),
    );
    rows.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    rows
}

/// Sessions by client transport, the most frequent first.
pub(crate) fn transports(overview: &Overview) -> Vec<(&str, u64)> {
    let mut rows: Vec<(&str, u64)> = overview
        .transports
        .iter()
        .map(|(name, count)| (name.as_str(), *count))
        .collect();
    rows.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    rows
}

/// Rows of a panel that the cursor can stand on.
pub(crate) fn rows(model: &Model, panel: Panel) -> usize {
    let overview = model.overview.as_ref();
    match panel {
        Panel::Sessions | Panel::Traffic => 1,
        Panel::Refusals => overview.map_or(0, |o| refusals(o).len()),
        Panel::Transports => overview.map_or(0, |o| o.transports.len()),
        Panel::Alerts => {
            let missing = overview.map_or(0, |o| o.missing.len());
            missing
                + model
                    .panels
                    .alerts
                    .as_ref()
                    .map_or(0, |page| page.items.len())
        }
        Panel::Realms => model.top_realms.len(),
        Panel::Events => model.events.len(),
    }
}

/// The row under the cursor.
pub(crate) fn row(model: &Model, panel: Panel) -> usize {
    model.pulse.row.min(rows(model, panel).saturating_sub(1))
}

/// What Enter leads to: a place and its filter.
pub(crate) fn target(model: &Model) -> Option<(Place, String)> {
    let panel = model.pulse.panel;
    let row = row(model, panel);
    let overview = model.overview.as_ref();
    let all = |place| (place, String::new());
    Some(match panel {
        Panel::Sessions | Panel::Traffic => all(Place::Sessions),
        Panel::Refusals => {
            let rows = refusals(overview?);
            let (code, _) = rows.get(row)?;
            let number = code.parse::<u16>().is_ok();
            let filter = if number {
                equals("err", code)
            } else {
                String::new()
            };
            (Place::Refusals, filter)
        }
        Panel::Transports => {
            let rows = transports(overview?);
            (Place::Sessions, equals("transport", rows.get(row)?.0))
        }
        Panel::Alerts => alert_target(model, row)?,
        Panel::Realms => all(Place::Realm(model.top_realms.get(row)?.name.clone())),
        Panel::Events => all(Place::Events),
    })
}

fn alert_target(model: &Model, row: usize) -> Option<(Place, String)> {
    let missing = model.overview.as_ref().map_or(&[][..], |o| &o.missing);
    if let Some(missing) = missing.get(row) {
        return Some((Place::Nodes, equals("node", missing.node.as_str())));
    }
    let alerts = model.panels.alerts.as_ref();
    let Some(alert) = alerts.and_then(|page| page.items.get(row - missing.len())) else {
        return Some((Place::Alerts, String::new()));
    };
    Some(super::update::about(alert))
}
