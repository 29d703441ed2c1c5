//! One frame without a terminal: for bug reports and scripts.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::command::{COMMANDS, Command};
use super::message::{Effect, Failure, Message};
use super::model::Model;
use super::update::{run_command, update};
use super::{effects, model_of};
use crate::client::{AdminApi, ClientError};
use crate::configuration::{Configuration, Looks};
use crate::console::theme::{NAMED, Theme};
use crate::views::view;

/// What is to be painted.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotOptions<'a> {
    /// The name of the context, for the header.
    pub context: &'a str,
    /// One of [`snapshot_views`].
    pub view: &'a str,
    /// What goes behind it in the console: a filter, an id, a node.
    pub rest: &'a str,
    /// Columns and rows.
    pub size: (u16, u16),
    /// With colours, as escape sequences.
    pub color: bool,
    /// Keys and aliases, which the help shows.
    pub configuration: &'a Configuration,
    /// The theme; without `color` only its ASCII mode counts.
    pub looks: &'a Looks,
}

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The node cannot be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// There is no such view, or it cannot be opened like that.
    #[error("{0}")]
    View(String),
}

/// The views that can be painted, by the names of their commands.
#[must_use]
pub fn snapshot_views() -> Vec<&'static str> {
    let shows = |command: &Command| match command {
        Command::View(_)
        | Command::Place(_)
        | Command::Top
        | Command::Config
        | Command::Diff
        | Command::Session
        | Command::Help => true,
        Command::Node
        | Command::Context
        | Command::User
        | Command::Realm
        | Command::Kill
        | Command::Drain
        | Command::Upgrade
        | Command::Verify
        | Command::ReadWrite
        | Command::ReadOnly
        | Command::Theme
        | Command::Set
        | Command::Scope
        | Command::Alias
        | Command::Export
        | Command::Save
        | Command::SavedView
        | Command::Diag
        | Command::WhoAmI
        | Command::Reload
        | Command::Quit => false,
    };
    let views = COMMANDS.iter().filter(|(command, ..)| shows(command));
    views.map(|(_, names, ..)| names[0]).collect()
}

/// Rounds of questions and answers until a view has what it shows.
const ROUNDS: usize = 8;

/// Paints a view as text, one line per row.
///
/// # Errors
/// When the node cannot be reached or the view cannot be opened; a refusal shows on the frame.
pub async fn snapshot(
    api: &dyn AdminApi,
    options: &SnapshotOptions<'_>,
) -> Result<String, SnapshotError> {
    let mut model = opened(api, options).await?;
    model.toast = None;
    Ok(if options.color {
        render_ansi(&model)
    } else {
        render(&model)
    })
}

/// How long it takes to draw a view, so many times.
///
/// # Errors
/// As [`snapshot`].
pub async fn draw_times(
    api: &dyn AdminApi,
    options: &SnapshotOptions<'_>,
    frames: usize,
) -> Result<Vec<Duration>, SnapshotError> {
    let model = opened(api, options).await?;
    let backend = TestBackend::new(model.size.0, model.size.1);
    let Ok(mut terminal) = Terminal::new(backend);
    let draw = |_| {
        let start = Instant::now();
        let Ok(_) = terminal.draw(|frame| view(&model, frame));
        start.elapsed()
    };
    Ok((0..frames).map(draw).collect())
}

/// A model whose view is open and has what it shows.
async fn opened(api: &dyn AdminApi, options: &SnapshotOptions<'_>) -> Result<Model, SnapshotError> {
    let SnapshotOptions { size, looks, .. } = *options;
    let mut model = model_of(options.context, options.configuration, looks, size);
    if !options.color {
        model.theme = Theme::plain(looks.ascii, true);
    }
    // Who we are and which nodes there are is known before a view is opened.
    settle(api, &mut model).await?;
    let behind = |line: &str, rest: &str| format!("{line} {rest}").trim_end().to_owned();
    let lines = match options.view {
        "help" => vec![options.rest.to_owned(), "help".to_owned()],
        view => vec![behind(view, options.rest)],
    };
    for line in lines.iter().filter(|line| !line.is_empty()) {
        run_command(&mut model, line).map_err(SnapshotError::View)?;
    }
    settle(api, &mut model).await?;
    Ok(model)
}

/// Asks and answers until the view has what it shows.
async fn settle(api: &dyn AdminApi, model: &mut Model) -> Result<(), ClientError> {
    for _ in 0..ROUNDS {
        model.asked.clear();
        model.next_refresh_ms = 0;
        let now = model.now_ms;
        let effects = update(model, Message::Tick(now));
        for question in effects.into_iter().filter_map(|e| match e {
            Effect::Ask(question) => Some(question),
            _ => None,
        }) {
            let result = match effects::answer(api, &question).await {
                Err(error) if error.is_connection() => return Err(error),
                other => other.map_err(Failure::from),
            };
            update(model, Message::Answered { question, result });
        }
    }
    Ok(())
}

/// The frame of a model as text, trailing blanks cut.
pub(super) fn render(model: &Model) -> String {
    let mut out = String::new();
    for line in rows(&paint(model)) {
        let text: String = line.iter().map(|cell| cell.symbol()).collect();
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

/// The same with colours and modifiers.
fn render_ansi(model: &Model) -> String {
    let mut out = String::new();
    for line in rows(&paint(model)) {
        let mut current = String::new();
        for cell in line {
            let style = sgr(&cell);
            if style != current {
                // A broken writer is none: strings take everything.
                let _ = write!(out, "\u{1b}[0{style}m");
                current = style;
            }
            out.push_str(cell.symbol());
        }
        out.push_str("\u{1b}[0m\n");
    }
    out
}

fn paint(model: &Model) -> Buffer {
    let backend = TestBackend::new(model.size.0, model.size.1);
    let Ok(mut terminal) = Terminal::new(backend);
    let Ok(_) = terminal.draw(|frame| view(model, frame));
    terminal.backend().buffer().clone()
}

/// The cells of each row, without those that a wide character covers.
fn rows(buffer: &Buffer) -> Vec<Vec<Cell>> {
    let area = buffer.area;
    let row = |y: u16| {
        let mut cells = Vec::new();
        let mut skip = 0;
        for x in 0..area.width {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            let cell = &buffer[(x, y)];
            skip = crate::widgets::text::width(cell.symbol()).saturating_sub(1);
            cells.push(cell.clone());
        }
        cells
    };
    (0..area.height).map(row).collect()
}

/// The parameters of a cell's looks, each behind a semicolon.
fn sgr(cell: &Cell) -> String {
    let modifiers = [
        (Modifier::BOLD, ";1"),
        (Modifier::DIM, ";2"),
        (Modifier::ITALIC, ";3"),
        (Modifier::UNDERLINED, ";4"),
        (Modifier::REVERSED, ";7"),
    ];
    let set = modifiers.iter().filter(|(m, _)| cell.modifier.contains(*m));
    let set: String = set.map(|(_, code)| *code).collect();
    set + &colour(cell.fg, 38) + &colour(cell.bg, 48)
}

fn colour(colour: Color, base: u8) -> String {
    match colour {
        Color::Reset => String::new(),
        Color::Rgb(r, g, b) => format!(";{base};2;{r};{g};{b}"),
        Color::Indexed(i) => format!(";{base};5;{i}"),
        colour => {
            let at = NAMED.iter().position(|name| *name == colour);
            format!(";{base};5;{}", at.unwrap_or(0))
        }
    }
}
