//! The loop around `update` and the views: the only place of the console that waits.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossterm::event::{Event, KeyEventKind};
use futures_util::{Stream, StreamExt};
use ratatui::Terminal;
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::effects;
use super::message::{Effect, Message};
use super::model::Model;
use super::switch::Switchboard;
use super::terminal::{self, Surface};
use super::update::update;
use super::{export, saved, verify};
use crate::client::AdminApi;
use crate::contexts::saved_views;
use crate::editor;
use crate::views::view;

/// Messages that may wait; who posts more waits too.
const MAILBOX: usize = 1_024;
/// Messages taken in before the screen is painted.
const BATCH: usize = 256;
/// Time between ticks.
const TICK: Duration = Duration::from_millis(200);
/// Least time between two frames that only data asked for: 30 per second.
const FRAME: Duration = Duration::from_millis(33);

/// Least time between two frames that keys asked for: nobody sees more, and a pasted line or a held
/// key does not lag behind.
const KEY_FRAME: Duration = Duration::from_millis(8);

/// Where keys come from.
pub(crate) type Input = Pin<Box<dyn Stream<Item = io::Result<Event>> + Send>>;

/// Why the loop ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The operator left.
    Quit,
    /// The operator suspends the process; the loop can be entered again.
    Suspend,
    /// An editor is to have the terminal, with this text, from this file where there is one already;
    /// the loop can be entered again.
    Edit(String, Option<PathBuf>),
    /// Whoever runs us wants us to end.
    Stopped,
}

/// The loop's links to the world.
pub(crate) struct Runtime {
    api: Arc<dyn AdminApi>,
    post: Sender<Message>,
    posted: Receiver<Message>,
    left: CancellationToken,
    /// Stops the export that runs.
    export: CancellationToken,
    /// Stops the self-test that runs.
    verify: CancellationToken,
    first: Option<Message>,
    /// The process was stopped, and goes on.
    continued: Arc<Notify>,
    switchboard: Option<Arc<dyn Switchboard>>,
}

impl Runtime {
    /// Links to a node, and to other contexts.
    pub(crate) fn new(api: Arc<dyn AdminApi>, switchboard: Option<Arc<dyn Switchboard>>) -> Self {
        let (post, posted) = mpsc::channel(MAILBOX);
        Self {
            api,
            post,
            posted,
            left: CancellationToken::new(),
            export: CancellationToken::new(),
            verify: CancellationToken::new(),
            first: None,
            continued: Arc::new(Notify::new()),
            switchboard,
        }
    }

    /// Has the loop take in this message before any other.
    pub(crate) fn first(&mut self, message: Message) {
        self.first = Some(message);
    }

    /// Links to another node. What the one before still answers reaches nobody.
    fn relink(&mut self, api: Arc<dyn AdminApi>) {
        self.left.cancel();
        self.left = CancellationToken::new();
        (self.post, self.posted) = mpsc::channel(MAILBOX);
        self.api = api;
    }

    /// Finds the way to another context beside the loop: it reads files.
    fn find(&self, name: String) {
        let (switchboard, post) = (self.switchboard.clone(), self.post.clone());
        tokio::task::spawn_blocking(move || {
            let found = switchboard.map(|board| board.connect(&name));
            let result = found.unwrap_or_else(|| Err("there are no contexts".to_owned()));
            // A closed channel means that the console has left.
            let _ = post.blocking_send(Message::Switched(result));
        });
    }

    /// Who is told that the process was stopped and goes on.
    pub(crate) fn continued(&self) -> Arc<Notify> {
        Arc::clone(&self.continued)
    }

