//! What surrounds every view: header, crumbs, status line and hints.

use ratatui::layout::Rect;
use shared::api::{NodeState, Severity};
use shared::units::{bit_rate, grouped, short_number};

use super::{filter_of, list_error, pulse};
use crate::console::command::ghost;
use crate::console::keymap::Intent;
use crate::console::layout::{Regions, WIDE};
use crate::console::model::{Dialog, Mode, Model, Place, Prompt, PromptKind};
use crate::console::theme::Tone;
use crate::widgets::canvas::Canvas;
use crate::widgets::form::Form;
use crate::widgets::text;

/// Paints the frame.
pub(super) fn paint(model: &Model, canvas: &mut Canvas<'_>, regions: &Regions) {
    header(model, canvas, regions.header);
    if regions.crumbs.height > 0 {
        crumbs(model, canvas, regions.crumbs);
    }
    status(model, canvas, regions.status);
    let area = regions.hints;
    if area.height == 0 {
        return;
    }
    match long_error(model, area.width) {
        Some(error) => {
            let room = area.width.saturating_sub(2);
            canvas.text(area.x + 1, area.y, room, error, Tone::Bad);
        }
        None => hints(model, canvas, area),
    }
}

fn header(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let (mode, mode_tone) = match model.mode {
        Mode::ReadWrite => ("[RW]", Tone::Warn),
        Mode::ReadOnly => ("[RO]", Tone::Normal),
    };
    let label = model.connection.label(model.now_ms, model.refresh_ms());
    let tone = if model.connection.is_up() && label.starts_with("live") {
        Tone::Good
    } else {
        Tone::Bad
    };
    let mut end = area.right() - 1;
    if area.width >= WIDE {
        let clock = model.clock(model.now_ms);
        canvas.right(end, area.y, 8, &clock, Tone::Normal);
        end -= 9;
    }
    canvas.right(end, area.y, area.width, &label, tone);
    end -= text::width(&label) as u16 + 1;
    canvas.right(end, area.y, 4, mode, mode_tone);
    end -= 5;
    let pieces = header_pieces(model, area.width >= WIDE);
    // What matters least goes first when the line is short.
    let wide =
        |kept: &[&(u8, String, Tone)]| kept.iter().map(|p| text::width(&p.1) + 2).sum::<usize>();
    let mut kept: Vec<&(u8, String, Tone)> = pieces.iter().collect();
    while wide(&kept) > usize::from(end.saturating_sub(area.x)) {
        let Some(worst) = (0..kept.len()).max_by_key(|&i| kept[i].0) else {
            break;
        };
        if kept[worst].0 == 0 {
            break;
        }
        kept.remove(worst);
    }
    let mut x = area.x + 1;
    for (_, piece, tone) in kept {
        x += canvas.text(x, area.y, end.saturating_sub(x), piece, *tone) + 2;
    }
}

/// Pieces of the header with how soon they may go (0: never).
fn header_pieces(model: &Model, wide: bool) -> Vec<(u8, String, Tone)> {
    let mut pieces = vec![
        (4, "relayctl".to_owned(), Tone::Title),
        (0, model.context.clone(), Tone::Accent),
    ];
    if wide && let Some(who) = &model.whoami {
        pieces.push((6, format!("role:{}", who.role.as_str()), Tone::Normal));
    }
    let Some(overview) = &model.overview else {
        return pieces;
    };
    let (live, total) = (overview.nodes_live, overview.nodes_total);
    let down = total.saturating_sub(live);
    let partial = down > 0 || !overview.missing.is_empty();
    let tone = if partial { Tone::Bad } else { Tone::Normal };
    let sign = if partial { "!" } else { "" };
    let nodes = match (model.connection.is_up(), wide && down > 0) {
        (false, _) => format!("nodes ?/{total}"),
        (true, true) => format!("nodes {live}/{total}{sign} ({down} down)"),
        (true, false) => format!("nodes {live}/{total}{sign}"),
    };
    pieces.push((1, nodes, tone));
    let up = model.connection.is_up();
    let old = if up { "" } else { "~" };
    let rate = |bps| match (up, wide) {
        (false, _) => "-".to_owned(),
        (true, true) => bit_rate(bps),
        (true, false) => short_number(bps),
    };
    let sessions = grouped(overview.sessions);
    let sessions = if wide {
        format!("sessions {sessions}{old}{}", pulse::growth(model))
    } else {
        format!("sess {sessions}{old}")
    };
    pieces.push((2, sessions, Tone::Normal));
    pieces.push((
        3,
        format!("in {}", rate(overview.rate_in_bps)),
        Tone::Normal,
    ));
    pieces.push((
        5,
        format!("out {}", rate(overview.rate_out_bps)),
        Tone::Normal,
    ));
    if wide {
        pieces.extend(capacity(model).map(|text| (7, text, Tone::Normal)));
        pieces.extend(alerts(model).map(|(text, tone)| (4, text, tone)));
    }
    pieces
}

