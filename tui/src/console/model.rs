//! Everything the console knows: one value with one owner, changed by `update` only.

use std::collections::{BTreeMap, HashMap, VecDeque};

use jiff::tz::TimeZone;
use shared::NodeId;
use shared::api::{
    AlertRules, ConfigView, EventView, JobView, NodeView, Overview, RealmView, Role, SessionDetail,
    SettingSource, SettingView, WhoAmI,
};
use shared::filter::{self, Filter};

use tui_input::Input;

use super::connection::Connection;
use super::desk::Desk;
pub(crate) use super::desk::{Prompt, PromptKind, Toast};
use super::document::Document;
use super::keymap::Keymap;
use super::list::AnyList;
use super::lists::Lists;
use super::message::Slot;
use super::panels::Panels;
use super::pickers::{ColumnPicker, CopyMenu};
pub(crate) use super::place::{Place, Visit};
use super::pulse::Focus;
use super::purpose::{Editing, Purpose};
use super::theme::{DEFAULT, Theme, Themes, Tone};
use super::verify::VerifyDialog;
use crate::guardrails::Guardrails;
use crate::widgets::form::Form;

/// Samples kept of figures that are drawn over time.
const HISTORY: usize = 120;
/// Events kept.
const EVENTS_KEPT: usize = 2_000;
/// Events among which one that came twice is looked for: a page of them, and some.
const EVENTS_LOOKED_BACK: usize = 256;
/// Nodes of which a history is kept.
const NODES_TRACKED: usize = 4_000;
/// How often data can be asked for, in seconds.
pub(crate) const REFRESH_SECS: [u64; 6] = [1, 2, 5, 10, 30, 60];

/// Whether changes are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Look only.
    ReadOnly,
    /// As far as the role reaches.
    ReadWrite,
}

/// What lies over the view.
pub(crate) enum Dialog {
    /// All keys, columns and commands.
    Help(Box<HelpDialog>),
    /// The columns to sort by; the chosen one.
    Sort(usize),
    /// The columns of the list.
    Columns(Box<ColumnPicker>),
    /// What to copy of the row.
    Copy(Box<CopyMenu>),
    /// A text to read.
    Document(Box<Document>),
    /// Something to fill in or confirm.
    Form(Box<Form>, Box<Purpose>),
    /// A job and its results.
    Job(Box<JobDialog>),
    /// The self-test of nodes and its results.
    Verify(Box<VerifyDialog>),
}

/// The help while it is open.
#[derive(Default)]
pub(crate) struct HelpDialog {
    /// First shown line.
    pub(crate) top: usize,
    /// What is looked for.
    pub(crate) query: Input,
    /// The query is being typed.
    pub(crate) typing: bool,
}

/// A job that is watched.
pub(crate) struct JobDialog {
    /// The job as it was when last asked for.
    pub(crate) job: JobView,
    /// First shown result.
    pub(crate) top: usize,
    /// When to ask for it again.
    pub(crate) next_ms: u64,
    /// The focus is on Stop.
    pub(crate) on_stop: bool,
    /// What went wrong while watching.
    pub(crate) error: Option<String>,
}

/// The session that is looked at.
pub(crate) struct Detail {
    /// What is known of it.
    pub(crate) view: Option<SessionDetail>,
    /// It is gone; why the last question failed.
    pub(crate) error: Option<String>,
    /// Bits per second in and out, newest last.
    pub(crate) rates: VecDeque<(u64, u64)>,
    /// First shown peer.
    pub(crate) top: usize,
}

/// The realm that is looked at.
#[derive(Default)]
pub(crate) struct Sheet {
    /// What is known of it.
    pub(crate) realm: Option<RealmView>,
    /// Why the last question failed.
    pub(crate) error: Option<String>,
    /// First shown user.
    pub(crate) top: usize,
}

/// The cluster at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Live sessions.
    pub(crate) sessions: u64,
    /// Bits per second from clients.
    pub(crate) rate_in: u64,
    /// Bits per second to clients.
    pub(crate) rate_out: u64,
    /// When, Unix milliseconds.
    pub(crate) at_ms: u64,
}

