//! One frame without a terminal: for bug reports and scripts.

use std::str::FromStr;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::effects;
use super::message::{Effect, Failure, Message};
use super::model::{Model, Place};
use super::runtime::unix_ms;
use super::theme::Theme;
use super::update::{open_view, update};
use crate::client::{AdminApi, ClientError};
use crate::views::view;

/// A view that can be painted without a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotView {
    /// The cluster at a glance.
    Pulse,
    /// Nodes.
    Nodes,
    /// Sessions.
    Sessions,
    /// Users.
    Users,
    /// Realms.
    Realms,
    /// Events.
    Events,
}

impl SnapshotView {
    /// All names, for help texts.
    pub const NAMES: [&'static str; 6] =
        ["pulse", "nodes", "sessions", "users", "realms", "events"];
    const ALL: [Self; 6] = [
        Self::Pulse,
        Self::Nodes,
        Self::Sessions,
        Self::Users,
        Self::Realms,
        Self::Events,
    ];
}

impl FromStr for SnapshotView {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let index = Self::NAMES.iter().position(|name| *name == text);
        let index =
            index.ok_or_else(|| format!("no such view; there are {}", Self::NAMES.join(", ")))?;
        Ok(Self::ALL[index])
    }
}

/// Rounds of questions and answers until a view has what it shows.
const ROUNDS: usize = 8;

/// Paints `view` at `size` (columns, rows) as text, one line per row.
///
/// # Errors
/// When the node cannot be reached; a refusal shows on the frame.
pub async fn snapshot(
    api: &dyn AdminApi,
    context: &str,
    which: SnapshotView,
    size: (u16, u16),
) -> Result<String, ClientError> {
    let theme = Theme::plain(false, true);
    let mut model = Model::new(context, theme, size, unix_ms());
    let index = SnapshotView::ALL
        .iter()
        .position(|v| *v == which)
        .unwrap_or(0);
    open_view(&mut model, Place::NUMBERED[index].clone());
    for _ in 0..ROUNDS {
        let now = model.now_ms;
        let effects = update(&mut model, Message::Tick(now));
        for question in effects.into_iter().filter_map(|e| match e {
            Effect::Ask(question) => Some(question),
            _ => None,
        }) {
            let result = match effects::answer(api, &question).await {
                Err(error) if error.is_connection() => return Err(error),
                other => other.map_err(Failure::from),
            };
            update(&mut model, Message::Answered { question, result });
        }
        model.asked.clear();
    }
    model.toast = None;
    Ok(render(&model))
}

/// The frame of a model as text, trailing blanks cut.
pub(super) fn render(model: &Model) -> String {
    let backend = TestBackend::new(model.size.0, model.size.1);
    let Ok(mut terminal) = Terminal::new(backend);
    let Ok(_) = terminal.draw(|frame| view(model, frame));
    let buffer = terminal.backend().buffer();
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let mut line = String::new();
        let mut skip = 0;
        for x in 0..buffer.area.width {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            let symbol = buffer[(x, y)].symbol();
            skip = crate::widgets::text::width(symbol).saturating_sub(1);
            line.push_str(symbol);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
