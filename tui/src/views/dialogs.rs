//! What lies over the views.

use ratatui::layout::Rect;
use shared::api::{ItemOutcome, JobState, MissingNode};

use super::{document, help, pickers, sort_columns, verify};
use crate::console::model::{Dialog, JobDialog, Model};
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::text::Align;

/// Paints a dialog over `area`.
pub(super) fn paint(model: &Model, dialog: &Dialog, canvas: &mut Canvas<'_>, area: Rect) {
    match dialog {
        Dialog::Form(form, _) => form.paint(canvas, area),
        Dialog::Help(dialog) => help::paint(model, canvas, area, dialog),
        Dialog::Sort(chosen) => sort(model, canvas, area, *chosen),
        Dialog::Job(job) => paint_job(canvas, area, job),
        Dialog::Verify(dialog) => verify::paint(model, canvas, area, dialog),
        Dialog::Copy(menu) => pickers::copy(canvas, area, menu),
        Dialog::Document(document) => document::paint(canvas, area, document),
        Dialog::Columns(picker) => pickers::columns(model, canvas, area, picker),
    }
}

/// The middle of `area`.
pub(super) fn centred(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    }
}

fn sort(model: &Model, canvas: &mut Canvas<'_>, area: Rect, chosen: usize) {
    let columns = sort_columns(model);
    let outer = centred(area, 28, columns.len() as u16 + 2);
    canvas.blank(outer);
    let inner = canvas.panel(outer, "Sort by");
    let top = (chosen + 1).saturating_sub(usize::from(inner.height));
    for (y, (i, (title, name, _))) in
        (inner.y..inner.bottom()).zip(columns.iter().enumerate().skip(top))
    {
        let sign = if i == chosen { ">" } else { " " };
        let tone = if i == chosen {
            Tone::Selected
        } else {
            Tone::Normal
        };
        canvas.cell(
            inner.x,
            y,
            inner.width,
            &format!("{sign} {title:<12} {name}"),
            Align::Left,
            tone,
        );
    }
}

fn outcome(outcome: ItemOutcome) -> (&'static str, Tone) {
    match outcome {
        ItemOutcome::Killed => ("killed", Tone::Good),
        ItemOutcome::NotFound => ("had ended before", Tone::Faint),
        ItemOutcome::Unconfirmed => ("UNCONFIRMED: its node did not answer", Tone::Bad),
        ItemOutcome::WouldKill => ("would be killed", Tone::Normal),
    }
}

/// Whose sessions a job does not know, between its bar and its results.
fn paint_missing(canvas: &mut Canvas<'_>, inner: Rect, missing: &[MissingNode]) {
    if missing.is_empty() {
        return;
    }
    let names: Vec<_> = missing.iter().map(|node| node.node.as_str()).collect();
    let text = format!("without the sessions of {}: no answer", names.join(", "));
    canvas.text(inner.x, inner.y + 2, inner.width, &text, Tone::Bad);
}

fn paint_job(canvas: &mut Canvas<'_>, area: Rect, dialog: &JobDialog) {
    let job = &dialog.job;
    let outer = centred(area, 76, area.height.min(22));
    canvas.blank(outer);
    let inner = canvas.panel(outer, &format!("Job {}: {}", job.id, job.title));
    if inner.height < 5 {
        return;
    }
    let (word, tone) = match job.state {
        JobState::Running => ("running", Tone::Accent),
        JobState::Done => ("done", Tone::Good),
        JobState::Stopped => ("STOPPED", Tone::Warn),
    };
    let counts = format!(
        "  {} of {} done, {} failed, on {}",
        job.done, job.total, job.failed, job.node
    );
    canvas.pieces(
        inner.x,
        inner.y,
        inner.right(),
        &[(word, tone), (&counts, Tone::Normal)],
    );
    let cells = u64::from(inner.width.saturating_sub(2));
    let filled = (u128::from(job.done) * u128::from(cells) / u128::from(job.total.max(1))) as usize;
    let bar = format!(
        "[{}{}]",
        "#".repeat(filled.min(cells as usize)),
        " ".repeat(cells as usize - filled.min(cells as usize))
    );
    canvas.text(inner.x, inner.y + 1, inner.width, &bar, tone);
    paint_missing(canvas, inner, &job.missing);
    let end = inner.bottom() - 2;
    for (y, item) in (inner.y + 3..end).zip(job.items.iter().skip(dialog.top)) {
        let (word, tone) = outcome(item.outcome);
        let id = item.id.to_string();
        let pieces = [
            (id.as_str(), Tone::Normal),
            ("  ", Tone::Normal),
            (word, tone),
            ("  ", Tone::Normal),
            (item.user.as_str(), Tone::Faint),
        ];
        canvas.pieces(inner.x, y, inner.right(), &pieces);
    }
    if let Some(error) = &dialog.error {
        canvas.text(inner.x, end, inner.width, error, Tone::Bad);
    }
    let button = |focused: bool| {
        if focused {
            Tone::Selected
        } else {
            Tone::Normal
        }
    };
    let y = inner.bottom() - 1;
    let sign = |focused: bool| if focused { ">" } else { " " };
    let close = format!("{}[ Close ]", sign(!dialog.on_stop));
    let used = canvas.text(inner.x, y, inner.width, &close, button(!dialog.on_stop));
    if job.state == JobState::Running {
        let stop = format!("{}[ Stop ]", sign(dialog.on_stop));
        canvas.text(
            inner.x + used + 2,
            y,
            inner.width,
            &stop,
            button(dialog.on_stop),
        );
    }
}