/// How the stream of events stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Events come as they happen.
    Open,
    /// They are asked for; the stream is tried again then.
    Closed {
        /// Unix milliseconds.
        retry_ms: u64,
    },
}

/// Everything.
pub(crate) struct Model {
    /// The name of the context.
    pub(crate) context: String,
    /// Columns and rows of the terminal.
    pub(crate) size: (u16, u16),
    /// How it is painted.
    pub(crate) theme: Theme,
    /// The name of that theme.
    pub(crate) theme_name: String,
    /// The themes that can be chosen.
    pub(crate) themes: Themes,
    /// Clicks and the wheel act.
    pub(crate) mouse: bool,
    /// The row that was clicked last, and when.
    pub(crate) clicked: Option<(String, u64)>,
    /// Commands of the configuration and what they stand for.
    pub(crate) aliases: BTreeMap<String, String>,
    /// What keys do.
    pub(crate) keymap: Keymap,
    /// For times of day.
    pub(crate) zone: TimeZone,
    /// Unix milliseconds at the last tick.
    pub(crate) now_ms: u64,
    /// Changes are allowed.
    pub(crate) mode: Mode,
    /// The operator asked for read-write before we knew our role.
    pub(crate) wants_rw: bool,
    /// The context's name must be typed before anything is killed.
    pub(crate) confirm_typed: bool,
    /// The rules for changes.
    pub(crate) guardrails: Guardrails,
    /// A realm is in an editor, or was.
    pub(crate) editing: Option<Editing>,
    /// Who we are.
    pub(crate) whoami: Option<WhoAmI>,
    /// The connection.
    pub(crate) connection: Connection,
    /// Index into [`REFRESH_SECS`].
    pub(crate) refresh: usize,
    /// When to ask next.
    pub(crate) next_refresh_ms: u64,
    /// What is shown is frozen.
    pub(crate) paused: bool,
    /// Questions under way and since when.
    pub(crate) asked: HashMap<Slot, u64>,
    /// How we came here; the last is where we are.
    pub(crate) trail: Vec<Visit>,
    /// Trails of before, and which of them is the current one.
    pub(crate) history: (Vec<Vec<Visit>>, usize),
    /// The trail before the last jump.
    pub(crate) previous: Option<Vec<Visit>>,
    /// The lists.
    pub(crate) lists: Lists,
    /// The session that is looked at.
    pub(crate) detail: Detail,
    /// Where the cursor is on the pulse.
    pub(crate) pulse: Focus,
    /// The realm whose sheet is open.
    pub(crate) sheet: Sheet,
    /// The cluster in figures.
    pub(crate) overview: Option<Overview>,
    /// The same over time.
    pub(crate) samples: VecDeque<Sample>,
    /// All nodes, for the pulse and for completion.
    pub(crate) cluster: Vec<NodeView>,
    /// Sessions per node over time.
    pub(crate) node_trend: BTreeMap<NodeId, VecDeque<u64>>,
    /// Realms with the most traffic.
    pub(crate) top_realms: Vec<RealmView>,
    /// Settings of the node that is looked at.
    pub(crate) config: Option<ConfigView>,
    /// Only settings that are not at their default are shown.
    pub(crate) only_changed: bool,
    /// The alert rules.
    pub(crate) rules: Option<AlertRules>,
    /// What stands beside the lists.
    pub(crate) panels: Panels,
    /// Newest events, oldest first.
    pub(crate) events: VecDeque<EventView>,
    /// There are some that the list of events does not show yet.
    pub(crate) unshown_events: bool,
    /// The stream they come by.
    pub(crate) stream: Stream,
    /// The cursor keeps to the newest event.
    pub(crate) follow: bool,
    /// The operator's own arrangement.
    pub(crate) desk: Desk,
    /// The line that is being typed.
    pub(crate) prompt: Option<Prompt>,
    /// What lies over the view.
    pub(crate) dialog: Option<Dialog>,
    /// Self-tests that were begun: the number of the newest.
    pub(crate) verify_runs: u64,
    /// A short message.
    pub(crate) toast: Option<Toast>,
    /// When ^c was pressed last.
    pub(crate) interrupted_ms: Option<u64>,
    /// Something that is shown has changed.
    pub(crate) dirty: bool,
}