/// `cap 61%`: how full the nodes that take sessions are, on average.
fn capacity(model: &Model) -> Option<String> {
    let ready = model.cluster.iter().filter(|n| n.state == NodeState::Ready);
    let (sum, count) = ready.fold((0.0, 0), |(sum, count), node| {
        (sum + node.capacity.percent, count + 1)
    });
    (count > 0).then(|| format!("cap {:.0}%", sum / f64::from(count)))
}

/// `alerts 1C 1W`.
fn alerts(model: &Model) -> Option<(String, Tone)> {
    let page = model.panels.alerts.as_ref()?;
    let count = |severity| page.items.iter().filter(|a| a.severity == severity).count();
    let (crit, warn) = (count(Severity::Crit), count(Severity::Warn));
    let tone = match (crit, warn) {
        (0, 0) => return None,
        (0, _) => Tone::Warn,
        _ => Tone::Bad,
    };
    let part = |count: usize, sign| match count {
        0 => String::new(),
        count => format!(" {count}{sign}"),
    };
    Some((
        format!("alerts{}{}", part(crit, 'C'), part(warn, 'W')),
        tone,
    ))
}

fn crumbs(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let titles: Vec<String> = model.trail.iter().map(|v| v.place.title()).collect();
    let used = canvas.text(
        area.x + 1,
        area.y,
        area.width - 1,
        &titles.join(" > "),
        Tone::Title,
    );
    let mut right = Vec::new();
    if !model.desk.scope.is_empty() {
        right.push(format!("scope {}", model.desk.scope));
    }
    if let Some((rows, of)) = model.desk.export {
        right.push(format!("exporting {} of {}", grouped(rows), grouped(of)));
    }
    if model.paused {
        right.push("PAUSED".to_owned());
    }
    if area.width >= 100 {
        right.push(format!("rate {}s", model.refresh_ms() / 1000));
    }
    let room = area.width.saturating_sub(used + 4);
    canvas.right(
        area.right() - 1,
        area.y,
        room,
        &right.join("  "),
        Tone::Faint,
    );
}

fn status(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let (x, room) = (area.x + 1, area.width.saturating_sub(2));
    if let Some(prompt) = &model.prompt {
        let ghost = ghost(model, prompt.kind, prompt.input.value());
        paint_prompt(canvas, area, prompt, ghost.as_deref().unwrap_or(""));
    } else if let Some(toast) = &model.toast {
        canvas.text(x, area.y, room, &toast.text, toast.tone);
    } else if let Some((error, attempt)) = model.connection.trouble() {
        let age = model
            .connection
            .age_ms(model.now_ms)
            .map(|ms| format!(" Data is {} s old.", ms / 1000));
        let now = model.keymap.key_of(Intent::Reconnect);
        let text = format!(
            "!! {error}.{} Retry {attempt} soon{}",
            age.unwrap_or_default(),
            now.map(|key| format!(" (<{key}> now)")).unwrap_or_default()
        );
        canvas.text(x, area.y, room, &text, Tone::Bad);
    } else if let Some(error) = list_error(model) {
        canvas.text(x, area.y, room, error, Tone::Bad);
    } else if !filter_of(model).is_empty() {
        canvas.pieces(
            x,
            area.y,
            area.right(),
            &[("/ ", Tone::Accent), (filter_of(model), Tone::Normal)],
        );
    }
}

/// The line that is typed, scrolled so that the cursor is on the screen.
fn paint_prompt(canvas: &mut Canvas<'_>, area: Rect, prompt: &Prompt, ghost: &str) {
    let sign = match prompt.kind {
        PromptKind::Command => ":",
        PromptKind::Filter => "/ ",
    };
    let x = area.x + 1;
    let begin = x + canvas.text(x, area.y, 2, sign, Tone::Accent);
    let room = area.right().saturating_sub(begin + 1);
    let (shown, cursor) = text::around_cursor(
        prompt.input.value(),
        prompt.input.visual_cursor(),
        usize::from(room),
    );
    let used = canvas.text(begin, area.y, room, shown, Tone::Normal);
    let cursor = Rect {
        x: begin + cursor as u16,
        width: 1,
        ..area
    };
    let error = prompt.error.as_deref().unwrap_or("");
    let at_end = prompt.input.cursor() == prompt.input.value().chars().count();
    if error.is_empty() && at_end {
        let x = begin + used;
        canvas.text(
            x,
            area.y,
            area.right().saturating_sub(x),
            ghost,
            Tone::Faint,
        );
    }
    canvas.invert(cursor, area.y);
    let left = begin + used + 2;
    canvas.text(
        left,
        area.y,
        area.right().saturating_sub(left),
        error,
        Tone::Bad,
    );
}

/// Why a typed line was refused, when that does not fit behind the line: what to write instead
/// stands at its end.
fn long_error(model: &Model, columns: u16) -> Option<&str> {
    let prompt = model.prompt.as_ref()?;
    let error = prompt.error.as_deref()?;
    // A sign of two columns, the cursor, and the space around it.
    let used = text::width(prompt.input.value()) + text::width(error) + 5;
    (used > usize::from(columns)).then_some(error)
}

