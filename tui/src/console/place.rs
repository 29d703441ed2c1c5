//! Where one can be, and the trail that leads there.

use shared::api::GroupBy;
use shared::filter;
use shared::{NodeId, Realm, SessionId};

use super::keymap::Views;
use super::message::Kind;

/// Where one can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The home view.
    Pulse,
    /// Nodes.
    Nodes,
    /// Sessions.
    Sessions,
    /// One session.
    Session(SessionId),
    /// Users.
    Users,
    /// Realms.
    Realms,
    /// Everything about one realm.
    Realm(Realm),
    /// Events.
    Events,
    /// Who changed what.
    Audit,
    /// The latest refusals.
    Refusals,
    /// Refusals since the start, by reason.
    RefusalCounts,
    /// Conditions that hold.
    Alerts,
    /// All conditions with their thresholds.
    AlertRules,
    /// Where clients are sent instead.
    Redirects,
    /// Keys of third-party authorization (RFC 7635).
    OauthKeys,
    /// Banned networks.
    Bans,
    /// Settings of a node.
    Config(NodeId),
    /// What differs between the settings of two nodes.
    Diff(NodeId, NodeId),
    /// Sessions by group.
    Groups(GroupBy),
    /// Contexts of the configuration file.
    Contexts,
}

impl Place {
    /// The views behind the number keys.
    pub(crate) const NUMBERED: [Self; 6] = [
        Self::Pulse,
        Self::Nodes,
        Self::Sessions,
        Self::Users,
        Self::Realms,
        Self::Events,
    ];

    /// Its bit in the table of keys.
    pub(crate) fn views(&self) -> Views {
        match self {
            Self::Pulse => Views::PULSE,
            Self::Nodes => Views::NODES,
            Self::Sessions => Views::SESSIONS,
            Self::Session(_) => Views::SESSION,
            Self::Users => Views::USERS,
            Self::Realms => Views::REALMS,
            Self::Realm(_) => Views::REALM,
            Self::Events => Views::EVENTS,
            Self::Audit => Views::AUDIT,
            Self::Refusals => Views::REFUSALS,
            Self::RefusalCounts => Views::REFUSAL_COUNTS,
            Self::Alerts => Views::ALERTS,
            Self::AlertRules => Views::ALERT_RULES,
            Self::Diff(..) => Views::DIFF,
            Self::Redirects => Views::REDIRECTS,
            Self::OauthKeys => Views::OAUTH_KEYS,
            Self::Bans => Views::BANS,
            Self::Config(_) => Views::CONFIG,
            Self::Groups(_) => Views::GROUPS,
            Self::Contexts => Views::CONTEXTS,
        }
    }

    /// Its name in the crumbs.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Pulse => "Pulse".to_owned(),
            Self::Nodes => "Nodes".to_owned(),
            Self::Sessions => "Sessions".to_owned(),
            Self::Session(id) => id.to_string(),
            Self::Users => "Users".to_owned(),
            Self::Realms => "Realms".to_owned(),
            Self::Realm(name) => name.to_string(),
            Self::Events => "Events".to_owned(),
            Self::Audit => "Audit".to_owned(),
            Self::Refusals => "Refusals".to_owned(),
            Self::RefusalCounts => "Refusals by reason".to_owned(),
            Self::Alerts => "Alerts".to_owned(),
            Self::AlertRules => "Alert rules".to_owned(),
            Self::Diff(left, right) => format!("Config {left} against {right}"),
            Self::Redirects => "Redirects".to_owned(),
            Self::OauthKeys => "OAuth keys".to_owned(),
            Self::Bans => "Bans".to_owned(),
            Self::Config(node) => format!("Config {node}"),
            Self::Groups(by) => format!("Sessions by {by}"),
            Self::Contexts => "Contexts".to_owned(),
        }
    }

    /// The paged list it shows.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self {
            Self::Nodes => Some(Kind::Nodes),
            Self::Sessions => Some(Kind::Sessions),
            Self::Users => Some(Kind::Users),
            Self::Realms => Some(Kind::Realms),
            Self::Audit => Some(Kind::Audit),
            Self::Refusals => Some(Kind::Refusals),
            Self::RefusalCounts => Some(Kind::RefusalCounts),
            Self::Alerts => Some(Kind::Alerts),
            Self::Redirects => Some(Kind::Redirects),
            Self::Pulse
            | Self::Session(_)
            | Self::Realm(_)
            | Self::Events
            | Self::AlertRules
            | Self::OauthKeys
            | Self::Bans
            | Self::Config(_)
            | Self::Diff(..)
            | Self::Groups(_)
            | Self::Contexts => None,
        }
    }

    /// The columns its filter knows.
    pub(crate) fn filter_columns(&self) -> Option<&'static [filter::Column]> {
        match self {
            Self::Nodes => Some(filter::NODE_COLUMNS),
            Self::Sessions => Some(filter::SESSION_COLUMNS),
            Self::Users => Some(filter::USER_COLUMNS),
            Self::Realms => Some(filter::REALM_COLUMNS),
            Self::Events => Some(filter::EVENT_COLUMNS),
            Self::Audit => Some(filter::AUDIT_COLUMNS),
            Self::Refusals => Some(filter::RECENT_REFUSAL_COLUMNS),
            Self::RefusalCounts => Some(filter::REFUSAL_COLUMNS),
            Self::Alerts => Some(filter::ALERT_COLUMNS),
            Self::Redirects => Some(filter::REDIRECT_COLUMNS),
            Self::Config(_) => Some(filter::SETTING_COLUMNS),
            // Sessions are chosen first, then grouped.
            Self::Groups(_) => Some(filter::SESSION_COLUMNS),
            Self::Pulse
            | Self::Session(_)
            | Self::Realm(_)
            | Self::AlertRules
            | Self::OauthKeys
            | Self::Bans
            | Self::Diff(..)
            | Self::Contexts => None,
        }
    }
}

/// A place with its filter: a step of the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visit {
    /// Where.
    pub(crate) place: Place,
    /// The filter there.
    pub(crate) filter: String,
}
