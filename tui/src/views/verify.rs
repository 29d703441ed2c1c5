//! The self-test of nodes: the listeners above, the steps of the chosen one below.

use std::time::Duration;

use ratatui::layout::Rect;
use shared::units::{age, grouped};

use super::dialogs::centred;
use crate::console::model::Model;
use crate::console::theme::Tone;
use crate::console::verify::{CheckState, Checked, RunState, VerifyDialog};
use crate::turn::check::{Status, Step, Verdict};
use crate::widgets::canvas::Canvas;
use crate::widgets::text::{self, Align};

/// The widest that it gets: longer lines are hard to read.
const MOST_COLUMNS: u16 = 120;
/// Rows that the steps may have: as many as a check makes, their title, and a remedy.
const STEP_ROWS: u16 = 13;
/// Rows that listeners have at least.
const LEAST_ROWS: u16 = 3;
/// Columns before the text of a step.
const STEP_HEAD: u16 = 31;

/// Paints it over `area`.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, area: Rect, dialog: &VerifyDialog) {
    let rows = u16::try_from(dialog.rows.len()).unwrap_or(u16::MAX);
    let wanted = rows.saturating_add(STEP_ROWS + 5);
    let columns = area.width.saturating_sub(2).min(MOST_COLUMNS);
    let outer = centred(area, columns, wanted);
    canvas.blank(outer);
    let inner = canvas.panel(outer, "Self-test");
    if inner.height < 4 {
        return;
    }
    summary(model, canvas, inner, dialog);
    let below = Rect {
        y: inner.y + 1,
        height: inner.height - 1,
        ..inner
    };
    // Titles, then rows; a line between them and the steps.
    let room = below.height.saturating_sub(2);
    let listed = rows.min(room.saturating_sub(STEP_ROWS).max(LEAST_ROWS.min(room)));
    let list = Rect {
        height: listed + 1,
        ..below
    };
    paint_rows(canvas, list, dialog);
    let steps = Rect {
        y: list.bottom() + 1,
        height: below.bottom().saturating_sub(list.bottom() + 1),
        ..below
    };
    if let Some(row) = dialog.rows.get(dialog.at) {
        paint_steps(canvas, steps, row);
    }
}

/// `running  2 of 7 listeners, failed 1, 12s`.
fn summary(model: &Model, canvas: &mut Canvas<'_>, inner: Rect, dialog: &VerifyDialog) {
    let (over, bad, all) = dialog.counts();
    let (word, tone) = match dialog.state {
        RunState::Running => ("running", Tone::Accent),
        RunState::Stopping => ("stopping, releases what it has", Tone::Warn),
        RunState::Stopped => ("STOPPED", Tone::Warn),
        RunState::Done if bad > 0 => ("FAILED", Tone::Bad),
        RunState::Done => ("all passed", Tone::Good),
    };
    let until = dialog.ended_ms.unwrap_or(model.now_ms);
    let took = age(Duration::from_millis(
        until.saturating_sub(dialog.started_ms),
    ));
    let (over, all) = (grouped(over as u64), grouped(all as u64));
    let counts = format!("   {over} of {all} listeners, {bad} failed, after {took}");
    let tone_of_bad = if bad > 0 { Tone::Bad } else { Tone::Normal };
    canvas.pieces(
        inner.x,
        inner.y,
        inner.right(),
        &[(word, tone), (&counts, tone_of_bad)],
    );
}

/// Widths of the columns of listeners; the last has the rest.
const WIDTHS: [(u16, Align); 6] = [
    (10, Align::Left),
    (4, Align::Left),
    (18, Align::Left),
    (9, Align::Right),
    (8, Align::Right),
    (6, Align::Right),
];

fn paint_rows(canvas: &mut Canvas<'_>, area: Rect, dialog: &VerifyDialog) {
    let titles = ["NODE", "TR", "RESULT", "TIME", "RTT", "LOSS", "RELAY"];
    line(canvas, area, area.y, titles.map(str::to_owned), Tone::Title);
    let room = usize::from(area.height.saturating_sub(1));
    let top = (dialog.at + 1).saturating_sub(room);
    let rows = dialog.rows.iter().enumerate().skip(top);
    for (y, (at, row)) in (area.y + 1..area.bottom()).zip(rows) {
        let (word, tone) = result(row);
        let tone = if at == dialog.at {
            Tone::Selected
        } else {
            tone
        };
        let figure = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let verified = match &row.state {
            CheckState::Ended(verified) => Some(verified),
            _ => None,
        };
        let rtt = verified.and_then(|v| v.rtt_avg_ms);
        let loss = verified.and_then(|v| v.loss_percent);
        let relay = verified.map(|v| v.relay.clone()).filter(|r| !r.is_empty());
        let sign = if at == dialog.at { ">" } else { " " };
        let cells = [
            format!("{sign} {}", row.node),
            row.transport.clone(),
            word,
            figure((!row.steps.is_empty()).then(|| millis(row.ms()))),
            figure(rtt.map(millis)),
            figure(loss.map(|percent| format!("{percent:.0}%"))),
            figure(relay),
        ];
        line(canvas, area, y, cells, tone);
    }
}

