//! A node that speaks for a coturn beside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a node says of the coturn that it speaks for: its sessions are coturn's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BesideView {
    /// Its name and version, as in `coturn 4.6.1`; `coturn` while the version is not known.
    pub software: String,
    /// Why it cannot be spoken with, with the remedy. Sessions are as last known meanwhile, and gone
    /// when coturn's port is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<String>,
    /// Since when it is in that state.
    pub since_ms: u64,
    /// How many sessions it has, where it tells of fewer than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated_of: Option<u64>,
    /// Sessions that it lists in a form that cannot be read: they are not shown.
    #[serde(default)]
    pub unreadable: u64,
    /// Whether its Redis tells of sessions and traffic as they happen.
    #[serde(default)]
    pub has_live_traffic: bool,
    /// Why it does not, where it should.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statsdb_away: Option<String>,
    /// What it cannot do, by the name of the action in the audit (`node.drain`), and why, with the
    /// remedy. What is absent can be done.
    #[serde(default)]
    pub unsupported: BTreeMap<String, String>,
    /// What it does otherwise than our nodes do, by the name of the action, in words.
    #[serde(default)]
    pub differs: BTreeMap<String, String>,
    /// Its switches (`tc`), by coturn's names, as it says they are.
    #[serde(default)]
    pub switches: BTreeMap<String, bool>,
    /// Its limits (`cc`), by coturn's names, in coturn's units: sessions, and bytes per second. 0: none.
    #[serde(default)]
    pub limits: BTreeMap<String, u64>,
}

impl BesideView {
    /// Whether it has sessions that are not shown.
    #[must_use]
    pub fn hides_sessions(&self) -> bool {
        self.truncated_of.is_some() || self.unreadable > 0
    }

    /// Why it cannot do this; `None`: it can.
    #[must_use]
    pub fn refusal(&self, action: &str) -> Option<&str> {
        self.unsupported.get(action).map(String::as_str)
    }
}