    /// Runs until the operator leaves or `stop` is cancelled.
    ///
    /// # Errors
    /// Any failure to write to the terminal or to read from it: it is gone then.
    pub(crate) async fn run<B: Surface>(
        &mut self,
        model: &mut Model,
        terminal: &mut Terminal<B>,
        mut input: Input,
        stop: &CancellationToken,
    ) -> io::Result<Ended> {
        if let Some(message) = self.first.take()
            && let Some(ended) = self.take(model, terminal, message)?
        {
            return Ok(ended);
        }
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut painted = Instant::now() - FRAME;
        // Keys came since the last frame: the next one is not to wait for long.
        let mut typed = false;
        loop {
            let pace = if typed { KEY_FRAME } else { FRAME };
            let wait = if model.dirty {
                pace.saturating_sub(painted.elapsed())
            } else {
                TICK * 100
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Ended::Stopped),
                () = self.continued.notified() => {
                    if let Some(ended) = self.take(model, terminal, Message::Continued)? {
                        return Ok(ended);
                    }
                }
                event = input.next() => {
                    // One at a time: whoever polls this stream without waiting for it takes the
                    // wake-up of the next key away from us.
                    let event = event.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))??;
                    typed = true;
                    if let Some(ended) = self.event(model, terminal, event)? {
                        return Ok(ended);
                    }
                }
                message = self.posted.recv() => {
                    let mut message = message;
                    for _ in 0..BATCH {
                        let Some(next) = message.take() else { break };
                        if let Some(ended) = self.take(model, terminal, next)? {
                            return Ok(ended);
                        }
                        message = self.posted.try_recv().ok();
                    }
                    if let Some(rest) = message
                        && let Some(ended) = self.take(model, terminal, rest)?
                    {
                        return Ok(ended);
                    }
                }
                _ = ticks.tick() => {
                    if let Some(ended) = self.take(model, terminal, Message::Tick(unix_ms()))? {
                        return Ok(ended);
                    }
                }
                () = tokio::time::sleep(wait) => {}
            }
            let pace = if typed { KEY_FRAME } else { FRAME };
            if model.dirty && painted.elapsed() >= pace {
                (model.dirty, typed) = (false, false);
                terminal::draw(terminal, |frame| view(model, frame))?;
                painted = Instant::now();
            }
        }
    }

    fn event<B: Surface>(
        &mut self,
        model: &mut Model,
        terminal: &mut Terminal<B>,
        event: Event,
    ) -> io::Result<Option<Ended>> {
        let message = match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => Message::Key(key),
            Event::Mouse(mouse) => Message::Mouse(mouse),
            Event::Paste(text) => Message::Paste(text),
            Event::Resize(columns, rows) => Message::Resize(columns, rows),
            _ => return Ok(None),
        };
        self.take(model, terminal, message)
    }

    /// Takes in a message and performs what it leads to.
    fn take<B: Surface>(
        &mut self,
        model: &mut Model,
        terminal: &mut Terminal<B>,
        message: Message,
    ) -> io::Result<Option<Ended>> {
        if let Message::Switched(Ok(connected)) = &message {
            self.relink(Arc::clone(&connected.api));
        }
        // All of them are performed, also those behind one that ends the loop.
        let mut ended = None;
        for effect in update(model, message) {
            match effect {
                Effect::Ask(question) => {
                    tokio::spawn(effects::ask(
                        Arc::clone(&self.api),
                        question,
                        self.post.clone(),
                    ));
                }
                Effect::Act(action) => {
                    tokio::spawn(effects::act(
                        Arc::clone(&self.api),
                        action,
                        self.post.clone(),
                    ));
                }
                Effect::Follow(after) => {
                    let (api, post) = (Arc::clone(&self.api), self.post.clone());
                    tokio::spawn(effects::follow(api, after, post, self.left.clone()));
                }
                Effect::Switch(name) => self.find(name),
                Effect::Copy(text) => {
                    terminal::copy(&text)?;
                }
                Effect::Mouse(on) => terminal.backend_mut().set_mouse(on)?,
                Effect::Redraw => terminal::repaint(terminal)?,
                Effect::Edit { text, file } => ended = Some(Ended::Edit(text, file)),
                Effect::Discard(file) => {
                    // It may be gone already; there is nothing in it that is not known.
                    tokio::task::spawn_blocking(move || std::fs::remove_file(file));
                }
                Effect::Save(prefix, text) => {
                    let post = self.post.clone();
                    tokio::task::spawn_blocking(move || {
                        let saved = editor::save(prefix, &text).map_err(|e| e.to_string());
                        let _ = post.blocking_send(Message::Saved(saved));
                    });
                }
                Effect::Export(job) => {
                    let stop = self.left.child_token();
                    self.export = stop.clone();
                    let (api, post) = (Arc::clone(&self.api), self.post.clone());
                    tokio::spawn(export::run(api, *job, post, stop));
                }
                Effect::KeepViews(views) => {
                    let post = self.post.clone();
                    tokio::task::spawn_blocking(move || {
                        let path = saved_views(&|name| std::env::var_os(name));
                        let _ = post.blocking_send(Message::Kept(saved::store(&path, &views)));
                    });
                }
                Effect::StopExport => self.export.cancel(),
                Effect::Verify(job) => {
                    let stop = self.left.child_token();
                    self.verify = stop.clone();
                    let (api, post) = (Arc::clone(&self.api), self.post.clone());
                    tokio::spawn(verify::run(api, *job, post, stop));
                }
                Effect::StopVerify => self.verify.cancel(),
                Effect::Suspend => ended = Some(Ended::Suspend),
                Effect::Quit => ended = Some(Ended::Quit),
            }
        }
        Ok(ended)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.left.cancel();
    }
}

/// The time of day in Unix milliseconds.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