fn form_hints(form: &Form) -> &'static [(&'static str, &'static str)] {
    if form.tells() && form.middle.is_none() {
        return &[("esc", "close")];
    }
    &[
        ("tab", "field"),
        ("y", "confirm on a button"),
        ("esc", "cancel"),
    ]
}

/// Keys of what is in front, as many as fit, the first of the table first.
fn hints(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let fixed: &[(&str, &str)] = match (&model.prompt, &model.dialog) {
        (Some(_), _) => &[("enter", "apply"), ("tab", "complete"), ("esc", "cancel")],
        (None, Some(Dialog::Help(help))) if help.typing => {
            &[("enter", "search"), ("esc", "all again")]
        }
        (None, Some(Dialog::Help(_))) => return help_hints(model, canvas, area),
        (None, Some(Dialog::Sort(_))) => &[("j/k", "choose"), ("enter", "sort"), ("esc", "cancel")],
        (None, Some(Dialog::Copy(_))) => &[("j/k", "choose"), ("y", "copy"), ("esc", "cancel")],
        (None, Some(Dialog::Document(_))) => &[
            ("j/k", "scroll"),
            ("/", "find"),
            ("n/N", "next/previous"),
            ("y", "copy all"),
            ("esc", "close"),
        ],
        (None, Some(Dialog::Columns(_))) => &[
            ("space", "show"),
            ("J/K", "move"),
            ("enter", "keep"),
            ("r", "reset"),
            ("esc", "undo"),
        ],
        (None, Some(Dialog::Form(form, _))) => form_hints(form),
        (None, Some(Dialog::Verify(dialog))) if dialog.runs() => {
            &[("j/k", "choose"), ("y", "copy"), ("esc", "stop")]
        }
        (None, Some(Dialog::Verify(_))) => &[("j/k", "choose"), ("y", "copy"), ("esc", "close")],
        (None, Some(Dialog::Job(_))) => &[("j/k", "scroll"), ("tab", "button"), ("esc", "close")],
        (None, None) => &[],
    };
    let mut x = area.x + 1;
    let right = area.right();
    for (key, hint) in fixed {
        x = hint_at(canvas, x, area.y, right, key, hint);
    }
    if !fixed.is_empty() {
        return;
    }
    let views = model.place().views();
    let mut room = area.width.saturating_sub(1);
    let mut last = Vec::new();
    for bound in model.keymap.of(views) {
        let action = bound.action;
        let (Some(key), false) = (bound.keys.first(), action.hint.is_empty()) else {
            continue;
        };
        if !model.shows(action.needs) {
            continue;
        }
        let hint = match action.intent {
            Intent::Quit if model.trail.len() > 1 => "back",
            _ => action.hint,
        };
        let key = key.to_string();
        let wide = (key.len() + hint.len() + 3) as u16;
        if wide > room {
            break;
        }
        room -= wide;
        if matches!(action.intent, Intent::Help | Intent::Quit) {
            last.push((key, hint));
        } else {
            let at = hint_of(model, action.intent);
            x = at(canvas, x, area.y, right, &key, hint);
        }
    }
    for (key, hint) in last {
        x = hint_at(canvas, x, area.y, right, &key, hint);
    }
}

type HintAt = fn(&mut Canvas<'_>, u16, u16, u16, &str, &str) -> u16;

/// How a hint is painted: grey where what it does cannot be done.
fn hint_of(model: &Model, intent: Intent) -> HintAt {
    match is_refused(model, intent) {
        true => grey_hint_at,
        false => hint_at,
    }
}

/// Whether the node under the cursor cannot do this; the key tells why.
fn is_refused(model: &Model, intent: Intent) -> bool {
    if intent != Intent::Drain || *model.place() != Place::Nodes {
        return false;
    }
    let Some(node) = model.lists.nodes.selected() else {
        return false;
    };
    let action = match node.drain {
        None => "node.drain",
        Some(_) => "node.undrain",
    };
    let beside = node.beside.as_ref();
    beside.is_some_and(|beside| beside.refusal(action).is_some())
}

fn grey_hint_at(canvas: &mut Canvas<'_>, x: u16, y: u16, right: u16, key: &str, hint: &str) -> u16 {
    let text = format!("<{key}>{hint} ");
    canvas.pieces(x, y, right, &[(&text, Tone::Faint)])
}

/// The help is scrolled and searched with the keys of lists.
fn help_hints(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let hints = [
        (Intent::Down, "down"),
        (Intent::Up, "up"),
        (Intent::Filter, "search"),
        (Intent::Leave, "close"),
    ];
    let mut x = area.x + 1;
    for (intent, hint) in hints {
        if let Some(key) = model.keymap.key_of(intent) {
            x = hint_at(canvas, x, area.y, area.right(), &key.to_string(), hint);
        }
    }
}

fn hint_at(canvas: &mut Canvas<'_>, x: u16, y: u16, right: u16, key: &str, hint: &str) -> u16 {
    let key = format!("<{key}>");
    canvas.pieces(
        x,
        y,
        right,
        &[
            (&key, Tone::Accent),
            (hint, Tone::Normal),
            (" ", Tone::Normal),
        ],
    )
}
