//! A dialog with facts, fields and buttons.
//!
//! The first button is Cancel. Enter in a field goes on to the next one; only a button that was
//! deliberately moved to, or `y` while a button has the focus, confirms.

use std::ops::Range;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use tui_input::{Input, InputRequest};

use super::canvas::Canvas;
use super::text::{self, Align};
use crate::console::theme::Tone;
use crate::guardrails::Verdict;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldKind {
    /// Text that is shown.
    Text,
    /// Text that is shown as dots.
    Masked,
    /// Yes or no, switched by space.
    Toggle,
}

/// One field. No `Debug`: it may hold a password.
#[derive(Clone)]
pub(crate) struct Field {
    /// Names the field in the program.
    pub(crate) name: &'static str,
    /// What is shown before it.
    pub(crate) label: String,
    /// What it holds.
    pub(crate) kind: FieldKind,
    /// Behind it, faint.
    pub(crate) help: String,
    /// The text that must be typed before the dialog can be confirmed.
    pub(crate) expect: Option<String>,
    input: Input,
}

impl Field {
    /// A field of text.
    pub(crate) fn text(name: &'static str, label: &str, value: &str, help: &str) -> Self {
        Self {
            name,
            label: label.to_owned(),
            kind: FieldKind::Text,
            help: help.to_owned(),
            expect: None,
            input: Input::new(value.to_owned()),
        }
    }

    /// A field whose content is not shown.
    pub(crate) fn masked(name: &'static str, label: &str) -> Self {
        Self {
            kind: FieldKind::Masked,
            ..Self::text(name, label, "", "")
        }
    }

    /// A yes or no.
    pub(crate) fn toggle(name: &'static str, label: &str, on: bool) -> Self {
        let value = if on { "yes" } else { "no" };
        Self {
            kind: FieldKind::Toggle,
            ..Self::text(name, label, value, "space switches")
        }
    }

    /// A field into which exactly `expect` must be typed.
    pub(crate) fn typed(label: &str, expect: &str) -> Self {
        Self {
            expect: Some(expect.to_owned()),
            ..Self::text("typed", label, "", "")
        }
    }

    /// Its value.
    pub(crate) fn value(&self) -> &str {
        self.input.value()
    }

    /// Gives it another value.
    pub(crate) fn set(&mut self, value: &str) {
        self.input = Input::new(value.to_owned());
    }
}

/// What a key did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormAnswer {
    /// Go on.
    Stay,
    /// The dialog is to close.
    Cancel,
    /// The button in the middle.
    Middle,
    /// Do it.
    Confirm,
}

/// The dialog.
#[derive(Clone)]
pub(crate) struct Form {
    /// In its frame.
    pub(crate) title: String,
    /// Label and value each.
    pub(crate) facts: Vec<(String, String)>,
    /// Sentences below the facts.
    pub(crate) notes: Vec<String>,
    /// The fields.
    pub(crate) fields: Vec<Field>,
    /// The button between Cancel and the last one.
    pub(crate) middle: Option<&'static str>,
    /// The last button; empty: there is none.
    pub(crate) confirm: String,
    /// What was wrong with the last attempt.
    pub(crate) error: Option<String>,
    /// It was confirmed and the answer is not there yet.
    pub(crate) busy: bool,
    /// What the guardrails say of the change that it is about.
    pub(crate) verdict: Verdict,
    /// Fields first, then the buttons.
    focus: usize,
}

impl Form {
    /// A dialog whose focus is on Cancel.
    pub(crate) fn new(
        title: impl Into<String>,
        confirm: impl Into<String>,
        fields: Vec<Field>,
    ) -> Self {
        let focus = fields.len();
        Self {
            title: title.into(),
            facts: Vec::new(),
            notes: Vec::new(),
            fields,
            middle: None,
            confirm: confirm.into(),
            error: None,
            busy: false,
            verdict: Verdict::default(),
            focus,
        }
    }

    /// A dialog that only tells something.
    pub(crate) fn message(title: impl Into<String>) -> Self {
        Self::new(title, "", Vec::new())
    }

    /// The same with the focus on its first field: what it does is confirmed later, or is no danger.
    pub(crate) fn focus_first(self) -> Self {
        Self { focus: 0, ..self }
    }

