//! What comes into the model and what it wants done.

use std::path::PathBuf;

use crossterm::event::{KeyEvent, MouseEvent};
use shared::api::{
    AlertRulePatch, AlertRules, AlertView, ApiError, AuditView, BanCreate, BanResult, BanView,
    BlockRequest, ConfigOverrides, ConfigPatch, ConfigResult, ConfigView, DrainRequest, EventView,
    GroupQuery, GroupView, HistoryView, JobView, KillRequest, KillResult, ListQuery, NodeView,
    OauthKeyCreated, OauthKeyPut, OauthKeyView, Overview, Page, RealmDiff, RealmPreview, RealmPut,
    RealmRevision, RealmUndo, RealmView, RedirectCreate, RedirectView, RefusalCount, RefusalView,
    SecretCreate, SecretCreated, SecretPatch, SecretView, SessionDetail, SessionView, SessionsKill,
    UpgradeRequest, UserPatch, UserPut, UserView, WhoAmI,
};
use shared::{NodeId, Realm, SessionId};

use super::export::{ExportJob, ExportNews};
use super::saved::SavedViews;
use super::switch::Connected;
use super::verify::{VerifyJob, VerifyNews};
use crate::client::{ConfigScope, HistoryOf};

/// Something that happened.
pub(crate) enum Message {
    /// Time passed; Unix milliseconds.
    Tick(u64),
    /// A key was pressed.
    Key(KeyEvent),
    /// A click, or a step of the wheel.
    Mouse(MouseEvent),
    /// The process was stopped, and goes on.
    Continued,
    /// Text was pasted.
    Paste(String),
    /// The terminal has this many columns and rows now.
    Resize(u16, u16),
    /// A question was answered, or not.
    Answered {
        /// Which one.
        question: Question,
        /// The answer.
        result: Result<Answer, Failure>,
    },
    /// A change was made, or not.
    Acted {
        /// Which one.
        action: Box<Action>,
        /// What came of it.
        result: Result<Outcome, Failure>,
    },
    /// Something happened in the cluster.
    Event(Box<EventView>),
    /// The stream of events ended.
    StreamEnded,
    /// The way to another context was found, or why not.
    Switched(Result<Connected, String>),
    /// An editor came back with a text, or could not be run.
    Edited(Result<Written, String>),
    /// The saved views were written into their file, or not.
    Kept(Result<(), String>),
    /// How an export goes.
    Exported(ExportNews),
    /// How a self-test goes.
    Verified(Box<VerifyNews>),
    /// A text was written into this file, or not.
    Saved(Result<PathBuf, String>),
}

/// A text as an editor left it.
pub(crate) struct Written {
    /// The text.
    pub(crate) text: String,
    /// The file that holds it.
    pub(crate) file: PathBuf,
    /// The editor ended well.
    pub(crate) saved: bool,
}

/// Something to be done outside.
pub(crate) enum Effect {
    /// Ask, and post the answer.
    Ask(Question),
    /// Change something, and post what came of it.
    Act(Box<Action>),
    /// Follow events behind this id until the stream ends.
    Follow(Option<String>),
    /// Find the way to this context, and post it.
    Switch(String),
    /// Put a text on the terminal's clipboard.
    Copy(String),
    /// Have the terminal tell of clicks and the wheel, or not.
    Mouse(bool),
    /// Hand the terminal to the operator's editor with this text, and post what comes back.
    Edit {
        /// The text.
        text: String,
        /// The file that has it already.
        file: Option<PathBuf>,
    },
    /// Write the saved views into their file, and post what came of it.
    KeepViews(SavedViews),
    /// Write a list into a file, and post how it goes.
    Export(Box<ExportJob>),
    /// Stop that; nothing is left of the file.
    StopExport,
    /// Run a self-test of nodes, and post how it goes.
    Verify(Box<VerifyJob>),
    /// Stop that.
    StopVerify,
    /// Remove a file of an editor.
    Discard(PathBuf),
    /// Write a text into a new private file whose name begins so, and post its path.
    Save(&'static str, String),
    /// Paint everything anew.
    Redraw,
    /// Hand the terminal back to the shell until it continues us.
    Suspend,
    /// Leave.
    Quit,
}

/// The lists that are paged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Nodes.
    Nodes,
    /// Sessions.
    Sessions,
    /// Users.
    Users,
    /// Realms.
    Realms,
    /// Audit records.
    Audit,
    /// The latest refusals.
    Refusals,
    /// Refusals since the start, by reason.
    RefusalCounts,
    /// Alerts.
    Alerts,
    /// Redirects.
    Redirects,
}

