//! The one table of actions: their keys unless the configuration says otherwise, what they do,
//! where, and who may. The keymap in force is made from it, hints and help from that.

mod binding;
mod chord;
mod force;
mod names;
#[cfg(test)]
mod tests;

use crossterm::event::KeyCode;
use shared::api::Role;

pub(crate) use binding::Binding;
use binding::{bind, change, code, ctrl, key};
pub(crate) use chord::Chord;
#[cfg(test)]
pub(crate) use force::Bound;
pub(crate) use force::Keymap;
pub(crate) use names::Group;

/// A set of views, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Views(u32);

impl Views {
    pub(crate) const PULSE: Self = Self(1);
    pub(crate) const NODES: Self = Self(1 << 1);
    pub(crate) const SESSIONS: Self = Self(1 << 2);
    pub(crate) const SESSION: Self = Self(1 << 3);
    pub(crate) const USERS: Self = Self(1 << 4);
    pub(crate) const REALMS: Self = Self(1 << 5);
    pub(crate) const EVENTS: Self = Self(1 << 6);
    pub(crate) const AUDIT: Self = Self(1 << 7);
    pub(crate) const REFUSALS: Self = Self(1 << 8);
    pub(crate) const ALERTS: Self = Self(1 << 9);
    pub(crate) const REDIRECTS: Self = Self(1 << 10);
    pub(crate) const CONFIG: Self = Self(1 << 11);
    pub(crate) const GROUPS: Self = Self(1 << 12);
    pub(crate) const CONTEXTS: Self = Self(1 << 13);
    pub(crate) const REALM: Self = Self(1 << 14);
    pub(crate) const REFUSAL_COUNTS: Self = Self(1 << 15);
    pub(crate) const ALERT_RULES: Self = Self(1 << 16);
    pub(crate) const DIFF: Self = Self(1 << 17);
    pub(crate) const OAUTH_KEYS: Self = Self(1 << 18);
    pub(crate) const BANS: Self = Self(1 << 19);
    const ALL: Self = Self(0xf_ffff);
    /// Views with several panels, or two lists.
    const TABS: Self = Self::PULSE
        .and(Self::REFUSALS)
        .and(Self::REFUSAL_COUNTS)
        .and(Self::ALERTS)
        .and(Self::ALERT_RULES);
    /// Views whose rows can be filtered.
    const FILTERED: Self = Self::PAGED
        .and(Self::EVENTS)
        .and(Self::CONFIG)
        .and(Self::GROUPS);
    /// Views that are one list.
    const LISTS: Self = Self::PAGED
        .and(Self::EVENTS)
        .and(Self::CONFIG)
        .and(Self::GROUPS)
        .and(Self::ALERT_RULES)
        .and(Self::DIFF)
        .and(Self::OAUTH_KEYS)
        .and(Self::BANS)
        .and(Self::CONTEXTS);
    /// Lists that the nodes filter, sort and page.
    const PAGED: Self = Self::NODES
        .and(Self::SESSIONS)
        .and(Self::USERS)
        .and(Self::REALMS)
        .and(Self::AUDIT)
        .and(Self::REFUSALS)
        .and(Self::REFUSAL_COUNTS)
        .and(Self::ALERTS)
        .and(Self::REDIRECTS);

    /// Lists whose rows can be marked.
    pub(crate) const MARKED: Self = Self::NODES.and(Self::SESSIONS);