    /// Adds a field below the others; the focus stays where it is.
    pub(crate) fn add(&mut self, field: Field) {
        if self.focus >= self.fields.len() {
            self.focus += 1;
        }
        self.fields.push(field);
    }

    /// The field called `name`, to be changed.
    pub(crate) fn field_mut(&mut self, name: &str) -> Option<&mut Field> {
        self.fields.iter_mut().find(|field| field.name == name)
    }

    /// Adds a fact.
    pub(crate) fn fact(mut self, label: &str, value: impl Into<String>) -> Self {
        self.facts.push((label.to_owned(), value.into()));
        self
    }

    /// Adds a sentence.
    pub(crate) fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// The value of a field.
    pub(crate) fn value(&self, name: &str) -> &str {
        self.fields
            .iter()
            .find(|f| f.name == name)
            .map_or("", |f| f.value().trim())
    }

    /// The value of a field as it was typed, spaces included.
    pub(crate) fn raw(&self, name: &str) -> &str {
        self.fields
            .iter()
            .find(|f| f.name == name)
            .map_or("", Field::value)
    }

    /// Whether everything that must be typed has been.
    pub(crate) fn ready(&self) -> bool {
        self.fields
            .iter()
            .all(|f| f.expect.as_ref().is_none_or(|e| e == f.value().trim()))
    }

    /// It does nothing but tell, so there is nothing to cancel or to confirm.
    pub(crate) fn tells(&self) -> bool {
        self.confirm.is_empty() && self.fields.is_empty()
    }

    fn buttons(&self) -> Vec<(FormAnswer, String)> {
        let close = if self.tells() { "Close" } else { "Cancel" };
        let mut buttons = vec![(FormAnswer::Cancel, close.to_owned())];
        buttons.extend(
            self.middle
                .map(|label| (FormAnswer::Middle, label.to_owned())),
        );
        if !self.confirm.is_empty() {
            buttons.push((FormAnswer::Confirm, self.confirm.clone()));
        }
        buttons
    }

    /// Types pasted text into the field that has the focus; line breaks become spaces.
    pub(crate) fn paste(&mut self, pasted: &str) {
        let focus = self.focus;
        let Some(field) = self
            .fields
            .get_mut(focus)
            .filter(|f| f.kind != FieldKind::Toggle)
        else {
            return;
        };
        for c in pasted
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(MAX_PASTE)
        {
            field.input.handle(InputRequest::InsertChar(c));
        }
    }

    /// Handles a key.
    pub(crate) fn key(&mut self, key: KeyEvent) -> FormAnswer {
        let stops = self.fields.len() + self.buttons().len();
        match key.code {
            KeyCode::Esc => return FormAnswer::Cancel,
            KeyCode::Tab | KeyCode::Down => self.focus = (self.focus + 1) % stops,
            KeyCode::BackTab | KeyCode::Up => self.focus = (self.focus + stops - 1) % stops,
            _ if self.focus < self.fields.len() => self.field_key(key),
            _ => return self.button_key(key),
        }
        FormAnswer::Stay
    }

    fn field_key(&mut self, key: KeyEvent) {
        let field = &mut self.fields[self.focus];
        if key.code == KeyCode::Enter {
            self.focus += 1;
            return;
        }
        self.error = None;
        if field.kind == FieldKind::Toggle {
            if key.code == KeyCode::Char(' ') {
                let other = if field.value() == "yes" { "no" } else { "yes" };
                field.input = Input::new(other.to_owned());
            }
            return;
        }
        if let Some(request) = edit_request(key) {
            field.input.handle(request);
        }
    }

    fn button_key(&mut self, key: KeyEvent) -> FormAnswer {
        let buttons = self.buttons();
        let first = self.fields.len();
        match key.code {
            KeyCode::Left | KeyCode::Char('h') => {
                self.focus = self.focus.saturating_sub(1).max(first)
            }
            KeyCode::Right | KeyCode::Char('l') => {
                self.focus = (self.focus + 1).min(first + buttons.len() - 1);
            }
            KeyCode::Char('y') if !self.confirm.is_empty() => return self.confirmed(),
            KeyCode::Char('n') => return FormAnswer::Cancel,
            KeyCode::Enter | KeyCode::Char(' ') => {
                return match buttons[self.focus - first].0 {
                    FormAnswer::Confirm => self.confirmed(),
                    other => other,
                };
            }
            _ => {}
        }
        FormAnswer::Stay
    }