/// A question to the node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Question {
    /// Who are we?
    WhoAmI,
    /// The cluster in figures.
    Overview,
    /// A page of a list.
    List {
        /// Which list.
        kind: Kind,
        /// Which page of it.
        page: usize,
        /// The list's count of questions when this one was asked.
        generation: u64,
        /// The query.
        query: ListQuery,
    },
    /// All nodes, for the pulse.
    Cluster(ListQuery),
    /// The realms with the most traffic, for the pulse.
    TopRealms(ListQuery),
    /// One session, by its id or the beginning of one.
    Session(String),
    /// The session that is to be killed, by its id or the beginning of one.
    KillTarget(String),
    /// All sessions that match, up to a limit, to be frozen for a bulk kill.
    Targets(String),
    /// Which of the marked sessions are still there; as they were when last seen.
    Marked(Vec<SessionView>),
    /// The nodes that are to be checked, to be frozen for a self-test, and the realm to offer.
    VerifyNodes(NodeChoice, String),
    /// One realm, as it is after a lost compare-and-set.
    Realm(Realm),
    /// What a realm document would do.
    Preview(Realm, Box<RealmPut>),
    /// The revisions of a realm, and what the latest of them changed.
    Revisions(Realm),
    /// What it would mean to go back to a revision of a realm; `None`: the one before the latest.
    Undo(Realm, Option<u64>),
    /// The secrets of a realm, of which one is to be added or deleted.
    RotateSecrets(Realm),
    /// The realm whose sheet is open.
    OneRealm(Realm),
    /// Newest events.
    Events(Option<String>),
    /// A job.
    Job(String),
    /// The settings of a node.
    Config(NodeId),
    /// Sessions by group.
    Groups(GroupQuery),
    /// Figures over time.
    History(HistoryOf),
    /// One thing, to be read as JSON.
    Json(JsonOf),
    /// The worst conditions that hold, for the header and the pulse.
    TopAlerts(ListQuery),
    /// The settings of the node under the cursor.
    PanelConfig(NodeId),
    /// The settings of a node, one of which is to be edited.
    EditSetting(NodeId, &'static str),
    /// Overrides as they are after a lost compare-and-set.
    Overrides(ConfigScope),
    /// The settings of two nodes.
    Diff(NodeId, NodeId),
    /// All alert rules.
    AlertRules,
    /// The secrets of a realm.
    Secrets(Realm),
    /// Keys of third-party authorization.
    OauthKeys,
    /// Banned networks.
    Bans,
    /// The users of a realm with the most traffic.
    TopUsers(Realm, GroupQuery),
}

/// Which nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodeChoice {
    /// These, whatever their state.
    Named(Vec<NodeId>),
    /// Those that match this filter and take sessions.
    Matching(String),
}

/// A thing that can be read as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JsonOf {
    /// A session.
    Session(SessionId),
    /// A node.
    Node(NodeId),
    /// A user.
    User(Realm, String),
    /// A realm.
    Realm(Realm),
}

impl std::fmt::Display for JsonOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Session(id) => write!(f, "Session {id}"),
            Self::Node(id) => write!(f, "Node {id}"),
            Self::User(realm, name) => write!(f, "User {name} in {realm}"),
            Self::Realm(name) => write!(f, "Realm {name}"),
        }
    }
}

