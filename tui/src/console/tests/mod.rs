//! The whole console in process: real `update`, real views, a cluster in memory.

mod behaviour;
mod changes;
mod configured;
mod contexts;
mod desk;
mod fleet;
mod matrix;
mod mouse;
mod panels;
mod pickers;
mod runtime;
mod safety;
mod screens;
mod verify;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::message::{Action, Effect, Message, Written};
use super::model::Model;
use super::theme::Theme;
use super::update::update;
use super::verify::VerifyJob;
use super::{effects, snapshot};
use crate::client::fake::FakeAdmin;

/// Rounds of effects after a message; more would be a loop.
const ROUNDS: usize = 20;

/// What the operator does in the editor; an error: it cannot be run.
pub(crate) type Edit = Box<dyn FnOnce(&str) -> Result<String, String>>;

/// A console on a double.
pub(crate) struct Rig {
    pub(crate) api: Arc<FakeAdmin>,
    pub(crate) model: Model,
    pub(crate) copied: Vec<String>,
    pub(crate) left: bool,
    /// The terminal was told to tell of the mouse.
    pub(crate) mouse: bool,
    /// What was done, in order.
    pub(crate) acted: Vec<Action>,
    pub(crate) edits: VecDeque<Edit>,
    pub(crate) discarded: Vec<PathBuf>,
    pub(crate) saved: Vec<String>,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) switched_to: Vec<String>,
    /// Self-tests that were begun: nothing is sent to anybody, their news are posted by hand.
    pub(crate) verifying: Vec<VerifyJob>,
    /// How many were stopped.
    pub(crate) verify_stops: usize,
}

impl Rig {
    /// A console that has loaded its first view.
    pub(crate) fn new(sessions: usize, size: (u16, u16)) -> Self {
        Self::themed(sessions, size, Theme::default())
    }

    /// The same in another theme.
    pub(crate) fn themed(sessions: usize, size: (u16, u16), theme: Theme) -> Self {
        let api = Arc::new(FakeAdmin::with_sessions(sessions));
        let model = Model::new("prod-eu", theme, size, api.now_ms());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut rig = Self {
            api,
            model,
            copied: Vec::new(),
            left: false,
            mouse: false,
            acted: Vec::new(),
            edits: VecDeque::new(),
            discarded: Vec::new(),
            saved: Vec::new(),
            switched_to: Vec::new(),
            verifying: Vec::new(),
            verify_stops: 0,
            runtime,
        };
        rig.second();
        rig.second();
        rig
    }

    /// The same with changes allowed.
    pub(crate) fn writable(sessions: usize) -> Self {
        let mut rig = Self::new(sessions, (80, 24));
        rig.line(":rw");
        rig.model.toast = None;
        rig
    }

    /// Posts a message and performs what follows from it.
    pub(crate) fn post(&mut self, message: Message) {
        let mut messages = vec![message];
        for _ in 0..ROUNDS {
            let effects: Vec<Effect> = messages
                .drain(..)
                .flat_map(|m| update(&mut self.model, m))
                .collect();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                messages.extend(self.perform(effect));
            }
        }
        panic!("effects without end");
    }

    fn perform(&mut self, effect: Effect) -> Option<Message> {
        let (to, mut from) = tokio::sync::mpsc::channel(1);
        let api = Arc::clone(&self.api);
        match effect {
            Effect::Ask(question) => self.runtime.block_on(effects::ask(api, question, to)),
            Effect::Act(action) => {
                self.acted.push((*action).clone());
                self.runtime.block_on(effects::act(api, action, to));
            }
            Effect::Export(job) => {
                let (to, mut from) = tokio::sync::mpsc::channel(64);
                let stop = tokio_util::sync::CancellationToken::new();
                self.runtime
                    .block_on(super::export::run(api, *job, to, stop));
                let mut last = None;
                while let Ok(message) = from.try_recv() {
                    last = Some(message);
                }
                return last;
            }
            Effect::StopExport => {}
            Effect::Verify(job) => self.verifying.push(*job),
            Effect::StopVerify => self.verify_stops += 1,
            Effect::KeepViews(_) => return Some(Message::Kept(Ok(()))),
            Effect::Copy(text) => self.copied.push(text),
            Effect::Quit => self.left = true,
            Effect::Mouse(on) => self.mouse = on,
            Effect::Edit { text, .. } => {
                let edit = self
                    .edits
                    .pop_front()
                    .expect("the editor opens once too often");
                let result = edit(&text).map(|text| Written {
                    text,
                    file: "realm.toml".into(),
                    saved: true,
                });
                return Some(Message::Edited(result));
            }
            Effect::Discard(file) => self.discarded.push(file),
            Effect::Save(_, text) => {
                self.saved.push(text);
                return Some(Message::Saved(Ok("saved.txt".into())));
            }
            Effect::Switch(name) => self.switched_to.push(name),
            Effect::Follow(_) | Effect::Redraw | Effect::Suspend => {}
        }
        from.try_recv().ok()
    }

    /// A second passes.
    pub(crate) fn second(&mut self) {
        let now = self.model.now_ms + 1_000;
        self.post(Message::Tick(now));
    }

    /// Presses a key.
    pub(crate) fn press(&mut self, code: KeyCode) {
        self.post(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }

    /// Presses a key with Ctrl.
    pub(crate) fn ctrl(&mut self, c: char) {
        self.post(Message::Key(KeyEvent::new(
            KeyCode::Char(c),
            KeyModifiers::CONTROL,
        )));
    }

    /// Types text.
    pub(crate) fn keys(&mut self, text: &str) {
        for c in text.chars() {
            self.press(KeyCode::Char(c));
        }
    }

    /// Types a line and ends it.
    pub(crate) fn line(&mut self, text: &str) {
        self.keys(text);
        self.press(KeyCode::Enter);
    }

    /// What is on the screen.
    pub(crate) fn screen(&self) -> String {
        snapshot::render(&self.model)
    }

    /// The last call that matches.
    pub(crate) fn called(&self, name: &str) -> Vec<String> {
        self.api
            .calls()
            .into_iter()
            .filter(|c| c.starts_with(name))
            .collect()
    }
}
