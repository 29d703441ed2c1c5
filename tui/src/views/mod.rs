//! What is on the screen: pure functions from the model to cells.

mod alert_rules;
mod alerts;
mod audit;
mod bans;
mod config;
mod contexts;
mod dialogs;
mod diff;
mod document;
mod events;
mod frame;
mod groups;
pub(crate) mod help;
mod nodes;
mod oauth_keys;
mod panels;
mod pickers;
mod pulse;
mod realm;
mod realms;
mod redirects;
mod refusal_counts;
mod refusals;
mod session;
mod sessions;
mod users;
mod verify;

use ratatui::Frame;
use ratatui::layout::Rect;
use shared::units::grouped;

use crate::console::layout;
use crate::console::list::{Facts, ListState, Row};
use crate::console::model::{Model, Place};
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::grid::{self, Column, RowLook, SortSign};
use crate::widgets::text::Align;

/// Paints the whole screen.
pub(crate) fn view(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    let mut canvas = Canvas::new(frame.buffer_mut(), model.theme);
    canvas.blank(area);
    let Some(regions) = layout::regions((area.width, area.height)) else {
        let (columns, rows) = layout::SMALLEST;
        let text = format!("terminal too small (need {columns}x{rows})");
        canvas.text(0, 0, area.width, &text, Tone::Normal);
        return;
    };
    let canvas = &mut canvas;
    match model.place() {
        Place::Pulse => pulse::paint(model, canvas, regions.body),
        Place::Nodes => nodes::paint(model, canvas, regions.body),
        Place::Sessions => sessions::paint(model, canvas, regions.body),
        Place::Session(_) => session::paint(model, canvas, regions.body),
        Place::Users => users::paint(model, canvas, regions.body),
        Place::Realms => realms::paint(model, canvas, regions.body),
        Place::Realm(name) => realm::paint(model, canvas, regions.body, name),
        Place::Events => events::paint(model, canvas, regions.body),
        Place::Audit => audit::paint(model, canvas, regions.body),
        Place::Refusals => refusals::paint(model, canvas, regions.body),
        Place::RefusalCounts => refusal_counts::paint(model, canvas, regions.body),
        Place::Alerts => alerts::paint(model, canvas, regions.body),
        Place::AlertRules => alert_rules::paint(model, canvas, regions.body),
        Place::Diff(..) => diff::paint(model, canvas, regions.body),
        Place::Redirects => redirects::paint(model, canvas, regions.body),
        Place::Bans => bans::paint(model, canvas, regions.body),
        Place::OauthKeys => oauth_keys::paint(model, canvas, regions.body),
        Place::Config(_) => config::paint(model, canvas, regions.body),
        Place::Groups(_) => groups::paint(model, canvas, regions.body),
        Place::Contexts => contexts::paint(model, canvas, regions.body),
    }
    if model.connection.is_old(model.now_ms, model.refresh_ms()) {
        canvas.fade(regions.body);
    }
    frame::paint(model, canvas, &regions);
    if let Some(dialog) = &model.dialog {
        let over = Rect {
            y: regions.body.y,
            height: regions.body.height,
            ..area
        };
        dialogs::paint(model, dialog, canvas, over);
    }
}

/// What is known of a column without its rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColumnInfo {
    /// The title.
    pub(crate) title: &'static str,
    /// What it shows.
    pub(crate) help: &'static str,
    /// The server's name, where it can be sorted by.
    pub(crate) sort: Option<&'static str>,
    /// It holds figures: the largest comes first at first.
    pub(crate) figures: bool,
    /// It is on the screen now.
    pub(crate) shown: bool,
    /// Its first column on the screen and its width, where it is.
    pub(crate) span: Option<(u16, u16)>,
}

/// All columns of a place at a width, in their order on the screen.
pub(crate) fn columns_of(model: &Model, place: &Place) -> Vec<ColumnInfo> {
    let lists = &model.lists;
    let width = model.size.0;
    match place {
        Place::Nodes => infos(nodes::COLUMNS, width, &lists.nodes),
        Place::Sessions => infos(&sessions::columns(width), width, &lists.sessions),
        Place::Users => infos(users::COLUMNS, width, &lists.users),
        Place::Realms => infos(realms::COLUMNS, width, &lists.realms),
        Place::Events => infos(events::COLUMNS, width, &lists.events),
        Place::Audit => infos(audit::COLUMNS, width, &lists.audit),
        Place::Refusals => infos(refusals::COLUMNS, width, &lists.refusals),
        Place::RefusalCounts => infos(refusal_counts::COLUMNS, width, &lists.refusal_counts),
        Place::Alerts => infos(alerts::COLUMNS, width, &lists.alerts),
        Place::AlertRules => infos(alert_rules::COLUMNS, width, &lists.rules),
        Place::Diff(..) => infos(diff::COLUMNS, width, &lists.diff),
        Place::Redirects => infos(redirects::COLUMNS, width, &lists.redirects),
        Place::Bans => infos(bans::COLUMNS, width, &lists.bans),
        Place::OauthKeys => infos(oauth_keys::COLUMNS, width, &lists.oauth_keys),
        Place::Config(_) => infos(config::COLUMNS, width, &lists.config),
        Place::Groups(_) => infos(groups::COLUMNS, width, &lists.groups),
        Place::Contexts => infos(contexts::COLUMNS, width, &lists.contexts),
        Place::Pulse | Place::Session(_) | Place::Realm(_) => Vec::new(),
    }
}