/// The kind of a question, of which one is under way at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Slot {
    /// A page of a list.
    List(Kind),
    /// A history.
    History(HistoryOf),
    /// Any other, by its name.
    Other(&'static str),
}

impl Question {
    /// Its slot.
    pub(crate) fn slot(&self) -> Slot {
        Slot::Other(match self {
            Self::List { kind, .. } => return Slot::List(*kind),
            Self::History(of) => return Slot::History(of.clone()),
            Self::Json(_) => "json",
            Self::WhoAmI => "whoami",
            Self::Overview => "overview",
            Self::Cluster(_) => "cluster",
            Self::TopRealms(_) => "realms",
            Self::Session(_) => "session",
            Self::KillTarget(_) => "kill",
            Self::Targets(_) | Self::Marked(_) => "targets",
            Self::VerifyNodes(..) => "verify",
            Self::Realm(_) => "realm",
            Self::Preview(..) => "preview",
            Self::Revisions(_) => "revisions",
            Self::Undo(..) => "undo",
            Self::RotateSecrets(_) => "rotate-secrets",
            Self::OneRealm(_) => "one-realm",
            Self::Events(_) => "events",
            Self::Job(_) => "job",
            Self::Config(_) => "config",
            Self::Groups(_) => "groups",
            Self::TopAlerts(_) => "top-alerts",
            Self::PanelConfig(_) => "panel-config",
            Self::EditSetting(..) => "edit-setting",
            Self::Overrides(_) => "overrides",
            Self::Diff(..) => "diff",
            Self::AlertRules => "alert-rules",
            Self::Secrets(_) => "secrets",
            Self::OauthKeys => "oauth-keys",
            Self::Bans => "bans",
            Self::TopUsers(..) => "top-users",
        })
    }
}

/// An answer of the node.
pub(crate) enum Answer {
    /// To [`Question::WhoAmI`].
    WhoAmI(WhoAmI),
    /// To [`Question::Overview`].
    Overview(Box<Overview>),
    /// Nodes.
    Nodes(Page<NodeView>),
    /// Sessions.
    Sessions(Page<SessionView>),
    /// Users.
    Users(Page<UserView>),
    /// Realms.
    Realms(Page<RealmView>),
    /// To [`Question::Session`] and [`Question::KillTarget`].
    Session(Box<SessionDetail>),
    /// To [`Question::Targets`]: the sessions, and how many match in all.
    Targets(Vec<SessionView>, u64),
    /// To [`Question::Marked`]: those that are there as they are now, and those that are gone.
    Marked(Vec<SessionView>, Vec<SessionView>),
    /// To [`Question::VerifyNodes`]: those to check, and those that were left out.
    VerifyNodes(Vec<NodeView>, Vec<NodeView>),
    /// To [`Question::Realm`].
    Realm(Box<RealmView>),
    /// To [`Question::Events`].
    Events(Page<EventView>),
    /// To [`Question::Job`].
    Job(JobView),
    /// Audit records.
    Audit(Page<AuditView>),
    /// The latest refusals.
    Refusals(Page<RefusalView>),
    /// Alerts.
    Alerts(Page<AlertView>),
    /// Redirects.
    Redirects(Page<RedirectView>),
    /// To [`Question::Config`].
    Config(Box<ConfigView>),
    /// To [`Question::Groups`].
    Groups(Page<GroupView>),
    /// To [`Question::Json`].
    Json(String),
    /// To [`Question::History`].
    History(Box<HistoryView>),
    /// To [`Question::Preview`].
    Preview(Box<RealmPreview>),
    /// To [`Question::Revisions`]: all, and what differs in the latest.
    Revisions(Vec<RealmRevision>, Vec<RealmDiff>),
    /// To [`Question::Undo`].
    Undo(Box<UndoSeen>),
    /// To [`Question::Secrets`] and [`Question::RotateSecrets`].
    Secrets(Page<SecretView>),
    /// To [`Question::Bans`].
    Bans(Page<BanView>),
    /// To [`Question::OauthKeys`].
    OauthKeys(Page<OauthKeyView>),
    /// To [`Question::Overrides`].
    Overrides(Box<ConfigOverrides>),
    /// To [`Question::Diff`].
    Diff(Box<ConfigView>, Box<ConfigView>),
    /// To [`Question::AlertRules`].
    AlertRules(AlertRules),
    /// Counters of refusals.
    RefusalCounts(Page<RefusalCount>),
}