    fn confirmed(&mut self) -> FormAnswer {
        if self.busy {
            return FormAnswer::Stay;
        }
        if self.ready() {
            return FormAnswer::Confirm;
        }
        let missing = self
            .fields
            .iter()
            .find(|f| f.expect.as_deref().is_some_and(|e| e != f.value().trim()));
        self.error = missing
            .and_then(|f| f.expect.as_ref())
            .map(|e| format!("type {e} first"));
        FormAnswer::Stay
    }

    /// Paints it in the middle of `area`.
    pub(crate) fn paint(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let columns = area.width.saturating_sub(4).clamp(20.min(area.width), 76);
        let inside = usize::from(columns.saturating_sub(4));
        let notes: Vec<String> = self
            .notes
            .iter()
            .flat_map(|n| text::wrap(n, inside))
            .collect();
        let error: Vec<String> = self
            .error
            .iter()
            .flat_map(|e| text::wrap(e, inside))
            .collect();
        let rows = self.facts.len() + notes.len() + self.fields.len() + error.len();
        let gaps = usize::from(!notes.is_empty()) + usize::from(!self.fields.is_empty());
        let wanted = (rows + gaps + 4) as u16;
        let height = wanted.min(area.height);
        let outer = Rect {
            x: area.x + (area.width - columns) / 2,
            y: area.y + (area.height - height) / 2,
            width: columns,
            height,
        };
        canvas.blank(outer);
        let room = usize::from(height.saturating_sub(3)).saturating_sub(error.len());
        let shown = self.fields_within(room);
        let inner = if shown.len() < self.fields.len() {
            let (first, last, all) = (shown.start + 1, shown.end, self.fields.len());
            canvas.panel(outer, &format!("{}: {first}-{last} of {all}", self.title))
        } else {
            canvas.panel(outer, &self.title)
        };
        // Too small a screen loses facts first: fields, error and buttons are what one acts on.
        let tail = (shown.len() + error.len() + 2) as u16;
        let head_room = inner.height.saturating_sub(tail);
        let mut y = self.paint_head(canvas, inner, &notes, head_room);
        let value_x = self.paint_fields(canvas, inner, &mut y, shown);
        for line in &error {
            canvas.text(value_x, y, inner.width, line, Tone::Bad);
            y += 1;
        }
        self.paint_buttons(canvas, inner);
    }

    /// The fields that fit into `room` rows, the one with the focus among them.
    fn fields_within(&self, room: usize) -> Range<usize> {
        let count = self.fields.len();
        let first = (self.focus + 1).min(count).saturating_sub(room);
        first..count.min(first + room)
    }

    fn paint_head(&self, canvas: &mut Canvas<'_>, inner: Rect, notes: &[String], room: u16) -> u16 {
        let labels = self
            .facts
            .iter()
            .map(|(l, _)| text::width(l))
            .max()
            .unwrap_or(0) as u16;
        let mut y = inner.y;
        let end = inner.y + room;
        for (label, value) in &self.facts {
            if y >= end {
                return y;
            }
            canvas.cell(inner.x, y, labels, label, Align::Left, Tone::Faint);
            let x = inner.x + labels + 2;
            canvas.text(x, y, inner.right().saturating_sub(x), value, Tone::Normal);
            y += 1;
        }
        if !notes.is_empty() && !self.facts.is_empty() && y < end {
            y += 1;
        }
        for line in notes {
            if y >= end {
                return y;
            }
            canvas.text(inner.x, y, inner.width, line, Tone::Normal);
            y += 1;
        }
        if !self.fields.is_empty() && y < end {
            y + 1
        } else {
            y
        }
    }