impl Model {
    /// A console that knows nothing yet.
    pub(crate) fn new(context: &str, theme: Theme, size: (u16, u16), now_ms: u64) -> Self {
        Self {
            context: context.to_owned(),
            size,
            theme,
            theme_name: DEFAULT.to_owned(),
            themes: Themes::default(),
            mouse: false,
            clicked: None,
            aliases: BTreeMap::new(),
            keymap: Keymap::default(),
            zone: TimeZone::UTC,
            now_ms,
            mode: Mode::ReadOnly,
            wants_rw: false,
            confirm_typed: false,
            guardrails: Guardrails {
                context: context.to_owned(),
                rules: Vec::new(),
            },
            editing: None,
            whoami: None,
            connection: Connection::new(now_ms),
            refresh: 0,
            next_refresh_ms: 0,
            paused: false,
            asked: HashMap::new(),
            trail: vec![Visit {
                place: Place::Pulse,
                filter: String::new(),
            }],
            history: (
                vec![vec![Visit {
                    place: Place::Pulse,
                    filter: String::new(),
                }]],
                0,
            ),
            previous: None,
            lists: Lists::new(),
            detail: Detail {
                view: None,
                error: None,
                rates: VecDeque::new(),
                top: 0,
            },
            pulse: Focus::default(),
            sheet: Sheet::default(),
            overview: None,
            samples: VecDeque::new(),
            cluster: Vec::new(),
            node_trend: BTreeMap::new(),
            top_realms: Vec::new(),
            config: None,
            only_changed: false,
            rules: None,
            panels: Panels::default(),
            events: VecDeque::new(),
            unshown_events: false,
            stream: Stream::Closed { retry_ms: 0 },
            follow: true,
            desk: Desk::default(),
            prompt: None,
            dialog: None,
            verify_runs: 0,
            toast: None,
            interrupted_ms: None,
            dirty: true,
        }
    }

    /// Where we are.
    pub(crate) fn place(&self) -> &Place {
        &self
            .trail
            .last()
            .expect("the trail always holds the current place")
            .place
    }

    /// How often data is asked for, in milliseconds.
    pub(crate) fn refresh_ms(&self) -> u64 {
        REFRESH_SECS[self.refresh] * 1000
    }

    /// The list on the screen.
    pub(crate) fn list(&mut self) -> Option<&mut dyn AnyList> {
        let place = self.place().clone();
        self.lists.of_mut(&place)
    }

    /// The list on the screen, to be looked at.
    pub(crate) fn shown_list(&self) -> Option<&dyn AnyList> {
        self.lists.of(self.place())
    }

    /// Says something in the status line for some seconds.
    pub(crate) fn say(&mut self, tone: Tone, text: impl Into<String>) {
        let text = text.into();
        let secs = if tone == Tone::Bad { 10 } else { 6 };
        self.toast = Some(Toast {
            text,
            tone,
            until_ms: self.now_ms + secs * 1000,
        });
        self.dirty = true;
    }

    /// Whether a change that needs `role` may be made now, or why not.
    pub(crate) fn may(&self, role: Role) -> Result<(), String> {
        if self.mode == Mode::ReadOnly {
            return Err("read-only: type :rw to allow changes (or start with --rw)".to_owned());
        }
        if !self.connection.is_up() {
            return Err("not connected: changes are disabled until the node answers".to_owned());
        }
        self.role_covers(role)
    }

    /// Whether our role reaches as far as `needed`, or why not.
    pub(crate) fn role_covers(&self, needed: Role) -> Result<(), String> {
        match &self.whoami {
            Some(who) if who.role.covers(needed) => Ok(()),
            Some(who) => {
                let (have, need) = (who.role.as_str(), needed.as_str());
                Err(format!("your role is {have}; this needs {need}"))
            }
            None => Err("not connected yet: the node has not said what your role is".to_owned()),
        }
    }