/// What a row says of its listener.
fn result(row: &Checked) -> (String, Tone) {
    match &row.state {
        CheckState::Waiting => ("waits".to_owned(), Tone::Faint),
        CheckState::Running => {
            let last = row.steps.last().map_or("", |step| step.step.as_str());
            let behind = if last.is_empty() { "" } else { " past " };
            (format!("runs{behind}{last}"), Tone::Accent)
        }
        CheckState::Stopped => ("stopped".to_owned(), Tone::Warn),
        CheckState::Failed(_) => ("FAILED".to_owned(), Tone::Bad),
        CheckState::Ended(verified) if verified.verdict == Verdict::Ok => {
            let doubtful = row.steps.iter().any(|step| step.status == Status::Warn);
            match doubtful {
                true => ("ok, see below".to_owned(), Tone::Warn),
                false => ("ok".to_owned(), Tone::Good),
            }
        }
        CheckState::Ended(_) => {
            let step = row.failed_step().map_or("", |step| step.step.as_str());
            (format!("FAILED {step}").trim_end().to_owned(), Tone::Bad)
        }
    }
}

fn line(canvas: &mut Canvas<'_>, area: Rect, y: u16, cells: [String; 7], tone: Tone) {
    let mut x = area.x;
    for (at, cell) in cells.iter().enumerate() {
        let left = area.right().saturating_sub(x);
        let (width, align) = WIDTHS.get(at).copied().unwrap_or((left, Align::Left));
        canvas.cell(x, y, width.min(left), cell, align, tone);
        x += width + 1;
        if x >= area.right() {
            return;
        }
        canvas.text(x - 1, y, 1, " ", tone);
    }
}

/// The steps of a listener, the last ones where there is no room for all.
fn paint_steps(canvas: &mut Canvas<'_>, area: Rect, row: &Checked) {
    if area.height == 0 {
        return;
    }
    let title = match row.uri.as_str() {
        "" => row.node.to_string(),
        uri => format!("{}  {uri}", row.node),
    };
    canvas.text(area.x, area.y, area.width, &title, Tone::Title);
    let mut lines: Vec<(String, String, Tone)> = Vec::new();
    let room = usize::from(area.width.saturating_sub(STEP_HEAD));
    for step in &row.steps {
        step_lines(&mut lines, step, room);
    }
    let alone = |text: &str, tone, lines: &mut Vec<_>| {
        for line in text::wrap(text, usize::from(area.width.saturating_sub(2))) {
            lines.push((format!("  {line}"), String::new(), tone));
        }
    };
    match &row.state {
        CheckState::Failed(why) => alone(why, Tone::Bad, &mut lines),
        CheckState::Ended(verified) if row.steps.is_empty() => {
            alone(&verified.text, Tone::Bad, &mut lines);
        }
        CheckState::Waiting => alone("its turn comes", Tone::Faint, &mut lines),
        CheckState::Stopped => alone("stopped here", Tone::Warn, &mut lines),
        _ => {}
    }
    let first = lines
        .len()
        .saturating_sub(usize::from(area.height.saturating_sub(1)));
    for (y, (head, text, tone)) in (area.y + 1..area.bottom()).zip(lines.iter().skip(first)) {
        let used = canvas.text(area.x, y, area.width, head, *tone);
        let left = area.width.saturating_sub(used);
        canvas.text(area.x + used, y, left, text, *tone);
    }
}

/// A step: how it ended, its name, its time, what it found; then what to do about it.
fn step_lines(lines: &mut Vec<(String, String, Tone)>, step: &Step, room: usize) {
    let (status, tone) = match step.status {
        Status::Ok => ("ok", Tone::Normal),
        Status::Warn => ("warn", Tone::Warn),
        Status::Failed => ("FAILED", Tone::Bad),
    };
    let name = step.step.as_str();
    let head = format!("  {status:<7}{name:<11}{:>9}  ", millis(step.ms));
    let blank = " ".repeat(usize::from(STEP_HEAD));
    // What went as it should has one line, whatever it found.
    let found = match step.status {
        Status::Ok => vec![step.text.clone()],
        _ => text::wrap(&step.text, room),
    };
    for (at, text) in found.into_iter().enumerate() {
        let head = if at == 0 { head.clone() } else { blank.clone() };
        lines.push((head, text, tone));
    }
    for line in step.remedy.iter().flat_map(|text| text::wrap(text, room)) {
        lines.push((blank.clone(), line, Tone::Normal));
    }
}

/// `0.4 ms`, `2.01 s`.
fn millis(ms: f64) -> String {
    if ms < 1000.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{:.2} s", ms / 1000.0)
    }
}
