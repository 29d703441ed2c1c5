//! Ids of the rows of all lists.

use shared::api::{EventView, NodeView, RealmView, SessionView, UserView};

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
