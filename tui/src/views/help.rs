//! The help: made from the keys in force, the columns of the view and the table of commands.

use ratatui::layout::Rect;

use super::columns_of;
use super::dialogs::centred;
use crate::console::command::COMMANDS;
use crate::console::keymap::Group;
use crate::console::model::{HelpDialog, Model};
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::text::{self, Align};

/// The widest that the help gets, frame included.
const WIDEST: u16 = 78;
/// Columns of a key, at most.
const KEYS: usize = 26;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    key: String,
    what: String,
    tone: Tone,
}

/// Something to look up: how it is written, and what it is.
struct Topic {
    title: String,
    entries: Vec<(String, String)>,
}

/// Everything there is to know here.
fn topics(model: &Model) -> Vec<Topic> {
    let view = model.place().views();
    let shown = |group: Group| {
        let of_group = model
            .keymap
            .of(view)
            .filter(move |b| b.action.intent.group() == group);
        let usable = of_group.filter(|b| model.shows(b.action.needs) && !b.keys.is_empty());
        usable.map(|b| (b.keys_text(), b.action.help.to_owned()))
    };
    let mut topics: Vec<Topic> = Group::ALL
        .into_iter()
        .map(|group| Topic {
            title: group.title().to_owned(),
            entries: shown(group).collect(),
        })
        .collect();
    let columns = columns_of(model, model.place()).into_iter();
    topics.push(Topic {
        title: "Columns".to_owned(),
        entries: columns
            .map(|c| (c.title.to_owned(), c.help.to_owned()))
            .collect(),
    });
    let filter = model.place().filter_columns().unwrap_or_default();
    topics.push(Topic {
        title: "Filter: a=x  a~part  !a=x  rate>2M  age<10m  a=x|y".to_owned(),
        entries: filter
            .iter()
            .map(|c| (c.name.to_owned(), c.help.to_owned()))
            .collect(),
    });
    topics.push(Topic {
        title: "Commands".to_owned(),
        entries: commands(model),
    });
    topics
}

fn commands(model: &Model) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = COMMANDS
        .iter()
        .map(|(_, names, arguments, what)| {
            let names: Vec<String> = names.iter().map(|n| format!(":{n}")).collect();
            let usage = format!("{} {arguments}", names.join(" "));
            (usage.trim_end().to_owned(), (*what).to_owned())
        })
        .collect();
    let aliases = model.aliases.iter();
    commands.extend(aliases.map(|(name, text)| (format!(":{name}"), format!("is :{text}"))));
    commands
}

/// The lines in `room` columns that have `query` in them, with the titles above them.
pub(crate) fn lines(model: &Model, room: u16, query: &str) -> Vec<Line> {
    let query = query.to_lowercase();
    let room = usize::from(room);
    let mut lines = Vec::new();
    for Topic { title, entries } in topics(model) {
        let fits = |text: &str| text.to_lowercase().contains(&query);
        let found: Vec<_> = entries
            .into_iter()
            .filter(|(key, what)| fits(key) || fits(what))
            .collect();
        if found.is_empty() {
            continue;
        }
        if !lines.is_empty() {
            lines.push(line("", "", Tone::Normal));
        }
        lines.push(line("", &title, Tone::Title));
        let longest = found.iter().map(|(key, _)| text::width(key)).max();
        let column = longest.unwrap_or(0).min(KEYS).min(room / 3);
        for (key, what) in &found {
            entry(&mut lines, key, what, column, room);
        }
    }
    lines
}

/// A key and what it does; what does not fit goes on below.
fn entry(lines: &mut Vec<Line>, key: &str, what: &str, column: usize, room: usize) {
    let mut key = format!("{key:column$}");
    if text::width(&key) > column {
        lines.push(line(&key, "", Tone::Normal));
        key = " ".repeat(column);
    }
    for part in text::wrap(what, room.saturating_sub(column + 2)) {
        lines.push(line(&key, &part, Tone::Normal));
        key = " ".repeat(column);
    }
}

fn line(key: &str, what: &str, tone: Tone) -> Line {
    Line {
        key: key.to_owned(),
        what: what.to_owned(),
        tone,
    }
}

/// Columns and rows of the text in a screen of this size.
pub(crate) fn room(area: Rect) -> (u16, u16) {
    let width = area.width.min(WIDEST);
    (width.saturating_sub(4), area.height.saturating_sub(2))
}

/// Paints the help over `area`.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, area: Rect, dialog: &HelpDialog) {
    let outer = centred(area, WIDEST, area.height);
    canvas.blank(outer);
    let query = dialog.query.value();
    let title = match (dialog.typing, query.is_empty()) {
        (true, _) => format!("Help / {query}_"),
        (false, false) => format!("Help / {query}"),
        (false, true) => "Help".to_owned(),
    };
    let inner = canvas.panel(outer, &title);
    let lines = lines(model, inner.width, query);
    let top = dialog
        .top
        .min(lines.len().saturating_sub(usize::from(inner.height)));
    if lines.is_empty() {
        let text = "nothing matches";
        canvas.text(inner.x, inner.y, inner.width, text, Tone::Faint);
    }
    for (y, line) in (inner.y..inner.bottom()).zip(lines.iter().skip(top)) {
        let wide = text::width(&line.key) as u16;
        canvas.cell(inner.x, y, wide, &line.key, Align::Left, Tone::Accent);
        let x = inner.x + if wide == 0 { 0 } else { wide + 2 };
        let room = inner.right().saturating_sub(x);
        canvas.text(x, y, room, &line.what, line.tone);
    }
}