    /// Lists with a panel below them.
    const PREVIEWED: Self = Self::NODES
        .and(Self::SESSIONS)
        .and(Self::USERS)
        .and(Self::REALMS)
        .and(Self::REFUSALS)
        .and(Self::REFUSAL_COUNTS);

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the two meet.
    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Intent {
    Up,
    Down,
    Top,
    End,
    HalfUp,
    HalfDown,
    PageUp,
    PageDown,
    ColumnsLeft,
    ColumnsRight,
    Open,
    Leave,
    Quit,
    Interrupt,
    HistoryBack,
    HistoryForward,
    LastView,
    Go(u8),
    Command,
    Filter,
    Sort,
    SortLeft,
    SortRight,
    Reverse,
    Columns,
    Mark,
    Range,
    ClearMarks,
    MarkAll,
    Pause,
    Faster,
    Slower,
    Copy,
    Json,
    Export,
    Preview,
    Group,
    Reconnect,
    Help,
    Redraw,
    Suspend,
    UserOf,
    NodeOf,
    Follow,
    NextPanel,
    LastPanel,
    OnlyChanged,
    Settings,
    LogLevel,
    Drain,
    Verify,
    Explain,
    Kill,
    Block,
    Edit,
    New,
    Password,
    Delete,
    Editor,
    Secrets,
    Undo,
    Revisions,
}

use Intent as I;

/// Every key, in the order in which hints are kept when the line is short: first come, first kept.
static BINDINGS: &[Binding] = &[
    bind(&[key('?')], I::Help, Views::ALL, "help", "this help"),
    bind(
        &[key('q')],
        I::Quit,
        Views::ALL,
        "quit",
        "back; at the root, leave the console",
    ),
    bind(
        &[code(KeyCode::Enter)],
        I::Open,
        Views::ALL,
        "open",
        "open what the cursor is on",
    ),
    change(
        &[key('X')],
        I::Kill,
        Views::SESSIONS.and(Views::SESSION).and(Views::USERS),
        "kill",
        "kill the session, the marked ones, or all of the user; asks first",
        Role::Operator,
    ),
    change(
        &[key('X')],
        I::Kill,
        Views::REDIRECTS,
        "remove",
        "remove the redirect; asks first",
        Role::Admin,
    ),
    change(
        &[key('D')],
        I::Drain,
        Views::NODES,
        "drain",
        "have the node take no new sessions, or take them again; asks first",
        Role::Operator,
    ),
    change(
        &[key('L')],
        I::LogLevel,
        Views::NODES,
        "log level",
        "change how much the node logs",
        Role::Admin,
    ),
    change(
        &[key('T')],
        I::Verify,
        Views::NODES,
        "verify",
        "self-test of the marked nodes, or of the one under the cursor; asks first",
        Role::Mint,
    ),
    change(
        &[key('B')],
        I::Block,
        Views::SESSIONS.and(Views::SESSION).and(Views::USERS),
        "block",
        "refuse the user for a while, or admit it again",
        Role::Operator,
    ),
    change(
        &[key('E')],
        I::Edit,
        Views::USERS
            .and(Views::REALMS)
            .and(Views::REALM)
            .and(Views::CONFIG)
            .and(Views::ALERT_RULES),
        "edit",
        "edit the user, the realm, the setting or the rule",
        Role::Admin,
    ),
    change(
        &[key('N')],
        I::New,
        Views::USERS
            .and(Views::REALMS)
            .and(Views::REDIRECTS)
            .and(Views::OAUTH_KEYS)
            .and(Views::BANS),
        "new",
        "add a user, a realm, a redirect, an OAuth key or a ban",
        Role::Admin,
    ),
    change(
        &[key('W')],
        I::Password,
        Views::USERS,
        "password",
        "set the user's password",
        Role::Admin,
    ),
    change(
        &[key('Z')],
        I::Delete,
        Views::USERS.and(Views::OAUTH_KEYS).and(Views::BANS),
        "delete",
        "delete the user or the OAuth key, or take the ban back",
        Role::Admin,
    ),
    change(
        &[key('V')],
        I::Editor,
        Views::REALMS.and(Views::REALM),
        "editor",
        "edit the realm's document in $VISUAL, $EDITOR or vi",
        Role::Admin,
    ),
    change(
        &[key('S')],
        I::Secrets,
        Views::REALMS.and(Views::REALM),
        "secrets",
        "rotate the realm's secrets",
        Role::Admin,
    ),
    change(
        &[key('U')],
        I::Undo,
        Views::REALMS.and(Views::REALM),
        "undo",
        "undo the latest change of the realm, or an earlier one; asks first",
        Role::Admin,
    ),
    bind(
        &[key('/')],
        I::Filter,
        Views::FILTERED,
        "filter",
        "filter; esc clears it",
    ),
    bind(
        &[key(':')],
        I::Command,
        Views::ALL,
        "cmd",
        "type a command; tab completes",
    ),
    bind(
        &[key(' ')],
        I::Mark,
        Views::MARKED,
        "mark",
        "mark or unmark the row",
    ),
    bind(
        &[key('s')],
        I::Sort,
        Views::PAGED.and(Views::GROUPS),
        "sort",
        "choose the column to sort by",
    ),
    bind(
        &[key('d')],
        I::OnlyChanged,
        Views::CONFIG,
        "changed",
        "show only what is not at its default, or all",
    ),
    bind(
        &[key('m')],
        I::Explain,
        Views::REFUSALS.and(Views::REFUSAL_COUNTS),
        "explain",
        "what the reason means, and what to do about it",
    ),
    bind(
        &[key('c')],
        I::Settings,
        Views::NODES,
        "settings",
        "settings of the node",
    ),
    bind(
        &[key('f')],
        I::Follow,
        Views::EVENTS,
        "follow",
        "keep the cursor on the newest event",
    ),
    bind(
        &[code(KeyCode::Tab)],
        I::NextPanel,
        Views::TABS,
        "panel",
        "the next panel, or the other list",
    ),
    bind(
        &[code(KeyCode::BackTab)],
        I::LastPanel,
        Views::TABS,
        "",
        "the panel before",
    ),
    bind(
        &[key('p')],
        I::Pause,
        Views::ALL,
        "pause",
        "freeze what is shown",
    ),
    bind(
        &[key('y')],
        I::Copy,
        Views::LISTS.and(Views::SESSION).and(Views::REALM),
        "copy",
        "copy of the row: its id, cells, a filter that finds it, JSON",
    ),
    bind(
        &[key('u')],
        I::UserOf,
        Views::SESSIONS.and(Views::SESSION),
        "user",
        "all sessions of this session's user",
    ),
    bind(
        &[key('i')],
        I::NodeOf,
        Views::SESSIONS.and(Views::SESSION),
        "node",
        "all sessions of this session's node",
    ),
    bind(
        &[key('o')],
        I::Reverse,
        Views::PAGED.and(Views::GROUPS),
        "reverse",
        "turn the sort order round",
    ),
    bind(
        &[key('v')],
        I::Range,
        Views::MARKED,
        "range",
        "begin a range of marks; once more marks it",
    ),
    bind(
        &[key('w')],
        I::Columns,
        Views::LISTS,
        "cols",
        "choose the columns and their order",
    ),
    bind(
        &[key('<')],
        I::SortLeft,
        Views::PAGED.and(Views::GROUPS),
        "",
        "sort by the column to the left",
    ),
    bind(
        &[key('>')],
        I::SortRight,
        Views::PAGED.and(Views::GROUPS),
        "",
        "sort by the column to the right",
    ),
    bind(
        &[key('J')],
        I::Json,
        Views::LISTS.and(Views::SESSION).and(Views::REALM),
        "json",
        "all that the API tells of it, to read and search",
    ),
    bind(
        &[key('H')],
        I::Revisions,
        Views::REALMS.and(Views::REALM),
        "history",
        "who changed the realm, when, why, and what",
    ),
    bind(
        &[key('e')],
        I::Export,
        Views::PAGED,
        "export",
        "all that matches into a file: offers its name",
    ),
    bind(
        &[key('P')],
        I::Preview,
        Views::PREVIEWED,
        "preview",
        "open or close the panel below the list",
    ),
    bind(
        &[key('t')],
        I::Group,
        Views::SESSIONS.and(Views::GROUPS),
        "top",
        "these sessions by user; again: by realm, client, peer, node",
    ),
    bind(
        &[key('a')],
        I::MarkAll,
        Views::MARKED,
        "all",
        "mark all that match the filter",
    ),
    bind(
        &[key('A')],
        I::ClearMarks,
        Views::MARKED,
        "",
        "clear all marks",
    ),
    bind(
        &[key('j'), code(KeyCode::Down)],
        I::Down,
        Views::ALL,
        "",
        "down",
    ),
    bind(&[key('k'), code(KeyCode::Up)], I::Up, Views::ALL, "", "up"),
    bind(
        &[key('g'), code(KeyCode::Home)],
        I::Top,
        Views::ALL,
        "",
        "first row of all",
    ),
    bind(
        &[key('G'), code(KeyCode::End)],
        I::End,
        Views::ALL,
        "",
        "last row of all",
    ),
    bind(
        &[ctrl('d')],
        I::HalfDown,
        Views::ALL,
        "",
        "half a page down",
    ),
    bind(&[ctrl('u')], I::HalfUp, Views::ALL, "", "half a page up"),
    bind(
        &[code(KeyCode::PageDown)],
        I::PageDown,
        Views::ALL,
        "",
        "a page down",
    ),
    bind(
        &[code(KeyCode::PageUp)],
        I::PageUp,
        Views::ALL,
        "",
        "a page up",
    ),
    bind(
        &[key('h'), code(KeyCode::Left)],
        I::ColumnsLeft,
        Views::LISTS,
        "",
        "scroll columns left",
    ),
    bind(
        &[key('l'), code(KeyCode::Right)],
        I::ColumnsRight,
        Views::LISTS,
        "",
        "scroll columns right",
    ),
    bind(
        &[code(KeyCode::Esc)],
        I::Leave,
        Views::ALL,
        "",
        "clear the filter, then go back",
    ),
    bind(
        &[key('[')],
        I::HistoryBack,
        Views::ALL,
        "",
        "back in history",
    ),
    bind(
        &[key(']')],
        I::HistoryForward,
        Views::ALL,
        "",
        "forward in history",
    ),
    bind(
        &[key('-')],
        I::LastView,
        Views::ALL,
        "",
        "the view before this one",
    ),
    bind(&[key('1')], I::Go(0), Views::ALL, "", "pulse"),
    bind(&[key('2')], I::Go(1), Views::ALL, "", "nodes"),
    bind(&[key('3')], I::Go(2), Views::ALL, "", "sessions"),
    bind(&[key('4')], I::Go(3), Views::ALL, "", "users"),
    bind(&[key('5')], I::Go(4), Views::ALL, "", "realms"),
    bind(&[key('6')], I::Go(5), Views::ALL, "", "events"),
    bind(&[key('+')], I::Faster, Views::ALL, "", "refresh more often"),
    bind(&[key('_')], I::Slower, Views::ALL, "", "refresh less often"),
    bind(&[key('R')], I::Reconnect, Views::ALL, "", "reconnect now"),
    bind(&[ctrl('l')], I::Redraw, Views::ALL, "", "repaint"),
    bind(&[ctrl('z')], I::Suspend, Views::ALL, "", "to the shell"),
    bind(
        &[ctrl('c')],
        I::Interrupt,
        Views::ALL,
        "",
        "cancel; twice within a second leaves",
    ),
];