    fn paint_fields(
        &self,
        canvas: &mut Canvas<'_>,
        inner: Rect,
        y: &mut u16,
        shown: Range<usize>,
    ) -> u16 {
        let labels = self
            .fields
            .iter()
            .map(|f| text::width(&f.label))
            .max()
            .unwrap_or(0) as u16;
        let x = inner.x + labels + 2;
        let fields = self.fields.iter().enumerate();
        for (i, field) in fields.skip(shown.start).take(shown.len()) {
            canvas.cell(inner.x, *y, labels, &field.label, Align::Left, Tone::Faint);
            let help = text::width(&field.help) as u16;
            let room = inner.right().saturating_sub(x);
            let box_width = match field.kind {
                FieldKind::Toggle => 5,
                _ if room > help + 22 => room - help - 1,
                _ => room,
            };
            self.paint_value(canvas, (x, *y), box_width, i);
            let help_x = x + box_width + 1;
            canvas.text(
                help_x,
                *y,
                inner.right().saturating_sub(help_x),
                &field.help,
                Tone::Faint,
            );
            *y += 1;
        }
        inner.x
    }

    fn paint_value(&self, canvas: &mut Canvas<'_>, (x, y): (u16, u16), columns: u16, index: usize) {
        let field = &self.fields[index];
        let (focused, toggle) = (index == self.focus, field.kind == FieldKind::Toggle);
        let value = match field.kind {
            FieldKind::Masked => "*".repeat(field.value().chars().count()),
            _ => field.value().to_owned(),
        };
        let cursor = match (focused, field.kind) {
            (true, FieldKind::Masked) => field.input.cursor(),
            (true, FieldKind::Text) => field.input.visual_cursor(),
            _ => 0,
        };
        let room = usize::from(columns.saturating_sub(2));
        let (shown, cursor) = text::around_cursor(&value, cursor, room);
        let tone = match (focused, toggle) {
            (true, true) => Tone::Selected,
            (true, false) => Tone::Accent,
            (false, _) => Tone::Normal,
        };
        let shown = format!("[{}]", text::fit(shown, room, Align::Left));
        canvas.text(x, y, columns, &shown, tone);
        if focused && !toggle {
            let at = Rect {
                x: x + 1 + cursor as u16,
                y,
                width: 1,
                height: 1,
            };
            canvas.invert(at, y);
        }
    }

    fn paint_buttons(&self, canvas: &mut Canvas<'_>, inner: Rect) {
        let y = inner.bottom().saturating_sub(1);
        let mut x = inner.x;
        for (i, (answer, label)) in self.buttons().into_iter().enumerate() {
            let focused = self.focus == self.fields.len() + i;
            let tone = match answer {
                _ if focused => Tone::Selected,
                FormAnswer::Confirm if !self.ready() => Tone::Faint,
                _ => Tone::Normal,
            };
            let sign = if focused { ">" } else { " " };
            x += canvas.text(
                x,
                y,
                inner.right().saturating_sub(x),
                &format!("{sign}[ {label} ]"),
                tone,
            ) + 2;
        }
        let state = match () {
            () if self.busy => "working...",
            () if self.tells() => "esc closes",
            () => "esc cancels",
        };
        if x + 12 < inner.right() {
            canvas.right(inner.right(), y, 12, state, Tone::Faint);
        }
    }
}

/// Characters taken from one paste.
const MAX_PASTE: usize = 2_000;

/// What a key does to a line of text.
pub(crate) fn edit_request(key: KeyEvent) -> Option<InputRequest> {
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('w') if ctrl => InputRequest::DeletePrevWord,
        KeyCode::Char('u') if ctrl => InputRequest::DeleteLine,
        KeyCode::Char('a') if ctrl => InputRequest::GoToStart,
        KeyCode::Char('e') if ctrl => InputRequest::GoToEnd,
        KeyCode::Char(c) if !ctrl && !key.modifiers.contains(KeyModifiers::ALT) => {
            InputRequest::InsertChar(c)
        }
        KeyCode::Backspace => InputRequest::DeletePrevChar,
        KeyCode::Delete => InputRequest::DeleteNextChar,
        KeyCode::Left => InputRequest::GoToPrevChar,
        KeyCode::Right => InputRequest::GoToNextChar,
        KeyCode::Home => InputRequest::GoToStart,
        KeyCode::End => InputRequest::GoToEnd,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
