//! Ids of the rows of all lists.

use shared::api::{
    AlertView, AuditView, EventView, GroupView, NodeView, RealmView, RedirectView, RefusalView,
    SessionView, SettingView, UserView,
};

use super::list::Row;

impl Row for NodeView {
    fn key(&self) -> String {
        self.id.to_string()
    }
}

impl Row for SessionView {
    fn key(&self) -> String {
        self.id.to_string()
    }
}

impl Row for UserView {
    /// A realm holds no control characters: the two parts cannot run into each other.
    fn key(&self) -> String {
        format!("{}\n{}", self.realm.as_str(), self.name)
    }
}

impl Row for RealmView {
    fn key(&self) -> String {
        self.name.as_str().to_owned()
    }
}

impl Row for EventView {
    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Row for AuditView {
    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Row for RefusalView {
    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Row for AlertView {
    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Row for RedirectView {
    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Row for SettingView {
    fn key(&self) -> String {
        self.key.clone()
    }
}

impl Row for GroupView {
    /// A realm holds no control characters: the two parts cannot run into each other.
    fn key(&self) -> String {
        let realm = self.realm.as_ref().map_or("", |realm| realm.as_str());
        format!("{realm}\n{}", self.key)
    }
}

/// A context of the configuration file, as the list of contexts shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContextRow {
    /// Its name.
    pub(crate) name: String,
    /// Where it leads.
    pub(crate) address: String,
    /// The console is on it.
    pub(crate) current: bool,
    /// It starts read-write.
    pub(crate) rw: bool,
    /// Its name must be typed before anything is killed.
    pub(crate) confirm_typed: bool,
}

impl Row for ContextRow {
    fn key(&self) -> String {
        self.name.clone()
    }
}