/// What it would mean to go back to an earlier revision of a realm.
pub(crate) struct UndoSeen {
    /// The realm as it is; `None`: deleted.
    pub(crate) now: Option<RealmView>,
    /// Its latest change.
    pub(crate) latest: Option<RealmRevision>,
    /// The revision to go back to, with its document.
    pub(crate) back: RealmRevision,
    /// The one before that.
    pub(crate) earlier: Option<u64>,
    /// What the nodes say that it would do.
    pub(crate) preview: RealmPreview,
}

/// A change. No `Debug`: it may carry a password.
#[derive(Clone)]
pub(crate) enum Action {
    /// Kill one session.
    Kill(SessionId, KillRequest),
    /// Kill many, as a job.
    KillMany(SessionsKill),
    /// Stop a job.
    StopJob(String),
    /// Refuse a user for a while.
    Block(Realm, String, BlockRequest),
    /// Admit it again, for a reason.
    Unblock(Realm, String, String),
    /// Create a user or set its password.
    PutUser(Realm, String, UserPut),
    /// Change a user.
    PatchUser(Realm, String, UserPatch),
    /// Delete a user, for a reason.
    DeleteUser(Realm, String, String),
    /// Write a realm document over this revision.
    PutRealm(Realm, u64, Box<RealmPut>),
    /// Bring an earlier document of a realm back over this revision.
    UndoRealm(Realm, u64, RealmUndo),
    /// Change overrides over this revision, or only tell what would change.
    PatchConfig(ConfigScope, u64, Box<ConfigPatch>),
    /// Change an alert rule over this revision of the rules.
    PatchRule(String, u64, Box<AlertRulePatch>),
    /// Have a node take no new sessions.
    Drain(NodeId, DrainRequest),
    /// Have it take new sessions again, for a reason.
    Undrain(NodeId, String),
    /// Have a node pass everything on to a process that it starts.
    Upgrade(NodeId, UpgradeRequest),
    /// Add a redirect.
    CreateRedirect(Box<RedirectCreate>),
    /// Remove a redirect, for a reason.
    DeleteRedirect(String, String),
    /// Ban a network, or only tell what that would hit.
    CreateBan(Box<BanCreate>),
    /// Take a ban back, with its id and a reason.
    DeleteBan(String, String),
    /// Change the state of a secret of a realm.
    PatchSecret(Realm, String, SecretPatch),
    /// Add a secret to a realm.
    CreateSecret(Realm, SecretCreate),
    /// Delete one, for a reason.
    DeleteSecret(Realm, String, String),
    /// Add an OAuth key of this name, or replace it.
    PutOauthKey(String, Box<OauthKeyPut>),
    /// Delete one, for a reason.
    DeleteOauthKey(String, String),
}

/// What came of a change.
pub(crate) enum Outcome {
    /// A session ended.
    Killed(KillResult),
    /// A job runs.
    Job(JobView),
    /// The realm as it is now.
    Realm(Box<RealmView>),
    /// What a change of settings did, or would do.
    Config(Box<ConfigResult>),
    /// The alert rules as they are now.
    Rules(AlertRules),
    /// A secret; a generated one with its value, this once.
    Secret(SecretCreated),
    /// An OAuth key; a generated one with its value, this once.
    OauthKey(OauthKeyCreated),
    /// A ban, or what one would hit.
    Ban(Box<BanResult>),
    /// It was done.
    Done,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The node answered with an error.
    Refused(ApiError),
    /// It could not be asked, or did not answer.
    Unreachable(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Unreachable(why) => f.write_str(why),
        }
    }
}
