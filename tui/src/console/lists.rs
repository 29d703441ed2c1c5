//! The lists of the console, and which place shows which.

use shared::api::{
    AlertRule, AlertView, AuditView, BanView, EventView, GroupView, NodeView, OauthKeyView,
    RealmView, RedirectView, RefusalCount, RefusalView, SessionView, SettingView, UserView,
};

use super::list::{AnyList, ListState};
use super::message::Kind;
use super::place::Place;
use super::rows::{ContextRow, DiffRow};

/// The lists.
pub(crate) struct Lists {
    pub(crate) nodes: ListState<NodeView>,
    pub(crate) sessions: ListState<SessionView>,
    pub(crate) users: ListState<UserView>,
    pub(crate) realms: ListState<RealmView>,
    pub(crate) events: ListState<EventView>,
    pub(crate) audit: ListState<AuditView>,
    pub(crate) refusals: ListState<RefusalView>,
    pub(crate) refusal_counts: ListState<RefusalCount>,
    pub(crate) alerts: ListState<AlertView>,
    pub(crate) rules: ListState<AlertRule>,
    pub(crate) redirects: ListState<RedirectView>,
    pub(crate) bans: ListState<BanView>,
    pub(crate) oauth_keys: ListState<OauthKeyView>,
    pub(crate) config: ListState<SettingView>,
    pub(crate) diff: ListState<DiffRow>,
    pub(crate) groups: ListState<GroupView>,
    pub(crate) contexts: ListState<ContextRow>,
}

impl Lists {
    /// All of them, empty.
    pub(crate) fn new() -> Self {
        Self {
            nodes: ListState::sorted("node", false),
            sessions: ListState::sorted("rate", true),
            users: ListState::sorted("sessions", true),
            realms: ListState::sorted("sessions", true),
            events: ListState::default(),
            audit: ListState::sorted("time", true),
            refusals: ListState::sorted("time", true),
            refusal_counts: ListState::sorted("count", true),
            alerts: ListState::sorted("severity", true),
            rules: ListState::default(),
            redirects: ListState::sorted("transport", false),
            bans: ListState::default(),
            oauth_keys: ListState::default(),
            config: ListState::default(),
            diff: ListState::default(),
            groups: ListState::sorted("rate", true),
            contexts: ListState::default(),
        }
    }

    /// The list that `place` shows.
    pub(crate) fn of(&self, place: &Place) -> Option<&dyn AnyList> {
        Some(match place {
            Place::Nodes => &self.nodes,
            Place::Sessions => &self.sessions,
            Place::Users => &self.users,
            Place::Realms => &self.realms,
            Place::Events => &self.events,
            Place::Audit => &self.audit,
            Place::Refusals => &self.refusals,
            Place::RefusalCounts => &self.refusal_counts,
            Place::Alerts => &self.alerts,
            Place::AlertRules => &self.rules,
            Place::Diff(..) => &self.diff,
            Place::Redirects => &self.redirects,
            Place::Bans => &self.bans,
            Place::OauthKeys => &self.oauth_keys,
            Place::Config(_) => &self.config,
            Place::Groups(_) => &self.groups,
            Place::Contexts => &self.contexts,
            Place::Pulse | Place::Session(_) | Place::Realm(_) => return None,
        })
    }

    /// The same, to be changed.
    pub(crate) fn of_mut(&mut self, place: &Place) -> Option<&mut dyn AnyList> {
        Some(match place {
            Place::Bans => &mut self.bans,
            Place::OauthKeys => &mut self.oauth_keys,
            Place::Config(_) => &mut self.config,
            Place::AlertRules => &mut self.rules,
            Place::Diff(..) => &mut self.diff,
            Place::Groups(_) => &mut self.groups,
            Place::Contexts => &mut self.contexts,
            Place::Events => &mut self.events,
            Place::Pulse | Place::Session(_) | Place::Realm(_) => return None,
            place => self.paged_mut(place.kind()?),
        })
    }

    /// A paged list.
    pub(crate) fn paged(&self, kind: Kind) -> &dyn AnyList {
        match kind {
            Kind::Nodes => &self.nodes,
            Kind::Sessions => &self.sessions,
            Kind::Users => &self.users,
            Kind::Realms => &self.realms,
            Kind::Audit => &self.audit,
            Kind::Refusals => &self.refusals,
            Kind::RefusalCounts => &self.refusal_counts,
            Kind::Alerts => &self.alerts,
            Kind::Redirects => &self.redirects,
        }
    }

    /// The same, to be changed.
    pub(crate) fn paged_mut(&mut self, kind: Kind) -> &mut dyn AnyList {
        match kind {
            Kind::Nodes => &mut self.nodes,
            Kind::Sessions => &mut self.sessions,
            Kind::Users => &mut self.users,
            Kind::Realms => &mut self.realms,
            Kind::Audit => &mut self.audit,
            Kind::Refusals => &mut self.refusals,
            Kind::RefusalCounts => &mut self.refusal_counts,
            Kind::Alerts => &mut self.alerts,
            Kind::Redirects => &mut self.redirects,
        }
    }
}
