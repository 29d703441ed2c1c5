//! Ids of the rows of all lists.

use shared::api::{
    AlertRule, AlertView, AuditView, BanView, ConfigView, EventView, GroupView, NodeView,
    OauthKeyView, RealmView, RedirectView, RefusalCount, RefusalView, SessionView, SettingView,
    UserView,
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

impl Row for BanView {
    fn key(&self) -> String {
        self.id.clone()
    }
}

impl Row for OauthKeyView {
    fn key(&self) -> String {
        self.kid.clone()
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

impl Row for AlertRule {
    fn key(&self) -> String {
        self.name.clone()
    }
}

impl Row for RefusalCount {
    /// None of the parts holds control characters.
    fn key(&self) -> String {
        let realm = self.realm.as_ref().map_or("", |realm| realm.as_str());
        let code = self.code.unwrap_or(0);
        format!("{}\n{realm}\n{}\n{code}", self.node, self.reason)
    }
}

/// A setting that differs between two nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DiffRow {
    /// Its name.
    pub(crate) key: String,
    /// Value and source on the first node.
    pub(crate) left: (String, &'static str),
    /// Value and source on the second.
    pub(crate) right: (String, &'static str),
}

impl Row for DiffRow {
    fn key(&self) -> String {
        self.key.clone()
    }
}

impl DiffRow {
    /// What differs between two nodes, in the order of the first; a setting that a node of another
    /// version does not have differs too.
    pub(crate) fn between(left: &ConfigView, right: &ConfigView) -> Vec<Self> {
        let find = |view: &ConfigView, key: &str| -> Option<SettingView> {
            view.settings.iter().find(|s| s.key == key).cloned()
        };
        let shown = |setting: Option<&SettingView>| match setting {
            Some(setting) => (setting.value_text(), setting.source.as_str()),
            None => ("(not there)".to_owned(), "-"),
        };
        let only_right = right
            .settings
            .iter()
            .filter(|s| find(left, &s.key).is_none());
        let keys = left
            .settings
            .iter()
            .chain(only_right)
            .map(|s| s.key.clone());
        keys.filter_map(|key| {
            let (a, b) = (find(left, &key), find(right, &key));
            let same = match (&a, &b) {
                (Some(a), Some(b)) => a.value == b.value,
                _ => false,
            };
            (!same).then(|| Self {
                left: shown(a.as_ref()),
                right: shown(b.as_ref()),
                key,
            })
        })
        .collect()
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
