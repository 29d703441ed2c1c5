//! The console: a model with one owner, a pure `update`, pure views, and a runtime around them.
//!
//! Keys, ticks and answers are messages; `update` turns them into a new model and effects; the
//! runtime performs effects on tokio and posts what comes of them. Nothing awaits where keys are
//! read, and a view sees the model only.

pub(crate) mod command;
mod connection;
mod desk;
pub(crate) mod document;
mod editing;
mod effects;
mod export;
pub(crate) mod fleet_forms;
pub(crate) mod history;
pub(crate) mod keymap;
pub(crate) mod layout;
pub(crate) mod list;
mod lists;
pub(crate) mod message;
pub(crate) mod model;
mod panels;
pub(crate) mod pickers;
mod place;
pub(crate) mod pulse;
pub(crate) mod purpose;
pub(crate) mod realm_fields;
pub(crate) mod rows;
mod runtime;
mod saved;
mod snapshot;
mod switch;
mod terminal;
pub(crate) mod theme;
mod update;
pub(crate) mod verify;

use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::event::EventStream;
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::client::AdminApi;
use crate::configuration::{Configuration, Looks};
use crate::contexts::Confirm;
use crate::guardrails::Guardrails;
use message::Message;
use model::{Model, REFRESH_SECS};
use runtime::{Ended, Input, Runtime, unix_ms};

pub use snapshot::{SnapshotError, SnapshotOptions, draw_times, snapshot, snapshot_views};
pub use switch::{Connected, ContextEntry, Switchboard};

/// How the console is to run.
#[derive(Clone)]
pub struct ConsoleOptions {
    /// The node.
    pub api: Arc<dyn AdminApi>,
    /// The name of the context, shown in the header.
    pub context: String,
    /// Allow changes from the start, as far as the role reaches.
    pub rw: bool,
    /// Keys, aliases and the rest of the configuration.
    pub configuration: Configuration,
    /// How to paint.
    pub looks: Looks,
    /// The context's name must be typed before anything is killed or deleted.
    pub confirm_typed: bool,
    /// The rules for changes.
    pub guardrails: Guardrails,
    /// The other contexts; none without a configuration file.
    pub switchboard: Option<Arc<dyn Switchboard>>,
}

impl fmt::Debug for ConsoleOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleOptions")
            .field("context", &self.context)
            .field("rw", &self.rw)
            .finish_non_exhaustive()
    }
}

/// Why the console ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The terminal cannot be used, or went away.
    #[error("the terminal cannot be used: {0}")]
    Terminal(#[from] io::Error),
}

/// How often the terminal is looked at.
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// How long after the terminal has gone the process may still take to leave by itself.
const LEAVE_WITHIN: Duration = Duration::from_millis(1_000);

/// Runs the console until the operator leaves. A node that cannot be reached never ends it.
///
/// # Errors
/// When the terminal cannot be taken, or no longer be written to or read from.
pub async fn run(options: ConsoleOptions) -> Result<(), ConsoleError> {
    let mouse = options.configuration.console.mouse;
    let mut guard = Some(terminal::Guard::enter_with(mouse)?);
    let stop = CancellationToken::new();
    let mut runtime = Runtime::new(Arc::clone(&options.api), options.switchboard.clone());
    watch_signals(&stop, runtime.continued())?;
    let _watch = watch_terminal(&stop);
    // The guard gives the terminal back. `Terminal` would write to it once more when dropped, and
    // panic over a dead one.
    let mut screen = ManuallyDrop::new(Terminal::new(CrosstermBackend::new(io::stdout()))?);
    let size = screen.size()?;
    let size = (size.width, size.height);
    let mut model = model_of(
        &options.context,
        &options.configuration,
        &options.looks,
        size,
    );
    model.wants_rw = options.rw;
    model.confirm_typed |= options.confirm_typed;
    model.guardrails = options.guardrails;
    match saved::load(&crate::contexts::saved_views(&|name| {
        std::env::var_os(name)
    })) {
        Ok(views) => model.desk.views = views,
        Err(why) => model.say(theme::Tone::Warn, format!("no saved views: {why}")),
    }
    if let Some(switchboard) = &options.switchboard {
        model.set_contexts(switchboard.contexts());
    }
    loop {
        let input: Input = Box::pin(EventStream::new());
        match runtime.run(&mut model, &mut screen, input, &stop).await? {
            Ended::Quit | Ended::Stopped => break,
            Ended::Suspend => {
                // The reader of keys is gone by now: the shell gets every byte.
                drop(guard.take());
                terminal::stop_until_continued().await?;
            }
            Ended::Edit(text, file) => {
                // And so does the editor.
                drop(guard.take());
                let Some(result) = editing::edit(&text, file, &stop).await else {
                    break;
                };
                runtime.first(Message::Edited(result));
            }
        }
        guard = Some(terminal::Guard::enter_with(model.mouse)?);
        terminal::repaint(&mut screen)?;
        let size = screen.size()?;
        model.size = (size.width, size.height);
        model.dirty = true;
    }
    drop(guard);
    Ok(())
}

/// A console as the configuration wants it, which knows nothing yet.
fn model_of(
    context: &str,
    configuration: &Configuration,
    looks: &Looks,
    size: (u16, u16),
) -> Model {
    let file = &configuration.console;
    // Looks name no theme that they do not have.
    let theme = looks.theme().unwrap_or_default();
    let mut model = Model::new(context, theme, size, unix_ms());
    model.theme_name.clone_from(&looks.theme);
    model.themes = looks.themes.clone();
    model.keymap = configuration.keymap.clone();
    model.aliases = configuration.aliases.clone();
    model.mouse = file.mouse;
    let mut contexts = configuration.contexts.clone();
    for row in &mut contexts {
        row.current = row.name == context;
    }
    let total = contexts.len();
    let now_ms = model.now_ms;
    model.lists.contexts.set_rows(contexts, total, now_ms);
    let index = REFRESH_SECS
        .iter()
        .position(|secs| Some(*secs) == file.rate);
    model.refresh = index.unwrap_or(0);
    model.zone = TimeZone::system();
    model.confirm_typed = file.confirm == Confirm::Type;
    model
}

/// SIGTERM, SIGHUP and SIGINT end the console; the terminal is given back on the way out. Who was
/// stopped by others paints everything anew.
fn watch_signals(stop: &CancellationToken, goes_on: Arc<Notify>) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut continued = signal(SignalKind::from_raw(Signal::CONT.as_raw()))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let stop = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = hangup.recv() => break,
                // While an editor has the terminal its ^c is sent to us too, and means the editor.
                _ = interrupt.recv() => if terminal::is_entered() { break },
                _ = continued.recv() => {
                    // A terminal that is gone by now is found out by the next frame.
                    let _ = terminal::retake();
                    goes_on.notify_one();
                }
            }
        }
        stop.cancel();
    });
    Ok(())
}

/// A terminal that goes away without a signal gives no error to whoever reads keys: a thread looks
/// after it, and ends the process when the loop cannot.
fn watch_terminal(stop: &CancellationToken) -> Watch {
    let stop = stop.clone();
    let over = Arc::new(AtomicBool::new(false));
    let watch = Watch(Arc::clone(&over));
    std::thread::spawn(move || {
        while terminal::is_alive() {
            if over.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(WATCH_EVERY);
        }
        stop.cancel();
        std::thread::sleep(LEAVE_WITHIN);
        if !over.load(Ordering::Relaxed) {
            std::process::exit(1);
        }
    });
    watch
}

/// Calls the watch off when the console has ended: what its program does then is its own affair.
struct Watch(Arc<AtomicBool>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
pub(crate) mod tests;