fn infos<T, C>(columns: &[Column<T, C>], width: u16, list: &ListState<T>) -> Vec<ColumnInfo> {
    let shown = grid::plan(columns, width, list.skip, list.columns.as_deref());
    let spans = grid::spans(&shown);
    grid::order(columns, list.columns.as_deref())
        .into_iter()
        .map(|i| ColumnInfo {
            title: columns[i].title,
            help: columns[i].help,
            sort: columns[i].sort,
            figures: columns[i].align == Align::Right,
            shown: shown.iter().any(|(at, _)| *at == i),
            span: spans.iter().find(|(at, _)| *at == i).map(|(_, span)| *span),
        })
        .collect()
}

/// Columns of the place that can be sorted by.
pub(crate) fn sort_columns(model: &Model) -> Vec<(&'static str, &'static str, bool)> {
    columns_of(model, model.place())
        .iter()
        .filter_map(|c| c.sort.map(|sort| (c.title, sort, c.figures)))
        .collect()
}

/// Paints the totals and the rows of a list; answers the room of the panel below.
fn paint_list<T: Row>(
    model: &Model,
    canvas: &mut Canvas<'_>,
    body: Rect,
    list: &ListState<T>,
    columns: &[Column<T, Model>],
    stale: fn(&T) -> bool,
) -> Rect {
    let (totals, area, panel) = layout::list_areas(model, body);
    paint_totals(model, canvas, totals, list);
    let plan = grid::plan(columns, area.width, list.skip, list.columns.as_deref());
    let sort = SortSign {
        column: list.sort.map(|s| s.0),
        descending: list.sort.is_some_and(|s| s.1),
    };
    let range = list.range_span();
    let rows = list
        .rows
        .iter()
        .enumerate()
        .skip(list.top)
        .take(list.height)
        .map(|(i, row)| {
            let look = RowLook {
                selected: i == list.at,
                marked: list.all
                    || range.is_some_and(|(from, to, _)| (from..=to).contains(&i))
                    || (!list.marks.is_empty() && list.marks.contains_key(&row.key())),
                stale: stale(row),
            };
            (row, look)
        });
    grid::paint(canvas, area, columns, &plan, sort, model, rows);
    if list.rows.is_empty() {
        let text = match &list.facts {
            None if model.connection.trouble().is_some() => "nothing is known yet",
            None => "loading...",
            Some(_) if list.filter.is_empty() && list.scope.is_empty() => "there is nothing here",
            Some(_) => "nothing matches the filter",
        };
        canvas.text(
            area.x + 2,
            area.y + 1,
            area.width.saturating_sub(2),
            text,
            Tone::Faint,
        );
    }
    panel
}

/// `1-16 of 8,214 match (412,887 total)  2 marked  sort RATE desc  as of 12:04:31`.
fn paint_totals<T: Row>(model: &Model, canvas: &mut Canvas<'_>, area: Rect, list: &ListState<T>) {
    let Some(facts) = &list.facts else { return };
    let mut left = range(list, facts);
    if list.all {
        left += &format!("  all {} marked", grouped(facts.matched));
    } else if !list.marks.is_empty() {
        left += &format!("  {} marked", grouped(list.marks.len() as u64));
    }
    if let Some((from, to, not_loaded)) = list.range_span() {
        left += &format!(
            "  range of {}",
            grouped((to + 1 - from + not_loaded) as u64)
        );
    }
    let used = canvas.text(
        area.x + 1,
        area.y,
        area.width.saturating_sub(1),
        &left,
        Tone::Normal,
    );
    let mut x = area.x + 1 + used;
    if !facts.missing.is_empty() {
        let names: Vec<&str> = facts.missing.iter().map(|m| m.node.as_str()).collect();
        let text = format!("  partial: no answer of {}", names.join(", "));
        x += canvas.text(x, area.y, area.right().saturating_sub(x), &text, Tone::Warn);
    }
    let frozen = match (&model.dialog, model.paused) {
        (Some(_), _) => "FROZEN while dialog open",
        (None, true) => "PAUSED",
        (None, false) => "",
    };
    let sort = list.sort.map(|(column, descending)| {
        format!(
            "sort {} {}",
            column.to_uppercase(),
            if descending { "desc" } else { "asc" }
        )
    });
    let as_of = format!("as of {}", model.clock(facts.as_of_ms));
    let parts = if frozen.is_empty() {
        [sort.unwrap_or_default(), as_of]
    } else {
        [frozen.to_owned(), as_of]
    };
    let room = area.right().saturating_sub(x + 2);
    let both = parts
        .iter()
        .filter(|p| !p.is_empty())
        .cloned()
        .collect::<Vec<_>>()
        .join("  ");
    for text in [&both, &parts[0], &parts[1]] {
        if (text.len() as u16) < room {
            canvas.right(area.right() - 1, area.y, room, text, Tone::Faint);
            break;
        }
    }
}

fn range<T: Row>(list: &ListState<T>, facts: &Facts) -> String {
    let matched = grouped(facts.matched);
    let rows = match list.shown_range() {
        None => "0".to_owned(),
        Some((first, last)) => format!("{}-{}", grouped(first as u64), grouped(last as u64)),
    };
    if list.filter.is_empty() && list.scope.is_empty() {
        format!("{rows} of {matched}")
    } else {
        format!("{rows} of {matched} match ({} total)", grouped(facts.total))
    }
}

/// A filter as it is shown above or below a list.
fn filter_of(model: &Model) -> &str {
    model.shown_list().map_or("", |list| list.filter())
}

/// Why the node refused the list on the screen.
fn list_error(model: &Model) -> Option<&str> {
    model.shown_list().and_then(|list| list.error())
}