    /// Whether keys that need `role` are shown at all.
    pub(crate) fn shows(&self, role: Option<Role>) -> bool {
        role.is_none_or(|role| self.mode == Mode::ReadWrite && self.role_covers(role).is_ok())
    }

    /// Keeps a sample of the cluster.
    pub(crate) fn sample(&mut self, overview: &Overview) {
        let sample = Sample {
            sessions: overview.sessions,
            rate_in: overview.rate_in_bps,
            rate_out: overview.rate_out_bps,
            at_ms: self.now_ms,
        };
        push_bounded(&mut self.samples, sample, HISTORY);
    }

    /// Keeps samples of nodes.
    pub(crate) fn sample_nodes(&mut self, nodes: &[NodeView]) {
        for node in nodes {
            if self.node_trend.len() < NODES_TRACKED || self.node_trend.contains_key(&node.id) {
                let trend = self.node_trend.entry(node.id.clone()).or_default();
                push_bounded(trend, node.sessions, HISTORY);
            }
        }
    }

    /// Keeps an event. The list of events takes it in at the next tick: choosing them anew for each
    /// would be slow when many come.
    pub(crate) fn keep_event(&mut self, event: EventView) {
        if self
            .events
            .iter()
            .rev()
            .take(EVENTS_LOOKED_BACK)
            .any(|e| e.id == event.id)
        {
            return;
        }
        push_bounded(&mut self.events, event, EVENTS_KEPT);
        self.unshown_events = true;
    }

    /// Chooses the events that are shown.
    pub(crate) fn select_events(&mut self) {
        self.unshown_events = false;
        let list = &mut self.lists.events;
        let filter = Filter::parse(&list.filter, filter::EVENT_COLUMNS).ok();
        let matches = |e: &&EventView| filter.as_ref().is_none_or(|f| f.matches(*e));
        let rows: Vec<EventView> = self.events.iter().filter(matches).cloned().collect();
        list.set_rows(rows, self.events.len(), self.now_ms);
        if self.follow {
            list.to_end();
        }
    }

    /// Chooses the settings that are shown.
    pub(crate) fn select_settings(&mut self) {
        let Some(config) = &self.config else { return };
        let list = &mut self.lists.config;
        let filter = Filter::parse(&list.filter, filter::SETTING_COLUMNS).ok();
        let all = !self.only_changed;
        let matches = |s: &&SettingView| {
            (all || s.source != SettingSource::Default || s.pending.is_some())
                && filter.as_ref().is_none_or(|f| f.matches(*s))
        };
        let rows = config.settings.iter().filter(matches).cloned().collect();
        list.error = None;
        list.set_rows(rows, config.settings.len(), config.as_of_ms);
    }

    /// Shows the alert rules that are known.
    pub(crate) fn select_rules(&mut self) {
        let Some(rules) = &self.rules else { return };
        let list = &mut self.lists.rules;
        list.error = None;
        list.set_rows(rules.rules.clone(), rules.rules.len(), self.now_ms);
    }

    /// A moment with its day, as in `2026-11-21 12:04:31`.
    pub(crate) fn moment(&self, at_ms: u64) -> String {
        self.formatted(at_ms, "%Y-%m-%d %H:%M:%S")
    }

    /// The time of day of a moment, as in `12:04:31`.
    pub(crate) fn clock(&self, at_ms: u64) -> String {
        self.formatted(at_ms, "%H:%M:%S")
    }

    fn formatted(&self, at_ms: u64, format: &str) -> String {
        let moment = i64::try_from(at_ms)
            .ok()
            .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        let Some(moment) = moment else {
            return "-".to_owned();
        };
        moment
            .to_zoned(self.zone.clone())
            .strftime(format)
            .to_string()
    }
}

impl Detail {
    /// Keeps a sample of the rates.
    pub(crate) fn sample(&mut self, rate_in: u64, rate_out: u64) {
        push_bounded(&mut self.rates, (rate_in, rate_out), HISTORY);
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(item);
}
